"""Streams painted in one call get what each would have got alone, and know nothing of each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch
from torch import Tensor

from synth.diffusion.model import N_GUIDE, N_REFERENCE
from synth.diffusion.pipeline import Frames, GuidePipeline
from synth.diffusion.together import Waiting, paint_together
from tests.synth.diffusion.network import pipeline

S = 32


def stream(made: GuidePipeline, seed: int, *, T: int = 1, n_references: int = 1) -> Waiting:
    """A stream of its own: other frames, another character, other noise, something in its memory already."""
    draw = torch.Generator().manual_seed(seed)

    def frames(n: int) -> Tensor:
        return torch.randn((1, n, N_GUIDE, S, S), generator=draw).clamp(-1, 1)

    with torch.no_grad():
        references = made.unet.encode(torch.randn((1, n_references, N_REFERENCE, S, S), generator=draw))
    before = made(frames(3), references, made.begin(1, S, seed=seed))
    return Waiting(frames(T), references, before.memory)


def gap(one: Frames, other: Frames) -> float:
    pairs = [(one.pictures, other.pictures), (one.memory.noise, other.memory.noise)]
    pairs += [p for a, b in zip(one.memory.left, other.memory.left, strict=True) for p in zip(a, b, strict=True)]
    return float(max((a - b).abs().max() for a, b in pairs))


def test_painted_together_is_as_painted_alone_whatever_waits_beside() -> None:
    made = pipeline(S, steps=3, sigma=0.3)
    waiting = [
        stream(made, 1), stream(made, 2, n_references=3), stream(made, 3, T=2), stream(made, 4),
        replace(stream(made, 5), begun=torch.zeros(1, 1, 3, S, S)), stream(made, 6, n_references=3),
    ]  # fmt: skip
    alone = [made(one.guide, one.references, one.memory, begun=one.begun) for one in waiting]
    calls: list[int] = []
    handle = made.unet.register_forward_pre_hook(lambda _, given: calls.append(given[0].shape[0]))
    together = paint_together(made, waiting)
    handle.remove()
    most = max(gap(a, b) for a, b in zip(alone, together, strict=True))
    assert most < 1e-4, f"largest difference {most}"
    assert sorted(calls) == [1, 1, 1, 1, 2, 2, 2, 2, 2, 2], "one call for those alike, three steps each; begun ones one"


def test_what_a_stream_left_does_not_hang_on_who_was_painted_beside_it() -> None:
    made = pipeline(S, steps=2)
    mine, first, second = (stream(made, seed) for seed in (1, 2, 3))
    beside_one, _ = paint_together(made, [mine, first])
    beside_other, _ = paint_together(made, [mine, second])
    assert gap(beside_one, beside_other) < 1e-5
    kept = [layer for step in beside_one.memory.left for layer in step]
    assert all(layer.untyped_storage().nbytes() == layer.nbytes for layer in kept), "nobody else's memory is kept alive"


def test_streams_come_and_go_and_each_is_the_whole_it_would_be_alone() -> None:
    made = pipeline(S, steps=2)
    takes = [stream(made, seed, T=6) for seed in (1, 2, 3)]
    whole = [made(take.guide, take.references, take.memory).pictures for take in takes]
    memories = [take.memory for take in takes]
    shown: list[list[Tensor]] = [[], [], []]
    for present in ((0,), (0, 1), (0, 1, 2), (1, 2), (0, 2), (2, 1, 0), (0, 1, 2), (1, 2), (0,), (2,)):
        going = [i for i in present if len(shown[i]) < 6]
        waiting = [
            Waiting(takes[i].guide[:, len(shown[i]) : len(shown[i]) + 1], takes[i].references, memories[i])
            for i in going
        ]
        for i, frames in zip(going, paint_together(made, waiting), strict=True):
            memories[i] = frames.memory
            shown[i].append(frames.pictures)
    assert [len(frames) for frames in shown] == [6, 6, 6]
    most = max((torch.cat(a, 1) - b).abs().max().item() for a, b in zip(shown, whole, strict=True))
    assert most < 1e-4, f"largest difference {most}"
