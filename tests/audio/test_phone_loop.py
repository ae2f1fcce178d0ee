"""Phones come one after the other, and what each moment is taken for hangs on its neighbours."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.phone_loop import LAG, AsTheyCome, Decode, Smooth
from audio.phones import INDEX, SYMBOLS
from audio.rows import Rows, silence

Floats = NDArray[np.float32]


def rows(said: str, sure: float = 0.9) -> Rows:
    """A row a letter."""
    phones = np.full((len(said), len(SYMBOLS)), (1 - sure) / len(SYMBOLS), np.float32)
    phones[np.arange(len(said)), [INDEX[s] for s in said]] += sure
    spoken = np.linspace(0, 1, len(said), dtype=np.float32)
    return Rows(phones, spoken, 1 - spoken)


def smoothed(given: Rows, cut: int = 10_000) -> Rows:
    stage, out = Smooth(), silence(0)
    for i in range(0, len(given), cut):
        out = out.then(stage.push(given[i : i + cut]))
    return out.then(stage.flush())


@pytest.mark.parametrize("cut", [1, 7, LAG, 64])
def test_streamed_equals_whole(cut: int) -> None:
    rng = np.random.default_rng(0)
    given = rows("".join(rng.choice(list(SYMBOLS), 130)), 0.5)
    whole, streamed = smoothed(given), smoothed(given, cut)
    np.testing.assert_allclose(streamed.phones, whole.phones, atol=1e-6)
    np.testing.assert_array_equal(streamed.speech, given.speech)


def test_what_comes_out_are_probabilities() -> None:
    np.testing.assert_allclose(smoothed(rows("aaapppsss" * 5)).phones.sum(1), 1, atol=1e-4)


def test_a_slip_of_one_row_is_doubted_and_a_phone_of_many_is_not() -> None:
    slip, phone = (smoothed(rows("a" * 20 + "p" * n + "a" * 20, 0.6)).phones[20 + n // 2, INDEX["p"]] for n in (1, 9))
    print(f"p after one row {slip:.2f}, in nine {phone:.2f}")
    assert slip < 0.45
    assert phone > 0.7


def test_nothing_is_held_back_where_there_is_no_time() -> None:
    given = rows("apa")
    assert AsTheyCome().push(given) is given
    assert len(AsTheyCome().flush()) == 0


@pytest.mark.parametrize("cut", [1, 50, 1000])
def test_decoded_phones_are_those_said_without_gaps(cut: int) -> None:
    said = ("_" * 40 + "p" * 8 + "a" * 15 + "i" * 10 + "s" * 12) * 6
    given = rows(said, 0.7).phones
    decode = Decode(Fraction(5))
    found = [p for i in range(0, len(given), cut) for p in decode.push(given[i : i + cut])]
    found += decode.flush()
    assert "".join(p.symbol for p in found) == "_pais" * 6
    assert found[0].start == 5
    assert all(a.end == b.start for a, b in pairwise(found))
    assert found[-1].end == 5 + Fraction(len(said), 100)
