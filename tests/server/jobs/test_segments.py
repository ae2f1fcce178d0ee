"""Parts are the whole: the same pictures to the bit, and no worse where they meet."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runtime.planes import PlaneReader
from runtime.sound import cut_sound, inspect_sound
from runtime.video import VideoReader
from runtime.writer import VideoWriter
from server.act import ActOptions, act
from server.capture import CaptureOptions
from server.dub import DubOptions, dub
from server.jobs.orders import ActOrder, CaptureOrder, DubOrder
from server.jobs.segments import Stretch, in_parts, numbers, stretches
from tests.server.conftest import RATE, Rgb, film, swaying
from tests.server.jobs.test_batch import speech


def nothing(done: int, total: int | None) -> None:
    pass


def order(character: Path, performance: Path, suffix: str = ".mp4", options: ActOptions | None = None) -> ActOrder:
    return ActOrder(character=character, performance=performance, options=options or ActOptions(), suffix=suffix)


def test_only_what_does_not_lean_on_the_rest_is_split(portrait: Path, clip: Path) -> None:
    a, v = portrait, clip
    assert in_parts(order(a, v))
    assert in_parts(order(a, v, ".mov", ActOptions(intensity=4, ratio="960:960", start=Fraction(3))))
    for options in (
        ActOptions(camera=("zoom:1.2",)), ActOptions(fps=Fraction(25)), ActOptions(side_by_side=True),
        ActOptions(renderer="diffusion"), ActOptions(renderer="wan-animate", weights="w"), ActOptions(body=True),
    ):  # fmt: skip
        assert not in_parts(order(a, v, options=options))
    assert not in_parts(order(a, v, ".webm"))
    assert not in_parts(order(a, Path("v.npz")))
    assert not in_parts(order(v, v))  # a clip that performs
    assert not in_parts(CaptureOrder(video=v, options=CaptureOptions()))
    assert in_parts(DubOrder(clip=v, options=DubOptions(audio=v)))
    assert not in_parts(DubOrder(clip=v, options=DubOptions(audio=v, start=Fraction(1))))
    assert not in_parts(DubOrder(clip=a, options=DubOptions(audio=v)))  # a picture that speaks


def test_parts_are_about_as_long_as_each_other_and_begin_with_a_picture() -> None:
    times = [Fraction(i, 25) for i in range(40)]
    parts = stretches(times, 0.5)
    assert [(part.number, part.start, part.end) for part in parts] == [
        (0, 0, Fraction(13, 25)), (1, Fraction(13, 25), Fraction(26, 25)), (2, Fraction(26, 25), None),
    ]  # fmt: skip
    assert [list(numbers(part, times)) for part in parts] == [[*range(13)], [*range(13, 26)], [*range(26, 40)]]


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
    way = in_parts(ordered)
    assert way is not None
    parts, take = way.begin(tmp_path, 0.5, nothing), tmp_path / "take.npz"
    assert len(parts) == 3

    def of(part: Stretch) -> ActOptions:
        return ActOptions(start=part.start, end=part.end)

    true = drawn(portrait, take, tmp_path / "whole", ActOptions())
    apart = [rgb for part in parts for rgb in drawn(portrait, take, tmp_path / part.name[:-4], of(part))]
    assert len(true) == len(apart) == 40
    np.testing.assert_array_equal(apart, true)

    act(portrait, take, tmp_path / "whole.mp4", ActOptions(), nothing)
    for part in parts:
        way.render(tmp_path, part, nothing)
    done = way.join(tmp_path, parts)
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


def filmed(face: Rgb, path: Path, n_frames: int) -> Path:
    """A swaying face with a sound, that begins a little after its file does."""
    sound = speech(path.with_suffix(".wav"), n_frames / 25)
    with VideoWriter(path, 288, 288, RATE, sound=sound) as writer:
        for i in range(n_frames):
            writer.write(swaying(face)(i), (i + 2) / RATE)
    return path


def planes(path: Path) -> list[NDArray[np.int64]]:
    with PlaneReader(path) as reader:
        return [frame.planes[0].astype(int) for frame in reader]


@pytest.mark.slow
def test_parts_of_a_dub_are_the_whole_and_sound_as_the_whole_does(face: Rgb, tmp_path: Path) -> None:
    clip, said = filmed(face, tmp_path / "clip.mkv", 25), speech(tmp_path / "said.wav", 1.8)
    options = DubOptions(audio=said, crf=4)
    dub(clip, tmp_path / "whole.mp4", options, nothing)
    way = in_parts(DubOrder(clip=clip, options=options))
    assert way is not None
    (tmp_path / "parts").mkdir()
    parts = way.begin(tmp_path / "parts", 0.6, nothing)
    assert len(parts) == 3
    for part in reversed(parts):
        way.render(tmp_path / "parts", part, nothing)
    done = way.join(tmp_path / "parts", parts)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == [done.output]
    ours, whole = tmp_path / "parts" / done.output, tmp_path / "whole.mp4"
    assert done.frames == 45
    with PlaneReader(ours) as a, PlaneReader(whole) as b:
        assert a.layout == b.layout
        assert [(f.time, f.duration) for f in a] == [(f.time, f.duration) for f in b]
    off = np.array([np.abs(a - b).mean() for a, b in zip(planes(ours), planes(whole), strict=True)])
    print("parts differ from the whole by, of 255:", off.round(2))
    assert off.max() < 1  # two encodings of the same pictures
    np.testing.assert_array_equal(heard(ours), heard(whole))


def heard(path: Path) -> NDArray[np.float32]:
    track = inspect_sound(path)
    frames = cut_sound(track, Fraction(0), track.end, rate=48_000, layout="mono")
    return np.concatenate([np.asarray(frame.to_ndarray()[0], np.float32) for frame in frames])
