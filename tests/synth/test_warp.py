"""A picture that performs itself is itself; what moves moves by what was asked, and nothing is remembered."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from perfcap.expression import basis, gaze_of, template
from perfcap.face import MediaPipeFaces
from perfcap.head import fit_head, place
from perfcap.landmarks import CHIN, INNER_LIPS_LOWER, INNER_LIPS_UPPER, OUTER_EYES
from perfcap.written import head_at, range_of_motion
from runtime.records import ARKIT_INDEX, N_EXPRESSION, N_FACE, Cue, Motion
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character, rig
from synth.warp import Mouth, OwnTeeth, WarpRenderer, _lit

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def whole() -> Rgb:  # [512, 512, 3]
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    return np.asarray(data.astronaut(), np.uint8)


def character_of(rgb: Rgb) -> Character:
    finder = MediaPipeFaces(still=True)
    (mesh,) = finder.find(rgb)
    finder.close()
    return rig(rgb, mesh, template())


@pytest.fixture(scope="module")
def hero(whole: Rgb) -> Character:
    return character_of(np.ascontiguousarray(whole[:288, 80:368]))


@pytest.fixture(scope="module")
def renderer(hero: Character) -> WarpRenderer:
    return WarpRenderer(hero)


def own(character: Character) -> Motion:
    """What the picture shows."""
    return Motion(
        time=Fraction(0), head=character.head, expression=np.zeros(N_EXPRESSION, np.float32),
        gaze=gaze_of(character.face), face=character.face, confidence=1.0,
    )  # fmt: skip


def moved(character: Character, x_px: float, y_px: float) -> Motion:
    head = character.head.copy()
    head[:2, 3] += np.array((x_px, y_px), np.float32) * head[2, 3] / np.float32(character.camera.focal_px)
    return replace(own(character), head=head)


def performed(character: Character, time: Fraction) -> Motion:
    script = range_of_motion()
    return Retarget(character, template(), [script(Fraction(0))], RetargetOptions())(script(time))


def draw(renderer: WarpRenderer, motion: Motion) -> Rgb:
    return np.asarray(renderer.render(Cue(time=motion.time, motion=motion)).rgb)


def psnr(a: Rgb, b: Rgb) -> float:
    return float(10 * np.log10(255**2 / np.maximum(((a.astype(float) - b) ** 2).mean(), 1e-9)))


def in_face(character: Character, x_px: float = 0, y_px: float = 0) -> NDArray[np.bool_]:
    import cv2

    mask = np.zeros(character.rgb.shape[:2], np.uint8)
    hull = cv2.convexHull(np.ascontiguousarray(character.landmarks[:N_FACE, :2]) + np.array((x_px, y_px), np.float32))
    cv2.fillConvexPoly(mask, hull.round().astype(np.int32), 1)
    return np.asarray(cv2.erode(mask, np.ones((15, 15))) > 0)


def test_a_picture_that_performs_itself_is_itself(hero: Character, renderer: WarpRenderer) -> None:
    rgb = draw(renderer, own(hero))
    face = in_face(hero)
    print(f"{psnr(rgb, hero.rgb):.1f} dB, the face {psnr(rgb[face], hero.rgb[face]):.1f} dB")
    assert rgb.shape == hero.rgb.shape
    assert rgb.dtype == np.uint8
    assert psnr(rgb, hero.rgb) > 35
    assert psnr(rgb[face], hero.rgb[face]) > 42


@pytest.mark.parametrize(("x", "y"), [(10, 0), (0, 6), (-7, -5)])
def test_a_head_that_moves_takes_the_pixels_of_its_face_along(
    x: int, y: int, hero: Character, renderer: WarpRenderer
) -> None:
    rest = draw(renderer, own(hero))
    rgb = draw(renderer, moved(hero, x, y))
    face = in_face(hero, x, y)
    error = np.abs(rgb.astype(float) - np.roll(rest, (y, x), (0, 1)))[face]
    print(f"mean difference {error.mean():.2f}, if it had stayed {np.abs(rgb.astype(float) - rest)[face].mean():.1f}")
    assert error.mean() < 2.5
    finder = MediaPipeFaces(still=True)
    (seen,) = finder.find(rgb)
    finder.close()
    went = (seen.landmarks - hero.landmarks)[:N_FACE, :2].mean(0)
    np.testing.assert_allclose(went, (x, y), atol=0.7)


def test_nothing_is_remembered_between_pictures(hero: Character, renderer: WarpRenderer) -> None:
    a, b = own(hero), performed(hero, Fraction(1))
    first = draw(renderer, a)
    kept = first.copy()
    for time in (1, 2, 4):
        draw(renderer, performed(hero, Fraction(time)))
    np.testing.assert_array_equal(draw(renderer, a), first)
    np.testing.assert_array_equal(first, kept)  # and a picture handed on is not drawn into later
    np.testing.assert_array_equal(draw(WarpRenderer(hero), b), draw(renderer, b))


def test_neither_character_nor_motion_is_changed(hero: Character) -> None:
    arrays: tuple[NDArray[Any], ...] = (hero.rgb, hero.behind, hero.person, hero.alpha, hero.landmarks)
    before = [array.copy() for array in arrays]
    motion = performed(hero, Fraction(2))
    face = motion.face.copy()
    draw(WarpRenderer(hero), motion)
    np.testing.assert_array_equal(motion.face, face)
    for was, now in zip(before, arrays, strict=True):
        np.testing.assert_array_equal(now, was)


def test_out_of_reach_the_pixels_are_the_pictures_own(whole: Rgb) -> None:
    character = character_of(whole)
    rgb = draw(WarpRenderer(character), performed(character, Fraction(1)))
    still = np.ones(whole.shape[:2], bool)
    still[:425, :490] = False
    np.testing.assert_array_equal(rgb[still], whole[still])
    assert (rgb != whole)[:300, 100:400].mean() > 0.2


def test_the_boxes_say_where_face_and_mouth_are(hero: Character, renderer: WarpRenderer) -> None:
    motion = moved(hero, 10, 0)
    shot = renderer.render(Cue(time=Fraction(1, 3), motion=motion))
    assert shot.time == Fraction(1, 3)
    assert shot.face_box is not None
    assert shot.mouth_box is not None
    points = hero.landmarks[:N_FACE, :2] + np.array((10, 0), np.float32)
    wanted = np.concatenate((points.min(0), points.max(0)))
    np.testing.assert_allclose(shot.face_box, wanted, atol=2.6)  # what is deeper moves less
    x0, y0, x1, y1 = shot.mouth_box
    assert shot.face_box[0] < x0 < x1 < shot.face_box[2]
    assert shot.face_box[1] < y0 < y1 < shot.face_box[3]


def test_a_mouth_opens_onto_its_inside_and_the_chin_goes_down(hero: Character, renderer: WarpRenderer) -> None:
    import cv2

    motion = own(hero)
    face = motion.face.copy()
    face[list(INNER_LIPS_UPPER[1:-1]), 1] = face[list(INNER_LIPS_LOWER[1:-1]), 1] - 0.002  # lips that meet
    shut = draw(renderer, replace(motion, face=face))
    wide = face.copy()
    below = wide[:N_FACE, 1] > face[13, 1]
    wide[:N_FACE][below, 1] += 0.25 * np.clip((wide[:N_FACE][below, 1] - face[13, 1]) / 0.05, 0, 1)
    wide[list(INNER_LIPS_LOWER[2:-2]), 1] = face[list(INNER_LIPS_LOWER[2:-2]), 1] + 0.22
    opened = draw(renderer, replace(motion, face=wide))
    px, _ = renderer.vertices(motion.head, wide)
    ring = px[list(INNER_LIPS_UPPER + INNER_LIPS_LOWER[::-1])]
    mask = np.zeros(hero.rgb.shape[:2], np.uint8)
    cv2.fillPoly(mask, [ring.round().astype(np.int32)], 1)
    mask = cv2.erode(mask, np.ones((3, 3)))
    inside = mask > 0
    assert inside.sum() > 40
    assert opened[inside].mean() < shut[inside].mean() - 20, "a mouth is darker than skin"
    assert px[CHIN, 1] > hero.landmarks[CHIN, 1] + 8


def test_a_picture_keeps_its_own_teeth_however_far_its_mouth_opens(hero: Character, renderer: WarpRenderer) -> None:
    def teeth(jaw: float) -> NDArray[np.float64]:  # mean colour of the upper ones' middle
        face = (hero.face + jaw * basis()[ARKIT_INDEX["jawOpen"]]).astype(np.float32)
        rgb = draw(renderer, replace(own(hero), face=face))
        points = hero.camera.project(place(hero.head, face))
        gap = points[14, 1] - points[13, 1]
        x, y = points[13]
        depth = min(0.3 * gap, 0.15 * np.linalg.norm(points[308] - points[78]))
        row = slice(int(y + 0.25 * depth), int(y + depth) + 2)
        return np.asarray(rgb[row, int(x - 6) : int(x + 7)].reshape(-1, 3).mean(0), np.float64)

    rest = teeth(0.0)
    for jaw in (0.05, 0.15, 0.3):
        assert np.abs(teeth(jaw) / rest - 1).max() < 0.12, "drawn ones are a fifth darker"


def test_lips_that_hardly_part_change_no_teeth_behind_them(hero: Character) -> None:
    mouth = Mouth(hero)
    drawn = mouth._drawn(hero.landmarks[:, :2], hero.head, hero.face)
    unsure, sure = (OwnTeeth(hero, drawn, told).over(drawn, hero.head, hero.face) for told in (0.0, 1.0))
    np.testing.assert_allclose(unsure, drawn.rgb, atol=1e-3)
    assert np.abs(sure - drawn.rgb).max() > 40


def test_teeth_beside_a_red_gleam_stay_teeth() -> None:
    red = _lit(np.array((180, 60, 50), np.float32), np.array((120, 110, 100), np.float32))
    assert red.max() / red.min() < 1.25
    grey = _lit(np.array((90, 80, 70), np.float32), np.array((120, 110, 100), np.float32))
    np.testing.assert_allclose(grey, np.array((90, 80, 70)) / (120, 110, 100), atol=0.01)


@pytest.mark.parametrize(
    ("height", "width", "left", "top"), [(201, 171, 60, 0), (213, 185, 103, 75), (143, 143, 75, 50)]
)
def test_odd_sizes_and_a_face_at_the_edge_perform(
    height: int, width: int, left: int, top: int, hero: Character
) -> None:
    rgb = np.ascontiguousarray(hero.rgb[top : top + height, left : left + width])
    character = character_of(rgb)
    renderer = WarpRenderer(character)
    assert psnr(draw(renderer, own(character)), rgb) > 31
    for x, y in ((30, 0), (-200, 0), (0, -500), (0, 0)):
        assert draw(renderer, moved(character, x, y)).shape == (height, width, 3)
    assert draw(renderer, performed(character, Fraction(2))).shape == (height, width, 3)


@pytest.mark.parametrize("angles_deg", [(30, 0, 0), (-30, 0, 0), (0, 20, 0), (0, -20, 0), (0, 0, 30), (0, 0, -30)])
def test_a_head_turned_far_is_seen_turned_with_nothing_torn(
    angles_deg: tuple[int, int, int], hero: Character, renderer: WarpRenderer
) -> None:
    motion = own(hero)
    head = head_at(*(math.radians(v) for v in angles_deg))
    head[:3, :3] = head[:3, :3] @ motion.head[:3, :3]
    head[:3, 3] = motion.head[:3, 3]
    turned = replace(motion, head=head)
    rgb = draw(renderer, turned)
    finder = MediaPipeFaces(still=True)
    (seen,) = finder.find(rgb)
    finder.close()
    drawn = renderer.draw(turned).landmarks[:N_FACE]
    unit = float(np.linalg.norm(np.subtract(*hero.landmarks[list(OUTER_EYES), :2])))
    off = np.linalg.norm(seen.landmarks[:N_FACE, :2] - drawn, axis=1) / unit
    was = fit_head(hero.landmarks, hero.camera, template()).head
    now = fit_head(seen.landmarks, hero.camera, template()).head
    turn = np.degrees(Rotation.from_matrix(now[:3, :3] @ was[:3, :3].T).magnitude())
    print(
        f"{turn:.1f} degrees of {max(map(abs, angles_deg))}; landmarks {np.median(off):.3f} of the eyes' distance off"
    )
    assert abs(turn - max(map(abs, angles_deg))) < 8.5
    assert np.median(off) < 0.08
    # Where there was a person, there is one or what is behind them: no pixel is left undrawn.
    assert (rgb.max(-1) > 0).mean() > 0.99 * (hero.rgb.max(-1) > 0).mean()


@pytest.mark.parametrize("angles_deg", [(90, 0, 0), (180, 0, 0), (0, 80, 0), (0, 0, 180)])
@pytest.mark.parametrize("nearer", [0.1, 1, 100])
def test_no_pose_is_a_failure(
    angles_deg: tuple[int, int, int], nearer: float, hero: Character, renderer: WarpRenderer
) -> None:
    motion = own(hero)
    head = head_at(*(math.radians(v) for v in angles_deg))
    head[:3, :3] = head[:3, :3] @ motion.head[:3, :3]
    head[:3, 3] = motion.head[:3, 3] * np.float32(nearer)
    assert draw(renderer, replace(motion, head=head)).shape == hero.rgb.shape


def test_a_picture_without_colour_stays_without(hero: Character) -> None:
    import cv2

    grey = np.repeat(cv2.cvtColor(hero.rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    character = character_of(grey)
    renderer = WarpRenderer(character)
    spread = max(
        int(np.ptp(draw(renderer, performed(character, Fraction(t, 2))).astype(int), axis=-1).max()) for t in range(10)
    )
    print(f"largest spread between channels {spread} of 255")
    assert spread <= 6
