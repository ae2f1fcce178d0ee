"""Phones -> what jaw, lips and tongue do: every sound pulls on each of them, before and after it sounds.

Dominance functions (Cohen and Massaro 1993): at any moment an articulator is at the mean of what the sounds around
want of it, each weighed by how much it cares and by e to the minus of how far off in time it is. Jaw and lips are
two dials with weights of their own (JALI, Edwards et al. 2016): an s commands the jaw, an o the lips. Sounds are rows
of probabilities, so what is half heard is half done; a known transcript is rows of 0 and 1. Lips that must touch are
not left to means: they are shut on top. Knows nothing of sound.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from audio.features import FRAME_RATE
from audio.phones import INDEX, SILENCE, SYMBOLS, Phone
from runtime.records import ARKIT_INDEX, N_EXPRESSION

Floats = NDArray[np.float32]

SILENT = INDEX[SILENCE]

# What a sound wants: ARKit's jawOpen, mouthPucker, mouthFunnel, mouthStretch, mouthUpperUp, mouthLowerDown, how far the
# lower lip goes to the teeth, and tongueOut; then how much it insists on jaw and on lips. Below 0 is "surely shut, and
# early": the values are cut at 0 only after neighbours had their say.
DIALS = ("jaw", "pucker", "funnel", "spread", "upper", "lower", "teeth", "tongue")
_TABLE = """
_  0    0   0   0   0   0   0   0   | .8  .4
p -.10  0   0   0   0   0   0   0   | 2.0 3
b -.10  0   0   0   0   0   0   0   | 2.0 3
m -.10  0   0   0   0   0   0   0   | 2.0 3
f  .05  0   0   .1  .2  0   1   0   | 2.0 3
v  .05  0   0   .1  .2  0   1   0   | 2.0 3
β  .06  .2  0   0   0   0   0   0   | 1.5 2
w -.04  .8  .1  0   0   0   0   0   | 2.0 3
θ  .14  0   0   .1  .1  .2  0   .3  | 1.5 1
ð  .14  0   0   .1  .1  .2  0   .25 | 1.0 .6
t  .10  0   0   .15 .1  .2  0   0   | 1.2 .4
d  .12  0   0   .15 .1  .2  0   0   | 1.0 .4
n  .14  0   0   .15 .1  .2  0   0   | .8  .4
s  .05  0   0   .25 .1  .3  0   0   | 3.0 .7
z  .05  0   0   .25 .1  .3  0   0   | 3.0 .7
l  .22  0   0   .1  .1  .2  0   .1  | .8  .4
r  .12  .1  0   0   .1  .1  0   0   | .6  .4
ɹ  .06  .45 .15 0   0   .1  0   0   | 1.0 1.5
ʃ  .06  .4  .5  0   .1  .1  0   0   | 2.5 2.5
ʒ  .06  .4  .5  0   .1  .1  0   0   | 2.5 2.5
ɕ  .06  .1  .1  .25 .1  .2  0   0   | 2.5 1.5
k  .18  0   0   .05 .05 .1  0   0   | .5  .15
g  .18  0   0   .05 .05 .1  0   0   | .5  .15
ŋ  .18  0   0   .05 .05 .1  0   0   | .5  .15
x  .20  0   0   .05 .05 .1  0   0   | .5  .15
ɣ  .20  0   0   .05 .05 .1  0   0   | .5  .15
h  .25  0   0   .05 .05 .1  0   0   | .2  .1
ʔ  .20  0   0   0   0   0   0   0   | .2  .1
j  .12  0   0   .4  .05 .1  0   0   | .8  1
i  .14  0   0   .6  .1  .2  0   0   | 1   1.2
ɪ  .20  0   0   .4  .1  .2  0   0   | 1   1
e  .26  0   0   .4  .1  .2  0   0   | 1   1
ɛ  .34  0   0   .3  .1  .2  0   0   | 1   1
æ  .46  0   0   .3  .15 .3  0   0   | 1.2 1
a  .50  0   0   .1  .1  .2  0   0   | 1.2 1
ɑ  .50  0   .05 0   .1  .2  0   0   | 1.2 1
ɔ  .38  .3  .4  0   0   .1  0   0   | 1   2
o  .28  .5  .35 0   0   .1  0   0   | 1   2
ʊ  .16  .5  .2  0   0   .1  0   0   | 1   2
u  .08  .85 .15 0   0   .1  0   0   | 1.2 2.5
ʌ  .38  0   0   .1  .1  .2  0   0   | 1   .8
ə  .22  0   0   .1  .05 .1  0   0   | .5  .4
ɜ  .22  .15 .1  .05 .05 .2  0   0   | 1   1
y  .08  .8  .2  0   0   .1  0   0   | 1.2 2.5
ø  .22  .5  .35 0   0   .1  0   0   | 1   2
ɯ  .12  0   0   .3  .1  .1  0   0   | 1   1
"""
LIPS_TOUCH = tuple(INDEX[s] for s in "pbm")
_JAW_S, _LIPS_S = 0.04, 0.05  # how far in time sounds reach: where their pull has fallen to 1 / e
PAST = 30  # rows looked back
HALF_OPEN = 0.12  # jawOpen of a mouth that is about to speak
BEFORE, RISE, AFTER = 55, 25, 8  # rows: that begins so long before speech, takes so long, and lasts so long after


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How many rows after a moment are known when it is decided what the mouth does then."""

    late: int  # of the better answers
    early: int  # of the answers that are given sooner; used beyond `late`


LIVE = Reach(late=1, early=11)
WHOLE = Reach(late=BEFORE, early=BEFORE)  # all that can matter: the whole clip


@dataclass(frozen=True)
class Rows:
    """What is said, row by row, FRAME_RATE a second."""

    phones: Floats  # [n, len(SYMBOLS)] probabilities
    speech: Floats  # [n] 0..1, whether somebody speaks

    def __len__(self) -> int:
        return len(self.phones)

    def __getitem__(self, part: slice) -> Rows:
        return Rows(self.phones[part], self.speech[part])

    def then(self, later: Rows) -> Rows:
        return Rows(np.concatenate((self.phones, later.phones)), np.concatenate((self.speech, later.speech)))


def silence(n: int) -> Rows:
    """n rows in which nobody speaks."""
    phones = np.zeros((n, len(SYMBOLS)), np.float32)
    phones[:, SILENT] = 1
    return Rows(phones, np.zeros(n, np.float32))


def rows_of(phones: tuple[Phone, ...], n: int) -> Rows:
    """Phones of known times as n rows; silence where none is."""
    rows = silence(n)
    for phone in phones:
        first, last = (max(0, round(t * FRAME_RATE)) for t in (phone.start, phone.end))
        rows.phones[first:last] = 0
        rows.phones[first:last, INDEX[phone.symbol]] = 1
    return Rows(rows.phones, (rows.phones[:, SILENT] == 0).astype(np.float32))


@functools.cache
def _table() -> tuple[Floats, Floats]:
    """What each symbol wants [len(SYMBOLS), len(DIALS)], and how much it insists on jaw and lips [len(SYMBOLS), 2]."""
    lines = {line.split()[0]: line for line in _TABLE.split("\n") if line}
    assert set(lines) == set(SYMBOLS), "the table and the phones differ"
    values = np.array([[float(v) for v in lines[s].replace("|", "").split()[1:]] for s in SYMBOLS], np.float32)
    return values[:, : len(DIALS)], values[:, len(DIALS) :]


def _pull(seconds: float, reach: int) -> Floats:
    """How much rows from PAST before to `reach` after a moment matter to it [PAST + 1 + reach]."""
    rows = np.arange(-PAST, reach + 1)
    return np.asarray(np.exp(-np.abs(rows) / (seconds * FRAME_RATE)), np.float32)


@dataclass(frozen=True)
class Gestures:
    """What the mouth does, row by row."""

    dials: Floats  # [n, len(DIALS)], at least 0
    shut: Floats  # [n] 0..1: 1 where the lips touch whatever the dials say


class Coarticulate:
    """Rows in, late and early answers each in their own time -> gestures, as soon as `reach` rows are known beyond."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._begin()

    def _begin(self) -> None:
        self._late = silence(PAST)
        self._early = silence(PAST)
        self._skipped = PAST  # rows held before the next one to be answered

    def push(self, late: Rows, early: Rows) -> Gestures:
        """Take the rows that became known; gestures of those that are decided now."""
        self._late, self._early = self._late.then(late), self._early.then(early)
        n = min(len(self._late) - PAST - self._reach.late, len(self._early) - PAST - self._reach.early)
        return self._decide(max(n, 0))

    def flush(self) -> Gestures:
        """Gestures of the rest, after which is silence; then as new."""
        n = len(self._late) - PAST
        self._late, self._early = (
            r.then(silence(max(0, n + PAST + BEFORE - len(r)))) for r in (self._late, self._early)
        )
        gestures = self._decide(n)
        self._begin()
        return gestures

    def _decide(self, n: int) -> Gestures:
        if not n:
            return Gestures(np.zeros((0, len(DIALS)), np.float32), np.zeros(0, np.float32))
        wants, insists = _table()
        dials = np.zeros((n, len(DIALS)), np.float32)
        for i, seconds, which in ((0, _JAW_S, slice(0, 1)), (1, _LIPS_S, slice(1, None))):
            weight = insists[:, i : i + 1]
            each = np.concatenate(
                (weight * wants[:, which], weight, weight * (np.arange(len(weight)) == SILENT)[:, None]), 1
            )
            total = self._sum(each, _pull(seconds, max(self._reach.late, self._reach.early)), n)
            dials[:, which] = total[:, :-2] / total[:, -2:-1]
            if i == 0:
                dials[:, 0] += HALF_OPEN * self._about_to_speak(n) * total[:, -1] / total[:, -2]
        shut = _touching(self._late.phones[PAST : PAST + n])
        self._late, self._early = self._late[n:], self._early[n:]
        return Gestures(np.maximum(dials, 0), shut)

    def _sum(self, each: Floats, pull: Floats, n: int) -> Floats:
        """Of what the rows around each of n moments say [n, C], the sum by their pull."""
        known, ahead = PAST + 1 + self._reach.late, PAST + 1 + self._reach.early
        near = _windows(self._late.phones @ each, known, n) @ pull[:known]
        if ahead <= known:
            return np.asarray(near)
        far = _windows(self._early.phones @ each, ahead, n)[..., known:] @ pull[known:ahead]
        return np.asarray(near + far)

    def _about_to_speak(self, n: int) -> Floats:
        """How near [n] speech is, 0..1: it comes, is there, or has just been."""
        known, ahead = PAST + 1 + self._reach.late, PAST + 1 + self._reach.early
        rows = np.arange(-PAST, max(known, ahead) - PAST)
        near = np.where(rows < 0, 1 + rows / AFTER, (BEFORE - rows) / RISE).clip(0, 1).astype(np.float32)
        speech = _windows(self._late.speech[:, None], known, n)[:, 0] * near[:known]
        if ahead <= known:
            return np.asarray(speech.max(1))
        far = _windows(self._early.speech[:, None], ahead, n)[:, 0, known:] * near[known:ahead]
        return np.asarray(np.maximum(speech.max(1), far.max(1)))


def _windows(x: Floats, length: int, n: int) -> Floats:
    """Of rows [T, C] the first n runs of so many [n, C, length]."""
    return np.lib.stride_tricks.sliding_window_view(x, length, 0)[:n]


def _touching(phones: Floats) -> Floats:
    """How surely the lips touch [n]."""
    likely = phones[:, LIPS_TOUCH].sum(1)
    return np.asarray(np.clip(1.5 * likely, 0, 1), np.float32)


# What ARKit's coefficients do to the gap between the lips, in units a coefficient; `perfcap.expression.basis`.
_BOTH = ("Left", "Right")


def expression_of(gestures: Gestures) -> Floats:
    """ARKit's coefficients [n, 52]."""
    out = np.zeros((len(gestures.shut), N_EXPRESSION), np.float32)
    jaw, pucker, funnel, spread, upper, lower, teeth, tongue = gestures.dials.T
    shut = gestures.shut
    free = 1 - shut

    def put(name: str, value: Floats) -> None:
        for side in _BOTH if f"{name}Left" in ARKIT_INDEX else ("",):
            out[:, ARKIT_INDEX[f"{name}{side}"]] = np.clip(value, 0, 1)

    teeth = teeth * free
    put("jawOpen", jaw)
    put("mouthPucker", pucker)
    put("mouthFunnel", funnel * free)
    put("mouthStretch", spread)
    put("mouthSmile", 0.3 * spread)
    put("mouthUpperUp", upper * free)
    put("mouthLowerDown", lower * free)
    put("mouthRollLower", 0.5 * teeth + 0.15 * shut)
    put("mouthRollUpper", 0.15 * shut)
    put("mouthPress", 0.35 * shut)
    put("mouthClose", jaw * shut)
    put("tongueOut", tongue)
    return out


def duration(phones: tuple[Phone, ...]) -> Fraction:
    """When the last of them ends, seconds."""
    return max((p.end for p in phones), default=Fraction(0))
