"""A video out: frames and their exact times into a file that appears only when whole.

Writing keeps the times it is given and tags BT.709. Picture and sound share one clock: seconds of
the source, as exact fractions. It knows neither where frames come from nor what they show.
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
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import InputError
from runtime.output import check_output, partial_path, write_failure
from runtime.pixels import BT709
from runtime.sound import SoundTrack, encoder_layout, encoder_rate, inspect_sound, open_sound
from runtime.splice import Splice

log = logging.getLogger(__name__)


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
            raise write_failure(self.path, error) from error
        self._last = time
        self.n_frames += 1

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            if self.n_frames == 0:
                raise InputError(f"{self.path} would hold no frame; wanted one or more")
            self._sink.finish()
        except (OSError, av.FFmpegError) as error:
            raise write_failure(self.path, error) from error
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
