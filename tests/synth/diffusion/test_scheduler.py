"""The bridge starts at the guide, ends at the frame, and is as wide between as it says."""

from __future__ import annotations

import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch

from synth.diffusion.scheduler import BridgeScheduler


def test_both_ends_of_the_bridge_are_without_noise() -> None:
    bridge = BridgeScheduler(sigma=0.5)
    guide, frame, noise = torch.randn(3, 2, 3, 8, 8)
    torch.testing.assert_close(bridge.between(guide, frame, torch.zeros(2), noise), guide)
    torch.testing.assert_close(bridge.between(guide, frame, torch.ones(2), noise), frame)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_who_always_knows_the_frame_gets_there_in_any_number_of_steps(steps: int) -> None:
    bridge = BridgeScheduler(steps=steps, sigma=0.2)
    sample, frame, noise = torch.randn(3, 1, 3, 8, 8)
    for i in range(steps):
        sample = bridge.step(i, sample, frame, noise)
    torch.testing.assert_close(sample, frame)


def test_steps_leave_the_sample_where_the_bridge_says_it_is() -> None:
    """Walking with the truth in hand gives the bridge's own mean and deviation at every time."""
    bridge = BridgeScheduler(steps=4, sigma=0.5)
    torch.manual_seed(0)
    guide, frame = torch.tensor(-1.0).expand(40_000), torch.tensor(1.0).expand(40_000)
    sample = guide
    for i, t in enumerate(bridge.timesteps.tolist()):
        assert sample.mean().item() == pytest.approx(2 * t - 1, abs=0.01)
        assert sample.std().item() == pytest.approx(0.5 * (t * (1 - t)) ** 0.5, abs=0.01)
        sample = bridge.step(i, sample, frame, torch.randn(40_000))


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps is 0, wanted 1 or more"):
        BridgeScheduler(steps=0)
