"""Streams that wait at the same moment, painted in one call of the network.

What comes back is what each would have got alone: every stream has its own frames, references, noise and memory, and
shares only the weights. Importing this file loads torch and diffusers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synth.diffusion.pipeline import Frames, GuidePipeline, Memory


@dataclass(frozen=True)
class Waiting:
    """What one stream calls the network with."""

    guide: Tensor  # [1, T, N_GUIDE, S, S]
    references: Tensor  # [layers, 2, 1, N, C]
    memory: Memory
    begun: Tensor | None = None  # [1, T, 3, S, S]

    @property
    def shape(self) -> tuple[object, ...]:
        """Streams alike in this go together."""
        return self.guide.shape, self.references.shape, len(self.memory.left), self.begun is None


def paint_together(pipeline: GuidePipeline, waiting: Sequence[Waiting]) -> list[Frames]:
    """The frames of each, in the same order."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for i, one in enumerate(waiting):
        alike.setdefault(one.shape, []).append(i)
    out: dict[int, Frames] = {}
    for members in alike.values():
        out.update(zip(members, _call(pipeline, [waiting[i] for i in members]), strict=True))
    return [out[i] for i in range(len(waiting))]


def _call(pipeline: GuidePipeline, alike: Sequence[Waiting]) -> list[Frames]:
    if len(alike) == 1:
        (one,) = alike
        return [pipeline(one.guide, one.references, one.memory, begun=one.begun)]
    begun = [one.begun for one in alike if one.begun is not None]
    frames = pipeline(
        torch.cat([one.guide for one in alike]),
        torch.cat([one.references for one in alike], 2),
        _joined([one.memory for one in alike]),
        begun=torch.cat(begun) if begun else None,
    )
    return [
        Frames(frames.pictures[i : i + 1], Memory(one.memory.noise, _of(frames.memory, i)))
        for i, one in enumerate(alike)
    ]


def _joined(memories: Sequence[Memory]) -> Memory:
    noise = torch.stack([memory.noise[:, 0] for memory in memories], 1)[:, :, None]  # [steps, B, 1, 3, S, S]
    steps = zip(*(memory.left for memory in memories), strict=True)
    return Memory(noise, tuple(tuple(map(torch.cat, zip(*layers, strict=True))) for layers in steps))


def _of(memory: Memory, i: int) -> tuple[tuple[Tensor, ...], ...]:
    """What one of the streams left, in tensors of its own: a view would keep the others' alive."""
    return tuple(tuple(layer[i : i + 1].clone() for layer in step) for step in memory.left)
