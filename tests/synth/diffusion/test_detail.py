"""Tiles cover everything, add what is fine, and leave the tones as they were painted."""

from __future__ import annotations

import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch
import torch.nn.functional as F

from synth.diffusion.detail import Detail, Tiles
from synth.diffusion.model import N_GUIDE, N_REFERENCE, RGB
from tests.synth.diffusion.network import pipeline

S = 32


@pytest.mark.parametrize("whole", [32, 33, 40, 57, 64, 100, 128])
def test_tiles_cover_every_pixel_and_reach_over_no_edge(whole: int) -> None:
    tiles = Tiles(S, whole)
    weight = torch.zeros(whole, whole)
    for top, left in tiles.corners():
        assert 0 <= top <= whole - S
        assert 0 <= left <= whole - S
        weight[top : top + S, left : left + S] += tiles.fade()
    assert weight.min() > 0


def test_detail_is_added_and_streams_as_it_would_at_once() -> None:
    made = pipeline(S, steps=2)
    draw = torch.Generator().manual_seed(0)
    fine = torch.randn((1, 5, N_GUIDE, 64, 64), generator=draw).clamp(-1, 1)
    coarse = F.avg_pool2d(fine.flatten(0, 1), 2).unflatten(0, (1, 5))
    painted = coarse[:, :, RGB] * 0.5
    with torch.no_grad():
        references = made.unet.encode(torch.randn((1, 1, N_REFERENCE, S, S), generator=draw))
    whole = Detail(made, 64, steps=None, seed=0).paint(fine, coarse, painted, references)
    stream = Detail(made, 64, steps=None, seed=0)
    parts = [
        stream.paint(fine[:, i : i + 1], coarse[:, i : i + 1], painted[:, i : i + 1], references) for i in range(5)
    ]
    gap = (torch.cat(parts, 1) - whole).abs().max().item()
    assert gap < 1e-4, f"largest difference {gap}"
    begun = fine[:, :, RGB] + F.interpolate(
        (painted - coarse[:, :, RGB])[0], size=(64, 64), mode="bilinear", align_corners=False
    )
    added = (whole - begun)[0]
    assert added.std() > 0.01
    assert F.avg_pool2d(added, 16)[..., 1:-1, 1:-1].std() < 0.2 * added.std()


def test_a_network_that_changes_nothing_keeps_what_was_painted() -> None:
    made = pipeline(S, steps=1)
    for value in made.unet.head.parameters():
        torch.nn.init.zeros_(value)
    fine, coarse = torch.rand(1, 1, N_GUIDE, 64, 64), torch.rand(1, 1, N_GUIDE, S, S)
    with torch.no_grad():
        references = made.unet.encode(torch.randn(1, 1, N_REFERENCE, S, S))
    out = Detail(made, 64, steps=None, seed=0).paint(fine, coarse, coarse[:, :, RGB], references)
    torch.testing.assert_close(out, fine[:, :, RGB], atol=1e-5, rtol=0)
