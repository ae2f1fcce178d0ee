"""Which of a clip's frames is shown when, where a speech lasts longer than the clip or shorter.

Numbers and times alone: nothing here reads a file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from runtime.planes import ClipIndex

LENGTHS = ("bounce", "loop", "hold", "cut", "silence", "stretch")
"""bounce, loop, hold: as long as the speech, the clip going there and back, over again, or staying at its end;
cut: as long as the shorter of the two; silence: as long as the clip; stretch: the clip played slower or
faster, to last as long as the speech."""

ALIKE = Fraction(1, 8)  # seconds; a sound and a picture filmed together differ by as much


@dataclass(frozen=True)
class Timeline:
    """The frames of a result."""

    order: NDArray[np.int64]  # [N] the clip's frame that each shows
    times: list[Fraction]  # N + 1, seconds: when each begins, and when the last one ends

    def __len__(self) -> int:
        return len(self.order)

    @property
    def end(self) -> Fraction:
        return self.times[-1]

    @property
    def seconds(self) -> NDArray[np.float64]:
        """[N] when each begins."""
        return np.array([float(t) for t in self.times[:-1]])


def lay_out(index: ClipIndex, speech: Fraction, way: str, step: Fraction) -> Timeline:
    """Frames for a speech that lasts so many seconds from the first frame on.

    Frames stay whole, so a result is up to one of them longer than the speech. `step` is how long a frame
    of a clip played slower is shown.
    """
    assert way in LENGTHS, way
    assert len(index), "a clip of no frames"
    first, length = index.times[0], index.end - index.times[0]
    if way == "silence" or abs(speech - length) < ALIKE or (way == "cut" and speech > length):
        return Timeline(np.arange(len(index)), [*index.times, index.end])
    if way == "stretch":
        return _stretched(index, speech, step)
    order, times = [], [first]
    for number in _passes(len(index), way):
        if times[-1] - first >= speech:
            break
        order.append(number)
        times.append(times[-1] + index.durations[number])
    return Timeline(np.array(order, np.int64), times)


def _passes(n: int, way: str) -> Iterator[int]:
    """The frames of a clip of n for as long as they are asked for."""
    yield from range(n)
    while way == "loop":
        yield from range(n)
    while way == "bounce":
        yield from range(n - 2, 0, -1)
        yield from range(n)
    while way == "hold":
        yield n - 1


def _stretched(index: ClipIndex, speech: Fraction, step: Fraction) -> Timeline:
    first, length = index.times[0], index.end - index.times[0]
    n = max(1, -(-speech // step))
    speed = length / speech
    order = [bisect_right(index.times, first + i * step * speed) - 1 for i in range(n)]
    return Timeline(np.array(order, np.int64), [first + i * step for i in range(n + 1)])
