"""Colours, turns and sizes of what is decoded, on files made here."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from runtime.video import VideoReader
from tests.runtime.films import PATCHES, centres, encode, frames_of, patches


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
