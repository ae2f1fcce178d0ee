"""English as it is written -> words as they are said, and a guess at how an unknown word sounds.

Only what a transcript needs to be laid on its recording: numbers, a few signs, the letters' usual sounds.
"""

from __future__ import annotations

import re
import unicodedata

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_GROUPS = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (10**2, "hundred"))
_IRREGULAR = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_SIGNS = {"&": " and ", "%": " percent ", "+": " plus ", "=": " equals ", "@": " at ", "$": " dollars ", "£": " pounds ", "€": " euros "}  # fmt: skip
_TOKEN = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:st|nd|rd|th)?(?![a-z])|[a-z]+(?:'[a-z]+)*'?|\d")


def words(text: str) -> list[str]:
    """The words of an English text in lower case, numbers spelled out: `at 7:45` is `at seven forty five`."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("’", "'").replace("ß", "ss"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"([$£€])\s*(\d[\d,.]*\d|\d)", r"\2\1", plain)  # said after the number
    for sign, said in _SIGNS.items():
        plain = plain.replace(sign, said)
    found: list[str] = []
    for token in _TOKEN.findall(plain):
        found.extend(_said(token) if token[0].isdigit() else [token])
    return found


def _said(token: str) -> list[str]:
    """A number as it stands in a text, in words."""
    ordinal = token[-2:] in ("st", "nd", "rd", "th")
    whole, _, decimals = token.rstrip("stndrh").replace(",", "").partition(".")
    if len(whole) > 12:
        return [_ONES[int(digit)] for digit in whole]
    is_year = len(whole) == 4 and token == whole and 1100 < int(whole) < 2000 and int(whole) % 100 != 0
    said = _year(int(whole)) if is_year else _cardinal(int(whole))
    if ordinal:
        said[-1] = _ordinal(said[-1])
    if decimals:
        said += ["point", *(_ONES[int(digit)] for digit in decimals)]
    return said


def _ordinal(word: str) -> str:
    return _IRREGULAR.get(word) or (f"{word[:-1]}ieth" if word.endswith("y") else f"{word}th")


def _year(n: int) -> list[str]:
    return [_ONES[n // 100], *(["oh"] if n % 100 < 10 else []), *_cardinal(n % 100)]


def _cardinal(n: int) -> list[str]:
    for size, name in _GROUPS:
        if n >= size:
            rest = _cardinal(n % size) if n % size else []
            return [*_cardinal(n // size), name, *rest]
    if n < 20:
        return [_ONES[n]]
    return [_TENS[n // 10], *([_ONES[n % 10]] if n % 10 else [])]


# Letters -> phones of CMU's dictionary, the longest that fits first.
_LETTERS = {
    "tch": "CH", "igh": "AY", "eau": "OW", "tion": "SH AH N", "sion": "ZH AH N", "ough": "OW", "augh": "AO",
    "sch": "S K", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "gh": "G", "ck": "K", "ng": "NG",
    "qu": "K W", "kn": "N", "wr": "R", "oo": "UW", "ee": "IY", "ea": "IY", "ie": "IY", "ei": "EY", "ai": "EY",
    "ay": "EY", "ey": "IY", "ou": "AW", "ow": "OW", "oi": "OY", "oy": "OY", "oa": "OW", "au": "AO", "aw": "AO",
    "ew": "UW", "ue": "UW", "er": "ER", "ir": "ER", "ur": "ER", "ar": "AA R", "or": "AO R", "x": "K S",
    "ce": "S EH", "ci": "S IH", "cy": "S IY", "ge": "JH EH", "gi": "JH IH", "dge": "JH",
    "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH",
    "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T",
    "u": "AH", "v": "V", "w": "W", "y": "IY", "z": "Z",
}  # fmt: skip
_LONGEST = max(map(len, _LETTERS))


def sounds(word: str) -> list[str]:
    """A guess at the phones of an English word, as CMU's dictionary names them, without stress."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    letters = re.sub(r"([b-df-hj-np-tv-z])\1", r"\1", letters)  # double consonants are one
    if len(letters) > 2 and letters.endswith("e") and letters[-2] not in "aeiou":
        letters = letters[:-1] if not letters.endswith(("ce", "ge")) else letters
    found: list[str] = []
    at = 0
    while at < len(letters):
        n = next(n for n in range(_LONGEST, 0, -1) if letters[at : at + n] in _LETTERS and at + n <= len(letters))
        found += _LETTERS[letters[at : at + n]].split()
        at += n
    if letters.endswith(("ce", "ge")) and len(found) > 2:
        found.pop()  # its e is not said
    return found
