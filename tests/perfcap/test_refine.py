"""The compiled loop does what plain numpy does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.head import (
    BREATH,
    FACE_MIDDLE,
    LEAN_RAD,
    SLACK_UNITS,
    SLIP_UNITS,
    TRACK_UNITS,
    UNIT_M,
    Camera,
    place,
    refine_head,
)
from perfcap.written import head_at

CAMERA = Camera.of_picture(640, 480)


def plain(
    head: NDArray[np.float32],  # [4, 4] measured from the face mesh
    camera: Camera,
    local: NDArray[np.float32],  # [N, 3] features that no expression moves, head's frame, units
    seen_px: NDArray[np.float32],  # [N, 2] where they are seen
) -> NDArray[np.float32]:
    """The head [4, 4] that agrees with followed features, as far as the mesh may be wrong.

    Gauss-Newton on a rotation and a translation, Geman-McClure weights against features that slipped.
    """
    R = head[:3, :3].astype(np.float64)
    t = head[:3, 3].astype(np.float64)
    unit_px = camera.focal_px * UNIT_M / t[2]
    # The middle of the face, where the mesh has it, is one more feature; it never slips.
    points = np.concatenate((local, FACE_MIDDLE[None])).astype(np.float64) * UNIT_M
    home = R @ points[-1] + t
    seen = np.concatenate((seen_px, (home[:2] / home[2] * camera.focal_px + camera.centre)[None]))
    share = min(1.0, 25 / max(len(seen_px), 1))
    R0, z0 = R.copy(), t[2]
    lean = np.zeros(3)
    for slack in SLACK_UNITS:
        turned = points @ R.T
        p = turned + t
        off = (seen - p[:, :2] / p[:, 2:] * camera.focal_px - camera.centre) / unit_px
        w = share / ((1 + (off**2).sum(1) / slack**2) * TRACK_UNITS) ** 2
        w[-1] = 1 / SLIP_UNITS**2
        J = _jacobian(turned, p, camera.focal_px / unit_px)
        weighed = (J * w).reshape(6, -1)
        M, y = weighed @ J.reshape(6, -1).T, weighed @ off.T.ravel()
        M[range(3), range(3)] += 1 / LEAN_RAD**2
        y[:3] -= lean / LEAN_RAD**2
        M[5, 5] += 1 / (BREATH * z0) ** 2
        y[5] += (z0 - t[2]) / (BREATH * z0) ** 2
        d = np.linalg.solve(M, y)
        R = _small_rotation(d[:3]) @ R
        t = t + d[3:]
        lean = _rotation_vector(R @ R0.T)
    out = np.eye(4, dtype=np.float32)
    out[:3, :3], out[:3, 3] = R, t
    return out


def _jacobian(turned: NDArray[np.float64], p: NDArray[np.float64], gain: float) -> NDArray[np.float64]:
    """Of projected points, [6, 2, N], by a left rotation and a translation; `turned` [N, 3] is before translation."""
    a, b, c = turned.T
    g = gain / p[:, 2]
    u, v = (p[:, :2] / p[:, 2:]).T
    J = np.zeros((6, 2, len(p)))
    J[0, 0], J[1, 0], J[2, 0], J[3, 0], J[5, 0] = -g * u * b, g * (c + u * a), -g * b, g, -g * u
    J[0, 1], J[1, 1], J[2, 1], J[4, 1], J[5, 1] = -g * (c + v * b), g * v * a, g * a, g, -g * v
    return J


def _small_rotation(v: NDArray[np.float64]) -> NDArray[np.float64]:
    angle = float(np.linalg.norm(v))
    if angle < 1e-12:
        return np.eye(3)
    k = v / angle
    K = np.array(((0, -k[2], k[1]), (k[2], 0, -k[0]), (-k[1], k[0], 0)))
    return np.asarray(np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K)


def _rotation_vector(R: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a small rotation."""
    return np.array((R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])) / 2


@pytest.mark.parametrize("seed", range(5))
def test_a_head_is_refined_as_plain_numpy_refines_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = head_at(*rng.normal(0, 0.2, 3))
    local = rng.uniform((-0.9, -1.0, 0.2), (0.9, -0.4, 1.0), (40, 3)).astype(np.float32)
    seen = CAMERA.project(place(true, local)) + rng.normal(0, 1, (40, 2)).astype(np.float32)
    seen[:5] += 20  # somebody walks past
    leaning = true.copy()
    leaning[:3, :3] = head_at(*rng.normal(0, 0.04, 3))[:3, :3] @ true[:3, :3]
    ours, theirs = refine_head(leaning, CAMERA, local, seen), plain(leaning, CAMERA, local, seen)
    print(f"largest difference {np.abs(ours - theirs).max():.1e}")
    assert np.abs(theirs - leaning).max() > 1e-3
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
