"""On an accelerator the network paints what it paints on a CPU, in little memory, whoever runs it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch

from perfcap.expression import template
from perfcap.written import range_of_motion
from runtime.engine_torch import TorchEngine
from runtime.engines import look
from runtime.records import Cue
from runtime.stage import run
from synth.device import DeviceWarp
from synth.diffusion.engines import EngineNetwork, run_by
from synth.diffusion.model import N_GUIDE, N_REFERENCE, FaceUNet
from synth.diffusion.pipeline import GuidePipeline
from synth.diffusion.renderer import DiffusionOptions, DiffusionRenderer
from synth.diffusion.scheduler import BridgeScheduler
from synth.diffusion.step import Shapes, Step, by_chance, fingerprint, gap
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character
from synth.warp import WarpRenderer
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


@pytest.fixture(scope="module")
def cues(hero: Character) -> list[Cue]:
    script = range_of_motion()
    retarget = Retarget(hero, template(), [script(Fraction(0))], RetargetOptions())
    times = [Fraction(i, 4) for i in range(11)]
    return [Cue(time=t, motion=replace(retarget(script(t)), time=t)) for t in times]


def test_recorded_kernels_say_what_they_said_and_their_results_are_the_callers() -> None:
    unet, shapes = pipeline(64).unet.to("cuda"), Shapes(64, frames=2, references=2)
    engine = TorchEngine(Step(unet).by_name, "cuda", shapes.inputs(unet), shapes.outputs(unet))
    first = engine(by_chance(unet, shapes, 1))
    kept = {name: x.clone() for name, x in first.items()}
    off = max(gap(unet, engine, by_chance(unet, shapes, seed)) for seed in range(3))
    assert off < 1e-2, f"largest difference {off}"
    assert all(torch.equal(first[name], kept[name]) for name in kept)


def test_every_engine_that_is_here_says_what_torch_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_ENGINES", str(tmp_path))
    unet = pipeline(64).unet.to("cuda")
    model, shapes = fingerprint(unet), Shapes(64, references=2)
    unet.half()
    for found in look():
        if found.able:
            network = EngineNetwork(unet, model, found.name)
            off = gap(unet, network.prepare(shapes), by_chance(unet, shapes, 7))
            print(f"{network.told()[0]}: {off:.1e} from torch")
            assert off < 1e-2
            assert (found.name == "torch") == ("torch" in network.told()[0]), "it fell back"


def test_a_gpu_draws_what_a_cpu_draws(hero: Character, cues: list[Cue]) -> None:
    warp = WarpRenderer(hero)
    device = DeviceWarp(warp, torch.device("cuda"))
    for cue in cues:
        off = np.abs(device.draw(cue.motion).rgb.cpu().numpy().astype(int) - warp.draw(cue.motion).rgb).max(-1)
        assert off.mean() < 0.15, "an OpenCV 5 beside it, whose steps are finer, is .08 off by itself"
        assert (off > 2).mean() < 0.001


def test_a_performance_is_painted_the_same_on_a_gpu_by_an_engine(
    hero: Character, cues: list[Cue], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_ENGINES", str(tmp_path))
    plain, on_gpu = pipeline(128), pipeline(128)
    on_gpu.to("cuda")
    run_by(on_gpu, "auto")
    one = list(run(DiffusionRenderer(hero, plain, DiffusionOptions()), cues))
    other = list(run(DiffusionRenderer(hero, on_gpu, DiffusionOptions(chunk=8)), cues))  # 8, then 1, 1 and 1
    gaps = [np.abs(a.rgb.astype(int) - b.rgb) for a, b in zip(one, other, strict=True)]
    assert max(g.mean() for g in gaps) < 1
