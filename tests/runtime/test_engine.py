"""Engines are called by name, refuse what they were not made for, and give what the caller keeps."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

torch = pytest.importorskip("torch", reason="engines take torch's tensors; pip install torch")

from runtime.engine import Engine, Spec, Tensor  # noqa: E402
from runtime.engine_torch import TorchEngine  # noqa: E402

PAIR = {"a": Spec((2, 3)), "b": Spec((2, 3))}


def difference(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    return {"less": a - b, "more": a + b}


def engine() -> TorchEngine:
    return TorchEngine(difference, "cpu", PAIR, {"less": Spec((2, 3)), "more": Spec((2, 3))})


def test_tensors_go_by_name_in_whatever_order() -> None:
    a, b = torch.rand(2, 3), torch.rand(2, 3)
    one, other = engine()({"a": a, "b": b}), engine()({"b": b, "a": a})
    assert torch.equal(one["less"], a - b)
    assert torch.equal(other["less"], a - b)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": (2, 3)}, "found tensors a; wanted a, b"),
        ({"a": (2, 3), "c": (2, 3)}, "found tensors a, c; wanted a, b"),
        ({"a": (2, 3), "b": (3, 2)}, r"b is \[3, 2\] float32, wanted \[2, 3\] float32"),
    ],
)
def test_what_is_not_as_it_should_be_is_named(given: Mapping[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        engine()({name: torch.zeros(shape) for name, shape in given.items()})


def test_other_numbers_and_another_device_are_refused() -> None:
    a = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"b is \[2, 3\] float16, wanted \[2, 3\] float32"):
        engine()({"a": a, "b": a.half()})
    with pytest.raises(ValueError, match="b is on meta, wanted it on cpu"):
        engine()({"a": a, "b": torch.zeros(2, 3, device="meta")})


def test_threads_take_turns() -> None:
    inside, most = 0, 0

    class Slow(Engine):
        def _run(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.01)
            inside -= 1
            return {}

    slow = Slow("slow", "cpu", {}, {})
    threads = [threading.Thread(target=slow, args=({},)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_what_is_compiled_is_run_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's compiler itself takes twenty seconds: whoever asks for it has it proven, here it is left out."""
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: lambda a, b: {"twice": 2 * network(a, b)["more"]})
    compiled = TorchEngine(difference, "cpu", PAIR, {"twice": Spec((2, 3))}, compiled=True)
    assert "(compiled, CPU)" in compiled.told
    assert torch.equal(compiled({"a": torch.ones(2, 3), "b": torch.ones(2, 3)})["twice"], torch.full((2, 3), 4.0))


def test_a_spec_tells_how_much_memory_it_takes() -> None:
    assert Spec((2, 3)).n_bytes == 24
    assert Spec((2, 3), "float16").n_bytes == 12
