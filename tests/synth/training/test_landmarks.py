"""Computed landmarks lie where the face is, and err as they were measured to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.face import FaceMesh
from perfcap.head import UNIT_M, Camera, fit_head
from perfcap.landmarks import LEFT_IRIS, RIGHT_IRIS
from perfcap.training.ict import IctFace, head_pose, load_ict
from runtime.errors import InputError
from runtime.records import N_FACE
from synth.training import landmarks as landmarks_file
from synth.training.landmarks import Landmarks, Shown, measure, unit_px
from tests.synth.training.toy_face import toy_landmarks, write_toy_face

Floats = NDArray[np.float32]

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


class Told:
    """A face finder that has been told what it sees in each picture, one after the other."""

    def __init__(self, seen: Sequence[Floats]) -> None:
        self._seen = iter(seen)

    def find(self, rgb: NDArray[np.uint8]) -> list[FaceMesh]:
        return [FaceMesh(next(self._seen))]

    def close(self) -> None:
        pass


def looks(face: IctFace, n: int) -> tuple[list[Shown], list[Floats]]:
    """Pictures in which each vertex of the face is a spot of 7 by 7 pixels, and its landmarks there."""
    exact, rng = toy_landmarks(), np.random.default_rng(0)
    shown, truths = [], []
    for _ in range(n):
        yaw, pitch, roll = rng.normal(0, 0.1, 3)
        head = head_pose(yaw, pitch, roll, (0, -0.02, 0.3))
        truth = exact.see(face, face.vertices, AHEAD, head, CAMERA, exact.bias)
        corners = np.full((300, 300, 3), -1, np.int32)
        for i, (x, y) in enumerate(truth[:N_FACE, :2].astype(int)):
            corners[y - 3 : y + 4, x - 3 : x + 4] = i
        for i, (x, y) in enumerate(truth[:N_FACE, :2].astype(int)):
            corners[y - 1 : y + 2, x - 1 : x + 2] = i
        weights = np.broadcast_to(np.array((1, 0, 0), np.float32), corners.shape)
        rgb = np.zeros((300, 300, 3), np.uint8)
        shown.append(Shown(rgb, corners, weights, face.vertices, AHEAD, head, CAMERA.focal_px, True))
        truths.append(truth)
    return shown, truths


def test_places_and_errors_of_a_face_finder_are_measured(face: IctFace, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, truths = looks(face, 40)
    unit = unit_px(face, face.vertices, shown[0].head, CAMERA)
    rng = np.random.default_rng(1)
    seen = [truth + np.array((*rng.normal(0, 0.02 * unit, 2), 0), np.float32) for truth in truths]  # all off alike
    monkeypatch.setattr(landmarks_file, "MediaPipeFaces", lambda still: Told(seen))
    measured = measure(face, shown)
    where = (face.vertices[measured.corners] * measured.weights[..., None]).sum(1)
    apart = np.linalg.norm(where - face.vertices[:N_FACE], axis=1) / UNIT_M
    spread = np.sqrt((measured.errors**2).sum(0))[:N_FACE, :2].mean()
    print(
        f"places {np.median(apart):.3f} units off (median), bias {np.abs(measured.bias).mean():.4f}, errors {spread:.4f}"
    )
    assert np.median(apart) < 0.04
    assert np.abs(np.median(measured.bias[:, :2], 0)).max() < 0.015
    assert spread == pytest.approx(0.02, rel=0.3)


def test_too_few_faces_are_refused(face: IctFace, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, truths = looks(face, 5)
    monkeypatch.setattr(landmarks_file, "MediaPipeFaces", lambda still: Told(truths))
    with pytest.raises(InputError, match="the face mesh found 5 of 5 made faces; wanted 24 or more"):
        measure(face, shown)
