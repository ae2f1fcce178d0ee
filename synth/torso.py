"""A body that goes with its shoulders: the warp's mesh below the head, moved by where the two of them are.

What lies between the shoulders goes between their ways, what lies beyond one goes with it; so a body leans, rolls and
shrugs. Where the mesh ends nothing moves, but for an edge of the picture along which a body that it cuts may slide.
Arms and hands are not told of: they go with the shoulder they hang from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.rig import FIRST_GRID, Character, smoothstep

FADE = (0.25, 1.2)  # units before an edge within which what moves comes to rest, at least and at most
CLEAR = 0.8  # of the way from the shoulders to an edge: no more is given to that


class Torso:
    """One character's, for the warp."""

    def __init__(self, character: Character) -> None:
        self._camera = character.camera
        points = character.skin.points[FIRST_GRID:]
        self._rest = character.camera.project(character.shoulders)  # [2, 2] px
        right, left = self._rest[:, 0]
        self._share = np.clip((points[:, 0] - right) / (left - right), 0, 1)[:, None].astype(np.float32)
        self._hold = _hold(points, self._rest, character)

    def moved(self, shoulders: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far every vertex outside the face goes [N, 2] px, with shoulders [2, 3] metres."""
        right, left = self._camera.project(shoulders) - self._rest
        return np.asarray((right + (left - right) * self._share) * self._hold, np.float32)


def _hold(points: NDArray[np.float32], shoulders: NDArray[np.float32], character: Character) -> NDArray[np.float32]:
    """How much of a way across and down each point [N, 2] px goes, 0..1."""
    H, W = character.rgb.shape[:2]
    (x0, _), (x1, y1) = points.min(0), points.max(0)
    x, y = points.T
    (near_x, _), (far_x, low_y) = shoulders.min(0), shoulders.max(0)

    def rest(way: NDArray[np.float32], room: float) -> NDArray[np.float32]:
        """From an edge inwards, 0 to 1."""
        least, most = (share * character.unit_px for share in FADE)
        return smoothstep(way, 0, min(max(least, CLEAR * room), most))

    before, beyond, below = rest(x - x0, near_x - x0), rest(x1 - x, x1 - far_x), rest(y1 - y, y1 - low_y)
    one = np.ones_like(below)
    across = before * beyond * (one if y1 >= H - 1 else below)
    down = below * (one if x0 <= 1 else before) * (one if x1 >= W - 1 else beyond)
    return np.asarray(np.stack((across, down), 1), np.float32)
