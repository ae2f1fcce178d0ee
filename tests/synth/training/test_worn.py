"""What is worn lies where it is worn: hair off the face, glasses before the eyes, clothes below the neck."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.training.ict import load_ict
from synth.training.figure import Tailor
from synth.training.worn import HAIR, N_SEGMENTS, SKULL_M, SKULL_RADII_M, Piece, clothes, glasses, hair, hat
from tests.synth.training.toy_face import write_toy_face

Floats = NDArray[np.float32]
BLACK = np.full(3, 0.02, np.float32)


@pytest.fixture(scope="module")
def tailor(tmp_path_factory: pytest.TempPathFactory) -> Tailor:
    return Tailor(load_ict(write_toy_face(tmp_path_factory.mktemp("asset") / "toy.npz")))


def well_formed(piece: Piece) -> bool:
    n = len(piece.vertices)
    shapes = {piece.vertices.shape, piece.colour.shape, piece.along.shape}
    used = set(piece.triangles.ravel().tolist())
    return shapes == {(n, 3)} and used == set(range(n)) and bool(np.isfinite(piece.vertices).all())


def test_hair_keeps_out_of_face_and_skull_and_runs_along_itself(tailor: Tailor) -> None:
    n_styles = set()
    for seed in range(40):
        pieces = hair(tailor.face.vertices, tailor._scalp_triangles, BLACK, np.random.default_rng(seed))
        n_styles.add(len(pieces))
        for piece in pieces[1:]:
            assert well_formed(piece)
            assert piece.material == HAIR
            x, y, z = piece.vertices.T
            assert not ((np.abs(x) < 0.05) & (y > -0.015) & (z < 0.05)).any()
            tips = piece.vertices.reshape(-1, 2 * (N_SEGMENTS + 1), 3)[:, -1]
            assert (np.linalg.norm((tips - SKULL_M) / SKULL_RADII_M, axis=1) > 0.95).all()
            np.testing.assert_allclose(np.linalg.norm(piece.along, axis=1), 1, atol=1e-3)
    assert n_styles == {0, 1, 2}, "some are bald, some shorn"


def test_glasses_sit_before_the_eyes_and_reach_the_ears(tailor: Tailor) -> None:
    marks = tailor.face.vertices[tailor.face.landmark68]
    piece = glasses(marks, np.random.default_rng(0))
    assert well_formed(piece)
    x, y, z = piece.vertices.T
    front = z < marks[36:48, 2].min() - 0.012
    assert 0.5 < front.mean() < 0.95
    assert np.abs(y[front] - marks[36:48, 1].mean()).max() < 0.035
    assert z.max() > 0.07
    assert abs(x.mean()) < 0.005


def test_clothes_hang_from_the_collar_down_and_stay_with_the_body(tailor: Tailor) -> None:
    for seed in range(4):
        piece = clothes(tailor.face.vertices, 0.15, np.random.default_rng(seed))
        assert well_formed(piece)
        assert piece.vertices[:, 1].min() > 0.12
        assert piece.vertices[:, 1].max() > 0.5
        assert piece.with_head == 0
        assert ((piece.colour >= 0) & (piece.colour <= 1)).all()


def test_a_hat_rides_on_the_head(tailor: Tailor) -> None:
    piece = hat(np.random.default_rng(0))
    assert len(piece.vertices) == len(piece.colour)
    assert piece.with_head == 1
    assert piece.vertices[:, 1].max() < 0.0
    assert piece.vertices[:, 1].min() < tailor.face.vertices[:, 1].min()
