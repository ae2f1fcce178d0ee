"""A clip's frames in their own YUV planes, to be changed in a few places and encoded again without ever being RGB.

Three planes Y, U, V at the clip's own subsampling, uint8 or, of 10 bits, uint16 up to 1023. They are upright:
a clip that says of itself how it is to be turned is turned here, and turned back before it is encoded, so
that what looks at a frame and what changes it need not know. Pixels are as stored, square or not. What is
stored in other ways (RGB, palettes, 4:1:1, 12 bits) comes in the nearest such planes.

Frames can be had in any order, backwards too, in bounded memory. Nothing here knows of faces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.hdr import UNKNOWN, Brightness, brightness_of
from runtime.pixels import BT709, Turn, display_matrix, yuv_matrix, yuv_range, yuv_to_rgb
from runtime.video import VideoDecoder

Planes = tuple[NDArray[Any], ...]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 px

FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
_FULL = {"yuvj420p": "yuv420p", "yuvj422p": "yuv422p", "yuvj444p": "yuv444p"}  # old names of the full range
_EXACT = 0x4 | 0x40000 | 0x2000  # swscale: bicubic, accurate rounding, full horizontal chroma
HELD_BYTES = 192 << 20  # of frames kept to be shown backwards
_STRIDE = 16  # frames left out in a row that are decoded all the same


@dataclass(frozen=True)
class PlaneLayout:
    """What all frames of a clip have in common."""

    format: str  # of FORMATS
    width: int  # px as stored, before any turning
    height: int
    matrix: int  # YUV to RGB, AVCOL_SPC_*
    range: int  # 1 limited, 2 full
    tags: ColourTags
    display: tuple[int, ...] | None  # [9], how players turn it
    sample_aspect: Fraction | None  # width of a pixel by its height, where the clip says
    rate: Fraction
    time_base: Fraction
    interlaced: bool
    stream: int  # index of the picture in its file
    origin: Fraction  # seconds, where the file's own clock starts and the frames' times are 0
    brightness: Brightness = UNKNOWN
    is_clear: bool = False  # in places: its opacity is not among the planes

    @property
    def turn(self) -> Turn:
        return Turn(self.display)

    @property
    def nbytes(self) -> int:
        """Of one frame."""
        picture = av.VideoFormat(self.format)
        bits = sum(
            (picture.chroma_width(self.width) * picture.chroma_height(self.height) if i else self.width * self.height)
            for i in range(3)
        )
        return bits * (1 if self.depth == 8 else 2)

    @property
    def depth(self) -> int:
        """Bits of a sample, 8 or 10."""
        return 10 if self.format.endswith("10le") else 8


@dataclass(frozen=True)
class ColourTags:
    """What a clip says of its colours, FFmpeg's numbers; 2 is nothing said (for the range 0)."""

    primaries: int
    transfer: int
    matrix: int
    range: int


class PlaneFrame:
    """One picture: what it shows, when, and the way back to the encoder.

    `planes` may be looked at; to change them ask for `editable`, which gives planes that share nothing with
    the decoder's own references.
    """

    def __init__(self, number: int, time: Fraction, duration: Fraction, frame: Any, layout: PlaneLayout) -> None:
        self.number = number  # in the order shown, from 0
        self.time = time  # seconds
        self.duration = duration  # seconds
        self.layout = layout
        self._frame = frame
        self._planes: Planes | None = None
        self._changed = False

    @property
    def planes(self) -> Planes:
        """Y [H, W], U, V, upright, to be read only."""
        if self._planes is None:
            turn = self.layout.turn
            stored = _stored(self._frame)
            self._planes = stored if turn.is_none else tuple(turn(plane) for plane in stored)
        return self._planes

    def editable(self) -> Planes:
        """The same planes, to be changed in place."""
        if not self._changed:
            self._changed = True
            if self.layout.turn.is_none:
                self._frame.make_writable()
                self._planes = _stored(self._frame)
        return self.planes

    def small(self, longer_px: int, box: Box | None = None) -> NDArray[np.uint8]:
        """RGB `[h, w, 3]`, upright, of all or a box of the frame, the longer side at most so many px.

        Pixels stay as stored. The box begins where colour samples do: at multiples of 4.
        """
        import cv2

        H, W = self.planes[0].shape
        x0, y0, x1, y1 = box or (0, 0, W, H)
        scale = min(1.0, longer_px / max(x1 - x0, y1 - y0))
        size = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
        way = cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR
        planes: list[NDArray[Any]] = []
        for plane in self.planes:
            sy, sx = round(H / plane.shape[0]), round(W / plane.shape[1])
            part = plane[y0 // sy : -(-y1 // sy), x0 // sx : -(-x1 // sx)]
            planes.append(part if part.shape == size[::-1] else np.asarray(cv2.resize(part, size, interpolation=way)))
        if self.layout.depth == 10:
            planes = [np.asarray(cv2.convertScaleAbs(plane, alpha=0.25)) for plane in planes]
        rgb: Any = cv2.transform(cv2.merge(planes), yuv_to_rgb(self.layout.matrix, self.layout.range))
        return np.asarray(rgb, np.uint8)

    def copy(self) -> PlaneFrame:
        """Another of the same, to be changed without changing this one."""
        frame = av.VideoFrame(self._frame.width, self._frame.height, self._frame.format.name)
        for mine, other in zip(_stored(frame), _stored(self._frame), strict=True):
            mine[:] = other
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(frame, name, getattr(self._frame, name))
        return PlaneFrame(self.number, self.time, self.duration, frame, self.layout)

    def stored(self) -> Any:
        """The `av.VideoFrame` with all changes, turned back to how the clip is stored."""
        turn = self.layout.turn
        if self._changed and not turn.is_none:
            self._frame.make_writable()
            for mine, upright in zip(_stored(self._frame), self.planes, strict=True):
                mine[:] = turn.back(upright)
        return self._frame


def _stored(frame: Any) -> Planes:
    """Views of a frame's planes, without their padding."""
    deep = frame.format.components[0].bits > 8
    out = []
    for plane in frame.planes:
        rows: NDArray[Any] = np.frombuffer(plane, np.uint16 if deep else np.uint8)
        across = plane.line_size // rows.itemsize
        out.append(rows[: plane.height * across].reshape(plane.height, across)[:, : plane.width])
    return tuple(out)


def nearest_format(pixels: Any) -> str:
    """The one of FORMATS that an `av.VideoFormat` fits into with the least loss."""
    if pixels.name in FORMATS:
        return str(pixels.name)
    if pixels.name in _FULL:
        return _FULL[pixels.name]
    deep = "10le" if max((c.bits for c in pixels.components), default=8) > 8 else ""
    if pixels.is_rgb or pixels.has_palette or pixels.name == "pal8":
        return f"yuv444p{deep}"
    if len(pixels.components) < 3:
        return f"yuv420p{deep}"  # grey
    across, down = 64 // max(1, pixels.chroma_width(64)), 64 // max(1, pixels.chroma_height(64))
    name = {(1, 1): "yuv444p", (2, 1): "yuv422p", (4, 1): "yuv422p", (1, 2): "yuv444p"}.get((across, down), "yuv420p")
    return name + deep


class _ToPlanes:
    """Decoded frames of any kind to frames of one size and one of FORMATS, those of the first."""

    def __init__(self, first: Any, decoder: VideoDecoder) -> None:
        self._reformatter = VideoReformatter()
        pixels = first.format
        is_rgb = pixels.is_rgb or pixels.has_palette or pixels.name == "pal8"
        tags = ColourTags(
            int(first.color_primaries), int(first.color_trc), int(first.colorspace), int(first.color_range)
        )
        if is_rgb:
            tags = ColourTags(BT709, BT709, BT709, int(ColorRange.MPEG))
        elif pixels.name in _FULL:
            tags = ColourTags(tags.primaries, tags.transfer, tags.matrix, int(ColorRange.JPEG))
        self.layout = PlaneLayout(
            format=nearest_format(pixels),
            width=first.width,
            height=first.height,
            matrix=BT709 if is_rgb else yuv_matrix(first),
            range=int(ColorRange.MPEG) if is_rgb else yuv_range(first),
            tags=tags,
            display=display_matrix(first),
            sample_aspect=decoder.sample_aspect,
            rate=decoder.rate,
            time_base=decoder.time_base,
            interlaced=bool(first.interlaced_frame),
            stream=decoder.index,
            origin=max(decoder.origin, Fraction(0)),
            brightness=brightness_of(first),
            is_clear=any(c.is_alpha for c in pixels.components)
            and bool(first.to_ndarray(format="rgba")[..., 3].min() < 255),
        )

    def __call__(self, frame: Any) -> Any:
        layout = self.layout
        same_size = (frame.width, frame.height) == (layout.width, layout.height)
        name = frame.format.name
        if name == layout.format and same_size:
            return frame
        if _FULL.get(name) == layout.format and same_size:
            return self._tagged(_renamed(frame, layout.format))
        if frame.format.is_rgb or frame.format.has_palette:
            matrix, full = BT709, int(ColorRange.JPEG)
        else:
            matrix, full = yuv_matrix(frame), yuv_range(frame)
        frame.colorspace, frame.color_range = matrix, full
        turned = self._reformatter.reformat(
            frame,
            width=layout.width,
            height=layout.height,
            format=layout.format,
            src_color_range=full,
            dst_colorspace=layout.matrix,
            dst_color_range=layout.range,
            interpolation=_EXACT,
        )
        turned.pts, turned.time_base = frame.pts, frame.time_base
        return self._tagged(turned)

    def _tagged(self, frame: Any) -> Any:
        tags = self.layout.tags
        frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer
        frame.colorspace, frame.color_range = tags.matrix, tags.range
        return frame


def _renamed(frame: Any, name: str) -> Any:
    """The same samples under the name that FFmpeg's encoders want."""
    out = av.VideoFrame(frame.width, frame.height, name)
    for mine, other in zip(_stored(out), _stored(frame), strict=True):
        mine[:] = other
    out.pts, out.time_base = frame.pts, frame.time_base
    return out


@dataclass
class ClipIndex:
    """When each frame of a clip is shown, filled as they are read.

    Times count from where the file's own clock starts.
    """

    origin: Fraction = Fraction(0)  # where the file's own clock starts
    times: list[Fraction] = field(default_factory=list)  # seconds
    durations: list[Fraction] = field(default_factory=list)  # seconds
    stamps: list[int | None] = field(default_factory=list)  # the file's own, in its stream's time base

    def add(self, time: Fraction, duration: Fraction, stamp: int | None) -> None:
        self.times.append(time)
        self.durations.append(duration)
        self.stamps.append(stamp)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def end(self) -> Fraction:
        """When the last frame known ends."""
        return self.times[-1] + self.durations[-1] if self.times else Fraction(0)


class PlaneReader:
    """The frames of a clip in the order they are shown, those of `start <= time < end`; iterate once.

    Times count from where the file's own clock starts.
    """

    def __init__(self, path: str | Path, start: Fraction | None = None, end: Fraction | None = None) -> None:
        self._decoder = decoder = _decoder(Path(path), start, end)
        try:
            self._to_planes = _ToPlanes(decoder.first, decoder)
        except BaseException:
            decoder.close()
            raise
        self.path = decoder.path
        self.layout = self._to_planes.layout
        self.index = ClipIndex(self.layout.origin)
        self.duration = decoder.duration
        self.n_frames = decoder.n_frames
        self.has_sound = decoder.has_sound

    @property
    def n_damaged(self) -> int:
        return self._decoder.n_damaged

    def __enter__(self) -> PlaneReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def __iter__(self) -> Iterator[PlaneFrame]:
        for number, decoded in enumerate(self._decoder.decoded()):
            time = decoded.time - self.layout.origin
            self.index.add(time, decoded.duration, decoded.frame.pts)
            yield PlaneFrame(number, time, decoded.duration, self._to_planes(decoded.frame), self.layout)


def _decoder(path: Path, start: Fraction | None, end: Fraction | None) -> VideoDecoder:
    """Start and end count from where the file's own clock starts, which only the file knows."""
    if start is None and end is None:
        return VideoDecoder(path)
    with VideoDecoder(path) as known:
        origin = max(known.origin, Fraction(0))
    return VideoDecoder(path, None if start is None else start + origin, None if end is None else end + origin)


def read_in_order(
    path: str | Path, index: ClipIndex, order: Sequence[int] | NDArray[np.int64], held_bytes: int = HELD_BYTES
) -> Iterator[PlaneFrame]:
    """The frames of a clip by number: forwards, backwards, repeated or left out.

    `index` is that of a `PlaneReader` which has read them from the clip's beginning. What is shown backwards
    is decoded from the keyframe before, again and again where so many frames lie between keyframes that
    `held_bytes` do not hold them. A frame that cannot be decoded again is shown as its neighbour.
    """
    numbers = [int(n) for n in order]
    with _Random(Path(path), index, held_bytes) as clip:
        for run in _runs(numbers):
            part = numbers[run.start : run.stop]
            if run.way >= 0:
                yield from _picked(clip.forwards(part[0], part[-1]), part, 1)
            else:
                yield from _picked(clip.backwards(part[-1], part[0]), part, -1)


@dataclass(frozen=True)
class _Run:
    """A stretch of an order that goes one way."""

    start: int
    stop: int
    way: int  # 1 forwards, -1 backwards, 0 stays


def _runs(numbers: Sequence[int]) -> Iterator[_Run]:
    start, way = 0, 0
    for i in range(1, len(numbers)):
        move = numbers[i] - numbers[i - 1]
        if move == 0:
            continue
        if abs(move) <= _STRIDE and way in (0, np.sign(move)):
            way = int(np.sign(move))
            continue
        yield _Run(start, i, way)
        start, way = i, 0
    if numbers:
        yield _Run(start, len(numbers), way)


def _picked(frames: Iterator[PlaneFrame], numbers: Sequence[int], way: int) -> Iterator[PlaneFrame]:
    """Those of the frames that are wanted; a fresh copy of each that is wanted again."""
    frame = next(frames)
    for i, number in enumerate(numbers):
        while (number - frame.number) * way > 0 and (following := next(frames, None)) is not None:
            frame = following
        again = i + 1 < len(numbers) and (numbers[i + 1] - frame.number) * way <= 0
        yield frame.copy() if again else frame


class _Random:
    """A clip's frames from any place on."""

    def __init__(self, path: Path, index: ClipIndex, held_bytes: int) -> None:
        self._path = path
        self._index = index
        self._held_bytes = held_bytes
        stamps = [s for s in index.stamps if s is not None]
        telling = len(set(stamps)) == len(index.stamps)
        self._number = {s: i for i, s in enumerate(stamps)} if telling else {}  # by stamp
        self._decoder: VideoDecoder | None = None
        self._frames: Iterator[PlaneFrame] = iter(())
        self._next = -1  # number of the frame that comes out next

    def __enter__(self) -> _Random:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
        self._decoder = None

    def forwards(self, lowest: int, highest: int) -> Iterator[PlaneFrame]:
        """Frames `lowest` to `highest`, each once."""
        if self._next != lowest:
            self._open(lowest)
        while self._next <= highest:
            frame = next(self._frames, None)
            if frame is None:
                return
            self._next = frame.number + 1
            yield frame

    def backwards(self, lowest: int, highest: int) -> Iterator[PlaneFrame]:
        """Frames `highest` down to `lowest`, each once."""
        while highest >= lowest:
            if self._decoder is None:
                self._open(lowest)  # the size of a frame has to be known
            n = max(2, self._held_bytes // self._nbytes)
            held = list(self.forwards(max(lowest, highest - n + 1), highest))
            while held:
                yield held.pop()
            highest -= n

    def _open(self, number: int) -> None:
        """Be ready to give frame `number` next."""
        frames = self._from(self._index.times[number] + self._index.origin if self._number else None)
        first = next(frames, None)
        if first is None or first.number > number:
            frames = self._from(None)
            first = next(frames, None)
        while first is not None and first.number < number:
            first = next(frames, None)
        if first is None:
            raise InputError(
                f"{self._path} could be decoded once and cannot be again; wanted a file that does not change"
            )
        self._frames = chain((first,), frames)
        self._next = number

    def _from(self, time: Fraction | None) -> Iterator[PlaneFrame]:
        """Known frames from the keyframe before a time on, or from the beginning."""
        self._close()
        self._decoder = decoder = VideoDecoder(self._path, time)
        to_planes = _ToPlanes(decoder.first, decoder)
        self._nbytes = to_planes.layout.nbytes
        index = self._index

        def frames() -> Iterator[PlaneFrame]:
            for count, frame in enumerate(decoder.raw()):
                number = count if time is None else self._number.get(frame.pts, -1)
                if 0 <= number < len(index):
                    shown, duration = index.times[number], index.durations[number]
                    yield PlaneFrame(number, shown, duration, to_planes(frame), to_planes.layout)

        return frames()
