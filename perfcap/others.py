"""Whoever is in the picture after a cut, in the terms of the performer before it.

A character has one performer. What another one shows is told as what the first would show doing the same: another's
jaw, brows and place in the picture are none of the character's. Knows sightings and Motion, not how either is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfcap.capture import Performer, Sighting, survey
from perfcap.expression import align
from perfcap.head import STABLE, fit_head
from perfcap.landmarks import OVAL
from runtime.records import Motion

ALIKE = 0.04  # units; two halves of a take are .003 to .03 apart, two people .02 to .2, most more than .05
SOMEBODY_ELSE = 0.09  # units, of a single moment, whose expression is not known
FEW = 5  # sightings that do not tell whose they are
THIN = 4  # of so many sightings in a row one tells as much: the first picture waits for them

_SHAPE = sorted({*STABLE, *OVAL})


def unlike(face: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How far two faces [478, 3] are apart in what expressions change least, root mean square, units."""
    off = (align(face, other) - other)[_SHAPE, :2]
    return float(np.sqrt((off**2).sum(1).mean()))


@dataclass(frozen=True)
class Role:
    """A performer, and where they usually are."""

    performer: Performer
    place: NDArray[np.float32]  # [3]: right and down at a distance of 1, and the distance in metres

    @classmethod
    def of(cls, sightings: Sequence[Sighting], performer: Performer) -> Role:
        """Somebody's from some of their sightings; raises ValueError when none shows a face."""
        heads = [fit_head(s.face.landmarks, s.camera, performer.neutral).head for s in sightings if s.face is not None]
        if not heads:
            raise ValueError("no moment of the clip shows a face")
        place = np.stack([head[:3, 3] for head in heads])
        place[:, :2] /= place[:, 2:]
        return cls(performer, np.median(place, 0).astype(np.float32))

    def told_by(self, other: Role, motion: Motion) -> Motion:
        """Another's Motion as it would be this one's."""
        if other is self:
            return motion
        head = motion.head.copy()
        head[:3, 3] = self._here(other, motion.head[None, :3, 3])[0]
        return replace(
            motion,
            head=head,
            face=self.performer.neutral + (motion.face - other.performer.neutral),
            shoulders=None if motion.shoulders is None else self._here(other, motion.shoulders),
        )

    def _here(self, other: Role, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [N, 3] metres around another's place, around this one's."""
        ray = points[:, :2] / points[:, 2:] - other.place[:2] + self.place[:2]
        distance = points[:, 2:] * (self.place[2] / other.place[2])
        return np.concatenate((ray * distance, distance), 1)


def whose(run: Sequence[Sighting], known: list[Role], now: Role) -> Role:
    """Whose the sightings of a shot are: one of those known, or of somebody new, who is then added to them."""
    seen = [s for s in run if s.face is not None]
    if len(seen) < FEW:
        return now
    performer = survey(seen)
    for role in (now, *known):
        if unlike(performer.neutral, role.performer.neutral) < ALIKE:
            return role
    known.append(Role.of(seen, performer))
    return known[-1]


def nearest(sighting: Sighting, roles: Sequence[Role]) -> Role | None:
    """Whose a single face looks like, whatever it does; None: like nobody's of those known."""
    assert sighting.face is not None

    def off(role: Role) -> float:
        neutral = role.performer.neutral
        return unlike(fit_head(sighting.face.landmarks, sighting.camera, neutral).face, neutral)  # type: ignore[union-attr]

    away, which = min((off(role), i) for i, role in enumerate(roles))
    return roles[which] if away < SOMEBODY_ELSE else None


def sort_out(seen: Sequence[Sighting], n_in_a_row: int) -> tuple[list[Sighting], list[Role]]:
    """Of sightings with a face, the first so many one after another: those of whoever is first seen, and who else is."""
    runs: list[list[Sighting]] = []
    for sighting in seen[:n_in_a_row]:
        if sighting.afresh or not runs:
            runs.append([])
        runs[-1].append(sighting)
    if len(runs) == 1 and n_in_a_row == len(seen):
        return list(seen), []
    first = next((run for run in runs if len(run) >= FEW), list(seen))[::THIN]
    roles = [Role.of(first, survey(first))]
    now, theirs = roles[0], []
    for run in runs:
        now = whose(run, roles, now)
        theirs += run if now is roles[0] else []
    theirs += [s for s in seen[n_in_a_row:] if nearest(s, roles) is roles[0]]
    return theirs, roles[1:]
