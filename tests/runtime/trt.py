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


class CudaGraphStrategy(enum.Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class RuntimeCache:
    """What was compiled: here, nothing but the word that it was."""

    def __init__(self) -> None:
        self.known = b""

    def deserialize(self, blob: bytes) -> bool:
        if blob != b"compiled":
            return False
        self.known = blob
        return True

    def serialize(self) -> bytes:
        return self.known


class RuntimeConfig:
    def __init__(self) -> None:
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        self.cache = RuntimeCache()

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True


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


n_compiled = 0  # times that kernels were compiled


class Context:
    def __init__(self, config: RuntimeConfig | None = None) -> None:
        self._at: dict[str, int] = {}
        self._config = config

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._at[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        given, made = (
            np.ctypeslib.as_array(ctypes.cast(self._at[name], ctypes.POINTER(ctypes.c_float)), (N,))
            for name in ("x", "y")
        )
        made[:] = 2 * given
        global n_compiled
        if self._config is not None and not self._config.cache.known:
            n_compiled += 1
            self._config.cache.known = b"compiled"
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
            create_runtime_config=RuntimeConfig,
            num_io_tensors=2,
            get_tensor_name=lambda i: ("y", "x")[i],
            get_tensor_shape=lambda name: (N,),
            get_tensor_dtype=lambda name: float32,
            get_tensor_mode=lambda name: TensorIOMode.INPUT if name == "x" else TensorIOMode.OUTPUT,
        )
