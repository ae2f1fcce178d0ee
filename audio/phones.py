"""Phones: the house's broad, language-independent inventory, and when each sounds.

A symbol stands for what lips, jaw and tongue do that can be seen or heard in any language; what only
a phonologist hears apart (length, tone, nasality, aspiration, retroflexion) is folded into its
neighbour. Everything that names speech sounds (espeak, pocketsphinx, a network's outputs) comes
through `of_ipa` or `of_arpabet`. Knows nothing of mouths or of sound.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

SILENCE = "_"
CONSONANTS: tuple[str, ...] = (
    "p", "b", "m", "f", "v", "β", "w", "θ", "ð", "t", "d", "n", "s", "z", "l", "r", "ɹ", "ʃ", "ʒ",
    "ɕ", "k", "g", "ŋ", "x", "ɣ", "h", "ʔ", "j",
)  # fmt: skip
VOWELS: tuple[str, ...] = (
    "i", "ɪ", "e", "ɛ", "æ", "a", "ɑ", "ɔ", "o", "ʊ", "u", "ʌ", "ə", "ɜ", "y", "ø", "ɯ",
)  # fmt: skip
SYMBOLS: tuple[str, ...] = (SILENCE, *CONSONANTS, *VOWELS)
INDEX: dict[str, int] = {symbol: i for i, symbol in enumerate(SYMBOLS)}


@dataclass(frozen=True)
class Phone:
    """One sound and when the mouth makes it: of a plosive, from the closing of the mouth to the end of the burst."""

    start: Fraction  # seconds
    end: Fraction  # seconds
    symbol: str  # one of SYMBOLS
    stress: float = 0.0  # of a vowel: 1 primary, 0.5 secondary, 0 none or not known

    def __post_init__(self) -> None:
        if self.symbol not in INDEX:
            raise ValueError(f"symbol is {self.symbol!r}, wanted one of {' '.join(SYMBOLS)}")
        if self.end < self.start:
            raise ValueError(f"{self.symbol} ends at {float(self.end)} s, before its start at {float(self.start)} s")


# Sounds that are not symbols of ours, as those that look and sound most like them.
_NEAREST: dict[str, str] = {
    # labial
    "ʙ": "b", "ɓ": "b", "ʘ": "p", "ɸ": "β", "ⱱ": "v", "ʋ": "v", "ʍ": "w", "ɥ": "y",
    "ɱ": "v",  # the nasal before f and v: the lip is at the teeth, the lips do not meet
    # dental to retroflex
    "ʈ": "t", "ɖ": "d", "ɗ": "d", "ᶑ": "d", "ɳ": "n", "ǀ": "t", "ǃ": "t", "!": "t", "|": "t",
    "ɫ": "l", "ɭ": "l", "ɬ": "l", "ɮ": "l", "ɺ": "l", "ǁ": "l", "ꞎ": "l",
    "ɾ": "r", "ɽ": "r", "ɻ": "ɹ", "ʂ": "ʃ", "ʐ": "ʒ", "ɧ": "ʃ",
    # palatal
    "ç": "ɕ", "ʑ": "ɕ", "ʝ": "j", "ɲ": "n", "ʎ": "l", "c": "k", "ɟ": "g", "ʄ": "g", "ǂ": "t",
    # velar to glottal
    "ɡ": "g", "ɠ": "g", "ʛ": "g", "ɢ": "g", "q": "k", "ɴ": "ŋ", "χ": "x", "ʁ": "ɣ", "ʀ": "ɣ", "ɰ": "ɣ", "ʟ": "l",
    "ħ": "h", "ɦ": "h", "ʜ": "h", "ʕ": "h", "ʢ": "h", "ʡ": "ʔ",
    # vowels
    "ɨ": "ɪ", "ᵻ": "ɪ", "ı": "ɪ", "ɩ": "ɪ", "ʏ": "y", "ʉ": "u", "ᵿ": "ʊ", "ɷ": "ʊ", "ɘ": "ə", "ɵ": "ø", "œ": "ø", "ɶ": "ø",
    "ɤ": "ʌ", "ɐ": "ʌ", "ɞ": "ʌ", "ɒ": "ɔ",
    "ɝ": "ɜ", "ɚ": "ɜ",  # steady vowels of their own, not a vowel and then an r
    # ligatures, and Greek letters typed for IPA's
    "ʦ": "ts", "ʣ": "dz", "ʧ": "tʃ", "ʤ": "dʒ", "ʨ": "tɕ", "ʥ": "dɕ", "ε": "ɛ", "γ": "ɣ",
    # X-SAMPA's capitals, which espeak leaves in some languages
    "A": "ɑ", "D": "ð", "E": "ɛ", "I": "ɪ", "N": "ŋ", "O": "ɔ", "Q": "ɔ", "R": "ɣ", "S": "ʃ", "T": "θ", "U": "ʊ",
    "V": "ʌ", "X": "x", "Z": "ʒ",
    # marks after a letter that are sounds of their own to an onlooker
    "˞": "ɹ", "ʷ": "w", "ᵊ": "ə", "ᶷ": "ʊ", "ᶦ": "ɪ",
}  # fmt: skip


def of_ipa(text: str) -> list[str]:
    """The symbols of an IPA string, in order; affricates and diphthongs are two.

    Stress, length, tone, ties, spaces and any letter that is not IPA are skipped.
    """
    found: list[str] = []
    for letter in _letters(text):
        if letter in INDEX and letter != SILENCE:
            found.append(letter)
        else:
            found.extend(_NEAREST.get(letter, ""))
    return found


def unknown_ipa(text: str) -> list[str]:
    """The letters of an IPA string that `of_ipa` skips and that are no mark, digit or space."""
    return [
        letter
        for letter in _letters(text)
        if letter not in INDEX and letter not in _NEAREST and unicodedata.category(letter) in ("Ll", "Lu", "Lo")
    ]


def _letters(text: str) -> str:
    # Decomposed, so that ã is an a and a mark; but the cedilla is no mark to IPA: c and ç are two sounds.
    whole = unicodedata.normalize("NFC", text).replace("ç", _NEAREST["ç"])
    return unicodedata.normalize("NFD", whole)


_ARPABET: dict[str, str] = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AX": "ə", "AXR": "ɜ", "AY": "aɪ", "EH": "ɛ", "ER": "ɜ",
    "EY": "eɪ", "IH": "ɪ", "IX": "ɪ", "IY": "i", "OW": "oʊ", "OY": "ɔɪ", "UH": "ʊ", "UW": "u", "UX": "u",
    "B": "b", "CH": "tʃ", "D": "d", "DH": "ð", "DX": "r", "EL": "l", "EM": "m", "EN": "n", "F": "f", "G": "g",
    "HH": "h", "HV": "h", "JH": "dʒ", "K": "k", "L": "l", "M": "m", "N": "n", "NG": "ŋ", "NX": "n", "P": "p",
    "Q": "ʔ", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "V": "v", "W": "w", "WH": "w", "Y": "j", "Z": "z",
    "ZH": "ʒ",
}  # fmt: skip
_NO_SPEECH = {"SIL", "PAU", "SSIL", "H#", "<S>", "</S>", "<SIL>", "[SPEECH]", "(NULL)"}


def of_arpabet(name: str) -> list[str]:
    """The symbols of one phone of ARPABET or of CMU's dictionary, with or without its stress digit.

    Silence, breath and noise (`SIL`, `+SPN+`, `+NSN+`) are SILENCE. Raises ValueError for any other name.
    """
    upper = name.upper()
    if upper in _NO_SPEECH or (upper.startswith("+") and upper.endswith("+")):
        return [SILENCE]
    if upper == "AH0":
        return ["ə"]
    base = upper.rstrip("012")
    if base not in _ARPABET:
        raise ValueError(f"{name!r} is no phone of ARPABET")
    return list(_ARPABET[base])


_FIRST = Fraction(11, 20)  # of a diphthong or affricate, the share that its first half takes


def spread(symbols: Sequence[str], start: Fraction, end: Fraction, stress: float = 0.0) -> tuple[Phone, ...]:
    """The symbols of one sound laid between its start and end, the first a little longer than the others."""
    assert symbols, "a sound of no symbols"
    if len(symbols) == 1:
        return (Phone(start, end, symbols[0], stress),)
    middle = start + (end - start) * (_FIRST if len(symbols) == 2 else Fraction(1, len(symbols)))
    return (Phone(start, middle, symbols[0], stress), *spread(symbols[1:], middle, end, stress))
