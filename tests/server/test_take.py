"""Takes are read once, ahead of who needs them, and end cleanly whatever ends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import basis
from perfcap.others import unlike
from runtime.errors import InputError
from runtime.records import ARKIT_INDEX, N_EXPRESSION, N_FACE, Cue, Motion
from runtime.video import VideoReader
from server.character import load_character
from server.demo import ADMIRAL
from server.take import TakeOptions, Tally, ahead, open_take
from synth.warp import WarpRenderer
from tests.server.conftest import RATE, Rgb, film, swaying


def test_ahead_passes_everything_on_in_order() -> None:
    assert list(ahead(range(100), 4)) == list(range(100))


def test_an_error_in_the_thread_is_raised_where_it_is_read() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise InputError("the disk is gone")

    read = ahead(items(), 4)
    assert next(read) == 1
    with pytest.raises(InputError, match="the disk is gone"):
        next(read)


def test_who_stops_reading_stops_the_thread() -> None:
    before = threading.active_count()
    read = ahead(iter(int, 1), 4)  # endless
    next(read)
    assert threading.active_count() == before + 1
    read.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_it_is_never_further_ahead_than_told() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    read = ahead(items(), 3)
    next(read)
    time.sleep(0.1)
    assert len(made) <= 1 + 3 + 1 + 1  # read, waiting, being handed over
    read.close()  # type: ignore[attr-defined]


def test_a_take_with_pictures_shows_the_frame_each_motion_was_seen_in(clip: Path) -> None:
    take = open_take(clip, TakeOptions(start=Fraction(1, 5)), Tally(), pictures=True)
    with VideoReader(clip, Fraction(1, 5)) as reader:
        for frame, (motion, rgb) in zip(reader, take.motions, strict=True):
            assert motion.time == frame.time - Fraction(1, 5)
            assert rgb is not None
            np.testing.assert_array_equal(rgb, frame.rgb)
    assert take.size == (288, 288)


def test_a_face_that_comes_late_is_found(long_start: Path) -> None:
    take = open_take(long_start, TakeOptions(), Tally())
    motions = [motion for motion, _ in take.motions]
    assert len(motions) == 190
    assert not any(motion.confidence for motion in motions[:170])
    assert all(motion.confidence for motion in motions[-10:])
    shown = next(motion for motion in motions if motion.confidence)
    # Who plays it stands where the actor will come: nothing leaps when they do.
    assert np.abs(motions[0].head - shown.head).max() < 0.02


def test_after_a_cut_to_another_face_the_character_keeps_its_own(face: Rgb, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib brings the other face; pip install matplotlib")
    import cv2

    loaded = ADMIRAL.load()
    side = min(loaded.shape[:2])
    other = np.asarray(cv2.resize(loaded[:side, -side:], face.shape[1::-1], interpolation=cv2.INTER_AREA))
    sway = [swaying(face), swaying(other)]
    take = open_take(film(tmp_path / "cut.mp4", lambda i: sway[i >= 20](i), 40), TakeOptions(), Tally())
    motions = [motion for motion, _ in take.motions]
    alone = open_take(film(tmp_path / "other.mp4", sway[1], 20), TakeOptions(), Tally())
    assert unlike(alone.performer.neutral, take.performer.neutral) > 0.05
    assert len(motions) == 40
    assert max(unlike(motion.face, take.performer.neutral) for motion in motions) < 0.04
    assert np.abs(motions[19].head[:3, 3] / motions[25].head[:3, 3] - 1)[2] < 0.1


def test_a_mouth_that_is_open_all_through_the_wanted_stretch_is_not_the_performers_neutral(
    portrait: Path, tmp_path: Path
) -> None:
    """Open for 12 frames, then as in the picture: who wants the first 12 alone gets them against the same neutral."""
    character = load_character(portrait)
    renderer = WarpRenderer(character)

    def shown(jaw: float) -> Rgb:
        face = character.face + jaw * basis()[ARKIT_INDEX["jawOpen"]]
        motion = Motion(
            time=Fraction(0), head=character.head, expression=np.zeros(N_EXPRESSION, np.float32),
            gaze=np.zeros((2, 2), np.float32), face=face, confidence=1.0,
        )  # fmt: skip
        rgb: Rgb = renderer.render(Cue(time=Fraction(0), motion=motion)).rgb
        return rgb

    opened, rest = shown(0.9), shown(0.0)
    laugh = film(tmp_path / "laugh.mp4", lambda i: opened if i < 12 else rest, 90)
    cut = film(tmp_path / "cut.mp4", lambda i: opened, 12)

    def neutral(path: Path, end: Fraction | None) -> NDArray[np.float32]:
        return open_take(path, TakeOptions(end=end), Tally()).performer.neutral[:N_FACE, :2]

    whole = neutral(laugh, None)
    stretch, alone = (float(np.abs(n - whole).mean()) for n in (neutral(laugh, 12 / RATE), neutral(cut, None)))
    print(f"off the neutral of the whole, units: {stretch:.4f}, and {alone:.4f} of a film that ends there")
    assert stretch < 0.5 * alone
