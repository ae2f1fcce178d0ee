"""A body goes where its shoulders go: together, apart, and without tearing at the picture's edges."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import gaze_of, template
from perfcap.head import UNIT_M
from runtime.records import N_EXPRESSION, Motion
from synth.retarget import LEAN_UNITS, STRAY_UNITS, Retarget, RetargetOptions
from synth.rig import Character
from synth.warp import WarpRenderer
from tests.synth.test_warp import character_of

Rgb = NDArray[np.uint8]
INSIDE = 0.1  # of the way from one shoulder to the other
SIDE = 24  # px of what is looked for again


@pytest.fixture(scope="module")
def whole() -> Character:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    return character_of(np.asarray(data.astronaut(), np.uint8))


@pytest.fixture(scope="module")
def renderer(whole: Character) -> WarpRenderer:
    return WarpRenderer(whole)


def own(character: Character, right_px: tuple[float, float], left_px: tuple[float, float]) -> Motion:
    """What the picture shows, but its shoulders went so far."""
    m_per_px = character.head[2, 3] / np.float32(character.camera.focal_px)
    shoulders = character.shoulders.copy()
    shoulders[:, :2] += np.array((right_px, left_px), np.float32) * m_per_px
    return Motion(
        time=Fraction(0), head=character.head, expression=np.zeros(N_EXPRESSION, np.float32),
        gaze=gaze_of(character.face), face=character.face, confidence=1.0, shoulders=shoulders,
    )  # fmt: skip


def gone(before: Rgb, after: Rgb, at: NDArray[np.floating[Any]], reach: int = 28) -> NDArray[np.float64]:
    """How far what was at a place [2] px has gone, x and y."""
    import cv2

    x, y = (int(v) for v in at)
    part = before[y - SIDE : y + SIDE, x - SIDE : x + SIDE]
    wide = after[y - SIDE - reach : y + SIDE + reach, x - SIDE - reach : x + SIDE + reach]
    _, _, _, (found_x, found_y) = cv2.minMaxLoc(cv2.matchTemplate(wide, part, cv2.TM_CCOEFF_NORMED))
    return np.array((found_x - reach, found_y - reach), np.float64)


def shoulders_px(character: Character) -> NDArray[np.float32]:
    """A little inside of and below where they are, where there is cloth on all sides."""
    right, left = character.camera.project(character.shoulders)
    inside = np.array((right + (left - right) * INSIDE, left + (right - left) * INSIDE), np.float32)
    return inside + np.array((0, 30), np.float32)


@pytest.mark.parametrize(
    ("right", "left"), [((12, 0), (12, 0)), ((0, -9), (0, -9)), ((0, -9), (0, 9)), ((0, 0), (0, -10))]
)
def test_each_shoulder_goes_as_far_as_it_is_told(
    whole: Character, renderer: WarpRenderer, right: tuple[float, float], left: tuple[float, float]
) -> None:
    drawn = renderer.draw(own(whole, right, left)).rgb
    a, b = np.array(right), np.array(left)
    for at, wanted in zip(shoulders_px(whole), (a + (b - a) * INSIDE, b + (a - b) * INSIDE), strict=True):
        np.testing.assert_allclose(gone(whole.rgb, drawn, at), wanted, atol=2.5)
    x0, y0, x1, y1 = np.concatenate((whole.landmarks[:, :2].min(0), whole.landmarks[:, :2].max(0))).astype(int)
    chin = y1 - (y1 - y0) // 4  # the neck goes along below
    assert np.abs(drawn[y0:chin, x0:x1].astype(int) - whole.rgb[y0:chin, x0:x1]).mean() < 3


def test_shoulders_at_rest_are_the_picture_and_its_edges_stay(whole: Character, renderer: WarpRenderer) -> None:
    still = renderer.draw(own(whole, (0, 0), (0, 0))).rgb
    plain = renderer.draw(replace(own(whole, (0, 0), (0, 0)), shoulders=None)).rgb
    np.testing.assert_array_equal(still, plain)
    moved = renderer.draw(own(whole, (10, 0), (10, 0))).rgb
    np.testing.assert_allclose(moved[:, 0].astype(int), still[:, 0], atol=12)
    np.testing.assert_allclose(moved[:, -1].astype(int), still[:, -1], atol=12)


def performer(shoulders: NDArray[np.floating[Any]] | None, aside_m: float = 0.0) -> Motion:
    head = np.eye(4, dtype=np.float32)
    head[:3, 3] = (aside_m, 0, 0.6)
    return Motion(
        time=Fraction(0), head=head, expression=np.zeros(N_EXPRESSION, np.float32), gaze=np.zeros((2, 2), np.float32),
        face=template(), confidence=1.0, shoulders=None if shoulders is None else shoulders.astype(np.float32),
    )  # fmt: skip


AT_REST = np.array(((-0.19, 0.25, 0.6), (0.19, 0.25, 0.6)))


def test_a_character_leans_as_far_as_the_performer_and_their_head_with_it(whole: Character) -> None:
    retarget = Retarget(whole, template(), [performer(AT_REST)], RetargetOptions())
    lean = 0.07
    (moved,) = retarget.push(performer(AT_REST + np.array((lean, 0, 0)), lean))
    assert moved.shoulders is not None
    np.testing.assert_allclose((moved.shoulders - whole.shoulders)[:, 0], lean, atol=0.004)
    np.testing.assert_allclose(moved.head[0, 3] - whole.head[0, 3], lean, atol=0.006)
    (alone,) = retarget.push(performer(None, lean))
    assert alone.shoulders is None
    assert abs(alone.head[0, 3] - whole.head[0, 3]) < STRAY_UNITS * UNIT_M
    (far,) = retarget.push(performer(AT_REST + np.array((0.9, 0, 0)), 0.9))
    assert far.shoulders is not None
    assert np.abs((far.shoulders - whole.shoulders)[:, 0]).max() <= LEAN_UNITS * UNIT_M + 1e-3


def test_a_shrug_lifts_shoulders_and_leaves_the_head(whole: Character) -> None:
    retarget = Retarget(whole, template(), [performer(AT_REST)], RetargetOptions())
    (moved,) = retarget.push(performer(AT_REST + np.array((0, -0.03, 0))))
    assert moved.shoulders is not None
    np.testing.assert_allclose((moved.shoulders - whole.shoulders)[:, 1], -0.03, atol=0.002)
    np.testing.assert_allclose(moved.head[:2, 3], whole.head[:2, 3], atol=0.003)
