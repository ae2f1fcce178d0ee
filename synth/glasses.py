"""Glasses that a picture shows: they lie before the face and go with the skull, so a face that moves must not bend them.

Rims are thin, all around each eye, and unlike what is on both sides of them: in a picture straightened by the eyes,
morphological top-hats show what is thin (Serra 1982), and the best closed path around each eye, by dynamic programming
in polar coordinates, is a rim if it stands out well below the eyes as well, where skin is smooth. Nothing here is
learned; wrinkles, brush strokes and brows make no closed path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perfcap.head import Camera, place, unproject
from perfcap.landmarks import LEFT_EYE, OUTER_EYES, RIGHT_EYE
from runtime.records import N_FACE, Motion
from synth.matte import fill
from synth.raster import Canvas
from synth.rig import smoothstep

UNIT_PX = 160  # between the outer eye corners in the straightened picture
SIZE = (400, 280)  # px of it
EYES_AT = (0.5, 0.42)  # of it, where the middle between the eyes lies
THICKEST = 15  # px, what counts as thin
MOST = 60.0  # grey levels by which anything stands out at most
LENS = (0.55, 1.35)  # of an eye's width, how far from its middle a rim may be
LOWERED = 0.2  # of an eye's width, by how much nearer above the eye
WIDER = 0.85  # of a lens' width, its height
LOWER = 0.12  # of an eye's width, how far below the eye the middle of a lens is
LASHES, LIDS = 1.2, 1.25  # times an eye, where lashes end; and what lids and liner take
EDGE = (0.35, 0.75)  # of how much a rim stands out: nothing of it, and all of a pixel
N_ANGLES, N_RADII = 96, 56
BEND = 2.5  # grey levels that a rim's radius may cost for one step aside
BELOW = 0.3  # sine of the angles that count as below an eye
SURE = (1.2, 2.75)  # a rim's weakest fifth below the eye over the median around: of each eye, and of both together
THICK = 40.0  # grey levels by which the weakest fifth of thick rims stands out
HELD_PX = 16.0, 36.0  # from a thick rim, straightened: skin within the first is held, beyond the second free
HELD = 0.35  # how firmly; brows behind thick rims should still be seen to rise
BAND = 12  # px of the straightened picture on both sides of a path that may be rim
HINGE_BAND = 7  # the same beside a hinge, which is thinner and near the face's edge
HINGE_PX = 14  # px of the straightened picture from a rim outwards, where it goes over into its arm
BLINK = (0.3, 0.95)  # of the picture's gap between lids, over which corners of eyes are pulled down, and no skull is
BEHIND = 0.1  # units, how far behind the bridge of the nose the middle of them is
AWAY = 0.2  # cosine of the turn beyond which they are not seen
BRIDGE = (168, 6)  # landmarks of the nose, between the eyes
LID_MIDDLES = ((159, 145), (386, 374))  # landmarks of each eye's upper and lower lid
SKULL = (168, 6, 197, 133, 362, 33, 263)  # landmarks that say where the skull is, more exactly than its pose does


@dataclass(frozen=True)
class _Straight:
    """The surroundings of the eyes, straightened."""

    thin: NDArray[np.float32]  # [h, w] grey levels by which something thin stands out; none between lids
    apart: NDArray[np.float32]  # [h, w] the same, none at lids and lashes either
    points: NDArray[np.float32]  # [468, 2] px
    to_straight: NDArray[np.float32]  # [2, 3] from px of the picture


def find_glasses(rgb: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """How much of each pixel of a picture [H, W, 3] is rim or bridge, [H, W] 0..1; None without glasses."""
    import cv2

    straight = _straightened(rgb, landmarks[:N_FACE, :2])
    paths, sure = [], []
    for ring in (RIGHT_EYE, LEFT_EYE):
        path, shown, likely = _rim(straight, straight.points[list(ring)])
        paths.append((path, shown))
        sure.append(likely)
    if min(sure) < SURE[0] or sum(sure) < SURE[1]:
        return None
    paths += [
        _bridge(straight, paths[0][0], paths[1][0]),
        _hinge(straight, paths[0][0], -1),
        _hinge(straight, paths[1][0], 1),
    ]
    cover = np.zeros_like(straight.thin)
    for (path, shown), band in zip(paths, (BAND, BAND, BAND, HINGE_BAND, HINGE_BAND), strict=True):
        near = np.zeros(cover.shape, np.uint8)
        level = np.zeros_like(cover)
        for (x, y), v in zip(path, shown, strict=True):
            cv2.circle(near, (round(float(x)), round(float(y))), band, 1, -1)
            cv2.circle(level, (round(float(x)), round(float(y))), band + 2, float(max(v, 12.0)), -1)
        cover = np.maximum(cover, near * smoothstep(straight.thin / np.maximum(level, 1), *EDGE))
    cover = cv2.GaussianBlur(cover.astype(np.float32), (0, 0), 0.8)
    back = cv2.invertAffineTransform(_centred(straight.to_straight))
    return np.asarray(cv2.warpAffine(cover, back, rgb.shape[1::-1], flags=cv2.INTER_LINEAR), np.float32)


def _centred(move: NDArray[np.float32]) -> NDArray[np.float32]:
    """An affine map [2, 3] of continuous px as OpenCV wants it, the first pixel's middle at 0."""
    out = move.copy()
    out[:, 2] += move[:, :2] @ np.array((0.5, 0.5), np.float32) - 0.5
    return out


def _straightened(rgb: NDArray[np.uint8], points: NDArray[np.float32]) -> _Straight:
    import cv2

    a, b = points[list(OUTER_EYES)]
    unit = max(float(np.linalg.norm(b - a)), 1.0)
    c, s = (b - a) / unit * (UNIT_PX / unit)
    turn = np.array(((c, s), (-s, c)), np.float32)
    move = np.column_stack((turn, np.array(SIZE) * EYES_AT - turn @ ((a + b) / 2))).astype(np.float32)
    way = cv2.INTER_AREA if unit > UNIT_PX else cv2.INTER_CUBIC
    seen = cv2.warpAffine(rgb, _centred(move), SIZE, flags=way, borderMode=cv2.BORDER_REPLICATE)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (THICKEST, THICKEST))
    light, dark = (cv2.morphologyEx(seen, how, kernel) for how in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT))
    thin = cv2.GaussianBlur(np.maximum(light, dark).max(-1).astype(np.float32), (0, 0), 1)
    straight = points @ turn.T + move[:, 2]
    thin = np.minimum(thin, MOST)
    apart = thin.copy()
    for ring in (RIGHT_EYE, LEFT_EYE):
        outline = straight[list(ring)]
        middle = outline.mean(0)
        for layer, grow in ((thin, LASHES), (apart, LIDS)):
            cv2.fillPoly(layer, [np.round(middle + (outline - middle) * grow).astype(np.int32)], 0.0)
    return _Straight(thin, apart, straight.astype(np.float32), move)


def _rim(straight: _Straight, eye: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """The most likely rim around an eye [N, 2] px: a path [A, 2], how much it stands out [A], and how sure it is."""
    import cv2

    width = float(np.ptp(eye[:, 0]))
    middle = eye.mean(0) + np.array((0, LOWER * width), np.float32)
    angle = np.linspace(0, 2 * np.pi, N_ANGLES, endpoint=False)
    least = LENS[0] - LOWERED * np.maximum(-np.sin(angle), 0)  # a flat lens ends just above the lids
    radius = np.linspace(least, LENS[1], N_RADII, axis=1) * width
    x = (middle[0] + np.cos(angle)[:, None] * radius).astype(np.float32)
    y = (middle[1] + np.sin(angle)[:, None] * radius * WIDER).astype(np.float32)
    shown = cv2.remap(straight.apart, x - 0.5, y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    at = _best_path(np.concatenate((shown, shown, shown)))[N_ANGLES : 2 * N_ANGLES]  # its ends meet in the middle round
    each = np.arange(N_ANGLES)
    stands_out = shown[each, at]
    below = stands_out[np.sin(angle) > BELOW]
    sure = float(np.percentile(below, 20) / max(float(np.median(shown)), 1.0))
    return np.stack((x[each, at], y[each, at]), 1), np.asarray(stands_out, np.float32), sure


def _bridge(
    straight: _Straight, right: NDArray[np.float32], left: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The path [N, 2] from one rim to the other over the nose, and how much it stands out [N]."""
    x0, x1 = int(right[:, 0].max()), int(left[:, 0].min()) + 1
    if x1 - x0 < 2:
        return np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
    middle = SIZE[1] * EYES_AT[1]
    y0, y1 = int(middle - 0.4 * UNIT_PX), int(middle + 0.12 * UNIT_PX)
    shown = straight.apart[y0:y1, x0:x1].T
    at = _best_path(shown)
    each = np.arange(len(shown))
    return np.stack((each + x0 + 0.5, at + y0 + 0.5), 1).astype(np.float32), np.asarray(shown[each, at], np.float32)


def _hinge(
    straight: _Straight, rim: NDArray[np.float32], aside: Literal[-1, 1]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The path [N, 2] from a rim to where its arm goes back, and how much it stands out [N]; skin bends what it holds."""
    at_rim = rim[int((rim[:, 0] * aside).argmax()), 0]
    x = (at_rim + aside * np.arange(1, HINGE_PX + 1)).astype(int)
    x = x[(x >= 0) & (x < SIZE[0])]
    middle = SIZE[1] * EYES_AT[1]
    y0, y1 = int(middle - 0.25 * UNIT_PX), int(middle + 0.12 * UNIT_PX)
    if not len(x):
        return np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
    shown = straight.apart[y0:y1, x].T
    at = _best_path(shown)
    path = np.stack((x + 0.5, at + y0 + 0.5), 1).astype(np.float32)
    return path, np.asarray(shown[np.arange(len(x)), at], np.float32)


def _best_path(shown: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which column [N] of each row of [N, M] a path takes that collects the most and bends little (Viterbi)."""
    n = shown.shape[1]
    column = np.arange(n)
    total, came = shown[0].astype(np.float64), []
    for row in shown[1:]:
        best, source = total.copy(), column.copy()
        for step in (-2, -1, 1, 2):
            from_there = np.full(n, -np.inf)
            to = slice(max(0, step), n + min(0, step))
            from_there[to] = total[max(0, -step) : n - max(0, step)] - BEND * abs(step)
            better = from_there > best
            best[better], source[better] = from_there[better], column[better] - step
        came.append(source)
        total = best + row
    path = [int(total.argmax())]
    for source in reversed(came):
        path.append(int(source[path[-1]]))
    return np.array(path[::-1])


def find_thick_glasses(rgb: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """How much each landmark [468, 1] of a picture [H, W, 3] is held by glasses too thick to be taken out, 0..1; None
    without such. Their rims stand out as far as anything does, all around both eyes and over the nose."""
    straight = _straightened(rgb, landmarks[:N_FACE, :2])
    right, left = (_rim(straight, straight.points[list(ring)])[:2] for ring in (RIGHT_EYE, LEFT_EYE))
    paths = (right, left, _bridge(straight, right[0], left[0]))
    if min(float(np.percentile(shown, 20)) if len(shown) else 0.0 for _, shown in paths) < THICK:
        return None
    rims = np.concatenate([path for path, _ in paths])
    gap = np.linalg.norm(straight.points[:, None] - rims[None], axis=-1).min(1)
    held = 1 - smoothstep(gap, *HELD_PX)
    held[list(RIGHT_EYE + LEFT_EYE)] = 0
    return held[:, None]


def hold(face: NDArray[np.float32], rest: NDArray[np.float32], held: NDArray[np.float32]) -> NDArray[np.float32]:
    """A face [478, 3] whose skin under thick glasses goes with the skull, as `rest` has it, more than with the face."""
    moved = (face - rest)[:N_FACE]
    out = face.copy()
    out[:N_FACE] -= HELD * held * (moved - moved[list(SKULL)].mean(0))
    return out


class Glasses:
    """A character's glasses, drawn where the skull is."""

    def __init__(
        self, rgb: NDArray[np.uint8], cover: NDArray[np.float32],
        camera: Camera, head: NDArray[np.float32], face: NDArray[np.float32],
    ) -> None:  # fmt: skip
        """From a picture [H, W, 3] and how much of each pixel is theirs [H, W]; `head` and `face` are the picture's."""
        y, x = np.nonzero(cover > 0.02)
        part = (slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1))
        self._corner = np.array((x.min(), y.min()), np.float32)
        self._camera = camera
        self.clean = without(rgb, cover)
        alpha, bare = cover[part][..., None], self.clean[part].astype(np.float32)
        # Their own colour: what has to be laid over bare skin to give the picture back.
        own = rgb[part] - bare * (1 - alpha)
        self._layer = np.dstack((np.clip(own, 0, 255 * alpha), alpha)).astype(np.float32)
        h, w = alpha.shape[:2]
        self._frame = np.array(((0, 0), (w, 0), (w, h), (0, h)), np.float32)
        depth = np.float32(face[list(BRIDGE), 2].mean() + BEHIND)
        self._local = unproject(camera, head, self._frame + self._corner, depth)
        self._rest = face
        self._lids_apart = max(_lids_apart(face), 1e-3)

    def draw(self, canvas: Canvas, landmarks: NDArray[np.float32], motion: Motion) -> None:
        """Draw them over a picture whose landmarks [478, 2] px are given."""
        import cv2

        if motion.head[2, 2] < AWAY:
            return
        camera, skull = self._camera, list(SKULL)
        slip = (landmarks[skull] - camera.project(place(motion.head, self._rest[skull]))).mean(0)
        slip[1] *= smoothstep(np.array(_lids_apart(motion.face) / self._lids_apart), *BLINK)
        corners = camera.project(place(motion.head, self._local)) + slip
        H, W = canvas.painted.shape
        x0, y0 = (max(0, int(v)) for v in np.floor(corners.min(0)))
        x1, y1 = (min(n, int(v)) for n, v in zip((W, H), np.ceil(corners.max(0)), strict=True))
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        move = cv2.getPerspectiveTransform(self._frame - 0.5, (corners - (x0, y0) - 0.5).astype(np.float32))
        layer = cv2.warpPerspective(self._layer, move, (x1 - x0, y1 - y0), flags=cv2.INTER_CUBIC)
        alpha = np.clip(layer[..., 3], 0, 1)
        colour = np.clip(layer[..., :3] / np.maximum(alpha, 1e-3)[..., None], 0, 255)
        canvas.lay(x0, y0, colour, alpha)


def _lids_apart(face: NDArray[np.float32]) -> float:
    """Of both eyes of a face [478, 3], units."""
    return float(sum(np.linalg.norm(face[upper] - face[lower]) for upper, lower in LID_MIDDLES))


def without(rgb: NDArray[np.uint8], cover: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture [H, W, 3] with what is covered [H, W] filled from around it."""
    import cv2

    hidden = cv2.dilate((cover > 0.05).astype(np.uint8), np.ones((3, 3), np.uint8))
    y, x = np.nonzero(hidden)
    pad = 24
    part = (
        slice(max(0, int(y.min()) - pad), int(y.max()) + pad),
        slice(max(0, int(x.min()) - pad), int(x.max()) + pad),
    )
    out = rgb.copy()
    filled = fill(np.ascontiguousarray(rgb[part]), (1 - hidden[part]).astype(np.float32))
    out[part] = np.where(hidden[part][..., None] > 0, filled, rgb[part])
    return out
