"""What the diffusion renderer is told of a frame: the warp's picture, what of it can be believed, and where the face is.

All of it lies in one square crop around the face, resampled to a side; the crop belongs to the character, so a take
is not shaken by it. Nothing is remembered between frames. A reference picture is told of in the same terms: its
pixels, and which point of the face each shows. Nothing here knows what a network makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.expression import template
from perfcap.head import UNIT_M, Camera, fit_head
from perfcap.landmarks import INNER_LIPS_LOWER, INNER_LIPS_UPPER, LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from runtime.records import N_FACE
from synth.eyes import opening
from synth.raster import FAR, trace
from synth.rig import LASHES, Character, inner_triangles, lid_edges, lid_rows, smoothstep
from synth.warp import Drawn, WarpRenderer

SIDE_UNITS = 3.2  # of the crop, in distances of the outer eye corners: the face, what it moves, hair and neck near it
REGION_UNITS = 0.12  # how far the regions of mouth and eyes reach beyond lips and lids
EDGE_SHARE = 0.08  # of the side, over which a result laid back fades out
MOST_STRETCH = 3.0  # twenty times as long: a seam that opens has no length to begin with
COARSE = 4  # the regions are soft, so they are drawn this many times smaller


@dataclass(frozen=True)
class Crop:
    """A square of a picture, resampled. It may reach beyond the picture, but not lie outside it."""

    left: int  # px of the picture
    top: int
    size: int
    side: int  # px of the crop

    @property
    def scale(self) -> float:
        """Pixels of the crop in one of the picture."""
        return self.side / self.size

    def to_crop(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [N, 2] px of the picture in px of the crop."""
        return np.asarray((points - np.array((self.left, self.top), np.float32)) * np.float32(self.scale), np.float32)

    def cut(self, picture: NDArray[Any], *, beyond: float | None = None) -> NDArray[Any]:
        """The crop [side, side, ...] of a picture [H, W, ...]; beyond its edges a number, or else the edge goes on."""
        import cv2

        H, W = picture.shape[:2]
        x0, y0 = max(self.left, 0), max(self.top, 0)
        x1, y1 = min(self.left + self.size, W), min(self.top + self.size, H)
        part = picture[y0:y1, x0:x1]
        if part.shape[:2] != (self.size, self.size):
            rims = (y0 - self.top, self.top + self.size - y1, x0 - self.left, self.left + self.size - x1)
            border = cv2.BORDER_REPLICATE if beyond is None else cv2.BORDER_CONSTANT
            part = cv2.copyMakeBorder(part, *rims, border, value=beyond)
        return np.asarray(self._resize(part, self.side))

    def lay_back(
        self, picture: NDArray[np.uint8], shown: NDArray[np.uint8], result: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """A picture [H, W, 3] with what `result` changed of its crop `shown`, both [side, side, 3].

        Only the change is resampled, so where there is none the picture keeps all its detail.
        """
        H, W = picture.shape[:2]
        x0, y0 = max(self.left, 0), max(self.top, 0)
        x1, y1 = min(self.left + self.size, W), min(self.top + self.size, H)
        change = self._resize(result.astype(np.float32) - shown, self.size) * self.fade
        inside = (slice(y0 - self.top, y1 - self.top), slice(x0 - self.left, x1 - self.left))
        out = picture.copy()
        view = out[y0:y1, x0:x1]
        view[:] = np.clip(view + change[inside] + 0.5, 0, 255).astype(np.uint8)
        return out

    @staticmethod
    def _resize(part: NDArray[Any], side: int) -> NDArray[Any]:
        import cv2

        shrinks = part.shape[0] > side
        return np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))

    @cached_property
    def fade(self) -> NDArray[np.float32]:  # [size, size, 1]
        from_edge = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size
        ramp = smoothstep(np.minimum(from_edge, 1 - from_edge), 0.0, EDGE_SHARE)
        return np.asarray(np.minimum(ramp[:, None], ramp[None])[..., None], np.float32)


def crop_around(landmarks_px: NDArray[np.float32], unit_px: float, side: int) -> Crop:
    """The crop for a face whose landmarks [478, 2 or more] px are given, its unit at the head's distance."""
    points = landmarks_px[:N_FACE, :2]
    middle = (points.min(0) + points.max(0)) / 2
    size = max(2, round(SIDE_UNITS * unit_px))
    left, top = (round(float(v) - size / 2) for v in middle)
    return Crop(left, top, size, side)


@dataclass(frozen=True)
class Guide:
    """One frame as the network is told of it. S is the crop's side."""

    rgb: NDArray[np.uint8]  # [S, S, 3], what the warp drew
    valid: NDArray[np.float32]  # [S, S], 1 where the picture itself showed it, 0 where it was painted or filled
    coords: NDArray[np.float32]  # [S, S, 3], the point of `template()` that is seen, units; 0 off the face
    stretch: NDArray[np.float32]  # [S, S], log of how many times as long as in the picture, where it is longest
    mouth: NDArray[np.float32]  # [S, S], 1 between and on the lips, softly to 0 around them
    eyes: NDArray[np.float32]  # [S, S], the same of the eyes and their lids
    opened: float  # how open the mouth is in the character's picture, of its width
    crop: Crop


@dataclass(frozen=True)
class Reference:
    """A picture of the character in the same terms. S is its own crop's side."""

    rgb: NDArray[np.uint8]  # [S, S, 3]
    coords: NDArray[np.float32]  # [S, S, 3], as a guide's
    opened: float  # how open the mouth is, of its width
    crop: Crop


class Guides:
    """Drawn -> Guide, for one character's warp."""

    def __init__(self, warp: WarpRenderer, side: int = 512) -> None:
        if side < 16 or side % COARSE:
            raise ValueError(f"side is {side}, wanted a multiple of {COARSE} from 16 on")
        self.warp = warp
        character, skin = warp.character, warp.character.skin
        self.crop = crop_around(character.landmarks, character.unit_px, side)
        self.opened = mouth_opening(character.landmarks)
        self._rest = skin.points
        self.triangles = skin.triangles  # [T, 3]
        self.values = np.zeros((len(skin.points), 3), np.float32)  # [V, 3], the points of the template
        face = canonical_vertices()
        self.values[: len(face)] = face
        self.filled = (character.alpha * 255 + 0.5).astype(np.uint8)  # [H, W]: what is behind the person was never seen
        self._unit = character.unit_px * self.crop.scale

    def of(self, drawn: Drawn) -> Guide:
        """What the network is told of one frame."""
        crop = self.crop
        S = crop.side
        coords, stretch = np.zeros((S, S, 3), np.float32), np.zeros((S, S), np.float32)
        nearest = np.full((S, S), FAR, np.float32)
        longer = self.stretched(drawn.vertices)
        n = len(inner_triangles())
        target = crop.to_crop(drawn.vertices)
        trace(target, drawn.depth, self.triangles, self.values, longer, n, coords, stretch, nearest)
        rgb = crop.cut(drawn.rgb)
        opacity, filled, painted = (
            crop.cut(layer, beyond=beyond).astype(np.float32) / 255
            for layer, beyond in ((drawn.opacity, 0), (self.filled, 255), (drawn.painted, 255))
        )
        valid = (opacity + (1 - opacity) * (1 - filled)) * (1 - painted)
        mouth, eyes = (_enlarged(soft, S) for soft in self.regions(drawn.landmarks))
        return Guide(rgb, valid, coords, stretch, mouth, eyes, self.opened, crop)

    def stretched(self, vertices: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much longer than in the picture each triangle [T] is where it has grown most."""
        return stretch_of(self._rest, vertices, self.triangles)

    def regions(self, landmarks: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Where mouth and eyes of landmarks [478, 2] px are, each [S / COARSE, S / COARSE]."""
        points = self.crop.to_crop(landmarks)
        rings = ((OUTER_LIPS,), (RIGHT_EYE, LEFT_EYE))
        return [_region(points, each, self._unit, self.crop.side) for each in rings]


def references(character: Character, side: int = 512) -> list[Reference]:
    """The character's own picture, then the others that show it."""
    own = [(character.rgb, character.landmarks), *character.references]
    return [reference(rgb, landmarks, character.neutral, side) for rgb, landmarks in own]


def reference(
    rgb: NDArray[np.uint8],  # [H, W, 3]
    landmarks: NDArray[np.float32],  # [478, 3] px
    neutral: NDArray[np.float32],  # [478, 3]
    side: int,
) -> Reference:
    """A picture of a face, cut and told of as the guides are."""
    H, W = rgb.shape[:2]
    camera = Camera.of_picture(W, H)
    unit_px = float(camera.focal_px * UNIT_M / fit_head(landmarks, camera, neutral).head[2, 3])
    crop = crop_around(landmarks, unit_px, side)
    face = landmarks[:N_FACE]
    px = np.concatenate((face[:, :2], lid_rows(face[:, :2], *lid_edges(face[:, :2]))))
    depth = np.concatenate((face[:, 2], np.tile(face[LASHES, 2], 3))).astype(np.float32)
    coords, nearest = np.zeros((side, side, 3), np.float32), np.full((side, side), FAR, np.float32)
    triangles = inner_triangles()
    levels = np.zeros(len(triangles), np.float32)
    target = crop.to_crop(px)
    trace(
        target, depth, triangles, canonical_vertices(), levels, len(triangles), coords, np.zeros_like(nearest), nearest
    )
    return Reference(crop.cut(rgb), coords, mouth_opening(landmarks), crop)


def mouth_opening(landmarks: NDArray[np.float32]) -> float:
    """How open the mouth of a face [478, 2 or more] is, of its width."""
    return opening(landmarks[list(INNER_LIPS_UPPER), :2], landmarks[list(INNER_LIPS_LOWER), :2])


@cache
def canonical_vertices() -> NDArray[np.float32]:
    """Where the rig's vertices of the face [FIRST_GRID, 3] lie on the template, units; read-only."""
    face = template()[:N_FACE].astype(np.float32)
    rows = lid_rows(face[:, :2], *lid_edges(face[:, :2]))
    vertices: NDArray[np.float32] = np.concatenate((face, np.c_[rows, np.tile(face[LASHES, 2], 3)])).astype(np.float32)
    vertices.setflags(write=False)
    return vertices


def stretch_of(
    rest: NDArray[np.float32], target: NDArray[np.float32], triangles: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Log of how many times as long as at rest [V, 2] each triangle [T] has become where it has grown most.

    The larger singular value of the affine map that carries the triangle there (both in the same pixels).
    """
    a, b, c = triangles.T
    (ux, uy), (vx, vy) = (rest[b] - rest[a]).T, (rest[c] - rest[a]).T
    (px, py), (qx, qy) = (target[b] - target[a]).T, (target[c] - target[a]).T
    area = ux * vy - uy * vx
    area = np.where(np.abs(area) < 1e-6, 1e-6, area)
    xx, xy = (px * vy - qx * uy) / area, (qx * ux - px * vx) / area
    yx, yy = (py * vy - qy * uy) / area, (qy * ux - py * vx) / area
    square = xx * xx + xy * xy + yx * yx + yy * yy
    area2 = (xx * yy - xy * yx) ** 2
    largest = (square + np.sqrt(np.maximum(square * square - 4 * area2, 0))) / 2
    return np.asarray(np.clip(np.log(np.maximum(largest, 1e-9)) / 2, -MOST_STRETCH, MOST_STRETCH), np.float32)


def _region(
    points: NDArray[np.float32], rings: tuple[tuple[int, ...], ...], unit: float, side: int
) -> NDArray[np.float32]:
    """Softly 1 inside rings of landmarks [478, 2] px of the crop, 0 REGION_UNITS beyond, COARSE times smaller."""
    import cv2

    mask = np.zeros((side // COARSE, side // COARSE), np.uint8)
    reach = REGION_UNITS * unit / COARSE
    for ring in rings:
        line = np.round((points[list(ring)] / COARSE - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(mask, [line], 255, shift=4)
        cv2.polylines(mask, [line], True, 255, max(1, round(reach)), shift=4)
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(0.5, reach / 4)))


def _enlarged(soft: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.resize(soft, (side, side), interpolation=cv2.INTER_LINEAR))
