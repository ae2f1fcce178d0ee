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
from synth.training.folds import draw_folds, kept_folds
from synth.training.regions import TEXELS, find_regions, noise

Floats = NDArray[np.float32]
Rng = np.random.Generator

GAMMA = 2.2

# sRGB, 0..1.
TONES = np.array(
    ((0.30, 0.20, 0.155), (0.50, 0.345, 0.265), (0.70, 0.525, 0.425), (0.83, 0.665, 0.58), (0.89, 0.745, 0.675))
)
HAIRS = np.array(
    (
        (0.07, 0.06, 0.055),
        (0.16, 0.11, 0.08),
        (0.28, 0.19, 0.13),
        (0.45, 0.32, 0.2),
        (0.62, 0.49, 0.33),
        (0.42, 0.2, 0.1),
    )
)
HAIRS_SHARE = (0.28, 0.26, 0.2, 0.12, 0.09, 0.05)


@dataclass(frozen=True)
class Whiskers:
    """How a beard grows."""

    n: int  # hairs
    length: float  # texels
    shade: float  # of the skin below
    dense: float  # how much of the skin the hairs cover, 0..1
    moustache_only: bool = False


WHISKERS = (
    Whiskers(0, 0, 0, 0),
    Whiskers(9000, 1.6, 0.12, 0.48),  # shaved this morning
    Whiskers(9000, 3.0, 0.2, 0.48),  # yesterday
    Whiskers(5000, 9.0, 0.5, 0.8, moustache_only=True),
    Whiskers(16000, 11.0, 0.57, 0.8),
)
WHISKERS_SHARE = (0.55, 0.17, 0.12, 0.06, 0.10)


def linear(srgb: Any) -> Floats:
    return np.asarray(np.clip(srgb, 0, 1) ** np.float32(GAMMA), np.float32)


@dataclass(frozen=True, kw_only=True)
class Skin:
    """One person's. N is TEXELS; rows run down the face."""

    albedo: Floats  # [N, N, 3], linear
    height: Floats  # [N, N], mm: pores and what age has drawn
    folds: Floats  # [5, N, N], mm, what expressions draw at full strength, as in synth.training.folds
    gloss: Floats  # [N, N], 0..1
    tone: Floats  # [3], linear, of plain skin: for what is not in the texture
    hair: Floats  # [3], linear, of brows and beard


@dataclass(frozen=True)
class Projected:
    """Somebody's face out of a picture, as a texture. N is TEXELS; colours are linear."""

    albedo: Floats  # [N, N, 3]
    share: Floats  # [N, N], 1 on the face, 0 beyond it
    tone: Floats  # [3], of plain skin
    hair: Floats  # [3], of the brows


def usual_tone(level: float) -> Floats:
    """The colour [3] that plain skin so light (0..1, mean of linear) mostly has."""
    tones = linear(TONES)
    colour = np.stack([np.interp(level, tones.mean(1), tones[:, k]) for k in range(3)])
    return np.asarray(colour * level / colour.mean(), np.float32)


class SkinPainter:
    """Paints for one asset; where lips, brows and beards go is found once."""

    def __init__(self, face: IctFace) -> None:
        T = TEXELS
        self._corner = np.zeros(len(face.vertices), np.int64)  # a texture corner of each vertex
        self._corner[face.triangles.ravel()] = face.triangle_uv.ravel()
        self._uv = face.uv
        self.marks = self.texels(face.landmark68)
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
        self.at = find_regions(self.place, face.vertices[face.landmark68], self.marks)

    @staticmethod
    def to_texels(uv: Floats) -> Floats:
        """Texture coordinates [..., 2] in texels: x right, y down."""
        return np.asarray(np.stack((uv[..., 0], 1 - uv[..., 1]), -1) * np.float32(TEXELS), np.float32)

    def texels(self, vertices: NDArray[Any]) -> Floats:
        """Where vertices [...] of the face lie in the texture [..., 2]."""
        return self.to_texels(self._uv[self._corner[vertices]])

    def person(self, rng: Rng) -> Skin:
        age = rng.beta(1.3, 1.8)
        tone = self._tone(rng)
        dark = float(1 - tone.mean() / 0.7)
        albedo, grain = self._ground(tone, rng)
        blood = np.array((0.10, -0.22, -0.18), np.float32)
        red = self.at.blush * rng.uniform(0.1, 0.6) + 0.25 * noise(rng, 14) * rng.uniform(0, 0.5) + 0.35 * self.at.rims
        albedo *= np.exp(red[..., None] * blood * (1.2 - dark))
        shade = self.at.bags * rng.uniform(0, 0.35) + self.at.sockets * rng.uniform(0, 0.1)
        albedo *= np.exp(-shade[..., None] * np.array((0.7, 1, 0.9), np.float32))
        self._spots(albedo, rng)
        height = _pores(grain, rng)
        lip = self._lips(albedo, height, tone, rng)
        self._make_up(albedo, tone, rng)
        hair = self._hair_colour(rng, age)
        beard = self._beard(albedo, hair, rng)
        self._brows(albedo, hair, rng)
        folds = draw_folds(self.marks, rng)
        height += np.tensordot(kept_folds(age, rng), folds, 1)
        folds *= np.float32(rng.uniform(0.5, 1.0) * (0.55 + 0.6 * age))
        gloss = np.maximum(self._gloss(rng) * (1 - 0.7 * beard), self.at.lips * lip)
        return Skin(albedo=np.clip(albedo, 0.004, 0.95), height=height.astype(np.float32), folds=folds,
                    gloss=gloss.astype(np.float32), tone=tone, hair=hair)  # fmt: skip

    def of_picture(self, face: Projected, rng: Rng) -> Skin:
        """The skin of somebody in a picture: lines, spots, brows and beard are theirs, pores, gloss and what
        expressions draw are not in a picture."""
        around, grain = self._ground(face.tone, rng)
        self._roots(around, face.hair)
        albedo = around + face.share[..., None] * (face.albedo - around)
        folds = draw_folds(self.marks, rng) * np.float32(rng.uniform(0.4, 0.9))
        gloss = np.maximum(self._gloss(rng), self.at.lips * np.float32(rng.uniform(0.3, 0.75)))
        return Skin(albedo=np.clip(albedo, 0.004, 0.95), height=_pores(grain, rng), folds=folds, gloss=gloss,
                    tone=face.tone, hair=face.hair)  # fmt: skip

    @staticmethod
    def _ground(tone: Floats, rng: Rng) -> tuple[Floats, Floats]:
        """Plain skin [N, N, 3] and its grain [N, N]."""
        T = TEXELS
        albedo = np.empty((T, T, 3), np.float32)
        albedo[:] = tone
        # Blotches, from the size of a cheek to that of a pore; blood shows more in red's absence.
        mottle = 0.025 * noise(rng, 9) + 0.02 * noise(rng, 40) + 0.022 * noise(rng, 150)
        grain = rng.standard_normal((T, T)).astype(np.float32)
        albedo *= (1 + mottle * rng.uniform(0.5, 1.5) + 0.02 * grain)[..., None]
        return albedo, grain

    def _gloss(self, rng: Rng) -> Floats:
        shine = np.clip(0.32 + 0.35 * self.at.t_zone + 0.08 * noise(rng, 30), 0.05, 1)
        return np.asarray(shine * rng.uniform(0.5, 1.4), np.float32)

    def _roots(self, albedo: Floats, hair: Floats) -> None:
        roots = cv2.GaussianBlur(self.at.scalp, (0, 0), 2.0)
        albedo += (0.85 * roots)[..., None] * (0.6 * hair - albedo)

    @staticmethod
    def _tone(rng: Rng) -> Floats:
        """Plain skin, along the range of human ones."""
        where = rng.beta(1.6, 1.0) * (len(TONES) - 1)
        srgb = np.stack([np.interp(where, np.arange(len(TONES)), TONES[:, k]) for k in range(3)])
        return linear(srgb * rng.normal(1, (0.02, 0.025, 0.04)))

    @staticmethod
    def _hair_colour(rng: Rng, age: float) -> Floats:
        srgb = HAIRS[rng.choice(len(HAIRS), p=HAIRS_SHARE)] * rng.normal(1, 0.12, 3)
        grey = np.clip((age - 0.55) * 2.5, 0, 1) * (rng.random() < 0.6)
        return linear(srgb + grey * (rng.uniform(0.5, 0.8) - srgb))

    def _spots(self, albedo: Floats, rng: Rng) -> None:
        T = TEXELS
        spots = np.zeros((T, T), np.float32)
        if rng.random() < 0.35:
            dots = np.clip(noise(rng, 110) - rng.uniform(1.4, 2.2), 0, 1) + np.clip(noise(rng, 190) - 1.9, 0, 1)
            spots += dots * np.clip(1.6 * self.at.blush + 0.3, 0, 1) * rng.uniform(0.3, 0.8)
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
        mask = (self.at.lips * share)[..., None]
        albedo += mask * (colour * (1 + 0.07 * streaks[..., None]) - albedo)
        height += self.at.lips * streaks * np.float32(0.04 * rng.uniform(0.3, 1.2))
        return float(rng.uniform(0.6, 1.0) if painted else rng.uniform(0.3, 0.75))

    def _make_up(self, albedo: Floats, tone: Floats, rng: Rng) -> None:
        liner = rng.uniform(0.3, 0.9) if rng.random() < 0.3 else rng.uniform(0, 0.25)
        albedo *= (1 - np.float32(liner) * self.at.upper_lids)[..., None]
        if rng.random() < 0.2:
            colour = tone * rng.uniform(0.3, 0.9, 3).astype(np.float32)
            albedo += (np.clip(self.at.sockets, 0, 1) * rng.uniform(0.1, 0.45))[..., None] * (colour - albedo)

    def _beard(self, albedo: Floats, hair: Floats, rng: Rng) -> Floats:
        """Stubble, a moustache, a beard or none; how covered [N, N] the skin is."""
        self._roots(albedo, hair)
        kind = WHISKERS[rng.choice(len(WHISKERS), p=WHISKERS_SHARE)]
        if not kind.n:
            return np.zeros((TEXELS, TEXELS), np.float32)
        region = self.at.beard * self.at.moustache if kind.moustache_only else self.at.beard
        hairs = self._hairs(region, kind.n, kind.length, rng)
        shade = cv2.GaussianBlur(region, (0, 0), 3.0) * kind.shade * rng.uniform(0.6, 1)
        cover = np.clip(shade + kind.dense * hairs, 0, 0.95)
        if kind.length < 5:  # stubble lets skin through
            over = 0.3 * hair + 0.4 * albedo
        else:
            over = hair * np.clip(1 + 0.35 * rng.standard_normal((TEXELS, TEXELS, 1)), 0.3, 2).astype(np.float32)
        albedo += cover[..., None] * (over - albedo)
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
        """Hair by hair: upright at the nose, along the brow at the temple."""
        bushy, thick, up = rng.uniform(0.3, 1.0), rng.uniform(10, 24), rng.uniform(-4, 4)
        n = int(26 * thick * bushy)
        canvas = np.zeros((TEXELS, TEXELS), np.uint8)
        for marks in (self.marks[21:16:-1], self.marks[22:27]):  # from the nose outwards
            out = rng.uniform(0, 1, n)
            path = _along(marks, out)
            outward = _along(marks, out + 0.05) - _along(marks, out - 0.05)
            outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6
            width = thick * (1 - 0.65 * out) * np.clip(9 * out + 0.5, 0.5, 1)
            below = rng.uniform(-0.5, 0.5, n) * width
            start = path + np.stack((np.zeros(n), below + up - 2), 1)
            lift = np.clip(0.9 - 1.1 * out, -0.15, 0.9) - 0.5 * below / thick
            way = outward + np.stack((np.zeros(n), -lift), 1) + rng.normal(0, 0.18, (n, 2))
            end = start + way / np.linalg.norm(way, axis=1, keepdims=True) * rng.uniform(6, 11, (n, 1))
            bent = (start + end) / 2 - np.array((0, 0.6))
            lines = np.round(np.stack((start, bent, end), 1) * 16).astype(np.int32)
            cv2.polylines(canvas, list(lines), False, 255, 1, cv2.LINE_AA, 4)
        strokes = canvas.astype(np.float32) / 255
        cover = np.clip(0.7 * strokes + 0.55 * cv2.GaussianBlur(strokes, (0, 0), 2.0), 0, 0.92)
        colour = hair * np.float32(rng.uniform(0.5, 1.1)) + 0.04 * albedo
        albedo += (cover * np.float32(0.5 + 0.5 * bushy))[..., None] * (colour - albedo)


def _pores(grain: Floats, rng: Rng) -> Floats:
    """Their height [N, N], mm."""
    height = 0.02 * cv2.GaussianBlur(grain, (0, 0), 1.2) * 3 * rng.uniform(0.4, 1.3) + 0.012 * noise(rng, 120)
    return np.asarray(height, np.float32)


def _along(marks: Floats, share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places [n, 2] on a line through marks [m, 2], 0 its beginning and 1 its end."""
    at = np.clip(share, 0, 1) * (len(marks) - 1)
    return np.stack([np.interp(at, np.arange(len(marks)), marks[:, k]) for k in (0, 1)], 1)
