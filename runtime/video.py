"""A video in, exact in time, through PyAV alone.

Frames are upright RGB with square pixels, each at the source's own `pts * time_base`, in seconds as
exact fractions. What is damaged is passed over and counted. Nothing here knows of faces.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.foreign import seems
from runtime.pixels import ToRgb

if TYPE_CHECKING:
    from typing_extensions import Self

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
