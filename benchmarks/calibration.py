"""What a profile gains: rendered people whose expressions are known act at 55 %, seen by the real detector."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Row, Table
from calibration.performer import ToRange, measure
from perfcap.capture import Perform, Sighting, survey
from perfcap.face import MediaPipeFaces
from perfcap.training.expression import GROUPS, Painter, Scene, random_expression, random_view
from perfcap.training.ict import load_ict
from runtime.records import ARKIT_NAMES, N_EXPRESSION

ASSET = Path(__file__).parents[2] / "shared" / "assets" / "ict_face.npz"
STRENGTH = 0.55
MEANT = 0.3  # a coefficient above this is acted
# Irises tell where eyes look; no landmark shows tongue or puffed cheeks.
_TOLD = [
    i for i, name in enumerate(ARKIT_NAMES) if not name.startswith("eyeLook") and name not in ("tongueOut", "cheekPuff")
]

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Told:
    """Of what is acted, where it is."""

    strength: float  # told over meant
    error: float  # mean absolute difference


def calibration(folder: Path) -> list[Table]:
    """Strength and error of what is told without a profile and with one."""
    if not ASSET.exists():
        return []
    scores = told(n_people=6, n_acting=60, seed=5)
    rows = [
        Row(label, {"strength": score.strength, "error": score.error})
        for label, score in zip(("without a profile", "with one"), scores, strict=True)
    ]
    title = "Six rendered people act at 55 % of their range: told over meant, and mean error, where something is acted"
    return [Table("calibration", title, ("strength", "error"), rows)]


def told(*, n_people: int, n_acting: int, seed: int) -> tuple[Told, Told]:
    """Without a profile, and with one from a take in which each person shows every expression once."""
    rng = np.random.default_rng(seed)
    painter = Painter(load_ict(ASSET))
    without, profiled, meant = [], [], []
    for _ in range(n_people):
        actor = _Actor(painter, rng)
        rest = np.zeros(N_EXPRESSION, np.float32)
        shots = actor.take([*[rest] * 6, *(e for pose in _most() for e in (pose, pose, rest))])
        performer = survey(shots)
        perform = Perform(performer, smooth=None)
        to_range = ToRange(measure([m for s in shots for m in perform.push(s)], performer.neutral, "rendered"))
        for _ in range(n_acting):
            expression, _ = random_expression(rng)
            for shot in actor.take([expression]):  # none if no face was seen
                (motion,) = perform.push(shot)
                without.append(motion.expression)
                profiled.append(to_range(motion).expression)
                meant.append(expression)
    return _scored(without, meant), _scored(profiled, meant)


class _Actor:
    """A rendered person who acts at a part of their strength, as the detector sees them."""

    def __init__(self, painter: Painter, rng: np.random.Generator) -> None:
        self._painter, self._rng = painter, rng
        self._who, self._scene = painter.person(rng), replace(Scene.random(rng), pose_spread=0.35)
        self._n_shots = 0

    def take(self, expressions: Iterable[Floats]) -> list[Sighting]:
        """One shot an expression [52], from changing sides; those in which no face was seen are left out."""
        finder = MediaPipeFaces(still=True)
        shots = [self._shot(expression, finder) for expression in expressions]
        finder.close()
        return [shot for shot in shots if shot.face is not None]

    def _shot(self, expression: Floats, finder: MediaPipeFaces) -> Sighting:
        head, _ = random_view(self._scene, self._rng, frontal=True)
        looking_ahead = np.zeros((2, 2), np.float32)
        acted = STRENGTH * expression
        picture = self._painter.shoot(self._who, self._scene, acted, looking_ahead, head, self._rng)
        faces = finder.find(picture)
        self._n_shots += 1
        return Sighting(Fraction(self._n_shots, 10), self._scene.camera, faces[0] if faces else None)


def _most() -> list[Floats]:
    """Each expression alone at its most, both sides of the face together."""
    return [
        np.array([float(name in (group, f"{group}Left", f"{group}Right")) for name in ARKIT_NAMES], np.float32)
        for group in GROUPS
    ]


def _scored(told: list[Floats], meant: list[Floats]) -> Told:
    told_, meant_ = np.array(told)[:, _TOLD], np.array(meant)[:, _TOLD]
    acted = meant_ > MEANT
    return Told(
        strength=float(told_[acted].mean() / meant_[acted].mean()),
        error=float(np.abs(told_ - meant_)[acted].mean()),
    )
