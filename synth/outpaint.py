"""A picture continued beyond its own edges with more of what is behind the person in it.

Broad light and colour go on smoothly (a membrane over what is known); what lies on top of them is
pieced together from patches of the picture's own background, coarse to fine (Wexler et al. 2007
with the search of Barnes et al. 2009), and taken from it at full detail. Done once for a character;
seeded, so the same picture always goes on the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

WORK_PX = 320  # longer side of the canvas where patches are looked for
COARSE_PX = 40  # longer side of the coarsest level
BROAD_PX = 64  # longer side of the grid that holds broad light and colour
HALF = 3  # patches are 2 * HALF + 1 px wide
LOW_WEIGHT = 0.3  # how much a patch must come from a place of like light and colour
SEAM_PX = 3  # px of the work size over which the picture is eased into what continues it
N_ROUNDS = 5  # of searching and voting at each level


@dataclass(frozen=True)
class Pads:
    """How far beyond each edge, px."""

    left: int
    top: int
    right: int
    bottom: int

    def __bool__(self) -> bool:
        return any((self.left, self.top, self.right, self.bottom))


def outpaint(rgb: NDArray[np.uint8], usable: NDArray[np.bool_], pads: Pads) -> NDArray[np.uint8]:
    """The picture [H, W, 3] with pads around it; what fills them is like what is `usable` [H, W]."""
    import cv2

    if not pads:
        return rgb
    border = (pads.top, pads.bottom, pads.left, pads.right)
    whole = cv2.copyMakeBorder(rgb, *border, cv2.BORDER_REFLECT)
    inside = cv2.copyMakeBorder(np.ones(rgb.shape[:2], np.float32), *border, cv2.BORDER_CONSTANT, value=0)
    source = cv2.copyMakeBorder(usable.astype(np.float32), *border, cv2.BORDER_CONSTANT, value=0)
    # To start with, what is outside mirrors what is inside, unless that is the person.
    mirrored = cv2.copyMakeBorder(usable.astype(np.float32), *border, cv2.BORDER_REFLECT)
    return _complete(whole, inside, source, np.where(inside > 0, 1, mirrored).astype(np.float32))


def without_person(rgb: NDArray[np.uint8], person: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture [H, W, 3] with more of what is behind the person where they are, [H, W]."""
    import cv2

    H, W = person.shape
    behind = (~person).astype(np.float32)
    if person.all() or not person.any():
        return rgb
    reach = max(3, max(H, W) // 100) | 1
    return _complete(rgb, behind, cv2.erode(behind, np.ones((reach, reach), np.uint8)), behind)


def _complete(
    rgb: NDArray[np.uint8],  # [H, W, 3]
    known: NDArray[np.float32],  # [H, W] 1 where the picture stays
    source: NDArray[np.float32],  # [H, W] 1 where patches may come from
    drafted: NDArray[np.float32],  # [H, W] 1 where the picture is, or is like, what is wanted
) -> NDArray[np.uint8]:
    import cv2

    H, W = known.shape
    whole = rgb.astype(np.float32)
    low = cv2.resize(_broad(whole, source), (W, H), interpolation=cv2.INTER_CUBIC)
    rest = whole - low
    nearest: NDArray[np.int32] | None = None
    for scale in _scales(W, H):
        size = (max(2 * HALF + 2, round(W * scale)), max(2 * HALF + 2, round(H * scale)))
        rest_, low_, known_, source_ = (
            cv2.resize(a, size, interpolation=cv2.INTER_AREA) for a in (rest * drafted[..., None], low, known, source)
        )
        found = _solve(rest_, low_, known_ < 0.99, source_ > 0.99, nearest)
        if found is not None:  # else nothing to take patches from at this size
            nearest = found
    if nearest is None:
        return np.clip(np.where(known[..., None] > 0, whole, low) + 0.5, 0, 255).astype(np.uint8)
    h, w = nearest.shape[:2]
    ease = cv2.distanceTransform((known > 0).astype(np.uint8), cv2.DIST_L2, 5) / (SEAM_PX * max(W / w, H / h))
    _paste(whole, rest, low, 1 - np.clip(ease, 0, 1).astype(np.float32), nearest)
    return np.asarray(np.clip(whole + 0.5, 0, 255), np.uint8)


def _scales(W: int, H: int) -> list[float]:
    """Of the levels, coarse to fine."""
    finest = min(1.0, WORK_PX / max(W, H))
    n = max(0, int(np.floor(np.log2(finest * max(W, H) / COARSE_PX))))
    return [finest / 2**i for i in range(n, -1, -1)]


def _broad(whole: NDArray[np.float32], source: NDArray[np.float32]) -> NDArray[np.float32]:
    """Broad light and colour [h, w, 3] of what `source` [H, W] counts, gone on smoothly over everything else."""
    import cv2

    H, W = source.shape
    scale = min(1.0, BROAD_PX / max(W, H))
    size = (max(2, round(W * scale)), max(2, round(H * scale)))
    weight = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(whole * source[..., None], size, interpolation=cv2.INTER_AREA)
    spread = np.maximum(cv2.GaussianBlur(weight, (0, 0), 1.5), 1e-4)[..., None]
    smooth = np.zeros_like(colour)
    for _ in range(4):  # what a blur misses beside an edge, where it sees one side only, is blurred again and added
        missed = colour - smooth * weight[..., None]
        smooth += cv2.GaussianBlur(missed, (0, 0), 1.5) / spread
    known = weight > 0.4
    if not known.any():
        known = cv2.resize(source, size, interpolation=cv2.INTER_LINEAR) >= 0
        smooth = cv2.GaussianBlur(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), (0, 0), 3)
    return _membrane(smooth, known)


def _membrane(value: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`value` [h, w, 3] where it is known; elsewhere each cell is the mean of its neighbours."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import splu

    h, w = known.shape
    index = np.arange(h * w).reshape(h, w)
    a = np.concatenate((index[:, :-1].ravel(), index[:-1].ravel()))
    b = np.concatenate((index[:, 1:].ravel(), index[1:].ravel()))
    row, column = np.concatenate((a, b)), np.concatenate((b, a))
    unknown = ~known.ravel()
    kept = unknown[row]
    row, column = row[kept], column[kept]
    degree = np.bincount(row, minlength=h * w) + known.ravel()
    rows, columns = np.concatenate((row, index.ravel())), np.concatenate((column, index.ravel()))
    matrix = coo_matrix((np.concatenate((-np.ones(len(row)), degree)), (rows, columns)), shape=(h * w, h * w))
    right = np.where(known[..., None], value, 0).reshape(-1, 3).astype(np.float64)
    return np.asarray(splu(matrix.tocsc()).solve(right), np.float32).reshape(h, w, 3)


def _solve(
    rest: NDArray[np.float32],  # [h, w, 3] what lies on top of the broad; a draft where unknown
    low: NDArray[np.float32],  # [h, w, 3] the broad
    unknown: NDArray[np.bool_],  # [h, w]
    source: NDArray[np.bool_],  # [h, w] where patches may come from
    coarser: NDArray[np.int32] | None,
) -> NDArray[np.int32] | None:
    """For each pixel near what is unknown, the middle of the source's patch that belongs there: [h, w, 2] y, x, else -1."""
    import cv2

    side = 2 * HALF + 1
    fits = cv2.erode(source.astype(np.uint8), np.ones((side, side)), borderValue=0) > 0
    places = np.argwhere(fits).astype(np.int32)
    if len(places) < 20:
        return None
    wanted = cv2.dilate(unknown.astype(np.uint8), np.ones((side, side))) > 0
    rng = np.random.default_rng(0)
    nearest: NDArray[np.int32] = places[rng.integers(len(places), size=unknown.shape)]
    rest = np.ascontiguousarray(rest, np.float32)
    cost = np.empty(unknown.shape, np.float32)
    if coarser is not None:
        _refine(nearest, coarser, fits)
        _measure(rest, low, unknown, wanted, nearest, cost)
        cost[:] = 1
        _vote(rest, unknown, wanted, nearest, cost, np.float32(1))
    nearest[~wanted] = -1
    for turn in range(N_ROUNDS):
        _measure(rest, low, unknown, wanted, nearest, cost)
        for sweep in range(2):
            _search(rest, low, unknown, wanted, fits, places, nearest, cost, 2 * turn + sweep)
        typical = float(np.percentile(cost[wanted], 60)) + 1e-3
        _vote(rest, unknown, wanted, nearest, cost, np.float32(typical))
    return nearest


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _refine(nearest: NDArray[np.int32], coarser: NDArray[np.int32], fits: NDArray[np.bool_]) -> None:
    """Go on from what a coarser level found, where that fits."""
    h, w = fits.shape
    ch, cw = coarser.shape[:2]
    for y in range(h):
        for x in range(w):
            cy, cx = min(ch - 1, y * ch // h), min(cw - 1, x * cw // w)
            if coarser[cy, cx, 0] < 0:
                continue
            sy = (coarser[cy, cx, 0] - cy) * h // ch + y
            sx = (coarser[cy, cx, 1] - cx) * w // cw + x
            if 0 <= sy < h and 0 <= sx < w and fits[sy, sx]:
                nearest[y, x, 0], nearest[y, x, 1] = sy, sx


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _patch_cost(
    rest: NDArray[np.float32], low: NDArray[np.float32], unknown: NDArray[np.bool_],
    y: int, x: int, sy: int, sx: int, limit: float,
) -> float:  # fmt: skip
    """Mean squared difference a pixel of the patches around two places; what is known counts three times."""
    h, w = unknown.shape
    n = 0.0
    for dy in range(-HALF, HALF + 1):
        for dx in range(-HALF, HALF + 1):
            if 0 <= y + dy < h and 0 <= x + dx < w:
                n += 1.0 if unknown[y + dy, x + dx] else 3.0
    total = 0.0
    for c in range(3):
        d = low[y, x, c] - low[sy, sx, c]
        total += LOW_WEIGHT * n * d * d
    limit = limit * n
    for dy in range(-HALF, HALF + 1):
        ty = y + dy
        if ty < 0 or ty >= h:
            continue
        for dx in range(-HALF, HALF + 1):
            tx = x + dx
            if tx < 0 or tx >= w:
                continue
            weight = 1.0 if unknown[ty, tx] else 3.0
            for c in range(3):
                d = rest[ty, tx, c] - rest[sy + dy, sx + dx, c]
                total += weight * d * d
        if total > limit:
            break
    return total / n


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _measure(
    rest: NDArray[np.float32], low: NDArray[np.float32], unknown: NDArray[np.bool_], wanted: NDArray[np.bool_],
    nearest: NDArray[np.int32], cost: NDArray[np.float32],
) -> None:  # fmt: skip
    h, w = unknown.shape
    for y in range(h):
        for x in range(w):
            if wanted[y, x]:
                cost[y, x] = _patch_cost(rest, low, unknown, y, x, nearest[y, x, 0], nearest[y, x, 1], 1e9)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _search(
    rest: NDArray[np.float32], low: NDArray[np.float32], unknown: NDArray[np.bool_], wanted: NDArray[np.bool_],
    fits: NDArray[np.bool_], places: NDArray[np.int32], nearest: NDArray[np.int32], cost: NDArray[np.float32], turn: int,
) -> None:  # fmt: skip
    """One sweep: what neighbours found, then guesses ever nearer to the best so far."""
    np.random.seed(turn)
    h, w = unknown.shape
    step = 1 if turn % 2 == 0 else -1
    for i in range(h):
        y = i if step > 0 else h - 1 - i
        for j in range(w):
            x = j if step > 0 else w - 1 - j
            if not wanted[y, x]:
                continue
            for k in range(2):
                ny, nx = (y - step, x) if k == 0 else (y, x - step)
                if ny < 0 or ny >= h or nx < 0 or nx >= w or not wanted[ny, nx]:
                    continue
                sy, sx = nearest[ny, nx, 0] + y - ny, nearest[ny, nx, 1] + x - nx
                if 0 <= sy < h and 0 <= sx < w and fits[sy, sx]:
                    c = _patch_cost(rest, low, unknown, y, x, sy, sx, cost[y, x])
                    if c < cost[y, x]:
                        cost[y, x], nearest[y, x, 0], nearest[y, x, 1] = c, sy, sx
            g = np.random.randint(places.shape[0])
            sy, sx = places[g, 0], places[g, 1]
            reach = max(h, w) // 2
            while True:
                c = _patch_cost(rest, low, unknown, y, x, sy, sx, cost[y, x])
                if c < cost[y, x]:
                    cost[y, x], nearest[y, x, 0], nearest[y, x, 1] = c, sy, sx
                found = False
                while reach >= 1 and not found:
                    sy = nearest[y, x, 0] + np.random.randint(-reach, reach + 1)
                    sx = nearest[y, x, 1] + np.random.randint(-reach, reach + 1)
                    found = 0 <= sy < h and 0 <= sx < w and fits[sy, sx]
                    reach //= 2
                if not found:
                    break


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _vote(
    rest: NDArray[np.float32], unknown: NDArray[np.bool_], wanted: NDArray[np.bool_],
    nearest: NDArray[np.int32], cost: NDArray[np.float32], typical: float,
) -> None:  # fmt: skip
    """Each unknown pixel becomes the mean of what the patches over it say, the better ones louder."""
    h, w = unknown.shape
    said = rest.copy()
    for y in range(h):
        for x in range(w):
            if not unknown[y, x]:
                continue
            r, g, b, total = 0.0, 0.0, 0.0, 0.0
            for dy in range(-HALF, HALF + 1):
                for dx in range(-HALF, HALF + 1):
                    ty, tx = y + dy, x + dx
                    if ty < 0 or ty >= h or tx < 0 or tx >= w or not wanted[ty, tx]:
                        continue
                    weight = np.exp(-cost[ty, tx] / typical * 2.0) + 1e-6
                    sy, sx = nearest[ty, tx, 0] - dy, nearest[ty, tx, 1] - dx
                    r += weight * rest[sy, sx, 0]
                    g += weight * rest[sy, sx, 1]
                    b += weight * rest[sy, sx, 2]
                    total += weight
            if total > 0:
                said[y, x, 0], said[y, x, 1], said[y, x, 2] = r / total, g / total, b / total
    rest[:] = said


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _paste(
    out: NDArray[np.float32],  # [H, W, 3] the picture; what continues it is written into it
    rest: NDArray[np.float32],  # [H, W, 3]
    low: NDArray[np.float32],  # [H, W, 3]
    share: NDArray[np.float32],  # [H, W] 1 outside the picture, falling to 0 inside
    nearest: NDArray[np.int32],  # [h, w, 2]
) -> None:
    """Full detail from where the patches came from, each cell of the work size eased into its neighbours."""
    H, W = share.shape
    h, w = nearest.shape[:2]
    fy, fx = H / h, W / w
    for y in range(H):
        v = (y + 0.5) / fy - 0.5
        v0 = int(np.floor(v))
        for x in range(W):
            if share[y, x] <= 0:
                continue
            u = (x + 0.5) / fx - 0.5
            u0 = int(np.floor(u))
            r, g, b, total = 0.0, 0.0, 0.0, 0.0
            for k in range(4):
                cy, cx = v0 + k // 2, u0 + k % 2
                weight = (1 - abs(v - cy)) * (1 - abs(u - cx))
                cy, cx = min(max(cy, 0), h - 1), min(max(cx, 0), w - 1)
                if nearest[cy, cx, 0] < 0 or weight <= 0:
                    continue
                sy = min(max(y + int(np.round((nearest[cy, cx, 0] - cy) * fy)), 0), H - 1)
                sx = min(max(x + int(np.round((nearest[cy, cx, 1] - cx) * fx)), 0), W - 1)
                r += weight * rest[sy, sx, 0]
                g += weight * rest[sy, sx, 1]
                b += weight * rest[sy, sx, 2]
                total += weight
            if total > 0:
                a = share[y, x]
                out[y, x, 0] += a * (low[y, x, 0] + r / total - out[y, x, 0])
                out[y, x, 1] += a * (low[y, x, 1] + g / total - out[y, x, 1])
                out[y, x, 2] += a * (low[y, x, 2] + b / total - out[y, x, 2])
