"""A long dub in parts.

The clip is watched, and what is done to each of its frames decided, in one piece: the speaker's range, their
mouths, and the way from one mouth to the next hang together. To do it hangs on nothing but the frame.
What is decided lies in the order's folder, pickled by one step of a task for the next.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from audio.dubbing import Painter, Sitter, Stroke
from runtime.join import Part, join
from runtime.remux import ClipWriter, RemuxOptions, clip_kind
from server.dub import Clip, Whole, change_all, paint, planned
from server.jobs.attempt import Done, Progress
from server.jobs.orders import DubOrder
from server.jobs.segments import Stretch, numbers, stretches
from server.jobs.work import lasting, length_of
from server.lines import SPEECH, lines_of
from server.take import Tally, ahead

PLAN, PICTURE = "plan.pickle", "picture.mp4"


@dataclass(frozen=True)
class _Plan:
    """What all parts share."""

    whole: Whole  # watched
    sitters: list[Sitter]
    faceless: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DubInParts:
    order: DubOrder

    def begin(self, folder: Path, seconds: float, progress: Progress) -> list[Stretch]:
        order, tally = self.order, Tally()
        (line,) = lines_of(order.options, folder)
        whole = Whole(Clip.of(order.clip), line, order.options)

        def watched(done: int, total: int | None) -> None:
            progress(done, None if total is None else max(done, total // 2))  # writing is the other half

        changes, _ = planned(whole, order.options.face, tally, watched)
        times = whole.timeline.times[:-1]
        parts, strokes, faceless = stretches(times, seconds), change_all(changes), 0
        for part in parts:
            own = list(islice(strokes, len(numbers(part, times))))
            faceless += sum(not any(stroke.is_seen for stroke in each) for each in own)
            _write(_strokes(folder, part), own)
        plan = _Plan(whole, [change.sitter for change in changes], faceless, tuple(tally.notes))
        _write(folder / PLAN, plan)
        return parts

    def render(self, folder: Path, stretch: Stretch, progress: Progress) -> None:
        plan: _Plan = _read(folder / PLAN)
        strokes: list[tuple[Stroke, ...]] = _read(_strokes(folder, stretch))
        painters = [Painter(sitter) for sitter in plan.sitters]
        clip, own = plan.whole.clip, numbers(stretch, plan.whole.timeline.times[:-1])

        def painted() -> Any:
            for shown, each in zip(plan.whole.shown(own.start, own.stop), strokes, strict=True):
                paint(shown.frame, painters, each)
                yield shown

        with ClipWriter(
            folder / stretch.name, clip.path, clip.layout, tracks="none",
            options=RemuxOptions(crf=self.order.options.crf), force=True,
        ) as writer:  # fmt: skip
            for n, shown in enumerate(ahead(painted(), 4), 1):
                writer.write(shown.frame, shown.time - stretch.start, shown.duration)
                progress(n, len(own))

    def join(self, folder: Path, parts: Sequence[Stretch]) -> Done:
        plan: _Plan = _read(folder / PLAN)
        whole, output = plan.whole, folder / f"output{self.order.suffix}"
        first = parts[0].start
        join([Part(folder / part.name, part.start - first) for part in parts], folder / PICTURE, force=True)
        kind = clip_kind(output)
        assert kind.sound_encoder is not None
        with ClipWriter(
            output, whole.clip.path, whole.clip.layout, sound=whole.sound(kind.sound_encoder),
            replaced=whole.clip.sound, language=whole.language, end=whole.end, force=True,
        ) as writer:  # fmt: skip
            writer.copy_made(folder / PICTURE, first)
        lasting(output)
        for path in [folder / PLAN, folder / PICTURE, folder / SPEECH]:
            path.unlink(missing_ok=True)
        for part in parts:
            (folder / part.name).unlink()
            _strokes(folder, part).unlink()
        return Done(
            output=output.name, seconds=float(length_of(output)), frames=len(whole.timeline), faceless=plan.faceless,
            notes=(*plan.notes, *writer.notes),
        )  # fmt: skip


def _strokes(folder: Path, part: Stretch) -> Path:
    return (folder / part.name).with_suffix(".pickle")


def _write(path: Path, what: object) -> None:
    with path.open("wb") as file:
        pickle.dump(what, file, pickle.HIGHEST_PROTOCOL)


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)
