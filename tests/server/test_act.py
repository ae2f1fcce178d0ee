"""What `act` makes of its options, on a film made on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.records import N_EXPRESSION, N_LANDMARKS, Motion
from runtime.video import VideoReader
from server.act import ActOptions, act, at_rate


def motion(time: Fraction) -> Motion:
    return Motion(
        time=time, head=np.eye(4, dtype=np.float32), expression=np.zeros(N_EXPRESSION, np.float32),
        gaze=np.zeros((2, 2), np.float32), face=np.zeros((N_LANDMARKS, 3), np.float32), confidence=1.0,
    )  # fmt: skip


def render(portrait: Path, clip: Path, output: Path, **options: object) -> Path:
    act(portrait, clip, output, ActOptions(**options), lambda *_: None)  # type: ignore[arg-type]
    return output


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(25), Fraction(60)])
def test_at_another_rate_each_moment_comes_with_the_picture_shown_then(rate: Fraction) -> None:
    old = Fraction(25)
    pictures = [np.full((2, 2, 3), i, np.uint8) for i in range(20)]
    items = [(motion(i / old), picture) for i, picture in enumerate(pictures)]
    made = list(at_rate(items, rate))
    assert len(made) == 20 * rate / old
    for i, (moved, rgb) in enumerate(made):
        assert moved.time == i / rate
        assert rgb is pictures[min(int(moved.time * old), 19)]


def test_fps_ratio_camera_and_the_actor_beside_go_together(portrait: Path, clip: Path, tmp_path: Path) -> None:
    made = render(
        portrait, clip, tmp_path / "out.mp4", fps=Fraction(24000, 1001), ratio="1280:720",
        camera=("zoom:1.2", "orbit:5"), side_by_side=True, end=Fraction(2, 5),
    )  # fmt: skip
    with VideoReader(made) as reader:
        frames = list(reader)
        assert (reader.width, reader.height) == (720 + 1280, 720)  # the actor is square
    assert [frame.time for frame in frames] == [i * Fraction(1001, 24000) for i in range(10)]
    with VideoReader(clip) as reader:
        actor = next(iter(reader)).rgb
    shown = frames[0].rgb[:, :720]
    assert np.abs(shown.mean((0, 1)) - actor.mean((0, 1))).max() < 4


def test_a_performance_without_pictures_has_no_actor_to_show(portrait: Path, clip: Path, tmp_path: Path) -> None:
    from server.capture import CaptureOptions, capture

    capture(clip, tmp_path / "take.npz", CaptureOptions(), lambda *_: None)
    with pytest.raises(
        InputError, match=r"take\.npz holds no pictures of the actor; wanted a video for --side-by-side"
    ):
        render(portrait, tmp_path / "take.npz", tmp_path / "out.mp4", side_by_side=True)
    assert not (tmp_path / "out.mp4").exists()


def test_options_that_cannot_be_are_refused_before_anything_is_read() -> None:
    with pytest.raises(InputError, match="--ratio is '4:3'; wanted one of"):
        ActOptions(ratio="4:3")
    with pytest.raises(InputError, match="--camera is 'dutch:1'; wanted one of"):
        ActOptions(camera=("dutch:1",))
    with pytest.raises(ValueError, match=r"fps is 0\.5, wanted 1 to 240"):
        ActOptions(fps=Fraction(1, 2))
