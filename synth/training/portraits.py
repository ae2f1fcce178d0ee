"""The skin of people in pictures, for made people to wear.

A picture's own face landmarks say which of its pixels shows which place of the 3-D face's texture. What the picture's
light did is taken out as far as a smooth light explains it, what it hides is taken from the other side of the face,
what neither side shows is filled in, and outside the face somebody's plain skin of the same tone goes on. Nothing of a
picture is kept but in what was made of it. Knows nothing of who may be shown: whoever names a picture does.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from perfcap.face import MediaPipeFaces
from perfcap.landmarks import OVAL
from perfcap.topology import face_triangles
from perfcap.training.ict import paint, rasterise, vertex_normals
from runtime.errors import InputError
from runtime.image import load_image
from runtime.records import N_FACE
from synth.matte import push_pull, wide_blur
from synth.training.regions import TEXELS, ramp
from synth.training.skin import Projected, SkinPainter, linear, usual_tone

Floats = NDArray[np.float32]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
SMALLEST_PX = 64.0  # of a face
SEEN = (0.35, 0.65)  # cosine of a place's normal towards the camera, from which it is believed a little and wholly
FADE = 40.0  # texels over which a face goes over into plain skin
LEVEL, ADAPTED = 0.25, 0.7  # how light a camera shows skin of MEAN_TONE, and how far it gives way to darker or lighter
MEAN_TONE = 0.35
TONE = (0.07, 0.5)  # linear; no skin is darker or lighter
BRIGHTEST, DARKEST = 1.7, 0.03  # of the tone: what is lighter shines; what is darker is no skin
OWN_HUE = 0.4  # share of a picture's colour cast that is taken for the person's own: varnish is not
SHADE, SHADOW = 14.0, (0.2, 0.6)  # texels, standard deviation; of the usual level, from which a place is believed
EVEN, EVENED = 40.0, 0.8  # texels, standard deviation; how much of what is as wide is light's doing, not the skin's
LEAST_LIGHT = 0.35  # of the mean that falls on a face: a shadow is not lightened more than that


def portraits(folder: Path, painter: SkinPainter, texels: Floats) -> list[Projected]:
    """All pictures of a folder, by name; `texels` [468, 2] is where the landmarks lie in the texture."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; wanted one with pictures of faces")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder} holds no picture; wanted {', '.join(SUFFIXES)}")
    finder = MediaPipeFaces(still=True)
    found = []
    for path in paths:
        rgb = load_image(path)
        faces = finder.find(rgb)
        if len(faces) != 1 or faces[0].size < SMALLEST_PX:
            raise InputError(f"{path} shows no face; wanted one at least {SMALLEST_PX:g} px high")
        found.append(project(rgb, faces[0].landmarks, painter, texels))
    finder.close()
    return found


def project(rgb: NDArray[np.uint8], landmarks: Floats, painter: SkinPainter, texels: Floats) -> Projected:
    """A picture [H, W, 3] of a face whose landmarks [478, 3] px are given."""
    place, normal, covered = _laid_open(landmarks[:N_FACE], texels)
    H, W = rgb.shape[:2]
    inside = (place >= 0).all(-1) & (place[..., 0] < W) & (place[..., 1] < H)
    known = ramp(-normal[..., 2], *SEEN) * covered * inside
    # Pixels as large as texels first: a picture larger than the texture would flicker.
    shrink = min(1.0, 1.5 * float(np.ptp(texels[:, 0]) / max(np.ptp(landmarks[:N_FACE, 0]), 1)))
    small = cv2.resize(linear(rgb / np.float32(255)), None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    x, y = (np.ascontiguousarray(place[..., k] * shrink - 0.5) for k in (0, 1))
    seen = cv2.remap(small, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    plain = known * np.clip(painter.at.blush + painter.at.t_zone, 0, 1)
    if plain.sum() < 100:
        plain = known
    flat = seen / _light(seen, normal, plain)[..., None]
    tone = np.array([np.median(flat[..., k][plain > 0.5 * plain.max()]) for k in range(3)], np.float32)
    flat = _evened(flat, tone, known * np.clip(1 - painter.at.lips - painter.at.rims, 0, 1))
    flat, tone = _as_skin(flat, np.maximum(tone, 1e-3))
    trusted = known * _out_of_shadow(seen.mean(-1), known, plain)
    # The other side of the face shows what this one hides.
    other = trusted[:, ::-1] * (1 - trusted)
    both = flat * trusted[..., None] + flat[:, ::-1] * other[..., None]
    weight = trusted + other
    albedo = push_pull(both / np.maximum(weight, 1e-6)[..., None], weight)
    return Projected(np.asarray(albedo, np.float32), _share(texels), tone, _brows(albedo, painter.marks, tone))


def _laid_open(landmarks: Floats, texels: Floats) -> tuple[Floats, Floats, Floats]:
    """Which pixel [N, N, 2] each texel of the face shows, its normal there [N, N, 3] in the camera's frame, and where
    there is any [N, N]."""
    T = TEXELS
    triangles = np.ascontiguousarray(face_triangles())
    normals = vertex_normals(np.ascontiguousarray(landmarks, np.float32), triangles)
    if normals[:, 2].sum() > 0:
        normals = -normals
    depth, triangle = np.full((T, T), 9, np.float32), np.full((T, T), -1, np.int32)
    weights = np.zeros((T, T, 2), np.float32)
    rasterise(np.c_[texels, np.ones(len(texels))].astype(np.float32), triangles, 1.0, 0.0, 0.0, depth, triangle, weights)  # fmt: skip
    out = np.zeros((T, T, 5), np.float32)
    paint(triangles, np.c_[landmarks[:, :2], normals].astype(np.float32), triangle, weights, out)
    return out[..., :2], out[..., 2:], (triangle >= 0).astype(np.float32)


def _light(seen: Floats, normal: Floats, plain: Floats) -> Floats:
    """How much light falls [N, N] on each place, 1 in the mean: a plane through the levels of plain skin over its
    normals, which is light from everywhere and one wide light (Ramamoorthi and Hanrahan 2001, first order)."""
    luma, basis = seen.mean(-1), np.concatenate((np.ones_like(normal[..., :1]), normal), -1)
    use = plain > 0.3 * plain.max()
    A, b, w = basis[use].astype(np.float64), luma[use].astype(np.float64), plain[use].astype(np.float64)
    fit = np.zeros(4)
    for _ in range(4):  # brows, spots and shadows fall out
        ridge = np.diag((0.0, 1.0, 1.0, 1.0)) * 0.02 * w.sum()
        fit = np.linalg.solve((A * w[:, None]).T @ A + ridge, (A * w[:, None]).T @ b)
        off = np.abs(A @ fit - b)
        w = plain[use] / (1 + (off / max(float(np.median(off)), 1e-4)) ** 2)
    light = basis @ fit.astype(np.float32)
    mean = max(float((light * plain).sum() / plain.sum()), 1e-4)
    return np.maximum(light / mean, LEAST_LIGHT).astype(np.float32)


def _out_of_shadow(level: Floats, known: Floats, plain: Floats) -> Floats:
    """How much [N, N] to believe of how light it is: what lies in a deep shadow the other side may show better."""
    usual = float(np.median(level[plain > 0.5 * plain.max()]))
    soft = wide_blur(level * known, SHADE) / (wide_blur(known, SHADE) + np.float32(1e-4))
    return np.float32(0.05) + np.float32(0.95) * ramp(soft / max(usual, 1e-3), *SHADOW)


def _as_skin(flat: Floats, tone: Floats) -> tuple[Floats, Floats]:
    """A face [N, N, 3] and its tone [3], as light as skin can be that a camera shows so, and nearer to skin's hue."""
    luma = float(tone.mean())
    own = float(np.clip(MEAN_TONE * (luma / LEVEL) ** (1 / ADAPTED), *TONE))
    gain = (usual_tone(own) * luma / (tone * own)) ** np.float32(1 - OWN_HUE) * np.float32(own / luma)
    flat = flat * gain
    level = np.maximum(flat.mean(-1, keepdims=True), 1e-4)
    return flat * np.clip(level, DARKEST * own, BRIGHTEST * own) / level, tone * gain


def _evened(flat: Floats, tone: Floats, skin: Floats) -> Floats:
    """The same [N, N, 3] without what shadows and coloured light leave on skin [N, N] of a tone [3]."""
    weight = wide_blur(skin, EVEN) + np.float32(1e-4)
    wide = (wide_blur(flat * skin[..., None], EVEN) + 1e-4 * tone) / weight[..., None]
    return np.asarray(flat * np.clip(tone / np.maximum(wide, 1e-4), 0.4, 3.0) ** np.float32(EVENED), np.float32)


def _share(texels: Floats) -> Floats:
    """1 within the face's oval, eyes and mouth too, softly 0 at its edge."""
    mask = np.zeros((TEXELS, TEXELS), np.uint8)
    cv2.fillPoly(mask, [np.round(texels[list(OVAL)]).astype(np.int32)], 1)
    f = np.clip(cv2.distanceTransform(mask, cv2.DIST_L2, 5) / FADE, 0, 1)
    return np.asarray(f * f * (3 - 2 * f), np.float32)


def _brows(albedo: Floats, marks: Floats, tone: Floats) -> Floats:
    """The colour [3] of the darkest tenth of the brows, unless they are as light as skin."""
    strip = np.zeros((TEXELS, TEXELS), np.uint8)
    for brow in (marks[17:22], marks[22:27]):
        cv2.polylines(strip, [np.round(brow).astype(np.int32)], False, 1, 14)
    there = albedo[strip > 0]
    dark = there[there.mean(-1) <= np.quantile(there.mean(-1), 0.1)].mean(0)
    return np.asarray(np.minimum(dark, 0.6 * tone), np.float32)
