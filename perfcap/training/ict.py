"""A 3-D face with known truth: the ICT-FaceKit asset posed, and a small software rasteriser for it.

    face = load_ict(path)
    vertices = face.mesh(identity, {"jawOpen": 0.6}, gaze=gaze)
    shot = render(vertices, face.triangles, colour, Camera.of_picture(256, 256), head)

The asset itself is never shipped; its path is always an argument. Meshes come in the house's head
frame: metres, x to the right of a frontal picture (so the performer's left is +x), y down, z away
from the camera, origin between the outer eye corners of the neutral identity.

The asset has no tongueOut, and its iris lies behind a closed white shell: paint the iris onto the
ball with `iris_cosine`. Nothing here knows of landmarks or detectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from perfcap.head import Camera
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, N_EXPRESSION

Floats = NDArray[np.float32]

CM = np.float32(0.01)  # metres
FAR = np.float32(1e9)  # depth where nothing is drawn
NEAR_M = 0.02  # triangles that come nearer to the camera than this are left out

# What looking fully in, out, up or down (coefficient 1) means; perfcap.expression.look is the inverse.
LOOK_YAW, LOOK_PITCH = 0.6, 0.45  # radians

SPLIT_IN_TWO = ("browInnerUp", "cheekPuff")  # one in ARKit, _L and _R in the asset
NOT_IN_ASSET = ("tongueOut",)


def ict_names(arkit: str) -> tuple[str, ...]:
    """The asset's shapes that add up to an ARKit shape; none for tongueOut."""
    if arkit in NOT_IN_ASSET:
        return ()
    if arkit in SPLIT_IN_TWO:
        return (f"{arkit}_L", f"{arkit}_R")
    for side in ("Left", "Right"):
        if arkit.endswith(side) and arkit not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
            return (f"{arkit[: -len(side)]}_{side[0]}",)
    return (arkit,)


def gaze_direction(gaze: Floats) -> Floats:
    """Unit vectors [..., 3] of yaw, pitch [..., 2]: yaw to the right of a frontal picture, pitch down."""
    yaw, pitch = gaze[..., 0], gaze[..., 1]
    x, y, z = np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)
    return np.asarray(np.stack((x, y, z), -1), np.float32)


def gaze_of(expression: Floats) -> Floats:
    """Gaze [2, 2] (left, right eye; yaw, pitch) that the eyeLook coefficients [52] stand for."""
    e = {name: float(expression[i]) for name, i in ARKIT_INDEX.items()}
    return np.array(
        [
            (
                LOOK_YAW * nose_is_at * (e[f"eyeLookIn{side}"] - e[f"eyeLookOut{side}"]),
                LOOK_PITCH * (e[f"eyeLookDown{side}"] - e[f"eyeLookUp{side}"]),
            )
            for side, nose_is_at in (("Left", -1.0), ("Right", 1.0))
        ],
        np.float32,
    )


def _turn(to: Floats) -> Floats:
    """The rotation [3, 3] that carries straight ahead (0, 0, -1) to a yaw and pitch, without roll."""
    yaw, pitch = float(to[0]), float(to[1])
    about_y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    return np.asarray(about_y @ about_x, np.float32)


@dataclass(frozen=True, kw_only=True)
class IctFace:
    """The asset in memory; V vertices, T triangles, I identities. About 50 MB."""

    vertices: Floats  # [V, 3] metres, head's frame, the mean identity at rest
    triangles: NDArray[np.int32]  # [T, 3]
    triangle_material: NDArray[np.uint8]  # [T], index into material_names
    material_names: tuple[str, ...]
    uv: Floats  # [U, 2]
    triangle_uv: NDArray[np.int32]  # [T, 3]
    parts: Mapping[str, slice]  # vertex ranges: face, mouth_socket, teeth, eyeball_left, ...
    identities: Floats  # [I, V, 3] metres; coefficients from N(0, 1)
    expressions: Floats  # [52, V, 3] metres, ARKIT_NAMES' order; zero where the asset has none
    landmark68: NDArray[np.int32]  # [68], vertices of the iBUG landmarks, the first on the performer's right

    def identity(self, coefficients: Floats | None) -> Floats:
        """The neutral face [V, 3] of a person, origin between that person's own outer eye corners."""
        vertices = self.vertices
        if coefficients is not None:
            if len(coefficients) > len(self.identities):
                raise ValueError(f"{len(coefficients)} identity coefficients, wanted at most {len(self.identities)}")
            vertices = vertices + np.tensordot(
                np.asarray(coefficients, np.float32), self.identities[: len(coefficients)], axes=1
            )
        return np.asarray(vertices - vertices[self.landmark68[[36, 45]]].mean(0), np.float32)

    def eye(self, neutral: Floats, part: str) -> tuple[Floats, float]:
        """Centre [3] and radius of an eyeball of a neutral face, metres."""
        ball = neutral[self.parts[part]].astype(np.float64)
        origin = ball.mean(0)
        ball -= origin
        solution = np.linalg.lstsq(np.c_[2 * ball, np.ones(len(ball))], (ball**2).sum(1), rcond=None)[0]
        centre = solution[:3]
        return (centre + origin).astype(np.float32), float(np.sqrt(solution[3] + centre @ centre))

    def mesh(
        self,
        identity: Floats | None = None,
        expression: Mapping[str, float] | Floats | None = None,
        gaze: Floats | None = None,
    ) -> Floats:
        """Vertices [V, 3] of a person [I] with an expression ([52], or by name), eyes turned to gaze [2, 2].

        Without `gaze` the eyes follow the eyeLook coefficients. Lids only follow the coefficients.
        """
        return self.pose(self.identity(identity), expression, gaze)

    def pose(
        self, neutral: Floats, expression: Mapping[str, float] | Floats | None = None, gaze: Floats | None = None
    ) -> Floats:
        """As `mesh`, from a neutral face made once by `identity`."""
        weights = coefficients(expression)
        used = np.flatnonzero(weights)
        vertices = neutral.copy()
        for i in used:
            vertices += weights[i] * self.expressions[i]
        for part, direction in zip(
            ("eyeball_left", "eyeball_right"), gaze_of(weights) if gaze is None else gaze, strict=True
        ):
            centre, _ = self.eye(neutral, part)
            vertices[self.parts[part]] = (neutral[self.parts[part]] - centre) @ _turn(direction).T + centre
        return vertices

    def iris_cosine(self, vertices: Floats, gaze: Floats) -> Floats:
        """Cosine [V] of the angle between each eyeball vertex and its gaze axis; -1 off the eyeballs.

        Linear over a triangle up to the ball's bulge, so it may be rasterised: a human iris ends
        near cos 0.38 rad of this (large) ball, a pupil near cos 0.15 rad.
        """
        cosine = np.full(len(vertices), -1, np.float32)
        for part, direction in zip(("eyeball_left", "eyeball_right"), gaze_direction(gaze), strict=True):
            centre, _ = self.eye(vertices, part)
            ray = vertices[self.parts[part]] - centre
            cosine[self.parts[part]] = ray @ direction / np.linalg.norm(ray, axis=1)
        return cosine

    def part_of_triangles(self) -> NDArray[np.uint8]:
        """Index [T] into `parts` of each triangle, by its first vertex."""
        ends = np.array([part.stop for part in self.parts.values()])
        return np.searchsorted(ends, self.triangles[:, 0], side="right").astype(np.uint8)

    def triangles_of(self, *materials: str) -> NDArray[np.int32]:
        """The triangles [_, 3] of these materials (names may be cut short: "M_Iris" is both)."""
        wanted = [i for i, name in enumerate(self.material_names) if name.startswith(materials)]
        return self.triangles[np.isin(self.triangle_material, wanted)]


def coefficients(expression: Mapping[str, float] | Floats | None) -> Floats:
    """ARKit coefficients [52] from a mapping by name, an array, or nothing."""
    if expression is None:
        return np.zeros(N_EXPRESSION, np.float32)
    if isinstance(expression, Mapping):
        weights = np.zeros(N_EXPRESSION, np.float32)
        for name, value in expression.items():
            if name not in ARKIT_INDEX:
                raise ValueError(f"no ARKit coefficient is called {name}")
            weights[ARKIT_INDEX[name]] = value
        return weights
    weights = np.asarray(expression, np.float32)
    if weights.shape != (N_EXPRESSION,):
        raise ValueError(f"expression has shape {weights.shape}, wanted ({N_EXPRESSION},)")
    return weights


def arkit_shapes(shape: Callable[[str], Floats], n_vertices: int) -> Floats:
    """What each of ARKIT_NAMES moves [52, V, 3], of the asset's own shapes [V, 3] by name."""
    expressions = np.zeros((N_EXPRESSION, n_vertices, 3), np.float32)
    for moved, arkit in zip(expressions, ARKIT_NAMES, strict=True):
        for name in ict_names(arkit):
            moved += shape(name)
    return expressions


def load_ict(path: str | Path) -> IctFace:
    """Read the asset, packed (`ict_face.npz`) or as it is published, a folder; bring it into the house's head frame."""
    if Path(path).is_dir():
        from perfcap.training.facekit import load_facekit

        return load_facekit(Path(path))
    flip = np.array((1, -1, -1), np.float32)  # the asset has y up and z towards the camera
    with np.load(path, allow_pickle=False) as data:
        missing = {"vertices", "expressions", "identities", "landmark68", "part_ranges"} - set(data.files)
        if missing:
            raise ValueError(f"{path} has no {', '.join(sorted(missing))}; wanted the packed ICT face")
        step = np.float32(data["delta_step"]) * CM * flip
        landmark68 = data["landmark68"].astype(np.int32)
        vertices = data["vertices"].astype(np.float32) * CM * flip
        names = [str(name) for name in data["expression_names"]]
        deltas = data["expressions"]

        def shape(name: str) -> Floats:
            if name not in names:
                raise ValueError(f"{path} has no expression {name}")
            return np.asarray(deltas[names.index(name)] * step, np.float32)

        return IctFace(
            vertices=vertices - vertices[landmark68[[36, 45]]].mean(0),
            triangles=data["triangles"].astype(np.int32),
            triangle_material=data["triangle_material"].astype(np.uint8),
            material_names=tuple(str(name) for name in data["material_names"]),
            uv=data["uv"].astype(np.float32),
            triangle_uv=data["triangle_uv"].astype(np.int32),
            parts={
                str(name): slice(int(a), int(b))
                for name, (a, b) in zip(data["part_names"], data["part_ranges"], strict=True)
            },
            identities=data["identities"] * step,
            expressions=arkit_shapes(shape, len(vertices)),
            landmark68=landmark68,
        )


def vertex_normals(vertices: Floats, triangles: NDArray[np.int32]) -> Floats:
    """Unit normals [V, 3], pointing out of the skin: towards the camera on a frontal face."""
    normals = np.zeros_like(vertices)
    _add_normals(np.ascontiguousarray(vertices, np.float32), triangles, normals)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + np.float32(1e-12)
    return normals


@dataclass(frozen=True, kw_only=True)
class Light:
    """One far light and the same light from everywhere; each is [3] red, green, blue, 1 = as painted."""

    direction: Floats  # [3], from the head towards the light, camera's frame
    directional: Floats  # [3]
    ambient: Floats  # [3]

    def on(self, normals: Floats) -> Floats:
        """Light [..., 3] that falls on surfaces with these normals [..., 3]."""
        towards = np.asarray(self.direction, np.float32)
        facing = np.clip(normals @ (towards / np.linalg.norm(towards)), 0, 1)[..., None]
        return np.asarray(self.ambient + facing * self.directional, np.float32)


@dataclass(frozen=True)
class Rendered:
    """What the camera sees; with supersampling the picture is averaged, depth and triangle are not."""

    picture: Floats  # [H, W, C] attributes, the background where nothing is
    depth: Floats  # [H, W] metres, FAR where nothing is
    triangle: NDArray[np.int32]  # [H, W], index into the triangles given, -1 where nothing is
    cover: Floats  # [H, W], how much of the pixel the mesh covers, 0..1


def facing_camera(distance_m: float = 0.6) -> Floats:
    """A head [4, 4] that looks straight into the camera."""
    head = np.eye(4, dtype=np.float32)
    head[2, 3] = distance_m
    return head


def render(
    vertices: Floats,
    triangles: NDArray[np.int32],
    attributes: Floats,
    camera: Camera,
    head: Floats | None = None,
    *,
    supersample: int = 1,
    background: float | Floats = 0.0,
    light: Light | None = None,
) -> Rendered:
    """Draw vertex attributes [V, C], or one per triangle [T, C], of a mesh [V, 3] under a pinhole camera.

    `head` [4, 4] carries the head's frame to the camera's (x right, y down, z away), metres.
    `light`, if given, multiplies the attributes (then C = 3) by what falls on the smooth surface.
    """
    head = facing_camera() if head is None else np.asarray(head, np.float32)
    seen = np.ascontiguousarray(vertices @ head[:3, :3].T + head[:3, 3], np.float32)
    triangles = np.ascontiguousarray(triangles, np.int32)
    attributes = np.atleast_2d(np.asarray(attributes, np.float32))
    n_channels = attributes.shape[1]
    per_vertex = len(attributes) == len(vertices)
    if not per_vertex and len(attributes) != len(triangles):
        raise ValueError(
            f"{len(attributes)} attributes, wanted one for each of {len(vertices)} vertices"
            f" or {len(triangles)} triangles"
        )
    S = supersample
    H, W = camera.height * S, camera.width * S
    depth = np.full((H, W), FAR, np.float32)
    triangle = np.full((H, W), -1, np.int32)
    weights = np.zeros((H, W, 2), np.float32)
    rasterise(seen, triangles, camera.focal_px * S, W / 2, H / 2, depth, triangle, weights)
    picture = np.empty((H, W, n_channels), np.float32)
    picture[...] = background if np.ndim(background) < 3 else _grow(np.asarray(background, np.float32), S)
    if light is not None:
        shade = light.on(vertex_normals(seen, triangles))
        if per_vertex:
            paint(triangles, attributes * shade, triangle, weights, picture)
        else:
            lit = np.ones((H, W, n_channels), np.float32)
            paint(triangles, shade, triangle, weights, lit)
            picture[triangle >= 0] = attributes[triangle[triangle >= 0]]
            picture *= lit
    elif per_vertex:
        paint(triangles, np.ascontiguousarray(attributes), triangle, weights, picture)
    else:
        picture[triangle >= 0] = attributes[triangle[triangle >= 0]]
    cover = (triangle >= 0).astype(np.float32)
    if S > 1:
        picture = picture.reshape(camera.height, S, camera.width, S, n_channels).mean((1, 3))
        cover = cover.reshape(camera.height, S, camera.width, S).mean((1, 3))
        depth, triangle = depth[S // 2 :: S, S // 2 :: S].copy(), triangle[S // 2 :: S, S // 2 :: S].copy()
    return Rendered(picture, depth, triangle, cover)


def _grow(background: Floats, times: int) -> Floats:
    return background.repeat(times, 0).repeat(times, 1)


def head_pose(yaw: float, pitch: float, roll: float, position_m: Any) -> Floats:
    """A head [4, 4]: turned to the right of the picture by yaw, down by pitch, clockwise by roll (radians)."""
    cz, sz = np.cos(roll), np.sin(roll)
    head = np.eye(4, dtype=np.float32)
    head[:3, :3] = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ _turn(np.array((yaw, pitch), np.float32))
    head[:3, 3] = position_m
    return head


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_normals(vertices: Any, triangles: Any, normals: Any) -> None:
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        # Two flipped axes leave the asset's winding as it was: this points out of the skin.
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def rasterise(
    points: Any,  # [V, 3] metres, camera's frame
    triangles: Any,  # [T, 3]
    focal_px: float,
    centre_x: float,  # px; the middle of the first pixel is at 0.5
    centre_y: float,
    depth: Any,  # [H, W] in and out: FAR where nothing is drawn yet
    triangle: Any,  # [H, W] in and out: index of the nearest triangle
    weights: Any,  # [H, W, 2] out: perspective-right weights of the triangle's second and third corner
) -> None:
    """Draw a mesh into a depth buffer, both sides of every triangle. May be called again to add to it."""
    H, W = depth.shape
    n = points.shape[0]
    sx, sy, inv_z = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    for i in range(n):
        z = max(points[i, 2], 1e-6)
        inv_z[i] = 1 / z
        sx[i] = points[i, 0] / z * focal_px + centre_x
        sy[i] = points[i, 1] / z * focal_px + centre_y
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        if min(points[a, 2], points[b, 2], points[c, 2]) < NEAR_M:
            continue
        ax, ay, bx, by, cx, cy = sx[a], sy[a], sx[b], sy[b], sx[c], sy[c]
        x0 = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        x1 = min(W - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        y0 = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        y1 = min(H - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        if x0 > x1 or y0 > y1:
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        inv = 1 / area
        for y in range(y0, y1 + 1):
            py = y + 0.5 - ay
            for x in range(x0, x1 + 1):
                px = x + 0.5 - ax
                u = (px * (cy - ay) - py * (cx - ax)) * inv
                v = (py * (bx - ax) - px * (by - ay)) * inv
                if u < -1e-5 or v < -1e-5 or u + v > 1.00001:
                    continue
                w = (1 - u - v) * inv_z[a] + u * inv_z[b] + v * inv_z[c]
                z = 1 / w
                if z < depth[y, x]:
                    depth[y, x] = z
                    triangle[y, x] = t
                    weights[y, x, 0] = u * inv_z[b] * z
                    weights[y, x, 1] = v * inv_z[c] * z


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def paint(
    triangles: Any,  # [T, 3], those that were rasterised
    attributes: Any,  # [V, C]
    triangle: Any,  # [H, W]
    weights: Any,  # [H, W, 2]
    out: Any,  # [H, W, C]; left alone where no triangle is
) -> None:
    """Interpolate vertex attributes over what `rasterise` found."""
    H, W, C = out.shape
    for y in range(H):
        for x in range(W):
            t = triangle[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            u, v = weights[y, x, 0], weights[y, x, 1]
            for k in range(C):
                out[y, x, k] = (1 - u - v) * attributes[a, k] + u * attributes[b, k] + v * attributes[c, k]
