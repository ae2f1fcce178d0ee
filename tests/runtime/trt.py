"""A stand-in for TensorRT's Python module that runs on a CPU: what it is given to build is what it computes.

It obeys the real one's contract as far as `runtime.engine_tensorrt` leans on it: results are written to addresses, a
plan of another module is refused, and errors go to the logger.
"""

from __future__ import annotations

import ctypes
import enum
from types import SimpleNamespace
from typing import Any

import numpy as np

__version__ = "10.0"
N = 4  # numbers in its tensors
float32, float16 = "f32", "f16"
PLAN = b"plan of a stand-in: "


class TensorIOMode(enum.Enum):
    INPUT = 0
    OUTPUT = 1


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def log(self, severity: Severity, text: str) -> None:
        raise NotImplementedError


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int) -> dict[str, bytes]:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return {}

    def create_builder_config(self) -> SimpleNamespace:
        return SimpleNamespace()

    def build_serialized_network(self, network: dict[str, bytes], config: SimpleNamespace) -> bytes | None:
        if network["model"] == b"too large":
            self._logger.log(ILogger.Severity.ERROR, "out of memory")
            return None
        return PLAN + network["model"]


class OnnxParser:
    def __init__(self, network: dict[str, bytes], logger: ILogger) -> None:
        self._network, self.num_errors = network, 0

    def parse(self, model: bytes) -> bool:
        self._network["model"] = model
        self.num_errors = int(model == b"no model")
        return not self.num_errors

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: "invalid protobuf")


class Context:
    def __init__(self) -> None:
        self._at: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._at[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        given, made = (
            np.ctypeslib.as_array(ctypes.cast(self._at[name], ctypes.POINTER(ctypes.c_float)), (N,))
            for name in ("x", "y")
        )
        made[:] = 2 * given
        return True


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if not plan.startswith(PLAN):
            self._logger.log(ILogger.Severity.ERROR, "the version tag does not match")
            return None
        return SimpleNamespace(
            create_execution_context=Context,
            num_io_tensors=2,
            get_tensor_name=lambda i: ("y", "x")[i],
            get_tensor_shape=lambda name: (N,),
            get_tensor_dtype=lambda name: float32,
            get_tensor_mode=lambda name: TensorIOMode.INPUT if name == "x" else TensorIOMode.OUTPUT,
        )
