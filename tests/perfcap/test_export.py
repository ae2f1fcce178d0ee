"""Each export is read back by a reader that is not ours: csv, bvh, pygltflib and trimesh."""

from __future__ import annotations

import csv
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from perfcap.export import LIVE_LINK_COLUMNS, export, timecode, write_glb
from perfcap.head import UNIT_M, Camera, place
from perfcap.performance import Performance, PerformanceReader, Take
from perfcap.topology import face_triangles
from runtime.errors import InputError
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, Motion

RATE = Fraction(30000, 1001)
CAMERA = Camera(640, 480, 768.0)
FLIP = np.diag((1.0, -1.0, -1.0))


def _head(yaw: float, pitch: float, roll: float, place_m: tuple[float, float, float]) -> NDArray[np.float32]:
    """In the house's axes, from angles about ARKit's (radians)."""
    head = np.eye(4)
    head[:3, :3] = FLIP @ Rotation.from_euler("YXZ", (yaw, pitch, roll)).as_matrix() @ FLIP
    head[:3, 3] = place_m
    return head.astype(np.float32)


def _angles(i: int) -> tuple[float, float, float]:
    return 0.4 * np.sin(i / 4), 0.2 * np.sin(i / 5), 0.3 * np.cos(i / 6)


def _place_m(i: int) -> tuple[float, float, float]:
    return 0.01 * i, 0.02, 0.6 + 0.003 * i


@pytest.fixture(scope="module")
def basis() -> NDArray[np.float32]:
    return 0.05 * np.random.default_rng(3).standard_normal((52, 478, 3)).astype(np.float32)


@pytest.fixture
def fake_basis(basis: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfcap.expression.basis", lambda: basis)


@pytest.fixture(scope="module")
def performance() -> Performance:
    rng = np.random.default_rng(2)
    neutral = rng.standard_normal((478, 3)).astype(np.float32)
    motions = [
        Motion(
            time=i / RATE,
            head=_head(*_angles(i), _place_m(i)),
            expression=rng.random(52).astype(np.float32),
            gaze=np.array(((0.1, -0.2), (0.3, 0.01 * i)), np.float32),
            face=neutral,
            confidence=1.0,
        )
        for i in range(40)
    ]
    return Performance.of(Take(source="clip.mp4", camera=CAMERA, neutral=neutral, rate=RATE), motions)


def _at(performance: Performance, times: list[Fraction]) -> Performance:
    moved = [replace(m, time=t) for m, t in zip(performance, times, strict=False)]
    return Performance.of(replace(performance.take, rate=None), moved)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_live_link_faces_columns_in_its_order(performance: Performance, tmp_path: Path) -> None:
    export(performance, tmp_path / "take.csv")
    first = (tmp_path / "take.csv").read_text().splitlines()[0]
    assert first == (
        "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
        "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,"
        "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,"
        "MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,"
        "MouthStretchLeft,MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,"
        "MouthPressLeft,MouthPressRight,MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,"
        "BrowDownLeft,BrowDownRight,BrowInnerUp,BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,CheekSquintLeft,"
        "CheekSquintRight,NoseSneerLeft,NoseSneerRight,TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,"
        "LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
    )
    assert len(LIVE_LINK_COLUMNS) == 63


def test_csv_holds_every_shape_under_its_own_name_and_the_angles(performance: Performance, tmp_path: Path) -> None:
    export(performance, tmp_path / "take.csv")
    rows = _table(tmp_path / "take.csv")
    assert len(rows) == len(performance)
    for i, (row, motion) in enumerate(zip(rows, performance, strict=True)):
        assert row["BlendShapeCount"] == "61"
        for name, at in ARKIT_INDEX.items():
            assert float(row[name[0].upper() + name[1:]]) == pytest.approx(motion.expression[at], abs=1e-7)
        head = [float(row[f"Head{turn}"]) for turn in ("Yaw", "Pitch", "Roll")]
        assert head == pytest.approx(_angles(i), abs=1e-5)
        eyes = [float(row[f"{eye}Eye{turn}"]) for eye in ("Left", "Right") for turn in ("Yaw", "Pitch", "Roll")]
        assert eyes == pytest.approx([0.1, -0.2, 0, 0.3, 0.01 * i, 0], abs=1e-6)


def test_a_timecode_gives_the_exact_time_back_to_a_thousandth_of_a_frame() -> None:
    assert timecode(Fraction(1001, 30000), RATE) == "00:00:00:01.001"
    assert timecode(Fraction(2002, 30000), RATE) == "00:00:00:02.002"
    assert timecode(Fraction(3723) + Fraction(1, 2), Fraction(25)) == "01:02:03:12.500"
    for i in range(0, 200_000, 997):
        hours, minutes, seconds, frames = timecode(i / RATE, RATE).split(":")
        read = 3600 * int(hours) + 60 * int(minutes) + int(seconds) + Fraction(frames) / 30
        assert 0 <= i / RATE - read < Fraction(1, 30_000)
        assert float(frames) < 30


def test_times_before_zero_are_counted_from_the_first_frame(performance: Performance, tmp_path: Path) -> None:
    early = _at(performance, [Fraction(i - 3, 25) for i in range(40)])
    export(early, tmp_path / "take.csv")
    assert _table(tmp_path / "take.csv")[0]["Timecode"] == "00:00:00:00.000"


def _bvh(path: Path) -> Any:
    bvh = pytest.importorskip("bvh")
    return bvh.Bvh(path.read_text())


def _bvh_rows(file: Any) -> NDArray[np.float64]:
    return np.array(file.frames_joint_channels("Head", file.joint_channels("Head")), float)


def test_bvh_moves_one_head_in_centimetres_and_degrees(performance: Performance, tmp_path: Path) -> None:
    export(performance, tmp_path / "take.bvh")
    file = _bvh(tmp_path / "take.bvh")
    assert file.nframes == len(performance)
    assert file.frame_time == pytest.approx(1001 / 30000, abs=1e-9)
    assert file.joint_channels("Head")[3:] == ["Yrotation", "Xrotation", "Zrotation"]
    rows = _bvh_rows(file)
    for i, row in enumerate(rows):
        assert np.radians(row[3:]) == pytest.approx(_angles(i), abs=1e-4)
        assert row[:3] / 100 @ FLIP == pytest.approx(_place_m(i), abs=1e-5)


def test_bvh_lays_uneven_frames_on_an_even_grid(performance: Performance, tmp_path: Path) -> None:
    even = [Fraction(i, 30) for i in range(40)]
    uneven = [t for i, t in enumerate(even) if i not in (3, 4, 9)]
    kept = [m for i, m in enumerate(performance) if i not in (3, 4, 9)]
    full = _at(performance, even)
    gappy = Performance.of(
        replace(full.take, rate=Fraction(30)), [replace(m, time=t) for m, t in zip(kept, uneven, strict=True)]
    )
    export(gappy, tmp_path / "gappy.bvh")
    export(full, tmp_path / "full.bvh")
    a, b = _bvh_rows(_bvh(tmp_path / "gappy.bvh")), _bvh_rows(_bvh(tmp_path / "full.bvh"))
    assert a.shape == b.shape
    others = [i for i in range(40) if i not in (3, 4, 9)]
    assert np.abs(a[others] - b[others]).max() < 1e-3
    assert np.abs(a - b).max() < 1.5  # degrees, at the peak of a sway


@pytest.mark.usefixtures("fake_basis")
@pytest.mark.parametrize("suffix", [".csv", ".bvh", ".glb"])
def test_one_frame_and_repeated_times_are_written(performance: Performance, tmp_path: Path, suffix: str) -> None:
    export(performance[:1], tmp_path / f"one{suffix}")
    export(_at(performance, [Fraction(i // 2, 30) for i in range(40)]), tmp_path / f"twice{suffix}")
    assert len(list(tmp_path.iterdir())) == 2


def _accessor(file: Any, index: int) -> NDArray[Any]:
    accessor = file.accessors[index]
    view = file.bufferViews[accessor.bufferView]
    dtype = {5126: "<f4", 5123: "<u2"}[accessor.componentType]
    raw = file.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
    array = np.frombuffer(raw, dtype)
    assert len(array) == accessor.count * width
    array = array if width == 1 else array.reshape(-1, width)
    if accessor.max:
        assert accessor.max == pytest.approx(array.max(0).tolist() if width > 1 else [array.max()])
        assert accessor.min == pytest.approx(array.min(0).tolist() if width > 1 else [array.min()])
    return array


def test_glb_poses_the_face_where_the_motion_has_it(
    performance: Performance, basis: NDArray[np.float32], tmp_path: Path
) -> None:
    pygltflib = pytest.importorskip("pygltflib")
    write_glb(performance, tmp_path / "take.glb", basis)
    file = pygltflib.GLTF2().load(str(tmp_path / "take.glb"))
    mesh = file.meshes[0]
    assert mesh.extras["targetNames"] == list(ARKIT_NAMES)
    primitive = mesh.primitives[0]
    neutral = _accessor(file, primitive.attributes.POSITION)
    targets = np.array(
        [_accessor(file, t["POSITION"] if isinstance(t, dict) else t.POSITION) for t in primitive.targets]
    )
    (animation,) = file.animations
    tracks = {c.target.path: _accessor(file, animation.samplers[c.sampler].output) for c in animation.channels}
    seconds = _accessor(file, animation.samplers[0].input)
    assert seconds == pytest.approx([float(m.time) for m in performance], abs=1e-6)
    assert (np.diff(seconds) > 0).all()
    weights = tracks["weights"].reshape(-1, 52)
    for i in (0, 7, 39):
        motion = performance[i]
        shape = neutral + np.tensordot(weights[i], targets, 1)
        world = Rotation.from_quat(tracks["rotation"][i]).apply(shape) + tracks["translation"][i]
        face = performance.take.neutral + np.tensordot(motion.expression, basis, 1)
        wanted = place(motion.head, face.astype(np.float32))[:468]
        assert np.abs(world @ FLIP - wanted).max() < 1e-5
    perspective = file.cameras[0].perspective
    assert np.tan(perspective.yfov / 2) == pytest.approx(CAMERA.height / 2 / CAMERA.focal_px)


def test_glb_rotations_take_the_short_way_between_frames(
    performance: Performance, basis: NDArray[np.float32], tmp_path: Path
) -> None:
    pygltflib = pytest.importorskip("pygltflib")
    turning = Performance.of(
        performance.take,
        [replace(m, head=_head(0.2 * i, 0, 0, (0, 0, 0.6))) for i, m in enumerate(performance)],
    )
    write_glb(turning, tmp_path / "take.glb", basis)
    file = pygltflib.GLTF2().load(str(tmp_path / "take.glb"))
    (animation,) = file.animations
    (sampler,) = [c.sampler for c in animation.channels if c.target.path == "rotation"]
    quaternions = _accessor(file, animation.samplers[sampler].output)
    assert ((quaternions[1:] * quaternions[:-1]).sum(1) > 0.9).all()


def test_trimesh_loads_the_glb_as_the_performers_face(
    performance: Performance, basis: NDArray[np.float32], tmp_path: Path
) -> None:
    trimesh = pytest.importorskip("trimesh")
    write_glb(performance, tmp_path / "take.glb", basis)
    scene = trimesh.load(tmp_path / "take.glb")
    (mesh,) = scene.geometry.values()
    assert mesh.faces.shape == (852, 3)
    assert np.array_equal(np.sort(mesh.faces, 1), np.sort(face_triangles(), 1))
    assert np.abs(mesh.vertices - performance.take.neutral[:468] * UNIT_M @ FLIP).max() < 1e-6


def test_the_solvers_own_basis_is_the_default(performance: Performance, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    export(performance, tmp_path / "take.glb")
    (mesh,) = trimesh.load(tmp_path / "take.glb").geometry.values()
    assert len(mesh.vertices) == 468


@pytest.mark.usefixtures("fake_basis")
def test_npz_exports_are_performances_and_streams_export_like_wholes(performance: Performance, tmp_path: Path) -> None:
    export(performance, tmp_path / "take.npz")
    with PerformanceReader(tmp_path / "take.npz") as reader:
        for suffix in (".npz", ".csv", ".bvh", ".glb"):
            export(performance, tmp_path / f"whole{suffix}")
            export(reader, tmp_path / f"streamed{suffix}")
    assert np.array_equal(Performance.load(tmp_path / "streamed.npz").frames, performance.frames)
    for suffix in (".csv", ".bvh", ".glb"):
        assert (tmp_path / f"whole{suffix}").read_bytes() == (tmp_path / f"streamed{suffix}").read_bytes()


def test_another_suffix_is_said(performance: Performance, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"take.fbx ends in '.fbx'; wanted .npz, .csv, .bvh, .glb"):
        export(performance, tmp_path / "take.fbx")


def test_an_empty_performance_is_said(performance: Performance, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip.mp4 has no frames; wanted at least one for .*take.glb"):
        export(performance[:0], tmp_path / "take.glb")
    assert list(tmp_path.iterdir()) == []
