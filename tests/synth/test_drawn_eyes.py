"""Eyes that are drawn larger than the face mesh takes them for are found; eyes that it has right are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from perfcap.face import FaceMesh
from perfcap.iris import EYES
from synth.drawn_eyes import with_drawn_eyes

MIDDLE, RADIUS, WIDTH = np.array((100.0, 80.0), np.float32), 16.0, 80.0


def told() -> FaceMesh:
    """What a mesh says: of both eyes the same, an iris of 16 px in the middle of lids 24 px apart."""
    landmarks = np.zeros((478, 3), np.float32)
    across = np.linspace(-0.5, 0.5, 9, dtype=np.float32)
    for upper, lower, iris in EYES:
        for lid, side in ((upper, -1), (lower, 1)):
            landmarks[list(lid), 0] = MIDDLE[0] + WIDTH * across
            landmarks[list(lid), 1] = MIDDLE[1] + side * 12 * (1 - 4 * across**2)
        landmarks[list(iris), :2] = MIDDLE + RADIUS * np.array(((0, 0), (1, 0), (0, -1), (-1, 0), (0, 1)), np.float32)
    return FaceMesh(landmarks)


def picture(share: float, aside: float, lid: float) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An eye whose iris has so much of what the mesh says, is so many px aside, and ends so far below its middle."""
    ys, xs = np.mgrid[:160, :200] + 0.5
    out = np.full((160, 200, 3), (190, 140, 110), np.uint8)
    span = np.maximum(1 - ((xs - MIDDLE[0]) / (0.55 * WIDTH)) ** 2, 0)
    between = (ys > MIDDLE[1] - 16 * span) & (ys < MIDDLE[1] + lid * span)
    out[between] = (235, 235, 230)
    from_iris = np.hypot(xs - MIDDLE[0] - aside, ys - MIDDLE[1])
    out[between & (from_iris < RADIUS * share)] = (60, 110, 190)
    out[between & (from_iris < RADIUS * share * 0.4)] = (10, 10, 10)
    return out


@pytest.mark.parametrize(("share", "aside"), [(1.3, 5.0), (1.35, -5.0), (1.3, 0.0)])
def test_an_iris_is_as_large_and_where_it_is_drawn(share: float, aside: float) -> None:
    found = with_drawn_eyes(picture(share, aside, 20), told()).landmarks
    for _, _, iris in EYES:
        radius = np.linalg.norm(found[list(iris[1:]), :2] - found[iris[0], :2], axis=1).mean()
        assert abs(radius / RADIUS - share) < 0.1
        assert np.abs(found[iris[0], :2] - MIDDLE - (aside, 0)).max() < 2.5


def test_a_lower_lid_goes_to_where_a_drawn_eye_ends() -> None:
    found = with_drawn_eyes(picture(1.3, 5, 20), told()).landmarks
    for _, lower, _ in EYES:
        assert abs(found[lower[4], 1] - MIDDLE[1] - 20) < 2
        np.testing.assert_array_equal(found[[lower[0], lower[-1]]], told().landmarks[[lower[0], lower[-1]]])


def test_eyes_that_the_mesh_has_right_are_left_alone() -> None:
    np.testing.assert_array_equal(with_drawn_eyes(picture(1, 0, 12), told()).landmarks, told().landmarks)
    np.testing.assert_array_equal(
        with_drawn_eyes(np.full((160, 200, 3), 128, np.uint8), told()).landmarks, told().landmarks
    )
