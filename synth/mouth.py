"""The inside of the mouth: teeth, gums and tongue between the lips, in the picture's own light and colours.

Two rows of teeth stand on elliptic cylinders in the head's frame: the upper one is fixed to the skull, the
lower one and the tongue turn with the jaw. Their relief and outlines were learned from a 3-D face
(`synth/training/mouth.py`); the colours come from the picture. Each pixel between the lips looks along its
ray for what it meets, and is lit by what it sees of the outside through the open lips. The picture is a
smooth function of what goes in, so it does not flicker unless the landmarks do.

It knows nothing of the lips themselves: it fills their inner ring and a little more, and the caller lays
it under them. It does not know the character's own teeth unless the picture shows them, and then it takes
only their colour.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

WEIGHTS = Path(__file__).with_name("weights") / "mouth.npz"

# The ring of the inner lips: viewer's left corner, upper row, right corner, lower row back.
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
N_RING = len(INNER_LIPS)
UPPER_ROW, LOWER_ROW = [80, 81, 82, 13, 312, 311, 310], [88, 178, 87, 14, 317, 402, 318]
RIGHT_CORNER = 10  # place in the ring; the left corner is at 0
MIDLINE = (2, 164)  # under the nose: lips are drawn aside by what they say, teeth are not
# Sines of how far a head is turned: from the first its row of teeth goes on towards the far corner, from the second wholly.
FAR_SIDE = (0.12, 0.35)
FAR_REACH = 1.5  # there, of the way to the corner of the lips at rest: a smile takes it farther
WIDEST = 2.2  # times as wide as the other half of the row
MARGIN_PX = 2  # painted beyond the ring, for the caller's soft edge

N_CHANNELS = 6  # tooth, gum, height, slope along the row, slope down, crevice
HEIGHT = 2
N_LEVELS = 5  # of each map, every one half as large as the one before
N_PROFILE = 64  # samples of the upper and lower lip from corner to corner


class Look(NamedTuple):
    """How light behaves between the lips, set on films of real mouths (numba takes a named tuple as it is)."""

    lips_before_teeth: float = 0.034  # where light enters, before the front teeth (1 = outer eye corners)
    from_above: float = 0.5  # share of the light that comes in under the upper lip
    crevice: float = 0.7  # how dark it is between two teeth, 0..1
    tongue_lift: float = 0.05  # of a tongue at rest, over the asset's flat one
    tongue_rise: float = 0.2  # more lift for each radian that the jaw opens
    throat: float = 0.15  # of the tongue's colour, where a ray meets nothing
    upper_down: float = 0.024  # of the upper teeth: people show more of them than the asset
    jaw_turn: float = 0.525  # of the learned angle; films of smiles, which the asset hardly has, set the rest
    jaw_chin: float = 0.433  # radians for the chin's way down
    jaw_smile: float = -0.158  # radians for the mouth's growing wider: it bares the lower teeth, the jaw stays
    jaw_ajar: float = 0.008  # radians
    teeth_depth: float = 2.0  # behind the lips, where the light on teeth has fallen to 1/e
    flesh_depth: float = 0.25  # behind the lips, where the light on tongue and throat has fallen to 1/e
    arched: float = 0.5  # share of how far the arch of teeth goes back that the lips before it do
    gloss: float = 0.22  # of wet teeth, in the light's own strength


LOOK = Look()

# What palette_from_picture makes of skin and lips, set on the same films.
TEETH_OVER_SKIN = 1.24
BRIGHTEST = 280.0  # teeth in full light: over white, since between lips no light is full
YELLOWEST = 0.72  # of teeth in a skin's light, their least channel over their most
IVORY = (1.0, 1.015, 0.985)
TONGUE_OVER_LIPS = (1.35, 1.22, 1.35)
GUM_OVER_LIPS = (1.2, 1.1, 1.2)
LIPS_OVER_SKIN = (0.9, 0.74, 0.78)  # at most
DARK_OVER_LIPS = (0.24, 0.07, 0.07)
# Where lips are as brown as skin, as in old paintings, an open mouth must be told by its dark alone: that is then as
# deep as the picture's own.
PINK = (0.86, 0.96)  # green over red and blue of lips, over the skin's: up to the first they are told by their colour
NOSTRILS = (0.45, 0.6)  # their light, over the skin's: the picture is deep up to the first, pale from the second
DEEPER = 0.7  # share of the light on tongue and throat that is then left out


@dataclass(frozen=True, kw_only=True)
class MouthPalette:
    """Colours of fully lit surfaces, RGB, and the light they are in. 255 is white; teeth in full light may be more."""

    teeth: tuple[float, float, float]
    gum: tuple[float, float, float]
    tongue: tuple[float, float, float]
    dark: tuple[float, float, float]  # where no light comes
    ambient: float = 0.5  # share of the light that has no direction, 0..1
    light: tuple[float, float, float] = (0.0, -0.5, -0.87)  # towards the light: x right, y down, z away
    teeth_shown: bool = False  # by the picture itself, between its lips

    def __post_init__(self) -> None:
        for name in ("teeth", "gum", "tongue", "dark"):
            colour = getattr(self, name)
            if len(colour) != 3 or not all(0 <= c <= 400 for c in colour):
                raise ValueError(f"{name} is {colour}, wanted three numbers from 0 to 400")
        if not 0 <= self.ambient <= 1:
            raise ValueError(f"ambient is {self.ambient}, wanted 0 to 1")


@dataclass(frozen=True)
class Interior:
    """What lies between the lips: pixels, and where their top left corner is in the picture."""

    rgb: NDArray[np.uint8]  # [h, w, 3]; meaningful within MARGIN_PX of the ring
    left: int
    top: int


@dataclass(frozen=True)
class _Maps:
    """One row of teeth, its smaller versions behind each other in one flat array."""

    flat: NDArray[np.float32]  # [sum of H * W * N_CHANNELS]
    levels: NDArray[np.int64]  # [N_LEVELS, 3]: offset, H, W
    chart: NDArray[np.float32]  # [8]: half-axes a, b, centre c, largest angle, y0, y1, lowest height, its range


@dataclass(frozen=True)
class _Anatomy:
    upper: _Maps
    lower: _Maps
    tongue: NDArray[np.float32]  # [Z, X], y of its upper side
    tongue_chart: NDArray[np.float32]  # [3]: largest x, nearest z, farthest z
    hinge: NDArray[np.float32]  # [2]: the jaw's y and z
    place: dict[str, NDArray[np.float32]]  # rest_mean, rest_std, place: see teeth_place
    jaw_angle: NDArray[np.float32]  # radians for each of jaw_features


@functools.cache
def _anatomy(path: Path = WEIGHTS) -> _Anatomy:
    with np.load(path) as data:
        rows = [_pyramid(data[k].astype(np.float32) / 255.0, data[f"{k}_chart"]) for k in ("upper", "lower")]
        place = {k: data[k] for k in ("rest_mean", "rest_std", "place")}
        tongue = data["tongue"].astype(np.float32)
        return _Anatomy(rows[0], rows[1], tongue, data["tongue_chart"], data["hinge"], place, data["jaw_angle"])


def _pyramid(maps: NDArray[np.float32], chart: NDArray[np.float32]) -> _Maps:
    flats, levels, offset = [], [], 0
    for _ in range(N_LEVELS):
        H, W = maps.shape[:2]
        flats.append(np.ascontiguousarray(maps, np.float32).ravel())
        levels.append((offset, H, W))
        offset += maps.size
        maps = cv2.resize(maps, (W // 2, H // 2), interpolation=cv2.INTER_AREA)
    return _Maps(np.concatenate(flats), np.array(levels, np.int64), chart.astype(np.float32))


def rest_features(neutral: Floats) -> NDArray[np.float64]:
    """[4] of a face at rest [478, 3]: the lips' line y, the mouth's width, from there to the nose, to the chin."""
    line = float(neutral[[13, 14], 1].mean())
    width = float(np.linalg.norm(neutral[308, :2] - neutral[78, :2]))
    return np.array([line, width, line - float(neutral[2, 1]), float(neutral[152, 1]) - line])


def motion_features(face: Floats, neutral: Floats) -> NDArray[np.float64]:
    """[6] of how a face [478, 3] has moved from rest: the nose; then against it chin, lower and upper lip, width.

    The nose hardly moves: what it seems to move is the head's pose, mistaken, and the teeth share it.
    """
    moved = (face - neutral).astype(np.float64)
    nose = float(moved[2, 1])
    width = np.linalg.norm(face[308, :2] - face[78, :2]) / np.linalg.norm(neutral[308, :2] - neutral[78, :2])
    chin, lower, upper = (float(moved[ids, 1].mean()) - nose for ids in ([152, 199], [14, 87, 317], [13, 82, 312]))
    return np.array([nose, float(moved[2, 0]), chin, lower, upper, float(width) - 1.0])


def teeth_size(rest: NDArray[np.float64], learned: dict[str, NDArray[np.float32]]) -> float:
    """Size of the teeth against the mean face's, of rest_features: teeth grow half as much as mouths do."""
    return float(learned["place"][0] * np.clip(np.sqrt(rest[1] / learned["rest_mean"][1]), 0.7, 1.6))


def teeth_shift(
    rest: NDArray[np.float64],  # [4], rest_features
    motion: NDArray[np.float64],  # [6], motion_features
    learned: dict[str, NDArray[np.float32]],
) -> NDArray[np.float64]:
    """How far [3] the upper teeth lie from the mean face's."""
    mean, std, place = (learned[k].astype(np.float64) for k in ("rest_mean", "rest_std", "place"))
    down = rest[0] - mean[0] + place_features(rest, motion, mean, std) @ place[3:]
    return np.array([place[2] * motion[1], down, place[1]])


def midline(neutral: Floats) -> float:
    """How far aside the middle of a face at rest [478, 3] lies in its head's frame, as its nose says."""
    return float(neutral[list(MIDLINE), 0].mean())


def place_features(
    rest: NDArray[np.float64], motion: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[4] that tell how far down the upper teeth lie."""
    return np.array([1.0, *np.clip((rest[2:] - mean[2:]) / std[2:], -3, 3), motion[0]])


def jaw_features(motion: NDArray[np.float64]) -> NDArray[np.float64]:
    """[6] that tell how far the jaw is turned: chin and lips against the nose."""
    chin, lower, upper, width = motion[2:]
    return np.array([1.0, chin, lower, upper, width, lower * lower])


class MouthInterior:
    """Draws the inside of one character's mouth.

    `neutral` is the character's face at rest, [478, 3] in the head's frame (1 = outer eye corners): the size
    and place of the teeth follow from it.
    """

    def __init__(self, palette: MouthPalette, neutral: Floats) -> None:
        self.palette = palette
        self._neutral = neutral
        self._anatomy = _anatomy()
        place = self._anatomy.place
        self._rest = rest_features(neutral)
        self._size = teeth_size(self._rest, place)
        self._aside = np.array([midline(neutral), LOOK.upper_down, 0.0])
        _, b, c = self._anatomy.upper.chart[:3]
        self._pivot = np.array([0.0, float(place["rest_mean"][0]), float(c - b)])
        self._lip_z = float(c - b) + float(place["place"][1]) - LOOK.lips_before_teeth

    def render(
        self,
        face: Floats,  # [478, 3] in the head's frame, 1 = outer eye corners at rest
        ring_px: Floats,  # [20, 2], its INNER_LIPS in the picture; the middle of the first pixel is 0.5
        head_to_px: Floats,  # [2, 4]: pixel = head_to_px @ [x, y, z, 1]
    ) -> Interior:
        """Fill the ring and MARGIN_PX beyond it."""
        if ring_px.shape != (N_RING, 2) or face.shape != self._neutral.shape:
            raise ValueError(f"the ring is {ring_px.shape} and the face {face.shape}, wanted (20, 2) and (478, 3)")
        motion = motion_features(face, self._neutral)
        shift = teeth_shift(self._rest, motion, self._anatomy.place) + self._aside
        A = np.asarray(head_to_px, np.float64)
        low = np.floor(ring_px.min(0)).astype(int) - MARGIN_PX - 1
        w, h = (np.ceil(ring_px.max(0)).astype(int) + MARGIN_PX + 1 - low).tolist()
        mask = np.zeros((h, w), np.uint8)
        local = ring_px.astype(np.float64) - low
        polygon = ((local - 0.5) * 16).round().astype(np.int32)
        cv2.fillPoly(mask, [polygon], 1, shift=4)
        cv2.polylines(mask, [polygon], True, 1, 2 * MARGIN_PX + 1, shift=4)

        x_axis, y_axis = A[0, :3], A[1, :3]
        away = np.cross(x_axis, y_axis)  # the direction of sight in the head's frame
        area = float(np.linalg.norm(away))
        away, scale = away / area, area**0.5
        back = A[:, :3].T @ np.linalg.inv(A[:, :3] @ A[:, :3].T)  # [3, 2]
        # A pixel's ray is start + x * across + y * down + t * away, t = 0 where it passes the lips.
        start, across, down = back @ (low + 0.5 - A[:, 3]), back[:, 0], back[:, 1]
        tilt = max(float(away[2]), 0.3)
        start, across, down = (
            v - away * ((v[2] - offset) / tilt) for v, offset in ((start, self._lip_z), (across, 0.0), (down, 0.0))
        )
        ray = np.stack([start, across, down, away])  # [4, 3]

        angle = self._jaw_angle(motion)
        jaw = self._jaw(face, angle)
        skull_rays = self._to_layer(ray, np.eye(3), np.zeros(3), shift)
        jaw_rays = self._to_layer(ray, jaw[:, :3], jaw[:, 3], shift)
        to_camera = np.stack([x_axis / np.linalg.norm(x_axis), y_axis / np.linalg.norm(y_axis), away])
        light = to_camera.T @ np.asarray(self.palette.light)

        profile, frame = _lip_profile(local)
        out = np.zeros((h, w, 3), np.uint8)
        p = self.palette
        colours = np.array([p.teeth, p.gum, p.tongue, p.dark], np.float32)
        up, lo = self._anatomy.upper, self._anatomy.lower
        _draw(
            out, mask, profile, frame, np.float32(scale), np.float32(scale * self._size), self._halves(away, shift),
            skull_rays.astype(np.float32), jaw_rays.astype(np.float32),
            up.flat, up.levels, up.chart, lo.flat, lo.levels, lo.chart,
            self._anatomy.tongue, self._anatomy.tongue_chart, LOOK,
            colours, light.astype(np.float32), (light @ jaw[:, :3]).astype(np.float32),
            np.float32(LOOK.tongue_lift + LOOK.tongue_rise * angle),
            np.float32(max(-float(light @ away), 0.2)), np.float32(p.ambient),
        )  # fmt: skip
        return Interior(out, int(low[0]), int(low[1]))

    def _halves(self, away: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float32]:
        """How wide [2] the left and the right half of the rows are made for this direction of sight, 1 as they are.

        Of a head turned aside the far half ends where its arch does, and the mesh has lips go on from there.
        """
        a, b = (float(v) for v in self._anatomy.upper.chart[:2])
        sine, cosine = away[[0, 2]] / max(float(np.hypot(away[0], away[2])), 1e-6)
        far = int(sine > 0)
        corner = self._neutral[INNER_LIPS[RIGHT_CORNER if far else 0]] - (self._pivot + shift)
        reach = FAR_REACH * abs(float(corner[0] * cosine - corner[2] * sine)) / self._size + b * abs(sine)
        wanted = np.sqrt(max(reach**2 - (b * sine) ** 2, 0.0)) / max(abs(cosine), 0.3) / a
        turned = float(np.clip((abs(sine) - FAR_SIDE[0]) / (FAR_SIDE[1] - FAR_SIDE[0]), 0, 1))
        halves = np.ones(2, np.float32)
        halves[far] += turned * (float(np.clip(wanted, 1, WIDEST)) - 1)
        return halves

    def _jaw_angle(self, motion: NDArray[np.float64]) -> float:
        """Radians."""
        angle = LOOK.jaw_turn * float(self._anatomy.jaw_angle @ jaw_features(motion)) + LOOK.jaw_ajar
        angle += LOOK.jaw_chin * float(motion[2]) + LOOK.jaw_smile * max(float(motion[5]), 0.0)
        return float(np.clip(angle, -0.03, 0.6))

    def _jaw(self, face: Floats, angle: float) -> NDArray[np.float64]:
        """[3, 4]: where the closed jaw's points go, mean face."""
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])  # opens downwards: -z goes to +y
        hinge = np.array([0.0, *self._anatomy.hinge])
        sideways = 0.5 * float(face[LOWER_ROW, 0].mean() - face[UPPER_ROW, 0].mean())
        return np.concatenate([turn, (hinge - turn @ hinge + [sideways, 0.0, 0.0])[:, None]], 1)

    def _to_layer(
        self, ray: NDArray[np.float64], turn: NDArray[np.float64], move: NDArray[np.float64], shift: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Rays [4, 3] as seen from the mean face's own skull or jaw: undo place and size, then turn and move."""
        start = (ray[0] - shift - self._pivot) / self._size + self._pivot - move
        return np.concatenate([[start], ray[1:] / self._size]) @ turn


def _lip_profile(ring_px: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The lips as seen along the line of the corners.

    Returns [N_PROFILE, 2], how far the upper and the lower lip lie below that line (px), and [5]: the left
    corner, the line's direction, its length (px).
    """
    corner, right = ring_px[0], ring_px[RIGHT_CORNER]
    length = max(float(np.linalg.norm(right - corner)), 1.0)
    u = (right - corner) / length
    v = np.array([-u[1], u[0]])
    along, below = (ring_px - corner) @ u, (ring_px - corner) @ v
    where = np.linspace(0.0, length, N_PROFILE)
    upper, lower = np.arange(RIGHT_CORNER + 1), np.arange(N_RING, RIGHT_CORNER - 1, -1) % N_RING
    rows = [np.interp(where, np.maximum.accumulate(along[k]), below[k]) for k in (upper, lower)]
    return np.stack(rows, 1).astype(np.float32), np.array([*corner, *u, length], np.float32)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _look_up(
    flat: NDArray[np.float32],
    levels: NDArray[np.int64],
    x: float,  # 0..1 along the half row
    y: float,  # 0..1 from top to bottom
    lod: float,
    out: NDArray[np.float32],  # [N_CHANNELS]
) -> None:
    """Sample a pyramid smoothly in place and in size; beyond its edge the edge goes on."""
    lod = min(max(lod, 0.0), len(levels) - 1.001)
    first = int(lod)
    second = min(max(2.5 * (lod - first) - 0.75, 0.0), 1.0)  # mostly one level alone is sharp enough, and faster
    for k in range(N_CHANNELS):
        out[k] = 0.0
    for step in range(2):
        weight = second if step else 1.0 - second
        if weight <= 0.0:
            continue
        offset, H, W = levels[first + step, 0], levels[first + step, 1], levels[first + step, 2]
        fx = min(max(x * W - 0.5, 0.0), W - 1.001)
        fy = min(max(y * H - 0.5, 0.0), H - 1.001)
        ix, iy = int(fx), int(fy)
        ax, ay = fx - ix, fy - iy
        at = offset + (iy * W + ix) * N_CHANNELS
        w00, w01 = weight * (1 - ax) * (1 - ay), weight * ax * (1 - ay)
        w10, w11 = weight * (1 - ax) * ay, weight * ax * ay
        below = at + W * N_CHANNELS
        for k in range(N_CHANNELS):
            out[k] += (
                w00 * flat[at + k]
                + w01 * flat[at + N_CHANNELS + k]
                + w10 * flat[below + k]
                + w11 * flat[below + N_CHANNELS + k]
            )


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _height(flat: NDArray[np.float32], levels: NDArray[np.int64], x: float, y: float, lod: float) -> float:
    """The height channel alone, from the nearest level."""
    level = int(min(max(lod + 0.5, 1.0), len(levels) - 1.0))
    offset, H, W = levels[level, 0], levels[level, 1], levels[level, 2]
    fx = min(max(x * W - 0.5, 0.0), W - 1.001)
    fy = min(max(y * H - 0.5, 0.0), H - 1.001)
    ix, iy = int(fx), int(fy)
    ax, ay = fx - ix, fy - iy
    at = offset + (iy * W + ix) * N_CHANNELS + HEIGHT
    below = at + W * N_CHANNELS
    upper = (1 - ax) * flat[at] + ax * flat[at + N_CHANNELS]
    return float((1 - ay) * upper + ay * ((1 - ax) * flat[below] + ax * flat[below + N_CHANNELS]))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _reach(above: float, below: float, left: float, right: float, depth: float, from_above: float) -> float:
    """Share of the outside's light that comes through the lips to a point `depth` px behind them.

    The exact view of a long slot (its form factor) in each of the two directions; more of the light comes
    from above, and passes under the upper lip. As light scatters inside, teeth get its square root and flesh
    the root of that.
    """
    d2 = depth * depth + 1e-3
    up = above / np.sqrt(above * above + d2)
    down = below / np.sqrt(below * below + d2)
    lefts = left / np.sqrt(left * left + d2)
    rights = right / np.sqrt(right * right + d2)
    return float((from_above * up + (1 - from_above) * down) * 0.5 * (lefts + rights))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _hit_row(
    start: NDArray[np.float32],  # [3]
    away: NDArray[np.float32],  # [3]
    flat: NDArray[np.float32],
    levels: NDArray[np.int64],
    chart: NDArray[np.float32],
    lod: float,
    halves: NDArray[np.float32],  # [2], how many times as wide the left and the right half are
    hangs: bool,  # the upper row
    out: NDArray[np.float32],  # [N_CHANNELS + 4]: the maps' channels, distance, then the normal
) -> bool:
    """Where a ray meets a row of teeth; false if it passes it."""
    b, c, phi_max = chart[1], chart[2], chart[3]
    y0, y1, lowest, span = chart[4], chart[5], chart[6], chart[7]
    kz, sz = away[2] / b, (start[2] - c) / b
    a = A = t = under = 0.0
    met = False
    for half in range(2):  # two halves of ellipses, joined in the middle
        a = chart[0] * halves[half]
        kx, sx = away[0] / a, start[0] / a
        A, B, C = kx * kx + kz * kz, sx * kx + sz * kz, sx * sx + sz * sz - 1.0
        under = B * B - A * C
        if under <= 1e-4 or A < 1e-6:
            continue
        t = (-B - np.sqrt(under)) / A
        met = halves[0] == halves[1] or (start[0] + t * away[0] >= 0.0) == (half == 1)
        if met:
            break
    if not met:
        return False
    length = np.sqrt(away[0] * away[0] + away[1] * away[1] + away[2] * away[2])
    H, W = levels[0, 1], levels[0, 2]
    phi = sine = cosine = nx = nz = y = 0.0
    for step in range(2):
        x, y, z = start[0] + t * away[0], start[1] + t * away[1], start[2] + t * away[2]
        # Open air begins at the teeth's tips: below the upper row, above the lower one.
        v = (y - y0) / (y1 - y0)
        if (hangs and v > 1.02) or (not hangs and v < -0.02):
            return False
        sine = x / a
        cosine = max((c - z) / b, 0.02)
        # the chart's own directions at this point
        run = np.sqrt(a * a * cosine * cosine + b * b * sine * sine)
        nx, nz = sine * b / run, -cosine * a / run
        facing = max(-(nx * away[0] + nz * away[2]) / length, 0.2)
        phi = np.arctan2(sine, cosine)
        if step == 0:
            t -= (lowest + span * _height(flat, levels, abs(phi) / phi_max, v, lod)) / facing / length
        else:
            stretch = np.log2(W / phi_max / (run * facing) * (y1 - y0) / H)
            _look_up(flat, levels, abs(phi) / phi_max, v, lod + min(max(stretch, 0.0), 1.0), out)
    if abs(phi) > phi_max:
        return False
    # Towards its silhouette the row turns away into the cheek: no edge there.
    turned = min(np.sqrt(under / A) / 0.4, 1.0)
    turned = turned * turned * (3.0 - 2.0 * turned)
    out[0] *= turned
    out[1] *= turned
    side = 1.0 if phi >= 0 else -1.0
    nt, ny = 0.6 * (2.0 * out[3] - 1.0) * side, 0.6 * (2.0 * out[4] - 1.0)  # enamel lets light through
    no = np.sqrt(max(1.0 - nt * nt - ny * ny, 0.05))
    out[N_CHANNELS] = t
    out[N_CHANNELS + 1] = no * nx - nt * nz
    out[N_CHANNELS + 2] = ny
    out[N_CHANNELS + 3] = no * nz + nt * nx
    return True


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _tongue_y(tongue: NDArray[np.float32], chart: NDArray[np.float32], x: float, z: float) -> float:
    H, W = tongue.shape
    fx = min(max((x + chart[0]) / (2 * chart[0]) * W - 0.5, 0.0), W - 1.001)
    fz = min(max((z - chart[1]) / (chart[2] - chart[1]) * H - 0.5, 0.0), H - 1.001)
    ix, iz = int(fx), int(fz)
    ax, az = fx - ix, fz - iz
    near = (1 - ax) * tongue[iz, ix] + ax * tongue[iz, ix + 1]
    far = (1 - ax) * tongue[iz + 1, ix] + ax * tongue[iz + 1, ix + 1]
    return float((1 - az) * near + az * far)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _hit_tongue(
    start: NDArray[np.float32],
    away: NDArray[np.float32],
    tongue: NDArray[np.float32],
    chart: NDArray[np.float32],
    out: NDArray[np.float32],  # [4]: distance, normal
) -> bool:
    """March along the ray until it is under the tongue's upper side."""
    n_steps = 18
    if away[2] < 0.2:
        return False
    t0, t1 = (chart[1] - start[2]) / away[2], (chart[2] - start[2]) / away[2]
    last = -1.0
    for k in range(n_steps + 1):
        f = k / n_steps
        t = t0 + (t1 - t0) * f * f
        x, y, z = start[0] + t * away[0], start[1] + t * away[1], start[2] + t * away[2]
        over = y - _tongue_y(tongue, chart, x, z)  # y grows downwards: positive is inside
        if over >= 0:
            if k:
                g = (k - 1) / n_steps
                before = t0 + (t1 - t0) * g * g
                t = before + (t - before) * (-last) / (over - last + 1e-9)
            x, z = start[0] + t * away[0], start[2] + t * away[2]
            e = 0.02
            slope_x = (_tongue_y(tongue, chart, x + e, z) - _tongue_y(tongue, chart, x - e, z)) / (2 * e)
            slope_z = (_tongue_y(tongue, chart, x, z + e) - _tongue_y(tongue, chart, x, z - e)) / (2 * e)
            n = np.sqrt(1.0 + slope_x * slope_x + slope_z * slope_z)
            out[0], out[1], out[2], out[3] = t, slope_x / n, -1.0 / n, slope_z / n
            return True
        last = over
    return False


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _lit(nx: float, ny: float, nz: float, light: NDArray[np.float32], facing: float, ambient: float) -> float:
    """Lambert and ambient, 1 where the surface faces the camera."""
    lambert = max(nx * light[0] + ny * light[1] + nz * light[2], 0.0)
    value = (ambient + (1 - ambient) * lambert) / (ambient + (1 - ambient) * facing)
    return float(min(max(value, 0.3), 1.25))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _gloss(nx: float, ny: float, nz: float, light: NDArray[np.float32], away: NDArray[np.float32]) -> float:
    """Blinn's highlight, 0..1."""
    size = np.sqrt(away[0] * away[0] + away[1] * away[1] + away[2] * away[2])
    hx, hy, hz = light[0] - away[0] / size, light[1] - away[1] / size, light[2] - away[2] / size
    cosine = max((nx * hx + ny * hy + nz * hz) / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-6), 0.0)
    return float(cosine**36)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _draw(
    out: NDArray[np.uint8],  # [h, w, 3]
    mask: NDArray[np.uint8],  # [h, w]
    profile: NDArray[np.float32],  # [N_PROFILE, 2]
    frame: NDArray[np.float32],  # [5]
    px: float,  # pixels in one unit of the head
    px_layer: float,  # pixels in one unit of the mean face
    halves: NDArray[np.float32],  # [2], how many times as wide the left and the right half of the rows are
    skull: NDArray[np.float32],  # [4, 3]
    jaw: NDArray[np.float32],  # [4, 3]
    up_flat: NDArray[np.float32],
    up_levels: NDArray[np.int64],
    up_chart: NDArray[np.float32],
    lo_flat: NDArray[np.float32],
    lo_levels: NDArray[np.int64],
    lo_chart: NDArray[np.float32],
    tongue: NDArray[np.float32],
    tongue_chart: NDArray[np.float32],
    look: Look,
    colours: NDArray[np.float32],  # [4, 3]: teeth, gum, tongue, dark
    light_skull: NDArray[np.float32],  # [3], in the skull's frame
    light_jaw: NDArray[np.float32],  # [3], in the jaw's
    lift: float,  # of the tongue
    facing: float,  # the light on a surface that faces the camera, 0..1
    ambient: float,
) -> None:
    h, w = mask.shape
    hit = np.empty(N_CHANNELS + 4, np.float32)
    soft = np.empty(4, np.float32)
    start = np.empty(3, np.float32)
    colour = np.empty(3, np.float32)
    skull_away, jaw_away = skull[3].copy(), jaw[3].copy()  # a row taken in the loop would be counted there
    last = profile.shape[0] - 1
    lod = np.log2(up_levels[0, 1] / (up_chart[5] - up_chart[4]) / px_layer + 1e-6) - 0.15
    # Tongue and throat are soft: their light and depth are found on a coarse grid.
    stride = max(int(0.018 * px), 2)
    rows, columns = h // stride + 2, w // stride + 2
    soft_lit = np.empty((rows, columns), np.float32)
    soft_depth = np.empty((rows, columns), np.float32)
    for j in range(rows):
        for i in range(columns):
            for k in range(3):
                start[k] = jaw[0, k] + (i * stride + 0.5) * jaw[1, k] + (j * stride + 0.5) * jaw[2, k]
            start[1] += lift
            depth, lit = 0.75 * px, look.throat
            if _hit_tongue(start, jaw_away, tongue, tongue_chart, soft):
                # the root of the tongue fades into the throat
                far = min(max((soft[0] - 0.3) / 0.45, 0.0), 1.0)
                far = far * far * (3.0 - 2.0 * far)
                depth = (1.0 - far) * max(soft[0], 0.0) * px + far * depth
                lit = (1.0 - far) * _lit(soft[1], soft[2], soft[3], light_jaw, facing, ambient) + far * lit
            soft_lit[j, i] = lit * np.exp(-depth / (px * look.flesh_depth))
            soft_depth[j, i] = depth
    for j in range(h):
        for i in range(w):
            if mask[j, i] == 0:
                continue
            x, y = i + 0.5 - frame[0], j + 0.5 - frame[1]
            u, v = x * frame[2] + y * frame[3], y * frame[2] - x * frame[3]
            f = min(max(u / frame[4] * last, 0.0), last - 0.001)
            n = int(f)
            g = f - n
            above = max(v - (profile[n, 0] * (1 - g) + profile[n + 1, 0] * g), 0.0) + 0.3
            below = max(profile[n, 1] * (1 - g) + profile[n + 1, 1] * g - v, 0.0) + 0.3
            left, right = max(u, 0.0) + 0.3, max(frame[4] - u, 0.0) + 0.3

            remaining = 1.0
            colour[0] = colour[1] = colour[2] = 0.0
            for row in range(2):
                for k in range(3):
                    rays = skull if row == 0 else jaw
                    start[k] = rays[0, k] + (i + 0.5) * rays[1, k] + (j + 0.5) * rays[2, k]
                if row == 0:
                    met = _hit_row(start, skull_away, up_flat, up_levels, up_chart, lod, halves, True, hit)
                else:
                    met = _hit_row(start, jaw_away, lo_flat, lo_levels, lo_chart, lod, halves, False, hit)
                if not met or hit[0] + hit[1] < 0.004:
                    continue
                # Lips lie on the arch of the teeth: what lies back with it is not farther behind them.
                chart = up_chart if row == 0 else lo_chart
                away = skull_away if row == 0 else jaw_away
                back = max(start[2] + hit[N_CHANNELS] * away[2] - (chart[2] - chart[1]), 0.0)
                depth = max(hit[N_CHANNELS] - look.arched * back, 0.0) * px
                reach = _reach(above, below, left, right, depth, look.from_above)
                light = light_skull if row == 0 else light_jaw
                lit = _lit(hit[7], hit[8], hit[9], light, facing, ambient)
                sunk = np.exp(-depth / (px * look.teeth_depth))
                crevice = 1.0 - look.crevice * (1.0 - hit[5])
                shine = look.gloss * hit[0] * reach * _gloss(hit[7], hit[8], hit[9], light, away)
                tooth = lit * sunk * crevice * np.sqrt(reach)
                flesh = lit * sunk * crevice * np.sqrt(np.sqrt(reach))
                for k in range(3):
                    warm = 1.0 - 0.12 * k * (1.0 - crevice)  # what light there is between two teeth is red
                    body = hit[0] * tooth * warm * (colours[0, k] - colours[3, k])
                    body += hit[1] * flesh * (colours[1, k] - colours[3, k])
                    colour[k] += remaining * (body + (hit[0] + hit[1]) * colours[3, k] + shine * colours[0, k])
                remaining *= max(1.0 - hit[0] - hit[1], 0.0)
                if remaining < 0.01:
                    break
            if remaining >= 0.01:
                fi, fj = i / stride, j / stride
                ii, jj = int(fi), int(fj)
                ai, aj = fi - ii, fj - jj
                w00, w01, w10, w11 = (1 - ai) * (1 - aj), ai * (1 - aj), (1 - ai) * aj, ai * aj
                depth = w00 * soft_depth[jj, ii] + w01 * soft_depth[jj, ii + 1]
                depth += w10 * soft_depth[jj + 1, ii] + w11 * soft_depth[jj + 1, ii + 1]
                lit = w00 * soft_lit[jj, ii] + w01 * soft_lit[jj, ii + 1]
                lit += w10 * soft_lit[jj + 1, ii] + w11 * soft_lit[jj + 1, ii + 1]
                shade = lit * np.sqrt(np.sqrt(_reach(above, below, left, right, depth, look.from_above)))
                for k in range(3):
                    colour[k] += remaining * (shade * (colours[2, k] - colours[3, k]) + colours[3, k])
            for k in range(3):
                out[j, i, k] = np.uint8(min(max(colour[k] + 0.5, 0.0), 255.0))


LUMA = np.array([0.299, 0.587, 0.114])
SKIN = (50, 280, 205, 425, 101, 330)
LIPS = (17, 0, 314, 84, 37, 267)
LOWER_LIP = ((14, 17), (87, 84), (317, 314))  # its inner and outer edge
NOSE_BASE = (98, 97, 2, 326, 327, 278, 4, 48)
CHEEKS_AND_BROW = (
    10, 151, 9, 67, 297, 109, 338, 69, 299, 108, 337, 50, 280, 101, 330, 117, 346, 123, 352,
    205, 425, 187, 411, 147, 376, 192, 416, 214, 434, 36, 266, 118, 347, 200, 199, 140, 369,
)  # fmt: skip


def palette_from_picture(rgb: NDArray[np.uint8], landmarks_px: Floats) -> MouthPalette:
    """The colours a mouth has in this picture: its own where it is open, else what its skin and lips tell.

    `landmarks_px` [478, 2] or more columns, in pixels of `rgb` [H, W, 3].
    """
    p = landmarks_px[:, :2].astype(np.float64)
    radius = max(1.5, 0.035 * float(np.linalg.norm(p[33] - p[263])))

    def around(ids: tuple[int, ...]) -> NDArray[np.float64]:
        patches = [_patch(rgb, p[k], radius) for k in ids]
        return np.asarray(np.median(np.concatenate(patches), 0))

    skin, lips = around(SKIN), around(LIPS)
    # Teeth are about as bright as the skin and half as coloured; what is dark inside is dark red.
    colourful = float(np.clip(np.ptp(skin) / max(float(skin.max()), 1.0) / 0.15, 0, 1))  # 0 in a grey picture

    def tint(ratio: tuple[float, float, float]) -> NDArray[np.float64]:
        grey = float(np.array(ratio) @ LUMA)
        return np.asarray(grey + (np.array(ratio) - grey) * colourful)

    flesh = np.minimum(lips, skin * tint(LIPS_OVER_SKIN))  # lips painted like the skin around them hide none of it
    brightest = max(float(skin.max()), 1.0)
    least = max(float(skin.min()) / brightest, 1e-3)
    # Half as coloured as the skin, and no more than teeth ever are: fired clay and gold leaf have white ones too.
    power = min(0.5, np.log(YELLOWEST) / np.log(least)) if least < 1 else 0.5
    teeth = min(TEETH_OVER_SKIN * brightest, BRIGHTEST) * (np.maximum(skin, 1) / brightest) ** power * tint(IVORY)
    seen = _seen_inside(rgb, p, skin, lips)
    lit = 1.0 if seen else 1 - DEEPER * _gloom(rgb, p, skin)
    return MouthPalette(
        teeth=tuple(seen.get("teeth", teeth).tolist()),
        gum=_rgb(tint(GUM_OVER_LIPS) * flesh),
        tongue=_rgb(lit * tint(TONGUE_OVER_LIPS) * flesh),
        dark=_rgb(seen.get("dark", lit * tint(DARK_OVER_LIPS) * flesh)),
        light=_light(rgb, p, radius),
        teeth_shown="teeth" in seen,
    )


def _seen_inside(
    rgb: NDArray[np.uint8], p: NDArray[np.float64], skin: NDArray[np.float64], lips: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Colours that an open mouth shows, where there is enough of them to be sure."""
    ring = p[list(INNER_LIPS)]
    unit = float(np.linalg.norm(p[33] - p[263]))
    if np.linalg.norm(p[13] - p[14]) < 0.05 * unit:
        return {}
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillPoly(mask, [ring.round().astype(np.int32)], 1)
    mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
    inside = rgb[mask > 0].astype(np.float64) + 1.0
    if len(inside) < 40:
        return {}
    luma = inside @ LUMA
    seen = {}
    # Paler than lips and than skin: a mesh that is a little off takes a strip of lip for the inside.
    pale = inside[:, 1] / inside[:, 0] > max(1.12 * lips[1] / max(lips[0], 1.0), skin[1] / max(skin[0], 1.0))
    teeth = inside[pale & (luma > 0.55 * skin @ LUMA)]
    if len(teeth) > max(25, 0.12 * len(inside)):
        bright = teeth @ LUMA
        seen["teeth"] = 1.05 * teeth[bright >= np.percentile(bright, 75)].mean(0)
    if np.percentile(luma, 8) < 0.3 * skin @ LUMA:
        seen["dark"] = inside[luma <= np.percentile(luma, 5)].mean(0)
    return seen


def _gloom(rgb: NDArray[np.uint8], p: NDArray[np.float64], skin: NDArray[np.float64]) -> float:
    """How much an open mouth has to be told by its dark, and how deep the picture's own dark is: 0..1."""
    radius = max(1.5, 0.3 * float(np.linalg.norm(p[17] - p[14])))
    patches = [_patch(rgb, (p[inner] + p[outer]) / 2, radius) for inner, outer in LOWER_LIP]
    lip = np.median(np.concatenate(patches), 0)
    pink, plain = (colour[1] / max(float(colour[0] + colour[2]), 1.0) for colour in (lip, skin))
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(p[list(NOSE_BASE)].round().astype(np.int32)), 1)
    under = rgb[mask > 0] @ LUMA
    if len(under) == 0 or plain == 0:
        return 0.0
    nostrils = float(np.percentile(under, 10) / (skin @ LUMA))
    needed = np.clip((pink / plain - PINK[0]) / (PINK[1] - PINK[0]), 0, 1)
    deep = np.clip((NOSTRILS[1] - nostrils) / (NOSTRILS[1] - NOSTRILS[0]), 0, 1)
    return float(needed * deep)


def _light(rgb: NDArray[np.uint8], p: NDArray[np.float64], radius: float) -> tuple[float, float, float]:
    """Towards the light: its side from the skin of an egg-shaped head, from above as light mostly is."""
    across = p[263] - p[33]
    unit = float(np.linalg.norm(across))
    ids = np.array(CHEEKS_AND_BROW)
    side = ((p[ids] - (p[33] + p[263]) / 2) @ across) / unit**2
    luma = np.array([np.median(_patch(rgb, p[k], radius) @ LUMA) for k in CHEEKS_AND_BROW])
    normal = np.clip(side / 0.8, -0.95, 0.95)
    keep = luma > 0.35 * np.median(luma)  # hair and shadow are not skin
    if keep.sum() < 10:
        return (0.0, -0.5, -0.87)
    slope, level = np.polyfit(normal[keep], luma[keep], 1)
    x = float(np.clip(1.6 * slope / max(level, 1.0), -0.7, 0.7))
    rest = float(np.sqrt(1.0 - x * x))
    return (x, -0.5 * rest, -0.866 * rest)


def _rgb(colour: NDArray[np.float64]) -> tuple[float, float, float]:
    """A colour within 0..255; one too bright keeps its hue."""
    r, g, b = np.clip(colour * min(1.0, 255 / max(float(colour.max()), 1.0)), 0, 255).tolist()
    return float(r), float(g), float(b)


def _patch(rgb: NDArray[np.uint8], centre: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Pixels [N, 3] within a square about a point, or the picture's nearest one."""
    H, W = rgb.shape[:2]
    x0, x1 = (int(np.clip(v, 0, W - 1)) for v in (centre[0] - radius, centre[0] + radius))
    y0, y1 = (int(np.clip(v, 0, H - 1)) for v in (centre[1] - radius, centre[1] + radius))
    return rgb[y0 : y1 + 1, x0 : x1 + 1].reshape(-1, 3).astype(np.float64)
