"""The door for recorded speech: any file with sound -> AudioChunks, mono at SAMPLE_RATE, resampled once.

Read as it is asked for, never whole. Times are seconds from where the file's own clock begins, so a video's
sound stays beside its pictures. Knows nothing of what is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av import AudioLayout
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.records import SAMPLE_RATE, AudioChunk
from runtime.sound import SoundTrack, cut_sound, inspect_sound, open_sound

LONGEST = Fraction(3601)  # seconds: an hour, and what an encoder adds to one
_QUIET = 1e-3  # root mean square of the loudest moment, -60 dB, below which nobody is heard
_MOMENT = SAMPLE_RATE // 50  # samples
_MIXED = 8  # channels; of more, runtime.sound makes the mean itself
_AT_ONCE = SAMPLE_RATE  # samples handed on together


@dataclass(frozen=True)
class Speech:
    """A file's sound, or the part of it that was asked for."""

    path: Path
    start: Fraction  # seconds on the file's clock, which begins at 0
    end: Fraction  # seconds
    origin: Fraction  # seconds, what the container calls that 0
    track: SoundTrack

    @property
    def duration(self) -> Fraction:
        return self.end - self.start


def inspect_speech(path: str | Path, start: Fraction | None = None, end: Fraction | None = None) -> Speech:
    """Find how long a file's sound is, or the part `start <= time < end` of it, without decoding it.

    Raises InputError for what holds no sound, and for a part that is empty or longer than LONGEST.
    """
    path = Path(path)
    track = inspect_sound(path)
    origin = _origin(path)
    length = track.end - origin
    first = max(start or Fraction(0), Fraction(0))
    last = length if end is None else min(end, length)
    if first >= length:
        raise InputError(f"{path} lasts {float(length):.2f} s; wanted it to reach the start at {float(first):.2f} s")
    if last <= first:
        raise InputError(f"{path} was asked for from {float(first):.2f} to {float(last):.2f} s; wanted a later end")
    if last - first > LONGEST:
        raise InputError(f"{path} holds {_clock(last - first)} of sound; wanted an hour or less, or a part of it")
    return Speech(path, first, last, origin, track)


def _origin(path: Path) -> Fraction:
    container, _ = open_sound(path)
    with container:
        starts = [
            stream.start_time * stream.time_base
            for stream in container.streams
            if stream.type in ("audio", "video") and stream.start_time is not None and stream.time_base
        ]
    return max(min(starts, default=Fraction(0)), Fraction(0))


def _clock(length: Fraction) -> str:
    seconds = round(length)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def read_speech(path: str | Path, start: Fraction | None = None, end: Fraction | None = None) -> Iterator[AudioChunk]:
    """The sound of `start <= time < end`, exact to the sample; the file's own holes are silence.

    What is wrong with the file is said before the first chunk is asked for, except that none of it can be decoded.
    """
    return _chunks(inspect_speech(path, start, end))


def _chunks(speech: Speech) -> Iterator[AudioChunk]:
    first, last = speech.start + speech.origin, speech.end + speech.origin
    frames = cut_sound(speech.track, first, last, rate=SAMPLE_RATE, layout=_layout(speech.track))
    n = 0
    while parts := _some(frames):
        mono = np.concatenate(parts, 1).mean(0)
        pcm = np.clip(np.nan_to_num(mono, nan=0.0, posinf=0.0, neginf=0.0), -1, 1)
        yield AudioChunk(time=speech.start + Fraction(n, SAMPLE_RATE), pcm=pcm.astype(np.float32))
        n += len(pcm)
    if not n:
        raise InputError(f"{speech.path} holds {speech.track.codec} sound that cannot be decoded")


def _some(frames: Iterator[Any]) -> list[NDArray[np.float32]]:
    """The samples [C, n] of the next frames, about _AT_ONCE in all: what listens is quicker the fewer chunks there are."""
    parts: list[NDArray[np.float32]] = []
    n = 0
    while n < _AT_ONCE and (frame := next(frames, None)) is not None:
        parts.append(frame.to_ndarray())
        n += parts[-1].shape[1]
    return parts


def _layout(track: SoundTrack) -> str:
    """What FFmpeg mixes to, before the mean: its own way from two channels to one is 3 dB too loud, and clips."""
    return "stereo" if 1 < AudioLayout(track.layout).nb_channels <= _MIXED else "mono"


def whole(chunks: Iterable[AudioChunk]) -> NDArray[np.float32]:
    """All of a sound at once [T]; an hour is 230 MB."""
    return np.concatenate([np.zeros(0, np.float32), *(chunk.pcm for chunk in chunks)])


class Listened:
    """Chunks, passed on as they come, of which it is known afterwards how loud they were."""

    def __init__(self, chunks: Iterable[AudioChunk]) -> None:
        self._chunks = chunks
        self.loudest = 0.0  # root mean square of the loudest moment so far

    def __iter__(self) -> Iterator[AudioChunk]:
        for chunk in self._chunks:
            n = max(1, len(chunk.pcm) // _MOMENT)
            for moment in np.array_split(chunk.pcm, n):
                if len(moment):
                    self.loudest = max(self.loudest, float(np.sqrt(np.mean(moment**2))))
            yield chunk

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard of what has passed."""
        return self.loudest < _QUIET
