"""What a picture is made into before it performs: a mesh without folds, and how it follows the head."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import template
from perfcap.face import FaceMesh, MediaPipeFaces
from perfcap.head import place
from perfcap.landmarks import OVAL
from runtime.records import N_FACE
from synth.rig import FIRST_GRID, LASHES, N_LASHES, UNDER, Character, lid_rows, rig

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def picture() -> Rgb:  # [288, 288, 3]
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    return np.ascontiguousarray(data.astronaut()[:288, 80:368])


@pytest.fixture(scope="module")
def hero(picture: Rgb) -> Character:
    finder = MediaPipeFaces(still=True)
    (mesh,) = finder.find(picture)
    finder.close()
    return rig(picture, mesh, template())


def areas(points: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """Signed [T], px."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return np.asarray(((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2, np.float32)


def test_the_head_and_face_of_a_character_are_its_picture(hero: Character) -> None:
    px = hero.camera.project(place(hero.head, hero.face))
    assert np.abs(px - hero.landmarks[:, :2]).max() < 1e-2
    assert 50 < hero.unit_px < 65


def test_the_mesh_covers_the_picture_around_the_face_once(hero: Character) -> None:
    skin = hero.skin
    assert len(skin.points) == FIRST_GRID + len(skin.around) == FIRST_GRID + len(skin.head_weight)
    assert skin.triangles.max() < len(skin.points)
    H, W = hero.rgb.shape[:2]
    assert (skin.points[FIRST_GRID:] >= 0).all()
    assert (skin.points[FIRST_GRID:] <= (W, H)).all()
    low, high = skin.points[FIRST_GRID:].min(0), skin.points[FIRST_GRID:].max(0)
    covered = float(np.abs(areas(skin.points, skin.triangles)).sum() / np.prod(high - low))
    print(f"triangles cover {covered:.4f} of the moving part")
    assert covered == pytest.approx(1, abs=0.01)


def test_how_far_points_follow_is_a_share_and_fades_from_head_to_border(hero: Character) -> None:
    skin = hero.skin
    for weight in (skin.head_weight, skin.body_weight, skin.contour_weight):
        assert np.isfinite(weight).all()
        assert weight.min() >= 0
        assert weight.max() <= 1 + 1e-5
    assert (skin.contour_weight.sum(1) <= 1 + 1e-5).all()
    grid = skin.points[FIRST_GRID:]
    hair = np.linalg.norm(grid - (145, 35), axis=1) < 15
    assert (skin.head_weight[hair] > 0.99).all()
    assert skin.head_weight[grid[:, 1] > 260].max() < 0.01, "the suit does not turn with the head"


def test_what_is_around_the_face_is_not_in_front_of_it(hero: Character) -> None:
    skin = hero.skin
    assert skin.around[:, 2].min() > hero.face[:N_FACE, 2].min()
    assert skin.around[:, 2].max() < 2.5


def test_cheeks_that_a_turn_shows_are_not_smeared(hero: Character) -> None:
    skin = hero.skin
    edges = skin.triangles[np.isin(skin.triangles, OVAL).any(1)][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    turn = np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)), np.float32)

    def lengths(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1), np.float32)

    most: dict[str, float] = {}
    for name, face in (("as found", hero.face), ("as drawn", hero.face + skin.eased)):
        points = np.concatenate((face[:FIRST_GRID], np.zeros((FIRST_GRID - len(face), 3)), skin.around))
        then = lengths(skin.points)
        for way in (turn, turn.T):
            head = hero.head.copy()
            head[:3, :3] = way @ head[:3, :3]
            longer = lengths(hero.camera.project(place(head, points))) / np.maximum(then, 0.1)
            most[name] = max(most.get(name, 0.0), float(longer[then > 1].max()))
    print("the most that 20 degrees make of an edge at the contour:", {k: f"{v:.2f}" for k, v in most.items()})
    assert most["as drawn"] < 2.7 < most["as found"]


def test_a_face_is_drawn_where_its_picture_shows_it(hero: Character) -> None:
    drawn = hero.camera.project(place(hero.head, hero.face + hero.skin.eased))
    assert np.abs(drawn - hero.landmarks[:, :2]).max() < 1e-2
    assert (hero.skin.eased[list(OVAL), 2] <= 1e-5).all(), "nothing is pushed back"


def test_the_person_over_what_is_behind_them_is_the_picture(hero: Character) -> None:
    a = hero.alpha[..., None]
    error = np.abs(hero.person * a + hero.behind * (1 - a) - hero.rgb)
    print(f"mean error {error.mean():.2f} of 255")
    assert error.mean() < 1.5
    alone = hero.alpha == 0
    assert error[alone].mean() < 0.6
    assert error[hero.alpha == 1].max() <= 1


def test_rows_along_the_lids_stay_between_them_though_they_close() -> None:
    points = (template()[:N_FACE, :2] * 100).astype(np.float32)
    lashes, margins = np.full(N_LASHES, 4, np.float32), np.full(N_LASHES, 3, np.float32)
    for share in (0.0, 0.5, 0.95, 1.0):
        shut = points.copy()
        shut[LASHES] += (points[UNDER] - points[LASHES]) * share
        lash, inner, under = np.split(lid_rows(shut, lashes, margins), 3)
        assert (lash[:, 1] < shut[LASHES, 1]).all()
        assert (inner[:, 1] >= shut[LASHES, 1]).all()
        assert (under[:, 1] <= shut[UNDER, 1]).all()
        assert (inner[:, 1] <= under[:, 1] + 1e-4).all(), "the margins crossed"


@pytest.mark.parametrize(("height", "width"), [(201, 171), (213, 97)])
def test_odd_sizes_and_a_face_cut_by_the_edge_are_rigged(height: int, width: int, hero: Character) -> None:
    left, top = 288 - width - 20, 75
    rgb = np.ascontiguousarray(hero.rgb[top : top + height, left : left + width])
    landmarks = hero.landmarks - np.array((left, top, 0), np.float32)
    cut = rig(rgb, FaceMesh(landmarks), template())
    assert cut.alpha.shape == rgb.shape[:2]
    assert np.isfinite(cut.skin.points).all()
    assert np.isfinite(cut.skin.around).all()
