"""Where irises are, from the pixels of an eye.

The face mesh holds irises back: in a glance aside it is a tenth of the eye's width short of them. An iris is a disc
darker than what surrounds it between the lids (Daugman 1993's operator, integrated over the disc's inside and its
surroundings, so that the part that lids hide does not count). Knows pixels and landmarks, not gaze.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from perfcap.face import FaceMesh
from perfcap.landmarks import (
    LEFT_IRIS,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    RIGHT_IRIS,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)

EYES = (
    (RIGHT_LID_UPPER, RIGHT_LID_LOWER, RIGHT_IRIS),
    (LEFT_LID_UPPER, LEFT_LID_LOWER, LEFT_IRIS),
)
WIDTH_PX = 48.0  # an eye is brought to this width
REACH = (0.62, 0.36)  # of its width, half the picture of an eye
OPEN = 0.10  # of its width, the least gap between lids that shows an iris
NEAR = (0.30, 0.10)  # of its width, along and across: how far from the mesh's an iris is looked for
LEAN = 0.35  # cost of an iris as far away as that, in spreads of the eye's light
SURE = (0.5, 1.1)  # spreads by which a disc is darker than what is around it: nothing, and certain
GLANCE = (0.02, 0.06)  # of the eye's width: below the first the mesh's own is steadier, from the second on it is wrong

ALONG = 0.2  # share of an iris' way that the other eye's goes too, or it is not believed


@dataclass(frozen=True)
class Iris:
    """One iris found."""

    centre: NDArray[np.float32]  # [2] px
    sure: float  # 0..1


def find_irises(rgb: NDArray[np.uint8], face: FaceMesh) -> tuple[Iris, Iris]:
    """The right and the left iris of a face in a picture [H, W, 3]; the mesh's own where nothing stands out."""
    import cv2

    # Skin and white are bright in red, irises of any colour dark.
    red = cv2.extractChannel(rgb, 0)
    right, left = (_find(red, face.landmarks[:, :2], *eye) for eye in EYES)
    return right, left


def with_irises(rgb: NDArray[np.uint8], face: FaceMesh) -> FaceMesh:
    """A picture's face with its irises where they are."""
    landmarks = face.landmarks.copy()
    for (*_, iris), found in zip(EYES, find_irises(rgb, face), strict=True):
        landmarks[list(iris), :2] += (found.centre - landmarks[iris[0], :2]) * np.float32(found.sure)
    return replace(face, landmarks=landmarks)


def with_glances(rgb: NDArray[np.uint8], face: FaceMesh) -> FaceMesh:
    """A face with its irises moved along the eye, where they are far from where the mesh has them: for videos.

    Eyes look the same way: what would set them apart is a reflection, or a lid.
    """
    landmarks = face.landmarks.copy()
    along, meshs, founds, share = [], [], [], []
    for (upper, _, iris), found in zip(EYES, find_irises(rgb, face), strict=True):
        a, b = landmarks[upper[0], :2], landmarks[upper[-1], :2]
        way = b - a
        to_width = way / max(float(way @ way), 1e-6)
        along.append(way)
        meshs.append(float((landmarks[iris[0], :2] - (a + b) / 2) @ to_width))  # in widths of the eye
        founds.append(float((found.centre - (a + b) / 2) @ to_width))
        far = np.clip((abs(founds[-1] - meshs[-1]) - GLANCE[0]) / (GLANCE[1] - GLANCE[0]), 0, 1)
        share.append(far * far * (3 - 2 * far) * found.sure)
    off = np.subtract(founds, meshs)
    for n, (*_, iris) in enumerate(EYES):
        follows = np.clip(off[1 - n] * np.sign(off[n]) / max(ALONG * abs(off[n]), 1e-9), 0, 1)
        landmarks[list(iris), :2] += along[n] * np.float32(off[n] * share[n] * follows)
    return replace(face, landmarks=landmarks)


def _find(
    red: NDArray[np.uint8],  # [H, W]
    points: NDArray[np.float32],
    upper: tuple[int, ...],
    lower: tuple[int, ...],
    iris: tuple[int, ...],
) -> Iris:
    import cv2

    corners = points[[upper[0], upper[-1]]]
    along = (corners[1] - corners[0]) / np.float32(WIDTH_PX)
    unknown = Iris(points[iris[0]], 0.0)
    if float(along @ along) < 1e-4:
        return unknown
    W, H = (int(2 * reach * WIDTH_PX) for reach in REACH)
    turn = np.array(((along[0], -along[1]), (along[1], along[0])), np.float32)
    move = np.concatenate((turn, (corners.mean(0) - turn @ (W / 2, H / 2))[:, None]), 1)
    back = turn / np.float32(along @ along)  # of a similarity, the transpose of its inverse
    at = {name: (points[list(row)] - move[:, 2]) @ back for name, row in (("u", upper), ("l", lower), ("i", iris))}
    if (at["l"] - at["u"])[:, 1].max() < OPEN * WIDTH_PX:
        return unknown
    move[:, 2] += move[:, :2] @ (0.5, 0.5) - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    eye = cv2.warpAffine(red, move, (W, H), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    light = cv2.GaussianBlur(eye, (0, 0), WIDTH_PX / 64).astype(np.float32)
    between = np.zeros((H, W), np.uint8)
    outline = np.concatenate((at["u"], at["l"][::-1]))
    cv2.fillPoly(between, [np.round(outline * 16 - 8).astype(np.int32)], 1, shift=4)
    between = cv2.erode(between, np.ones((3, 1), np.uint8))
    centre = at["i"][0]
    radius = float(np.linalg.norm(at["i"][1:] - centre, axis=1).mean())
    if cv2.countNonZero(between) < 4 or not 2 < radius < 0.5 * WIDTH_PX:
        return unknown
    darker = _darker(light, between.astype(np.float32), radius)
    x, y = np.arange(W, dtype=np.float32) + 0.5, np.arange(H, dtype=np.float32)[:, None] + 0.5
    away = ((x - centre[0]) / (NEAR[0] * WIDTH_PX)) ** 2 + ((y - centre[1]) / (NEAR[1] * WIDTH_PX)) ** 2
    _, spread = cv2.meanStdDev(light, mask=between)
    score = darker / np.float32(np.hypot(spread[0, 0], 5)) - LEAN * away
    row, column = (int(v) for v in np.unravel_index(int(np.argmax(score)), score.shape))
    if not (0 < row < H - 1 and 0 < column < W - 1):
        return unknown
    best = np.array((
        column + 0.5 + _summit(score[row, column - 1 : column + 2]), row + 0.5 + _summit(score[row - 1 : row + 2, column]),
    ), np.float32)  # fmt: skip
    sure = float(np.clip((score[row, column] - SURE[0]) / (SURE[1] - SURE[0]), 0, 1))
    found = turn @ best + (corners.mean(0) - turn @ (W / 2, H / 2))
    return Iris(np.asarray(found, np.float32), sure)


def _darker(light: NDArray[np.float32], between: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """How much darker [h, w] a disc around each pixel is than the ring around it, of what shows between the lids."""
    import cv2

    light_between = light * between
    means, shown = [], []
    for low, high in ((0.0, 0.9), (1.1, 1.45)):
        kernel = _ring(low * radius, high * radius)
        n = cv2.filter2D(between, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        total = cv2.filter2D(light_between, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        means.append(total / np.maximum(n, 1))
        shown.append(n / float(kernel.sum()))
    enough = np.minimum(shown[0] / 0.5, 1) * np.minimum(shown[1] / 0.25, 1)
    return np.asarray((means[1] - means[0]) * enough, np.float32)


def _ring(low: float, high: float) -> NDArray[np.float32]:
    """A ring's coverage of the pixels [n, n] around its middle."""
    r = _from_middle(int(np.ceil(high)) + 1)
    inner = np.clip(r - low + 0.5, 0, 1) if low > 0 else np.ones_like(r)
    return np.asarray(inner * np.clip(high - r + 0.5, 0, 1), np.float32)


@cache
def _from_middle(n: int) -> NDArray[np.float32]:
    """How far each pixel [2 n + 1, 2 n + 1] is from the middle one."""
    grid = np.arange(-n, n + 1, dtype=np.float32)
    return np.asarray(np.hypot(grid[:, None], grid))


def _summit(three: NDArray[np.float32]) -> float:
    """Where the parabola through three neighbours has its top, from the middle one, at most half a step."""
    a, b, c = (float(v) for v in three)
    bend = a - 2 * b + c
    return 0.0 if abs(bend) < 1e-9 else float(np.clip((a - c) / (2 * bend), -0.5, 0.5))
