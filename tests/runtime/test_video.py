"""Video in and out, on files made here."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import runtime.video as video
from runtime.errors import InputError
from runtime.image import save_image
from runtime.sound import inspect_sound
from runtime.video import Frame, VideoReader, VideoWriter, WriteOptions, keyframe_times, read_at

CLIPS = Path(__file__).parents[3] / "shared" / "clips"
PATCHES = np.array(
    [
        [200, 40, 40],
        [40, 200, 40],
        [40, 40, 200],
        [255, 255, 255],
        [0, 0, 0],
        [128, 128, 128],
        [220, 170, 140],
        [30, 90, 120],
    ],
    np.uint8,
)  # [8, 3]
Rgb = NDArray[np.uint8]


def patches(width: int = 64, height: int = 32) -> Rgb:
    """`[height, width, 3]`, PATCHES in 4 columns and 2 rows."""
    rows = np.minimum(np.arange(height) * 2 // height, 1)
    columns = np.minimum(np.arange(width) * 4 // width, 3)
    picture: Rgb = PATCHES.reshape(2, 4, 3)[rows[:, None], columns[None, :]]
    return picture


def centres(rgb: Rgb) -> NDArray[np.int64]:
    """The colour in the middle of each of the 8 patches, `[8, 3]`."""
    H, W = rgb.shape[:2]
    return np.array([rgb[H * (2 * r + 1) // 4, W * (2 * c + 1) // 8] for r in range(2) for c in range(4)]).astype(
        np.int64
    )


def numbered(n: int, width: int = 64, height: int = 48) -> list[Rgb]:
    """Flat frames whose grey tells their number."""
    return [np.full((height, width, 3), 20 + 200 * i // max(1, n - 1), np.uint8) for i in range(n)]


def yuv_of(rgb: Rgb, matrix: int, full: bool) -> Rgb:
    """`[3, H, W]` by the book (ITU-R BT.709, BT.601, BT.2020), none of swscale's arithmetic."""
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    r, g, b = np.moveaxis(rgb.astype(np.float64), 2, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    planes = [y, 128 + u, 128 + v] if full else [16 + y * 219 / 255, 128 + u * 224 / 255, 128 + v * 224 / 255]
    yuv: Rgb = np.clip(np.stack(planes) + 0.5, 0, 255).astype(np.uint8)
    return yuv


def encode(
    path: Path,
    frames: Sequence[Rgb],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    rate: Fraction = Fraction(25),
    times: Sequence[Fraction] | None = None,
    time_base: Fraction | None = None,
    matrix: int = 5,
    tags: bool = True,
    full: bool = False,
    turn: tuple[float, bool] | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A file made with PyAV alone, none of ours; `matrix` is swscale's number, 1 BT.709, 5 BT.601, 9 BT.2020."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        base = time_base or 1 / rate
        context = stream.codec_context
        context.time_base = base
        if codec in ("libx264", "libx265"):
            context.options = {"crf": "4", "preset": "ultrafast", **(options or {})}
        else:
            context.options = options or {}
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if tags and pixels not in ("gbrp10le", "bgra", "rgb24"):
            context.colorspace = {1: 1, 5: 6, 9: 9}[matrix]
            context.color_range = 2 if full else 1
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        for i, rgb in enumerate(frames):
            if pixels == "yuv420p":
                frame = av.VideoFrame.from_ndarray(yuv_of(rgb, matrix, full), "yuv444p").reformat(format=pixels)
            else:
                frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
                    format=pixels,
                    src_color_range=2,
                    dst_colorspace=matrix,
                    dst_color_range=2 if full else 1,
                    interpolation=2 | 0x40000 | 0x2000,
                )
            frame.pts = i if times is None else round(times[i] / base)
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def tone(n_samples: int, rate: int = 44_100) -> NDArray[np.float32]:
    """`[n_samples]`, a sweep: no stretch of it looks like another."""
    t = np.arange(n_samples) / rate
    return (0.5 * np.sin(2 * np.pi * (200 + 150 * t) * t)).astype(np.float32)


def write_sound(path: Path, pcm: NDArray[np.float32], codec: str, rate: int = 44_100) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for part in av.AudioResampler(stream.format.name, "mono", rate).resample(frame):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def read_sound(path: Path) -> tuple[NDArray[np.float32], int, Fraction]:
    """All samples `[T]` mono, their rate, and when the first one sounds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts, start = [], None
        resampler = av.AudioResampler("fltp", "mono", stream.rate)
        for frame in container.decode(stream):
            if start is None:
                assert frame.pts is not None
                assert frame.time_base is not None
                start = frame.pts * frame.time_base
            parts += [np.asarray(out.to_ndarray()[0], np.float32) for out in resampler.resample(frame)]
        pcm = np.concatenate(parts)
        if container.format.name.startswith("mov") and stream.duration is not None and stream.time_base is not None:
            # FFmpeg plays the padding of the last AAC packet, which the file's own duration leaves out
            end = round((stream.duration * stream.time_base) * stream.rate)
            assert 0 <= len(pcm) - end < 1024 + 1
            pcm = pcm[:end]
        return pcm, stream.rate, start or Fraction(0)


def frames_of(path: Path, **kw: Any) -> list[Frame]:
    with VideoReader(path, **kw) as reader:
        return list(reader)


def write(path: Path, frames: Sequence[Rgb], rate: Fraction = Fraction(25), **kw: Any) -> Path:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width, height, rate, **kw) as writer:
        for i, rgb in enumerate(frames):
            writer.write(rgb, i / rate)
    return path


def write_until(error: type[BaseException], path: Path, **kw: Any) -> None:
    with VideoWriter(path, 64, 48, Fraction(25), **kw) as writer:
        for i, rgb in enumerate(numbered(10)):
            writer.write(rgb, Fraction(i, 25))
        raise error


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if "partial" in p.name)


# Reading


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


@pytest.mark.parametrize("width_height", [(64, 32), (480, 640), (1280, 720)])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_known_colours_come_back_for_every_matrix_and_range(
    tmp_path: Path, matrix: int, full: bool, width_height: tuple[int, int]
) -> None:
    path = encode(tmp_path / "colours.mp4", [patches(*width_height)], matrix=matrix, full=full)
    assert abs(centres(frames_of(path)[0].rgb) - PATCHES).max() <= 3


@pytest.mark.parametrize(("size", "matrix"), [((320, 240), 5), ((720, 576), 5), ((1280, 720), 1), ((720, 1280), 1)])
def test_untagged_colours_are_read_as_players_read_them(tmp_path: Path, size: tuple[int, int], matrix: int) -> None:
    path = encode(tmp_path / "untagged.mp4", [patches(*size)], matrix=matrix, tags=False)
    assert abs(centres(frames_of(path)[0].rgb) - PATCHES).max() <= 3


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix"),
    [
        ("libx264", "yuv422p", "mp4"),
        ("libx264", "yuv444p", "mkv"),
        ("libx264", "yuv420p10le", "mp4"),
        ("libx264", "yuv422p10le", "mov"),
        ("libx265", "yuv420p12le", "mp4"),
        ("prores_ks", "yuv444p10le", "mov"),
        ("mjpeg", "yuvj420p", "avi"),
        ("mpeg1video", "yuv420p", "mpg"),
        ("mpeg2video", "yuv420p", "ts"),
        ("mpeg4", "yuv420p", "avi"),
        ("libvpx-vp9", "yuv420p", "webm"),
        ("ffv1", "gbrp10le", "mkv"),
        ("ffv1", "bgra", "mkv"),
        ("png", "rgb24", "mov"),
        ("libsvtav1", "yuv420p", "mp4"),
    ],
)
def test_every_codec_and_pixel_format_gives_the_same_colours(
    tmp_path: Path, codec: str, pixels: str, suffix: str
) -> None:
    options = {"svtav1-params": "lp=1", "preset": "10"} if codec == "libsvtav1" else {}
    if codec == "libx265":
        options = {"x265-params": "log-level=none:pools=1"}
    if codec == "mpeg1video":
        options = {"qmax": "4"}
    frames = [patches(128, 64)] * 4
    if codec in ("mjpeg", "mpeg4", "mpeg2video"):
        options = {"qmin": "1", "qmax": "2", "b": "8000000"}
    path = encode(tmp_path / f"clip.{suffix}", frames, codec, pixels, full=pixels.startswith("yuvj"), options=options)
    read = frames_of(path)
    assert len(read) == 4
    assert all(a.time < b.time for a, b in pairwise(read))
    assert abs(centres(read[-1].rgb) - PATCHES).max() <= 6


def test_grey_video_is_grey(tmp_path: Path) -> None:
    path = encode(tmp_path / "grey.mkv", [np.full((32, 32, 3), 100, np.uint8)], "ffv1", "gray")
    rgb = frames_of(path)[0].rgb
    assert rgb.shape == (32, 32, 3)
    assert abs(rgb.astype(int) - 100).max() <= 1


def test_transparent_parts_lie_over_grey(tmp_path: Path) -> None:
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[:, :16] = (200, 10, 10, 255)
    path = tmp_path / "alpha.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "bgra"
        frame = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format="bgra")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    rgb = frames_of(path)[0].rgb
    assert rgb[5, 5].tolist() == [200, 10, 10]
    assert rgb[5, 25].tolist() == [128, 128, 128]


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("degrees", [0.0, 90.0, 180.0, -90.0])
def test_turned_and_mirrored_files_come_out_upright(tmp_path: Path, degrees: float, hflip: bool) -> None:
    path = encode(tmp_path / "turned.mp4", [patches(128, 64)] * 2, turn=(degrees, hflip))
    expected = np.rot90(patches(128, 64), int(degrees) // 90)
    expected = expected[:, ::-1] if hflip else expected
    with VideoReader(path) as reader:
        size = reader.width, reader.height
        rgb = next(iter(reader)).rgb
    assert size == (expected.shape[1], expected.shape[0])
    assert rgb.flags.c_contiguous
    # patches are compared away from their edges, where colour bleeds
    inner = np.abs(rgb.astype(int) - expected)[4:-4:8, 4:-4:8]
    assert np.median(inner) <= 3
    assert (inner.max(axis=2) <= 6).mean() > 0.8


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(4, 3), (128, 64)), (Fraction(3, 4), (96, 85)), (Fraction(1), (96, 64))]
)
def test_samples_that_are_not_square_are_made_square(tmp_path: Path, aspect: Fraction, size: tuple[int, int]) -> None:
    path = encode(tmp_path / "wide.mp4", [patches(96, 64)], aspect=aspect)
    with VideoReader(path) as reader:
        assert (reader.width, reader.height) == size
        rgb = next(iter(reader)).rgb
    assert rgb.shape == (size[1], size[0], 3)
    assert abs(centres(rgb) - PATCHES).max() <= 4


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p"])
def test_odd_sizes_are_read_whole(tmp_path: Path, pixels: str) -> None:
    codec = "libvpx-vp9" if pixels == "yuv420p" else "libx264"
    suffix = "webm" if pixels == "yuv420p" else "mp4"
    rgb = frames_of(encode(tmp_path / f"odd.{suffix}", [patches(101, 75)], codec, pixels))[0].rgb
    assert rgb.shape == (75, 101, 3)
    assert abs(centres(rgb) - PATCHES).max() <= 8


def test_a_size_that_changes_on_the_way_is_scaled_to_the_first(tmp_path: Path) -> None:
    a = encode(tmp_path / "a.ts", [patches(128, 64)] * 5)
    b = encode(tmp_path / "b.ts", [patches(256, 128)] * 5)
    both = tmp_path / "both.ts"
    both.write_bytes(a.read_bytes() + b.read_bytes())
    frames = frames_of(both)
    assert len(frames) >= 8
    assert {f.rgb.shape for f in frames} == {(64, 128, 3)}
    assert abs(centres(frames[-1].rgb) - PATCHES).max() <= 6
    assert all(x.time < y.time for x, y in pairwise(frames))


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


# Writing


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

    monkeypatch.setattr(video._Movie, "_mux_held", full)
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


# Real files


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
