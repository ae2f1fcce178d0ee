"""A video out, on files made here."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from runtime.errors import InputError
from runtime.sound import inspect_sound
from runtime.video import VideoReader
from runtime.writer import VideoWriter, WriteOptions
from tests.runtime.films import (
    CLIPS,
    PATCHES,
    centres,
    frames_of,
    leftovers,
    numbered,
    patches,
    read_sound,
    tone,
    write,
    write_sound,
)


def write_until(error: type[BaseException], path: Path, **kw: Any) -> None:
    with VideoWriter(path, 64, 48, Fraction(25), **kw) as writer:
        for i, rgb in enumerate(numbered(10)):
            writer.write(rgb, Fraction(i, 25))
        raise error


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    frames = [patches(128, 64)] * 6
    path = write(tmp_path / f"out.{suffix}", frames)
    with VideoReader(path) as reader:
        tags = reader.color_primaries, reader.color_trc, reader.colorspace, reader.color_range
        read = list(reader)
    assert [f.time for f in read] == [Fraction(i, 25) for i in range(6)]
    assert tags == (1, 1, 1, 1)
    assert abs(centres(read[-1].rgb) - PATCHES).max() <= 6
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_ntsc_and_variable_times_are_written_exactly(tmp_path: Path, suffix: str) -> None:
    ntsc = [i * Fraction(1001, 30_000) for i in range(30)]
    vfr = [Fraction(169, 5120) + Fraction(t, 15_360) for t in (0, 507, 1536, 1537, 9000)]
    cases = [(ntsc, Fraction(30_000, 1001), None), (vfr, Fraction(1350, 61), Fraction(1, 15_360))]
    for times, rate, time_base in cases:
        path = tmp_path / f"t.{suffix}"
        with VideoWriter(path, 64, 48, rate, time_base=time_base, force=True) as writer:
            for rgb, time in zip(numbered(len(times)), times, strict=True):
                writer.write(rgb, time, Fraction(1, 30))
        frames = frames_of(path)
        assert [f.time for f in frames] == times
        assert frames[-1].duration == Fraction(1, 30)


def test_matroska_times_are_the_nearest_millisecond(tmp_path: Path) -> None:
    rate = Fraction(30_000, 1001)
    frames = frames_of(write(tmp_path / "out.mkv", numbered(30), rate))
    assert max(abs(f.time - i / rate) for i, f in enumerate(frames)) <= Fraction(1, 2000)


@pytest.mark.parametrize(
    ("suffix", "size"), [("mp4", (76, 102)), ("mkv", (76, 102)), ("webm", (75, 101)), ("gif", (75, 101))]
)
def test_odd_sizes_grow_by_a_repeated_pixel_only_where_h264_must(
    tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    rgb = frames_of(write(tmp_path / f"odd.{suffix}", [patches(101, 75)] * 2))[0].rgb
    assert rgb.shape == (*size, 3)
    assert abs(centres(rgb[:75, :101]) - PATCHES).max() <= 10


def test_gif_has_good_colours_and_its_delays(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (64, 1, 3))
    path = write(tmp_path / "out.gif", [ramp, ramp[:, ::-1], ramp], Fraction(10))
    frames = frames_of(path)
    assert [f.time for f in frames] == [0, Fraction(1, 10), Fraction(2, 10)]
    assert frames[-1].duration == Fraction(1, 10)
    assert abs(frames[1].rgb.astype(int) - ramp[:, ::-1]).mean() < 3


def test_a_png_name_stands_for_a_numbered_sequence(tmp_path: Path) -> None:
    frames = [np.random.default_rng(i).integers(0, 255, (33, 47, 3), dtype=np.uint8) for i in range(3)]
    write(tmp_path / "out.png", frames)
    write(tmp_path / "b-%03d.png", frames[:2])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "b-001.png",
        "b-002.png",
        "out_00001.png",
        "out_00002.png",
        "out_00003.png",
    ]
    from runtime.image import load_image

    assert np.array_equal(load_image(tmp_path / "out_00002.png"), frames[1])
    with pytest.raises(InputError, match=r"out_00001.png exists; pass --force"):
        write(tmp_path / "out.png", frames)
    write(tmp_path / "out.png", frames[:1], force=True)
    assert not (tmp_path / "out_00002.png").exists(), "frames of a longer sequence do not stay behind"


@pytest.mark.parametrize(("suffix", "rate"), [("mp4", 44_100), ("mkv", 48_000), ("webm", 48_000)])
def test_sound_that_is_too_long_is_cut_to_the_sample(tmp_path: Path, suffix: str, rate: int) -> None:
    pcm = tone(3 * 44_100)
    sound = write_sound(tmp_path / "long.wav", pcm, "pcm_s16le")
    fps = Fraction(30_000, 1001)
    path = write(tmp_path / f"out.{suffix}", numbered(31), fps, sound=sound)
    got, got_rate, start = read_sound(path)
    assert got_rate == rate
    assert start == 0
    n_wanted = round(31 / fps * rate)
    # matroska's clock has milliseconds, so may the end
    assert abs(len(got) - n_wanted) <= (0 if suffix == "mp4" else rate // 1000)
    expected = np.interp(np.arange(len(got)) / rate, np.arange(len(pcm)) / 44_100, pcm)
    body = slice(rate // 10, -rate // 10)
    lags = [float(np.mean((np.roll(got, k)[body] - expected[body]) ** 2)) for k in range(-3, 4)]
    assert int(np.argmin(lags)) == 3, "not a sample early or late"
    assert lags[3] < 1e-3


def test_shorter_sound_stays_shorter_and_is_copied_as_it_is(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "short.m4a", tone(44_100), "aac")
    path = write(tmp_path / "out.mp4", numbered(50), sound=sound)
    with av.open(str(sound)) as a, av.open(str(path)) as b:
        before = [bytes(p) for p in a.demux(audio=0) if p.size]
        after = [bytes(p) for p in b.demux(audio=0) if p.size]
    assert before == after
    assert np.array_equal(read_sound(sound)[0], read_sound(path)[0])
    assert frames_of(path)[-1].time == Fraction(49, 25)


def test_sound_keeps_its_place_under_the_picture(tmp_path: Path) -> None:
    pcm = tone(2 * 44_100)
    sound = write_sound(tmp_path / "s.wav", pcm, "pcm_s16le")
    for sound_start in (Fraction(1, 2), Fraction(-3, 10)):
        path = write(tmp_path / "out.mp4", numbered(25), sound=sound, sound_start=sound_start, force=True)
        got, rate, start = read_sound(path)
        assert start == 0
        first = round(sound_start * rate)
        expected = pcm[first : first + len(got)] if first > 0 else np.concatenate([np.zeros(-first), pcm])[: len(got)]
        assert float(np.mean((got[4410:-4410] - expected[4410:-4410]) ** 2)) < 1e-3
        assert len(got) == 44_100


def test_holes_in_the_sound_are_filled_with_silence(tmp_path: Path) -> None:
    path = tmp_path / "holes.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for second in (0, 2):
            frame = av.AudioFrame.from_ndarray(np.full((1, 16_000), 8000, np.int16), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, second * 16_000, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
    out = write(tmp_path / "out.mp4", numbered(75), sound=path)
    got, rate, _ = read_sound(out)
    levels = [float(abs(got[round(s * rate) : round((s + 0.6) * rate)]).mean()) for s in (0.2, 1.2, 2.2)]
    assert levels[0] > 0.2
    assert levels[1] < 0.01
    assert levels[2] > 0.2


def test_sound_of_a_video_goes_along_with_another_suffix(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.m4a", tone(44_100), "aac")
    first = write(tmp_path / "a.mp4", numbered(25), sound=sound)
    second = write(tmp_path / "b.webm", numbered(25), sound=first)
    assert inspect_sound(second).codec == "opus"
    with pytest.raises(InputError, match="holds no sound; wanted a file with sound"):
        write(tmp_path / "c.mp4", numbered(2), sound=write(tmp_path / "silent.mp4", numbered(2)))


def test_mp4_starts_with_its_index_so_browsers_can_play_it_at_once(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.wav", tone(44_100), "pcm_s16le")
    for track in (None, sound):
        data = write(tmp_path / "out.mp4", numbered(25), force=True, sound=track).read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")


def test_nothing_is_left_behind_when_the_work_fails(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.wav", tone(44_100), "pcm_s16le")
    for name in ("out.mp4", "out.webm", "out.gif", "out.png"):
        for error in (RuntimeError, KeyboardInterrupt):
            with pytest.raises(error):
                write_until(error, tmp_path / name, sound=sound)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.wav"]


def test_an_older_file_stays_whole_until_the_new_one_is(tmp_path: Path) -> None:
    path = write(tmp_path / "out.mp4", numbered(3))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"out.mp4 exists; pass --force to write over it"):
        VideoWriter(path, 64, 48, Fraction(25))
    with pytest.raises(RuntimeError):
        write_until(RuntimeError, path, force=True)
    assert path.read_bytes() == before


def test_places_that_cannot_be_written_are_said_before_work_starts(tmp_path: Path) -> None:
    cases = {
        tmp_path / "no" / "out.mp4": f"the folder {tmp_path / 'no'} does not exist",
        tmp_path / "out.xyz": "has the suffix .xyz; wanted one of .mp4",
        tmp_path / "out": r"has the suffix \(none\); wanted one of",
    }
    (tmp_path / "dir.mp4").mkdir()
    cases[tmp_path / "dir.mp4"] = "is a folder; wanted the name of a file"
    for path, text in cases.items():
        with pytest.raises(InputError, match=text):
            VideoWriter(path, 64, 48, Fraction(25))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(InputError, match="is not writable"):
        VideoWriter(folder / "out.mp4", 64, 48, Fraction(25))


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("runtime.writer._Movie._mux_held", full)
    with pytest.raises(InputError, match=r"out.mp4 could not be written: no space left in"):
        write(tmp_path / "out.mp4", numbered(5))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def _small_files() -> Iterator[None]:
    """No file of this process may grow beyond 64 KiB, as on a full disk."""
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("_small_files")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.gif", "out.png"])
def test_a_disk_that_really_fills_up_is_noticed(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (256, 256, 3), dtype=np.uint8) for _ in range(12)]
    with pytest.raises(InputError, match="no space left in"):
        write(tmp_path / name, frames)
    assert list(tmp_path.iterdir()) == []


def test_frames_of_the_wrong_size_or_order_are_our_own_mistakes(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", 64, 48, Fraction(25)) as writer:
        writer.write(numbered(2)[0], Fraction(1))
        with pytest.raises(ValueError, match="wanted a later one"):
            writer.write(numbered(2)[0], Fraction(1))
        with pytest.raises(ValueError, match=r"frame is \(48, 48, 3\), wanted \(48, 64, 3\)"):
            writer.write(np.zeros((48, 48, 3), np.uint8), Fraction(2))


def test_a_video_without_frames_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would hold no frame"), VideoWriter(tmp_path / "o.mp4", 64, 48, Fraction(25)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="crf is 99, wanted 0 to 51"):
        WriteOptions(crf=99)


@pytest.mark.skipif(not CLIPS.exists(), reason="shared/clips is not here")
@pytest.mark.parametrize("name", ["grid_bbaf2n.mpg", "vr1_22fps.mp4"])
def test_a_real_clip_goes_through_with_its_times_and_sound(tmp_path: Path, name: str) -> None:
    source = CLIPS / "talk" / name
    out = tmp_path / "out.mp4"
    with VideoReader(source) as reader:
        with VideoWriter(
            out,
            reader.width,
            reader.height,
            reader.rate,
            sound=source,
            sound_start=reader.origin,
            time_base=reader.time_base,
        ) as writer:
            frames = []
            for frame in reader:
                writer.write(frame.rgb, frame.time - reader.origin, frame.duration)
                frames.append(frame)
        assert reader.n_damaged == 0
    read = frames_of(out)
    assert [f.time for f in read] == [f.time - reader.origin for f in frames]
    assert min(float(np.mean((a.rgb.astype(float) - b.rgb) ** 2)) for a, b in zip(read, frames, strict=True)) < 15
    sound, rate, start = read_sound(out)
    end = read[-1].time + read[-1].duration
    assert start + Fraction(len(sound), rate) <= end + Fraction(1024, rate)
