"""Which engines are found, and which is asked first."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="engines take torch's tensors; pip install torch")

import runtime.engines as engines
from runtime.engines import Found, look, order


def test_auto_takes_tensorrt_where_a_gpu_has_it_and_torch_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "gpu_capability", lambda: 89)
    monkeypatch.setattr(engines, "_tensorrt", lambda capability: Found("tensorrt", capability == 89, ""))
    assert order("auto", "cuda") == ["tensorrt", "torch"]
    assert order("auto", "cpu") == ["torch"]
    monkeypatch.setattr(engines, "gpu_capability", lambda: 90)
    assert order("auto", "cuda") == ["torch"]


def test_what_is_asked_for_is_tried_and_torch_is_left() -> None:
    assert order("onnx", "cpu") == ["onnx", "torch"]
    assert order("tensorrt", "cpu") == ["tensorrt", "torch"]
    assert order("torch", "cuda") == ["torch"]


def test_every_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    monkeypatch.setattr("runtime.engine_tensorrt.find_spec", lambda name: None)
    assert [(f.able, f.why) for f in look("cpu")] == [
        (False, "torch is not installed"),
        (False, "torch is not installed"),
        (False, "onnxruntime, onnx, onnxscript, torch not installed"),
        (False, "tensorrt_rtx is not installed, and only that builds without a GPU"),
    ]


def test_compiling_takes_a_compiler_and_on_a_gpu_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    there: set[str] = set()
    monkeypatch.setattr("shutil.which", lambda name: name if name in there else None)
    monkeypatch.setattr(engines, "find_spec", lambda name: name if name != "triton" else None)
    monkeypatch.setattr(engines, "gpu_capability", lambda: 90)

    def told(device: str | None) -> Found:
        return next(found for found in look(device) if found.name == "compile")

    assert told("cpu") == Found("compile", False, "torch compiles with a C++ compiler, and there is none")
    there |= {"g++", "gcc"}
    assert told("cpu").able
    assert told(None) == Found("compile", False, "torch compiles for GPUs with triton, which is not installed")


def test_a_gpu_that_rtx_does_not_run_on_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "gpu_capability", lambda: 90)
    monkeypatch.setattr("runtime.engine_tensorrt.find_spec", lambda name: name if name == "tensorrt_rtx" else None)
    told = {f.name: f for f in look()}
    assert told["tensorrt"] == Found("tensorrt", False, "tensorrt_rtx does not run on sm_90; wanted tensorrt")
    assert told["torch"].why.endswith("with CUDA graphs on sm_90")
