"""Camera pixels -> Motion: the capture stage.

`Track` finds the performer's landmarks in each frame; `Perform` turns landmarks into Motion against
the performer's neutral face. There is no neutral-first-frame rule: the neutral is measured from
many moments (`survey`) or, live, improves as it goes. A frame without a face is marked, held and
eased, counted, never dropped and never fatal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from perfcap.anchors import Anchors, AnchorTracker
from perfcap.body import Shoulders
from perfcap.expression import ExpressionSolver, NeutralEstimator, gaze_of, normalise, template
from perfcap.face import FaceFinder, FaceMesh
from perfcap.head import UNIT_M, Camera, face_of, fit_head, inverse, refine_head, skull_depth, unproject
from perfcap.iris import with_glances
from perfcap.smooth import OneEuro, OneEuroOptions, hindsight
from perfcap.texture import TextureTracker
from runtime.errors import InputError
from runtime.records import N_EXPRESSION, N_FACE, Motion

STIFF = 0.8  # share of the mesh's movement of hairline and temples that is not real: they hardly move on a skull
LEARN_FROM_ALL, LEARN_EVERY = 60, 3  # faces a neutral is learned from; then every third: they are alike, and it costs
HOLD_S = 0.2  # a lost face is held this long, then eased to rest
EASE_S = 0.5  # time constant of the easing to rest
RETURN_S = 0.15  # a found face is blended in over this long
SHOULDERS = OneEuroOptions(cutoff_hz=1.0, beta=3.0)  # joints shake more than landmarks, bodies are slower than faces


class Picture(Protocol):
    """What the stage needs of a frame."""

    @property
    def time(self) -> Fraction: ...
    @property
    def rgb(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Sighting:
    """What was seen at one instant."""

    time: Fraction  # seconds
    camera: Camera
    face: FaceMesh | None
    anchors: Anchors | None = None  # points around the face that no expression moves
    shoulders: NDArray[np.float32] | None = None  # [2, 2] px, right and left, where they were looked for and seen
    afresh: bool = False  # whether it may be somebody else than in the sighting before


class Chooser:
    """Which of several faces is the performer: a rule first, then whoever is nearest to where they were.

    After a cut (nobody near the last place) the rule decides again.
    """

    RULES = ("largest", "left", "right")

    def __init__(self, rule: str, asked: str = "--face") -> None:
        if rule not in self.RULES and not (rule.isdecimal() and int(rule) >= 1):
            raise InputError(
                f"{asked} is {rule!r}; wanted largest, left, right or a number counted from the left, from 1"
            )
        self._rule = rule
        self._last: FaceMesh | None = None
        self.afresh = False

    def __call__(self, faces: Iterable[FaceMesh]) -> FaceMesh | None:
        seen = sorted(faces, key=lambda f: float(f.centre[0]))
        if not seen:
            return None
        chosen: FaceMesh | None = None
        if self._last is not None:
            near = min(seen, key=lambda f: float(np.linalg.norm(f.centre - self._last.centre)))  # type: ignore[union-attr]
            same_size = 0.5 < near.size / self._last.size < 2.0
            if same_size and np.linalg.norm(near.centre - self._last.centre) < 0.75 * self._last.size:
                chosen = near
        self.afresh = chosen is None  # nobody is where they were: a cut, or the beginning
        if chosen is None:
            chosen = self._by_rule(seen)
        self._last = chosen if chosen is not None else self._last
        return chosen

    def forget(self) -> None:
        """The next picture has nothing to do with the last."""
        self._last = None

    def _by_rule(self, seen: list[FaceMesh]) -> FaceMesh | None:
        if self._rule == "largest":
            return max(seen, key=lambda f: f.size)
        if self._rule == "left":
            return seen[0]
        if self._rule == "right":
            return seen[-1]
        number = int(self._rule)
        return seen[number - 1] if 1 <= number <= len(seen) else None


class Track:
    """Stage: pictures -> Sightings of one performer; with `texture`, their landmarks lie where the skin is."""

    def __init__(
        self,
        finder: FaceFinder,
        choose: Chooser,
        texture: TextureTracker | None = None,
        shoulders: Shoulders | None = None,
    ) -> None:
        self._finder = finder
        self._choose = choose
        self._texture = texture
        self._shoulders = shoulders
        self._anchors = AnchorTracker()

    def push(self, item: Picture) -> list[Sighting]:
        return [self.see(item, self._finder.find(item.rgb))]

    def see(self, item: Picture, faces: Iterable[FaceMesh], *, cut: bool = False) -> Sighting:
        """A picture whose faces are known: they may be found in another thread, ahead of this. `cut`: it begins a shot."""
        H, W = item.rgb.shape[:2]
        if cut:
            self._choose.forget()
        face = self._choose(faces)
        if face is None or self._choose.afresh:
            self._anchors.reset()
        if face is None:
            return Sighting(item.time, Camera.of_picture(W, H), None)
        anchors = self._anchors.follow(item.rgb, face)
        face = with_glances(item.rgb, face)
        if self._texture is not None:
            if self._choose.afresh:
                self._texture.reset()
            face = self._texture.follow(item.rgb, face)
        shoulders = None if self._shoulders is None else self._shoulders.find(item.rgb, face)
        return Sighting(item.time, Camera.of_picture(W, H), face, anchors, shoulders, self._choose.afresh)

    def flush(self) -> list[Sighting]:
        return []


@dataclass(frozen=True)
class Performer:
    """What is known of the one who performs before they do: measured once, by `survey` or `calibration`."""

    neutral: NDArray[np.float32]  # [478, 3], pose-free, unit distance of the outer eye corners


def stiffness(neutral: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share [478, 1] of each landmark's movement to take away: the hairline and temples do not move on a skull."""
    x, y = np.abs(neutral[:, :1]), neutral[:, 1:2]
    top = np.clip((-y - 0.25) / 0.45, 0, 1)
    side = np.clip((x - 0.62) / 0.15, 0, 1) * np.clip((0.5 - y) / 0.3, 0, 1)
    share = STIFF * np.maximum(top, side)
    share[N_FACE:] = 0
    return np.asarray(share, np.float32)


@dataclass(frozen=True)
class _Measured:
    """A head and a face as they were measured, and smoothed by what came before."""

    head: NDArray[np.float64]  # [6, 1], see `_head_vector`
    face: NDArray[np.float32]  # [478, 3]
    smooth_head: NDArray[np.float64]
    smooth_face: NDArray[np.float32]


@dataclass(frozen=True)
class _Waiting:
    """A sighting that waits for what comes next."""

    item: Sighting
    measured: _Measured | None  # None without a face


class Perform:
    """Stage: Sightings -> Motion. Without a performer, their neutral is learned as it goes.

    One that tells the face alone costs a fifth less: coefficients and gaze are 0. One that looks ahead holds Motion
    back for so long, and smooths without lag.
    """

    def __init__(
        self,
        performer: Performer | None = None,
        *,
        tells: Literal["expression", "face"] = "expression",
        smooth: OneEuroOptions | None = OneEuroOptions(cutoff_hz=3.0, beta=40.0),  # noqa: B008
        look_ahead_s: float = 0.0,
        first: Sighting | None = None,  # with a face: where the performer is before they are seen
        shoulders: NDArray[np.float32] | None = None,  # [2, 2] px, the same of those
    ) -> None:
        assert performer is not None or tells == "expression", "a neutral is learned from expressions"
        assert smooth is not None or look_ahead_s == 0, "nothing to look ahead for"
        self._performer = performer
        self._tells = tells
        self._options = smooth
        self._look_ahead_s = look_ahead_s
        self._solver = ExpressionSolver()
        self._first = first
        self._first_shoulders = shoulders
        self._reset()

    def _reset(self) -> None:
        self._estimator = NeutralEstimator()
        self._n_seen = 0  # faces to learn the neutral from
        self._smooth_head = OneEuro(self._options) if self._options else None
        self._smooth_face = OneEuro(self._options) if self._options else None
        self._waiting: deque[_Waiting] = deque()
        self._smooth_shoulders = OneEuro(SHOULDERS) if self._options else None
        self._shoulders = self._first_shoulders  # where they are held while they are out of sight
        self._seen: Motion | None = None  # the last one with a face in it
        self._lost_at: Fraction | None = None
        self._back_at: Fraction | None = None
        self._shown: Motion | None = None  # the last one handed on
        self._reference: tuple[int, NDArray[np.float32]] = (0, np.eye(4, dtype=np.float32))
        self._lean = np.eye(4, dtype=np.float32)  # from the mesh's head to the one its surroundings agree with
        self.n_faceless = 0

    @property
    def neutral(self) -> NDArray[np.float32]:
        if self._performer is not None:
            return self._performer.neutral
        return normalise(self._estimator.neutral())

    def push(self, item: Sighting) -> list[Motion]:
        self._waiting.append(_Waiting(item, self._measure(item)))
        ready = []
        while self._waiting and item.time - self._waiting[0].item.time >= self._look_ahead_s:
            ready.append(self._next())
        return ready

    def flush(self) -> list[Motion]:
        ready = [self._next() for _ in range(len(self._waiting))]
        self._reset()
        return ready

    def _measure(self, item: Sighting) -> _Measured | None:
        smooth_head, smooth_face = self._smooth_head, self._smooth_face
        if item.face is None:
            for smooth in (smooth_head, smooth_face):
                if smooth is not None:
                    smooth.reset()
            return None
        neutral = self.neutral
        head = self._head(item, neutral)
        face = face_of(item.face.landmarks, item.camera, head, neutral)
        face += (neutral - face) * stiffness(neutral)
        vector = _head_vector(head)
        if smooth_head is None or smooth_face is None:
            return _Measured(vector, face, vector, face)
        return _Measured(vector, face, smooth_head(item.time, vector), smooth_face(item.time, face).astype(np.float32))

    def _next(self) -> Motion:
        """Motion of the first that waits, which waits no longer."""
        first = self._waiting[0]
        if first.measured is None:
            motion = self._without_face(first.item)
        else:
            motion = self._with_face(first.item, *self._smoothed(first.measured))
        self._waiting.popleft()
        self._shown = motion
        return motion

    def _smoothed(self, first: _Measured) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Head [6, 1] and face [478, 3] of the first that waits."""
        if self._options is None or not self._look_ahead_s:
            return first.smooth_head, first.smooth_face
        heads, faces = [], []
        for waiting in self._waiting:
            if waiting.measured is None:
                break
            heads.append((waiting.item.time, waiting.measured.head))
            faces.append((waiting.item.time, waiting.measured.face))
        head = (first.smooth_head + hindsight(self._options, heads)) / 2
        face = (first.smooth_face + hindsight(self._options, faces)) / 2
        return head, face.astype(np.float32)

    def _with_face(self, item: Sighting, vector: NDArray[np.float64], face: NDArray[np.float32]) -> Motion:
        if self._lost_at is not None:
            self._lost_at = None
            self._back_at = item.time
        neutral = self.neutral
        if self._performer is None:
            if self._n_seen < LEARN_FROM_ALL or self._n_seen % LEARN_EVERY == 0:
                self._estimator.update(face, self._solver.solve(face, None), 1.0)
            self._n_seen += 1
        gaze, expression = np.zeros((2, 2), np.float32), np.zeros(N_EXPRESSION, np.float32)
        if self._tells == "expression":
            gaze, expression = gaze_of(face, neutral), self._solver.solve(face, neutral)
        head = _vector_head(vector)
        motion = Motion(
            time=item.time, head=head, expression=expression, gaze=gaze, face=face, confidence=1.0,
            shoulders=self._where_shoulders_are(item, head),
        )  # fmt: skip
        self._seen = motion
        if self._back_at is not None and self._shown is not None:
            since = float(item.time - self._back_at)
            if since >= RETURN_S:
                self._back_at = None
            else:
                motion = blend(self._shown, motion, 0.35 + 0.65 * since / RETURN_S)
        return motion

    def _head(self, item: Sighting, neutral: NDArray[np.float32]) -> NDArray[np.float32]:
        assert item.face is not None
        head = fit_head(item.face.landmarks, item.camera, neutral).head
        anchors = item.anchors
        if anchors is None:
            return head
        if anchors.reference != self._reference[0]:
            # A new reference picture goes on from what the last one's points said of the mesh's lean.
            self._reference = (anchors.reference, self._lean @ head)
        roughly = unproject(item.camera, self._reference[1], anchors.then, np.float32(0.5))
        depth = skull_depth(neutral, roughly[:, :2])
        local = unproject(item.camera, self._reference[1], anchors.then, depth)
        refined = refine_head(head, item.camera, local, anchors.now)
        self._lean = refined @ inverse(head)
        return refined

    def _where_shoulders_are(self, item: Sighting, head: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """[2, 3] metres; those that are out of sight are held where they were."""
        if item.shoulders is not None:
            self._shoulders = item.shoulders
            if self._smooth_shoulders is not None:
                unit_px = item.camera.focal_px * UNIT_M / head[2, 3]
                smoothed = self._smooth_shoulders(item.time, item.shoulders / unit_px) * unit_px
                self._shoulders = smoothed.astype(np.float32)
        if self._shoulders is None:
            return None
        ray = (self._shoulders - item.camera.centre) / np.float32(item.camera.focal_px)
        return np.asarray(np.column_stack((ray, np.ones(2, np.float32))) * head[2, 3], np.float32)

    def _without_face(self, item: Sighting) -> Motion:
        self.n_faceless += 1
        if self._lost_at is None:
            self._lost_at = item.time
        rest = self.neutral
        if self._seen is None:
            return Motion(
                time=item.time, head=self._head_before(item.camera), expression=np.zeros(N_EXPRESSION, np.float32),
                gaze=np.zeros((2, 2), np.float32), face=rest, confidence=0.0,
            )  # fmt: skip
        gone = float(item.time - self._lost_at)
        left = float(np.exp(-max(0.0, gone - HOLD_S) / EASE_S))
        seen = self._seen
        return replace(
            seen,
            time=item.time,
            expression=(seen.expression * left).astype(np.float32),
            gaze=(seen.gaze * left).astype(np.float32),
            face=(rest + (seen.face - rest) * left).astype(np.float32),
            confidence=0.0,
        )

    def _head_before(self, camera: Camera) -> NDArray[np.float32]:
        """Where a head [4, 4] is before it is seen: where it will be, if that is known."""
        if self._first is not None and self._first.face is not None:
            return fit_head(self._first.face.landmarks, self._first.camera, self.neutral).head
        head = np.eye(4, dtype=np.float32)
        head[2, 3] = camera.focal_px * UNIT_M / (0.2 * max(camera.width, camera.height))
        return head


def blend(a: Motion, b: Motion, share: float) -> Motion:
    """From a (share 0) to b (share 1), at b's time."""

    def mix(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(x + (y - x) * share, np.float32)

    return replace(
        b,
        head=_vector_head(mix(_head_vector(a.head), _head_vector(b.head))),
        expression=mix(a.expression, b.expression),
        gaze=mix(a.gaze, b.gaze),
        face=mix(a.face, b.face),
        shoulders=b.shoulders if a.shoulders is None or b.shoulders is None else mix(a.shoulders, b.shoulders),
    )


def _head_vector(head: NDArray[np.float32]) -> NDArray[np.float64]:
    """A head [4, 4] as [6, 1]: rotation vector (radians), translation (units; depth counted less, it is noisier)."""
    import cv2

    rotation = cv2.Rodrigues(head[:3, :3].astype(np.float64))[0][:, 0]
    return np.asarray(np.concatenate((rotation, head[:3, 3] / UNIT_M * (1, 1, 0.2)))[:, None], np.float64)


def _vector_head(vector: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    import cv2

    head = np.eye(4, dtype=np.float32)
    head[:3, :3] = cv2.Rodrigues(vector[:3, 0].astype(np.float64))[0]
    head[:3, 3] = vector[3:, 0] * UNIT_M / np.array((1, 1, 0.2))
    return head


def survey(sightings: Iterable[Sighting]) -> Performer:
    """The performer's neutral face from many moments of a clip. Raises ValueError when no moment shows a face."""
    solver, estimator = ExpressionSolver(), NeutralEstimator()
    reference = template()
    seen = 0
    for sighting in sightings:
        if sighting.face is None:
            continue
        face = fit_head(sighting.face.landmarks, sighting.camera, reference).face
        estimator.update(face, solver.solve(face, None), 1.0)
        seen += 1
    if not seen:
        raise ValueError("no moment of the clip shows a face")
    return Performer(normalise(estimator.neutral()))
