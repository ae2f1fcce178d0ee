"""What is known to be said, as rows, and blended with what is heard."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from audio.phones import INDEX, SYMBOLS, Phone
from audio.rows import SILENT, Rows, blended, rows_of, silence

SAID = (
    Phone(Fraction(1, 10), Fraction(2, 10), "p"),
    Phone(Fraction(2, 10), Fraction(5, 10), "a"),
    Phone(Fraction(7, 10), Fraction(9, 10), "s"),
)


def test_rows_say_what_is_said_at_their_moment_and_nothing_elsewhere() -> None:
    rows = rows_of(SAID, 100)
    names = "".join(SYMBOLS[i] for i in rows.phones.argmax(1))
    assert names == "_" * 10 + "p" * 10 + "a" * 30 + "_" * 20 + "s" * 20 + "_" * 10
    np.testing.assert_array_equal(rows.speech, rows.phones.argmax(1) != SILENT)


def test_a_part_of_the_rows_is_that_part() -> None:
    whole = rows_of(SAID, 100)
    for first in (0, 5, 15, 60, 95):
        np.testing.assert_array_equal(rows_of(SAID, 20, first).phones[: 100 - first], whole[first : first + 20].phones)


def test_what_is_heard_and_what_is_known_are_shared_as_trusted() -> None:
    heard = Rows(silence(10).phones[:, ::-1].copy(), np.ones(10, np.float32), np.full(10, 0.5, np.float32))
    both = blended(heard, rows_of((Phone(Fraction(0), Fraction(1), "m"),), 10), 0.25)
    np.testing.assert_allclose(both.phones[:, INDEX["m"]], 0.25)
    np.testing.assert_allclose(both.phones.sum(1), 1)
    np.testing.assert_allclose(both.breath, 0.5)  # of which no transcript tells


def test_nothing_is_said_where_nothing_is_heard() -> None:
    both = blended(silence(10), rows_of((Phone(Fraction(0), Fraction(1), "m"),), 10), 0.5)
    np.testing.assert_allclose(both.phones[:, SILENT], 1)
    np.testing.assert_allclose(both.speech, 0)
