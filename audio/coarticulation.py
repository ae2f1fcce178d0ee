"""Phones -> what jaw, lips and tongue do: every sound pulls on each of them, before and after it sounds.

Dominance functions (Cohen and Massaro 1993): at any moment an articulator is at the mean of what the sounds around
want of it, each weighed by how much it cares and by e to the minus of how far off in time it is. Jaw and lips are
two dials of their own (JALI, Edwards et al. 2016): an s commands the jaw, an o the lips, and lips narrow whatever
gap the jaw leaves. Lips that must touch are not left to means: they are shut on top. Sounds are rows of
probabilities, so what is half heard is half done; a known transcript is rows of 0 and 1, of phones whose gestures
overlap (`overlapping`) as an ear hears of itself. Knows nothing of sound.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from audio.features import FRAME_RATE
from audio.phones import INDEX, SILENCE, SYMBOLS, Phone
from audio.rows import SILENT, Rows, silence
from runtime.records import ARKIT_INDEX, N_EXPRESSION

Floats = NDArray[np.float32]

# What a sound wants: ARKit's jawOpen, then how much the lips narrow the gap that leaves, mouthPucker, mouthFunnel,
# mouthStretch, mouthUpperUp, mouthLowerDown, the lower lip at the teeth, and tongueOut; at last how much it insists on
# jaw and on lips. While a mouth speaks it is never far from half open; what tells sounds apart is how it narrows.
DIALS = ("jaw", "narrow", "pucker", "funnel", "spread", "upper", "lower", "teeth", "tongue")
_TABLE = """
_  0   0   0   0   0   0   0   0   0   | 1   1
p .10  0   0   0   0   0   0   0   0   | 1.5 2
b .10  0   0   0   0   0   0   0   0   | 1.5 2
m .12  0   0   0   0   0   0   0   0   | 1.5 2
f .12  1   0   0   .05 .25 .05 1   0   | 1.5 2
v .12  1   0   0   .05 .25 .05 1   0   | 1.5 2
β .12  .7  .2  0   0   .1  .1  0   0   | 1.5 2
w .16  1   .8  .1  0   0   .05 0   0   | 1.5 2
θ .20  .2  0   0   .1  .15 .3  0   .3  | 1   1
ð .20  .2  0   0   .1  .15 .3  0   .25 | 1   1
t .21  0   0   0   .15 .15 .3  0   0   | 1   .7
d .21  0   0   0   .15 .15 .3  0   0   | 1   .7
n .21  0   0   0   .15 .15 .3  0   0   | 1   .7
s .17  .1  0   0   .25 .15 .35 0   0   | 1.5 1
z .17  .1  0   0   .25 .15 .35 0   0   | 1.5 1
l .24  0   0   0   .1  .15 .25 0   .05 | 1   .7
r .22  0   .1  0   .05 .1  .2  0   0   | 1   .7
ɹ .20  .5  .45 .1  0   .1  .2  0   0   | 1   1.5
ʃ .17  .3  .4  .4  0   .15 .25 0   0   | 1.5 2
ʒ .17  .3  .4  .4  0   .15 .25 0   0   | 1.5 2
ɕ .17  .15 .1  .1  .25 .15 .3  0   0   | 1.5 1.2
k .23  0   0   0   .05 .1  .2  0   0   | .7  .3
g .23  0   0   0   .05 .1  .2  0   0   | .7  .3
ŋ .23  0   0   0   .05 .1  .2  0   0   | .7  .3
x .24  0   0   0   .05 .1  .2  0   0   | .7  .3
ɣ .24  0   0   0   .05 .1  .2  0   0   | .7  .3
h .28  0   0   0   .05 .1  .2  0   0   | .4  .2
ʔ .24  0   0   0   0   .1  .2  0   0   | .4  .2
j .21  0   0   0   .4  .1  .25 0   0   | 1   1
i .22  0   0   0   .55 .15 .25 0   0   | 1   1.2
ɪ .27  0   0   0   .4  .15 .25 0   0   | 1   1
e .30  0   0   0   .4  .15 .25 0   0   | 1   1
ɛ .38  0   0   0   .3  .15 .3  0   0   | 1   1
æ .46  0   0   0   .3  .2  .3  0   0   | 1.2 1
a .48  0   0   0   .1  .15 .25 0   0   | 1.2 1
ɑ .48  0   0   .05 0   .15 .25 0   0   | 1.2 1
ɔ .44  .35 .3  .4  0   .1  .1  0   0   | 1   1.5
o .34  .45 .5  .35 0   .05 .1  0   0   | 1   1.5
ʊ .25  .55 .5  .2  0   .05 .1  0   0   | 1   1.5
u .21  .7  .85 .15 0   .05 .1  0   0   | 1   2
ʌ .42  0   0   0   .1  .15 .25 0   0   | 1   1
ə .27  0   0   0   .1  .12 .2  0   0   | .8  .6
ɜ .28  .15 .15 .1  .05 .12 .25 0   0   | 1   1
y .21  .65 .8  .2  0   .05 .1  0   0   | 1   2
ø .28  .4  .5  .35 0   .05 .1  0   0   | 1   1.5
ɯ .21  0   0   0   .3  .12 .2  0   0   | 1   1
"""
TOUCH = (0.1, 0.7)  # how likely p, b or m must be for lips to near each other, and to touch
LIPS_TOUCH = tuple(INDEX[s] for s in "pbm")
_JAW_S, _LIPS_S = 0.03, 0.05  # how far in time sounds reach: where their pull has fallen to 1 / e
_NARROW_S, _NARROW_FULL = (
    0.02,
    0.04,
)  # of narrowing, which is no mean: how far, and how long a sound must be for all of it
PAST = 30  # rows looked back
HALF_OPEN = {"jaw": 0.17, "upper": 0.1, "lower": 0.2}  # of a mouth that is about to speak
BREATH = 0.24  # jaw, besides, between two phrases, when air is drawn
AIR, _AIR_S = 0.4, 0.04  # jaw, while air is heard to be drawn, and how soon before and after
ANNOUNCED = 0.5  # how surely air must be drawn for speech to be expected that is too far ahead to be heard
BREATH_AFTER = 20  # rows; sooner than that after a phrase nobody draws air
BREATH_ROWS = 150  # after which nobody takes it for a pause any more
BEFORE, RISE, AFTER = 50, 15, 4  # rows: that begins so long before speech, takes so long, and lasts so long after
FASTEST = 0.05  # units a row by which lips near each other or part: the fastest in seven films of people who speak
GAP = (0.04, 0.33)  # units between the lips of a speaking mouth, and more of them for each of jawOpen
FADE = 3  # rows before the end of speech in which the mouth begins to shut


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How many rows after a moment are known when it is decided what the mouth does then."""

    late: int  # of the better answers
    early: int  # of the answers that are given sooner; used beyond `late`


LIVE = Reach(late=1, early=11)
WHOLE = Reach(late=BEFORE, early=BEFORE)  # all that can matter: the whole clip


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


_NARROW = DIALS.index("narrow")
_JAW = DIALS.index("jaw")
_OPENING = [DIALS.index(name) for name in ("jaw", "funnel", "upper", "lower")]
_LIPS = [i for i in range(len(DIALS)) if i not in (_JAW, _NARROW)]


_TAKEN_BY = {**dict.fromkeys("pbmfv", "tdn"), **dict.fromkeys("wɹ", "tdnszθðkg")}  # whose lips which sounds have
_SHUT_S = Fraction(12, 100)  # that lips are shut for a p or b after silence, the burst included


def overlapping(phones: Sequence[Phone]) -> tuple[Phone, ...]:
    """Phones that are known by name, in order, as the lips make them in connected speech.

    Lips do not wait for the tongue: they shut for the b of "bin blue" while it still makes the n (Browman and
    Goldstein 1990), and are round for the w of "set white" and the r of "three" before those sound. After a
    silence the closing of a p or b is not heard and may be named too late.
    """
    out = list(phones)
    for i in reversed(range(len(out) - 1)):
        if out[i].symbol in _TAKEN_BY.get(out[i + 1].symbol, ""):
            out[i] = replace(out[i], symbol=out[i + 1].symbol)
    for i, (before, phone) in enumerate(pairwise(out), 1):
        if phone.symbol in "pb" and before.symbol == SILENCE:
            closing = min(phone.start, max(before.start, phone.end - _SHUT_S))
            out[i - 1], out[i] = replace(before, end=min(before.end, closing)), replace(phone, start=closing)
    return tuple(out)


class Coarticulate:
    """Rows in, late and early answers each in their own time -> gestures, as soon as `reach` rows are known beyond."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._known = PAST + 1 + reach.late  # rows in a window of late answers, and of both
        self._ahead = max(self._known, PAST + 1 + reach.early)
        self._begin()

    def _begin(self) -> None:
        self._late = silence(PAST)
        self._early = silence(PAST)
        self._spoke = 0.0  # 1 while somebody speaks, then falling to 0 in BREATH_ROWS

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
        half_open, breath = self._about_to_speak(n), self._pausing(n)
        half = np.array([HALF_OPEN.get(name, 0.0) for name in DIALS], np.float32)
        for which, weight, seconds in (([_JAW], insists[:, :1], _JAW_S), (_LIPS, insists[:, 1:], _LIPS_S)):
            total = self._sum(np.concatenate((weight * wants[:, which], weight, weight * _IS_SILENT), 1), seconds, n)
            resting = total[:, -1:] / total[:, -2:-1]
            dials[:, which] = total[:, :-2] / total[:, -2:-1] + half[which] * half_open[:, None] * resting
            if _JAW in which:
                dials[:, _JAW] += BREATH * half_open * breath * resting[:, 0]
        dials[:, _OPENING] *= self._going_on(n)[:, None]
        dials[:, _JAW] += AIR * self._drawing_air(n)
        narrow = self._sum(wants[:, [_NARROW]], _NARROW_S, n)[:, 0] / (_NARROW_FULL * FRAME_RATE)
        dials[:, _NARROW] = np.minimum(narrow, 1)
        shut = self._touching(GAP[0] + GAP[1] * dials[:, _JAW])
        self._late, self._early = self._late[n:], self._early[n:]
        return Gestures(dials, shut)

    def _sum(self, each: Floats, seconds: float, n: int) -> Floats:
        """What the rows around each of n moments say of C things [len(SYMBOLS), C], summed by their pull: [n, C]."""
        pull = _pull(seconds, self._ahead - PAST - 1)
        near = _windows(self._late.phones @ each, self._known, n) @ pull[: self._known]
        if self._ahead == self._known:
            return np.asarray(near)
        far = _windows(self._early.phones @ each, self._ahead, n)[..., self._known :] @ pull[self._known :]
        return np.asarray(near + far)

    def _drawing_air(self, n: int) -> Floats:
        """How surely [n] air is heard to be drawn, 0..1."""
        pull = _pull(_AIR_S, self._ahead - PAST - 1)
        pull = pull / pull.sum()
        drawing = _windows(self._late.breath, self._known, n) @ pull[: self._known]
        if self._ahead > self._known:
            drawing = drawing + _windows(self._early.breath, self._ahead, n)[:, self._known :] @ pull[self._known :]
        return np.asarray(drawing)

    def _about_to_speak(self, n: int) -> Floats:
        """How near [n] speech is, 0..1: it comes, is there, or has just been."""
        rows = np.arange(-PAST, self._ahead - PAST)
        near = self._speech_near(np.where(rows < 0, 1 + rows / AFTER, (BEFORE - rows) / RISE), n)
        return np.maximum(near, self._announced(n))

    def _going_on(self, n: int) -> Floats:
        """Whether [n] speech goes on, 0..1; less while its last sound fades."""
        rows = np.arange(-PAST, self._ahead - PAST)
        return np.maximum(self._speech_near(np.where(rows < 0, 0, (rows + 1) / FADE), n), self._announced(n))

    def _announced(self, n: int) -> Floats:
        """How surely [n] air is drawn for speech that may be too far ahead to be heard, 0..1."""
        if self._reach.early >= BEFORE:
            return np.zeros(n, np.float32)
        return np.asarray(np.minimum(1, self._drawing_air(n) / np.float32(ANNOUNCED)))

    def _speech_near(self, near: NDArray[np.float64], n: int) -> Floats:
        """The most of speech [n] around each moment, rows of a window counting as much as `near` says."""
        share = near.clip(0, 1).astype(np.float32)
        late = (_windows(self._late.speech, self._known, n) * share[: self._known]).max(1)
        if self._ahead == self._known:
            return np.asarray(late)
        early = _windows(self._early.speech, self._ahead, n)[:, self._known :] * share[self._known :]
        return np.asarray(np.maximum(late, early.max(1)))

    def _pausing(self, n: int) -> Floats:
        """How lately [n] somebody had spoken and stopped, 0..1."""
        since = np.arange(1, n + 1) / BREATH_ROWS
        spoke = np.maximum.accumulate(self._late.speech[PAST - BREATH_AFTER :][:n] + since)
        spoke = np.maximum(np.maximum(spoke, self._spoke) - since, 0)
        self._spoke = float(spoke[-1])
        return np.asarray(spoke, np.float32)

    def _touching(self, gap: Floats) -> Floats:
        """How near to touching [n] the lips are, 0..1, where they would be so far [n] apart else."""
        rows = np.abs(np.arange(-PAST, self._ahead - PAST))
        near = FASTEST * rows / gap[:, None]  # what is gone of a touch, moments and rows
        n, known = len(gap), self._known
        shut = (_windows(_likely_to_touch(self._late), known, n) - near[:, :known]).max(1)
        if self._ahead > known:
            beyond = _windows(_likely_to_touch(self._early), self._ahead, n)[:, known:] - near[:, known:]
            shut = np.maximum(shut, beyond.max(1))
        return np.asarray(np.maximum(shut, 0), np.float32)


def _likely_to_touch(rows: Rows) -> Floats:
    doubt, sure = TOUCH
    likely = np.clip((rows.phones[:, LIPS_TOUCH].sum(1) - doubt) / (sure - doubt), 0, 1)
    return np.asarray(likely, np.float32)


_IS_SILENT = (np.arange(len(SYMBOLS)) == SILENT).astype(np.float32)[:, None]


def _windows(x: Floats, length: int, n: int) -> Floats:
    """Of rows [T, ...] the first n runs of so many [n, ..., length]."""
    return np.lib.stride_tricks.sliding_window_view(x, length, 0)[:n]


def expression_of(gestures: Gestures) -> Floats:
    """ARKit's coefficients [n, 52]."""
    out = np.zeros((len(gestures.shut), N_EXPRESSION), np.float32)
    jaw, narrow, pucker, funnel, spread, upper, lower, teeth, tongue = gestures.dials.T
    shut = gestures.shut
    closed = 1 - (1 - narrow) * (1 - shut)
    free = 1 - closed
    teeth = teeth * (1 - shut)

    def put(name: str, value: Floats) -> None:
        for side in ("Left", "Right") if f"{name}Left" in ARKIT_INDEX else ("",):
            out[:, ARKIT_INDEX[f"{name}{side}"]] = np.clip(value, 0, 1)

    put("jawOpen", jaw)
    put("mouthClose", jaw * closed)
    put("mouthPucker", pucker)
    put("mouthFunnel", funnel * free)
    put("mouthStretch", spread)
    put("mouthSmile", 0.3 * spread)
    put("mouthUpperUp", upper * np.maximum(free, 0.8 * teeth))
    put("mouthLowerDown", lower * free)
    put("mouthRollLower", 0.5 * teeth + 0.15 * shut)
    put("mouthRollUpper", 0.15 * shut)
    put("mouthPress", 0.35 * shut)
    put("tongueOut", tongue * free)
    return out
