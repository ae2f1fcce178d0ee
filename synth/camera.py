"""A virtual camera that moves over a take: the rendered picture, filmed.

Person and background are two layers at two distances, so that a camera that comes nearer or goes
round shows them apart. Moves are eased over the whole take. The picture's edges never show: where
a move would reach beyond them the whole take is framed a little tighter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

from perfcap.head import UNIT_M, place
from runtime.errors import InputError
from runtime.records import N_FACE, Motion, Shot
from synth.rig import Character

MoveKind = Literal["zoom", "pan", "tilt", "dolly", "orbit"]

LIMITS = {"zoom": (0.25, 4.0), "pan": (-0.7, 0.7), "tilt": (-0.7, 0.7), "dolly": (-1.0, 0.6), "orbit": (-30.0, 30.0)}
BEHIND = 2.0  # how many times as far away as the head the background is taken to be
PIVOT = np.array((0.0, 0.6, 0.9), np.float32)  # units, head's frame: the middle of the head
TIGHTEST = 4.0  # how far the framing may be tightened to keep the picture's edges out of sight
N_CHECKED = 65  # moments of the path looked at for that
CUT = 0.02  # share of an edge of the picture from which on the person counts as cut by it


@dataclass(frozen=True)
class Move:
    """One move of the camera, from nothing at the take's start to `amount` at its end."""

    kind: MoveKind
    amount: float  # zoom: times; pan, tilt: shares of the frame; dolly: share of the distance; orbit: degrees

    def __post_init__(self) -> None:
        low, high = LIMITS[self.kind]
        if not low <= self.amount <= high:
            raise ValueError(f"camera {self.kind} is {self.amount:g}, wanted {low:g} to {high:g}")


def parse_move(text: str) -> Move:
    """`zoom:1.2` as a Move; raises InputError."""
    kind, _, amount = text.partition(":")
    for known in get_args(MoveKind):
        if kind == known:
            try:
                return Move(known, float(amount))
            except ValueError as error:
                why = str(error) if str(error).startswith("camera") else f"wanted a number after {kind}:"
                raise InputError(f"--camera is {text!r}; {why}") from error
    raise InputError(
        f"--camera is {text!r}; wanted one of {', '.join(get_args(MoveKind))} with an amount, like zoom:1.2"
    )


@dataclass(frozen=True)
class View:
    """Where the two layers of the picture lie in the frame at one moment."""

    person: NDArray[np.float64]  # [2, 3] px of the picture -> px of the frame
    behind: NDArray[np.float64]  # [2, 3]


class VirtualCamera:
    """What a moving camera sees of one character. Moves of one kind add up; zooms multiply."""

    def __init__(self, character: Character, moves: Sequence[Move], duration: Fraction) -> None:
        if duration <= 0:
            raise ValueError(f"the take is {float(duration):g} s long, wanted more than 0")
        self._duration = duration
        self._zoom = float(np.prod([m.amount for m in moves if m.kind == "zoom"]))
        total = {kind: sum(m.amount for m in moves if m.kind == kind) for kind in get_args(MoveKind)}
        self._pan, self._tilt, self._dolly = total["pan"], total["tilt"], min(total["dolly"], 0.8)
        self._orbit_rad = float(np.radians(total["orbit"]))
        self._layered = bool(self._dolly or self._orbit_rad)
        H, W = character.rgb.shape[:2]
        self._size = np.array((W, H), np.float64)
        self._focal_px = float(character.camera.focal_px)
        face = character.landmarks[:N_FACE, :2]
        self._middle = ((face.min(0) + face.max(0)) / 2).astype(np.float64)
        self._behind = character.behind  # as drawn by the renderer
        self._plate = character.plate if self._layered else character.behind
        self._tighter, self._slip = 1.0, np.zeros(2)
        self._tighten(character.alpha)

    def turn(self, motion: Motion) -> Motion:
        """The head as it looks from where the camera has gone round to."""
        angle = self._orbit_rad * self._ease(motion.time)
        if not angle:
            return motion
        c, s = np.cos(angle), np.sin(angle)
        R = np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)), np.float32)
        head = motion.head.copy()
        pivot = place(head, PIVOT[None])[0]
        head[:3, :3] = R @ head[:3, :3]
        head[:3, 3] = pivot - head[:3, :3] @ (PIVOT * np.float32(UNIT_M))
        return replace(motion, head=head)

    def film(self, shot: Shot, opacity: NDArray[np.uint8]) -> Shot:
        """The shot seen through the camera; `opacity` [H, W] is the person's in it."""
        import cv2

        view = self.view(shot.time)
        if np.array_equal(view.person, STILL) and np.array_equal(view.behind, STILL):
            return shot
        size = (int(self._size[0]), int(self._size[1]))
        if self._layered:
            cut_out = np.empty((*opacity.shape, 4), np.uint8)
            _cut_out(shot.rgb, opacity, self._behind, cut_out)
            person = cv2.warpAffine(cut_out, _corners(view.person), size, flags=cv2.INTER_LINEAR)
            rgb = cv2.warpAffine(
                self._plate, _corners(view.behind), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            _lay(rgb, person)
        else:
            rgb = cv2.warpAffine(
                shot.rgb, _corners(view.person), size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
        return replace(
            shot, rgb=rgb, face_box=_moved(shot.face_box, view.person), mouth_box=_moved(shot.mouth_box, view.person)
        )

    def view(self, time: Fraction) -> View:
        """Where everything is at a time from the take's start, s."""
        u = self._ease(time)
        placed = []
        for scale, shift in self._layers(u):
            scale, shift = scale * self._tighter, self._tighter * (shift - self._size / 2) + self._size / 2 + self._slip
            placed.append(np.array(((scale, 0, shift[0]), (0, scale, shift[1]))))
        return View(person=placed[0], behind=placed[1])

    def _ease(self, time: Fraction) -> float:
        u = min(max(float(time / self._duration), 0.0), 1.0)
        return u * u * (3 - 2 * u)

    def _layers(self, u: float) -> list[tuple[float, NDArray[np.float64]]]:
        """Scale and shift [2] px of the person and of what is behind them, before any tightening."""
        zoom = self._zoom**u
        near = 1 / (1 - self._dolly * u)
        far = 1 / (1 - self._dolly * u / BEHIND)
        angle = self._orbit_rad * u
        aside = self._focal_px * (BEHIND - 1) * np.sin(angle) / (1 + (BEHIND - 1) * np.cos(angle))
        look = np.array((-self._pan, self._tilt)) * u * self._size
        layers = []
        for scale, round_ in ((zoom * near, 0.0), (zoom * far, zoom * far * aside)):
            layers.append((scale, self._middle * (1 - scale) + look + (round_, 0.0)))
        return layers

    def _tighten(self, alpha: NDArray[np.float32]) -> None:
        """Frame the take so that no edge of the picture, nor of a person cut by one, comes into sight."""
        edges = (alpha[:, 0], alpha[0], alpha[:, -1], alpha[-1])
        cut = np.array([float((edge > 0.5).mean()) > CUT for edge in edges])
        low, high = np.full((2, 2), -np.inf), np.full((2, 2), np.inf)  # of the person, then of what is behind
        for u in np.linspace(0, 1, N_CHECKED):
            for i, (scale, shift) in enumerate(self._layers(float(u))):
                low[i] = np.maximum(low[i], shift)
                high[i] = np.minimum(high[i], shift + scale * self._size)
        low[0][~cut[:2]], high[0][~cut[2:]] = -np.inf, np.inf
        first, last = low.max(0), high.min(0)
        room = last - first
        if (room * TIGHTEST < self._size).any():
            raise InputError("--camera goes beyond the picture's edges; wanted smaller amounts")
        self._tighter = float(max(1.0, (self._size / room).max()))
        c = self._size / 2
        least, most = self._size - c - self._tighter * (last - c), -c - self._tighter * (first - c)
        wanted = (1 - self._tighter) * (self._middle - c)  # the face stays where it was
        self._slip = np.clip(wanted, np.minimum(least, most), np.maximum(least, most))


STILL = np.array(((1.0, 0, 0), (0, 1.0, 0)))


def _corners(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same for OpenCV, whose coordinates have the first pixel's middle at 0."""
    out = affine.copy()
    out[:, 2] += affine[:, :2].sum(1) * 0.5 - 0.5
    return out


def _moved(box: tuple[int, int, int, int] | None, affine: NDArray[np.float64]) -> tuple[int, int, int, int] | None:
    if box is None:
        return None
    x0, y0 = np.floor(affine[:, :2] @ np.array(box[:2]) + affine[:, 2])
    x1, y1 = np.ceil(affine[:, :2] @ np.array(box[2:]) + affine[:, 2])
    return int(x0), int(y0), int(x1), int(y1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _cut_out(
    rgb: NDArray[np.uint8],  # [H, W, 3] the person over what is behind them
    opacity: NDArray[np.uint8],  # [H, W]
    behind: NDArray[np.uint8],  # [H, W, 3]
    out: NDArray[np.uint8],  # [H, W, 4] the person alone, their colour times their opacity
) -> None:
    H, W = opacity.shape
    for y in range(H):
        for x in range(W):
            a = np.int32(opacity[y, x])
            out[y, x, 3] = a
            for c in range(3):
                v = np.int32(rgb[y, x, c]) - ((255 - a) * np.int32(behind[y, x, c]) + 127) // 255
                out[y, x, c] = min(max(v, 0), a)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _lay(under: NDArray[np.uint8], over: NDArray[np.uint8]) -> None:
    """A cut-out [H, W, 4] over a picture [H, W, 3], which it changes."""
    H, W = under.shape[:2]
    for y in range(H):
        for x in range(W):
            a = np.int32(over[y, x, 3])
            if a == 0:
                continue
            for c in range(3):
                v = ((255 - a) * np.int32(under[y, x, c]) + 127) // 255 + np.int32(over[y, x, c])
                under[y, x, c] = min(v, 255)
