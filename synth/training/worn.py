"""What made people wear: hair of several styles, clothes, hats and glasses, in metres in the head's frame.

Each is a mesh of its own. Nothing here knows faces beyond the shape they have at rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.training.skin import linear

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Rng = np.random.Generator

SKIN, PLAIN, MOUTH, TEETH, EYE, HAIR, CLOTH, HARD = range(8)  # what a triangle is made of
SKULL_M, SKULL_RADII_M = np.array((0.0, -0.02, 0.075), np.float32), np.array((0.080, 0.112, 0.103), np.float32)
N_SEGMENTS = 5  # of a lock of hair
N_AROUND = 48  # vertices around clothes and hats


@dataclass(frozen=True)
class Piece:
    """Something worn. n vertices, t triangles."""

    vertices: Floats  # [n, 3]
    triangles: Ints  # [t, 3]
    colour: Floats  # [n, 3], linear
    along: Floats  # [n, 3], the way hair runs; zero elsewhere
    material: int
    with_head: float  # 1 rides on the head, 0 stays with the body


@dataclass(frozen=True)
class Style:
    """How hair falls."""

    share: float  # of people who wear it so
    n: int  # locks
    shortest_m: float
    longest_m: float
    lift: float  # away from the head at the root
    droop: float  # towards the ground along the way
    curl: float
    back: bool = False  # combed


STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "bald": Style(0.07, 0, 0, 0, 0, 0, 0),
        "buzz": Style(0.10, 0, 0.002, 0.002, 0, 0, 0),
        "cropped": Style(0.10, 2400, 0.011, 0.028, 0.22, 0.16, 0.06),
        "short": Style(0.15, 2400, 0.02, 0.05, 0.22, 0.16, 0.06),
        "medium": Style(0.17, 2200, 0.06, 0.13, 0.2, 0.4, 0.06),
        "long": Style(0.21, 2200, 0.2, 0.34, 0.15, 0.6, 0.06),
        "back": Style(0.12, 2000, 0.07, 0.11, 0.12, 0.15, 0.06, back=True),
        "curly": Style(0.08, 2200, 0.04, 0.16, 0.8, 0.3, 0.9),
    }
)


def hair(neutral: Floats, scalp: Ints, colour: Floats, rng: Rng) -> list[Piece]:
    """One of STYLES on the scalp's triangles [t, 3] of a person at rest [V, 3]: the mass of it, and locks over that."""
    styles = list(STYLES.values())
    style = styles[rng.choice(len(styles), p=[s.share for s in styles])]
    pieces = []
    if style.longest_m:
        pieces.append(_cap(neutral, scalp, colour, min(style.longest_m, 0.006), rng))
    if style.n:
        pieces.append(_locks(neutral, scalp, colour, style, rng))
    return pieces


def _cap(neutral: Floats, scalp: Ints, colour: Floats, thick_m: float, rng: Rng) -> Piece:
    """The mass of hair next to the head."""
    used, triangles = np.unique(scalp, return_inverse=True)
    points = neutral[used]
    out = points - SKULL_M
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    bumps = np.sin(points @ rng.normal(0, 160, (3, 3)).astype(np.float32) + rng.uniform(0, 6, 3)).mean(1)
    points = points + out * (thick_m * (1 + 0.5 * bumps))[:, None]
    shade = np.clip(1 + 0.25 * rng.standard_normal((len(used), 1)), 0.5, 1.5)
    along = np.cross(out, np.array((0, 1.0, 0.2)))
    return _piece(points, triangles.reshape(-1, 3), colour * shade, HAIR, 1.0, along)


def _locks(neutral: Floats, scalp: Ints, colour: Floats, style: Style, rng: Rng) -> Piece:
    """Ribbons of hair that grow out of the scalp and fall around the head."""
    lines = _hang(*_roots(neutral, scalp, style, rng), style, rng)
    n = len(lines)
    along = np.gradient(lines, axis=1)
    along /= np.linalg.norm(along, axis=-1, keepdims=True) + 1e-9
    across = np.cross(along, lines - SKULL_M)
    across /= np.linalg.norm(across, axis=-1, keepdims=True) + 1e-9
    taper = np.linspace(1.1, 0.25, N_SEGMENTS + 1)[None, :, None]
    width = rng.uniform(0.0013, 0.0034, (n, 1, 1)) * taper
    vertices = np.stack((lines - across * width, lines + across * width), 2).reshape(-1, 3)
    first = 2 * np.arange(N_SEGMENTS)[:, None]
    ribbon = np.concatenate((first + np.array((0, 1, 2)), first + np.array((1, 3, 2))))
    triangles = (2 * (N_SEGMENTS + 1) * np.arange(n)[:, None, None] + ribbon[None]).reshape(-1, 3)
    shade = np.clip(rng.normal(1, 0.3, (n, 1, 1)), 0.4, 1.9) * np.linspace(0.65, 1.15, N_SEGMENTS + 1)[None, :, None]
    tones = colour * shade * rng.normal(1, 0.05, (n, 1, 3))
    tones, along = (np.repeat(of_line[:, :, None], 2, 2).reshape(-1, 3) for of_line in (tones, along))
    return _piece(vertices, triangles, tones, HAIR, 1.0, along)


def _roots(neutral: Floats, scalp: Ints, style: Style, rng: Rng) -> tuple[Floats, Floats]:
    """Where locks grow [n, 3] and which way they set out [n, 3]."""
    t = scalp[rng.integers(len(scalp), size=style.n)]
    weight = rng.dirichlet((1, 1, 1), style.n).astype(np.float32)
    root = (neutral[t] * weight[..., None]).sum(1)
    out = (root - SKULL_M) / SKULL_RADII_M**2
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    flow = np.zeros((style.n, 3), np.float32)
    if style.back:
        flow += np.array((0, -0.1, 1.0), np.float32)
    else:  # to both sides of a parting, the front to the front or not
        flow[:, 0] = 0.8 * np.clip((root[:, 0] - rng.uniform(-0.03, 0.03)) / 0.01, -1, 1)
        flow[:, 1] = 0.35
        flow[:, 2] = np.where(root[:, 2] < 0.05, -0.4 * rng.uniform(-0.9, 0.5) - 0.1, 0.3)
    flow -= (flow * out).sum(1, keepdims=True) * out
    flow /= np.linalg.norm(flow, axis=1, keepdims=True) + 1e-6
    going = flow + style.lift * rng.uniform(0.5, 1.4) * out + rng.uniform(0.04, 0.16) * rng.standard_normal(flow.shape)
    return root, going.astype(np.float32)


def _hang(root: Floats, going: Floats, style: Style, rng: Rng) -> Floats:
    """Lines [n, N_SEGMENTS + 1, 3] from the roots on, without those that would hang into the face."""
    n = len(root)
    length = rng.uniform(style.shortest_m, style.longest_m) * rng.uniform(0.7, 1.1, (n, 1))
    step = (length / N_SEGMENTS).astype(np.float32)
    curl = style.curl * rng.uniform(0.1, 2.0) if style.curl < 0.5 else style.curl
    line = [root]
    for k in range(N_SEGMENTS):
        pull = np.array((0, style.droop * (0.4 + k / N_SEGMENTS), 0))
        going = (going + pull + curl * rng.standard_normal((n, 3))).astype(np.float32)
        going /= np.linalg.norm(going, axis=1, keepdims=True)
        line.append(_outside(line[-1] + step * going, 0.004 + 0.002 * k))
    lines = np.stack(line, 1)
    brow = rng.uniform(-0.045, -0.02) if rng.random() < 0.3 else -0.06
    x, y, z = np.moveaxis(lines, -1, 0)
    return np.asarray(lines[~((np.abs(x) < 0.058) & (y > brow) & (z < 0.06)).any(1)], np.float32)


def _outside(points: Floats, by: float) -> Floats:
    """Points pushed out of the skull, and out of face and neck below it."""
    d = points - SKULL_M
    r = np.linalg.norm(d / (SKULL_RADII_M + by), axis=1)
    out = SKULL_M + d / np.minimum(np.maximum(r, 1e-3), 1)[:, None]
    below = (out[:, 1] > SKULL_M[1]) & (out[:, 2] < 0.17)
    radii = np.array((0.082 + by, 0.09 + by), np.float32)
    flat = (out - SKULL_M)[:, [0, 2]]
    r = np.linalg.norm(flat / radii, axis=1)
    pushed = SKULL_M[[0, 2]] + flat / np.minimum(np.maximum(r, 1e-3), 1)[:, None]
    out[:, [0, 2]] = np.where(below[:, None], pushed, out[:, [0, 2]])
    return np.asarray(out, np.float32)


def clothes(neutral: Floats, collar_m: float, rng: Rng) -> Piece:
    """Shoulders and chest, with a neckline so far below the eyes."""
    neck = float(np.abs(neutral[:, 0][(neutral[:, 1] > 0.12) & (neutral[:, 1] < 0.14)]).max())
    rows = (  # height, half width, half depth, middle's depth
        (collar_m - 0.004, neck + 0.006, 0.068, 0.075), (collar_m, neck + 0.012, 0.074, 0.075),
        (collar_m + 0.02, neck + 0.045, 0.088, 0.08), (collar_m + 0.05, 0.165, 0.1, 0.09),
        (collar_m + 0.09, 0.2, 0.115, 0.09), (collar_m + 0.2, 0.21, 0.125, 0.085), (0.6, 0.21, 0.13, 0.085),
    )  # fmt: skip
    angle = np.linspace(0, 2 * np.pi, N_AROUND, endpoint=False)
    front = np.clip(-np.cos(angle), 0, 1) ** 2
    deep = rng.uniform(0, 0.05) * (rng.random() < 0.5)  # a neckline that reaches down in front
    rings = []
    for i, (y, rx, rz, z) in enumerate(rows):
        drop = deep * front * (i < 2) - 0.012 * np.cos(angle) * (i < 3)
        rings.append(np.stack((rx * np.sin(angle), y + drop, z + rz * np.cos(angle)), 1))
    colour = np.tile(linear(rng.uniform(0.08, 0.75) + rng.uniform(-0.14, 0.14, 3)), (len(rows) * N_AROUND, 1))
    if rng.random() < 0.3:
        colour[: 2 * N_AROUND] = linear(rng.uniform(0.1, 0.9) + rng.uniform(-0.1, 0.1, 3))  # the collar
    return _piece(np.concatenate(rings), _between_rings(len(rows), N_AROUND), colour, CLOTH, 0.0)


def hat(rng: Rng) -> Piece:
    """A cap without a brim, lower at the back."""
    brow, tall = rng.uniform(-0.062, -0.045), rng.uniform(0.09, 0.13)
    angle = np.linspace(0, 2 * np.pi, N_AROUND, endpoint=False)
    rings = []
    for up in np.linspace(0, 1, 12):
        r = np.sqrt(1 - up**2) * (1 + 0.06 * np.sin(3 * up))
        y = brow - tall * up + 0.03 * np.cos(angle)
        rings.append(np.stack((0.098 * r * np.sin(angle), y, 0.078 + 0.122 * r * np.cos(angle)), 1))
    points = np.concatenate(rings)
    knitted = 1 + 0.12 * np.sin(np.arange(len(points)) * 2.1)[:, None]
    colour = linear(rng.uniform(0.1, 0.7) + rng.uniform(-0.15, 0.15, 3))
    return _piece(points, _between_rings(12, N_AROUND), colour * knitted, CLOTH, 1.0)


def glasses(marks: Floats, rng: Rng) -> Piece:
    """A frame without lenses before the eyes of a person with these 68 marks [68, 3]."""
    rx, ry = rng.uniform(0.021, 0.027), rng.uniform(0.016, 0.024)
    square, radius = rng.uniform(0.5, 1.0), rng.uniform(0.0006, 0.0022)
    front = float(marks[[36, 39, 42, 45], 2].min()) - 0.02
    c, s = np.cos(np.linspace(0, 2 * np.pi, 33)), np.sin(np.linspace(0, 2 * np.pi, 33))
    rims = []
    for eye in (marks[36:42], marks[42:48]):
        x = eye[:, 0].mean() + np.sign(c) * np.abs(c) ** square * rx
        y = eye[:, 1].mean() + 0.003 + np.sign(s) * np.abs(s) ** square * ry
        rims.append(np.stack((x, y, front + 0.07 * np.abs(x)), 1))
    bridge = np.linspace(rims[0][0], rims[1][16], 7)
    bridge[:, 1] -= 0.004 + 0.003 * np.sin(np.linspace(0, np.pi, 7))
    ears = np.array(((-0.079, marks[36, 1] + 0.002, 0.075), (0.079, marks[45, 1] + 0.002, 0.075)))
    sides = [np.linspace(start, ear, 9) for start, ear in zip((rims[0][16], rims[1][0]), ears, strict=True)]
    tubes = [_tube(line, radius) for line in (*rims, bridge, *sides)]
    starts = np.cumsum([0, *(len(points) for points, _ in tubes)])
    triangles = np.concatenate([t + start for (_, t), start in zip(tubes, starts, strict=False)])
    colour = linear(rng.choice((0.04, 0.1, 0.35, 0.6)) * rng.normal(1, 0.15, 3))
    return _piece(np.concatenate([points for points, _ in tubes]), triangles, colour, HARD, 1.0)


def _tube(line: NDArray[Any], radius: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """A tube of six sides around a line [n, 3]."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    a = np.cross(along, np.array((0.31, 0.17, 0.93)))
    a /= np.linalg.norm(a, axis=1, keepdims=True) + 1e-9
    b = np.cross(along, a)
    turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    rings = line[:, None] + radius * (
        a[:, None] * np.cos(turn)[None, :, None] + b[:, None] * np.sin(turn)[None, :, None]
    )
    return rings.reshape(-1, 3), _between_rings(len(line), 6)


def _between_rings(n_rings: int, n_points: int) -> Ints:
    """Triangles [T, 3] of a surface through closed rings of points, one ring after the other."""
    ring, point = np.meshgrid(np.arange(n_rings - 1), np.arange(n_points), indexing="ij")
    a = (ring * n_points + point).ravel()
    b = (ring * n_points + (point + 1) % n_points).ravel()
    sides = (np.stack((a, b, a + n_points), 1), np.stack((b, b + n_points, a + n_points), 1))
    return np.asarray(np.concatenate(sides), np.int32)


def _piece(
    vertices: NDArray[Any], triangles: NDArray[Any], colour: NDArray[Any], material: int, with_head: float,
    along: NDArray[Any] | None = None,
) -> Piece:  # fmt: skip
    """With one colour for all, or one for each vertex."""
    along = np.zeros(vertices.shape) if along is None else along
    points, colours, ways = (
        np.ascontiguousarray(array, np.float32) for array in (vertices, np.broadcast_to(colour, vertices.shape), along)
    )
    return Piece(points, triangles.astype(np.int32), colours, ways, material, with_head)
