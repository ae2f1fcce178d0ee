"""A written English text as it is said."""

from __future__ import annotations

import pytest

from audio.phones import of_arpabet
from audio.spelling import sounds, words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("And so, my fellow Americans!", "and so my fellow americans"),
        ("It’s 7:45 -- don't wait.", "it's seven forty five don't wait"),
        ("twenty-one", "twenty one"),
        ("42 and 100 and 1,234", "forty two and one hundred and one thousand two hundred thirty four"),
        ("2,345,678", "two million three hundred forty five thousand six hundred seventy eight"),
        ("in 1999, 1905 or 2024", "in nineteen ninety nine nineteen oh five or two thousand twenty four"),
        ("3.14", "three point one four"),
        ("the 1st, 2nd, 3rd, 12th, 20th and 45th", "the first second third twelfth twentieth and forty fifth"),
        ("5% of $20 & more", "five percent of twenty dollars and more"),
        ("a café in Köln", "a cafe in koln"),
        ("1234567890123", "one two three four five six seven eight nine zero one two three"),
        ("MP3", "mp three"),
        ("0", "zero"),
        ("...", ""),
    ],
)
def test_a_text_becomes_the_words_that_are_said(text: str, said: str) -> None:
    assert " ".join(words(text)) == said


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("blick", "B L IH K"),
        ("shope", "SH AA P"),
        ("thrapping", "TH R AE P IH NG"),
        ("quaxo", "K W AE K S AA"),
        ("zz", "Z"),
        ("'", ""),
    ],
)
def test_an_unknown_word_is_guessed_by_its_letters(word: str, phones: str) -> None:
    assert " ".join(sounds(word)) == phones


def test_a_guess_is_always_of_cmus_phones() -> None:
    for word in ("understudy", "zyzzyva", "eighteenth", "mnemonic", "schwa", "knight", "rhythm", "ice", "age", "e"):
        assert all(of_arpabet(phone) for phone in sounds(word))
