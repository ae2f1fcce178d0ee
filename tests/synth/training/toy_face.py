"""A small stand-in for the 3-D face: the template's own 468 points with a skull, eyes and a mouth behind them.

It has all that the asset has, a hundredth as many vertices, and MediaPipe's landmarks are its vertices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.expression import basis, template
from perfcap.head import UNIT_M
from perfcap.landmarks import LEFT_LID_UPPER, RIGHT_LID_UPPER
from perfcap.topology import face_triangles
from perfcap.training.ict import ict_names
from runtime.records import ARKIT_NAMES, N_FACE, N_LANDMARKS
from synth.training.landmarks import N_ERRORS, Landmarks

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP = 0.002  # cm

# The face mesh's landmarks nearest to the iBUG 68.
LANDMARK68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip


def ball(centre: Array, radii: Array, rings: int = 8, spokes: int = 12) -> tuple[Array, Ints]:
    """A closed ball without poles: vertices [V, 3] and triangles [T, 3]."""
    up, round_ = np.linspace(0.05, np.pi - 0.05, rings), np.arange(spokes) * 2 * np.pi / spokes
    points = np.array([(np.sin(u) * np.sin(r), -np.cos(u), np.sin(u) * np.cos(r)) for u in up for r in round_])
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(spokes), indexing="ij")
    a, b = (i * spokes + j).ravel(), (i * spokes + (j + 1) % spokes).ravel()
    triangles = np.concatenate((np.stack((a, b, a + spokes), 1), np.stack((b, b + spokes, a + spokes), 1)))
    return points * radii + centre, triangles


def sheet(corner: Array, across: Array, down: Array, n: int = 6) -> tuple[Array, Ints]:
    """A flat square of n by n vertices."""
    s = np.linspace(0, 1, n)
    points = np.array([corner + u * across + v * down for v in s for u in s])
    i, j = np.meshgrid(np.arange(n - 1), np.arange(n - 1), indexing="ij")
    a = (i * n + j).ravel()
    return points, np.concatenate((np.stack((a, a + 1, a + n), 1), np.stack((a + 1, a + n + 1, a + n), 1)))


def write_toy_face(path: Path) -> Path:
    """Pack the stand-in as the asset is packed."""
    cm = UNIT_M * 100
    face = template()[:N_FACE].astype(np.float64) * cm  # y down, z away
    behind_lids = np.array((0, 0.15, 1.25))
    eyes = [face[list(lid)].mean(0) + behind_lids for lid in (LEFT_LID_UPPER, RIGHT_LID_UPPER)]
    mouth = face[[13, 14]].mean(0)
    parts: list[tuple[str, str, Array, Ints, int]] = [
        ("face", "M_Face", face, face_triangles().astype(np.int64), 0),
        ("head_neck", "M_BackHead", *_join(ball(np.array((0, 1.0, 8.5)), np.array((7.8, 12, 8.2)), 10, 16),
                                           ball(np.array((0, 16.0, 8.5)), np.array((5.5, 9, 5.5)))), 1),
        ("mouth_socket", "M_Face", *sheet(mouth + np.array((-2.6, -1.5, 3)), np.array((5.2, 0, 0)), np.array((0, 4.5, 0))), 0),
        ("eye_sockets", "M_Face", *sheet(eyes[0] + np.array((-1, -1, 1.6)), np.array((2.0, 0, 0)), np.array((0, 2.0, 0))), 0),
        ("gums_tongue", "M_GumsTongue", *sheet(mouth + np.array((-1.6, 1.2, 1.2)), np.array((3.2, 0, 0)), np.array((0, 0.6, 2))), 2),
        ("teeth", "M_Teeth", *sheet(mouth + np.array((-2.0, -0.9, 0.9)), np.array((4.0, 0, 0)), np.array((0, 1.1, 0))), 3),
        ("eyeball_left", "M_ScleraLeft", *ball(eyes[0], np.full(3, 1.4), 12, 16), 0),
        ("eyeball_right", "M_ScleraRight", *ball(eyes[1], np.full(3, 1.4), 12, 16), 0),
        ("eye_shells", "M_EyeOcclusion", *sheet(eyes[0] - (1, 0, 1.6), np.array((2.0, 0, 0)), np.array((0, 0.5, 0))), 0),
        ("lashes", "M_EyeLashes", *sheet(eyes[1] - (1.2, 0.9, 1.5), np.array((2.4, 0, 0)), np.array((0, 0.5, 0))), 6),
    ]  # fmt: skip
    counts = [len(points) for _, _, points, _, _ in parts]
    starts = np.cumsum([0, *counts])
    vertices = np.concatenate([points for _, _, points, _, _ in parts])
    triangles = np.concatenate([t + start for (_, _, _, t, _), start in zip(parts, starts, strict=False)])
    names = list(dict.fromkeys(material for _, material, _, _, _ in parts))
    uv = np.concatenate([_flat(points) + np.array((tile, 0)) for _, _, points, _, tile in parts])
    shapes = sorted({name for arkit in ARKIT_NAMES for name in ict_names(arkit)})
    expressions = np.zeros((len(shapes), len(vertices), 3), np.int16)
    flip = np.array((1, -1, -1))
    for moved, arkit in zip(basis()[:, :N_FACE].astype(np.float64) * cm, ARKIT_NAMES, strict=True):
        split = ict_names(arkit)
        for name in split:
            expressions[shapes.index(name), :N_FACE] = np.round(moved * flip / STEP / len(split))
    rng = np.random.default_rng(0)
    identities = np.round(vertices * rng.normal(0, 0.03, (3, 1, 3)) * flip / STEP).astype(np.int16)
    np.savez(
        path,
        vertices=(vertices * flip).astype(np.float32),
        uv=uv.astype(np.float32),
        triangles=triangles.astype(np.int32),
        triangle_uv=triangles.astype(np.int32),
        triangle_material=np.concatenate([np.full(len(t), names.index(m), np.uint8) for _, m, _, t, _ in parts]),
        material_names=np.array(names),
        expression_names=np.array(shapes),
        expressions=expressions,
        identities=identities,
        delta_step=np.float32(STEP),
        landmark68=np.array(LANDMARK68, np.int32),
        part_names=np.array([name for name, _, _, _, _ in parts]),
        part_ranges=np.stack((starts[:-1], starts[1:]), 1).astype(np.int32),
    )
    return path


def _join(a: tuple[Array, Ints], b: tuple[Array, Ints]) -> tuple[Array, Ints]:
    return np.concatenate((a[0], b[0])), np.concatenate((a[1], b[1] + len(a[0])))


def _flat(points: Array) -> Array:
    """Texture places [V, 2] within a tile: seen from the front."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    flat = 0.05 + 0.9 * (points[:, :2] - low) / np.maximum(high - low, 1e-6)
    return np.stack((flat[:, 0], 1 - flat[:, 1]), 1)


def toy_landmarks(error: float = 0.004) -> Landmarks:
    """Every landmark is the vertex of its number, and errs by so many units."""
    rng = np.random.default_rng(1)
    corners = np.repeat(np.arange(N_FACE, dtype=np.int32)[:, None], 3, 1)
    weights = np.tile(np.array((1, 0, 0), np.float32), (N_FACE, 1))
    errors: Any = rng.normal(0, error / np.sqrt(N_ERRORS), (N_ERRORS, N_LANDMARKS, 3))
    return Landmarks(corners, weights, np.zeros((N_LANDMARKS, 3), np.float32), errors.astype(np.float32))
