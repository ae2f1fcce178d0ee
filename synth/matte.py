"""What of a picture is the person, and what is behind them.

MediaPipe's selfie segmentation gives a coarse mask; the picture's own edges refine it (guided
filter, He et al. 2010). What the person hides is filled from around them, coarse to fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.face import FaceMesh
from perfcap.solutions import solution

WORK_PX = 1024  # the matte is drawn on a picture no larger than this
HALO = 0.12  # of the face's size: how far from the person the rim of what is behind may bear their traces
FAINT = (2.0, 8.0)  # levels: what is made up is off itself by the first; by the second it is surely the halo
DEEP = (0.04, 0.18)  # of the face's size: how far behind the person what is made up is like the edge, and no more
ROUGH = (10.0, 20.0)  # levels: backgrounds up to the first are even, from the second on cluttered
WITHIN = 0.9  # of the landmarks' reach, surely face: the outermost may lie beside it
MIXED = 4.0  # times the variance of colours on both sides, from which two of them do not tell sides apart
EVEN = 1e-6  # a determinant of colours' covariance below which they are taken for even, as OpenCV does
FILL_PX = 2048  # and what is made up behind and around the person


def person_alpha(rgb: NDArray[np.uint8], mesh: FaceMesh) -> NDArray[np.float32]:
    """Opacity [H, W] 0..1 of the person whose face was found."""
    import cv2

    H, W = rgb.shape[:2]
    x0, y0, x1, y1 = mesh.box
    face_px = mesh.size
    centre = np.array(((x0 + x1) / 2, (y0 + y1) / 2 + 0.5 * face_px))
    left, top, right, bottom = _window(centre, 4.0 * face_px, W, H)
    scale = min(1.0, WORK_PX / max(right - left, bottom - top))
    part = cv2.resize(rgb[top:bottom, left:right], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    mask = _segment(part)
    # A closer look at head and shoulders, which is what the model was trained on, eased into the wide one.
    h, w = part.shape[:2]
    near = _window((centre - (left, top)) * scale, 2.2 * face_px * scale, w, h)
    nx0, ny0, nx1, ny1 = near
    close = _segment(np.ascontiguousarray(part[ny0:ny1, nx0:nx1]))
    ease = np.zeros((h, w), np.float32)
    rim = max(2, round(0.3 * face_px * scale))
    ease[ny0 + rim * (ny0 > 0) : ny1 - rim * (ny1 < h), nx0 + rim * (nx0 > 0) : nx1 - rim * (nx1 < w)] = 1
    ease = cv2.blur(ease, (2 * rim + 1, 2 * rim + 1))[ny0:ny1, nx0:nx1]
    mask[ny0:ny1, nx0:nx1] += (close - mask[ny0:ny1, nx0:nx1]) * ease
    points = mesh.landmarks[:, :2]
    within = (points.mean(0) + (points - points.mean(0)) * WITHIN - (left, top)) * scale
    cv2.fillConvexPoly(mask, cv2.convexHull(within.astype(np.float32)).round().astype(np.int32), 1.0)
    alpha = np.zeros((H, W), np.float32)
    fine = _one_piece(refine(part, mask, face_px * scale), (centre - (left, top + 0.5 * face_px)) * scale)
    alpha[top:bottom, left:right] = cv2.resize(fine, (right - left, bottom - top))
    return alpha


def _window(centre: NDArray[np.floating[Any]], half: float, W: int, H: int) -> tuple[int, int, int, int]:
    x, y = centre
    return int(max(0, x - half)), int(max(0, y - half)), int(min(W, x + half)), int(min(H, y + half))


def _segment(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The model's soft mask [H, W], the mean of a look and a look in the mirror."""
    import cv2

    with solution("selfie_segmentation").SelfieSegmentation(model_selection=0) as model:
        mask = np.asarray(model.process(rgb).segmentation_mask, np.float32)
        mirrored = np.asarray(model.process(np.ascontiguousarray(rgb[:, ::-1])).segmentation_mask, np.float32)
    mask = cv2.resize((mask + mirrored[:, ::-1]) / 2, rgb.shape[1::-1])
    return np.asarray(np.clip((mask - 0.5) * 3 + 0.5, 0, 1), np.float32)


def _one_piece(alpha: NDArray[np.float32], inside: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Without islands away from the point `inside` and without holes in the person."""
    import cv2

    h, w = alpha.shape
    _, pieces = cv2.connectedComponents((alpha > 0.2).astype(np.uint8))
    x, y = int(np.clip(inside[0], 0, w - 1)), int(np.clip(inside[1], 0, h - 1))
    if pieces[y, x]:
        alpha = alpha * cv2.dilate((pieces == pieces[y, x]).astype(np.float32), np.ones((3, 3)))
    n, gaps, stats, _ = cv2.connectedComponentsWithStats((alpha < 0.9).astype(np.uint8))
    for i in range(1, n):
        gx, gy, gw, gh = stats[i, :4]
        if gx > 0 and gy > 0 and gx + gw < w and gy + gh < h and stats[i, 4] < 0.01 * h * w:
            alpha[gaps == i] = 1
    return alpha.astype(np.float32)


def refine(rgb: NDArray[np.uint8], mask: NDArray[np.float32], face_px: float) -> NDArray[np.float32]:
    """A soft mask [H, W] drawn to the picture's own edges: how far each pixel near the mask's edge is from what is
    surely behind to what is surely the person (Chuang et al. 2001, equation 10, on colours nearby). Where the two
    look alike, the mask stands."""
    import cv2

    alpha = cv2.GaussianBlur(mask, (0, 0), max(1.0, face_px / 60))
    busy = (rgb - cv2.GaussianBlur(rgb, (0, 0), face_px / 12).astype(np.float32)) ** 2
    for share in (0.16, 0.10):
        band = 2 * max(2, round(share * face_px / 2)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (band, band))
        person = cv2.erode((alpha > 0.5).astype(np.float32), kernel)
        behind = cv2.erode((alpha < 0.5).astype(np.float32), kernel)
        F = cv2.GaussianBlur(fill(rgb, person), (0, 0), 1.0).astype(np.float32)
        B = cv2.GaussianBlur(fill(rgb, behind), (0, 0), 1.0).astype(np.float32)
        across = F - B
        apart = (across**2).sum(-1)
        seen = np.clip(((rgb - B) * across).sum(-1) / np.maximum(apart, 1.0), 0, 1)
        # On an even background whatever is not its colour is the person, whatever the person's own colours are.
        away = np.sqrt(((rgb - B) ** 2).sum(-1))
        rough = np.sqrt(_local(busy, behind, band))
        seen = np.maximum(seen, np.clip((away - 3 * rough - 12) / (4 * rough + 50), 0, 1))
        # What is told by two colours must not be told where either side has many.
        mixed = rough**2 + _local(busy, person, band)
        trust = np.maximum(apart / (apart + 60.0**2 + MIXED * mixed), np.clip((away - 4 * rough - 40) / 60, 0, 1))
        # The mask's own word, hardened, where colours cannot tell.
        drawn = trust * seen + (1 - trust) * np.clip((alpha - 0.5) * 2.5 + 0.5, 0, 1)
        alpha = np.where(person > 0, 1, np.where(behind > 0, 0, drawn)).astype(np.float32)
        alpha = guided(rgb.astype(np.float32) / 255, alpha, max(2, round(face_px / 80)), 2e-4)
    return np.asarray(np.clip((alpha - 0.08) / 0.84, 0, 1), np.float32)


def guided(guide: NDArray[np.float32], alpha: NDArray[np.float32], radius: int, smooth: float) -> NDArray[np.float32]:
    """`alpha` [H, W] with the edges of a picture [H, W, 3] of 0..1: what `cv2.ximgproc.guidedFilter` makes of it.

    That is in OpenCV's contributions alone, which not every OpenCV has.
    """
    import cv2

    def mean(layer: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(layer, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT))

    colours = [np.ascontiguousarray(guide[..., i]) for i in range(3)]
    of_colour, of_alpha = [mean(colour) for colour in colours], mean(alpha)
    going_with = [mean(c * alpha) - m * of_alpha for c, m in zip(colours, of_colour, strict=True)]
    (rr, rg, rb), (_, gg, gb), (_, _, bb) = (
        [mean(np.multiply(colours[i], colours[j])) - of_colour[i] * of_colour[j] + smooth * (i == j) for j in range(3)]
        for i in range(3)
    )
    inverse = (
        (gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb),
        (gb * rb - rg * bb, rr * bb - rb * rb, rg * rb - rr * gb),
        (rg * gb - gg * rb, rg * rb - rr * gb, rr * gg - rg * rg),
    )
    size = inverse[0][0] * rr + inverse[0][1] * rg + inverse[0][2] * rb
    size = np.where(np.abs(size) < EVEN, np.float32(1), size)
    slope = [np.asarray(sum(a * b for a, b in zip(row, going_with, strict=True)) / size, np.float32) for row in inverse]
    level = np.asarray(of_alpha - sum(a * m for a, m in zip(slope, of_colour, strict=True)), np.float32)
    return np.asarray(sum(mean(a) * c for a, c in zip(slope, colours, strict=True)) + mean(level), np.float32)


def _local(value: NDArray[np.float32], where: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The mean over channels of `value` [H, W, 3] around each pixel, over what `where` counts."""
    import cv2

    # Running sums leave a little less than nothing where there is nothing.
    top = np.maximum(cv2.blur(value.sum(-1) * where, (4 * size + 1, 4 * size + 1)), 0)
    return np.asarray(top / np.maximum(cv2.blur(where, (4 * size + 1, 4 * size + 1)), 1e-3), np.float32)


def fill(rgb: NDArray[np.uint8], known: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Fill what is not known (weight [H, W] 0) from what is, by push-pull (Gortler et al. 1996, section 3.4)."""
    return np.clip(push_pull(rgb, known) + 0.5, 0, 255).astype(np.uint8)


def push_pull(values: NDArray[Any], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same for any numbers [H, W, 3]."""
    import cv2

    levels: list[tuple[Any, Any]] = []
    colour = values.astype(np.float32) * known[..., None]
    weight = known.astype(np.float32)
    while True:
        levels.append((colour, weight))
        if min(colour.shape[:2]) <= 2:
            break
        half = (-(-colour.shape[1] // 2), -(-colour.shape[0] // 2))
        colour = cv2.resize(colour, half, interpolation=cv2.INTER_AREA)
        weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    total = levels[-1][1].sum()
    mean = levels[-1][0].sum((0, 1)) / max(total, 1e-6)
    up = np.broadcast_to(mean, levels[-1][0].shape).astype(np.float32)
    for colour, weight in reversed(levels):
        up = cv2.resize(up, colour.shape[1::-1], interpolation=cv2.INTER_LINEAR).reshape(colour.shape)
        confidence = np.minimum(weight * 4, 1)[..., None]
        own = colour / np.maximum(weight, 1e-6)[..., None]
        up = own * confidence + up * (1 - confidence)
    return np.asarray(up, np.float32)


def _continued(rgb: NDArray[np.uint8], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is known [H, W, 3] continued smoothly over the rest: its gradients too, as far as a parabola goes."""
    import cv2

    H, W = known.shape
    step = max(1, round(max(H, W) / 128))
    small = cv2.resize(rgb * known[..., None], (-(-W // step), -(-H // step)), interpolation=cv2.INTER_AREA)
    weight = cv2.resize(known, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    use = weight > 0.5
    if use.sum() < 64:
        return fill(rgb, known).astype(np.float32)
    y, x = np.mgrid[: small.shape[0], : small.shape[1]]
    u, v = (2 * x / small.shape[1] - 1).astype(np.float32), (2 * y / small.shape[0] - 1).astype(np.float32)
    basis = np.stack((np.ones_like(u), u, v, u * u, u * v, v * v), -1)  # [h, w, 6]
    fitted, *_ = np.linalg.lstsq(basis[use], small[use] / weight[use][:, None], rcond=None)
    parabola = cv2.resize((basis @ fitted).astype(np.float32), (W, H), interpolation=cv2.INTER_LINEAR)
    rest = push_pull(rgb - parabola, known)
    return np.asarray(np.clip(parabola + rest, 0, 255), np.float32)


def wide_blur(picture: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """A Gaussian blur [H, W, ...] at the resolution that one so wide needs."""
    import cv2

    scale = min(1.0, 6.0 / sigma_px)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    small = cv2.GaussianBlur(small, (0, 0), sigma_px * scale)
    return np.asarray(cv2.resize(small, picture.shape[1::-1]) if scale < 1 else small, np.float32)


def continue_behind(rgb: NDArray[np.uint8], known: NDArray[np.float32], face_px: float) -> NDArray[np.uint8]:
    """Fill what is not known so that no smooth patch shows: its colours from all around, its texture the known
    part's own, mirrored at the edge between them. Deep inside that would be rays and curls: there only grain is left."""
    import cv2

    smooth = _continued(rgb, known)
    if known.all() or not known.any():
        return (smooth + 0.5).astype(np.uint8)
    H, W = known.shape
    # Around the edge the blur sees what continues it too, else a slope would be told for texture, and a step be seen.
    whole = np.where(known[..., None] > 0, rgb, smooth)
    texture, grain = (
        np.where(known[..., None] > 0, rgb - wide_blur(whole, max(least, face_px / share)), 0).astype(np.float32)
        for least, share in ((2.0, 8), (2.0, 24))
    )
    rough = np.sqrt(_local(grain**2, known, max(2, round(face_px / 24))))
    usual = float(np.median(rough[known > 0]))
    grain *= np.minimum(1, usual / np.maximum(rough, 1e-3))[..., None]  # what stands out is things, not grain
    depth, labels = cv2.distanceTransformWithLabels(
        (known == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    ys, xs = np.nonzero(known)
    number = labels[ys, xs]
    place = np.zeros((int(labels.max()) + 1, 2), np.float32)
    place[number] = np.stack((xs, ys), 1)
    edge = place[labels]  # [H, W, 2] the nearest known pixel
    here = np.stack(np.meshgrid(np.arange(W), np.arange(H)), -1).astype(np.float32)
    mirrored = cv2.GaussianBlur(2 * edge - here, (0, 0), face_px / 60)
    period = np.array((2 * W - 2, 2 * H - 2), np.float32)
    fold = np.abs((mirrored + period / 2) % period - period / 2)  # a mirror at the picture's own edges too
    found, fine = (
        cv2.remap(x, fold.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        for x in (texture, grain)
    )
    deep = np.clip((depth / face_px - DEEP[0]) / (DEEP[1] - DEEP[0]), 0, 1)[..., None]
    found += (fine - found) * (deep * deep * (3 - 2 * deep))
    return np.asarray(np.clip(smooth + found * (known == 0)[..., None] + 0.5, 0, 255), np.uint8)


def person_colour(
    rgb: NDArray[np.uint8], alpha: NDArray[np.float32], behind: NDArray[np.uint8], solid: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The person's own colour [H, W, 3], such that person over `behind` gives the picture back.

    `solid` is the person's colour continued outwards, for where too little of it shows to be told.
    """
    out = np.where((alpha > 0.999)[..., None], rgb, solid)
    mixed = (alpha > 0.02) & (alpha <= 0.999)
    a = alpha[mixed][:, None]
    exact = (rgb[mixed] - (1 - a) * behind[mixed]) / np.maximum(a, 0.05)
    trust = np.clip(a * 5 - 0.25, 0, 1)
    out[mixed] = np.clip(np.clip(exact, 0, 255) * trust + solid[mixed] * (1 - trust) + 0.5, 0, 255)
    return np.asarray(out, np.uint8)


@dataclass(frozen=True)
class Layers:
    """A picture taken apart: the person over what is behind them is the picture."""

    alpha: NDArray[np.float32]  # [H, W] the person's opacity
    person: NDArray[np.uint8]  # [H, W, 3] the person's own colour
    behind: NDArray[np.uint8]  # [H, W, 3]


def layers(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], face_px: float) -> Layers:
    """A picture [H, W, 3] taken apart.

    What is made up is made on a picture of at most FILL_PX, whatever the picture's own size.
    """
    import cv2

    H, W = alpha.shape
    scale = min(1.0, FILL_PX / max(H, W))
    small, thin = rgb, alpha
    if scale < 1:
        small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        thin = cv2.resize(alpha, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    known = _beyond(thin, face_px * scale / 32)
    calm = _calm(small, thin, face_px * scale)
    halo = _halo(small, thin, known, face_px * scale) * calm[..., None]
    clean = np.clip(small - halo + 0.5, 0, 255).astype(np.uint8)
    filled = continue_behind(clean, known, face_px * scale)
    solid = fill(small, (thin > 0.95).astype(np.float32))
    if scale < 1:
        filled, solid, halo, calm = (
            cv2.resize(x, (W, H), interpolation=cv2.INTER_LINEAR) for x in (filled, solid, halo, calm)
        )
        known = _beyond(alpha, face_px / 32)
        clean = np.clip(rgb - halo + 0.5, 0, 255).astype(np.uint8)
    behind = np.where((known > 0)[..., None], clean, filled)
    person = person_colour(rgb, alpha, behind, solid)
    return _with_halo(rgb, Layers(alpha, person, behind), calm)


def _beyond(alpha: NDArray[np.float32], reach_px: float) -> NDArray[np.float32]:
    """1 where nothing of the person [H, W] is within reach, else 0."""
    import cv2

    reach = max(3, round(reach_px))
    return np.asarray(cv2.erode((alpha < 0.02).astype(np.float32), np.ones((reach, reach), np.uint8)), np.float32)


def _calm(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], face_px: float) -> NDArray[np.float32]:
    """How even [H, W] what is behind is around the person, 0..1; 0 away from them."""
    import cv2

    far = _beyond(alpha, 2 * HALO * face_px)
    if not far.any():
        return np.zeros(alpha.shape, np.float32)
    spread = _local((rgb - even_blur(rgb, far, face_px / 8)) ** 2, far, round(face_px / 8))
    calm = 1 - np.clip((np.sqrt(spread) - ROUGH[0]) / (ROUGH[1] - ROUGH[0]), 0, 1)
    away = cv2.distanceTransform((alpha < 0.02).astype(np.uint8), cv2.DIST_L2, 5) / (HALO * face_px)
    return np.asarray(cv2.GaussianBlur(calm, (0, 0), face_px / 16) * np.clip(2 - 2 * away, 0, 1), np.float32)


def _halo(
    rgb: NDArray[np.uint8], alpha: NDArray[np.float32], known: NDArray[np.float32], face_px: float
) -> NDArray[np.float32]:
    """How the rim of what is behind [H, W, 3] differs from what goes on beyond it: shadow, glow and loose hair too
    thin for the matte. It is the person's and goes with them."""
    far = _beyond(alpha, 2 * HALO * face_px)
    if not far.any():
        return np.zeros(rgb.shape, np.float32)
    halo = even_blur(rgb, known, face_px / 60) - _continued(rgb, far)
    sure = np.clip((np.abs(halo) - FAINT[0]) / (FAINT[1] - FAINT[0]), 0, 1)
    halo *= sure * sure * (3 - 2 * sure) * known[..., None]
    return np.asarray(np.clip(halo, -4.0 * rgb, 255.0 - rgb), np.float32)  # no more than a veil


def even_blur(rgb: NDArray[np.uint8], where: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """A Gaussian blur [H, W, 3] of what `where` counts alone."""
    weight = wide_blur(where, sigma_px)
    return np.asarray(wide_blur(rgb * where[..., None], sigma_px) / np.maximum(weight, 1e-3)[..., None], np.float32)


def _with_halo(rgb: NDArray[np.uint8], cut: Layers, calm: NDArray[np.float32]) -> Layers:
    """The halo as the thinnest veil that turns what is behind into the picture: each of its colours at an extreme.

    `calm` [H, W] says where what is behind is even, so that the difference is the person's.
    """
    off = rgb.astype(np.float32) - cut.behind
    room = np.where(off > 0, 255.0 - cut.behind, cut.behind)
    veil = np.clip((np.abs(off) / np.maximum(room, 1)).max(-1) * 1.02, 0, 0.8) * calm
    rim = (veil > 0.004) & (cut.alpha < 0.25)
    veil = np.maximum(veil, cut.alpha)
    person = cut.person.copy()
    a = veil[rim][:, None]
    person[rim] = np.clip((rgb[rim] - (1 - a) * cut.behind[rim]) / a + 0.5, 0, 255)
    return Layers(np.where(rim, veil, cut.alpha).astype(np.float32), person, cut.behind)
