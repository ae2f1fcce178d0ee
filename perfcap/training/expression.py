"""Fit the expression solver to renders of a 3-D face, seen through the real landmark detector.

    python -m perfcap.training.expression --asset ict_face.npz -o perfcap/weights/expression.npz --seed 0

Random people, expressions, poses, lights and cameras are drawn with `perfcap.training.ict`, MediaPipe
finds their landmarks, and a small network learns to tell the coefficients from those, detector's
noise and bias included. Only fitted numbers are written; docs/weights.md holds the record.
Needs torch, for training alone.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.expression import (
    ExpressionSolver,
    NeutralEstimator,
    align,
    iris_offset,
    look,
    mirror_expression,
    mirrored_by,
    normalise,
    project,
    template,
)
from perfcap.head import Camera, fit_head
from perfcap.landmarks import LEFT_EYE, LIPS, RIGHT_EYE
from perfcap.training.ict import LOOK_PITCH, LOOK_YAW, IctFace, head_pose, load_ict, render, vertex_normals
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, N_EXPRESSION, N_LANDMARKS

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Rng = np.random.Generator

BEHIND_LIPS_M = 0.005  # narrow people's mouths would poke through their cheeks
N_LOOKS = 3  # the detector settles on a still picture as it does on a video
BEHIND_LIDS_M = 0.001  # as the mouths; four times as much when shut
IRIS_RAD, PUPIL_RAD = 0.385, 0.15  # half-angles on the asset's large eyeball
SIDED = tuple(n[:-4] for n in ARKIT_NAMES if n.endswith("Left") and n not in ("jawLeft", "mouthLeft"))
BROWS = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
LOOKS = tuple(n for n in ARKIT_NAMES if n.startswith("eyeLook"))
SINGLES = tuple(n for n in ARKIT_NAMES if n not in LOOKS and n != "tongueOut")


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    n_people: int = 360
    n_neutral: int = 4  # renders of each at rest; the first two nearly frontal
    n_acting: int = 14  # renders of each with an expression
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the detector saw, and the truth; N renders in which it saw a face."""

    landmarks: Floats  # [N, 478, 3] px
    size: NDArray[np.int32]  # [N, 2] width, height px
    expression: Floats  # [N, 52]
    gaze: Floats  # [N, 2, 2]
    pose: Floats  # [N, 3] yaw, pitch, roll, radians
    person: NDArray[np.int32]  # [N]
    at_rest: NDArray[np.bool_]  # [N]


# ---------------------------------------------------------------- what faces do


def _set(e: Floats, name: str, value: float, rng: Rng, *, sided: float = 0.5) -> None:
    """Raise a shape by its name without the side: both sides alike, or with chance `sided` differently."""
    if name not in SIDED:
        e[ARKIT_INDEX[name]] = max(e[ARKIT_INDEX[name]], value)
        return
    shares = (1.0, 1.0)
    if rng.random() < sided:
        shares = ((1.0, rng.uniform(0, 0.7)), (rng.uniform(0, 0.7), 1.0))[rng.integers(2)]
    for side, share in zip(("Left", "Right"), shares, strict=True):
        i = ARKIT_INDEX[name + side]
        e[i] = max(e[i], value * share)


def _speech(e: Floats, rng: Rng) -> None:
    e[ARKIT_INDEX["jawOpen"]] = rng.beta(1.1, 2.5) * 0.8
    kind = rng.integers(5)
    if kind == 0:  # rounded
        _set(e, "mouthPucker", rng.uniform(0.1, 0.9), rng)
        _set(e, "mouthFunnel", rng.uniform(0, 0.8), rng)
    elif kind == 1:  # spread
        _set(e, "mouthStretch", rng.uniform(0, 0.6), rng)
        _set(e, "mouthSmile", rng.uniform(0, 0.5), rng)
        _set(e, "mouthUpperUp", rng.uniform(0, 0.5), rng)
        _set(e, "mouthLowerDown", rng.uniform(0, 0.6), rng)
    elif kind == 2:  # closed: p, b, m
        e[ARKIT_INDEX["mouthClose"]] = e[ARKIT_INDEX["jawOpen"]] * rng.uniform(0.8, 1)
        _set(e, "mouthRollLower", rng.uniform(0, 0.7), rng)
        _set(e, "mouthRollUpper", rng.uniform(0, 0.7), rng)
        _set(e, "mouthPress", rng.uniform(0, 0.6), rng)
    elif kind == 3:  # lip under teeth: f, v
        e[ARKIT_INDEX["jawOpen"]] *= 0.4
        _set(e, "mouthRollLower", rng.uniform(0.2, 0.9), rng)
        _set(e, "mouthUpperUp", rng.uniform(0, 0.6), rng)
    else:
        for name in ("mouthFunnel", "mouthLowerDown", "mouthUpperUp", "mouthShrugLower", "mouthShrugUpper"):
            _set(e, name, rng.uniform(0, 0.5) * (rng.random() < 0.6), rng)


MOODS: dict[str, tuple[str, ...]] = {
    "joy": ("mouthSmile", "cheekSquint", "eyeSquint", "mouthDimple", "jawOpen", "mouthUpperUp"),
    "sorrow": ("mouthFrown", "browInnerUp", "mouthShrugLower", "eyeSquint", "mouthPress"),
    "surprise": ("browInnerUp", "browOuterUp", "eyeWide", "jawOpen", "mouthFunnel"),
    "anger": ("browDown", "eyeSquint", "noseSneer", "mouthPress", "mouthRollLower", "jawForward"),
    "disgust": ("noseSneer", "mouthUpperUp", "browDown", "cheekSquint", "mouthFrown"),
    "doubt": ("mouthPucker", "mouthShrugUpper", "browOuterUp", "mouthPress", "mouthDimple"),
}
GROUPS = tuple(
    dict.fromkeys(n.removesuffix("Left").removesuffix("Right") if n.startswith(SIDED) else n for n in SINGLES)
)


def random_expression(rng: Rng) -> tuple[Floats, Floats]:
    """ARKit coefficients [52] a face could do, and a gaze [2, 2] that their eyeLook values agree with."""
    e = np.zeros(N_EXPRESSION, np.float32)
    kind = rng.choice(5, p=(0.30, 0.22, 0.22, 0.20, 0.06))
    if kind == 0:
        _set(e, str(rng.choice(GROUPS)), rng.uniform(0.1, 1), rng, sided=0.6)
    elif kind == 1:
        for name in rng.choice(GROUPS, rng.integers(2, 7), replace=False):
            _set(e, str(name), rng.uniform(0, 0.85), rng)
    elif kind == 2:
        _speech(e, rng)
    elif kind == 3:
        strength = rng.uniform(0.2, 1)
        for name in MOODS[str(rng.choice(list(MOODS)))]:
            _set(e, name, strength * rng.uniform(0.2, 1) * (rng.random() < 0.75), rng)
    if rng.random() < 0.3:
        _set(e, str(rng.choice(("browDown", "browInnerUp", "browOuterUp"))), rng.uniform(0, 0.9), rng)
    if rng.random() < 0.35:
        _set(e, "eyeBlink", 1.0 if rng.random() < 0.5 else rng.uniform(0, 1), rng, sided=0.4)
    elif rng.random() < 0.2:
        _set(e, str(rng.choice(("eyeSquint", "eyeWide"))), rng.uniform(0, 1), rng)
    if rng.random() < 0.1:
        e[ARKIT_INDEX[str(rng.choice(("jawLeft", "jawRight", "mouthLeft", "mouthRight")))]] = rng.uniform(0, 0.8)
    gaze = np.zeros((2, 2), np.float32)
    if rng.random() < 0.75:
        gaze[:, 0] = rng.normal(0, 0.25) + np.array((-0.5, 0.5)) * abs(rng.normal(0, 0.06))
        gaze[:, 1] = rng.normal(0, 0.16)
        gaze = np.clip(gaze, (-LOOK_YAW, -LOOK_PITCH), (LOOK_YAW, LOOK_PITCH)).astype(np.float32)
    e = np.maximum(e, look(gaze))
    _be_physical(e)
    return e, gaze


def _be_physical(e: Floats) -> None:
    """Take back what no face does at once."""
    at = ARKIT_INDEX
    e[at["mouthClose"]] = min(e[at["mouthClose"]], e[at["jawOpen"]])
    for a, b in (("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")):
        weaker = a if e[at[a]] < e[at[b]] else b
        e[at[weaker]] = 0
    for side in ("Left", "Right"):
        blink = e[at["eyeBlink" + side]]
        e[at["eyeWide" + side]] *= max(0.0, 1 - 2 * blink)
        # A lid that looking down, squinting and blinking would pull past the lower one stops there.
        down = 0.5 * e[at["eyeLookDown" + side]] + 0.25 * e[at["eyeSquint" + side]]
        e[at["eyeBlink" + side]] = min(blink, 1.0) if blink > 0.95 else min(blink, 1 - down)
        e[at["mouthFrown" + side]] *= 1 - e[at["mouthSmile" + side]]
        e[at["browDown" + side]] *= 1 - 0.7 * e[at["browOuterUp" + side]]
        for spread in ("mouthSmile", "mouthStretch", "mouthDimple"):
            e[at[spread + side]] *= 1 - 0.7 * max(e[at["mouthPucker"]], e[at["mouthFunnel"]])
    opened = e[at["jawOpen"]] - e[at["mouthClose"]]
    for shut in ("mouthPressLeft", "mouthPressRight"):
        e[at[shut]] *= max(0.0, 1 - 2 * opened)
    np.clip(e, 0, 1, out=e)


# ---------------------------------------------------------------- what faces look like


@dataclass(frozen=True, kw_only=True)
class Person:
    neutral: Floats  # [V, 3] metres
    albedo: Floats  # [V, 3], 0..1
    iris: Floats  # [3]
    blink_gain: Floats  # [2], left, right: what the asset's eyeBlink must be multiplied by to shut these lids


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What stays as it is through one clip: light, camera."""

    camera: Camera
    face_px: float  # height of the face
    ambient: Floats  # [3]
    lights: tuple[tuple[Floats, Floats], ...]  # unit direction towards it, colour
    behind: Floats  # [3, 3, 3], a coarse picture
    pose_spread: float  # share of the widest turns that this take uses
    exposure: float  # mean value of the face, of 1
    gamma: float
    blur_px: float
    noise: float  # sd, of 1
    jpeg: int  # quality, 0 for none

    @classmethod
    def random(cls, rng: Rng) -> Scene:
        W, H = (int(rng.integers(224, 420)) for _ in range(2))
        W, H = max(W, int(0.7 * H)), max(H, int(0.7 * W))
        lights = []
        for _ in range(rng.integers(1, 3)):
            towards = np.array((rng.normal(0, 0.8), rng.normal(-0.5, 0.5), -1))
            colour = rng.uniform(0.2, 0.8) * rng.normal(1, 0.06, 3)
            lights.append(((towards / np.linalg.norm(towards)).astype(np.float32), colour.astype(np.float32)))
        behind = rng.uniform(0, 1, (3, 3, 3)) * rng.uniform(0, 0.4) + rng.uniform(0, 0.6)
        return cls(
            camera=Camera(W, H, rng.uniform(0.9, 2.2) * max(W, H)),
            face_px=rng.uniform(0.5, 0.85) * min(W, H),
            ambient=(rng.uniform(0.25, 0.7) * rng.normal(1, 0.05, 3)).astype(np.float32),
            lights=tuple(lights),
            behind=behind.astype(np.float32),
            pose_spread=float(rng.choice((0.35, 0.7, 1.0))),
            exposure=rng.uniform(0.3, 0.6),
            gamma=rng.uniform(0.7, 1.1),
            blur_px=max(0.0, rng.uniform(-0.5, 1.0)),
            noise=rng.uniform(0, 0.02),
            jpeg=int(rng.integers(50, 95)) if rng.random() < 0.4 else 0,
        )


class Painter:
    """Colours of random people on the asset's vertices; where lips, brows and hair are is found once."""

    def __init__(self, face: IctFace) -> None:
        import cv2

        v, marks = face.vertices, face.vertices[face.landmark68]
        self.face = face
        skin = np.zeros(len(v), bool)
        skin[face.parts["face"]] = True
        lip = np.ascontiguousarray(marks[48:60, :2])
        self.lips = np.zeros(len(v), np.float32)
        near = skin & (np.abs(v[:, :2] - lip.mean(0)).max(1) < 0.05) & (v[:, 2] < marks[48, 2] + 0.02)
        for i in np.flatnonzero(near):
            x, y = v[i, :2]
            self.lips[i] = np.clip(0.5 + cv2.pointPolygonTest(lip, (float(x), float(y)), True) / 0.003, 0, 1)
        self.brows = np.zeros(len(v), np.float32)
        for brow in (marks[17:22], marks[22:27]):
            line = np.concatenate([brow[:-1] + s * (brow[1:] - brow[:-1]) for s in np.linspace(0, 1, 8)[:, None, None]])
            gap = np.linalg.norm(v[:, None] - line[None] - np.array((0, 0.002, 0)), axis=2).min(1)
            self.brows = np.maximum(self.brows, np.where(skin, np.clip((0.0065 - gap) / 0.003, 0, 1), 0))
        crown = (marks[17:27, 1].min() - 0.035 - v[:, 1]) / 0.012 + (v[:, 2] - marks[0, 2]) / 0.03
        self.hair = np.clip(crown, 0, 1) * (v[:, 1] < marks[8, 1])
        self.hair[face.parts["face"].stop + 1839 :] = 0
        beard = np.clip((v[:, 1] - marks[33, 1] - 0.004) / 0.01, 0, 1) * np.clip(
            (marks[8, 1] + 0.02 - v[:, 1]) / 0.02, 0, 1
        )
        self.beard = np.where(skin, beard * (1 - self.lips), 0)
        drawn = np.isin(
            face.part_of_triangles(), [i for i, n in enumerate(face.parts) if n not in ("eye_shells", "lashes")]
        )
        self.drawn = np.ascontiguousarray(face.triangles[drawn])
        self.rims = np.zeros(len(v), np.float32)
        for part in ("eyeball_left", "eyeball_right"):
            centre, radius = face.eye(v, part)
            above = np.linalg.norm(v - centre, axis=1) - radius
            self.rims = np.maximum(self.rims, np.where(skin, np.clip((0.0025 - above) / 0.001, 0, 1), 0))

    def _lid_gap(self, neutral: Floats, blink: float) -> Floats:
        """Mean distance down [2] from the upper to the lower lid's middle, left then right eye, metres."""
        shut = neutral + blink * sum(self.face.expressions[ARKIT_INDEX[f"eyeBlink{s}"]] for s in ("Left", "Right"))
        marks = shut[self.face.landmark68, 1]
        return np.asarray(
            [marks[[46, 47]].mean() - marks[[43, 44]].mean(), marks[[40, 41]].mean() - marks[[37, 38]].mean()]
        )

    def person(self, rng: Rng) -> Person:
        neutral = self.face.identity(rng.standard_normal(len(self.face.identities)).astype(np.float32))
        rest, shut = self._lid_gap(neutral, 0), self._lid_gap(neutral, 1)
        wanted = self._lid_gap(self.face.vertices, 1)  # shut, on the mean face
        iris = rng.uniform(0.1, 0.6) * np.array((1, rng.uniform(0.6, 1.1), rng.uniform(0.4, 1.4)))
        return Person(
            neutral=neutral,
            albedo=self.albedo(rng),
            iris=iris.astype(np.float32),
            blink_gain=np.clip(1.08 * (rest - wanted) / (rest - shut), 0.8, 2).astype(np.float32),
        )

    def albedo(self, rng: Rng) -> Floats:
        """Colours [V, 3] of one random person, 0..1; the eyeballs white."""
        v, parts = self.face.vertices, self.face.parts
        tone = rng.beta(1.3, 1.0)
        skin = (1 - tone) * np.array((0.30, 0.19, 0.14)) + tone * np.array((0.93, 0.76, 0.66))
        skin = np.clip(skin * rng.normal(1, 0.05, 3), 0.05, 1)
        colour = np.tile(skin.astype(np.float32), (len(v), 1))
        wave = rng.normal(0, 1, (6, 3)) * rng.uniform(20, 250, (6, 1))
        colour *= 1 + 0.012 * np.sin(v @ wave.T.astype(np.float32) + rng.uniform(0, 6.3, 6)).sum(1, keepdims=True)
        lip = np.clip(
            skin * (0.85, 0.6, 0.62) + rng.normal(0, 0.05, 3) + (rng.random() < 0.2) * np.array((0.1, -0.1, -0.05)),
            0,
            1,
        )
        hair = rng.uniform(0.03, 0.5) * np.array((1, rng.uniform(0.6, 0.95), rng.uniform(0.4, 0.9)))

        def lay(mask: Floats, over: Any, strength: float) -> None:
            colour[:] += (mask * strength)[:, None] * (over - colour)

        lay(self.lips, lip, rng.uniform(0.5, 1))
        lay(self.brows, hair, rng.uniform(0.4, 0.95))
        lay(self.rims, hair * 0.5, rng.uniform(0, 0.9))
        lay(self.hair, hair, float(rng.random() < 0.75))
        lay(self.beard, hair, rng.uniform(0.1, 0.8) if rng.random() < 0.2 else 0.0)
        for part, paint in (
            ("mouth_socket", (0.35, 0.12, 0.12)), ("gums_tongue", (0.75, 0.38, 0.38)), ("teeth", (0.92, 0.89, 0.82)),
            ("eyeball_left", (0.93, 0.91, 0.9)), ("eyeball_right", (0.93, 0.91, 0.9)),
            ("eye_sockets", skin * 0.7),
        ):  # fmt: skip
            colour[parts[part]] = paint
        return np.clip(colour, 0, 1)

    def shoot(
        self, person: Person, scene: Scene, expression: Floats, gaze: Floats, head: Floats, rng: Rng
    ) -> NDArray[np.uint8]:
        """One photograph [H, W, 3] of a person in a scene, with that scene's camera's faults."""
        import cv2

        face = self.face
        blinks = [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]
        shown = expression.copy()
        shown[blinks] *= person.blink_gain
        vertices = face.pose(person.neutral, shown, gaze)
        cosine_of_iris = face.iris_cosine(vertices, gaze)
        for part in ("mouth_socket", "gums_tongue", "teeth"):
            vertices[face.parts[part], 2] += BEHIND_LIPS_M
        for part, blink in zip(("eyeball_left", "eyeball_right"), expression[blinks], strict=True):
            vertices[face.parts[part], 2] += BEHIND_LIDS_M * (1 + 3 * blink)
        normals = vertex_normals(vertices, self.drawn) @ head[:3, :3].T
        shade = np.tile(scene.ambient, (len(vertices), 1))
        for towards, colour in scene.lights:
            shade += np.clip(normals @ towards, 0, 1)[:, None] * colour
        for part, dark in (("mouth_socket", 0.3), ("gums_tongue", 0.5), ("teeth", 0.75)):
            shade[face.parts[part]] *= dark
        for part, blink in zip(("eyeball_left", "eyeball_right"), expression[blinks], strict=True):
            shade[face.parts[part]] *= np.clip(4.5 - 4 * blink, 0.3, 1)  # little light gets between shut lids
        # A camera exposes for the face, about.
        seen = float((person.albedo * shade)[face.landmark68].mean())
        shade *= (scene.exposure / seen) ** 0.8
        attributes = np.c_[person.albedo * shade, shade, cosine_of_iris].astype(np.float32)
        W, H = scene.camera.width, scene.camera.height
        background = np.full((H, W, 7), -1, np.float32)
        background[..., :3] = cv2.resize(scene.behind, (W, H), interpolation=cv2.INTER_LINEAR)
        times = 2 if max(W, H) < 300 else 1
        shot = render(
            vertices, self.drawn, attributes, scene.camera, head, supersample=times, background=background
        ).picture
        rgb, light, cosine = shot[..., :3], shot[..., 3:6], shot[..., 6:]
        soft = 2.5 / max(W, H)
        for colour, angle in ((person.iris, IRIS_RAD), (person.iris * 0.1, PUPIL_RAD)):
            share = np.clip((cosine - np.cos(angle)) / soft + 0.5, 0, 1)
            rgb = rgb + share * (colour * light - rgb)
        rgb = np.clip(rgb, 0, 1) ** scene.gamma
        if scene.blur_px > 0.3:
            rgb = cv2.GaussianBlur(rgb, (0, 0), scene.blur_px)
        rgb = rgb + scene.noise * rng.standard_normal(rgb.shape)
        picture = np.clip(rgb * 255, 0, 255).astype(np.uint8)
        if scene.jpeg:
            _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg])
            picture = cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.uint8)
        return np.ascontiguousarray(picture)


def random_view(scene: Scene, rng: Rng, *, frontal: bool) -> tuple[Floats, Floats]:
    """A head [4, 4] before the scene's camera and its yaw, pitch, roll [3]."""
    camera = scene.camera
    limits = np.radians((8, 6, 5) if frontal else np.array((40, 25, 25)) * scene.pose_spread)
    pose = np.clip(rng.normal(0, 0.45, 3), -1, 1) * limits
    face_px = scene.face_px * rng.uniform(0.93, 1.07)
    distance_m = camera.focal_px * 0.2 / face_px  # a head is about 0.2 m high from chin to hairline
    room = (np.array((camera.width, camera.height)) - face_px) / 2 / camera.focal_px * distance_m
    xy = rng.uniform(-0.6, 0.6, 2) * room - (0, 0.03)
    return head_pose(float(pose[0]), float(pose[1]), float(pose[2]), (*xy, distance_m)), pose.astype(np.float32)


def generate(face: IctFace, options: DataOptions) -> Data:
    """Draw everybody and let the detector look; renders without a face are dropped and counted."""
    from mediapipe.python.solutions import face_mesh

    rng = np.random.default_rng(options.seed)
    painter = Painter(face)
    rows: dict[str, list[Any]] = {f.name: [] for f in fields(Data)}
    unseen, begun = 0, time.monotonic()
    n_each = options.n_neutral + options.n_acting
    with face_mesh.FaceMesh(refine_landmarks=True) as detector:
        for person in range(options.n_people):
            who, scene = painter.person(rng), Scene.random(rng)
            camera = scene.camera
            for k in range(n_each):
                at_rest = k < options.n_neutral
                expression, gaze = np.zeros(N_EXPRESSION, np.float32), np.zeros((2, 2), np.float32)
                if not at_rest:
                    expression, gaze = random_expression(rng)
                head, pose = random_view(scene, rng, frontal=k < 2)
                picture = painter.shoot(who, scene, expression, gaze, head, rng)
                for _ in range(N_LOOKS):
                    found = detector.process(picture).multi_face_landmarks
                if not found:
                    unseen += 1
                    continue
                points = np.array([(p.x, p.y, p.z) for p in found[0].landmark], np.float32)
                rows["landmarks"].append(points * np.array((camera.width, camera.height, camera.width), np.float32))
                rows["size"].append((camera.width, camera.height))
                rows["expression"].append(expression)
                rows["gaze"].append(gaze)
                rows["pose"].append(pose)
                rows["person"].append(person)
                rows["at_rest"].append(at_rest)
            if person % 40 == 39:
                log.info("%d people, %.0f s, %d renders unseen", person + 1, time.monotonic() - begun, unseen)
    types: dict[str, Any] = {"size": np.int32, "person": np.int32, "at_rest": np.bool_}
    columns: dict[str, Any] = {name: np.array(row, types.get(name, np.float32)) for name, row in rows.items()}
    return Data(**columns)


# ---------------------------------------------------------------- what is fitted


def partners(face: Floats) -> NDArray[np.int64]:
    """Which landmark [478] is on the other side, told from a nearly symmetric face."""
    from scipy.optimize import linear_sum_assignment

    gap = np.linalg.norm(mirrored_by(face, np.arange(len(face)))[:, None] - face[None], axis=2)
    _, partner = linear_sum_assignment((gap + gap.T) ** 2)
    partner = np.asarray(partner)
    if not np.array_equal(partner[partner], np.arange(len(face))):
        raise ValueError("the mean face is too lopsided to pair its landmarks; wanted more people")
    return partner


def measure_template(data: Data) -> tuple[Floats, NDArray[np.int64]]:
    """The symmetric mean neutral face [478, 3] of nearly frontal renders, and the mirror's partners."""
    frontal = data.at_rest & (np.abs(data.pose).max(1) < 0.16)
    mean = normalise(np.mean([normalise(face) for face in data.landmarks[frontal]], 0))
    for _ in range(3):
        partner = partners(mean)
        mean = normalise((mean + mirrored_by(mean, partner)) / 2)
        mean = normalise(pose_free(data, mean, frontal).mean(0))
    partner = partners(mean)
    return normalise((mean + mirrored_by(mean, partner)) / 2), partner


def pose_free(data: Data, reference: Floats, which: NDArray[np.bool_] | None = None) -> Floats:
    """Faces [N, 478, 3] of the renders, aligned to the reference as the tracker does it."""
    pairs = (
        zip(data.landmarks, data.size, strict=True)
        if which is None
        else zip(data.landmarks[which], data.size[which], strict=True)
    )
    return np.stack(
        [
            align(fit_head(points, Camera.of_picture(int(w), int(h)), reference).face, reference)
            for points, (w, h) in pairs
        ]
    )


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    n_moved: int = 112  # principal components of what moved
    n_person: int = 24  # principal components of who it is
    width: int = 256  # of both hidden layers
    n_epochs: int = 50
    sides: float = 1.0  # what a wrong difference of left and right costs, against a wrong coefficient
    jitter: float = 0.1  # noise on the inputs, in their standard deviations
    ridge: float = 3.0  # of the linear basis, in renders
    seed: int = 0


def emphasis_of(reference: Floats) -> Floats:
    """Weights [478, 1]: lids and lips move little but say much."""
    emphasis = np.ones((N_LANDMARKS, 1), np.float32)
    emphasis[list(LIPS)] = 3
    emphasis[list(BROWS)] = 2
    emphasis[[*RIGHT_EYE, *LEFT_EYE]] = 6
    return emphasis


def rest_faces(faces: Floats, data: Data, rng: Rng, n_shots: tuple[int, int]) -> Floats:
    """For each render, its performer at rest [N, 478, 3]: the mean of some of their rest renders."""
    out = np.empty_like(faces)
    for person in np.unique(data.person):
        rest = np.flatnonzero(data.at_rest & (data.person == person))
        for i in np.flatnonzero(data.person == person):
            n = min(int(rng.integers(n_shots[0], n_shots[1] + 1)), len(rest)) if len(rest) else 0
            out[i] = faces[rng.choice(rest, n, replace=False)].mean(0) if n else np.nan
    return out


def _aligned(faces: Floats, bases: Floats) -> Floats:
    return np.stack([align(face, base) for face, base in zip(faces, bases, strict=True)])


def fit_basis(moved: Floats, expression: Floats, partner: NDArray[Any], ridge: float) -> Floats:
    """Mean effect of each coefficient [52, 478, 3] by ridge regression over renders and their mirror images."""
    e = np.concatenate((expression, mirror_expression(expression)))
    y = np.concatenate((moved, mirrored_by(moved, partner))).reshape(len(e), -1)
    basis = np.linalg.solve(e.T @ e + ridge * np.eye(N_EXPRESSION, dtype=np.float32), e.T @ y)
    basis[ARKIT_INDEX["tongueOut"]] = 0
    return np.asarray(basis.reshape(N_EXPRESSION, N_LANDMARKS, 3), np.float32)


def _flat(faces: Floats) -> Floats:
    return faces.reshape(len(faces), -1)


def principal(rows: Floats, n: int) -> Floats:
    """Directions [D, n] of most variance, scaled so that projections have variance 1."""
    if n == 0:
        return np.zeros((rows.shape[1], 0), np.float32)
    _, size, direction = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    sd = size[:n] / np.sqrt(len(rows))
    return np.asarray(direction[:n].T / np.maximum(sd, sd[0] * 1e-3), np.float32)


def fit_network(inputs: Floats, truth: Floats, options: FitOptions) -> dict[str, NDArray[Any]]:
    """Train on projections [N, K + P] and coefficients [N, 52]; mirror images must be among them."""
    import torch

    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    x = torch.from_numpy(inputs)
    mean = x.mean(0)
    x, y = x - mean, torch.from_numpy(truth)
    widths = (x.shape[1], options.width, options.width, N_EXPRESSION)
    linears = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    network = torch.nn.Sequential(
        linears[0],
        torch.nn.ReLU(),
        torch.nn.Dropout(0.1),
        linears[1],
        torch.nn.ReLU(),
        torch.nn.Dropout(0.1),
        linears[2],
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    other_side = torch.from_numpy(mirror_expression(np.arange(N_EXPRESSION, dtype=np.float32)).astype(np.int64))
    n_batches = max(1, len(x) // 256)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=options.n_epochs * n_batches)
    for _ in range(options.n_epochs):
        for batch in torch.randperm(len(x)).chunk(n_batches):
            seen = x[batch] + options.jitter * torch.randn_like(x[batch])
            out = network(seen)
            # Below 0 and above 1 is clipped later, so it costs nothing there.
            error = torch.where((y[batch] <= 0) & (out < 0), 0.1 * out, out - y[batch])
            lopsided = (out - out[:, other_side]) - (y[batch] - y[batch][:, other_side])
            loss = (error**2).mean() + options.sides * (lopsided**2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if schedule.last_epoch < schedule.total_steps - 1:
                schedule.step()
    network.eval()
    with torch.no_grad():
        gain = amplitude_gain(network(x).clamp(0, 1).numpy(), truth)
        linears[-1].weight *= torch.from_numpy(gain)[:, None]
        linears[-1].bias *= torch.from_numpy(gain)
    fitted = {"mean": mean.numpy()}
    for i, linear in enumerate(linears):
        fitted[f"w{i}"] = linear.weight.detach().numpy().T.copy()
        fitted[f"b{i}"] = linear.bias.detach().numpy()
    return fitted


def amplitude_gain(told: Floats, truth: Floats) -> Floats:
    """What to multiply each coefficient [52] by: least squares shrinks what it is unsure of, and a shut eye must shut.

    Half-hearted where the network knows little, for noise grows alike.
    """
    gain = np.ones(N_EXPRESSION, np.float32)
    for i in range(N_EXPRESSION):
        strong = truth[:, i] > 0.6
        if strong.sum() >= 20:
            ratio = float(truth[strong, i].mean() / max(told[strong, i].mean(), 0.1))
            gain[i] = 1 + (min(max(ratio, 1.0), 2.0) - 1) * max(0.0, _pearson(told[:, i], truth[:, i]))
    return gain


def fit(data: Data, options: FitOptions) -> dict[str, NDArray[Any]]:
    """All that perfcap.expression needs, by name."""
    rng = np.random.default_rng(options.seed)
    reference, partner = measure_template(data)
    emphasis = emphasis_of(reference)
    faces = pose_free(data, reference)
    everywhere = np.broadcast_to(reference, faces.shape)
    rest = rest_faces(faces, data, rng, (99, 99))
    usable = ~np.isnan(rest[:, 0, 0])
    rest = _aligned(rest[usable], everywhere[usable])
    basis = fit_basis(_aligned(faces[usable], rest) - rest, data.expression[usable], partner, options.ridge)
    fitted: dict[str, NDArray[Any]] = {
        "template": reference,
        "mirror": partner.astype(np.int16),
        "emphasis": emphasis,
        "basis": basis.astype(np.float16),
        **fit_gaze(faces, rest_faces(faces, data, rng, (99, 99)), data, reference),
    }

    truth = np.where([name in LOOKS for name in ARKIT_NAMES], 0, data.expression).astype(np.float32)
    truths = np.concatenate((truth, mirror_expression(truth)))
    seen_rest = rest_faces(faces, data, rng, (1, 4))
    seen_rest[~usable] = reference
    # What is told of the neutral is never exact: some of a slight expression is left in it.
    left_in = rng.normal(0, 0.05, (len(faces), N_EXPRESSION)).astype(np.float32)
    seen_rest = _aligned(seen_rest + np.tensordot(left_in, basis, 1), everywhere)
    for kind, base, n_person in (("known", seen_rest, options.n_person), ("unknown", everywhere, 0)):
        aligned = _aligned(faces, base)
        seen, told = (np.concatenate((each, mirrored_by(each, partner))) for each in (aligned, base))
        moved = principal(_flat((seen - told)[::2] * emphasis), options.n_moved)
        person = principal(_flat((told - reference)[::2] * emphasis), n_person)
        network = fit_network(project(seen, told, reference, emphasis, moved, person), truths, options)
        for name, value in {"moved": moved, "person": person, **network}.items():
            fitted[f"{kind}_{name}"] = value.astype(np.float16)
    return fitted


def fit_gaze(faces: Floats, rest: Floats, data: Data, reference: Floats) -> dict[str, NDArray[Any]]:
    """How far an iris moves for an angle, of open eyes of known neutral."""
    blink = data.expression[:, [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]].max(1)
    open_eyed = (blink < 0.3) & ~np.isnan(rest[:, 0, 0])
    offset = iris_offset(faces[open_eyed]) - iris_offset(rest[open_eyed])
    truth = data.gaze[open_eyed]
    # Total least squares through the origin: both sides are noisy, and angles should not shrink.
    gain = np.sqrt((truth**2).sum((0, 1)) / (offset**2).sum((0, 1)))
    slope = (truth * offset).sum((0, 1)) / (offset**2).sum((0, 1))
    return {"gaze_gain": np.sqrt(gain * slope).astype(np.float32), "iris_rest": iris_offset(reference)}


# ---------------------------------------------------------------- how well it does


def score(path: Path, data: Data) -> str:
    """Tables (Markdown) for people the weights never saw."""
    reference, solver = template(path), ExpressionSolver(path)
    faces = pose_free(data, reference)
    rest = rest_faces(faces, data, np.random.default_rng(0), (99, 99))
    told = {
        "with neutral": np.stack([solver.solve(f, n) for f, n in zip(faces, rest, strict=True)]),
        "without": np.stack([solver.solve(f) for f in faces]),
    }
    rows = ["| coefficient | r | mean abs. error | r without neutral | error without |", "|---|---|---|---|---|"]
    table = []
    for i, name in enumerate(ARKIT_NAMES):
        if name == "tongueOut":
            continue
        truth = data.expression[:, i]
        row = [f(each[:, i], truth) for each in told.values() for f in (_pearson, _error)]
        table.append(row)
        rows.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row) + " |")
    rows.insert(2, "| **mean of 51** | " + " | ".join(f"{value:.3f}" for value in np.mean(table, 0)) + " |")
    return "\n".join(rows) + "\n\n" + score_neutral(path, data, faces, told["without"])


def _pearson(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def _error(a: Floats, b: Floats) -> float:
    return float(np.abs(a - b).mean())


def score_neutral(path: Path, data: Data, faces: Floats, told: Floats) -> str:
    """How far the estimated neutral is from the truth, in thousandths of the outer eye corners' distance."""
    rng = np.random.default_rng(0)
    reference = template(path)
    errors: dict[str, list[float]] = {}

    def note(name: str, guess: Floats, truth: Floats) -> None:
        gap = align(guess, truth) - truth
        errors.setdefault(name, []).append(float(np.sqrt((gap**2).sum(1)).mean()) * 1000)

    for person in np.unique(data.person):
        own = data.person == person
        truth = faces[own & data.at_rest].mean(0)
        acting = np.flatnonzero(own & ~data.at_rest)
        note("the template", reference, truth)
        for shot in np.flatnonzero(own & data.at_rest):
            note("one render at rest (the detector's own noise)", faces[shot], truth)
        for n in (1, 10, len(acting)):
            for _ in range(8):
                chosen = rng.choice(acting, n, replace=False)
                estimator = NeutralEstimator(path)
                for i in chosen:
                    estimator.update(faces[i], told[i], 1.0)
                note(
                    f"{n} random frames, estimated" if n > 1 else "1 random frame, estimated",
                    estimator.neutral(),
                    truth,
                )
                name = f"{n} random frames, plain mean" if n > 1 else "1 random frame as it is"
                note(name, faces[chosen].mean(0), truth)
    rows = ["| neutral from | mean error of a landmark, 1/1000 of the outer eye corners' distance |", "|---|---|"]
    return "\n".join(rows + [f"| {name} | {np.mean(values):.1f} |" for name, values in errors.items()])


def load_data(path: Path) -> Data:
    with np.load(path, allow_pickle=False) as stored:
        return Data(**{f.name: stored[f.name] for f in fields(Data)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asset", type=Path, required=True, help="the packed ICT face, ict_face.npz")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--renders", type=Path, help="folder to keep what the detector saw in, and to take it from")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    wanted = {
        "train": DataOptions(seed=args.seed),
        "test": DataOptions(n_people=16, n_neutral=16, n_acting=80, seed=args.seed + 1),
    }
    data: dict[str, Data] = {}
    for name, options in wanted.items():
        kept = args.renders / f"{name}.npz" if args.renders else None
        if kept is not None and kept.exists():
            data[name] = load_data(kept)
            continue
        data[name] = generate(load_ict(args.asset), options)
        if kept is not None:
            np.savez(kept, **{f.name: getattr(data[name], f.name) for f in fields(Data)})
    fitted = fit(data["train"], FitOptions(seed=args.seed))
    np.savez(args.output, **fitted)
    log.info("%s: %d bytes from %d renders", args.output, args.output.stat().st_size, len(data["train"].landmarks))
    print(score(args.output, data["test"]))


if __name__ == "__main__":
    main()
