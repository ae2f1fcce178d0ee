"""What is said, row by row, FRAME_RATE a second: how likely each phone is, whether anybody speaks or draws breath.

What was heard is such rows, and so is what is known; both move the same mouth.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from audio.features import FRAME_RATE
from audio.phones import INDEX, SILENCE, SYMBOLS, Phone

Floats = NDArray[np.float32]

SILENT = INDEX[SILENCE]


@dataclass(frozen=True)
class Rows:
    """What is said, row by row, FRAME_RATE a second."""

    phones: Floats  # [n, len(SYMBOLS)] probabilities
    speech: Floats  # [n] 0..1, whether somebody speaks
    breath: Floats  # [n] 0..1, whether air is drawn between phrases

    def __len__(self) -> int:
        return len(self.phones)

    def __getitem__(self, part: slice) -> Rows:
        return Rows(self.phones[part], self.speech[part], self.breath[part])

    def then(self, later: Rows) -> Rows:
        curves = ((self.phones, later.phones), (self.speech, later.speech), (self.breath, later.breath))
        return Rows(*(np.concatenate(curve) for curve in curves))


def silence(n: int) -> Rows:
    """n rows in which nobody speaks."""
    phones = np.zeros((n, len(SYMBOLS)), np.float32)
    phones[:, SILENT] = 1
    return Rows(phones, np.zeros(n, np.float32), np.zeros(n, np.float32))


def rows_of(phones: Sequence[Phone], n: int, first: int = 0) -> Rows:
    """Phones of known times, in order, as n rows from row `first` on; silence where none is."""
    rows = silence(n)
    begin = bisect_left(phones, Fraction(first, FRAME_RATE), key=lambda p: p.end)
    for phone in islice(phones, begin, None):
        start, end = (max(0, round(t * FRAME_RATE) - first) for t in (phone.start, phone.end))
        if start >= n:
            break
        rows.phones[start:end] = 0
        rows.phones[start:end, INDEX[phone.symbol]] = 1
    return Rows(rows.phones, (rows.phones[:, SILENT] == 0).astype(np.float32), rows.breath)


def blended(heard: Rows, known: Rows, trust: float) -> Rows:
    """What was heard and what is known to be said, as far as it is trusted; where nothing is heard nothing is said."""
    quiet = heard.speech < 0.5
    phones, speech = np.where(quiet[:, None], silence(1).phones, known.phones), np.where(quiet, 0, known.speech)
    share = np.float32(trust)
    return Rows(
        heard.phones + (phones - heard.phones) * share, heard.speech + (speech - heard.speech) * share, heard.breath
    )
