"""Sound that goes along with a picture: copied as it is, or decoded and cut to the sample.

Times are seconds of the sound's own file, exact fractions. This file knows nothing of pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.foreign import seems

_GAP = Fraction(1, 20)  # s; a hole in the clock above this is filled with silence
_LAYOUTS = ("mono", "stereo", "5.1")  # kept as they are; anything else becomes stereo
_COUNTED = {1: "mono", 2: "stereo", 6: "5.1"}  # what so many channels are where a file does not say
_MIXED = 8  # channels; FFmpeg cannot mix down more
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


@dataclass(frozen=True)
class SoundTrack:
    """What a file's sound is and when it sounds."""

    path: Path
    codec: str  # FFmpeg's name: aac, opus, mp2, …
    rate: int  # Hz
    layout: str  # mono, stereo, 5.1, …
    start: Fraction  # seconds
    end: Fraction  # seconds
    packet: Fraction  # seconds of its longest packet: how exact a copy can end
    index: int | None = None  # of the stream in its file; None is the best


def open_sound(path: Path, index: int | None = None) -> Any:
    """The PyAV container and best sound stream of a file, or that at `index`, as `(container, stream)`.

    Raises InputError.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; wanted a file with sound")
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted a file with sound")
    try:
        container = av.open(f"file:{path}", metadata_errors="ignore")
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{path} {seems(path) or 'holds no media that can be read'}; wanted a file with sound"
        ) from error
    stream = container.streams.best("audio") if index is None else container.streams[index]
    if stream is None:
        container.close()
        raise InputError(f"{path} holds no sound; wanted a file with sound")
    if stream.codec_context is None:
        container.close()
        raise InputError(f"{path} holds sound in a coding that is not known; wanted one that FFmpeg decodes")
    return container, stream


def inspect_sound(path: str | Path, index: int | None = None) -> SoundTrack:
    """Read a file's packets, not their contents, for where its sound starts and ends."""
    path = Path(path)
    container, stream = open_sound(path, index)
    start = end = None
    longest = Fraction(0)
    with container:
        for packet in _packets(container, stream):
            time = packet.pts * packet.time_base
            length = (packet.duration or 0) * packet.time_base
            start = time if start is None else min(start, time)
            end = time + length if end is None else max(end, time + length)
            longest = max(longest, length)
        context = stream.codec_context
        layout = _COUNTED.get(context.layout.nb_channels, context.layout.name)
        rate, codec = int(context.sample_rate), context.name
    if start is None or end is None:
        raise InputError(f"{path} holds an empty sound track; wanted a file with sound")
    return SoundTrack(path, codec, rate, layout, max(start, Fraction(0)), end, longest, index)


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    try:
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None:
                yield packet
    except av.FFmpegError:
        return  # a damaged tail ends the sound


def cut_sound(track: SoundTrack, start: Fraction, end: Fraction, *, rate: int, layout: str) -> Iterator[Any]:
    """Decoded `fltp` frames of `start <= time < end`, exact to the sample; pts counts samples from `start`.

    They begin at 0: where the sound starts later than `start` there is silence, which every player
    places right, unlike a track that begins late.
    """
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    n_wanted = math.floor((end - start) * rate + Fraction(1, 2))
    place: int | None = None  # of the next sample, counted from start
    for frame in _filled(track, resampler):
        if place is None:
            place = round((frame.place - start) * rate)
            for quiet in range(0, min(place, n_wanted), rate):
                n = min(rate, place - quiet, n_wanted - quiet)
                yield fltp(np.zeros((frame.samples.shape[0], n), np.float32), layout, rate, quiet)
        samples = frame.samples
        first, last = max(0, -place), min(samples.shape[1], n_wanted - place)
        if last > first:
            yield fltp(samples[:, first:last], layout, rate, place + first)
        place += samples.shape[1]
        if place >= n_wanted:
            return


def fltp(samples: NDArray[np.float32], layout: str, rate: int, pts: int) -> Any:
    """Samples `[channels, T]` as a frame whose clock counts them."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), pts
    return frame


@dataclass(frozen=True)
class _Samples:
    place: Fraction  # seconds; only the first one's counts
    samples: NDArray[np.float32]  # [channels, T]


def _filled(track: SoundTrack, resampler: Any) -> Iterator[_Samples]:
    """Resampled sound without holes: where the clock jumps forward, silence."""
    container, stream = open_sound(track.path, track.index)
    expected: Fraction | None = None
    begun = Fraction(0)
    with container:
        for frame in _decoded(container, stream):
            time = expected if frame.pts is None else frame.pts * frame.time_base
            time = Fraction(0) if time is None else time
            if expected is None:
                begun = time
            elif time > expected + _GAP:
                for silent in _silence(frame, time - expected):
                    yield from (_Samples(begun, out.to_ndarray()) for out in resampler.resample(_mixed(silent)))
            frame.pts = None  # from here on the count of samples is the clock
            expected = max(time, expected or time) + Fraction(frame.samples, frame.sample_rate)
            yield from (_Samples(begun, out.to_ndarray()) for out in resampler.resample(_mixed(frame)))
        yield from (_Samples(begun, out.to_ndarray()) for out in resampler.resample(None))


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return  # a damaged tail ends the sound
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.FFmpegError:
            continue  # the hole is filled with silence
        yield from frames


def _mixed(frame: Any) -> Any:
    """A frame of more channels than FFmpeg mixes, as the mean of them."""
    n = frame.layout.nb_channels
    if n <= _MIXED:
        return frame
    samples = np.asarray(frame.to_ndarray())
    samples = samples if frame.format.is_planar else samples.reshape(-1, n).T  # [n, T]
    zero = 0.0
    scale = 1.0
    if samples.dtype.kind in "iu":
        info = np.iinfo(samples.dtype)
        scale = (float(info.max) - float(info.min) + 1) / 2
        zero = scale if samples.dtype.kind == "u" else 0.0
    mean = (samples.mean(0, keepdims=True) - zero) / scale
    out = av.AudioFrame.from_ndarray(mean.astype(np.float32), "fltp", "mono")
    out.sample_rate = frame.sample_rate
    return out


def _silence(like: Any, length: Fraction) -> Iterator[Any]:
    left = round(length * like.sample_rate)
    while left > 0:
        n = min(left, like.sample_rate)
        frame = av.AudioFrame(like.format.name, like.layout.name, n)
        for plane in frame.planes:
            fill = 0x80 if like.format.name.startswith("u8") else 0
            plane.update(bytes([fill]) * plane.buffer_size)
        frame.sample_rate = like.sample_rate
        yield frame
        left -= n


def encoder_rate(codec: str, rate: int) -> int:
    """The rate an encoder takes that is nearest to the sound's own."""
    if codec == "libopus":
        return 48_000
    return min(_AAC_RATES, key=lambda r: (abs(r - rate), -r))


def encoder_layout(layout: str) -> str:
    return layout if layout in _LAYOUTS else "stereo"
