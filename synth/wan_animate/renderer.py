"""The renderer that is Wan-Animate: the whole picture made anew, a segment of frames at a time.

A stage, Cue in, Shot out. Each segment begins with the last frames of the one before, as the model was trained to go
on, so a take of any length is one take, in constant memory. The model works at its own size; its pictures are laid
back at the size of the character's. The weights are shared; what a take remembers lies here. torch, diffusers and
transformers load with them (`synth.wan_animate.pipeline`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.records import Cue, Shot
from synth.camera import VirtualCamera
from synth.rig import Character
from synth.wan_animate.figure import Figure, Figures, draw_skeleton
from synth.wan_animate.options import PATCH_PX, WanAnimateOptions
from synth.warp import Drawn, WarpRenderer

if TYPE_CHECKING:
    from synth.wan_animate.pipeline import WanAnimate


@dataclass(frozen=True)
class Frame:
    """Where a picture lies in the model's: resampled, and its rims continued until the sides are multiples of 16."""

    height: int  # px of the picture
    width: int
    inner_height: int  # px that it takes up in the model's
    inner_width: int

    @classmethod
    def of(cls, height: int, width: int, area_px: int) -> Frame:
        scale = (area_px / (height * width)) ** 0.5
        return cls(height, width, max(1, round(height * scale)), max(1, round(width * scale)))

    @property
    def outer_height(self) -> int:
        return -(-self.inner_height // PATCH_PX) * PATCH_PX

    @property
    def outer_width(self) -> int:
        return -(-self.inner_width // PATCH_PX) * PATCH_PX

    def put(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture [height, width, 3] as the model takes it [outer_height, outer_width, 3]."""
        import cv2

        inner = _resized(picture, self.inner_height, self.inner_width)
        rims = (0, self.outer_height - self.inner_height, 0, self.outer_width - self.inner_width)
        return np.asarray(cv2.copyMakeBorder(inner, *rims, cv2.BORDER_REPLICATE))

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [N, 2] px of the picture in px of the model's."""
        return points * np.array((self.inner_width / self.width, self.inner_height / self.height), np.float32)

    def take(self, result: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The model's [outer_height, outer_width, 3] at the picture's size."""
        return _resized(result[: self.inner_height, : self.inner_width], self.height, self.width)


def _resized(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    import cv2

    way = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=way))


@dataclass(frozen=True)
class _Held:
    cue: Cue
    drawn: Drawn  # without its pictures


class WanAnimateRenderer:
    """(Character, Cue) -> Shot, the size of the character's picture."""

    def __init__(
        self,
        character: Character,
        model: WanAnimate,
        options: WanAnimateOptions,
        camera: VirtualCamera | None = None,
    ) -> None:
        self._warp = WarpRenderer(character, camera)
        self._figures = Figures(self._warp, model.face_side)
        self._model, self._options = model, options
        H, W = character.rgb.shape[:2]
        self._frame = Frame.of(H, W, options.area_px)
        self._reference = self._frame.put(character.rgb)
        self._start()

    def _start(self) -> None:
        o = self._options
        self._held: list[_Held] = []
        self._shown: deque[Figure] = deque(maxlen=o.segment)  # the latest moments, those held among them
        self._memory = self._model.begin(o.seed)

    def push(self, cue: Cue) -> list[Shot]:
        motion = self._warp.motion_of(cue)
        drawn = self._warp.draw(motion)
        self._shown.append(self._figures.of(motion, drawn))
        self._held.append(_Held(cue, replace(drawn, rgb=_NOTHING, painted=_NOTHING)))
        return self._paint() if len(self._held) == self._wanted else []

    def flush(self) -> list[Shot]:
        shots = self._paint() if self._held else []
        self._start()
        return shots

    @property
    def _wanted(self) -> int:
        """How many moments a segment needs."""
        return self._options.segment - (0 if self._memory.last is None else self._options.overlap)

    def _paint(self) -> list[Shot]:
        held, self._held = self._held, []
        n_before = self._options.segment - self._wanted
        figures = segment_of(list(self._shown), n_before + len(held), self._options.segment)
        frame = self._frame
        pose = [draw_skeleton(frame.points(f.joints), frame.outer_height, frame.outer_width) for f in figures]
        made = self._model.paint(self._reference, pose, [f.face for f in figures], self._memory, self._options)
        self._memory = made.memory
        pictures = made.pictures[n_before:]
        return [
            self._warp.shot(h.cue, replace(h.drawn, rgb=frame.take(picture)))
            for h, picture in zip(held, pictures, strict=False)  # what follows fills the segment up
        ]


_NOTHING: Any = np.zeros((0, 0), np.uint8)


def segment_of(shown: Sequence[Figure], n: int, length: int) -> list[Figure]:
    """The last n of what was shown, filled up to a segment's length by what was shown before, backwards."""
    there = np.pad(np.arange(len(shown)), (0, length - n), mode="reflect")
    return [shown[i] for i in there[len(shown) - n :]]
