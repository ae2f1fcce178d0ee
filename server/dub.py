"""A clip speaks another speech: watched once, planned, written anew. The driver of `understudy dub`.

The first pass over the clip learns who is in it and what their mouths do and show; then it is known what
each frame of the result has to be, and a second pass changes what has to be changed in the frames' own
planes and encodes them. One frame is in hand at a time, however long the clip. Pictures go to `server.still`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from audio.dubbing import Curve, Dubbing, Painter, Sitter, Stroke, who_speaks
from audio.footage import N_PEOPLE, Footage, Look, watch
from perfcap.capture import Chooser
from perfcap.face import MediaPipeFaces
from runtime.errors import InputError
from runtime.output import check_output
from runtime.planes import ClipIndex, PlaneFrame, PlaneLayout, PlaneReader, read_in_order
from runtime.remux import ClipWriter, RemuxOptions, clip_kind
from runtime.sound import encoder_layout, encoder_rate, inspect_sound
from runtime.splice import Splice
from runtime.video import open_media
from server.lines import Line, SpeechOptions, joined, language_tag, lines_of, mouth_of, own_mouth, speaker_of
from server.take import Tally, ahead
from server.timeline import LENGTHS, Timeline, lay_out

WATCHED_S = 10  # of a clip that is longer than the speech, at least so much is watched, to know more mouths
MARGIN_S = Fraction(1, 2)  # watched before and after a part that is dubbed
EASE_S = 0.1  # how long a part takes to begin and end in the picture

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class DubOptions(SpeechOptions):
    face: str | None = None  # whose mouth: all, largest, left, right or a number from the left; None is who speaks
    length: str | None = None  # one of server.timeline.LENGTHS, bounce without it
    crf: int = RemuxOptions.crf  # quality of the picture, 0 without loss to 51
    still: bool = False  # of a picture, only the lips move
    seed: int = 0  # of a picture's blinks, glances and nods
    force: bool = False  # write over an existing file

    def __post_init__(self) -> None:
        super().__post_init__()
        RemuxOptions(crf=self.crf)
        if self.face is not None and self.face != "all":
            try:
                Chooser(self.face)
            except ValueError as error:
                raise ValueError(f"{error}, or all") from error
        if self.length is not None and self.length not in LENGTHS:
            raise ValueError(f"--length is {self.length!r}; wanted {', '.join(LENGTHS)}")
        if self.length is not None and self.in_parts:
            raise ValueError("--length is of a whole clip; found --start, --end or --segments, which keep the clip's")


def dub(clip: Path, output: Path, options: DubOptions, progress: Progress) -> Tally:
    """Make the face of a clip, or of a picture, say something; returns what was done."""
    if is_picture(clip):
        return _dub_picture(clip, output, options, progress)
    tally = Tally()
    clip_kind(output)
    check_output(output, options.force, made_of=(clip, options.audio, options.segments))
    facts = Clip.of(clip)
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        with tally.during("voice"):
            lines = lines_of(options, Path(folder))
        dubbed = _Parts(facts, lines, options) if options.in_parts else Whole(facts, lines[0], options)
        _write(dubbed, output, options, tally, progress)
    return tally


def say(clip: Path, line: Line, output: Path, options: DubOptions, progress: Progress) -> Tally:
    """Make a clip say one line from its beginning on; returns what was done."""
    tally = Tally()
    _write(Whole(Clip.of(clip), line, options), output, options, tally, progress)
    return tally


def is_picture(path: Path) -> bool:
    """Whether a file is a still picture, or a character made of one."""
    if path.suffix.lower() == ".character":
        return True
    with open_media(path, "a clip or a picture") as media:
        name = media.format.name
        return bool(name.endswith("_pipe") or name == "image2")


def _dub_picture(picture: Path, output: Path, options: DubOptions, progress: Progress) -> Tally:
    from server.still import StillOptions, still_dub

    if options.in_parts or options.length is not None:
        asked = "--length" if options.length is not None else "--start, --end or --segments"
        raise InputError(f"{picture} is a still picture; wanted a clip for {asked}")
    if options.face == "all":
        raise InputError(f"{picture} is a still picture, of which one face speaks; found --face all")
    how = StillOptions(
        seed=options.seed, still=options.still, face=options.face, crf=options.crf, force=options.force
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        (line,) = lines_of(options, Path(folder))
        known = line.phones is not None or line.transcript is not None
        return still_dub(picture, line.speech, output, how, progress, speaker_of(line) if known else None)


@dataclass(frozen=True)
class Clip:
    """What is known of a clip before it is watched."""

    path: Path
    layout: PlaneLayout
    duration: Fraction | None  # seconds
    n_frames: int | None  # an estimate
    sound: int | None  # index of its best sound

    @classmethod
    def of(cls, path: Path) -> Clip:
        with PlaneReader(path) as reader:
            return cls(path, reader.layout, reader.duration, reader.n_frames, _sound_index(path))

    def frames_of(self, length: Fraction | None) -> int | None:
        """How many frames so many seconds of it hold, about."""
        if length is None or (self.duration is not None and length >= self.duration):
            return self.n_frames
        return max(1, round(length * self.layout.rate))


def _sound_index(path: Path) -> int | None:
    with open_media(path, "a clip") as media:
        best = media.streams.best("audio")
        return None if best is None else int(best.index)


@dataclass(frozen=True)
class Shown:
    """One frame of the result."""

    frame: PlaneFrame
    time: Fraction
    duration: Fraction
    is_dubbed: bool


class Whole:
    """The whole clip says one line, and lasts as long as it does, or the line as long as the clip."""

    def __init__(self, clip: Clip, line: Line, options: DubOptions) -> None:
        self.clip = clip
        self._way = options.length or LENGTHS[0]
        self._line = line
        self.lines = [line]
        self._index = ClipIndex()
        self._limit: Fraction | None = None
        if self._way not in ("silence", "stretch"):
            self._limit = max(line.length + 1, Fraction(WATCHED_S))
        self.n_watched = clip.frames_of(self._limit)
        self.timeline: Timeline

    @property
    def heard(self) -> tuple[Fraction | None, Fraction | None]:
        """Start and end of the stretch of the clip's own sound that goes with what is watched."""
        return None, self._limit

    def frames(self) -> Iterator[PlaneFrame]:
        with PlaneReader(self.clip.path, None, self._limit) as reader:
            self._index = reader.index
            yield from ahead(reader, 4)

    def plan(self) -> list[str]:
        """Decide which frames make the result, now that the clip is known; returns notes."""
        step = 1 / self.clip.layout.rate
        length = self._line.length
        self.timeline = lay_out(self._index, length, self._way, step)
        first = self.timeline.times[0]
        self.lines = [self._line.at(first)]
        longer = length - (self.timeline.end - first)
        if longer > Fraction(1, 8):
            return [f"the speech is {float(longer):.2f} s longer than the clip and was cut"]
        return []

    @property
    def language(self) -> str | None:
        """Of the result's sound, where it is known to be another than the clip's."""
        return language_tag(self._line.language)

    @property
    def n_frames(self) -> int | None:
        return len(self.timeline)

    @property
    def end(self) -> Fraction | None:
        return self.timeline.end

    @property
    def watched_times(self) -> list[Fraction]:
        return self._index.times

    def order(self) -> NDArray[np.int64]:
        return self.timeline.order

    def times(self) -> NDArray[np.float64]:
        return self.timeline.seconds

    def ramp(self) -> NDArray[np.float32]:
        return np.ones(len(self.timeline), np.float32)

    def sound(self, encoder: str) -> Splice:
        track = self._line.speech.track
        inserts = [line.insert for line in self.lines]
        return Splice(encoder_rate(encoder, track.rate), encoder_layout(track.layout), inserts)

    def shown(self, first: int = 0, last: int | None = None) -> Iterator[Shown]:
        """The frames of the result, or those from one number on up to another."""
        times = self.timeline.times
        frames = read_in_order(self.clip.path, self._index, self.timeline.order[first:last])
        for i, frame in enumerate(ahead(frames, 4), first):
            yield Shown(frame, times[i], times[i + 1] - times[i], True)


class _Parts:
    """Parts of a clip say lines; the rest stays as it is, with its own sound."""

    def __init__(self, clip: Clip, lines: Sequence[Line], options: DubOptions) -> None:
        self.clip = clip
        self.lines = list(lines)
        for line in lines:
            if clip.duration is not None and line.start >= clip.duration:
                raise InputError(
                    f"{clip.path} lasts {float(clip.duration):.2f} s; wanted it to reach {float(line.start):g} s"
                )
        self._stretches = _stretches(lines)
        seconds = sum((end - start for start, end in self._stretches), Fraction(0))
        self.n_watched = clip.frames_of(seconds)
        self.n_frames = clip.n_frames
        self.language = None  # some of it is another, some the clip's
        self.end = clip.duration
        self.watched_times: list[Fraction] = []

    @property
    def heard(self) -> tuple[Fraction | None, Fraction | None]:
        return self._stretches[0][0], self._stretches[-1][1]

    def frames(self) -> Iterator[PlaneFrame]:
        for start, end in self._stretches:
            with PlaneReader(self.clip.path, start, end) as reader:
                for frame in ahead(reader, 4):
                    self.watched_times.append(frame.time)
                    yield frame

    def plan(self) -> list[str]:
        inside = [self._share(time) > 0 for time in self.watched_times]
        self._order = np.flatnonzero(inside)
        self._dubbed = {self.watched_times[n] for n in self._order}
        return [
            f"the speech at {float(line.start):g} s is {float(line.speech.duration - line.length):.2f} s longer "
            "than its part and was cut"
            for line in self.lines
            if line.speech.duration - line.length > Fraction(1, 8)
        ]

    def order(self) -> NDArray[np.int64]:
        return self._order

    def times(self) -> NDArray[np.float64]:
        return np.array([float(self.watched_times[n]) for n in self._order])

    def ramp(self) -> NDArray[np.float32]:
        return np.array([self._share(self.watched_times[n]) for n in self._order], np.float32)

    def _share(self, time: Fraction) -> float:
        """0 outside the parts .. 1 well inside one of them."""
        inside = [min(time - line.start, line.start + line.length - time) for line in self.lines]
        nearest = float(max(inside))
        return 0.0 if nearest < 0 else min(1.0, (nearest + 0.02) / EASE_S)

    def sound(self, encoder: str) -> Splice:
        inserts = [line.insert for line in self.lines]
        if self.clip.sound is None:
            track = self.lines[0].speech.track
            return Splice(encoder_rate(encoder, track.rate), encoder_layout(track.layout), inserts)
        own = inspect_sound(self.clip.path, self.clip.sound)
        rate, layout = encoder_rate(encoder, own.rate), encoder_layout(own.layout)
        return Splice(rate, layout, inserts, own, self.clip.layout.origin)

    def shown(self) -> Iterator[Shown]:
        with PlaneReader(self.clip.path) as reader:
            for frame in ahead(reader, 4):
                yield Shown(frame, frame.time, frame.duration, frame.time in self._dubbed)


def _stretches(lines: Sequence[Line]) -> list[tuple[Fraction, Fraction]]:
    """Where a clip is watched for lines in order, as (start, end) in seconds; none touch."""
    out: list[tuple[Fraction, Fraction]] = []
    for line in lines:
        start, end = max(Fraction(0), line.start - MARGIN_S), line.start + line.length + MARGIN_S
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(end, out[-1][1])
        else:
            out.append((start, end))
    return out


def _write(dubbed: Whole | _Parts, output: Path, options: DubOptions, tally: Tally, progress: Progress) -> None:
    clip = dubbed.clip
    changes, n_watched = planned(dubbed, options.face, tally, progress)
    strokes = change_all(changes)
    painters = [Painter(change.sitter) for change in changes]
    kind = clip_kind(output)
    assert kind.sound_encoder is not None
    total = None if dubbed.n_frames is None else n_watched + dubbed.n_frames
    with ClipWriter(
        output, clip.path, clip.layout, sound=dubbed.sound(kind.sound_encoder), replaced=clip.sound,
        language=dubbed.language, end=dubbed.end, options=RemuxOptions(crf=options.crf), force=options.force,
    ) as writer:  # fmt: skip

        def edited() -> Iterator[Shown]:
            for shown in tally.timed("decode", dubbed.shown()):
                if shown.is_dubbed:
                    with tally.during("edit"):
                        done = next(strokes)
                        paint(shown.frame, painters, done)
                    tally.faceless += not any(stroke.is_seen for stroke in done)
                yield shown

        for shown in ahead(edited(), 4):
            with tally.during("encode"):
                writer.write(shown.frame, shown.time, shown.duration)
            tally.frames += 1
            progress(n_watched + tally.frames, total)
    tally.notes += writer.notes


def paint(frame: PlaneFrame, painters: Sequence[Painter], strokes: Sequence[Stroke]) -> None:
    """Change everybody's mouth in a frame."""
    for painter, stroke in zip(painters, strokes, strict=True):
        if stroke.motion is not None:
            painter.paint(frame.editable(), stroke)


def planned(dubbed: Whole | _Parts, face: str | None, tally: Tally, progress: Progress) -> tuple[list[Change], int]:
    """Watch what is to be dubbed and decide what is done to it; also returns how many frames were watched."""
    clip = dubbed.clip
    with _Beside() as beside:  # the sounds are listened to while the clip is watched
        beside.pool.submit(_load)
        start, end = dubbed.heard
        is_heard = clip.sound is not None and any(line.curve is None for line in dubbed.lines)
        own = None if not is_heard else beside.pool.submit(own_mouth, clip.path, start, end, beside.stop)
        mouths = [beside.pool.submit(mouth_of, line, beside.stop) for line in dubbed.lines]
        people, n_watched = _watch(dubbed, tally, progress)
        tally.notes += dubbed.plan()
        with tally.during("listen"):
            said = [mouth.result() for mouth in mouths]
            own_curve = None if own is None else own.result()
    tally.notes += [mouth.rests for mouth in said if mouth.rests is not None]
    curves = [_moved(mouth.curve, line.start) for mouth, line in zip(said, dubbed.lines, strict=True)]
    speech = joined(curves)
    times = np.array([float(t) for t in dubbed.watched_times])
    chosen = _choose(clip.path, people, face, times, own_curve)
    return [Change(f, speech, dubbed, times, own_curve) for f in chosen], n_watched


def _load() -> None:
    """What changes frames, loaded while they are watched."""
    from audio import rerender

    rerender.load()


class _Beside:
    """One thread for what can be done meanwhile; leaving by an exception does not wait for it to be done."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.stop = Event()

    def __enter__(self) -> _Beside:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.stop.set()
        self.pool.shutdown(cancel_futures=kind is not None)


def _moved(curve: Curve, start: Fraction) -> Curve:
    return Curve(start, curve.values, curve.voiced)


def _watch(dubbed: Whole | _Parts, tally: Tally, progress: Progress) -> tuple[list[Footage], int]:
    """Everybody in what is watched of a clip, and how many frames that was."""
    n = 0

    def counted() -> Iterator[PlaneFrame]:
        nonlocal n
        for frame in dubbed.frames():
            yield frame
            n += 1
            progress(n, None if dubbed.n_watched is None else 2 * dubbed.n_watched)

    with (
        tally.during("watch"),
        closing(MediaPipeFaces(n_faces=N_PEOPLE)) as several,
        closing(MediaPipeFaces()) as one,
    ):
        people = watch(counted(), Look(several, one), beside=lambda seen: ahead(seen, 4))
    path = dubbed.clip.path
    if not n:
        raise InputError(f"{path} has no picture in the wanted stretch; wanted one frame or more")
    if not people:
        raise InputError(f"{path} shows no face in any frame; wanted a speaker's face at least 64 px wide")
    return people, n


def _choose(
    path: Path, people: list[Footage], face: str | None, times: NDArray[np.float64], own: Curve | None
) -> list[Footage]:
    """Those whose mouths are to speak."""
    if face is None:
        return [people[who_speaks(people, times, own)]]
    if face == "all":
        return people
    if face == "largest":
        return [max(people, key=_size)]
    in_a_row = sorted(people, key=_place)
    if face in ("left", "right"):
        return [in_a_row[0 if face == "left" else -1]]
    if int(face) > len(in_a_row):
        raise InputError(f"{path} shows {len(in_a_row)} faces; wanted --face {len(in_a_row)} or less, found {face}")
    return [in_a_row[int(face) - 1]]


def _heads(footage: Footage) -> NDArray[np.float32]:
    """Where a head is [n, 3], metres, at up to 50 of the moments it is seen."""
    seen = np.flatnonzero(footage.free > 0.5)
    seen = seen if len(seen) else np.arange(len(footage.motions))
    some = seen[np.linspace(0, len(seen) - 1, min(50, len(seen))).astype(int)]
    return np.array([footage.motions[int(i)].head[:3, 3] for i in some])


def _place(footage: Footage) -> float:
    head = _heads(footage)
    return float(np.median(head[:, 0] / head[:, 2]))


def _size(footage: Footage) -> float:
    return float(np.median(1 / _heads(footage)[:, 2]))


class Change:
    """One person's mouth in the result."""

    def __init__(
        self, footage: Footage, speech: Curve, dubbed: Whole | _Parts, watched: NDArray[np.float64], own: Curve | None
    ) -> None:
        order = dubbed.order()
        self._dubbing = dubbing = Dubbing(footage, speech, order, dubbed.times(), own, watched)
        ramp = dubbed.ramp()
        dubbing.wanted = footage.said[order] + (dubbing.wanted - footage.said[order]) * ramp[:, None]
        dubbing.share = dubbing.share * ramp
        self.sitter = Sitter.of(footage)

    def strokes(self) -> Iterator[Stroke]:
        """What is done to each frame that is dubbed, in order."""
        return self._dubbing.strokes()


def change_all(changes: Sequence[Change]) -> Iterator[tuple[Stroke, ...]]:
    """What is done to everybody's mouth, frame by frame."""
    return zip(*(change.strokes() for change in changes), strict=True)
