"""Drawn eyes in a picture: larger than the face mesh, which knows people's, takes them for.

Where an iris' edge on both sides says that it is elsewhere or larger, the iris is put there, and the lower lid where
the eye ends: what of an eye is left below a lid that shuts shows as an arc. Eyes that the mesh has right are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfcap.face import FaceMesh
from perfcap.iris import EYES

# Directions from an iris in which lids seldom hide it.
SIDES = np.radians(np.r_[-35:36:5, 145:216:5]).astype(np.float32)
RADII = np.arange(0.7, 1.65, 0.05, dtype=np.float32)  # of the mesh's
ALONG, ACROSS = np.arange(-0.5, 0.51, 0.1), np.arange(-0.3, 0.31, 0.1)  # of it, how far away a middle is looked for
STEP = 0.1  # of it, on both sides of an edge
# By how many grey levels the fainter side is lighter outside, weighed by its light, and times the mesh's own.
CLEAR, CLEARER = 42.0, 1.15
BELOW = np.arange(0.0, 0.15, 0.01, dtype=np.float32)  # of an eye's width, below a lid, where the eye may end
SKIN = (0.2, 0.3)  # of it, where there is surely skin


@dataclass(frozen=True)
class _Disc:
    centre: NDArray[np.float32]  # [2] px
    radius: float


def with_drawn_eyes(rgb: NDArray[np.uint8], face: FaceMesh) -> FaceMesh:
    """A picture's face [H, W, 3] with its irises and lower lids where they are drawn."""
    landmarks = face.landmarks.copy()
    for upper, lower, iris in EYES:
        points = landmarks[:, :2]
        ring = list(iris[1:])
        radius = float(np.linalg.norm(points[ring] - points[iris[0]], axis=1).mean())
        found = _disc(rgb, _Disc(points[iris[0]].copy(), radius))
        if found is None:
            continue
        landmarks[ring, :2] = found.centre + (points[ring] - points[iris[0]]) * np.float32(found.radius / radius)
        landmarks[iris[0], :2] = found.centre
        a, b = landmarks[upper[0], :2], landmarks[upper[-1], :2]
        down = np.array((a[1] - b[1], b[0] - a[0]), np.float32)
        lid = list(lower[1:-1])
        bulge = np.sqrt(np.sin(np.linspace(0, np.pi, len(lower), dtype=np.float32)[1:-1]))  # less towards the corners
        landmarks[lid, :2] += _end(rgb, landmarks[lid, :2], down) * bulge[:, None] * down
    return replace(face, landmarks=landmarks)


def _disc(rgb: NDArray[np.uint8], told: _Disc) -> _Disc | None:
    """The iris that both its sides' edges make the most likely; None where that is the one that was told."""
    best, usual, found = 0.0, 0.0, told
    for across in ACROSS:
        for along in ALONG:
            centre = told.centre + np.array((along, across), np.float32) * np.float32(told.radius)
            inner, outer = (_around(rgb, centre, told.radius * (RADII + way)) for way in (-STEP, STEP))
            # What is outside must be light: around a pupil is iris.
            edge = ((outer - inner) * outer / 255).reshape(len(RADII), 2, -1).mean(-1).min(1)  # the fainter side's
            if abs(along) < 0.01 and abs(across) < 0.01:
                usual = float(edge[np.abs(RADII - 1) < 0.11].max())
            if edge.max() > best:
                best, found = float(edge.max()), _Disc(centre, float(told.radius * RADII[edge.argmax()]))
    return found if best > max(CLEAR, CLEARER * usual) else None


def _around(rgb: NDArray[np.uint8], centre: NDArray[np.float32], radii: NDArray[np.float32]) -> NDArray[np.float32]:
    """Red [R, A] around a point, in which skin and white are bright, and irises of any colour dark."""
    import cv2

    x = (centre[0] + radii[:, None] * np.cos(SIDES) - 0.5).astype(np.float32)
    y = (centre[1] + radii[:, None] * np.sin(SIDES) - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(rgb, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[..., 0], np.float32)


def _end(rgb: NDArray[np.uint8], lid: NDArray[np.float32], down: NDArray[np.float32]) -> np.float32:
    """How far below a lower lid's points [N, 2] the eye usually ends, in lengths of `down`."""
    import cv2

    def seen(ways: NDArray[np.float32]) -> NDArray[np.float32]:
        at = (lid[:, None] + ways[None, :, None] * down - 0.5).astype(np.float32)
        colour = cv2.remap(rgb, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(colour, np.float32)

    skin = np.median(seen(np.linspace(*SKIN, 8, dtype=np.float32)), axis=(0, 1))
    unlike = np.linalg.norm(seen(BELOW) - skin, axis=-1)
    of_eye = unlike > 0.5 * unlike.max(1, keepdims=True)
    last = len(BELOW) - 1 - of_eye[:, ::-1].argmax(1)
    return np.float32(np.median(BELOW[last]))
