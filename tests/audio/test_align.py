"""What is said in a recording is found in it, phone by phone."""

from __future__ import annotations

import sys
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio import align as module
from audio.align import align, followed, gliding, recognised, with_stress
from audio.phones import SILENCE, Phone, of_ipa
from audio.speech import read_speech, whole
from audio.voice import EspeakVoice, Utterance
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE

espeak = pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="make setup brings it")
sphinx = pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="make setup brings it")

TEXT = "Please bring the big blue box from the attic, and put my coffee on the table before five."
TALK = Path(__file__).parents[3] / "shared" / "clips" / "talk"


def spoken(phones: tuple[Phone, ...]) -> list[Phone]:
    return [phone for phone in phones if phone.symbol != SILENCE]


def tiles(phones: tuple[Phone, ...], n_samples: int) -> bool:
    whole_of_it = phones[0].start == 0 and phones[-1].end == Fraction(n_samples, SAMPLE_RATE)
    return whole_of_it and all(a.end == b.start for a, b in pairwise(phones))


def middles(phones: tuple[Phone, ...], symbols: str) -> list[float]:
    return [float(p.start + p.end) / 2 for p in phones if p.symbol in symbols]


def delayed(said: Utterance, seconds: float = 0.5) -> NDArray[np.float32]:
    return np.concatenate((np.zeros(round(seconds * SAMPLE_RATE), np.float32), said.pcm))


@espeak
@sphinx
def test_the_closures_of_an_english_text_are_where_the_voice_made_them() -> None:
    said = EspeakVoice("en-us", rate=150).speak(TEXT)
    assert said.phones is not None
    phones = align(delayed(said), TEXT, "en")
    assert tiles(phones, len(said.pcm) + SAMPLE_RATE // 2)
    truth = [t + 0.5 for t in middles(said.phones, "pbmfv")]
    found = middles(phones, "pbmfv")
    assert len(found) == len(truth)
    assert np.median(np.abs(np.array(found) - truth)) < 0.03


@espeak
@sphinx
def test_of_two_ways_the_one_that_sounds_like_the_recording_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    said = EspeakVoice("en-gb", voice="m3", rate=150).speak(TEXT)
    pcm = delayed(said)
    right = followed(pcm, TEXT, "en-gb")
    late = tuple(Phone(p.start + Fraction(1, 5), p.end + Fraction(1, 5), p.symbol) for p in right)
    for sphinx_finds, espeak_finds in ((right, late), (late, right)):
        monkeypatch.setattr(module, "recognised", lambda *_, found=sphinx_finds: found)
        monkeypatch.setattr(module, "_followed", lambda *_, found=espeak_finds: found)
        assert align(pcm, TEXT, "en-gb") == right


@espeak
@sphinx
def test_what_espeak_s_reading_does_not_fit_is_left_to_pocketsphinx(monkeypatch: pytest.MonkeyPatch) -> None:
    def fits_not(*_: object) -> tuple[Phone, ...]:
        raise InputError("the transcript does not fit")

    said = EspeakVoice("en-us").speak("Good evening.")
    monkeypatch.setattr(module, "_followed", fits_not)
    assert "".join(p.symbol for p in spoken(align(said.pcm, "Good evening.", "en"))).startswith("g")


@espeak
@sphinx
def test_pieces_of_a_long_recording_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    said = EspeakVoice("en-us", rate=150).speak(f"{TEXT} And then we all went home again.")
    text = f"{TEXT} And then we all went home again."
    at_once = spoken(recognised(said.pcm, text))
    monkeypatch.setattr(module, "_PIECE_S", 3)
    monkeypatch.setattr(module, "_TAIL_S", 1)
    in_pieces = spoken(recognised(said.pcm, text))
    assert len(in_pieces) == len(at_once)
    pairs = list(zip(in_pieces, at_once, strict=True))
    assert sum(a.symbol != b.symbol for a, b in pairs) <= 2  # a dictionary has two ways to say `and`
    apart = [abs(float(a.start - b.start)) for a, b in pairs]
    assert np.median(apart) < 0.011
    assert max(apart) < 0.15


@espeak
@sphinx
def test_words_of_no_dictionary_and_numbers_are_said_too() -> None:
    text = "The wug blicked 42 gostaks."
    said = EspeakVoice("en-us", rate=140).speak(text)
    symbols = "".join(p.symbol for p in recognised(said.pcm, text) if p.symbol != SILENCE)
    assert "wʌg" in symbols
    assert "blɪkt" in symbols
    assert "fɔɹ" in symbols


@espeak
def test_an_unknown_word_sounds_as_espeak_says_it_in_cmus_phones() -> None:
    assert module._pronounced("blick") == ["B", "L", "IH", "K"]
    assert module._pronounced("chowjoy") == ["CH", "AW", "JH", "OY"]


def test_without_espeak_an_unknown_word_is_guessed_by_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert module._pronounced("blick") == ["B", "L", "IH", "K"]
    assert module._pronounced("'") == ["AH"]


def test_every_sound_of_espeaks_english_is_one_of_cmus() -> None:
    symbols = {*of_ipa("pbmfvwθðtdnszlɹɾʃʒkɡŋhjxʔ"), *of_ipa("iɪeɛæaɑɔoʊuʌəɜɐɚᵻ")}
    assert all(symbol in module._CMU for symbol in symbols)


@espeak
@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Guten Morgen, heute backen wir ein Brot mit Butter."),
        ("it", "Buongiorno, vorrei un caffè e un bicchiere di acqua."),
    ],
)
def test_any_other_language_is_laid_on_what_espeak_says(language: str, text: str) -> None:
    said = EspeakVoice(language, voice="f3", rate=130).speak(text)
    assert said.phones is not None
    phones = align(delayed(said), text, language)
    assert tiles(phones, len(said.pcm) + SAMPLE_RATE // 2)
    truth, found = middles(said.phones, "pbmfv"), middles(phones, "pbmfv")
    assert len(found) == len(truth)
    assert np.median(np.abs(np.array(found) - truth - 0.5)) < 0.04


@espeak
def test_stress_is_espeaks_whatever_the_phones_are() -> None:
    plain = tuple(Phone(Fraction(i), Fraction(i + 1), s) for i, s in enumerate("_bʌnænʌ_"))
    stressed = with_stress(plain, "banana", "en-us")
    assert [(p.symbol, p.stress) for p in stressed if p.stress] == [("æ", 1.0)]
    assert [(p.start, p.end, p.symbol) for p in stressed] == [(p.start, p.end, p.symbol) for p in plain]


@espeak
def test_a_transcript_that_says_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="holds n"):
        align(np.ones(SAMPLE_RATE, np.float32), " ... ", "en")


@sphinx
def test_a_transcript_that_cannot_fit_is_refused() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    text = "this is a sentence that no one has ever said in a single second of time"
    with pytest.raises(
        InputError, match=r"does not fit the speech: 16 words, from 'this' to 'time', are not heard in 1\.0 s"
    ):
        recognised(noise, text)


@espeak
@pytest.mark.parametrize("times", [1, 30])
def test_a_transcript_of_another_speech_is_refused_by_its_length(times: int) -> None:
    said = EspeakVoice("de").speak("Guten Tag. " * (31 - times))
    with pytest.raises(
        InputError, match=r"does not fit the speech: saying it takes about \d+\.\d s, and somebody speaks"
    ):
        align(said.pcm, "Guten Tag. " * times, "de")


@pytest.mark.parametrize("language", ["en", "de"])
def test_nothing_is_found_in_silence(language: str) -> None:
    phones = align(np.zeros(SAMPLE_RATE, np.float32), "hello", language)
    assert phones == (Phone(Fraction(0), Fraction(1), SILENCE),)
    assert align(np.zeros(0, np.float32), "hello", language) == ()


def test_a_language_that_needs_espeak_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from audio import voice

    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(voice, "_espeak", voice._espeak.__wrapped__)
    with pytest.raises(InputError, match=r"make setup adds espeak-ng"):
        align(np.ones(SAMPLE_RATE, np.float32), "Guten Tag", "de")


GRID = {
    "grid_bbaf2n": ("bin blue at f two now", "bɪnbluætɛftunaʊ"),
    "grid_sbwe5n": ("set blue with e five now", "sɛtbluwɪðifaɪvnaʊ"),
}


@sphinx
@espeak
@pytest.mark.skipif(not TALK.exists(), reason="needs the shared clips")
@pytest.mark.parametrize("name", GRID)
def test_two_ways_of_aligning_a_real_recording_agree(name: str) -> None:
    text, symbols = GRID[name]
    pcm = whole(read_speech(TALK / f"{name}.mpg"))
    one, other = spoken(recognised(pcm, text)), spoken(followed(pcm, text, "en-us"))
    assert "".join(p.symbol for p in one) == symbols
    same = [abs(float(a.start - b.start)) for a, b in zip(one, other, strict=True) if a.symbol == b.symbol]
    assert len(same) > 0.8 * len(one)
    assert np.median(same) < 0.03


def test_an_english_u_ends_in_a_w_and_takes_no_other_time() -> None:
    told = (Phone(Fraction(0), Fraction(1, 10), "t"), Phone(Fraction(1, 10), Fraction(3, 10), "u", 1.0))
    tongue, vowel, glide = gliding(told)
    assert tongue == told[0]
    assert (vowel.symbol, vowel.start, vowel.stress) == ("ɯ", Fraction(1, 10), 1.0)
    assert (glide.symbol, glide.end, glide.stress) == ("w", Fraction(3, 10), 0.0)
    assert vowel.end == glide.start
    assert gliding(told, "fr") == told
