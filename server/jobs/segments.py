"""A long act in parts: captured once from end to end, rendered beside each other, joined without a seam.

Capture remembers (who is followed, what is smoothed), so it stays in one piece, and everybody renders from
what it wrote: one performer, one anchor, the same Motion to the bit. The warp remembers nothing from picture
to picture, so a part is exactly that stretch of the whole; the sound is laid under the joined picture once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from perfcap.performance import PerformanceReader
from runtime.join import Part, join
from runtime.video import KINDS, VideoReader
from server.act import act
from server.capture import CaptureOptions, capture
from server.jobs.attempt import Done, Progress
from server.jobs.orders import ActOrder, Order
from server.jobs.work import lasting, length_of

TAKE = "take.npz"


@dataclass(frozen=True)
class Stretch:
    """Pictures from `start` on up to `end`, seconds of the take; None is its end."""

    number: int
    start: Fraction
    end: Fraction | None

    @property
    def name(self) -> str:
        return f"part-{self.number:04d}.mp4"


def can_split(order: Order) -> bool:
    """Whether a stretch of the result depends on nothing outside of it, and the file can be joined of packets.

    A moving camera and an even rate count from the beginning of what they are given, a network remembers what it
    painted, and the actor's own picture is not in a captured take: such acts are done whole. So are dubs, whose plan
    is one search over all.
    """
    if not isinstance(order, ActOrder) or order.performance.suffix.lower() == ".npz":
        return False
    options = order.options
    kind = KINDS.get(order.suffix)
    is_plain = options.renderer == "warp" and not options.camera and options.fps is None and not options.side_by_side
    return is_plain and kind is not None and kind.encoder == "libx264"


def take_up(order: ActOrder, folder: Path, progress: Progress) -> Path:
    """The performance, captured."""
    options = order.options
    how = CaptureOptions(face=options.face, profile=options.profile, start=options.start, end=options.end, force=True)
    capture(order.performance, folder / TAKE, how, progress)
    return folder / TAKE


def stretches(take: Path, seconds: float) -> list[Stretch]:
    """Of a captured take, each about so long and as long as the others; they begin at the time of a picture."""
    with PerformanceReader(take) as reader:
        times = [motion.time for motion in reader]
    length = float(times[-1] - times[0])
    n = max(1, round(length / seconds))
    firsts = [times[i * len(times) // n] for i in range(n)]
    return [Stretch(i, first, firsts[i + 1] if i + 1 < n else None) for i, first in enumerate(firsts)]


def render(order: ActOrder, folder: Path, stretch: Stretch, progress: Progress) -> Path:
    """One stretch of the result, without sound."""
    options = replace(
        order.options, start=stretch.start, end=stretch.end, sound=None, profile=None, face=None, force=True
    )  # fmt: skip
    act(order.character, folder / TAKE, folder / stretch.name, options, progress)
    return folder / stretch.name


def put_together(order: ActOrder, folder: Path, parts: list[Stretch]) -> Done:
    """All stretches in one file, with the sound of the whole; the stretches and the take are removed."""
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
