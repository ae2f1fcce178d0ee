"""The five records that flow through the house.

Everything that belongs to one instant travels in one of these; each carries its exact place in
time as a `Fraction` of seconds (a container's `pts * time_base`), so 29.97 and variable frame
rates stay exact. This file imports nothing of ours and does not know who makes or eats a record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz, mono; sound is resampled to it once, at the door

N_LANDMARKS = 478  # MediaPipe face mesh: 468 on the face, then 5 on each iris
N_FACE = 468

ARKIT_NAMES: tuple[str, ...] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft",
    "eyeSquintLeft", "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight",
    "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight", "jawForward",
    "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft",
    "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
)  # fmt: skip
N_EXPRESSION = len(ARKIT_NAMES)
ARKIT_INDEX: dict[str, int] = {name: i for i, name in enumerate(ARKIT_NAMES)}


@dataclass(frozen=True, kw_only=True)
class AudioChunk:
    """Sound of any length from `time` on; nobody downstream may care how it was cut."""

    time: Fraction  # seconds
    pcm: NDArray[np.float32]  # [T], mono, -1..1, at SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What a face does at one instant, whoever made it: a camera, a voice, a file, a program.

    `head` maps the head's own frame (x to the viewer's right in a frontal picture, y down, z away
    from the camera, origin between the outer eye corners) to the camera's, in metres. `face` is
    free of pose, in the head's frame, in units of the performer's neutral distance between the
    outer eye corners.
    """

    time: Fraction  # seconds
    head: NDArray[np.float32]  # [4, 4], head -> camera, metres
    expression: NDArray[np.float32]  # [52], ARKIT_NAMES' order, 0..1
    gaze: NDArray[np.float32]  # [2, 2], performer's left then right eye; yaw, pitch in the head's frame, radians
    face: NDArray[np.float32]  # [478, 3], pose-free, 1 = neutral distance of the outer eye corners
    confidence: float  # 1 seen, 0 not seen (then the rest is held or eased)
    shoulders: NDArray[np.float32] | None = None  # [2, 3], right and left, camera's frame, metres, as far away as head


@dataclass(frozen=True, kw_only=True)
class Cue:
    """One picture to be made: a Motion and the sound under it. The only join of the two."""

    time: Fraction  # seconds
    motion: Motion
    sound: AudioChunk | None = None


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One rendered picture, and where the face and mouth are in it, so nobody looks again."""

    cue: Cue
    rgb: Any  # [H, W, 3] uint8, a NumPy array or a device tensor
    face_box: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1 px
    mouth_box: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1 px

    @property
    def time(self) -> Fraction:
        return self.cue.time


@dataclass(frozen=True, kw_only=True)
class Packet:
    """An encoded piece of picture or sound: all that the wire and the muxer know."""

    time: Fraction  # seconds
    payload: bytes = field(repr=False)
    is_key: bool = True
