"""Lids that close hide the iris, and eyes look where they are told: told from pixels, by the face mesh's own reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import gaze_of, template
from perfcap.face import MediaPipeFaces
from perfcap.landmarks import LEFT_EYE, OUTER_EYES, RIGHT_EYE
from perfcap.written import face_of
from runtime.records import ARKIT_INDEX, N_EXPRESSION, Cue, Motion
from synth.eyes import EYES, Eye, curve, iris_share, opening, polygon
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character, rig
from synth.warp import WarpRenderer

Rgb = NDArray[np.uint8]
Points = NDArray[np.float32]
Act = Callable[..., Motion]


@pytest.fixture(scope="module")
def finder() -> Iterator[MediaPipeFaces]:
    faces = MediaPipeFaces(still=True)
    yield faces
    faces.close()


@pytest.fixture(scope="module")
def hero(finder: MediaPipeFaces) -> Character:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    rgb = np.ascontiguousarray(data.astronaut()[:288, 80:368])
    (mesh,) = finder.find(rgb)
    return rig(rgb, mesh, template())


@pytest.fixture(scope="module")
def draw(hero: Character) -> Callable[[Motion], Rgb]:
    renderer = WarpRenderer(hero)
    return lambda motion: np.asarray(renderer.render(Cue(time=motion.time, motion=motion)).rgb)


@pytest.fixture(scope="module")
def act(hero: Character) -> Act:
    """The character's Motion for an expression of the mean face and a gaze in degrees."""

    def moment(*, gaze: tuple[float, float] = (0, 0), **expression: float) -> Motion:
        values = np.zeros(N_EXPRESSION, np.float32)
        for name, value in expression.items():
            values[ARKIT_INDEX[name]] = value
        looking = np.tile(np.radians(np.array(gaze, np.float32)), (2, 1))
        return Motion(
            time=Fraction(0), head=hero.head, expression=values, gaze=looking,
            face=face_of(values, looking), confidence=1.0,
        )  # fmt: skip

    retarget = Retarget(hero, template(), [moment()], RetargetOptions())
    return lambda **what: retarget(moment(**what))


def seen(finder: MediaPipeFaces, rgb: Rgb) -> Points:
    (mesh,) = finder.find(rgb)
    return mesh.landmarks


def lid_gaps(points: Points) -> list[float]:
    """Of each eye, widest, in outer-eye-corner distances."""
    unit = float(np.linalg.norm(points[OUTER_EYES[0], :2] - points[OUTER_EYES[1], :2]))
    return [
        float(np.linalg.norm(points[list(e.upper), :2] - points[list(e.lower), :2], axis=1).max()) / unit for e in EYES
    ]


def iris_places(points: Points) -> NDArray[np.float64]:
    """Across each eye [2], 0 in its middle, ±0.5 in its corners."""
    out = []
    for e in EYES:
        a, b = points[[e.upper[0], e.upper[-1]], :2].astype(np.float64)
        out.append((points[e.iris[0], :2] - (a + b) / 2) @ (b - a) / ((b - a) @ (b - a)))
    return np.array(out)


def in_eyes(hero: Character) -> NDArray[np.bool_]:
    import cv2

    mask = np.zeros(hero.rgb.shape[:2], np.uint8)
    for ring in (RIGHT_EYE, LEFT_EYE):
        cv2.fillPoly(mask, [hero.landmarks[list(ring), :2].astype(np.int32)], 1)
    return np.asarray(mask > 0)


def test_lids_that_are_shut_hide_the_iris(
    hero: Character, draw: Callable[[Motion], Rgb], act: Act, finder: MediaPipeFaces
) -> None:
    rgb = draw(act(eyeBlinkLeft=1, eyeBlinkRight=1))
    gaps = lid_gaps(seen(finder, rgb))
    print(f"lids {gaps[0]:.3f} and {gaps[1]:.3f} units apart, open {lid_gaps(hero.landmarks)[0]:.3f}")
    assert max(gaps) < 0.035
    eyes = in_eyes(hero)
    darkest_open, darkest_shut = (np.percentile(p[eyes].mean(-1), 10) for p in (hero.rgb, rgb))
    print(f"a tenth of the eye is darker than {darkest_open:.0f} open and {darkest_shut:.0f} shut, of 255")
    assert darkest_open < 50
    assert darkest_shut > 75, "something of the iris is seen through the lids"


def test_a_wink_closes_one_eye_and_leaves_the_other(
    hero: Character, draw: Callable[[Motion], Rgb], act: Act, finder: MediaPipeFaces
) -> None:
    right, left = lid_gaps(seen(finder, draw(act(eyeBlinkLeft=1))))
    was = lid_gaps(hero.landmarks)
    print(f"right {was[0]:.3f} -> {right:.3f}, left {was[1]:.3f} -> {left:.3f} units")
    assert left < 0.045
    assert right > 0.75 * was[0]


def test_lids_close_steadily_as_a_blink_grows(hero: Character, act: Act) -> None:
    gaps = []
    for blink in np.linspace(0, 1, 11):
        motion = act(eyeBlinkLeft=float(blink), eyeBlinkRight=float(blink))
        gaps.append(lid_gaps(motion.face))
    assert (np.diff(np.array(gaps), axis=0) < 1e-3).all()
    assert np.array(gaps)[-1].max() < 0.035


def test_eyes_look_where_they_are_told(draw: Callable[[Motion], Rgb], act: Act, finder: MediaPipeFaces) -> None:
    left, ahead, right = (iris_places(seen(finder, draw(act(gaze=(yaw, 0))))) for yaw in (-25, 0, 25))
    print(f"irises across the eyes: {left.round(2)} {ahead.round(2)} {right.round(2)}")
    assert (left < ahead - 0.05).all()
    assert (right > ahead + 0.05).all()
    assert ((right - left) > 0.15).all()


def test_an_eye_as_the_picture_shows_it_is_the_pictures_own(hero: Character, draw: Callable[[Motion], Rgb]) -> None:
    motion = Motion(
        time=Fraction(0), head=hero.head, expression=np.zeros(N_EXPRESSION, np.float32),
        gaze=gaze_of(hero.face), face=hero.face, confidence=1.0,
    )  # fmt: skip
    eyes = in_eyes(hero)
    assert np.abs(draw(motion)[eyes].astype(float) - hero.rgb[eyes]).mean() < 3


def test_a_small_move_of_the_iris_is_a_small_change_of_the_picture(
    hero: Character, draw: Callable[[Motion], Rgb], act: Act
) -> None:
    """No pop where the picture's own eye hands over to the drawn one."""
    eyes = in_eyes(hero)
    frames = [draw(act(gaze=(float(yaw), 0)))[eyes].astype(float) for yaw in np.linspace(0, 20, 41)]
    steps = np.array([np.abs(b - a).mean() for a, b in pairwise(frames)])
    print(f"half a degree changes the eyes by {steps.mean():.2f} of 255, at most {steps.max():.2f}")
    assert steps.max() < 6


def test_eyes_out_of_the_picture_are_no_failure(draw: Callable[[Motion], Rgb], act: Act) -> None:
    motion = act(gaze=(25, 10))
    head = motion.head.copy()
    for x, y in ((-0.2, 0), (0.3, 0), (0, -1.0)):
        head[:2, 3] = x, y
        assert draw(replace(motion, head=head)).dtype == np.uint8


@pytest.mark.parametrize("share", [0.85, 1.0, 1.25, 1.4])
def test_a_drawn_iris_is_as_large_as_it_is_drawn(share: float) -> None:
    part = np.full((80, 120, 3), (225, 220, 215), np.uint8)
    ys, xs = np.mgrid[:80, :120] + 0.5
    part[np.hypot(xs - 60, ys - 40) < 20 * share] = (60, 110, 190)
    part[np.hypot(xs - 60, ys - 40) < 8 * share] = (10, 10, 10)
    inside = (np.abs(ys - 40) < 22).astype(np.float32)
    middle = np.array((60, 40), np.float32)
    assert abs(iris_share(part, inside, middle, 20) - share) < 0.06
    assert iris_share(np.full_like(part, 128), inside, middle, 20) == 1.0
    assert iris_share(part, np.zeros_like(inside), middle, 20) == 1.0  # shut


def test_the_white_where_the_iris_was_has_the_light_of_the_skin(hero: Character) -> None:
    luma = np.array((0.299, 0.587, 0.114))
    for parts in EYES:
        eye = Eye(hero, parts, hero.skin)
        column, row = (hero.landmarks[parts.iris[0], :2] - eye.offset).astype(int)
        white = eye.sclera[row, column].astype(float)
        x, y = hero.landmarks[[50, 280][parts.number], :2].astype(int)
        skin = float(hero.rgb[y - 2 : y + 3, x - 2 : x + 3].mean((0, 1)) @ luma)
        print(f"white {white @ luma:.0f}, skin {skin:.0f}")
        assert 0.7 * skin < white @ luma < 1.15 * skin
        assert np.ptp(white) < 60


def test_a_reflection_goes_half_as_far_as_the_iris(hero: Character, act: Act) -> None:
    """A lamp stays where it is: what differs where a lamp is painted into the picture's eyes, looking ahead and aside."""
    import cv2

    bare, lit = hero.rgb.copy(), hero.rgb.copy()
    for parts in EYES:
        middle, edge = hero.landmarks[list(parts.iris[:2]), :2]
        radius = float(np.linalg.norm(edge - middle))
        centre = tuple(int(v) for v in middle.round())
        for rgb in (bare, lit):
            cv2.circle(rgb, centre, round(0.9 * radius), (60, 40, 30), -1)
        cv2.circle(lit, centre, max(1, round(0.2 * radius)), (250, 250, 250), -1)
    renderers = [WarpRenderer(replace(hero, rgb=rgb, person=rgb)) for rgb in (bare, lit)]

    def places(motion: Motion) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the right eye's lamp and iris, px."""
        cue = Cue(time=motion.time, motion=motion)
        drawn = [renderer.render(cue).rgb.astype(float).mean(-1) for renderer in renderers]
        points = renderers[0].draw(motion).landmarks
        ring = points[list(RIGHT_EYE)]
        x0, y0, x1, y1 = (int(v) for v in (*ring.min(0), *ring.max(0)))
        more = np.maximum((drawn[1] - drawn[0])[y0:y1, x0:x1] - 8, 0)
        ys, xs = np.mgrid[y0:y1, x0:x1] + 0.5
        return np.array(((more * xs).sum(), (more * ys).sum())) / more.sum(), points[EYES[0].iris[0]].astype(np.float64)

    (lamp_left, left), (lamp_right, right) = (places(act(gaze=(yaw, 0))) for yaw in (-15, 15))
    share = (lamp_right - lamp_left)[0] / (right - left)[0]
    print(f"the iris goes {(right - left)[0]:.1f} px, the lamp {share:.2f} of it")
    assert 0.3 < share < 0.75


def test_eyes_of_clay_have_no_white(hero: Character) -> None:
    clay = hero.rgb.copy()
    clay[in_eyes(hero)] = (190, 120, 80)
    for parts in EYES:
        eye = Eye(replace(hero, rgb=clay), parts, hero.skin)
        column, row = (hero.landmarks[parts.iris[0], :2] - eye.offset).astype(int)
        white = eye.sclera[row, column].astype(float)
        assert np.ptp(white) > 0.4 * white.max(), f"{white} is greyer than clay"


def test_a_curve_goes_through_its_points() -> None:
    points = np.array(((0, 0), (1, 2), (3, 1), (6, 0)), np.float32)
    smooth = curve(points, 5)
    assert len(smooth) == 16
    np.testing.assert_allclose(smooth[::5], points, atol=1e-6)
    line = np.stack((np.arange(5), 2 * np.arange(5)), 1).astype(np.float32)
    np.testing.assert_allclose(curve(line)[:, 1], 2 * curve(line)[:, 0], atol=1e-5)


def test_a_polygon_covers_its_area_to_a_part_of_a_pixel() -> None:
    square = np.array(((3.25, 4.5), (11.75, 4.5), (11.75, 9.5), (3.25, 9.5)), np.float32)
    mask = polygon((14, 20), square).astype(float) / 255
    print(f"area {mask.sum():.2f} px, wanted {8.5 * 5}")
    assert abs(mask.sum() - 8.5 * 5) < 4
    assert mask[6, 7] == 1
    assert mask[:3].sum() == mask[12:].sum() == 0
    ys, xs = np.mgrid[:14, :20] + 0.5
    np.testing.assert_allclose((np.sum(mask * xs) / mask.sum(), np.sum(mask * ys) / mask.sum()), (7.5, 7), atol=0.15)


def test_an_opening_is_the_widest_gap_over_the_width() -> None:
    upper = np.array(((0, 0), (5, -1), (10, 0)), np.float32)
    assert opening(upper, upper * (1, -3)) == pytest.approx(0.4)
    assert opening(upper, upper) == 0
