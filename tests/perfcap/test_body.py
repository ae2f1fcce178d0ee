"""Shoulders are found where they are, of the one whose face is known, or not at all."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.body import Shoulders, body_joints
from perfcap.face import FaceMesh, MediaPipeFaces

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def whole() -> Rgb:  # [512, 512, 3]
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    return np.asarray(data.astronaut(), np.uint8)


def face_in(rgb: Rgb) -> FaceMesh:
    with closing(MediaPipeFaces(still=True)) as finder:
        (face,) = finder.find(rgb)
    return face


def test_both_shoulders_are_where_the_picture_shows_them_and_follow_it(whole: Rgb) -> None:
    seen = {joint.name: (joint.x, joint.y) for joint in body_joints(whole)}
    face = face_in(whole)
    with closing(Shoulders()) as shoulders:
        first = shoulders.find(whole, face)
        aside = np.roll(whole, 60, 1)
        found = shoulders.find(aside, face_in(aside))
    assert first is not None
    np.testing.assert_allclose(first, [seen["right shoulder"], seen["left shoulder"]], atol=8)
    assert first[0, 0] < face.box[0]
    assert first[1, 0] > face.box[2]
    assert (first[:, 1] > face.box[3] - 0.3 * face.size).all()
    assert found is not None
    assert np.linalg.norm((found - first).mean(0) - (60, 0)) < 20  # of shoulders 190 px apart


def test_somebody_elses_shoulders_and_those_out_of_sight_are_none(whole: Rgb) -> None:
    face = face_in(whole)
    elsewhere = FaceMesh(face.landmarks + np.array((200, 0, 0), np.float32))
    close = np.ascontiguousarray(whole[80:150, 190:260])
    with closing(Shoulders(still=True)) as shoulders:
        assert shoulders.find(whole, elsewhere) is None
        assert shoulders.find(close, FaceMesh(face.landmarks - np.array((190, 80, 0), np.float32))) is None
        assert shoulders.find(np.zeros_like(whole), face) is None
