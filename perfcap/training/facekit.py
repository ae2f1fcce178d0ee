"""ICT-FaceKit as it is published: a folder of OBJ files, one for each shape, into an `IctFace`.

    git clone https://github.com/ICT-VGL/ICT-FaceKit    # MIT; FaceXModel is the folder

The files are in centimetres, y up and z towards the camera, and share one order of vertices. What the model's
vertices are parts of is published beside it, not in it, so it stands here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.training.ict import CM, IctFace, arkit_shapes
from runtime.errors import InputError

Floats = NDArray[np.float32]

FLIP = CM * np.array((1, -1, -1), np.float32)  # to metres, y down and z away
NEUTRAL, INDICES = "generic_neutral_mesh.obj", "vertex_indices.json"

# Vertices of each part, as the model's description numbers them.
PARTS: Mapping[str, slice] = MappingProxyType(
    {
        "face": slice(0, 9409),
        "head_neck": slice(9409, 11248),
        "mouth_socket": slice(11248, 13294),
        "eye_sockets": slice(13294, 14062),
        "gums_tongue": slice(14062, 17039),
        "teeth": slice(17039, 21451),
        "eyeball_left": slice(21451, 23021),
        "eyeball_right": slice(23021, 24591),
        "eye_shells": slice(24591, 25351),
        "lashes": slice(25351, 26719),
    }
)


@dataclass(frozen=True)
class Obj:
    """A mesh as the file has it; faces with more corners are cut into triangles."""

    vertices: Floats  # [V, 3]
    uv: Floats  # [U, 2]
    triangles: NDArray[np.int32]  # [T, 3]
    triangle_uv: NDArray[np.int32]  # [T, 3]
    material: NDArray[np.uint8]  # [T], index into names
    names: tuple[str, ...]


def read_obj(path: Path) -> Obj:
    """Vertices, texture places, faces and their materials; everything else is passed over."""
    places: list[list[str]] = []
    corners: list[tuple[list[str], int]] = []
    names: dict[str, int] = {}
    material = 0
    for line in _lines(path):
        kind, *rest = line.split() or [""]
        if kind == "vt":
            places.append(rest[:2])
        elif kind == "usemtl":
            material = names.setdefault(rest[0], len(names))
        elif kind == "f":
            corners += [([rest[0], rest[k], rest[k + 1]], material) for k in range(1, len(rest) - 1)]
    try:
        index = np.array([[corner.split("/")[:2] for corner in face] for face, _ in corners], np.int64) - 1
        uv = np.array(places, np.float32)
    except ValueError as error:
        raise InputError(f"{path} has faces without texture places; wanted corners like 12/34") from error
    if not len(index):
        raise InputError(f"{path} has no faces; wanted the mesh at rest")
    return Obj(
        read_vertices(path), uv, index[..., 0].astype(np.int32), index[..., 1].astype(np.int32),
        np.array([m for _, m in corners], np.uint8), tuple(names) or ("",),
    )  # fmt: skip


def read_vertices(path: Path) -> Floats:
    """The vertices [V, 3] alone."""
    rows = [line.split()[1:4] for line in _lines(path) if line.startswith("v ")]
    try:
        return np.array(rows, np.float32).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f"{path} has vertices without three numbers") from error


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{path.parent} has no {path.name}; wanted ICT-FaceKit's FaceXModel") from error


def load_facekit(folder: Path, parts: Mapping[str, slice] = PARTS) -> IctFace:
    """The model in the house's head frame; `folder` is FaceXModel or what holds it."""
    if (folder / "FaceXModel").is_dir():
        folder = folder / "FaceXModel"
    obj = read_obj(folder / NEUTRAL)
    n = len(obj.vertices)
    if n != max(part.stop for part in parts.values()):
        raise InputError(f"{folder / NEUTRAL} has {n} vertices, wanted {max(part.stop for part in parts.values())}")
    told: dict[str, Any] = json.loads("\n".join(_lines(folder / INDICES)))
    landmark68 = np.array(told.get("idx_to_landmark_verts", ()), np.int32)
    if landmark68.shape != (68,):
        raise InputError(f"{folder / INDICES} names {len(landmark68)} landmarks, wanted 68 in idx_to_landmark_verts")

    def shape(name: str) -> Floats:
        path = folder / f"{name}.obj"
        vertices = read_vertices(path)
        if len(vertices) != n:
            raise InputError(f"{path} has {len(vertices)} vertices, wanted {n} as in {NEUTRAL}")
        return np.asarray((vertices - obj.vertices) * FLIP, np.float32)

    identities = sorted(folder.glob("identity*.obj"))
    if not identities:
        raise InputError(f"{folder} has no identity000.obj; wanted ICT-FaceKit's FaceXModel")
    vertices = obj.vertices * FLIP
    return IctFace(
        vertices=(vertices - vertices[landmark68[[36, 45]]].mean(0)).astype(np.float32),
        triangles=obj.triangles,
        triangle_material=obj.material,
        material_names=obj.names,
        uv=obj.uv,
        triangle_uv=obj.triangle_uv,
        parts=dict(parts),
        identities=np.stack([shape(path.stem) for path in identities]),
        expressions=arkit_shapes(shape, n),
        landmark68=landmark68,
    )
