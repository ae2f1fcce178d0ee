"""The lines that expressions draw into a face, and age keeps.

Each is a relief in the skin's texture, sunk where it is drawn and raised a little beside. Nothing here knows what skin
looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.records import ARKIT_INDEX
from synth.training.regions import TEXELS, noise

Floats = NDArray[np.float32]
Rng = np.random.Generator
Lines = list[NDArray[np.float64]]  # each [n, 2] texels


@dataclass(frozen=True)
class Fold:
    expressions: tuple[str, ...]  # that draw it; the strongest counts
    width: float  # texels
    depth: float  # mm, about
    kept: float  # of it by a face at rest, when old
    lines: Callable[[Floats, Rng], Lines]  # of the face's 68 marks, texels


def _forehead(m: Floats, rng: Rng) -> Lines:
    brow, lines = m[17:27, 1].mean(), []
    x = np.linspace(m[17, 0] + 8, m[26, 0] - 8, 24)
    for k in range(int(rng.integers(3, 6))):
        y = brow - (26 + 17 * k) + 8 * np.cos((x - TEXELS / 2) / TEXELS * 9) + np.cumsum(rng.normal(0, 0.9, 24))
        lines.append(np.stack((x, y), 1)[int(rng.integers(0, 6)) : int(rng.integers(18, 24))])
    return lines


def _between_brows(m: Floats, rng: Rng) -> Lines:
    y = np.linspace(-14, 16, 10) + rng.normal(0, 1.5)
    return [np.stack((x + side * (9 + 0.1 * y), top + y + 2), 1) for (x, top), side in ((m[21], 1), (m[22], -1))]


def _beside_eyes(m: Floats, rng: Rng) -> Lines:
    lines = []
    for (x, y), side in ((m[36], -1), (m[45], 1)):
        for slope in rng.uniform(-0.5, 0.6, 4):
            t = np.linspace(10, rng.uniform(22, 40), 8)
            lines.append(np.stack((x + side * t, y + slope * t + 0.006 * t**2), 1))
    return lines


def _beside_mouth(m: Floats, rng: Rng) -> Lines:
    lines, t = [], np.linspace(0, 1, 14)[:, None]
    for wing, corner, side in ((m[31], m[48], -1), (m[35], m[54], 1)):
        start, end = wing + np.array((side * 14, -10)), corner + np.array((side * 17, 12 + rng.normal(0, 3)))
        bend = (start + end) / 2 + np.array((side * 7, -6))
        lines.append((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end)
    return lines


def _under_eyes(m: Floats, rng: Rng) -> Lines:
    lines, t = [], np.linspace(0.08, 0.92, 12)[:, None]
    for a, b in ((m[36], m[39]), (m[45], m[42])):
        for drop in np.array((11, 19)) + rng.normal(0, 1):
            lines.append(a + t * (b - a) + np.array((0, 1)) * drop * np.sin(np.pi * (0.15 + 0.7 * t)))
    return lines


FOLDS: Mapping[str, Fold] = MappingProxyType(
    {
        "forehead": Fold(("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), 2.2, 2.6, 0.3, _forehead),
        "between brows": Fold(("browDownLeft", "browDownRight", "noseSneerLeft", "noseSneerRight"), 2.4, 2.8, 0.35, _between_brows),
        "beside eyes": Fold(("cheekSquintLeft", "cheekSquintRight", "eyeSquintLeft", "eyeSquintRight", "mouthSmileLeft"), 1.4, 1.8, 0.25, _beside_eyes),
        "beside mouth": Fold(("mouthSmileLeft", "mouthSmileRight", "noseSneerLeft", "mouthUpperUpLeft", "mouthDimpleRight"), 3.4, 5.0, 0.55, _beside_mouth),
        "under eyes": Fold(("cheekSquintLeft", "cheekSquintRight", "mouthSmileLeft", "mouthSmileRight"), 1.5, 1.6, 0.4, _under_eyes),
    }
)  # fmt: skip


def fold_strengths(expression: Floats) -> Floats:
    """How deep each of FOLDS [5] is, of an expression [52]."""
    return np.array([max(expression[ARKIT_INDEX[n]] for n in fold.expressions) for fold in FOLDS.values()], np.float32)


def kept_folds(age: float, rng: Rng) -> Floats:
    """How deep each of FOLDS [5] is at rest; age 0 to 1."""
    return np.array([fold.kept * age * rng.uniform(0.3, 1.2) for fold in FOLDS.values()], np.float32)


def draw_folds(marks: Floats, rng: Rng) -> Floats:
    """Each of FOLDS at full strength [5, N, N], mm; negative where the skin sinks. `marks` [68, 2] texels."""
    layers = []
    for fold in FOLDS.values():
        canvas = np.zeros((TEXELS, TEXELS), np.uint8)
        lines = [np.round(line * 16).astype(np.int32) for line in fold.lines(marks, rng)]
        cv2.polylines(canvas, lines, False, 255, 2, cv2.LINE_AA, 4)
        sharp = cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), fold.width)
        wide = cv2.GaussianBlur(sharp, (0, 0), 3 * fold.width)
        uneven = np.clip(1 + 0.5 * noise(rng, 12), 0.1, 2)
        layers.append(-fold.depth * uneven * (sharp - 0.8 * wide))
    return np.asarray(np.stack(layers), np.float32)
