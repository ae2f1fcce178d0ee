"""Weights that are there are loaded and placed; what is not, or cannot be done here, is said in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("transformers", reason="make wan-animate brings it")

import torch

from runtime.errors import InputError
from synth.wan_animate.options import WanAnimateOptions
from synth.wan_animate.pipeline import SegmentPipeline, WanAnimate, place
from synth.wan_animate.weights import check_weights, load_weights
from tests.synth.wan_animate.tiny import FACE_PX, save

SMALL = WanAnimateOptions(steps=2, segment=5, area_px=48 * 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("weights"))


def painted(model: WanAnimate, seed: int = 0) -> NDArray[np.uint8]:
    draw = np.random.default_rng(3)
    reference = draw.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    pose = list(draw.integers(0, 256, (5, 32, 48, 3), dtype=np.uint8))
    face = list(draw.integers(0, 256, (5, FACE_PX, FACE_PX, 3), dtype=np.uint8))
    return model.paint(reference, pose, face, model.begin(seed), SMALL).pictures


def test_the_words_are_read_once_and_their_model_is_let_go(folder: Path) -> None:
    model = load_weights(folder, SMALL)
    assert model._pipeline.text_encoder is None
    other = load_weights(folder, WanAnimateOptions(steps=2, segment=5, prompt="dancing"))
    assert not np.array_equal(painted(model), painted(other))


def test_weights_kept_in_eight_bits_make_nearly_the_same_picture(folder: Path) -> None:
    plain, small = load_weights(folder, SMALL), load_weights(folder, WanAnimateOptions(segment=5, quantize="fp8"))
    kept = {p.dtype for p in small._pipeline.transformer.blocks.parameters()}
    assert torch.float8_e4m3fn in kept
    off = np.abs(painted(plain).astype(int) - painted(small))
    print(f"largest difference {off.max()} levels, mean {off.mean():.2f}")
    assert 0 < off.mean() < 8


def test_layers_that_come_when_their_turn_is_make_the_same_picture(folder: Path) -> None:
    pipeline = SegmentPipeline.from_pretrained(folder, local_files_only=True)
    place(pipeline, "group", "cpu")
    assert np.array_equal(painted(WanAnimate(pipeline, SMALL.prompt)), painted(load_weights(folder, SMALL)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to move them to")
@pytest.mark.parametrize("offload", ["model", "group"])
def test_without_a_gpu_there_is_nothing_to_move_weights_to(folder: Path, offload: Any) -> None:
    with pytest.raises(InputError, match=rf"--offload {offload} moves weights to a GPU and back, and there is none"):
        load_weights(folder, WanAnimateOptions(offload=offload))


def rewritten(folder: Path, **changed: Any) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **changed}))


def not_json(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def of_another_kind(folder: Path) -> None:
    rewritten(folder, _class_name="WanPipeline")


def with_a_strangers_part(folder: Path) -> None:
    rewritten(folder, vae=["os", "system"])


def cut_short(folder: Path) -> None:
    (weights,) = (folder / "vae").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:200])


def left_out(folder: Path) -> None:
    (weights,) = (folder / "transformer").glob("*.safetensors")
    weights.unlink()


def of_another_size(folder: Path) -> None:
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "ffn_dim": 64}))


@pytest.mark.parametrize(("damage", "says"), [
    (not_json, "holds no weights; wanted Wan-Animate's"), (of_another_kind, "holds a WanPipeline; wanted a WanAnimatePipeline"),
    (with_a_strangers_part, "names parts of os; wanted parts of diffusers and transformers alone"),
    (cut_short, "cannot be read"), (left_out, "cannot be read"), (of_another_size, "cannot be read"),
])  # fmt: skip
def test_damaged_or_other_weights_are_refused(damage: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    save(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=says):
        load_weights(tmp_path, SMALL)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no weights"):
        check_weights(tmp_path / "nowhere", SMALL)


def test_a_library_that_is_missing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = __import__("importlib.util").util.find_spec
    for missing, options, says in (
        ("transformers", SMALL, r"wan-animate needs transformers, .* make wan-animate"),
        (
            "bitsandbytes",
            WanAnimateOptions(quantize="nf4"),
            "--quantize nf4 needs bitsandbytes, .* pip install bitsandbytes",
        ),
    ):
        monkeypatch.setattr(
            "synth.wan_animate.weights.find_spec",
            lambda name, missing=missing: None if name == missing else there(name),
        )
        with pytest.raises(InputError, match=says):
            check_weights(folder, options)


@pytest.mark.parametrize(("options", "says"), [
    ({"segment": 76}, "--segment is 76, wanted one more than a multiple of 4"), ({"segment": 9, "overlap": 5}, "more than twice the overlap"),
    ({"overlap": 2}, "--overlap is 2, wanted 1 or 5"), ({"steps": 0}, "steps is 0"), ({"area_px": 9}, "--area is 9 px"),
    ({"offload": "all"}, "--offload is 'all'; wanted none, model, group"), ({"quantize": "q4"}, "--quantize is 'q4'; wanted none, fp8"),
])  # fmt: skip
def test_options_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        WanAnimateOptions(**options)
