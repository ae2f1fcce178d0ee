"""Every sound pulls on jaw and lips, before and after it sounds; lips that must touch, touch."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.coarticulation import (
    BEFORE,
    DIALS,
    FASTEST,
    LIVE,
    WHOLE,
    Coarticulate,
    Gestures,
    Reach,
    expression_of,
    overlapping,
)
from audio.lips import faces_of
from audio.phones import SILENCE, SYMBOLS, Phone
from audio.rows import Rows, rows_of, silence
from runtime.records import ARKIT_INDEX

Floats = NDArray[np.float32]

JAW, PUCKER, FUNNEL, SPREAD = (DIALS.index(name) for name in ("jaw", "pucker", "funnel", "spread"))


def spoken(symbols: str, each_s: float = 0.12, rest_s: float = 1.0) -> Rows:
    """Sounds one after the other, silence before and after."""
    step, begin = Fraction(str(each_s)), Fraction(str(rest_s))
    phones = tuple(Phone(begin + i * step, begin + (i + 1) * step, s) for i, s in enumerate(symbols))
    return rows_of(phones, round((float(phones[-1].end) + rest_s) * 100))


def breathing(rows: Rows, first: int, last: int) -> Rows:
    """The same, air being heard to be drawn from one row to another."""
    breath = np.zeros(len(rows), np.float32)
    breath[first:last] = 1
    return Rows(rows.phones, rows.speech, breath)


def gestures(rows: Rows, reach: Reach = WHOLE, cut: int | None = None) -> Gestures:
    move = Coarticulate(reach)
    parts = (
        [move.push(rows[i : i + cut], rows[i : i + cut]) for i in range(0, len(rows), cut)]
        if cut
        else [move.push(rows, rows)]
    )
    parts.append(move.flush())
    return Gestures(np.concatenate([p.dials for p in parts]), np.concatenate([p.shut for p in parts]))


def at(rows: Rows, second: float) -> Floats:
    return np.asarray(gestures(rows).dials[round(second * 100)])


@pytest.mark.parametrize("reach", [LIVE, WHOLE], ids=["live", "whole"])
@pytest.mark.parametrize("cut", [1, 7, 64])
def test_streamed_equals_whole(reach: Reach, cut: int) -> None:
    rows = breathing(spoken("hapibotufasilama"), 280, 320)
    whole, streamed = gestures(rows, reach), gestures(rows, reach, cut)
    np.testing.assert_allclose(streamed.dials, whole.dials, atol=1e-5)
    np.testing.assert_allclose(streamed.shut, whole.shut, atol=1e-6)


def test_there_is_a_gesture_for_every_row() -> None:
    for n in (0, 1, 5, BEFORE, 200):
        assert len(gestures(silence(n)).shut) == n


def test_live_waits_for_no_more_rows_than_it_says() -> None:
    rows = spoken("apa")
    move = Coarticulate(LIVE)
    ahead = LIVE.early - LIVE.late
    move.push(rows[:0], rows[:ahead])
    made = [len(move.push(rows[i : i + 1], rows[i + ahead : i + ahead + 1]).shut) for i in range(100)]
    assert made == [0] * LIVE.late + [1] * (100 - LIVE.late)


def test_lips_meet_and_part_no_faster_than_real_ones_do() -> None:
    made = gestures(spoken("apama", 0.2))
    faces = faces_of(expression_of(made), made.shut)
    gap = np.linalg.norm(faces[:, 13] - faces[:, 14], axis=1)
    assert gap.max() > 0.15
    assert sum(gap[a:b].min() < 0.005 for a, b in ((120, 140), (160, 180))) == 2
    assert np.abs(np.diff(gap)).max() < 1.5 * FASTEST


def test_a_mouth_at_rest_stays_at_rest() -> None:
    still = gestures(silence(300))
    assert np.abs(still.dials).max() == 0
    assert np.abs(still.shut).max() == 0


@pytest.mark.parametrize("lips", ["p", "b", "m"])
def test_lips_touch_for_every_p_b_and_m_and_for_nothing_else(lips: str) -> None:
    rows = spoken(f"a{lips}a{lips}i")
    sounds = np.isin(rows.phones.argmax(1), [SYMBOLS.index(lips)])
    shut = gestures(rows).shut
    assert (shut[sounds] > 0.7).mean() > 0.95
    assert shut[~sounds].mean() < 0.1


def test_the_jaw_opens_further_for_a_than_for_i_and_closes_for_s() -> None:
    assert at(spoken("aaa"), 1.18)[JAW] > 1.5 * at(spoken("iii"), 1.18)[JAW] > 0
    assert at(spoken("asa"), 1.18)[JAW] < 0.5 * at(spoken("aaa"), 1.18)[JAW]


@pytest.mark.parametrize("sound", ["u", "o", "w", "y", "ʃ"])
def test_lips_round_for_what_is_round_and_spread_for_i(sound: str) -> None:
    rounded, spread = at(spoken(sound * 3), 1.18), at(spoken("iii"), 1.18)
    assert rounded[PUCKER] + rounded[FUNNEL] > 0.5 > 0.1 > spread[PUCKER] + spread[FUNNEL]
    assert spread[SPREAD] > 0.3 > rounded[SPREAD]


def test_rounding_comes_before_the_sound_that_wants_it() -> None:
    # Lips have nothing to do for k, so they are round already: "coo" against "key".
    assert at(spoken("iku"), 1.18)[PUCKER] > at(spoken("iki"), 1.18)[PUCKER] + 0.15


def test_the_mouth_is_half_open_before_it_speaks_and_shut_soon_after() -> None:
    jaw = gestures(spoken("sasa")).dials[:, JAW]
    assert jaw[100 - BEFORE - 5] == 0
    assert jaw[80] > 0.08
    assert jaw[148 + 30 :].max() < 0.01


@pytest.mark.parametrize("reach", [LIVE, WHOLE], ids=["live", "whole"])
def test_the_mouth_opens_wide_while_air_is_heard_to_be_drawn(reach: Reach) -> None:
    made = gestures(breathing(silence(300), 100, 150), reach).dials[:, JAW]
    assert made[110:140].min() > gestures(spoken("sasa"), reach).dials[:, JAW].max() / 2
    assert max(made[: 100 - 30].max(), made[150 + 30 :].max()) < 0.001


def test_air_that_is_drawn_half_opens_a_live_mouth_before_speech_can_be_heard_to_come() -> None:
    quiet, speech = silence(150), spoken("sasa", rest_s=0.01)
    coming = breathing(quiet.then(speech), 110, 140)
    upper = [gestures(rows, LIVE).dials[120:130, DIALS.index("upper")].max() for rows in (coming, quiet.then(speech))]
    assert upper[0] > 0.05
    assert upper[1] < 0.01


def shown(phones: str) -> str:
    """The same phones, each as long as the others and all sounding, as the lips make them."""
    times = [Fraction(i, 10) for i in range(len(phones) + 1)]
    made = overlapping([Phone(a, b, s) for a, b, s in zip(times[:-1], times[1:], phones, strict=True)])
    assert [p.end for p in made[:-1]] == [p.start for p in made[1:]]
    return "".join(p.symbol for p in made)


@pytest.mark.parametrize(
    ("phones", "lips"),
    [("bɪnblu", "bɪbblu"), ("sɛtwa", "sɛwwa"), ("hændmi", "hæmmmi"), ("θɹi", "ɹɹi"), ("ɪnfo", "ɪffo")],
    ids=["bin blue", "set white", "hand me", "three", "info"],
)
def test_lips_are_at_the_next_sound_while_the_tongue_is_still_at_this_one(phones: str, lips: str) -> None:
    assert shown(phones) == lips


@pytest.mark.parametrize("phones", ["bɪn_blu", "æŋblu", "ænɪbl", "sabla", "an", ""])
def test_lips_wait_over_a_pause_a_vowel_and_for_what_is_no_labial(phones: str) -> None:
    assert shown(phones) == phones


def test_lips_are_shut_for_a_while_before_a_plosive_that_comes_out_of_silence() -> None:
    phones = (Phone(Fraction(0), Fraction(1), SILENCE), Phone(Fraction(1), Fraction(26, 25), "b"))
    silent, plosive = overlapping(phones)
    assert silent.end == plosive.start == Fraction(23, 25)
    assert plosive.end == Fraction(26, 25)
    at_once = overlapping((Phone(Fraction(0), Fraction(1, 50), SILENCE), Phone(Fraction(1, 50), Fraction(1, 10), "p")))
    assert at_once[1].start == 0


@pytest.mark.parametrize("sound", ["f", "v"])
def test_the_lower_lip_meets_the_teeth(sound: str) -> None:
    made = expression_of(gestures(spoken(f"a{sound}a", 0.15)))
    roll, jaw = (made[round(1.22 * 100), ARKIT_INDEX[name]] for name in ("mouthRollLower", "jawOpen"))
    assert roll > 0.25
    assert jaw < 0.25


def test_an_expression_stays_within_its_range_and_is_alike_on_both_sides() -> None:
    made = expression_of(gestures(spoken("".join(s for s in SYMBOLS[1:]))))
    assert made.min() >= 0
    assert made.max() <= 1
    for name, i in ARKIT_INDEX.items():
        if name.endswith("Left") and not name.startswith(("jaw", "mouthLeft")):
            np.testing.assert_array_equal(made[:, i], made[:, ARKIT_INDEX[name.replace("Left", "Right")]])
