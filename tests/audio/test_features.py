"""What an ear makes of sound does not depend on how it was cut, and says how loud and how high it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.features import FRAME_RATE, HOP, N_MEL, LogMel, mel_power, scaled
from audio.features import WINDOW as WINDOW_SAMPLES
from runtime.records import SAMPLE_RATE

Floats = NDArray[np.float32]


def tone(hz: float, seconds: float = 1.0, level: float = 1.0) -> Floats:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.asarray(level * np.sin(2 * np.pi * hz * t), np.float32)


def rows(pcm: Floats, *cuts: int) -> Floats:
    ear = LogMel()
    parts = [ear.push(part) for part in np.split(pcm, cuts)]
    return np.concatenate([*parts, ear.flush()])


@pytest.mark.parametrize("n", [0, 1, HOP - 1, HOP, HOP + 1, SAMPLE_RATE, SAMPLE_RATE + 7])
def test_there_is_a_row_for_every_begun_hop(n: int) -> None:
    assert rows(tone(440)[:n] if n <= SAMPLE_RATE else tone(440, 2)[:n]).shape == (-(-n // HOP), N_MEL)


def test_streamed_equals_whole() -> None:
    pcm = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    whole = rows(pcm)
    for cuts in ((1, 2, 3), (159, 160, 161, 8000), tuple(range(37, len(pcm), 37))):
        np.testing.assert_allclose(rows(pcm, *cuts), whole, rtol=1e-4)


def test_an_ear_that_was_flushed_is_as_new() -> None:
    ear = LogMel()
    first = np.concatenate((ear.push(tone(300)), ear.flush()))
    again = np.concatenate((ear.push(tone(300)), ear.flush()))
    np.testing.assert_array_equal(first, again)


def test_higher_tones_lie_in_higher_bands_and_full_scale_is_about_one() -> None:
    found = [rows(tone(hz))[50] for hz in (200, 500, 1200, 3000, 6000)]
    peaks = [int(row.argmax()) for row in found]
    assert peaks == sorted(set(peaks))
    assert all(0.2 < row.max() < 2 for row in found)


def test_a_row_lies_where_its_sound_does() -> None:
    pcm = np.zeros(SAMPLE_RATE, np.float32)
    pcm[SAMPLE_RATE // 2] = 1
    assert rows(pcm).sum(1).argmax() == FRAME_RATE // 2


def test_ten_times_as_loud_is_one_up_and_silence_is_the_floor() -> None:
    step = scaled(rows(tone(1000)))[50].max() - scaled(rows(tone(1000, level=0.1)))[50].max()
    assert step == pytest.approx(1, abs=0.01)
    assert scaled(mel_power(np.zeros((1, WINDOW_SAMPLES), np.float32))).max() == pytest.approx(-2)
