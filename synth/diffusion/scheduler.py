"""The way from the warp's picture to the frame: a Brownian bridge between the two (I2SB, Liu et al. 2023).

At time t the picture is (1 - t) guide + t frame + sigma sqrt(t (1 - t)) noise. It starts at the guide itself, not at
noise, so one step is a regression and few steps suffice. With sigma 0 it is flow matching along straight lines.
Importing this file loads torch and diffusers.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor


class BridgeScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """`steps` is how many the weights were made for."""

    order = 1

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, steps: int = 4, sigma: float = 0.1) -> None:
        self.set_timesteps(steps)

    def set_timesteps(self, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"steps is {steps}, wanted 1 or more")
        self.timesteps = torch.arange(steps) / steps

    def between(self, guide: Tensor, frame: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Where the bridge [B, ...] is at times [B]: what a network is trained on."""
        t = time.view(-1, *[1] * (guide.ndim - 1)).to(guide.dtype)
        return guide + t * (frame - guide) + self.config.sigma * (t * (1 - t)).sqrt() * noise

    def step(self, index: int, sample: Tensor, frame: Tensor, noise: Tensor) -> Tensor:
        """From the picture at `timesteps[index]`, and what the network takes the frame for, to the next time's."""
        t = float(self.timesteps[index])
        if index + 1 == len(self.timesteps):
            return frame
        s = float(self.timesteps[index + 1])
        spread = self.config.sigma * ((s - t) * (1 - s) / (1 - t)) ** 0.5
        return sample + (s - t) / (1 - t) * (frame - sample) + spread * noise
