"""A network in eight bits: how large its numbers get while it sees real performances, and the model that uses it.

`measure` runs an ONNX model on what it was given during performances and keeps the range of whatever will be rounded.
`quantized` puts a rounding to eight bits around each convolution, which a runtime takes for the order to compute it in
integers. All else stays as it is. Nothing here knows what the network is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.engine import EngineError

Flavour = Literal["uint8", "int8", "fp8"]  # uint8 is what CPUs like; TensorRT wants int8 or fp8, symmetric
MOST = {"uint8": 255.0, "int8": 127.0, "fp8": 448.0}  # the largest number of each


@dataclass(frozen=True)
class Range:
    low: float
    high: float

    def wider(self, values: NDArray[Any]) -> Range:
        return Range(min(self.low, float(values.min())), max(self.high, float(values.max())))


Ranges = Mapping[str, Range]  # by the tensor's name in the model


def measure(model: bytes, performances: Iterable[Mapping[str, NDArray[Any]]]) -> dict[str, Range]:
    """The range of every tensor that `quantized` rounds, over calls of the model; raises EngineError."""
    onnx, ort = _libraries()
    told = onnx.load_from_string(model)
    inputs = {each.name for each in told.graph.input}
    names = [name for name in _rounded(told.graph) if name not in inputs]
    outputs = {each.name for each in told.graph.output}
    told.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in names if n not in outputs)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(told.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ranges = {name: Range(0.0, 0.0) for name in _rounded(told.graph)}  # 0 must be exact: borders are padded with it
    for call in performances:
        seen = {**call, **dict(zip(names, session.run(names, dict(call)), strict=True))}
        ranges = {name: known.wider(seen[name]) for name, known in ranges.items()}
    return ranges


def quantized(model: bytes, ranges: Ranges, flavour: Flavour) -> bytes:
    """The model with its convolutions in eight bits."""
    onnx, _ = _libraries()
    told = onnx.load_from_string(model)
    writer = _Writer(onnx, told.graph, ranges, flavour)
    nodes = [new for node in told.graph.node for new in writer.rounded(node)]
    del told.graph.node[:]
    told.graph.node.extend(nodes)
    onnx.checker.check_model(told)
    return bytes(told.SerializeToString())


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"{error.name} is not installed") from error
    return onnx, onnxruntime


def _rounded(graph: Any) -> list[str]:
    """Names of the tensors that go into and come out of convolutions."""
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    return list(dict.fromkeys(name for node in convolutions for name in (node.input[0], node.output[0])))


class _Writer:
    """Nodes of a graph, written anew with roundings around them."""

    def __init__(self, onnx: Any, graph: Any, ranges: Ranges, flavour: Flavour) -> None:
        self._onnx, self._graph, self._ranges, self._flavour = onnx, graph, ranges, flavour
        self._weights = {each.name: each for each in graph.initializer}
        self._known: dict[str, str] = {}  # what was rounded already, by its name

    def rounded(self, node: Any) -> list[Any]:
        """The node, with what belongs before and after it."""
        if node.op_type != "Conv":
            return [node]
        before: list[Any] = []
        new = self._onnx.NodeProto()
        new.CopyFrom(node)
        half = self._weights[node.input[1]].data_type == self._onnx.TensorProto.FLOAT16
        kind = np.float16 if half else np.float32
        new.input[0], scale = self._around(node.input[0], before, kind)
        new.input[1], scales = self._weight(node.input[1], before, kind)
        if self._flavour != "uint8":
            return [*before, new]
        if len(node.input) > 2:  # exporters leave out a bias of nothing
            new.input[2] = self._bias(node.input[2], scale * scales, before)  # there the whole sum is in integers
        exact = new.output[0] = f"{node.output[0]}_exact"
        after: list[Any] = []
        self._around(exact, after, kind, known_as=node.output[0], back_to=node.output[0])
        return [*before, new, *after]

    def _around(
        self, name: str, nodes: list[Any], kind: Any, *, known_as: str | None = None, back_to: str | None = None
    ) -> tuple[str, float]:
        """A tensor to eight bits and back; where it is then, and what one step of it is."""
        span = self._ranges[known_as or name]
        if self._flavour == "uint8":
            scale = max(span.high - span.low, 1e-12) / MOST["uint8"]
            zero = round(-span.low / scale)
        else:
            scale, zero = max(-span.low, span.high, 1e-12) / MOST[self._flavour], 0
        back = back_to or f"{name}_rounded"
        if self._known.get(name) != back:
            self._known[name] = back
            steps = [self._constant(f"{name}_scale", np.array(scale, kind)), self._zero(name, (), self._flavour, zero)]
            helper = self._onnx.helper
            nodes.append(helper.make_node("QuantizeLinear", [name, *steps], [f"{name}_eight"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_eight", *steps], [back]))
        return back, scale

    def _weight(self, name: str, nodes: list[Any], kind: Any) -> tuple[str, NDArray[np.float64]]:
        """A convolution's weights as eight-bit numbers, each channel with a step of its own."""
        values = self._onnx.numpy_helper.to_array(self._weights[name]).astype(np.float64)
        weights: Flavour = "fp8" if self._flavour == "fp8" else "int8"
        scales = np.maximum(np.abs(values).reshape(len(values), -1).max(1), 1e-12) / MOST[weights]
        scaled = values / scales[:, None, None, None]
        helper = self._onnx.helper
        back, eight = f"{name}_rounded", f"{name}_eight"
        steps = [self._constant(f"{name}_scale", scales.astype(kind)), self._zero(name, (len(values),), weights, 0)]
        if weights == "fp8":
            number = self._onnx.TensorProto.FLOAT8E4M3FN
            self._graph.initializer.append(helper.make_tensor(eight, number, scaled.shape, scaled.ravel()))
        else:
            self._constant(eight, np.round(scaled).astype(np.int8))
        nodes.append(helper.make_node("DequantizeLinear", [eight, *steps], [back], axis=0))
        return back, scales

    def _bias(self, name: str, scales: NDArray[np.float64], nodes: list[Any]) -> str:
        values = self._onnx.numpy_helper.to_array(self._weights[name]).astype(np.float64)
        steps = [
            self._constant(f"{name}_scale", scales.astype(np.float32)),
            self._constant(f"{name}_zero", np.zeros(len(values), np.int32)),
        ]
        whole = self._constant(f"{name}_whole", np.round(values / scales).astype(np.int32))
        nodes.append(self._onnx.helper.make_node("DequantizeLinear", [whole, *steps], [f"{name}_rounded"], axis=0))
        return f"{name}_rounded"

    def _zero(self, of: str, shape: tuple[int, ...], flavour: Flavour, zero: int) -> str:
        name = f"{of}_zero"
        if flavour == "fp8":
            number = self._onnx.TensorProto.FLOAT8E4M3FN
            n = int(np.prod(shape))
            self._graph.initializer.append(self._onnx.helper.make_tensor(name, number, shape, [0.0] * n))
            return name
        return self._constant(name, np.full(shape, zero, flavour))

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(array, name))
        return name
