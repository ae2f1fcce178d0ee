"""From landmarks in a picture to a head in a metric camera frame and a face free of pose, and back.

The face mesh gives x and y in pixels and a depth in pixel-like units (weak perspective around the
head's own distance). Here they become points in metres in front of a pinhole camera, a rigid head
`[4, 4]` (Kabsch 1976 with Umeyama's 1991 scale), and a face in the head's own frame. `project`
is the exact inverse, so pixels -> Motion -> pixels loses nothing. Nothing here knows who tracks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.landmarks import OVAL

OUTER_EYE_RIGHT, OUTER_EYE_LEFT = 33, 263  # the performer's right and left outer eye corners
UNIT_M = 0.0895  # metres between the outer eye corners of a mean adult (Farkas 1994: 88 to 91 mm)

# Points that expressions hardly move: forehead, temples, nose bridge, inner and outer eye corners.
STABLE = (
    10, 338, 297, 332, 284, 251, 389, 127, 162, 21, 54, 103, 67,
    109, 356, 168, 6, 197, 195, 5, 133, 362, 33, 263, 151, 9, 8,
)  # fmt: skip


@dataclass(frozen=True)
class Camera:
    """A pinhole without distortion, its axis through the middle of the picture."""

    width: int  # px
    height: int  # px
    focal_px: float

    @classmethod
    def of_picture(cls, width: int, height: int) -> Camera:
        """The usual guess where nothing is known: about 45 degrees across the longer side."""
        return cls(width, height, 1.2 * max(width, height))

    @property
    def centre(self) -> NDArray[np.float32]:
        return np.array((self.width / 2, self.height / 2), np.float32)

    def project(self, points_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [..., 3] in metres (x right, y down, z away) to pixels [..., 2]."""
        return (points_m[..., :2] / points_m[..., 2:] * np.float32(self.focal_px) + self.centre).astype(np.float32)


def similarity(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> tuple[float, NDArray[np.float64]]:
    """Scale and rotation [3, 3] that best carry centred points a [N, 3] onto b (Umeyama 1991, eq. 34-42)."""
    u, d, vt = np.linalg.svd(b.T.astype(np.float64) @ a)
    sign = np.array((1.0, 1.0, np.sign(np.linalg.det(u @ vt))))
    return float((d * sign).sum() / (a.astype(np.float64) ** 2).sum()), (u * sign) @ vt


@dataclass(frozen=True)
class Posed:
    """A face taken apart: where the head is, and what it looks like free of that."""

    head: NDArray[np.float32]  # [4, 4], head -> camera, metres
    face: NDArray[np.float32]  # [478, 3], head's frame, units of the neutral's outer-eye-corner distance


def fit_head(landmarks_px: NDArray[np.float32], camera: Camera, neutral: NDArray[np.float32]) -> Posed:
    """Take landmarks [478, 3] (x, y px from the top left, depth in px) apart against a neutral face [478, 3].

    The scale comes from all the stable points, so a head never grows or shrinks with an expression.
    """
    stable = list(STABLE)
    origin = (neutral[OUTER_EYE_RIGHT] + neutral[OUTER_EYE_LEFT]) / 2
    centred = landmarks_px.astype(np.float64).copy()
    centred[:, :2] -= camera.centre
    reference = (neutral - origin)[stable]
    mean_reference = reference.mean(0)
    points = centred[stable]
    scale_px, _ = similarity(reference - mean_reference, points - points.mean(0))
    scale_px = max(scale_px, 1e-3)

    # Weak perspective tells the distance; each point is then lifted along its own ray.
    distance_m = camera.focal_px * UNIT_M / scale_px
    m_per_px = distance_m / camera.focal_px
    depth = distance_m + (centred[:, 2] - points[:, 2].mean()) * m_per_px
    lifted = np.stack((centred[:, 0] * depth, centred[:, 1] * depth, depth * camera.focal_px), 1) / camera.focal_px

    target = lifted[stable]
    scale, rotation = similarity(reference - mean_reference, target - target.mean(0))
    head = np.eye(4)
    head[:3, :3] = rotation
    head[:3, 3] = target.mean(0) - scale * rotation @ mean_reference
    # Exactly one unit of the neutral is UNIT_M: push the head to the distance where that holds.
    head[:3, 3] *= UNIT_M / scale
    face = (lifted * (UNIT_M / scale) - head[:3, 3]) @ rotation / UNIT_M
    return Posed(head.astype(np.float32), face.astype(np.float32))


def place(head: NDArray[np.float32], face: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points [N, 3] of the head's frame, in units, to the camera's frame in metres."""
    return np.asarray((face * np.float32(UNIT_M)) @ head[:3, :3].T + head[:3, 3], np.float32)


def inverse(head: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of a rigid transform [4, 4]."""
    out = np.eye(4, dtype=np.float32)
    out[:3, :3] = head[:3, :3].T
    out[:3, 3] = -head[:3, :3].T @ head[:3, 3]
    return out


# How far a head measured from the face mesh alone may be off, one standard deviation.
LEAN_RAD = 0.03  # rotation: what a smile or a frown makes it lean
SLIP_UNITS = 0.006  # the middle of the face, across the picture
BREATH = 0.012  # its distance, relative
TRACK_UNITS = 0.008  # a followed feature
SLACK_UNITS = (0.08, 0.04, 0.025, 0.02)  # beyond which it has slipped, step by step
EARS_DEPTH = 1.15  # units behind the eye corners where a head's outline lies
SKULL = 0.6  # of the face's own radius, from its contour to the head's outline
FACE_MIDDLE = np.array((0.0, 0.35, 0.1), np.float32)  # units, head's frame


def skull_depth(neutral: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth [N], units, at which hair and temples lie that are seen at points [N, 2] of the head's frame.

    From the depth of the face's contour in their direction, ever more steeply to that of the ears.
    """
    ring = neutral[list(OVAL)]
    angle, radius = np.arctan2(ring[:, 0], -ring[:, 1]), np.linalg.norm(ring[:, :2], axis=1)
    order = np.argsort(angle)
    towards = np.arctan2(points[:, 0], -points[:, 1])
    contour, depth = (np.interp(towards, angle[order], v[order], period=2 * np.pi) for v in (radius, ring[:, 2]))
    out = np.clip((np.linalg.norm(points[:, :2], axis=1) / contour - 1) / SKULL, 0, 1)
    return np.asarray(depth + (EARS_DEPTH - depth) * out**2.5, np.float32)


def refine_head(
    head: NDArray[np.float32],  # [4, 4] measured from the face mesh
    camera: Camera,
    local: NDArray[np.float32],  # [N, 3] features that no expression moves, head's frame, units
    seen_px: NDArray[np.float32],  # [N, 2] where they are seen
) -> NDArray[np.float32]:
    """The head [4, 4] that agrees with followed features, as far as the mesh may be wrong.

    Gauss-Newton on a rotation and a translation, Geman-McClure weights against features that slipped.
    """
    from perfcap.refine import refine

    R, t = head[:3, :3].astype(np.float64), head[:3, 3].astype(np.float64)
    unit_px = camera.focal_px * UNIT_M / t[2]
    # The middle of the face, where the mesh has it, is one more feature; it never slips.
    points = np.concatenate((local, FACE_MIDDLE[None])).astype(np.float64) * UNIT_M
    home = R @ points[-1] + t
    seen = np.concatenate((seen_px - camera.centre, (home[:2] / home[2] * camera.focal_px)[None])) / unit_px
    refine(
        R, t, points, seen, camera.focal_px / unit_px, min(1.0, 25 / max(len(seen_px), 1)),
        TRACK_UNITS, SLIP_UNITS, LEAN_RAD, BREATH, np.array(SLACK_UNITS),
    )  # fmt: skip
    out = np.eye(4, dtype=np.float32)
    out[:3, :3], out[:3, 3] = R, t
    return out


def face_of(
    landmarks_px: NDArray[np.float32], camera: Camera, head: NDArray[np.float32], neutral: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The face [478, 3] that these landmarks show if the head is this one: `project(place(head, face))` gives them back."""
    stable = list(STABLE)
    m_per_px = head[2, 3] / camera.focal_px
    shown = place(head, neutral)[stable, 2].mean()
    depth = shown + (landmarks_px[:, 2] - landmarks_px[stable, 2].mean()) * m_per_px
    rays = (landmarks_px[:, :2] - camera.centre) / camera.focal_px
    lifted = np.concatenate((rays * depth[:, None], depth[:, None]), 1)
    return np.asarray((lifted - head[:3, 3]) @ head[:3, :3] / UNIT_M, np.float32)


def unproject(
    camera: Camera, head: NDArray[np.float32], points_px: NDArray[np.float32], depth: NDArray[np.float32] | np.float32
) -> NDArray[np.float32]:
    """Pixels [N, 2] with a depth [N] in the head's frame (units) to points [N, 3] of that frame."""
    rays = np.concatenate(((points_px - camera.centre) / camera.focal_px, np.ones((len(points_px), 1), np.float32)), 1)
    local_rays = rays @ head[:3, :3]  # direction in the head's frame
    origin = -head[:3, 3] @ head[:3, :3]  # the camera in the head's frame
    reach = (depth * UNIT_M - origin[2]) / local_rays[:, 2]
    return np.asarray((origin + local_rays * reach[:, None]) / UNIT_M, np.float32)
