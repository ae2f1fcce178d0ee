"""What MediaPipe's face mesh would say of a made person, without asking it each time.

Once, the mesh looks at some photographs. Where each of its landmarks lies on the 3-D face, what it is off by on
average and how its errors go together is kept; from then on landmarks are computed, errors included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.face import MediaPipeFaces
from perfcap.head import Camera
from perfcap.landmarks import INNER_LIPS, LEFT_IRIS, RIGHT_IRIS
from perfcap.training.ict import IctFace, gaze_direction
from runtime.errors import InputError
from runtime.output import whole_file
from runtime.records import N_FACE, N_LANDMARKS

Floats = NDArray[np.float32]
Rng = np.random.Generator

IRIS_RAD = 0.385  # half-angle on the asset's large eyeball
NEAREST_FIRST = sorted(((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)), key=lambda d: d[0] ** 2 + d[1] ** 2)  # px
N_ERRORS = 12  # directions in which landmarks err together
LASTING, PASSING = 0.45, 0.1  # how much of the usual error stays through a take, and how much comes and goes


@dataclass(frozen=True)
class Landmarks:
    """Where the mesh's landmarks lie on the asset, and how it errs; errors are in units, in the head's frame."""

    corners: NDArray[np.int32]  # [468, 3] vertices
    weights: Floats  # [468, 3]
    bias: Floats  # [478, 3]
    errors: Floats  # [N_ERRORS, 478, 3], one standard deviation each

    def save(self, path: Path) -> None:
        with whole_file(path, force=True) as partial, partial.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Landmarks:
        with np.load(path, allow_pickle=False) as data:
            missing = {field.name for field in fields(cls)} - set(data.files)
            if missing:
                raise InputError(f"{path} has no {', '.join(sorted(missing))}; wanted landmarks measured before")
            return cls(*(data[field.name] for field in fields(cls)))

    def error(self, rng: Rng, amount: float) -> Floats:
        """A random error [478, 3], so many times as large as is usual."""
        weights = amount * rng.standard_normal(len(self.errors)).astype(np.float32)
        return np.asarray(np.tensordot(weights, self.errors, 1), np.float32)

    def see(
        self,
        face: IctFace,
        posed: Floats,  # [V, 3] metres, head's frame
        gaze: Floats,  # [2, 2]
        head: Floats,  # [4, 4]
        camera: Camera,
        error: Floats,  # [478, 3] units
    ) -> Floats:
        """Landmarks [478, 3] px of a posed face, as the face mesh gives them."""
        points = np.empty((N_LANDMARKS, 3), np.float32)
        points[:N_FACE] = (posed[self.corners] * self.weights[..., None]).sum(1)
        for iris, part, ahead in zip((LEFT_IRIS, RIGHT_IRIS), ("eyeball_left", "eyeball_right"), gaze_direction(gaze), strict=True):  # fmt: skip
            points[list(iris)] = _iris(*face.eye(posed, part), ahead)
        there = points @ head[:3, :3].T + head[:3, 3]
        distance = float(head[2, 3])
        px = camera.project(there)
        depth = (there[:, 2] - distance) * np.float32(camera.focal_px / distance)
        off = (self.bias + error) @ head[:3, :3].T * np.float32(unit_px(face, posed, head, camera))
        return np.asarray(np.c_[px, depth] + off, np.float32)


def unit_px(face: IctFace, posed: Floats, head: Floats, camera: Camera) -> float:
    """Pixels between the outer eye corners, seen straight on from the head's distance."""
    right, left = posed[face.landmark68[[36, 45]]]
    return float(camera.focal_px / head[2, 3] * np.linalg.norm(left - right))


def _iris(centre: Floats, radius: float, ahead: Floats) -> Floats:
    """Its middle and its right, upper, left and lower rim [5, 3] as the picture shows them."""
    right = np.cross((0.0, 1.0, 0.0), -ahead)
    right /= np.linalg.norm(right)
    down = np.cross(-ahead, right)
    c, s = np.cos(IRIS_RAD), np.sin(IRIS_RAD)
    rims = [c * ahead + s * way for way in (right, -down, -right, down)]
    return np.asarray(centre + radius * np.stack([ahead, *rims]), np.float32)


@dataclass(frozen=True)
class Shown:
    """One photograph that the mesh is shown, and what is true of it."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    corners: NDArray[np.int32]  # [H, W, 3], vertices of the face's skin that is seen, -1 where something else is
    weights: Floats  # [H, W, 3]
    posed: Floats  # [V, 3] metres
    gaze: Floats  # [2, 2]
    head: Floats  # [4, 4]
    focal_px: float
    lips_apart: bool


def measure(face: IctFace, looks: Sequence[Shown]) -> Landmarks:
    """Show the face mesh photographs and compare."""
    finder = MediaPipeFaces(still=True)
    seen: list[tuple[Shown, Floats]] = []
    for look in looks:
        found = finder.find(look.rgb)
        if len(found) == 1:
            seen.append((look, found[0].landmarks))
    finder.close()
    if len(seen) < 2 * N_ERRORS:
        raise InputError(f"the face mesh found {len(seen)} of {len(looks)} made faces; wanted {2 * N_ERRORS} or more")
    total, count = np.zeros((N_FACE, 3)), np.zeros(N_FACE)
    inner = np.isin(np.arange(N_FACE), INNER_LIPS)
    for look, landmarks in seen:
        H, W = look.corners.shape[:2]
        missing = look.lips_apart | ~inner
        for dy, dx in NEAREST_FIRST:
            x, y = np.clip(landmarks[:N_FACE, :2].astype(int) + np.array((dx, dy)), 0, (W - 1, H - 1)).T
            corners = look.corners[y, x]
            found = missing & (corners[:, 0] >= 0)
            total[found] += (face.vertices[corners[found]] * look.weights[y[found], x[found], :, None]).sum(1)
            count[found] += 1
            missing &= ~found
    if not count.all():
        raise InputError(f"landmark {int(count.argmin())} was never seen on the skin of {len(seen)} made faces")
    places = (total / count[:, None]).astype(np.float32)
    skin = face.triangles[face.triangle_material == face.material_names.index("M_Face")]
    corners, weights = _nearest_on(face.vertices, skin, places)
    still = Landmarks(
        corners, weights, np.zeros((N_LANDMARKS, 3), np.float32), np.zeros((1, N_LANDMARKS, 3), np.float32)
    )
    off = []
    for look, landmarks in seen:
        H, W = look.corners.shape[:2]
        camera = Camera(W, H, look.focal_px)
        away = (landmarks - still.see(face, look.posed, look.gaze, look.head, camera, still.bias)) / unit_px(face, look.posed, look.head, camera)  # fmt: skip
        away[:, 2] -= away[:, 2].mean()  # how deep the face lies is not told
        off.append(away @ look.head[:3, :3])
    residual = np.stack(off)
    bias = np.median(residual, 0)
    flat = (residual - bias).reshape(len(residual), -1)
    flat = np.clip(flat, -0.1, 0.1)
    _, size, direction = np.linalg.svd(flat, full_matrices=False)
    errors = direction[:N_ERRORS] * (size[:N_ERRORS, None] / np.sqrt(len(flat)))
    return Landmarks(corners, weights, bias.astype(np.float32), errors.reshape(-1, N_LANDMARKS, 3).astype(np.float32))


def _nearest_on(vertices: Floats, triangles: NDArray[np.int32], points: Floats) -> tuple[NDArray[np.int32], Floats]:
    """For points [N, 3] near a surface: the corners [N, 3] of the triangle each lies on, and their weights."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    middle = (a + b + c) / 3
    corners, weights = np.zeros((len(points), 3), np.int32), np.zeros((len(points), 3), np.float32)
    for i, p in enumerate(points):
        near = np.argsort(((middle - p) ** 2).sum(1))[:12]
        best: Any = None
        for t in near:
            E = np.stack((b[t] - a[t], c[t] - a[t]), 1)
            u, v = np.linalg.lstsq(E, p - a[t], rcond=None)[0]
            w = np.clip(np.array((1 - u - v, u, v)), 0, 1)
            w /= w.sum()
            gap = float(np.linalg.norm(w[0] * a[t] + w[1] * b[t] + w[2] * c[t] - p))
            if best is None or gap < best[0]:
                best = (gap, t, w)
        corners[i], weights[i] = triangles[best[1]], best[2]
    return corners, weights
