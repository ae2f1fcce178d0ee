"""A mouth that opens with loudness: what a speech model must do, in twenty lines."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from perfcap.written import face_of, head_at
from runtime.records import ARKIT_INDEX, N_EXPRESSION, SAMPLE_RATE, AudioChunk, Motion

STEP = SAMPLE_RATE // 100


def motion_at(time: Fraction, jaw: float) -> Motion:
    """A mean face with an open jaw."""
    expression = np.zeros(N_EXPRESSION, np.float32)
    expression[ARKIT_INDEX["jawOpen"]] = jaw
    ahead = np.zeros((2, 2), np.float32)
    face = face_of(expression, ahead)
    return Motion(time=time, head=head_at(0, 0, 0), expression=expression, gaze=ahead, face=face, confidence=1.0)


class Loud:
    """Stage: AudioChunk -> Motion, 100 a second."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pcm: NDArray[np.float32] = np.zeros(0, np.float32)
        self._n = 0

    def push(self, item: AudioChunk) -> list[Motion]:
        self._pcm = np.concatenate((self._pcm, item.pcm))
        return list(self._made(STEP))

    def flush(self) -> list[Motion]:
        out = list(self._made(1))
        self._begin()
        return out

    def _made(self, least: int) -> Iterator[Motion]:
        while len(self._pcm) >= least:
            piece, self._pcm = self._pcm[:STEP], self._pcm[STEP:]
            yield motion_at(Fraction(self._n, 100), float(np.clip(3 * np.sqrt(np.mean(piece**2)), 0, 0.6)))
            self._n += 1


def syllables(times: list[float], seconds: float, *, stressed: frozenset[int] = frozenset()) -> NDArray[np.float32]:
    """Bursts of a buzz [T] at some times, 0.15 s each; the stressed ones louder and higher."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pcm = np.zeros_like(t)
    for i, middle in enumerate(times):
        near = np.clip(1 - np.abs(t - middle) / 0.09, 0, 1)
        hz, loud = (150, 0.6) if i in stressed else (110, 0.2)
        pcm += loud * near**0.5 * np.sign(np.sin(2 * np.pi * hz * t)) * 0.7
    return pcm.astype(np.float32)
