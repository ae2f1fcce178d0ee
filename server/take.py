"""A performance about to be read, for whatever is done with it: captured into a file, or acted.

The start of a take, and moments sampled from the rest of it, are looked at first, so that the
performer's neutral is known before the first Motion is handed on; after that one frame is in hand
at a time, however long the clip. This file does not know what the Motion is for.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice, repeat, takewhile
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.performer import PerformerProfile, ToRange
from perfcap import refine
from perfcap.body import Shoulders
from perfcap.capture import Chooser, Perform, Performer, Sighting, Track, survey
from perfcap.cuts import Cuts
from perfcap.face import FaceMesh, MediaPipeFaces
from perfcap.head import Camera
from perfcap.others import THIN, Role, sort_out, whose
from perfcap.performance import PerformanceReader
from perfcap.texture import TextureTracker
from runtime.errors import InputError
from runtime.records import Motion
from runtime.video import Frame, VideoReader, keyframe_times, read_at

T = TypeVar("T")
DONE: Any = object()

AHEAD = 100  # frames captured before the first is handed on, to know the performer by
NEXT = 3  # of those, how many frames on another is looked at that is not much the same
LOOK_AHEAD_S = 0.1  # that smoothing sees of what comes next
SAMPLED = 40  # key frames looked at from the rest of the clip
ELSEWHERE = 24  # pictures looked at outside of the wanted stretch, so that a grin cut out of a take is not its neutral
ELSEWHERE_S = Fraction(1, 4)  # between them, at least
N_CROWD = 4  # faces looked for when the user chooses among several
EXPORTS = (".csv", ".bvh", ".glb")  # of `perfcap.export`, which nothing reads back
INDEXED = (".mp4", ".m4v", ".mov", ".mkv", ".webm")  # kinds of file that say themselves how long pictures last
RIVAL = 0.5  # of the largest face: one at least so large might be the performer as well


@dataclass(frozen=True, kw_only=True)
class TakeOptions:
    face: str | None = None  # whose face: largest, left, right or a number from the left; None wants just one
    start: Fraction | None = None  # s
    end: Fraction | None = None  # s
    profile: Path | None = None  # the performer's, measured by `understudy calibrate performer`

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"end is {float(self.end):g} s and start {float(self.start):g} s, wanted a later end")
        if self.face is not None:
            Chooser(self.face)


@dataclass
class Tally:
    """What one command did, for its summary line."""

    frames: int = 0
    faceless: int = 0
    seconds: dict[str, float] = field(default_factory=dict)  # by stage
    notes: list[str] = field(default_factory=list)  # what the user should know of the result

    @contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """Count the time that passes inside."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun

    def timed(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Pass items on, counting the time it takes to get each."""
        each = iter(items)
        while True:
            with self.during(stage):
                item = next(each, DONE)
            if item is DONE:
                return
            yield item


def ahead(items: Iterable[T], n: int) -> Iterator[T]:
    """The same items, made in a thread that is at most n of them ahead; its error is raised here."""
    ready: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(n)
    stop = threading.Event()

    def put(entry: tuple[T | None, BaseException | None, bool]) -> bool:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None, False)):
                    return
            put((None, None, True))
        except BaseException as error:
            put((None, error, True))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = ready.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


@dataclass
class Take:
    """A performance about to be read: what is known of it beforehand, and its Motion."""

    performer: Performer
    camera: Camera  # the one `Motion.head` stands in front of
    moments: list[Motion]  # some of it, in any order
    motions: Iterator[tuple[Motion, NDArray[np.uint8] | None]]  # with the actor's picture where wanted
    rate: Fraction
    n_frames: int | None  # an estimate
    sound: Path | None
    size: tuple[int, int] | None  # px, of the actor's picture


def open_take(
    path: Path,
    options: TakeOptions,
    tally: Tally,
    *,
    pictures: bool = False,
    tells: Literal["expression", "face"] = "expression",
    body: bool = False,
) -> Take:
    """A performance from a video or a captured `.npz`; its times count from `options.start`.

    One that tells the face alone costs less; where a profile ranges expressions, they are told all the same. With
    `body`, the performer's shoulders are looked for too.
    """
    profile = PerformerProfile.load(options.profile) if options.profile is not None else None
    with tally.during("survey"):
        if path.suffix.lower() in EXPORTS and path.exists():
            raise InputError(f"{path} is written for other programs; wanted a video, or the capture's .npz")
        if path.suffix.lower() == ".npz":
            if options.face is not None:
                raise InputError(f"{path} holds one performer; wanted a video for --face {options.face}")
            if profile is not None:
                raise InputError(f"{path} is captured already; wanted a video for --profile {options.profile}")
            if body:
                raise InputError(f"{path} holds a head alone; wanted a video for --body")
            return _from_file(path, options)
        return _from_video(path, options, tally, profile, pictures, tells if profile is None else "expression", body)


def _from_file(path: Path, options: TakeOptions) -> Take:
    start, end = options.start or Fraction(0), options.end

    def within(time: Fraction) -> bool:
        return (options.start is None or time >= start) and (end is None or time < end)

    with PerformanceReader(path) as reader:
        take = reader.take
        step = max(1, len(reader) // (AHEAD + SAMPLED))
        moments = []
        n_frames = 0
        for i, motion in enumerate(reader):
            n_frames += within(motion.time)
            if i % step == 0 and motion.confidence > 0:
                moments.append(motion)
    if not moments:
        raise InputError(f"{path} shows no face in any frame; wanted a performance with one")
    if not n_frames:
        raise InputError(f"{path} has no frame in the wanted stretch; wanted one or more")

    def motions() -> Iterator[tuple[Motion, None]]:
        with PerformanceReader(path) as again:
            for motion in again:
                if within(motion.time):
                    yield replace(motion, time=motion.time - start), None

    return Take(
        performer=Performer(take.neutral), camera=take.camera, moments=moments, motions=motions(),
        rate=take.rate or Fraction(30), n_frames=n_frames, sound=None, size=None,
    )  # fmt: skip


def _from_video(
    path: Path,
    options: TakeOptions,
    tally: Tally,
    profile: PerformerProfile | None,
    pictures: bool,
    tells: Literal["expression", "face"],
    body: bool,
) -> Take:
    reader = VideoReader(path, options.start, options.end, pixels="stored")
    threading.Thread(target=refine.ready, name="load").start()  # wanted when the start of the clip has been seen
    finder = MediaPipeFaces(n_faces=1 if options.face is None else N_CROWD)
    texture = TextureTracker()
    shoulders = Shoulders() if body else None
    track = Track(finder, Chooser(options.face or "largest"), texture, shoulders)

    cuts = Cuts()

    def found() -> Iterator[tuple[Frame, list[FaceMesh], bool]]:
        for frame in ahead(tally.timed("decode", reader), 4):
            with tally.during("find"):
                cut = cuts(frame.rgb)
                if cut:
                    finder.forget()
                faces = finder.find(frame.rgb)
            yield frame, faces, cut

    def sightings() -> Iterator[Sighting]:
        with reader, closing(finder), closing(shoulders) if shoulders is not None else nullcontext():
            shown: Fraction | None = None
            for frame, faces, cut in ahead(found(), 2):
                with tally.during("capture"):
                    sighting = track.see(frame, faces, cut=cut)
                yield sighting
                shown = frame.time + frame.duration
            if options.end is None and shown is not None:
                _want_whole(reader, shown)

    stream = sightings()
    first = deque(islice(stream, AHEAD))
    if not first:
        raise InputError(f"{path} has no picture in the wanted stretch; wanted one frame or more")
    crowd = _Crowd(path)
    later = _sample(path, options, crowd, texture.frozen(), body, after=first[-1].time if len(first) == AHEAD else None)
    known = [s for s in [*first, *later] if s.face is not None]
    if not known:  # read on until somebody is seen; without pictures that takes little memory
        for sighting in stream:
            first.append(sighting)
            if sighting.face is not None:
                first.extend(islice(stream, AHEAD))
                break
        known = [s for s in first if s.face is not None]
    n_seen = 0 if known or options.face is None else crowd.most()
    if n_seen:
        faces, choice = ("1 face", "1") if n_seen == 1 else (f"{n_seen} faces", f"1 to {n_seen}")
        raise InputError(f"{path} shows no more than {faces} at once; wanted --face {choice}, not {options.face}")
    if not known:
        raise InputError(f"{path} shows no face in any frame; wanted an actor's face at least 64 px wide")
    if options.face is None:
        crowd.look(known[0].time)
        crowd.want_one()
    others: list[Role] = []  # who are seen besides the performer
    if profile is None:
        known, others = sort_out(known, len(known) - sum(s.face is not None for s in later))
        performer = survey([*known, *_elsewhere(path, options, texture.frozen(), reader.duration)])
    else:
        performer = Performer(profile.neutral)
    measured = Perform(performer, tells=tells, smooth=None)
    moments = [m for s in [*known[:AHEAD:NEXT], *known[AHEAD:]] for m in measured.push(s)]
    start = options.start or Fraction(0)

    def perform() -> Iterator[Motion]:
        shoulders = next((s.shoulders for s in known if s.shoulders is not None), None)
        role = now = Role.of(known[::THIN], performer)
        roles = [role, *others]
        stage = Perform(performer, tells=tells, look_ahead_s=LOOK_AHEAD_S, first=known[0], shoulders=shoulders)
        seen = False
        while first or _more(first, stream, 1):
            sighting = first.popleft()
            if sighting.afresh and seen and profile is None:
                _more(first, stream, AHEAD - len(first))
                before, now = now, whose([sighting, *takewhile(lambda s: not s.afresh, first)], roles, now)
                if now is not before:
                    yield from (role.told_by(before, motion) for motion in stage.flush())
                    stage = Perform(now.performer, tells=tells, look_ahead_s=LOOK_AHEAD_S)
            seen = seen or sighting.face is not None
            yield from (role.told_by(now, motion) for motion in stage.push(sighting))
        yield from (role.told_by(now, motion) for motion in stage.flush())

    in_range = [] if profile is None else [ToRange(profile)]
    for stage in in_range:
        moments = [m for moment in moments for m in stage.push(moment)]

    def motions() -> Iterator[tuple[Motion, NDArray[np.uint8] | None]]:
        shown: Iterable[NDArray[np.uint8] | None] = repeat(None)
        if beside is not None:  # read again, so that the pictures of the look ahead need not be kept
            shown = (frame.rgb for frame in beside)
        for motion, rgb in zip(perform(), shown):  # noqa: B905 - one of them may be endless
            for stage in in_range:
                (motion,) = stage.push(motion)
            yield replace(motion, time=motion.time - start), rgb

    beside = VideoReader(path, options.start, options.end) if pictures else None
    return Take(
        performer=performer, camera=known[0].camera, moments=moments, motions=motions(), rate=reader.rate,
        n_frames=_expected(reader, options), sound=path if reader.has_sound else None,
        size=None if beside is None else (beside.width, beside.height),
    )  # fmt: skip


def _more(first: deque[Sighting], stream: Iterator[Sighting], n: int) -> bool:
    """Whether n more sightings, or fewer, were read."""
    before = len(first)
    first.extend(islice(stream, max(n, 0)))
    return len(first) > before


def _expected(reader: VideoReader, options: TakeOptions) -> int | None:
    """How many frames the wanted stretch holds, about."""
    if reader.duration is None or (options.start is None and options.end is None):
        return reader.n_frames
    end = reader.duration if options.end is None else min(options.end, reader.duration)
    return max(1, round((end - (options.start or 0)) * reader.rate))


def _want_whole(reader: VideoReader, shown: Fraction) -> None:
    """Raise where a file whose index tells its length breaks off long before. `shown` is when the last frame ends."""
    length = reader.own_duration
    if length is None or reader.path.suffix.lower() not in INDEXED:
        return
    missing = reader.origin + length - shown
    if missing > max(length / 10, 3 / reader.rate):
        raise InputError(
            f"{reader.path} breaks off {float(shown):.2f} s into {float(length):.2f} s; "
            f"wanted a whole video, or --end {float(shown):.2f} to make do"
        )


class _Crowd:
    """How many faces of like size a clip shows, where it was looked at."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: list[list[float]] = []  # px, the largest first, of each picture with a face
        self._finder = MediaPipeFaces(still=True, n_faces=N_CROWD)

    def find(self, rgb: NDArray[np.uint8]) -> list[FaceMesh]:
        faces = self._finder.find(rgb)
        if faces:
            self._sizes.append(sorted((face.size for face in faces), reverse=True))
        return faces

    def look(self, time: Fraction) -> None:
        with VideoReader(self._path, time) as reader:
            frame = next(iter(reader), None)
            if frame is not None:
                self.find(frame.rgb)

    def most(self) -> int:
        """The most faces that a picture showed, the first one looked at among them."""
        self.look(Fraction(0))
        return max((len(sizes) for sizes in self._sizes), default=0)

    def close(self) -> None:
        self._finder.close()

    def want_one(self) -> None:
        """Raise unless the last picture, and most of the others, show one face that stands out."""
        rivals = [sum(size > RIVAL * sizes[0] for size in sizes) for sizes in self._sizes]
        if rivals and (rivals[-1] > 1 or sum(n > 1 for n in rivals) > len(rivals) / 4):
            raise InputError(
                f"{self._path} shows {max(rivals)} faces; wanted one, or a choice: --face largest, left, right or a number from the left"
            )


def _sample(
    path: Path, options: TakeOptions, crowd: _Crowd, texture: TextureTracker, body: bool, after: Fraction | None
) -> list[Sighting]:
    """Key frames spread over what comes after the start of a clip."""
    if after is None:
        return []
    times = [t for t in keyframe_times(path) if t > after and (options.end is None or t < options.end)]
    times = [times[i] for i in np.linspace(0, len(times) - 1, min(SAMPLED, len(times))).astype(int)] if times else []
    shoulders = Shoulders(still=True) if body else None
    track = Track(crowd, Chooser(options.face or "largest"), texture, shoulders)
    return [sighting for frame in read_at(path, times) for sighting in track.push(frame)]


def _elsewhere(
    path: Path, options: TakeOptions, texture: TextureTracker, duration: Fraction | None
) -> Iterator[Sighting]:
    """The same face outside of the wanted stretch: some moments of it, if only a stretch is wanted.

    From each key frame on, and from where the stretch ends, since getting farther into a clip takes long.
    """
    start, end = options.start or Fraction(0), options.end
    if options.start is None and (end is None or (duration is not None and end >= duration)):
        return
    begins = [t for t in keyframe_times(path) if t < start or (end is not None and t > end)]
    begins = sorted([*begins, end] if end is not None else begins)
    begins = [begins[i] for i in np.linspace(0, len(begins) - 1, min(ELSEWHERE, len(begins))).astype(int)]
    each = -(-ELSEWHERE // max(len(begins), 1))
    with closing(MediaPipeFaces(still=True, n_faces=1 if options.face is None else N_CROWD)) as finder:
        for begin in begins:
            choose = Chooser(options.face or "largest")
            last = begin + ELSEWHERE_S * each
            wanted = begin
            with VideoReader(path, begin, min(last, start) if begin < start else last, pixels="stored") as reader:
                for frame in reader:
                    if frame.time < wanted:
                        continue
                    wanted = frame.time + ELSEWHERE_S
                    face = choose(finder.find(frame.rgb))
                    known = None if face is None else texture.recognised(frame.rgb, face)
                    if known is not None:
                        yield Sighting(frame.time, Camera.of_picture(*frame.rgb.shape[1::-1]), known)
