"""One performer's Motion in another's terms: Motion -> Motion.

The take is anchored at the performer's moment that looks most like the character's picture; from
there on the character's head, face and eyes move as the performer's do, in the proportions of the
character's own face. So the picture's own expression and pose need not be neutral, and nor need
the performer's first frame. What closes on the performer (lids, lips) closes on the character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfcap.capture import stiffness
from perfcap.expression import ExpressionSolver, align, basis, gaze_of
from perfcap.head import STABLE, UNIT_M, similarity
from perfcap.landmarks import (
    AROUND_LIPS_LOWER,
    AROUND_LIPS_UPPER,
    BELOW_LIPS,
    BROWS_LOWER,
    BROWS_UPPER,
    FOREHEAD_MIDDLE,
    HAIRLINE,
    INNER_LIPS_LOWER,
    INNER_LIPS_UPPER,
    LEFT_EYE,
    LEFT_IRIS,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    LIPS,
    OUTER_LIPS_LOWER,
    OUTER_LIPS_UPPER,
    RIGHT_EYE,
    RIGHT_IRIS,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)  # fmt: skip
from runtime.records import ARKIT_NAMES, N_FACE, Motion
from synth.eyes import middle
from synth.rig import Character, smoothstep

SHUT_UNITS = 0.024  # gap the face mesh still reports between closed lids, in outer-eye-corner distances
# The face mesh holds irises back a little where they look aside no farther than it can tell. Half the eye's width less
# half an iris is as far as one goes.
IRIS_GAIN = np.array((1.1, 1.2, 1.0), np.float32)
IRIS_REACH = 0.36
LOWER_STAYS = 0.6  # share of what the mesh lets a lower lid rise in a shut eye that is not real
# The mesh does not see all of what brows do in a picture, whose forehead has no wrinkles: read again, .7 to 1 of it.
BROW_GAIN = 1.2
PRESSED = (0.6, 0.35)  # of its width as pictured: below the first, skin resists being narrowed; the least it becomes
# Skin that gives way when lips move, from the lips outwards: each row is pushed by the one before.
GIVES_WAY = (
    (OUTER_LIPS_UPPER + OUTER_LIPS_LOWER[1:-1], AROUND_LIPS_UPPER + AROUND_LIPS_LOWER[1:-1]),
    (AROUND_LIPS_LOWER, BELOW_LIPS),
)
EYES = (
    (LEFT_LID_UPPER, LEFT_LID_LOWER, LEFT_IRIS),
    (RIGHT_LID_UPPER, RIGHT_LID_LOWER, RIGHT_IRIS),
)


# Below this a coefficient told from one picture is as likely the person's own features: heavy lids, sad brows.
DOUBT = np.array([
    0.5 if name.startswith("eye") else 0.35 if name.startswith(("brow", "cheek", "nose")) else 0.15 for name in ARKIT_NAMES
], np.float32)  # fmt: skip


def certain(expression: NDArray[np.float32]) -> NDArray[np.float32]:
    """What of an expression [52] told from a single picture is surely acted."""
    return np.asarray(np.maximum(expression - DOUBT, 0) / (1 - DOUBT), np.float32)


STRAY_UNITS = 0.45  # farthest that a head goes from its place over the shoulders: necks are short
LEAN_UNITS = 1.2  # farthest that shoulders go from their place in the picture, where they are known to move
SHRUG_UNITS = 0.5  # farthest that one goes from where both together go
NEARER = 0.32  # farthest that it comes or goes, as a logarithm
TURN_RAD = 0.7  # farthest that a picture seen from the front turns to either side


def facing(rotation: NDArray[np.float32]) -> float:
    """How far a head [3, 3] faces to the right of the picture, radians."""
    return float(np.arctan2(-rotation[0, 2], rotation[2, 2]))


def soft_limit(x: float, limit: float) -> float:
    """x up to .7 of a limit, then ever less."""
    knee = 0.7 * limit
    if abs(x) <= knee:
        return x
    return float(np.sign(x) * (knee + (limit - knee) * np.tanh((abs(x) - knee) / (limit - knee))))


def soft_length(way: NDArray[np.float32], limit: float) -> NDArray[np.float32]:
    """A way no longer than a limit, as `soft_limit` has it."""
    length = float(np.linalg.norm(way))
    return way if length == 0 else np.asarray(way * (soft_limit(length, limit) / length), np.float32)


def resisting(share: NDArray[np.float32]) -> NDArray[np.float32]:
    """How wide skin stays that would be pressed to shares of its width: never below the least of `PRESSED`."""
    knee, least = PRESSED
    pressed = least + (knee - least) * np.exp(np.minimum(share - knee, 0) / (knee - least))
    return np.asarray(np.where(share < knee, pressed, share), np.float32)


@dataclass(frozen=True, kw_only=True)
class RetargetOptions:
    intensity: float = 3.0  # 1 to 5; 3 is as acted

    def __post_init__(self) -> None:
        if not 1 <= self.intensity <= 5:
            raise ValueError(f"intensity is {self.intensity:g}, wanted 1 to 5")

    @property
    def gain(self) -> float:
        """How much of the performer's departure from neutral the character shows."""
        return self.intensity / 3 if self.intensity <= 3 else 1 + (self.intensity - 3) / 3


class Retarget:
    """Stage: a performer's Motion -> the character's."""

    def __init__(
        self,
        character: Character,
        neutral: NDArray[np.float32],  # [478, 3] the performer's
        moments: Sequence[Motion],  # some of the take, in any order, to anchor it by
        options: RetargetOptions,
        *,
        rest: Motion | None = None,  # the moment that is the picture; None finds the most alike among `moments`
    ) -> None:
        self._character = character
        self._neutral = neutral
        self._gain = np.float32(options.gain)
        solver = ExpressionSolver()
        picture = solver.solve(character.face, None)
        self._soft = (stiffness(neutral) < 0.05)[:N_FACE, 0]
        self._anchor = self._nearest(picture, moments) if rest is None else rest
        if rest is None:
            unlike = self._unlike(self._anchor)
            stranger = float(smoothstep(np.array(unlike), 0.012, 0.03))  # 0: the picture is of this very performer
            # What the performer looks like making the picture's own expression.
            making = neutral + np.tensordot(certain(picture), basis(), 1)
            self._from = (self._anchor.face + (making - self._anchor.face) * stranger).astype(np.float32)
        else:
            stranger, self._from = 1.0, rest.face
        self._scale = self._proportions(stranger)
        # The two heads' own frames differ a little (their neutrals do): what carries one onto the other.
        stable = list(STABLE)
        here, there = self._from[stable], character.face[stable]
        self._size, turn = similarity(here - here.mean(0), there - there.mean(0))
        self._turn = turn.astype(np.float32)
        self._shoulders = self._shoulders_then(moments)
        # The middle of the character's eyes, in the performer's head.
        self._origin = (here.mean(0) - there.mean(0) @ self._turn / self._size).astype(np.float32) * np.float32(UNIT_M)

    def push(self, item: Motion) -> list[Motion]:
        return [self(item)]

    def flush(self) -> list[Motion]:
        return []

    def __call__(self, motion: Motion) -> Motion:
        character, anchor = self._character, self._anchor
        acted = self._neutral + (motion.face - self._neutral) * self._gain if self._gain != 1 else motion.face
        face = character.face + (acted - self._from) @ self._turn.T * (self._scale * np.float32(self._size))
        self._fold_forehead(face)
        self._close_lips(face, acted)
        self._give_way(face)
        for upper, lower, iris in EYES:
            self._lids_and_iris(face, motion.face, upper, lower, iris)
        head = np.eye(4, dtype=np.float32)
        head[:3, :3] = self._within(motion.head[:3, :3] @ anchor.head[:3, :3].T @ character.head[:3, :3])
        now, then = (m.head[:3, :3] @ self._origin + m.head[:3, 3] for m in (motion, anchor))
        # Sideways as the picture shows it: a distance misread of someone beside the axis is no step aside.
        aside = (now[:2] / now[2] - then[:2] / then[2]) * then[2] / np.float32(UNIT_M)
        ways = self._ways_of_shoulders(motion, then[2])
        middle = np.zeros(2, np.float32) if ways is None else ways.mean(0)
        carried = soft_length(middle, LEAN_UNITS)
        aside = carried + soft_length(aside - middle, STRAY_UNITS)
        # A head that goes farther away shrinks where it is: a distance misread must not move it aside.
        farther = np.exp(soft_limit(float(np.log(now[2] / then[2])), NEARER))
        head[:2, 3] = (character.head[:2, 3] + aside * np.float32(UNIT_M)) * farther
        head[2, 3] = character.head[2, 3] * farther
        shoulders = None
        if ways is not None:
            shoulders = character.shoulders.copy()
            apart = [soft_length(way - middle, SHRUG_UNITS) for way in ways]
            shoulders[:, :2] += (carried + np.stack(apart)) * np.float32(UNIT_M)
        return replace(motion, head=head, face=face, gaze=gaze_of(face), shoulders=shoulders)

    def _shoulders_then(self, moments: Sequence[Motion]) -> NDArray[np.float32] | None:
        """Where the performer's shoulders are at the anchor [2, 2], x and y at a distance of 1; else where they usually are."""
        seen = [m.shoulders for m in (self._anchor, *moments) if m.shoulders is not None]
        if not seen:
            return None
        if self._anchor.shoulders is not None:
            seen = seen[:1]
        return np.asarray(np.median([s[:, :2] / s[:, 2:] for s in seen], 0), np.float32)

    def _ways_of_shoulders(self, motion: Motion, distance_m: np.float32) -> NDArray[np.float32] | None:
        """How far each [2, 2] has gone since, units."""
        if motion.shoulders is None or self._shoulders is None:
            return None
        now = motion.shoulders[:, :2] / motion.shoulders[:, 2:]
        return np.asarray((now - self._shoulders) * (distance_m / np.float32(UNIT_M)), np.float32)

    def _within(self, rotation: NDArray[np.float32]) -> NDArray[np.float32]:
        """A head [3, 3] turned no farther than its picture can show: neither past a profile, nor its hidden half to
        the front."""
        own, now = facing(self._character.head[:3, :3]), facing(rotation)
        aside = abs(own)
        to_front = TURN_RAD if aside < 0.2 else max(0.3, TURN_RAD - 0.4 * (aside - 0.2))
        to_side = max(0.15, 0.75 - aside)
        turn = now - own
        limit = to_side if turn * own > 0 else to_front
        excess = soft_limit(turn, limit) - turn
        if abs(excess) < 1e-4:
            return rotation
        c, s = np.cos(excess), np.sin(excess)
        return np.asarray(np.array(((c, 0, -s), (0, 1, 0), (s, 0, c))) @ rotation, np.float32)

    def _nearest(self, picture: NDArray[np.float32], moments: Sequence[Motion]) -> Motion:
        """The moment most like the picture in expression and pose, with a preference for the take's usual pose."""
        from scipy.spatial.transform import Rotation

        assert moments, "a take without moments"
        character = self._character
        solver = ExpressionSolver()
        heads = Rotation.from_matrix(np.stack([m.head[:3, :3] for m in moments]).astype(np.float64))
        off_picture = (heads * Rotation.from_matrix(character.head[:3, :3].astype(np.float64)).inv()).magnitude()
        off_usual = (heads * heads.mean().inv()).magnitude()
        off_expression = np.array([np.linalg.norm(solver.solve(m.face, None) - picture) for m in moments])
        off_shape = np.array([self._unlike(m) for m in moments])
        place = np.stack([m.head[:3, 3] / m.head[2, 3] for m in moments]) - character.head[:3, 3] / character.head[2, 3]
        cost = (
            off_expression
            + np.minimum(off_picture, 0.35) / 0.12
            + off_usual / 0.35
            + np.minimum(off_shape / 0.02, 2.0)
            + np.minimum(np.linalg.norm(place, axis=1) / 0.02, 1.0)
        )
        return moments[int(np.argmin(cost))]

    def _unlike(self, moment: Motion) -> float:
        """How far the picture's face is from the performer's at a moment, root mean square, units."""
        off = (align(self._character.face, moment.face) - moment.face)[:N_FACE, :2]
        return float(np.sqrt((off[self._soft] ** 2).mean()))

    def _proportions(self, stranger: float) -> NDArray[np.float32]:
        """How far each landmark [478, 3] moves when the performer's moves one unit: the mouth by its own width, brows
        up and down by more than was read."""
        mouth = mouth_ratio(self._character.face, self._from)
        near = self._near(LIPS, 0.05, 0.35)
        scale = np.repeat((1 + (mouth - 1) * near * stranger)[:, None], 3, 1)
        brow = self._near((*BROWS_UPPER, *BROWS_LOWER), 0.0, 0.2) * (1 - self._near(RIGHT_EYE + LEFT_EYE, 0.0, 0.1))
        scale[:, 1] *= 1 + (BROW_GAIN - 1) * brow * stranger
        return np.asarray(scale, np.float32)

    def _near(self, points: tuple[int, ...], full: float, none: float) -> NDArray[np.float32]:
        """How near each landmark [478] is to any of some: 1 up to a distance, 0 from another on, units."""
        face = self._character.face[:, :2]
        gap = np.linalg.norm(face[:, None] - face[None, list(points)], axis=-1).min(1)
        return np.asarray(1 - smoothstep(gap, full, none), np.float32)

    def _fold_forehead(self, face: NDArray[np.float32]) -> None:
        """Brows that rise press the forehead together evenly, up to the hairline and never past it."""
        own = self._character.face[:, 1]
        upper, lower, middle, top = (list(row) for row in (BROWS_UPPER, BROWS_LOWER, FOREHEAD_MIDDLE, HAIRLINE))
        height = np.maximum(own[upper] - own[top], 0.02)
        share = (face[upper, 1] - face[top, 1]) / height
        kept = resisting(share)
        for row in (upper, lower):
            face[row, 1] += (kept - share) * height
        even = face[top, 1] + (face[upper, 1] - face[top, 1]) * (own[middle] - own[top]) / height
        face[middle, 1] = np.minimum(face[middle, 1], even)

    def _give_way(self, face: NDArray[np.float32]) -> None:
        """Lips that move push the skin around them before they would fold over it."""
        own = self._character.face[:, :2]
        for inside, outside in GIVES_WAY:
            a, b = list(inside), list(outside)
            way = own[b] - own[a]
            width = np.maximum(np.linalg.norm(way, axis=1), 1e-3)
            way /= width[:, None]
            share = ((face[b, :2] - face[a, :2]) * way).sum(1) / width
            face[b, :2] += way * ((resisting(share) - share) * width)[:, None]

    def _close_lips(self, face: NDArray[np.float32], acted: NDArray[np.float32]) -> None:
        """The character's lips meet when the performer's do and part when they part."""
        for upper, lower in zip(INNER_LIPS_UPPER[1:-1], INNER_LIPS_LOWER[1:-1], strict=True):
            scale = self._scale[lower, 0]
            gap = face[lower, 1] - face[upper, 1]
            wanted = max(0.0, acted[lower, 1] - acted[upper, 1]) * scale
            fixed = min(max(gap, 0.6 * wanted), 1.8 * wanted)
            face[upper, 1] -= 0.3 * (fixed - gap)
            face[lower, 1] += 0.7 * (fixed - gap)

    def _lids_and_iris(
        self, face: NDArray[np.float32], acted: NDArray[np.float32],
        upper: tuple[int, ...], lower: tuple[int, ...], iris: tuple[int, ...],
    ) -> None:  # fmt: skip
        own, was = self._character.face, self._from
        inner = slice(1, -1)
        up, low = list(upper[inner]), list(lower[inner])
        open_picture = np.maximum((own[low] - own[up])[:, 1], 0)
        open_was = np.maximum((was[low] - was[up])[:, 1], 0)
        open_now = np.maximum((acted[low] - acted[up])[:, 1], 0)
        # One ratio an eye, from its widest part: small eyes and cartoon eyes close and widen alike.
        ratio = float(np.clip(open_picture.max() / max(open_was.max(), 0.03), 0.5, 3.0))
        gap = open_picture + (open_now - open_was) * ratio
        shut = np.float32(SHUT_UNITS * ratio)
        usual = max(float(open_was.max()) * ratio, 2.5 * float(shut))
        share = float(np.clip((open_now.max() * ratio - shut) / (usual - shut), 0, 1))
        # Closing lids meet at the lower one, which stays; the mesh lets them meet half way.
        corners_own, corners = own[[upper[0], upper[-1]]], face[[upper[0], upper[-1]]]
        stays = own[low, 1] - corners_own[:, 1].mean() + corners[:, 1].mean()
        closing = LOWER_STAYS * (1 - smoothstep(np.array(share), 0.0, 0.6))
        face[low, 1] += np.float32(closing) * np.maximum(stays - face[low, 1], 0)
        gap = np.maximum(gap, 0) * np.float32(smoothstep(np.array(share), -0.35, 0.30) if share < 0.30 else 1.0)
        if share <= 0.02:
            gap[:] = 0
        face[up, 1] = face[low, 1] - gap

        corners_was, corners_now = was[[upper[0], upper[-1]]], acted[[upper[0], upper[-1]]]
        centre = iris[0]
        moved = (acted[centre] - middle(corners_now)) / _apart(corners_now)
        moved -= (was[centre] - middle(corners_was)) / _apart(corners_was)
        rest = (own[centre] - middle(corners_own)) / _apart(corners_own)
        place = rest + moved * IRIS_GAIN
        place[0] = np.clip(place[0], min(-IRIS_REACH, rest[0]), max(IRIS_REACH, rest[0]))
        place = middle(corners) + place * _apart(corners_own)
        face[list(iris)] = own[list(iris)] - own[centre] + place


def mouth_ratio(own: NDArray[np.float32], was: NDArray[np.float32]) -> float:
    """How far a face [478, 3] moves its mouth when another moves its own by one."""
    return float(np.clip(_apart(own[[61, 291]]) / _apart(was[[61, 291]]), 0.6, 1.7))


def _apart(two: NDArray[np.float32]) -> float:
    """Between two points [2, 3]."""
    return float(np.linalg.norm(two[1] - two[0]))
