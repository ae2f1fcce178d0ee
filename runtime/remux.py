"""A clip written anew: its picture encoded once more or copied, one sound replaced, everything else as it was.

Other sounds, subtitles, data, attachments, chapters, titles, languages and what a track is for go along
where the new container can hold them: packets are copied, text subtitles and sounds of another kind are
turned into what it takes, and what cannot go along is told in a note. The picture keeps its size, its kind
of pixels, its colour tags, how it is to be turned, and every time to the tick. Nothing here knows what was
changed in it.
"""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import av
from av.video.reformatter import VideoReformatter

from runtime.errors import InputError
from runtime.hdr import Brightness
from runtime.output import FULL, check_output, partial_path, write_failure
from runtime.planes import PlaneFrame, PlaneLayout
from runtime.sound import encoder_layout, encoder_rate, inspect_sound
from runtime.splice import Splice
from runtime.video import is_cover, open_media
from runtime.writer import KINDS, Kind, clock_of, open_output

log = logging.getLogger(__name__)

CLIP_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
_TEXT = {"mov_text", "subrip", "srt", "text", "webvtt", "ass", "ssa"}  # subtitles that can be turned into each other
_TEXT_OF = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}  # what a container takes
_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "number_of_frames"}
_OF_THE_FILE |= {
    "number_of_bytes",
    "bps",
    "_statistics_writing_app",
    "_statistics_writing_date_utc",
    "_statistics_tags",
}
_PLAIN = {"title", "artist", "album_artist", "album", "author", "comment", "copyright", "date", "genre", "composer"}
_PLAIN |= {"creation_time", "description", "synopsis", "show", "episode_id", "network", "lyrics", "track", "location"}
_OF_MP4 = {"handler_name", "vendor_id", "name"}  # what only mp4 says of a track; its name is the title of others
_INTERLACED = 0x40000 | 0x20000000  # AV_CODEC_FLAG_INTERLACED_DCT and _ME
_SPARING = "partitions=none:deblock=1,1"  # a quarter of x264's time less, at the same quality, sharpness and size


@dataclass(frozen=True, kw_only=True)
class RemuxOptions:
    """How a clip's picture and its new sound are encoded."""

    crf: int = 15  # quality, 0 without loss to 51, of H.264 and much the same of VP9
    preset: str = "veryfast"  # x264 speed; slower ones make smaller files, not better pictures
    sound_kbps: int = 128  # a channel

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf is {self.crf}, wanted 0 to 51")


def clip_kind(path: Path) -> Kind:
    """What goes into a clip of this suffix; raises InputError."""
    suffix = path.suffix.lower()
    if suffix not in CLIP_SUFFIXES:
        raise InputError(f"{path} has the suffix {suffix or '(none)'}; wanted one of {', '.join(CLIP_SUFFIXES)}")
    return KINDS[suffix]


class ClipWriter:
    """A clip under its final name only when whole.

    `layout` is that of the source's frames. `sound` is heard instead of the source's track `replaced` (its index;
    None adds one) and in `language` (ISO 639-2; None as before). `end` is for chapters, where it is known beforehand.
    `tracks` "none" leaves all but the picture out. Use as a context manager: an exception inside removes all that was written.
    """

    def __init__(
        self,
        path: str | Path,
        source: str | Path,
        layout: PlaneLayout,
        *,
        sound: Splice | None = None,
        replaced: int | None = None,
        language: str | None = None,
        end: Fraction | None = None,
        tracks: Literal["all", "none"] = "all",
        options: RemuxOptions | None = None,
        force: bool = False,
    ) -> None:
        self.path = Path(path)
        self.n_frames = 0
        self.notes: list[str] = []  # what could not go along
        self._kind = clip_kind(self.path)
        check_output(self.path, force, made_of=(Path(source),))
        self._layout = layout
        self._options = options or RemuxOptions()
        self._sound, self._replaced, self._language, self._end = sound, replaced, language, end
        self._alone = tracks == "none"
        self._partial = partial_path(self.path)
        self._whole: Any = None
        self._source = open_media(Path(source), "a clip")
        self._source_path = Path(source)
        self._tracks: list[_Track] = []
        self._picture: _Picture | None = None
        self._copies = False  # the picture too
        self._made: Any = None  # the file that the picture is copied from, where that is not the source
        self._last: Fraction | None = None
        self._until = Fraction(0)

    def write(self, frame: PlaneFrame, time: Fraction, duration: Fraction) -> None:
        """Add a frame, shown from `time` on; all else follows as far as that."""
        if self._last is not None and time <= self._last:
            raise ValueError(f"frame time is {time} after {self._last}, wanted a later one")
        try:
            if self._whole is None:
                self._open(time)
            for track in self._tracks:
                self._mux(track.until(time))
            assert self._picture is not None
            for packet in self._picture.encode(frame.stored(), time, duration):
                self._whole.mux_one(packet)
        except (OSError, av.FFmpegError) as error:
            raise write_failure(self.path, error) from error
        self._last, self._until = time, time + duration
        self.n_frames += 1

    def copy(self) -> None:
        """Take the source's picture along as it is, instead of writing frames. Wants `copies_picture`."""
        self._copy_all(picture_end(self._source_path, self._layout), Fraction(0))

    def copy_made(self, picture: Path, start: Fraction) -> None:
        """Take along a picture that was written by this class, instead of writing frames.

        Its time 0 is `start` of the result, which ends at `end`.
        """
        assert self._end is not None, "a picture without an end"
        self._made = open_media(picture, "a picture")
        self._copy_all(self._end, start)

    def _copy_all(self, end: Fraction, start: Fraction) -> None:
        self._copies = True
        self._until = end
        self.n_frames = 1  # at least
        try:
            self._open(start)
            for second in range(1, math.ceil(self._until)):
                for track in self._tracks:
                    self._mux(track.until(Fraction(second)))
        except (OSError, av.FFmpegError) as error:
            raise write_failure(self.path, error) from error

    def _open(self, first: Fraction) -> None:
        layout, kind = self._layout, self._kind
        ticks = clock_of(layout.rate, first, layout.time_base)
        self._whole = whole = open_output(
            self._partial, kind.container, ticks, last=True, more=_keeps_all(self._source)
        )
        _describe(whole, self._source, layout.origin, self._end)
        copied: list[_Copied] = []
        for template in self._source.streams:
            if template.index == layout.stream and not self._copies:
                self._picture = _Picture(whole, layout, kind, ticks, self._options, template)
                self.notes += _changes(layout, kind)
            elif self._alone:
                continue
            elif template.index == layout.stream and self._made is not None:
                self._tracks.append(_made_picture(whole, self._made, template, kind, first))
                self.notes += _changes(layout, kind)
            elif template.index == self._replaced:
                self._add_sound(template)
            else:
                track = _carried(whole, template, self._source_path, kind, layout.origin, self._options, self.notes)
                self._tracks += [] if track is None or isinstance(track, _Copied) else [track]
                copied += [track] if isinstance(track, _Copied) else []
        if self._replaced is None and not self._alone:
            self._add_sound(None)
        if copied:
            self._tracks.append(_Copies(self._source, copied, kind))
        whole.start_encoding()

    def _add_sound(self, template: Any) -> None:
        if self._sound is not None:
            track = _Encoded(self._whole, self._sound, self._kind, self._options.sound_kbps, template)
            if self._language is not None:
                track.stream.metadata["language"] = self._language
            self._tracks.append(track)

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            kind, index = packet.stream.type, packet.stream.index
            try:
                self._whole.mux_one(packet)
            except av.FFmpegError as error:
                if error.errno in FULL:
                    raise
                log.debug("a packet of track %d was refused", index, exc_info=True)
                note = f"some of track {index} ({kind}) could not be kept"
                if note not in self.notes:
                    self.notes.append(note)

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            if self.n_frames == 0:
                raise InputError(f"{self.path} would hold no frame; wanted one or more")
            for track in self._tracks:
                self._mux(track.until(self._until))
                self._mux(track.finish())
            for packet in self._picture.finish() if self._picture else ():
                self._whole.mux_one(packet)
            whole, self._whole = self._whole, None
            whole.close()
            os.replace(self._partial, self.path)
        except (OSError, av.FFmpegError) as error:
            raise write_failure(self.path, error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove all that was written and is not whole."""
        self._source.close()
        if self._made is not None:
            self._made.close()
        whole, self._whole = self._whole, None
        if whole is not None:
            try:
                whole.close()
            except (OSError, av.FFmpegError):
                log.debug("closing an unfinished file", exc_info=True)
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


# The picture

# What players expect in a container, of what it can hold.
_COPIED = {
    "mp4": {"h264", "hevc", "av1", "vp9", "mpeg4"},
    "mov": {"h264", "hevc", "av1", "mpeg4", "prores", "mjpeg", "dnxhd"},
    "webm": {"vp8", "vp9", "av1"},
}


def copies_picture(path: str | Path, source: str | Path, layout: PlaneLayout) -> bool:
    """Whether a clip's picture can go into another file without being encoded again; raises InputError."""
    kind = clip_kind(Path(path))
    with open_media(Path(source), "a clip") as media:
        template = media.streams[layout.stream]
        usual = _COPIED.get(kind.container)
        return (usual is None or template.codec_context.name in usual) and fits(template, kind.container)


def picture_end(source: Path, layout: PlaneLayout) -> Fraction:
    """When a clip's last frame ends, by its packets: seconds from where the clip's own clock starts."""
    end = Fraction(0)
    with open_media(source, "a clip") as media:
        try:
            for packet in media.demux(media.streams[layout.stream]):
                if packet.size and packet.pts is not None:
                    length = packet.duration * packet.time_base if packet.duration else 1 / layout.rate
                    end = max(end, packet.pts * packet.time_base + length - layout.origin)
        except av.FFmpegError:
            pass  # a damaged tail ends the picture
    return end


class _Picture:
    """The encoder of a clip's frames, as they are stored."""

    def __init__(
        self, whole: Any, layout: PlaneLayout, kind: Kind, ticks: Fraction, options: RemuxOptions, template: Any
    ) -> None:
        self._ticks = ticks
        self._format = encoded_format(layout, kind.encoder)
        self._reformatter = VideoReformatter() if self._format != layout.format else None
        self._range = layout.range
        self._durations: dict[int, int] = {}  # ticks -> ticks
        self._stream = stream = whole.add_stream(kind.encoder, rate=layout.rate)
        stream.width, stream.height, stream.pix_fmt = layout.width, layout.height, self._format
        stream.time_base = ticks
        context = stream.codec_context
        context.time_base = ticks
        tags = layout.tags
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        context.colorspace, context.color_range = tags.matrix, tags.range
        if layout.sample_aspect is not None:
            context.sample_aspect_ratio = layout.sample_aspect
        if layout.display is not None:
            stream.set_display_matrix(layout.display)
        if layout.interlaced and kind.encoder == "libx264":
            context.flags |= _INTERLACED
        context.options = _encoder_options(kind.encoder, options, layout.brightness)
        context.thread_count = 0
        _say(stream, template)

    def encode(self, frame: Any, time: Fraction, duration: Fraction) -> Iterator[Any]:
        if self._reformatter is not None:
            frame = self._reformatter.reformat(
                frame, format=self._format, src_color_range=self._range, dst_color_range=self._range
            )
        frame.pts, frame.time_base = round(time / self._ticks), self._ticks
        frame.pict_type = 0  # the encoder's own choice
        self._durations[frame.pts] = max(1, round((time + duration) / self._ticks) - frame.pts)
        yield from self._timed(self._stream.encode(frame))

    def finish(self) -> Iterator[Any]:
        yield from self._timed(self._stream.encode(None))

    def _timed(self, packets: Iterable[Any]) -> Iterator[Any]:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts)
            yield packet


def encoded_format(layout: PlaneLayout, encoder: str) -> str:
    """The pixel format an encoder writes a clip in: the clip's own, or the next one that loses least.

    H.264 halves the colour of even sides alone; VP9 may have been built for 8 bits alone.
    """
    family, deep = layout.format.replace("10le", ""), "10le" if layout.depth == 10 else ""
    if encoder == "libx264" and family != "yuv444p":
        if layout.width % 2:
            family = "yuv444p"
        elif layout.height % 2 and family == "yuv420p":
            family = "yuv422p"
    known = {f.name for f in av.Codec(encoder, "w").video_formats or ()}
    return family + deep if family + deep in known else family


def _changes(layout: PlaneLayout, kind: Kind) -> Iterator[str]:
    """What of the picture cannot stay as it was."""
    written = encoded_format(layout, kind.encoder)
    if written != layout.format:
        yield f"the picture's {layout.format} is written as {written}, which {kind.container} can hold"
    if kind.container == "webm" and layout.sample_aspect not in (None, 1):
        yield "webm forgets that pixels are not square"
    if kind.encoder != "libx264" and layout.brightness:
        yield f"{kind.container} forgets how bright the picture was made to be shown"
    if layout.is_clear:
        yield "what is clear in the picture is shown as it is stored, since its opacity is not kept"


def _encoder_options(encoder: str, options: RemuxOptions, brightness: Brightness) -> dict[str, str]:
    if encoder == "libx264":
        # without B-frames every frame's time and duration stand in the file as they are, and it is a third faster
        said = f"{_SPARING}:{brightness.x264}" if brightness else _SPARING
        return {"crf": str(options.crf), "preset": options.preset, "bf": "0", "x264-params": said}
    return {
        "crf": str(options.crf),
        "b": "0",
        "deadline": "realtime",
        "cpu-used": "7",
        "row-mt": "1",
        "tile-columns": "2",
        "lag-in-frames": "0",
    }


# What goes along


class _Track(Protocol):
    def until(self, time: Fraction) -> Iterable[Any]:
        """The next packets, those of before `time`."""

    def finish(self) -> Iterable[Any]:
        """What was held back."""


class _Encoded:
    """A sound that is encoded."""

    def __init__(self, whole: Any, sound: Splice, kind: Kind, kbps: int, template: Any) -> None:
        assert kind.sound_encoder is not None
        self._sound = sound
        self.stream = whole.add_stream(kind.sound_encoder, rate=sound.rate, layout=sound.layout)
        self.stream.bit_rate = kbps * 1000 * self.stream.codec_context.layout.nb_channels
        self.stream.time_base = Fraction(1, sound.rate)
        if template is None:
            self.stream.disposition = int(av.stream.Disposition.default)
        else:
            _say(self.stream, template)

    def until(self, time: Fraction) -> Iterator[Any]:
        for frame in self._sound.until(time):
            yield from self.stream.encode(frame)

    def finish(self) -> Iterator[Any]:
        yield from self.stream.encode(None)


@dataclass
class _Copied:
    """One track whose packets are copied, or of text subtitles turned into others."""

    template: Any
    stream: Any
    origin: Fraction  # seconds of the source that are time 0
    is_text: bool = False  # to be encoded anew

    def packet(self, packet: Any) -> Any:
        """The packet for the result, or None if there is nothing in it."""
        if self.template.type == "subtitle" and packet.size <= 2:
            return None  # mp4's way of showing nothing, which its muxer adds by itself
        if self.is_text:
            subtitle = self.template.codec_context.decode2(packet)
            if subtitle is None or not len(subtitle):
                return None
            out = self.stream.codec_context.encode_subtitle(subtitle)
            out.time_base, out.duration = packet.time_base, packet.duration
            out.pts = out.dts = packet.pts
            packet = out
        back = round(self.origin / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - back
        packet.dts = packet.pts if packet.dts is None else packet.dts - back
        if packet.pts is None:  # a cover
            packet.pts = packet.dts = packet.dts or 0
        packet.stream = self.stream
        return packet


class _Copies:
    """All the tracks that are copied, read in one go."""

    def __init__(self, source: Any, copied: Sequence[_Copied], kind: Kind) -> None:
        # What a decoder needs to warm up comes before time 0. mp4 hides it, Matroska what came from there.
        self._before = kind.container in ("mp4", "mov") or "matroska" in source.format.name
        self._by_index = {c.template.index: c for c in copied}
        self._packets = self._read(source.demux([c.template for c in copied]))
        self._held: Any = None

    def _read(self, packets: Iterator[Any]) -> Iterator[Any]:
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                return  # a damaged tail ends what goes along
            if packet is None:
                return
            if packet.size and (packet.pts is not None or packet.dts is not None or is_cover(packet.stream)):
                made = self._by_index[packet.stream.index].packet(packet)
                if made is not None:
                    yield made

    def until(self, time: Fraction) -> Iterator[Any]:
        while True:
            packet = self._held if self._held is not None else next(self._packets, None)
            self._held = None
            if packet is None:
                return
            if packet.dts * packet.time_base >= time:  # pictures may be decoded long before they are shown
                self._held = packet
                return
            if packet.pts >= 0 or self._before:
                yield packet

    def finish(self) -> Iterator[Any]:
        return iter(())


def _made_picture(whole: Any, made: Any, template: Any, kind: Kind, start: Fraction) -> _Copies:
    """The packets of a picture that was made, from `start` of the result on, said to be what the source's was."""
    picture = made.streams.video[0]
    stream = whole.add_stream_from_template(picture, opaque=True)
    _say(stream, template)
    return _Copies(made, [_Copied(picture, stream, -start)], kind)


def _carried(
    whole: Any, template: Any, path: Path, kind: Kind, origin: Fraction, options: RemuxOptions, notes: list[str]
) -> _Track | _Copied | None:
    """How one track of the source goes along, its stream added; None with a note where it cannot."""
    context = template.codec_context
    if template.type == "attachment" or (is_cover(template) and kind.container != "mp4"):
        if kind.container == "matroska":
            _attach(whole, template, path)
            return None
    elif fits(template, kind.container):
        stream = whole.add_stream_from_template(template, opaque=True)
        _say(stream, template)
        return _Copied(template, stream, origin)
    elif template.type == "subtitle" and context is not None and context.name in _TEXT:
        return _text(whole, template, kind, origin)
    elif template.type == "audio" and context is not None:
        track = inspect_sound(path, template.index)
        assert kind.sound_encoder is not None
        rate, layout = encoder_rate(kind.sound_encoder, track.rate), encoder_layout(track.layout)
        sound = Splice(rate, layout, base=track, base_start=origin)
        return _Encoded(whole, sound, kind, options.sound_kbps, template)
    if template.type != "data" or not template.container.chapters():  # else its text is in the chapters
        notes.append(f"track {template.index} ({what(template)}) does not go into {kind.container} and was left out")
    return None


def _attach(whole: Any, template: Any, path: Path) -> None:
    """An attachment, or a cover, which Matroska holds as one."""
    if template.type == "attachment":
        whole.add_stream_from_template(template)
        return
    name, kind = {"png": ("cover.png", "image/png")}.get(template.codec_context.name, ("cover.jpg", "image/jpeg"))
    with open_media(path, "a clip") as again:
        packet = next((p for p in again.demux(again.streams[template.index]) if p.size), None)
    if packet is not None:
        whole.add_attachment(name, kind, bytes(packet))


def what(template: Any) -> str:
    """A track in a word or two: `subtitle, dvd_subtitle`."""
    context = template.codec_context
    return str(template.type) if context is None else f"{template.type}, {context.name}"


def fits(template: Any, container: str) -> bool:
    """Whether a track can be copied into a container, found out by trying."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(template, opaque=True)
            trial.start_encoding()
    except (av.FFmpegError, ValueError, OSError):
        return False
    return True


def _text(whole: Any, template: Any, kind: Kind, origin: Fraction) -> _Copied:
    context = template.codec_context
    context.open(strict=False)  # the header is only known then
    stream = whole.add_stream(_TEXT_OF[kind.container])
    stream.codec_context.subtitle_header = context.subtitle_header
    stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
    _say(stream, template)
    return _Copied(template, stream, origin, is_text=True)


def _describe(whole: Any, source: Any, origin: Fraction, end: Fraction | None) -> None:
    """What the file says of itself, and its chapters."""
    whole.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in _OF_THE_FILE})
    chapters = []
    for chapter in source.chapters():
        base = chapter["time_base"]
        begin = max(Fraction(0), chapter["start"] * base - origin)
        until = chapter["end"] * base - origin
        until = until if end is None else min(until, end)
        if begin < until:
            chapters.append({**chapter, "start": round(begin / base), "end": round(until / base)})
    whole.set_chapters(chapters)


def _keeps_all(source: Any) -> str:
    """The flag without which mp4 forgets what it has no name for; with it some players show no title."""
    names = {name.lower() for name in source.metadata} - _OF_THE_FILE
    return "" if names <= _PLAIN else "+use_metadata_tags"


def _say(stream: Any, template: Any) -> None:
    """A track's language, title and purpose."""
    said = {k.lower(): v for k, v in template.metadata.items()}
    if "name" in said:
        said.setdefault("title", said["name"])
    forgotten = _OF_THE_FILE | (_OF_MP4 if stream.container.format.name in ("matroska", "webm") else {"name"})
    stream.metadata.update({k: v for k, v in said.items() if k not in forgotten})
    stream.disposition = int(template.disposition)
