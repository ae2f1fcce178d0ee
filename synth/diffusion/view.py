"""Between the warp and the network: frames drawn and told of as guides, and what was painted laid back into them.

One way on the host, and its twin on a device, where no picture leaves the device until it is finished. Importing this
file loads torch and diffusers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from runtime.records import Motion
from synth.device import DeviceDrawn, DeviceWarp, carried, rasterise
from synth.diffusion.guide import Crop, Guides
from synth.diffusion.model import pack_guide
from synth.diffusion.pipeline import GuidePipeline, to_pictures
from synth.rig import inner_triangles
from synth.warp import Drawn, WarpRenderer


class View(Protocol):
    """A character's frames as a network sees them, at one side."""

    @property
    def crop(self) -> Crop: ...

    def guide(self, drawn: Sequence[Any]) -> Tensor:
        """Consecutive frames that were drawn, as the network takes them [1, T, N_GUIDE, S, S]."""

    def lay_back(self, drawn: Any, painted: Tensor) -> Drawn:
        """A frame with what was painted of it [3, S, S], -1..1, in its place; on the host."""


class Easel(Protocol):
    """Where a character's frames are drawn."""

    def draw(self, motion: Motion) -> Any: ...

    def view(self, side: int) -> View: ...


def easel_for(warp: WarpRenderer, pipeline: GuidePipeline) -> Easel:
    """On the device that the network is on."""
    if pipeline.unet.device.type == "cpu":
        return HostEasel(warp, pipeline)
    return DeviceEasel(warp, pipeline.unet.device, pipeline.unet.dtype)


class HostEasel:
    def __init__(self, warp: WarpRenderer, pipeline: GuidePipeline) -> None:
        self._warp, self._pipeline = warp, pipeline

    def draw(self, motion: Motion) -> Drawn:
        return self._warp.draw(motion)

    def view(self, side: int) -> View:
        return HostView(Guides(self._warp, side), self._pipeline)


class HostView:
    def __init__(self, guides: Guides, pipeline: GuidePipeline) -> None:
        self._guides, self._pipeline = guides, pipeline
        self.crop = guides.crop

    def guide(self, drawn: Sequence[Drawn]) -> Tensor:
        return self._pipeline.guide([self._guides.of(each) for each in drawn])

    def lay_back(self, drawn: Drawn, painted: Tensor) -> Drawn:
        rgb = self.crop.lay_back(drawn.rgb, self.crop.cut(drawn.rgb), to_pictures(painted))
        return replace(drawn, rgb=rgb)


class DeviceEasel:
    def __init__(self, warp: WarpRenderer, device: torch.device, dtype: torch.dtype) -> None:
        self._warp, self._drawing = warp, DeviceWarp(warp, device)
        self._device, self._dtype = device, dtype

    def draw(self, motion: Motion) -> DeviceDrawn:
        return self._drawing.draw(motion)

    def view(self, side: int) -> View:
        return DeviceView(Guides(self._warp, side), self._device, self._dtype)


class DeviceView:
    """What `Guides` and `Crop` do, on a device."""

    def __init__(self, guides: Guides, device: torch.device, dtype: torch.dtype) -> None:
        self._guides, self._device, self._dtype = guides, device, dtype
        self.crop = crop = guides.crop
        H, W = guides.filled.shape
        spans = ((crop.top, H), (crop.left, W))
        self._edge = [self._sent(resampling(start, crop.size, crop.side, n, edge=True)) for start, n in spans]
        self._within = [self._sent(resampling(start, crop.size, crop.side, n, edge=False)) for start, n in spans]
        self._back = self._sent(resampling(0, crop.side, crop.size, crop.side, edge=True))
        self._fade = self._sent(crop.fade)
        self._triangles = self._sent(guides.triangles).long()
        self._values = self._sent(guides.values)
        self._filled = self._layer(self._sent(guides.filled), beyond=255)

    def guide(self, drawn: Sequence[DeviceDrawn]) -> Tensor:
        return torch.stack([self._of(each) for each in drawn])[None].to(self._dtype)

    def _of(self, drawn: DeviceDrawn) -> Tensor:
        guides, crop = self._guides, self.crop
        S = crop.side
        hits = rasterise(self._sent(crop.to_crop(drawn.vertices)), self._sent(drawn.depth), self._triangles, S, S)
        coords = carried(hits, self._values, self._triangles)
        coords = torch.where(hits.triangle[..., None] < len(inner_triangles()), coords, 0)  # the others hide it
        longer = self._sent(guides.stretched(drawn.vertices))
        stretch = torch.where(hits.triangle >= 0, longer[hits.triangle.clamp(min=0)], 0)
        opacity, painted = self._layer(drawn.opacity, beyond=0), self._layer(drawn.painted, beyond=255)
        valid = (opacity + (1 - opacity) * (1 - self._filled)) * (1 - painted)
        mouth, eyes = (
            F.interpolate(self._sent(soft)[None, None], size=(S, S), mode="bilinear", align_corners=False)[0, 0]
            for soft in guides.regions(drawn.landmarks)
        )
        rgb = self._cut(drawn.rgb).permute(1, 2, 0)
        return pack_guide(rgb, valid, coords, stretch, mouth, eyes, valid.new_tensor(guides.opened))

    def lay_back(self, drawn: DeviceDrawn, painted: Tensor) -> Drawn:
        crop = self.crop
        H, W = drawn.rgb.shape[:2]
        levels = ((painted.float() + 1) * 127.5).round().clamp(0, 255)
        change = self._back @ (levels - self._cut(drawn.rgb)) @ self._back.T  # [3, size, size]
        change = change.permute(1, 2, 0) * self._fade
        x0, y0 = max(crop.left, 0), max(crop.top, 0)
        x1, y1 = min(crop.left + crop.size, W), min(crop.top + crop.size, H)
        rgb = drawn.rgb.clone()
        inside = change[y0 - crop.top : y1 - crop.top, x0 - crop.left : x1 - crop.left]
        rgb[y0:y1, x0:x1] = (rgb[y0:y1, x0:x1] + inside + 0.5).clamp(0, 255).to(torch.uint8)
        finished, opacity, over = (each.cpu().numpy() for each in (rgb, drawn.opacity, drawn.painted))
        return Drawn(finished, opacity, over, drawn.vertices, drawn.depth, drawn.landmarks)

    def _cut(self, rgb: Tensor) -> Tensor:
        """The crop of a picture [H, W, 3] as whole levels [3, S, S]; beyond its edges they go on."""
        down, across = self._edge
        return (down @ rgb.permute(2, 0, 1).float() @ across.T).round()

    def _layer(self, layer: Tensor, beyond: int) -> Tensor:
        """The crop of a layer [H, W] of 0..255 as 0..1."""
        down, across = self._within
        return ((down @ (layer.float() - beyond) @ across.T) + beyond).round() / 255

    def _sent(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def resampling(start: int, size: int, side: int, n: int, *, edge: bool) -> NDArray[np.float32]:
    """What each of `side` pixels takes of each of n [side, n], where `size` of those, from `start` on, become them.

    As OpenCV does it: shrunk by area, enlarged between neighbours. Beyond the n there is the last, or nothing.
    """
    takes = np.zeros((side, n), np.float32)
    scale = size / side
    for i in range(side):
        if size > side:
            first, last = i * scale, (i + 1) * scale
            taken = [(k, min(last, k + 1) - max(first, k)) for k in range(int(first), min(size, int(np.ceil(last))))]
        else:
            middle = (i + 0.5) * scale - 0.5
            k = int(np.floor(middle))
            taken = [(min(max(k, 0), size - 1), 1 - (middle - k)), (min(max(k + 1, 0), size - 1), middle - k)]
        total = sum(share for _, share in taken)
        for k, share in taken:
            at = start + k
            if edge:
                at = min(max(at, 0), n - 1)
            if 0 <= at < n:
                takes[i, at] += share / total
    return takes
