"""Pixels to a head and a face, and back without loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import template
from perfcap.head import (
    EARS_DEPTH,
    UNIT_M,
    Camera,
    face_of,
    fit_head,
    inverse,
    place,
    refine_head,
    skull_depth,
    unproject,
)
from perfcap.landmarks import OUTER_EYES, OVAL
from perfcap.written import head_at

Points = NDArray[np.float32]
CAMERA = Camera.of_picture(640, 480)


def seen(head: Points, face: Points) -> Points:
    """Landmarks [478, 3] as the face mesh gives them: px, and a depth in px at the head's distance."""
    points = place(head, face)
    depth = (points[:, 2:] - head[2, 3]) * CAMERA.focal_px / head[2, 3]
    return np.asarray(np.concatenate((CAMERA.project(points), depth), 1), np.float32)


def shaken(landmarks: Points) -> Points:
    noise = np.random.default_rng(0).normal(0, 2, landmarks.shape)
    return np.asarray(landmarks + noise, np.float32)


def turn_deg(a: Points, b: Points) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(a[:3, :3] @ b[:3, :3].T) - 1) / 2, -1, 1))))


def turned(yaw: float, pitch: float, roll: float) -> Points:
    """A head by its angles in degrees."""
    return head_at(*(math.radians(v) for v in (yaw, pitch, roll)))


POSES = [turned(0, 0, 0), turned(35, 0, 0), turned(-20, 15, 10), turned(0, -25, -30)]


@pytest.mark.parametrize("head", POSES)
def test_the_head_and_face_give_the_landmarks_back(head: Points) -> None:
    landmarks = shaken(seen(head, template()))
    posed = fit_head(landmarks, CAMERA, template())
    off = np.abs(CAMERA.project(place(posed.head, posed.face)) - landmarks[:, :2])
    assert off.max() < 1e-2


@pytest.mark.parametrize("head", POSES)
def test_the_face_of_any_head_gives_the_landmarks_back(head: Points) -> None:
    landmarks = shaken(seen(turned(3, 3, 3), template()))
    face = face_of(landmarks, CAMERA, head, template())
    assert np.abs(CAMERA.project(place(head, face)) - landmarks[:, :2]).max() < 1e-2


@pytest.mark.parametrize("head", POSES)
def test_a_known_head_is_found(head: Points) -> None:
    found = fit_head(seen(head, template()), CAMERA, template())
    assert turn_deg(found.head, head) < 2
    np.testing.assert_allclose(found.head[:3, 3], head[:3, 3], atol=0.03 * head[2, 3])
    assert np.abs(found.face - template())[list(OUTER_EYES)].max() < 0.03


def test_an_open_jaw_does_not_make_the_head_grow() -> None:
    face = template().copy()
    below = face[:, 1] > 0.7
    face[below, 1] += 0.35
    shut, wide = (fit_head(seen(POSES[0], f), CAMERA, template()).head for f in (template(), face))
    np.testing.assert_allclose(wide, shut, atol=1e-4)


def test_unproject_undoes_the_projection() -> None:
    head, points = POSES[2], template()
    px = CAMERA.project(place(head, points))
    np.testing.assert_allclose(unproject(CAMERA, head, px, points[:, 2]), points, atol=1e-4)


def test_inverse_undoes_a_head() -> None:
    np.testing.assert_allclose(inverse(POSES[2]) @ POSES[2], np.eye(4), atol=1e-6)


FEATURES = np.random.default_rng(2).uniform((-0.9, -1.0, 0.2), (0.9, -0.4, 1.0), (40, 3)).astype(np.float32)


def test_perfect_features_keep_a_right_head() -> None:
    head = POSES[2]
    refined = refine_head(head, CAMERA, FEATURES, CAMERA.project(place(head, FEATURES)))
    np.testing.assert_allclose(refined, head, atol=1e-4)


def test_features_put_a_leaning_head_right_though_some_slipped() -> None:
    head = POSES[0]
    leaning = head.copy()
    leaning[:3, :3] = turned(1.5, -2.5, 1.0)[:3, :3] @ head[:3, :3]
    middle = np.array((0, 0.35, 0.1), np.float32) * np.float32(UNIT_M)
    leaning[:3, 3] += (head[:3, :3] - leaning[:3, :3]) @ middle  # it leans about the middle of the face
    where = CAMERA.project(place(head, FEATURES))
    where[:6] += 25  # px: somebody walked past behind
    refined = refine_head(leaning, CAMERA, FEATURES, where)
    print(f"{turn_deg(leaning, head):.2f} degrees off, then {turn_deg(refined, head):.2f}")
    assert turn_deg(refined, head) < 0.35 * turn_deg(leaning, head)


def test_the_skull_starts_at_the_contour_and_ends_at_the_ears() -> None:
    neutral = template()
    ring = neutral[list(OVAL)]
    np.testing.assert_allclose(skull_depth(neutral, ring[:, :2]), ring[:, 2], atol=1e-3)
    np.testing.assert_allclose(skull_depth(neutral, 2 * ring[:, :2]), EARS_DEPTH, atol=1e-3)
    steps = np.stack([skull_depth(neutral, np.float32(f) * ring[:, :2]) for f in np.linspace(1, 2, 20)])
    assert (np.diff(steps, axis=0) >= -1e-6).all(), "further out is never nearer"


def test_golden() -> None:
    posed = fit_head(shaken(seen(POSES[2], template())), CAMERA, template())
    np.testing.assert_allclose(posed.head[:3].ravel(), GOLDEN, atol=2e-4)


GOLDEN = (
    0.926241, -0.087727, 0.366582, -0.020075,
    0.168393, 0.966399, -0.194208, 0.023423,
    -0.337227, 0.241613, 0.909891, 0.464478,
)  # fmt: skip
