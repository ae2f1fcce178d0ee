"""A clip watched once: who is in it, what each mouth does and shows, frame by frame.

One pass over the frames gives, for each person, a Motion a frame (kept on disk, so an hour takes little
memory), the mouth's controls, a bank of mouths at the clip's own resolution, and whether the mouth was free
to be seen or a hand, a microphone or a turned head was in the way. Nothing here knows of speech.
"""

from __future__ import annotations

import functools
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audio.bank import BYTES, Bank, Patch
from audio.cutout import Box, Planes, mouth_cut, pose, subsampled
from audio.mouth_shape import N_CONTROLS, SpeakerMouth, belongs, controls, from_lips
from perfcap.anchors import Anchors, AnchorTracker
from perfcap.capture import Perform, Sighting, survey
from perfcap.face import FaceFinder, FaceMesh
from perfcap.head import Camera
from runtime.records import N_EXPRESSION, N_FACE, N_LANDMARKS, Motion

if TYPE_CHECKING:
    from synth.mouth import MouthPalette

Floats = NDArray[np.float32]

SURVEYED = 200  # frames of a person seen before their neutral face is settled
SURVEY_EVERY = 2  # of them that are asked: neighbours say the same
WORK_PX = 1280  # longer side of the picture that several faces are looked for in
GLANCE_PX = 640  # and of the one that others are looked for in, beside one who is alone
SMALL_PX = 200  # a face smaller than this is looked at in full resolution; the mesh sees 128 px of any
AROUND = 1.3  # sizes of a face to each side that are looked at with it
LOOK_EVERY = 24  # frames of one who is alone after which others are looked for
SAMPLED = 1200  # faces kept to learn the speaker's shapes from
N_PEOPLE = 4  # that are told apart
SAME = 0.75  # how alike a face looks from one frame to the next, at least (.94 was the least in twelve clips)
AGAIN = 0.6  # how alike somebody looks who comes back
TURNED_RAD = 1.0  # a head turned farther shows no mouth worth changing


class Picture(Protocol):
    """What is needed of a frame."""

    @property
    def time(self) -> Fraction: ...
    @property
    def planes(self) -> Planes: ...
    def small(self, longer_px: int, box: Box | None = None) -> NDArray[np.uint8]:
        """RGB [h, w, 3] of all or a box of it, upright, at most so large."""


class Follower(FaceFinder, Protocol):
    """Finds one face by where it was."""

    def forget(self) -> None:
        """The next picture shows something else."""


@dataclass(frozen=True)
class View:
    """A frame, or a part of it, as it is looked at."""

    rgb: NDArray[np.uint8]
    box: Box  # of the frame

    @property
    def scale(self) -> np.float32:
        """How many px of the frame one of its own is wide."""
        return np.float32((self.box[2] - self.box[0]) / self.rgb.shape[1])

    def in_frame(self, points: Floats) -> Floats:
        """Points [N, 2] px of it, or landmarks [N, 3], in px of the frame."""
        return points * self.scale + self._corner(points.shape[1])

    def of_frame(self, points: Floats) -> Floats:
        """Points or landmarks in px of the frame, in its own."""
        return (points - self._corner(points.shape[1])) / self.scale

    def _corner(self, n: int) -> Floats:
        return np.array((*self.box[:2], 0), np.float32)[:n]

    def goes_on(self, last: View | None) -> bool:
        """Whether it shows the same part as large as the one before."""
        return last is not None and (last.box, last.rgb.shape) == (self.box, self.rgb.shape)


ROW = 16 + N_LANDMARKS * 3 + 1


class Motions(Sequence[Motion]):
    """Heads and faces by frame, without expressions, kept in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="understudy-")  # noqa: SIM115 - it lives as long as this
        self._times: list[Fraction] = []

    def append(self, motion: Motion) -> None:
        row = np.concatenate((motion.head.ravel(), motion.face.ravel(), (motion.confidence,)))
        self._file.seek(len(self._times) * ROW * 4)
        self._file.write(row.astype(np.float32).tobytes())
        self._times.append(motion.time)

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        self._file.seek(index * ROW * 4)
        row = np.frombuffer(self._file.read(ROW * 4), np.float32)
        return Motion(
            time=self._times[index], head=row[:16].reshape(4, 4), expression=np.zeros(N_EXPRESSION, np.float32),
            gaze=np.zeros((2, 2), np.float32), face=row[16:-1].reshape(N_LANDMARKS, 3), confidence=float(row[-1]),
        )  # fmt: skip


@dataclass(frozen=True)
class Footage:
    """One person in a clip; arrays over all its frames."""

    camera: Camera
    motions: Motions
    speaker: SpeakerMouth
    palette: MouthPalette  # of the inside, where the bank shows too little
    bank: Bank
    said: Floats  # [T, 7] the mouth's controls
    turn: Floats  # [T, 3] the head's rotation vector, radians
    light: Floats  # [T] mean luma around the mouth
    sharpness: Floats  # [T]
    free: Floats  # [T] 0 not to be touched .. 1 the mouth is plainly seen

    @property
    def share_seen(self) -> float:
        return float((self.free > 0.5).mean()) if len(self.free) else 0.0


@dataclass
class _Held:
    """A sighting whose Motion is not known yet, and what must not be lost of its frame."""

    sighting: Sighting
    planes: Planes
    corner: tuple[int, int]
    colours: Floats  # [P, 3]


def _without(sighting: Sighting) -> _Held:
    return _Held(sighting, (), (0, 0), _no_colours())


class Watch:
    """One person's footage, as it comes. `before` are the times of the frames before they were first seen."""

    def __init__(self, camera: Camera, before: Sequence[Fraction] = (), nbytes: int = BYTES) -> None:
        self._camera = camera
        self._before = tuple(before)
        self._perform: Perform | None = None
        self._held: deque[_Held] = deque()
        self._n_seen = 0  # sightings with a face
        self._bank = Bank(nbytes)
        self._motions = Motions()
        self._rows: list[Floats] = []
        self._colours: list[NDArray[np.float16]] = []
        self._rng = np.random.default_rng(0)
        self._faces: list[Floats] = []
        self._n_faces = 0
        self._widest: tuple[float, NDArray[np.uint8], Floats] | None = None  # opening, picture, landmarks px

    def push(self, planes: Planes, sighting: Sighting, view: View) -> None:
        if sighting.face is None:
            self._held.append(_without(sighting))
        else:
            self._look_inside(view, sighting.face.landmarks)
            parts, corner = mouth_cut(planes, sighting.face.landmarks)
            colours = _colours(planes, sighting.face.landmarks[_watched(), :2])
            self._held.append(_Held(sighting, parts, corner, colours))
            self._n_seen += 1
        if self._perform is None and self._n_seen >= SURVEYED:
            self._settle()
        if self._perform is not None:
            self._advance()

    def _look_inside(self, view: View, landmarks: Floats) -> None:
        """Remember the face with the widest open mouth: it shows the inside's colours. Landmarks in px of the frame."""
        apart = float(np.linalg.norm(landmarks[13, :2] - landmarks[14, :2]))
        apart /= max(float(np.linalg.norm(landmarks[33, :2] - landmarks[263, :2])), 1.0)
        if self._widest is not None and apart < 1.1 * self._widest[0] + 0.01:
            return
        inside = view.of_frame(landmarks)
        H, W = view.rgb.shape[:2]
        x0, y0 = (int(max(0, v)) for v in inside[:, :2].min(0))
        x1, y1 = (int(min(n, v)) + 1 for n, v in zip((W, H), inside[:, :2].max(0), strict=True))
        if x1 - x0 > 8 and y1 - y0 > 8:
            self._widest = apart, view.rgb[y0:y1, x0:x1].copy(), inside - np.array((x0, y0, 0), np.float32)

    def _settle(self) -> None:
        some = [h.sighting for h in self._held if h.sighting.face is not None][::SURVEY_EVERY]
        self._perform = perform = Perform(survey(some), tells="face", smooth=None)
        for time in self._before:
            nobody = Sighting(time, self._camera, None)
            (motion,) = perform.push(nobody)
            self._take(_without(nobody), motion)

    def _advance(self) -> None:
        assert self._perform is not None
        while self._held:
            held = self._held.popleft()
            (motion,) = self._perform.push(held.sighting)
            self._take(held, motion)

    def _take(self, held: _Held, motion: Motion) -> None:
        import cv2

        number = len(self._motions)
        self._motions.append(motion)
        said = controls(motion.face)
        turn = cv2.Rodrigues(motion.head[:3, :3])[0][:, 0].astype(np.float32)
        light, sharpness = _tone(held.planes[0]) if held.planes else (0.0, 0.0)
        seen = float(held.sighting.face is not None)
        self._rows.append(np.concatenate((said, turn, (light, sharpness, seen))).astype(np.float32))
        self._colours.append(held.colours.astype(np.float16))
        if held.sighting.face is None:
            return
        points = pose(motion, self._camera, motion.face[:N_FACE]).points
        self._bank.offer(Patch(number, held.planes, held.corner, points, said, turn, light, sharpness))
        self._n_faces += 1
        if len(self._faces) < SAMPLED:
            self._faces.append(motion.face)
        elif (i := int(self._rng.integers(self._n_faces))) < SAMPLED:
            self._faces[i] = motion.face

    def finish(self) -> Footage:
        """What was seen of this person."""
        from synth.mouth import palette_from_picture

        if self._perform is None:
            self._settle()
        self._advance()
        rows = np.stack(self._rows)
        said, turn, (light, sharpness, seen) = rows[:, :N_CONTROLS], rows[:, N_CONTROLS:-3], rows[:, -3:].T
        facing = np.linalg.norm(turn * (1, 1, 0), axis=1) < TURNED_RAD
        hidden = obstructed(np.stack(self._colours))
        free = (seen > 0) & facing & ~hidden
        faces = np.stack(self._faces)
        speaker = SpeakerMouth.of(faces, controls(faces))
        assert self._widest is not None
        palette = palette_from_picture(*self._widest[1:])
        self._bank.patches = [p for p in self._bank.patches if free[p.number]]
        return Footage(
            self._camera,
            self._motions,
            speaker,
            palette,
            self._bank,
            said,
            turn,
            light,
            sharpness,
            free.astype(np.float32),
        )


def _tone(luma: NDArray[Any]) -> tuple[float, float]:
    """Mean (of 255) and the logarithm of the mean gradient of a cut-out."""
    import cv2

    values = luma.astype(np.float32) / (1 if luma.dtype == np.uint8 else 4)
    return float(values.mean()), float(np.log(np.abs(cv2.Laplacian(values, cv2.CV_32F)).mean() + 0.1))


@functools.cache
def _watched() -> NDArray[np.int64]:
    """Landmarks whose colours tell whether something is before the mouth: lips and the skin around, not inside."""
    near = (from_lips() < 0.3) & (belongs()[:, 0] > 0.5)
    return np.flatnonzero(near)


@functools.cache
def _no_colours() -> Floats:
    return np.full((len(_watched()), 3), np.nan, np.float32)


def _colours(planes: Planes, points: Floats) -> Floats:
    """Y, U, V [P, 3] of the picture around points [P, 2] px."""
    import cv2

    steps = subsampled(planes)
    low, high = points.min(0), points.max(0)
    size = float((high - low).max())
    out = []
    for plane, (sx, sy) in zip(planes, steps, strict=True):
        H, W = plane.shape
        x0, y0 = (int(max(0, v)) for v in (low[0] / sx - 2, low[1] / sy - 2))
        x1, y1 = int(min(W, high[0] / sx + 3)), int(min(H, high[1] / sy + 3))
        if x1 - x0 < 2 or y1 - y0 < 2:
            out.append(np.full(len(points), np.nan, np.float32))
            continue
        box = max(1, round(0.04 * size / sx))
        small = cv2.blur(np.ascontiguousarray(plane[y0:y1, x0:x1]), (box, box))
        x = np.clip((points[:, 0] / sx - x0).astype(int), 0, small.shape[1] - 1)
        y = np.clip((points[:, 1] / sy - y0).astype(int), 0, small.shape[0] - 1)
        out.append(small[y, x].astype(np.float32) / (1 if plane.dtype == np.uint8 else 4))
    return np.stack(out, 1)


FAR_OFF = 4.0  # deviations (and 10 levels) beyond which a spot shows something else
COVERED = 0.3  # share of such spots that says so of the mouth
LIKENESS = 0.5  # of a frame's colours to the usual ones; .62 to .95 was seen of free mouths, to .42 of covered
FAINT, FAINT_LIKENESS = 0.5, 0.7  # what there is of the usual colours, where they are no liker: .63 and more of free
PLAIN = 3.0  # levels of difference among a mouth's colours below which there is no telling
AT_ONCE = 2048  # frames compared at a time, and those that say what is usual


def obstructed(colours: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which frames show something else where the mouth should be, of colours [T, P, 3] (NaN: no face).

    Either much of it has another colour, as behind a microphone, or lips and skin cannot be told apart, as
    behind a hand. Robust to light: each frame's colours count against their own mean.
    """
    known = np.flatnonzero(np.isfinite(colours).all((1, 2)))
    hidden = np.zeros(len(colours), bool)
    if len(known) < 10:
        return hidden
    some = colours[known[np.linspace(0, len(known) - 1, min(AT_ONCE, len(known))).astype(int)]].astype(np.float32)
    usual, middle = np.median(_pattern(some), 0), np.median(_plain(some), 0)
    spread = np.median(np.abs(_plain(some) - middle), 0)
    telling = (usual * usual).mean() >= PLAIN**2
    for part in np.array_split(known, -(-len(known) // AT_ONCE)):
        seen = colours[part].astype(np.float32)
        strange = (np.abs(_plain(seen) - middle) > FAR_OFF * spread + 10).any(-1).mean(1) > COVERED
        c = _pattern(seen)
        there, all_of_it = (c * usual).sum((1, 2)), max(float((usual * usual).sum()), 1e-6)
        likeness = there / np.sqrt(np.maximum((c * c).sum((1, 2)) * all_of_it, 1e-6))
        faint = (there < FAINT * all_of_it) & (likeness < FAINT_LIKENESS)
        hidden[part] = strange | (telling & ((likeness < LIKENESS) | faint))
    return hidden


def _pattern(colours: Floats) -> Floats:
    """Colours [T, P, 3] against each frame's mean; hue tells more than luma."""
    return np.asarray((colours - colours.mean(1, keepdims=True)) * np.array((1, 2, 2), np.float32))


def _plain(colours: Floats) -> Floats:
    """Colours [T, P, 3], their luma against each frame's middle."""
    luma = colours[..., :1] - np.median(colours[..., :1], 1, keepdims=True)
    return np.concatenate((luma, colours[..., 1:]), -1)


@dataclass(frozen=True)
class Seen:
    """One frame, and the faces found in a view of it, in the view's px."""

    frame: Picture
    view: View
    faces: Sequence[FaceMesh]


class Look:
    """Frames -> the faces in them. Remembers where somebody was who is alone.

    They are looked at closely, in the part of the frame around them, and others looked for in the whole of it
    now and then. Several are looked at in the whole.
    """

    def __init__(self, several: FaceFinder, one: Follower) -> None:
        self._several = several
        self._one = one
        self._longer = WORK_PX  # of the whole frame
        self._framed: FaceMesh | None = None  # who is alone, in px of the frame, when the part was set
        self._box: Box = (0, 0, 0, 0)  # that part
        self._part_px = 0  # its longer side as it is looked at
        self._n_close = 0  # frames since others were looked for

    def __call__(self, frame: Picture) -> Seen:
        if self._framed is not None and self._n_close < LOOK_EVERY:
            self._n_close += 1
            if (seen := self._closely(frame)).faces:
                return seen
        seen = self._widely(frame)
        if len(seen.faces) == 1:
            face = FaceMesh(seen.view.in_frame(seen.faces[0].landmarks))
            if self._framed is None or not _within(self._framed, face):
                self._set_part(face, frame)
        if self._framed is not None and len(seen.faces) < 2 and (close := self._closely(frame)).faces:
            self._n_close = 1
            return close
        self._framed = None
        return seen

    def _widely(self, frame: Picture) -> Seen:
        """The whole frame; once more and larger, where it shows several who are small."""
        full = max(frame.planes[0].shape)
        longer = min(full, self._longer if self._framed is None else GLANCE_PX)
        seen = self._whole(frame, longer)
        if len(seen.faces) == 1:
            return seen
        self._longer = min(full, _wanted_px(seen.faces, longer, full))
        return seen if longer == self._longer else self._whole(frame, self._longer)

    def _whole(self, frame: Picture, longer: int) -> Seen:
        H, W = frame.planes[0].shape
        view = View(frame.small(longer), (0, 0, W, H))
        return Seen(frame, view, self._several.find(view.rgb))

    def _closely(self, frame: Picture) -> Seen:
        """The part around who is alone, which follows them."""
        view = View(frame.small(self._part_px, self._box), self._box)
        faces = self._one.find(view.rgb)
        if faces:
            face = FaceMesh(view.in_frame(faces[0].landmarks))
            assert self._framed is not None
            if not _within(self._framed, face):
                self._set_part(face, frame)
        return Seen(frame, view, faces)

    def _set_part(self, face: FaceMesh, frame: Picture) -> None:
        H, W = frame.planes[0].shape
        x0, y0, x1, y1 = _window(face, (H, W))
        self._framed = face
        self._box = x0 // 4 * 4, y0 // 4 * 4, min(W, -(-x1 // 4) * 4), min(H, -(-y1 // 4) * 4)
        scale = min(1.0, SMALL_PX / face.size)
        self._part_px = round(scale * max(self._box[2] - self._box[0], self._box[3] - self._box[1]))
        self._one.forget()


@dataclass
class _Person:
    """Somebody followed through the clip, or room for somebody."""

    watch: Watch | None = None  # once they are seen
    last: FaceMesh | None = None  # in px of the frame
    looks: Floats | None = None  # `looks` of late
    anchors: AnchorTracker = field(default_factory=AnchorTracker)

    def follow(self, view: View, face: FaceMesh) -> Anchors | None:
        """What surrounds a face of a view, in px of the frame."""
        found = self.anchors.follow(view.rgb, face)
        return found and replace(found, now=view.in_frame(found.now), then=view.in_frame(found.then))


def watch(
    frames: Iterable[Picture],
    look: Look,
    n_people: int = N_PEOPLE,
    beside: Callable[[Iterable[Any]], Iterator[Any]] = iter,
) -> list[Footage]:
    """Watch a clip; everybody seen in it, whoever was seen in most frames first.

    `beside` may have the items that it passes on made in another thread, a few ahead: faces are found there.
    """
    people = [_Person() for _ in range(n_people)]
    camera: Camera | None = None
    times: list[Fraction] = []
    last: View | None = None
    for seen in beside(map(look, frames)):
        frame, view = seen.frame, seen.view
        if camera is None:
            H, W = frame.planes[0].shape
            camera = Camera.of_picture(W, H)
        if not view.goes_on(last):
            for person in people:
                person.anchors.reset()  # what they follow is of another picture
        last = view
        for person, face in zip(people, assign(people, seen), strict=True):
            sighting = Sighting(frame.time, camera, None)
            if face is None:
                person.anchors.reset()
            else:
                anchors = person.follow(view, face)
                person.last = FaceMesh(view.in_frame(face.landmarks))
                sighting = Sighting(frame.time, camera, person.last, anchors)
                person.watch = person.watch or Watch(camera, times)
            if person.watch is not None:
                person.watch.push(frame.planes, sighting, view)
        times.append(frame.time)
    found = [person.watch.finish() for person in people if person.watch is not None]
    return sorted(found, key=lambda f: -f.share_seen)


def _wanted_px(faces: Sequence[FaceMesh], longer: int, full: int) -> int:
    """How large a picture faces like these, found in one of `longer` px, should be looked for in; slow to go back."""
    least = max(longer, WORK_PX)
    if not faces or full <= WORK_PX:
        return least
    size = max(f.size for f in faces) * WORK_PX / longer
    if size < SMALL_PX:
        return full
    return WORK_PX if size > 1.3 * SMALL_PX else least


def _window(face: FaceMesh, shape: tuple[int, ...]) -> Box:
    (x, y), half = face.centre, AROUND * face.size
    return max(0, int(x - half)), max(0, int(y - half)), min(shape[1], int(x + half)), min(shape[0], int(y + half))


def _within(framed: FaceMesh, face: FaceMesh) -> bool:
    """Whether a face is still well inside the window set for it, and of that window's size: the anchors' band too."""
    near = float(np.linalg.norm(face.centre - framed.centre)) < 0.4 * framed.size
    return near and 0.75 < face.size / framed.size < 1.33


def assign(people: list[_Person], seen: Seen) -> list[FaceMesh | None]:
    """Each person's face in a view: where it was and looking alike; else whoever looks most alike; else new."""
    out: list[FaceMesh | None] = [None] * len(people)

    def give(i: int, face: FaceMesh, look: Floats) -> None:
        person = people[i]
        out[i] = face
        person.looks = look if person.looks is None else 0.9 * person.looks + 0.1 * look

    left = []
    for face in sorted(seen.faces, key=lambda f: -f.size):
        look = looks(seen.view.rgb, face.landmarks)
        placed = FaceMesh(seen.view.in_frame(face.landmarks))
        here = [i for i, p in enumerate(people) if out[i] is None and p.last is not None and _goes_on(p.last, placed)]
        here = [i for i in here if _alike(people[i], look) > SAME]
        if here:
            give(max(here, key=lambda i: _alike(people[i], look)), face, look)
        else:
            left.append((face, look))
    for face, look in left:
        known = [i for i, p in enumerate(people) if out[i] is None and p.looks is not None]
        new = next((i for i, p in enumerate(people) if p.looks is None), None)
        best = max(known, key=lambda i: _alike(people[i], look), default=None)
        if best is not None and (new is None or _alike(people[best], look) > AGAIN):
            give(best, face, look)
        elif new is not None:
            give(new, face, look)
    return out


def _goes_on(last: FaceMesh, face: FaceMesh) -> bool:
    """Whether a face is where one was."""
    near = float(np.linalg.norm(face.centre - last.centre)) < 0.75 * last.size
    return near and 0.5 < face.size / last.size < 2


def _alike(person: _Person, look: Floats) -> float:
    assert person.looks is not None
    return float(person.looks @ look / max(float(np.linalg.norm(person.looks)), 1e-6))


LOOKS_CELLS = 24  # a side
LOOKS_SPAN = 2.6  # distances of the outer eye corners


def looks(rgb: NDArray[np.uint8], landmarks: Floats) -> Floats:
    """What a head looks like, light aside: a unit vector of its luma and redness on a grid upright on its eyes."""
    import cv2

    right, left = landmarks[33, :2], landmarks[263, :2]
    across = left - right
    unit = max(float(np.linalg.norm(across)), 1.0)
    step, (c, s) = unit * LOOKS_SPAN / LOOKS_CELLS, across / unit
    turn = np.array(((step * c, -step * s), (step * s, step * c)))
    corner = (left + right) / 2 - turn @ np.array((LOOKS_CELLS / 2, LOOKS_CELLS * 0.45))
    H, W = rgb.shape[:2]
    size = int(1.5 * LOOKS_SPAN * unit)
    x0, y0 = (int(np.clip(v - size / 2, 0, n - 1)) for v, n in zip((left + right) / 2, (W, H), strict=True))
    part = rgb[y0 : min(H, y0 + size) + 1, x0 : min(W, x0 + size) + 1]
    box = max(1, int(step))
    cells = cv2.warpAffine(
        cv2.blur(part, (box, box)), np.concatenate((turn, (corner - (x0, y0))[:, None]), 1),
        (LOOKS_CELLS, LOOKS_CELLS), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)  # fmt: skip
    luma = cells @ np.array((0.299, 0.587, 0.114), np.float32)
    red = 1.5 * (cells[..., 0] - luma)
    out = np.concatenate(((luma - luma.mean()).ravel(), (red - red.mean()).ravel()))
    return np.asarray(out / max(float(np.linalg.norm(out)), 1e-6), np.float32)
