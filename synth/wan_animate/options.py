"""What Wan-Animate can be told. Light, so that the command line can be made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Offload = Literal["none", "model", "group"]
Quantize = Literal["none", "fp8", "int8", "nf4"]
PATCH_PX = 16  # sides are multiples of it: 8 px a latent, 2 latents a patch


@dataclass(frozen=True, kw_only=True)
class WanAnimateOptions:
    prompt: str = "People in the video are doing actions."
    steps: int = 20  # of denoising
    segment: int = 77  # frames made together, as the model was trained
    overlap: int = 1  # frames of the segment before that a segment begins with: 1 or 5
    area_px: int = 1280 * 720  # about how large the model's own pictures are
    seed: int = 0
    offload: Offload = "none"  # what waits in main memory: nothing, whole models, groups of layers
    quantize: Quantize = "none"  # how the large models' weights are kept

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 100:
            raise ValueError(f"steps is {self.steps}, wanted 1 to 100")
        if self.overlap not in (1, 5):
            raise ValueError(f"--overlap is {self.overlap}, wanted 1 or 5")
        if self.segment % 4 != 1 or self.segment <= 2 * self.overlap:
            raise ValueError(
                f"--segment is {self.segment}, wanted one more than a multiple of 4, and more than twice the overlap"
            )
        if self.area_px < PATCH_PX**2:
            raise ValueError(f"--area is {self.area_px} px, wanted {PATCH_PX**2} or more")
        if self.offload not in get_args(Offload):
            raise ValueError(f"--offload is {self.offload!r}; wanted {', '.join(get_args(Offload))}")
        if self.quantize not in get_args(Quantize):
            raise ValueError(f"--quantize is {self.quantize!r}; wanted {', '.join(get_args(Quantize))}")
