"""A mean face's speech put on a face that has an expression already: Motion -> Motion.

A picture smiles, or its lips are parted. In silence it must be the picture again; while it speaks, what the
picture's own mouth does gives way to what is said, so that lips which are parted in the picture meet for p, b
and m. A smile stays in part. Knows of the picture only the expression that it has, not its pixels.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from audio.presence import MOVING_UNITS, mouth_units
from perfcap.expression import ExpressionSolver, basis, template
from perfcap.landmarks import INNER_LIPS_LOWER, INNER_LIPS_UPPER
from perfcap.written import head_at
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, Motion
from synth.retarget import certain, mouth_ratio
from synth.rig import smoothstep

Floats = NDArray[np.float32]

AHEAD = Fraction(28, 100)  # seconds looked ahead
NEAR_S = (0.06, float(AHEAD))  # seconds from speech within which the mouth is speech's wholly, and at all
# What stays of the picture's own expression while it speaks.
STAYS: Floats = np.array([
    1.0 if not name.startswith(("jaw", "mouth", "tongue")) else 0.5 if name.startswith(("mouthSmile", "mouthDimple")) else 0.0
    for name in ARKIT_NAMES
], np.float32)  # fmt: skip
UPPER, LOWER = list(INNER_LIPS_UPPER[1:-1]), list(INNER_LIPS_LOWER[1:-1])


def gaps(face: Floats) -> Floats:
    """How far the inner lips of a face [478, 3] are apart [9], from one corner to the other, units."""
    return np.asarray(face[LOWER, 1] - face[UPPER, 1], np.float32)


class Speaking:
    """Stage: Motion of a mean face that speaks -> of a mean face with a picture's expression that speaks.

    `own` [478, 3] is the picture's face, free of pose; `gain` how much of the speech's departure from rest shows.
    """

    def __init__(self, own: Floats, gain: float) -> None:
        self._gain = np.float32(gain)
        self._neutral = template()
        self._shut = gaps(self._neutral)  # what the face mesh reports of lips that meet
        self._expression, self._parted = _expression(own)
        self.rest = Motion(
            time=Fraction(0), head=head_at(0, 0, 0), expression=self._expression, gaze=np.zeros((2, 2), np.float32),
            face=self._face(self._neutral, 0.0), confidence=1.0,
        )  # fmt: skip
        self._begin()

    def _begin(self) -> None:
        self._held: deque[Motion] = deque()
        self._spoken: deque[Fraction] = deque()  # seconds, of moments of speech
        self._newest = Fraction(0)

    def push(self, item: Motion) -> list[Motion]:
        self._newest = item.time
        self._held.append(item)
        if mouth_units(item) > MOVING_UNITS:
            self._spoken.append(item.time)
        out = []
        while self._newest - self._held[0].time >= AHEAD:
            out.append(self._put_on(self._held.popleft()))
        return out

    def flush(self) -> list[Motion]:
        out = [self._put_on(motion) for motion in self._held]
        self._begin()
        return out

    def _put_on(self, motion: Motion) -> Motion:
        share = self._near(motion.time)
        kept = self._expression * (1 + (STAYS - 1) * np.float32(share))
        said = np.minimum(motion.expression * self._gain, 1)
        return replace(
            motion,
            face=self._face(motion.face, share),
            expression=np.asarray(np.maximum(said, kept), np.float32),
        )

    def _near(self, time: Fraction) -> float:
        """1 in speech, 0 away from it."""
        while len(self._spoken) > 1 and self._spoken[1] <= time:
            self._spoken.popleft()
        away = min((abs(float(time - spoken)) for spoken in list(self._spoken)[:2]), default=NEAR_S[1])
        return 1 - float(smoothstep(np.array(away), *NEAR_S))

    def _face(self, face: Floats, share: float) -> Floats:
        said = (face - self._neutral) * self._gain
        kept = self._expression * (1 + (STAYS - 1) * np.float32(share))
        out = np.asarray(self._neutral + np.tensordot(kept, basis(), 1) + said, np.float32)
        spoken = np.maximum(gaps(self._neutral + said) - self._shut, 0)
        wanted = self._parted + (spoken - self._parted) * np.float32(share)
        off = wanted - gaps(out)
        out[UPPER, 1] -= 0.3 * off
        out[LOWER, 1] += 0.7 * off
        return out


def _expression(own: Floats) -> tuple[Floats, Floats]:
    """What a picture's face does: coefficients [52], and how far its lips are parted [9] in the mean face's terms."""
    expression = certain(ExpressionSolver().solve(own, None))
    neutral = template()
    making = np.asarray(neutral + np.tensordot(expression, basis(), 1), np.float32)
    parted = np.maximum(gaps(own), 0) / np.float32(mouth_ratio(own, making))
    # What parts the lips more than the expression accounts for is a jaw a little open.
    middle = len(UPPER) // 2
    opens = gaps(basis()[ARKIT_INDEX["jawOpen"]])[middle]
    missing = (parted[middle] - max(gaps(making)[middle], gaps(neutral)[middle])) / opens
    expression[ARKIT_INDEX["jawOpen"]] += np.clip(missing, 0, 1 - expression[ARKIT_INDEX["jawOpen"]])
    return expression, np.asarray(parted, np.float32)
