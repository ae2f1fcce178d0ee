"""The warp on a device: what `synth.raster` and `synth.warp` do on a CPU, in torch, pixel for pixel where it can be.

Vertices, eyes and the inside of the mouth, a few hundred kilobytes a frame, are worked out on the CPU and sent;
pictures stay on the device from the first to the last step. Importing this file loads torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from runtime.records import Motion
from synth.raster import Canvas
from synth.warp import WarpRenderer

TILE = 4  # px a side: most triangles are smaller
OUTSIDE = 4096  # places for what hits nothing: at a single one all threads of a GPU would queue
SUBPIXELS = 32  # that OpenCV's remap tells apart


@dataclass(frozen=True)
class Hits:
    """What is nearest in each pixel."""

    triangle: Tensor  # [H, W] int64, -1 where nothing is
    share: Tensor  # [H, W, 2], how much of the pixel is its second and its third corner's


def rasterise(target: Tensor, depth: Tensor, triangles: Tensor, H: int, W: int) -> Hits:
    """Triangles [T, 3] of vertices [V, 2] px and [V], smaller is nearer, as `synth.raster` draws them.

    Every triangle's box is cut into small squares; every pixel of every square is tried at once, and the nearest hit
    is kept by one scattered minimum over depth and triangle packed into one number.
    """
    corner = torch.cat((target, depth[:, None]), 1)[triangles]  # [T, 3, 3]: x, y, depth
    low = torch.ceil(corner[..., :2].amin(1) - 0.5).clamp(min=0).long()
    high = torch.floor(corner[..., :2].amax(1) - 0.5).clamp(min=-1).long()
    high = torch.minimum(high, high.new_tensor((W - 1, H - 1)))
    shown = (high >= low).all(1) & (_area(corner).abs() >= 1e-6)
    kept = torch.nonzero(shown)[:, 0]
    low, high, corner = low[kept], high[kept], corner[kept]
    across, down = ((high - low) // TILE + 1).unbind(1)
    owner = torch.repeat_interleave(torch.arange(len(kept), device=kept.device), across * down)
    place = torch.arange(len(owner), device=kept.device) - (torch.cumsum(across * down, 0) - across * down)[owner]
    step = torch.arange(TILE * TILE, device=kept.device)
    x = (low[owner, 0] + place % across[owner] * TILE)[:, None] + step % TILE  # [tiles, TILE²]
    y = (low[owner, 1] + place // across[owner] * TILE)[:, None] + step // TILE
    own = corner[owner]
    share = _shares(own[:, None], x, y)
    inside = (share[..., 0] >= -1e-5) & (share[..., 1] >= -1e-5) & (share.sum(-1) <= 1.00001)
    inside &= (x <= high[owner, 0, None]) & (y <= high[owner, 1, None])
    a, b, c = own[:, None, :, 2].unbind(-1)
    z = a + (b - a) * share[..., 0] + (c - a) * share[..., 1]
    packed = (z.view(torch.int32).long() << 32) | kept[owner][:, None]
    nothing = torch.iinfo(torch.int64).max
    nearest = torch.full((H * W + OUTSIDE,), nothing, device=target.device)
    beyond = H * W + torch.arange(len(owner), device=target.device)[:, None] % OUTSIDE
    at = torch.where(inside, y * W + x, beyond)
    nearest.scatter_reduce_(0, at.flatten(), packed.flatten(), "amin")
    found = nearest[: H * W].reshape(H, W)
    triangle = torch.where(found < nothing, found & 0xFFFFFFFF, -1)
    yy, xx = torch.meshgrid(torch.arange(H, device=target.device), torch.arange(W, device=target.device), indexing="ij")
    hit = torch.cat((target, depth[:, None]), 1)[triangles[triangle.clamp(min=0)]]  # [H, W, 3, 3]
    return Hits(triangle, _shares(hit, xx, yy))


def _area(corner: Tensor) -> Tensor:
    a, b, c = corner[..., :2].unbind(-2)
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])


def _shares(corner: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """How much of pixels [...] belongs to the second and third corner of triangles [..., 3, 2 or more]."""
    a, b, c = corner[..., :2].unbind(-2)
    px, py = x + 0.5 - a[..., 0], y + 0.5 - a[..., 1]
    (bx, by), (cx, cy) = ((p - a).unbind(-1) for p in (b, c))
    inverse = 1 / (bx * cy - by * cx)
    return torch.stack(((px * cy - py * cx) * inverse, (py * bx - px * by) * inverse), -1)


def carried(hits: Hits, values: Tensor, triangles: Tensor) -> Tensor:
    """What vertices [V, C] carry to the pixels that their triangles are nearest in [H, W, C]; 0 elsewhere."""
    corner = values[triangles[hits.triangle.clamp(min=0)]]  # [H, W, 3, C]
    share = hits.share[..., None]
    mixed = corner[..., 0, :] * (1 - hits.share.sum(-1, keepdim=True))
    mixed = mixed + corner[..., 1, :] * share[..., 0, :] + corner[..., 2, :] * share[..., 1, :]
    return torch.where(hits.triangle[..., None] >= 0, mixed, 0)


def soften_folds(drawn: Tensor, came: Tensor, covered: Tensor, jump: float) -> Tensor:
    """Pixels [H, W, 4] as `synth.raster` softens them, from where each came [H, W, 2]."""
    shown = covered & (drawn[..., 3] > 0)
    step = torch.zeros_like(covered)
    for along in (0, 1):
        n = came.shape[along] - 1
        (one, other), (seen, too), (there, also) = (
            (x.narrow(along, 0, n), x.narrow(along, 1, n)) for x in (came, shown, covered)
        )
        apart = ((other - one).abs().sum(-1) > jump) & (there & also | seen | too)
        for side in (0, 1):  # the loop there begins within the rim
            apart.narrow(side, 0, 1).fill_(False)
        apart.narrow(1 - along, apart.shape[1 - along] - 1, 1).fill_(False)
        step.narrow(along, 0, n).logical_or_(apart)
        step.narrow(along, 1, n).logical_or_(apart)
    wide = step.clone()
    for along in (0, 1):
        n = step.shape[along] - 1
        wide.narrow(along, 0, n).logical_or_(step.narrow(along, 1, n))
        wide.narrow(along, 1, n).logical_or_(step.narrow(along, 0, n))
    out = drawn.int()
    for _ in range(2):
        weighed = torch.cat((out[..., :3] * out[..., 3:], out[..., 3:]), -1)
        total = 4 * weighed[1:-1, 1:-1]
        for y, x in ((0, 1), (2, 1), (1, 0), (1, 2)):
            total = total + weighed[y : y + total.shape[0], x : x + total.shape[1]]
        alpha = total[..., 3:]
        colour = torch.div(
            total[..., :3] + torch.div(alpha, 2, rounding_mode="floor"), alpha.clamp(min=1), rounding_mode="floor"
        )
        soft = torch.cat((colour, torch.div(alpha + 4, 8, rounding_mode="floor")), -1)
        out[1:-1, 1:-1] = torch.where(wide[1:-1, 1:-1, None], soft, out[1:-1, 1:-1])
    return out.to(torch.uint8)


class DeviceCanvas(Canvas):
    """A picture on a device being painted over. Changed in place."""

    rgb: Any  # [H, W, 3] uint8 on the device
    painted: Any  # [H, W]

    def lay(self, left: int, top: int, layer: NDArray[np.float32], cover: NDArray[np.float32]) -> None:
        h, w = cover.shape
        sent = np.concatenate((layer, cover[..., None]), 2).astype(np.float32)
        over = torch.from_numpy(sent).to(self.rgb.device)
        view, painted = (layers[top : top + h, left : left + w] for layers in (self.rgb, self.painted))
        share = over[..., 3:]
        view.copy_((view + (over[..., :3] - view) * share + 0.5).to(torch.uint8))
        painted.copy_(torch.maximum(painted, (share[..., 0] * 255 + 0.5).to(torch.uint8)))


@dataclass(frozen=True)
class DeviceDrawn:
    """`synth.warp.Drawn`, its pictures on a device."""

    rgb: Tensor  # [H, W, 3] uint8
    opacity: Tensor  # [H, W] uint8
    painted: Tensor  # [H, W] uint8
    vertices: NDArray[np.float32]  # [V, 2] px, of the rig's mesh
    depth: NDArray[np.float32]  # [V] metres
    landmarks: NDArray[np.float32]  # [478, 2] px


class DeviceWarp:
    """What `WarpRenderer.draw` draws, drawn on a device."""

    def __init__(self, warp: WarpRenderer, device: torch.device) -> None:
        moving = warp.moving
        self._warp, self._device = warp, device
        self._texture = self._sent(moving.texture).permute(2, 0, 1)[None].float()  # [1, 4, h', w']
        self._source, self._triangles = self._sent(moving.source), self._sent(moving.triangles).long()
        self._bare, self._around = self._sent(moving.bare), self._sent(moving.around)
        self._corner = np.array((moving.left, moving.top), np.float32)
        self._part = (slice(moving.top, moving.bottom), slice(moving.left, moving.right))

    def draw(self, motion: Motion) -> DeviceDrawn:
        warp, part = self._warp, self._part
        target, depth = warp.vertices(motion.head, motion.face, motion.shoulders)
        over = self._person(self._sent(target - self._corner), self._sent(depth))
        rgb, opacity = self._bare.clone(), self._around.clone()
        alpha, under = over[..., 3:].int(), rgb[part].int()
        mixed = under + torch.div((over[..., :3].int() - under) * alpha + 127, 255, rounding_mode="floor")
        rgb[part], opacity[part] = mixed.to(torch.uint8), over[..., 3]
        canvas = DeviceCanvas(rgb, torch.zeros_like(opacity))
        landmarks = warp.paint(canvas, motion, target)
        return DeviceDrawn(rgb, opacity, canvas.painted, target, depth, landmarks)

    def _person(self, target: Tensor, depth: Tensor) -> Tensor:
        """The person in the moving part of the picture [h, w, 4] uint8, with their opacity."""
        h, w = self._bare[self._part].shape[:2]
        hits = rasterise(target, depth, self._triangles, h, w)
        came = carried(hits, self._source, self._triangles) - 0.5
        at = torch.round(came * SUBPIXELS) / SUBPIXELS
        size = at.new_tensor(self._texture.shape[:1:-1])
        grid = torch.where(hits.triangle[..., None] >= 0, (2 * at + 1) / size - 1, -3)
        over = F.grid_sample(self._texture, grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)
        drawn = over[0].permute(1, 2, 0).add(0.5).clamp(0, 255).to(torch.uint8)
        return soften_folds(drawn, came, hits.triangle >= 0, self._warp.moving.fold)

    def _sent(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
