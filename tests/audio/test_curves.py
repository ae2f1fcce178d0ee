from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d

from audio.curves import highest, lowest, smooth

RNG = np.random.default_rng(0)
ONE: NDArray[np.float32] = RNG.normal(size=100).astype(np.float32)
SEVEN: NDArray[np.float32] = RNG.normal(size=(100, 7)).astype(np.float32)


@pytest.mark.parametrize("values", [ONE, SEVEN, SEVEN.astype(np.float64), ONE[:3], SEVEN[:1]])
@pytest.mark.parametrize("sigma", [0.0, 0.4, 3.0, 25.0])
def test_curves_are_smoothed_as_scipy_does_it(values: NDArray[np.float32], sigma: float) -> None:
    ours, theirs = smooth(values, sigma), gaussian_filter1d(values, max(sigma, 1e-3), axis=0, mode="nearest")
    print(f"largest difference {np.abs(ours - theirs).max():.1e}")
    assert ours.shape == values.shape
    assert ours.dtype == values.dtype
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("n", [1, 3, 41, 301])
def test_the_highest_and_lowest_around_are_those_of_scipy(n: int) -> None:
    assert np.array_equal(highest(ONE, n), maximum_filter1d(ONE, n))
    assert np.array_equal(lowest(ONE, n), minimum_filter1d(ONE, n))
