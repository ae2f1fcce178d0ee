"""The network is causal, forgets, is the warp until it is trained, and is what an exporter can take."""

from __future__ import annotations

import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch
from torch import Tensor

from synth.diffusion.model import EYES, MOUTH, N_GUIDE, N_REFERENCE, PAST, RGB, FaceUNet, FrameOutput
from tests.synth.diffusion.network import network

S = 32


def shown(T: int, seed: int = 1) -> Tensor:
    return torch.randn((2, T, N_GUIDE, S, S), generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def attended(unet: FaceUNet, n: int = 2) -> Tensor:
    pictures = torch.randn((2, n, N_REFERENCE, S, S), generator=torch.Generator().manual_seed(7))
    return unet.encode(pictures)


def painted(unet: FaceUNet, guide: Tensor, memory: tuple[Tensor, ...] | None = None, n: int = 2) -> FrameOutput:
    with torch.no_grad():
        start = memory or unet.empty_memory(2, S)
        out: FrameOutput = unet(guide[:, :, RGB], torch.full((2,), 0.5), guide, attended(unet, n), start)
    return out


def test_frames_one_by_one_are_the_frames_at_once() -> None:
    unet, guide = network(), shown(7)
    whole = painted(unet, guide).frame
    memory: tuple[Tensor, ...] | None = None
    for cuts in ([1] * 7, [3, 1, 3], [2, 5]):
        memory, parts = None, []
        for part in guide.split(cuts, 1):
            out = painted(unet, part, memory)
            parts.append(out.frame)
            memory = out.memory
        gap = (torch.cat(parts, 1) - whole).abs().max().item()
        assert gap < 1e-4, f"largest difference {gap}"
    assert memory is not None
    assert [m.shape[1] for m in memory] == [PAST] * len(memory)


def test_no_frame_knows_of_later_ones_and_each_of_those_before() -> None:
    unet, guide = network(), shown(6)
    other = guide.clone()
    other[:, 3] = shown(1, seed=2)[:, 0]
    changed = (painted(unet, guide).frame - painted(unet, other).frame).abs().amax((0, 2, 3, 4))
    assert (changed[:3] == 0).all()
    assert (changed[3:6] > 1e-4).all()


def test_what_was_long_ago_has_no_effect_at_all() -> None:
    unet = network()
    reach = PAST * len(unet.recall)
    guide = shown(reach + 3)
    other = guide.clone()
    other[:, 0] = shown(1, seed=2)[:, 0]
    changed = (painted(unet, guide).frame - painted(unet, other).frame).abs().amax((0, 2, 3, 4))
    assert changed[reach] > 0
    assert changed[reach + 1 :].max() < 1e-6


def test_an_untrained_network_is_the_warp() -> None:
    unet = FaceUNet(widths=(8, 8, 16), heads=2, side=S)
    guide = shown(2)
    torch.testing.assert_close(painted(unet, guide).frame, guide[:, :, RGB])


def test_references_are_looked_at_in_any_number_and_order() -> None:
    unet, guide = network(), shown(1)
    one, three = painted(unet, guide, n=1).frame, painted(unet, guide, n=3).frame
    assert (one - three).abs().max() > 1e-3
    pictures = torch.randn((2, 3, N_REFERENCE, S, S))
    with torch.no_grad():
        there, back = (
            unet(guide[:, :, RGB], torch.zeros(2), guide, unet.encode(p), unet.empty_memory(2, S)).frame
            for p in (pictures, pictures.flip(1))
        )
    torch.testing.assert_close(there, back, atol=1e-4, rtol=0)


def test_weights_that_know_mouths_and_eyes_alone_leave_all_else() -> None:
    unet, guide = network(elsewhere=0.0), shown(1)
    guide[:, :, MOUTH], guide[:, :, EYES] = 0, 0
    guide[:, :, MOUTH, 10:20, 8:24] = 1
    gap = (painted(unet, guide).frame - guide[:, :, RGB]).abs().amax((0, 1, 2))
    assert gap[10:20, 8:24].min() > 0
    gap[10:20, 8:24] = 0
    assert gap.max() == 0


def test_the_base_network_is_of_a_size_that_ships() -> None:
    n = sum(p.numel() for p in FaceUNet().parameters())
    assert n <= 20_000_000
    assert n * 2 <= 15 * 2**20, "half precision fits one shard"


def test_no_step_depends_on_what_the_numbers_are_so_it_can_be_exported() -> None:
    unet, guide = network(), shown(1)
    inputs = (guide[:, :, RGB], torch.zeros(2), guide, attended(unet).detach(), unet.empty_memory(2, S))
    exported = torch.export.export(unet, inputs).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(*inputs).frame, unet(*inputs).frame, atol=1e-5, rtol=0)
