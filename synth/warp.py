"""The real-time renderer: the picture itself, moved.

A mesh from the face out to the shoulders is drawn in depth order with the picture as its texture,
over what is behind the person; eyes and the inside of the mouth are layers of their own. It takes
Motion in the character's own terms (see `synth.retarget`) and remembers nothing between pictures,
so a take cannot drift.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from perfcap.head import Camera, place
from perfcap.landmarks import INNER_LIPS, INNER_LIPS_LOWER, INNER_LIPS_UPPER, LIPS, OVAL
from runtime.records import N_FACE, Cue, Motion, Shot
from synth.camera import VirtualCamera
from synth.eyes import EYES, Eye, curve, opening, polygon
from synth.glasses import Glasses, find_glasses, find_thick_glasses, hold, without
from synth.mouth import LUMA, Interior, MouthInterior, MouthPalette, palette_from_picture
from synth.raster import FAR, SOFT_PX, Canvas, lay_over, rasterise, soften_folds
from synth.rig import FIRST_GRID, LASHES, NECK, Character, lid_rows, smoothstep
from synth.torso import Torso

NOSE = 2  # the landmark under it, above the upper lip


class Mouth:
    """The inside of a character's mouth: drawn, and over it the teeth that the picture itself shows."""

    def __init__(self, character: Character) -> None:
        points = character.landmarks[:, :2]
        palette = _palette(character)
        self._inside = MouthInterior(palette, character.face)
        self._camera = character.camera
        self._opening = opening(points[list(INNER_LIPS_UPPER)], points[list(INNER_LIPS_LOWER)])
        self._parted = self._opening > SHOWN
        self._own: OwnTeeth | None = None
        if self._parted and palette.teeth_shown:  # not where it is the lips' own shade that is between them
            drawn = self._drawn(points, character.head, character.face)
            self._own = OwnTeeth(character, drawn, float(smoothstep(np.array(self._opening), *TELLING)))

    def draw(self, canvas: Canvas, points: NDArray[np.float32], motion: Motion) -> None:
        """Draw between the lips of a picture whose landmarks [478, 2] px are given."""
        now = opening(points[list(INNER_LIPS_UPPER)], points[list(INNER_LIPS_LOWER)])
        if now < 0.02:
            return
        share = 1.0
        if self._parted:  # near rest the picture itself, lips and all
            share = float(smoothstep(np.array(abs(now / self._opening - 1)), 0.05, 0.25))
        share *= float(smoothstep(np.array(now), 0.02, 0.06))
        if share <= 0:
            return
        drawn = self._drawn(points, motion.head, motion.face)
        inside = drawn.rgb if self._own is None else self._own.over(drawn, motion.head, motion.face)
        h, w = inside.shape[:2]
        H, W = canvas.painted.shape
        x0, y0 = max(0, drawn.left), max(0, drawn.top)
        x1, y1 = min(W, drawn.left + w), min(H, drawn.top + h)
        if x1 <= x0 or y1 <= y0:
            return
        part = (slice(y0 - drawn.top, y1 - drawn.top), slice(x0 - drawn.left, x1 - drawn.left))
        cover = between_lips(points, drawn)[part].astype(np.float32) * (share / 255)
        canvas.lay(x0, y0, inside[part].astype(np.float32), cover)

    def _drawn(self, points: NDArray[np.float32], head: NDArray[np.float32], face: NDArray[np.float32]) -> Interior:
        return self._inside.render(face, points[list(INNER_LIPS)], around_mouth(self._camera, head, face))


def between_lips(points: NDArray[np.float32], drawn: Interior) -> NDArray[np.uint8]:
    """Coverage [h, w] 0..255 of what was drawn by the opening of lips at landmarks [478, 2] px."""
    upper, lower = points[list(INNER_LIPS_UPPER)], points[list(INNER_LIPS_LOWER)]
    edge = np.concatenate((curve(upper)[:-1], curve(lower)[:0:-1]))
    return polygon(drawn.rgb.shape[:2], (edge - (drawn.left, drawn.top)).astype(np.float32))


RIM = 0.15  # of a picture's opening: the lips shade what is so near to them
LOWEST = 0.55  # of the way down an opening: what is seen below may go with the jaw
LIT = (0.6, 1.7)  # bounds of how much brighter or darker drawn teeth become beside the picture's own
TELLING = (0.1, 0.16)  # lips parted so far, of the mouth's width, say something of teeth, and enough
HUE = (0.9, 1.1)  # and of each channel beside that: what shines red there is gum or lip


class OwnTeeth:
    """What a picture shows between its lips: it goes with the skull, as upper teeth do."""

    def __init__(self, character: Character, drawn: Interior, told: float) -> None:
        """`drawn` is what would be drawn in the picture's own opening, `told` how much that tells, 0 to 1."""
        import cv2

        self._camera, self._rest = character.camera, character.face
        h, w = drawn.rgb.shape[:2]
        H, W = character.rgb.shape[:2]
        y, x = np.clip(np.arange(h) + drawn.top, 0, H - 1), np.clip(np.arange(w) + drawn.left, 0, W - 1)
        own = character.rgb[y[:, None], x].astype(np.float32)
        inside = (between_lips(character.landmarks[:, :2], drawn) > 127).astype(np.uint8)
        down = np.cumsum(inside, 0) / np.maximum(inside.sum(0), 1)
        from_lips = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        cover = smoothstep(from_lips, 0, RIM * float(inside.sum(0).max())) * (1 - smoothstep(down, LOWEST, 1))
        cover *= told  # what hardly shows is as likely a shadow at the lips
        self._layer = np.dstack((own, cover)).astype(np.float32)  # RGB and opacity
        self._corner = np.array((drawn.left, drawn.top), np.float32)
        self._plane_px = self._plane(character.head, character.face)
        seen = cover > 0.5
        self._teeth = drawn.rgb[seen].mean(0) if seen.any() else np.full(3, 255.0)
        lit = _lit(own[seen].mean(0), self._teeth) if seen.any() else np.ones(3)
        self._lit = 1 + (lit - 1) * told

    def _plane(self, head: NDArray[np.float32], face: NDArray[np.float32]) -> NDArray[np.float64]:
        """[2, 3]: from the upper teeth's plane, x and y in units of the head's frame, to px."""
        A = around_mouth(self._camera, head, face).astype(np.float64)
        slip = (face - self._rest)[NOSE, :2]  # a nose hardly moves: what it seems to is the head's pose, mistaken
        depth = float(self._rest[list(INNER_LIPS_UPPER), 2].mean())
        return np.column_stack((A[:, :2], A[:, 2] * depth + A[:, 3] + A[:, :2] @ slip))

    def over(self, drawn: Interior, head: NDArray[np.float32], face: NDArray[np.float32]) -> NDArray[np.float32]:
        """What was drawn [h, w, 3], in the picture's light, and the picture's own teeth over it."""
        import cv2

        bright = np.minimum(drawn.rgb / np.maximum(self._teeth, 1), 1).astype(np.float32)
        under = drawn.rgb * (1 + (self._lit - 1) * bright)
        now, then = self._plane(head, face), self._plane_px
        back = then[:, :2] @ np.linalg.inv(now[:, :2])
        here = np.array((drawn.left, drawn.top)) + 0.5  # the middle of the first pixel
        offset = back @ (here - now[:, 2]) + then[:, 2] - self._corner - 0.5
        layer = cv2.warpAffine(
            self._layer, np.column_stack((back, offset)), drawn.rgb.shape[1::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT,
        )  # fmt: skip
        return np.asarray(np.minimum(under + (layer[..., :3] - under) * layer[..., 3:], 255), np.float32)


def _lit(own: NDArray[np.float32], drawn: NDArray[np.float32]) -> NDArray[np.float64]:
    """What drawn teeth [3] are multiplied by to be as light as a picture's own, and nearly of their hue."""
    light = float(np.clip(own @ LUMA / max(float(drawn @ LUMA), 1), *LIT))
    return np.asarray(light * np.clip(own / np.maximum(drawn, 1) / light, *HUE), np.float64)


def around_mouth(camera: Camera, head: NDArray[np.float32], face: NDArray[np.float32]) -> NDArray[np.float32]:
    """[2, 4]: head's frame, units -> px, straightened around the mouth of a face [478, 3]."""
    middle = face[list(INNER_LIPS)].mean(0)
    step = 0.1
    probe = np.concatenate((middle[None], middle + step * np.eye(3, dtype=np.float32)))
    px = camera.project(place(head, probe))
    A = ((px[1:] - px[0]) / step).T
    return np.asarray(np.concatenate((A, (px[0] - A @ middle)[:, None]), 1), np.float32)


OUTSIDE = np.float32(-1e4)  # px of the texture: where there is nobody


def _palette(character: Character) -> MouthPalette:
    """The colours of the character's mouth; teeth that only a reference picture shows are theirs too."""
    own = palette_from_picture(character.rgb, character.landmarks[:, :2])
    if parted(character.landmarks):
        return own
    for rgb, landmarks in character.references:
        if parted(landmarks):
            shown = palette_from_picture(rgb, landmarks[:, :2])
            return replace(own, teeth=shown.teeth, dark=shown.dark)
    return own


def parted(landmarks: NDArray[np.float32]) -> bool:
    """Whether a face [478, 2 or more] px shows the inside of its mouth."""
    return opening(landmarks[list(INNER_LIPS_UPPER), :2], landmarks[list(INNER_LIPS_LOWER), :2]) > SHOWN


FOLD = 4.0  # px of the picture between neighbours, from which one lies before the other
SHOWN = 0.08  # lips parted this far, of the mouth's width, show what is between them
FINE_PX = 2_500_000  # a moving part with more pixels is sampled as it is: a close-up has no use for finer ones


@dataclass(frozen=True)
class Drawn:
    """A picture that the warp drew, and what it knows of each pixel and vertex."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    opacity: NDArray[np.uint8]  # [H, W], the person's; elsewhere what is behind shows
    painted: NDArray[np.uint8]  # [H, W], how much eyes and mouth were painted over the picture's own pixels
    vertices: NDArray[np.float32]  # [V, 2] px, of the rig's mesh
    depth: NDArray[np.float32]  # [V] metres
    landmarks: NDArray[np.float32]  # [478, 2] px


@dataclass(frozen=True, kw_only=True)
class Moving:
    """The part of a picture outside of which nothing moves, ready to be drawn."""

    left: int  # px of the picture
    top: int
    right: int
    bottom: int
    texture: NDArray[np.uint8]  # [h, w, 4], the person in that part with their opacity, once or twice as fine
    fold: float  # px of the texture between neighbouring pixels, from which one lies before the other
    source: NDArray[np.float32]  # [V, 2] px of the texture, where each vertex takes its colour
    triangles: NDArray[np.int32]  # [T, 3], those that may show anything
    bare: NDArray[np.uint8]  # [H, W, 3], the whole picture, in that part without the person
    around: NDArray[np.uint8]  # [H, W], the person's opacity, in that part none


class WarpRenderer:
    """(Character, Cue) -> Shot, the size of the character's picture."""

    def __init__(self, character: Character, camera: VirtualCamera | None = None) -> None:
        import cv2

        self.character = character
        self._camera = camera
        worn = find_glasses(character.rgb, character.landmarks)
        self._glasses: Glasses | None = None
        if worn is not None:
            self._glasses = Glasses(character.rgb, worn, character.camera, character.head, character.face)
            character = replace(character, rgb=self._glasses.clean, person=without(character.person, worn))
        self._held = find_thick_glasses(character.rgb, character.landmarks) if worn is None else None
        skin = character.skin
        self._skin = skin
        grid = skin.points[FIRST_GRID:]
        self._rest_grid = character.camera.project(place(character.head, skin.around))
        self._contour = (character.face + skin.eased)[list(OVAL)]
        self._rest_neck = character.camera.project(place(character.head, NECK[None]))
        low, high = np.floor(grid.min(0)).astype(int), np.ceil(grid.max(0)).astype(int)
        left, top, right, bottom = (int(v) for v in (*low, *high))
        part = (slice(top, bottom), slice(left, right))
        opacity = (character.alpha * 255 + 0.5).astype(np.uint8)
        texture = np.dstack((character.person[part], opacity[part]))
        bare, around = character.rgb.copy(), opacity.copy()
        bare[part], around[part] = character.behind[part], 0
        # Bilinear sampling of a picture twice as fine is nearly as sharp as bicubic and several times as fast.
        fine = 2 if texture.shape[0] * texture.shape[1] <= FINE_PX else 1
        corner = low.astype(np.float32)
        self.moving = Moving(
            left=left, top=top, right=right, bottom=bottom,
            texture=np.asarray(cv2.resize(texture, None, fx=fine, fy=fine, interpolation=cv2.INTER_LANCZOS4)),
            fold=FOLD * fine,
            source=(skin.points - corner) * np.float32(fine),
            triangles=skin.triangles[shows(skin.points - corner, skin.triangles, texture[..., 3])],
            bare=bare, around=around,
        )  # fmt: skip
        self._drawn = np.unique(self.moving.triangles)
        self._eyes = [Eye(character, parts, skin) for parts in EYES]
        self._mouth = Mouth(character)

    @cached_property
    def _torso(self) -> Torso:
        return Torso(self.character)

    def vertices(
        self, head: NDArray[np.float32], face: NDArray[np.float32], shoulders: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where every vertex of the mesh lies, [V, 2] px, and how deep, [V] metres.

        Without `shoulders` [2, 3] metres, the body is carried along by the neck a little.
        """
        character, skin = self.character, self._skin
        if self._held is not None:
            face = hold(face, character.face, self._held)
        face_m = place(head, (face + skin.eased)[:N_FACE])
        face_px = character.camera.project(face_m)
        grid_m = place(head, skin.around)
        rigid = character.camera.project(grid_m) - self._rest_grid
        if shoulders is None:
            neck = character.camera.project(place(head, NECK[None])) - self._rest_neck
            body = skin.body_weight[:, None] * neck
        else:
            body = self._torso.moved(shoulders)
        contour = face_px[list(OVAL)] - character.camera.project(place(head, self._contour))
        w = skin.head_weight[:, None]
        moved = skin.points[FIRST_GRID:] + w * rigid + (1 - w) * body + skin.contour_weight @ contour
        size = np.float32(character.head[2, 3] / head[2, 3])
        rows = lid_rows(face_px, skin.lashes * size, skin.margins * size)
        depth = np.concatenate((face_m[:, 2], np.tile(face_m[LASHES, 2], 3), grid_m[:, 2] + np.float32(0.02)))
        return np.concatenate((face_px, rows, moved)).astype(np.float32), depth.astype(np.float32)

    def render(self, cue: Cue) -> Shot:
        return self.shot(cue, self.draw(self.motion_of(cue)))

    def push(self, cue: Cue) -> list[Shot]:
        return [self.render(cue)]

    def flush(self) -> list[Shot]:
        return []

    def motion_of(self, cue: Cue) -> Motion:
        """What is to be drawn: the cue's, turned by a camera that goes round."""
        return cue.motion if self._camera is None else self._camera.turn(cue.motion)

    def shot(self, cue: Cue, drawn: Drawn) -> Shot:
        """What was drawn of a cue, filmed."""
        points = drawn.vertices[:N_FACE]
        shot = Shot(cue=cue, rgb=drawn.rgb, face_box=_box(points), mouth_box=_box(points[list(LIPS)]))
        return shot if self._camera is None else self._camera.film(shot, drawn.opacity)

    def draw(self, motion: Motion) -> Drawn:
        """One picture and what is known of it, before any camera films it."""
        target, depth = self.vertices(motion.head, motion.face, motion.shoulders)
        part, over = self._person(target, depth)
        rgb, opacity = self.moving.bare.copy(), self.moving.around.copy()
        view = rgb[part].copy()
        lay_over(view, over)
        rgb[part], opacity[part] = view, over[..., 3]
        canvas = Canvas(rgb, np.zeros_like(opacity))
        landmarks = self.paint(canvas, motion, target)
        return Drawn(rgb, opacity, canvas.painted, target, depth, landmarks)

    def paint(self, canvas: Canvas, motion: Motion, target: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mouth, eyes and glasses over a picture whose vertices [V, 2] px are given; returns its landmarks [478, 2] px."""
        landmarks = self.character.camera.project(place(motion.head, motion.face))
        self._mouth.draw(canvas, landmarks, motion)
        for eye in self._eyes:
            eye.draw(canvas, landmarks, target)
        if self._glasses is not None:
            self._glasses.draw(canvas, landmarks, motion)
        return landmarks

    def _person(
        self, target: NDArray[np.float32], depth: NDArray[np.float32]
    ) -> tuple[tuple[slice, slice], NDArray[np.uint8]]:
        """The part of the picture that the person is in, and them in it [h, w, 4], with their opacity."""
        import cv2

        moving = self.moving
        low, high = (moving.left, moving.top), (moving.right, moving.bottom)
        reach = target[self._drawn]
        x0, y0 = (int(v) for v in np.clip(np.floor(reach.min(0)) - SOFT_PX, low, high))
        x1, y1 = (int(v) for v in np.clip(np.ceil(reach.max(0)) + SOFT_PX, low, high))
        sampling = np.full((y1 - y0, x1 - x0, 2), OUTSIDE, np.float32)
        nearest = np.full(sampling.shape[:2], FAR, np.float32)
        over = np.zeros((*nearest.shape, 4), np.uint8)
        if nearest.size:
            corner = np.array((x0, y0), np.float32)
            rasterise(target - corner, moving.source, depth, moving.triangles, sampling, nearest)
            cv2.remap(moving.texture, sampling, None, cv2.INTER_LINEAR, over, cv2.BORDER_CONSTANT)
            soften_folds(over, sampling, nearest, np.float32(moving.fold))
        return (slice(y0, y1), slice(x0, x1)), over


def shows(points: NDArray[np.float32], triangles: NDArray[np.int32], opacity: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which triangles [T, 3] of points [V, 2] px may hold anything of what is seen in a picture [H, W]."""
    import cv2

    H, W = opacity.shape
    seen = cv2.integral((opacity > 0).astype(np.uint8))
    corners = points[triangles]  # [T, 3, 2]
    x0, y0 = (np.clip(np.floor(corners[..., k].min(1)).astype(int) - 1, 0, n) for k, n in ((0, W), (1, H)))
    x1, y1 = (np.clip(np.ceil(corners[..., k].max(1)).astype(int) + 1, 0, n) for k, n in ((0, W), (1, H)))
    return np.asarray(seen[y1, x1] - seen[y0, x1] - seen[y1, x0] + seen[y0, x0] > 0)


def _box(points: NDArray[np.float32]) -> tuple[int, int, int, int]:
    (x0, y0), (x1, y1) = np.floor(points.min(0)), np.ceil(points.max(0))
    return int(x0), int(y0), int(x1), int(y1)
