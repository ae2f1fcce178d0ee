"""Sound -> what an ear makes of it: the logarithm of its power in mel bands, a hundred times a second.

Row i belongs to the moment i / FRAME_RATE after the first sample and is complete when the half window after that
moment has been heard. Knows nothing of speech.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from runtime.records import SAMPLE_RATE

Floats = NDArray[np.float32]

FRAME_RATE = 100  # rows a second
HOP = SAMPLE_RATE // FRAME_RATE  # samples
WINDOW = SAMPLE_RATE // 40  # samples, 25 ms
FFT = 512  # samples
N_MEL = 64
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
FLOOR = 1e-9  # of power, full scale being about 1: -90 dB
LOOK_AHEAD = Fraction(WINDOW // 2, SAMPLE_RATE)  # seconds of sound after a row's moment that it needs


@functools.cache
def _mel_filters() -> Floats:
    """Triangles [FFT / 2 + 1, N_MEL], evenly wide on the mel scale (O'Shaughnessy 1987)."""
    top, bottom = (2595 * np.log10(1 + hz / 700) for hz in (HIGHEST_HZ, LOWEST_HZ))
    corners = 700 * (10 ** (np.linspace(bottom, top, N_MEL + 2) / 2595) - 1)
    hz = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    rising = (hz[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - hz[:, None]) / (corners[2:] - corners[1:-1])
    return np.asarray(np.maximum(np.minimum(rising, falling), 0), np.float32)


@functools.cache
def _window() -> Floats:
    w = np.hanning(WINDOW + 1)[:-1]
    return np.asarray(w / np.sqrt((w**2).sum() * FFT / 2), np.float32)  # a sine of full scale has a power of about 1


def mel_power(frames: Floats) -> Floats:
    """Power [N, N_MEL] of windows of sound [N, WINDOW]."""
    spectrum = np.fft.rfft(frames * _window(), FFT)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return np.asarray(power @ _mel_filters(), np.float32)


def scaled(power: Floats) -> Floats:
    """Power as the network hears it: its logarithm, about -2 to 2."""
    return np.asarray((np.log10(power + np.float32(FLOOR)) + 5) / 2, np.float32)


class LogMel:
    """Samples in, cut anyhow -> rows [n, N_MEL] of power; N samples give ceil(N / HOP) rows."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._held = np.zeros(WINDOW // 2, np.float32)  # before the first sample there was silence
        self._n_heard = 0
        self._n_made = 0

    def push(self, pcm: Floats) -> Floats:
        """The rows [n, N_MEL] that samples [T] complete."""
        self._n_heard += len(pcm)
        self._held = np.concatenate((self._held, pcm))
        return self._rows((len(self._held) - WINDOW) // HOP + 1)

    def flush(self) -> Floats:
        """The rows that waited for sound after the end, which is silence; then as new."""
        left = -(-self._n_heard // HOP) - self._n_made
        self._held = np.concatenate((self._held, np.zeros(WINDOW + HOP, np.float32)))
        rows = self._rows(left)
        self._begin()
        return rows

    def _rows(self, n: int) -> Floats:
        if n <= 0:
            return np.zeros((0, N_MEL), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(self._held, WINDOW)[: n * HOP : HOP]
        rows = mel_power(frames)
        self._held = self._held[n * HOP :]
        self._n_made += n
        return rows
