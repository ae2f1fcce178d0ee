from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.head import Camera
from perfcap.training.ict import (
    FAR,
    LOOK_YAW,
    Light,
    coefficients,
    gaze_direction,
    gaze_of,
    head_pose,
    ict_names,
    load_ict,
    render,
    vertex_normals,
)
from runtime.records import ARKIT_NAMES

Floats = NDArray[np.float32]

STEP = 0.002


def ball(n_rings: int, n_spokes: int, centre: tuple[float, float, float], radius: float) -> tuple[Floats, Floats]:
    """A closed sphere, cm, y up and z to the camera: vertices [V, 3] and triangles [T, 3]."""
    rings = np.linspace(0, np.pi, n_rings + 2)[1:-1]
    spokes = np.arange(n_spokes) * 2 * np.pi / n_spokes
    body = [(np.sin(r) * np.cos(s), np.sin(r) * np.sin(s), np.cos(r)) for r in rings for s in spokes]
    vertices = np.array([*body, (0, 0, 1), (0, 0, -1)], np.float32) * radius + np.array(centre, np.float32)
    triangles = []
    for k in range(n_spokes):
        n = (k + 1) % n_spokes
        for ring in range(n_rings - 1):
            a, b = ring * n_spokes, (ring + 1) * n_spokes
            triangles += [(a + k, b + k, b + n), (a + k, b + n, a + n)]
        triangles += [(len(body), k, n), (len(body) + 1, (n_rings - 1) * n_spokes + n, (n_rings - 1) * n_spokes + k)]
    return vertices, np.array(triangles, np.int32)


def write_stand_in(path: Path) -> Path:
    """The asset's keys with three balls for a head and two eyes; each expression moves the head's lowest point."""
    parts = [ball(9, 12, (0, 0, 0), 8), ball(7, 10, (3, 3, 6), 1.5), ball(7, 10, (-3, 3, 6), 1.5)]
    counts = [len(v) for v, _ in parts]
    starts = np.cumsum([0, *counts])
    vertices = np.concatenate([v for v, _ in parts])
    triangles = np.concatenate([t + start for (_, t), start in zip(parts, starts, strict=False)]).astype(np.int32)
    names = [*sorted({name for arkit in ARKIT_NAMES for name in ict_names(arkit)}), "PupilDilate_L"]
    expressions = np.zeros((len(names), len(vertices), 3), np.int16)
    expressions[:, vertices[:, 1].argmin(), 1] = -np.arange(1, len(names) + 1)
    identities = np.zeros((3, len(vertices), 3), np.int16)
    identities[0, :, 0] = np.round(vertices[:, 0] * 0.1 / STEP)  # wider
    landmark68 = np.zeros(68, np.int32)
    landmark68[36], landmark68[45] = vertices[: counts[0], 0].argmin(), vertices[: counts[0], 0].argmax()
    np.savez(
        path,
        vertices=vertices,
        triangles=triangles,
        triangle_material=np.repeat([0, 1, 1], [len(t) for _, t in parts]).astype(np.uint8),
        material_names=np.array(["M_Face", "M_Sclera"]),
        uv=vertices[:, :2],
        triangle_uv=triangles,
        expression_names=np.array(names),
        expressions=expressions,
        identities=identities,
        delta_step=np.float32(STEP),
        landmark68=landmark68,
        part_names=np.array(["face", "eyeball_left", "eyeball_right"]),
        part_ranges=np.stack((starts[:-1], starts[1:]), 1).astype(np.int32),
    )
    return path


@pytest.fixture
def asset(tmp_path: Path) -> Path:
    return write_stand_in(tmp_path / "face.npz")


def test_the_asset_comes_in_metres_with_y_down_and_the_camera_in_front(asset: Path) -> None:
    face = load_ict(asset)
    left, right = face.vertices[face.parts["eyeball_left"]], face.vertices[face.parts["eyeball_right"]]
    assert left[:, 0].mean() > 0 > right[:, 0].mean()
    assert left[:, 1].mean() < 0
    assert left[:, 2].mean() < 0
    assert np.ptp(face.vertices[face.parts["face"]][:, 0]) == pytest.approx(0.16, abs=0.002)


def test_split_shapes_add_up_and_the_tongue_stays_zero(asset: Path) -> None:
    face = load_ict(asset)
    assert ict_names("browInnerUp") == ("browInnerUp_L", "browInnerUp_R")
    assert ict_names("mouthLeft") == ("mouthLeft",)
    assert ict_names("eyeBlinkLeft") == ("eyeBlink_L",)
    moved = np.abs(face.expressions).sum((1, 2))
    assert moved[ARKIT_NAMES.index("tongueOut")] == 0
    assert (np.delete(moved, ARKIT_NAMES.index("tongueOut")) > 0).all()


def test_a_mesh_adds_identity_and_expression(asset: Path) -> None:
    face = load_ict(asset)
    wide = face.mesh(np.array([1.0], np.float32))
    assert np.ptp(wide[:, 0]) == pytest.approx(1.1 * np.ptp(face.vertices[:, 0]), rel=0.01)
    by_name, by_array = face.mesh(None, {"jawOpen": 0.5}), face.mesh(None, coefficients({"jawOpen": 0.5}))
    assert np.array_equal(by_name, by_array)
    assert not np.array_equal(by_name, face.mesh())


def test_eyeballs_turn_about_their_centres_towards_the_gaze(asset: Path) -> None:
    face = load_ict(asset)
    gaze = np.array([(0.4, 0.2), (-0.3, 0.0)], np.float32)
    turned = face.mesh(gaze=gaze)
    for part, direction in zip(("eyeball_left", "eyeball_right"), gaze_direction(gaze), strict=True):
        centre, radius = face.eye(turned, part)
        assert centre == pytest.approx(face.eye(face.vertices, part)[0], abs=1e-5)
        pole = turned[face.parts[part]][-2]  # looked straight ahead at rest
        assert (pole - centre) / radius == pytest.approx(direction, abs=1e-3)
    cosine = face.iris_cosine(turned, gaze)
    assert cosine[face.parts["eyeball_left"]][-2] == pytest.approx(1, abs=1e-4)
    assert (cosine[face.parts["face"]] == -1).all()


def test_looking_in_is_towards_the_nose() -> None:
    gaze = gaze_of(coefficients({"eyeLookInLeft": 1, "eyeLookInRight": 1}))
    assert gaze[:, 0] == pytest.approx((-LOOK_YAW, LOOK_YAW))
    assert gaze_of(coefficients({"eyeLookDownLeft": 1}))[0, 1] > 0


def test_a_misspelt_coefficient_is_refused() -> None:
    with pytest.raises(ValueError, match="no ARKit coefficient is called jawOpne"):
        coefficients({"jawOpne": 1.0})


def test_a_file_that_is_not_the_asset_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", vertices=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"other\.npz has no expressions, identities"):
        load_ict(tmp_path / "other.npz")


def test_a_square_is_drawn_where_the_pinhole_puts_it() -> None:
    square = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], np.float32) * 0.1
    triangles = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    head = head_pose(0, 0, 0, (0.1, 0, 1))
    shot = render(square, triangles, square, Camera(100, 80, 100.0), head, background=9)
    covered = shot.triangle >= 0
    ys, xs = np.nonzero(covered)
    assert (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1) == (50, 70, 30, 50)
    assert covered.sum() == 400
    assert shot.picture[40, 50] == pytest.approx((-0.095, 0.005, 0), abs=1e-5)
    assert (shot.picture[~covered] == 9).all()
    assert (shot.depth[~covered] == FAR).all()
    assert shot.depth[covered] == pytest.approx(1)


def test_the_nearer_surface_wins_whatever_the_order() -> None:
    near = np.array([(-1, -1, -0.5), (1, -1, -0.5), (0, 1, -0.5)], np.float32) * 0.1
    points = np.concatenate((near * (2, 2, 0), near)).astype(np.float32)
    for order in ([(0, 1, 2), (3, 4, 5)], [(3, 4, 5), (0, 1, 2)]):
        triangles = np.array(order, np.int32)
        label = (triangles[:, :1] == 3).astype(np.float32)
        shot = render(points, triangles, label, Camera(64, 64, 100.0), head_pose(0, 0, 0, (0, 0, 1)))
        assert shot.picture[30, 32, 0] == 1
        assert shot.picture[25, 20, 0] == 0


def test_attributes_are_perspective_right_on_a_slanted_plane() -> None:
    plane = np.array([(-1, -1, -3), (1, -1, 3), (1, 1, 3), (-1, 1, -3)], np.float32) * 0.1
    triangles = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    camera, head = Camera(64, 64, 120.0), head_pose(0, 0, 0, (0, 0, 1))
    shot = render(plane, triangles, plane, camera, head)
    y, x = np.nonzero(shot.triangle >= 0)
    points = shot.picture[y, x] + (0, 0, 1)
    assert np.abs(camera.project(points) - np.stack((x + 0.5, y + 0.5), 1)).max() < 0.01


def test_supersampling_smooths_the_edge_and_keeps_the_size(asset: Path) -> None:
    face = load_ict(asset)
    white = np.ones((len(face.vertices), 3), np.float32)
    camera = Camera(48, 40, 60.0)
    once, thrice = (render(face.vertices, face.triangles, white, camera, supersample=s) for s in (1, 3))
    assert once.picture.shape == thrice.picture.shape == (40, 48, 3)
    assert set(np.unique(once.cover)) == {0, 1}
    assert len(np.unique(thrice.cover)) > 3
    assert thrice.picture[..., 0] == pytest.approx(thrice.cover, abs=1e-6)


def test_light_from_the_left_brightens_the_left(asset: Path) -> None:
    face = load_ict(asset)
    head = slice(0, face.parts["face"].stop)
    normals = vertex_normals(face.vertices, face.triangles)
    outwards = face.vertices[head] - face.vertices[head].mean(0)
    assert (np.einsum("vc,vc->v", normals[head], outwards) > 0).all()
    light = Light(
        direction=np.array((-1, 0, -1), np.float32), directional=np.ones(3, np.float32), ambient=np.zeros(3, np.float32)
    )
    white = np.ones((len(face.vertices), 3), np.float32)
    shot = render(face.vertices, face.triangles, white, Camera(64, 64, 150.0), light=light)
    covered = shot.triangle >= 0
    left, right = np.arange(64) < 28, np.arange(64) > 36
    assert shot.picture[:, left][covered[:, left]].mean() > 2 * shot.picture[:, right][covered[:, right]].mean()


def test_a_head_turns_to_the_right_of_the_picture_and_down() -> None:
    ahead = np.array((0, 0, -1), np.float32)
    assert (head_pose(0.5, 0, 0, (0, 0, 1))[:3, :3] @ ahead)[0] > 0.4
    assert (head_pose(0, 0.5, 0, (0, 0, 1))[:3, :3] @ ahead)[1] > 0.4
    assert (head_pose(0, 0, 0.5, (0, 0, 1))[:3, :3] @ np.array((1, 0, 0)))[1] > 0.4
