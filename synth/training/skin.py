"""The skin of random people: what it is painted with, how rough it is, and where it folds.

Everything is painted into the 3-D face's own texture, where a face lies open and straight: pores, freckles, blush,
lips, brows hair by hair, stubble and beards, make-up, and the lines that expressions draw. Colours are linear light.
Nothing here knows how the skin is lit or who looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from perfcap.training.ict import IctFace, paint, rasterise
from runtime.records import ARKIT_INDEX

Floats = NDArray[np.float32]
Rng = np.random.Generator

TEXELS = 768
GAMMA = 2.2

# Which expressions draw which lines: the strongest of a group counts.
FOLDS: dict[str, tuple[str, ...]] = {
    "forehead": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "glabella": ("browDownLeft", "browDownRight", "noseSneerLeft", "noseSneerRight"),
    "crow": ("cheekSquintLeft", "cheekSquintRight", "eyeSquintLeft", "eyeSquintRight", "mouthSmileLeft"),
    "cheek": ("mouthSmileLeft", "mouthSmileRight", "noseSneerLeft", "mouthUpperUpLeft", "mouthDimpleRight"),
    "under": ("cheekSquintLeft", "cheekSquintRight", "mouthSmileLeft", "mouthSmileRight"),
}


def linear(srgb: Any) -> Floats:
    return np.asarray(np.clip(srgb, 0, 1) ** np.float32(GAMMA), np.float32)


def fold_strengths(expression: Floats) -> Floats:
    """How deep each of FOLDS [5] is, of an expression [52]."""
    return np.array([max(expression[ARKIT_INDEX[n]] for n in names) for names in FOLDS.values()], np.float32)


@dataclass(frozen=True, kw_only=True)
class Skin:
    """One person's. N is TEXELS; rows run down the face."""

    albedo: Floats  # [N, N, 3], linear
    height: Floats  # [N, N], mm: pores and what age has drawn
    folds: Floats  # [5, N, N], mm, of each of FOLDS at full strength
    gloss: Floats  # [N, N], 0..1
    tone: Floats  # [3], linear, of plain skin: for what is not in the texture
    hair: Floats  # [3], linear, of brows and beard


def noise(rng: Rng, cells: int, shape: tuple[int, int] = (TEXELS, TEXELS)) -> Floats:
    """A smooth random field [h, w], sd about 1, with so many bumps across."""
    h, w = shape
    small = rng.standard_normal((max(2, cells * h // w) + 1, cells + 1)).astype(np.float32)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC), np.float32)


def _line(points: Floats, *, closed: bool, thick: int, soft: float) -> Floats:
    """A soft line [N, N] 0..1 through texels [n, 2]."""
    canvas = np.zeros((TEXELS, TEXELS), np.uint8)
    cv2.polylines(canvas, [np.round(points * 16).astype(np.int32)], closed, 255, thick, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), soft), np.float32)


class SkinPainter:
    """Paints for one asset; where lips, brows and beards go is found once."""

    def __init__(self, face: IctFace) -> None:
        T = TEXELS
        self._corner = np.zeros(len(face.vertices), np.int64)  # a texture corner of each vertex
        self._corner[face.triangles.ravel()] = face.triangle_uv.ravel()
        self._uv = face.uv
        self._marks = self._texels(face.landmark68)
        skin = face.triangle_material == face.material_names.index("M_Face")
        uv_triangles = np.ascontiguousarray(face.triangle_uv[skin])
        position = np.zeros((len(face.uv), 3), np.float32)
        position[face.triangle_uv.ravel()] = face.vertices[face.triangles.ravel()]
        on_paper = np.c_[self.to_texels(face.uv), np.ones(len(face.uv))].astype(np.float32)
        depth, triangle = np.full((T, T), 9, np.float32), np.full((T, T), -1, np.int32)
        weights = np.zeros((T, T, 2), np.float32)
        rasterise(on_paper, uv_triangles, 1.0, 0.0, 0.0, depth, triangle, weights)
        self.place = np.zeros((T, T, 3), np.float32)  # metres, of each texel on the mean face
        paint(uv_triangles, position, triangle, weights, self.place)
        self._masks(face)

    @staticmethod
    def to_texels(uv: Floats) -> Floats:
        """Texture coordinates [..., 2] in texels: x right, y down."""
        return np.asarray(np.stack((uv[..., 0], 1 - uv[..., 1]), -1) * np.float32(TEXELS), np.float32)

    def _texels(self, vertices: NDArray[Any]) -> Floats:
        return self.to_texels(self._uv[self._corner[vertices]])

    def _masks(self, face: IctFace) -> None:
        T = TEXELS
        m = self._marks
        mm = self.place * 1000
        at = face.vertices[face.landmark68] * 1000
        # Lips: the outer outline, rounded, from the mean face's front; what is turned into the mouth is theirs too.
        outline = np.concatenate((m[48:60], m[48:49]))
        t = np.linspace(0, 12, 97)
        ring = np.stack([np.interp(t, np.arange(13), outline[:, k]) for k in (0, 1)], 1)
        ring = np.stack([np.convolve(np.r_[ring[-7:-1, k], ring[:, k], ring[1:7, k]], np.ones(7) / 7, "same")[6:-6] for k in (0, 1)], 1)  # fmt: skip
        inside = np.zeros((T, T), np.uint8)
        cv2.fillPoly(inside, [np.round(ring * 16).astype(np.int32)], 255, shift=4)
        self.lips = cv2.GaussianBlur(inside.astype(np.float32) / 255, (0, 0), 1.6)
        self.near_lips = np.clip(cv2.GaussianBlur(cv2.dilate(inside, np.ones((9, 9))).astype(np.float32) / 255, (0, 0), 6.0) * 1.4, 0, 1)  # fmt: skip
        x, y, z = mm[..., 0], mm[..., 1], mm[..., 2]
        known = mm.any(-1)

        def near(index: int, sx: float, sy: float, dx: float = 0.0, dy: float = 0.0) -> Floats:
            cx, cy = at[index, 0] + dx, at[index, 1] + dy
            front = np.clip((60 - z) / 20, 0, 1)
            return np.asarray(np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2) * front * known, np.float32)

        self.blush = np.maximum(near(36, 20, 15, 2, 34), near(45, 20, 15, -2, 34)) + 0.7 * near(30, 9, 8) + 0.4 * near(8, 14, 9, 0, -6)  # fmt: skip
        self.sockets = sum((near(i, 9, 5, 0, d) for i in (37, 38, 43, 44) for d in (-3.0,)), np.zeros((T, T), np.float32))  # fmt: skip
        self.bags = np.maximum(near(41, 13, 5, 2, 8), near(46, 13, 5, -2, 8))
        self.nose = near(30, 12, 14)
        self.t_zone = np.clip(near(27, 26, 16, 0, -28) + near(30, 9, 26, 0, -8) + 0.6 * near(8, 12, 9, 0, -4), 0, 1)
        # Beard: below the nose, not on the lips, along the jaw up to the ears, not below it for long.
        jaw = np.interp(np.abs(x), [0, 30, 55, 75, 95], [at[8, 1] + 16, at[8, 1] + 8, at[5, 1] + 16, at[2, 1] + 24, at[1, 1]])  # fmt: skip
        top = np.interp(np.abs(x), [0, 18, 30, 50, 62, 75], [at[33, 1] + 5, at[33, 1] + 5, at[48, 1] - 9, at[48, 1] - 3, at[33, 1] - 2, at[0, 1] + 6])  # fmt: skip
        ragged = 2.0 * noise(np.random.default_rng(1), 60)
        beard = np.clip((y - top + ragged) / 7, 0, 1) * np.clip((jaw + 14 - y + ragged) / 22, 0, 1)
        self.beard = np.asarray(beard * np.clip((78 - z) / 20, 0, 1) * np.clip(1 - 1.6 * self.near_lips, 0, 1) * known, np.float32)  # fmt: skip
        self.moustache = np.asarray(np.clip((at[48, 1] + 2 - y) / 6, 0, 1) * np.clip((34 - np.abs(x)) / 8, 0, 1), np.float32)  # fmt: skip
        hairline = at[27, 1] - 56 + 0.008 * x**2  # the middle of the forehead, lower at the temples
        self.scalp = np.asarray(np.clip((hairline - y) / 6 + np.clip((z - 38) / 8, -9, 3) * (y < at[1, 1] - 6), 0, 1) * known, np.float32)  # fmt: skip
        side = np.clip((z - at[0, 2] + 16) / 6, 0, 1) * np.clip((at[1, 1] - 8 - y) / 6, 0, 1) * np.clip((np.abs(x) - 55) / 6, 0, 1)  # fmt: skip
        self.scalp = np.maximum(self.scalp, np.asarray(side * known, np.float32))
        ears = np.zeros((T, T), np.float32)
        for low, high in ((0, 0.125), (0.875, 1)):  # they lie beside the face in the texture
            ears[int(0.3 * T) : int(0.56 * T), int(low * T) : int(high * T)] = 1
        self.scalp = cv2.dilate(self.scalp, np.ones((9, 9))) * (1 - ears)  # past the texture's rim
        self.beard *= 1 - ears
        self.rims = np.zeros((T, T), np.float32)
        self.upper_lids = np.zeros((T, T), np.float32)
        for first in (36, 42):
            self.rims = np.maximum(self.rims, _line(m[first : first + 6], closed=True, thick=4, soft=1.3))
            lid = m[first : first + 4] - (0, 2)
            self.upper_lids = np.maximum(self.upper_lids, _line(lid, closed=False, thick=5, soft=1.5))

    def person(self, rng: Rng) -> Skin:
        T = TEXELS
        age = rng.beta(1.3, 1.8)
        tone = self._tone(rng)
        dark = float(1 - tone.mean() / 0.7)
        albedo = np.empty((T, T, 3), np.float32)
        albedo[:] = tone
        # Blotches, from the size of a cheek to that of a pore; blood shows more in red's absence.
        mottle = 0.025 * noise(rng, 9) + 0.02 * noise(rng, 40) + 0.022 * noise(rng, 150)
        grain = rng.standard_normal((T, T)).astype(np.float32)
        albedo *= (1 + mottle * rng.uniform(0.5, 1.5) + 0.02 * grain)[..., None]
        blood = np.array((0.10, -0.22, -0.18), np.float32)
        red = self.blush * rng.uniform(0.1, 0.6) + 0.25 * noise(rng, 14) * rng.uniform(0, 0.5) + 0.35 * self.rims
        albedo *= np.exp(red[..., None] * blood * (1.2 - dark))
        albedo *= np.exp(-self.bags * rng.uniform(0, 0.35) - self.sockets * rng.uniform(0, 0.1))[..., None] ** np.array((0.7, 1, 0.9), np.float32)  # fmt: skip
        self._spots(albedo, rng)
        height = 0.02 * cv2.GaussianBlur(grain, (0, 0), 1.2) * 3 * rng.uniform(0.4, 1.3) + 0.012 * noise(rng, 120)
        lip = self._lips(albedo, height, tone, rng)
        self._make_up(albedo, tone, rng)
        hair = self._hair_colour(rng, age)
        beard = self._beard(albedo, hair, rng)
        self._brows(albedo, hair, rng)
        folds = self._folds(rng)
        strength = np.array((0.3, 0.35, 0.25, 0.55, 0.4), np.float32) * age * rng.uniform(0.3, 1.2, 5).astype(np.float32)  # fmt: skip
        height += np.tensordot(strength, folds, 1)
        folds *= np.float32(rng.uniform(0.5, 1.0) * (0.55 + 0.6 * age))
        gloss = np.clip(0.32 + 0.35 * self.t_zone + 0.08 * noise(rng, 30), 0.05, 1) * rng.uniform(0.5, 1.4)
        gloss = np.maximum(gloss * (1 - 0.7 * beard), self.lips * lip)
        return Skin(albedo=np.clip(albedo, 0.004, 0.95), height=height.astype(np.float32), folds=folds,
                    gloss=gloss.astype(np.float32), tone=tone, hair=hair)  # fmt: skip

    @staticmethod
    def _tone(rng: Rng) -> Floats:
        """Plain skin, along the range of human ones."""
        range_of_skins = np.array(((0.30, 0.20, 0.155), (0.50, 0.345, 0.265), (0.70, 0.525, 0.425), (0.83, 0.665, 0.58), (0.89, 0.745, 0.675)))  # fmt: skip
        where = rng.beta(1.6, 1.0) * 4
        srgb = np.stack([np.interp(where, np.arange(5), range_of_skins[:, k]) for k in range(3)])
        return linear(srgb * rng.normal(1, (0.02, 0.025, 0.04)))

    @staticmethod
    def _hair_colour(rng: Rng, age: float) -> Floats:
        kinds = np.array(((0.07, 0.06, 0.055), (0.16, 0.11, 0.08), (0.28, 0.19, 0.13), (0.45, 0.32, 0.2), (0.62, 0.49, 0.33), (0.42, 0.2, 0.1)))  # fmt: skip
        srgb = kinds[rng.choice(6, p=(0.28, 0.26, 0.2, 0.12, 0.09, 0.05))] * rng.normal(1, 0.12, 3)
        grey = np.clip((age - 0.55) * 2.5, 0, 1) * (rng.random() < 0.6)
        return linear(srgb + grey * (rng.uniform(0.5, 0.8) - srgb))

    def _spots(self, albedo: Floats, rng: Rng) -> None:
        T = TEXELS
        spots = np.zeros((T, T), np.float32)
        if rng.random() < 0.35:
            dots = np.clip(noise(rng, 110) - rng.uniform(1.4, 2.2), 0, 1) + np.clip(noise(rng, 190) - 1.9, 0, 1)
            spots += dots * np.clip(1.6 * self.blush + 0.3, 0, 1) * rng.uniform(0.3, 0.8)
        for _ in range(rng.poisson(2.5)):
            x, y = rng.uniform(0.2, 0.8, 2) * T
            r = rng.uniform(1, 2.4)
            cv2.circle(spots, (int(x), int(y)), max(1, round(r)), float(rng.uniform(0.3, 0.9)), -1, cv2.LINE_AA)
        spots = cv2.GaussianBlur(spots, (0, 0), 0.8)
        albedo *= np.exp(-spots[..., None] * np.array((0.7, 1.0, 1.1), np.float32))

    def _lips(self, albedo: Floats, height: Floats, tone: Floats, rng: Rng) -> float:
        """Their colour and their fine lines; returns how glossy they are."""
        T = TEXELS
        painted = rng.random() < 0.22
        if painted:
            colour = linear(np.array((rng.uniform(0.45, 0.75), rng.uniform(0.2, 0.42), rng.uniform(0.22, 0.42))))
            share = rng.uniform(0.5, 0.9)
        else:
            colour = tone * np.array((0.80, 0.52, 0.54), np.float32) * np.float32(rng.uniform(0.75, 1.1))
            share = rng.uniform(0.35, 0.85)
        streaks = cv2.resize(
            rng.standard_normal((14, T // 3)).astype(np.float32), (T, T), interpolation=cv2.INTER_CUBIC
        )
        mask = (self.lips * share)[..., None]
        albedo += mask * (colour * (1 + 0.07 * streaks[..., None]) - albedo)
        height += self.lips * streaks * np.float32(0.04 * rng.uniform(0.3, 1.2))
        return float(rng.uniform(0.6, 1.0) if painted else rng.uniform(0.3, 0.75))

    def _make_up(self, albedo: Floats, tone: Floats, rng: Rng) -> None:
        liner = rng.uniform(0.3, 0.9) if rng.random() < 0.3 else rng.uniform(0, 0.25)
        albedo *= (1 - np.float32(liner) * self.upper_lids)[..., None]
        if rng.random() < 0.2:
            colour = tone * rng.uniform(0.3, 0.9, 3).astype(np.float32)
            albedo += (np.clip(self.sockets, 0, 1) * rng.uniform(0.1, 0.45))[..., None] * (colour - albedo)

    def _beard(self, albedo: Floats, hair: Floats, rng: Rng) -> Floats:
        """Stubble, a moustache, a beard or none; how covered [N, N] the skin is."""
        T = TEXELS
        kind = rng.choice(5, p=(0.55, 0.17, 0.12, 0.06, 0.10))
        region = self.beard * self.moustache if kind == 3 else self.beard
        shade = cv2.GaussianBlur(region, (0, 0), 3.0) * (0.0, 0.3, 0.5, 0.75, 0.85)[kind] * rng.uniform(0.6, 1)
        cover = 0.75 * shade
        if kind:
            n = (0, 9000, 9000, 5000, 16000)[kind]
            length = (0, 1.6, 3.0, 9.0, 11.0)[kind]
            hairs = self._hairs(region, n, length, rng)
            cover = np.clip(cover * (0.55 if kind < 3 else 0.9) + 0.8 * hairs * (0.6 if kind < 3 else 1.0), 0, 0.95)
            variation = 1 + 0.35 * rng.standard_normal((T, T)).astype(np.float32)
            over = (0.3 * hair + 0.7 * albedo * 0.55) if kind < 3 else hair * np.clip(variation, 0.3, 2)[..., None]
            albedo += cover[..., None] * (over - albedo)
        roots = cv2.GaussianBlur(self.scalp, (0, 0), 2.0)
        albedo += (0.85 * roots)[..., None] * (0.6 * hair - albedo)
        return np.asarray(cover, np.float32)

    def _hairs(self, region: Floats, n: int, length: float, rng: Rng) -> Floats:
        """Short strokes [N, N] 0..1 that grow down and outwards where a region is."""
        T = TEXELS
        canvas = np.zeros((T, T), np.uint8)
        ys, xs = np.nonzero(region > 0.05)
        pick = rng.integers(len(xs), size=n)
        keep = rng.random(n) < region[ys[pick], xs[pick]]
        start = np.stack((xs[pick], ys[pick]), 1)[keep] + rng.uniform(0, 1, (int(keep.sum()), 2))
        angle = np.pi / 2 - 0.9 * (start[:, 0] / T - 0.5) + rng.normal(0, 0.35, len(start))
        end = start + length * rng.uniform(0.5, 1.2, (len(start), 1)) * np.stack((np.cos(angle), np.sin(angle)), 1)
        lines = np.round(np.stack((start, end), 1) * 16).astype(np.int32)
        cv2.polylines(canvas, list(lines), False, 255, 1, cv2.LINE_AA, 4)
        return canvas.astype(np.float32) / 255

    def _brows(self, albedo: Floats, hair: Floats, rng: Rng) -> None:
        T = TEXELS
        bushy, thick, up = rng.uniform(0.3, 1.0), rng.uniform(10, 24), rng.uniform(-4, 4)
        canvas = np.zeros((T, T), np.uint8)
        for marks, inner in ((self._marks[17:22], 1.0), (self._marks[22:27], 0.0)):
            n = int(26 * thick * bushy)
            s = rng.uniform(0, 1, n)
            path = np.stack([np.interp(s * 4, np.arange(5), marks[:, k]) for k in (0, 1)], 1)
            ahead = np.stack([np.interp(np.minimum(s + 0.05, 1) * 4, np.arange(5), marks[:, k]) for k in (0, 1)], 1)
            behind = np.stack([np.interp(np.maximum(s - 0.05, 0) * 4, np.arange(5), marks[:, k]) for k in (0, 1)], 1)
            along = ahead - behind
            along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-6
            outward = along * (-1 if inner else 1)  # away from the nose
            from_nose = np.abs(s - inner)
            width = thick * (1 - 0.65 * from_nose) * np.clip(from_nose * 9 + 0.5, 0.5, 1)
            across = rng.uniform(-0.5, 0.5, n) * width
            start = path + np.array((0, up - 2)) + across[:, None] * np.array((0, 1.0))
            lift = np.clip(0.9 - 1.1 * from_nose, -0.15, 0.9) - 0.5 * across / thick
            direction = outward + lift[:, None] * np.array((0, -1.0)) + rng.normal(0, 0.18, (n, 2))
            direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-6
            end = start + direction * rng.uniform(6, 11, (n, 1))
            middle = (start + end) / 2 + np.array((0, -0.6))
            lines = np.round(np.stack((start, middle, end), 1) * 16).astype(np.int32)
            cv2.polylines(canvas, list(lines), False, 255, 1, cv2.LINE_AA, 4)
        strokes = canvas.astype(np.float32) / 255
        cover = np.clip(0.7 * strokes + 0.55 * cv2.GaussianBlur(strokes, (0, 0), 2.0), 0, 0.92)
        colour = hair * np.float32(rng.uniform(0.5, 1.1)) + 0.04 * albedo
        albedo += (cover * np.float32(0.5 + 0.5 * bushy))[..., None] * (colour - albedo)

    def _folds(self, rng: Rng) -> Floats:
        """Lines in the skin [5, N, N], mm, negative where it sinks."""
        T = TEXELS
        m = self._marks
        scale = T / 768
        layers: list[Floats] = []

        def draw(lines: list[Floats], width: float, depth: float) -> None:
            canvas = np.zeros((T, T), np.uint8)
            for line in lines:
                cv2.polylines(canvas, [np.round(line * 16).astype(np.int32)], False, 255, 2, cv2.LINE_AA, 4)
            sharp = cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), width * scale)
            wide = cv2.GaussianBlur(sharp, (0, 0), 3 * width * scale)
            taper = np.clip(1 + 0.5 * noise(rng, 12), 0.1, 2)
            layers.append(np.asarray(-depth * taper * (sharp - 0.8 * wide), np.float32))

        brow = m[17:27, 1].mean()
        xs = np.linspace(m[17, 0] + 8, m[26, 0] - 8, 24)
        lines = []
        for k in range(int(rng.integers(3, 6))):
            y = brow - (26 + 17 * k) * scale + 8 * np.cos((xs - T / 2) / T * 9) + np.cumsum(rng.normal(0, 0.9, 24))
            keep = slice(int(rng.integers(0, 6)), int(rng.integers(18, 24)))
            lines.append(np.stack((xs, y), 1)[keep])
        draw(lines, 2.2, 2.6)
        inner = (m[21], m[22])
        lines = []
        for end, side in zip(inner, (1, -1), strict=True):
            y = np.linspace(-14, 16, 10) * scale
            lines.append(np.stack((end[0] + side * 9 + side * 0.1 * y, end[1] + y + 2), 1))
        draw(lines, 2.4, 2.8)
        lines = []
        for corner, side in ((m[36], -1), (m[45], 1)):
            for slope in rng.uniform(-0.5, 0.6, 4):
                t = np.linspace(10, rng.uniform(22, 40), 8) * scale
                lines.append(np.stack((corner[0] + side * t, corner[1] + slope * t + 0.006 * t**2), 1))
        draw(lines, 1.4, 1.8)
        lines = []
        for wing, lip, side in ((m[31], m[48], -1), (m[35], m[54], 1)):
            start, end = wing + np.array((side * 14, -10)), lip + np.array((side * 17, 12))
            bend = (start + end) / 2 + (side * 7, -6)
            t = np.linspace(0, 1, 14)[:, None]
            lines.append((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end)
        draw(lines, 3.4, 5.0)
        lines = []
        for a, b in ((m[36], m[39]), (m[45], m[42])):
            t = np.linspace(0.08, 0.92, 12)[:, None]
            for drop in (11, 19):
                lines.append(a + t * (b - a) + np.array((0, 1.0)) * (drop * np.sin(np.pi * (0.15 + 0.7 * t))) * scale)
        draw(lines, 1.5, 1.6)
        return np.stack(layers)
