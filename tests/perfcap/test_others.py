"""Another performer's Motion is told as the first's: their acting, not their face or their place."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from perfcap.capture import Perform, Performer, Sighting, survey
from perfcap.expression import normalise, template
from perfcap.face import FaceMesh
from perfcap.head import place
from perfcap.others import FEW, Role, nearest, sort_out, unlike, whose
from perfcap.written import CAMERA, Script
from runtime.records import Motion
from runtime.stage import run

SPEAKING = Script(
    Fraction(2), {"jawOpen": ((0.0, 0.0), (0.4, 0.7), (0.8, 0.0)), "yaw": ((0.0, 0), (1.0, 12), (1.8, 0))}
)
LONG = template() * np.array((0.86, 1.14, 1.0), np.float32)  # a narrow face


def seen(neutral: NDArray[np.float32], aside_m: float = 0.0, farther: float = 1.0) -> list[Sighting]:
    """What a perfect tracker sees of somebody speaking."""
    out = []
    for motion in SPEAKING.performance():
        face, head = motion.face + (neutral - template()), motion.head.copy()
        head[:3, 3] = head[:3, 3] * farther + (aside_m, 0, 0)
        points = place(head, face)
        depth = (points[:, 2:] - head[2, 3]) * CAMERA.focal_px / head[2, 3]
        landmarks = np.concatenate((CAMERA.project(points), depth), 1).astype(np.float32)
        out.append(Sighting(motion.time, CAMERA, FaceMesh(landmarks)))
    return [replace(out[0], afresh=True), *out[1:]]


ONE, OTHER = seen(normalise(template())), seen(normalise(LONG), 0.12, 1.4)


def role(sightings: list[Sighting]) -> Role:
    return Role.of(sightings, survey(sightings))


def told(sightings: list[Sighting], performer: Performer) -> list[Motion]:
    return list(run(Perform(performer, smooth=None), sightings))


def test_shots_of_a_take_are_of_one_or_the_other() -> None:
    first = role(ONE)
    known = [first]
    other = whose(OTHER, known, first)
    assert other is not first
    assert whose(ONE, known, other) is first
    assert whose(OTHER[20:], known, first) is other
    assert len(known) == 2
    assert whose(ONE[: FEW - 1], known, other) is other  # too few to say


def test_another_acts_as_the_first_in_their_place() -> None:
    first, other = role(ONE), role(OTHER)
    own, others = told(ONE, first.performer), told(OTHER, other.performer)
    assert unlike(others[0].face, first.performer.neutral) > 0.05
    for motion, theirs in zip(own, others, strict=True):
        moved = first.told_by(other, theirs)
        assert np.abs(moved.face - motion.face)[:, :2].mean() < 0.015
        assert np.abs(moved.head[:3, 3] - motion.head[:3, 3]).max() < 0.03
        np.testing.assert_array_equal(moved.head[:3, :3], theirs.head[:3, :3])
    assert first.told_by(first, own[0]) is own[0]


def test_the_performer_is_whoever_is_seen_first() -> None:
    later = [OTHER[7], ONE[9], OTHER[30]]
    theirs, others = sort_out([*ONE, *OTHER, *later], len(ONE) + len(OTHER))
    assert theirs == [*ONE, later[1]]
    assert len(others) == 1
    assert nearest(OTHER[3], [role(ONE), *others]) is others[0]


def test_one_picture_of_something_else_at_the_start_is_nobody() -> None:
    theirs, others = sort_out([OTHER[0], *ONE], 1 + len(ONE))
    assert theirs[-len(ONE) :] == ONE
    assert not others
