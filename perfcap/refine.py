"""The inner loop of `perfcap.head.refine_head`: Gauss-Newton on a head, feature by feature.

Compiled by numba and cached beside the code: six unknowns are so few that numpy spends its time between its calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


def ready() -> None:
    """Load what is compiled here: a quarter of a second the first time in a process, seconds the first time ever."""
    refine(np.eye(3), np.ones(3), np.zeros((1, 3)), np.zeros((1, 2)), 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, np.ones(1))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def refine(
    R: NDArray[np.float64],  # [3, 3] of the head, changed in place
    t: NDArray[np.float64],  # [3] changed in place
    points: NDArray[np.float64],  # [N, 3] of the head, the last one in the middle of the face
    seen: NDArray[np.float64],  # [N, 2] where they are seen, units from the picture's middle
    gain: float,  # units of the picture a metre aside at a metre's distance
    share: float,  # how much each followed feature counts
    track: float,  # deviations: of a followed feature, units,
    slip: float,  # of the middle of the face,
    lean: float,  # of the head's turn, radians,
    breath: float,  # and of its distance, relative
    slack: NDArray[np.float64],  # [steps] units beyond which a feature has slipped
) -> None:
    R0, z0 = R.copy(), t[2]
    M, y, J = np.empty((6, 6)), np.empty(6), np.zeros((2, 6))
    for step in range(len(slack)):
        turn = _product(R, R0.T)
        M[:] = 0
        for k in range(3):
            M[k, k] = 1 / lean**2
        M[5, 5] = 1 / (breath * z0) ** 2
        y[0] = -(turn[2, 1] - turn[1, 2]) / 2 / lean**2
        y[1] = -(turn[0, 2] - turn[2, 0]) / 2 / lean**2
        y[2] = -(turn[1, 0] - turn[0, 1]) / 2 / lean**2
        y[3] = y[4] = 0.0
        y[5] = (z0 - t[2]) / (breath * z0) ** 2
        for n in range(len(points)):
            x = points[n]
            a = R[0, 0] * x[0] + R[0, 1] * x[1] + R[0, 2] * x[2]
            b = R[1, 0] * x[0] + R[1, 1] * x[1] + R[1, 2] * x[2]
            c = R[2, 0] * x[0] + R[2, 1] * x[1] + R[2, 2] * x[2]
            z = c + t[2]
            u, v, g = (a + t[0]) / z, (b + t[1]) / z, gain / z
            off_u, off_v = seen[n, 0] - u * gain, seen[n, 1] - v * gain
            if n == len(points) - 1:
                w = 1 / slip**2
            else:
                w = share / ((1 + (off_u**2 + off_v**2) / slack[step] ** 2) * track) ** 2
            J[0, 0], J[0, 1], J[0, 2], J[0, 3], J[0, 5] = -g * u * b, g * (c + u * a), -g * b, g, -g * u
            J[1, 0], J[1, 1], J[1, 2], J[1, 4], J[1, 5] = -g * (c + v * b), g * v * a, g * a, g, -g * v
            for i in range(6):
                y[i] += w * (J[0, i] * off_u + J[1, i] * off_v)
                for j in range(i + 1):
                    M[i, j] += w * (J[0, i] * J[0, j] + J[1, i] * J[1, j])
        _solve(M, y)
        R[:] = _product(_rotation(y[:3]), R)
        t += y[3:]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _solve(M: Array, y: Array) -> None:
    """Cholesky: a symmetric M, of which the lower half is known, becomes its root, y the solution."""
    n = len(y)
    for i in range(n):
        for j in range(i + 1):
            s = M[i, j]
            for k in range(j):
                s -= M[i, k] * M[j, k]
            M[i, j] = np.sqrt(s) if i == j else s / M[j, j]
        for k in range(i):
            y[i] -= M[i, k] * y[k]
        y[i] /= M[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            y[i] -= M[k, i] * y[k]
        y[i] /= M[i, i]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _rotation(v: Array) -> Array:
    angle = np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = v[0] / angle, v[1] / angle, v[2] / angle
    K = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    turned: Array = np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * _product(K, K)
    return turned


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _product(a: Array, b: Array) -> Array:
    """Of two matrices [3, 3]; numba's own would load SciPy."""
    out = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            for k in range(3):
                out[i, j] += a[i, k] * b[k, j]
    return out
