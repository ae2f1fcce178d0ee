"""Parts that are joined are the whole: the same pictures at the same times, with the sound of the whole."""

from __future__ import annotations

import wave
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.join import Part, join
from runtime.video import VideoReader
from runtime.writer import VideoWriter, WriteOptions

RATE = Fraction(30000, 1001)
N = 30
CUTS = (0, 11, 12, 30)


def picture(i: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:64, :96]
    rgb: NDArray[np.uint8] = np.stack([x * 2 + i * 5, y * 3 + i * 3, x + y + i], -1).astype(np.uint8)
    return rgb


def film(path: Path, first: int, last: int, crf: int = 17, side: int = 64) -> Path:
    with VideoWriter(path, 96, side, RATE, options=WriteOptions(crf=crf)) as writer:
        for i in range(first, last):
            writer.write(picture(i)[:side], (i - first) / RATE)
    return path


def parts(folder: Path) -> list[Part]:
    return [Part(film(folder / f"{a}.mp4", a, b), a / RATE) for a, b in pairwise(CUTS)]


def sound(path: Path) -> Path:
    pcm = (np.sin(np.arange(48000 * 2) / 20) * 9000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(pcm.tobytes())
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("with_sound", [False, True])
def test_joined_parts_have_the_pictures_and_times_of_the_whole(tmp_path: Path, suffix: str, with_sound: bool) -> None:
    along = sound(tmp_path / "s.wav") if with_sound else None
    output = tmp_path / f"joined{suffix}"
    join(parts(tmp_path), output, sound=along)
    with VideoReader(output) as joined, VideoReader(film(tmp_path / "whole.mp4", 0, N)) as whole:
        ours, theirs = list(joined), list(whole)
    assert [f.time for f in ours] == [f.time for f in theirs] == [i / RATE for i in range(N)]
    errors = [float(np.abs(a.rgb.astype(int) - picture(i)).mean()) for i, a in enumerate(ours)]
    wanted = [float(np.abs(a.rgb.astype(int) - picture(i)).mean()) for i, a in enumerate(theirs)]
    print("mean error of parts and of the whole", errors, wanted)
    assert max(np.array(errors) - wanted) < 1.0
    with av.open(str(output)) as container:
        assert len(container.streams.audio) == int(with_sound)
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(float(N / RATE), abs=0.03)


def test_the_sound_runs_through_the_seams(tmp_path: Path) -> None:
    def decoded(path: Path) -> NDArray[np.float32]:
        with av.open(str(path)) as container:
            return np.concatenate([f.to_ndarray().mean(0) for f in container.decode(audio=0)])

    along = sound(tmp_path / "s.wav")
    join(parts(tmp_path), tmp_path / "joined.mp4", sound=along, sound_start=Fraction(1, 4))
    with VideoWriter(tmp_path / "whole.mp4", 96, 64, RATE, sound=along, sound_start=Fraction(1, 4)) as writer:
        for i in range(N):
            writer.write(picture(i), i / RATE)
    ours, theirs = decoded(tmp_path / "joined.mp4"), decoded(tmp_path / "whole.mp4")
    np.testing.assert_array_equal(ours, theirs)


def test_parts_that_are_not_alike_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    unlike = [
        Part(film(tmp_path / "a.mp4", 0, 5), Fraction(0)),
        Part(film(tmp_path / "b.mp4", 5, 9, side=48), 5 / RATE),
    ]
    with pytest.raises(InputError, match=r"b\.mp4 was encoded otherwise"):
        join(unlike, tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
