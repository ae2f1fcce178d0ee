"""Motion at other times than it was measured at: Motion -> Motion at an even rate.

Between two measured moments heads turn along the shortest arc and the rest moves in a straight
line; who was seen is what the nearer moment says. Times are exact fractions of a second, so a
thousand hours at 24000/1001 end where they should.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from runtime.records import Motion


class Resample:
    """Stage: Motion at any times -> Motion every 1/rate s from the first one's time on.

    The last Motion is held for as long as the one before it was, so a take keeps its length.
    """

    def __init__(self, rate: Fraction) -> None:
        if rate <= 0:
            raise ValueError(f"rate is {rate}, wanted more than 0 a second")
        self._step = 1 / rate
        self._begin()

    def _begin(self) -> None:
        self._first = Fraction(0)
        self._made = 0
        self._last: Motion | None = None
        self._held = Fraction(0)  # s the last but one was shown

    def push(self, item: Motion) -> list[Motion]:
        last = self._last
        if last is None:
            self._first = item.time
        elif item.time <= last.time:
            raise ValueError(f"motion time is {item.time} after {last.time}, wanted a later one")
        out = []
        while last is not None and self._next < item.time:
            out.append(between(last, item, self._next))
            self._made += 1
        if last is not None:
            self._held = item.time - last.time
        self._last = item
        return out

    def flush(self) -> list[Motion]:
        out: list[Motion] = []
        last = self._last
        while last is not None and (self._next < last.time + self._held or self._next == last.time):
            out.append(replace(last, time=self._next))
            self._made += 1
        self._begin()
        return out

    @property
    def _next(self) -> Fraction:
        return self._first + self._made * self._step


def between(a: Motion, b: Motion, time: Fraction) -> Motion:
    """The Motion at a time from a's to b's."""
    if time == a.time:
        return a
    exact = (time - a.time) / (b.time - a.time)
    share = np.float32(exact)

    def mix(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        return (x + (y - x) * share).astype(np.float32)

    head = mix(a.head, b.head)
    head[:3, :3] = slerp(a.head[:3, :3], b.head[:3, :3], float(exact))
    return Motion(
        time=time,
        head=head,
        expression=mix(a.expression, b.expression),
        gaze=mix(a.gaze, b.gaze),
        face=mix(a.face, b.face),
        confidence=a.confidence if 2 * exact < 1 else b.confidence,
        shoulders=b.shoulders if a.shoulders is None or b.shoulders is None else mix(a.shoulders, b.shoulders),
    )


def slerp(a: NDArray[np.float32], b: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """The rotation [3, 3] a share of the way from a to b (Shoemake 1985)."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(b.astype(np.float64) @ a.T.astype(np.float64)).as_rotvec()
    return np.asarray(Rotation.from_rotvec(turn * share).as_matrix() @ a, np.float32)
