"""Performances written in code, so that what a camera should find is known exactly.

A `Script` is a set of curves over time: ARKit coefficients by name, the head's yaw, pitch and roll,
and where both eyes look, in degrees. Called with a time it answers with a Motion of the mean face:
lids meet in a blink, irises go where the eyes look. `agreement` tells how much of a script came
back from a capture. Nothing here knows who renders or captures.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.expression import basis, iris_offset, look, template, weights
from perfcap.head import UNIT_M, Camera
from perfcap.landmarks import (
    LEFT_IRIS,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    RIGHT_IRIS,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)
from perfcap.performance import Performance, Take
from runtime.records import ARKIT_INDEX, N_EXPRESSION, Motion

RATE = Fraction(30)  # frames/s
CAMERA = Camera.of_picture(512, 512)  # the picture such a performance would have been filmed in
DISTANCE_M = CAMERA.focal_px * UNIT_M / 110  # a face whose outer eye corners are 110 px apart
NECK_M = np.array((0.0, 0.17, 0.09))  # where the head turns, head's frame
SHUT_UNITS = 0.02  # gap that the face mesh still reports between lids that meet

# The basis is what the detector sees on average, and it sees these less far than they go.
REACH: Mapping[str, float] = MappingProxyType({"brow": 2.0, "mouthPucker": 1.6, "mouthSmile": 1.25})

ANGLES = ("yaw", "pitch", "roll", "gaze_yaw", "gaze_pitch")  # degrees; right, down and clockwise in a frontal picture

Key = tuple[float, float]  # seconds, value
Track = tuple[Key, ...]

# What speech does to the mouth, by the sounds that look alike. Values are coefficients.
VISEMES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "-": {},
        "a": {"jawOpen": 0.55, "mouthLowerDownLeft": 0.25, "mouthLowerDownRight": 0.25, "mouthUpperUpLeft": 0.15, "mouthUpperUpRight": 0.15},
        "e": {"jawOpen": 0.28, "mouthStretchLeft": 0.45, "mouthStretchRight": 0.45, "mouthSmileLeft": 0.2, "mouthSmileRight": 0.2},
        "i": {"jawOpen": 0.14, "mouthStretchLeft": 0.5, "mouthStretchRight": 0.5, "mouthSmileLeft": 0.35, "mouthSmileRight": 0.35},
        "o": {"jawOpen": 0.36, "mouthFunnel": 0.7},
        "u": {"jawOpen": 0.12, "mouthPucker": 0.8, "mouthFunnel": 0.25},
        "f": {"jawOpen": 0.06, "mouthRollLower": 0.5, "mouthUpperUpLeft": 0.3, "mouthUpperUpRight": 0.3},
        "l": {"jawOpen": 0.24, "mouthLowerDownLeft": 0.15, "mouthLowerDownRight": 0.15},
        "m": {"mouthPressLeft": 0.5, "mouthPressRight": 0.5, "mouthRollLower": 0.25, "mouthRollUpper": 0.25},
        "s": {"jawOpen": 0.08, "mouthStretchLeft": 0.25, "mouthStretchRight": 0.25, "mouthLowerDownLeft": 0.3, "mouthLowerDownRight": 0.3},
    }
)  # fmt: skip


@dataclass(frozen=True)
class Script:
    """A performance as curves; ends where it began, so that scripts can follow each other."""

    duration: Fraction  # seconds
    tracks: Mapping[str, Track]  # by ARKit name or one of ANGLES; 0 where nothing is said

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tracks) - set(ARKIT_INDEX) - set(ANGLES))
        if unknown:
            raise ValueError(f"a script moves {', '.join(unknown)}; wanted ARKit names or {', '.join(ANGLES)}")
        for name, track in self.tracks.items():
            if any(a[0] >= b[0] for a, b in pairwise(track)):
                raise ValueError(f"the keys of {name} are not in the order of their times")

    def __call__(self, time: Fraction) -> Motion:
        """What the face does at one instant."""
        t = float(time)
        expression = np.zeros(N_EXPRESSION, np.float32)
        for name, track in self.tracks.items():
            if name in ARKIT_INDEX:
                expression[ARKIT_INDEX[name]] = np.clip(_value(track, t), 0, 1)
        yaw, pitch, roll, gaze_yaw, gaze_pitch = (np.radians(_value(self.tracks.get(name, ()), t)) for name in ANGLES)
        gaze = np.tile(np.array((gaze_yaw, gaze_pitch), np.float32), (2, 1))
        expression = np.maximum(expression, look(gaze))
        return Motion(
            time=time, head=head_at(yaw, pitch, roll), expression=expression, gaze=gaze,
            face=face_of(expression, gaze), confidence=1.0,
        )  # fmt: skip

    def then(self, other: Script) -> Script:
        """This one, and the other after it."""
        begin = float(self.duration)
        tracks = dict(self.tracks)
        for name, track in other.tracks.items():
            later = tuple((t + begin, value) for t, value in track)
            held = tracks.get(name, ())
            rest = () if held and held[-1][0] >= later[0][0] else later
            tracks[name] = (*held, *(rest or later[1:]))
        return Script(self.duration + other.duration, tracks)

    def performance(self, rate: Fraction = RATE) -> Performance:
        """Every frame of it."""
        times = [i / rate for i in range(int(self.duration * rate))]
        take = Take(source="written", camera=CAMERA, neutral=template(), rate=rate)
        return Performance.of(take, map(self, times))


def _value(track: Sequence[Key], t: float) -> float:
    """Eased from key to key, held before the first and after the last."""
    if not track:
        return 0.0
    i = bisect_right(track, t, key=lambda key: key[0])
    if i == 0:
        return track[0][1]
    if i == len(track):
        return track[-1][1]
    (t0, a), (t1, b) = track[i - 1], track[i]
    x = (t - t0) / (t1 - t0)
    return a + (b - a) * x * x * (3 - 2 * x)


def head_at(yaw: float, pitch: float, roll: float) -> NDArray[np.float32]:
    """The head [4, 4] turned on its neck in front of the camera; radians."""
    # Without SciPy, whose rotations take longer to load than a minute of speech to move a mouth.
    (sx, sy, sz), (cx, cy, cz) = np.sin((pitch, -yaw, roll)), np.cos((pitch, -yaw, roll))
    about_x = np.array(((1, 0, 0), (0, cx, -sx), (0, sx, cx)))
    about_y = np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
    about_z = np.array(((cz, -sz, 0), (sz, cz, 0), (0, 0, 1)))
    turn = about_z @ about_y @ about_x
    head = np.eye(4, dtype=np.float32)
    head[:3, :3] = turn
    head[:3, 3] = NECK_M - turn @ NECK_M + (0, 0, DISTANCE_M)
    return head


def angles_of(head: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Yaw, pitch and roll [..., 3] in degrees of heads [..., 4, 4] or rotations [..., 3, 3]: `head_at` backwards."""
    from scipy.spatial.transform import Rotation

    turns = np.asarray(head, np.float64)[..., :3, :3]
    euler = Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_euler("ZYX", degrees=True).reshape(*turns.shape[:-2], 3)
    return np.stack((-euler[..., 1], euler[..., 2], euler[..., 0]), -1)


def face_of(expression: NDArray[np.float32], gaze: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean face [478, 3] making an expression [52] and looking somewhere [2, 2], free of pose."""
    shown = expression.copy()
    shown[[i for name, i in ARKIT_INDEX.items() if name.startswith(("eyeLookIn", "eyeLookOut"))]] = 0  # irises only
    for start, reach in REACH.items():
        shown[[i for name, i in ARKIT_INDEX.items() if name.startswith(start)]] *= reach
    face = (template() + np.tensordot(shown, basis(), 1)).astype(np.float32)
    for side, upper, lower in (("Left", LEFT_LID_UPPER, LEFT_LID_LOWER), ("Right", RIGHT_LID_UPPER, RIGHT_LID_LOWER)):
        _close(face, expression[ARKIT_INDEX[f"eyeBlink{side}"]], list(upper[1:-1]), list(lower[1:-1]))
    w = weights()
    now, wanted = iris_offset(face), w["iris_rest"] + gaze / w["gaze_gain"]
    for eye, (iris, upper) in enumerate(((LEFT_IRIS, LEFT_LID_UPPER), (RIGHT_IRIS, RIGHT_LID_UPPER))):
        width = np.linalg.norm(face[upper[0], :2] - face[upper[-1], :2])
        face[list(iris), :2] += (wanted[eye] - now[eye]) * width
    return face


def _close(face: NDArray[np.float32], blink: np.float32, upper: list[int], lower: list[int]) -> None:
    """Bring the lids of one eye together, as far as the basis leaves them apart; mostly the upper one moves."""
    rest = template()
    gap, was = face[lower, 1] - face[upper, 1], rest[lower, 1] - rest[upper, 1]
    shut = np.minimum(SHUT_UNITS * was / was.max(), was)
    wanted = np.minimum(gap, was + (shut - was) * blink) if blink > 0 else gap
    face[upper, 1] += 0.85 * (gap - wanted)
    face[lower, 1] -= 0.15 * (gap - wanted)


def _both(name: str, track: Track) -> dict[str, Track]:
    return {f"{name}Left": track, f"{name}Right": track}


def _blinks(*times: float) -> dict[str, Track]:
    """Lids fall in 0.1 s, rest 0.07 s and rise in 0.17 s."""
    return _both(
        "eyeBlink",
        tuple(k for t in times for k in ((t - 0.13, 0.0), (t - 0.03, 1.0), (t + 0.04, 1.0), (t + 0.21, 0.0))),
    )


def range_of_motion() -> Script:
    """Six seconds in which everything that is captured moves on its own."""
    return Script(
        Fraction(6),
        {
            "yaw": ((0.3, 0), (0.75, -20), (1.35, 20), (1.8, 0)),
            "pitch": ((1.6, 0), (1.95, -12), (2.4, 12), (2.75, 0)),
            "roll": ((2.55, 0), (2.85, -12), (3.25, 12), (3.55, 0)),
            "gaze_yaw": ((0.45, 0), (0.7, 8), (0.9, 0), (3.0, 0), (3.2, -20), (3.5, -20), (3.7, 20), (4.0, 20), (4.15, 0)),
            "gaze_pitch": ((4.0, 0), (4.15, -16), (4.45, -16), (4.65, 14), (4.85, 14), (5.05, 0)),
            **_blinks(0.3, 1.55, 3.0, 5.9),
            **_both("browOuterUp", ((3.9, 0), (4.15, 1), (4.4, 1), (4.65, 0))),
            "browInnerUp": ((3.9, 0), (4.15, 1), (4.4, 1), (4.65, 0)),
            **_both("browDown", ((4.55, 0), (4.8, 1), (5.0, 1), (5.2, 0))),
            **_both("noseSneer", ((4.6, 0), (4.8, 0.5), (5.0, 0.5), (5.2, 0))),
            **_both("mouthSmile", ((1.7, 0), (2.0, 0.9), (2.3, 0.9), (2.6, 0), (5.2, 0), (5.4, 1), (5.65, 1), (5.9, 0))),
            **_both("cheekSquint", ((1.7, 0), (2.0, 0.6), (2.3, 0.6), (2.6, 0), (5.2, 0), (5.4, 0.8), (5.65, 0.8), (5.9, 0))),
            "mouthPucker": ((4.4, 0), (4.7, 1), (4.9, 1), (5.15, 0)),
            "jawOpen": ((2.75, 0), (3.1, 0.9), (3.3, 0.9), (3.6, 0), (5.2, 0), (5.45, 0.35), (5.6, 0.35), (5.8, 0)),
            "mouthLeft": ((0.5, 0), (0.75, 0.6), (1.0, 0)),
            "mouthRight": ((1.1, 0), (1.35, 0.6), (1.6, 0)),
        },
    )  # fmt: skip


# "Understudy. Any face can play the part. You move, so do I." one sign every STEP_S.
SPOKEN = "-alelsali-elifeisalamleilamal-umuf-soula--"
STEP_S = 0.093


def talking() -> Script:
    """Four seconds of speech, with what a head, brows and eyes do beside it."""
    names = sorted({name for viseme in VISEMES.values() for name in viseme})
    tracks: dict[str, Track] = {
        name: tuple((i * STEP_S, VISEMES[sign].get(name, 0.0)) for i, sign in enumerate(SPOKEN)) for name in names
    }
    return Script(
        Fraction(4),
        {
            **tracks,
            **_blinks(1.25, 2.6),
            "yaw": ((0, 0), (0.6, 6), (1.5, -5), (2.3, 4), (3.1, -7), (3.8, 0)),
            "pitch": ((0, 0), (0.35, 4), (0.8, -2), (1.3, 3), (2.0, -4), (2.5, 3), (3.0, 0), (3.4, 4), (3.9, 0)),
            "roll": ((0.2, 0), (1.0, 4), (2.0, -3), (2.9, 3), (3.8, 0)),
            "gaze_yaw": ((1.2, 0), (1.3, 10), (1.9, 10), (2.0, -6), (2.55, -6), (2.65, 0)),
            "browInnerUp": (
                (0.2, 0),
                (0.4, 0.6),
                (0.8, 0.1),
                (1.9, 0.1),
                (2.1, 0.8),
                (2.5, 0),
                (3.2, 0),
                (3.4, 0.5),
                (3.8, 0),
            ),
            **_both("browOuterUp", ((0.2, 0), (0.4, 0.5), (0.8, 0), (1.9, 0), (2.1, 0.7), (2.5, 0))),
        },
    )


def demonstration() -> Script:
    """Ten seconds: what a face can do, then speech."""
    return range_of_motion().then(talking())


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How much of one written curve came back."""

    r: float  # Pearson
    written: NDArray[np.float64]  # [T]
    captured: NDArray[np.float64]  # [T]


# Curves that a face shows whoever wears it; each is a mean of coefficients or an angle in degrees.
CURVES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "jawOpen": ("jawOpen",),
        "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
        "smile": ("mouthSmileLeft", "mouthSmileRight"),
        "pucker": ("mouthPucker",),
        "brow": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    }
)


def agreement(written: Sequence[Motion], captured: Sequence[Motion]) -> dict[str, Agreement]:
    """Curve by curve, what was written against what was captured, frame by frame.

    The head is compared apart from the pose that the character's own picture adds to every frame.
    """
    assert len(written) == len(captured), f"{len(written)} moments written, {len(captured)} captured"
    from scipy.spatial.transform import Rotation

    def curves(motions: Sequence[Motion], turns: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        expression = np.stack([m.expression for m in motions]).astype(np.float64)
        gaze = np.degrees(np.stack([m.gaze for m in motions]).astype(np.float64).mean(1))
        yaw, pitch, roll = angles_of(turns).T
        named = {name: expression[:, [ARKIT_INDEX[n] for n in of]].mean(1) for name, of in CURVES.items()}
        return {
            **named,
            "gaze yaw": gaze[:, 0],
            "gaze pitch": gaze[:, 1],
            "head yaw": yaw,
            "head pitch": pitch,
            "head roll": roll,
        }

    was = Rotation.from_matrix(np.stack([m.head[:3, :3] for m in written]).astype(np.float64))
    now = Rotation.from_matrix(np.stack([m.head[:3, :3] for m in captured]).astype(np.float64))
    own = (was.inv() * now).mean()
    a, b = curves(written, was.as_matrix()), curves(captured, (now * own.inv()).as_matrix())
    return {name: Agreement(r=_pearson(a[name], b[name]), written=a[name], captured=b[name]) for name in a}


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if a.std() < 1e-9 or b.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
