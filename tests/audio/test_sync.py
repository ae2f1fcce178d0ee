from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.dubbing import RATE, Curve
from audio.mouth_shape import N_CONTROLS
from audio.sync import REACH_S, measure

Floats = NDArray[np.float64]

# What real mouths do of what a sound asks: their own range, noise, mood.
RANGE = np.array((0.7, 0.5, 1.2, 0.3, 0.9, 0.6, 0.4))


def speech(seconds: float, seed: int = 0) -> Curve:
    """Syllables between 1 s and 1 s before the end; every control has its own course."""
    from scipy.ndimage import gaussian_filter1d

    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    values = gaussian_filter1d(rng.normal(0, 1, (n, N_CONTROLS)), 6, axis=0)
    voiced = np.zeros(n, np.float32)
    voiced[RATE:-RATE] = 1
    return Curve(Fraction(0), (0.1 * values * voiced[:, None]).astype(np.float32), voiced)


def seen(heard: Curve, late_s: float, fps: float, seconds: float, noise: float = 0.5) -> tuple[Floats, Floats, Floats]:
    """The same mouth filmed, in a clip whose sound comes so late: times, controls, weight."""
    times = np.arange(0, seconds, 1 / fps)
    did = heard.at(times + late_s) * RANGE
    rng = np.random.default_rng(1)
    mood = 0.05 * np.sin(times / 3)[:, None]
    return times, did + mood + noise * did.std(0) * rng.normal(0, 1, did.shape), np.ones(len(times))


@pytest.mark.parametrize("fps", [22.13, 25, 30, 60])
@pytest.mark.parametrize("late_ms", [-400, -130, -40, 0, 40, 77, 400])
def test_a_known_offset_is_found_between_frames_too(fps: float, late_ms: int) -> None:
    heard = speech(6)
    found = measure(*seen(heard, late_ms / 1000, fps, 6), heard)
    assert found is not None
    assert abs(found.ms - late_ms) < 8
    assert found.confidence > 0.8


def test_another_speakers_mouth_is_not_believed() -> None:
    found = [measure(*seen(speech(6, seed=s), 0, 25, 6), speech(6, seed=s + 50)) for s in range(8)]
    assert all(one is not None for one in found)
    assert np.mean([one.confidence for one in found if one is not None]) < 0.2


def test_where_nobody_talks_there_is_nothing_to_measure() -> None:
    heard = speech(6)
    quiet = Curve(heard.start, heard.values * 0, heard.voiced * 0)
    assert measure(*seen(heard, 0, 25, 6), quiet) is None


def test_where_the_mouth_is_hidden_while_it_talks_there_is_nothing_to_measure() -> None:
    heard = speech(6)
    times, controls, weight = seen(heard, 0, 25, 6)
    assert measure(times, controls, weight * 0, heard) is None


def test_what_is_hidden_does_not_count() -> None:
    heard = speech(8)
    times, controls, weight = seen(heard, 0.2, 25, 8)
    hidden = (times > 3) & (times < 4.5)
    controls[hidden] = np.random.default_rng(0).normal(0, 1, controls[hidden].shape)
    weight[hidden] = 0
    found = measure(times, controls, weight, heard)
    assert found is not None
    assert abs(found.ms - 200) < 10
    assert found.talked_s < 6


def test_a_sound_that_begins_later_than_the_picture_keeps_its_place() -> None:
    heard = speech(6)
    later = Curve(Fraction(1), heard.values, heard.voiced)
    times, controls, weight = seen(heard, 0.1, 25, 6)
    found = measure(times + 1, controls, weight, later)
    assert found is not None
    assert abs(found.ms - 100) < 8


def test_no_offset_beyond_its_reach_is_told() -> None:
    heard = speech(6)
    found = measure(*seen(heard, 2.0, 25, 6), heard)
    assert found is not None
    assert abs(found.ms) <= 1000 * REACH_S
    assert found.confidence < 0.5
