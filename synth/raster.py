"""The inner loops of the warp: triangles to a sampling map, and layers over each other.

Compiled by numba (no compiler needed on the machine) and cached beside the code; they release the
GIL, so decoding, drawing and encoding overlap. Coordinates are continuous pixels: the middle of
the first pixel is at 0.5. Nothing here knows what a face is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

FAR = np.float32(1e9)
SOFT_PX = 3  # how far beyond the last triangle `soften_folds` may reach


@dataclass(frozen=True)
class Canvas:
    """A picture being painted over, and where it was. Changed in place."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    painted: NDArray[np.uint8]  # [H, W], how much of each pixel is paint, 255 all of it

    def lay(self, left: int, top: int, layer: NDArray[np.float32], cover: NDArray[np.float32]) -> None:
        """Lay pixels [h, w, 3] over the picture from `left`, `top` on, by coverage [h, w] 0..1."""
        h, w = cover.shape
        view, painted = (layers[top : top + h, left : left + w] for layers in (self.rgb, self.painted))
        view[:] = (view + (layer - view) * cover[..., None] + 0.5).astype(np.uint8)
        np.maximum(painted, (cover * 255 + 0.5).astype(np.uint8), out=painted)


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def rasterise(
    target: NDArray[np.float32],  # [V, 2] px
    source: NDArray[np.float32],  # [V, 2] px of the picture
    depth: NDArray[np.float32],  # [V], smaller is nearer
    triangles: NDArray[np.int32],  # [T, 3]
    sampling: NDArray[np.float32],  # [H, W, 2] out: where in the picture each pixel comes from (OpenCV's remap)
    nearest: NDArray[np.float32],  # [H, W] out: depth; must hold FAR where nothing is drawn yet
) -> None:
    """Draw triangles with a depth buffer; pixels that no triangle covers are left as they were."""
    H, W = nearest.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay = target[a, 0], target[a, 1]
        bx, by = target[b, 0], target[b, 1]
        cx, cy = target[c, 0], target[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        y0 = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        y1 = min(H - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        if y0 > y1:
            continue
        inv = 1.0 / area
        # Barycentric weights of b and c, and all that hangs on them, are linear in x and y.
        ub_x, ub_y = (cy - ay) * inv, -(cx - ax) * inv
        uc_x, uc_y = -(by - ay) * inv, (bx - ax) * inv
        sx_b, sx_c = source[b, 0] - source[a, 0], source[c, 0] - source[a, 0]
        sy_b, sy_c = source[b, 1] - source[a, 1], source[c, 1] - source[a, 1]
        z_b, z_c = depth[b] - depth[a], depth[c] - depth[a]
        left, right = min(ax, bx, cx), max(ax, bx, cx)
        for y in range(y0, y1 + 1):
            py = y + 0.5 - ay
            # The row's part inside: each edge bounds it on one side, where its weight passes zero.
            low, high = left, right
            for slope, off in (
                (ub_x, ub_y * py + 1e-5),
                (uc_x, uc_y * py + 1e-5),
                (-ub_x - uc_x, 1.00001 - (ub_y + uc_y) * py),
            ):
                if slope > 0:
                    low = max(low, ax - off / slope)
                elif slope < 0:
                    high = min(high, ax - off / slope)
                elif off < 0:
                    high = low - 1
            for x in range(max(0, int(np.ceil(low - 0.5))), min(W - 1, int(np.floor(high - 0.5))) + 1):
                px = x + 0.5 - ax
                ub = ub_x * px + ub_y * py
                uc = uc_x * px + uc_y * py
                z = depth[a] + z_b * ub + z_c * uc
                if z < nearest[y, x]:
                    nearest[y, x] = z
                    sampling[y, x, 0] = source[a, 0] + sx_b * ub + sx_c * uc - 0.5
                    sampling[y, x, 1] = source[a, 1] + sy_b * ub + sy_c * uc - 0.5


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def soften_folds(
    drawn: NDArray[np.uint8],  # [H, W, 4], straight alpha in the fourth channel, changed in place
    sampling: NDArray[np.float32],  # [H, W, 2], where each pixel came from
    nearest: NDArray[np.float32],  # [H, W], FAR where nothing is drawn
    jump: np.float32,  # px of the texture between neighbours, from which one lies before the other
) -> None:
    """Blend pixels where a surface ends, before another part of itself or before nothing: triangles end in steps there."""
    H, W = nearest.shape
    step = np.zeros((H, W), np.uint8)
    where = np.empty((H * W, 2), np.int64)
    n = 0
    for y in range(1, H - 1):
        for x in range(1, W - 1):
            u, v = sampling[y, x, 0], sampling[y, x, 1]
            right = abs(sampling[y, x + 1, 0] - u) + abs(sampling[y, x + 1, 1] - v)
            below = abs(sampling[y + 1, x, 0] - u) + abs(sampling[y + 1, x, 1] - v)
            if right <= jump and below <= jump:
                continue
            for j, i, apart in ((y, x + 1, right), (y + 1, x, below)):
                here, there = nearest[y, x] < FAR, nearest[j, i] < FAR
                shown = (here and drawn[y, x, 3] > 0) or (there and drawn[j, i, 3] > 0)
                if apart <= jump or not (shown or (here and there)):
                    continue
                # The step's two pixels and their neighbours.
                for b, a in ((y, x), (j, i)):
                    for d, c in ((b, a), (b - 1, a), (b + 1, a), (b, a - 1), (b, a + 1)):
                        if 0 < d < H - 1 and 0 < c < W - 1 and step[d, c] == 0:
                            step[d, c] = 1
                            where[n, 0], where[n, 1] = d, c
                            n += 1
    blended = np.empty((n, 4), np.uint8)
    for _ in range(2):
        for k in range(n):
            y, x = where[k, 0], where[k, 1]
            alpha = 4 * int(drawn[y, x, 3])
            red, green, blue = alpha * int(drawn[y, x, 0]), alpha * int(drawn[y, x, 1]), alpha * int(drawn[y, x, 2])
            for j, i in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                a = int(drawn[j, i, 3])
                alpha += a
                red += a * int(drawn[j, i, 0])
                green += a * int(drawn[j, i, 1])
                blue += a * int(drawn[j, i, 2])
            half, over = alpha // 2, max(alpha, 1)
            blended[k, 0], blended[k, 1] = (red + half) // over, (green + half) // over
            blended[k, 2], blended[k, 3] = (blue + half) // over, (alpha + 4) // 8
        for k in range(n):
            for c in range(4):
                drawn[where[k, 0], where[k, 1], c] = blended[k, c]


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def lay_over(
    under: NDArray[np.uint8],  # [H, W, 3], changed in place
    over: NDArray[np.uint8],  # [H, W, 4], straight alpha in the fourth channel
) -> None:
    """Composite straight-alpha pixels over opaque ones."""
    H, W = under.shape[:2]
    for y in range(H):
        for x in range(W):
            alpha = np.int32(over[y, x, 3])
            if alpha == 255:
                under[y, x, 0] = over[y, x, 0]
                under[y, x, 1] = over[y, x, 1]
                under[y, x, 2] = over[y, x, 2]
            elif alpha:
                for k in range(3):
                    u = np.int32(under[y, x, k])
                    under[y, x, k] = u + ((np.int32(over[y, x, k]) - u) * alpha + 127) // 255


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def trace(
    target: NDArray[np.float32],  # [V, 2] px
    depth: NDArray[np.float32],  # [V], smaller is nearer
    triangles: NDArray[np.int32],  # [T, 3]
    values: NDArray[np.float32],  # [V, 3], of each vertex
    levels: NDArray[np.float32],  # [T], of each triangle
    n_valued: int,  # only the first triangles show their vertices' values; the others hide them
    traced: NDArray[np.float32],  # [H, W, 3] out: the values of what is nearest
    level: NDArray[np.float32],  # [H, W] out
    nearest: NDArray[np.float32],  # [H, W] out: depth; must hold FAR where nothing is drawn yet
) -> None:
    """Draw what is known of vertices and triangles with a depth buffer, as `rasterise` draws a picture."""
    H, W = nearest.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay = target[a, 0], target[a, 1]
        bx, by = target[b, 0], target[b, 1]
        cx, cy = target[c, 0], target[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        y0 = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        y1 = min(H - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        x0 = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        x1 = min(W - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        inv = 1.0 / area
        ub_x, ub_y = (cy - ay) * inv, -(cx - ax) * inv
        uc_x, uc_y = -(by - ay) * inv, (bx - ax) * inv
        z_b, z_c = depth[b] - depth[a], depth[c] - depth[a]
        for y in range(y0, y1 + 1):
            py = y + 0.5 - ay
            for x in range(x0, x1 + 1):
                px = x + 0.5 - ax
                ub = ub_x * px + ub_y * py
                uc = uc_x * px + uc_y * py
                if ub < -1e-5 or uc < -1e-5 or ub + uc > 1.00001:
                    continue
                z = depth[a] + z_b * ub + z_c * uc
                if z >= nearest[y, x]:
                    continue
                nearest[y, x] = z
                level[y, x] = levels[t]
                for k in range(3):
                    traced[y, x, k] = (
                        (1 - ub - uc) * values[a, k] + ub * values[b, k] + uc * values[c, k] if t < n_valued else 0.0
                    )
