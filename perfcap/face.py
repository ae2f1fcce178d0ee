"""Faces in pictures: MediaPipe's face mesh behind a protocol small enough to replace.

Knows pixels only; it hands on landmarks and nothing about heads, expressions or time.
mediapipe 0.10.21 is the last wheel that carries the models, so nothing is fetched.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perfcap.solutions import solution

log = logging.getLogger(__name__)

SEARCH_EVERY = 5  # frames between wide searches while no face is seen: a search costs several meshes
SURE = 0.8  # a detector's score above which it saw a face: folded hands reach .75, faces of all kinds .87 and more
SLIPPED = 0.93  # a face so much smaller, or larger by as much, than a frame ago: the mesh has lost its hold
SEEN_WITHIN = 5  # times a face's size: in a square no larger the detectors see it


@dataclass(frozen=True)
class FaceMesh:
    """One face found in one picture."""

    landmarks: NDArray[np.float32]  # [478, 3]: x, y px from the picture's top left, depth in px

    @cached_property
    def box(self) -> NDArray[np.float32]:  # x0, y0, x1, y1 px
        return np.concatenate((self.landmarks[:, :2].min(0), self.landmarks[:, :2].max(0)))

    @cached_property
    def size(self) -> float:  # px, the longer side
        return float((self.box[2:] - self.box[:2]).max())

    @cached_property
    def centre(self) -> NDArray[np.float32]:  # px
        return (self.box[:2] + self.box[2:]) / 2


class FaceFinder(Protocol):
    def find(self, rgb: NDArray[np.uint8]) -> Sequence[FaceMesh]:
        """All the faces in a picture [H, W, 3], in no order."""


def _mesh_solution(n_faces: int, still: bool) -> Any:
    return solution("face_mesh").FaceMesh(static_image_mode=still, max_num_faces=n_faces, refine_landmarks=True)


def _detector_solution(model: int) -> Any:
    return solution("face_detection").FaceDetection(model_selection=model, min_detection_confidence=0.4)


def _landmarks(found: Any, x0: int, y0: int, width: int, height: int) -> NDArray[np.float32]:
    return _points(found) * np.array((width, height, width), np.float32) + np.array((x0, y0, 0), np.float32)


# A landmark in a serialised list of them: field 1, 15 bytes long, holding fields 1 to 3, floats.
_LANDMARK = np.dtype([("head", "<u2"), ("x_tag", "u1"), ("x", "<f4"), ("y_tag", "u1"), ("y", "<f4"), ("z_tag", "u1"), ("z", "<f4")])  # fmt: skip
_TAGS = {"head": 0x0F0A, "x_tag": 0x0D, "y_tag": 0x15, "z_tag": 0x1D}


def _points(found: Any) -> NDArray[np.float32]:
    """x, y, z [N, 3] of a protobuf list of landmarks, read off its bytes: asked one by one they take .5 ms."""
    data = found.SerializeToString()
    if len(data) == len(found.landmark) * _LANDMARK.itemsize:
        rows = np.frombuffer(data, _LANDMARK)
        if all((rows[name] == tag).all() for name, tag in _TAGS.items()):
            return np.stack((rows["x"], rows["y"], rows["z"]), 1)
    return np.array([(p.x, p.y, p.z) for p in found.landmark], np.float32)


class MediaPipeFaces:
    """Follow faces through a video, or find them in unrelated pictures (`still=True`).

    The mesh looks at the whole picture while that works; a small or lost face is searched for with
    the detectors on overlapping tiles, and the mesh then looks at a window around it.
    """

    def __init__(self, *, n_faces: int = 1, still: bool = False) -> None:
        self._n_faces = n_faces
        self._still = still
        self._mesh: Any = None
        self._detectors: list[Any] = []
        self._window: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1 px, or the whole picture
        self._unseen = 0  # frames since a face was seen
        self._last: list[FaceMesh] = []  # a frame ago

    def find(self, rgb: NDArray[np.uint8]) -> list[FaceMesh]:
        if self._still:
            self._window = None
            self._unseen = 0
            return self._found(rgb)
        self._last = self._found(rgb)
        return self._last

    def _found(self, rgb: NDArray[np.uint8]) -> list[FaceMesh]:
        faces = self._look(rgb)
        if self._slipped(faces):
            self._mesh.reset()
            faces = self._look(rgb) or faces
        if faces:
            self._unseen = 0
            if self._still and self._n_faces > 1:
                return self._with_others(rgb, faces)
            self._keep_in_window(faces, rgb.shape[:2])
            return faces
        self._unseen += 1
        if self._window is not None:
            self._move_window(None)
            faces = self._look(rgb)
        if not faces and (self._unseen - 1) % SEARCH_EVERY == 0:
            faces = self._search(rgb)
        if faces:
            self._unseen = 0
        return faces

    def _slipped(self, faces: list[FaceMesh]) -> bool:
        """Whether a mesh has got smaller or larger at once: it follows fast heads from where they were, and may stay
        on a part of a face for some frames, eyes on its forehead."""
        return len(faces) <= len(self._last) and any(
            np.linalg.norm(face.centre - last.centre) < last.size and not SLIPPED < face.size / last.size < 1 / SLIPPED
            for face in faces
            for last in self._last
        )

    def find_all(self, rgb: NDArray[np.uint8], least: float) -> list[FaceMesh]:
        """The faces of an unrelated picture [H, W, 3], those as well that `find` passes over; slower.

        What is found is painted out and the rest searched again on tiles: mesh and detectors like one large
        face and overlook a smaller one beside it. Faces below a share of the largest are not looked for.
        """
        assert self._still, "faces of a video are followed, not searched for"
        found = sorted(self.find(rgb), key=lambda face: -face.size)
        faces = found[:1] + [face for face in found[1:] if self._detected(rgb, face)]
        hidden = rgb.copy()
        for face in faces:
            _paint_out(hidden, face)
        while 0 < len(faces) < self._n_faces:
            another = self._another(hidden, faces, least * max(face.size for face in faces))
            if another is None:
                break
            faces.append(another)
            _paint_out(hidden, another)
        self._move_window(None)
        return faces

    def _another(self, rgb: NDArray[np.uint8], known: list[FaceMesh], least_px: float) -> FaceMesh | None:
        """One more face, seen in the picture and in its mirror image, none of the known; None if there is none."""
        height, width = rgb.shape[:2]
        for scale in (1, 2, 3):
            if scale > 1 and _tile_side(width, height, scale - 1) < SEEN_WITHIN * least_px:
                break  # the tiles before showed such a face large enough
            hits = [hit for tile in _tiles(width, height, scale) for hit in self._detect(rgb, tile)]
            hits = [hit for hit in hits if hit[0] > SURE and hit[2] > 0.6 * least_px]
            tried: list[NDArray[np.float64]] = []
            for _, centre, size in sorted(hits, key=lambda hit: -hit[0]):
                if any(np.linalg.norm(centre - at) < 0.5 * size for at in tried):
                    continue
                tried.append(centre)
                for grow in (1.6, 1.1):
                    face = self._confirmed(rgb, _square(centre, size * grow, width, height))
                    if face is not None and len(_distinct([*known, face])) > len(known):
                        return face
        return None

    def _detected(self, rgb: NDArray[np.uint8], face: FaceMesh) -> bool:
        """Whether a detector, too, takes for a face what the mesh, asked for several, does."""
        height, width = rgb.shape[:2]
        for grow in (1.2, 2.0):
            hits = self._detect(rgb, _square(face.centre, face.size * grow, width, height))
            if any(
                score > SURE and np.linalg.norm(centre - face.centre) < 0.5 * face.size for score, centre, _ in hits
            ):
                return True
        return False

    def _confirmed(self, rgb: NDArray[np.uint8], window: tuple[int, int, int, int]) -> FaceMesh | None:
        """The largest face in a window, if its mirror image is one as well: folds and flowers seldom are."""
        x0, y0, x1, y1 = window
        self._move_window(window)
        face = max(self._look(rgb), key=lambda f: f.size, default=None)
        if face is None:
            return None
        self._move_window(None)
        mirrored = self._look(rgb[y0:y1, x0:x1][:, ::-1])
        wanted = np.array((x1 - face.centre[0], face.centre[1] - y0))
        agree = [m for m in mirrored if np.linalg.norm(m.centre - wanted) < 0.15 * face.size]
        return face if agree else None

    def forget(self) -> None:
        """The next picture of a video has nothing to do with the last."""
        self._window = None
        self._unseen = 0
        self._last = []
        if self._mesh is not None:
            self._mesh.reset()

    def close(self) -> None:
        for opened in [self._mesh, *self._detectors]:
            if opened is not None:
                opened.close()
        self._mesh, self._detectors = None, []

    def _look(self, rgb: NDArray[np.uint8]) -> list[FaceMesh]:
        if self._mesh is None:
            self._mesh = _mesh_solution(self._n_faces, self._still)
        height, width = rgb.shape[:2]
        x0, y0, x1, y1 = self._window or (0, 0, width, height)
        part = np.ascontiguousarray(rgb[y0:y1, x0:x1])
        found = self._mesh.process(part).multi_face_landmarks or []
        faces = [FaceMesh(_landmarks(f, x0, y0, x1 - x0, y1 - y0)) for f in found]
        return [face for face in _distinct(faces) if face.size >= 16]

    def _with_others(self, rgb: NDArray[np.uint8], faces: list[FaceMesh]) -> list[FaceMesh]:
        """A picture's faces and those that the mesh, which likes one large face, passed over."""
        height, width = rgb.shape[:2]
        for _, centre, size in self._detect(rgb, (0, 0, width, height)):
            if all(np.linalg.norm(centre - face.centre) > 0.5 * face.size for face in faces):
                self._move_window(_square(centre, size * 1.6, width, height))
                faces = _distinct(faces + self._look(rgb))
        self._move_window(None)
        return faces

    def _detect(
        self, rgb: NDArray[np.uint8], box: tuple[int, int, int, int]
    ) -> list[tuple[float, NDArray[np.float64], float]]:
        """Score, centre [2] px and size px of what looks like a face within a box of a picture."""
        if not self._detectors:
            self._detectors = [_detector_solution(1), _detector_solution(0)]
        x0, y0, x1, y1 = box
        tile = np.ascontiguousarray(rgb[y0:y1, x0:x1])
        hits = []
        for detector in self._detectors:
            for hit in detector.process(tile).detections or []:
                b = hit.location_data.relative_bounding_box
                centre = (x0 + (b.xmin + b.width / 2) * (x1 - x0), y0 + (b.ymin + b.height / 2) * (y1 - y0))
                size = max(b.width * (x1 - x0), b.height * (y1 - y0))
                hits.append((float(hit.score[0]), np.array(centre), float(size)))
        return hits

    def _search(self, rgb: NDArray[np.uint8]) -> list[FaceMesh]:
        height, width = rgb.shape[:2]
        for scale in (1, 2, 3):
            hits = [hit for tile in _tiles(width, height, scale) for hit in self._detect(rgb, tile)]
            if hits:
                _, centre, size = max(hits, key=lambda hit: hit[0])
                for grow in (1.6, 1.1, 2.4):
                    self._move_window(_square(centre, size * grow, width, height))
                    faces = self._look(rgb)
                    if faces:
                        return faces
        self._move_window(None)
        return []

    def _keep_in_window(self, faces: list[FaceMesh], shape: tuple[int, ...]) -> None:
        if self._window is None:
            return
        face = max(faces, key=lambda f: f.size)
        x0, y0, x1, y1 = self._window
        b = face.box
        margin = 0.15 * face.size
        cut = (b[0] < x0 + margin and x0 > 0) or (b[1] < y0 + margin and y0 > 0)
        cut = cut or (b[2] > x1 - margin and x1 < shape[1]) or (b[3] > y1 - margin and y1 < shape[0])
        if cut or not 2.0 < max(x1 - x0, y1 - y0) / face.size < 5.0:
            self._move_window(_square(face.centre, face.size * 1.6, shape[1], shape[0]))

    def _move_window(self, window: tuple[int, int, int, int] | None) -> None:
        """The mesh remembers where the face was in its own picture, so a new window is a new picture."""
        if window != self._window:
            self._window = window
            if self._mesh is not None:
                self._mesh.reset()


def _tile_side(width: int, height: int, n: int) -> int:
    return max(width, height) if n == 1 else max(64, round(1.3 * min(width, height) / n))


def _tiles(width: int, height: int, n: int) -> list[tuple[int, int, int, int]]:
    """Overlapping squares of about 1/n of the shorter side that cover the picture."""
    if n == 1:
        return [(0, 0, width, height)]
    side = _tile_side(width, height, n)
    xs = np.linspace(0, max(0, width - side), max(1, -(-width * 3 // (side * 2)))).astype(int)
    ys = np.linspace(0, max(0, height - side), max(1, -(-height * 3 // (side * 2)))).astype(int)
    return [(int(x), int(y), min(width, int(x) + side), min(height, int(y) + side)) for y in ys for x in xs]


def _paint_out(rgb: NDArray[np.uint8], face: FaceMesh) -> None:
    """Lay the mean colour of a face's surroundings over it, in place, fading out: no edge to be taken for a face."""
    import cv2

    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = _square(face.centre, 0.9 * face.size, width, height)
    view = rgb[y0:y1, x0:x1]
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5
    half = np.maximum(face.box[2:] - face.box[:2], 0.7 * face.size) / 2
    away = np.hypot((x - face.centre[0]) / half[0], (y - face.centre[1]) / half[1])
    cover = cv2.GaussianBlur((away < 1.25).astype(np.float32), (0, 0), max(1.0, 0.06 * face.size))[..., None]
    around = view[away > 1.4]
    colour = around.mean(0) if len(around) else np.full(3, 128.0)
    view[:] = (view + (colour - view) * cover + 0.5).astype(np.uint8)


def _square(centre: NDArray[np.floating[Any]], half: float, width: int, height: int) -> tuple[int, int, int, int]:
    x, y = centre
    return max(0, int(x - half)), max(0, int(y - half)), min(width, int(x + half) + 1), min(height, int(y + half) + 1)


def _distinct(faces: list[FaceMesh]) -> list[FaceMesh]:
    """The tracker sometimes locks two meshes on one face; keep one."""
    kept: list[FaceMesh] = []
    for face in sorted(faces, key=lambda f: -f.size):
        if all(np.linalg.norm(face.centre - k.centre) > 0.4 * k.size for k in kept):
            kept.append(face)
    return kept
