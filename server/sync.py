"""A clip's sound beside its lips: how far apart, and a copy of the clip where they are together.

The mouths in the clip are watched, the sound is heard for what it asks of a mouth, and whoever's mouth goes
with it best is the one who speaks. Of a long clip the two minutes with the most speech are enough.
"""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from audio.dubbing import RATE, Curve
from audio.footage import N_PEOPLE, Footage, Look, watch
from audio.speech import inspect_speech
from audio.sync import REACH_S, Offset, measure
from perfcap.face import MediaPipeFaces
from runtime.errors import InputError
from runtime.output import check_output
from runtime.planes import PlaneFrame, PlaneReader
from runtime.remux import ClipWriter, RemuxOptions, clip_kind, copies_picture
from runtime.sound import encoder_layout, encoder_rate, open_sound
from runtime.splice import Splice
from server.lines import Line, mouth_of
from server.take import Tally, ahead

HEARD_S = 600  # of a longer clip only so much is searched for the stretch with the most speech
WATCHED_S = 120  # of which so much is watched
SURE = 0.5  # confidence below which no sound is moved; strangers' sound reaches it once in thirty times
IN_SYNC_MS = 20  # nearer than this nobody sees or hears a difference, and nothing can be measured


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    start: Fraction | None = None  # s; only from here on is measured
    end: Fraction | None = None  # s
    fix: bool = False  # write the clip with its sound moved to its lips
    output: Path | None = None  # where to
    force: bool = False  # write over an existing file

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"end is {float(self.end):g} s and start {float(self.start):g} s, wanted a later end")
        if self.fix and self.output is None:
            raise ValueError("--fix writes a clip; wanted --output as well")
        if self.output is not None and not self.fix:
            raise ValueError("--output is where --fix writes; found no --fix")


@dataclass
class InSync:
    """What was found of one clip."""

    offset: Offset
    tally: Tally


def sync(clip: Path, options: SyncOptions, progress: Callable[[int, int | None], None]) -> InSync:
    """Measure a clip and, where that is asked for, write it put right. Raises InputError, also where it is not sure
    enough of the offset to move a sound by it."""
    if options.output is not None:
        clip_kind(options.output)
        check_output(options.output, options.force, made_of=(clip,))
    found = measure_clip(clip, options, progress)
    if options.output is not None:
        if found.offset.confidence < SURE:
            raise InputError(f"{in_words(clip, found)}; wanted a confidence of {SURE} or more to move the sound by")
        with found.tally.during("write"):
            found.tally.notes += fix_clip(clip, found.offset.ms, options.output, options.force)
    return found


def measure_clip(clip: Path, options: SyncOptions, progress: Callable[[int, int | None], None]) -> InSync:
    """How far a clip's sound is from the lips of whoever speaks in it. Raises InputError where that cannot be told."""
    tally = Tally()
    with PlaneReader(clip) as reader:  # its own errors come first
        if not reader.has_sound:
            raise InputError(f"{clip} has no sound; wanted a clip with sound to measure its lips against")
    with tally.during("speech"):
        heard = _heard(clip, options)
        start, end = _most_spoken(clip, heard)
    with tally.during("watch"):
        people, times = _watched(clip, start, end, tally, progress)
    if not people:
        raise InputError(f"{clip} shows no face while it is spoken; wanted a face at least 64 px wide")
    found = [one for one in (_measured(person, times, heard) for person in people) if one is not None]
    if not found:
        raise InputError(
            f"{clip} shows nobody who talks for a second or more; wanted a face that talks, with its sound"
        )
    return InSync(max(found, key=lambda one: one.agreement), tally)


def _heard(clip: Path, options: SyncOptions) -> Curve:
    """What the clip's sound asks of a mouth, in the clip's own time."""
    first = options.start or Fraction(0)
    last = first + HEARD_S if options.end is None else min(options.end, first + HEARD_S)
    speech = inspect_speech(clip, first, last)
    mouth = mouth_of(Line(speech, speech.start))
    if mouth.is_silent:
        raise InputError(f"{clip} is silent; wanted a clip with speech")
    return mouth.curve


def _most_spoken(clip: Path, heard: Curve) -> tuple[Fraction, Fraction]:
    """The stretch of at most WATCHED_S with the most speech, seconds."""
    n = min(WATCHED_S * RATE, len(heard.voiced))
    spoken = np.concatenate(([0.0], np.cumsum(heard.voiced, dtype=np.float64)))
    first = int(np.argmax(spoken[n:] - spoken[:-n]))
    if spoken[first + n] == spoken[first]:
        raise InputError(f"{clip} holds no speech; wanted a clip in which somebody talks")
    return heard.start + Fraction(first, RATE), heard.start + Fraction(first + n, RATE)


def _watched(
    clip: Path, start: Fraction, end: Fraction, tally: Tally, progress: Callable[[int, int | None], None]
) -> tuple[list[Footage], list[float]]:
    """Everybody seen in a stretch of a clip, and when its frames are shown, seconds."""
    times: list[float] = []
    with (
        PlaneReader(clip, start, end) as reader,
        closing(MediaPipeFaces(n_faces=N_PEOPLE)) as several,
        closing(MediaPipeFaces()) as one,
    ):
        n_frames = round((end - start) * reader.layout.rate)

        def frames() -> Iterator[PlaneFrame]:
            for frame in ahead(reader, 4):
                yield frame
                times.append(float(frame.time))
                tally.frames += 1
                progress(tally.frames, n_frames)

        people = watch(frames(), Look(several, one))
    return people, times


def _measured(person: Footage, times: list[float], heard: Curve) -> Offset | None:
    said, free = person.said.astype(np.float64), person.free.astype(np.float64)
    return measure(np.array(times), said, free, heard)


def fix_clip(clip: Path, late_ms: float, output: Path, force: bool) -> list[str]:
    """Write a clip whose sound is late by so much with its sound in time, to the sample, and return notes.

    The picture is copied where the new container takes it, else encoded once; all else goes along.
    """
    kind = clip_kind(output)
    check_output(output, force)
    with PlaneReader(clip) as reader:
        layout = reader.layout
        track = inspect_speech(clip).track
        assert kind.sound_encoder is not None
        late = Fraction(round(late_ms * track.rate / 1000), track.rate)  # seconds
        moved = Splice(
            encoder_rate(kind.sound_encoder, track.rate), encoder_layout(track.layout),
            base=track, base_start=layout.origin + late,
        )  # fmt: skip
        with ClipWriter(
            output, clip, layout, sound=moved, replaced=_index(clip), options=RemuxOptions(), force=force
        ) as writer:
            if copies_picture(output, clip, layout):
                writer.copy()
            else:
                for frame in ahead(reader, 4):
                    writer.write(frame, frame.time, frame.duration)
    return writer.notes


def _index(clip: Path) -> int:
    """Which of the clip's streams is its sound."""
    container, stream = open_sound(clip)
    with container:
        return int(stream.index)


def in_words(clip: Path, found: InSync, output: Path | None = None) -> str:
    """The finding, for people."""
    offset = found.offset
    where = f"{abs(offset.ms):.0f} ms {'after' if offset.ms > 0 else 'before'} the lips"
    if abs(offset.ms) < IN_SYNC_MS:
        where = f"in sync with the lips ({offset.ms:+.0f} ms)"
    if abs(offset.ms) > 1000 * REACH_S - 20:
        where += ", as far as was looked"
    said = f"{clip}: the sound is {where}; confidence {offset.confidence:.2f}, from {offset.talked_s:.1f} s of talk"
    if output is None:
        return said
    return "\n".join((said, f"{output}: the sound moved by {-offset.ms:+.0f} ms", *found.tally.notes))


def as_json(clip: Path, found: InSync, output: Path | None) -> str:
    """The finding, for programs: one line."""
    offset = found.offset
    return json_format.dumps(
        {
            "command": "sync",
            "clip": str(clip),
            "output": None if output is None else str(output),
            "offset_ms": round(offset.ms, 1),
            "confidence": round(offset.confidence, 3),
            "talked_s": round(offset.talked_s, 2),
            "agreement": round(offset.agreement, 3),
            "notes": found.tally.notes,
        }
    )
