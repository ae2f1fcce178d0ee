"""What Wan-Animate is shown of a moment: a skeleton on black, and a picture of the face alone.

Both are drawn of a Motion in the character's own terms, so they fit the character's picture whoever acted. The
skeleton has OpenPose's joints and colours, as the model's authors draw them for it. Head and face are what we
capture; of the body those joints are drawn that the picture shows, carried along by the warp's mesh. The face is cut
out of the warp's picture. Nothing is remembered between moments.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfcap.body import body_joints
from perfcap.landmarks import BROWS_UPPER, LEFT_EYE, NOSE_TIP, OVAL, RIGHT_EYE
from runtime.records import Motion
from synth.rig import FIRST_GRID
from synth.warp import Drawn, WarpRenderer

NAMES = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear", "left toe", "right toe",
)  # fmt: skip
LIMBS = (
    ("neck", "right shoulder"), ("neck", "left shoulder"), ("right shoulder", "right elbow"), ("right elbow", "right wrist"),
    ("left shoulder", "left elbow"), ("left elbow", "left wrist"), ("neck", "right hip"), ("right hip", "right knee"),
    ("right knee", "right ankle"), ("neck", "left hip"), ("left hip", "left knee"), ("left knee", "left ankle"),
    ("neck", "nose"), ("nose", "right eye"), ("right eye", "right ear"), ("nose", "left eye"), ("left eye", "left ear"),
    ("left ankle", "left toe"), ("right ankle", "right toe"),
)  # fmt: skip
N_HUES = 18  # once round the circle, a hue a joint and a limb; feet are yellow
COLOURS = (
    *(tuple(round(255 * v) for v in colorsys.hsv_to_rgb(i / N_HUES, 1, 1)) for i in range(N_HUES)),
    (200, 200, 0),
    (100, 100, 0),
)
LIMB_SHADE = 0.6  # how bright a limb is beside its joints
RIGHT_EAR, LEFT_EAR = 234, 454  # landmarks before the ears
TURNED = 0.42  # sine of the angle by which an ear is turned away, from which on it is hidden: 25 degrees
CARRIED = 0.5  # units: a joint so near to the warp's mesh goes along with it
FACE_AREA = 1.3  # of the box around brows, cheeks and chin, what the face picture shows; more above than below
ABOVE = 0.75  # how much of what is added in height lies above


@dataclass(frozen=True)
class Figure:
    """One moment. Pixels are those of the character's picture."""

    joints: NDArray[np.float32]  # [20, 2] px, in the order of NAMES; NaN where one is not seen
    face: NDArray[np.uint8]  # [F, F, 3], the face alone


class Figures:
    """Motion -> Figure, for one character's warp."""

    def __init__(self, warp: WarpRenderer, face_side: int) -> None:
        self._character, self._side = warp.character, face_side
        grid = warp.character.skin.points[FIRST_GRID:]
        self._body: list[tuple[int, NDArray[np.float32], int | None]] = []  # place in NAMES, px, vertex that carries it
        for joint in body_joints(warp.character.rgb):
            at = np.array((joint.x, joint.y), np.float32)
            gaps = np.linalg.norm(grid - at, axis=1)
            near = int(gaps.argmin())
            carried = FIRST_GRID + near if gaps[near] < CARRIED * warp.character.unit_px else None
            self._body.append((NAMES.index(joint.name), at, carried))

    def of(self, motion: Motion, drawn: Drawn) -> Figure:
        """`drawn` is what the warp drew of the Motion."""
        joints = np.full((len(NAMES), 2), np.nan, np.float32)
        rest = self._character.skin.points
        for i, at, vertex in self._body:
            joints[i] = at if vertex is None else at + drawn.vertices[vertex] - rest[vertex]
        joints[NAMES.index("neck")] = joints[[NAMES.index("right shoulder"), NAMES.index("left shoulder")]].mean(0)
        face = drawn.landmarks
        joints[NAMES.index("nose")] = face[NOSE_TIP]
        across = motion.head[:3, :3] @ (motion.face[LEFT_EAR] - motion.face[RIGHT_EAR])
        away = float(across[2] / np.linalg.norm(across))  # sine of how far the left ear is turned away
        for name, eye, ear, hidden in (
            ("right", RIGHT_EYE, RIGHT_EAR, -away > TURNED),
            ("left", LEFT_EYE, LEFT_EAR, away > TURNED),
        ):
            joints[NAMES.index(f"{name} eye")] = face[list(eye)].mean(0)
            if not hidden:
                joints[NAMES.index(f"{name} ear")] = face[ear]
        return Figure(joints, _face(drawn, self._side))


def draw_skeleton(joints: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Joints [20, 2] px, NaN where not seen, and the limbs between them, on black [height, width, 3]."""
    import cv2

    canvas = np.zeros((height, width, 3), np.uint8)
    thick = max(min(height, width) // 200 - 1, 1)
    places = {name: at for name, at in zip(NAMES, joints, strict=True) if np.isfinite(at).all()}
    for (a, b), colour in zip(LIMBS, COLOURS, strict=False):
        if a not in places or b not in places:
            continue
        middle, along = (places[a] + places[b]) / 2, places[a] - places[b]
        half = int(np.linalg.norm(along) / 2)
        angle = int(np.degrees(np.arctan2(along[1], along[0])))
        outline = cv2.ellipse2Poly(_whole(middle), (half, thick), angle, 0, 360, 1)
        cv2.fillConvexPoly(canvas, outline, [int(LIMB_SHADE * c) for c in colour])
    for name, colour in zip(NAMES, COLOURS, strict=True):
        if name in places:
            cv2.circle(canvas, _whole(places[name]), thick, colour, -1)
    return canvas


def _whole(point: NDArray[np.float32]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _face(drawn: Drawn, side: int) -> NDArray[np.uint8]:
    """The face [side, side, 3] from the brows to the chin and a little around it, stretched to a square."""
    import cv2

    H, W = drawn.rgb.shape[:2]
    outline, brows = drawn.landmarks[list(OVAL)], drawn.landmarks[list(BROWS_UPPER)]
    (left, _), (right, bottom) = outline.min(0), outline.max(0)
    top = brows[:, 1].min()
    more = FACE_AREA**0.5 - 1
    wider, higher = more * (right - left), more * (bottom - top)
    x0, x1 = (int(np.clip(v, 0, W)) for v in (left - wider / 2, right + wider / 2))
    y0, y1 = (int(np.clip(v, 0, H)) for v in (top - ABOVE * higher, bottom + (1 - ABOVE) * higher))
    if x1 - x0 < 2 or y1 - y0 < 2:  # outside of the picture
        return np.zeros((side, side, 3), np.uint8)
    return np.asarray(cv2.resize(drawn.rgb[y0:y1, x0:x1], (side, side), interpolation=cv2.INTER_LINEAR))
