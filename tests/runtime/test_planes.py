"""Frames in their own planes: as stored, upright, in any order, changed without anybody else noticing."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import runtime.planes as planes_module
from runtime.planes import PlaneFrame, PlaneReader, read_in_order
from runtime.video import VideoReader

Rgb = NDArray[np.uint8]


def gradient(width: int, height: int, i: int = 0) -> Rgb:
    """`[height, width, 3]`, smooth, no two corners alike, moving with i."""
    y, x = np.mgrid[:height, :width]
    rgb = (40 + 150 * x / width, 60 + 120 * y / height, 60 + 100 * ((x + y + 3 * i) % 64) / 64)
    picture: Rgb = np.stack(rgb, -1).astype(np.uint8)
    return picture


def clip(
    path: Path,
    n: int = 6,
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    times: Sequence[Fraction] | None = None,
    gop: int = 12,
    turn: tuple[float, bool] | None = None,
    full: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """A file made with PyAV alone; each frame's luma in its first 8 rows tells its number."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.time_base = Fraction(1, 90_000)
        context.gop_size = gop
        context.options = {"crf": "6", "preset": "ultrafast"} if codec == "libx264" else {}
        context.options = {**context.options, **(options or {})}
        if full:
            context.color_range = 2
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        for i in range(n):
            rgb = gradient(*size, i)
            rgb[:8] = 20 + (i * 37) % 200
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixels, dst_color_range=2 if full else 1)
            frame.pts = round((Fraction(i, 25) if times is None else times[i]) * 90_000)
            frame.time_base = Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path, **kw: Any) -> list[PlaneFrame]:
    with PlaneReader(path, **kw) as reader:
        return list(reader)


def tag(frame: PlaneFrame) -> int:
    """The number written into the first rows, as luma."""
    return round(float(frame.planes[0][:6].mean()))


# Reading


@pytest.mark.parametrize(
    ("pixels", "shape", "kind"),
    [
        ("yuv420p", (32, 48), np.uint8),
        ("yuv422p", (64, 48), np.uint8),
        ("yuv444p", (64, 96), np.uint8),
        ("yuv420p10le", (32, 48), np.uint16),
        ("yuv422p10le", (64, 48), np.uint16),
    ],
)
def test_planes_are_the_decoders_own(tmp_path: Path, pixels: str, shape: tuple[int, int], kind: type) -> None:
    path = clip(tmp_path / "clip.mp4", pixels=pixels)
    with av.open(str(path)) as container:
        plain = [f.to_ndarray(format=pixels) for f in container.decode(video=0)]
    frames = read(path)
    assert [f.number for f in frames] == list(range(6))
    for frame, truth in zip(frames, plain, strict=True):
        y, u, v = frame.planes
        assert y.shape == (64, 96)
        assert u.shape == v.shape == shape
        assert y.dtype == kind
        luma = truth[..., 0] if pixels == "yuv444p" and truth.ndim == 3 else truth.reshape(-1, 96)[:64]
        if pixels == "yuv444p":
            luma = truth[0] if truth.shape[0] == 3 else truth[..., 0]
        np.testing.assert_array_equal(y, luma)


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix", "wanted"),
    [
        ("ffv1", "bgra", "mkv", "yuv444p"),
        ("ffv1", "gbrp10le", "mkv", "yuv444p10le"),
        ("ffv1", "gray", "mkv", "yuv420p"),
        ("ffv1", "yuv411p", "mkv", "yuv422p"),
        ("ffv1", "yuv420p12le", "mkv", "yuv420p10le"),
        ("ffv1", "yuva420p", "mkv", "yuv420p"),
        ("mjpeg", "yuvj420p", "avi", "yuv420p"),
        ("png", "rgb24", "mov", "yuv444p"),
        ("gif", "pal8", "gif", "yuv444p"),
        ("prores_ks", "yuv444p10le", "mov", "yuv444p10le"),
    ],
)
def test_what_is_stored_otherwise_comes_in_the_nearest_planes(
    tmp_path: Path, codec: str, pixels: str, suffix: str, wanted: str
) -> None:
    if codec == "gif":
        path = tmp_path / "clip.gif"
        from runtime.writer import VideoWriter

        with VideoWriter(path, 96, 64, Fraction(25)) as writer:
            for i in range(3):
                writer.write(gradient(96, 64, i), Fraction(i, 25))
    else:
        path = clip(tmp_path / f"clip.{suffix}", 3, codec=codec, pixels=pixels, full=pixels == "yuvj420p")
    frames = read(path)
    assert len(frames) == 3
    layout = frames[0].layout
    assert layout.format == wanted
    assert layout.range == (2 if pixels == "yuvj420p" else 1)
    with VideoReader(path) as reader:
        rgb = next(iter(reader)).rgb
    worst = np.percentile(np.abs(frames[0].small(96).astype(int) - rgb), 95)
    print(f"{pixels}: 95 % of pixels within {worst} levels")
    assert worst <= 6


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_rgb_honours_matrix_and_range(tmp_path: Path, pixels: str, full: bool) -> None:
    path = clip(tmp_path / "clip.mp4", pixels=pixels, full=full)
    with VideoReader(path) as reader:
        for frame, plain in zip(read(path), reader, strict=True):
            off = frame.small(1000).astype(int) - plain.rgb
            assert np.percentile(np.abs(off), 95) <= 3  # at hard edges colour is smoothed in other ways
            assert abs(off.mean((0, 1))).max() < 1


def test_small_is_no_larger_than_asked_for_and_shows_the_same(tmp_path: Path) -> None:
    frame = read(clip(tmp_path / "clip.mp4", size=(200, 120)))[0]
    assert frame.small(100).shape == (60, 100, 3)
    assert frame.small(1000).shape == (120, 200, 3)
    whole = frame.small(1000).astype(float)
    halves = whole.reshape(60, 2, 100, 2, 3).mean((1, 3))
    assert np.abs(frame.small(100) - halves).mean() < 2


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("degrees", [0.0, 90.0, 180.0, -90.0])
def test_turned_clips_are_looked_at_upright_and_go_back_as_stored(tmp_path: Path, degrees: float, hflip: bool) -> None:
    path = clip(tmp_path / "turned.mp4", turn=(degrees, hflip))
    with VideoReader(path) as reader:
        upright = next(iter(reader)).rgb
    frame = read(path)[0]
    assert frame.planes[0].shape == upright.shape[:2]
    assert np.abs(frame.small(1000).astype(int) - upright).max() <= 3
    stored = np.array(read(path)[0].stored().to_ndarray(format="gray"))
    y = frame.editable()[0]
    y[5:9, 10:14] = 255
    back = np.asarray(frame.stored().to_ndarray(format="gray"))
    assert back.shape == stored.shape == (64, 96)
    assert (back != stored).sum() == 16
    assert frame.layout.turn(back)[5:9, 10:14].min() >= 250


# Changing


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
def test_what_is_changed_shows_in_that_frame_alone(tmp_path: Path, pixels: str) -> None:
    path = clip(tmp_path / "clip.mp4", 30, pixels=pixels)
    untouched = [tuple(p.copy() for p in f.planes) for f in read(path)]
    with PlaneReader(path) as reader:
        for frame, plain in zip(reader, untouched, strict=True):
            for mine, truth in zip(frame.planes, plain, strict=True):
                np.testing.assert_array_equal(mine, truth)
            for plane in frame.editable():
                plane[:] = 7
            encoded = np.frombuffer(frame.stored().planes[0], frame.planes[0].dtype)
            assert (encoded[:96] == 7).all()


def test_a_copy_is_changed_alone(tmp_path: Path) -> None:
    frame = read(clip(tmp_path / "clip.mp4"))[2]
    before = frame.planes[0].copy()
    other = frame.copy()
    other.editable()[0][:] = 0
    np.testing.assert_array_equal(frame.planes[0], before)
    assert (other.number, other.time, other.duration) == (frame.number, frame.time, frame.duration)


# Time


def test_times_are_the_files_own_counted_from_its_beginning(tmp_path: Path) -> None:
    times = [Fraction(t, 600) for t in (30, 50, 90, 91, 230, 237)]
    path = clip(tmp_path / "vfr.ts", 6, times=times)
    frames = read(path)
    assert [b.time - a.time for a, b in pairwise(frames)] == [b - a for a, b in pairwise(times)]
    assert frames[0].time == 0
    assert [f.duration for f in frames[:-1]] == [b - a for a, b in pairwise(times)]


def test_start_and_end_count_from_the_files_beginning_too(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.ts", 20)
    frames = read(path, start=Fraction(5, 25), end=Fraction(9, 25))
    assert [f.time for f in frames] == [Fraction(i, 25) for i in range(5, 9)]


# Any order


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
@pytest.mark.parametrize("n_held", [3, 500])
def test_frames_come_in_any_order_and_the_same_each_time(tmp_path: Path, suffix: str, n_held: int) -> None:
    path = clip(tmp_path / f"clip.{suffix}", 40, gop=10, options={"bf": "2", "preset": "veryfast"})
    with PlaneReader(path) as reader:
        plain = [frame.planes[0].copy() for frame in reader]
        index = reader.index
    there_and_back = [*range(40), *range(38, 0, -1), *range(25)]
    others = [7, 7, 7, 8, 10, 12, 12, 39, 39, 38, 38, 36, 0, 20, 5, 4]
    for order in (there_and_back, others, list(range(39, -1, -1))):
        frames = list(read_in_order(path, index, order, n_held * 96 * 64 * 3 // 2))
        assert [f.number for f in frames] == order
        for frame, number in zip(frames, order, strict=True):
            assert frame.time == index.times[number]
            np.testing.assert_array_equal(frame.planes[0], plain[number])


def test_a_frame_shown_twice_can_be_changed_once(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", 5)
    with PlaneReader(path) as reader:
        plain = [frame.planes[0].copy() for frame in reader]
        index = reader.index
    for i, frame in enumerate(read_in_order(path, index, [0, 1, 1, 1, 2])):
        np.testing.assert_array_equal(frame.planes[0], plain[[0, 1, 1, 1, 2][i]])
        frame.editable()[0][:] = 0


def test_going_backwards_holds_no_more_frames_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "clip.mp4", 60, gop=60)
    with PlaneReader(path) as reader:
        for _ in reader:
            pass
        index = reader.index
    alive: set[int] = set()
    most = 0

    class Counted(PlaneFrame):
        def __init__(self, *args: Any) -> None:
            nonlocal most
            super().__init__(*args)
            alive.add(id(self))
            most = max(most, len(alive))

        def __del__(self) -> None:
            alive.discard(id(self))

    monkeypatch.setattr(planes_module, "PlaneFrame", Counted)
    order = list(range(59, -1, -1))
    got = [frame.number for frame in read_in_order(path, index, order, 8 * 96 * 64 * 3 // 2)]
    assert got == order
    assert most <= 8 + 3


def test_a_clip_without_stamps_is_counted_from_its_beginning(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", 20)
    with PlaneReader(path) as reader:
        plain = [frame.planes[0].copy() for frame in reader]
        index = reader.index
    index.stamps = [None] * 20
    for frame, number in zip(read_in_order(path, index, [15, 14, 13, 3]), [15, 14, 13, 3], strict=True):
        np.testing.assert_array_equal(frame.planes[0], plain[number])
