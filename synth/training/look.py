"""From linear light to a picture: a camera's exposure, colour and faults, or a painter's or a cartoonist's hand.

One Look holds for a take and for its reference pictures. Nothing here knows what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rng = np.random.Generator
Kind = Literal["photo", "paint", "cartoon"]


@dataclass(frozen=True, kw_only=True)
class Look:
    kind: Kind
    level: float  # of skin, linear, that the exposure aims at
    balance: Floats  # [3]
    contrast: float  # 0 none
    saturation: float
    gamma: float
    blur: float  # of the outer eye corners' distance
    noise: float  # sd, levels
    jpeg: int  # quality; 100 is none
    steps: int  # of a cartoon's tones

    @classmethod
    def random(cls, rng: Rng) -> Look:
        kind: Kind = ("photo", "paint", "cartoon")[rng.choice(3, p=(0.84, 0.1, 0.06))]
        return cls(
            kind=kind,
            level=float(rng.uniform(0.15, 0.37)),
            balance=rng.normal(1, (0.03, 0.01, 0.035)).astype(np.float32),
            contrast=float(rng.uniform(0, 0.5)),
            saturation=float(rng.uniform(0.55, 1.05) if rng.random() > 0.06 else 0.0),
            gamma=float(rng.uniform(0.9, 1.12)),
            blur=float(rng.uniform(0, 0.008)),
            noise=float(rng.uniform(0, 2.0)),
            jpeg=int(rng.integers(70, 98)) if rng.random() < 0.5 else 100,
            steps=int(rng.integers(5, 12)),
        )

    def exposure(self, rgb: Floats, skin: Floats, tone: Floats) -> float:
        """What to multiply linear light [H, W, 3] with so that a face is as light as a camera would have it.

        A dark skin is exposed for, but not until it is a light one; `skin` [H, W] says where there is some.
        """
        luma = rgb @ np.array((0.2126, 0.7152, 0.0722), np.float32)
        seen = float((luma * skin).sum() / max(float(skin.sum()), 1e-6))
        own = min(max(float(tone.mean()) / 0.35, 0.3), 1.25)
        return float(self.level * own**0.7 / max(seen, 1e-4))

    def picture(self, linear: Floats, unit_px: float, rng: Rng, faults: float = 1.0) -> NDArray[np.uint8]:
        """The picture [H, W, 3] of exposed light; `faults` says how much of the noise there is, 0 to 1."""
        x = np.clip(linear * self.balance, 0, None)
        x = x / (1 + np.maximum(x - 0.6, 0))  # highlights roll off
        x = np.clip(x, 0, 1) ** np.float32(self.gamma / 2.2)
        luma = (x @ np.array((0.3, 0.59, 0.11), np.float32))[..., None]
        x = luma + self.saturation * (x - luma)
        x = x + np.float32(self.contrast) * (x * x * (3 - 2 * x) - x)
        if self.kind == "paint":
            x = _painted(x, unit_px)
        elif self.kind == "cartoon":
            x = self._drawn(x, unit_px)
        if self.blur * unit_px > 0.3:
            x = cv2.GaussianBlur(x, (0, 0), self.blur * unit_px)
        level = x * 255 + np.float32(faults * self.noise) * rng.standard_normal(x.shape).astype(np.float32)
        rgb = np.clip(level + 0.5, 0, 255).astype(np.uint8)
        if self.jpeg < 100 and faults == 1:
            _, coded = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])
            rgb = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)
        return np.ascontiguousarray(rgb)

    def _drawn(self, x: Floats, unit_px: float) -> Floats:
        """Flat tones with soft edges between, and lines where tones meet."""
        flat = np.ascontiguousarray(np.clip(x, 0, 1), np.float32)
        reach = max(2.0, 0.03 * unit_px)
        for _ in range(2):
            flat = cv2.bilateralFilter(flat, 0, 0.12, reach)
        n = self.steps
        tone = flat.max(-1, keepdims=True)
        level = tone * n
        stepped = (np.floor(level) + np.clip((level - np.floor(level) - 0.5) * 4 + 0.5, 0, 1)) / n
        flat = flat * (0.35 + 0.65 * stepped / np.maximum(tone, 1e-3))
        grey = cv2.GaussianBlur(x.mean(-1), (0, 0), max(0.6, 0.008 * unit_px))
        wide = cv2.GaussianBlur(grey, (0, 0), max(1.2, 0.02 * unit_px))
        line = np.clip((wide - grey - 0.025) * 18, 0, 0.75)[..., None]
        mean = flat.mean(-1, keepdims=True)
        return np.asarray(np.clip(mean + 1.25 * (flat - mean), 0, 1) * (1 - line), np.float32)


def _painted(x: Floats, unit_px: float) -> Floats:
    """Each pixel the mean of the calmest of the four squares at whose corner it lies (Kuwahara et al. 1976)."""
    r = max(1, round(0.018 * unit_px))
    means, spreads = [], []
    mean = cv2.blur(x, (r + 1, r + 1))
    square = cv2.blur(x * x, (r + 1, r + 1)) - mean * mean
    spread = square.sum(-1)
    for dy, dx in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        move = np.array(((1, 0, dx * r / 2), (0, 1, dy * r / 2)), np.float32)
        size = x.shape[1::-1]
        means.append(cv2.warpAffine(mean, move, size, borderMode=cv2.BORDER_REPLICATE))
        spreads.append(cv2.warpAffine(spread, move, size, borderMode=cv2.BORDER_REPLICATE))
    weight = 1 / (np.stack(spreads) + 1e-4) ** 2
    weight /= weight.sum(0)
    return np.asarray((np.stack(means) * weight[..., None]).sum(0), np.float32)
