"""Where a face lies in a frame, and its mouth cut out of the frame's own planes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio.mouth_shape import from_lips
from perfcap.head import UNIT_M, Camera, place
from runtime.records import Motion

Floats = NDArray[np.float32]
Planes = tuple[NDArray[Any], ...]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 px

PATCH_END = 0.24  # units from the lips within which a mouth is laid over another


@functools.cache
def patch_points() -> NDArray[np.int64]:
    return np.flatnonzero(from_lips() <= PATCH_END + 0.05)


@dataclass(frozen=True)
class Pose:
    """A face in a frame: where its points are."""

    points: Floats  # [468, 2] px
    depth: Floats  # [468] metres
    unit: float  # px of one unit there


def pose(motion: Motion, camera: Camera, face: Floats) -> Pose:
    """Where the points of a face [468, 3] lie when the head is where it is in a motion."""
    placed = place(motion.head, face)
    unit = camera.focal_px * UNIT_M / float(motion.head[2, 3])
    return Pose(camera.project(placed), placed[:, 2], float(unit))


def subsampled(planes: Planes) -> list[tuple[int, int]]:
    """How many luma samples one sample of each plane spans, across and down."""
    H, W = planes[0].shape
    return [(round(W / p.shape[1]), round(H / p.shape[0])) for p in planes]


def cut(planes: Planes, points: Floats, margin: float) -> tuple[Planes, tuple[int, int]]:
    """Copies of each plane around points [N, 2] px, and the corner of the cut-out in luma samples."""
    H, W = planes[0].shape
    x0, y0 = (int(max(0, v) // 4 * 4) for v in points.min(0) - margin)
    x1, y1 = (int(min(top, -(-v // 4) * 4)) for top, v in zip((W, H), points.max(0) + margin, strict=True))
    parts = [
        plane[y0 // sy : -(-y1 // sy), x0 // sx : -(-x1 // sx)].copy()
        for plane, (sx, sy) in zip(planes, subsampled(planes), strict=True)
    ]
    return tuple(parts), (x0, y0)


def mouth_cut(planes: Planes, landmarks: Floats) -> tuple[Planes, tuple[int, int]]:
    """The cut-out of a mouth around landmarks [478, 3] px."""
    unit = float(np.linalg.norm(landmarks[33, :2] - landmarks[263, :2]))
    return cut(planes, landmarks[patch_points(), :2], 0.08 * unit)
