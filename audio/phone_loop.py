"""Phones come one after the other: what each moment's sound is taken for, seen beside what came before and after.

A loop of all phones in which any may follow any, each for as long as it lasts, is the plainest of hidden Markov
models (Rabiner 1989). `Smooth` tells how likely each phone is by the whole loop, as far as it looks ahead; `Decode`
the likeliest sequence. Rows are FRAME_RATE a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from audio.features import FRAME_RATE
from audio.phones import SYMBOLS, Phone
from audio.rows import Rows, silence

Floats = NDArray[np.float32]

STAY = np.float32(0.8)  # how likely a phone is to go on for another row
SWITCH = np.float32((1 - STAY) / len(SYMBOLS))  # to give way to any one phone, itself again too
TEMPER = np.float32(0.5)  # power of each row's word: neighbouring rows heard the same sound and agree too readily
WEIGHT = np.float32(0.5)  # of the loop's word, against the row's own: a short closure may be the row's alone
LAG = 30  # rows looked ahead


class Smooth:
    """Rows in, as many out, LAG rows later."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._rows = silence(0)  # not yet answered
        self._words = self._before = self._rows.phones  # of those, tempered; and by what came before
        self._last = np.full(len(SYMBOLS), 1 / len(SYMBOLS), np.float32)

    def push(self, rows: Rows) -> Rows:
        words = rows.phones**TEMPER + np.float32(1e-6)
        before = np.empty_like(words)
        for i, word in enumerate(words):
            here = (STAY * self._last + SWITCH) * word
            self._last = before[i] = here / here.sum()
        self._rows = self._rows.then(rows)
        self._words = np.concatenate((self._words, words))
        self._before = np.concatenate((self._before, before))
        return self._answered(max(0, len(self._rows) - LAG))

    def flush(self) -> Rows:
        """The rows that waited for others; then as new."""
        self._words = np.concatenate((self._words, np.ones((LAG, len(SYMBOLS)), np.float32)))
        out = self._answered(len(self._rows))
        self._begin()
        return out

    def _answered(self, n: int) -> Rows:
        """The first n rows, which know LAG more; the backward pass of all of them at once."""
        after = np.ones((n, len(SYMBOLS)), np.float32)
        for k in range(LAG, 0, -1):
            after = after * self._words[k : k + n]
            after = STAY * after + SWITCH * after.sum(1, keepdims=True)
            after /= after.sum(1, keepdims=True)
        both = self._before[:n] * after
        both /= both.sum(1, keepdims=True)
        rows = self._rows[:n]
        self._rows, self._words, self._before = self._rows[n:], self._words[n:], self._before[n:]
        return Rows(np.asarray(rows.phones + (both - rows.phones) * WEIGHT, np.float32), rows.speech, rows.breath)


class AsTheyCome:
    """In the place of Smooth where there is no time to look ahead."""

    def push(self, rows: Rows) -> Rows:
        return rows

    def flush(self) -> Rows:
        return silence(0)


CHANGE = np.float32(2.5)  # nats that a change of phone costs: a phone of 10 ms is seldom one
DECIDED = 100  # rows after which no better way is looked for


class Decode:
    """Rows [n, len(SYMBOLS)] of probabilities in -> phones without gaps from `start` on (Viterbi 1967)."""

    def __init__(self, start: Fraction) -> None:
        self._start = start
        self._cost = np.zeros(len(SYMBOLS), np.float32)
        self._from: list[NDArray[np.int64]] = []  # of each undecided row, by phone, which phone came before
        self._n = 0  # rows decided
        self._open: tuple[int, int] | None = None  # the phone that still goes on, and its first row

    def push(self, rows: Floats) -> Iterator[Phone]:
        for row in -np.log(rows + np.float32(1e-6)):
            best = int(np.argmin(self._cost))
            change = self._cost[best] + CHANGE < self._cost
            self._from.append(np.where(change, best, np.arange(len(SYMBOLS))))
            self._cost = np.where(change, self._cost[best] + CHANGE, self._cost) + row
            self._cost -= self._cost.min()
            if len(self._from) > 2 * DECIDED:
                yield from self._decide(DECIDED)

    def flush(self) -> Iterator[Phone]:
        """The rest; nothing may follow."""
        yield from self._decide(len(self._from))
        if self._open is not None:
            yield self._phone(*self._open)

    def _decide(self, n: int) -> Iterator[Phone]:
        state = int(np.argmin(self._cost))
        way = []
        for before in reversed(self._from):
            way.append(state)
            state = int(before[state])
        for symbol in reversed(way[len(way) - n :]):
            if self._open is None or self._open[0] != symbol:
                if self._open is not None:
                    yield self._phone(*self._open)
                self._open = (symbol, self._n)
            self._n += 1
        del self._from[:n]

    def _phone(self, symbol: int, first: int) -> Phone:
        start, end = (self._start + Fraction(row, FRAME_RATE) for row in (first, self._n))
        return Phone(start, end, SYMBOLS[symbol])
