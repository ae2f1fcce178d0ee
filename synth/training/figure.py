"""The shape of random people: a head of the 3-D face, and hair, clothes, glasses and hats to go with it.

What rides on the head and what stays with the body are told apart; everything is in metres in the head's frame, as the
person is at rest. Nothing here knows colours' light or cameras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.training.expression import BEHIND_LIDS_M, BEHIND_LIPS_M, Painter
from perfcap.training.ict import IctFace
from runtime.records import ARKIT_INDEX
from synth.rig import smoothstep
from synth.training.regions import CHIN, TEXELS, ramp
from synth.training.skin import Projected, Skin, SkinPainter, linear
from synth.training.worn import EYE, MOUTH, PLAIN, SKIN, TEETH, Piece, clothes, glasses, hair, hat

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Rng = np.random.Generator

# What each part of the asset is made of; parts that are not here are not drawn.
MADE_OF = {
    "face": SKIN, "head_neck": PLAIN, "mouth_socket": MOUTH, "eye_sockets": PLAIN, "gums_tongue": MOUTH, "teeth": TEETH,
    "eyeball_left": EYE, "eyeball_right": EYE,
}  # fmt: skip
IRISES = np.array(  # sRGB, brown ones first
    ((0.20, 0.11, 0.06), (0.30, 0.18, 0.09), (0.42, 0.31, 0.14), (0.36, 0.42, 0.28), (0.38, 0.5, 0.6), (0.5, 0.56, 0.6))
)
IRISES_SHARE = np.array((0.34, 0.22, 0.12, 0.1, 0.14, 0.08))
CLOSED, PARTED = 0.04, 0.1  # of mouthClose, which shuts the asset's parted lips; how far the jaw drops to part them
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
    worn: Floats  # [V - 26719, 3], metres
    triangles: Ints  # [T, 3]
    triangle_uv: Floats  # [t, 3, 2], the texture's places of the first t triangles, those of the face
    material: NDArray[np.uint8]  # [T]
    colour: Floats  # [V, 3]
    along: Floats  # [V, 3]
    head_weight: Floats  # [V], 1 goes with the head, 0 with the body
    lash_length: float  # 1 the asset's own

    @property
    def unit_m(self) -> float:
        """Between the outer eye corners."""
        right, left = self.neutral[self.face.landmark68[[36, 45]]]
        return float(np.linalg.norm(left - right))

    def pose(self, expression: Floats, gaze: Floats) -> Floats:
        """Vertices [V, 3] with an expression [52] and a gaze [2, 2], head's frame."""
        face = self.face
        blinks = [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]
        shown = expression.copy()
        shown[blinks] *= self.blink_gain
        shut = max(0.0, 1 - float(expression[ARKIT_INDEX["jawOpen"]]) / PARTED)
        shown[ARKIT_INDEX["mouthClose"]] += CLOSED * shut
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
        self._people = Painter(face)
        self.skins = SkinPainter(face)
        parts, names = face.part_of_triangles(), list(face.parts)
        unseen = [i for i, name in enumerate(face.material_names) if name.startswith("M_Iris")]  # behind a closed shell
        drawn = np.isin(parts, [names.index(name) for name in MADE_OF]) & ~np.isin(face.triangle_material, unseen)
        self._triangles = np.ascontiguousarray(face.triangles[drawn])
        self._uv = face.uv[face.triangle_uv[drawn]].copy()  # [t, 3, 2]
        self._uv[..., 1] = 1 - self._uv[..., 1]  # from the top left corner, as textures are kept
        made_of = np.array([MADE_OF.get(name, PLAIN) for name in names], np.uint8)
        self._material = made_of[parts[drawn]]
        back = face.triangle_material[drawn] == face.material_names.index("M_BackHead")
        self._material[back & (self._material == SKIN)] = PLAIN
        self._head_weight = _neck(face)
        self._scalp = self._find_scalp()
        self._scalp_triangles = face.triangles[(self._scalp[face.triangles] > 0.3).all(1)]

    def _find_scalp(self) -> Floats:
        """How much [V] each vertex belongs to the scalp: as the texture says, and behind it by the shape."""
        face, scalp = self.face, np.zeros(len(self.face.vertices), np.float32)
        skin = face.triangle_material == face.material_names.index("M_Face")
        vertex, place = face.triangles[skin].ravel(), face.uv[face.triangle_uv[skin].ravel()]
        texel = np.clip(self.skins.to_texels(place).astype(int), 0, TEXELS - 1)
        scalp[vertex] = self.skins.at.scalp[texel[:, 1], texel[:, 0]]
        scalp[face.parts["face"].stop :] = 0
        back = face.parts["head_neck"]
        y, z = face.vertices[back, 1], face.vertices[back, 2]
        scalp[back] = ramp(y, 0.062, 0.050) * np.clip(ramp(z, 0.02, 0.04) + (y < -0.04), 0, 1)
        return scalp

    def person(self, rng: Rng, portrait: Projected | None = None) -> Figure:
        """Somebody, in the skin of a portrait if there is one."""
        base = self._people.person(rng)
        skin = self.skins.person(rng) if portrait is None else self.skins.of_picture(portrait, rng)
        teeth = linear(np.array((0.93, 0.90, 0.83)) * rng.uniform(0.88, 1.05) * rng.normal(1, (0.0, 0.015, 0.05)))
        collar = rng.uniform(0.135, 0.185)
        worn = self._worn(base.neutral, skin, collar, rng)
        shown = self._shown(base.neutral, collar)
        n = len(base.neutral)
        starts = np.cumsum([n, *(len(piece.vertices) for piece in worn)])

        def joined(own: NDArray[Any], of: Callable[[Piece], NDArray[Any]]) -> NDArray[Any]:
            return np.asarray(np.concatenate([own, *map(of, worn)]), own.dtype)

        return Figure(
            face=self.face,
            neutral=base.neutral,
            blink_gain=base.blink_gain,
            skin=skin,
            iris=_iris(rng, skin.tone),
            sclera=linear(np.array((0.80, 0.77, 0.75)) * rng.normal(1, (0.03, 0.03, 0.04))),
            worn=np.concatenate([piece.vertices for piece in worn]),
            triangles=np.concatenate(
                [self._triangles[shown], *(piece.triangles + start for piece, start in zip(worn, starts, strict=False))]
            ).astype(np.int32),
            triangle_uv=self._uv[shown],
            material=joined(self._material[shown], lambda piece: np.full(len(piece.triangles), piece.material)),
            colour=joined(self._colours(skin, teeth, rng), lambda piece: piece.colour),
            along=joined(np.zeros((n, 3), np.float32), lambda piece: piece.along),
            head_weight=joined(self._head_weight, lambda piece: np.full(len(piece.vertices), piece.with_head)),
            lash_length=float(rng.uniform(0.5, 1.1)),
        )

    def _colours(self, skin: Skin, teeth: Floats, rng: Rng) -> Floats:
        """Of the face's own vertices [26719, 3], linear, where no texture has them."""
        colour = np.tile(skin.tone, (len(self.face.vertices), 1))
        colour += (0.85 * self._scalp)[:, None] * (0.6 * skin.hair - colour)
        flesh = linear(np.array((0.72, 0.36, 0.36)) * rng.normal(1, 0.06, 3)) * np.float32(0.75 + 0.5 * skin.tone[0])
        sockets = skin.tone * np.array((0.8, 0.5, 0.5), np.float32)
        inner = {"mouth_socket": flesh * 0.75, "gums_tongue": flesh, "teeth": teeth, "eye_sockets": sockets}
        for part, paint in inner.items():
            colour[self.face.parts[part]] = paint
        return np.asarray(colour, np.float32)

    def _shown(self, neutral: Floats, collar: float) -> NDArray[np.bool_]:
        """Which triangles [t] clothes with such a collar do not hide: shoulders would poke through them."""
        x, y = np.abs(neutral[self._triangles, 0]), neutral[self._triangles, 1]
        below = np.interp(x, (0.064, 0.066, 0.084, 0.086), (0.085, 0.015, 0.015, -0.03))
        return np.asarray((self._material > PLAIN) | (y <= collar + below).any(1))

    def _worn(self, neutral: Floats, skin: Skin, collar: float, rng: Rng) -> list[Piece]:
        pieces = [clothes(neutral, collar, rng), *hair(neutral, self._scalp_triangles, skin.hair, rng)]
        if rng.random() < 0.1:
            pieces.append(hat(rng))
        if rng.random() < 0.2:
            pieces.append(glasses(neutral[self.face.landmark68], rng))
        return pieces


def _neck(face: IctFace) -> Floats:
    """How much [V] goes with the head: the neck bends, lower behind than in front."""
    v, chin = face.vertices, face.vertices[face.landmark68[CHIN]]
    below = v[:, 1] - (chin[1] - 0.01) + 0.35 * np.maximum(0.09 - v[:, 2], -0.05)
    return 1 - smoothstep(below, 0.0, 0.075)


def _iris(rng: Rng, tone: Floats) -> Floats:
    """Mostly brown; light ones go with light skin. Linear."""
    light = np.clip((tone[0] - 0.2) / 0.3, 0.02, 1)
    share = IRISES_SHARE * np.where(np.arange(len(IRISES)) < 2, 1, light)
    colour = IRISES[rng.choice(len(IRISES), p=share / share.sum())]
    return linear(np.clip((0.3 * colour.mean() + 0.55 * colour) * rng.normal(1, 0.06, 3), 0.03, 1))
