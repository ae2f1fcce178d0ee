"""What every part of the house is: items in, ready items out, and a flush.

A stage owns no thread, socket, queue, clock or choice of device; two stages in a row are a stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
In = TypeVar("In")
Out = TypeVar("Out")


class Stage(Protocol[In_contra, Out_co]):
    def push(self, item: In_contra) -> Iterable[Out_co]:
        """Take one item; return what is ready now, oldest first."""

    def flush(self) -> Iterable[Out_co]:
        """Return what was held back, and be as new."""


class Chain(Generic[In, Out]):
    """Stages in a row, seen as one stage."""

    def __init__(self, *stages: Stage[Any, Any]) -> None:
        assert stages, "a chain of no stages"
        self._stages = stages

    def push(self, item: In) -> Iterable[Out]:
        ready: list[Any] = [item]
        for stage in self._stages:
            ready = [out for each in ready for out in stage.push(each)]
        return ready

    def flush(self) -> Iterable[Out]:
        ready: list[Any] = []
        for stage in self._stages:
            ready = [out for each in ready for out in stage.push(each)]
            ready.extend(stage.flush())
        return ready


def run(stage: Stage[In, Out], items: Iterable[In]) -> Iterator[Out]:
    """The offline driver: every item through the stage, then what it held back."""
    for item in items:
        yield from stage.push(item)
    yield from stage.flush()
