"""The skeleton lies where the character's face and body are, and the face picture shows the face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.body import body_joints
from perfcap.head import place
from perfcap.landmarks import NOSE_TIP
from runtime.records import Cue, Motion
from synth.rig import Character
from synth.wan_animate.figure import COLOURS, LIMBS, NAMES, Figure, Figures, draw_skeleton
from synth.warp import WarpRenderer

Performed = Callable[[int], list[Cue]]


@pytest.fixture(scope="module")
def warp(hero: Character) -> WarpRenderer:
    return WarpRenderer(hero)


@pytest.fixture(scope="module")
def figures(warp: WarpRenderer) -> Figures:
    return Figures(warp, 64)


def shown(figures: Figures, warp: WarpRenderer, motion: Motion) -> Figure:
    return figures.of(motion, warp.draw(motion))


def turned(motion: Motion, degrees: float) -> Motion:
    """The head turned about its own upright axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    head = motion.head.copy()
    head[:3, :3] = head[:3, :3] @ np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)), np.float32)
    return replace(motion, head=head)


def joint(figure: Figure, name: str) -> NDArray[np.float32]:
    return np.asarray(figure.joints[NAMES.index(name)])


def test_joints_lie_on_what_they_are_named_after(
    hero: Character, figures: Figures, warp: WarpRenderer, performed: Performed
) -> None:
    figure = shown(figures, warp, performed(1)[0].motion)
    face = hero.landmarks
    unit = hero.unit_px
    for name, landmark in (("nose", NOSE_TIP), ("right eye", 468), ("left eye", 473)):
        assert np.linalg.norm(joint(figure, name) - face[landmark, :2]) < 0.15 * unit, name
    assert joint(figure, "right ear")[0] < joint(figure, "right eye")[0] < joint(figure, "left eye")[0]
    neck, right, left = (joint(figure, name) for name in ("neck", "right shoulder", "left shoulder"))
    assert right[0] < neck[0] < left[0], "the person's own right is on the picture's left"
    assert neck[1] > face[152, 1] - 0.2 * unit, "below the chin"
    assert np.isnan(joint(figure, "left knee")).all(), "the picture ends above it"


def test_the_head_moves_its_joints_and_the_body_stays_or_follows_a_little(
    figures: Figures, warp: WarpRenderer, performed: Performed, hero: Character
) -> None:
    rest, later = (shown(figures, warp, cue.motion) for cue in (performed(1)[0], performed(30)[-1]))
    motion = performed(30)[-1].motion
    expected = hero.camera.project(place(motion.head, motion.face[[NOSE_TIP]]))[0]
    np.testing.assert_allclose(joint(later, "nose"), expected, atol=0.01)
    aside = replace(motion, head=motion.head.copy())
    aside.head[0, 3] += 0.05
    moved = shown(figures, warp, aside)
    nose, shoulder = (
        float(np.linalg.norm(joint(moved, name) - joint(later, name))) for name in ("nose", "left shoulder")
    )
    assert nose > 8
    assert shoulder < 0.5 * nose
    assert rest.joints.shape == later.joints.shape == (20, 2)


def test_an_ear_that_is_turned_away_is_not_drawn(figures: Figures, warp: WarpRenderer, performed: Performed) -> None:
    motion = performed(1)[0].motion
    for degrees, seen in ((0, (True, True)), (40, None), (-40, None)):
        figure = shown(figures, warp, turned(motion, degrees))
        ears = tuple(bool(np.isfinite(joint(figure, f"{side} ear")).all()) for side in ("right", "left"))
        if seen is None:
            nose = joint(figure, "nose")[0] - (joint(figure, "right eye")[0] + joint(figure, "left eye")[0]) / 2
            seen = (True, False) if nose > 0 else (False, True)  # it looks to where the hidden ear is
        assert ears == seen, degrees


def test_the_drawing_has_a_hue_for_each_joint_and_a_darker_one_for_each_limb() -> None:
    assert len(NAMES) == len(COLOURS) == 20
    assert COLOURS[:4] == ((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0))
    joints = np.array([(40 + 70 * (i % 5), 40 + 80 * (i // 5)) for i in range(20)], np.float32)
    drawn = draw_skeleton(joints, 400, 400)
    for at, colour in zip(joints.astype(int), COLOURS, strict=True):
        assert tuple(drawn[at[1], at[0]]) == colour
    (a, b), shade = LIMBS[0], tuple(int(0.6 * c) for c in COLOURS[0])
    middle = (joints[NAMES.index(a)] + joints[NAMES.index(b)]) / 2
    only = np.full_like(joints, np.nan)
    for name in (a, b):
        only[NAMES.index(name)] = joints[NAMES.index(name)]
    assert tuple(draw_skeleton(only, 400, 400)[int(middle[1]), int(middle[0])]) == shade
    assert not draw_skeleton(np.full_like(joints, np.nan), 400, 400).any()


def test_the_face_picture_shows_the_face_wherever_it_goes(
    hero: Character, figures: Figures, warp: WarpRenderer, performed: Performed
) -> None:
    motion = performed(1)[0].motion
    rest = shown(figures, warp, motion).face.astype(np.float32)
    head = motion.head.copy()
    head[0, 3] += 0.03
    aside = shown(figures, warp, replace(motion, head=head)).face.astype(np.float32)
    assert rest.shape == (64, 64, 3)
    assert np.abs(rest - aside).mean() < 12, "the cut goes with the face"
    opened = motion.face.copy()
    opened[[13, 14]] += np.array(((0, -0.1, 0), (0, 0.25, 0)), np.float32)
    mouth = np.abs(shown(figures, warp, replace(motion, face=opened)).face.astype(np.float32) - rest).mean(-1)
    assert mouth[40:].mean() > 3 * mouth[:24].mean(), "and what changes in it is the mouth"


def test_a_face_outside_the_picture_is_black_not_an_error(
    figures: Figures, warp: WarpRenderer, performed: Performed
) -> None:
    motion = performed(1)[0].motion
    head = motion.head.copy()
    head[0, 3] += 5
    assert not shown(figures, warp, replace(motion, head=head)).face.any()


def test_a_picture_of_nobody_has_no_joints() -> None:
    assert body_joints(np.full((240, 200, 3), 128, np.uint8)) == []


def test_a_bodys_joints_are_found_in_the_pictures_own_pixels(hero: Character) -> None:
    found = {j.name: j for j in body_joints(hero.rgb)}
    assert {"right shoulder", "left shoulder"} <= set(found)
    doubled = np.ascontiguousarray(hero.rgb.repeat(2, 0).repeat(2, 1))
    for joint in body_joints(doubled):
        if joint.name in found:
            assert abs(joint.x / 2 - found[joint.name].x) < 0.1 * hero.unit_px
