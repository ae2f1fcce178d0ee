"""Parts of an act are the whole: the same pictures to the bit, and no worse where they meet."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runtime.video import VideoReader, VideoWriter
from server.act import ActOptions, act
from server.capture import CaptureOptions
from server.jobs.orders import ActOrder, CaptureOrder
from server.jobs.segments import Stretch, can_split, put_together, render, stretches, take_up
from tests.server.conftest import RATE, Rgb, film, swaying
from tests.server.jobs.test_batch import speech


def nothing(done: int, total: int | None) -> None:
    pass


def order(character: Path, performance: Path, suffix: str = ".mp4", options: ActOptions | None = None) -> ActOrder:
    return ActOrder(character=character, performance=performance, options=options or ActOptions(), suffix=suffix)


def test_only_what_does_not_lean_on_the_rest_is_split() -> None:
    a, v = Path("a.png"), Path("v.mp4")
    assert can_split(order(a, v))
    assert can_split(order(a, v, ".mov", ActOptions(intensity=4, ratio="960:960", start=Fraction(3))))
    for options in (
        ActOptions(camera=("zoom:1.2",)), ActOptions(fps=Fraction(25)), ActOptions(side_by_side=True),
        ActOptions(renderer="diffusion"), ActOptions(renderer="wan-animate", weights="w"),
    ):  # fmt: skip
        assert not can_split(order(a, v, options=options))
    assert not can_split(order(a, v, ".webm"))
    assert not can_split(order(a, Path("v.npz")))
    assert not can_split(CaptureOrder(video=v, options=CaptureOptions()))


def decoded(path: Path) -> list[Rgb]:
    with VideoReader(path) as reader:
        return [frame.rgb for frame in reader]


def drawn(character: Path, take: Path, folder: Path, options: ActOptions) -> list[NDArray[np.int64]]:
    """Pictures without loss."""
    folder.mkdir()
    act(character, take, folder / "p.png", options, nothing)
    return [np.asarray(Image.open(path)).astype(int) for path in sorted(folder.iterdir())]


@pytest.mark.slow
def test_parts_are_the_whole_to_the_bit_and_joined_no_worse(face: Rgb, portrait: Path, tmp_path: Path) -> None:
    clip = film(tmp_path / "silent.mp4", swaying(face), 45)
    speech(tmp_path / "s.wav", 2.0)
    with VideoWriter(tmp_path / "clip.mp4", 288, 288, RATE, sound=tmp_path / "s.wav") as writer:
        for i, rgb in enumerate(decoded(clip)):
            writer.write(rgb, i / RATE)
    ordered = order(portrait, tmp_path / "clip.mp4", options=ActOptions(start=Fraction(1, 5)))
    take = take_up(ordered, tmp_path, nothing)
    parts = stretches(take, 0.5)
    assert [(part.number, part.start, part.end) for part in parts] == [
        (0, 0, Fraction(13, 25)), (1, Fraction(13, 25), Fraction(26, 25)), (2, Fraction(26, 25), None),
    ]  # fmt: skip

    def of(part: Stretch) -> ActOptions:
        return ActOptions(start=part.start, end=part.end)

    true = drawn(portrait, take, tmp_path / "whole", ActOptions())
    in_parts = [rgb for part in parts for rgb in drawn(portrait, take, tmp_path / part.name[:-4], of(part))]
    assert len(true) == len(in_parts) == 40
    np.testing.assert_array_equal(in_parts, true)

    act(portrait, take, tmp_path / "whole.mp4", ActOptions(), nothing)
    for part in parts:
        render(ordered, tmp_path, part, nothing)
    done = put_together(ordered, tmp_path, parts)
    assert (done.frames, done.faceless) == (40, 0)
    assert done.seconds == pytest.approx(1.6, abs=0.05)
    with VideoReader(tmp_path / done.output) as reader:
        assert reader.has_sound
        assert [frame.time for frame in reader] == [i / RATE for i in range(40)]
    pairs = zip(decoded(tmp_path / done.output), decoded(tmp_path / "whole.mp4"), true, strict=True)
    worse = np.array([np.abs(a - t).mean() - np.abs(b - t).mean() for a, b, t in pairs])
    print("joined parts are farther from what was drawn than the whole by, of 255:", worse.round(2))
    assert worse.max() < 0.6  # an encoder spends a little less on pictures that nothing comes after
    assert not any((tmp_path / name).exists() for name in ("take.npz", *(part.name for part in parts)))
