"""Sound laid over sound: a track with stretches of it replaced by others, to the sample.

Asked for as far as the picture has come, so nobody need know beforehand how long it is. Where there is
nothing there is silence. Times are seconds of the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.sound import SoundTrack, cut_sound, fltp

FADE_S = Fraction(1, 100)  # from what was there to what is laid over it and back; shorter clicks
_CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Insert:
    """A sound that is heard from `start` on instead of what was there, until it ends or `end` comes."""

    track: SoundTrack
    start: Fraction = Fraction(0)  # seconds of the result
    end: Fraction | None = None  # seconds of the result; silence where the sound is over before
    begin: Fraction | None = None  # seconds of the track, the instant heard at `start`; its first without it


class Splice:
    """One track of the result, in order from time 0 on."""

    def __init__(
        self,
        rate: int,
        layout: str,
        inserts: Sequence[Insert] = (),
        base: SoundTrack | None = None,
        base_start: Fraction = Fraction(0),
    ) -> None:
        """`base_start` is the instant of the base that is heard at time 0; `layout` is mono, stereo or 5.1."""
        self.rate, self.layout = rate, layout
        self._n_channels = _CHANNELS[layout]
        self._base = None if base is None else _Tape(base, base_start, rate, layout)
        fade = 0 if base is None else round(FADE_S * rate)
        self._inserts = [_Laid(insert, rate, layout, fade) for insert in inserts]
        self._place = 0  # samples given so far

    def until(self, time: Fraction) -> Iterator[Any]:
        """The next `fltp` frames, up to the sample at `time`."""
        last = round(time * self.rate)
        while self._place < last:
            n = min(last - self._place, self.rate)
            if self._base is None:
                samples = np.zeros((self._n_channels, n), np.float32)
            else:
                samples = self._base.read(n)
            for insert in self._inserts:
                insert.lay_over(samples, self._place)
            yield fltp(samples, self.layout, self.rate, self._place)
            self._place += n


class _Tape:
    """A track from an instant on, so many samples at a time; silence after its end."""

    def __init__(self, track: SoundTrack, start: Fraction, rate: int, layout: str) -> None:
        self._n_channels = _CHANNELS[layout]
        # a file may last longer than its packets say
        self._frames = cut_sound(track, start, max(track.end, start) + 60, rate=rate, layout=layout)
        self._left = np.zeros((self._n_channels, 0), np.float32)

    def read(self, n: int) -> Samples:
        """`[channels, n]`"""
        parts = [self._left]
        have = self._left.shape[1]
        while have < n and (frame := next(self._frames, None)) is not None:
            parts.append(np.asarray(frame.to_ndarray(), np.float32))
            have += parts[-1].shape[1]
        if have < n:
            parts.append(np.zeros((self._n_channels, n - have), np.float32))
        whole = np.concatenate(parts, 1)
        self._left = whole[:, n:]
        return np.array(whole[:, :n])


class _Laid:
    """An insert on its way over the base."""

    def __init__(self, insert: Insert, rate: int, layout: str, fade: int) -> None:
        begin = insert.track.start if insert.begin is None else insert.begin
        length = insert.track.end - begin
        self._first = round(insert.start * rate)
        self._last = round((insert.start + length if insert.end is None else insert.end) * rate)
        self._fade = min(fade, (self._last - self._first) // 2)
        self._tape = _Tape(insert.track, begin, rate, layout)

    def lay_over(self, samples: Samples, place: int) -> None:
        """Change `samples [channels, n]`, the first of which is number `place` of the result."""
        first, last = max(self._first, place), min(self._last, place + samples.shape[1])
        if first >= last:
            return
        under = samples[:, first - place : last - place]
        over = self._tape.read(last - first)
        share = np.ones(last - first, np.float32)
        if self._fade:
            number = np.arange(first, last) + 0.5
            edge = np.minimum(number - self._first, self._last - number) / self._fade
            share = np.clip(edge, 0, 1).astype(np.float32)
        under += (over - under) * share
