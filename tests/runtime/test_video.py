"""A video in, on files made here."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import runtime.video as video
from runtime.errors import InputError
from runtime.image import save_image
from runtime.video import VideoReader, keyframe_times, read_at
from tests.runtime.films import encode, frames_of, numbered, patches, tone, write_sound


def test_ntsc_times_are_exact_to_the_last_frame(tmp_path: Path) -> None:
    rate = Fraction(30_000, 1001)
    path = encode(
        tmp_path / "ntsc.mp4",
        numbered(90),
        rate=rate,
        time_base=Fraction(1, 30_000),
        times=[i / rate for i in range(90)],
    )
    assert [f.time for f in frames_of(path)] == [i / rate for i in range(90)]
    with VideoReader(path) as reader:
        assert reader.rate == rate
        assert reader.n_frames == 90
        assert reader.duration == 90 / rate


def test_variable_rates_keep_each_time_and_say_how_long_each_frame_is_shown(tmp_path: Path) -> None:
    times = [Fraction(t, 600) for t in (0, 20, 60, 61, 200, 207)]
    frames = frames_of(
        encode(tmp_path / "vfr.mp4", numbered(6), rate=Fraction(30), time_base=Fraction(1, 600), times=times)
    )
    assert [f.time for f in frames] == times
    assert [f.duration for f in frames[:-1]] == [b - a for a, b in pairwise(times)]
    assert frames[-1].duration > 0


def test_times_increase_strictly_where_the_file_repeats_or_lacks_them() -> None:
    class Fake:
        dts, time_base, duration = None, Fraction(1, 25), 1

        def __init__(self, pts: int | None) -> None:
            self.pts = pts

    clock = video._Clock(Fraction(1, 25), Fraction(1, 25))
    times = [clock(Fake(pts)) * 25 for pts in (None, 1, 1, 2, 3, None, 5, 400, 2, 3, 4)]
    assert times[:5] == [0, 1, Fraction(3, 2), 2, 3]
    assert times[5:8] == [4, 5, 400]
    assert times[8:] == [401, 402, 403], "a clock that is set back goes on, it does not stand still"


def test_start_and_end_choose_frames_by_time(tmp_path: Path) -> None:
    path = encode(tmp_path / "cut.mp4", numbered(50), options={"g": "12"})
    whole = frames_of(path)
    part = frames_of(path, start=Fraction(17, 25), end=Fraction(61, 50))
    assert [f.time for f in part] == [Fraction(i, 25) for i in range(17, 31)]
    assert all(np.array_equal(f.rgb, whole[17 + i].rgb) for i, f in enumerate(part))
    assert part[-1].duration == Fraction(1, 50)
    assert frames_of(path, start=Fraction(99)) == []


def test_reading_never_holds_more_than_a_few_frames(tmp_path: Path) -> None:
    path = encode(tmp_path / "many.mp4", numbered(60))
    with VideoReader(path) as reader:
        frames = iter(reader)
        first = next(frames).rgb.copy()
        kept = [next(frames) for _ in range(5)]
        rest = sum(1 for _ in frames)
    assert rest == 54
    assert not np.array_equal(kept[-1].rgb, first), "a frame that is kept is not written over by later ones"
    assert kept[0].rgb.flags.writeable


def test_a_truncated_file_gives_what_it_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(40)]
    path = encode(tmp_path / "whole.ts", frames)
    cut = tmp_path / "cut.ts"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 10 <= len(frames_of(cut)) < 40


def test_damaged_packets_are_passed_over_and_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(40)]
    path = encode(tmp_path / "whole.avi", frames, "mjpeg", "yuvj420p", full=True)
    data = bytearray(path.read_bytes())
    places = [i for i in range(len(data) - 4) if data[i : i + 4] == b"00dc"][5:8]
    for place in places:
        data[place + 8 : place + 900] = bytes(892)
    broken = tmp_path / "broken.avi"
    broken.write_bytes(data)
    with VideoReader(broken) as reader:
        n = sum(1 for _ in reader)
        assert reader.n_damaged == 3
    assert n == 37


def test_gif_frames_keep_their_delays(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "a.gif"
    images = [Image.fromarray(f) for f in numbered(4)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[100, 50, 200, 70], loop=0)
    assert [f.time for f in frames_of(path)] == [Fraction(t, 100) for t in (0, 10, 15, 35)]


def test_keyframes_are_listed_and_read_without_decoding_the_rest(tmp_path: Path) -> None:
    path = encode(tmp_path / "keys.mp4", numbered(50), options={"g": "10", "sc_threshold": "0", "bf": "2"})
    keys = keyframe_times(path)
    assert keys == [Fraction(i, 25) for i in range(0, 50, 10)]
    whole = frames_of(path)
    asked = [Fraction(0), Fraction(9, 25), Fraction(25, 25), Fraction(26, 25), Fraction(100)]
    got = list(read_at(path, asked))
    assert [f.time * 25 for f in got] == [0, 0, 20, 20, 40]
    assert all(np.array_equal(f.rgb, whole[int(f.time * 25)].rgb) for f in got)


def test_sampling_a_file_that_seeks_badly_still_gives_keyframes_before(tmp_path: Path) -> None:
    path = encode(tmp_path / "keys.mpg", numbered(75), "mpeg1video", options={"g": "10"})
    keys = keyframe_times(path)
    origin = keys[0]
    got = list(read_at(path, [origin + 1, origin + 2]))
    for f, t in zip(got, (1, 2), strict=True):
        before = max(k for k in keys if k <= origin + t)
        assert f.time <= origin + t
        assert abs(f.time - before) <= Fraction(2, 25), "after a seek MPEG-PS tells time to a frame or two"


def test_each_file_that_is_no_video_is_named_with_what_it_is(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "song.mp3", tone(44_100), "libmp3lame")
    (tmp_path / "empty.mp4").touch()
    for name in ("notes.mp4", "notes.txt"):
        (tmp_path / name).write_text("dear diary\n" * 50)
    save_image(tmp_path / "face.png", patches())
    cases = {
        sound: "holds sound only; wanted a file with video",
        tmp_path / "empty.mp4": "is empty; wanted a video",
        tmp_path / "notes.mp4": "holds text; wanted a video",
        tmp_path / "notes.txt": "holds text; wanted a video",
        tmp_path / "face.png": "is a still picture; wanted a video",
        tmp_path: "is a folder; wanted a video",
        tmp_path / "gone.mp4": "does not exist; wanted a video",
    }
    for path, text in cases.items():
        with pytest.raises(InputError) as raised:
            VideoReader(path)
        assert str(raised.value).startswith(f"{path} {text}")
        assert "\n" not in str(raised.value)


def test_a_song_with_a_cover_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "cover.mp3"
    save_image(tmp_path / "cover.png", patches())
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libmp3lame", rate=44_100)
        cover: Any = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux([*cover.encode(av.VideoFrame.from_ndarray(patches(), "rgb24")), *cover.encode(None)])
        frame = av.AudioFrame.from_ndarray(np.tile(tone(44_100), (2, 1)), "fltp", "stereo")
        frame.sample_rate = 44_100
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(InputError, match="holds sound only"):
        VideoReader(path)
