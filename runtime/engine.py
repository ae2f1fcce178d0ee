"""One way to call a network, whatever runs it.

Tensors go in and come out by name, never by position: an exporter may reorder outputs. What comes in is checked
against what the engine was made for; what comes out belongs to the caller, and no later call touches it. An engine
remembers nothing, so many streams share one; threads that call it take turns. torch loads when an engine is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, get_args

Tensor = Any  # torch.Tensor
EngineName = Literal["torch", "compile", "onnx", "tensorrt"]
Wanted = Literal["auto", "torch", "compile", "onnx", "tensorrt"]
Precision = Literal["fp32", "fp16", "int8", "fp8"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
N_BYTES = {"float32": 4, "float16": 2}


class EngineError(Exception):
    """An engine that cannot be had here, and why, as a clause: "onnxruntime is not installed"."""


@dataclass(frozen=True)
class Spec:
    """What one tensor must be."""

    shape: tuple[int, ...]
    dtype: str = "float32"  # as torch and NumPy call it

    @property
    def n_bytes(self) -> int:
        n = N_BYTES[self.dtype]
        for size in self.shape:
            n *= size
        return n

    def __str__(self) -> str:
        return f"{list(self.shape)} {self.dtype}"

    @classmethod
    def of(cls, tensor: Tensor) -> Spec:
        return cls(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


Specs = Mapping[str, Spec]


class Engine(ABC):
    """A network of fixed shapes."""

    def __init__(self, told: str, device: str, inputs: Specs, outputs: Specs) -> None:
        self.told = told  # for people: "ONNX Runtime 1.24 on the CPU"
        self.device, self.inputs, self.outputs = device, dict(inputs), dict(outputs)
        self._turn = Lock()

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Raises ValueError for tensors that are not what the engine was made for."""
        self._check(tensors)
        with self._turn:
            return self._run(tensors)

    @abstractmethod
    def _run(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors that are as they should be -> new ones."""

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        if tensors.keys() != self.inputs.keys():
            raise ValueError(f"found tensors {', '.join(sorted(tensors))}; wanted {', '.join(sorted(self.inputs))}")
        for name, spec in self.inputs.items():
            found = Spec.of(tensors[name])
            if found != spec:
                raise ValueError(f"{name} is {found}, wanted {spec}")
            if tensors[name].device.type != self.device:
                raise ValueError(f"{name} is on {tensors[name].device.type}, wanted it on {self.device}")
