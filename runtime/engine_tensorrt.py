"""TensorRT as an engine: one way for both of its Python modules, `tensorrt_rtx` and `tensorrt`.

`tensorrt_rtx` builds for any GPU without having one, on the machine that exports; its kernels are compiled where
they run. `tensorrt` builds where it will run. Both are given strongly typed networks, so an engine computes in the
numbers that the ONNX model says, and what was checked of the model holds for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runtime.engine import Engine, EngineError, Spec, Tensor
from runtime.errors import InputError
from runtime.output import whole_file

RTX, CENTRE = "tensorrt_rtx", "tensorrt"
OLDEST, NEVER = 75, (90, 100, 103)  # compute capabilities: RTX wants this or newer, and none of the data centre's

_log = logging.getLogger(__name__)


def module_for(capability: int | None) -> str:
    """Which module runs, or without a GPU builds, for a compute capability like 89; raises EngineError."""
    rtx, centre = (find_spec(name) is not None for name in (RTX, CENTRE))
    if capability is None:
        if not rtx:
            raise EngineError(f"{RTX} is not installed, and only that builds without a GPU")
        return RTX
    for_rtx = capability >= OLDEST and capability not in NEVER
    if rtx and for_rtx:
        return RTX
    if centre:
        return CENTRE
    if rtx:
        raise EngineError(f"{RTX} does not run on sm_{capability}; wanted {CENTRE}")
    raise EngineError(f"neither {RTX} nor {CENTRE} is installed")


def load(name: str) -> Any:
    """One of the modules; raises EngineError."""
    try:
        return import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: its own word for a missing library
        raise EngineError(f"{name} cannot be loaded ({' '.join(str(error).split())[:200]})") from error


def build(model: bytes, name: str, capability: int | None = None) -> bytes:
    """An ONNX model as a plan; for a compute capability like 89, where the module is RTX. Raises EngineError."""
    trt = load(name)
    said = _listener(trt)
    builder = trt.Builder(said)
    if builder is None:
        raise EngineError(f"{name} gives no builder here ({said.last()})")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, said)
    if not parser.parse(model):
        errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(f"{name} cannot read the model ({errors[:300]})")
    config = builder.create_builder_config()
    if name == RTX and capability is not None:
        target = getattr(trt.ComputeCapability, f"SM{capability}", None)
        if target is None:
            raise EngineError(f"{name} {trt.__version__} knows no sm_{capability}")
        config.num_compute_capabilities = 1
        config.set_compute_capability(target, 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{name} builds no engine ({said.last()})")
    return bytes(plan)


class TensorRTEngine(Engine):
    """A plan, on the GPU that torch uses. Raises EngineError where it does not run.

    The kernels that RTX compiles for that GPU are kept in a file, so that the next start compiles none.
    """

    def __init__(self, plan: bytes, name: str, kernels: Path | None = None) -> None:
        trt = load(name)
        said = _listener(trt)
        self._runtime = trt.Runtime(said)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        self._compiled: Any = None  # what RTX has compiled, until it is kept
        self._kernels = kernels
        self._context: Any = None if self._engine is None else self._begin(trt, name)
        if self._context is None:
            raise EngineError(f"{name} does not run the engine ({said.last()})")
        types = {trt.float32: "float32", trt.float16: "float16"}
        specs: dict[Any, dict[str, Spec]] = {trt.TensorIOMode.INPUT: {}, trt.TensorIOMode.OUTPUT: {}}
        for i in range(self._engine.num_io_tensors):
            tensor = self._engine.get_tensor_name(i)
            spec = Spec(tuple(self._engine.get_tensor_shape(tensor)), types[self._engine.get_tensor_dtype(tensor)])
            specs[self._engine.get_tensor_mode(tensor)][tensor] = spec
        told = f"{'TensorRT-RTX' if name == RTX else 'TensorRT'} {trt.__version__}"
        super().__init__(told, "cuda", specs[trt.TensorIOMode.INPUT], specs[trt.TensorIOMode.OUTPUT])

    def _run(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        import torch

        held = {name: tensor.contiguous() for name, tensor in tensors.items()}
        results = {
            name: torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device=self.device)
            for name, spec in self.outputs.items()
        }
        for name, tensor in {**held, **results}.items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError(f"{self.told} failed to start a call")
        if self._compiled is not None and self._kernels is not None:
            self._keep(self._kernels)
        return results

    def _begin(self, trt: Any, name: str) -> Any:
        if name != RTX:
            return self._engine.create_execution_context()
        settings = self._engine.create_runtime_config()
        settings.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._compiled = settings.create_runtime_cache()
        if self._kernels is not None and self._kernels.exists():
            self._compiled.deserialize(self._kernels.read_bytes())  # RTX refuses what is not of this GPU and version
        settings.set_runtime_cache(self._compiled)
        return self._engine.create_execution_context(settings)

    def _keep(self, path: Path) -> None:
        compiled, self._compiled = self._compiled, None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path, force=True) as partial:
                partial.write_bytes(bytes(compiled.serialize()))
        except (OSError, InputError) as error:
            _log.warning("what was compiled is not kept for the next start: %s", error)


def _listener(trt: Any) -> Any:
    """A logger that keeps what it is told instead of printing it."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(text)

        def last(self) -> str:
            return " ".join(self.errors[-1].split())[:300] if self.errors else "it does not say why"

    return Listener()
