"""The model as it is published, a folder of OBJ files, is the model as it is packed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.training.facekit import load_facekit, read_obj
from perfcap.training.ict import ict_names, load_ict
from runtime.errors import InputError
from runtime.records import ARKIT_INDEX, ARKIT_NAMES

Floats = NDArray[np.float32]

PARTS: Mapping[str, slice] = {"face": slice(0, 6), "eyeball_left": slice(6, 8), "eyeball_right": slice(8, 10)}
POINTS = np.random.default_rng(0).uniform(-9, 9, (10, 3)).round(3).astype(np.float32)  # cm, y up, z to the camera
FACES = "usemtl M_Face\nf 1/1 2/2 3/3 4/4\nf 4/4/1 5/5/1 6/6/1\nusemtl M_ScleraLeft\nf 7/1 8/2 6/3\n"


def write_obj(path: Path, points: Floats) -> None:
    vertices = "".join(f"v {x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in points)
    places = "".join(f"vt {k / 10:.1f} {k / 20:.2f}\n" for k in range(6))
    path.write_text(f"# a face\n{vertices}{places}{FACES}", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """ICT-FaceKit with ten vertices: every expression moves the first one up by its number, tenths of a millimetre."""
    model = tmp_path / "FaceXModel"
    model.mkdir()
    write_obj(model / "generic_neutral_mesh.obj", POINTS)
    for i, name in enumerate(sorted({n for arkit in ARKIT_NAMES for n in ict_names(arkit)})):
        moved = POINTS.copy()
        moved[0, 1] += 0.01 * (i + 1)
        write_obj(model / f"{name}.obj", moved)
    for i in range(2):
        write_obj(model / f"identity{i:03d}.obj", POINTS * np.float32(1.1 + i))
    landmarks = [0] * 68
    landmarks[36], landmarks[45] = 1, 2
    (model / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": landmarks}), encoding="utf-8")
    return tmp_path


def test_the_folder_comes_in_metres_with_y_down_and_the_eyes_in_the_middle(folder: Path) -> None:
    for path in (folder, folder / "FaceXModel"):
        face = load_facekit(path, PARTS)
        wanted = POINTS * (0.01, -0.01, -0.01)
        np.testing.assert_allclose(face.vertices, wanted - wanted[[1, 2]].mean(0), atol=1e-6)
    np.testing.assert_allclose(face.identities[0], 0.1 * wanted, atol=2e-6)
    np.testing.assert_allclose(face.identities[1], 1.1 * wanted, atol=2e-6)


def test_faces_of_four_become_two_triangles_with_their_materials(folder: Path) -> None:
    obj = read_obj(folder / "FaceXModel" / "generic_neutral_mesh.obj")
    assert obj.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [3, 4, 5], [6, 7, 5]]
    assert obj.triangle_uv.tolist() == [[0, 1, 2], [0, 2, 3], [3, 4, 5], [0, 1, 2]]
    assert [obj.names[k] for k in obj.material] == ["M_Face", "M_Face", "M_Face", "M_ScleraLeft"]
    assert obj.uv[3].tolist() == pytest.approx([0.3, 0.15])


def test_shapes_that_arkit_joins_are_added_and_up_is_up(folder: Path) -> None:
    face = load_facekit(folder, PARTS)
    names = sorted({n for arkit in ARKIT_NAMES for n in ict_names(arkit)})
    both = sum(names.index(n) + 1 for n in ict_names("browInnerUp")) * 1e-4
    assert face.expressions[ARKIT_INDEX["browInnerUp"], 0] == pytest.approx((0, -both, 0), abs=1e-6)
    assert not face.expressions[ARKIT_INDEX["tongueOut"]].any()


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"generic_neutral_mesh\.obj has 10 vertices, wanted 26719"):
        load_ict(folder)
    (folder / "FaceXModel" / "jawOpen.obj").unlink()
    with pytest.raises(InputError, match=r"FaceXModel has no jawOpen\.obj; wanted ICT-FaceKit's FaceXModel"):
        load_facekit(folder, PARTS)
    with pytest.raises(InputError, match=r"has no generic_neutral_mesh\.obj"):
        load_facekit(tmp_path / "elsewhere", PARTS)


def test_a_shape_of_another_mesh_is_refused(folder: Path) -> None:
    write_obj(folder / "FaceXModel" / "identity001.obj", POINTS[:9])
    with pytest.raises(InputError, match=r"identity001\.obj has 9 vertices, wanted 10 as in generic_neutral_mesh\.obj"):
        load_facekit(folder, PARTS)
