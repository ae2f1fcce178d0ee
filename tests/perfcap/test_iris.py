"""Irises are found where they are drawn, and where none shows, the mesh's are kept."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import template
from perfcap.face import FaceMesh
from perfcap.iris import EYES, find_irises, with_glances, with_irises

Rgb = NDArray[np.uint8]
SIDE, UNIT_PX = 512, 220.0
SKIN, WHITE, IRIS = (205, 160, 140), (225, 220, 215), (70, 60, 90)


def mesh(lids: float = 1.0) -> FaceMesh:
    """The mean face, large in the picture; its lids open by a share of what they are at rest."""
    landmarks = (template() * UNIT_PX + np.array((SIDE / 2, SIDE / 2, 0))).astype(np.float32)
    for upper, lower, _ in EYES:
        up, low = list(upper[1:-1]), list(lower[1:-1])
        landmarks[up, 1] = landmarks[low, 1] - (landmarks[low, 1] - landmarks[up, 1]) * lids
    return FaceMesh(landmarks)


def width(face: FaceMesh, eye: int) -> float:
    upper = EYES[eye][0]
    return float(np.linalg.norm(face.landmarks[upper[-1], :2] - face.landmarks[upper[0], :2]))


def eyes(face: FaceMesh, glance: float, iris: tuple[int, int, int] = IRIS) -> tuple[Rgb, list[NDArray[np.float32]]]:
    """A picture of its eyes looking aside by a share of their width, and where its irises are."""
    rgb = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
    at = []
    for n, (upper, lower, ring) in enumerate(EYES):
        outline = face.landmarks[list(upper + lower[-2:0:-1]), :2]
        ball = np.full_like(rgb, WHITE)
        centre = face.landmarks[ring[0], :2] + (glance * width(face, n), 0)
        radius = float(np.linalg.norm(face.landmarks[list(ring[1:]), :2] - face.landmarks[ring[0], :2], axis=1).mean())
        cv2.circle(ball, tuple(int(v * 16) for v in centre - 0.5), int(radius * 16), iris, -1, cv2.LINE_AA, 4)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillPoly(mask, [np.round(outline * 16 - 8).astype(np.int32)], 255, shift=4)
        rgb[mask > 127] = ball[mask > 127]
        at.append(np.asarray(centre, np.float32))
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 1.0), np.uint8), at


@pytest.mark.parametrize("glance", [0.0, 0.08, -0.15, 0.2])
@pytest.mark.parametrize("iris", [IRIS, (90, 140, 190), (120, 90, 50)], ids=["dark", "blue", "brown"])
def test_irises_are_found_where_they_are(glance: float, iris: tuple[int, int, int]) -> None:
    rgb, at = eyes(mesh(), glance, iris)
    for n, found in enumerate(find_irises(rgb, mesh())):
        off = np.abs(found.centre - at[n]) / width(mesh(), n)
        print(f"glance {glance:+.2f}: off {off[0]:.3f} along and {off[1]:.3f} across, sure {found.sure:.2f}")
        assert off[0] < 0.02
        assert off[1] < 0.04
        assert found.sure == 1


def test_a_picture_gets_its_irises_and_a_video_its_glances_alone() -> None:
    for glance, follows in ((0.005, False), (0.15, True)):
        rgb, at = eyes(mesh(), glance)
        for n, (_, _, ring) in enumerate(EYES):
            still = with_irises(rgb, mesh()).landmarks[ring[0], :2]
            assert abs(still[0] - at[n][0]) < 0.02 * width(mesh(), n)
            moved = with_glances(rgb, mesh()).landmarks[ring[0], :2]
            wanted = at[n][0] if follows else mesh().landmarks[ring[0], 0]
            assert abs(moved[0] - wanted) < 0.02 * width(mesh(), n)
            assert abs(moved[1] - mesh().landmarks[ring[0], 1]) < 0.03 * width(mesh(), n)


def test_shut_eyes_and_eyes_that_show_no_iris_keep_the_meshs() -> None:
    shut = mesh(lids=0.1)
    rgb, _ = eyes(shut, 0.15)
    np.testing.assert_array_equal(with_irises(rgb, shut).landmarks, shut.landmarks)
    even = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
    np.testing.assert_allclose(with_irises(even, mesh()).landmarks, mesh().landmarks, atol=1e-3)


def test_a_face_of_no_size_is_no_trouble() -> None:
    nothing = FaceMesh(np.zeros((478, 3), np.float32))
    assert np.isfinite(with_glances(np.zeros((64, 64, 3), np.uint8), nothing).landmarks).all()
