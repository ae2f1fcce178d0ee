"""Speech made to follow other speech that says the same: where each of its phones is in the new one.

Each moment of the new speech is laid on a moment of the known one or on a pause, in order, so that
the two sound as alike as they can (dynamic time warping: Sakoe and Chiba 1978, as a Viterbi search
whose pauses are states of their own). Alike is what `audio.hearing` takes for the same phone, and what
has the same cepstra, less each voice's own mean, so a synthetic voice leads a person. Memory is bounded:
a search that has gone on settles what lies far behind. Knows nothing of text or language.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from audio.features import FRAME_RATE, N_MEL, LogMel
from audio.hearing import LATE, Ear
from audio.phones import INDEX, SILENCE, Phone
from audio.rows import rows_of
from runtime.records import SAMPLE_RATE

Floats = NDArray[np.float32]

N_CEPSTRA = 13
_FLOOR = 1e-6  # of power in a band, against the loud parts'
_EAR = np.float32(0.4)  # of the network's log-probabilities, against _VOICE of the distance of two voices
_VOICE = np.float32(0.8)
_DOUBT = 1e-3  # a probability that the network means by 0
_LEVEL = np.float32(0.7)  # of how loud it is for a pause
_STAY = np.float32(0.3)  # cost of a moment more than the known speech has
_SKIP = np.float32(0.4)  # cost of one less
_PAUSE = np.float32(0.6)  # cost of beginning a pause
_MOST_SKIPPED = 2
_BEAM = 60.0  # cost behind the best at which a path is given up
_AT_ONCE = 10 * SAMPLE_RATE  # samples whose spectra are held at once
_BLOCK = 1000  # rows searched between two settlements
_HELD = 6  # blocks that stay open
_SHORT_PAUSE = Fraction(9, 100)  # seconds; shorter ones are the closure of a plosive, or no pause
_WIDEST = 4000  # states searched beside each other, 40 s
_PLOSIVES = frozenset("ptkbdg")
_CLOSED = Fraction(8, 100)  # seconds that a plosive takes at least, after silence
_NEVER = np.float32(1e9)


@dataclass(frozen=True)
class _Heard:
    """A voice as it is compared with another."""

    cepstra: Floats  # [N, D], FRAME_RATE a second
    level_db: Floats  # [N]
    quiet_db: float  # above it somebody speaks

    @property
    def spoken(self) -> NDArray[np.bool_]:
        return np.asarray(self.level_db > self.quiet_db)


class Recording:
    """Speech [T], mono at SAMPLE_RATE, in which somebody is to be followed."""

    def __init__(self, pcm: Floats) -> None:
        self.duration = Fraction(len(pcm), SAMPLE_RATE)
        pcm = pcm if len(pcm) else np.zeros(1, np.float32)
        power = _power(pcm)
        self._noise = np.percentile(power, 5, axis=0)
        self._heard = _heard(power, self._noise)
        self._unlikely = _unlikely(pcm)

    @property
    def spoken_s(self) -> float:
        """For how many seconds somebody speaks."""
        return float(self._heard.spoken.sum() / FRAME_RATE)

    def unlike(self, phones: Sequence[Phone]) -> float:
        """What it costs a moment, in the mean, to be the phone that is said to be there, by ear."""
        said = rows_of(phones, len(self._unlikely)).phones
        return float((said * self._unlikely).sum(1).mean())

    def follow(
        self, known: Floats, phones: Sequence[Phone], breaks: Collection[int] = ()
    ) -> tuple[tuple[Phone, ...], float]:
        """The phones of `known` [T'] where they stand here, without gaps, and the mean cost of a spoken frame.

        There may be pauses before the phones that `breaks` counts, and where `known` has them; anywhere if it is
        empty. Costs compare only between attempts at the same recording.
        """
        if not self.duration:
            return (), 0.0
        states = _States.of(_heard(_power(known), self._noise), phones, breaks)
        path = _search(self._heard, self._unlikely, states)
        spoken = states.phone[path] >= 0
        cost = np.linalg.norm(self._heard.cepstra - states.cepstra[path], axis=1)
        found = _phones(states, path, phones, self.duration)
        return found, float(cost[spoken].mean()) if spoken.any() else 0.0


def _power(pcm: Floats) -> Floats:
    """Power in mel bands [N, N_MEL], as if every recording were spoken equally loud."""
    mel = LogMel()
    pieces = [mel.push(pcm[at : at + _AT_ONCE]) for at in range(0, len(pcm), _AT_ONCE)]
    power = np.concatenate((*pieces, mel.flush()))
    loud = np.percentile(power.sum(1), 90)
    return np.asarray(power / max(float(loud), 1e-9), np.float32)


def _heard(power: Floats, noise: NDArray[np.floating[Any]]) -> _Heard:
    """Cepstra of a voice under some noise [N_MEL], which both of two recordings must be under to be compared."""
    from scipy.fft import dct

    level = np.asarray(10 * np.log10(power.sum(1) + _FLOOR * N_MEL), np.float32)
    low, high = (float(v) for v in np.percentile(level, (5, 95)))
    quiet = max(low + 0.35 * (high - low), high - 35)
    spoken = level > quiet
    cepstra = np.asarray(dct(10 * np.log10(power + noise + _FLOOR), axis=1, norm="ortho")[:, :N_CEPSTRA], np.float32)
    both = np.concatenate((cepstra, _slope(cepstra)), 1)
    over = both[spoken] if spoken.sum() > 20 else both
    weights = np.ones(both.shape[1], np.float32)
    weights[0] = 0.7  # how loud, which differs between speakers more than what is said
    normal = (both - over.mean(0)) / (over.std(0) + 1e-3) * weights / np.sqrt(both.shape[1])
    return _Heard(np.asarray(normal, np.float32), level, quiet)


def _slope(values: Floats) -> Floats:
    """How each column changes [N, D], over five rows."""
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    n = len(values)
    return np.asarray((2 * (padded[4:] - padded[:n]) + padded[3 : n + 3] - padded[1 : n + 1]) / 10, np.float32)


@dataclass(frozen=True)
class _States:
    """What a moment of new speech can be: a moment of the known one, or a pause, which may be passed over."""

    cepstra: Floats  # [M, D], zero of pauses
    phone: NDArray[np.int32]  # [M], index into the known phones; -1 is a pause
    symbol: NDArray[np.int32]  # [M], index into SYMBOLS; 0 is a pause

    @classmethod
    def of(cls, model: _Heard, phones: Sequence[Phone], breaks: Collection[int]) -> _States:
        rows: list[int] = [-1]
        owners: list[int] = [-1]
        for i, phone in enumerate(phones):
            if (phone.symbol == SILENCE or i in breaks or not breaks) and owners[-1] >= 0:
                rows.append(-1)
                owners.append(-1)
            if phone.symbol == SILENCE:
                continue
            first, last = (math.ceil(t * FRAME_RATE) for t in (phone.start, phone.end))
            frames = range(first, max(last, first + 1))
            rows += [min(f, len(model.cepstra) - 1) for f in frames]
            owners += [i for _ in frames]
        if owners[-1] >= 0:
            rows.append(-1)
            owners.append(-1)
        place = np.array(rows)
        cepstra = np.where((place >= 0)[:, None], model.cepstra[np.maximum(place, 0)], np.float32(0))
        symbols = [INDEX[phones[i].symbol] if i >= 0 else 0 for i in owners]
        return cls(np.ascontiguousarray(cepstra, np.float32), np.array(owners, np.int32), np.array(symbols, np.int32))


@dataclass(frozen=True)
class _Block:
    """Where each of some frames came from."""

    first: NDArray[np.int64]  # [B], the state that the first column stands for
    back: NDArray[np.int8]  # [B, _WIDEST], states back


def _unlikely(pcm: Floats) -> Floats:
    """What it costs a frame [N, len(SYMBOLS)] to be each phone, by ear."""
    ear = Ear()
    parts = [ear.push(pcm[at : at + _AT_ONCE]).late.phones for at in range(0, len(pcm), _AT_ONCE)]
    likely = np.concatenate((*parts, ear.flush().late.phones))[LATE:]
    return np.asarray(-_EAR * np.log(likely + _DOUBT), np.float32)


def _search(heard: _Heard, unlikely: Floats, states: _States) -> NDArray[np.intp]:
    """The state of each frame [N], by Viterbi's search, block by block."""
    # In a pause the cost is what a frame has of loudness above quiet, in units of a cepstral distance.
    pause = np.asarray(_LEVEL * (1.2 + np.clip((heard.level_db - heard.quiet_db) / 6, -0.9, 8)), np.float32)
    n, m = len(heard.cepstra), len(states.phone)
    cost = np.full(m, _NEVER, np.float32)
    cost[0] = 0
    open_: list[_Block] = []
    path = np.zeros(n, np.intp)
    settled = 0
    lo = 0
    for at in range(0, n, _BLOCK):
        rows = slice(at, min(at + _BLOCK, n))
        block = _Block(np.full(rows.stop - at, lo), np.zeros((rows.stop - at, min(_WIDEST, m)), np.int8))
        _step(
            heard.cepstra[rows],
            pause[rows],
            unlikely[rows],
            states.cepstra,
            states.phone,
            states.symbol,
            cost,
            block.first,
            block.back,
        )
        lo = int(block.first[-1])
        open_.append(block)
        if len(open_) > _HELD:
            settled = _settle(open_, int(np.argmin(cost)), path, settled, keep=_HELD - 1)
    ends = cost[-2:] if min(cost[-2:]) < _NEVER else cost  # in the last phone or the pause after it, if it got there
    _settle(open_, m - len(ends) + int(np.argmin(ends)), path, settled, keep=0)
    return path


def _settle(blocks: list[_Block], state: int, path: NDArray[np.intp], settled: int, keep: int) -> int:
    """Write the path up to the last `keep` blocks, drop what was written, and return up to where that is."""
    sizes = [len(block.first) for block in blocks]
    until = settled + sum(sizes[: len(blocks) - keep])
    at = settled + sum(sizes)
    for block in reversed(blocks):
        for first, row in zip(block.first[::-1], block.back[::-1], strict=True):
            at -= 1
            if at < until:
                path[at] = state
            state -= int(row[state - first])
    del blocks[: len(blocks) - keep]
    return until


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _arrival(j: int, lo: int, phone: NDArray[np.int32], cost: Floats) -> Any:
    """The least cost of getting to state j, and from how many states before it."""
    silent = phone[j] < 0
    best = cost[j] + (np.float32(0) if silent else _STAY)
    came = 0
    paid = _PAUSE if silent else np.float32(0)
    skipped = 0
    for k in range(j - 1, lo - 1, -1):
        if cost[k] + paid < best:
            best, came = cost[k] + paid, j - k
        if phone[k] >= 0:  # pauses are passed over for nothing
            skipped += 1
            paid += _SKIP
        is_first = phone[k] >= 0 and (k == 0 or phone[k - 1] != phone[k])
        if skipped > _MOST_SKIPPED or (is_first and phone[k] != phone[j]):  # no phone is passed over whole
            break
    return best, came


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _step(
    cepstra: Floats,
    pause: Floats,
    unlikely: Floats,
    known: Floats,
    phone: NDArray[np.int32],
    symbol: NDArray[np.int32],
    cost: Floats,
    first: NDArray[np.int64],
    back: NDArray[np.int8],
) -> None:
    """Take frames [B, D] through states [M, D], only through those near the best.

    `cost` [M] becomes that of the last frame. Of frame i, `back[i, j - first[i]]` says how many states before
    state j it came from.
    """
    m = known.shape[0]
    lo = first[0]
    for i in range(cepstra.shape[0]):
        hi = min(lo + back.shape[1], m)
        best = _NEVER
        for j in range(lo, hi):
            best = min(best, cost[j])
        while cost[lo] > best + _BEAM:
            cost[lo] = _NEVER
            lo += 1
        reach = lo
        for j in range(lo, hi):
            if cost[j] <= best + _BEAM:
                reach = j
        hi = min(reach + _MOST_SKIPPED + 4, lo + back.shape[1], m)
        first[i] = lo
        for j in range(hi - 1, lo - 1, -1):  # downwards, so that what is read is still the frame before
            move, came = _arrival(j, lo, phone, cost)
            local = pause[i]
            if symbol[j] > 0:
                total = np.float32(0)
                for d in range(cepstra.shape[1]):
                    total += (cepstra[i, d] - known[j, d]) ** 2
                local = np.sqrt(total) * _VOICE
            cost[j] = min(move + local + unlikely[i, symbol[j]], _NEVER)
            back[i, j - lo] = came
        for j in range(hi, min(lo + back.shape[1], m)):
            cost[j] = _NEVER


def _phones(states: _States, path: NDArray[np.intp], phones: Sequence[Phone], duration: Fraction) -> tuple[Phone, ...]:
    runs = [(owner, len(list(run))) for owner, run in groupby(states.phone[path].tolist())]
    found: list[Phone] = []
    at = 0
    for owner, n in runs:
        # A frame stands for half of its time before it and half after.
        start, stop = (min(max(Fraction(2 * t - 1, 2 * FRAME_RATE), Fraction(0)), duration) for t in (at, at + n))
        at += n
        symbol, stress = (phones[owner].symbol, phones[owner].stress) if owner >= 0 else (SILENCE, 0.0)
        if stop > start:
            found.append(Phone(start, stop, symbol, stress))
    found[-1] = replace(found[-1], end=duration)
    return tuple(_with_closures(found))


def _with_closures(phones: Sequence[Phone]) -> list[Phone]:
    """Plosives with the silence in which they are closed; any other short pause belongs to what was said before it."""
    kept: list[Phone] = []
    for i, phone in enumerate(phones):
        inside = 0 < i < len(phones) - 1
        if inside and phone.symbol == SILENCE and phone.end - phone.start < _SHORT_PAUSE:
            if phones[i + 1].symbol not in _PLOSIVES:
                kept[-1] = replace(kept[-1], end=phone.end)
        elif kept and phone.symbol in _PLOSIVES and kept[-1].symbol == SILENCE:
            start = min(phone.start, max(kept[-1].start, phone.end - _CLOSED))
            kept[-1] = replace(kept[-1], end=start)
            kept.append(replace(phone, start=start))
        elif kept:
            kept.append(replace(phone, start=kept[-1].end))
        else:
            kept.append(phone)
    return [phone for phone in kept if phone.end > phone.start]
