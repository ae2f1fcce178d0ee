"""Where lips, beards, hair and blushes go on a face, as soft masks in the 3-D face's own texture.

Found once for an asset from the 68 marks that it has; distances are millimetres on the mean face. Nothing here knows
what is painted there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

TEXELS = 768  # of a texture's side

# The iBUG marks, by what they are.
JAW_RIGHT, JAW_LEFT, CHIN = 0, 16, 8
NASION, NOSE_TIP, UNDER_NOSE = 27, 30, 33
MOUTH_RIGHT = 48
EARS_IN_TEXTURE = ((0.0, 0.125), (0.875, 1.0))  # columns, and between these rows:
EARS_ROWS = (0.3, 0.56)


@dataclass(frozen=True)
class Regions:
    """Masks [N, N] 0..1 (some add up to a little more); rows run down the face."""

    lips: Floats
    blush: Floats  # cheeks, tip of the nose, chin
    sockets: Floats  # the upper lids' skin
    bags: Floats  # under the eyes
    t_zone: Floats  # where skin is oily
    beard: Floats
    moustache: Floats
    scalp: Floats
    rims: Floats  # of the eyes
    upper_lids: Floats  # where lashes grow


def ramp(x: Any, low: Any, high: Any) -> Floats:
    """0 below low, 1 above high, straight between; the other way round if high is less than low."""
    return np.asarray(np.clip((x - low) / (high - low), 0, 1), np.float32)


def noise(rng: np.random.Generator, cells: int) -> Floats:
    """A smooth random field [N, N], sd about 1, with so many bumps across."""
    small = rng.standard_normal((cells + 1, cells + 1)).astype(np.float32)
    return np.asarray(cv2.resize(small, (TEXELS, TEXELS), interpolation=cv2.INTER_CUBIC), np.float32)


def find_regions(
    place_m: Floats,  # [N, N, 3], of each texel on the mean face; 0 where the texture is not used
    marks_m: Floats,  # [68, 3]
    marks: Floats,  # [68, 2] texels
) -> Regions:
    """All of them, for one asset."""
    known = place_m.any(-1)
    x, y, z = np.moveaxis(place_m * 1000, -1, 0)
    at = marks_m * 1000

    def near(mark: int, across: float, down: float, dx: float = 0.0, dy: float = 0.0) -> Floats:
        """A soft spot of this size beside a mark, mm, on the front of the face."""
        off = ((x - at[mark, 0] - dx) / across) ** 2 + ((y - at[mark, 1] - dy) / down) ** 2
        return np.asarray(np.exp(-off) * ramp(z, 60, 40) * known, np.float32)

    lips, around_lips = _lips(marks)
    ears = np.zeros((TEXELS, TEXELS), bool)
    for left, right in EARS_IN_TEXTURE:
        ears[_texels(*EARS_ROWS), _texels(left, right)] = True
    eyes = [marks[first : first + 6] for first in (36, 42)]
    cheeks = np.maximum(near(36, 20, 15, 2, 34), near(45, 20, 15, -2, 34))
    return Regions(
        lips=lips,
        blush=cheeks + 0.7 * near(NOSE_TIP, 9, 8) + 0.4 * near(CHIN, 14, 9, 0, -6),
        sockets=np.asarray(sum(near(mark, 9, 5, 0, -3) for mark in (37, 38, 43, 44)), np.float32),
        bags=np.maximum(near(41, 13, 5, 2, 8), near(46, 13, 5, -2, 8)),
        t_zone=np.clip(near(NASION, 26, 16, 0, -28) + near(NOSE_TIP, 9, 26, 0, -8) + 0.6 * near(CHIN, 12, 9, 0, -4), 0, 1),
        beard=_beard(x, y, z, at) * ramp(around_lips, 0.625, 0) * (known & ~ears),
        moustache=ramp(y, at[MOUTH_RIGHT, 1] + 2, at[MOUTH_RIGHT, 1] - 4) * ramp(np.abs(x), 34, 26),
        scalp=cv2.dilate(_scalp(x, y, z, at) * known, np.ones((9, 9))) * ~ears,  # past the rim of what is used
        rims=np.maximum(*(line(eye, closed=True, thick=4, soft=1.3) for eye in eyes)),
        upper_lids=np.maximum(*(line(eye[:4] - (0, 2), closed=False, thick=5, soft=1.5) for eye in eyes)),
    )  # fmt: skip


def _lips(marks: Floats) -> tuple[Floats, Floats]:
    """The lips, what of them is turned into the mouth too, and softly what is around them."""
    outline = np.repeat(marks[48:60], 8, 0)
    whole = np.concatenate((outline[-24:], outline, outline[:24]))
    ring = np.stack([np.convolve(whole[:, k], np.hanning(25) / 12, "same")[24:-24] for k in (0, 1)], 1)
    inside = np.zeros((TEXELS, TEXELS), np.uint8)
    cv2.fillPoly(inside, [np.round(ring * 16).astype(np.int32)], 255, shift=4)
    around = cv2.dilate(inside, np.ones((9, 9))).astype(np.float32) / 255
    lips = cv2.GaussianBlur(inside.astype(np.float32) / 255, (0, 0), 1.6)
    return lips, np.clip(1.4 * cv2.GaussianBlur(around, (0, 0), 6.0), 0, 1)


def _beard(x: Floats, y: Floats, z: Floats, at: Floats) -> Floats:
    """Below the nose and along the jaw up to the ears; not far below it."""
    ragged = 2.0 * noise(np.random.default_rng(1), 60)
    nose, mouth, ear = at[UNDER_NOSE, 1], at[MOUTH_RIGHT, 1], at[JAW_RIGHT, 1]
    top = np.interp(np.abs(x), (0, 18, 30, 50, 62, 75), (nose + 5, nose + 5, mouth - 9, mouth - 3, nose - 2, ear + 6))
    jaw = np.interp(
        np.abs(x), (0, 30, 55, 75, 95), (at[8, 1] + 16, at[8, 1] + 8, at[5, 1] + 16, at[2, 1] + 24, at[1, 1])
    )
    return ramp(y + ragged, top, top + 7) * ramp(y - ragged, jaw + 14, jaw - 8) * ramp(z, 78, 58)


def _scalp(x: Floats, y: Floats, z: Floats, at: Floats) -> Floats:
    """Above a hairline that is lower at the temples, and before the ears."""
    hairline = at[NASION, 1] - 56 + 0.008 * x**2
    above_ears = y < at[1, 1] - 6
    top = (hairline - y) / 6 + np.clip((z - 38) / 8, -9, 3) * above_ears
    ear = at[JAW_RIGHT, 2]
    side = ramp(z, ear - 16, ear - 10) * ramp(y, at[1, 1] - 8, at[1, 1] - 14) * ramp(np.abs(x), 55, 61)
    return np.maximum(np.clip(top, 0, 1), side).astype(np.float32)


def line(points: Floats, *, closed: bool, thick: int, soft: float) -> Floats:
    """A soft line [N, N] 0..1 through texels [n, 2]."""
    canvas = np.zeros((TEXELS, TEXELS), np.uint8)
    cv2.polylines(canvas, [np.round(points * 16).astype(np.int32)], closed, 255, thick, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), soft), np.float32)


def _texels(low: float, high: float) -> slice:
    return slice(int(low * TEXELS), int(high * TEXELS))
