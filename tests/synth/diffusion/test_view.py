"""A frame told of and laid back on a device is the same as on the host."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch

from perfcap.expression import template
from perfcap.written import range_of_motion
from runtime.records import Cue, Motion
from runtime.stage import run
from synth.diffusion import view as views
from synth.diffusion.guide import Crop
from synth.diffusion.model import N_GUIDE, RGB
from synth.diffusion.renderer import DiffusionOptions, DiffusionRenderer
from synth.diffusion.view import DeviceEasel, HostEasel, resampling
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character
from synth.warp import WarpRenderer
from tests.synth.diffusion.network import pipeline

SIDES = (96, 256)  # the face's square is between them: shrunk, and enlarged


@pytest.fixture(scope="module")
def motions(hero: Character) -> list[Motion]:
    script = range_of_motion()
    retarget = Retarget(hero, template(), [script(Fraction(0))], RetargetOptions())
    return [retarget(script(Fraction(i, 2))) for i in range(8)]


@pytest.mark.parametrize("side", SIDES)
def test_the_network_is_told_the_same(side: int, hero: Character, motions: list[Motion]) -> None:
    warp = WarpRenderer(hero)
    host, device = HostEasel(warp, pipeline(side)), DeviceEasel(warp, torch.device("cpu"), torch.float32)
    one, other = host.view(side), device.view(side)
    off = torch.zeros(N_GUIDE)
    for motion in motions:
        plain, twin = one.guide([host.draw(motion)]), other.guide([device.draw(motion)])
        assert plain.shape == twin.shape == (1, 1, N_GUIDE, side, side)
        gap = (plain - twin).abs()[0, 0]
        off = torch.maximum(off, gap.mean((1, 2)))
        assert (gap > 0.03).float().mean() < 0.003
    print("mean difference of each channel:", ", ".join(f"{x:.1e}" for x in off))
    assert off.max() < 2e-3


@pytest.mark.parametrize("side", SIDES)
def test_what_was_painted_is_laid_back_the_same(side: int, hero: Character, motions: list[Motion]) -> None:
    warp = WarpRenderer(hero)
    host, device = HostEasel(warp, pipeline(side)), DeviceEasel(warp, torch.device("cpu"), torch.float32)
    one, other = host.view(side), device.view(side)
    for motion in motions[:3]:
        drawn, twin = host.draw(motion), device.draw(motion)
        shown = one.guide([drawn])[0, 0, RGB]
        painted = (shown + 0.2 * torch.randn(shown.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
        gap = np.abs(one.lay_back(drawn, painted).rgb.astype(int) - other.lay_back(twin, painted).rgb)
        assert gap.mean() < 0.1
        assert (gap > 3).mean() < 0.001
        assert np.abs(drawn.rgb.astype(int) - one.lay_back(drawn, painted).rgb).mean() > 1


def test_a_network_that_changes_nothing_is_the_warp_on_a_device_too(hero: Character, motions: list[Motion]) -> None:
    easel = DeviceEasel(WarpRenderer(hero), torch.device("cpu"), torch.float16)
    view = easel.view(128)
    drawn = easel.draw(motions[4])
    shown = view.guide([drawn])[0, 0, RGB]
    assert np.array_equal(view.lay_back(drawn, shown).rgb, drawn.rgb.numpy())


def test_a_performance_is_painted_the_same_wherever_it_is_drawn(
    hero: Character, motions: list[Motion], monkeypatch: pytest.MonkeyPatch
) -> None:
    cues = [Cue(time=m.time, motion=m) for m in motions]
    made = []
    device = torch.device("cpu")
    for on_device in (False, True):
        if on_device:
            monkeypatch.setattr(views, "easel_for", lambda warp, _: DeviceEasel(warp, device, torch.float32))
        for finest in (1.0, 4.0):  # the second paints close-ups
            renderer = DiffusionRenderer(hero, pipeline(64, finest=finest), DiffusionOptions(chunk=3))
            made.append([shot.rgb for shot in run(renderer, cues)])
    for one, other in zip(made[:2], made[2:], strict=True):
        gaps = [np.abs(a.astype(int) - b) for a, b in zip(one, other, strict=True)]
        assert max(g.mean() for g in gaps) < 0.3
        assert max(float((g > 8).mean()) for g in gaps) < 0.005


@pytest.mark.parametrize(("size", "side"), [(100, 64), (64, 64), (50, 64), (128, 64), (64, 256)])
@pytest.mark.parametrize("start", [-20, 0, 30])
def test_a_crop_takes_of_each_pixel_what_opencv_takes(start: int, size: int, side: int) -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (90, 90)).astype(np.float32)
    crop = Crop(start, start, size, side)
    down = resampling(start, size, side, 90, edge=True)
    np.testing.assert_allclose(down @ picture @ down.T, crop.cut(picture), atol=0.02)
    within = resampling(start, size, side, 90, edge=False)
    np.testing.assert_allclose(within @ picture @ within.T, crop.cut(picture, beyond=0), atol=0.02)
    np.testing.assert_allclose(down.sum(1), 1, atol=1e-5)
