"""What rests is still, what moves is followed, however irregularly it is seen."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from perfcap.smooth import OneEuro, OneEuroOptions

OPTIONS = OneEuroOptions(cutoff_hz=3.0, beta=40.0)  # as `perfcap.capture.Perform` has it
RATE = Fraction(30)


def test_noise_at_rest_is_taken_away() -> None:
    rng = np.random.default_rng(0)
    smooth = OneEuro(OPTIONS)
    noise = rng.normal(0, 0.002, (300, 40, 3))  # units: what the face mesh shakes
    out = np.stack([smooth(i / RATE, x) for i, x in enumerate(noise)])[30:]
    left = np.std(np.diff(out, axis=0)) / np.std(np.diff(noise, axis=0))
    print(f"share of the frame-to-frame shake that is left: {left:.2f}")
    assert left < 0.6
    assert np.abs(out.mean(0)).max() < 0.001


@pytest.mark.parametrize(("size", "frames"), [(0.05, 4), (0.3, 1)])
def test_a_step_is_followed_within_frames_and_never_overshot(size: float, frames: int) -> None:
    smooth = OneEuro(OPTIONS)
    for i in range(20):
        smooth(i / RATE, np.zeros((1, 3)))
    after = [float(smooth((20 + i) / RATE, np.full((1, 3), size))[0, 0]) / size for i in range(10)]
    assert after[frames - 1] > 0.9
    assert max(after) <= 1 + 1e-9
    assert np.all(np.diff(after) >= 0)


def test_a_steady_movement_lags_less_than_half_a_frame() -> None:
    smooth = OneEuro(OPTIONS)
    speed = 1.0  # units/s: a jaw that drops
    for i in range(30):
        out = smooth(i / RATE, np.full(1, speed * i / 30))
    lag_s = (29 / 30 - out[0]) / speed
    assert 0 <= lag_s < 0.5 / 30


def test_a_constant_is_kept_whatever_the_time_between() -> None:
    rng = np.random.default_rng(1)
    smooth = OneEuro(OPTIONS)
    time = Fraction(0)
    for gap_ms in rng.integers(1, 400, 50):
        time += Fraction(int(gap_ms), 1000)
        np.testing.assert_array_equal(smooth(time, np.array([0.25, -3.0])), [0.25, -3.0])


def test_twice_the_frames_give_the_same_curve() -> None:
    def at(rate: int) -> float:
        smooth = OneEuro(OPTIONS)
        for i in range(rate + 1):
            out = smooth(Fraction(i, rate), np.array([np.sin(3 * i / rate)]))
        return float(out[0])

    assert abs(at(30) - at(60)) < 0.01
    assert abs(at(30) - np.sin(3)) < 0.05


def test_time_that_goes_back_and_a_reset_begin_anew() -> None:
    smooth = OneEuro(OPTIONS)
    smooth(Fraction(5), np.zeros(2))
    np.testing.assert_array_equal(smooth(Fraction(1), np.ones(2)), np.ones(2))
    smooth.reset()
    np.testing.assert_array_equal(smooth(Fraction(2), np.full(2, 7.0)), np.full(2, 7.0))


def test_all_axes_of_a_point_follow_the_fastest() -> None:
    """A nose that moves across does not have its depth left behind."""
    together, alone = OneEuro(OPTIONS), OneEuro(OPTIONS)
    for i in range(5):
        both = together(i / RATE, np.array([[0.1 * i, 0.001 * i]]))
        one = alone(i / RATE, np.array([[0.001 * i]]))
    assert abs(both[0, 1] - 0.004) < abs(one[0, 0] - 0.004)


def test_golden() -> None:
    smooth = OneEuro(OPTIONS)
    got = [float(smooth(i / RATE, np.array([v]))[0]) for i, v in enumerate((0.0, 0.01, 0.012, 0.2, 0.19))]
    np.testing.assert_allclose(got, GOLDEN, atol=1e-6)


GOLDEN = (0.0, 0.00687718, 0.00997626, 0.19397809, 0.19035392)
