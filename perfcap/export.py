"""Performances for other programs: `.csv`, `.bvh` and `.glb`, chosen by the file's suffix; `.npz` is our own.

Outside this file the house's axes are OpenCV's (x right, y down, z away). Everything written here
but `.npz` is in the axes of ARKit and glTF: x to the performer's left, y up, z out of the face
towards the camera, right-handed. Rotations are about y (yaw, to the performer's left), then x
(pitch, down), then z (roll, the crown to the performer's right).
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perfcap.head import UNIT_M
from perfcap.performance import PerformanceWriter, Take, appears_whole
from perfcap.topology import face_triangles
from runtime.errors import InputError
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, N_EXPRESSION, N_FACE, Motion

# Live Link Face writes ARKit's names capitalised, and right before left for the jaw and the mouth.
_SWAPPED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
LIVE_LINK_SHAPES = tuple(_SWAPPED.get(name, name) for name in ARKIT_NAMES)
LIVE_LINK_ROTATIONS = tuple(
    f"{part}{turn}" for part in ("Head", "LeftEye", "RightEye") for turn in ("Yaw", "Pitch", "Roll")
)
LIVE_LINK_COLUMNS = (
    "Timecode",
    "BlendShapeCount",
    *(name[0].upper() + name[1:] for name in LIVE_LINK_SHAPES),
    *LIVE_LINK_ROTATIONS,
)
LIVE_LINK_COUNT = len(LIVE_LINK_SHAPES) + len(LIVE_LINK_ROTATIONS)  # 61
LIVE_LINK_RATE = Fraction(60)  # frames/s of its timecode where the clip names none

BVH_CHANNELS = ("Xposition", "Yposition", "Zposition", "Yrotation", "Xrotation", "Zrotation")
CM_PER_M = 100

FLIP = np.diag((1.0, -1.0, -1.0))  # our axes to ARKit's and glTF's, and back


class Recorded(Protocol):
    """A Performance in memory, or a PerformanceReader that streams one."""

    @property
    def take(self) -> Take: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Motion]: ...


def export(recorded: Recorded, path: str | os.PathLike[str]) -> None:
    """Write a performance in the format its suffix names; the file appears only when whole.

    Raises InputError for another suffix, for an empty performance, and where nothing can be written.
    """
    path = Path(path)
    writers: dict[str, Callable[[Recorded, Path], None]] = {
        ".npz": write_npz,
        ".csv": write_csv,
        ".bvh": write_bvh,
        ".glb": write_glb,
    }
    write = writers.get(path.suffix.lower())
    if write is None:
        raise InputError(f"{path} ends in {path.suffix!r}; wanted {', '.join(writers)}")
    if not len(recorded):
        raise InputError(f"{recorded.take.source} has no frames; wanted at least one for {path}")
    write(recorded, path)


def write_npz(recorded: Recorded, path: Path) -> None:
    with PerformanceWriter(path) as writer:
        for motion in recorded:
            writer.add(motion)
        writer.finish(recorded.take)


def write_csv(recorded: Recorded, path: Path) -> None:
    """Live Link Face's table: 52 shapes 0..1 and 9 angles in radians, a row a frame."""
    rate = recorded.take.rate or LIVE_LINK_RATE
    order = [ARKIT_INDEX[name] for name in LIVE_LINK_SHAPES]
    with appears_whole(path) as file:
        text = io.TextIOWrapper(file, encoding="ascii", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(LIVE_LINK_COLUMNS)
        zero = _Zero()
        for motion in recorded:
            values = np.concatenate((motion.expression[order], _head_angles(motion), _eye_angles(motion)))
            cells = [f"{value:.8f}" for value in values]
            table.writerow([timecode(zero(motion.time), rate), LIVE_LINK_COUNT, *cells])
        text.flush()
        text.detach()


def timecode(time: Fraction, rate: Fraction) -> str:
    """HH:MM:SS:FF.mmm: frames within the second at the next whole rate, and thousandths of a frame.

    So 1001/30000 s is `00:00:00:01.001`, as the app writes it, and readers get the time back as
    seconds + FF.mmm / rate, whatever the rate does.
    """
    second = math.floor(time)
    thousandths = math.floor((time - second) * math.ceil(rate) * 1000)
    return (
        f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        f":{thousandths // 1000:02d}.{thousandths % 1000:03d}"
    )


def write_bvh(recorded: Recorded, path: Path) -> None:
    """The head as one joint, in centimetres and degrees.

    BVH knows one frame time only: frames lie at the clip's rate (its mean rate where it names
    none), between the captured ones where those are uneven.
    """
    from scipy.spatial.transform import Rotation, Slerp

    times, rotations, positions = _heads(recorded)
    rate = recorded.take.rate or _mean_rate(times)
    seconds = _seconds(times)
    rising = _rising(seconds)
    n_frames = max(1, round((times[-1] - times[0]) * rate) + 1)
    grid = np.clip(seconds[0] + np.arange(n_frames) / float(rate), seconds[0], seconds[-1])
    turns = Rotation.from_matrix(rotations[rising])
    turns = Slerp(seconds[rising], turns)(grid) if rising.sum() > 1 else turns
    angles_deg = turns.as_euler("YXZ", degrees=True)
    places_cm = CM_PER_M * np.stack([np.interp(grid, seconds[rising], axis) for axis in positions[rising].T], 1)
    with appears_whole(path) as file:
        file.write(
            "HIERARCHY\nROOT Head\n{\n"
            "\tOFFSET 0.0 0.0 0.0\n"
            f"\tCHANNELS 6 {' '.join(BVH_CHANNELS)}\n"
            "\tEnd Site\n\t{\n\t\tOFFSET 0.0 10.0 0.0\n\t}\n}\n"
            f"MOTION\nFrames: {n_frames}\nFrame Time: {float(1 / rate):.9f}\n".encode("ascii")
        )
        for place, angle in zip(places_cm, angles_deg, strict=True):
            file.write((" ".join(f"{value:.6f}" for value in (*place, *angle)) + "\n").encode("ascii"))


def write_glb(recorded: Recorded, path: Path, basis: NDArray[np.float32] | None = None) -> None:
    """A glTF 2.0 scene: the performer's resting face with ARKit's 52 morph targets, animated, before the camera.

    `basis` [52, 478, 3] is what each expression adds to a face, in the units of `Motion.face`; the
    solver's own where none is given. Times are the clip's own to float32, as glTF stores them.
    """
    from scipy.spatial.transform import Rotation

    if basis is None:
        from perfcap.expression import basis as solver_basis

        basis = solver_basis()
    assert basis.shape[0] == N_EXPRESSION
    assert basis.shape[1] >= N_FACE
    times, rotations, positions = _heads(recorded)
    seconds = _seconds(times).astype(np.float32)
    rising = _rising(seconds)
    weights = np.array([motion.expression for motion in recorded], np.float32)
    turns = _continuous(Rotation.from_matrix(rotations).as_quat())

    neutral = (recorded.take.neutral[:N_FACE].astype(np.float64) * UNIT_M) @ FLIP
    scene = _Glb()
    scene.add_face(neutral, (basis[:, :N_FACE].astype(np.float64) * UNIT_M) @ FLIP, face_triangles(), recorded.take)
    scene.animate(
        seconds[rising],
        {"rotation": turns[rising], "translation": positions[rising], "weights": weights[rising]},
    )
    with appears_whole(path) as file:
        file.write(scene.packed())


class _Zero:
    """Times from the first frame on where the clip's own begin before zero, which no format here can say."""

    def __init__(self) -> None:
        self._before: Fraction | None = None

    def __call__(self, time: Fraction) -> Fraction:
        if self._before is None:
            self._before = min(time, Fraction(0))
        return time - self._before


def _heads(recorded: Recorded) -> tuple[list[Fraction], NDArray[np.float64], NDArray[np.float64]]:
    """Times, rotations [N, 3, 3] and positions [N, 3] in metres, in glTF's axes."""
    zero = _Zero()
    times: list[Fraction] = []
    heads: list[NDArray[np.float64]] = []
    for motion in recorded:
        times.append(zero(motion.time))
        heads.append(motion.head.astype(np.float64))
    stacked = np.array(heads)
    return times, FLIP @ stacked[:, :3, :3] @ FLIP, stacked[:, :3, 3] @ FLIP


def _head_angles(motion: Motion) -> NDArray[np.float64]:
    """Yaw, pitch and roll of the head, radians."""
    r = FLIP @ motion.head[:3, :3].astype(np.float64) @ FLIP
    return np.array((np.arctan2(r[0, 2], r[2, 2]), np.arcsin(np.clip(-r[1, 2], -1, 1)), np.arctan2(r[1, 0], r[1, 1])))


def _eye_angles(motion: Motion) -> NDArray[np.float64]:
    """Yaw, pitch and roll of the left, then the right eye, radians; an eye does not roll."""
    (left_yaw, left_pitch), (right_yaw, right_pitch) = motion.gaze.astype(np.float64)
    return np.array((left_yaw, left_pitch, 0.0, right_yaw, right_pitch, 0.0))


def _seconds(times: list[Fraction]) -> NDArray[np.float64]:
    return np.array([float(time) for time in times])


def _rising(seconds: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which frames come later than all before them: keys of an animation must."""
    latest = np.maximum.accumulate(seconds)
    return np.append(True, seconds[1:] > latest[:-1])


def _mean_rate(times: list[Fraction]) -> Fraction:
    if len(times) < 2 or times[-1] <= times[0]:
        return LIVE_LINK_RATE
    return (len(times) - 1) / (times[-1] - times[0])


def _continuous(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of q and -q, which are one rotation, the one nearer to the frame before, so that nothing spins between."""
    flips = np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0)
    signs: NDArray[np.float64] = np.concatenate(([1.0], np.cumprod(flips)))
    return quaternions * signs[:, None]


class _Glb:
    """One binary glTF file under construction: its JSON, and the bytes its accessors point at."""

    FLOAT, UINT16 = 5126, 5123  # componentType
    VERTICES, INDICES = 34962, 34963  # bufferView target

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._json: dict[str, Any] = {"asset": {"version": "2.0", "generator": "understudy"}}

    def add_face(
        self,
        neutral: NDArray[np.float64],  # [V, 3] metres
        deltas: NDArray[np.float64],  # [52, V, 3] metres
        triangles: NDArray[np.int32],  # [T, 3]
        take: Take,
    ) -> None:
        primitive = {
            "attributes": {
                "POSITION": self._vectors(neutral, self.VERTICES),
                "NORMAL": self._vectors(_normals(neutral, triangles), self.VERTICES),
            },
            "indices": self._accessor(triangles.astype("<u2").ravel(), self.UINT16, "SCALAR", self.INDICES),
            "material": 0,
            "targets": [{"POSITION": self._vectors(delta, self.VERTICES)} for delta in deltas],
        }
        skin = {"baseColorFactor": [0.8, 0.62, 0.53, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.6}
        camera = take.camera
        self._json |= {
            "scene": 0,
            "scenes": [{"nodes": [0, 1]}],
            "nodes": [{"name": "face", "mesh": 0}, {"name": "camera", "camera": 0}],
            "meshes": [
                {
                    "name": "face",
                    "primitives": [primitive],
                    "weights": [0.0] * len(deltas),
                    "extras": {"targetNames": list(ARKIT_NAMES)},
                }
            ],
            "materials": [{"name": "skin", "pbrMetallicRoughness": skin, "doubleSided": True}],
            "cameras": [
                {
                    "type": "perspective",
                    "perspective": {
                        "aspectRatio": camera.width / camera.height,
                        "yfov": 2 * math.atan(camera.height / 2 / camera.focal_px),
                        "znear": 0.01,
                    },
                }
            ],
        }

    def animate(self, seconds: NDArray[np.float32], tracks: dict[str, NDArray[np.floating[Any]]]) -> None:
        """Keys of node 0, by glTF's path names."""
        kinds = {"rotation": "VEC4", "translation": "VEC3", "weights": "SCALAR"}
        keys = self._accessor(seconds.astype("<f4"), self.FLOAT, "SCALAR", None, bounded=True)
        samplers: list[dict[str, Any]] = []
        channels: list[dict[str, Any]] = []
        for name, values in tracks.items():
            flat = values.astype("<f4")
            output = self._accessor(flat.ravel() if kinds[name] == "SCALAR" else flat, self.FLOAT, kinds[name], None)
            channels.append({"sampler": len(samplers), "target": {"node": 0, "path": name}})
            samplers.append({"input": keys, "output": output, "interpolation": "LINEAR"})
        self._json["animations"] = [{"name": "performance", "samplers": samplers, "channels": channels}]

    def packed(self) -> bytes:
        document = self._json | {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._bytes)}],
        }
        text = json.dumps(document, separators=(",", ":")).encode("ascii")
        text += b" " * (-len(text) % 4)
        body = bytes(self._bytes) + b"\0" * (-len(self._bytes) % 4)
        length = 12 + 8 + len(text) + 8 + len(body)
        return b"".join(
            (
                struct.pack("<4sII", b"glTF", 2, length),
                struct.pack("<I4s", len(text), b"JSON") + text,
                struct.pack("<I4s", len(body), b"BIN\0") + body,
            )
        )

    def _vectors(self, values: NDArray[np.float64], target: int) -> int:
        return self._accessor(values.astype("<f4"), self.FLOAT, "VEC3", target, bounded=True)

    def _accessor(
        self, values: NDArray[Any], component: int, kind: str, target: int | None, *, bounded: bool = False
    ) -> int:
        self._bytes += b"\0" * (-len(self._bytes) % 4)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._bytes), "byteLength": values.nbytes}
        if target is not None:
            view["target"] = target
        self._bytes += values.tobytes()
        self._views.append(view)
        accessor: dict[str, Any] = {
            "bufferView": len(self._views) - 1,
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if bounded:
            rows = values.reshape(len(values), -1)
            accessor |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1


def _normals(vertices: NDArray[np.float64], triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """Unit normals [V, 3], each triangle counted by its area."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    faces = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(normals, triangles[:, i], faces)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(lengths > 0, normals / np.maximum(lengths, 1e-12), (0.0, 0.0, 1.0))
