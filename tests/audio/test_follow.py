"""One voice leads another: its phones are found again in speech that says the same otherwise."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.follow import Recording
from audio.phones import SILENCE, Phone
from runtime.records import SAMPLE_RATE

HZ = {"a": (700.0, 1200.0), "i": (300.0, 2300.0), "u": (350.0, 800.0)}


def sing(tune: list[tuple[str, float]], pitch: float) -> tuple[NDArray[np.float32], tuple[Phone, ...]]:
    """Vowels of two formants, or silence, each so many seconds long; and where they are."""
    rng = np.random.default_rng(0)
    pieces, phones = [], []
    at = Fraction(0)
    for symbol, seconds in tune:
        n = round(seconds * SAMPLE_RATE)
        t = np.arange(n) / SAMPLE_RATE
        wave = rng.normal(0, 1e-3, n)
        if symbol != SILENCE:
            for k in range(1, 30):
                near = sum(np.exp(-(((k * pitch - formant) / 150) ** 2)) for formant in HZ[symbol])
                wave += 0.2 * near * np.sin(2 * np.pi * k * pitch * t)
        pieces.append(wave.astype(np.float32))
        phones.append(Phone(at, at + Fraction(n, SAMPLE_RATE), symbol))
        at += Fraction(n, SAMPLE_RATE)
    return np.concatenate(pieces), tuple(phones)


TUNE = [("a", 0.2), ("i", 0.15), ("u", 0.25), ("a", 0.1), ("i", 0.2)]


def starts(phones: tuple[Phone, ...]) -> list[float]:
    return [float(phone.start) for phone in phones if phone.symbol != SILENCE]


@pytest.mark.parametrize("pitch", [110.0, 140.0, 190.0])
@pytest.mark.parametrize("pace", [0.6, 1.0, 1.8])
def test_another_pitch_and_pace_is_followed(pitch: float, pace: float) -> None:
    known, phones = sing(TUNE, 110.0)
    pcm, truth = sing([(SILENCE, 0.4), *((symbol, s * pace) for symbol, s in TUNE), (SILENCE, 0.3)], pitch)
    found, _ = Recording(pcm).follow(known, phones)
    assert [p.symbol for p in found] == [p.symbol for p in truth]
    np.testing.assert_allclose(starts(found), starts(truth), atol=0.025)
    assert found[0].start == 0
    assert found[-1].end == Fraction(len(pcm), SAMPLE_RATE)


def test_a_pause_that_the_known_voice_did_not_make_is_a_silence() -> None:
    known, phones = sing(TUNE, 110.0)
    pcm, truth = sing([*TUNE[:2], (SILENCE, 0.5), *TUNE[2:]], 150.0)
    found, _ = Recording(pcm).follow(known, phones)
    assert [p.symbol for p in found] == [p.symbol for p in truth]
    np.testing.assert_allclose(starts(found), starts(truth), atol=0.025)


def test_a_pause_that_only_the_known_voice_made_is_passed_over() -> None:
    known, phones = sing([*TUNE[:2], (SILENCE, 0.5), *TUNE[2:]], 110.0)
    pcm, truth = sing(TUNE, 150.0)
    found, _ = Recording(pcm).follow(known, phones)
    assert [p.symbol for p in found] == [p.symbol for p in truth]
    np.testing.assert_allclose(starts(found), starts(truth), atol=0.025)


def test_a_pause_is_made_only_where_it_may_be() -> None:
    known, phones = sing(TUNE, 110.0)
    pcm, _ = sing([*TUNE[:2], (SILENCE, 0.5), *TUNE[2:]], 150.0)
    found, _ = Recording(pcm).follow(known, phones, breaks={2})
    assert "".join(p.symbol for p in found) == "ai_uai"
    found, _ = Recording(pcm).follow(known, phones, breaks={4})
    assert "".join(p.symbol for p in found).replace("_", "") == "aiuai"
    assert not any(a.symbol == "i" and b.symbol == SILENCE for a, b in pairwise(found[:-2]))


def test_no_phone_is_lost_however_fast_the_others_are() -> None:
    known, phones = sing([("a", 0.2), ("i", 0.02), ("u", 0.25)], 110.0)
    pcm, _ = sing([("a", 0.2), ("u", 0.25)], 110.0)
    found, _ = Recording(pcm).follow(known, phones)
    assert "".join(p.symbol for p in found) == "aiu"


def test_a_plosive_after_a_pause_is_closed_before_it_is_heard() -> None:
    known, phones = sing([("a", 0.2), ("i", 0.03), ("u", 0.25)], 110.0)
    phones = (phones[0], replace(phones[1], symbol="b"), phones[2])
    pcm, _ = sing([("a", 0.2), (SILENCE, 0.5), ("i", 0.03), ("u", 0.25)], 110.0)
    found, _ = Recording(pcm).follow(known, phones)
    closed = next(p for p in found if p.symbol == "b")
    assert closed.end - closed.start >= Fraction(8, 100)
    assert abs(float(closed.end) - 0.73) < 0.03


def test_the_voice_that_is_more_alike_costs_less() -> None:
    known, phones = sing(TUNE, 110.0)
    other, _ = sing([("u", 0.2), ("a", 0.15), ("i", 0.25), ("u", 0.1), ("a", 0.2)], 110.0)
    pcm, _ = sing(TUNE, 130.0)
    assert Recording(pcm).follow(known, phones)[1] < Recording(pcm).follow(other, phones)[1] * 0.8


def test_what_lies_far_behind_is_settled_as_the_whole_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    from audio import follow as module

    known, phones = sing(TUNE * 6, 110.0)
    pcm, _ = sing([(symbol, s * 1.2) for symbol, s in TUNE * 6], 150.0)
    whole, _ = Recording(pcm).follow(known, phones)
    monkeypatch.setattr(module, "_BLOCK", 40)
    assert Recording(pcm).follow(known, phones)[0] == whole


def test_how_long_somebody_speaks_leaves_the_pauses_out() -> None:
    pcm, _ = sing([(SILENCE, 1.0), *TUNE, (SILENCE, 1.0)], 110.0)
    assert abs(Recording(pcm).spoken_s - sum(s for _, s in TUNE)) < 0.06


@pytest.mark.parametrize("n", [0, 1, 200, 1000])
def test_hardly_any_sound_is_no_accident(n: int) -> None:
    known, phones = sing(TUNE, 110.0)
    found, _ = Recording(np.zeros(n, np.float32)).follow(known, phones)
    assert sum((p.end - p.start for p in found), Fraction(0)) == Fraction(n, SAMPLE_RATE)


@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="make setup brings it")
@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Guten Morgen, liebe Leute. Heute backen wir ein Brot mit Butter und Pfeffer."),
        ("fr", "Bonjour à tous, nous allons parler du temps qu'il fait, et du pain que ma mère prépare."),
        ("cmn", "今天天气很好，我们一起去公园吧。"),
    ],
)
def test_another_speaker_is_followed_to_a_hundredth_of_a_second_in_any_language(language: str, text: str) -> None:
    from audio.voice import EspeakVoice

    known = EspeakVoice(language).speak(text)
    other = EspeakVoice(language, voice="m3", rate=210, pitch=30).speak(text)
    assert known.phones is not None
    assert other.phones is not None
    found, _ = Recording(other.pcm).follow(known.pcm, known.phones)
    truth = [p for p in other.phones if p.symbol != SILENCE]
    got = [p for p in found if p.symbol != SILENCE]
    apart = [abs(float(a.start - b.start)) for a, b in zip(got, truth, strict=False) if a.symbol == b.symbol]
    assert len(apart) > 0.8 * len(truth)
    assert np.median(apart) < 0.01, f"median {np.median(apart) * 1000:.1f} ms"
