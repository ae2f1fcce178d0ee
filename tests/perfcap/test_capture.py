"""Sightings to Motion: streamed equals whole, and a lost face is marked, held, eased and taken up again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.capture import HOLD_S, RETURN_S, Chooser, Perform, Performer, Sighting, Track, blend, stiffness, survey
from perfcap.expression import template
from perfcap.face import FaceMesh
from perfcap.head import UNIT_M, Camera, place
from perfcap.landmarks import FOREHEAD, LEFT_EYE, LEFT_IRIS, LIPS, RIGHT_EYE, RIGHT_IRIS
from perfcap.written import CAMERA, Script, range_of_motion
from runtime.records import ARKIT_INDEX, Motion
from runtime.stage import run

RATE = Fraction(30)
SMILING = Script(
    Fraction(4), {"mouthSmileLeft": ((0.0, 0.9),), "mouthSmileRight": ((0.0, 0.9),), "jawOpen": ((0.0, 0.4),)}
)


def sighting(motion: Motion) -> Sighting:
    """What a perfect tracker would see."""
    points = place(motion.head, motion.face)
    depth = (points[:, 2:] - motion.head[2, 3]) * CAMERA.focal_px / motion.head[2, 3]
    landmarks = np.concatenate((CAMERA.project(points), depth), 1).astype(np.float32)
    return Sighting(motion.time, CAMERA, FaceMesh(landmarks))


def sightings(script: Script, *, lost: Iterable[int] = ()) -> list[Sighting]:
    seen = [sighting(m) for m in script.performance()]
    for i in lost:
        seen[i] = replace(seen[i], face=None)
    return seen


def knowing() -> Perform:
    return Perform(Performer(template()))


def assert_same(ours: Sequence[Motion], theirs: Sequence[Motion]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.time, a.confidence) == (b.time, b.confidence)
        for name in ("head", "expression", "gaze", "face", "shoulders"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize(
    ("performer", "look_ahead_s"),
    [(None, 0.0), (Performer(template()), 0.0), (Performer(template()), 0.1)],
    ids=["learning", "knowing", "looking ahead"],
)
def test_streamed_equals_whole_and_a_flush_makes_it_new(performer: Performer | None, look_ahead_s: float) -> None:
    seen = sightings(range_of_motion(), lost=(7, 8, 9, 20))[:45]
    stage = Perform(performer, look_ahead_s=look_ahead_s)
    whole = list(run(stage, seen))
    assert [m.time for m in whole] == [s.time for s in seen]
    piecewise = [m for s in seen for m in stage.push(s)] + list(stage.flush())
    assert_same(whole, piecewise)


def test_a_frame_without_a_face_is_marked_held_and_counted() -> None:
    stage = knowing()
    seen = sightings(SMILING, lost=range(30, 34))
    out = [stage.push(s)[0] for s in seen[:34]]
    assert [m.confidence for m in out] == [1.0] * 30 + [0.0] * 4
    assert stage.n_faceless == 4
    for held in out[30:]:
        assert held.time - out[29].time < HOLD_S
        np.testing.assert_allclose(held.face, out[29].face, atol=1e-6)
        np.testing.assert_array_equal(held.head, out[29].head)
        np.testing.assert_array_equal(held.expression, out[29].expression)


def test_a_lost_face_is_eased_to_rest_without_a_jump() -> None:
    out = list(run(knowing(), sightings(SMILING, lost=range(30, 120))))
    smile = np.array([m.expression[ARKIT_INDEX["mouthSmileLeft"]] for m in out[29:]])
    assert smile[0] > 0.5
    assert (np.diff(smile) <= 1e-6).all()
    assert np.abs(np.diff(smile)).max() < 0.1 * smile[0]
    assert smile[-1] < 0.02
    away = np.array([np.abs(m.face - template()).max() for m in out[29:]])
    assert away[-1] < 0.02 * away[0] + 1e-4
    np.testing.assert_array_equal(out[-1].head, out[29].head)  # nobody knows where else they would be


def test_a_face_that_comes_back_is_blended_in() -> None:
    out = list(run(knowing(), sightings(SMILING, lost=range(30, 90))))
    whole = list(run(knowing(), sightings(SMILING)))
    back = out[90:]
    assert back[0].confidence == 1.0
    jaw = np.array([m.expression[ARKIT_INDEX["jawOpen"]] for m in out[89:]])
    far = whole[95].expression[ARKIT_INDEX["jawOpen"]] - jaw[0]
    assert far > 0.2
    steps = np.diff(jaw) / far
    assert steps.max() < 0.6, "it came back in one step"
    assert (steps[:4] > 0).all()
    settled = 90 + int(RETURN_S * RATE) + 1
    assert np.abs(out[settled].face - whole[settled].face).max() < 0.01


def test_no_face_from_the_start_is_a_face_at_rest_that_can_be_drawn() -> None:
    stage = Perform()
    seen = sightings(SMILING, lost=range(5))[:12]
    out = [stage.push(s)[0] for s in seen]
    assert stage.n_faceless == 5
    for motion in out[:5]:
        assert motion.confidence == 0.0
        assert not motion.expression.any()
        assert np.isfinite(motion.face).all()
        px = CAMERA.project(place(motion.head, motion.face))
        assert ((px > 0) & (px < (CAMERA.width, CAMERA.height))).all()
    assert out[-1].confidence == 1.0
    assert out[-1].expression[ARKIT_INDEX["mouthSmileLeft"]] > 0.3


def test_hairline_and_temples_are_held_and_lips_eyes_and_irises_are_not() -> None:
    share = stiffness(template())[:, 0]
    free = [*LIPS, *LEFT_EYE, *RIGHT_EYE, *LEFT_IRIS, *RIGHT_IRIS]
    assert (share[free] == 0).all()
    assert share[FOREHEAD] > 0.5
    assert ((share >= 0) & (share < 1)).all()


def test_a_neutral_is_told_from_moments_that_are_mostly_not_neutral() -> None:
    neutral = survey(sightings(range_of_motion())).neutral
    off = np.abs(neutral - template())[:468, :2]
    print(f"neutral from a range of motion: mean {off.mean():.4f}, worst {off.max():.3f} units")
    assert off.mean() < 0.015
    assert abs(np.linalg.norm(neutral[33] - neutral[263]) - 1) < 1e-3
    with pytest.raises(ValueError, match="no moment of the clip shows a face"):
        survey(sightings(SMILING, lost=range(120)))


def test_a_still_head_stays_still_under_noise() -> None:
    rng = np.random.default_rng(0)
    noisy = []
    for s in sightings(Script(Fraction(2), {})):
        assert s.face is not None
        shaken = s.face.landmarks + rng.normal(0, 0.3, (478, 3)).astype(np.float32)  # px
        noisy.append(replace(s, face=FaceMesh(shaken.astype(np.float32))))
    out, raw = list(run(knowing(), noisy)), list(run(Perform(Performer(template()), smooth=None), noisy))

    def shake(motions: list[Motion]) -> float:
        return float(np.diff(np.stack([place(m.head, m.face) for m in motions[10:]]), axis=0).std()) / UNIT_M

    print(f"frame-to-frame shake {shake(raw):.5f} units, smoothed {shake(out):.5f}")
    assert shake(out) < 0.7 * shake(raw)


def test_who_looks_ahead_lags_behind_a_moving_jaw_much_less_and_shakes_no_more() -> None:
    rng = np.random.default_rng(0)
    seen = sightings(Script(Fraction(2), {"jawOpen": tuple((i / 4, i % 2 * 0.8) for i in range(9))}))
    noisy = [replace(s, face=FaceMesh(s.face.landmarks + rng.normal(0, 0.2, (478, 3)).astype(np.float32))) for s in seen if s.face]  # fmt: skip

    def off(look_ahead_s: float) -> tuple[float, float]:
        """How far a chin is from where it is, and how it shakes, units."""
        out, true = (
            np.stack([m.face[152, :2] for m in run(stage, ss)])
            for stage, ss in (
                (Perform(Performer(template()), look_ahead_s=look_ahead_s), noisy),
                (Perform(Performer(template()), smooth=None), seen),
            )
        )
        return float(np.abs(out - true).mean()), float(np.abs(np.diff(out - true, axis=0)).mean())

    behind, ahead = off(0.0), off(0.1)
    print(f"off and shaking, units: {behind} without, {ahead} looking ahead")
    assert ahead[0] < 0.8 * behind[0]
    assert ahead[1] < behind[1]


def test_a_blend_starts_at_the_one_and_ends_at_the_other() -> None:
    a, b = (range_of_motion()(Fraction(t, 10)) for t in (8, 31))
    for share, like in ((0.0, a), (1.0, b)):
        mixed = blend(a, b, share)
        assert mixed.time == b.time
        np.testing.assert_allclose(mixed.head, like.head, atol=1e-5)
        np.testing.assert_allclose(mixed.face, like.face, atol=1e-6)
    half = blend(a, b, 0.5).head[:3, :3]
    np.testing.assert_allclose(half @ half.T, np.eye(3), atol=1e-5)


@dataclass(frozen=True)
class Frame:
    time: Fraction
    rgb: NDArray[np.uint8]


class Scripted:
    """A finder that says what the corner pixel tells it to."""

    def find(self, rgb: NDArray[np.uint8]) -> list[FaceMesh]:
        face = sighting(SMILING(Fraction(0))).face
        return [face] if rgb[0, 0, 0] and face is not None else []


def test_track_gives_one_sighting_a_picture_with_its_own_time_and_camera() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    dark = np.zeros_like(rgb)
    rgb[0, 0] = 255
    times = [Fraction(1001 * i, 30000) for i in range(4)]
    frames = [Frame(t, p) for t, p in zip(times, (rgb, dark, dark, rgb), strict=True)]
    seen = list(run(Track(Scripted(), Chooser("largest")), frames))
    assert [s.time for s in seen] == times
    assert [s.face is not None for s in seen] == [True, False, False, True]
    assert {s.camera for s in seen} == {Camera.of_picture(160, 90)}
    assert seen[1].anchors is None


def test_shoulders_are_as_far_away_as_the_head_and_held_while_out_of_sight() -> None:
    first, second = np.array(((100, 400), (420, 400)), np.float32), np.array(((130, 390), (450, 390)), np.float32)
    seen = [replace(s, shoulders=first) for s in sightings(SMILING)[:40]]
    seen[20:] = [replace(s, shoulders=second) for s in seen[20:]]
    seen[:5] = [replace(s, shoulders=None) for s in seen[:5]]
    seen[30:] = [replace(s, shoulders=None) for s in seen[30:]]
    stage = Perform(Performer(template()), shoulders=first)
    out = list(run(stage, seen))
    told = [CAMERA.project(m.shoulders) for m in out if m.shoulders is not None]
    assert len(told) == 40
    np.testing.assert_allclose(told[0], first, atol=0.5)
    np.testing.assert_allclose(told[19], first, atol=0.5)
    np.testing.assert_allclose(told[29], second, atol=6)
    np.testing.assert_allclose(told[39], told[29], atol=0.5)
    assert all(m.shoulders is not None and (m.shoulders[:, 2] == m.head[2, 3]).all() for m in out)
    assert knowing().push(seen[0])[0].shoulders is None
    assert_same(out, [m for s in seen for m in stage.push(s)])
