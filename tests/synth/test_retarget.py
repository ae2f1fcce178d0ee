"""One performer's Motion in another's proportions: the identity onto oneself, and what closes closes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import gaze_of, template
from perfcap.head import UNIT_M, Camera, place
from perfcap.landmarks import (
    AROUND_LIPS_LOWER,
    BELOW_LIPS,
    BROWS_LOWER,
    BROWS_UPPER,
    FOREHEAD_MIDDLE,
    HAIRLINE,
    INNER_LIPS_LOWER,
    INNER_LIPS_UPPER,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    LIPS,
    OUTER_LIPS_LOWER,
)
from perfcap.written import angles_of, face_of, head_at, range_of_motion
from runtime.records import ARKIT_INDEX, N_EXPRESSION, N_FACE, Motion
from synth.retarget import DOUBT, NEARER, STRAY_UNITS, Retarget, RetargetOptions, certain
from synth.rig import Character

Points = NDArray[np.float32]
CAMERA = Camera.of_picture(320, 320)


def head_of(yaw: float = 0, pitch: float = 0, roll: float = 0) -> Points:
    return head_at(*(float(np.radians(v)) for v in (yaw, pitch, roll)))


def character_of(face: Points, head: Points) -> Character:
    """A grey picture that shows this face in this pose; nobody looks at its pixels."""
    points = place(head, face)
    depth = (points[:, 2:] - head[2, 3]) * CAMERA.focal_px / head[2, 3]
    landmarks = np.concatenate((CAMERA.project(points), depth), 1).astype(np.float32)
    grey = np.full((320, 320, 3), 128, np.uint8)
    return Character(grey, landmarks, template(), np.ones((320, 320), np.float32), grey, grey)


def moment(time: int = 0, *, head: Points | None = None, gaze_deg: float = 0, **expression: float) -> Motion:
    values = np.zeros(N_EXPRESSION, np.float32)
    for name, value in expression.items():
        values[ARKIT_INDEX[name]] = value
    gaze = np.zeros((2, 2), np.float32)
    gaze[:, 0] = np.radians(gaze_deg)
    return Motion(
        time=Fraction(time, 30), head=head_of() if head is None else head, expression=values, gaze=gaze,
        face=face_of(values, gaze), confidence=1.0,
    )  # fmt: skip


def own(character: Character) -> Motion:
    return replace(moment(), head=character.head, face=character.face, gaze=gaze_of(character.face))


@pytest.fixture(scope="module")
def stranger() -> Character:
    """A narrower, longer face with a wide mouth, turned a little."""
    face = template() * np.array((0.96, 1.12, 1.0), np.float32)
    lips = list(LIPS)
    face[lips, 0] *= 1.15
    return character_of(face.astype(np.float32), head_of(6, -3, 2))


def lip_gap(face: Points) -> float:
    return float((face[list(INNER_LIPS_LOWER[1:-1]), 1] - face[list(INNER_LIPS_UPPER[1:-1]), 1]).max())


def lid_gap(face: Points) -> float:
    return float((face[list(LEFT_LID_LOWER[1:-1]), 1] - face[list(LEFT_LID_UPPER[1:-1]), 1]).max())


def test_a_performer_onto_their_own_picture_is_the_identity() -> None:
    script = range_of_motion().performance()
    character = character_of(template(), head_of(4, 2, -3))
    picture = own(character)
    take = [replace(m, face=m.face + (character.face - template())) for m in script[::6]]
    retarget = Retarget(character, character.face, [picture, *take], RetargetOptions())
    mine = retarget(picture)
    np.testing.assert_allclose(mine.face, character.face, atol=1e-5)
    np.testing.assert_allclose(mine.head, character.head, atol=1e-5)
    # What moves on the performer moves as far on them as a character.
    worst = max(float(np.abs(retarget(m).face - m.face)[:N_FACE, :2].mean()) for m in take)
    print(f"largest mean difference of a moment's landmarks {worst:.5f} units")
    assert worst < 0.004


@pytest.mark.parametrize("intensity", [1, 3, 5])
def test_lips_that_meet_on_the_performer_meet_on_the_character(intensity: float, stranger: Character) -> None:
    retarget = Retarget(stranger, template(), [moment()], RetargetOptions(intensity=intensity))
    shut = moment()
    face = shut.face.copy()
    face[list(INNER_LIPS_UPPER), 1] = face[list(INNER_LIPS_LOWER), 1]
    out = retarget(replace(shut, face=face))
    if intensity >= 3:
        assert abs(lip_gap(out.face)) < 0.012
    print(f"intensity {intensity}: {lip_gap(out.face):.4f} units apart")
    assert lip_gap(retarget(moment(jawOpen=0.7)).face) > 0.08


def test_a_picture_that_smiles_with_teeth_can_shut_its_lips() -> None:
    smiling = moment(jawOpen=0.25, mouthSmileLeft=0.8, mouthSmileRight=0.8).face
    character = character_of(smiling, head_of())
    retarget = Retarget(character, template(), [moment()], RetargetOptions())
    assert lip_gap(character.face) > 0.04
    assert lip_gap(retarget(moment()).face) < 0.5 * lip_gap(character.face)


def test_a_stronger_intensity_opens_the_jaw_further_and_a_blink_still_closes(stranger: Character) -> None:
    gaps, lids = [], []
    for intensity in (1, 2, 3, 4, 5):
        retarget = Retarget(stranger, template(), [moment()], RetargetOptions(intensity=intensity))
        gaps.append(lip_gap(retarget(moment(jawOpen=0.5)).face) - lip_gap(retarget(moment()).face))
        lids.append(lid_gap(retarget(moment(eyeBlinkLeft=1, eyeBlinkRight=1)).face))
    print("jaw", np.round(gaps, 3), "lids", np.round(lids, 4))
    assert (np.diff(gaps) > 0.01).all()
    assert gaps[4] > 1.4 * gaps[2] > 2 * gaps[0]
    assert max(lids) < 0.01
    assert lid_gap(stranger.face) > 0.06


@pytest.mark.parametrize("intensity", [0.5, 6, 0, -3, float("nan")])
def test_an_intensity_out_of_range_is_refused(intensity: float) -> None:
    with pytest.raises(ValueError, match=f"^intensity is {intensity:g}, wanted 1 to 5$"):
        RetargetOptions(intensity=intensity)


def test_the_gain_is_one_as_acted_and_rises_throughout() -> None:
    gains = [RetargetOptions(intensity=i).gain for i in np.linspace(1, 5, 17)]
    assert RetargetOptions().gain == 1
    assert (np.diff(gains) > 0).all()


def test_the_head_turns_by_as_much_as_the_performers_from_the_pictures_own_pose(stranger: Character) -> None:
    retarget = Retarget(stranger, template(), [moment()], RetargetOptions())
    start = angles_of(retarget(moment()).head)
    np.testing.assert_allclose(start, angles_of(stranger.head), atol=0.01)
    for turn in ((15, 0, 0), (0, 10, 0), (0, 0, -12)):
        moved = angles_of(retarget(moment(head=head_of(*turn))).head)
        np.testing.assert_allclose(moved - start, turn, atol=1.5)


def test_a_performer_who_comes_nearer_comes_nearer_and_nothing_else(stranger: Character) -> None:
    retarget = Retarget(stranger, template(), [moment()], RetargetOptions())
    near = head_of()
    near[2, 3] *= 0.8
    there, here = retarget(moment()), retarget(moment(head=near))
    assert here.head[2, 3] / there.head[2, 3] == pytest.approx(0.8, abs=0.01)
    np.testing.assert_array_equal(here.head[:3, :3], there.head[:3, :3])
    np.testing.assert_array_equal(here.face, there.face)


def test_the_take_is_anchored_where_it_looks_like_the_picture() -> None:
    """A first frame that grins and looks away says nothing about the rest of the take."""
    character = character_of(template(), head_of())
    grin = moment(0, head=head_of(30, 10, 0), mouthSmileLeft=1, mouthSmileRight=1, jawOpen=0.6)
    rest = [moment(i, head=head_of(0.2 * i)) for i in range(1, 6)]
    retarget = Retarget(character, template(), [grin, *rest], RetargetOptions())
    out = retarget(rest[0])
    assert np.abs(out.face - character.face)[:N_FACE].max() < 0.02
    assert np.abs(angles_of(out.head) - angles_of(character.head)).max() < 1.5


def test_brows_raised_beyond_a_low_hairline_press_the_forehead_together_and_fold_nothing() -> None:
    low = template().copy()
    low[list(FOREHEAD_MIDDLE), 1] = 0.5 * (low[list(FOREHEAD_MIDDLE), 1] + low[list(BROWS_UPPER), 1])
    low[list(HAIRLINE), 1] = low[list(FOREHEAD_MIDDLE), 1] - 0.06
    character = character_of(low, head_of())
    rest = moment()
    act = Retarget(character, rest.face, [rest], RetargetOptions(intensity=5))
    raised = act(moment(1, browInnerUp=1, browOuterUpLeft=1, browOuterUpRight=1)).face
    rows = [list(row) for row in (BROWS_LOWER, BROWS_UPPER, FOREHEAD_MIDDLE, HAIRLINE)]
    for below, above in pairwise(rows):
        assert (raised[below, 1] > raised[above, 1] + 0.01).all()
    assert (raised[rows[1], 1] < act(rest).face[rows[1], 1] - 0.015).all()  # they do rise
    slight = moment(2, browInnerUp=0.2)
    lifted = act(slight).face - act(rest).face
    assert lifted[9, 1] < 1.5 * (slight.face - rest.face)[9, 1] < 0


def test_a_mouth_opened_wide_pushes_the_chin_before_it_folds_over() -> None:
    wide = template().copy()
    wide[list(LIPS), 0] *= 1.4  # so that its lips move farther than the performer's
    character = character_of(wide, head_of())
    rest = moment()
    act = Retarget(character, rest.face, [rest], RetargetOptions(intensity=5))
    opened = act(moment(1, jawOpen=1)).face
    rows = [list(row) for row in (OUTER_LIPS_LOWER, AROUND_LIPS_LOWER, BELOW_LIPS)]
    for inside, outside in pairwise(rows):
        way = (wide[outside] - wide[inside])[2:-2, :2]
        now = (opened[outside] - opened[inside])[2:-2, :2]
        assert ((now * way).sum(1) > 0.34 * (way**2).sum(1)).all()
    np.testing.assert_allclose(act(rest).face, character.face, atol=0.005)


def test_eyes_follow_the_performers(stranger: Character) -> None:
    retarget = Retarget(stranger, template(), [moment()], RetargetOptions())
    ahead, left, right = (retarget(moment(gaze_deg=d)).gaze[:, 0] for d in (0, -15, 15))
    assert (np.degrees(left - ahead) < -6).all()
    assert (np.degrees(right - ahead) > 6).all()


def test_time_expression_and_confidence_are_handed_on(stranger: Character) -> None:
    retarget = Retarget(stranger, template(), [moment()], RetargetOptions())
    motion = replace(moment(7, jawOpen=0.3), confidence=0.0)
    (out,) = retarget.push(motion)
    assert (out.time, out.confidence) == (Fraction(7, 30), 0.0)
    np.testing.assert_array_equal(out.expression, motion.expression)
    assert list(retarget.flush()) == []


def test_what_may_be_someones_own_features_is_not_taken_for_acting() -> None:
    assert not certain(DOUBT).any()
    np.testing.assert_allclose(certain(np.ones(N_EXPRESSION, np.float32)), 1)
    assert certain(np.full(N_EXPRESSION, 0.3, np.float32))[ARKIT_INDEX["jawOpen"]] > 0


def test_golden(stranger: Character) -> None:
    out = Retarget(stranger, template(), [moment()], RetargetOptions())(moment(jawOpen=0.5, eyeBlinkLeft=0.4))
    got = (*out.face[13], *out.face[14], *out.face[386], *out.head[:3, 3])
    np.testing.assert_allclose(got, GOLDEN, atol=5e-4)


GOLDEN = (
    -0.000649, 0.852930, -0.302218,
    -0.000592, 1.051965, -0.264561,
    0.348444, -0.000755, -0.092887,
    0.014638, -0.006445, 0.510658,
)  # fmt: skip


def test_a_moment_that_is_said_to_be_the_picture_is_it_whatever_the_picture_does(stranger: Character) -> None:
    rest = moment(mouthSmileLeft=0.4)
    retarget = Retarget(stranger, template(), (), RetargetOptions(), rest=rest)
    moved = retarget(rest)
    assert np.allclose(moved.head, stranger.head, atol=1e-5)
    lips = list(LIPS)
    assert np.abs(moved.face[lips] - stranger.face[lips]).max() < 0.012
    irises = list(range(468, 478))
    assert np.allclose(moved.face[irises], stranger.face[irises], atol=1e-3)


@pytest.mark.parametrize("way", [(0.5, 0.0, 0.0), (0.0, -0.8, 0.0), (0.0, 0.0, 3.0), (0.3, 0.4, -0.3)])
def test_an_actor_who_crosses_the_room_does_not_carry_the_head_out_of_the_picture(
    way: tuple[float, float, float], stranger: Character
) -> None:
    now = moment()
    there = now.head.copy()
    there[:3, 3] += way
    retarget = Retarget(stranger, template(), [now], RetargetOptions())
    head, rest = retarget(replace(now, head=there)).head, retarget(now).head
    assert np.linalg.norm(head[:2, 3] - rest[:2, 3]) <= STRAY_UNITS * UNIT_M + 1e-6
    assert abs(np.log(head[2, 3] / rest[2, 3])) <= NEARER + 1e-6


def test_a_distance_misread_of_someone_beside_the_axis_is_no_step_aside(stranger: Character) -> None:
    aside = moment()
    aside.head[1, 3] -= 0.5 * aside.head[2, 3]
    farther = aside.head.copy()
    farther[:3, 3] *= 1.15
    retarget = Retarget(stranger, template(), [aside], RetargetOptions())
    shift = retarget(replace(aside, head=farther)).head[:2, 3] - retarget(aside).head[:2, 3]
    assert np.linalg.norm(shift) < 0.3 * UNIT_M
