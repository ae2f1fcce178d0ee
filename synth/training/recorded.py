"""Performances that were captured, as something that made people do.

What `understudy capture` wrote is read once; a take is a stretch of it without a frame in which no face was seen. Who
acted is not kept: no landmark of theirs, only how much of each expression, where the eyes looked and how the head was
turned from how it mostly was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perfcap.performance import Performance
from perfcap.written import angles_of
from runtime.errors import InputError

Floats = NDArray[np.float32]

SHORTEST_S = 1.0  # of a stretch that is used
LONGEST_GAP_S = 0.2  # between two frames of one stretch


@dataclass(frozen=True)
class Recording:
    """One stretch of N frames, from 0 s on."""

    times: NDArray[np.float64]  # [N] s
    expression: Floats  # [N, 52]
    gaze: Floats  # [N, 4]: yaw and pitch of the left eye, then of the right, radians
    angles: Floats  # [N, 3], yaw, pitch and roll of the head against the performance's median, radians

    @property
    def seconds(self) -> float:
        return float(self.times[-1])

    def expression_at(self, t: float) -> Floats:
        return self._at(self.expression, t)

    def gaze_at(self, t: float) -> Floats:
        """[2, 2]"""
        return self._at(self.gaze, t).reshape(2, 2)

    def angles_at(self, t: float) -> Floats:
        return self._at(self.angles, t)

    def _at(self, values: Floats, t: float) -> Floats:
        """Between the two frames about a time; beyond the ends they go on."""
        i = int(np.clip(np.searchsorted(self.times, t) - 1, 0, len(self.times) - 2))
        f = np.clip((t - self.times[i]) / (self.times[i + 1] - self.times[i]), 0, 1)
        return np.asarray(values[i] + np.float32(f) * (values[i + 1] - values[i]), np.float32)


def recordings(paths: Sequence[Path]) -> list[Recording]:
    """All stretches of some performances that are long enough; each file must have one."""
    return [stretch for path in paths for stretch in _stretches(path)]


def _stretches(path: Path) -> list[Recording]:
    performance = Performance.load(path)
    rows, times = performance.frames, np.array([float(t) for t in performance.times])
    found = np.flatnonzero(rows["confidence"] > 0)
    turned = np.zeros((len(rows), 3), np.float32)
    if len(found):
        turned[found] = np.radians(angles_of(rows["head"][found]))
        turned -= np.median(turned[found], 0)
    breaks = np.flatnonzero((np.diff(found) > 1) | (np.diff(times[found]) > LONGEST_GAP_S)) + 1
    out = []
    for part in np.split(found, breaks):
        if len(part) > 1 and times[part[-1]] - times[part[0]] >= SHORTEST_S:
            gaze = rows["gaze"][part].reshape(-1, 4)
            out.append(Recording(times[part] - times[part[0]], rows["expression"][part], gaze, turned[part]))
    if not out:
        raise InputError(f"{path} shows a face for less than {SHORTEST_S:g} s at a time; wanted that or more")
    return out
