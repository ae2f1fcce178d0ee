"""On an accelerator the network paints what it paints on a CPU, in little memory."""

from __future__ import annotations

import pytest

pytest.importorskip("diffusers", reason="needs understudy[diffusion]")

import torch

from synth.diffusion.model import N_GUIDE, N_REFERENCE, FaceUNet
from synth.diffusion.pipeline import GuidePipeline
from synth.diffusion.scheduler import BridgeScheduler
from tests.synth.diffusion.network import pipeline

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; make gpu runs it on one"),
]


def test_a_gpu_paints_what_a_cpu_paints() -> None:
    S = 64
    made = pipeline(S, steps=2)
    guide, shown = torch.randn(1, 3, N_GUIDE, S, S).clamp(-1, 1), torch.randn(1, 2, N_REFERENCE, S, S)
    pictures = []
    for device in ("cpu", "cuda"):
        made.to(device)
        with torch.no_grad():
            references = made.unet.encode(shown.to(device))
        pictures.append(made(guide.to(device), references, made.begin(1, S)).pictures.cpu())
    gap = (pictures[0] - pictures[1]).abs().max().item()
    assert gap < 1e-2, f"largest difference {gap}; TF32 rounds to about 1e-3"


def test_a_chunk_of_eight_takes_at_most_4_gb() -> None:
    S = 512
    made = GuidePipeline(FaceUNet(side=S).eval(), BridgeScheduler()).to("cuda")
    guide, shown = (torch.rand(1, n, c, S, S, device="cuda") for n, c in ((8, N_GUIDE), (4, N_REFERENCE)))
    torch.cuda.reset_peak_memory_stats()
    with torch.no_grad():
        made(guide, made.unet.encode(shown), made.begin(1, S))
    assert torch.cuda.max_memory_allocated() <= 4 * 2**30
