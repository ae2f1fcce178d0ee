"""TensorRT's two modules are one engine: which of them, what is built, and what is said where nothing is.

What needs a GPU runs against a stand-in (`trt.py`); engines are really built by TensorRT-RTX where it is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch", reason="engines take torch's tensors; pip install torch")

import runtime.engine_tensorrt as engine_tensorrt  # noqa: E402
from runtime.engine import EngineError  # noqa: E402
from runtime.engine_tensorrt import TensorRTEngine, build, load, module_for  # noqa: E402
from tests.runtime import trt  # noqa: E402


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: type("Stream", (), {"cuda_stream": 0}))
    return trt


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(engine_tensorrt, "find_spec", lambda name: name if name in names else None)


def test_rtx_is_for_the_gpus_that_it_runs_on_and_the_other_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "tensorrt", "tensorrt_rtx")
    assert [module_for(c) for c in (75, 86, 89, 120, None)] == ["tensorrt_rtx"] * 5
    assert [module_for(c) for c in (70, 90, 100)] == ["tensorrt"] * 3
    installed(monkeypatch, "tensorrt")
    assert module_for(89) == "tensorrt"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    with pytest.raises(EngineError, match="neither tensorrt_rtx nor tensorrt is installed"):
        module_for(89)
    installed(monkeypatch, "tensorrt_rtx")
    with pytest.raises(EngineError, match="tensorrt_rtx does not run on sm_90; wanted tensorrt"):
        module_for(90)
    installed(monkeypatch, "tensorrt")
    with pytest.raises(EngineError, match="tensorrt_rtx is not installed, and only that builds without a GPU"):
        module_for(None)
    with pytest.raises(EngineError, match="no_such_module cannot be loaded"):
        load("no_such_module")


def test_a_plan_runs_by_name_and_its_results_are_the_callers(
    stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TensorRTEngine(build(b"a model", "tensorrt"), "tensorrt")
    assert engine.told == "TensorRT 10.0"
    assert list(engine.inputs) == ["x"]
    engine.device = "cpu"  # the stand-in's
    one = engine({"x": torch.arange(4.0)})["y"]
    two = engine({"x": torch.ones(8)[::2]})["y"]
    assert one.tolist() == [0, 2, 4, 6]
    assert two.tolist() == [2, 2, 2, 2]


def test_what_rtx_compiled_is_kept_and_compiled_anew_where_it_is_not_its_own(
    stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", stand_in)
    monkeypatch.setattr(trt, "n_compiled", 0)
    kernels = tmp_path / "an.kernels"

    def started() -> int:
        engine = TensorRTEngine(build(b"a model", "tensorrt"), "tensorrt_rtx", kernels)
        engine.device = "cpu"  # the stand-in's
        for _ in range(3):
            assert engine({"x": torch.ones(4)})["y"].tolist() == [2] * 4
        return trt.n_compiled

    assert [started(), started()] == [1, 1]
    kernels.write_bytes(b"another GPU's")
    assert [started(), started()] == [2, 2]


def test_failures_say_what_tensorrt_said(stand_in: ModuleType) -> None:
    with pytest.raises(EngineError, match=r"tensorrt cannot read the model \(invalid protobuf\)"):
        build(b"no model", "tensorrt")
    with pytest.raises(EngineError, match=r"tensorrt builds no engine \(out of memory\)"):
        build(b"too large", "tensorrt")
    with pytest.raises(EngineError, match=r"tensorrt does not run the engine \(the version tag does not match\)"):
        TensorRTEngine(b"another's", "tensorrt")


def test_rtx_knows_which_gpus_there_are() -> None:
    pytest.importorskip("tensorrt_rtx", reason="make tensorrt installs it")
    with pytest.raises(EngineError, match=r"tensorrt_rtx cannot read the model \(.+\)"):
        build(b"no model", "tensorrt_rtx", 89)


def test_rtx_without_a_gpu_says_so(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="make tensorrt installs it")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineError, match=r"tensorrt_rtx does not run the engine \(.+\)"):
        TensorRTEngine(b"a plan", "tensorrt_rtx")
