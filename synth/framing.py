"""A picture cropped or continued to a wanted size around the character in it.

Head and shoulders stay together, with room above the head; who is cut by the picture's lower edge
is cut by the frame's. Done once, before the rig is made, so nothing after it knows of ratios.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfcap.face import FaceMesh
from perfcap.landmarks import CHIN
from runtime.errors import InputError
from synth.matte import person_alpha
from synth.outpaint import Pads, outpaint
from synth.rig import Character, rig

RATIOS = ("1280:720", "720:1280", "960:960", "1104:832", "832:1104", "1584:672")

HEAD_ROOM = 0.09  # of the frame's height, above the hair
FACE_WIDE, FACE_TALL = 0.40, 0.27  # the face's share of the frame's height, in frames of 16:9 and 9:16
LINE_LEVELS = 25  # a step from one row or column to the next that, all along an edge, is no part of the picture
BAR_LEVELS = 3  # how evenly black, or of another colour, a bar is
TOUCH = 0.5  # opacity at the picture's edge that counts as cut by it


@dataclass(frozen=True)
class Size:
    """Of a frame, px."""

    width: int
    height: int


@dataclass(frozen=True)
class Window:
    """What of a picture is shown, px; may reach beyond it."""

    x0: float
    y0: float
    width: float
    height: float


@dataclass(frozen=True)
class Framed:
    """A picture of the wanted size, and the face in it."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    landmarks: NDArray[np.float32]  # [478, 3]


def size_of(ratio: str) -> Size:
    """The frame that `--ratio` names."""
    if ratio not in RATIOS:
        raise InputError(f"--ratio is {ratio!r}; wanted one of {', '.join(RATIOS)}")
    width, height = ratio.split(":")
    return Size(int(width), int(height))


def frame(rgb: NDArray[np.uint8], landmarks: NDArray[np.float32], ratio: str) -> Framed:
    """The picture [H, W, 3] with its face [478, 3] at the size that `ratio` names."""
    import cv2

    size = size_of(ratio)
    H, W = rgb.shape[:2]
    if size == Size(W, H):
        return Framed(rgb, landmarks)
    line = _frame_line(rgb)
    rgb = np.ascontiguousarray(rgb[line.top : H - line.bottom, line.left : W - line.right])
    landmarks = landmarks - np.array((line.left, line.top, 0), np.float32)
    H, W = rgb.shape[:2]
    alpha = person_alpha(rgb, FaceMesh(landmarks))
    window = choose_window(alpha, landmarks, size)
    scale = size.height / window.height
    # What the picture has of the window, and how large that is in the frame.
    x0, y0 = max(0, round(window.x0)), max(0, round(window.y0))
    x1, y1 = min(W, round(window.x0 + window.width)), min(H, round(window.y0 + window.height))
    left, top = max(0, round((x0 - window.x0) * scale)), max(0, round((y0 - window.y0) * scale))
    width, height = min(size.width - left, round((x1 - x0) * scale)), min(size.height - top, round((y1 - y0) * scale))
    if size.width - left - width <= 1:  # rounding, not an edge
        width = size.width - left
    if size.height - top - height <= 1:
        height = size.height - top
    smaller = scale < 1
    part = cv2.resize(
        rgb[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4
    )
    person = cv2.resize(
        alpha[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    grow = np.array(((x1 - x0) / width, (y1 - y0) / height, (x1 - x0) / width), np.float32)
    points = (landmarks - np.array((x0, y0, 0), np.float32)) / grow
    pads = Pads(left, top, size.width - left - width, size.height - top - height)
    out = outpaint(part, _usable(person, points, pads), pads)
    return Framed(out, (points + np.array((left, top, 0), np.float32)).astype(np.float32))


def reframe(character: Character, ratio: str) -> Character:
    """A character rigged again at the size that `ratio` names."""
    framed = frame(character.rgb, character.landmarks, ratio)
    if framed.rgb is character.rgb:
        return character
    made = rig(framed.rgb, FaceMesh(framed.landmarks), character.neutral)
    return replace(made, references=character.references)


def _frame_line(rgb: NDArray[np.uint8]) -> Pads:
    """How much of each side is a bar, or a line that a scan or an export left there, px."""
    turned = rgb.swapaxes(0, 1)
    left, top, right, bottom = (_thickness(side) for side in (turned, rgb, turned[::-1], rgb[::-1]))
    return Pads(left, top, right, bottom)


def _thickness(lines: NDArray[np.uint8]) -> int:
    """Of a bar or line at the picture's edge; [n, length, 3], the outermost first."""
    bar = 0
    while bar < len(lines) // 5 and np.abs(lines[bar].astype(np.int16) - lines[0, 0]).mean() < BAR_LEVELS:
        bar += 1
    # All of it one colour, then suddenly another: not a plain wall behind a rounded head.
    if bar and np.median(np.abs(lines[bar + 1].astype(np.int16) - lines[bar - 1])) > 4 * BAR_LEVELS:
        return bar + 1  # with the one it bled into
    edges = np.abs(np.diff(lines[: 2 + len(lines) // 150].astype(np.int16), axis=0)).max(-1)
    marked = np.flatnonzero(np.percentile(edges, 15, axis=1) > LINE_LEVELS)
    return int(marked[-1]) + 2 if len(marked) else 0


def _usable(alpha: NDArray[np.float32], landmarks: NDArray[np.float32], pads: Pads) -> NDArray[np.bool_]:
    """What of a picture may be repeated beyond its edges [H, W]: what is behind the person, and of the
    person what lies below the chin at an edge that cuts them."""
    import cv2

    H, W = alpha.shape
    reach = max(3, round(FaceMesh(landmarks).size / 20)) | 1
    behind = cv2.dilate(alpha, np.ones((reach, reach), np.uint8)) < 0.02
    clothes = np.zeros_like(behind)
    near = round(0.15 * W)
    y = int(np.clip(landmarks[CHIN, 1] + 0.3 * FaceMesh(landmarks).size, 0, H))
    if pads.left and (alpha[y:, 0] > TOUCH).any():
        clothes[y:, :near] = True
    if pads.right and (alpha[y:, -1] > TOUCH).any():
        clothes[y:, W - near :] = True
    return np.asarray(behind | clothes)


def choose_window(alpha: NDArray[np.float32], landmarks: NDArray[np.float32], size: Size) -> Window:
    """The best of many windows: each is charged for what a viewer would mind."""
    H, W = alpha.shape
    face = FaceMesh(landmarks)
    head = _head(alpha, landmarks)
    aspect = size.width / size.height
    tallest = 1.25 * max(H, W / aspect, (head[3] - head[1]) * 1.6, (head[2] - head[0]) * 1.4 / aspect)
    heights = np.geomspace(1.15 * (face.box[3] - face.box[1]), tallest, 48)
    # Windows beside an edge of the picture are among the candidates, so that edges coincide where they can.
    share = np.linspace(0, 1, 41)
    best, least = Window(0, 0, W, H), np.inf
    for h in heights:
        w = h * aspect
        x0 = np.concatenate((face.centre[0] - w * (0.25 + 0.5 * share), (0.0, W - w)))
        y0 = np.concatenate((head[1] - h * (0.6 * share - 0.1), (0.0, H - h)))
        X, Y = (a.ravel() for a in np.meshgrid(x0, y0))
        charge = _charges(X, Y, w, h, alpha, face, head)
        i = int(np.argmin(charge))
        if charge[i] < least:
            best, least = Window(float(X[i]), float(Y[i]), float(w), float(h)), float(charge[i])
    return best


def _head(alpha: NDArray[np.float32], landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """The box x0, y0, x1, y1 px of the head with its hair, ears and hat."""
    H, W = alpha.shape
    face = FaceMesh(landmarks)
    x0, y0, x1, y1 = face.box
    fw, fh = x1 - x0, y1 - y0
    a, b = max(0, int(x0 - 0.7 * fw)), min(W, int(x1 + 0.7 * fw) + 1)
    c, d = max(0, int(y0 - 0.9 * fh)), max(1, min(H, int(y1 - 0.15 * fh)))
    part = alpha[c:d, a:b] > 0.5
    rows, columns = np.flatnonzero(part.sum(1) > 0.1 * fw), np.flatnonzero(part.sum(0) > 0.1 * fh)
    top = c + rows[0] if len(rows) else y0
    left, right = (a + columns[0], a + columns[-1] + 1) if len(columns) else (x0, x1)
    return np.array((min(x0, left), min(y0, top), max(x1, right), y1), np.float64)


def _over(a: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(a, 0)


def _charges(
    x0: NDArray[np.float64], y0: NDArray[np.float64], w: float, h: float,
    alpha: NDArray[np.float32], face: FaceMesh, head: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """What viewers mind in windows [N] of one size."""
    H, W = alpha.shape
    x1, y1 = x0 + w, y0 + h
    fx0, fy0, fx1, fy1 = face.box
    fh = fy1 - fy0
    charge = np.zeros_like(x0)
    # The face, or the head, cut or close to being so.
    for rim, dear in ((0.0, 100.0), (0.05, 8.0)):
        x, y = rim * w, rim * h
        near = _over(x0 + x - fx0) + _over(fx1 + x - x1) + _over(y0 + y - fy0) + _over(fy1 + y - y1)
        charge += dear * near / fh
    side = 0.04 * w
    cut_head = _over(x0 + side - head[0]) + _over(head[2] + side - x1) + _over(y0 + 0.02 * h - head[1])
    charge += 8 * cut_head / fh
    # Size of the face.
    wide = np.clip(np.log(w / h) / np.log(16 / 9), -1, 1)
    ideal = FACE_TALL * (FACE_WIDE / FACE_TALL) ** ((wide + 1) / 2)
    size = np.log(fh / h / ideal)
    charge += (1.6 if size > 0 else 3.0) * size**2
    # Room above the head, the head in the middle, shoulders below.
    charge += 25 * ((head[1] - y0) / h - HEAD_ROOM) ** 2
    middle = 0.7 * face.centre[0] + 0.3 * (head[0] + head[2]) / 2
    charge += 25 * ((middle - x0) / w - 0.5) ** 2
    charge += 4 * _over(0.2 - (np.minimum(y1, H) - fy1) / h) ** 2
    # What must be made up: dear below a person, dearer still beyond an edge that cuts them.
    out = np.stack((_over(-x0), _over(x1 - W), _over(-y0), _over(y1 - H)), 1) / (w, w, h, h)
    charge += 0.6 * out.sum(1) + 2.5 * (out**2).sum(1) + 20 * out[:, 3]
    cut = np.clip(alpha, 0, 1)
    below = float(cut[-1].mean() > 0.05)
    charge += (0.5 + 50 * below) * (out[:, 3] > 1 / H)
    for edge, made_up in ((cut[:, 0], out[:, 0]), (cut[:, -1], out[:, 1])):
        along = np.concatenate(((0,), np.cumsum(edge > TOUCH)))
        touched = along[np.clip(y1, 0, H).astype(int)] - along[np.clip(y0, 0, H).astype(int)]
        charge += 6 * touched / h * (made_up > 1 / W) + 1.0 * (touched > 2) * (made_up > 1 / W)
    touched = float((cut[0] > TOUCH).sum()) / max(fh, 1.0)
    return np.asarray(charge + 20 * min(touched, 1.0) * (out[:, 2] > 1 / H))
