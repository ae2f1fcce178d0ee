"""From guides to frames: the network and its scheduler, as diffusers' pipelines are saved and loaded.

A pipeline is shared and remembers nothing. What one stream carries from frame to frame is a `Memory`, of constant
size, that goes in and comes out. Importing this file loads torch and diffusers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor

from synth.diffusion.guide import Guide, Reference
from synth.diffusion.model import RGB, FaceUNet, pack_guide, pack_reference
from synth.diffusion.scheduler import BridgeScheduler
from synth.diffusion.step import Network


@dataclass(frozen=True)
class Memory:
    """What a stream carries along. Frames that share it share its noise, so noise cannot shimmer."""

    noise: Tensor  # [steps, 1, 3, S, S]
    left: tuple[tuple[Tensor, ...], ...]  # of each step, what past frames left in the network


@dataclass(frozen=True)
class Frames:
    pictures: Tensor  # [B, T, 3, S, S], -1..1
    memory: Memory  # for the frames that follow


class GuidePipeline(DiffusionPipeline):  # type: ignore[misc]
    """Guides [B, T, N_GUIDE, S, S] -> pictures. Its steps are done by `network`: the U-Net, or engines in its place."""

    unet: FaceUNet
    scheduler: BridgeScheduler
    network: Network
    ready: Callable[[int, int, int], object]  # told side, frames at once and references of streams that will come
    told: Callable[[], list[str]]  # who did the steps, for people

    def __init__(self, unet: FaceUNet, scheduler: BridgeScheduler) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.network = unet
        self.ready, self.told = lambda side, frames, references: None, list

    def begin(self, n: int, side: int, *, steps: int | None = None, seed: int = 0) -> Memory:
        """Of n streams that have shown nothing yet; `steps` are the weights' own without a number."""
        steps = steps or self.scheduler.config.steps
        noise = torch.randn((steps, 1, 3, side, side), generator=torch.Generator().manual_seed(seed))
        empty = self.unet.empty_memory(n, side)
        return Memory(noise.to(self.unet.device, self.unet.dtype), (empty,) * steps)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def references(self, shown: Sequence[Reference]) -> Tensor:
        """What frames of a character attend to, from its pictures."""
        rgb, coords = (_stack([getattr(r, name) for r in shown]) for name in ("rgb", "coords"))
        packed = pack_reference(rgb, coords, torch.tensor([r.opened for r in shown]))
        return cast(Tensor, self.unet.encode(self._placed(packed[None])))

    def guide(self, guides: Sequence[Guide]) -> Tensor:
        """Consecutive frames of one stream [1, T, N_GUIDE, S, S]."""
        rgb, valid, coords, stretch, mouth, eyes = (
            _stack([getattr(g, name) for g in guides])
            for name in ("rgb", "valid", "coords", "stretch", "mouth", "eyes")
        )
        opened = torch.tensor([g.opened for g in guides])
        return self._placed(pack_guide(rgb, valid, coords, stretch, mouth, eyes, opened)[None])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def __call__(self, guide: Tensor, references: Tensor, memory: Memory, *, begun: Tensor | None = None) -> Frames:
        """All steps of the memory; or only the last one, from pictures [B, T, 3, S, S] that are nearly there."""
        scheduler = BridgeScheduler(steps=len(memory.left), sigma=self.scheduler.config.sigma)
        first = 0 if begun is None else len(memory.left) - 1
        sample = guide[:, :, RGB]
        if begun is not None:
            time = scheduler.timesteps[first].expand(len(guide)).to(guide.device)
            sample = scheduler.between(sample, begun, time, memory.noise[first])
        left = list(memory.left)
        for i in range(first, len(left)):
            time = scheduler.timesteps[i].expand(len(guide)).to(guide.device, guide.dtype)
            out = self.network(sample, time, guide, references, left[i])
            sample, left[i] = scheduler.step(i, sample, out.frame, memory.noise[i]), out.memory
        return Frames(sample, replace(memory, left=tuple(left)))

    def _placed(self, x: Tensor) -> Tensor:
        return x.to(self.unet.device, self.unet.dtype)


def to_pictures(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures [..., 3, S, S] of -1..1 as RGB [..., S, S, 3]."""
    levels = ((pictures.float() + 1) * 127.5).round().clamp(0, 255)
    return cast(NDArray[np.uint8], levels.to(torch.uint8).movedim(-3, -1).cpu().numpy())


def _stack(arrays: Sequence[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
