"""A close-up above the network's side: painted again in tiles, at the picture's own resolution.

The whole face has been painted at the network's side; that gives every tone. The tiles take the last step from there
and add what is finer. They overlap and fade into each other, lie still over a take, and each carries its own memory,
so a stream stays a stream. Importing this file loads torch and diffusers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from synth.diffusion.model import RGB
from synth.diffusion.pipeline import GuidePipeline, Memory

OVERLAP = 0.25  # of a tile, with the next


@dataclass(frozen=True)
class Tiles:
    """Overlapping squares that cover a larger one."""

    side: int  # px of a tile
    whole: int  # px of what they cover

    def corners(self) -> Iterator[tuple[int, int]]:
        """Top and left of each."""
        n = max(1, -(-(self.whole - self.side) // int(self.side * (1 - OVERLAP))) + 1)
        at = [round(i * (self.whole - self.side) / max(1, n - 1)) for i in range(n)]
        return ((top, left) for top in at for left in at)

    def fade(self) -> Tensor:
        """[side, side], how much a tile counts: less towards its edges, nowhere nothing."""
        middle = torch.arange(self.side) + 0.5
        ramp = (torch.minimum(middle, self.side - middle) / (OVERLAP * self.side)).clamp(max=1)
        return ramp[:, None] * ramp[None]


class Detail:
    """Guides at a larger side, and the frames as painted at the network's -> the frames at the larger side."""

    def __init__(self, pipeline: GuidePipeline, whole: int, *, steps: int | None, seed: int) -> None:
        self._pipeline = pipeline
        self._tiles = Tiles(pipeline.unet.config.side, whole)
        memory = pipeline.begin(1, self._tiles.side, steps=steps, seed=seed)
        self._memories: list[Memory] = [memory for _ in self._tiles.corners()]

    def paint(self, fine: Tensor, coarse: Tensor, painted: Tensor, references: Tensor) -> Tensor:
        """[1, T, N_GUIDE, L, L], [1, T, N_GUIDE, S, S], [1, T, 3, S, S] -> [1, T, 3, L, L]."""
        side, whole = self._tiles.side, self._tiles.whole
        begun = fine[:, :, RGB] + _resized(painted - coarse[:, :, RGB], whole)
        total, weight = torch.zeros_like(begun), torch.zeros_like(begun[:, :, :1])
        fade = self._tiles.fade().to(begun)
        for i, (top, left) in enumerate(self._tiles.corners()):
            at = (..., slice(top, top + side), slice(left, left + side))
            out = self._pipeline(fine[at], references, self._memories[i], begun=begun[at])
            self._memories[i] = out.memory
            total[at] += out.pictures * fade
            weight[at] += fade
        change = total / weight - begun
        return begun + change - _resized(_resized(change, side), whole)  # the tones stay as painted


def _resized(pictures: Tensor, side: int) -> Tensor:
    smaller = side < pictures.shape[-1]
    flat = F.interpolate(
        pictures.flatten(0, 1), size=(side, side), mode="bilinear", align_corners=False, antialias=smaller
    )
    return flat.unflatten(0, pictures.shape[:2])
