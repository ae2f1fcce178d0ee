"""An ONNX model as an engine, run by ONNX Runtime, on the CPU or by CUDA."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from runtime.engine import Engine, EngineError, Spec, Tensor

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


def provider_for(device: str) -> str:
    """What runs models on a device; raises EngineError where nothing does."""
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError("onnxruntime is not installed") from error
    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise EngineError(f"this onnxruntime has no {provider}; wanted onnxruntime-gpu")
    return provider


class OnnxEngine(Engine):
    """Raises EngineError where the model cannot be run here."""

    def __init__(self, model: bytes, device: str = "cpu") -> None:
        provider = provider_for(device)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0  # 0: all
        options.log_severity_level = 3  # errors; they are raised as well
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others want the cores too
        try:
            session: Any = onnxruntime.InferenceSession(model, options, providers=[provider])
        except Exception as error:  # onnxruntime's errors have no class of their own in common
            raise EngineError(f"onnxruntime refuses the model ({' '.join(str(error).split())[:200]})") from error
        if session.get_providers()[0] != provider:
            raise EngineError(f"onnxruntime's {provider} does not start here")
        inputs, outputs = (
            {each.name: Spec(tuple(each.shape), TYPES[each.type]) for each in told}
            for told in (session.get_inputs(), session.get_outputs())
        )
        where = "CUDA" if device == "cuda" else "CPU"
        super().__init__(f"ONNX Runtime {onnxruntime.__version__} ({where})", device, inputs, outputs)
        self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self._session = session

    def _run(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        import torch

        if self.device == "cpu":
            given = {name: tensor.detach().contiguous().numpy() for name, tensor in tensors.items()}
            made = self._session.run(list(self.outputs), given)
            return {name: torch.from_numpy(array) for name, array in zip(self.outputs, made, strict=True)}
        held = {name: tensor.contiguous() for name, tensor in tensors.items()}
        results = {
            name: torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device="cuda")
            for name, spec in self.outputs.items()
        }
        binding = self._session.io_binding()
        for name, tensor in held.items():
            binding.bind_input(name, "cuda", 0, self.inputs[name].dtype, tuple(tensor.shape), tensor.data_ptr())
        for name, tensor in results.items():
            binding.bind_output(name, "cuda", 0, self.outputs[name].dtype, tuple(tensor.shape), tensor.data_ptr())
        torch.cuda.current_stream().synchronize()  # ONNX Runtime has a stream of its own
        self._session.run_with_iobinding(binding)
        return results
