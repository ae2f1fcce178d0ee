"""Curves over time smoothed, and held at their highest and lowest.

By OpenCV: importing SciPy's filters takes longer than dubbing ten seconds with them would.
"""

from __future__ import annotations

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Curves = TypeVar("Curves", bound=NDArray[np.floating[Any]])  # [N] or [N, C], float32 or float64


def smooth(values: Curves, sigma: float) -> Curves:
    """Blurred along N by a Gaussian of so many moments; the first and the last go on beyond."""
    size = 1, 2 * max(0, round(4 * sigma)) + 1
    blurred: Any = cv2.GaussianBlur(
        _columns(values), size, sigmaX=1, sigmaY=max(sigma, 1e-3), borderType=cv2.BORDER_REPLICATE
    )
    return np.asarray(blurred).reshape(values.shape)  # type: ignore[return-value]


def highest(values: Curves, n: int) -> Curves:
    """The highest of the n (odd) values around each."""
    return np.asarray(cv2.dilate(_columns(values), np.ones((n, 1), np.uint8))).reshape(values.shape)  # type: ignore[return-value]


def lowest(values: Curves, n: int) -> Curves:
    """The lowest of the n (odd) values around each."""
    return np.asarray(cv2.erode(_columns(values), np.ones((n, 1), np.uint8))).reshape(values.shape)  # type: ignore[return-value]


def _columns(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values.reshape(len(values), -1))
