"""What a run of training can be told. Light, so that the command line can be made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    steps: int = 20_000
    batch: int = 8  # windows a step
    window: int = 128  # px of the samples; they are cut out around mouths and eyes, and elsewhere
    side: int = 512  # of the square around a face that the network works at
    zoom: int = 1  # the samples' square is so many times as large: they are shown as they are, and shrunk to the side
    elsewhere: float = 1.0  # how much the network may change outside mouth and eyes; 0 shows it those alone
    eyes: float = 1.0  # how much it may change at the eyes; with 0 they are not shown
    frames: int = 0  # of a sample that are shown, one after the other; 0 shows all
    references: int = 4  # pictures of the person that are shown at most; a network shown none takes no notice of any
    nearest: float = 1.0  # share of the samples that are shown: those whose guides are least wrong where most wrong
    still: float = 0.0  # share of the windows that show the picture itself, unmoved, where there is nothing to paint
    hue: Literal["truth", "warp"] = "truth"  # whose the insides of mouths have; made ones are greyer than people's
    regress: float = 0.6  # share of the steps at the bridge's start, where it is a regressor; the rest are all along it
    rate: float = 5e-4  # of learning, at most
    ema: float = 0.999  # share of the averaged weights that a step keeps
    sigma: float = 0.1  # the bridge's noise, of -1..1
    widths: tuple[int, ...] = (32, 64, 128, 192)
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None  # of a CPU; None takes a core each
    precision: Literal["float32", "bfloat16"] = "float32"
    every: int = 500  # steps between what is saved, scored and shown
    minutes: float | None = None  # stop then, to go on another time

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.every < 1:
            raise ValueError(
                f"steps, batch and every are {self.steps}, {self.batch} and {self.every}, wanted 1 or more"
            )
        if self.zoom < 1:
            raise ValueError(f"zoom is {self.zoom}, wanted 1 or more")
        if self.frames < 0 or self.references < 0:
            raise ValueError(f"frames and references are {self.frames} and {self.references}, wanted 0 or more")
        if not 0 < self.nearest <= 1:
            raise ValueError(f"nearest is {self.nearest:g}, wanted more than 0, up to 1")
        if not 0 <= self.still < 1:
            raise ValueError(f"still is {self.still:g}, wanted 0 to less than 1")
        if self.hue not in ("truth", "warp"):
            raise ValueError(f"hue is {self.hue}, wanted truth or warp")
        if not 0 <= self.eyes <= 1:
            raise ValueError(f"eyes is {self.eyes:g}, wanted 0 to 1")
        if not 0 <= self.regress <= 1 or not 0 <= self.elsewhere <= 1:
            raise ValueError(f"regress is {self.regress:g} and elsewhere {self.elsewhere:g}, wanted 0 to 1")
        multiple = 2 ** len(self.widths)
        if self.window < 2 * multiple or self.window % multiple:
            raise ValueError(f"window is {self.window}, wanted a multiple of {multiple} from {2 * multiple} on")


FREE = ("minutes", "every", "device", "threads")  # may differ when a run goes on
TURBO = TrainOptions(steps=8_000, rate=2e-4)
CHARACTER = TrainOptions(steps=1_500, rate=1e-4, every=100)
