"""Speech -> what a mouth does: AudioChunk -> Motion, a hundred times a second; and what was said, as phones.

One network listens (`audio.hearing`), one rule moves (`audio.coarticulation`); live, they wait for LOOK_AHEAD of
sound and no longer, else for as much as can matter. `motion_of` moves the same mouth by phones whose times are known.
The face is the mean one; head and eyes rest, and are another's to move.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audio.coarticulation import LIVE, WHOLE, Coarticulate, Gestures, Rows, blended, expression_of, rows_of
from audio.features import FRAME_RATE
from audio.features import LOOK_AHEAD as EAR_LOOK_AHEAD
from audio.hearing import EARLY, LATE, Answers, Ear
from audio.phones import SYMBOLS, Phone
from perfcap.expression import basis, template
from perfcap.landmarks import INNER_LIPS_LOWER, INNER_LIPS_UPPER
from perfcap.written import REACH, head_at
from runtime.records import ARKIT_INDEX, AudioChunk, Motion

Floats = NDArray[np.float32]

LOOK_AHEAD = Fraction(LATE + LIVE.late, FRAME_RATE) + EAR_LOOK_AHEAD  # seconds, live


TRUST = 0.5  # in an alignment, against what is heard


@dataclass(frozen=True, kw_only=True)
class LipsOptions:
    listen: Literal["whole", "live"] = "whole"  # live: no more than LOOK_AHEAD behind the sound


class Lips:
    """Stage: AudioChunk -> Motion, FRAME_RATE a second from the first chunk's time on; chunks follow each other.

    `phones` are what is known to be said, by an alignment with its transcript; their seconds begin with the first
    chunk. What is heard and what is known are blended: each puts the other's mistakes right.
    """

    def __init__(self, options: LipsOptions | None = None, phones: Sequence[Phone] = ()) -> None:
        self._options = options or LipsOptions()
        self._phones = phones
        self._ear = Ear()
        self._move = Coarticulate(LIVE if self._options.listen == "live" else WHOLE)
        self._begin()

    def _begin(self) -> None:
        self._start: Fraction | None = None
        self._n_heard = self._n_moved = 0

    def push(self, item: AudioChunk) -> list[Motion]:
        if self._start is None:
            self._start = item.time
        return self._motions(self._gestures(self._ear.push(item.pcm)))

    def flush(self) -> list[Motion]:
        out = self._motions(self._gestures(self._ear.flush()))
        out += self._motions(self._move.flush())
        self._begin()
        return out

    def _gestures(self, answers: Answers) -> Gestures:
        late = self._rows(Rows(answers.late, answers.late_speech), LATE)
        early = self._rows(Rows(answers.early, answers.early_speech), EARLY)
        self._n_heard += len(answers)
        return self._move.push(late, early)

    def _rows(self, heard: Rows, delay: int) -> Rows:
        """Answers that come `delay` rows after their moments, without those for moments before the sound began."""
        first = self._n_heard - delay
        rows = heard[max(0, -first) :]
        if not self._phones or not len(rows):
            return rows
        return blended(rows, rows_of(self._phones, len(rows), max(0, first)), TRUST)

    def _motions(self, gestures: Gestures) -> list[Motion]:
        if not len(gestures.shut):
            return []
        assert self._start is not None
        start = self._start + Fraction(self._n_moved, FRAME_RATE)
        self._n_moved += len(gestures.shut)
        return motions(gestures, start)


def motions(gestures: Gestures, start: Fraction) -> list[Motion]:
    """The mean face making gestures, the first at `start`."""
    expressions = expression_of(gestures)
    faces = faces_of(expressions, gestures.shut)
    head, gaze = head_at(0, 0, 0), np.zeros((2, 2), np.float32)
    return [
        Motion(
            time=start + Fraction(i, FRAME_RATE), head=head, expression=expression, gaze=gaze, face=face, confidence=1.0
        )
        for i, (expression, face) in enumerate(zip(expressions, faces, strict=True))
    ]


_UPPER, _LOWER = list(INNER_LIPS_UPPER[1:-1]), list(INNER_LIPS_LOWER[1:-1])
_MOUTH = [i for name, i in ARKIT_INDEX.items() if name.startswith(("jaw", "mouth", "cheek", "tongue"))]


@functools.cache
def _moves() -> Floats:
    """What each coefficient of the mouth does to a face [len(_MOUTH), 478 * 3]."""
    gain = np.ones(len(ARKIT_INDEX), np.float32)
    for start, reach in REACH.items():
        gain[[i for name, i in ARKIT_INDEX.items() if name.startswith(start)]] = reach
    return np.asarray((basis() * gain[:, None, None])[_MOUTH].reshape(len(_MOUTH), -1), np.float32)


def faces_of(expressions: Floats, shut: Floats) -> Floats:
    """`written.face_of` of many expressions [n, 52] at once, for eyes at rest: [n, 478, 3]; lips that are shut touch."""
    rest = template()
    faces = (expressions[:, _MOUTH] @ _moves()).reshape(-1, *rest.shape) + rest
    gap = faces[:, _LOWER, 1] - faces[:, _UPPER, 1]
    touching = np.minimum(gap, rest[_LOWER, 1] - rest[_UPPER, 1])
    least = np.minimum(gap, 0.0)  # no lip passes through the other
    wanted = gap - least + (touching - gap + least) * shut[:, None]
    faces[:, _UPPER, 1] += 0.3 * (gap - wanted)
    faces[:, _LOWER, 1] -= 0.7 * (gap - wanted)
    return np.asarray(faces, np.float32)


def motion_of(phones: Iterable[Phone], duration: Fraction, start: Fraction = Fraction(0)) -> list[Motion]:
    """The motion of phones whose times are known, for `duration` seconds from `start` on."""
    n = int(-(-duration * FRAME_RATE // 1))
    rows = rows_of(sorted(phones, key=lambda p: p.end), n, round(start * FRAME_RATE))
    move = Coarticulate(WHOLE)
    parts = (move.push(rows, rows), move.flush())
    return [
        m
        for g, at in zip(parts, (0, len(parts[0].shut)), strict=True)
        for m in motions(g, start + Fraction(at, FRAME_RATE))
    ]


def phones_of(chunks: Iterable[AudioChunk]) -> Iterator[Phone]:
    """What is said, without gaps from the first chunk's time to the end of the last; as it becomes known."""
    ear, decode = Ear(), _Decode()
    start: Fraction | None = None
    skip = LATE
    for chunk in chunks:
        start = chunk.time if start is None else start
        answers = ear.push(chunk.pcm)
        yield from decode.push(answers.late[skip:], start)
        skip = max(0, skip - len(answers))
    if start is not None:
        yield from decode.push(ear.flush().late[skip:], start)
        yield from decode.flush(start)


_CHANGE = np.float32(2.5)  # nats that a change of phone costs: a phone of 10 ms is seldom one
_LAG = 100  # rows after which no better way is looked for


class _Decode:
    """Viterbi through a loop of all phones, decided _LAG rows later."""

    def __init__(self) -> None:
        self._cost = np.zeros(len(SYMBOLS), np.float32)
        self._from: list[NDArray[np.int64]] = []  # of each undecided row, by phone, which phone came before
        self._n = 0  # rows decided
        self._open: tuple[int, int] | None = None  # the phone that still goes on, and its first row

    def push(self, likely: Floats, start: Fraction) -> Iterator[Phone]:
        """Take rows [n, len(SYMBOLS)]."""
        for row in -np.log(likely + 1e-6):
            best = int(np.argmin(self._cost))
            change = self._cost[best] + _CHANGE < self._cost
            self._from.append(np.where(change, best, np.arange(len(SYMBOLS))))
            self._cost = np.where(change, self._cost[best] + _CHANGE, self._cost) + row
            self._cost -= self._cost.min()
            if len(self._from) > 2 * _LAG:
                yield from self._decided(_LAG, start)

    def flush(self, start: Fraction) -> Iterator[Phone]:
        yield from self._decided(len(self._from), start)
        if self._open is not None:
            yield self._phone(self._n, start)

    def _decided(self, n: int, start: Fraction) -> Iterator[Phone]:
        state = int(np.argmin(self._cost))
        way = []
        for before in reversed(self._from):
            way.append(state)
            state = int(before[state])
        for symbol in reversed(way[len(way) - n :]):
            if self._open is None or self._open[0] != symbol:
                if self._open is not None:
                    yield self._phone(self._n, start)
                self._open = (symbol, self._n)
            self._n += 1
        del self._from[:n]

    def _phone(self, end: int, start: Fraction) -> Phone:
        assert self._open is not None
        symbol, first = self._open
        return Phone(start + Fraction(first, FRAME_RATE), start + Fraction(end, FRAME_RATE), SYMBOLS[symbol])
