"""Streamed equals whole: a chain of stages gives what its parts give one after another."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from runtime.stage import Chain, Stage, run


class Gather:
    """Hold `size` numbers, then give all of them; the rest comes with the flush."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[int] = []

    def push(self, item: int) -> Iterable[int]:
        self._held.append(item)
        return self.flush() if len(self._held) >= self._size else []

    def flush(self) -> Iterable[int]:
        held, self._held = self._held, []
        return held


class Delay:
    """Each number with the one before it; the last one is told at the flush that nothing follows."""

    def __init__(self) -> None:
        self._last: int | None = None

    def push(self, item: int) -> Iterable[int]:
        last, self._last = self._last, item
        return [] if last is None else [last * 3 + item]

    def flush(self) -> Iterable[int]:
        last, self._last = self._last, None
        return [] if last is None else [last * 3]


class Repeat:
    """Each number as often as its last digit says: none, one or many out of one in."""

    def push(self, item: int) -> Iterable[int]:
        return [item] * (item % 4)

    def flush(self) -> Iterable[int]:
        return []


stages = st.lists(
    st.one_of(st.integers(1, 5).map(Gather), st.builds(Delay), st.builds(Repeat)),
    min_size=1,
    max_size=4,
)
numbers = st.lists(st.integers(0, 1000), max_size=30)


def one_after_another(parts: list[Stage[int, int]], items: list[int]) -> list[int]:
    for part in parts:
        items = list(run(part, items))
    return items


@given(stages, numbers)
def test_a_chain_gives_what_its_stages_give_one_after_another(parts: list[Stage[int, int]], items: list[int]) -> None:
    chain: Chain[int, int] = Chain(*parts)
    assert list(run(chain, items)) == one_after_another(parts, items)


@given(stages, numbers, numbers)
def test_a_flushed_chain_is_as_new(parts: list[Stage[int, int]], first: list[int], second: list[int]) -> None:
    chain: Chain[int, int] = Chain(*parts)
    list(run(chain, first))
    assert list(run(chain, second)) == one_after_another(parts, second)


@given(stages, st.integers(0, 4), numbers)
def test_chains_of_chains_are_the_same_chain(parts: list[Stage[int, int]], cut: int, items: list[int]) -> None:
    left, right = parts[:cut], parts[cut:]
    groups: list[Stage[int, int]] = [Chain(*group) for group in (left, right) if group]
    assert list(run(Chain[int, int](*groups), items)) == one_after_another(parts, items)


def test_what_is_ready_comes_out_at_once() -> None:
    chain: Chain[int, int] = Chain(Repeat(), Delay())
    assert list(chain.push(2)) == [8]
    assert list(chain.push(1)) == [7]
    assert list(chain.flush()) == [3]
    assert list(chain.flush()) == []
