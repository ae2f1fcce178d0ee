"""What a made person is filmed in and does: camera, background, and short runs of motion.

Speech here is coefficient curves made of the sounds that look alike; nothing listens to anything. What people really
did is taken from recordings, where there are some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from perfcap.expression import look, mirror_expression
from perfcap.head import Camera
from perfcap.training.expression import random_expression
from perfcap.training.ict import gaze_of, head_pose
from perfcap.written import STEP_S, VISEMES, Script, range_of_motion, talking
from runtime.records import ARKIT_INDEX, N_EXPRESSION
from synth.training.figure import NECK_M
from synth.training.photograph import Moment
from synth.training.recorded import Recording
from synth.training.skin import linear

Floats = NDArray[np.float32]
Rng = np.random.Generator

RATE = 25  # frames/s
LOOKS = [i for name, i in ARKIT_INDEX.items() if name.startswith("eyeLook")]
MOST_RAD = np.radians((38, 24, 20)).astype(np.float32)  # a head turns no farther: yaw, pitch, roll
RECORDED = 0.35  # share of the takes that are from recordings, where there are some
FROM_PICTURE_RAD = np.radians((30, 17, 13)).astype(np.float32)  # nor farther from how its picture shows it


@dataclass(frozen=True)
class Act:
    """What face and head do at one instant; the head's angles are yaw, pitch and roll in radians."""

    expression: Floats  # [52]
    gaze: Floats  # [2, 2]
    angles: Floats  # [3]


AT_REST = Act(np.zeros(N_EXPRESSION, np.float32), np.zeros((2, 2), np.float32), np.zeros(3, np.float32))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where a person is filmed: stays as it is through a take."""

    camera: Camera
    place_m: Floats  # [3], where the head's origin is when it looks straight ahead
    body: Floats  # [3] radians, how the shoulders are turned
    background: Floats  # [H, W, 3], linear

    @classmethod
    def random(cls, rng: Rng, unit_px: float, unit_m: float, width: int, height: int) -> Scene:
        """A picture of so many pixels in which the outer eye corners are `unit_px` and `unit_m` apart."""
        focal = float(rng.uniform(1.0, 2.6) * max(width, height))
        distance = focal * unit_m / unit_px
        x = rng.normal(0, 0.06) * width
        y = (rng.uniform(0.36, 0.48) - 0.5) * height
        return cls(
            camera=Camera(width, height, focal),
            place_m=np.array((x * distance / focal, y * distance / focal, distance), np.float32),
            body=(rng.normal(0, 1, 3) * np.radians((9, 2, 2))).astype(np.float32),
            background=background(rng, width, height),
        )

    def moment(self, act: Act) -> Moment:
        yaw, pitch, roll = (float(v) for v in np.clip(act.angles, -MOST_RAD, MOST_RAD))
        return Moment(
            act.expression, act.gaze, self._turned(yaw, pitch, roll), self._turned(*(float(v) for v in self.body))
        )

    def _turned(self, yaw: float, pitch: float, roll: float) -> Floats:
        """Turned about the neck."""
        head = head_pose(yaw, pitch, roll, (0, 0, 0))
        head[:3, 3] = self.place_m + NECK_M - head[:3, :3] @ NECK_M
        return head


def background(rng: Rng, width: int, height: int) -> Floats:
    """What is behind a person [H, W, 3], linear: a wall, a room out of focus, or something rough."""
    base = rng.uniform(0.12, 0.9) + rng.normal(0, 0.025, 3)
    ramp = np.linspace(0, 1, height)[:, None, None] * rng.normal(0, 0.15) + np.linspace(0, 1, width)[None, :, None] * rng.normal(0, 0.15)  # fmt: skip
    wall = np.broadcast_to(base, (height, width, 3)) + ramp
    wall = np.array(wall, np.float32)
    kind = rng.choice(3, p=(0.45, 0.42, 0.13))
    if kind == 1:
        for _ in range(int(rng.integers(4, 16))):
            x, y = rng.uniform(-0.1, 1.1, 2) * (width, height)
            w, h = rng.uniform(0.04, 0.5, 2) * (width, height)
            colour = tuple(float(v) for v in np.clip(rng.uniform(0.05, 0.95) + rng.normal(0, 0.035, 3), 0, 1))
            if rng.random() < 0.6:
                cv2.rectangle(wall, (int(x - w / 2), int(y - h / 2)), (int(x + w / 2), int(y + h / 2)), colour, -1)
            else:
                cv2.ellipse(wall, (int(x), int(y)), (int(w / 3) + 1, int(w / 3) + 1), 0, 0, 360, colour, -1)
        wall = cv2.GaussianBlur(wall, (0, 0), rng.uniform(0.004, 0.03) * width + 0.5)
    elif kind == 2:
        rough = rng.standard_normal((height, width)).astype(np.float32)
        for share in (0.004, 0.02, 0.08):
            layer = cv2.GaussianBlur(rough, (0, 0), share * width + 0.5)
            wall += (layer / (layer.std() + 1e-6) * rng.uniform(0, 0.05))[..., None]
    return linear(np.clip(wall, 0.01, 1))


def portrait(rng: Rng) -> Act:
    """What one does in a picture one is known by: at rest, smiling with or without teeth, or caught at something."""
    e = np.zeros(N_EXPRESSION, np.float32)
    kind = rng.choice(4, p=(0.38, 0.34, 0.16, 0.12))
    gaze = (rng.normal(0, 0.05, 2) * np.ones((2, 2))).astype(np.float32)
    if kind == 1:
        smile(e, rng)
    elif kind == 2:
        e, gaze = random_expression(rng)
    elif kind == 3:
        e = _speech(rng)(0.0)
    else:
        for name in ("mouthSmileLeft", "mouthSmileRight", "browInnerUp", "mouthPressLeft", "eyeSquintLeft"):
            e[ARKIT_INDEX[name]] = max(0.0, rng.normal(0, 0.12))
    wide = 1.7 if rng.random() < 0.15 else 1.0
    angles = np.clip(rng.normal(0, 1, 3), -2, 2) * np.radians((8, 4, 4)) * wide
    return Act(np.clip(np.maximum(e, look(gaze)), 0, 1).astype(np.float32), gaze, angles.astype(np.float32))


def smile(e: Floats, rng: Rng) -> None:
    """Add a smile to an expression [52]; two in three show teeth."""
    amount, lean = rng.uniform(0.3, 1.0), rng.normal(1, 0.08, 2)
    teeth = rng.random() < 0.67
    for side, k in zip(("Left", "Right"), lean, strict=True):
        e[ARKIT_INDEX[f"mouthSmile{side}"]] = amount * k
        e[ARKIT_INDEX[f"cheekSquint{side}"]] = amount * rng.uniform(0.2, 0.7)
        e[ARKIT_INDEX[f"mouthUpperUp{side}"]] = teeth * rng.uniform(0.15, 0.6)
        e[ARKIT_INDEX[f"mouthLowerDown{side}"]] = teeth * rng.uniform(0, 0.45)
    if teeth:
        e[ARKIT_INDEX["jawOpen"]] = max(0.0, rng.uniform(-0.05, 0.3))
    np.clip(e, 0, 1, out=e)


@dataclass(frozen=True)
class Role:
    """What there is to play: everything at so many seconds."""

    expression: Callable[[float], Floats]  # [52]
    gaze: Callable[[float], Floats]  # [2, 2]
    angles: Callable[[float], Floats]  # [3]


def run(rng: Rng, n: int, picture: Act, recordings: Sequence[Recording] = ()) -> list[Act]:
    """So many frames of somebody who speaks, goes from one expression to another, or does what was written or recorded.

    The head moves about how the picture that will be warped shows it, as far as the product would let it. Most takes
    stay near what the picture shows, as a clip does near its first frame.
    """
    recorded = bool(recordings) and rng.random() < RECORDED
    role = _recorded(rng, n, recordings) if recorded else _made_up(rng, n)
    near = rng.uniform(0.15, 0.7) if rng.random() < 0.6 else 1.0
    kept = 1 - near * rng.uniform(0.0, 0.6)
    blink_at = rng.uniform(-0.15, n / RATE + 0.15) if rng.random() < 0.22 else 99.0
    acts = []
    for i in range(n):
        t = i / RATE
        e = picture.expression + np.float32(near) * (role.expression(t) - picture.expression)
        shut = float(np.clip(1.6 - abs(t - blink_at) / 0.07, 0, 1))
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            e[ARKIT_INDEX[name]] = max(e[ARKIT_INDEX[name]], shut)
        gaze = (picture.gaze + near * (role.gaze(t) - picture.gaze)).astype(np.float32)
        e[LOOKS] = 0  # told anew from where the eyes do look
        e = np.clip(np.maximum(e, look(gaze)), 0, 1).astype(np.float32)
        off = np.clip(near * role.angles(t), -FROM_PICTURE_RAD, FROM_PICTURE_RAD)
        acts.append(Act(e, gaze, (picture.angles * kept + off).astype(np.float32)))
    return acts


def _made_up(rng: Rng, n: int) -> Role:
    """Speech, one expression to another, or something written; the head drifts, the eyes look about."""
    kind = rng.choice(3, p=(0.42, 0.36, 0.22))
    curve = (_speech, _between, _scripted)[kind](rng)
    start = rng.uniform(0, 1)
    turned = rng.uniform(0.2, 1.0) * np.clip(rng.normal(0, 0.45, 3), -1, 1) * FROM_PICTURE_RAD
    speed = rng.normal(0, 1, 3) * np.radians((18, 10, 8))  # a second
    gaze_at = rng.normal(0, 1, 2) * (0.22, 0.12) if rng.random() < 0.7 else np.zeros(2)
    jump = rng.normal(0, 0.15, 2) if rng.random() < 0.15 else np.zeros(2)

    def gaze(t: float) -> Floats:
        at = np.tile(gaze_at + jump * (round(t * RATE) > n // 2), (2, 1)).astype(np.float32)
        return np.asarray(at + gaze_of(curve(start + t)) if kind else at, np.float32)

    return Role(lambda t: curve(start + t), gaze, lambda t: np.asarray(turned + speed * t, np.float32))


def _recorded(rng: Rng, n: int, recordings: Sequence[Recording]) -> Role:
    """A moment of a recording, the longer ones more often; on one side or on the other."""
    seconds = np.array([recording.seconds for recording in recordings])
    recording = recordings[rng.choice(len(recordings), p=seconds / seconds.sum())]
    start = rng.uniform(0, max(recording.seconds - n / RATE, 0))
    amount = np.float32(rng.uniform(0.8, 1.15))
    mirrored = rng.random() < 0.5
    side = np.array((-1, 1, -1) if mirrored else (1, 1, 1), np.float32)

    def expression(t: float) -> Floats:
        e = np.clip(recording.expression_at(start + t) * amount, 0, 1)
        return mirror_expression(e) if mirrored else e

    def gaze(t: float) -> Floats:
        at = recording.gaze_at(start + t)
        return at[::-1] * side[:2] if mirrored else at

    return Role(expression, gaze, lambda t: recording.angles_at(start + t) * side)


def _speech(rng: Rng) -> Callable[[float], Floats]:
    """Sounds that look alike, one after the other, in somebody's own strength and mood."""
    names = list(VISEMES)
    order = rng.choice(len(names), 16, p=_usual(names))
    shapes = np.zeros((len(order), N_EXPRESSION), np.float32)
    strength = rng.uniform(0.5, 1.25)
    for row, k in zip(shapes, order, strict=True):
        for name, value in VISEMES[names[k]].items():
            row[ARKIT_INDEX[name]] = value * strength * rng.uniform(0.7, 1.3)
    mood = np.zeros(N_EXPRESSION, np.float32)
    if rng.random() < 0.4:
        smile(mood, rng)
        mood *= np.float32(rng.uniform(0.2, 0.7))
        mood[ARKIT_INDEX["jawOpen"]] = 0
    for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "browDownLeft", "browDownRight"):
        mood[ARKIT_INDEX[name]] = max(0.0, rng.normal(0, 0.25))
    step = STEP_S * rng.uniform(0.8, 1.4)

    def at(t: float) -> Floats:
        x = min(t / step, len(order) - 1.001)
        i = int(x)
        f = x - i
        f = f * f * (3 - 2 * f)
        return np.asarray(np.clip(shapes[i] + f * (shapes[i + 1] - shapes[i]) + mood, 0, 1), np.float32)

    return at


def _usual(names: list[str]) -> NDArray[np.float64]:
    share = np.array(
        [{"-": 0.6, "a": 1.6, "e": 1.4, "i": 1.2, "o": 1.0, "u": 0.7, "f": 0.6}.get(n, 1.0) for n in names]
    )
    return np.asarray(share / share.sum())


def _between(rng: Rng) -> Callable[[float], Floats]:
    """From one expression to another and back."""
    a, b = (_any(rng) for _ in range(2))
    took, phase = rng.uniform(0.2, 0.7), rng.uniform(0, 1)

    def at(t: float) -> Floats:
        f = 0.5 - 0.5 * np.cos(np.pi * (t / took + phase))
        return np.asarray(a + np.float32(f) * (b - a), np.float32)

    return at


def _any(rng: Rng) -> Floats:
    e, _ = random_expression(rng)
    if rng.random() < 0.4:
        smile(e, rng)
    return e


def _scripted(rng: Rng) -> Callable[[float], Floats]:
    script: Script = range_of_motion() if rng.random() < 0.5 else talking()
    begin = rng.uniform(0, float(script.duration) - 1.5)
    amount = np.float32(rng.uniform(0.6, 1.1))

    def at(t: float) -> Floats:
        return np.asarray(
            np.clip(script(Fraction(begin + t).limit_denominator(1000)).expression * amount, 0, 1), np.float32
        )

    return at
