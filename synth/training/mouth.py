"""Learn the inside of the mouth from renders of a 3-D face.

    python -m synth.training.mouth --asset ict_face.npz -o synth/weights/mouth.npz --seed 0

The asset (ICT-FaceKit, MIT) has modelled teeth, gums and tongue. Each row of teeth is unrolled onto the
elliptic cylinder that fits it, and drawn there as maps (teeth, gum, height, slope, crevices); the tongue
becomes a height map. Only these maps and a few numbers are written; the asset is not.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.optimize import least_squares
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull

from perfcap.head import OUTER_EYE_LEFT, OUTER_EYE_RIGHT, STABLE, Camera, similarity
from perfcap.training.ict import IctFace, Light, head_pose, load_ict, render, vertex_normals
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, N_EXPRESSION
from synth.mouth import jaw_features, motion_features, place_features, rest_features, teeth_shift, teeth_size

Array = NDArray[np.float64]

TEXELS_ACROSS, TEXELS_DOWN = 448, 224  # of half a row of teeth; the other half mirrors it
OVERSAMPLING = 3
PHI_MAX = 1.42  # radians of the ellipse from the middle of the row to its end
HINGE_CM = (0.0, 1.9, -0.2)  # the jaw's hinge in the asset's own frame; its jawOpen turns about there
ORIGIN_CM = np.array([0.0, 3.4321, 8.60292])  # between the outer eye corners, in the asset's own frame


@dataclass(frozen=True)
class Asset:
    """What is needed of the 3-D face, in the house's head frame: x right, y down, z away, 1 = outer eye corners."""

    face: IctFace
    points: Array  # [V, 3]
    triangles: NDArray[np.int64]  # [T, 3]
    normals: Array  # [V, 3]
    island: NDArray[np.int64]  # [T], which piece of the texture a triangle lies in
    unit_m: float  # metres in one unit

    def from_cm(self, point: tuple[float, float, float]) -> Array:
        """A point of the asset's own frame (cm, y up, z to the viewer)."""
        return np.asarray((np.array(point) - ORIGIN_CM) / (100 * self.unit_m) * np.array([1.0, -1.0, -1.0]))

    def range_of(self, part: str) -> tuple[int, int]:
        part_slice = self.face.parts[part]
        return int(part_slice.start), int(part_slice.stop)


def load(path: Path) -> Asset:
    face = load_ict(path)
    corners = face.vertices[face.landmark68[[36, 45]]]
    unit_m = float(np.linalg.norm(corners[1] - corners[0]))
    normals = vertex_normals(face.vertices, face.triangles).astype(np.float64)
    island = _connected(face.triangle_uv.astype(np.int64), len(face.uv))[face.triangle_uv[:, 0]]
    return Asset(face, face.vertices / unit_m, face.triangles.astype(np.int64), normals, island, unit_m)


def _connected(triangles: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """For each of n points, the number of the piece that it hangs together with."""
    edges = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _draw(xy: Array, height: Array, value: Array, triangles: NDArray[np.int64], top: Array, out: Array) -> None:
    """Draw triangles [T, 3] of points [V, 2] with values [V, C] where they stand higher than what is there."""
    H, W = top.shape
    for t in range(len(triangles)):
        a, b, c = triangles[t]
        ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        for y in range(max(0, int(min(ay, by, cy))), min(H, int(max(ay, by, cy)) + 2)):
            for x in range(max(0, int(min(ax, bx, cx))), min(W, int(max(ax, bx, cx)) + 2)):
                px, py = x + 0.5, y + 0.5
                u = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) / area
                v = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / area
                if u < 0 or v < 0 or u + v > 1:
                    continue
                h = (1 - u - v) * height[a] + u * height[b] + v * height[c]
                if h > top[y, x]:
                    top[y, x] = h
                    for k in range(value.shape[1]):
                        out[y, x, k] = (1 - u - v) * value[a, k] + u * value[b, k] + v * value[c, k]


def fit_ellipse(points: Array) -> Array:
    """Half-axes a (x), b (z) and centre z of the ellipse x²/a² + (z-c)²/b² = 1 nearest to the points' outer side."""
    p = points * np.array([1.0, 0.0, 1.0])
    p[:, 0] = np.abs(p[:, 0])
    hull = ConvexHull(np.concatenate([p, p * np.array([-1.0, 0.0, 1.0])])[:, [0, 2]])
    p = np.concatenate([p, p * np.array([-1.0, 0.0, 1.0])])[hull.vertices]
    p = p[p[:, 2] < points[:, 2].max() - 0.02]  # not the straight line across the back

    def gap(q: Array) -> Array:
        return np.asarray(np.hypot(p[:, 0] / q[0], (p[:, 2] - q[2]) / q[1]) - 1.0)

    return np.asarray(least_squares(gap, np.array([0.38, 0.65, 0.4])).x)


def unroll(points: Array, ellipse: Array) -> tuple[Array, Array]:
    """Angle on the ellipse and height over it, of each point."""
    a, b, c = ellipse
    phi = np.arctan2(points[:, 0] / a, (c - points[:, 2]) / b)
    for _ in range(20):  # Newton to the foot of the normal
        s, k = np.sin(phi), np.cos(phi)
        dx, dz = points[:, 0] - a * s, points[:, 2] - (c - b * k)
        tx, tz = a * k, b * s
        slope = dx * tx + dz * tz
        curve = -(tx * tx + tz * tz) + dx * (-a * s) + dz * (b * k)
        phi = phi - np.clip(slope / np.minimum(curve, -1e-3), -0.2, 0.2)
    s, k = np.sin(phi), np.cos(phi)
    n = np.stack([s / a, -k / b], 1)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    return phi, (points[:, 0] - a * s) * n[:, 0] + (points[:, 2] - (c - b * k)) * n[:, 1]


def bake_row(asset: Asset, *, upper: bool) -> dict[str, NDArray[np.generic]]:
    """One row of teeth and its gum as maps over (angle, height)."""
    a, b = asset.range_of("teeth")
    ga, gb = asset.range_of("gums_tongue")
    p, triangles = asset.points, asset.triangles
    middle = p[a:b, 1].mean()
    n_teeth = len(triangles)
    in_teeth = ((triangles >= a) & (triangles < b)).all(1)
    # A tooth is wholly upper or lower: go by the middle of what hangs together, here the tooth's own range of vertices.
    tooth_y = np.zeros(len(p))
    tooth_y[a:b] = _component_mean(triangles[in_teeth], a, b, p[:, 1])
    is_upper = tooth_y < middle
    teeth = triangles[in_teeth & (is_upper[triangles[:, 0]] == upper)]
    gum_island = np.unique(asset.island[((triangles >= ga) & (triangles < gb)).all(1)])
    gum = np.zeros(n_teeth, bool)
    for island in gum_island:
        mine = asset.island == island
        vertices = np.unique(triangles[mine])
        wide = (
            np.abs(p[vertices, 0]).max() * 100 * asset.unit_m > 3.2 and p[vertices, 0].min() < 0 < p[vertices, 0].max()
        )
        if wide and (p[vertices, 1].mean() < middle) == upper:
            gum |= mine
    gums = triangles[gum]
    ids = np.unique(teeth)
    ellipse = fit_ellipse(p[ids])
    y_tip = p[ids, 1].max() if upper else p[ids, 1].min()
    y_root = np.unique(gums)
    y_far = p[y_root, 1].min() if upper else p[y_root, 1].max()
    y0, y1 = (y_far, y_tip + 0.02) if upper else (y_tip - 0.02, y_far)
    phi, height = unroll(p, ellipse)
    W, H = TEXELS_ACROSS * OVERSAMPLING, TEXELS_DOWN * OVERSAMPLING
    xy = np.stack([phi / PHI_MAX * W, (p[:, 1] - y0) / (y1 - y0) * H], 1)
    sx, sz = np.sin(phi), np.cos(phi)
    normal = np.stack([sx / ellipse[0], -sz / ellipse[1]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    along = np.stack([-normal[:, 1], normal[:, 0]], 1)  # towards larger angles
    nt = (asset.normals[:, [0, 2]] * along).sum(1)
    top = np.full((H, W), -0.08)
    out = np.zeros((H, W, 4))  # tooth, gum, slope along, slope down
    zeros, ones = np.zeros(len(p)), np.ones(len(p))
    _draw(xy, height, np.stack([zeros, ones, nt, asset.normals[:, 1]], 1), gums, top, out)
    _draw(xy, height + 0.002, np.stack([ones, zeros, nt, asset.normals[:, 1]], 1), teeth, top, out)
    covered = out[..., 0] + out[..., 1] > 0.5
    # Dark is what lies lower than what is around it, and the narrow gaps between two teeth; not the open air
    # beyond their edges, which counts as high as the nearest tooth.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9 * OVERSAMPLING, 9 * OVERSAMPLING))
    gap = (cv2.morphologyEx(covered.astype(np.uint8), cv2.MORPH_CLOSE, disc) > 0) & ~covered
    level = (_nearest(top, covered) - 0.02 * gap).astype(np.float32)
    # Only along the row: the teeth's tips roll inwards too, and have no line.
    wide, near = (
        cv2.GaussianBlur(level, (0, 0), sigmaX=s * OVERSAMPLING, sigmaY=0.5 * OVERSAMPLING) for s in (7.0, 3.0)
    )
    crevice = np.clip(1.0 - 10.0 * np.maximum(wide - level, 0.0) - 30.0 * np.maximum(near - level, 0.0), 0.0, 1.0)
    # Past the far end of the gum there is more gum: no roots, no hole.
    rows = np.arange(H)[:, None] / H
    beyond = (rows < 0.25) if upper else (rows > 0.8)
    out[..., 0] = np.where(beyond, 0.0, out[..., 0])
    out[..., 1] = np.where(beyond, 1.0, out[..., 1])
    maps = np.dstack(
        [out[..., :2], np.clip((_nearest(top, covered) + 0.08) / 0.16, 0, 1), out[..., 2:] * 0.5 + 0.5, crevice]
    )
    maps[..., 3:5][~covered] = 0.5
    maps = maps.astype(np.float32)
    # The model's teeth are polygons: round their outlines, and close the gaps that its simple teeth leave.
    for k, level in ((0, 0.36), (1, 0.5)):
        soft = cv2.GaussianBlur(maps[..., k], (0, 0), 2.2 * OVERSAMPLING)
        maps[..., k] = np.clip((soft - level) * 9.0 + 0.5, 0.0, 1.0)
    either = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), 2.2 * OVERSAMPLING)
    either = np.clip((either - 0.4) * 9.0 + 0.5, 0.0, 1.0)
    either[:, : 3 * OVERSAMPLING] = np.maximum(either[:, : 3 * OVERSAMPLING], beyond)
    maps[..., 1] = np.maximum(np.maximum(either, maps[..., 1]) - maps[..., 0], 0.0)
    # No line where tooth and gum meet: darkness is for what lies between two teeth.
    gums = cv2.GaussianBlur(out[..., 1].astype(np.float32), (0, 0), 4.0 * OVERSAMPLING)
    maps[..., 5] = 1.0 - (1.0 - maps[..., 5]) * np.clip(1.0 - 1.6 * gums, 0.15, 1.0)
    maps[..., 2:5] = cv2.GaussianBlur(maps[..., 2:5], (0, 0), 1.5 * OVERSAMPLING)
    maps = cv2.GaussianBlur(maps, (0, 0), 0.5 * OVERSAMPLING)
    small = cv2.resize(maps, (TEXELS_ACROSS, TEXELS_DOWN), interpolation=cv2.INTER_AREA)
    key = "upper" if upper else "lower"
    return {
        key: np.round(small * 255).clip(0, 255).astype(np.uint8),
        f"{key}_chart": np.array([*ellipse, PHI_MAX, y0, y1, -0.08, 0.16], np.float32),
    }


def _component_mean(triangles: NDArray[np.int64], a: int, b: int, value: Array) -> Array:
    label = _connected(triangles - a, b - a)
    return np.asarray((np.bincount(label, value[a:b]) / np.bincount(label))[label])


def bake_tongue(asset: Asset) -> dict[str, NDArray[np.generic]]:
    """The tongue's upper side as a height map over (x, z), its sides falling away."""
    ga, gb = asset.range_of("gums_tongue")
    p = asset.points
    in_mouth = ((asset.triangles >= ga) & (asset.triangles < gb)).all(1)
    best, tongue = 0.0, asset.triangles[:0]
    for island in np.unique(asset.island[in_mouth]):
        triangles = asset.triangles[asset.island == island]
        ids = np.unique(triangles)
        narrow = np.abs(p[ids, 0]).max() * 100 * asset.unit_m < 2.2
        if narrow and p[ids, 1].mean() < 0.88 and len(ids) > best:
            best, tongue = float(len(ids)), triangles
    ids = np.unique(tongue)
    x1, z0, z1 = 0.24, p[ids, 2].min() - 0.01, p[ids, 2].max()
    W, H = 96, 160
    xy = np.stack([(p[:, 0] + x1) / (2 * x1) * 2 * W, (p[:, 2] - z0) / (z1 - z0) * H], 1)
    top = np.full((H, 2 * W), -1.2)
    _draw(xy, -p[:, 1], p[:, 1:2].copy(), tongue, top, np.zeros((H, 2 * W, 1)))
    y = -top
    y = np.minimum(y, y[:, ::-1])
    empty = y > 1.1
    # Where there is no tongue the ground falls from its edge, so a ray finds a soft side and never a cliff.
    distance = cv2.distanceTransform(empty.astype(np.uint8), cv2.DIST_L2, 5) * (2 * x1 / (2 * W))
    label = _nearest(y, ~empty)
    y = np.where(empty, label + 1.2 * distance + 6.0 * distance**2, y)
    y = cv2.GaussianBlur(y.astype(np.float32), (0, 0), 4.0)
    return {"tongue": y.astype(np.float16), "tongue_chart": np.array([x1, z0, z1], np.float32)}


def _nearest(value: Array, known: NDArray[np.bool_]) -> Array:
    index = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(value[tuple(index)])


@dataclass(frozen=True)
class Sample:
    """One rendered face as the face mesh saw it, and where its teeth truly were."""

    neutral: Array  # [478, 3] of this person, head's frame, 1 = outer eye corners (the face mesh's)
    face: Array  # [478, 3] with its expression, fitted onto the neutral
    head_to_px: Array  # [2, 4]
    upper_px: Array  # [U, 2], true places of the upper front teeth's points
    lower_px: Array  # [L, 2]


def render_samples(asset: Asset, n_people: int, seed: int) -> list[Sample]:
    """Random people, at rest and with random mouths and heads, through the real face mesh."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    rng = np.random.default_rng(seed)
    face = asset.face
    triangles = face.triangles_of("M_Face", "M_BackHead", "M_GumsTongue", "M_Teeth", "M_Sclera")
    colour = _colours(face)
    upper, lower = front_teeth(asset)
    mouths = [i for i, name in enumerate(ARKIT_NAMES) if name.startswith(("mouth", "jaw")) and name != "mouthClose"]
    light = Light(
        direction=np.array([0.2, -0.5, -1.0], np.float32),
        directional=np.full(3, 0.6, np.float32),
        ambient=np.full(3, 0.45, np.float32),
    )
    camera = Camera.of_picture(320, 320)
    samples = []
    with FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:

        def see(vertices: NDArray[np.float32], head: NDArray[np.float32]) -> Array | None:
            picture = render(vertices, triangles, colour, camera, head, light=light, background=110.0).picture
            found = mesh.process(picture.clip(0, 255).astype(np.uint8)).multi_face_landmarks
            if not found:
                return None
            return np.array([(p.x * camera.width, p.y * camera.height, p.z * camera.width) for p in found[0].landmark])

        for _ in range(n_people):
            person = face.identity((0.8 * rng.standard_normal(len(face.identities))).astype(np.float32))
            at_rest = see(person, head_pose(0, 0, 0, (0, -0.03, 0.45)))
            if at_rest is None:
                continue
            corners = at_rest[[OUTER_EYE_RIGHT, OUTER_EYE_LEFT]]
            neutral = (at_rest - corners.mean(0)) / np.linalg.norm(corners[1] - corners[0])
            for _ in range(3):
                expression = np.zeros(N_EXPRESSION, np.float32)
                for i in rng.choice(mouths, 4, replace=False):
                    expression[i] = rng.uniform(0, 0.8)
                expression[ARKIT_INDEX["jawOpen"]] = max(0.0, rng.uniform(-0.2, 0.9))
                yaw, pitch, roll = rng.normal(0, (0.25, 0.12, 0.08))
                head = head_pose(yaw, pitch, roll, (rng.normal(0, 0.01), -0.03, rng.uniform(0.4, 0.6)))
                vertices = face.pose(person, expression)
                seen = see(vertices, head)
                if seen is None:
                    continue
                fitted, head_to_px = _fit(seen, neutral)
                px = camera.project(vertices @ head[:3, :3].T + head[:3, 3]).astype(np.float64)
                samples.append(Sample(neutral, fitted, head_to_px, px[upper], px[lower]))
    return samples


def _colours(face: IctFace) -> NDArray[np.float32]:
    colour = np.full((len(face.vertices), 3), (200, 150, 130), np.float32)
    mean = face.vertices
    outline = (mean[face.landmark68[48:60], :2] * 1e5).round().astype(np.int32)
    for i in range(face.parts["face"].start, face.parts["face"].stop):
        x, y = (float(v) for v in mean[i, :2] * 1e5)
        if mean[i, 2] < 0 and cv2.pointPolygonTest(outline, (x, y), False) >= 0:
            colour[i] = (170, 90, 85)
    for part, rgb in (
        ("mouth_socket", (90, 35, 35)),
        ("gums_tongue", (170, 80, 80)),
        ("teeth", (225, 215, 200)),
        ("eyeball_left", (235, 235, 235)),
        ("eyeball_right", (235, 235, 235)),
    ):
        colour[face.parts[part]] = rgb
    return colour


def front_teeth(asset: Asset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Points of the upper and the lower front teeth, on their outer side."""
    a, b = asset.range_of("teeth")
    ids = np.arange(a, b)
    y = np.zeros(len(asset.points))
    in_teeth = ((asset.triangles >= a) & (asset.triangles < b)).all(1)
    y[a:b] = _component_mean(asset.triangles[in_teeth], a, b, asset.points[:, 1])
    p = asset.points
    front = ids[(np.abs(p[ids, 0]) < 0.24) & (asset.normals[ids, 2] < -0.2)]
    middle = p[a:b, 1].mean()
    return front[y[front] < middle], front[y[front] >= middle]


def _fit(seen: Array, neutral: Array) -> tuple[Array, Array]:
    """The face [478, 3] free of pose, and head -> pixels [2, 4], of landmarks seen [478, 3]."""
    stable = list(STABLE)
    centre, mean = seen[stable].mean(0), neutral[stable].mean(0)
    scale, turn = similarity(neutral[stable] - mean, seen[stable] - centre)
    face = (seen - centre) @ turn / scale + mean
    A = scale * turn[:2]
    return face, np.concatenate([A, (centre[:2] - A @ mean)[:, None]], 1)


def learn_places(asset: Asset, samples: list[Sample]) -> dict[str, NDArray[np.generic]]:
    """How a face at rest tells where its teeth are, and how the lips and jawOpen tell where the jaw is."""
    upper, lower = front_teeth(asset)
    chart = bake_row(asset, upper=True)["upper_chart"].astype(np.float64)
    rest = np.array([rest_features(s.neutral) for s in samples])
    rest_mean, rest_std = rest.mean(0), rest.std(0)
    pivot = np.array([0.0, rest_mean[0], chart[2] - chart[1]])

    # Pixels are linear in size, depth and what each feature adds to y: one least squares.
    rows, wanted = [], []
    for s, f in zip(samples, rest, strict=True):
        A, move = s.head_to_px[:, :3], s.head_to_px[:, 3]
        motion = motion_features(s.face, s.neutral)
        arm = np.sqrt(f[1] / rest_mean[1]) * (asset.points[upper] - pivot) @ A.T  # [U, 2]
        down = A[:, 1] * place_features(f, motion, rest_mean, rest_std)[:, None]  # [F, 2]
        columns = [arm, *(np.broadcast_to(d, arm.shape) for d in (A[:, 2], A[:, 0] * motion[1], *down))]
        rows.append(np.stack([c.ravel() for c in columns], 1) / np.linalg.norm(A[0]))
        base = A @ (pivot + np.array([0.0, f[0] - rest_mean[0], 0.0])) + move
        wanted.append((s.upper_px - base).ravel() / np.linalg.norm(A[0]))
    solution = np.linalg.lstsq(np.concatenate(rows), np.concatenate(wanted), rcond=None)[0]
    error = np.concatenate(rows) @ solution - np.concatenate(wanted)
    print(f"upper front teeth: {np.sqrt((error**2).mean()):.4f} of the outer eye corners' distance")
    place = {
        "rest_mean": rest_mean.astype(np.float32),
        "rest_std": rest_std.astype(np.float32),
        "place": solution.astype(np.float32),
    }

    # The angle of the jaw that puts the lower teeth where they were, then from what it can be told.
    hinge = asset.from_cm(HINGE_CM)
    angles = np.linspace(-0.1, 0.6, 71)
    turned = np.stack([(asset.points[lower] - hinge) @ _turn(angle).T + hinge for angle in angles])
    true_angle, features = [], []
    for s, f in zip(samples, rest, strict=True):
        motion = motion_features(s.face, s.neutral)
        size, shift = teeth_size(f, place), teeth_shift(f, motion, place)
        where = (turned - pivot) * size + pivot + shift
        px = where @ s.head_to_px[:, :3].T + s.head_to_px[:, 3]
        gap = (px - s.lower_px)[..., 1]  # down is what the angle moves
        error2 = (gap**2).mean(1)
        i = int(np.clip(error2.argmin(), 1, len(angles) - 2))
        bend = error2[i - 1] - 2 * error2[i] + error2[i + 1]
        true_angle.append(angles[i] + 0.5 * (error2[i - 1] - error2[i + 1]) / max(bend, 1e-9) * (angles[1] - angles[0]))
        features.append(jaw_features(motion))
    X, y = np.array(features), np.array(true_angle)
    keep = (y > -0.09) & (y < 0.59)
    X, y = X[keep], y[keep]
    train_rows = np.arange(len(X)) % 5 > 0
    ridge = 1e-2 * len(X) * np.diag([0.0] + [1.0] * (X.shape[1] - 1)) * X.var(0).clip(1e-9)
    jaw = np.linalg.solve(X[train_rows].T @ X[train_rows] + ridge, X[train_rows].T @ y[train_rows])
    off = (X @ jaw - y)[~train_rows]
    print(
        f"jaw: {np.degrees(np.sqrt((off**2).mean())):.2f} degrees on held-out faces ({np.degrees(y.std()):.2f} spread)"
    )
    return place | {"jaw_angle": jaw.astype(np.float32)}


def _turn(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def train(asset_path: Path, seed: int, n_people: int) -> dict[str, NDArray[np.generic]]:
    asset = load(asset_path)
    hinge = asset.from_cm(HINGE_CM)
    weights: dict[str, NDArray[np.generic]] = {"hinge": hinge[1:].astype(np.float32)}
    weights |= bake_row(asset, upper=True) | bake_row(asset, upper=False) | bake_tongue(asset)
    return weights | learn_places(asset, render_samples(asset, n_people, seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asset", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--people", type=int, default=700, help="random faces to look at")
    args = parser.parse_args()
    weights = train(args.asset, args.seed, args.people)
    np.savez_compressed(args.output, **weights)
    print(f"{args.output}: {args.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
