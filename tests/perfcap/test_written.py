"""A written performance says what it means: its pose, gaze, lids and curves can be read off its Motion."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from perfcap.expression import gaze_of, template
from perfcap.landmarks import LEFT_LID_LOWER, LEFT_LID_UPPER, RIGHT_LID_LOWER, RIGHT_LID_UPPER
from perfcap.performance import Performance
from perfcap.written import CAMERA, SHUT_UNITS, Script, agreement, angles_of, demonstration, head_at, range_of_motion
from runtime.records import ARKIT_INDEX, Motion


def _gap(motion: Motion, upper: tuple[int, ...], lower: tuple[int, ...]) -> float:
    return float((motion.face[list(lower), 1] - motion.face[list(upper), 1]).max())


def test_a_script_at_rest_is_the_mean_face_straight_ahead() -> None:
    motion = Script(Fraction(1), {})(Fraction(1, 2))
    np.testing.assert_allclose(motion.face, template(), atol=1e-6)
    np.testing.assert_allclose(motion.head[:3, :3], np.eye(3), atol=1e-6)
    assert not motion.expression.any()
    assert not motion.gaze.any()


def test_angles_go_into_a_head_and_come_out_of_it() -> None:
    head = head_at(*np.radians((17.0, -9.0, 5.0)))
    np.testing.assert_allclose(angles_of(head), (17, -9, 5), atol=1e-4)


def test_a_head_turned_right_and_down_shows_its_nose_there() -> None:
    nose = np.array((0.0, 0.0, -1.0))
    turned = head_at(*np.radians((20.0, 10.0, 0.0)))[:3, :3] @ nose
    assert turned[0] > 0.3  # right in the picture
    assert turned[1] > 0.1  # down


def test_lids_meet_in_a_blink_and_only_then() -> None:
    script = Script(Fraction(1), {"eyeBlinkLeft": ((0.0, 0.0), (0.5, 1.0))})
    shut, open_ = script(Fraction(1, 2)), script(Fraction(0))
    assert _gap(shut, LEFT_LID_UPPER, LEFT_LID_LOWER) <= SHUT_UNITS + 1e-6
    assert _gap(open_, LEFT_LID_UPPER, LEFT_LID_LOWER) > 0.09
    assert _gap(shut, RIGHT_LID_UPPER, RIGHT_LID_LOWER) > 0.09


def test_irises_lie_where_the_eyes_look() -> None:
    script = Script(
        Fraction(1), {"gaze_yaw": ((0.0, 15.0),), "gaze_pitch": ((0.0, -10.0),), "mouthSmileLeft": ((0.0, 1.0),)}
    )
    motion = script(Fraction(0))
    np.testing.assert_allclose(np.degrees(gaze_of(motion.face)), [[15, -10], [15, -10]], atol=1e-3)
    assert motion.expression[ARKIT_INDEX["eyeLookOutLeft"]] > 0.3
    assert motion.expression[ARKIT_INDEX["eyeLookInRight"]] > 0.3


def test_a_script_after_another_begins_where_it_ends() -> None:
    one = Script(Fraction(1), {"jawOpen": ((0.0, 0.0), (0.5, 1.0), (1.0, 0.0))})
    two = one.then(one)
    assert two.duration == 2
    jaw = ARKIT_INDEX["jawOpen"]
    for t in (Fraction(1, 4), Fraction(1, 2), Fraction(9, 10)):
        assert two(t + 1).expression[jaw] == pytest.approx(one(t).expression[jaw], abs=1e-6)
        assert two(t).expression[jaw] == pytest.approx(one(t).expression[jaw], abs=1e-6)


def test_a_misspelt_curve_is_told() -> None:
    with pytest.raises(ValueError, match="a script moves jawOpne; wanted ARKit names or yaw"):
        Script(Fraction(1), {"jawOpne": ((0.0, 1.0),)})
    with pytest.raises(ValueError, match="the keys of jawOpen are not in the order of their times"):
        Script(Fraction(1), {"jawOpen": ((1.0, 1.0), (0.0, 1.0))})


def test_a_demonstration_is_a_performance_whose_face_stays_in_the_picture() -> None:
    performance = demonstration().performance()
    assert isinstance(performance, Performance)
    assert len(performance) == 300
    assert performance.times[1] == Fraction(1, 30)
    angles = np.abs(angles_of(performance.frames["head"]))
    assert (angles.max(0) <= (20.01, 12.01, 12.01)).all()
    assert (angles.max(0) > (19, 11, 11)).all()
    for motion in performance:
        px = CAMERA.project((motion.face * np.float32(0.0895)) @ motion.head[:3, :3].T + motion.head[:3, 3])
        assert (px > 0).all()
        assert (px < 512).all()


def test_a_performance_agrees_with_itself_whatever_pose_the_picture_adds() -> None:
    written = range_of_motion().performance()
    tilt = head_at(0.2, 0.1, -0.1)[:3, :3]
    added = []
    for m in written:
        head = m.head.copy()
        head[:3, :3] = head[:3, :3] @ tilt
        added.append(Motion(time=m.time, head=head, expression=m.expression, gaze=m.gaze, face=m.face, confidence=1.0))
    for name, curve in agreement(written, added).items():
        assert curve.r > 0.9999, name
        np.testing.assert_allclose(curve.captured, curve.written, atol=0.01)
