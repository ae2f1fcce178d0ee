"""A long act in parts.

Capture remembers (who is followed, what is smoothed), so it stays in one piece, and everybody renders from
what it wrote: one performer, one anchor, the same Motion to the bit. Rendering remembers nothing from picture
to picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from perfcap.performance import PerformanceReader
from runtime.join import Part, join
from runtime.video import VideoReader
from server.act import act
from server.capture import CaptureOptions, capture
from server.jobs.attempt import Done, Progress
from server.jobs.orders import ActOrder
from server.jobs.segments import Stretch, stretches
from server.jobs.work import lasting, length_of

TAKE = "take.npz"


@dataclass(frozen=True)
class ActInParts:
    order: ActOrder

    def begin(self, folder: Path, seconds: float, progress: Progress) -> list[Stretch]:
        options = self.order.options
        how = CaptureOptions(
            face=options.face, profile=options.profile, start=options.start, end=options.end, force=True
        )  # fmt: skip
        capture(self.order.performance, folder / TAKE, how, progress)
        with PerformanceReader(folder / TAKE) as take:
            return stretches([motion.time for motion in take], seconds)

    def render(self, folder: Path, stretch: Stretch, progress: Progress) -> None:
        options = replace(
            self.order.options, start=stretch.start, end=stretch.end, sound=None, profile=None, face=None, force=True
        )  # fmt: skip
        act(self.order.character, folder / TAKE, folder / stretch.name, options, progress)

    def join(self, folder: Path, parts: Sequence[Stretch]) -> Done:
        order = self.order
        output = folder / f"output{order.suffix}"
        with VideoReader(order.performance) as reader:
            own = order.performance if reader.has_sound else None
        join(
            [Part(folder / part.name, part.start) for part in parts], output,
            sound=order.options.sound or own, sound_start=order.options.start or Fraction(0), force=True,
        )  # fmt: skip
        lasting(output)
        with PerformanceReader(folder / TAKE) as take:
            n, faceless = len(take), sum(motion.confidence == 0 for motion in take)
        for name in [TAKE, *(part.name for part in parts)]:
            (folder / name).unlink()
        return Done(output=output.name, seconds=float(length_of(output)), frames=n, faceless=faceless)
