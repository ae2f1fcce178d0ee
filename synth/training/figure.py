"""The shape of random people: a head of the 3-D face, and hair, clothes, glasses and hats to go with it.

What rides on the head and what stays with the body are told apart; everything is in metres in the head's frame, as the
person is at rest. Nothing here knows colours' light or cameras.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfcap.training.expression import BEHIND_LIDS_M, BEHIND_LIPS_M, Painter
from perfcap.training.ict import IctFace
from runtime.records import ARKIT_INDEX
from synth.training.skin import Skin, SkinPainter, linear
from synth.training.worn import EYE, MOUTH, PLAIN, SKIN, TEETH, Piece, clothes, glasses, hair, hat

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Rng = np.random.Generator

NECK_M = np.array((0.0, 0.155, 0.08), np.float32)  # where the head turns on the neck


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
        reach = np.interp(x, (0.064, 0.066, 0.084, 0.086), (0.085, 0.015, 0.015, -0.03))
        hidden = (y > collar + reach).all(1)  # shoulders would poke through what is worn
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
        pieces = [clothes(neutral, collar, rng), *hair(neutral, self._scalp_triangles, skin.hair, rng)]
        if rng.random() < 0.1:
            pieces.append(hat(rng))
        if rng.random() < 0.2:
            pieces.append(glasses(neutral[self.face.landmark68], rng))
        return pieces


def _stack(arrays: list[Floats], width: int) -> Floats:
    return np.asarray(np.concatenate([np.zeros((0, width)), *arrays]), np.float32)
