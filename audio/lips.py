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

from audio.coarticulation import LIVE, WHOLE, Coarticulate, Gestures, expression_of, overlapping
from audio.features import FRAME_RATE
from audio.features import LOOK_AHEAD as EAR_LOOK_AHEAD
from audio.hearing import EARLY, LATE, Answers, Ear
from audio.phone_loop import AsTheyCome, Decode, Smooth
from audio.phones import Phone
from audio.rows import Rows, blended, rows_of, silence
from perfcap.expression import basis, template
from perfcap.landmarks import INNER_LIPS_LOWER, INNER_LIPS_UPPER
from perfcap.written import REACH, head_at
from runtime.records import ARKIT_INDEX, AudioChunk, Motion

Floats = NDArray[np.float32]

LOOK_AHEAD = Fraction(LATE + LIVE.late, FRAME_RATE) + EAR_LOOK_AHEAD  # seconds, live
TRUST = 0.7  # in an alignment, against what is heard: enough for lips to touch where only it knows of a p, b or m


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
        self._phones = overlapping(phones)
        self._ear = Ear()
        live = self._options.listen == "live"
        self._loop = AsTheyCome() if live else Smooth()
        self._move = Coarticulate(LIVE if live else WHOLE)
        self._begin()

    def _begin(self) -> None:
        self._start: Fraction | None = None
        self._n_heard = self._n_moved = 0
        self._n_rows = [0, 0]  # late and early answers so far

    def push(self, item: AudioChunk) -> list[Motion]:
        if self._start is None:
            self._start = item.time
        return self._motions(self._gestures(self._ear.push(item.pcm)))

    def flush(self) -> list[Motion]:
        out = self._motions(self._gestures(self._ear.flush()))
        out += self._motions(self._move.push(self._known(0, self._loop.flush()), silence(0)))
        out += self._motions(self._move.flush())
        self._begin()
        return out

    def _gestures(self, answers: Answers) -> Gestures:
        # The first answers are for moments before the sound began.
        late, early = (max(0, delay - self._n_heard) for delay in (LATE, EARLY))
        self._n_heard += len(answers)
        return self._move.push(
            self._known(0, self._loop.push(answers.late[late:])),
            self._known(1, answers.early[early:]),
        )

    def _known(self, which: int, rows: Rows) -> Rows:
        """What was heard, blended with what is known to be said; `which` counts late and early answers apart."""
        first = self._n_rows[which]
        self._n_rows[which] += len(rows)
        if not self._phones or not len(rows):
            return rows
        return blended(rows, rows_of(self._phones, len(rows), first), TRUST)

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
    rows = rows_of(overlapping(sorted(phones, key=lambda p: p.end)), n, round(start * FRAME_RATE))
    move = Coarticulate(WHOLE)
    parts = (move.push(rows, rows), move.flush())
    return [
        m
        for g, at in zip(parts, (0, len(parts[0].shut)), strict=True)
        for m in motions(g, start + Fraction(at, FRAME_RATE))
    ]


def phones_of(chunks: Iterable[AudioChunk]) -> Iterator[Phone]:
    """What is said, without gaps from the first chunk's time to the end of the last; as it becomes known."""
    ear = Ear()
    decode: Decode | None = None
    skip = LATE
    for chunk in chunks:
        decode = decode or Decode(chunk.time)
        late = ear.push(chunk.pcm).late.phones
        yield from decode.push(late[skip:])
        skip = max(0, skip - len(late))
    if decode is not None:
        yield from decode.push(ear.flush().late.phones[skip:])
        yield from decode.flush()
