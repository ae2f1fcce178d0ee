"""Video in and out, exact in time, through PyAV alone.

Reading gives upright RGB frames with square pixels, each at the source's own `pts * time_base`.
Writing keeps the times it is given, tags BT.709, and lets a file appear only when whole. Picture
and sound share one clock: seconds of the source, as exact fractions. Nothing here knows of faces.

The transfer curve and primaries are passed over, as plain players do: only the matrix and the range
of YUV are turned into RGB.
"""

from __future__ import annotations

import heapq
import logging
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import InputError
from runtime.foreign import seems
from runtime.image import flatten
from runtime.output import check_output, partial_path, write_failure
from runtime.sound import SoundTrack, encoder_layout, encoder_rate, inspect_sound, open_sound
from runtime.splice import Splice

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

BT709, BT470BG, SMPTE170M, BT2020_NCL = 1, 5, 6, 9  # AVCOL_SPC_*
_MATRICES = {BT709, 4, BT470BG, SMPTE170M, 7, BT2020_NCL}  # what swscale can turn
_RGB, _YCGCO, _BT2020_CL = 0, 8, 10
# swscale's flags by number: PyAV names them only from 18 on
_EXACT = 0x2 | 0x40000 | 0x2000  # bilinear, accurate rounding, full horizontal chroma
_EXACT_BICUBIC = 0x4 | 0x40000 | 0x2000
_EARLIER = (0, 2, 10, 60)  # seconds before a start from which it is tried to have the frame shown then
_MAX_FAILURES = 200  # read errors in a row before the rest of a file counts as lost


@dataclass(frozen=True)
class Frame:
    """One picture of a video."""

    time: Fraction  # seconds, the source's own
    rgb: NDArray[np.uint8]  # [H, W, 3], upright, square pixels
    duration: Fraction  # seconds until the next one; for the last, what the source says


@dataclass(frozen=True)
class Decoded:
    """One picture as the decoder gave it."""

    time: Fraction  # seconds, the source's own
    frame: Any  # av.VideoFrame
    duration: Fraction  # seconds until the next one; for the last, what the source says


class VideoDecoder:
    """A video file opened where `start` is shown; what is known of it before its frames are read."""

    def __init__(self, path: str | Path, start: Fraction | None = None, end: Fraction | None = None) -> None:
        self.path = Path(path)
        self.n_damaged = 0  # packets that could not be read or decoded
        self._start, self._end = start, end
        self._container, self._stream = _open_video(self.path)
        try:
            self._describe()
            self.first, self._rest = self._prime()  # av.VideoFrame, and those after it
        except BaseException:
            self._container.close()
            raise

    def _describe(self) -> None:
        stream, container = self._stream, self._container
        self.index: int = stream.index  # of the stream in its file
        self.time_base: Fraction = stream.time_base or Fraction(1, 90_000)
        self.rate: Fraction = _rate(stream)  # for information and for writers; times are exact without it
        self.has_sound = bool(container.streams.audio)
        starts = [s.start_time * s.time_base for s in _timed(container) if s.start_time is not None and s.time_base]
        self.origin: Fraction = min(starts, default=Fraction(0))  # where the file's own clock starts
        self.own_duration = _own_duration(stream)  # of its pictures, where the file tells it apart from its sound's
        self.duration = self.own_duration
        if self.duration is None and container.duration is not None and container.duration > 0:
            self.duration = Fraction(container.duration, av.time_base)
        self.n_frames: int | None = stream.frames or None  # an estimate
        if self.n_frames is None and self.duration is not None:
            self.n_frames = max(1, round(self.duration * self.rate))
        context = stream.codec_context
        self.sample_aspect: Fraction | None = stream.sample_aspect_ratio or None
        self.color_primaries = int(context.color_primaries)
        self.color_trc = int(context.color_trc)
        self.colorspace = int(context.colorspace)
        self.color_range = int(context.color_range)

    def _prime(self) -> tuple[Any, Iterator[Any]]:
        for earlier in _EARLIER if self._start is not None else ():
            assert self._start is not None
            if earlier and self._start - earlier < self.origin:
                break
            decoded = self._from(self._start - earlier)
            first = next(decoded, None)
            if first is not None and first.pts is not None and first.pts * self.time_base <= self._start:
                return first, decoded
        if self._start is not None:  # at or before the first frame, or in a file that cannot seek
            self._container.close()
            self._container, self._stream = _open_video(self.path)
            self.n_damaged = 0
        decoded = self._decode()
        first = next(decoded, None)
        if first is None:
            raise InputError(f"{self.path} holds no frame that can be decoded; wanted a video")
        return first, decoded

    def _from(self, time: Fraction) -> Iterator[Any]:
        """What is decoded after seeking; files without an index land anywhere near, open groups lose their first."""
        self.n_damaged = 0
        try:
            self._container.seek(math.floor(time / self.time_base), stream=self._stream, backward=True)
        except (av.FFmpegError, OSError):
            return iter(())
        return self._decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    def decoded(self) -> Iterator[Decoded]:
        """The frames in the order they are shown, `start <= time < end`; iterate once."""
        clock = _Clock(self.time_base, 1 / self.rate)
        frame = self.first
        time = clock(frame)
        while frame is not None and (self._end is None or time < self._end):
            following = next(self._rest, None)
            if following is None:
                until = time + ((frame.duration or 0) * (frame.time_base or self.time_base) or 1 / self.rate)
            else:
                until = clock(following)
            shown_until = until if self._end is None else min(until, self._end)
            if self._start is None or time >= self._start:
                yield Decoded(time, frame, shown_until - time)
            frame, time = following, until

    def raw(self) -> Iterator[Any]:
        """All frames from the keyframe before `start` on, as the decoder gives them; instead of `decoded`."""
        yield self.first
        yield from self._rest

    def _decode(self) -> Iterator[Any]:
        """Decoded frames; what is damaged is counted and passed over."""
        packets = self._container.demux(self._stream)
        failures = 0
        while failures < _MAX_FAILURES:
            try:
                packet = next(packets, None)
            except av.FFmpegError:  # the file, not the decoder; reading on after it often works
                failures += 1
                self.n_damaged += 1
                packets = self._container.demux(self._stream)
                continue
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.FFmpegError:
                failures += 1
                self.n_damaged += 1
                continue
            failures = 0
            yield from frames


class VideoReader(VideoDecoder):
    """The frames of a video in the order they are shown, `start <= time < end`; iterate once.

    Pixels that are not square are made so, unless `pixels` is "stored" and they nearly are (a pixel no
    more than an eighth wider or taller): who measures a face wants the pixels the camera gave.
    """

    def __init__(
        self,
        path: str | Path,
        start: Fraction | None = None,
        end: Fraction | None = None,
        *,
        pixels: Literal["square", "stored"] = "square",
    ) -> None:
        super().__init__(path, start, end)
        aspect = self.sample_aspect
        if pixels == "stored" and aspect and Fraction(7, 8) <= aspect <= Fraction(8, 7):
            aspect = None
        try:
            self._to_rgb = ToRgb(self.first, aspect)
        except BaseException:
            self._container.close()
            raise
        self.width, self.height = self._to_rgb.width, self._to_rgb.height
        self._frames = (Frame(d.time, self._to_rgb(d.frame), d.duration) for d in self.decoded())

    def __iter__(self) -> Iterator[Frame]:
        return self._frames


class _Clock:
    """Strictly increasing times out of whatever pts a file has."""

    def __init__(self, time_base: Fraction, step: Fraction) -> None:
        self._time_base = time_base
        self._step = step
        self._last: Fraction | None = None
        self._shift = Fraction(0)

    def __call__(self, frame: Any) -> Fraction:
        time = self._time(frame)
        if self._last is not None and time <= self._last:
            if time < self._last - 1:  # the clock was set back: files joined end to end
                self._shift += self._last + self._step - time
                time = self._last + self._step
            else:  # a duplicate; half a step leaves room for the next one
                time = self._last + self._step / 2
        self._last = time
        return time

    def _time(self, frame: Any) -> Fraction:
        pts = frame.pts if frame.pts is not None else frame.dts
        if pts is None:
            return Fraction(0) if self._last is None else self._last + self._step
        return Fraction(pts * (frame.time_base or self._time_base)) + self._shift


class ToRgb:
    """Decoded frames of any kind to upright RGB of one size, that of the first."""

    def __init__(self, first: Any, sample_aspect: Fraction | None) -> None:
        self._reformatter = VideoReformatter()
        self._scratch: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None  # [2, 2h, 2w], [H, W, 3]
        self._turn = Turn(display_matrix(first))
        self._width, self._height = _square(first.width, first.height, sample_aspect)
        swapped = self._turn.swaps
        self.width = self._height if swapped else self._width
        self.height = self._width if swapped else self._height

    def __call__(self, frame: Any) -> NDArray[np.uint8]:
        frame.colorspace = yuv_matrix(frame)
        frame.color_range = yuv_range(frame)
        scaled = (frame.width, frame.height) != (self._width, self._height)
        if frame.format.name in ("yuv420p", "yuvj420p") and not scaled:
            return self._turn(self._from_420(frame))
        alpha = _has_alpha(frame.format)
        turned = self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format="rgba" if alpha else "rgb24",
            dst_color_range=ColorRange.JPEG,
            interpolation=_EXACT_BICUBIC if scaled else _EXACT,
        )
        rgb = np.asarray(turned.to_ndarray(), np.uint8)
        if alpha:
            rgb = flatten(rgb[..., :3], rgb[..., 3])
        return self._turn(rgb)

    def _from_420(self, frame: Any) -> NDArray[np.uint8]:
        """The plain case. swscale's fast path is 1 to 3 levels too dark and its exact one 1.3 ms at
        512 x 512; this is exact to rounding, smooth in colour and takes 0.3 ms."""
        import cv2

        y, u, v = (_plane(frame, i) for i in range(3))
        (H, W), (h, w) = y.shape, u.shape
        if self._scratch is None:  # fresh memory for every frame would double the time
            self._scratch = np.empty((2, 2 * h, 2 * w), np.uint8), np.empty((H, W, 3), np.uint8)
        (u_wide, v_wide), yuv = self._scratch
        cv2.resize(u, (2 * w, 2 * h), dst=u_wide, interpolation=cv2.INTER_LINEAR)
        cv2.resize(v, (2 * w, 2 * h), dst=v_wide, interpolation=cv2.INTER_LINEAR)
        cv2.merge([y, u_wide[:H, :W], v_wide[:H, :W]], dst=yuv)
        rgb: Any = cv2.transform(yuv, yuv_to_rgb(frame.colorspace, frame.color_range))
        return np.asarray(rgb, np.uint8)


def _plane(frame: Any, index: int) -> NDArray[np.uint8]:
    """A view of one 8-bit plane, without its padding."""
    plane = frame.planes[index]
    rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
    view: NDArray[np.uint8] = rows[:, : plane.width]
    return view


_K = {BT709: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), BT2020_NCL: (0.2627, 0.0593)}  # Kr, Kb


@cache
def yuv_to_rgb(matrix: int, color_range: int) -> NDArray[np.float32]:
    """`[3, 4]` from 8-bit YUV to 8-bit RGB, ITU-T H.273."""
    kr, kb = _K.get(matrix, (0.299, 0.114))
    kg = 1 - kr - kb
    full = color_range == ColorRange.JPEG
    luma, colour, black = (1.0, 1.0, 0.0) if full else (255 / 219, 255 / 224, 16.0)
    cr, cb = 2 * (1 - kr) * colour, 2 * (1 - kb) * colour
    m = np.array([[luma, 0, cr], [luma, -cb * kb / kg, -cr * kr / kg], [luma, cb, 0]])
    offset = -m @ np.array([black, 128.0, 128.0])
    return np.column_stack([m, offset]).astype(np.float32)


class Turn:
    """A container's display matrix, as the quarter turn and flips it stands for."""

    def __init__(self, matrix: tuple[int, ...] | None) -> None:
        a, b, c, d = (1, 0, 0, 1) if matrix is None else (matrix[0], matrix[1], matrix[3], matrix[4])
        self.swaps = abs(b) + abs(c) > abs(a) + abs(d)
        self._flip_x = (c if self.swaps else a) < 0
        self._flip_y = (b if self.swaps else d) < 0

    @property
    def is_none(self) -> bool:
        return not (self.swaps or self._flip_x or self._flip_y)

    def __call__(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A picture `[H, W, ...]` upright."""
        import cv2

        return np.ascontiguousarray(self._flip(cv2.transpose(picture) if self.swaps else picture))

    def back(self, picture: NDArray[Any]) -> NDArray[Any]:
        """An upright picture as it is stored."""
        import cv2

        turned = self._flip(picture)
        return np.ascontiguousarray(cv2.transpose(turned) if self.swaps else turned)

    def _flip(self, picture: NDArray[Any]) -> NDArray[Any]:
        import cv2

        if not (self._flip_x or self._flip_y):
            return picture
        return np.asarray(cv2.flip(picture, -1 if self._flip_x and self._flip_y else int(self._flip_x)))


def display_matrix(frame: Any) -> tuple[int, ...] | None:
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    return tuple(int(v) for v in np.frombuffer(bytes(data), dtype=np.int32)[:9])


def _square(width: int, height: int, sample_aspect: Fraction | None) -> tuple[int, int]:
    """The size with square pixels: the short side of the sample grows, nothing is thrown away."""
    if not sample_aspect or not Fraction(1, 8) < sample_aspect < 8:
        return width, height
    if sample_aspect >= 1:
        return round(width * sample_aspect), height
    return width, round(height / sample_aspect)


def yuv_matrix(frame: Any) -> int:
    """The YUV matrix in swscale's terms; untagged files are read as players read them."""
    tag = int(frame.colorspace)
    if tag in _MATRICES:
        return tag
    if tag == _BT2020_CL:
        return BT2020_NCL
    if tag in (_RGB, _YCGCO) and frame.format.is_rgb:
        return tag
    return BT709 if frame.width >= 1280 or frame.height > 576 else SMPTE170M


def yuv_range(frame: Any) -> int:
    if frame.format.name.startswith("yuvj") or frame.format.is_rgb:
        return int(ColorRange.JPEG)
    return int(frame.color_range) or int(ColorRange.MPEG)


def _has_alpha(pixel_format: Any) -> bool:
    return bool(pixel_format.has_palette) or any(component.is_alpha for component in pixel_format.components)


def _rate(stream: Any) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and Fraction(1, 100) <= rate <= 1000:
            return Fraction(rate)
    return Fraction(25)


def _own_duration(stream: Any) -> Fraction | None:
    """How long a stream says that it lasts, s; Matroska files say so in a tag like 00:01:02.5."""
    if stream.duration is not None and stream.duration > 0 and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        told = 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    except ValueError:
        return None
    return told if told > 0 else None


def _timed(container: Any) -> list[Any]:
    return [s for s in container.streams if s.type == "audio" or (s.type == "video" and not is_cover(s))]


def is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _open_video(path: Path) -> tuple[Any, Any]:
    container = open_media(path, "a video")
    videos = [s for s in container.streams.video if not is_cover(s)]
    if not videos or container.format.name.endswith("_pipe") or container.format.name == "image2":
        if videos:
            found = "is a still picture; wanted a video"
        elif container.streams.audio:
            found = "holds sound only; wanted a file with video"
        else:
            found = f"{seems(path) or 'holds neither picture nor sound'}; wanted a file with video"
        container.close()
        raise InputError(f"{path} {found}")
    stream = max(videos, key=lambda s: (s.width or 0) * (s.height or 0))
    if not stream.width or stream.codec_context is None:
        container.close()
        raise InputError(f"{path} holds video of a kind that cannot be decoded; wanted a file with video")
    stream.thread_type = "AUTO"
    return container, stream


def open_media(path: Path, wanted: str) -> Any:
    """The PyAV container of a file, or InputError saying what it is instead of `wanted`."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; wanted {wanted}")
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted {wanted}")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty; wanted {wanted}")
    try:
        container = av.open(f"file:{path}", metadata_errors="ignore")
    except PermissionError as error:
        raise InputError(f"{path} may not be read; wanted {wanted}") from error
    except (av.FFmpegError, OSError) as error:
        found = seems(path) or f"holds no media that can be read ({error.strerror})"
        raise InputError(f"{path} {found}; wanted {wanted}") from error
    if container.format.name == "tty":  # FFmpeg draws text as a terminal would
        container.close()
        raise InputError(f"{path} holds text; wanted {wanted}")
    return container


def keyframe_times(path: str | Path) -> list[Fraction]:
    """When the keyframes of a video are shown, without decoding any."""
    container, stream = _open_video(Path(path))
    with container:
        times = set()
        try:
            for packet in container.demux(stream):
                if packet.is_keyframe and packet.size:
                    times.add(_shown(packet))
        except av.FFmpegError:
            pass  # a damaged tail ends the list
    return sorted(times)


def read_at(path: str | Path, times: Iterable[Fraction]) -> Iterator[Frame]:
    """For each time the nearest keyframe at or before it: the cheap way to sample a long clip."""
    container, stream = _open_video(Path(path))
    stream.thread_type = "SLICE"
    to_rgb: ToRgb | None = None
    last: Frame | None = None
    with container:
        for time in times:
            packet = _key_packet(container, stream, time)
            if packet is None:
                continue
            if last is None or _shown(packet) != last.time:
                shown = _shown(packet)
                try:
                    decoded = [*packet.decode(), *stream.codec_context.decode(None)]
                except av.FFmpegError:
                    continue
                if not decoded:
                    continue
                to_rgb = to_rgb or ToRgb(decoded[0], stream.sample_aspect_ratio)
                last = Frame(shown, to_rgb(decoded[0]), 1 / _rate(stream))
            yield last


def _key_packet(container: Any, stream: Any, time: Fraction) -> Any:
    """The last keyframe at or before `time`; a file without an index lands anywhere near it."""
    for back in (0, 1, 4, 16, 64):
        try:
            container.seek(math.floor((time - back) / stream.time_base), stream=stream, backward=True)
        except (av.FFmpegError, OSError):
            container.seek(0)
        found = None
        for packet in container.demux(stream):
            if found is not None and packet.dts is not None and packet.dts * packet.time_base > time:
                break
            if packet.size and packet.is_keyframe and (found is None or _shown(packet) <= time):
                found = packet
        if found is not None and _shown(found) <= time:
            return found
    return found


def _shown(packet: Any) -> Fraction:
    pts = packet.pts if packet.pts is not None else packet.dts
    return Fraction((pts or 0) * packet.time_base)


# Writing


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How good and how fast a video is encoded."""

    crf: int = 17  # H.264 quality, 0 without loss to 51; 17 is hard to tell from the source
    preset: str = "veryfast"  # x264 speed; slower ones make smaller files, not better pictures
    vp9_crf: int = 24  # the same for .webm, 0 to 63
    sound_kbps: int = 192  # only where sound has to be encoded again

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf is {self.crf}, wanted 0 to 51")
        if not 0 <= self.vp9_crf <= 63:
            raise ValueError(f"vp9_crf is {self.vp9_crf}, wanted 0 to 63")


@dataclass(frozen=True)
class Kind:
    """What goes into files of one suffix."""

    container: str  # FFmpeg's name
    encoder: str
    sound_encoder: str | None
    copied: frozenset[str]  # sound codecs that may go in as they are


KINDS = {
    ".mp4": Kind("mp4", "libx264", "aac", frozenset({"aac", "mp3"})),
    ".m4v": Kind("mp4", "libx264", "aac", frozenset({"aac", "mp3"})),
    ".mov": Kind("mov", "libx264", "aac", frozenset({"aac", "mp3", "alac", "pcm_s16le", "pcm_s24le"})),
    ".mkv": Kind(
        "matroska",
        "libx264",
        "libopus",  # says where it ends to the sample; AAC in Matroska cannot
        frozenset({"aac", "mp3", "mp2", "opus", "vorbis", "flac", "ac3", "eac3", "pcm_s16le", "pcm_s24le"}),
    ),
    ".webm": Kind("webm", "libvpx-vp9", "libopus", frozenset({"opus", "vorbis"})),
    ".gif": Kind("gif", "gif", None, frozenset()),
}
_SEQUENCE = ".png"
WRITTEN_SUFFIXES = (*KINDS, _SEQUENCE)
_MAX_TICKS = 2**24  # per second; a finer clock is rounded to this, which is below 0.1 µs


def output_kind(path: Path) -> str:
    """The suffix, lower case, if it is one that can be written; raises InputError."""
    suffix = path.suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        raise InputError(f"{path} has the suffix {suffix or '(none)'}; wanted one of {', '.join(WRITTEN_SUFFIXES)}")
    return suffix


class VideoWriter:
    """A video under its final name only when whole; what it holds is chosen by the suffix.

    .mp4 .m4v .mov are H.264 and AAC, .mkv H.264 and Opus, .webm VP9 and Opus, .gif has a palette for every frame,
    .png is a numbered sequence beside the name given: `out.png` becomes out_00001.png, out_00002.png, …
    (or say where the number goes: `out-%04d.png`). H.264 in 4:2:0, all that browsers play, knows even
    sizes alone: an odd side grows by one pixel, the last one repeated. .gif keeps hundredths of a
    second, .mkv and .webm thousandths, the rest exact times.

    `sound` is a file whose sound goes along; its instant `sound_start` sounds at time 0 of the result.
    It is copied if it fits, else decoded and cut to the sample where the picture ends.

    Use as a context manager: an exception inside removes all that was written.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        rate: Fraction,
        *,
        sound: str | Path | None = None,
        sound_start: Fraction = Fraction(0),
        time_base: Fraction | None = None,
        options: WriteOptions | None = None,
        force: bool = False,
    ) -> None:
        self.path = Path(path)
        self.width, self.height, self.rate = width, height, rate
        self.n_frames = 0
        suffix = output_kind(self.path)
        options = options or WriteOptions()
        self._last: Fraction | None = None
        self._sink: _Sink
        check_output(sequence_name(self.path, 1) if suffix == _SEQUENCE else self.path, force)
        if suffix in (_SEQUENCE, ".gif"):
            if sound is not None:
                log.info("%s takes no sound", self.path)
            self._sink = _Sequence(self.path) if suffix == _SEQUENCE else _Gif(self.path, width, height, rate)
            return
        track = None if sound is None else inspect_sound(sound)
        self._sink = _Movie(self.path, width, height, rate, time_base, options, track, sound_start)

    def write(self, rgb: NDArray[np.uint8], time: Fraction, duration: Fraction | None = None) -> None:
        """Add `rgb [H, W, 3]`, shown from `time` on; `duration` matters for the last frame alone."""
        if rgb.shape != (self.height, self.width, 3):
            raise ValueError(f"frame is {rgb.shape}, wanted {(self.height, self.width, 3)}")
        if self._last is not None and time <= self._last:
            raise ValueError(f"frame time is {time} after {self._last}, wanted a later one")
        try:
            self._sink.write(np.ascontiguousarray(rgb), time, duration or 1 / self.rate)
        except (OSError, av.FFmpegError) as error:
            raise self._failure(error) from error
        self._last = time
        self.n_frames += 1

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            if self.n_frames == 0:
                raise InputError(f"{self.path} would hold no frame; wanted one or more")
            self._sink.finish()
        except (OSError, av.FFmpegError) as error:
            raise self._failure(error) from error
        finally:
            self._sink.discard()

    def abort(self) -> None:
        """Remove all that was written."""
        self._sink.discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _failure(self, error: OSError | av.FFmpegError) -> InputError:
        os_error = error if isinstance(error, OSError) else OSError(error.errno, error.strerror)
        return write_failure(self.path, os_error)


class _Sink(Protocol):
    def write(self, rgb: NDArray[np.uint8], time: Fraction, duration: Fraction) -> None: ...

    def finish(self) -> None:
        """Complete what was written and give it its name."""

    def discard(self) -> None:
        """Let go of everything unfinished; after `finish` there is nothing left to remove."""


class _Movie:
    """H.264 or VP9 in a container; sound joins in a second pass, when the picture's end is known."""

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        rate: Fraction,
        time_base: Fraction | None,
        options: WriteOptions,
        track: SoundTrack | None,
        sound_start: Fraction,
    ) -> None:
        self._path = path
        self._kind = KINDS[path.suffix.lower()]
        self._size = width, height
        self._rate = rate
        self._time_base = time_base
        self._options = options
        self._track = track
        self._sound_start = sound_start
        self._partial = partial_path(path)
        self._silent = self._partial.with_name(f"{self._partial.stem}-silent.mp4")  # mp4 keeps exact times
        self._container: Any = None
        self._stream: Any = None
        self._reformatter = VideoReformatter()
        self._held: list[Any] = []  # packets whose duration is not known yet
        self._durations: dict[int, int] = {}  # ticks -> ticks
        self._last_ticks: int | None = None
        self._last_duration = Fraction(0)

    def write(self, rgb: NDArray[np.uint8], time: Fraction, duration: Fraction) -> None:
        if self._container is None:
            self._open(time)
        ticks = round(time / self._ticks)
        if self._last_ticks is not None:
            ticks = max(ticks, self._last_ticks + 1)
            self._durations[self._last_ticks] = ticks - self._last_ticks
        self._last_ticks, self._last_duration = ticks, duration
        self._held.extend(self._stream.encode(self._to_yuv(rgb, ticks)))
        self._mux_held()

    def _open(self, first: Fraction) -> None:
        self._ticks = clock_of(self._rate, first, self._time_base)
        if self._track is None:
            self._container = open_output(self._partial, self._kind.container, self._ticks, last=True)
        else:
            self._container = open_output(self._silent, "mp4", self._ticks, last=False)
        stream = self._container.add_stream(self._kind.encoder, rate=self._rate)
        stream.width, stream.height = (n if self._kind.encoder == "libvpx-vp9" else n + n % 2 for n in self._size)
        stream.pix_fmt = "yuv420p"
        stream.time_base = self._ticks
        context = stream.codec_context
        context.time_base = self._ticks
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = int(ColorRange.MPEG)
        context.options = self._encoder_options()
        context.thread_count = 0
        self._stream = stream

    def _encoder_options(self) -> dict[str, str]:
        if self._kind.encoder == "libx264":
            # without B-frames every frame's time and duration stand in the file as they are
            return {"crf": str(self._options.crf), "preset": self._options.preset, "bf": "0"}
        return {
            "crf": str(self._options.vp9_crf),
            "b": "0",
            "deadline": "realtime",
            "cpu-used": "8",
            "row-mt": "1",
            "tile-columns": "2",
            "lag-in-frames": "0",
        }

    def _to_yuv(self, rgb: NDArray[np.uint8], ticks: int) -> Any:
        height, width = rgb.shape[:2]
        pad = self._stream.height - height, self._stream.width - width
        if pad != (0, 0):
            rgb = np.pad(rgb, ((0, pad[0]), (0, pad[1]), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_numpy_buffer(rgb, "rgb24")
        yuv = self._reformatter.reformat(
            frame,
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        yuv.color_primaries = yuv.color_trc = BT709
        yuv.pts, yuv.time_base = ticks, self._ticks
        return yuv

    def _mux_held(self) -> None:
        while self._held and self._held[0].pts in self._durations:
            packet = self._held.pop(0)
            packet.duration = self._durations.pop(packet.pts)
            self._container.mux_one(packet)

    def finish(self) -> None:
        assert self._last_ticks is not None
        length = max(1, round(self._last_duration / self._ticks))
        self._durations[self._last_ticks] = length
        self._held.extend(self._stream.encode(None))
        self._mux_held()
        assert not self._held, "a packet of a frame that was not written"
        self._container.close()
        if self._track is not None:
            self._join(self._track, (self._last_ticks + length) * self._ticks)
        os.replace(self._partial, self._path)

    def _join(self, track: SoundTrack, end: Fraction) -> None:
        """Picture and sound into one file; `end` is when the picture's last frame ends."""
        with (
            av.open(str(self._silent)) as silent,
            open_output(self._partial, self._kind.container, self._ticks, last=True) as whole,
        ):
            pictures = silent.streams.video[0]
            start, kbps = self._sound_start, self._options.sound_kbps
            with_sound(whole, pictures, silent.demux(pictures), track, start, end, self._kind, kbps)

    def discard(self) -> None:
        if self._container is not None:
            container, self._container = self._container, None
            try:
                container.close()
            except (OSError, av.FFmpegError):
                log.debug("closing an unfinished file", exc_info=True)
        for path in (self._partial, self._silent):
            path.unlink(missing_ok=True)


def clock_of(rate: Fraction, first: Fraction, time_base: Fraction | None) -> Fraction:
    """The coarsest clock that holds the rate, the first time and the source's own clock."""
    parts = [rate.numerator, first.denominator, 90_000 if time_base is None else time_base.denominator]
    per_second = math.lcm(*parts)
    while per_second > _MAX_TICKS and len(parts) > 1:
        parts.pop(0)
        per_second = math.lcm(*parts)
    return Fraction(1, min(per_second, _MAX_TICKS))


def open_output(path: Path, container: str, ticks: Fraction, *, last: bool, more: str = "") -> Any:
    """A PyAV container to write to; `ticks` is its clock, `more` further flags for mp4."""
    options = {}
    if container in ("mp4", "mov"):
        options["video_track_timescale"] = str(ticks.denominator)
        options["movie_timescale"] = str(ticks.denominator)  # of the edit list, which says when the track starts
        if last:
            options["movflags"] = "+faststart" + more  # browsers start before the whole file has come
    else:
        options["avoid_negative_ts"] = "disabled"  # a track that begins early would delay all others
    return av.open(f"file:{path}", "w", format=container, container_options=options)


def with_sound(
    whole: Any, template: Any, pictures: Iterable[Any], track: SoundTrack, shift: Fraction, end: Fraction, kind: Kind,
    kbps: int,
) -> None:  # fmt: skip
    """Packets of a picture that ends at `end`, and a sound of which `shift` sounds at 0, into one file.

    `template` is the stream that the packets are like. The sound is copied if it fits, else encoded.
    """
    picture = whole.add_stream_from_template(template, opaque=True)
    packets: Iterator[Any]
    # a packet of overhang is no reason to encode again
    late = track.end - shift - end
    if track.codec in kind.copied and track.start >= shift and late < track.packet:
        packets = _copied(whole, track, shift, end)
    else:
        packets = _encoded(whole, track, shift, end, kind, kbps)
    whole.start_encoding()
    for packet in heapq.merge(_retargeted(pictures, picture), packets, key=lambda p: p.dts * p.time_base):
        whole.mux_one(packet)


def _retargeted(packets: Iterable[Any], stream: Any) -> Iterator[Any]:
    for packet in packets:
        if packet.size and packet.dts is not None:
            packet.stream = stream
            yield packet


def _copied(whole: Any, track: SoundTrack, shift: Fraction, end: Fraction) -> Iterator[Any]:
    container, source = open_sound(track.path)
    stream = whole.add_stream_from_template(source, opaque=True)

    def packets() -> Iterator[Any]:
        with container:
            for packet in container.demux(source):
                if not packet.size or packet.pts is None:
                    continue
                back = round(shift / packet.time_base)
                packet.pts -= back
                packet.dts = packet.pts if packet.dts is None else packet.dts - back
                if packet.pts * packet.time_base >= end:
                    return
                packet.stream = stream
                yield packet

    return packets()


def _encoded(whole: Any, track: SoundTrack, shift: Fraction, end: Fraction, kind: Kind, kbps: int) -> Iterator[Any]:
    assert kind.sound_encoder is not None
    rate = encoder_rate(kind.sound_encoder, track.rate)
    layout = encoder_layout(track.layout)
    stream = whole.add_stream(kind.sound_encoder, rate=rate, layout=layout)
    stream.bit_rate = kbps * 1000
    stream.time_base = Fraction(1, rate)

    def packets() -> Iterator[Any]:
        for frame in Splice(rate, layout, base=track, base_start=shift).until(end):
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets()


class _Gif:
    """A palette of its own for every frame, so memory stays that of a few frames."""

    def __init__(self, path: Path, width: int, height: int, rate: Fraction) -> None:
        self._path, self._partial = path, partial_path(path)
        self._ticks = Fraction(1, 100)  # all that GIF can say
        self._last_ticks: int | None = None
        self._last_duration = Fraction(0)
        self._container: Any = av.open(f"file:{self._partial}", "w", format="gif")
        stream = self._container.add_stream("gif", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "pal8"
        stream.codec_context.time_base = self._ticks
        self._stream = stream
        self._graph = _palette_graph(width, height, self._ticks)
        self._held: Any = None

    def write(self, rgb: NDArray[np.uint8], time: Fraction, duration: Fraction) -> None:
        ticks = round(time / self._ticks)
        if self._last_ticks is not None:
            ticks = max(ticks, self._last_ticks + 1)
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
        frame.pts, frame.time_base = ticks, self._ticks
        self._graph.vpush(frame)
        self._mux_held(ticks)
        self._last_ticks, self._last_duration = ticks, duration
        self._held = self._graph.vpull()

    def _mux_held(self, until: int) -> None:
        """Encode the frame before, now that its duration is known."""
        if self._held is None or self._last_ticks is None:
            return
        self._held.pts, self._held.time_base = self._last_ticks, self._ticks
        for packet in self._stream.encode(self._held):
            packet.duration = until - self._last_ticks
            self._container.mux_one(packet)

    def finish(self) -> None:
        assert self._last_ticks is not None
        self._mux_held(self._last_ticks + max(1, round(self._last_duration / self._ticks)))
        self._container.mux(self._stream.encode(None))
        self._container.close()
        os.replace(self._partial, self._path)

    def discard(self) -> None:
        try:
            self._container.close()
        except (OSError, av.FFmpegError):
            log.debug("closing an unfinished file", exc_info=True)
        self._partial.unlink(missing_ok=True)


def _palette_graph(width: int, height: int, ticks: Fraction) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=ticks)
    split = graph.add("split")
    palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4")  # a fixed pattern does not crawl
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph


def sequence_name(path: Path, number: int) -> Path:
    """Where frame `number` (from 1) of a PNG sequence goes."""
    if "%" in path.name:
        try:
            return path.with_name(path.name % number)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path} is no pattern for numbered files; wanted one like out_%05d.png") from error
    return path.with_name(f"{path.stem}_{number:05d}{path.suffix}")


class _Sequence:
    """Numbered PNG files, gathered in a hidden folder until the last one is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.with_name(f".{path.stem.replace('%', '')}.partial-{os.getpid()}")
        self._folder.mkdir(exist_ok=True)
        self._n = 0

    def write(self, rgb: NDArray[np.uint8], time: Fraction, duration: Fraction) -> None:
        self._n += 1
        name = sequence_name(self._path, self._n).name
        Image.fromarray(rgb).save(self._folder / name, "PNG", compress_level=1)

    def finish(self) -> None:
        for number in range(1, self._n + 1):
            final = sequence_name(self._path, number)
            os.replace(self._folder / final.name, final)
        while (stale := sequence_name(self._path, self._n + 1)).exists():  # of a longer one written over
            stale.unlink()
            self._n += 1

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
