"""How far a clip's sound is from its lips: what a mouth was seen to do against what its sound asks of a mouth.

Both are told in the controls of `audio.mouth_shape`, as speech changes them (what changes over seconds is mood
and pose), and laid over each other at every offset within reach; where they agree most, they belong together.
An offset is positive where the sound comes too late. Knows neither files nor pictures.

The idea of correlating the two is Hershey and Movellan's ("Audio-Vision", 1999); ours compares like with like.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio.curves import highest, smooth
from audio.dubbing import RATE, Curve
from audio.mouth_shape import CONTROLS

Floats = NDArray[np.float64]

REACH_S = 0.6  # an offset may be so large either way
SLOW_S = 0.3  # what changes over more than this is not a syllable; standard deviation of a Gaussian
FAST_S = 0.05  # and what changes over less is noise
SAYS = ("opening", "width", "chin", "upper", "lips")  # controls that tell; corners and reach follow the mood
_SAYS = [CONTROLS.index(name) for name in SAYS]
TALKS_S = 0.5  # within this of a voice somebody talks
NEEDED_S = 0.8  # of talk, below which there is nothing to measure
DOUBTED = (0.6, 1.0)  # agreement times the square root of seconds: what chance often does, and hardly ever
LEAD = 0.3  # of the best offset over all others that makes it plain
BESIDE_S = 0.12  # offsets this near the best belong to the same peak


@dataclass(frozen=True)
class Offset:
    """How far sound and lips are apart."""

    ms: float  # positive: the sound is late
    confidence: float  # 0..1
    talked_s: float  # seconds of talk that it was measured by
    agreement: float  # correlation of what was seen with what was heard, there


def measure(times: Floats, seen: Floats, weight: Floats, heard: Curve) -> Offset | None:
    """The offset between a mouth and a sound; None where nobody is seen talking long enough to tell.

    `seen` [T, 7] are the mouth's controls at `times` [T] in seconds, `weight` [T] is 0 where it was not to be seen.
    """
    clock = np.arange(np.ceil(times[0] * RATE), np.floor(times[-1] * RATE) + 1) / RATE  # [N] seconds
    reach = round(REACH_S * RATE)
    longer = np.concatenate((clock[0] + np.arange(-reach, 0) / RATE, clock, clock[-1] + np.arange(1, reach + 1) / RATE))
    known = np.interp(clock, times, weight) * _talked(heard, clock)
    talked_s = float(known.sum()) / RATE
    shown = weight > 0.5
    if talked_s < NEEDED_S or not shown.any():
        return None
    mouth = _syllables(np.stack([np.interp(clock, times[shown], control[shown]) for control in seen[:, _SAYS].T], 1))
    asked = _syllables(heard.at(longer)[:, _SAYS].astype(np.float64))
    lags = range(2 * reach + 1)
    agreement = np.array([_agreement(mouth, asked[lag : lag + len(clock)], known) for lag in lags])
    best = int(np.argmax(agreement))
    return Offset(
        ms=(best + _vertex(agreement, best) - reach) * 1000 / RATE,
        confidence=_confidence(agreement, best, talked_s),
        talked_s=talked_s,
        agreement=float(agreement[best]),
    )


def _talked(heard: Curve, clock: Floats) -> Floats:
    """[N] 1 where somebody may be talking at these seconds, whatever the offset, else 0."""
    width = 2 * round(TALKS_S * RATE) + 1
    return np.asarray(highest(heard.voiced_at(clock), width) > 0.5, float)


def _syllables(controls: Floats) -> Floats:
    """How fast controls [N, 5] change, mood and noise aside: what opens and shuts tells more than what is open."""
    fast = smooth(controls, FAST_S * RATE)
    slow = smooth(controls, SLOW_S * RATE)
    return np.asarray(np.gradient(fast - slow, axis=0), np.float64) * RATE


def _agreement(mouth: Floats, asked: Floats, known: Floats) -> float:
    """How alike two courses of controls [N, 5] are where they are known: the mean of their correlations."""
    share = (known / known.sum())[:, None]
    a, b = mouth - (share * mouth).sum(0), asked - (share * asked).sum(0)
    both, one, other = ((share * x * y).sum(0) for x, y in ((a, b), (a, a), (b, b)))
    return float((both / np.sqrt(np.maximum(one * other, 1e-24))).mean())


def _vertex(curve: Floats, peak: int) -> float:
    """How far the top of the parabola through a peak and its neighbours is from it, -.5 to .5."""
    if not 0 < peak < len(curve) - 1:
        return 0.0
    before, top, after = curve[peak - 1 : peak + 2]
    bend = before - 2 * top + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def _confidence(curve: Floats, best: int, talked_s: float) -> float:
    """How sure it is that the best of all offsets is the right one, 0..1.

    By chance a mouth and a stranger's sound agree the less the longer somebody talks: DOUBTED is where three and
    nearly all of four such pairs lie (docs/log.md). And there may be no other offset that is nearly as good.
    """
    beside = np.abs(np.arange(len(curve)) - best) > BESIDE_S * RATE
    lead = (curve[best] - curve[beside].max()) / max(float(curve[best]), 1e-6)
    plain = (curve[best] * np.sqrt(talked_s) - DOUBTED[0]) / (DOUBTED[1] - DOUBTED[0])
    return float(np.clip(plain, 0, 1) * np.clip(lead / LEAD, 0, 1))
