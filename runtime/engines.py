"""Which engines this machine has, why not the others, and which of them is asked first."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from runtime.engine import EngineError, EngineName, Wanted
from runtime.engine_tensorrt import load, module_for


@dataclass(frozen=True)
class Found:
    """What became of looking for one engine."""

    name: EngineName
    able: bool
    why: str  # what was found, or what is missing


def look(device: str | None = None) -> list[Found]:
    """Every engine, for a device, or for the best that torch has."""
    capability = None if device == "cpu" else gpu_capability()
    return [_torch(capability), _compile(capability), _onnx(capability), _tensorrt(capability)]


def order(wanted: Wanted, device: str) -> list[EngineName]:
    """Which are to be tried, the first first. `auto` asks only for what is there; torch is what is left."""
    if wanted != "auto":
        return ["torch"] if wanted == "torch" else [wanted, "torch"]
    if device == "cpu":  # ONNX Runtime is no faster there before a network is in eight bits, and takes building
        return ["torch"]
    return ["tensorrt", "torch"] if _tensorrt(gpu_capability()).able else ["torch"]


def gpu_capability() -> int | None:
    """Compute capability of the GPU that torch uses, like 89; None without one."""
    if find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return 10 * int(major) + int(minor)


def _torch(capability: int | None) -> Found:
    if find_spec("torch") is None:
        return Found("torch", False, "torch is not installed")
    how = "on the CPU" if capability is None else f"with CUDA graphs on sm_{capability}"
    return Found("torch", True, f"torch {version('torch')} {how}")


def _compile(capability: int | None) -> Found:
    if find_spec("torch") is None:
        return Found("compile", False, "torch is not installed")
    compilers = [os.environ.get("CXX"), "g++", "clang++"] if capability is None else [os.environ.get("CC"), "gcc", "cc"]
    compiler = next((name for name in compilers if name and shutil.which(name)), None)
    if compiler is None:
        return Found("compile", False, "torch compiles with a C++ compiler, and there is none")
    if capability is not None and find_spec("triton") is None:
        return Found("compile", False, "torch compiles for GPUs with triton, which is not installed")
    return Found("compile", True, f"torch {version('torch')} compiles with {compiler}, a minute at the first start")


def _onnx(capability: int | None) -> Found:
    missing = [name for name in ("onnxruntime", "onnx", "onnxscript", "torch") if find_spec(name) is None]
    if missing:
        return Found("onnx", False, f"{', '.join(missing)} not installed")
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        return Found("onnx", False, f"onnxruntime cannot be loaded ({error})")
    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if capability is not None and not cuda:
        return Found("onnx", False, f"ONNX Runtime {onnxruntime.__version__} is for the CPU; wanted onnxruntime-gpu")
    where = "by CUDA" if capability is not None else "on the CPU"
    return Found("onnx", True, f"ONNX Runtime {onnxruntime.__version__} {where}")


def _tensorrt(capability: int | None) -> Found:
    try:
        name = module_for(capability)
        found = f"{name} {load(name).__version__}"
    except EngineError as error:
        return Found("tensorrt", False, str(error))
    if capability is None:
        return Found("tensorrt", False, f"{found} builds engines for other machines; running them needs a GPU")
    return Found("tensorrt", True, f"{found} on sm_{capability}")
