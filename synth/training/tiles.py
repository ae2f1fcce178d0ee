"""`perfcap.training.ict.rasterise` in torch, for a batch of meshes at once on whatever device they are. Needs torch.

Every triangle's box is cut into small squares of pixels; every pixel of every square is tried, and the nearest hit is
kept by one scattered minimum over depth and triangle packed into one number. Nothing here loops over triangles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from perfcap.training.ict import FAR, NEAR_M

Tensor = Any  # torch.Tensor

TILE = 4  # px a side: most triangles of a face are smaller
AT_ONCE = 1 << 17  # tiles tried together, so that memory does not grow with the mesh


@dataclass(frozen=True)
class Traced:
    """What is nearest in each pixel."""

    depth: Tensor  # [B, H, W] metres, FAR where nothing is
    triangle: Tensor  # [B, H, W] int64, -1 where nothing is
    weights: Tensor  # [B, H, W, 2], perspective-right, of the triangle's second and third corner


def rasterise(
    points: Tensor,  # [B, V, 3] metres, camera's frame
    triangles: Tensor,  # [T, 3] int64
    focal_px: float,
    centre_x: float,  # px; the middle of the first pixel is at 0.5
    centre_y: float,
    H: int,
    W: int,
) -> Traced:
    """Draw meshes [B, V, 3] that share their triangles, both sides of each."""
    B, _, _ = points.shape
    z = points[..., 2].clamp(min=1e-6)
    xy = points[..., :2] / z[..., None] * focal_px
    xy = xy + xy.new_tensor((centre_x, centre_y))
    corner = torch.cat((xy, 1 / z[..., None]), -1)[:, triangles]  # [B, T, 3, 3]: x, y, 1 / depth
    low = torch.ceil(corner[..., :2].amin(2) - 0.5).clamp(min=0).long()  # [B, T, 2]
    room = low.new_tensor((W - 1, H - 1))
    high = torch.minimum(torch.floor(corner[..., :2].amax(2) - 0.5).clamp(min=-1).long(), room)
    a, b, c = corner.unbind(2)
    area = (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
    shown = (high >= low).all(-1) & (area.abs() >= 1e-9) & (points[..., 2][:, triangles].amin(2) >= NEAR_M)
    mesh, tri = torch.nonzero(shown, as_tuple=True)
    low, high = low[mesh, tri], high[mesh, tri]
    across, down = ((high - low) // TILE + 1).unbind(1)
    owner = torch.repeat_interleave(torch.arange(len(tri), device=tri.device), across * down)
    first = torch.cumsum(across * down, 0) - across * down
    place = torch.arange(len(owner), device=tri.device) - first[owner]
    x0 = low[owner, 0] + place % across[owner] * TILE
    y0 = low[owner, 1] + place // across[owner] * TILE
    step = torch.arange(TILE * TILE, device=tri.device)
    nearest = torch.full((B * H * W,), torch.iinfo(torch.int64).max, device=points.device)
    for start in range(0, len(owner), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        o = owner[part]
        x = x0[part, None] + step % TILE  # [N, TILE²]
        y = y0[part, None] + step // TILE
        share = _shares(corner[mesh[o], tri[o]][:, None], x, y)
        inside = (share[..., 0] >= -1e-5) & (share[..., 1] >= -1e-5) & (share.sum(-1) <= 1.00001)
        inside &= (x <= high[o, 0, None]) & (y <= high[o, 1, None])
        depth = 1 / _inverse_depth(share, corner[mesh[o], tri[o]][:, None])
        packed = (depth.view(torch.int32).long() << 32) | tri[o, None]
        at = (mesh[o, None] * H + y) * W + x
        nearest.scatter_reduce_(0, at[inside], packed[inside], "amin")
    nearest = nearest.reshape(B, H, W)
    found = nearest < torch.iinfo(torch.int64).max
    triangle = torch.where(found, nearest & 0xFFFFFFFF, -1)
    depth = torch.where(found, (nearest >> 32).to(torch.int32).view(torch.float32), points.new_tensor(float(FAR)))
    weights = points.new_zeros((B, H, W, 2))
    mesh, y, x = torch.nonzero(found, as_tuple=True)
    own = corner[mesh, triangle[mesh, y, x]]
    share = _shares(own, x, y)
    weights[mesh, y, x] = share * own[:, 1:, 2] * depth[mesh, y, x][:, None]
    return Traced(depth, triangle, weights)


def _shares(corner: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """How much of each pixel [...] belongs to the second and third corner [..., 2], on the picture's plane."""
    a, b, c = corner.unbind(-2)
    px, py = x + 0.5 - a[..., 0], y + 0.5 - a[..., 1]
    bx, by, cx, cy = b[..., 0] - a[..., 0], b[..., 1] - a[..., 1], c[..., 0] - a[..., 0], c[..., 1] - a[..., 1]
    inverse = 1 / (bx * cy - by * cx)
    return torch.stack(((px * cy - py * cx) * inverse, (py * bx - px * by) * inverse), -1)


def _inverse_depth(share: Tensor, corner: Tensor) -> Tensor:
    first = 1 - share.sum(-1)
    return first * corner[..., 0, 2] + share[..., 0] * corner[..., 1, 2] + share[..., 1] * corner[..., 2, 2]
