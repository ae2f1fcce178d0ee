"""A character: one picture made ready to be performed.

The rig is what never changes while it performs: the picture, the landmarks and head it shows, the
person cut from what is behind them, a mesh from the face out to the shoulders, and how much each
point outside the face follows the head. It does not know what will drive it or who draws it.
"""

from __future__ import annotations

import functools
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfcap.body import Shoulders
from perfcap.face import FaceMesh
from perfcap.head import EARS_DEPTH, UNIT_M, Camera, fit_head, place, unproject
from perfcap.iris import with_irises
from perfcap.landmarks import (
    CHIN,
    INNER_LIPS_LOWER,
    INNER_LIPS_UPPER,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    OVAL,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)  # fmt: skip
from perfcap.topology import face_triangles
from runtime.records import N_FACE
from synth.drawn_eyes import with_drawn_eyes
from synth.matte import layers, person_alpha, wide_blur

GRID_UNITS = 0.2  # spacing of the mesh outside the face, in outer-eye-corner distances
REACH_UP = 4.0  # units above the eyes where nothing moves any more
REACH_SIDE = 4.5
REACH_DOWN = 5.5
DEEPEN = 0.45  # units below the jaw over which the depth gets there; above it the skull's curve decides
HAIR_REACH = 0.8  # units over which what the forehead does fades out
SPREAD = 1  # how fast a contour point's hold falls with distance
STEEPEST, STEEPEST_AROUND = 5.0, 2.0  # depth over width of a face and of what is around it, as the picture shows them
EASE = 0.2  # units inside the face's contour where that begins
CARRIED = 0.35  # share of the neck's movement that the shoulders follow
STIFF = (-0.3, 0.7)  # units below the chin between which the head's hold fades
SHOULDERS_M = np.array(((-0.18, 0.28, 0.0), (0.18, 0.28, 0.0)), np.float32)  # a mean body's joints, from its eyes
NECK = np.array((0.0, 1.9, 1.0), np.float32)  # units, head's frame: where the head turns on the neck


def smoothstep(x: NDArray[np.floating[Any]], low: float, high: float) -> NDArray[np.float32]:
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


# The crease above each eye, point over point with its upper lid.
RIGHT_CREASE = (130, 247, 30, 29, 27, 28, 56, 190, 243)
LEFT_CREASE = (463, 414, 286, 258, 257, 259, 260, 467, 359)
LIDS = ((RIGHT_LID_UPPER, RIGHT_CREASE), (LEFT_LID_UPPER, LEFT_CREASE))
LASHES = np.array([lid[1:-1] for lid, _ in LIDS]).ravel()  # landmarks whose lashes get a row of vertices
ABOVE = np.array([crease[1:-1] for _, crease in LIDS]).ravel()
LASH_SHARE = 0.09  # of the eye's width: lashes and liner, which a closing lid carries and does not stretch
UNDER = np.array([lid[1:-1] for lid in (RIGHT_LID_LOWER, LEFT_LID_LOWER)]).ravel()  # the lower lid, point under point
MARGIN_SHARE = 0.03  # of the eye's width: the lids' inner edge, which moves with the lid and not with the eyeball
N_LASHES = len(LASHES)
FIRST_GRID = N_FACE + 3 * N_LASHES  # vertices: the face's; lashes, upper and lower margins; those outside the face


class LidEdges(NamedTuple):
    """How far from the lids the rows along them lie."""

    lashes: NDArray[np.float32]  # [14], the lashes' upper edge above the lid
    margins: NDArray[np.float32]  # [14], the lids' inner edges inside


def lid_edges(points: NDArray[np.float32]) -> LidEdges:
    """Of a face [468, 2], in its own unit."""
    width = np.repeat([np.linalg.norm(points[lid[0]] - points[lid[-1]]) for lid, _ in LIDS], N_LASHES // 2)
    lashes = np.minimum(LASH_SHARE * width, 0.5 * np.linalg.norm(points[ABOVE] - points[LASHES], axis=1))
    return LidEdges(lashes.astype(np.float32), (MARGIN_SHARE * width).astype(np.float32))


def lid_rows(
    points: NDArray[np.float32], lashes: NDArray[np.float32], margins: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Rows along the lids of landmarks [468, 2]: the lashes' upper edge, the upper and the lower lid's inner edge.

    [42, 2] px; `lashes` and `margins` [14] px say how far from the lids they are.
    """
    return np.concatenate((
        _towards(points[LASHES], points[ABOVE], lashes, 0.5),
        _towards(points[LASHES], points[UNDER], margins, 0.45),
        _towards(points[UNDER], points[LASHES], margins, 0.45),
    ))  # fmt: skip


def _towards(
    a: NDArray[np.float32], b: NDArray[np.float32], length: NDArray[np.float32], most: float
) -> NDArray[np.float32]:
    """From a towards b by a length [N], at most a share of the way."""
    way = b - a
    room = np.maximum(np.linalg.norm(way, axis=1), 1e-6)
    return np.asarray(a + way * np.minimum(length / room, most)[:, None], np.float32)


@dataclass(frozen=True)
class Skin:
    """The mesh of the face and around it, and how what is outside the face follows."""

    points: NDArray[np.float32]  # [V, 2] px of the picture: the face's 468, the lashes' 14, those outside
    eased: NDArray[np.float32]  # [478, 3] units, head's frame, from each landmark to where it is drawn
    around: NDArray[np.float32]  # [V - FIRST_GRID, 3] units, head's frame, those outside the face
    triangles: NDArray[np.int32]  # [T, 3]
    lashes: NDArray[np.float32]  # [14] px, how far the lashes' upper edge is above the lid
    margins: NDArray[np.float32]  # [14] px, how far the lids' inner edges are inside
    head_weight: NDArray[np.float32]  # [V - FIRST_GRID], 1 rigid with the head, 0 not at all
    body_weight: NDArray[np.float32]  # [V - FIRST_GRID], 1 carried along by the neck, 0 fixed to the picture
    contour_weight: NDArray[np.float32]  # [V - FIRST_GRID, 36], follows what expressions do to the face's contour


@dataclass(frozen=True)
class Character:
    """One picture, ready to be performed. Arrays are of the picture's own pixels."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    landmarks: NDArray[np.float32]  # [478, 3]: x, y, depth px
    neutral: NDArray[np.float32]  # [478, 3] the template the head was fitted with, units
    alpha: NDArray[np.float32]  # [H, W] the person's opacity
    person: NDArray[np.uint8]  # [H, W, 3] the person's own colour, also where only part of a pixel is theirs
    behind: NDArray[np.uint8]  # [H, W, 3] what is behind them
    references: tuple[tuple[NDArray[np.uint8], NDArray[np.float32]], ...] = ()  # more pictures, their landmarks px

    @cached_property
    def camera(self) -> Camera:
        H, W = self.rgb.shape[:2]
        return Camera.of_picture(W, H)

    @cached_property
    def head(self) -> NDArray[np.float32]:  # [4, 4], as the picture shows it
        return fit_head(self.landmarks, self.camera, self.neutral).head

    @cached_property
    def face(self) -> NDArray[np.float32]:  # [478, 3] pose-free, as the picture shows it
        return fit_head(self.landmarks, self.camera, self.neutral).face

    @cached_property
    def unit_px(self) -> float:
        """Pixels of one unit at the head's distance."""
        return float(self.camera.focal_px * UNIT_M / self.head[2, 3])

    @cached_property
    def shoulders(self) -> NDArray[np.float32]:
        """The right and the left one [2, 3], camera's frame, metres, as far away as the head; a mean body's where the
        picture does not tell."""
        with closing(Shoulders(still=True)) as finder:
            px = finder.find(self.rgb, FaceMesh(self.landmarks))
        if px is None:
            return np.asarray(self.head[:3, 3] + SHOULDERS_M, np.float32)
        ray = np.column_stack(((px - self.camera.centre) / np.float32(self.camera.focal_px), np.ones(2)))
        return np.asarray(ray * self.head[2, 3], np.float32)

    @cached_property
    def skin(self) -> Skin:
        return _skin(self)

    @cached_property
    def plate(self) -> NDArray[np.uint8]:  # [H, W, 3], what is behind them good enough to be seen; slow, once
        import cv2

        from synth.outpaint import without_person

        reach = max(3, round(self.unit_px / 12)) | 1
        person = cv2.dilate(self.alpha, np.ones((reach, reach), np.uint8)) > 0.02
        return without_person(self.rgb, person)


def rig(rgb: NDArray[np.uint8], mesh: FaceMesh, neutral: NDArray[np.float32]) -> Character:
    """Make a picture [H, W, 3] with a found face ready to be performed."""

    mesh = with_drawn_eyes(rgb, with_irises(rgb, mesh))
    alpha = person_alpha(rgb, mesh)
    x0, y0, x1, y1 = _reach(mesh.landmarks, _unit(rgb, mesh.landmarks, neutral), rgb.shape)
    part = (slice(y0, y1), slice(x0, x1))  # nothing beyond it moves
    person, behind = rgb.copy(), rgb.copy()
    cut = layers(rgb[part], alpha[part], mesh.size)
    alpha[part], person[part], behind[part] = cut.alpha, cut.person, cut.behind
    return Character(rgb, mesh.landmarks, neutral, alpha, person, behind)


def _unit(rgb: NDArray[np.uint8], landmarks: NDArray[np.float32], neutral: NDArray[np.float32]) -> float:
    """Pixels of one unit at the distance of the head that landmarks show."""
    camera = Camera.of_picture(rgb.shape[1], rgb.shape[0])
    return float(camera.focal_px * UNIT_M / fit_head(landmarks, camera, neutral).head[2, 3])


def _reach(landmarks: NDArray[np.float32], unit: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The box x0, y0, x1, y1 px of a picture outside which nothing moves."""
    x, y = landmarks[[33, 263], :2].mean(0)
    box = (x - REACH_SIDE * unit, y - REACH_UP * unit, x + REACH_SIDE * unit, y + REACH_DOWN * unit)
    x0, y0, x1, y1 = (int(v) for v in np.floor(box))
    return max(0, x0), max(0, y0), min(shape[1], x1 + 1), min(shape[0], y1 + 1)


def _grid(character: Character) -> NDArray[np.float32]:
    """Points [N, 2] px outside the face: evenly spaced in reach, and on the reach's border."""
    import cv2

    unit = character.unit_px
    x0, y0, x1, y1 = _reach(character.landmarks, unit, character.rgb.shape)
    step = GRID_UNITS * unit
    xs = np.linspace(x0, x1, max(2, round((x1 - x0) / step) + 1))
    ys = np.linspace(y0, y1, max(2, round((y1 - y0) / step) + 1))
    points = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.float32)
    oval = cv2.convexHull(character.landmarks[list(OVAL), :2])
    outside = [cv2.pointPolygonTest(oval, (float(x), float(y)), True) < -0.45 * step for x, y in points]
    return np.asarray(points[np.array(outside)], np.float32)


def _skin(character: Character) -> Skin:
    import cv2
    from scipy.spatial import Delaunay

    unit = character.unit_px
    face_px = character.landmarks[:N_FACE, :2]
    grid = _grid(character)
    lashes, margins = lid_edges(face_px)
    rows = lid_rows(face_px, lashes, margins)
    points = np.concatenate((face_px, rows, grid)).astype(np.float32)
    ring = face_px[list(OVAL)]

    corners = np.concatenate((np.array(OVAL), np.arange(FIRST_GRID, len(points))))
    cells = corners[Delaunay(points[corners]).simplices].astype(np.int32)
    middles = points[cells].mean(1)
    contour = ring.reshape(-1, 1, 2)
    outside = np.array([cv2.pointPolygonTest(contour, (float(x), float(y)), False) < 0 for x, y in middles])
    triangles = np.concatenate((inner_triangles(), cells[outside]))

    # Where the points outside lie in depth: the contour's own depth, deepening towards the ears' plane.
    eased = _eased(character)
    face = character.face + eased
    ring_z = face[list(OVAL), 2]
    gap = np.linalg.norm(grid[:, None] - ring[None], axis=-1) / unit  # [N, 36]
    near = 1.0 / np.maximum(gap, 0.03) ** 3
    near = (near / near.sum(1, keepdims=True)).astype(np.float32)
    distance = gap.min(1)
    ears = max(EARS_DEPTH, float(ring_z.max()) + 0.15)
    chin = float(face[CHIN, 1])
    below = smoothstep(unproject(character.camera, character.head, grid, np.float32(0.3))[:, 1], chin - 0.5, chin)
    skull = _towards_outline(character, grid, distance) ** 2.5
    deepen = skull + (smoothstep(distance, 0.0, DEEPEN) - skull) * below
    depth = near @ ring_z * (1 - deepen) + ears * deepen

    # In the head's frame: x across, y down from the eyes.
    local = unproject(character.camera, character.head, grid, depth)
    local = local + _steepest(character, grid, local, ring, face[list(OVAL)], STEEPEST_AROUND)
    y_below = local[:, 1] - chin
    across = np.abs(local[:, 0])
    head_weight = (
        (1 - smoothstep(y_below, *STIFF))
        * (1 - smoothstep(across, 1.9, 3.3))
        * (1 - smoothstep(-local[:, 1], 2.7, 3.8))
    )
    body_weight = (1 - smoothstep(across, 2.0, REACH_SIDE - 0.3)) * (1 - smoothstep(-local[:, 1], 2.7, 3.8)) * CARRIED
    H = character.rgb.shape[0]
    low = min(float(H), float(character.landmarks[[33, 263], 1].mean() + REACH_DOWN * unit))
    body_weight *= 1 - smoothstep(grid[:, 1], low - 1.2 * unit, low)
    # Jaw and cheeks fade into the neck; hair and forehead go with the brow's edge all the way.
    reach = 0.8 + (HAIR_REACH - 0.8) * (1 - smoothstep(local[:, 1], -0.2, 0.8))
    wide = 1.0 / np.maximum(gap, 0.03) ** SPREAD
    wide = wide / wide.sum(1, keepdims=True)
    contour_weight = (
        wide * (1 - smoothstep(distance / reach, 0.0, 1.0))[:, None] * np.maximum(head_weight, 0.0)[:, None]
    )
    return Skin(
        points,
        eased,
        local,
        triangles,
        lashes,
        margins,
        head_weight,
        body_weight.astype(np.float32),
        contour_weight.astype(np.float32),
    )


def _steepest(
    character: Character,
    points_px: NDArray[np.float32], points: NDArray[np.float32],
    from_px: NDArray[np.float32], start: NDArray[np.float32], steepest: float,
) -> NDArray[np.float32]:  # fmt: skip
    """What brings points [N, 3] of the head's frame, along their rays, to where no way from others [M, 3] is steeper.

    Of what a picture shows from the side there are no pixels to turn to the front: it would be smeared.
    """
    seen, others = place(character.head, points), place(character.head, start)
    apart = np.linalg.norm(points_px[:, None] - from_px[None], axis=-1) / character.unit_px
    most = (others[:, 2] + np.float32(steepest * UNIT_M) * apart).min(1)
    nearer = np.minimum(most / seen[:, 2] - 1, 0)[:, None] * seen
    return np.asarray(nearer @ character.head[:3, :3] / UNIT_M, np.float32)


def _eased(character: Character) -> NDArray[np.float32]:
    """From each landmark to where it is drawn [478, 3]: cheeks fall off to the face's contour no steeper than can be shown."""
    px, face = character.landmarks[:, :2], character.face
    off = _steepest(character, px, face, px[:N_FACE], face[:N_FACE], STEEPEST)
    gap = np.linalg.norm(px[:, None] - px[None, list(OVAL)], axis=-1).min(1) / character.unit_px
    return np.asarray(off * (1 - smoothstep(gap, 0.0, EASE))[:, None], np.float32)


def _towards_outline(
    character: Character, grid: NDArray[np.float32], distance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How far points [N, 2] px are from the face's contour (0) to the person's outline (1); `distance` [N] units."""
    import cv2

    inside = cv2.distanceTransform((character.alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    inside = wide_blur(inside, 0.12 * character.unit_px)  # curls do not dent a skull
    H, W = inside.shape
    x, y = np.clip(grid.astype(int), 0, (W - 1, H - 1)).T
    left = np.minimum(inside[y, x] / character.unit_px, 1.2)
    return np.asarray(distance / np.maximum(distance + left, 1e-3), np.float32)


@functools.cache
def inner_triangles() -> NDArray[np.int32]:
    """Those of the face itself [T, 3], over vertices below FIRST_GRID, the openings of eyes and mouth covered."""
    triangles = np.concatenate((_with_lashes(face_triangles()), _strip(INNER_LIPS_UPPER, INNER_LIPS_LOWER)))
    triangles.setflags(write=False)
    return triangles


def _with_lashes(triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """The face's triangles with rows of vertices along the lids, over the eyes too."""
    for i, ((lid, crease), lower) in enumerate(zip(LIDS, (RIGHT_LID_LOWER, LEFT_LID_LOWER), strict=True)):
        lash, inner, under = eye_rows(i, lid)
        between = np.isin(triangles, (*lid, *crease)).all(1)
        strips = (_strip(*pair) for pair in ((crease, lash), (lash, lid), (lid, inner), (inner, under), (under, lower)))
        triangles = np.concatenate((triangles[~between], *strips))
    return triangles


def eye_rows(eye: int, lid: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Vertices of one eye's three rows, the eye's corners at both ends: lashes, upper margin, lower margin."""
    n = N_LASHES // 2
    starts = (N_FACE + k * N_LASHES + eye * n for k in range(3))
    return [(lid[0], *range(start, start + n), lid[-1]) for start in starts]


def _strip(upper: tuple[int, ...], lower: tuple[int, ...]) -> NDArray[np.int32]:
    """Triangles [T, 3] between two rows of landmarks that share their ends."""
    out = []
    for i in range(len(upper) - 1):
        out += [(upper[i], upper[i + 1], lower[i + 1]), (upper[i], lower[i + 1], lower[i])]
    return np.array([t for t in out if len(set(t)) == 3], np.int32)
