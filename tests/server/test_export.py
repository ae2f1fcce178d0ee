"""`understudy export`: files that other runtimes read, what it says of them, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("diffusers", reason="make diffusion brings it")
pytest.importorskip("onnxscript", reason="make diffusion brings it")

import torch

from runtime.engine_cache import MAGIC
from runtime.engine_onnx import OnnxEngine
from runtime.errors import InputError
from runtime.image import load_image
from runtime.video import VideoReader
from server.act import ActOptions, act
from server.cli import run
from server.export import ExportOptions
from server.take import Tally
from synth.diffusion import engines, step
from synth.diffusion.model import N_REFERENCE, FaceUNet
from synth.diffusion.renderer import load_network
from synth.diffusion.step import Shapes
from tests.synth.diffusion.network import pipeline

S = 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "mine"
    pipeline(S, steps=2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def performed(portrait: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Options that say who performs what, watched and rigged once."""
    folder = tmp_path_factory.mktemp("performed")
    hero, take = folder / "hero.character", folder / "take.npz"
    assert run(["character", str(portrait), "-o", str(hero)]) == 0
    assert run(["capture", str(clip), "-o", str(take)]) == 0
    return ["--character", hero, "--performance", take]


@pytest.fixture(scope="module", autouse=True)
def each_model_is_exported_once() -> Iterator[None]:
    """The exporter takes seconds, and says the same of the same numbers and shapes."""
    known: dict[tuple[object, ...], bytes] = {}
    export = step.to_onnx

    def once(unet: FaceUNet, shapes: Shapes) -> bytes:
        key = step.fingerprint(unet), unet.dtype, shapes
        if key not in known:
            known[key] = export(unet, shapes)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (step, engines):
            patch.setattr(module, "to_onnx", once)
        yield


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert run(["export", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def render(portrait: Path, clip: Path, output: Path, **options: object) -> Tally:
    return act(portrait, clip, output, ActOptions(**options), lambda *_: None)  # type: ignore[arg-type]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run(["export", *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("understudy: ")
    return said.removeprefix("understudy: ").strip()


@pytest.mark.slow
def test_eight_bits_fitted_to_a_performance_then_act(
    portrait: Path, clip: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    performance = ["--character", portrait, "--performance", clip]
    said = told(capsys, "--weights", weights, "--precision", "int8", "-o", folder, *performance)
    path = folder / "mine-32-1x1-1-int8.onnx"
    encoder = folder / "mine-32-references-1.onnx"
    assert sorted(folder.iterdir()) == [path, encoder]
    random, likeness, wrote, _ = said["notes"]
    assert "on 12 moments of a performance" in random
    assert float(likeness.split()[1]) > 25
    assert wrote == f"wrote {path}"
    unet = load_network(weights, "cpu").unet
    shown = torch.randn(1, 1, N_REFERENCE, S, S)
    with torch.no_grad():
        attended = OnnxEngine(encoder.read_bytes())({"pictures": shown})["references"]
        torch.testing.assert_close(attended, unet.encode(shown), atol=1e-4, rtol=0)
    options = {"renderer": "diffusion", "weights": str(weights), "end": Fraction(1, 5)}
    plain, eight = (tmp_path / name for name in ("plain.mp4", "eight.mp4"))
    render(portrait, clip, plain, **options)
    (who,) = render(portrait, clip, eight, engine=str(path), **options).notes
    assert who.startswith("painted by ONNX Runtime")
    assert who.endswith("(CPU) in int8")
    for one, other in zip(pictures(plain), pictures(eight), strict=True):
        assert 0 < np.abs(one.astype(int) - other).mean() < 3  # of a network of chance, which changes all
    assert "exists; pass --force to write over it" in refused(
        capsys, "--weights", weights, "--precision", "int8", "-o", folder, *performance
    )


@pytest.mark.slow
def test_act_by_onnx_runtime_is_act_by_torch(
    portrait: Path, clip: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_ENGINES", str(tmp_path / "engines"))
    made = {}
    for engine in ("torch", "onnx"):
        options = {"renderer": "diffusion", "weights": str(weights), "engine": engine, "end": Fraction(1, 5)}
        (who,) = render(portrait, clip, tmp_path / f"{engine}-%d.png", **options).notes
        assert who.startswith({"torch": "painted by torch", "onnx": "painted by ONNX Runtime"}[engine])
        made[engine] = [load_image(path) for path in sorted(tmp_path.glob(f"{engine}-*.png"))]
    assert len(made["torch"]) == 5
    gaps = [np.abs(a.astype(int) - b).max() for a, b in zip(*made.values(), strict=True)]
    assert max(gaps) <= 1, f"largest difference {max(gaps)}"
    assert len(list((tmp_path / "engines").iterdir())) == 1


@pytest.mark.slow
def test_engines_for_gpus_that_are_not_here(
    weights: Path, performed: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="make tensorrt installs it")
    said = told(
        capsys, "--weights", weights, "--to", "tensorrt", "--precision", "int8", "-o", tmp_path,
        "--gpu", "sm_89", "--gpu", "sm_120", *performed,
    )  # fmt: skip
    files = sorted(tmp_path.glob("*.engine"))
    assert [f.name.split("-", 1)[1] for f in files] == [f"32-1x1-1-int8-tensorrt_rtx-sm_{n}.engine" for n in (120, 89)]
    assert all(f.read_bytes().startswith(MAGIC) for f in files)
    assert said["notes"][-1].startswith("wrote ")


@pytest.mark.slow
@pytest.mark.parametrize(("to", "precision"), [("onnx", "fp16"), ("tensorrt", "fp8")])
def test_every_precision_is_written_and_told_how_near_it_is(
    to: str, precision: str, weights: Path, performed: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if to == "tensorrt":
        pytest.importorskip("tensorrt_rtx", reason="make tensorrt installs it")
    options = ["--to", to, "--precision", precision, "-o", tmp_path, *performed]
    said = told(capsys, "--weights", weights, *options)
    wanted = {
        "onnx": ["32-1x1-1-fp16.onnx", "32-references-1.onnx"],
        "tensorrt": [f"32-1x1-1-fp8-tensorrt_rtx-{gpu}.engine" for gpu in ("sm_120", "sm_89")],  # no older one has fp8
    }
    written = sorted(path.name.split("-", 1)[1] for path in tmp_path.iterdir() if path.suffix in (".onnx", ".engine"))
    assert written == wanted[to]
    assert any("on 12 moments of a performance" in note for note in said["notes"])


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with VideoReader(path) as reader:
        return [frame.rgb for frame in reader]


def test_what_cannot_be_exported_is_refused_in_a_sentence(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    said = refused(capsys, "--model", "turbo", "--weights", weights, "-o", out)
    assert said == "--weights are of one network; wanted neither --model nor --random-weights beside them"
    assert refused(capsys, "-o", out) == ("found nothing to export; wanted --model base or turbo, or --weights FOLDER")
    assert "--precision fp8 is for GPUs that have it" in refused(
        capsys, "--model", "turbo", "--precision", "fp8", "-o", out
    )
    assert "holds no weights" in refused(capsys, "--weights", tmp_path, "-o", out)
    out.write_text("a file")
    assert "is a file; wanted the name of a folder" in refused(capsys, "--weights", weights, "-o", out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "large"}, "--model is 'large'; wanted base or turbo"),
        ({"model": "base", "to": "coreml"}, "--to is 'coreml'; wanted onnx or tensorrt"),
        ({"model": "base", "precision": "int4"}, "--precision is 'int4'; wanted fp32, fp16, int8, fp8"),
        ({"model": "base", "frames": 0}, "--frames is 0, wanted 1 or more"),
        ({"model": "base", "references": 5}, "--references is 5, wanted 1 to 4"),
        ({"model": "base", "gpus": ("RTX 4090",)}, "--gpu is 'RTX 4090'; wanted a compute capability, like sm_89"),
        ({"model": "base", "to": "tensorrt", "precision": "fp8", "gpus": ("sm_86",)}, "sm_86 computes in no fp8"),
        ({"model": "base", "character": Path("a.png")}, "wanted --character and --performance, or neither"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ExportOptions(**options)


def test_engines_are_for_the_gpus_that_have_the_precision() -> None:
    assert ExportOptions(model="base", to="tensorrt").targets == ("sm_86", "sm_89", "sm_120")
    assert ExportOptions(model="base", to="tensorrt", precision="fp8").targets == ("sm_89", "sm_120")


def test_an_engine_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"--engine is 'openvino'; wanted auto, torch, compile, onnx, tensorrt, or an exported"
    ):
        ActOptions(renderer="diffusion", engine="openvino")
    with pytest.raises(InputError, match=r"none\.onnx does not exist; wanted what understudy export wrote"):
        ActOptions(renderer="diffusion", engine=str(tmp_path / "none.onnx"))
    with pytest.raises(ValueError, match="--engine is not for the warp; wanted --renderer diffusion"):
        ActOptions(engine="torch")
