"""The mouths that a clip shows, kept at the clip's own resolution, and the choice among them.

Each is a cut-out of a frame's own planes with its landmarks and what its mouth does there. The store has
a size in bytes; when it is full, what others show as well goes first, so an hour fits as a minute does. Choosing
(unit selection: Hunt and Black 1996) weighs how well a mouth fits a moment against how well it follows
the one before. Nothing here knows what asks for a mouth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio.mouth_shape import N_CONTROLS, OPENING, SHUT

Floats = NDArray[np.float32]

BYTES = 192 << 20  # of one person's cut-outs kept
MOST = 3000  # of them, however small
NEAREST = 24  # mouths considered for each moment
AHEAD = 16  # moments looked ahead before one is decided

# What a difference costs. Controls count in units of the eyes' distance, turns in radians.
SHAPE = np.array((60.0, 25.0, 10.0, 25.0, 25.0, 25.0, 5.0), np.float32)
TURN = 4.0
LIGHT = 0.02  # a grey level
BLUR = 1.5  # the logarithm of sharpness
OPEN_SHUT = 3.0  # lips that touch for lips that do not, or the other way round
JUMP = 0.35  # from one mouth to another that did not follow it in the clip
JUMP_SHAPE = 0.7  # of the difference between two mouths in a row, on top


@dataclass(frozen=True, eq=False)
class Patch:
    """A mouth cut from a frame."""

    number: int  # of its frame, counted over all that were offered
    planes: tuple[NDArray[Any], ...]  # Y, U, V of the cut-out
    corner: tuple[int, int]  # x, y px of the cut-out's first luma sample in its frame
    points: Floats  # [468, 2] px in its frame
    controls: Floats  # [7]
    turn: Floats  # [3] the head's rotation vector, radians
    light: float  # mean luma of the skin around the lips, of 255
    sharpness: float  # log of the mean gradient of that skin and the lips

    @property
    def nbytes(self) -> int:
        return sum(plane.nbytes for plane in self.planes)


def unlike(patches: Features, controls: Floats, turn: Floats, light: float, sharpness: float) -> Floats:
    """What each mouth [N] costs in the place of one with these controls [7], turn [3], light and sharpness."""
    off = (np.abs(patches.controls - controls) * SHAPE).sum(1)
    off += TURN * np.linalg.norm(patches.turn - turn, axis=1)
    off += LIGHT * np.abs(patches.light - light)
    off += BLUR * np.maximum(sharpness - patches.sharpness - 0.05, 0)
    shut = controls[OPENING] < SHUT
    off += OPEN_SHUT * (np.maximum(patches.controls[:, OPENING] - 1.5 * SHUT, 0) > 0) * shut
    return np.asarray(off, np.float32)


@dataclass
class Features:
    """What many mouths are like, each an array over them."""

    controls: Floats  # [N, 7]
    turn: Floats  # [N, 3]
    light: Floats  # [N]
    sharpness: Floats  # [N]
    number: NDArray[np.int64]  # [N]

    @classmethod
    def of(cls, patches: list[Patch]) -> Features:
        return cls(
            np.array([p.controls for p in patches], np.float32).reshape(-1, N_CONTROLS),
            np.array([p.turn for p in patches], np.float32).reshape(-1, 3),
            np.array([p.light for p in patches], np.float32),
            np.array([p.sharpness for p in patches], np.float32),
            np.array([p.number for p in patches], np.int64),
        )


@dataclass
class Bank:
    """Mouths offered one after the other; the most different ones are kept."""

    nbytes: int = BYTES
    most: int = MOST
    patches: list[Patch] = field(default_factory=list)
    _held: int = 0

    def offer(self, patch: Patch) -> None:
        self.patches.append(patch)
        self._held += patch.nbytes
        if self._held > self.nbytes or len(self.patches) > self.most:
            self._thin()

    def _thin(self) -> None:
        """Let a third of the mouths go: again and again the one whose nearest neighbour is nearest."""
        features = Features.of(self.patches)
        place = np.concatenate((features.controls * SHAPE, features.turn * TURN), 1)
        apart = np.stack([_apart(place[i : i + 1], place)[0] for i in range(len(place))])
        np.fill_diagonal(apart, np.inf)
        nearest = apart.argmin(1)
        gap = apart[np.arange(len(apart)), nearest]
        gone: set[int] = set()
        for _ in range(len(self.patches) // 3):
            i = int(gap.argmin())
            gone.add(i)
            gap[i], apart[:, i] = np.inf, np.inf
            for j in np.flatnonzero((nearest == i) & np.isfinite(gap)):
                nearest[j] = apart[j].argmin()
                gap[j] = apart[j, nearest[j]]
        self.patches = [p for i, p in enumerate(self.patches) if i not in gone]
        self._held = sum(p.nbytes for p in self.patches)


@dataclass(frozen=True)
class Wanted:
    """What is asked of the bank at one moment."""

    controls: Floats  # [7]
    turn: Floats  # [3]
    light: float
    sharpness: float


class Choose:
    """Stage: what is wanted -> the patch that is nearest to it and goes on from the last (Viterbi, windowed)."""

    def __init__(self, bank: Bank) -> None:
        assert bank.patches, "an empty bank"
        self._patches = bank.patches
        self._features = features = Features.of(bank.patches)
        self._place = np.concatenate((features.controls * SHAPE, features.light[:, None] * LIGHT), 1)
        self._begin()

    def _begin(self) -> None:
        self._columns: deque[_Column] = deque()
        self._last: int | None = None  # chosen for good

    def push(self, item: Wanted) -> list[Patch]:
        cost = unlike(self._features, item.controls, item.turn, item.light, item.sharpness)
        near = _least(cost, NEAREST)
        if self._columns:
            before = self._columns[-1]
            follow = before.near[_least(before.total, NEAREST)] + 1  # what goes on from the cheapest ways so far
            near = np.unique(np.concatenate((near, follow[follow < len(cost)])))
            total = before.total[:, None] + self._jump(before.near, near)
            best = total.argmin(0)
            self._columns.append(_Column(near, total[best, np.arange(len(near))] + cost[near], best))
        else:
            start = np.zeros(len(near)) if self._last is None else self._jump(np.array([self._last]), near)[0]
            self._columns.append(_Column(near, start + cost[near], np.zeros(len(near), np.int64)))
        return [self._decide()] if len(self._columns) > AHEAD else []

    def flush(self) -> list[Patch]:
        out = []
        while self._columns:
            out.append(self._decide())
        self._begin()
        return out

    def _decide(self) -> Patch:
        """Fix the oldest moment on the best path through all that is known; paths have met by then."""
        i = int(self._columns[-1].total.argmin())
        for column in reversed(list(self._columns)[1:]):
            i = int(column.best[i])
        self._last = int(self._columns.popleft().near[i])
        return self._patches[self._last]

    def _jump(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> Floats:
        """What it costs [A, B] to show one mouth after another."""
        f = self._features
        step = f.number[b][None] - f.number[a][:, None]
        follows = (step >= 0) & (step <= 1)
        apart = _apart(self._place[a], self._place[b])
        return np.asarray(np.where(follows, 0.0, JUMP + JUMP_SHAPE * apart), np.float32)


def _apart(a: Floats, b: Floats) -> Floats:
    """Sums of differences [A, B] between rows [A, C] and [B, C]."""
    return np.asarray(np.abs(a[:, None] - b[None]).sum(-1), np.float32)


def _least(costs: Floats, n: int) -> NDArray[np.int64]:
    """Where the n least costs are, in no order."""
    return np.argpartition(costs, n - 1)[:n] if len(costs) > n else np.arange(len(costs))


@dataclass(frozen=True)
class _Column:
    """One moment's candidates and the cheapest way to each."""

    near: NDArray[np.int64]  # [M] places in the bank
    total: Floats  # [M] cost of the cheapest way
    best: NDArray[np.int64]  # [M] where it comes from, in the column before


def moments(choose: Choose, wanted: Iterator[Wanted]) -> Iterator[Patch]:
    """Offline: every moment's patch."""
    for each in wanted:
        yield from choose.push(each)
    yield from choose.flush()
