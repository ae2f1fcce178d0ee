"""Landmarks held to the skin they lie on.

The face mesh is a guess anew in every picture: a brow that rises takes the forehead's landmarks along, and what it
says of a mole today is some pixels from what it said yesterday. So the face is laid back, by its own landmarks, onto
a picture of the same face (the reference), and what then still differs is how far they slid: dense optical flow (DIS,
Kroeger et al. 2016) finds it. Against one picture, not from frame to frame, so nothing drifts. Where skin shows
nothing to hold on to, or looks nothing like the reference, the mesh is left as it is. Knows pixels and landmarks, not
heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.face import FaceMesh
from perfcap.landmarks import (
    INNER_LIPS,
    LEFT_EYE,
    LEFT_IRIS,
    NOSE_TIP,
    OUTER_EYES,
    RIGHT_EYE,
    RIGHT_IRIS,
)
from perfcap.topology import face_triangles
from runtime.records import N_FACE

EYES_PX = 80.0  # between the outer eye corners in a reference
RIM = 0.15  # of the distance of the eye corners, around the face
LID_RIM = 1.25  # an eye is left out together with its lids, so many times its own size
COARSE = 4  # how far a correction is first reduced: it is smooth
SMOOTH = 0.05  # of the distance of the eye corners, one standard deviation of a correction's blur
DOUBT = 0.3  # share of pixels that must agree before half of a correction is believed
MOST = 0.06  # of the distance of the eye corners, the longest correction
UNLIKE = 18.0  # grey levels of 128 ± 40 by which a patch of skin may differ from the reference
PLAIN = 30.0  # gradient below which skin shows little to hold on to
LIKE = 0.35  # share of the reference's skin that must agree, or it is another face or another light
ASIDE = 0.12  # turn of a head, as `_turn` has it, after which another reference is taken
N_REFERENCES = 4
SIDES = (234, 454)  # the face's contour beside the ears

# Both corners of each eye, and the iris that goes with them.
_EYES = (((33, 133), RIGHT_IRIS), ((362, 263), LEFT_IRIS))


@dataclass(frozen=True)
class _Reference:
    """A face in a picture of its own, a little larger than it."""

    landmarks: NDArray[np.float32]  # [468, 2] px of the picture it was seen in
    points: NDArray[np.float32]  # [468, 2] px of its own picture
    scale: float  # from the one to the other
    turn: NDArray[np.float32]  # [2], see `_turn`
    grey: NDArray[np.uint8]  # [h, w] evened out
    skin: NDArray[np.float32]  # [h, w] 0..1: what may be compared, by how much it shows

    def aside(self, turn: NDArray[np.float32]) -> float:
        """How far a head turned so is from this one's."""
        return float(np.abs(self.turn - turn).max())

    @cached_property
    def pixels(self) -> NDArray[np.float32]:
        """Each pixel's own place, [h, w, 2]."""
        h, w = self.grey.shape
        return np.stack(np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)), -1)

    @cached_property
    def places(self) -> Any:
        """Each pixel of skin as a mean of three landmarks: sparse [h * w, 468]."""
        return _places(self.points, self.grey.shape)


class TextureTracker:
    """Corrects the landmarks of one face through a video."""

    def __init__(self, *, learns: bool = True) -> None:
        self._references: list[_Reference] = []
        self._learns = learns
        self._flow: Any = None

    def frozen(self) -> TextureTracker:
        """One that holds on to the same references and takes no others."""
        other = TextureTracker(learns=False)
        other._references = self._references
        return other

    def reset(self) -> None:
        """Another face comes."""
        if self._learns:
            self._references.clear()

    def follow(self, rgb: NDArray[np.uint8], face: FaceMesh) -> FaceMesh:
        """The face of a picture [H, W, 3] with its landmarks where the skin is."""
        turn = _turn(face)
        if not self._references:
            if self._learns:
                self._references.append(_reference(rgb, face, turn))
            return face
        corrected = self.recognised(rgb, face)
        if corrected is None:
            return face
        aside = min(reference.aside(turn) for reference in self._references)
        if self._learns and aside > ASIDE and len(self._references) < N_REFERENCES:
            self._references.append(_reference(rgb, corrected, turn))
        return corrected

    def recognised(self, rgb: NDArray[np.uint8], face: FaceMesh) -> FaceMesh | None:
        """The face with its landmarks where the skin is; None where it looks like none that was seen before."""
        turn = _turn(face)
        nearest = min(self._references, key=lambda reference: reference.aside(turn), default=None)
        return None if nearest is None else self._corrected(nearest, rgb, face)

    def _corrected(self, reference: _Reference, rgb: NDArray[np.uint8], face: FaceMesh) -> FaceMesh | None:
        """None where the face does not look like the reference's."""
        import cv2

        if self._flow is None:
            self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
            self._flow.setVariationalRefinementIterations(0)
            self._flow.setGradientDescentIterations(12)
        shape = reference.grey.shape
        now, seen = _laid_back(rgb, face.landmarks[:N_FACE, :2], reference.places, shape)
        flow = self._flow.calc(reference.grey, now, None)
        agreed = cv2.remap(now, flow + reference.pixels, None, cv2.INTER_LINEAR)
        unlike = cv2.blur(cv2.absdiff(agreed, reference.grey).astype(np.float32), (7, 7)) / UNLIKE
        sure = reference.skin * seen * np.exp(-(unlike**2))
        if sure.sum() < LIKE * reference.skin.sum():
            return None
        off = self._smooth(flow, sure, reference.points) / reference.scale @ _carried(reference, face)
        unit = _unit(face)
        length = np.linalg.norm(off, axis=1, keepdims=True)
        off *= np.minimum(1, MOST * unit / np.maximum(length, 1e-6))
        landmarks = face.landmarks.copy()
        landmarks[:N_FACE, :2] += off
        for corners, iris in _EYES:
            landmarks[list(iris), :2] += off[list(corners)].mean(0)
        return FaceMesh(landmarks)

    @staticmethod
    def _smooth(
        flow: NDArray[np.float32], sure: NDArray[np.float32], points: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The flow at points [N, 2]: the mean of what is sure around them, less of it where little is."""
        import cv2

        size = (-(-sure.shape[1] // COARSE), -(-sure.shape[0] // COARSE))
        weighted = cv2.resize(np.dstack((flow * sure[..., None], sure)), size, interpolation=cv2.INTER_AREA)
        weighted = cv2.GaussianBlur(weighted, (0, 0), SMOOTH * EYES_PX / COARSE)
        mean = weighted[..., :2] / (weighted[..., 2:] + DOUBT)
        at = (points * (np.array(size) / sure.shape[::-1]) - 0.5).astype(np.float32)
        return np.asarray(
            cv2.remap(mean, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        )


def _unit(face: FaceMesh) -> float:
    """Between the outer eye corners, px."""
    a, b = face.landmarks[list(OUTER_EYES), :2]
    return max(float(np.linalg.norm(a - b)), 1.0)


def _turn(face: FaceMesh) -> NDArray[np.float32]:
    """How far a head is turned and nods [2]: where the nose is between its sides, and how far below the eyes."""
    points = face.landmarks[:, :2]
    left, right = points[list(SIDES)]
    aside = (points[NOSE_TIP] - left) @ (right - left) / max(float((right - left) @ (right - left)), 1e-6)
    a, b = points[list(OUTER_EYES)]
    nose = points[NOSE_TIP] - (a + b) / 2
    below = ((b - a)[0] * nose[1] - (b - a)[1] * nose[0]) / max(float((b - a) @ (b - a)), 1e-6)
    return np.array((aside, below), np.float32)


def _reference(rgb: NDArray[np.uint8], face: FaceMesh, turn: NDArray[np.float32]) -> _Reference:
    import cv2

    landmarks = face.landmarks[:N_FACE, :2]
    unit = _unit(face)
    scale = EYES_PX / unit
    low, high = landmarks.min(0) - RIM * unit, landmarks.max(0) + RIM * unit
    width, height = (int(v) for v in np.ceil((high - low) * scale))
    points = ((landmarks - low) * scale).astype(np.float32)
    grey, seen = _laid_back(rgb, landmarks, _places(points, (height, width)), (height, width))
    skin = seen.copy()
    for ring, grow in ((RIGHT_EYE, LID_RIM), (LEFT_EYE, LID_RIM), (INNER_LIPS, 1.0)):
        outline = points[list(ring)]
        middle = outline.mean(0)
        cv2.fillPoly(skin, [np.round(middle + (outline - middle) * grow).astype(np.int32)], 0.0)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    skin *= np.minimum(cv2.GaussianBlur(slope, (0, 0), 2.0) / PLAIN, 1)
    return _Reference(landmarks.copy(), points, scale, turn, grey, skin)


def _places(points: NDArray[np.float32], shape: tuple[int, ...]) -> Any:
    """Each pixel [h * w] of a picture as a mean of the three landmarks [N, 2] px around it: sparse [h * w, N]."""
    import cv2
    from scipy.sparse import csr_array

    triangles = face_triangles()
    which = np.full(shape, -1, np.int32)
    for t, triangle in enumerate(triangles):
        cv2.fillConvexPoly(which, np.round(points[triangle] * 16 - 8).astype(np.int32), t, shift=4)
    y, x = np.nonzero(which >= 0)
    corners = triangles[which[y, x]]
    a, b, c = (points[corners[:, k]] for k in range(3))
    p = np.stack((x, y), 1) + np.float32(0.5)
    area = _cross(b - a, c - a)
    area = np.where(np.abs(area) < 1e-3, 1e-3, area)
    of_b, of_c = _cross(p - a, c - a) / area, _cross(b - a, p - a) / area
    share = np.clip(np.stack((1 - of_b - of_c, of_b, of_c), 1), -1, 2)  # a sliver's pixel may lie beside it
    pixel = np.repeat(y * shape[1] + x, 3)
    size = (shape[0] * shape[1], len(points))
    return csr_array((share.ravel().astype(np.float32), (pixel, corners.ravel())), shape=size)


def _cross(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], np.float32)


def _laid_back(
    rgb: NDArray[np.uint8], landmarks: NDArray[np.float32], places: Any, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A face as it would lie in a reference: evened-out grey [h, w], and where there is any skin [h, w], 0 or 1."""
    import cv2

    H, W = rgb.shape[:2]
    low = np.maximum(np.floor(landmarks.min(0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(landmarks.max(0)).astype(int) + 3, (W, H))
    if (high - low).min() < 2:
        return np.full(shape, 128, np.uint8), np.zeros(shape, np.float32)
    grey = cv2.cvtColor(np.ascontiguousarray(rgb[low[1] : high[1], low[0] : high[0]]), cv2.COLOR_RGB2GRAY)
    unit = float(np.linalg.norm(landmarks[OUTER_EYES[0]] - landmarks[OUTER_EYES[1]]))
    finer = unit / EYES_PX
    smaller = 1.0
    if finer > 1.5:  # what is much finer than the reference would alias
        smaller = 1.25 / finer
        grey = cv2.resize(grey, None, fx=smaller, fy=smaller, interpolation=cv2.INTER_AREA)
    at = (places @ ((landmarks - low) * np.float32(smaller))).reshape(*shape, 2).astype(np.float32)
    seen = (at[..., 0] != 0) | (at[..., 1] != 0)
    laid = cv2.remap(grey, at - np.float32(0.5), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    skin = seen.astype(np.float32)
    return _evened(laid, skin), skin


def _evened(grey: NDArray[np.uint8], skin: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Light and shade taken out of the skin in a picture [h, w]: everywhere 128 in the mean, with a spread of 40."""
    import cv2

    side = (int(0.2 * EYES_PX) * 2 + 1,) * 2
    there = np.maximum(cv2.blur(skin, side), 1e-3)
    off = (grey - cv2.blur(grey * skin, side) / there) * skin
    spread = np.sqrt(cv2.blur(off * off, side) / there + 16)
    return np.asarray(np.clip(128 + off / spread * 40, 0, 255), np.uint8)


def _carried(reference: _Reference, face: FaceMesh) -> NDArray[np.float32]:
    """How the reference's face, as a whole, was turned and sized into this one: [2, 2], to be applied from the right."""
    a, b = (p - p.mean(0) for p in (reference.landmarks, face.landmarks[:N_FACE, :2]))
    size = float((a**2).sum())
    c, s = float((a * b).sum()) / size, float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    return np.array(((c, s), (-s, c)), np.float32)
