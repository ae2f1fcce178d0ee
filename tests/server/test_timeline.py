"""Frames for speeches longer and shorter than the clip."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from runtime.planes import ClipIndex
from server.timeline import LENGTHS, lay_out

STEP = Fraction(1001, 30_000)


def index(n: int = 5, first: Fraction = Fraction(0)) -> ClipIndex:
    return ClipIndex(times=[first + i * STEP for i in range(n)], durations=[STEP] * n, stamps=list(range(n)))


def shown(way: str, n_frames: int, speech: Fraction) -> list[int]:
    return list(lay_out(index(n_frames), speech, way, STEP).order)


@pytest.mark.parametrize("way", LENGTHS)
def test_a_speech_as_long_as_the_clip_shows_each_frame_once_in_its_own_time(way: str) -> None:
    clip = index(100, Fraction(1, 30))
    for off in (Fraction(0), Fraction(1, 11), Fraction(-1, 11)):
        plan = lay_out(clip, 100 * STEP + off, way, STEP)
        np.testing.assert_array_equal(plan.order, np.arange(100))
        assert plan.times == [*clip.times, clip.end]


def test_longer_speeches_go_there_and_back_without_showing_an_end_twice() -> None:
    assert shown("bounce", 5, 14 * STEP) == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3]


def test_longer_speeches_begin_again_or_stay() -> None:
    assert shown("loop", 5, 12 * STEP) == [0, 1, 2, 3, 4] * 2 + [0, 1]
    assert shown("hold", 5, 10 * STEP) == [0, 1, 2, 3, 4, 4, 4, 4, 4, 4]


def test_longer_speeches_are_cut_with_the_clip() -> None:
    assert shown("cut", 5, 20 * STEP) == shown("silence", 5, 20 * STEP) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("way", ["bounce", "loop", "hold", "cut"])
def test_shorter_speeches_cut_the_clip_after_a_whole_frame(way: str) -> None:
    assert shown(way, 50, 20 * STEP) == list(range(20))
    assert shown(way, 50, 20 * STEP + Fraction(1, 1000)) == list(range(21))


def test_shorter_speeches_end_in_silence() -> None:
    assert shown("silence", 50, 20 * STEP) == list(range(50))


@pytest.mark.parametrize("speech", [20, 100])
def test_a_clip_played_slower_or_faster_keeps_its_rate_and_shows_its_frames_evenly(speech: int) -> None:
    plan = lay_out(index(50), speech * STEP, "stretch", STEP)
    assert len(plan) == speech
    assert {b - a for a, b in pairwise(plan.times)} == {STEP}
    assert plan.end == speech * STEP
    np.testing.assert_array_equal(plan.order, np.arange(speech) * 50 // speech)


@pytest.mark.parametrize("n_frames", [1, 2])
@pytest.mark.parametrize("way", LENGTHS)
def test_the_shortest_clips_have_a_plan(way: str, n_frames: int) -> None:
    plan = lay_out(index(n_frames), 30 * STEP, way, STEP)
    assert len(plan) == (n_frames if way in ("cut", "silence") else 30)
    assert plan.order.max() == n_frames - 1


def test_variable_times_go_backwards_as_long_as_they_went_forwards() -> None:
    clip = index(4)
    clip.durations[:] = [STEP, 3 * STEP, STEP, 2 * STEP]
    clip.times[:] = [0 * STEP, STEP, 4 * STEP, 5 * STEP]
    plan = lay_out(clip, 14 * STEP, "bounce", STEP)
    assert list(plan.order) == [0, 1, 2, 3, 2, 1, 0, 1]
    assert [(b - a) / STEP for a, b in pairwise(plan.times)] == [1, 3, 1, 2, 1, 3, 1, 3]
