"""Computed landmarks lie where the face is, and err as they were measured to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfcap.head import UNIT_M, Camera, fit_head
from perfcap.landmarks import LEFT_IRIS, RIGHT_IRIS
from perfcap.training.ict import IctFace, head_pose, load_ict
from runtime.errors import InputError
from runtime.records import N_FACE
from synth.training.landmarks import Landmarks
from tests.synth.training.toy_face import toy_landmarks, write_toy_face

CAMERA = Camera.of_picture(300, 300)
AHEAD = np.zeros((2, 2), np.float32)


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> IctFace:
    return load_ict(write_toy_face(tmp_path_factory.mktemp("asset") / "toy.npz"))


def test_without_error_they_are_the_points_themselves(face: IctFace) -> None:
    landmarks = toy_landmarks()
    head = head_pose(0.3, -0.1, 0.05, (0.01, 0, 0.5))
    seen = landmarks.see(face, face.vertices, AHEAD, head, CAMERA, 0 * landmarks.bias)
    wanted = CAMERA.project(face.vertices[:N_FACE] @ head[:3, :3].T + head[:3, 3])
    np.testing.assert_allclose(seen[:N_FACE, :2], wanted, atol=1e-3)
    posed = fit_head(seen, CAMERA, np.concatenate((face.vertices[:N_FACE] / UNIT_M, np.zeros((10, 3), np.float32))))
    assert np.abs(posed.head[:3, :3] - head[:3, :3]).max() < 0.05


def test_an_error_is_so_many_units_in_the_heads_frame(face: IctFace) -> None:
    landmarks = toy_landmarks()
    head = head_pose(0, 0, 0, (0, 0, 0.5))
    error = np.zeros_like(landmarks.bias)
    error[:, 0] = 0.1
    plain, off = (landmarks.see(face, face.vertices, AHEAD, head, CAMERA, e) for e in (0 * error, error))
    unit = np.linalg.norm(plain[33, :2] - plain[263, :2])
    np.testing.assert_allclose((off - plain)[:, 0], 0.1 * unit, rtol=0.02)
    np.testing.assert_allclose((off - plain)[:, 1], 0, atol=1e-3)


def test_irises_go_where_the_eyes_look(face: IctFace) -> None:
    landmarks = toy_landmarks()
    head = head_pose(0, 0, 0, (0, 0, 0.5))
    gaze = np.array(((0.4, 0.2), (0.4, 0.2)), np.float32)
    ahead, aside = (landmarks.see(face, face.vertices, g, head, CAMERA, 0 * landmarks.bias) for g in (AHEAD, gaze))
    for iris in (LEFT_IRIS, RIGHT_IRIS):
        went = aside[iris[0], :2] - ahead[iris[0], :2]
        assert went[0] > 2
        assert went[1] > 1
        rim = ahead[list(iris[1:]), :2] - ahead[iris[0], :2]
        assert rim[0, 0] > 0 > rim[2, 0], "right and left"
        assert rim[1, 1] < 0 < rim[3, 1], "above and below"


def test_errors_are_random_and_as_large_as_asked() -> None:
    landmarks = toy_landmarks(error=0.01)
    rng = np.random.default_rng(0)
    drawn = np.stack([landmarks.error(rng, 0.5) for _ in range(400)])
    assert drawn.std() == pytest.approx(0.005, rel=0.1)


def test_they_are_kept_and_come_back(tmp_path: Path) -> None:
    landmarks = toy_landmarks()
    landmarks.save(tmp_path / "landmarks.npz")
    back = Landmarks.load(tmp_path / "landmarks.npz")
    np.testing.assert_array_equal(back.errors, landmarks.errors)
    np.savez(tmp_path / "other.npz", bias=landmarks.bias)
    with pytest.raises(InputError, match=r"other\.npz has no corners, errors, weights"):
        Landmarks.load(tmp_path / "other.npz")
