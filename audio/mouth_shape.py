"""What one speaker's mouth can do, told in a few numbers, and what someone else's speech asks of it.

A handful of distances of a pose-free face (`controls`) say how a mouth is. `SpeakerMouth` knows how this
speaker's whole lower face goes with them: learned from their own footage, and where that shows too little,
from the mean face. `Follow` carries the controls of a mean face that speaks over to the speaker's own range.
Nothing here knows of pixels or sound.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfcap.expression import basis, template
from perfcap.landmarks import CHIN, LIPS
from runtime.records import ARKIT_INDEX, N_EXPRESSION, N_FACE

Floats = NDArray[np.float32]

CONTROLS = ("opening", "width", "chin", "upper", "lips", "corners", "reach")
OPENING, WIDTH = 0, 1
N_CONTROLS = len(CONTROLS)
NOSE = 2  # the landmark between nose and upper lip, which speech hardly moves
INNER_PAIRS = ((13, 14), (82, 87), (312, 317))  # upper over lower inner lip, its middle first
SHUT = 0.012  # units of opening that the face mesh reports of lips that touch

# Coefficients that speech uses, and how far.
SPOKEN = {
    "jawOpen": 0.6, "mouthClose": 0.3, "mouthFunnel": 0.7, "mouthPucker": 0.8, "mouthStretchLeft": 0.5,
    "mouthSmileLeft": 0.5, "mouthRollLower": 0.5, "mouthRollUpper": 0.4, "mouthPressLeft": 0.5,
    "mouthLowerDownLeft": 0.5, "mouthUpperUpLeft": 0.4, "mouthShrugLower": 0.3, "mouthFrownLeft": 0.3,
    "mouthDimpleLeft": 0.3, "mouthShrugUpper": 0.3,
}  # fmt: skip


def controls(face: Floats) -> Floats:
    """How the mouth of pose-free faces [..., 478, 3] is: CONTROLS [..., 7], in distances of the outer eye corners."""
    y = face[..., 1]
    across = face[..., 291, :2] - face[..., 61, :2]
    return np.stack(
        (
            sum(y[..., low] - y[..., up] for up, low in INNER_PAIRS) / len(INNER_PAIRS),
            np.hypot(across[..., 0], across[..., 1]),
            y[..., CHIN] - y[..., NOSE],
            y[..., 13] - y[..., NOSE],
            y[..., 17] - y[..., 0],
            (y[..., 61] + y[..., 291] - y[..., 13] - y[..., 14]) / 2,
            (face[..., 0, 2] + face[..., 17, 2]) / 2 - face[..., NOSE, 2],
        ),
        -1,
    ).astype(np.float32)


@functools.cache
def _speaking() -> Floats:
    """The mean face [400, 478, 3] saying all sorts of things, seeded."""
    rng = np.random.default_rng(0)
    rest, moves = template(), basis()
    faces = []
    for _ in range(400):
        e = np.zeros(N_EXPRESSION, np.float32)
        for name, reach in SPOKEN.items():
            value = reach * max(0.0, rng.normal(0.15, 0.4))
            e[ARKIT_INDEX[name]] = value
            if name.endswith("Left"):
                e[ARKIT_INDEX[name.replace("Left", "Right")]] = value
        faces.append(rest + np.tensordot(e, moves, 1))
    return np.asarray(faces, np.float32)


@functools.cache
def with_opening() -> Floats:
    """What the other controls [7] do when the mean mouth opens by one unit."""
    c = controls(_speaking())
    c = c - c.mean(0)
    return np.asarray(c[:, OPENING] @ c / (c[:, OPENING] @ c[:, OPENING]), np.float32)


@functools.cache
def _mean_shapes() -> Floats:
    """How the mean face's points [7, 468, 3] go with its controls: least squares over faces that speak."""
    rest, faces = template(), _speaking()
    c = controls(faces) - controls(rest)
    moved = (faces - rest)[:, :N_FACE].reshape(len(c), -1)
    scale = c.std(0)
    x = c / scale
    solved = np.linalg.solve(x.T @ x + 0.02 * len(x) * np.eye(N_CONTROLS), x.T @ moved)
    return np.asarray((solved / scale[:, None]).reshape(N_CONTROLS, N_FACE, 3), np.float32)


@functools.cache
def belongs() -> Floats:
    """How much each point [468, 1] of the face goes with the mouth: 1 at lips and chin, 0 from the nose up."""
    face = template()[:N_FACE]
    y = face[:, 1]
    t = np.clip((y - (y[NOSE] - 0.1)) / 0.2, 0, 1)
    return np.asarray((t * t * (3 - 2 * t))[:, None], np.float32)


@functools.cache
def from_lips() -> Floats:
    """Distance [468] of each point of the mean face from its lips, units; 0 on them."""
    face = template()
    gap = np.linalg.norm(face[:N_FACE, None, :2] - face[None, list(LIPS), :2], axis=-1).min(1)
    return np.asarray(gap, np.float32)


@dataclass(frozen=True)
class SpeakerMouth:
    """How one speaker's lower face goes with their mouth."""

    rest: Floats  # [7] controls with the mouth at rest
    spread: Floats  # [7] standard deviation of the controls in the footage
    open_most: float  # units of opening that the footage shows at most
    mean: Floats  # [7] controls of the mean of the footage
    face: Floats  # [468, 3] the mean of the footage
    shapes: Floats  # [7, 468, 3]

    @classmethod
    def of(cls, faces: Floats, said: Floats) -> SpeakerMouth:
        """Learn from pose-free faces [N, 478, 3] and their controls [N, 7]."""
        assert len(faces), "a speaker without a face"
        opening = said[:, OPENING]
        quiet = opening <= np.quantile(opening, 0.2)
        rest = np.median(said[quiet], 0)
        shut = float(np.clip(np.quantile(opening, 0.02), -0.01, SHUT))
        rest = rest + min(0.0, shut - float(rest[OPENING])) * with_opening()
        mean, face = said.mean(0), faces[:, :N_FACE].mean(0)
        prior = _mean_shapes()
        x = said - mean
        spread = np.maximum(x.std(0), 0.004)
        left = (faces[:, :N_FACE] - face - np.tensordot(x, prior, 1)).reshape(len(x), -1)
        scaled = x / spread
        solved = np.linalg.solve(
            scaled.T @ scaled + 0.1 * len(x) * np.eye(N_CONTROLS) + 10 * np.eye(N_CONTROLS), scaled.T @ left
        )
        shapes = prior + (solved / spread[:, None]).reshape(N_CONTROLS, N_FACE, 3)
        return cls(
            rest.astype(np.float32), spread.astype(np.float32), float(np.quantile(opening, 0.99)),
            mean.astype(np.float32), face.astype(np.float32), shapes.astype(np.float32),
        )  # fmt: skip

    def shape(self, said: Floats) -> Floats:
        """The face [468, 3] with the mouth's controls [7] at these."""
        return np.asarray(self.face + np.tensordot(said - self.mean, self.shapes, 1), np.float32)

    def moved(self, now: Floats, wanted: Floats) -> Floats:
        """How far each point [468, 3] goes from controls now to those wanted [7]."""
        return np.asarray(np.tensordot(wanted - now, self.shapes, 1), np.float32)
