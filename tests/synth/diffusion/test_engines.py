"""Whoever runs the network, the pictures are the same, and one line says who it is and why not another."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")
pytest.importorskip("onnxscript", reason="make diffusion brings it")

import torch
from torch import Tensor

import synth.diffusion.engines as engines
from runtime.engine import Engine, EngineError
from runtime.engine_cache import Key, write
from runtime.engine_onnx import OnnxEngine
from runtime.engine_tensorrt import build
from runtime.engine_torch import TorchEngine
from runtime.errors import InputError
from synth.diffusion.engines import EngineNetwork, run_by
from synth.diffusion.model import FaceUNet, FrameOutput
from synth.diffusion.renderer import load_network
from synth.diffusion.step import Shapes, Step, by_chance, fingerprint, gap, to_onnx
from tests.synth.diffusion.network import network, pipeline

S = 32


@pytest.fixture(scope="module")
def unet() -> FaceUNet:
    return network(S)


@pytest.fixture(scope="module")
def model(unet: FaceUNet) -> bytes:
    return to_onnx(unet, Shapes(S, references=2))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


@pytest.fixture
def exported(model: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Shapes]:
    """The exporter, which takes seconds, done once; the shapes it was asked for."""
    asked: list[Shapes] = []

    def once(unet: FaceUNet, shapes: Shapes) -> bytes:
        asked.append(shapes)
        assert shapes == Shapes(S, references=2)
        return model

    monkeypatch.setattr(engines, "to_onnx", once)
    return asked


def call(unet: FaceUNet, seed: int = 1, streams: int = 1, frames: int = 1, references: int = 2) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = by_chance(unet, Shapes(S, streams, frames, references), seed)
    return tensors


def asked(who: Any, tensors: Mapping[str, Tensor]) -> FrameOutput:
    memory = tuple(tensors[name] for name in sorted(tensors) if name.startswith("memory"))
    with torch.no_grad():
        out: FrameOutput = who(*(tensors[n] for n in ("noisy", "time", "guide", "references")), memory)
    return out


def close(one: FrameOutput, other: FrameOutput) -> bool:
    pairs = [(one.frame, other.frame), *zip(one.memory, other.memory, strict=True)]
    return all(a.shape == b.shape and float((a - b).abs().max()) < 1e-4 for a, b in pairs)


def test_onnx_runtime_says_what_torch_says(unet: FaceUNet, model: bytes) -> None:
    engine = OnnxEngine(model)
    shapes = Shapes(S, references=2)
    assert (engine.inputs, engine.outputs) == (shapes.inputs(unet), shapes.outputs(unet))
    off = max(gap(unet, engine, call(unet, seed)) for seed in range(3))
    assert off < 1e-4, f"largest difference {off}"


def test_tensors_go_by_name_whatever_their_order(unet: FaceUNet) -> None:
    tensors = call(unet)
    backwards = dict(reversed(tensors.items()))
    with torch.no_grad():
        one, other = (Step(unet).by_name(**each) for each in (tensors, backwards))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_are_the_same_wherever_they_lie_and_others_with_any_number_changed(tmp_path: Path) -> None:
    for name in ("here", "there"):
        pipeline(S).save_pretrained(tmp_path / name)
    here, there = (load_network(tmp_path / name, "cpu").unet for name in ("here", "there"))
    assert fingerprint(here) == fingerprint(there)
    there.head.bias.data[3] += 1e-6
    assert fingerprint(here) != fingerprint(there)


def test_its_results_are_the_callers(unet: FaceUNet, model: bytes) -> None:
    engine = OnnxEngine(model)
    first = engine(call(unet, 1))
    kept = {name: x.clone() for name, x in first.items()}
    engine(call(unet, 2))
    assert all(torch.equal(kept[name], first[name]) for name in kept)


def test_a_model_that_is_none_is_refused() -> None:
    with pytest.raises(EngineError, match="onnxruntime refuses the model"):
        OnnxEngine(b"none")
    with pytest.raises(EngineError, match="this onnxruntime has no CUDAExecutionProvider; wanted onnxruntime-gpu"):
        OnnxEngine(b"none", "cuda")


@pytest.mark.slow
def test_the_network_as_it_ships_is_near_in_half_precision_and_built_for_gpus_that_are_not_here() -> None:
    pytest.importorskip("tensorrt_rtx", reason="make tensorrt installs it")
    torch.manual_seed(0)
    unet = FaceUNet().eval()
    with torch.no_grad():
        for value in unet.parameters():
            if not value.any():
                value.normal_(0, 0.02)
    shapes = Shapes(256)
    made = to_onnx(copy.deepcopy(unet).half(), shapes)
    half = OnnxEngine(made)
    assert half.inputs["guide"].dtype == "float16"
    off = max(gap(unet, half, by_chance(unet, shapes, seed)) for seed in range(2))
    assert off < 1e-2, f"largest difference {off}"
    weights = 2 * sum(p.numel() for p in unet.parameters())
    plans = {capability: build(made, "tensorrt_rtx", capability) for capability in (86, 89, 120)}
    assert all(len(plan) > 0.7 * weights for plan in plans.values())  # the references' encoder is another model
    assert len(set(plans.values())) == 3
    with pytest.raises(EngineError, match=r"tensorrt_rtx .+ knows no sm_90"):
        build(made, "tensorrt_rtx", 90)


def test_an_engine_is_proven_kept_and_found_again(
    unet: FaceUNet, exported: list[Shapes], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EngineNetwork(unet, fingerprint(unet), "onnx")
    assert close(asked(first, call(unet)), asked(unet, call(unet)))
    assert len(exported) == 1
    (file,) = folder.iterdir()
    assert file.name == f"{fingerprint(unet)[:12]}-32-1x1-2-fp32-onnxruntime-cpu.engine"
    (who,) = first.told()
    assert who.startswith("painted by ONNX Runtime")
    assert who.endswith("(CPU) in fp32")
    again = EngineNetwork(unet, fingerprint(unet), "onnx")
    asked(again, call(unet))
    assert len(exported) == 1
    file.write_bytes(file.read_bytes()[:-9])
    asked(EngineNetwork(unet, fingerprint(unet), "onnx"), call(unet))
    assert len(exported) == 2


def test_an_engine_that_says_something_else_is_not_used(
    unet: FaceUNet, exported: list[Shapes], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = network(S, seed=5)
    out = asked(EngineNetwork(other, fingerprint(other), "onnx"), call(other))
    assert close(out, asked(other, call(other)))
    assert "onnx does not run the network: what it makes differs from torch's by" in caplog.text
    assert "; torch does instead" in caplog.text
    assert not folder.exists(), "it is not kept either"


def test_what_is_missing_is_said_once_and_torch_does_it(unet: FaceUNet, caplog: pytest.LogCaptureFixture) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    runs = EngineNetwork(unet, fingerprint(unet), "tensorrt")
    for _ in range(2):
        assert close(asked(runs, call(unet)), asked(unet, call(unet)))
    assert [r.getMessage() for r in caplog.records] == [
        "tensorrt does not run the network: torch has no GPU here; torch does instead"
    ]


def test_a_library_that_breaks_is_named_and_torch_does_it(
    unet: FaceUNet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> bytes:
        raise KeyError("an operator that nobody knows")

    monkeypatch.setattr(engines, "to_onnx", broken)
    runs = EngineNetwork(unet, fingerprint(unet), "onnx")
    assert close(asked(runs, call(unet)), asked(unet, call(unet)))
    assert "onnx does not run the network: KeyError: 'an operator that nobody knows'; torch does instead" in caplog.text


def test_what_does_not_compile_is_said_and_torch_does_it(
    unet: FaceUNet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def uncompilable(*_: object, **__: object) -> Any:
        def call(**__: object) -> Any:
            raise RuntimeError("no C++ compiler")

        return call

    monkeypatch.setattr(torch, "compile", uncompilable)
    runs = EngineNetwork(unet, fingerprint(unet), "compile")
    assert close(asked(runs, call(unet)), asked(unet, call(unet)))
    said = "compile does not run the network: RuntimeError: no C++ compiler; torch does instead"
    assert said in caplog.text


@dataclass(frozen=True)
class Gpu:
    """A machine whose GPU is this one's CPU, and on which a plan's bytes do what torch does."""

    capability: int = 89
    version: str = "1.7.1"

    def stand_in(self, unet: FaceUNet, monkeypatch: pytest.MonkeyPatch) -> None:
        def ran(plan: bytes, module: str, kernels: Path) -> Engine:
            assert (plan, module, kernels.suffix) == (b"a plan", "tensorrt_rtx", ".kernels")
            shapes = Shapes(S, references=2)
            return TorchEngine(Step(unet).by_name, "cpu", shapes.inputs(unet), shapes.outputs(unet))

        monkeypatch.setattr(EngineNetwork, "_capability", lambda _: self.capability)
        monkeypatch.setattr(engines, "load", lambda name: SimpleNamespace(__version__=self.version))
        monkeypatch.setattr(engines, "TensorRTEngine", ran)


def plan_for(unet: FaceUNet, path: Path) -> Path:
    key = Key(
        model=fingerprint(unet), shapes=str(Shapes(S, references=2)), precision="int8", runs_on="sm_89", gpu="",
        library="tensorrt_rtx 1.7.1", builder="torch 2.13.0",
    )  # fmt: skip
    write(path, key, b"a plan")
    return path


def test_an_exported_engine_in_eight_bits_paints(
    unet: FaceUNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gpu().stand_in(unet, monkeypatch)
    mine = pipeline(S)
    run_by(mine, plan_for(mine.unet, tmp_path / "mine.engine"))
    assert mine.told()[0].endswith("in int8")
    guide, references = call(unet)["guide"], call(unet)["references"]
    one, other = (p(guide, references, p.begin(1, S)).pictures for p in (mine, pipeline(S)))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        (None, "torch has no GPU here"),
        (Gpu(capability=120), "it is for sm_89, and this GPU is sm_120"),
        (Gpu(version="1.8.0"), "it was built by tensorrt_rtx 1.7.1, and here is 1.8.0"),
    ],
)
def test_an_exported_engine_is_for_one_gpu_and_one_library(
    gpu: Gpu | None, said: str, unet: FaceUNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gpu is not None:
        gpu.stand_in(unet, monkeypatch)
    mine = pipeline(S)
    path = plan_for(mine.unet, tmp_path / "mine.engine")
    with pytest.raises(
        InputError, match=rf"mine\.engine cannot be used \({said}\); wanted what understudy export wrote"
    ):
        run_by(mine, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"mine\.engine cannot be used \(5 bytes of 6 are there\)"):
        run_by(mine, path)


def test_any_number_of_frames_and_streams_is_made_up_of_what_engines_paint_at_once(
    unet: FaceUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "FRAMES", (1, 4))
    made: list[Shapes] = []

    def by_torch(self: EngineNetwork, shapes: Shapes) -> Engine:
        made.append(shapes)
        return TorchEngine(Step(unet).by_name, "cpu", shapes.inputs(unet), shapes.outputs(unet))

    monkeypatch.setattr(EngineNetwork, "_onnx", by_torch)
    runs = EngineNetwork(unet, "", "onnx", streams=3)
    runs.ready(S, 10, 2)
    assert sorted(map(str, made)) == ["32-1x1-2", "32-1x4-2", "32-2x1-2", "32-2x4-2"]
    tensors = call(unet, streams=5, frames=6)
    assert close(asked(runs, tensors), asked(unet, tensors))
    assert len(made) == 4


def test_torch_on_a_cpu_takes_any_shapes_at_once(unet: FaceUNet) -> None:
    runs = EngineNetwork(unet, "", "torch")
    tensors = call(unet, streams=3, frames=5)
    assert close(asked(runs, tensors), asked(unet, tensors))
    assert list(map(str, runs._engines)) == ["32-3x5-2"]


def test_an_exported_model_is_used_for_its_weights_and_no_others(
    tmp_path: Path, model: bytes, unet: FaceUNet, caplog: pytest.LogCaptureFixture
) -> None:
    onnx = pytest.importorskip("onnx")
    told = onnx.load_from_string(model)
    made = {engines.MADE_OF: fingerprint(unet), engines.PRECISION: "fp32"}
    onnx.helper.set_model_props(told, made)
    path = tmp_path / "mine.onnx"
    onnx.save(told, path)
    mine = pipeline(S)
    run_by(mine, path)
    assert mine.told()[0].endswith("(CPU) in fp32")
    plain = pipeline(S)
    guide = call(unet, frames=1)["guide"]
    references = call(unet)["references"]
    one, other = (p(guide, references, p.begin(1, S)).pictures for p in (mine, plain))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    run_by(mine, path).prepare(Shapes(S, references=3))
    assert "mine.onnx is for 32-1x1-2 and not for 32-1x1-3, which torch does" in caplog.text
    stranger = pipeline(S)
    stranger.unet.head.bias.data += 1
    with pytest.raises(InputError, match=r"mine\.onnx was not exported from these weights"):
        run_by(stranger, path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"mine\.onnx cannot be used \(onnxruntime refuses the model"):
        run_by(mine, path)
