from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio.bank import AHEAD, Bank, Choose, Patch, Wanted, moments
from audio.mouth_shape import N_CONTROLS, OPENING


def patch(number: int, opening: float, *, turn: float = 0.0, size: int = 16) -> Patch:
    controls = np.zeros(N_CONTROLS, np.float32)
    controls[OPENING] = opening
    planes: tuple[NDArray[Any], ...] = (np.zeros((size, size), np.uint8),)
    points = np.zeros((468, 2), np.float32)
    return Patch(number, planes, (0, 0), points, controls, np.array((0, turn, 0), np.float32), 128.0, 1.0)


def wanted(opening: float, turn: float = 0.0) -> Wanted:
    controls = np.zeros(N_CONTROLS, np.float32)
    controls[OPENING] = opening
    return Wanted(controls, np.array((0, turn, 0), np.float32), 128.0, 1.0)


def test_the_mouth_nearest_in_shape_is_chosen() -> None:
    bank = Bank(patches=[patch(10 * i, 0.03 * i) for i in range(8)])
    chosen = list(moments(Choose(bank), (wanted(0.12) for _ in range(5))))
    assert [p.number for p in chosen] == [40] * 5


def test_a_head_turned_alike_is_preferred_among_equal_mouths() -> None:
    bank = Bank(patches=[patch(0, 0.1, turn=-0.4), patch(10, 0.1, turn=0.4)])
    assert next(moments(Choose(bank), iter([wanted(0.1, 0.3)]))).number == 10


def test_mouths_that_followed_each_other_in_the_clip_are_kept_together() -> None:
    rng = np.random.default_rng(1)
    openings = 0.1 + 0.08 * np.sin(np.arange(60) / 4)
    bank = Bank(patches=[patch(i, float(o)) for i, o in enumerate(openings)])
    noisy = openings[10:50] + rng.normal(0, 0.004, 40)
    chosen = [p.number for p in moments(Choose(bank), (wanted(float(o)) for o in noisy))]
    jumps = sum(b - a not in (0, 1) for a, b in pairwise(chosen))
    nearest = [int(np.abs(openings - o).argmin()) for o in noisy]
    greedy = sum(b - a not in (0, 1) for a, b in pairwise(nearest))
    assert 2 * jumps < greedy


def test_lips_that_should_touch_are_not_taken_from_an_open_mouth() -> None:
    bank = Bank(patches=[patch(0, 0.03), patch(1, 0.0, turn=0.4)])
    assert next(moments(Choose(bank), iter([wanted(0.0)]))).number == 1


def test_a_choice_is_made_for_every_moment_in_order_and_late_by_the_look_ahead_only() -> None:
    bank = Bank(patches=[patch(i, 0.02 * i) for i in range(6)])
    choose = Choose(bank)
    out = [len(choose.push(wanted(0.02 * (i % 6)))) for i in range(AHEAD + 5)]
    assert out == [0] * AHEAD + [1] * 5
    assert len(list(choose.flush())) == AHEAD
    assert choose.flush() == []


def test_a_full_bank_stays_within_its_bytes_and_keeps_what_is_different() -> None:
    bank = Bank(nbytes=16 * 16 * 40)
    for i in range(400):
        bank.offer(patch(i, 0.1 if i % 40 else 0.01 * i / 40))
    assert sum(p.nbytes for p in bank.patches) <= bank.nbytes
    assert {p.number for p in bank.patches} >= {40 * i for i in range(10)}


def test_however_small_mouths_are_no_more_are_kept_than_can_be_compared() -> None:
    bank = Bank(most=200)
    for i in range(1000):
        bank.offer(patch(i, 0.0002 * i, size=2))
    kept = sorted(float(p.controls[OPENING]) for p in bank.patches)
    assert 100 <= len(kept) <= 200
    assert max(b - a for a, b in pairwise([0.0, *kept, 0.2])) < 0.005, "those left are spread over all that were"
