"""Eyes that look around inside lids that close: a sclera, an iris on it, and the lids' edge over both.

The sclera is the picture's own, with the iris painted out; the iris is the picture's own, completed
where the lids hid it. While an eye is as the picture shows it, the picture itself is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.landmarks import (
    LEFT_EYE,
    LEFT_IRIS,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    RIGHT_EYE,
    RIGHT_IRIS,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)
from synth.matte import fill
from synth.raster import Canvas
from synth.rig import LEFT_CREASE, RIGHT_CREASE, Character, Skin, eye_rows, smoothstep

LUMA = np.array((0.299, 0.587, 0.114), np.float32)
BALL_LIT = 0.8  # of the way from the white that a picture shows to its skin's light: the middle of the ball has that
BALL = 0.35  # of an eye's width, how far an iris is from the middle of its ball (10.5 mm of 30)
WHITEST = 75  # percentile of the white that a picture shows between lids, corners and iris: nothing of it is lighter
UNCOVERED = (0.7, 1.3)  # radii of an iris, where what a glance uncovers ends: from there on the picture's own is known
UNPAINTED = 0.5  # of the skin's light: an open eye without white, all but a tenth of which is lighter, is of clay
OPEN = 0.1  # gap of the lids over the eye's width, from which something between them would be seen
TINGE = 0.35  # of the skin's tint that a white has which the picture does not show
SHADED = (0.4, 0.7)  # of the light that a white may have: below the first it is in the deepest shade
CLAY = (0.3, 0.45)  # colourfulness of a white from which what a glance uncovers is no greyer
TINTED = 40.0  # grey levels between channels, above those of the whitest fifth, from which a pixel is iris
LID_SHADE, CORNER_SHADE = 0.2, 0.16  # share of the ball's light that the upper lid and the corners take
LID_REACH = 0.07  # of the eye's width, how far down the lid's shadow falls to a third
ASIDE = 0.75  # of that, the farthest aside that an iris is drawn turned for: drawn eyes are flatter
GLINT = 0.53  # of an iris' way, how far a lamp's reflection goes: the cornea bends around a point behind the iris
ON_WHITE = 0.3  # of a reflection, what is seen of it beside the iris: a white is rough
GLINT_SIZE = 0.45  # of an iris' radius, what counts as one at most
GLINT_BRIGHT = 20.0  # grey levels above what is around it, from which it does
GLINT_LIGHT = (0.4, 0.65)  # of the white's light: below the first a bright spot is the iris' own
GLINT_PALE = (0.3, 0.6)  # least over most of its channels: below the first it is coloured as irises are
GRAIN = (0.45, 0.7, 0.95)  # of the eye's width, how far below a lid its grain is from: the nearest skin that shows
LINE = 0.5  # of the lid's light, at most: shut lashes are darker than an open lid's
FINE = 4  # sub-pixel factor of masks (OpenCV's fixed-point shift is 2 bits)


@dataclass(frozen=True)
class EyeParts:
    """Which landmarks make one eye."""

    ring: tuple[int, ...]
    upper: tuple[int, ...]
    lower: tuple[int, ...]
    iris: tuple[int, ...]
    crease: tuple[int, ...]
    number: int  # in the rig's rows along the lids


EYES = (
    EyeParts(RIGHT_EYE, RIGHT_LID_UPPER, RIGHT_LID_LOWER, RIGHT_IRIS, RIGHT_CREASE, 0),
    EyeParts(LEFT_EYE, LEFT_LID_UPPER, LEFT_LID_LOWER, LEFT_IRIS, LEFT_CREASE, 1),
)


def polygon(shape: tuple[int, ...], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Antialiased coverage [h, w] 0..255 of a polygon [N, 2] in continuous pixels."""
    import cv2

    mask = np.zeros((shape[0] * FINE, shape[1] * FINE), np.uint8)
    fixed = np.round((points * FINE - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, shift=4)
    return np.asarray(cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_AREA))


def curve(points: NDArray[np.float32], n: int = 4) -> NDArray[np.float32]:
    """Catmull-Rom through open points [N, 2], n pieces each."""
    return np.asarray(_catmull_rom(len(points), n) @ points)


@cache
def _catmull_rom(n_points: int, n: int) -> NDArray[np.float32]:  # [(n_points - 1) n + 1, n_points]
    """The curve is linear in its points: what each of them counts for at each place."""
    one = np.eye(n_points)
    p = np.concatenate((2 * one[:1] - one[1:2], one, 2 * one[-1:] - one[-2:-1]))
    t = (np.arange(n) / n)[None, :, None]
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    out = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3)
    return np.asarray(np.concatenate((out.reshape(-1, n_points), one[-1:])), np.float32)


def middle(two: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of two points [2, ...]; NumPy's mean takes ten times as long."""
    return np.asarray((two[0] + two[1]) / 2, np.float32)


def opening(upper: NDArray[np.float32], lower: NDArray[np.float32]) -> float:
    """Widest gap of the lids over the eye's width."""
    return float(np.linalg.norm(upper - lower, axis=1).max() / max(np.linalg.norm(upper[0] - upper[-1]), 1e-6))


class Eye:
    """One eye of a character."""

    def __init__(self, character: Character, parts: EyeParts, skin: Skin) -> None:
        self._parts = parts
        self._lash, self._inner, self._under = (list(row) for row in eye_rows(parts.number, parts.upper))
        self._lid_height = self._height(skin.points)
        self._build(character, skin)

    def _height(self, vertices: NDArray[np.float32]) -> float:
        """Of the skin between crease and lashes, mean px."""
        crease, lash = vertices[list(self._parts.crease[2:-2])], vertices[self._lash[2:-2]]
        return float(np.linalg.norm(crease - lash, axis=1).mean())

    def _build(self, character: Character, skin: Skin) -> None:
        import cv2

        parts = self._parts
        points = character.landmarks[:, :2]
        self._corners = points[[parts.upper[0], parts.upper[-1]]]
        self._width = float(np.linalg.norm(self._corners[1] - self._corners[0]))
        self._opening = opening(points[list(parts.upper)], points[list(parts.lower)])
        centre = points[parts.iris[0]]
        self._radius = float(np.linalg.norm(points[list(parts.iris[1:])] - centre, axis=1).mean())

        pad = 0.9 * self._width
        H, W = character.rgb.shape[:2]
        between = middle(self._corners)
        x0, y0 = (max(0, int(v - pad)) for v in between)
        x1, y1 = min(W, int(between[0] + pad) + 1), min(H, int(between[1] + pad) + 1)
        self.offset = np.array((x0, y0), np.float32)
        part = np.ascontiguousarray(character.rgb[y0:y1, x0:x1])
        ring = (
            np.concatenate((curve(points[list(parts.upper)])[:-1], curve(points[list(parts.lower)])[:0:-1]))
            - self.offset
        )
        inside = polygon(part.shape[:2], ring.astype(np.float32)).astype(np.float32) / 255
        self._radius *= iris_share(part, inside, centre - self.offset, self._radius)
        self._iris_at = centre
        self._iris_off = self._in_eye(centre, self._corners)
        gap = max(self._opening * self._width, 1.0)
        rim = max(1, round(0.10 * gap))
        clean = cv2.erode(inside, np.ones((2 * rim + 1, 3), np.uint8))  # lashes darken the lids' edge
        grid = np.stack(np.meshgrid(np.arange(part.shape[1]), np.arange(part.shape[0])), -1) + 0.5
        from_iris = np.linalg.norm(grid - (centre - self.offset), axis=-1).astype(np.float32)
        white, brightest = self._white(part, clean * (from_iris > 1.18 * self._radius), inside)
        # The eye without its iris, where `offset` is its first pixel's place in the picture.
        self.sclera = self._lit(white, brightest, from_iris / self._radius)
        self._iris = self._disc(part, clean, centre - self.offset)
        self._glints = self._reflected(self._iris, brightest)
        self._iris[..., :3] -= self._glints
        self._lid = self._bare(part, points, inside)
        self._line = self._lash_colour(part, skin.points)

    def _lash_colour(self, part: NDArray[np.uint8], vertices: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the line that lashes make when the lids are shut [3]: the darkest that the upper lid's edge shows."""
        band = np.concatenate((curve(vertices[self._lash]), curve(vertices[self._inner])[::-1])) - self.offset
        edge = part[polygon(part.shape[:2], band) > 127].astype(np.float32)
        if len(edge) < 4:
            edge = part.reshape(-1, 3).astype(np.float32)
        luma = edge @ LUMA
        dark = edge[luma <= np.percentile(luma, 20)].mean(0)
        lid = float((self._lid.astype(np.float32) @ LUMA).mean())
        return np.asarray(dark * min(1.0, LINE * lid / max(float(dark @ LUMA), 1.0)), np.float32)

    def _white(
        self, part: NDArray[np.uint8], known: NDArray[np.float32], inside: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], float]:
        """The eye without its iris [h, w, 3], and how light it may be; where the picture shows none, a light grey."""
        luma = part.astype(np.float32) @ LUMA
        # A few bright pixels must not make an eye shine: it is no lighter than the skin around it, or what is surely white.
        around = luma[inside < 0.1]
        brightest = float(np.percentile(around, 75)) if around.size else 255.0
        seen = luma[known > 0.5]
        if known.sum() > 0.08 * self._width**2 * 0.3 and seen.size:
            known = known * (luma >= 0.85 * np.percentile(seen, 60))  # corners, lashes and liner are not sclera
            tint = np.ptp(part.astype(np.float32), axis=-1)
            if (known > 0.5).any():
                known = known * (tint < np.percentile(tint[known > 0.5], 20) + TINTED)
            brightest = max(brightest, float(np.percentile(seen, WHITEST)))
        if known.sum() < 6:
            light = float(np.percentile(around, 70)) if around.size else 150.0
            tone = part[inside < 0.1].mean(0) if around.size else np.full(3, light, np.float32)
            between = part[inside > 0.5].astype(np.float32)
            if self._opening > OPEN and float(np.percentile(between @ LUMA, 10)) > UNPAINTED * light:
                return np.broadcast_to(np.median(between, 0).astype(np.uint8), part.shape).copy(), brightest
            colour = np.clip(light * (1 + TINGE * (tone / max(float(tone @ LUMA), 1.0) - 1)), 0, 255)
            return np.broadcast_to(colour.astype(np.uint8), part.shape).copy(), brightest
        white = fill(part, known.astype(np.float32)).astype(np.float32)
        capped = white * np.minimum(1, brightest / np.maximum(white @ LUMA, 1))[..., None]
        return np.asarray(capped, np.uint8), brightest

    @staticmethod
    def _lit(white: NDArray[np.uint8], brightest: float, from_iris: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The white [h, w, 3] as bright as it is where the iris was: the corners that a picture shows lie in shade.

        `from_iris` [h, w] is the distance from the iris' middle in its radii.
        """
        luma = white @ LUMA
        gain = 1 + BALL_LIT * np.maximum(brightest / np.maximum(luma, 1) - 1, 0)
        share = (1 - smoothstep(from_iris, *UNCOVERED))[..., None]
        tint = np.ptp(white.astype(np.float32), axis=-1) / np.maximum(white.max(-1), 1)
        lit = smoothstep(
            luma / max(brightest, 1.0), *SHADED
        )  # what lies in shade has taken the skin's colour: it is whiter
        grey = (0.8 - lit * (0.3 + 0.5 * smoothstep(tint, *CLAY)))[..., None]
        pale = white + grey * (luma[..., None] - white) * share
        return np.asarray(np.clip(pale * (1 + (gain[..., None] - 1) * share), 0, 255), np.uint8)

    def _bare(
        self, part: NDArray[np.uint8], points: NDArray[np.float32], inside: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """The skin around the eye without eye, lashes and liner [h, w, 3]: what a closing lid unfolds."""
        import cv2

        reach = max(2, round(0.11 * self._width))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        hidden = cv2.dilate((inside > 0.02).astype(np.uint8), kernel)
        brow = points[[70, 63, 105, 66, 107] if self._parts.number == 0 else [336, 296, 334, 293, 300]] - self.offset
        line = brow.round().astype(np.int32)
        cv2.polylines(hidden, [line], False, 1, max(2, round(0.3 * self._width)))  # nor does a lid unfold brow
        known = (hidden == 0).astype(np.float32)
        if known.sum() < 16:
            return part
        skin = fill(part, known).astype(np.float32)
        coarse = max(1.0, 0.05 * self._width)
        soft = cv2.GaussianBlur(skin, (0, 0), coarse)
        # The grain of the skin below the eye, so that the unfolded lid is not smoother than the picture.
        detail = part.astype(np.float32) - cv2.GaussianBlur(part.astype(np.float32), (0, 0), coarse)
        grain, bare = np.zeros_like(detail), hidden > 0
        for share in GRAIN:
            down = min(round(share * self._width), len(detail) - 1)
            below = detail[down:] * (hidden[down:, :, None] == 0)
            grain[:-down][bare[:-down]] = below[bare[:-down]]
            bare[:-down] &= hidden[down:] > 0
        limit = 2.5 * float(np.std(grain)) + 1
        skin = np.where(hidden[..., None] > 0, soft + np.clip(grain, -limit, limit), skin)
        return np.asarray(np.clip(skin, 0, 255), np.uint8)

    def _disc(
        self, part: NDArray[np.uint8], clean: NDArray[np.float32], centre: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The whole iris [n, n, 4] at twice the picture's resolution, its centre in the middle."""
        import cv2

        r = self._radius
        n = max(8, int(np.ceil(2.6 * r * 2)))
        self._iris_scale = 2.0
        move = np.array([[0.5, 0, centre[0] - n / 4], [0, 0.5, centre[1] - n / 4]], np.float32)
        move[:, 2] += move[:, :2] @ (0.5, 0.5) - 0.5
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        colour = cv2.warpAffine(part, move, (n, n), flags=flags, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        seen = cv2.warpAffine(clean, move, (n, n), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        grid = (np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1) + 0.5 - n / 2) / 2
        radius = np.linalg.norm(grid, axis=-1)
        seen = seen * (radius < 1.1 * r)
        if seen.sum() < 0.1 * np.pi * (2 * r) ** 2:  # shut in the picture: a dark iris of no certain colour
            dark = np.clip(40 + 30 * (radius / r) - 40 * (radius < 0.45 * r), 8, 90)
            colour = dark[..., None] * np.array((1.0, 0.8, 0.65))
        else:
            # What the lids hide: its mirror image below or above, else the mean of its ring.
            bins = np.minimum((radius / r * 8).astype(int), 9)
            ring = np.zeros((10, 3), np.float32)
            total = np.bincount(bins.ravel(), seen.ravel(), 10)
            for k in range(3):
                ring[:, k] = np.bincount(bins.ravel(), (colour[..., k] * seen).ravel(), 10) / np.maximum(total, 1e-6)
            for b in range(1, 10):
                if total[b] < 2:
                    ring[b] = ring[b - 1]
            for b in range(8, -1, -1):
                if total[b] < 2:
                    ring[b] = ring[b + 1]
            guess = ring[bins]
            flip, flip_seen = colour[::-1], seen[::-1] * (1 - seen) * 0.9
            whole = colour * seen[..., None] + flip * flip_seen[..., None]
            weight = seen + flip_seen
            colour = whole + guess * (1 - weight)[..., None]
        soft = max(0.8, 0.14 * r)
        alpha = 1 - smoothstep(radius, r - soft * 0.5, r + soft * 0.8)
        return np.dstack((np.clip(colour, 0, 255), alpha * 255)).astype(np.float32)

    def _reflected(self, iris: NDArray[np.float32], white: float) -> NDArray[np.float32]:
        """What lamps and windows add to an iris [n, n, 4]: small, and brighter than what is around it; [n, n, 3]."""
        import cv2

        reach = max(1, round(GLINT_SIZE * self._radius * self._iris_scale))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        colour = np.ascontiguousarray(iris[..., :3])
        added = colour - cv2.morphologyEx(colour, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)
        pale = added.min(-1) / np.maximum(added.max(-1), 1)
        sure = smoothstep(added @ LUMA, 0.5 * GLINT_BRIGHT, 1.5 * GLINT_BRIGHT) * (iris[..., 3] > 230)
        sure *= smoothstep(colour @ LUMA / max(white, 1.0), *GLINT_LIGHT) * smoothstep(pale, *GLINT_PALE)
        return np.asarray(added * cv2.GaussianBlur(sure, (0, 0), 0.7)[..., None], np.float32)

    @staticmethod
    def _in_eye(point: NDArray[np.float32], corners: NDArray[np.float32]) -> NDArray[np.float32]:
        """A point in the eye's own frame: origin mid-corners, x along the corners, unit their distance."""
        x = corners[1] - corners[0]
        size2 = max(float(x @ x), 1e-6)
        d = point - middle(corners)
        return np.array((d @ x, x[0] * d[1] - x[1] * d[0]), np.float32) / size2

    def draw(self, canvas: Canvas, points: NDArray[np.float32], vertices: NDArray[np.float32]) -> None:
        """Draw the eye into a picture, given its landmarks [478, 2] px and the warp's vertices [V, 2] px."""
        parts = self._parts
        upper, lower = points[list(parts.upper)], points[list(parts.lower)]
        self._draw_lid(canvas, vertices, upper[[0, -1]])
        now = opening(upper, lower)
        off = self._in_eye(points[parts.iris[0]], upper[[0, -1]])
        moved = float(np.linalg.norm(off - self._iris_off))
        reshaped = abs(now - self._opening) / max(self._opening, 0.08)
        as_pictured = (1 - ramp(moved, 0.001, 0.008)) * (1 - ramp(reshaped, 0.10, 0.35))
        share = (1 - as_pictured) * ramp(now, 0.03, 0.08)
        shut = 1 - ramp(now, 0.03, 0.12)
        if shut > 0:
            self._draw_seam(canvas, upper, lower, shut)
            self._draw_line(canvas, upper, shut)
        if share > 0:
            self._draw_ball(canvas, points[parts.iris[0]], upper[[0, -1]], vertices, share)

    def _draw_lid(self, canvas: Canvas, vertices: NDArray[np.float32], corners: NDArray[np.float32]) -> None:
        """Unfold skin between crease and lashes where the picture's own would be stretched thin."""
        grown = self._height(vertices) / max(self._lid_height, 1e-6) / self._growth(corners)
        share = ramp(grown, 1.15, 1.9)
        if share <= 0:
            return
        crease, lash = curve(vertices[list(self._parts.crease)]), curve(vertices[self._lash])
        self._lay_skin(canvas, np.concatenate((crease, lash[::-1])), corners, share, 0.045)

    def _lay_skin(
        self,
        canvas: Canvas,
        outline: NDArray[np.float32],
        corners: NDArray[np.float32],
        share: float,
        edge: float,
    ) -> None:
        """Lay bare skin over an outline [N, 2] px, its edge as soft as a share of the eye's width."""
        box = _around(outline, canvas.rgb.shape, 4)
        if box is None:
            return
        x0, y0, x1, y1 = box
        origin, size = np.array((x0, y0), np.float32), (x1 - x0, y1 - y0)
        mask = self._soft(polygon((size[1], size[0]), outline - origin), edge)
        layer = self._sample(
            self._lid, self._turn(corners), middle(corners) - origin, middle(self._corners) - self.offset, size
        )
        canvas.lay(x0, y0, layer.astype(np.float32), mask * share)

    def _draw_seam(self, canvas: Canvas, upper: NDArray[np.float32], lower: NDArray[np.float32], share: float) -> None:
        """Cover with skin what of the eye the landmarks leave below a shut lid's edge."""
        corners = upper[[0, -1]]
        width = float(np.linalg.norm(corners[1] - corners[0]))
        down = np.array((corners[0, 1] - corners[1, 1], corners[1, 0] - corners[0, 0]), np.float32) / max(width, 1e-6)
        bulge = np.sin(np.linspace(0, np.pi, len(lower), dtype=np.float32))[:, None] * down * (0.14 * width)
        outline = np.concatenate((curve(upper), curve(lower + bulge)[::-1]))
        self._lay_skin(canvas, outline, corners, share, 0.015)

    def _draw_line(self, canvas: Canvas, upper: NDArray[np.float32], share: float) -> None:
        """Draw the lashes of lids that meet: a dark line that thins towards the corners and frays downwards."""
        along = curve(upper)
        width = float(np.linalg.norm(upper[-1] - upper[0]))
        down = np.array((upper[0, 1] - upper[-1, 1], upper[-1, 0] - upper[0, 0]), np.float32) / max(width, 1e-6)
        thick = np.sqrt(np.sin(np.linspace(0.01, 3.13, len(along), dtype=np.float32)))[:, None] * down * width
        for above, below, soft, strength in ((0.02, 0.03, 0.012, 0.75), (0.01, 0.10, 0.03, 0.3)):
            outline = np.concatenate((along - above * thick, (along + below * thick)[::-1]))
            box = _around(outline, canvas.rgb.shape, 4)
            if box is None:
                return
            x0, y0, x1, y1 = box
            mask = self._soft(polygon((y1 - y0, x1 - x0), outline - (x0, y0)), soft)
            canvas.lay(x0, y0, np.broadcast_to(self._line, (y1 - y0, x1 - x0, 3)), mask * (share * strength))

    def _draw_ball(
        self, canvas: Canvas, iris_at: NDArray[np.float32], corners: NDArray[np.float32],
        vertices: NDArray[np.float32], share: float,
    ) -> None:  # fmt: skip
        """Draw sclera and iris within the lids' inner edges."""
        top, bottom = curve(vertices[self._inner]), curve(vertices[self._under])
        box = _around(np.concatenate((top, bottom)), canvas.rgb.shape, 3)
        if box is None:
            return
        x0, y0, x1, y1 = box
        origin, size = np.array((x0, y0), np.float32), (x1 - x0, y1 - y0)
        turn = self._turn(corners)
        layer = self._sample(self.sclera, turn, middle(corners) - origin, middle(self._corners) - self.offset, size)
        layer = layer.astype(np.float32)
        half = np.full(2, self._iris.shape[0] / 2, np.float32)
        seen = turn @ self._seen_aside(self._in_eye(iris_at, corners)) / np.float32(self._iris_scale)
        iris = self._sample(self._iris, seen, iris_at - origin, half, size)
        layer += (iris[..., :3] - layer) * (iris[..., 3:] / 255)
        rest = middle(corners) + turn @ (self._iris_at - middle(self._corners))
        glints_at = rest + GLINT * (iris_at - rest) - origin
        glints = self._sample(self._glints, turn / np.float32(self._iris_scale), glints_at, half, size)
        layer = np.minimum(layer + glints * (ON_WHITE + (1 - ON_WHITE) * iris[..., 3:] / 255), 255)
        # The upper lid and its lashes throw a shadow on the ball; the corners lie deeper.
        width = float(np.linalg.norm(corners[1] - corners[0]))
        xs = np.arange(size[0], dtype=np.float32) + x0 + 0.5
        order = np.argsort(top[:, 0])
        under_lid = (np.arange(size[1], dtype=np.float32) + y0 + 0.5)[:, None] - np.interp(
            xs, top[order, 0], top[order, 1]
        )
        across = np.abs(xs - corners[:, 0].mean()) / max(width / 2, 1e-6)
        shade = (
            1
            - LID_SHADE * np.exp(-np.maximum(under_lid, 0) / (LID_REACH * width))
            - CORNER_SHADE * np.clip(across, 0, 1) ** 3
        )
        layer *= shade[..., None].astype(np.float32)
        mask = self._soft(polygon((size[1], size[0]), np.concatenate((top[:-1], bottom[:0:-1])) - origin), 0.02)
        canvas.lay(x0, y0, layer, mask * share)

    def _seen_aside(self, off: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a glance makes of the picture's iris [2, 2]: the farther aside on its ball, the narrower it is seen."""
        x = (self._corners[1] - self._corners[0]) / self._width
        frame = np.array(((x[0], -x[1]), (x[1], x[0])), np.float32)
        return frame @ _narrowed(off) @ np.linalg.inv(_narrowed(self._iris_off)) @ frame.T

    def _growth(self, corners: NDArray[np.float32]) -> float:
        return float(np.linalg.norm(corners[1] - corners[0])) / max(self._width, 1e-6)

    def _turn(self, corners: NDArray[np.float32]) -> NDArray[np.float32]:
        """The similarity's turn and scale [2, 2] that carries the picture's eye onto this one."""
        a, b = self._corners[1] - self._corners[0], corners[1] - corners[0]
        c, s = np.array((a @ b, a[0] * b[1] - a[1] * b[0])) / max(float(a @ a), 1e-6)
        return np.array(((c, -s), (s, c)), np.float32)

    def _soft(self, mask: NDArray[np.uint8], share: float) -> NDArray[np.float32]:
        """Coverage 0..1 with an edge as soft as a share of the eye's width."""
        import cv2

        return np.asarray(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(0.5, share * self._width)))

    @staticmethod
    def _sample(
        source: NDArray[Any],
        turn: NDArray[np.float32],
        to: NDArray[np.float32],
        of: NDArray[np.float32],
        size: tuple[int, int],
    ) -> NDArray[Any]:
        """Warp so that `of` (continuous px of the source) lands on `to`."""
        import cv2

        move = np.concatenate((turn, (to - turn @ of)[:, None]), 1)
        move[:, 2] += move[:, :2] @ np.array((0.5, 0.5), np.float32) - 0.5
        border = cv2.BORDER_CONSTANT if source.shape[2] == 4 else cv2.BORDER_REPLICATE
        return np.asarray(cv2.warpAffine(source, move, size, flags=cv2.INTER_LINEAR, borderMode=border))


def iris_share(
    part: NDArray[np.uint8], inside: NDArray[np.float32], centre: NDArray[np.float32], radius: float
) -> float:
    """Where the iris ends in a picture [h, w, 3], in radii of what the face mesh took it for: drawn eyes have large
    ones. 1 where no edge stands out."""
    import cv2

    angles = np.radians(np.r_[-35:36:5, 145:216:5]).astype(np.float32)  # where lids seldom hide it
    radii = np.arange(0.6, 1.6, 0.05, dtype=np.float32)
    x = (centre[0] + radius * radii[:, None] * np.cos(angles) - 0.5).astype(np.float32)
    y = (centre[1] + radius * radii[:, None] * np.sin(angles) - 0.5).astype(np.float32)
    colour = cv2.remap(part.astype(np.float32), x, y, cv2.INTER_LINEAR)  # [R, A, 3]
    open_there = cv2.remap(inside, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) > 0.9
    both = open_there[:-4] & open_there[4:]
    n = both.sum(1)
    step = (np.linalg.norm(colour[4:] - colour[:-4], axis=-1) * both).sum(1) / np.maximum(n, 1)
    step[n < 8] = 0
    best, usual = float(step.max()), float(step[np.abs(radii[2:-2] - 1).argmin()])
    return float(radii[2:-2][step.argmax()]) if best > max(30.0, 1.2 * usual) else 1.0


def _narrowed(off: NDArray[np.float32]) -> NDArray[np.float32]:
    """How a disc on the eye's ball is seen [2, 2] whose middle is `off` from the eye's, in widths of the eye."""
    aside = float(np.linalg.norm(off))
    sine = min(aside / BALL, ASIDE)
    way = off / np.float32(max(aside, 1e-6))
    return np.asarray(np.eye(2) + (np.sqrt(1 - sine**2) - 1) * np.outer(way, way), np.float32)


def ramp(x: float, low: float, high: float) -> float:
    return float(smoothstep(np.array(x), low, high))


def _around(points: NDArray[np.float32], shape: tuple[int, ...], rim: int) -> tuple[int, int, int, int] | None:
    """The pixel box x0, y0, x1, y1 around points [N, 2] within a picture, if there is any."""
    (x0, y0), (x1, y1) = np.floor(points.min(0)).astype(int) - rim, np.ceil(points.max(0)).astype(int) + rim
    x0, y0, x1, y1 = max(0, int(x0)), max(0, int(y0)), min(shape[1], int(x1)), min(shape[0], int(y1))
    return (x0, y0, x1, y1) if x1 - x0 > 1 and y1 - y0 > 1 else None
