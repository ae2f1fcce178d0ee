"""Long orders in parts: what remembers is done once from end to end, what does not beside each other.

Whoever begins an order writes down in its folder all that the parts need; each part is exactly that stretch of the
whole; whoever joins them copies packets, and the sound is laid under the whole once. Every step may run in another
process than the one before, and may be done again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from runtime.writer import KINDS
from server.character import is_clip
from server.dub import is_picture
from server.jobs.attempt import Done, Progress
from server.jobs.orders import ActOrder, DubOrder, Order


@dataclass(frozen=True)
class Stretch:
    """Pictures from `start` on up to `end`, seconds of the result; None is its end."""

    number: int
    start: Fraction
    end: Fraction | None

    @property
    def name(self) -> str:
        return f"part-{self.number:04d}.mp4"


class InParts(Protocol):
    """An order that is done in parts."""

    def begin(self, folder: Path, seconds: float, progress: Progress) -> list[Stretch]:
        """Do what is done once; returns the parts, each about so many seconds long."""

    def render(self, folder: Path, stretch: Stretch, progress: Progress) -> None:
        """One part of the picture, without sound, under the stretch's name."""

    def join(self, folder: Path, parts: Sequence[Stretch]) -> Done:
        """All parts in one file; nothing else is left in the folder."""


def in_parts(order: Order) -> InParts | None:
    """How an order is done in parts; None where a stretch of its result depends on what is outside of it.

    A moving camera and an even rate count from the beginning of what they are given, a network remembers what it
    painted, and neither the actor's own picture nor their shoulders are in a captured take. What is no H.264 cannot be joined of packets.
    """
    from server.jobs.act_in_parts import ActInParts
    from server.jobs.dub_in_parts import DubInParts

    kind = KINDS.get(order.suffix)
    if kind is None or kind.encoder != "libx264":
        return None
    if isinstance(order, ActOrder):
        options = order.options
        is_even = not options.camera and options.fps is None
        is_plain = is_even and options.renderer == "warp" and not options.side_by_side and not options.body
        is_read = order.performance.suffix.lower() != ".npz"
        return ActInParts(order) if is_plain and is_read and not is_clip(order.character) else None
    if isinstance(order, DubOrder):
        return None if order.options.in_parts or is_picture(order.clip) else DubInParts(order)
    return None


def stretches(times: Sequence[Fraction], seconds: float) -> list[Stretch]:
    """Of pictures at these times, parts about so long and as long as each other; they begin with a picture."""
    n = max(1, round(float(times[-1] - times[0]) / seconds))
    firsts = [times[i * len(times) // n] for i in range(n)]
    return [Stretch(i, first, firsts[i + 1] if i + 1 < n else None) for i, first in enumerate(firsts)]


def numbers(stretch: Stretch, times: Sequence[Fraction]) -> range:
    """Which of pictures at these times are in a part."""
    last = len(times) if stretch.end is None else bisect_left(times, stretch.end)
    return range(bisect_left(times, stretch.start), last)
