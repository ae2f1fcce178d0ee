"""Take the jitter out of measured curves without lag anyone can see.

One-Euro (Casiez, Roussel and Vogel 2012): a low-pass whose cut-off rises with speed, so what rests
is still and what moves is followed. Knows arrays and seconds, not faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class OneEuroOptions:
    cutoff_hz: float  # of the low-pass at rest
    beta: float  # Hz the cut-off rises per unit/s of speed
    speed_hz: float = 8.0  # cut-off of the speed's own low-pass


class OneEuro:
    """Filter arrays of one shape, whatever the time between them."""

    def __init__(self, options: OneEuroOptions) -> None:
        self._options = options
        self._time: Fraction | None = None
        self._value: NDArray[np.float64] = np.zeros(0)
        self._raw: NDArray[np.float64] = np.zeros(0)
        self._speed: NDArray[np.float64] = np.zeros(0)

    def __call__(self, time: Fraction, value: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        value = value.astype(np.float64)
        if self._time is None or time <= self._time:
            self._time, self._value, self._raw, self._speed = time, value, value, np.zeros_like(value)
            return value
        dt = float(time - self._time)
        options = self._options
        speed = (value - self._raw) / dt
        self._speed = self._speed + _gain(options.speed_hz, dt) * (speed - self._speed)
        # Points of one face move together: the fastest axis of each point lets all its axes follow.
        pace = np.abs(self._speed)
        if pace.ndim > 1:
            pace = pace.max(-1, keepdims=True)
        gain = _gain(options.cutoff_hz + options.beta * pace, dt)
        self._value = self._value + gain * (value - self._value)
        self._time, self._raw = time, value
        return self._value

    def reset(self) -> None:
        self._time = None


def hindsight(
    options: OneEuroOptions, seen: Sequence[tuple[Fraction, NDArray[np.floating[Any]]]]
) -> NDArray[np.float64]:
    """The first of some values [N] in time as One-Euro has it that comes to it from the last: ahead, where the other lags."""
    smooth = OneEuro(options)
    for time, value in reversed(seen):
        out = smooth(-time, value)
    return out


def _gain(cutoff_hz: float | NDArray[np.float64], dt: float) -> NDArray[np.float64]:
    x = 2 * np.pi * np.asarray(cutoff_hz) * dt
    return np.asarray(x / (x + 1))
