"""A performer's pictures to a character's, one by one: the two halves of live performance.

`Seeing` turns pictures into Motion and learns the performer as it goes; `Showing` lets a character do what was
seen. Each is used by one thread at a time and neither knows of the other's, so that one picture can be seen while
the one before is drawn. What Seeing has learned travels with the Motion.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perfcap.capture import Chooser, Perform, Performer, Track, blend
from perfcap.face import FaceFinder
from runtime.records import Cue, Motion, Shot
from synth.camera import Move, VirtualCamera
from synth.diffusion.renderer import DiffusionOptions, DiffusionRenderer
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character
from synth.warp import WarpRenderer

if TYPE_CHECKING:
    from synth.diffusion.pipeline import GuidePipeline

LEARN = (8, 45, 240)  # faces seen after which the performer's neutral is looked at again
CHANGE_S = 0.6  # how long going over to a better neutral, or to another view, takes
MOMENTS = 40  # of the performer's, kept to anchor by
LEAST_S, USUAL_S, MOST_S = Fraction(1, 1000), Fraction(1, 30), Fraction(1, 2)  # between two pictures


@dataclass(frozen=True)
class Picture:
    """A decoded picture: what `perfcap.capture.Track` takes."""

    time: Fraction  # seconds
    rgb: NDArray[np.uint8]  # [H, W, 3]


@dataclass(frozen=True)
class Learned:
    """What is known of the performer by now."""

    neutral: NDArray[np.float32]  # [478, 3]
    moments: tuple[Motion, ...]  # to anchor by


@dataclass(frozen=True)
class Seen:
    """One picture's Motion; `learned` where more is known of the performer than before."""

    motion: Motion
    learned: Learned | None = None


class SteadyClock:
    """Capture times of a sender nobody vouches for, made to go forward by what pictures can be apart, seconds."""

    def __init__(self) -> None:
        self._came: int | None = None
        self._time = Fraction(0)

    def __call__(self, time_us: int) -> Fraction:
        if self._came is not None:
            gone = Fraction(time_us - self._came, 1_000_000)
            self._time += USUAL_S if gone < 0 else min(max(gone, LEAST_S), MOST_S)
        self._came = time_us
        return self._time


class Seeing:
    """Pictures -> Seen. Nothing is known of the performer beforehand."""

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self.mirror = False
        self.n_faceless = 0
        self.reset()

    def reset(self) -> None:
        """Forget the performer."""
        self._size: tuple[int, ...] | None = None
        self._perform = Perform()
        self._moments: deque[Motion] = deque(maxlen=MOMENTS)
        self._n_seen = 0
        self._news = False

    def calibrate(self) -> None:
        """Take the performer as they are now for neutral."""
        if self._moments:
            now = self._moments[-1]
            self._perform = Perform(Performer(now.face))
            self._moments = deque([now], maxlen=MOMENTS)
            self._n_seen = LEARN[-1]
            self._news = True

    def __call__(self, picture: Picture) -> Seen:
        if self.mirror:
            picture = Picture(picture.time, np.ascontiguousarray(picture.rgb[:, ::-1]))
        if self._size != picture.rgb.shape[:2]:  # a camera that changed: what was followed is elsewhere
            self._size = picture.rgb.shape[:2]
            self._track = Track(self._finder, Chooser("largest"))
        (sighting,) = self._track.push(picture)
        (motion,) = self._perform.push(sighting)
        if sighting.face is None:
            self.n_faceless += 1
            return Seen(motion)
        self._n_seen += 1
        if self._n_seen % 3 == 0 or not self._moments:
            self._moments.append(motion)
        news, self._news = self._news or self._n_seen in LEARN, False
        return Seen(motion, Learned(self._perform.neutral, tuple(self._moments)) if news else None)


class LiveCamera(VirtualCamera):
    """A camera that is told where to go while it films, and tells who is in the picture apart from what is behind.

    Going from one view to another it passes by the picture as it is.
    """

    def __init__(self, character: Character) -> None:
        self._still = VirtualCamera(character, (), Fraction(1))
        self._view: VirtualCamera | None = None
        self._next: VirtualCamera | None = None
        self._gone = Fraction(0)  # 0 at rest, 1 where the view wants to be
        self._last = Fraction(0)  # seconds
        self.opacity: NDArray[np.uint8] | None = None  # [H, W] of the person in the last picture

    def go(self, view: VirtualCamera | None) -> None:
        """Go over to another view; None is the picture as it is. `view` lasts one second."""
        self._next = view

    def take_over(self, other: LiveCamera) -> None:
        """Be where another one is, that films the same character."""
        self._view, self._next, self._gone, self._last = other._view, other._next, other._gone, other._last

    @property
    def is_away(self) -> bool:
        """Whether it films anything but the picture as it is."""
        return self._view is not None

    def at(self, time: Fraction) -> None:
        """It is now `time`, seconds."""
        step = min(abs(time - self._last), Fraction(1, 10)) / Fraction(CHANGE_S)
        self._last = time
        if self._view is not self._next:
            self._gone = max(self._gone - 2 * step, Fraction(0))
            if self._gone == 0:
                self._view = self._next
        elif self._view is not None:
            self._gone = min(self._gone + step, Fraction(1))

    def turn(self, motion: Motion) -> Motion:
        return motion if self._view is None else self._view.turn(replace(motion, time=self._gone))

    def film(self, shot: Shot, opacity: NDArray[np.uint8]) -> Shot:
        import cv2

        self.opacity = opacity
        if self._view is None:
            return shot
        to_frame = self._view.view(self._gone).person.copy()
        to_frame[:, 2] += to_frame[:, :2].sum(1) * 0.5 - 0.5  # OpenCV has the first pixel's middle at 0
        self.opacity = np.asarray(cv2.warpAffine(opacity, to_frame, opacity.shape[::-1]), np.uint8)
        return self._view.film(Shot(cue=replace(shot.cue, time=self._gone), rgb=shot.rgb), opacity)


class Showing:
    """Seen -> the character's pictures, painted over where there is a painter; at rest until a face has been seen."""

    def __init__(self, character: Character, intensity: float = 3.0, *, painter: GuidePipeline | None = None) -> None:
        self.character = character
        self._camera = LiveCamera(character)
        self._renderer: WarpRenderer | DiffusionRenderer = (
            WarpRenderer(character, self._camera)
            if painter is None
            else DiffusionRenderer(character, painter, DiffusionOptions(chunk=1), self._camera)
        )
        self._intensity = intensity
        self._learned: Learned | None = None
        self._retarget: Retarget | None = None
        self._before: Retarget | None = None
        self._changed_at = Fraction(0)

    @property
    def intensity(self) -> float:
        return self._intensity

    @intensity.setter
    def intensity(self, value: float) -> None:
        self._intensity = value
        if self._learned is not None:
            self._retarget, self._before = self._to(self._learned), None

    def reset(self) -> None:
        """Forget the performer."""
        self._learned = self._retarget = self._before = None

    def take_over(self, other: Showing) -> None:
        """Go on where another one is, with what it knew of the performer."""
        self._intensity = other._intensity
        self._learned = other._learned
        if self.character is other.character:
            self._camera.take_over(other._camera)
        if self._learned is not None:
            self._retarget = self._to(self._learned)

    def look(self, moves: tuple[Move, ...]) -> VirtualCamera | None:
        """The view at the end of some moves, to `go` to; slow. Raises InputError where the picture ends."""
        return VirtualCamera(self.character, moves, Fraction(1)) if moves else None

    def go(self, view: VirtualCamera | None) -> None:
        self._camera.go(view)

    def __call__(self, seen: Seen) -> NDArray[np.uint8]:
        """The character [H, W, 3] doing what was seen."""
        motion = seen.motion
        if seen.learned is not None:
            self._learned = seen.learned
            self._before, self._retarget = self._retarget, self._to(seen.learned)
            self._changed_at = motion.time
        return self.draw(self._carried(motion))

    def draw(self, motion: Motion) -> NDArray[np.uint8]:
        """The character [H, W, 3] with a Motion in its own terms."""
        self._camera.at(motion.time)
        (shot,) = self._renderer.push(Cue(time=motion.time, motion=motion))
        return np.asarray(shot.rgb, np.uint8)

    @property
    def opacity(self) -> NDArray[np.uint8]:
        """[H, W] of the person in the last picture."""
        assert self._camera.opacity is not None, "nothing was shown yet"
        return self._camera.opacity

    @property
    def behind(self) -> NDArray[np.uint8] | None:
        """[H, W, 3] what is behind the person in the last picture; None while the camera is elsewhere."""
        return None if self._camera.is_away else self.character.behind

    def _to(self, learned: Learned) -> Retarget:
        options = RetargetOptions(intensity=self._intensity)
        return Retarget(self.character, learned.neutral, list(learned.moments), options)

    def _carried(self, motion: Motion) -> Motion:
        if self._retarget is None:
            c = self.character
            return replace(motion, head=c.head, face=c.face)
        after = self._retarget(motion)
        if self._before is None:
            return after
        share = float(motion.time - self._changed_at) / CHANGE_S
        if share >= 1:
            self._before = None
            return after
        return blend(self._before(motion), after, share * share * (3 - 2 * share))
