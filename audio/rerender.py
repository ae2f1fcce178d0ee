"""A speaker's mouth made to say something else, in the frame's own planes and nowhere but there.

The frame itself is bent so that jaw and cheeks follow the new mouth; over its lips goes a mouth of the same
speaker, bent to the exact shape, in this moment's light. All of it happens in the planes that the clip is
stored in (Y, U, V), at their own resolution, and only in a box around the mouth. Nothing here knows which
mouth was chosen, or why.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audio.bank import Patch
from audio.cutout import PATCH_END, Planes, patch_points, pose, subsampled
from audio.mouth_shape import OPENING, SpeakerMouth, belongs, controls, from_lips, with_opening
from perfcap.expression import template
from perfcap.head import Camera
from perfcap.landmarks import INNER_LIPS, INNER_LIPS_LOWER, INNER_LIPS_UPPER, OVAL
from perfcap.topology import face_triangles
from runtime.records import N_FACE, Motion
from synth.eyes import curve, polygon
from synth.mouth import MouthInterior, MouthPalette
from synth.raster import FAR, rasterise
from synth.rig import smoothstep
from synth.warp import around_mouth

Floats = NDArray[np.float32]

RINGS = (0.12, 0.32)  # units outside the face's contour where rings of vertices lie
FOLLOW = (0.55, 0.0)  # how much of the contour's movement they follow
MAP_PX = 300  # wider areas are mapped at a part of their resolution: a mesh is smooth between its edges
PATCH_FULL = 0.05  # units from the lips within which the patch shows in full
GRAIN_PX = 1.5  # sigma of what is finer than grain
CHANGES_OVER = (0.45, 0.55)  # opacity of a mouth over which what is so fine becomes its own
STILL_PX = 1 / 32  # what moves less keeps its pixels as they are
N_OVAL = len(OVAL)


def strip(upper: tuple[int, ...], lower: tuple[int, ...]) -> list[tuple[int, int, int]]:
    out = []
    for i in range(len(upper) - 1):
        out += [(upper[i], upper[i + 1], lower[i + 1]), (upper[i], lower[i + 1], lower[i])]
    return [t for t in out if len(set(t)) == 3]


@functools.cache
def triangles() -> NDArray[np.int32]:
    """The lower face's triangles, between the lips and around the contour too."""
    first = (*OVAL, OVAL[0])
    rings = [tuple(N_FACE + k * N_OVAL + i % N_OVAL for i in range(N_OVAL + 1)) for k in range(len(RINGS))]
    around = [*strip(first, rings[0]), *strip(rings[0], rings[1])]
    every = np.concatenate((face_triangles(), np.array(strip(INNER_LIPS_UPPER, INNER_LIPS_LOWER) + around, np.int32)))
    moves = np.concatenate((belongs()[:, 0] > 0, *[belongs()[list(OVAL), 0] > 0 for _ in RINGS]))
    return np.ascontiguousarray(every[moves[every].any(1)], np.int32)


@functools.cache
def patch_triangles() -> NDArray[np.int32]:
    """Those of them that a patch may cover."""
    near = np.concatenate((from_lips() <= PATCH_END + 0.05, np.zeros(len(RINGS) * N_OVAL, bool)))
    return np.ascontiguousarray(triangles()[near[triangles()].all(1)], np.int32)


@functools.cache
def moving_points() -> NDArray[np.int64]:
    """Which points of the face and the rings around it any of them has."""
    return np.unique(triangles())


@functools.cache
def cover() -> Floats:
    """Opacity [468] of the patch at each point of the face."""
    t = np.clip((PATCH_END - from_lips()) / (PATCH_END - PATCH_FULL), 0, 1)
    below_nose = np.clip((template()[:N_FACE, 1] - template()[2, 1] + 0.02) / 0.06, 0, 1)
    return np.asarray(t * t * (3 - 2 * t) * below_nose, np.float32)


def around(points: Floats, unit: float) -> Floats:
    """Rings of vertices [72, 2] outside the contour of a face [468, 2] px."""
    contour = points[list(OVAL)]
    middle = points[[1, 13]].mean(0)
    away = contour - middle
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    return np.asarray(np.concatenate([contour + away * (ring * unit) for ring in RINGS]), np.float32)


class Canvas:
    """A box of a frame that is about to change, as float planes, and how to sample other pictures into it."""

    def __init__(self, planes: Planes, box: tuple[int, int, int, int]) -> None:
        self.x0, self.y0, self.x1, self.y1 = box
        self._planes = planes
        self.steps = subsampled(planes)
        self.white = 255 if planes[0].dtype == np.uint8 else 1023  # the largest value
        w, h = self.x1 - self.x0, self.y1 - self.y0
        self.coarse = max(1, -(-max(w, h) // MAP_PX))
        self.size = -(-w // self.coarse), -(-h // self.coarse)

    def bend(self, target: Floats, depth: Floats, source: Floats, faces: NDArray[np.int32]) -> Floats:
        """Where in the frame each coarse pixel [h, w, 2] px comes from: itself where hardly anything moves."""
        w, h = self.size
        still = np.empty((h, w, 2), np.float32)
        still[..., 0] = (np.arange(w) + 0.5) * self.coarse + self.x0
        still[..., 1] = (np.arange(h)[:, None] + 0.5) * self.coarse + self.y0
        sampling = still - np.float32(0.5)
        nearest = np.full((h, w), FAR, np.float32)
        local = ((target - (self.x0, self.y0)) / self.coarse).astype(np.float32)
        rasterise(local, source.astype(np.float32), depth, faces, sampling, nearest)
        sampling += np.float32(0.5)
        move = np.abs(sampling - still)
        np.copyto(sampling, still, where=((move[..., 0] < STILL_PX) & (move[..., 1] < STILL_PX))[..., None])
        return sampling

    def mapping(self, target: Floats, depth: Floats, source: Floats, faces: NDArray[np.int32]) -> tuple[Floats, Floats]:
        """Where in a source each coarse pixel comes from [h, w, 2] px, and whether any triangle is there [h, w]."""
        w, h = self.size
        sampling = np.zeros((h, w, 2), np.float32)
        nearest = np.full((h, w), FAR, np.float32)
        local = ((target - (self.x0, self.y0)) / self.coarse).astype(np.float32)
        rasterise(local, source.astype(np.float32), depth, faces, sampling, nearest)
        return sampling + 0.5, (nearest < FAR).astype(np.float32)

    def fine(self, coarse: NDArray[Any], plane: int) -> NDArray[Any]:
        """A coarse map at the resolution of one plane."""
        sx, sy = self.steps[plane]
        w, h = (self.x1 - self.x0) // sx, (self.y1 - self.y0) // sy
        cw, ch = self.coarse / sx, self.coarse / sy
        if (cw, ch) == (1, 1):
            return coarse[:h, :w]
        matrix = np.array(((cw, 0, 0.5 * cw - 0.5), (0, ch, 0.5 * ch - 0.5)), np.float64)
        flags = cv2.INTER_LINEAR if cw >= 1 else cv2.INTER_AREA
        if cw < 1:
            return np.asarray(cv2.resize(coarse, (w, h), interpolation=flags))
        return np.asarray(cv2.warpAffine(coarse, matrix, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE))

    def view(self, plane: int) -> NDArray[Any]:
        sx, sy = self.steps[plane]
        return self._planes[plane][self.y0 // sy : self.y1 // sy, self.x0 // sx : self.x1 // sx]

    def sample(self, pictures: Planes, sampling: Floats, corner: tuple[int, int]) -> list[NDArray[Any]]:
        """The planes of a picture whose first luma sample is at `corner`, seen through a coarse map; as stored."""
        maps: dict[tuple[int, int], NDArray[Any]] = {}
        out = []
        for k, (picture, step) in enumerate(zip(pictures, self.steps, strict=True)):
            if step not in maps:
                (sx, sy), (x, y) = step, corner
                onto = np.array(((1 / sx, 0, -x / sx - 0.5), (0, 1 / sy, -y / sy - 0.5)))
                maps[step] = self.fine(np.asarray(cv2.transform(sampling, onto)), k)
            way = cv2.INTER_LINEAR if k else cv2.INTER_CUBIC  # colour has no edges to keep
            seen = cv2.remap(picture, maps[step], None, way, borderMode=cv2.BORDER_REPLICATE)
            out.append(np.asarray(np.minimum(seen, self.white) if self.white > 255 else seen))
        return out

    def blend(self, under: NDArray[Any], over: Floats, alpha: Floats) -> None:
        """Lay float samples over stored ones, in place."""
        mixed = under + (over - under) * alpha + np.float32(0.5)
        under[:] = np.clip(mixed, 0, self.white)

    def weave(self, under: NDArray[Any], over: Floats, alpha: Floats) -> None:
        """As `blend`, but grain and pores are one picture's or the other's: the mean of two grains is none."""
        change = over - under
        fine = smoothstep(alpha, *CHANGES_OVER)
        mixed = under + change * fine + cv2.GaussianBlur(change, (0, 0), GRAIN_PX) * (alpha - fine)
        under[:] = np.clip(mixed + np.float32(0.5), 0, self.white)


class MouthEditor:
    """Re-renders one speaker's mouth, frame by frame. Remembers nothing between frames."""

    def __init__(self, speaker: SpeakerMouth, camera: Camera, palette: MouthPalette) -> None:
        self._speaker = speaker
        self._camera = camera
        rest = template()
        rest[:N_FACE] = speaker.shape(speaker.rest)
        self._inside = MouthInterior(palette, rest)

    def edit(self, planes: Planes, motion: Motion, wanted: Floats, patch: Patch | None, share: float) -> None:
        """Change a frame's planes in place so that its mouth has the controls wanted [7].

        `patch` is the mouth laid over, `share` (0..1) how opaque.
        """
        face = motion.face[:N_FACE]
        now = controls(motion.face)
        speaker = self._speaker
        lips = np.clip(1 - from_lips() / 0.12, 0, 1)[:, None]
        unusual = speaker.shape(now) - face  # lips as the speaker has them, not what this moment made of them
        target = face + belongs() * speaker.moved(now, wanted) + lips * unusual * share
        here, there = (pose(motion, self._camera, f.astype(np.float32)) for f in (face, target))
        unit = here.unit
        source = np.concatenate((here.points, around(here.points, unit)))
        contour = (there.points - here.points)[list(OVAL)]
        goal = np.concatenate((there.points, source[N_FACE:] + np.concatenate([contour * f for f in FOLLOW])))
        depth = np.concatenate((there.depth, *[there.depth[list(OVAL)] + np.float32(0.02)] * len(RINGS)))
        canvas = self._canvas(planes, goal)
        if canvas is None:
            return
        bend = canvas.bend(goal, depth, source, triangles())
        bent = canvas.sample(planes, bend, (0, 0))
        if patch is not None and share > 0:
            self._lay(canvas, bent, goal, depth, patch, share, unit)
        shown = now[OPENING] if patch is None else patch.controls[OPENING]
        lacking = unshown(float(shown), float(wanted[OPENING]))
        if lacking > 0:
            whole = motion.face.copy()
            whole[:N_FACE] = target
            self._fill(canvas, bent, goal, replace(motion, face=whole), lacking)
        for k, out in enumerate(bent):
            canvas.view(k)[:] = out

    def _canvas(self, planes: Planes, goal: Floats) -> Canvas | None:
        used = goal[moving_points()]
        H, W = planes[0].shape
        x0, y0 = (int(np.clip(v, 0, None)) // 4 * 4 for v in np.floor(used.min(0)))
        x1, y1 = (min(int(v + 3) // 4 * 4, n // 4 * 4) for v, n in zip(np.ceil(used.max(0)), (W, H), strict=True))
        return Canvas(planes, (x0, y0, x1, y1)) if x1 - x0 >= 8 and y1 - y0 >= 8 else None

    def _lay(
        self,
        canvas: Canvas,
        bent: list[NDArray[Any]],
        goal: Floats,
        depth: Floats,
        patch: Patch,
        share: float,
        unit: float,
    ) -> None:
        """The patch over the bent frame, in the frame's light."""
        source = np.concatenate((patch.points, np.zeros((len(RINGS) * N_OVAL, 2), np.float32)))
        points = goal[patch_points()]
        low = np.maximum(((points.min(0) - (canvas.x0, canvas.y0)) // 4 * 4).astype(int), 0)
        high = -(-(points.max(0) - (canvas.x0, canvas.y0)) // 4) * 4
        x1, y1 = (int(min(v, n)) for v, n in zip(high, (canvas.x1 - canvas.x0, canvas.y1 - canvas.y0), strict=True))
        if x1 - low[0] < 8 or y1 - low[1] < 8:
            return
        part = Canvas(
            canvas._planes, (canvas.x0 + int(low[0]), canvas.y0 + int(low[1]), canvas.x0 + x1, canvas.y0 + y1)
        )
        where, inside = part.mapping(goal, depth, source, patch_triangles())
        opacity, _ = part.mapping(
            goal, depth, np.concatenate((np.stack((cover(), cover()), 1), source[N_FACE:] * 0)), patch_triangles()
        )
        alpha = opacity[..., 0] * inside * share
        over = part.sample(patch.planes, where, patch.corner)
        for k, (sx, sy) in enumerate(part.steps):
            laid = over[k].astype(np.float32)
            y, x = slice(int(low[1]) // sy, y1 // sy), slice(int(low[0]) // sx, x1 // sx)
            under = bent[k][y, x]
            a = part.fine(alpha, k)
            laid = _in_light(laid, under.astype(np.float32), a, unit / sx, luma=k == 0)
            if k == 0:
                part.weave(under, laid, a)
            else:
                part.blend(under, laid, a)

    def _fill(self, canvas: Canvas, bent: list[NDArray[Any]], goal: Floats, motion: Motion, share: float) -> None:
        """The inside of a mouth that the clip never showed so far open, between the lips."""
        ring = goal[list(INNER_LIPS)]
        drawn = self._inside.render(motion.face, ring, around_mouth(self._camera, motion.head, motion.face))
        h, w = drawn.rgb.shape[:2]
        x0, y0 = max(canvas.x0, -(-drawn.left // 4) * 4), max(canvas.y0, -(-drawn.top // 4) * 4)
        x1, y1 = min(canvas.x1, (drawn.left + w) // 4 * 4), min(canvas.y1, (drawn.top + h) // 4 * 4)
        if x1 - x0 < 4 or y1 - y0 < 4:
            return
        upper, lower = goal[list(INNER_LIPS_UPPER)], goal[list(INNER_LIPS_LOWER)]
        edge = np.concatenate((curve(upper)[:-1], curve(lower)[:0:-1])).astype(np.float32)
        part = (slice(y0 - drawn.top, y1 - drawn.top), slice(x0 - drawn.left, x1 - drawn.left))
        mask = polygon((h, w), edge - np.array((drawn.left, drawn.top), np.float32))[part].astype(np.float32) / 255
        inside = to_yuv(drawn.rgb[part]) * np.float32(canvas.white / 255)
        for k, (sx, sy) in enumerate(canvas.steps):
            size = (x1 - x0) // sx, (y1 - y0) // sy
            a = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) * np.float32(share)
            over = cv2.resize(inside[..., k], size, interpolation=cv2.INTER_AREA)
            under = bent[k][(y0 - canvas.y0) // sy :, (x0 - canvas.x0) // sx :][: size[1], : size[0]]
            canvas.blend(under, over, a)


def unshown(shown: float, wanted: float) -> float:
    """How much (0..1) of the inside has to be made up when lips parted as shown are to part as wanted, units."""
    lack = 1 - (shown + 0.01) / (max(wanted, 0.0) + 0.01)
    return float(smoothstep(np.array(lack), 0.35, 0.65) * smoothstep(np.array(wanted), 0.025, 0.06))


# Rec. 709, limited range: only differences within one mouth hang on it, and it is used both ways.
YUV_OF_RGB = np.array(((0.1826, 0.6142, 0.0620), (-0.1006, -0.3386, 0.4392), (0.4392, -0.3989, -0.0403)), np.float32)
YUV_OFFSET = np.array((16, 128, 128), np.float32)


def to_yuv(rgb: NDArray[np.uint8]) -> Floats:
    """Y, U, V [h, w, 3] of 0..255 of a picture [h, w, 3]."""
    return np.asarray(rgb.astype(np.float32) @ YUV_OF_RGB.T + YUV_OFFSET, np.float32)


def _in_light(laid: Floats, under: Floats, alpha: Floats, unit: float, *, luma: bool) -> Floats:
    """What is laid on, with the low tones of what it is laid on: fitted where both are seen."""
    step = max(1, int(unit * 0.04))
    size = max(2, laid.shape[1] // step), max(2, laid.shape[0] // step)
    small = [cv2.resize(v, size, interpolation=cv2.INTER_AREA) for v in (laid, under, alpha)]
    sigma = 0.12 * unit / step
    seen = small[2] * (1 - small[2]) * 4 + 1e-4

    def wide(values: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma))

    weight = wide(seen) + 1e-5
    there, here = wide(small[0] * seen) / weight, wide(small[1] * seen) / weight
    if luma:
        gain = np.clip((here + 8) / (there + 8), 0.6, 1.6)
        return np.asarray(laid * cv2.resize(gain, laid.shape[::-1], interpolation=cv2.INTER_LINEAR))
    return np.asarray(laid + cv2.resize(here - there, laid.shape[::-1], interpolation=cv2.INTER_LINEAR))


def load() -> None:
    """Have the compiled loops and what is worked out once at hand: time that may pass beside other work."""
    patch_triangles(), moving_points(), cover(), with_opening()
    none, maps = np.zeros((0, 3), np.int32), np.zeros((2, 2, 2), np.float32)
    rasterise(maps[0], maps[0], maps[0, 0], none, maps.copy(), maps[0].copy())
