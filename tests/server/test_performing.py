from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from perfcap.written import Script
from runtime.errors import InputError
from runtime.records import Cue
from server.performing import MOST_S, USUAL_S, Picture, Seeing, Showing, SteadyClock
from synth.camera import parse_move
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character, rig
from synth.warp import WarpRenderer

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def character(face: Rgb) -> Character:
    found = MediaPipeFaces(still=True).find(face)
    return rig(face, found[0], template())


class Both:
    """Seeing and Showing in a row."""

    def __init__(self, character: Character) -> None:
        self.seeing = Seeing(MediaPipeFaces())
        self.showing = Showing(character)

    def __call__(self, i: int, picture: Rgb) -> Rgb:
        return self.showing(self.seeing(Picture(Fraction(i, 30), picture)))


def acting(character: Character, n: int) -> list[Rgb]:
    """The character's own picture, its mouth opening and shutting."""
    script = Script(Fraction(n, 30), {"jawOpen": tuple((i / 30, 0.8 * (i // 10 % 2)) for i in range(0, n, 10))})
    motions = [script(Fraction(i, 30)) for i in range(n)]
    retarget, renderer = Retarget(character, template(), motions[:1], RetargetOptions()), WarpRenderer(character)
    return [np.asarray(renderer.render(Cue(time=m.time, motion=retarget(m))).rgb) for m in motions]


def opening(rgb: Rgb, finder: MediaPipeFaces) -> float:
    (found,) = finder.find(rgb)
    p = found.landmarks
    return float((p[14, 1] - p[13, 1]) / np.linalg.norm(p[33, :2] - p[263, :2]))


@pytest.mark.slow
def test_the_character_s_mouth_follows_the_performer_s(character: Character) -> None:
    pictures = acting(character, 80)
    perform = Both(character)
    shown = [perform(i, picture) for i, picture in enumerate(pictures)]
    finder = MediaPipeFaces()
    was, now = (np.array([opening(p, finder) for p in film]) for film in (pictures, shown))
    assert np.corrcoef(was[10:], now[10:])[0, 1] > 0.9


def test_before_a_face_is_seen_the_character_rests(character: Character) -> None:
    perform = Both(character)
    shown = perform(0, np.full((240, 320, 3), 90, np.uint8))
    assert shown.shape == character.rgb.shape
    assert np.abs(shown.astype(int) - character.rgb).mean() < 2
    assert perform.seeing.n_faceless == 1


def test_a_camera_that_changes_size_and_a_face_that_leaves_are_no_errors(character: Character, face: Rgb) -> None:
    perform = Both(character)
    half = np.asarray(cv2.resize(face, None, fx=0.5, fy=0.5), np.uint8)
    pictures = [face] * 10 + [half] * 3 + [np.zeros_like(half)] * 3 + [face] * 3
    for i, picture in enumerate(pictures):
        assert perform(i, picture).shape == character.rgb.shape
    assert perform.seeing.n_faceless == 3


def test_calibrating_makes_the_face_of_now_neutral(character: Character) -> None:
    pictures = acting(character, 26)
    perform = Both(character)
    for i, picture in enumerate(pictures[:16]):
        wide = perform(i, picture)  # ends with its mouth wide open
    perform.seeing.calibrate()
    for i in range(16, 40):
        shown = perform(i, pictures[15])
    before, after = (opening(p, MediaPipeFaces()) for p in (wide, shown))
    print(f"mouth open {before:.3f} before, {after:.3f} after")
    assert after < 0.6 * before


def test_another_character_goes_on_with_what_is_known_of_the_performer(character: Character) -> None:
    pictures = acting(character, 20)
    perform = Both(character)
    for i, picture in enumerate(pictures):
        perform(i, picture)
    other = Showing(character)
    other.take_over(perform.showing)
    seen = perform.seeing(Picture(Fraction(20, 30), pictures[-1]))
    assert seen.learned is None
    assert np.abs(other(seen).astype(int) - perform.showing(seen)).mean() < 1.5  # not the picture at rest


def test_the_camera_goes_to_a_view_and_back_again_and_the_opacity_goes_along(character: Character, face: Rgb) -> None:
    perform = Both(character)
    still = perform(0, face)
    opacity = perform.showing.opacity.copy()
    perform.showing.go(perform.showing.look((parse_move("zoom:1.5"),)))
    sizes = []
    for i in range(1, 40):
        near = perform(i, face)
        sizes.append(int((perform.showing.opacity > 128).sum()))
    assert np.abs(near.astype(int) - still).mean() > 5
    assert sizes[-1] > 1.05 * (opacity > 128).sum()
    assert np.abs(np.diff(sizes)).max() < 0.12 * face.shape[0] * face.shape[1]  # without a jump
    perform.showing.go(None)
    for i in range(40, 70):
        seen = perform.seeing(Picture(Fraction(i, 30), face))
        back = perform.showing(seen)
    without = Showing(character)
    without.take_over(perform.showing)
    assert np.abs(back.astype(int) - without(seen)).mean() < 0.5


def test_a_view_beyond_the_picture_is_refused(character: Character) -> None:
    with pytest.raises(InputError, match="edges"):
        Showing(character).look((parse_move("pan:0.7"), parse_move("zoom:0.25")))


@pytest.mark.parametrize(("times_us", "last"), [
    ([0, 40_000, 80_000], Fraction(8, 100)), ([0, 0, 0], Fraction(2, 1000)), ([0, -(1 << 63)], USUAL_S),
    ([0, (1 << 63) - 1], MOST_S), ([5_000_000, 0, 40_000], USUAL_S + Fraction(4, 100)),
])  # fmt: skip
def test_whatever_times_a_sender_gives_time_goes_on(times_us: list[int], last: Fraction) -> None:
    clock = SteadyClock()
    assert [clock(t) for t in times_us][-1] == last
