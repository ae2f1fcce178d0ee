"""Speech made to follow other speech that says the same: where each of its phones is in the new one.

Each moment of the new speech is laid on a moment of the known one or on a pause, in order, so that
the two sound as alike as they can (dynamic time warping: Sakoe and Chiba 1978, as a Viterbi search
whose pauses are states of their own). Both voices are compared by their cepstra, less their own
means, so a synthetic voice leads a person. Memory is bounded: a search that has gone on settles what
lies far behind. Knows nothing of text or language.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from audio.features import FRAME_RATE, N_MEL, LogMel
from audio.phones import SILENCE, Phone
from runtime.records import SAMPLE_RATE

Floats = NDArray[np.float32]

N_CEPSTRA = 13
_FLOOR = 1e-6  # of power in a band, against the loud parts'
_STAY = np.float32(0.25)  # cost of a moment more than the known speech has
_SKIP = np.float32(0.35)  # cost of one less
_PAUSE = np.float32(0.6)  # cost of beginning a pause
_MOST_SKIPPED = 2
_BEAM = 60.0  # cost behind the best at which a path is given up
_AT_ONCE = 10 * SAMPLE_RATE  # samples whose spectra are held at once
_BLOCK = 1000  # rows searched between two settlements
_HELD = 6  # blocks that stay open
_SHORT_PAUSE_S = Fraction(9, 100)  # shorter ones are the closure of a plosive, or no pause
_WIDEST = 4000  # states searched beside each other, 40 s
_NEVER = np.float32(1e9)


@dataclass(frozen=True)
class _Heard:
    """A recording as it is compared."""

    cepstra: Floats  # [N, D], FRAME_RATE a second
    level_db: Floats  # [N]
    quiet_db: float  # above it somebody speaks


def follow(pcm: Floats, known: Floats, phones: Sequence[Phone]) -> tuple[tuple[Phone, ...], float]:
    """The phones of `known` [T'] as they stand in `pcm` [T], without gaps, and the mean cost of a spoken frame.

    Both are mono at SAMPLE_RATE; costs compare only between attempts at the same `pcm`.
    """
    if not len(pcm):
        return (), 0.0
    power = _power(pcm)
    noise = np.percentile(power, 5, axis=0)
    heard, model = _heard(power, noise), _heard(_power(known), noise)
    states = _States.of(model, phones)
    path = _search(heard, states)
    spoken = states.phone[path] >= 0
    cost = np.linalg.norm(heard.cepstra - states.cepstra[path], axis=1)
    return _phones(states, path, phones, len(pcm)), float(cost[spoken].mean()) if spoken.any() else 0.0


def spoken_s(pcm: Floats) -> float:
    """For how many seconds of a recording somebody speaks."""
    if not len(pcm):
        return 0.0
    heard = _heard(_power(pcm), np.zeros(N_MEL))
    return float((heard.level_db > heard.quiet_db).sum() / FRAME_RATE)


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

    @classmethod
    def of(cls, model: _Heard, phones: Sequence[Phone]) -> _States:
        rows: list[int] = [-1]
        owners: list[int] = [-1]
        for i, phone in enumerate(phones):
            if phone.symbol == SILENCE:
                continue
            first, last = (math.ceil(t * FRAME_RATE) for t in (phone.start, phone.end))
            frames = range(first, max(last, first + 1))
            rows += [*(min(f, len(model.cepstra) - 1) for f in frames), -1]
            owners += [*(i for _ in frames), -1]
        place = np.array(rows)
        cepstra = np.where((place >= 0)[:, None], model.cepstra[np.maximum(place, 0)], np.float32(0))
        return cls(np.ascontiguousarray(cepstra, np.float32), np.array(owners, np.int32))


@dataclass(frozen=True)
class _Block:
    """Where each of some frames came from."""

    first: NDArray[np.int64]  # [B], the state that the first column stands for
    back: NDArray[np.int8]  # [B, _WIDEST], states back


def _search(heard: _Heard, states: _States) -> NDArray[np.intp]:
    """The state of each frame [N], by Viterbi's search, block by block."""
    # In a pause the cost is what a frame has of loudness above quiet, in units of a cepstral distance.
    pause = np.asarray(1.2 + np.clip((heard.level_db - heard.quiet_db) / 6, -0.9, 8), np.float32)
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
        _step(heard.cepstra[rows], pause[rows], states.cepstra, states.phone, cost, block.first, block.back)
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
        if skipped > _MOST_SKIPPED:
            break
    return best, came


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _step(
    cepstra: Floats,
    pause: Floats,
    known: Floats,
    phone: NDArray[np.int32],
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
            if phone[j] >= 0:
                total = np.float32(0)
                for d in range(cepstra.shape[1]):
                    total += (cepstra[i, d] - known[j, d]) ** 2
                local = np.sqrt(total)
            cost[j] = min(move + local, _NEVER)
            back[i, j - lo] = came
        for j in range(hi, min(lo + back.shape[1], m)):
            cost[j] = _NEVER


def _phones(states: _States, path: NDArray[np.intp], phones: Sequence[Phone], n_samples: int) -> tuple[Phone, ...]:
    end = Fraction(n_samples, SAMPLE_RATE)
    runs = [(owner, len(list(run))) for owner, run in groupby(states.phone[path].tolist())]
    found: list[Phone] = []
    at = 0
    for owner, n in runs:
        start, stop = (min(Fraction(2 * t - 1, 2 * FRAME_RATE), end) for t in (at, at + n))
        at += n
        known = phones[owner] if owner >= 0 else None
        found.append(
            Phone(max(start, Fraction(0)), stop, known.symbol if known else SILENCE, known.stress if known else 0.0)
        )
    if found:
        found[-1] = Phone(found[-1].start, end, found[-1].symbol, found[-1].stress)
    return tuple(_without_short_pauses([phone for phone in found if phone.end > phone.start]))


def _without_short_pauses(phones: Sequence[Phone]) -> list[Phone]:
    """A short pause before a plosive is its closure; any other belongs to what was said before it."""
    kept: list[Phone] = []
    for i, phone in enumerate(phones):
        inside = 0 < i < len(phones) - 1
        if inside and phone.symbol == SILENCE and phone.end - phone.start < _SHORT_PAUSE_S:
            if phones[i + 1].symbol not in "ptkbdg":
                kept[-1] = Phone(kept[-1].start, phone.end, kept[-1].symbol, kept[-1].stress)
        elif kept and phone.start > kept[-1].end:
            kept.append(Phone(kept[-1].end, phone.end, phone.symbol, phone.stress))
        else:
            kept.append(phone)
    return kept
