"""Points of the head that no expression moves: hair, hat, temples and ears, followed from frame to frame.

The face mesh leans when a face smiles or frowns, and a head measured from it alone nods along. What
surrounds the face does not, so features there (Shi and Tomasi 1994) are followed by Lucas-Kanade
(Bouguet 2001) against one reference picture, not from frame to frame, so nothing drifts. Knows
pixels; `perfcap.head.refine_head` knows what they say about the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfcap.face import FaceMesh
from perfcap.landmarks import OUTER_EYES, OVAL

WORK_PX = 110.0  # the outer eye corners are brought to this distance before following
N_POINTS = 70
FEW = 14  # points below which a new reference is taken
BAND = 1.38  # times the face's outline, how far around it features are looked for
MARGIN = 0.6  # of the distance of the eye corners, what is seen around that: features move, and windows are wide
STEP_PX = 32  # what is seen begins and ends at multiples of this: it mostly stays

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 px of the picture


@dataclass(frozen=True)
class Anchors:
    """Where the features of one reference picture are now."""

    reference: int  # number of the reference picture
    now: NDArray[np.float32]  # [N, 2] px
    then: NDArray[np.float32]  # [N, 2] px in the reference picture


@dataclass
class _Reference:
    number: int
    rgb: NDArray[np.uint8]  # [H, W, 3]
    scale: float
    points: NDArray[np.float32]  # [N, 2] px
    face: FaceMesh
    box: Box
    grey: NDArray[np.uint8]  # [h, w] of what is in the box, scaled
    eyes: float  # px of the picture between the outer eye corners


class AnchorTracker:
    """Follow the surroundings of one face; `None` where there is nothing to follow."""

    def __init__(self) -> None:
        self._reference: _Reference | None = None
        self._number = 0

    def reset(self) -> None:
        self._reference = None

    def follow(self, rgb: NDArray[np.uint8], face: FaceMesh) -> Anchors | None:
        import cv2

        eyes = float(np.linalg.norm(face.landmarks[OUTER_EYES[0], :2] - face.landmarks[OUTER_EYES[1], :2]))
        reference = self._reference
        if reference is not None and not 0.6 < eyes / reference.eyes < 1.6:
            reference = None
        if reference is None:
            self._reference = reference = self._begin(rgb, face, min(1.0, WORK_PX / max(eyes, 1.0)))
            if reference is None:
                return None
            return Anchors(reference.number, reference.points, reference.points)
        scale = reference.scale
        box = _box(rgb, reference.face, face)
        if box != reference.box:
            reference.box, reference.grey = box, _grey(reference.rgb, box, scale)
        corner = np.array(box[:2], np.float32)
        then = ((reference.points - corner) * scale).astype(np.float32)
        guess = (_carry(reference.face, face, reference.points) - corner) * scale
        now, found, error = cv2.calcOpticalFlowPyrLK(
            reference.grey, _grey(rgb, box, scale), then, guess.astype(np.float32), winSize=(15, 15), maxLevel=2,
            criteria=(3, 12, 0.02), flags=cv2.OPTFLOW_USE_INITIAL_FLOW, minEigThreshold=1e-3,
        )  # fmt: skip
        off = np.linalg.norm(now - guess, axis=1)
        good = (found[:, 0] > 0) & (error[:, 0] < 14) & (off < 0.16 * WORK_PX)
        if good.sum() < FEW:
            self._reference = None
            return self.follow(rgb, face)
        return Anchors(reference.number, (now[good] / scale + corner).astype(np.float32), reference.points[good])

    def _begin(self, rgb: NDArray[np.uint8], face: FaceMesh, scale: float) -> _Reference | None:
        import cv2

        box = _box(rgb, face)
        grey, corner = _grey(rgb, box, scale), np.array(box[:2], np.float32)
        oval = ((face.landmarks[list(OVAL), :2] - corner) * scale).astype(np.float32)
        eyes = (face.landmarks[list(OUTER_EYES), :2] - corner) * scale
        unit = float(np.linalg.norm(eyes[0] - eyes[1]))
        middle = eyes.mean(0)
        up = oval[0] - middle
        up = up / max(float(np.linalg.norm(up)), 1e-6)
        # Upper part of the head only: from the cheekbones over the top, a band around the face's contour.
        above = oval[((oval - middle) @ up) > -0.35 * unit]
        outer, inner = np.zeros_like(grey), np.zeros_like(grey)
        cv2.fillConvexPoly(
            outer, cv2.convexHull((middle + (above - middle) * BAND).astype(np.float32)).astype(np.int32), 255
        )
        cv2.fillConvexPoly(
            inner, cv2.convexHull((middle + (oval - middle) * 1.04).astype(np.float32)).astype(np.int32), 255
        )
        yy, xx = np.mgrid[: grey.shape[0], : grey.shape[1]]
        high = ((xx - middle[0]) * up[0] + (yy - middle[1]) * up[1]) > -0.30 * unit
        mask = np.where((outer > 0) & (inner == 0) & high, 255, 0).astype(np.uint8)
        points = cv2.goodFeaturesToTrack(grey, N_POINTS, 0.01, 4, mask=mask, blockSize=5)
        if points is None or len(points) < FEW:
            return None
        self._number += 1
        found = (points[:, 0] / scale + corner).astype(np.float32)
        return _Reference(self._number, rgb, scale, found, face, box, grey, unit / scale)


def _box(rgb: NDArray[np.uint8], *faces: FaceMesh) -> Box:
    """What of a picture shows heads and what is around them."""
    corners = []
    for face in faces:
        oval, eyes = face.landmarks[list(OVAL), :2], face.landmarks[list(OUTER_EYES), :2]
        middle, margin = eyes.mean(0), MARGIN * np.linalg.norm(eyes[0] - eyes[1])
        outer = middle + (oval - middle) * BAND
        corners += [outer.min(0) - margin, outer.max(0) + margin]
    size = np.array(rgb.shape[1::-1])
    low = np.clip(np.floor(np.min(corners, 0) / STEP_PX).astype(int) * STEP_PX, 0, size - 1)
    high = np.clip(np.ceil(np.max(corners, 0) / STEP_PX).astype(int) * STEP_PX, low + 1, size)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _grey(rgb: NDArray[np.uint8], box: Box, scale: float) -> NDArray[np.uint8]:
    import cv2

    grey = cv2.cvtColor(rgb[box[1] : box[3], box[0] : box[2]], cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey)


def _carry(then: FaceMesh, now: FaceMesh, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points [N, 2] px moved as the whole face moved between two sightings (a similarity)."""
    a, b = then.landmarks[list(OVAL), :2], now.landmarks[list(OVAL), :2]
    ma, mb = a.mean(0), b.mean(0)
    a, b = a - ma, b - mb
    size = float((a**2).sum())
    c, s = float((a * b).sum()) / size, float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    turn = np.array(((c, -s), (s, c)), np.float32)
    return np.asarray((points - ma) @ turn.T + mb, np.float32)
