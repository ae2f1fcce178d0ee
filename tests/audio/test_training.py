"""The speech that the network learns from: whose it is, when its phones sound, and what becomes of it."""

from __future__ import annotations

import shutil
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.features import HOP, N_MEL
from audio.phones import INDEX, SILENCE, SYMBOLS, Phone
from audio.training import sounds
from audio.training.speech import CROP, SILENT, TrainOptions, gasps, speaking, stream, stretched, weathered
from audio.training.texts import LANGUAGES, sentence
from audio.training.voices import Heard, Said, by_espeak, by_flite, faster, heard, nothing, rows, utterance
from audio.voice import find_language
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE

Floats = NDArray[np.float32]
espeak = pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="make setup brings it")
flite = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite")
torch = pytest.mark.skipif(find_spec("torch") is None, reason="make diffusion brings it")

MAKERS = (sounds.steady, sounds.gusts, sounds.breaths, sounds.music, sounds.tones, sounds.knocks)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def beeps() -> Floats:
    """Two seconds, loud from .5 to .7 and from 1.4 to 1.5."""
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    on = ((t > 0.5) & (t < 0.7)) | ((t > 1.4) & (t < 1.5))
    return np.asarray(np.sin(2 * np.pi * 900 * t) * on * 0.3, np.float32)


def test_the_same_seed_says_the_same_and_another_something_else() -> None:
    for language in LANGUAGES:
        once, again = (" | ".join(sentence(language, generator) for _ in range(5)) for generator in (rng(1), rng(1)))
        assert once == again != " | ".join(sentence(language, rng(2)) for _ in range(5))


@espeak
def test_every_language_is_one_that_espeak_has() -> None:
    assert all(find_language(code).code.startswith(code.split("-")[0]) for code in LANGUAGES)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_other_sounds_are_as_long_as_asked_for_and_neither_silent_nor_too_loud(make: object) -> None:
    for seed in range(5):
        pcm = make(30_000, rng(seed))  # type: ignore[operator]
        assert pcm.shape == (30_000,)
        assert pcm.dtype == np.float32
        assert np.isfinite(pcm).all()
        assert 1e-3 < np.abs(pcm).max() <= 1


@pytest.mark.parametrize("through", [sounds.in_room, sounds.telephone, sounds.encoded], ids=lambda f: f.__name__)
def test_weather_leaves_sounds_where_they_were(through: object) -> None:
    clean = beeps()
    for seed in range(4):
        out = through(clean, rng(seed))  # type: ignore[operator]
        assert out.shape == clean.shape
        likeness = [np.abs(np.dot(clean[1000:-1000], out[1000 + k : len(out) - 1000 + k])) for k in range(-400, 401, 8)]
        assert abs(int(np.argmax(likeness)) - 50) * 8 <= 24, "moved by more than 1.5 ms"


def test_rows_name_the_phone_of_their_moment() -> None:
    phones = (Phone(Fraction(0), Fraction(3, 100), "a"), Phone(Fraction(3, 100), Fraction(56, 1000), "p"))
    assert [SYMBOLS[i] for i in rows(phones, 8)] == ["a", "a", "a", "p", "p", "p", SILENCE, SILENCE]


def test_a_faster_tape_is_shorter_by_as_much_as_its_phones() -> None:
    said = Said(beeps(), (Phone(Fraction(0), Fraction(1), "a"), Phone(Fraction(1), Fraction(2), SILENCE)))
    fast = faster(said, Fraction(5, 4))
    assert len(fast.pcm) == len(said.pcm) * 4 // 5
    assert fast.phones[-1].end == Fraction(8, 5)


@pytest.mark.parametrize("speaker", [pytest.param(by_espeak, marks=espeak), pytest.param(by_flite, marks=flite)])
def test_voices_are_silent_where_they_say_so_and_loud_in_vowels(speaker: object) -> None:
    quiet, loud = [], []
    for seed in range(6):
        said = speaker(rng(seed))  # type: ignore[operator]
        made = heard(sounds.normalised(said.pcm), said.phones)
        level = made.mel.astype(np.float32).mean(1)
        assert len(made.phone) == -(-len(said.pcm) // HOP)
        quiet += list(level[made.phone == SILENT])
        loud += list(level[np.isin(made.phone, [INDEX[s] for s in "aeiouɛɑæ"])])
    assert np.median(loud) > np.median(quiet) + 0.3


def test_without_flite_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="apt-get install flite"):
        by_flite(rng())


@espeak
@flite
def test_one_seed_is_one_utterance_whoever_makes_it() -> None:
    for make in (utterance, nothing):
        once, again = make((0, 7)), make((0, 7))
        np.testing.assert_array_equal(once.mel, again.mel)
        np.testing.assert_array_equal(once.phone, again.phone)
    assert (nothing((0, 7)).phone == SILENT).all()


def made_up() -> list[Heard]:
    return [heard(beeps(), (Phone(Fraction(1, 2), Fraction(7, 10), "a"),)) for _ in range(12)]


def test_a_pass_shows_whole_crops_with_a_phone_a_row() -> None:
    shown = stream(made_up(), gasps(3, 0), rng())
    B = len(shown.mel)
    assert shown.mel.shape == (B, CROP, N_MEL)
    assert shown.phone.shape == shown.speech.shape == shown.breath.shape == (B, CROP)
    loud = shown.mel.max(-1)
    assert loud[shown.phone != SILENT].mean() > loud[shown.phone == SILENT].mean() + 0.5


def test_air_is_drawn_before_some_phrases_and_is_no_phone() -> None:
    shown = stream(made_up(), gasps(3, 0), rng())
    drawn = shown.breath > 0
    assert 0.02 < drawn.mean() < 0.5
    assert (shown.phone[drawn] == SILENT).all()
    assert shown.mel[drawn].mean() > shown.mel[(shown.phone == SILENT) & ~drawn].mean() + 0.1


def test_short_pauses_are_part_of_speaking_and_long_ones_are_not() -> None:
    phone = np.full(300, INDEX["a"])
    phone[100:110] = phone[150:200] = SILENT
    found = speaking(phone)
    assert found[100:110].all()
    assert not found[150:200].any()


def test_a_shorter_vocal_tract_has_its_formants_higher() -> None:
    mel = np.zeros((1, N_MEL), np.float32)
    mel[0, 30] = 1
    assert stretched(mel, 1.1)[0].argmax() == 33
    np.testing.assert_allclose(stretched(mel, 1.0), mel, atol=1e-6)


def test_weathered_crops_are_bounded_and_the_same_for_the_same_seed() -> None:
    shown = stream(made_up(), gasps(3, 0), rng())
    quiet = np.full((3, CROP, N_MEL), -1, np.float32)
    once, again = (weathered(shown.mel, quiet, rng(5)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert once.shape == shown.mel.shape
    assert np.isfinite(once).all()
    assert once.min() >= -2.01


@torch
def test_the_shipped_network_answers_as_the_one_that_was_fitted(tmp_path: Path) -> None:
    import torch as t

    from audio.features import LogMel, scaled
    from audio.hearing import LATE, Ear
    from audio.training.speech import export, network

    t.manual_seed(0)
    net = network().eval()
    export(net, tmp_path / "lips.npz")
    pcm = sounds.music(SAMPLE_RATE, rng())
    ear = Ear(tmp_path / "lips.npz")
    made, rest = ear.push(pcm), ear.flush()
    late = made.late.then(rest.late)
    log_mel = LogMel()
    mel = scaled(np.concatenate((log_mel.push(pcm), log_mel.flush())))
    padded = np.concatenate((np.full((2, N_MEL), -2, np.float32), mel, np.full((LATE, N_MEL), -2, np.float32)))
    with t.no_grad():
        answer = net(t.from_numpy(padded)[None])[0, 2:, 0]
    phones, (speech, breath) = answer[:, 2:].softmax(-1).numpy(), answer[:, :2].sigmoid().numpy().T
    print("largest difference", np.abs(phones[60:] - late.phones[60:]).max())
    np.testing.assert_allclose(phones[60:], late.phones[60:], atol=5e-3)
    np.testing.assert_allclose(speech[60:], late.speech[60:], atol=2e-2)
    np.testing.assert_allclose(breath[60:], late.breath[60:], atol=2e-2)


@torch
@espeak
@flite
@pytest.mark.slow
def test_a_few_steps_of_training_learn_something() -> None:
    import torch as t

    from audio.training.speech import fit, loss_of

    said = [utterance((1, i)) for i in range(60)] + [nothing((1, i)) for i in range(8)]
    net = fit(said, TrainOptions(steps=60, batch=4))
    shown = stream(said, gasps(9, 9), rng(9))
    with t.no_grad():
        curves = (t.from_numpy(x[:4]) for x in (shown.phone, shown.speech, shown.breath))
        assert loss_of(net(t.from_numpy(shown.mel[:4])), *curves).item() < 6.5
