"""Tiny networks with numbers of chance in them, so that what they do is never nothing."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch reads it
pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch

from synth.diffusion.model import FaceUNet
from synth.diffusion.pipeline import GuidePipeline
from synth.diffusion.scheduler import BridgeScheduler

torch.set_num_threads(1)  # these are too small to share


def network(side: int = 32, *, elsewhere: float = 1.0, finest: float = 1.0, seed: int = 0) -> FaceUNet:
    torch.manual_seed(seed)
    unet: FaceUNet = FaceUNet(widths=(8, 8, 16), heads=2, side=side, elsewhere=elsewhere, finest=finest).eval()
    with torch.no_grad():
        for value in unet.parameters():
            if value.ndim > 1 or value.abs().max() == 0:
                value.normal_(0, 0.1)
    return unet


def pipeline(side: int = 32, *, steps: int = 2, sigma: float = 0.1, finest: float = 1.0) -> GuidePipeline:
    made = GuidePipeline(network(side, finest=finest), BridgeScheduler(steps=steps, sigma=sigma))
    made.set_progress_bar_config(disable=True)
    return made
