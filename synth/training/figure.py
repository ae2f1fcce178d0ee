"""The shape of random people: a head of the 3-D face, and hair, clothes, glasses and hats to go with it.

What rides on the head and what stays with the body are told apart; everything is in metres in the head's frame, as the
person is at rest. Nothing here knows colours' light or cameras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.training.expression import BEHIND_LIDS_M, BEHIND_LIPS_M, Painter
from perfcap.training.ict import IctFace
from runtime.records import ARKIT_INDEX
from synth.training.skin import Skin, SkinPainter, linear

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Rng = np.random.Generator

SKIN, PLAIN, MOUTH, TEETH, EYE, HAIR, CLOTH, HARD = range(8)  # what a triangle is made of
NECK_M = np.array((0.0, 0.155, 0.08), np.float32)  # where the head turns on the neck
SKULL_M, SKULL_RADII_M = np.array((0.0, -0.02, 0.075), np.float32), np.array((0.080, 0.112, 0.103), np.float32)
N_SEGMENTS = 5  # of a lock of hair


@dataclass(frozen=True)
class Piece:
    """Something worn. n vertices, t triangles."""

    vertices: Floats  # [n, 3]
    triangles: Ints  # [t, 3]
    colour: Floats  # [n, 3], linear
    along: Floats  # [n, 3], the way hair runs; zero elsewhere
    material: int
    with_head: float  # 1 rides on the head, 0 stays with the body


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One person. V vertices: the face's, then those of what is worn."""

    face: IctFace
    neutral: Floats  # [26719, 3], metres
    blink_gain: Floats  # [2]
    skin: Skin
    iris: Floats  # [3], linear
    sclera: Floats  # [3]
    teeth: Floats  # [3]
    worn: Floats  # [V - 26719, 3], metres
    triangles: Ints  # [T, 3]
    triangle_uv: Floats  # [t, 3, 2], the texture's places of the first t triangles, those of the face
    material: NDArray[np.uint8]  # [T]
    colour: Floats  # [V, 3]
    along: Floats  # [V, 3]
    head_weight: Floats  # [V], 1 goes with the head, 0 with the body
    lash_length: float  # 1 the asset's own

    def pose(self, expression: Floats, gaze: Floats) -> Floats:
        """Vertices [V, 3] with an expression [52] and a gaze [2, 2], head's frame."""
        face = self.face
        blinks = [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]
        shown = expression.copy()
        shown[blinks] *= self.blink_gain
        vertices = face.pose(self.neutral, shown, gaze)
        for part in ("mouth_socket", "gums_tongue", "teeth"):
            vertices[face.parts[part], 2] += np.float32(BEHIND_LIPS_M)
        for part, blink in zip(("eyeball_left", "eyeball_right"), expression[blinks], strict=True):
            vertices[face.parts[part], 2] += np.float32(BEHIND_LIDS_M * (1 + 3 * blink))
        return np.concatenate((vertices, self.worn))


class Tailor:
    """Makes figures of one asset."""

    def __init__(self, face: IctFace) -> None:
        self.face = face
        self._painter = Painter(face)
        self._skin = SkinPainter(face)
        v = face.vertices
        parts = face.part_of_triangles()
        names = list(face.parts)
        drawn = ~np.isin(parts, [names.index(n) for n in ("eye_shells", "lashes")])
        iris = [i for i, name in enumerate(face.material_names) if name.startswith("M_Iris")]
        drawn &= ~np.isin(face.triangle_material, iris)
        self._triangles = np.ascontiguousarray(face.triangles[drawn])
        self.triangle_uv = face.uv[face.triangle_uv[drawn]].copy()  # [t, 3, 2]
        self.triangle_uv[..., 1] = 1 - self.triangle_uv[..., 1]  # from the top left corner, as textures are kept
        kind = {"face": SKIN, "head_neck": PLAIN, "mouth_socket": MOUTH, "eye_sockets": PLAIN, "gums_tongue": MOUTH,
                "teeth": TEETH, "eyeball_left": EYE, "eyeball_right": EYE}  # fmt: skip
        self._material = np.array([kind.get(n, PLAIN) for n in names], np.uint8)[parts[drawn]]
        back = face.triangle_material[drawn] == face.material_names.index("M_BackHead")
        self._material[back & (self._material == SKIN)] = PLAIN
        marks = v[face.landmark68]
        # The neck bends: its upper end goes with the head, the shoulders with the body.
        below = (v[:, 1] - (marks[8, 1] - 0.01) + 0.35 * np.maximum(0.09 - v[:, 2], -0.05)) / 0.075
        t = np.clip(below, 0, 1)
        self._head_weight = (1 - t * t * (3 - 2 * t)).astype(np.float32)
        scalp = np.zeros(len(v), np.float32)
        uv_of = np.zeros((len(v), 2), np.float32)
        front_face = face.triangle_material == face.material_names.index("M_Face")
        uv_of[face.triangles[front_face].ravel()] = face.uv[face.triangle_uv[front_face].ravel()]
        at = np.clip(self._skin.to_texels(uv_of).astype(int), 0, self._skin.at.scalp.shape[0] - 1)
        front = slice(face.parts["face"].start, face.parts["face"].stop)
        on_face = (uv_of[:, 0] <= 1) & (np.arange(len(v)) < front.stop)
        scalp[on_face] = self._skin.at.scalp[at[on_face, 1], at[on_face, 0]]
        rest = face.parts["head_neck"]
        y, z = v[rest, 1], v[rest, 2]
        scalp[rest] = np.clip((0.062 - y) / 0.012, 0, 1) * np.clip((z - 0.02) / 0.02 + (y < -0.04), 0, 1)
        self._scalp = scalp
        self._scalp_triangles = face.triangles[(scalp[face.triangles] > 0.3).all(1)]

    def person(self, rng: Rng) -> Figure:
        base = self._painter.person(rng)
        skin = self._skin.person(rng)
        face = self.face
        teeth = linear(np.array((0.93, 0.90, 0.83)) * rng.uniform(0.88, 1.05) * rng.normal(1, (0.0, 0.015, 0.05)))
        colour = np.tile(skin.tone, (len(face.vertices), 1))
        roots = (0.85 * self._scalp)[:, None]
        colour += roots * (0.6 * skin.hair - colour)
        flesh = linear(np.array((0.72, 0.36, 0.36)) * rng.normal(1, 0.06, 3)) * np.float32(0.75 + 0.5 * skin.tone[0])
        for part, paint in (("mouth_socket", flesh * 0.75), ("gums_tongue", flesh), ("teeth", teeth),
                            ("eye_sockets", skin.tone * np.array((0.8, 0.5, 0.5), np.float32))):  # fmt: skip
            colour[face.parts[part]] = paint
        collar = rng.uniform(0.135, 0.185)
        pieces = self._worn(base.neutral, skin, collar, rng)
        x, y = np.abs(base.neutral[self._triangles, 0]), base.neutral[self._triangles, 1]
        hidden = (y > collar + np.where(x > 0.065, 0.015, 0.085)).all(1)  # shoulders would poke through what is worn
        shown = ~((self._material <= PLAIN) & hidden)
        n = len(face.vertices)
        starts = np.cumsum([n, *(len(p.vertices) for p in pieces)])
        return Figure(
            face=face, neutral=base.neutral, blink_gain=base.blink_gain, skin=skin,
            iris=linear(self._iris(rng, skin.tone)), sclera=linear(np.array((0.80, 0.77, 0.75)) * rng.normal(1, (0.03, 0.03, 0.04))),
            teeth=teeth, worn=_stack([p.vertices for p in pieces], 3),
            triangles=np.concatenate([self._triangles[shown], *(p.triangles + s for p, s in zip(pieces, starts, strict=False))]).astype(np.int32),
            triangle_uv=self.triangle_uv[shown],
            material=np.concatenate([self._material[shown], *(np.full(len(p.triangles), p.material, np.uint8) for p in pieces)]),
            colour=np.concatenate([colour, *(p.colour for p in pieces)]).astype(np.float32),
            along=np.concatenate([np.zeros((n, 3), np.float32), *(p.along for p in pieces)]),
            head_weight=np.concatenate([self._head_weight, *(np.full(len(p.vertices), p.with_head, np.float32) for p in pieces)]),
            lash_length=float(rng.uniform(0.5, 1.1)),
        )  # fmt: skip

    @staticmethod
    def _iris(rng: Rng, tone: Floats) -> Floats:
        """Mostly brown; light ones go with light skin."""
        kinds = np.array(((0.20, 0.11, 0.06), (0.30, 0.18, 0.09), (0.42, 0.31, 0.14), (0.36, 0.42, 0.28), (0.38, 0.5, 0.6), (0.5, 0.56, 0.6)))  # fmt: skip
        light = np.clip((tone[0] - 0.2) / 0.3, 0.02, 1)
        share = np.array((0.34, 0.22, 0.12 * light, 0.1 * light, 0.14 * light, 0.08 * light))
        colour = kinds[rng.choice(6, p=share / share.sum())]
        return np.asarray(np.clip((0.3 * colour.mean() + 0.55 * colour) * rng.normal(1, 0.06, 3), 0.03, 1), np.float32)

    def _worn(self, neutral: Floats, skin: Skin, collar: float, rng: Rng) -> list[Piece]:
        pieces = [self._clothes(neutral, collar, rng)]
        style = str(rng.choice(("bald", "buzz", "short", "medium", "long", "back", "curly"), p=(0.07, 0.1, 0.25, 0.17, 0.21, 0.12, 0.08)))  # fmt: skip
        hat = rng.random() < 0.1
        if style != "bald":
            pieces.append(self._cap(neutral, skin, rng, thick=0.002 if style == "buzz" else 0.006))
        if style not in ("bald", "buzz"):
            pieces.append(self._locks(neutral, skin, style, rng))
        if hat:
            pieces.append(self._hat(rng))
        if rng.random() < 0.2:
            pieces.append(self._glasses(neutral, rng))
        return pieces

    def _cap(self, neutral: Floats, skin: Skin, rng: Rng, thick: float) -> Piece:
        """The mass of hair next to the head."""
        used, triangles = np.unique(self._scalp_triangles, return_inverse=True)
        points = neutral[used]
        out = points - SKULL_M
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        bumps = np.sin(points @ rng.normal(0, 160, (3, 3)).astype(np.float32) + rng.uniform(0, 6, 3)).mean(1)
        points = points + out * (thick * (1 + 0.5 * bumps))[:, None]
        shade = 1 + 0.25 * rng.standard_normal(len(used))
        along = np.cross(out, np.array((0, 1.0, 0.2)))
        return Piece(points.astype(np.float32), triangles.reshape(-1, 3).astype(np.int32),
                     (skin.hair * np.clip(shade, 0.5, 1.5)[:, None]).astype(np.float32),
                     along.astype(np.float32), HAIR, 1.0)  # fmt: skip

    def _locks(self, neutral: Floats, skin: Skin, style: str, rng: Rng) -> Piece:
        """Ribbons of hair that grow out of the scalp and fall around the head."""
        n = {"short": 2400, "medium": 2200, "long": 2200, "back": 2000, "curly": 2200}[style]
        low, high = {"short": (0.02, 0.05), "medium": (0.06, 0.13), "long": (0.2, 0.34), "back": (0.07, 0.11), "curly": (0.04, 0.16)}[style]  # fmt: skip
        length = rng.uniform(low, high)
        t = self._scalp_triangles[rng.integers(len(self._scalp_triangles), size=n)]
        w = rng.dirichlet((1, 1, 1), n).astype(np.float32)
        root = (neutral[t] * w[..., None]).sum(1)
        out = (root - SKULL_M) / SKULL_RADII_M**2
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        parting = rng.uniform(-0.03, 0.03)
        side = np.sign(root[:, 0] - parting) * np.clip(np.abs(root[:, 0] - parting) / 0.01, 0, 1)
        flow = np.zeros((n, 3), np.float32)
        if style == "back":
            flow += np.array((0, -0.1, 1.0), np.float32)
        else:
            flow[:, 0] = 0.8 * side
            flow[:, 1] = 0.35
            fringe = rng.uniform(-0.9, 0.5)
            flow[:, 2] = np.where(root[:, 2] < 0.05, -0.4 * fringe - 0.1, 0.3)
        flow -= (flow * out).sum(1, keepdims=True) * out
        flow /= np.linalg.norm(flow, axis=1, keepdims=True) + 1e-6
        lift = {"short": 0.22, "medium": 0.2, "long": 0.15, "back": 0.12, "curly": 0.8}[style] * rng.uniform(0.5, 1.4)
        messy = rng.uniform(0.04, 0.16)
        going = flow + lift * out + messy * rng.standard_normal((n, 3))
        going /= np.linalg.norm(going, axis=1, keepdims=True)
        own = length * rng.uniform(0.7, 1.1, n) * (0.55 if style == "short" and rng.random() < 0.5 else 1.0)
        step = (own / N_SEGMENTS)[:, None].astype(np.float32)
        droop = {"short": 0.16, "medium": 0.4, "long": 0.6, "back": 0.15, "curly": 0.3}[style]
        curl = 0.9 if style == "curly" else rng.uniform(0, 0.12)
        line = [root]
        for k in range(N_SEGMENTS):
            going = going + np.array((0, droop * (0.4 + k / N_SEGMENTS), 0)) + curl * rng.standard_normal((n, 3))
            going /= np.linalg.norm(going, axis=1, keepdims=True)
            line.append(_outside(line[-1] + step * going.astype(np.float32), 0.004 + 0.002 * k))
        lines = np.stack(line, 1)  # [n, K+1, 3]
        brow = rng.uniform(-0.045, -0.02) if rng.random() < 0.3 else -0.06  # hair does not hang into the face
        x, y, z = np.abs(lines[..., 0]), lines[..., 1], lines[..., 2]
        lines = lines[~((x < 0.058) & (y > brow) & (z < 0.06)).any(1)]
        n = len(lines)
        along = np.gradient(lines, axis=1)
        along /= np.linalg.norm(along, axis=-1, keepdims=True) + 1e-9
        away = lines - SKULL_M
        across = np.cross(along, away)
        across /= np.linalg.norm(across, axis=-1, keepdims=True) + 1e-9
        width = rng.uniform(0.0013, 0.0034, (n, 1, 1)) * np.linspace(1.1, 0.25, N_SEGMENTS + 1)[None, :, None]
        left, right = lines - across * width, lines + across * width
        vertices = np.stack((left, right), 2).reshape(-1, 3)
        ribbon = 2 * np.arange(N_SEGMENTS)[:, None]
        ribbon = np.concatenate((ribbon + np.array((0, 1, 2)), ribbon + np.array((1, 3, 2))), 0)
        triangles = (2 * (N_SEGMENTS + 1) * np.arange(n)[:, None, None] + ribbon[None]).reshape(-1, 3)
        shade = (
            np.clip(rng.normal(1, 0.3, (n, 1, 1)), 0.4, 1.9) * np.linspace(0.65, 1.15, N_SEGMENTS + 1)[None, :, None]
        )
        tint = rng.normal(1, 0.05, (n, 1, 3))
        colour = np.repeat((skin.hair * shade * tint)[:, :, None], 2, 2).reshape(-1, 3)
        return Piece(vertices.astype(np.float32), triangles.astype(np.int32), colour.astype(np.float32),
                     np.repeat(along[:, :, None], 2, 2).reshape(-1, 3).astype(np.float32), HAIR, 1.0)  # fmt: skip

    def _clothes(self, neutral: Floats, collar: float, rng: Rng) -> Piece:
        """Shoulders and chest, with a collar."""
        deep = rng.uniform(0, 0.05) * (rng.random() < 0.5)
        neck = float(np.abs(neutral[:, 0][(neutral[:, 1] > 0.12) & (neutral[:, 1] < 0.14)]).max())
        rows = np.array(((collar - 0.004, neck + 0.006, 0.068, 0.075), (collar, neck + 0.012, 0.074, 0.075),
                         (collar + 0.02, neck + 0.045, 0.088, 0.08), (collar + 0.05, 0.165, 0.1, 0.09),
                         (collar + 0.09, 0.2, 0.115, 0.09), (collar + 0.2, 0.21, 0.125, 0.085), (0.6, 0.21, 0.13, 0.085)))  # fmt: skip
        n = 48
        angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
        rings = []
        for i, (y, rx, rz, z) in enumerate(rows):
            front = np.clip(-np.cos(angle), 0, 1) ** 2
            drop = deep * front * (i < 2) + 0.012 * np.clip(-np.cos(angle), -1, 1) * (i < 3)
            rings.append(np.stack((rx * np.sin(angle), y + drop, z + rz * np.cos(angle)), 1))
        vertices = np.concatenate(rings).astype(np.float32)
        triangles = _between_rings(len(rows), n)
        colour = linear(rng.uniform(0.08, 0.75) + rng.uniform(-0.14, 0.14, 3))
        second = linear(np.clip(rng.uniform(0.1, 0.9) + rng.uniform(-0.1, 0.1, 3), 0, 1))
        tone = np.tile(colour, (len(vertices), 1))
        if rng.random() < 0.3:  # a collar of another colour
            tone[: 2 * n] = second
        return Piece(vertices, triangles, tone, np.zeros_like(vertices), CLOTH, 0.0)

    def _hat(self, rng: Rng) -> Piece:
        n, m = 40, 12
        brow = rng.uniform(-0.062, -0.045)
        up = np.linspace(0, 1, m)
        angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
        tall = rng.uniform(0.09, 0.13)
        rings = []
        for h in up:
            r = np.sqrt(np.clip(1 - h**2, 0, 1)) * (1.0 + 0.06 * np.sin(3 * h))
            tilt = 0.03 * np.cos(angle)  # lower at the back
            rings.append(np.stack((0.098 * r * np.sin(angle), brow - tall * h + tilt, 0.078 + 0.122 * r * np.cos(angle)), 1))  # fmt: skip
        vertices = np.concatenate(rings)
        triangles = _between_rings(m, n)
        colour = np.tile(linear(rng.uniform(0.1, 0.7) + rng.uniform(-0.15, 0.15, 3)), (len(vertices), 1))
        colour *= (1 + 0.12 * np.sin(np.arange(len(vertices)) * 2.1))[:, None]
        return Piece(vertices.astype(np.float32), triangles.astype(np.int32), colour.astype(np.float32),
                     np.zeros((len(vertices), 3), np.float32), CLOTH, 1.0)  # fmt: skip

    def _glasses(self, neutral: Floats, rng: Rng) -> Piece:
        marks = neutral[self.face.landmark68]
        rx, ry = rng.uniform(0.021, 0.027), rng.uniform(0.016, 0.024)
        square = rng.uniform(0.5, 1.0)
        tube = rng.uniform(0.0006, 0.0022)
        front = float(marks[[36, 39, 42, 45], 2].min()) - 0.02
        lines = []
        angle = np.linspace(0, 2 * np.pi, 33)
        for eye in (marks[36:42], marks[42:48]):
            cx, cy = eye[:, 0].mean(), eye[:, 1].mean() + 0.003
            c, s = np.cos(angle), np.sin(angle)
            x, y = np.sign(c) * np.abs(c) ** square * rx, np.sign(s) * np.abs(s) ** square * ry
            lines.append(np.stack((cx + x, cy + y, front + 0.12 * np.abs(cx + x) ** 1.0 * 0.6 + 0 * x), 1))
        inner = [lines[0][0], lines[1][16]]
        bridge = np.linspace(inner[0], inner[1], 7)
        bridge[:, 1] -= 0.004 + 0.003 * np.sin(np.linspace(0, np.pi, 7))
        lines.append(bridge)
        for start, side in ((lines[0][16], -1), (lines[1][0], 1)):
            end = np.array((side * 0.079, marks[36, 1] + 0.002, 0.075))
            lines.append(np.linspace(start, end, 9))
        vertices, triangles, count = [], [], 0
        for line in lines:
            v, t = _tube(line, tube)
            vertices.append(v)
            triangles.append(t + count)
            count += len(v)
        colour = linear(rng.choice((0.04, 0.1, 0.35, 0.6)) * rng.normal(1, 0.15, 3))
        v = np.concatenate(vertices).astype(np.float32)
        return Piece(v, np.concatenate(triangles).astype(np.int32), np.tile(colour, (len(v), 1)), np.zeros_like(v), HARD, 1.0)  # fmt: skip


def _tube(line: NDArray[Any], radius: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """A tube of six sides around a line [n, 3]."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    a = np.cross(along, np.array((0.31, 0.17, 0.93)))
    a /= np.linalg.norm(a, axis=1, keepdims=True) + 1e-9
    b = np.cross(along, a)
    turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    rings = line[:, None] + radius * (
        a[:, None] * np.cos(turn)[None, :, None] + b[:, None] * np.sin(turn)[None, :, None]
    )
    return rings.reshape(-1, 3), _between_rings(len(line), 6)


def _between_rings(n_rings: int, n_points: int) -> Ints:
    """Triangles [T, 3] of a surface through closed rings of points, one ring after the other."""
    ring, point = np.meshgrid(np.arange(n_rings - 1), np.arange(n_points), indexing="ij")
    a = (ring * n_points + point).ravel()
    b = (ring * n_points + (point + 1) % n_points).ravel()
    sides = (np.stack((a, b, a + n_points), 1), np.stack((b, b + n_points, a + n_points), 1))
    return np.asarray(np.concatenate(sides), np.int32)


def _outside(points: Floats, by: float) -> Floats:
    """Points pushed out of the skull, and out of face and neck below it."""
    d = points - SKULL_M
    r = np.linalg.norm(d / (SKULL_RADII_M + by), axis=1)
    out = SKULL_M + d / np.minimum(np.maximum(r, 1e-3), 1)[:, None]
    below = (out[:, 1] > SKULL_M[1]) & (out[:, 2] < 0.17)
    radii = np.array((0.082 + by, 0.09 + by), np.float32)
    flat = (out - SKULL_M)[:, [0, 2]]
    r = np.linalg.norm(flat / radii, axis=1)
    pushed = SKULL_M[[0, 2]] + flat / np.minimum(np.maximum(r, 1e-3), 1)[:, None]
    out[:, [0, 2]] = np.where(below[:, None], pushed, out[:, [0, 2]])
    return np.asarray(out, np.float32)


def _stack(arrays: list[Floats], width: int) -> Floats:
    return np.asarray(np.concatenate([np.zeros((0, width)), *arrays]), np.float32)
