"""Glasses are found where there are some, and stay as they are however the face before which they lie moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import basis, gaze_of, template
from perfcap.face import MediaPipeFaces
from perfcap.landmarks import (
    BROWS_LOWER,
    LEFT_EYE,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    RIGHT_EYE,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)
from perfcap.written import head_at
from runtime.records import ARKIT_INDEX, N_EXPRESSION, Cue, Motion
from synth.glasses import HELD, find_glasses, find_thick_glasses, hold
from synth.rig import Character, rig
from synth.warp import WarpRenderer

Rgb = NDArray[np.uint8]


def character_of(rgb: Rgb) -> Character:
    finder = MediaPipeFaces(still=True)
    (mesh,) = finder.find(rgb)
    finder.close()
    return rig(rgb, mesh, template())


@dataclass(frozen=True)
class Wearer:
    bare: Rgb  # [H, W, 3]
    rims: NDArray[np.bool_]  # [H, W]
    character: Character  # with rims


@pytest.fixture(scope="module")
def wearer() -> Wearer:
    import cv2

    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    bare = np.ascontiguousarray(data.astronaut()[:288, 80:368])
    landmarks = character_of(bare).landmarks[:, :2]
    right, left = (landmarks[list(ring)] for ring in (RIGHT_EYE, LEFT_EYE))
    width = float(np.ptp(right[:, 0]))
    rims = np.zeros(bare.shape[:2], np.uint8)
    inner = []
    for eye, side in ((right, 1), (left, -1)):
        middle = eye.mean(0) + np.array((0, 0.15 * width))
        size = (round(0.85 * width), round(0.7 * width))
        cv2.ellipse(rims, tuple(int(v) for v in middle.round()), size, 0, 0, 360, 1, 2, cv2.LINE_8)
        inner.append((round(float(middle[0] + side * size[0])), round(float(middle[1] - 0.1 * width))))
    cv2.line(rims, inner[0], inner[1], 1, 2)
    worn = bare.copy()
    worn[rims > 0] = (25, 20, 20)
    return Wearer(bare, rims > 0, character_of(worn))


def own(character: Character) -> Motion:
    return Motion(
        time=Fraction(0), head=character.head, expression=np.zeros(N_EXPRESSION, np.float32),
        gaze=gaze_of(character.face), face=character.face, confidence=1.0,
    )  # fmt: skip


def draw(character: Character, motion: Motion) -> Rgb:
    return np.asarray(WarpRenderer(character).render(Cue(time=motion.time, motion=motion)).rgb)


def test_rims_are_found_and_a_bare_face_has_none(wearer: Wearer) -> None:
    cover = find_glasses(wearer.character.rgb, wearer.character.landmarks)
    assert cover is not None
    found = cover[wearer.rims].mean()
    print(f"{found:.2f} of the rims, and {(cover[~wearer.rims] > 0.5).mean():.4f} of what is none")
    assert found > 0.75
    assert (cover[~wearer.rims] > 0.5).mean() < 0.02
    assert find_glasses(wearer.bare, wearer.character.landmarks) is None


def test_hinges_go_with_their_rims(wearer: Wearer) -> None:
    rgb = wearer.character.rgb.copy()
    xs = np.nonzero(wearer.rims.any(0))[0]
    rows = [int(np.nonzero(wearer.rims[:, x])[0].mean()) for x in (xs[0], xs[-1])]
    hinges = np.zeros_like(wearer.rims)
    hinges[rows[0] - 1 : rows[0] + 1, xs[0] - 6 : xs[0]] = True
    hinges[rows[1] - 1 : rows[1] + 1, xs[-1] + 1 : xs[-1] + 7] = True
    rgb[hinges] = (25, 20, 20)
    cover = find_glasses(rgb, wearer.character.landmarks)
    assert cover is not None
    print(f"{cover[hinges].mean():.2f} of the hinges")
    assert cover[hinges].mean() > 0.6


def test_a_picture_with_glasses_that_performs_itself_is_itself(wearer: Wearer) -> None:
    rgb = draw(wearer.character, own(wearer.character))
    error = np.abs(rgb.astype(float) - wearer.character.rgb)[wearer.rims].mean()
    print(f"mean difference of the rims {error:.1f}")
    assert error < 6


def test_a_face_that_moves_does_not_bend_them(wearer: Wearer, monkeypatch: pytest.MonkeyPatch) -> None:
    character = wearer.character
    face = character.face.copy()
    for name in ("cheekSquintLeft", "cheekSquintRight", "eyeSquintLeft", "eyeSquintRight", "browInnerUp"):
        face += basis()[ARKIT_INDEX[name]]
    squints = replace(own(character), face=face.astype(np.float32))

    def change() -> float:
        """Of the rims, from the picture at rest to the face that squints, mean grey levels."""
        rest, rgb = draw(character, own(character)), draw(character, squints)
        return float(np.abs(rgb.astype(float) - rest)[wearer.rims].mean())

    apart = change()
    for kind in ("find_glasses", "find_thick_glasses"):
        monkeypatch.setattr(f"synth.warp.{kind}", lambda rgb, landmarks: None)
    bent = change()
    print(f"rims change by {apart:.1f}; bent with the skin by {bent:.1f}")
    assert apart < 0.5 * bent


def test_corners_of_eyes_that_a_blink_pulls_down_take_none_along(wearer: Wearer) -> None:
    character = wearer.character
    face = character.face.copy()
    face[[33, 133, 362, 263], 1] += 0.03
    shut = face.copy()
    for upper, lower in ((RIGHT_LID_UPPER, RIGHT_LID_LOWER), (LEFT_LID_UPPER, LEFT_LID_LOWER)):
        shut[list(upper)] = shut[list(lower)]
    rest = draw(character, own(character)).astype(float)
    above = wearer.rims.copy()
    above[int(character.landmarks[list(RIGHT_EYE + LEFT_EYE), 1].min()) - 4 :] = False  # where lids draw nothing
    awake, blinks = (
        np.abs(draw(character, replace(own(character), face=f)) - rest)[above].mean() for f in (face, shut)
    )
    print(f"rims change by {awake:.1f}, in a blink by {blinks:.1f}")
    assert blinks < 0.3 * awake


def test_they_turn_with_the_head(wearer: Wearer) -> None:
    character = wearer.character
    head = head_at(0.3, 0.0, 0.0)
    head[:3, :3] = head[:3, :3] @ character.head[:3, :3]
    head[:3, 3] = character.head[:3, 3]
    drawn = WarpRenderer(character).draw(replace(own(character), head=head))
    assert find_glasses(drawn.rgb, drawn.landmarks) is not None


def test_a_head_turned_away_shows_none_and_fails_at_nothing(wearer: Wearer) -> None:
    character = wearer.character
    for yaw in (1.5, 3.1):
        head = head_at(yaw, 0.0, 0.0)
        head[:3, :3] = head[:3, :3] @ character.head[:3, :3]
        head[:3, 3] = character.head[:3, 3]
        assert draw(character, replace(own(character), head=head)).shape == character.rgb.shape


def test_skin_under_thick_glasses_goes_more_with_the_skull_and_lids_do_not(wearer: Wearer) -> None:
    assert find_thick_glasses(wearer.bare, character_of(wearer.bare).landmarks) is None
    character = wearer.character
    worn = wearer.bare.copy()
    worn[wearer.rims] = 0
    held = find_thick_glasses(worn, character.landmarks)
    assert held is not None
    raised = character.face.copy()
    raised[:] += 0.02  # a head mistaken
    raised[list(BROWS_LOWER), 1] -= 0.1
    lids = list(LEFT_LID_UPPER[1:-1] + RIGHT_LID_UPPER[1:-1])
    raised[lids, 1] += 0.05
    now = hold(raised, character.face, held)
    rim = np.array([k for k in BROWS_LOWER if held[k, 0] == 1])
    assert len(rim)
    pulled = now[rim] - character.face[rim] - 0.02
    np.testing.assert_allclose(pulled[:, 1], -0.1 * (1 - HELD), atol=1e-5, err_msg="how far brows pull the rims up")
    assert np.abs(pulled[:, (0, 2)]).max() < 1e-5
    assert np.array_equal(now[lids], raised[lids]), "lids were held"
