from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.portrait import AHEAD, Speaking, gaps
from perfcap.expression import template
from perfcap.written import face_of
from runtime.records import ARKIT_INDEX, N_EXPRESSION, Motion
from runtime.stage import run
from tests.audio.loud import motion_at

Floats = NDArray[np.float32]


def making(**coefficients: float) -> Floats:
    """The mean face [478, 3] making an expression; `mouthSmile` is both sides."""
    expression = np.zeros(N_EXPRESSION, np.float32)
    for name, value in coefficients.items():
        for side in ("Left", "Right") if name == "mouthSmile" else ("",):
            expression[ARKIT_INDEX[name + side]] = value
    return face_of(expression, np.zeros((2, 2), np.float32))


def spoken(own: Floats, jaws: Sequence[float], gain: float = 1.0) -> list[Motion]:
    """What a picture's face makes of jaws, 100 a second."""
    motions = [motion_at(Fraction(i, 100), jaw) for i, jaw in enumerate(jaws)]
    return list(run(Speaking(own, gain), motions))


OWN = {"plain": making(), "smile": making(mouthSmile=0.9), "parted": making(jawOpen=0.2), "agape": making(jawOpen=0.5)}
PHRASE = [0.0] * 60 + [0.3] * 20 + [0.0] * 5 + [0.3] * 20 + [0.0] * 60  # the lips meet in the middle


@pytest.mark.parametrize("name", OWN)
def test_in_silence_the_picture_is_itself(name: str) -> None:
    speaking = Speaking(OWN[name], 1.0)
    motions = spoken(OWN[name], PHRASE)
    for motion in (motions[0], motions[20], motions[-1]):
        assert np.allclose(motion.face, speaking.rest.face, atol=1e-6)
    own = np.maximum(gaps(OWN[name]), 0)
    assert np.abs(gaps(speaking.rest.face) - own).max() < 0.015


@pytest.mark.parametrize("name", OWN)
def test_lips_meet_whatever_the_picture_does(name: str) -> None:
    motions = spoken(OWN[name], PHRASE)
    assert gaps(motions[82].face).max() < 0.002
    assert gaps(motions[70].face)[4] > 0.06


def test_a_picture_that_gapes_says_what_a_plain_one_says() -> None:
    plain, agape = (spoken(OWN[name], PHRASE)[70].face for name in ("plain", "agape"))
    assert np.allclose(gaps(plain), gaps(agape), atol=1e-5)


def test_a_smile_stays_in_part() -> None:
    motions = spoken(OWN["smile"], PHRASE)
    width = [float(np.linalg.norm(m.face[61] - m.face[291])) for m in (motions[0], motions[82])]
    plain = float(np.linalg.norm(template()[61] - template()[291]))
    assert plain + 0.01 < width[1] < width[0] - 0.01


@pytest.mark.parametrize("name", OWN)
def test_nothing_jumps_between_silence_and_speech(name: str) -> None:
    slowly = [0.0] * 60 + list(np.linspace(0, 0.3, 30)) + list(np.linspace(0.3, 0, 30)) + [0.0] * 60
    faces = np.stack([m.face for m in spoken(OWN[name], slowly)])
    assert np.abs(np.diff(faces, axis=0)).max() < 0.025


def test_intensity_is_of_the_speech_and_leaves_the_picture() -> None:
    weak, strong = (spoken(OWN["smile"], PHRASE, gain) for gain in (0.5, 1.5))
    assert np.allclose(weak[0].face, strong[0].face)
    assert gaps(strong[70].face)[4] > 2 * gaps(weak[70].face)[4]
    assert gaps(strong[82].face).max() < 0.002


def test_streamed_equals_whole_and_loses_nothing() -> None:
    motions = [motion_at(Fraction(i, 100), jaw) for i, jaw in enumerate(PHRASE)]
    stage = Speaking(OWN["smile"], 1.0)
    first, again = list(run(stage, motions)), list(run(stage, motions))
    assert [m.time for m in first] == [m.time for m in motions]
    assert all(np.array_equal(a.face, b.face) for a, b in zip(first, again, strict=True))


def test_it_holds_back_no_more_than_it_says() -> None:
    stage = Speaking(OWN["plain"], 1.0)
    held = 0
    for i in range(200):
        held += 1 - len(stage.push(motion_at(Fraction(i, 100), 0.0)))
    assert held == 100 * AHEAD
