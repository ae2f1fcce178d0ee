"""Small videos and sounds, made here and read back, for the tests beside it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from runtime.video import Frame, VideoReader
from runtime.writer import VideoWriter

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


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if "partial" in p.name)
