"""Any language's names for its sounds become symbols of ours."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest

from audio.phones import CONSONANTS, INDEX, SILENCE, SYMBOLS, VOWELS, Phone, of_arpabet, of_ipa, spread, unknown_ipa

PULMONIC = "pbtdʈɖcɟkɡqɢʔmɱnɳɲŋɴʙrʀⱱɾɽɸβfvθðszʃʒʂʐçʝxɣχʁħʕhɦɬɮʋɹɻjɰlɭʎʟ"
CHART_VOWELS = "iyɨʉɯuɪʏʊeøɘɵɤoəɛœɜɞʌɔæɐaɶɑɒɚɝ"
CMU = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()  # noqa: SIM905


def test_symbols_are_unique_and_of_one_character() -> None:
    assert len(set(SYMBOLS)) == len(SYMBOLS)
    assert all(len(symbol) == 1 for symbol in SYMBOLS)
    assert SYMBOLS[0] == SILENCE
    assert not set(CONSONANTS) & set(VOWELS)


def test_every_symbol_is_its_own_ipa() -> None:
    assert [of_ipa(symbol) for symbol in SYMBOLS[1:]] == [[symbol] for symbol in SYMBOLS[1:]]


@pytest.mark.parametrize("letter", PULMONIC)
def test_every_consonant_of_the_chart_becomes_a_consonant(letter: str) -> None:
    (symbol,) = of_ipa(letter)
    assert symbol in CONSONANTS


@pytest.mark.parametrize("letter", CHART_VOWELS)
def test_every_vowel_of_the_chart_becomes_a_vowel(letter: str) -> None:
    (symbol,) = of_ipa(letter)
    assert symbol in VOWELS


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("ˈɑ̃ː", "ɑ"),
        ("t͡ʃ", "tʃ"),
        ("ʧ", "tʃ"),
        ("pʰ", "p"),
        ("kʷ", "kw"),
        ("aɪ", "aɪ"),
        ("ɑ˞", "ɑɹ"),
        ("n̩", "n"),
        ("tʲ", "t"),
        ("ma˥˩ ma3", "mama"),
        ("ˈfɑːðɚ", "fɑðɜ"),
        ("ʒɔ̃", "ʒɔ"),
        ("ɪç", "ɪɕ"),
        ("ic̜", "ik"),
        ("ic\u0327", "iɕ"),
        ("ɱv", "vv"),
        ("", ""),
        ("?? 12 _", ""),
    ],
)
def test_marks_are_folded_and_double_sounds_are_two(text: str, symbols: str) -> None:
    assert of_ipa(text) == list(symbols)


def test_letters_that_are_no_ipa_are_told() -> None:
    assert unknown_ipa("ˈpʰɪк") == ["к"]
    assert of_ipa("ˈpʰɪк") == ["p", "ɪ"]
    assert not unknown_ipa("ˈʃtʁuːdl̩ 12 ɚ˞")


@pytest.mark.parametrize("name", CMU)
def test_every_phone_of_cmus_dictionary_is_known_with_any_stress(name: str) -> None:
    symbols = of_arpabet(name)
    assert symbols
    assert all(symbol in INDEX and symbol != SILENCE for symbol in symbols)
    assert of_arpabet(f"{name}1") == of_arpabet(name.lower()) == symbols


def test_what_a_recogniser_says_of_pauses_and_noise_is_silence() -> None:
    for name in ("SIL", "+SPN+", "+NSN+", "<s>", "</s>", "+BREATH+"):
        assert of_arpabet(name) == [SILENCE]


def test_an_unstressed_ah_is_a_schwa() -> None:
    assert of_arpabet("AH0") == ["ə"]
    assert of_arpabet("AH1") == ["ʌ"]


def test_a_phone_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="'QX' is no phone of ARPABET"):
        of_arpabet("QX")
    with pytest.raises(ValueError, match="symbol is 'tʃ', wanted one of _ p b"):
        Phone(Fraction(0), Fraction(1), "tʃ")
    with pytest.raises(ValueError, match=r"a ends at 0\.0 s, before its start at 1\.0 s"):
        Phone(Fraction(1), Fraction(0), "a")


@pytest.mark.parametrize("symbols", ["a", "aɪ", "kwa"])
def test_the_halves_of_a_sound_fill_it_without_a_gap(symbols: str) -> None:
    phones = spread(list(symbols), Fraction(1, 3), Fraction(1, 2), 1.0)
    assert [phone.symbol for phone in phones] == list(symbols)
    assert phones[0].start == Fraction(1, 3)
    assert phones[-1].end == Fraction(1, 2)
    assert all(a.end == b.start and a.end > a.start for a, b in pairwise(phones))
    assert all(phone.stress == 1.0 for phone in phones)
