"""The packaged weights are the ones in the books, can be rendered with, and are nearer the truth than the warp.

`take.npz` holds four windows each of two made people whom training keeps to score with, 9 and 19 of seed 13: guide
and truth, rendered, of no real face. docs/weights.md tells how such people are made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch reads it
pytest.importorskip("diffusers", reason="needs understudy[diffusion]")

import torch

from synth.diffusion.model import RGB
from synth.diffusion.pipeline import GuidePipeline
from synth.diffusion.renderer import PACKAGED, find_weights, load_network
from synth.training.diffusion import Shown, shown
from synth.training.shards import row_type

torch.set_num_threads(1)
TAKE = Path(__file__).with_name("take.npz")
LARGEST_BYTES = 15_000_000
NAMES = ("turbo",)  # that are packaged so far


@pytest.fixture(scope="module")
def take() -> dict[str, Any]:
    """Rows of made people, as batches have them; no references."""
    with np.load(TAKE, allow_pickle=False) as file:
        rows = {name: file[name] for name in file.files}
    assert set(rows) == set(row_type(1, 1, 1).names or ())
    return {name: array for name, array in rows.items() if name != "person"}


@pytest.fixture(scope="module", params=NAMES)
def packaged(request: pytest.FixtureRequest) -> GuidePipeline:
    return load_network(find_weights(request.param), "cpu")


def test_no_packaged_file_is_too_large_and_none_is_a_pickle() -> None:
    assert sorted(path.parent.name for path in PACKAGED.glob("*/model_index.json")) == list(NAMES)
    files = [path for path in PACKAGED.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert max(path.stat().st_size for path in files) < LARGEST_BYTES


def test_the_packaged_networks_mouths_are_nearer_the_truth_than_the_warps(
    packaged: GuidePipeline, take: dict[str, Any]
) -> None:
    seen = shown(take, "cpu")
    within = torch.from_numpy(take["mouth"])[:, :, None] > 127
    before, after = (_psnr(x, seen.target, within) for x in (seen.guide[:, :, RGB], painted(packaged, seen)))
    print(f"mouths: warp {before:.2f} dB, painted {after:.2f}")
    assert after > before + 0.3, f"warp {before:.2f} dB, painted {after:.2f}"


def test_the_packaged_networks_leave_all_but_mouths_alone(packaged: GuidePipeline, take: dict[str, Any]) -> None:
    seen = shown(take, "cpu")
    made = painted(packaged, seen)
    outside = torch.from_numpy(take["mouth"] == 0)[:, :, None].expand_as(made)
    assert outside.any()
    assert torch.equal(made[outside], seen.guide[:, :, RGB][outside])


def painted(packaged: GuidePipeline, seen: Shown) -> torch.Tensor:
    B, _, _, side, _ = seen.target.shape
    with torch.no_grad():
        attended = packaged.unet.encode(seen.references)
    return packaged(seen.guide, attended, packaged.begin(B, side)).pictures


def _psnr(picture: torch.Tensor, truth: torch.Tensor, within: torch.Tensor) -> float:
    gap = ((picture - truth) / 2).square()[within.expand_as(picture)].mean()
    return float(-10 * torch.log10(gap))
