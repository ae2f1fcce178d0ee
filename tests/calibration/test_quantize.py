"""Eight bits fitted to what a network saw are near to what it says in single precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx", reason="make diffusion brings it")
ort = pytest.importorskip("onnxruntime", reason="make diffusion brings it")

from calibration.quantize import Flavour, Range, measure, quantized  # noqa: E402
from runtime.engine_tensorrt import build  # noqa: E402

Floats = NDArray[np.float32]


def model(kind: Any = np.float32, *, bias: bool = True) -> bytes:
    """Two convolutions with a sigmoid between them, the second beside a shortcut, and with or without a bias."""
    draw = np.random.default_rng(0)
    helper, number = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    constants = {
        "a.weight": draw.normal(0, 0.2, (16, 8, 3, 3)), "a.bias": draw.normal(0, 0.5, 16),
        "b.weight": draw.normal(0, 0.2, (8, 16, 1, 1)), "b.bias": draw.normal(0, 0.5, 8),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["first"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["first"], ["bent"]),
        helper.make_node("Conv", ["bent", "b.weight", *["b.bias"] * bias], ["second"], kernel_shape=[1, 1]),
        helper.make_node("Add", ["x", "second"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "toy", [helper.make_tensor_value_info("x", number, (1, 8, 12, 12))],
        [helper.make_tensor_value_info("y", number, (1, 8, 12, 12))],
        [onnx.numpy_helper.from_array(v.astype(kind), name) for name, v in constants.items() if bias or name != "b.bias"],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(made.SerializeToString())


def seen(n: int = 4, size: float = 1.0) -> list[dict[str, Floats]]:
    draw = np.random.default_rng(1)
    return [{"x": (size * draw.normal(0, 1, (1, 8, 12, 12))).astype(np.float32)} for _ in range(n)]


def ran(made: bytes, given: dict[str, Floats]) -> Floats:
    session = ort.InferenceSession(made, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, given)[0], np.float32)


def test_ranges_are_the_widest_of_all_calls_and_hold_nothing_at_all() -> None:
    calls = seen()
    ranges = measure(model(), calls)
    assert set(ranges) == {"x", "first", "bent", "second"}
    every = np.stack([call["x"] for call in calls])
    assert ranges["x"] == Range(float(every.min()), float(every.max()))
    assert ranges["bent"].low == 0, "a sigmoid is never 0, what stands around a picture is"
    assert measure(model(), seen(8))["x"].high >= ranges["x"].high


@pytest.mark.parametrize("bias", [True, False])
def test_bytes_on_a_cpu_are_near_and_computed_in_integers(bias: bool, tmp_path: Any) -> None:
    made, calls = model(bias=bias), seen(6)
    eight = quantized(made, measure(made, calls[:4]), "uint8")
    for call in calls:
        exact, rounded = ran(made, call), ran(eight, call)
        off = np.abs(exact - rounded).max()
        assert 0 < off < 0.15, f"largest difference {off}"
        assert np.abs(exact - rounded).mean() < 0.02
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "as_run.onnx")
    ort.InferenceSession(eight, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "as_run.onnx").graph.node]
    assert kinds.count("QLinearConv") == 2
    assert "Conv" not in kinds


@pytest.mark.parametrize(("flavour", "limit"), [("int8", 0.15), ("fp8", 0.6)])
def test_for_gpus_the_middle_is_nothing_and_sums_stay_as_they_are(flavour: Flavour, limit: float) -> None:
    made, calls = model(), seen()
    eight = quantized(made, measure(made, calls), flavour)
    graph = onnx.load_from_string(eight).graph
    constants = {each.name: each for each in graph.initializer}
    middles = [each for name, each in constants.items() if name.endswith("_zero")]
    assert len(middles) == 4
    assert not any(any(each.raw_data) or any(each.int32_data) for each in middles)
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert [node.input[2] for node in convolutions] == ["a.bias", "b.bias"]
    assert [node.output[0] for node in convolutions] == ["first", "second"]
    off = np.abs(ran(made, calls[0]) - ran(eight, calls[0])).max()
    assert 0 < off < limit, f"largest difference {off}"


def test_a_model_in_half_precision_has_steps_in_half_precision() -> None:
    made = model(np.float16)
    calls = [{"x": call["x"].astype(np.float16)} for call in seen()]
    graph = onnx.load_from_string(quantized(made, measure(made, calls), "int8")).graph
    steps = [each for each in graph.initializer if each.name.endswith("_scale")]
    assert {each.data_type for each in steps} == {onnx.TensorProto.FLOAT16}


def test_more_than_was_seen_is_held_at_the_range() -> None:
    made = model()
    eight = quantized(made, measure(made, seen(size=0.1)), "uint8")
    (far,) = seen(1, size=50.0)
    assert np.isfinite(ran(eight, far)).all()
    assert np.abs(ran(eight, far) - ran(made, far)).max() > 1


@pytest.mark.parametrize("flavour", ["int8", "fp8"])
def test_tensorrt_takes_it_for_the_order_to_compute_in_eight_bits(flavour: Flavour) -> None:
    pytest.importorskip("tensorrt_rtx", reason="make tensorrt installs it")
    made = model(np.float16)
    ranges = measure(made, [{"x": call["x"].astype(np.float16)} for call in seen()])
    plans = {build(quantized(made, ranges, flavour), "tensorrt_rtx", capability) for capability in (89, 120)}
    assert len(plans) == 2
    assert all(plan != build(made, "tensorrt_rtx", 89) for plan in plans)
