"""Photographs of made people: a figure in its light, as a camera sees it. Needs torch.

Shapes are drawn by a depth buffer on the CPU (`perfcap.training.ict.rasterise`) or by its twin in torch
(`synth.training.tiles`) where the tensors live; what each pixel shows is then shaded in torch, whatever the device.
Light is linear from here to `synth.training.look`, which makes a picture of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from perfcap.training.ict import FAR, IctFace, gaze_direction, rasterise, vertex_normals
from synth.rig import smoothstep
from synth.training import tiles
from synth.training.figure import Figure, Tailor
from synth.training.folds import fold_strengths
from synth.training.regions import TEXELS
from synth.training.tiles import Traced
from synth.training.worn import CLOTH, EYE, HAIR, HARD, MOUTH, PLAIN, SKIN, SKULL_M, TEETH

Floats = NDArray[np.float32]
Tensor = Any  # torch.Tensor
Rng = np.random.Generator

IRIS_RAD = 0.385  # half-angle on the asset's large eyeball
SHADOW_PX = 320
SHADOW_M = 0.5  # across the shadow's map
NOTHING = 255  # in place of a material
OTHERS = ((0, 1), (1, 0), (1, 1))  # of a square's pixels, those but the first
FINE_UNIT_PX = 130  # from this size of a face on, textures are as fine as they were painted
SCATTER = np.array((0.30, 0.14, 0.09), np.float32)  # how far light wraps around flesh, by colour
SCLERA_EVEN, SCLERA_WRAP = 1.0, 0.3  # how much of an eye's light is as if it were flat, and goes around it
SCLERA_DEEP = 0.4  # of the light, comes from where it is not in shade
CORNER_SHADE, CORNERS = 0.25, (0.45, 0.9)  # what the lids' corners take of it, and sines on the ball between which
MOST_LEAN = 0.9  # tangent of the steepest fold
N_LASHES = 26  # on each of the asset's cards


@dataclass(frozen=True, kw_only=True)
class Light:
    """The light that a take is in; directions point towards it, camera's frame, colours are linear."""

    ambient: Floats  # [9, 3] spherical harmonics of what falls on a surface
    directions: Floats  # [L, 3]; the first throws shadows
    colours: Floats  # [L, 3]
    window: float  # size of the lights' reflection in the eyes

    @classmethod
    def random(cls, rng: Rng) -> Light:
        warm = rng.normal(0, 0.07)
        tint = np.exp(np.array((1, 0.15, -1)) * warm)
        high = np.array((rng.normal(0, 0.9), -abs(rng.normal(0.5, 0.4)), -1))
        key = rng.uniform(0.3, 1.6) * tint
        fill = np.array((-np.sign(high[0]) * rng.uniform(0.4, 1.5), rng.uniform(-0.5, 0.3), -1))
        rim = np.array((rng.choice((-1, 1)) * rng.uniform(0.6, 1.2), rng.uniform(-0.6, 0.1), rng.uniform(0.5, 1.2)))
        directions = np.stack((high, fill, rim))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        colours = np.stack(
            (key, key * rng.uniform(0, 0.4) / tint, np.full(3, rng.uniform(0, 0.9) * (rng.random() < 0.5)))
        )
        ambient = np.zeros((9, 3))
        ambient[0] = rng.uniform(0.35, 0.95) / tint
        ambient[1:4] = rng.normal(0, 0.14, (3, 1)) + rng.normal(0, 0.03, (3, 3))
        ambient[1] -= rng.uniform(0, 0.25)  # more from above: y points down
        ambient[3] -= rng.uniform(0.05, 0.25)  # and from where the camera is
        ambient[4:] = rng.normal(0, 0.03, (5, 3))
        return cls(ambient=ambient.astype(np.float32), directions=directions.astype(np.float32),
                   colours=colours.astype(np.float32), window=float(rng.uniform(0.3, 1.0)))  # fmt: skip


@dataclass(frozen=True)
class View:
    """A pinhole whose axis need not pass through the middle of what it shows."""

    width: int  # px
    height: int
    focal_px: float
    centre_x: float  # px, where the axis passes; the middle of the first pixel is at 0.5
    centre_y: float


@dataclass(frozen=True)
class Photograph:
    """Linear light and how much of each pixel the person covers."""

    rgb: Floats  # [H, W, 3], premultiplied by cover
    cover: Floats  # [H, W]
    skin: Floats  # [H, W], how much is skin of the face: a camera exposes for it


@dataclass(frozen=True)
class Moment:
    """What a figure does at one instant."""

    expression: Floats  # [52]
    gaze: Floats  # [2, 2]
    head: Floats  # [4, 4], head -> camera, metres
    body: Floats  # [4, 4], the same for shoulders and chest


@dataclass(frozen=True)
class Print:
    """A figure's skin as textures on a device, as fine as a picture can show."""

    colours: Tensor  # [1, 4, N, N], albedo and gloss
    slopes: Tensor  # [1 + 5, 2, N, N], how the height leans across and down, over the whole texture: at rest, each fold


@dataclass(frozen=True)
class Seen:
    """What P pixels show. Vectors are in the camera's frame."""

    material: Tensor  # [P]
    corners: Tensor  # [P, 3], vertices
    weights: Tensor  # [P, 3], their shares
    triangle: Tensor  # [P]
    position: Tensor  # [P, 3] metres
    normal: Tensor  # [P, 3]
    colour: Tensor  # [P, 3]
    sky: Tensor  # [P, 1], how much of it is seen from there
    inside: Tensor  # [P, 1], how much light gets between the lips
    along: Tensor  # [P, 3], the way hair runs
    lit: Tensor  # [P, 1], how much of the first light gets there
    ways: Tensor  # [P, 2, 3], along which the skin's texture runs, its coordinates a metre

    def part(self, of: Tensor) -> Seen:
        return Seen(*(getattr(self, field.name)[of] for field in fields(self)))


class Studio:
    """Photographs figures of one asset; finds once what does not change between them."""

    def __init__(self, tailor: Tailor, device: str = "cpu", tracer: Literal["numba", "torch"] = "numba") -> None:
        self._face = tailor.face
        self._device = torch.device(device)
        self._tracer = tracer
        self._times = 2  # pixels drawn for each one of a picture, across and down
        self._sky = open_sky(tailor.face)
        for part in ("mouth_socket", "gums_tongue", "teeth"):
            self._sky[tailor.face.parts[part]] = 1  # their light depends on the lips
        self._lashes = _lash_cards(tailor.face)

    def _put(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def develop(self, figure: Figure, unit_px: float) -> Print:
        """Textures for pictures in which the outer eye corners are so many pixels apart."""
        skin = figure.skin
        fewer = 2 if unit_px < FINE_UNIT_PX else 1
        size = (TEXELS // fewer, TEXELS // fewer)
        colours, heights = (
            np.stack([cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in layers])
            for layers in ((*skin.albedo.transpose(2, 0, 1), skin.gloss), (skin.height, *skin.folds))
        )
        down, across = np.gradient(heights * np.float32(size[0] * 1e-3), axis=(1, 2))  # metres over the whole texture
        return Print(self._put(colours[None]), self._put(np.stack((across, down), 1)))

    def shoot(self, figure: Figure, moment: Moment, view: View, light: Light, skin: Print) -> Photograph:
        posed = figure.pose(moment.expression, moment.gaze)
        points = placed(figure, posed, moment)
        S = self._times
        traced = self._through(points, figure.triangles, view, S)
        picture = torch.zeros((*traced.depth.shape, 5), device=self._device)
        with torch.inference_mode():
            seen = self._seen(figure, moment, posed, points, traced, light)
            self._paint(picture, seen, figure, moment, posed, light, skin)
            self._draw_lashes(figure, points, view, picture, traced.depth)
            small = picture.reshape(view.height, S, view.width, S, 5).mean((1, 3)).cpu().numpy()
        return Photograph(small[..., :3].copy(), small[..., 3].copy(), small[..., 4].copy())

    def skin_seen(self, figure: Figure, moment: Moment, view: View) -> tuple[NDArray[np.int32], Floats]:
        """The vertices [H, W, 3] between which the face's skin is seen, and their weights; -1 where it is not."""
        points = placed(figure, figure.pose(moment.expression, moment.gaze), moment)
        traced = self._through(points, figure.triangles, view, 1)
        triangle, w = traced.triangle.cpu().numpy(), traced.weights.cpu().numpy()
        corners = figure.triangles[triangle]
        corners[(triangle < 0) | (figure.material[triangle] != SKIN)] = -1
        return corners, np.concatenate((1 - w.sum(-1, keepdims=True), w), -1)

    def _trace(
        self, points: Floats, triangles: NDArray[np.int32], focal_px: float, x: float, y: float, H: int, W: int
    ) -> Traced:
        """What is nearest in each of H by W pixels, on the device; the axis passes at x, y."""
        if self._tracer == "torch":
            at = self._put(points)[None]
            traced = tiles.rasterise(at, self._put(triangles).long(), focal_px, x, y, H, W)
            return Traced(traced.depth[0], traced.triangle[0], traced.weights[0])
        depth = np.full((H, W), FAR, np.float32)
        triangle = np.full((H, W), -1, np.int32)
        weights = np.zeros((H, W, 2), np.float32)
        rasterise(points, triangles, focal_px, x, y, depth, triangle, weights)
        return Traced(self._put(depth), self._put(triangle).long(), self._put(weights))

    def _through(self, points: Floats, triangles: NDArray[np.int32], view: View, times: int) -> Traced:
        return self._trace(
            points, triangles, view.focal_px * times, view.centre_x * times, view.centre_y * times,
            view.height * times, view.width * times,
        )  # fmt: skip

    def _seen(
        self, figure: Figure, moment: Moment, posed: Floats, points: Floats, traced: Traced, light: Light
    ) -> tuple[Seen, Tensor, Tensor]:
        """What is seen, the pixels [P] that are to be painted, and the squares [h, w] of which one pixel is enough."""
        put = self._put
        kinds = torch.where(traced.triangle >= 0, put(figure.material)[traced.triangle.clamp(min=0)].long(), NOTHING)
        # Where a square of 2 by 2 pixels shows nothing but skin or cloth, one of them stands for all.
        first = kinds[::2, ::2]
        plain = (first == SKIN) | (first == PLAIN) | (first == CLOTH)
        for dy, dx in OTHERS:
            plain &= kinds[dy::2, dx::2] == first
        wanted = kinds != NOTHING
        for dy, dx in OTHERS:
            wanted[dy::2, dx::2] &= ~plain
        where = torch.nonzero(wanted.reshape(-1))[:, 0]
        tri = traced.triangle.reshape(-1)[where]
        w = traced.weights.reshape(-1, 2)[where]
        bary = torch.cat((1 - w.sum(1, keepdim=True), w), 1)
        corners = put(figure.triangles).long()[tri]
        sky = np.ones(len(points), np.float32)
        sky[: len(self._sky)] = self._sky
        normals = vertex_normals(points, figure.triangles)
        along = figure.along @ moment.head[:3, :3].T
        of_vertex = put(np.column_stack((points, normals, figure.colour, sky, self._inside_mouth(posed), along)).astype(np.float32))  # fmt: skip
        mixed = sum(of_vertex[corners[:, k]] * bary[:, k : k + 1] for k in range(3))
        position = mixed[:, :3]
        normal = torch.nn.functional.normalize(mixed[:, 3:6], dim=1)
        seen = Seen(
            put(figure.material)[tri], corners, bary, tri, position, normal, mixed[:, 6:9], mixed[:, 9:10],
            mixed[:, 10:11], mixed[:, 11:], self._shadow(points, figure, light, position),
            put(_texture_ways(points, figure.triangles, figure.triangle_uv))[tri],
        )  # fmt: skip
        return seen, where, plain

    def _paint(
        self, picture: Tensor, found: tuple[Seen, Tensor, Tensor], figure: Figure, moment: Moment, posed: Floats,
        light: Light, skin: Print,
    ) -> None:  # fmt: skip
        """Fill a picture [H, W, 5] with linear red, green and blue, with cover, and with how much is face."""
        seen, where, plain = found
        rgb = torch.zeros_like(seen.position)
        for kinds, paint in (((HAIR,), self._hair), ((EYE,), None), ((SKIN, PLAIN, MOUTH, TEETH, CLOTH, HARD), self._surface)):  # fmt: skip
            of = torch.nonzero(torch.isin(seen.material, torch.tensor(kinds, device=self._device)))[:, 0]
            if not len(of):
                continue
            if paint is not None:
                rgb[of] = paint(seen.part(of), figure, moment, light, skin)
            else:
                shade = _under_lids(where[of], picture.shape[0], picture.shape[1])
                rgb[of] = self._eyes(seen.part(of), figure, moment, posed, light, shade)
        flat = picture.reshape(-1, 5)
        flat[where, :3] = rgb
        flat[where, 3] = 1
        flat[where, 4] = (seen.material == SKIN).float()
        for dy, dx in OTHERS:
            view = picture[dy::2, dx::2]
            view[plain] = picture[::2, ::2][plain]

    def _surface(self, seen: Seen, figure: Figure, moment: Moment, light: Light, skin: Print) -> Tensor:
        """Skin, flesh, teeth, cloth and hard things [P, 3]."""
        m = seen.material[:, None]
        albedo, normal = seen.colour, seen.normal
        gloss = 0.1 * (m == PLAIN) + 0.8 * (m == MOUTH) + 0.9 * (m == TEETH) + 1.2 * (m == HARD)
        power = torch.where((m == SKIN) | (m == PLAIN), 24.0, 60.0)
        face = torch.nonzero(m[:, 0] == SKIN)[:, 0]
        if len(face):
            at = self._put(figure.triangle_uv)[seen.triangle[face]]  # [P, 3, 2]
            uv = (at * seen.weights[face][..., None]).sum(1)
            got = _sample(skin.colours, uv)
            albedo[face], gloss[face], power[face] = got[:, :3], got[:, 3:], 14 + 26 * got[:, 3:]
            strength = self._put(np.append(np.float32(1), fold_strengths(moment.expression)).astype(np.float32))
            slope = _sample(torch.tensordot(strength, skin.slopes, 1)[None], uv)
            lean = (seen.ways[face] * slope[..., None]).sum(1)
            lean *= MOST_LEAN / lean.norm(dim=1, keepdim=True).clamp(min=MOST_LEAN)
            normal[face] = torch.nn.functional.normalize(normal[face] - lean, dim=1)
        to_eye = -torch.nn.functional.normalize(seen.position, dim=1)
        facing = (normal * to_eye).sum(1, keepdim=True)
        normal = torch.where(facing < 0, normal - 2 * facing * to_eye, normal)  # both sides are lit alike
        wrap = (m <= MOUTH) * self._put(SCATTER)
        between = (m == TEETH) | (m == MOUTH)
        lit = torch.where(between, 0.5 + 0.5 * seen.lit, seen.lit)
        diffuse = _irradiance(self._put(light.ambient), normal) * seen.sky
        shine = torch.zeros_like(diffuse)
        for i, (towards, colour) in enumerate(zip(self._put(light.directions), self._put(light.colours), strict=True)):
            shadow = lit if i == 0 else 0.5 + 0.5 * seen.sky
            amount = (normal @ towards)[:, None]
            diffuse += ((amount + wrap) / (1 + wrap)).clamp(min=0) ** 1.15 * (shadow * colour)
            half = torch.nn.functional.normalize(to_eye + towards, dim=1)
            cosine = (normal * half).sum(1, keepdim=True).clamp(min=0)
            fresnel = 0.03 + 0.97 * (1 - (to_eye * half).sum(1, keepdim=True).clamp(0, 1)) ** 5
            shine += gloss * fresnel * (power + 8) / 8 * cosine**power * (amount > -0.1) * (shadow * colour)
        # Little light gets between the lips.
        return torch.where(between, seen.inside, 1.0) * albedo * diffuse + torch.where(between, 0.6 * seen.inside, 1.0) * shine  # fmt: skip

    def _hair(self, seen: Seen, figure: Figure, moment: Moment, light: Light, skin: Print) -> Tensor:
        """Hair [P, 3]: lit as the mass it is, with a sheen across it (Kajiya and Kay 1989)."""
        middle = self._put((moment.head[:3, :3] @ SKULL_M + moment.head[:3, 3]).astype(np.float32))
        mass = torch.nn.functional.normalize(seen.position - middle, dim=1)
        normal = torch.nn.functional.normalize(mass + 0.35 * seen.normal, dim=1)
        to_eye = -torch.nn.functional.normalize(seen.position, dim=1)
        along = torch.nn.functional.normalize(seen.along + 1e-6, dim=1)
        out = seen.colour * _irradiance(self._put(light.ambient), normal)
        for i, (towards, colour) in enumerate(zip(self._put(light.directions), self._put(light.colours), strict=True)):
            shadow = seen.lit if i == 0 else 1.0
            amount = (normal @ towards)[:, None]
            half = torch.nn.functional.normalize(to_eye + towards, dim=1)
            across = (1 - (along * half).sum(1, keepdim=True) ** 2).clamp(min=0).sqrt()
            sheen = (0.05 * across**60 + 0.35 * seen.colour * across**14) * (0.5 * amount + 0.5).clamp(min=0)
            out += (seen.colour * ((amount + 0.35) / 1.35).clamp(min=0) + sheen) * (shadow * colour)
        return out

    def _inside_mouth(self, posed: Floats) -> Floats:
        """How much of the outside's light gets to each vertex [V] of the mouth; 1 elsewhere."""
        parts, marks = self._face.parts, posed[self._face.landmark68]
        gap = float(np.linalg.norm(marks[[61, 62, 63]] - marks[[67, 66, 65]], axis=1).mean())
        front = float(marks[60:68, 2].mean())
        light = np.ones(len(posed), np.float32)
        half_width = float(np.linalg.norm(marks[64] - marks[60])) / 2
        for part, floor, reach in (("mouth_socket", 0.12, 0.008), ("gums_tongue", 0.15, 0.012), ("teeth", 0.24, 0.016)):
            behind = np.maximum(posed[parts[part], 2] - front - 0.003, 0)
            aside = np.abs(posed[parts[part], 0] - marks[60:68, 0].mean()) / half_width
            cheek = 1 - 0.75 * smoothstep(aside, 0.5, 1.05)  # what lies behind the corners is in their shade
            through = np.exp(-behind / (reach + 0.8 * gap)) * min(1.0, 0.5 + 35 * gap)
            light[parts[part]] = (floor + (0.66 - floor) * through) * cheek
        return light

    def _shadow(self, points: Floats, figure: Figure, light: Light, position: Tensor) -> Tensor:
        """How much of the first light gets to each place [P, 3], 0..1."""
        turn = _basis(light.directions[0])
        middle = points[: self._face.parts["face"].stop].mean(0)
        there = ((points - middle) @ turn.T).astype(np.float32)
        far = np.float32(20.0)
        there[:, 2] += far
        focal = SHADOW_PX / SHADOW_M * float(far)
        nearest = self._trace(there, figure.triangles, focal, SHADOW_PX / 2, SHADOW_PX / 2, SHADOW_PX, SHADOW_PX).depth
        q = (position - torch.from_numpy(middle).to(self._device)) @ torch.from_numpy(turn.T.astype(np.float32)).to(
            self._device
        )
        x = q[:, 0] / SHADOW_M * SHADOW_PX + SHADOW_PX / 2
        y = q[:, 1] / SHADOW_M * SHADOW_PX + SHADOW_PX / 2
        z = q[:, 2] + far
        lit = torch.zeros_like(z)
        taps = ((-1.5, -0.5), (0.5, -1.5), (1.5, 0.5), (-0.5, 1.5), (0.0, 0.0))
        for dx, dy in taps:
            i = (x + dx).long().clamp(0, SHADOW_PX - 1)
            j = (y + dy).long().clamp(0, SHADOW_PX - 1)
            lit += ((nearest[j, i] + 0.004 - z) / 0.003).clamp(0, 1)
        return (lit / len(taps))[:, None]

    def _eyes(self, seen: Seen, figure: Figure, moment: Moment, posed: Floats, light: Light, shade: Tensor) -> Tensor:
        """Irises, whites and wet highlights [P, 3]; `shade` [P, 1] is what the lids leave of the light."""
        position, reached = seen.position, seen.lit
        to_eye = -torch.nn.functional.normalize(position, dim=1)
        towards, colours = self._put(light.directions), self._put(light.colours)
        left = seen.corners[:, 0] < self._face.parts["eyeball_right"].start

        def put(a: Any) -> Tensor:
            return self._put(np.asarray(a, np.float32))

        R, t = moment.head[:3, :3], moment.head[:3, 3]
        # Light goes through a white and comes out all over it: no side of a ball shines where the other is dark.
        normal = torch.nn.functional.normalize(seen.normal - SCLERA_EVEN * put(R[:, 2]), dim=1)
        sky = SCLERA_DEEP + (1 - SCLERA_DEEP) * seen.sky
        reached = SCLERA_DEEP + (1 - SCLERA_DEEP) * reached
        diffuse = _irradiance(self._put(light.ambient), normal) * sky
        for i in range(len(colours)):
            amount = (((normal @ towards[i])[:, None] + SCLERA_WRAP) / (1 + SCLERA_WRAP)).clamp(min=0)
            diffuse = diffuse + amount * ((reached if i == 0 else sky) * colours[i])
        centres, radii = zip(*(self._face.eye(posed, part) for part in ("eyeball_left", "eyeball_right")), strict=True)
        centre = put(np.stack(centres) @ R.T + t)
        ahead = put(gaze_direction(moment.gaze) @ R.T)
        which = (~left).long()
        c, g, radius = centre[which], ahead[which], put(radii)[which][:, None]
        ray = torch.nn.functional.normalize(position - c, dim=1)
        cosine = (ray * g).sum(1, keepdim=True).clamp(-1, 1)
        angle = torch.acos(cosine)
        aside = (ray @ put(R[:, 0]))[:, None].abs()
        shade = shade * (1 - CORNER_SHADE * ((aside - CORNERS[0]) / (CORNERS[1] - CORNERS[0])).clamp(0, 1))
        up = put(R[:, 1])
        side = torch.nn.functional.normalize(torch.linalg.cross(g, up.expand_as(g)), dim=1)
        top = torch.linalg.cross(side, g)
        around = torch.atan2((ray * top).sum(1, keepdim=True), (ray * side).sum(1, keepdim=True))
        phase = put(np.sin(np.arange(1, 13) * 7.31 + figure.iris.sum() * 100) * 3.1)
        k = put(np.array((7, 11, 17, 23, 31, 39, 47, 59, 67, 79, 93, 108)))
        r = angle / IRIS_RAD
        fibres = torch.sin(around * k + phase + 3 * r).mean(1, keepdim=True)
        iris = put(figure.iris) * (0.85 + 1.1 * fibres + 0.35 * (1 - ((r - 0.55) / 0.25).abs()).clamp(min=0))
        iris = iris * (1 - 0.75 * ((r - 0.78) / 0.22).clamp(0, 1))
        edge = 0.06
        pupil = ((0.36 + 0.1 * float(np.sin(figure.iris.sum() * 37)) - r) / edge + 0.5).clamp(0, 1)
        iris = iris * (1 - 0.96 * pupil)
        veins = torch.sin(around * 9 + 5 * torch.sin(angle * 11 + phase[0]) + phase[1]) ** 8
        far = ((angle - 0.5) / 0.7).clamp(0, 1)
        white = put(figure.sclera) * (1 - far * (0.08 + 0.12 * veins) * put(np.array((0.2, 1.0, 0.9))))
        share = ((1 - r) / edge + 0.5).clamp(0, 1)
        colour = white + share * (iris - white)
        rgb = colour * (0.55 * diffuse + 0.45 * diffuse.mean(1, keepdim=True)) * shade
        bulge = torch.nn.functional.normalize(position - (c + 0.5 * radius * g), dim=1)
        wet = torch.where(r < 1.1, bulge, ray)
        for i in range(min(2, len(colours))):  # the rim light is behind
            half = torch.nn.functional.normalize(to_eye + towards[i], dim=1)
            close = (wet * half).sum(1, keepdim=True).clamp(0, 1)
            glint = ((close - (1 - 0.006 * light.window)) / 0.0025).clamp(0, 1) * (1.5 if i == 0 else 0.5)
            rgb = rgb + glint * colours[i] * shade * (0.3 + 0.7 * reached)
        return rgb

    def _draw_lashes(self, figure: Figure, points: Floats, view: View, picture: Tensor, depth: Tensor) -> None:
        """Lay the lashes over a picture [H, W, 5] in place, where they are before what it shows."""
        triangles, place = self._lashes
        own = self._through(points, triangles, view, self._times)
        y, x = torch.nonzero((own.triangle >= 0) & (own.depth < depth + 0.004), as_tuple=True)
        corner = self._put(triangles).long()[own.triangle[y, x]] - self._face.parts["lashes"].start
        w = own.weights[y, x]
        bary = torch.cat((1 - w.sum(1, keepdim=True), w), 1)[..., None]
        s, t = (self._put(place)[corner] * bary).sum(1).T
        left = (1 - t / figure.lash_length).clamp(0, 1) ** 0.8
        cover = (left * (0.38 + 0.5 * torch.cos(2 * np.pi * N_LASHES * s + 3 * t)).clamp(0, 1)).clamp(max=0.9)[:, None]
        under = picture[y, x]
        dark = self._put(np.append(0.25 * figure.skin.hair, (1, 0)).astype(np.float32))
        picture[y, x] = under + cover * (dark * under[:, 3:4].clamp(min=0.2) - under)


def placed(figure: Figure, posed: Floats, moment: Moment) -> Floats:
    """Posed vertices [V, 3] before the camera: the head on its neck, the neck on its body."""
    w = figure.head_weight[:, None]
    on_head, on_body = (posed @ m[:3, :3].T + m[:3, 3] for m in (moment.head, moment.body))
    return np.ascontiguousarray(w * on_head + (1 - w) * on_body, np.float32)


def _sample(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples [P, C] of a texture [1, C, N, N] at places [P, 2], 0..1 from its top left corner."""
    got = torch.nn.functional.grid_sample(texture, (2 * uv - 1)[None, None], align_corners=False, padding_mode="border")
    return got[0, :, 0].T


def _irradiance(harmonics: Tensor, normal: Tensor) -> Tensor:
    """What falls [P, 3] on surfaces with these normals, of harmonics [9, 3] (Ramamoorthi and Hanrahan 2001)."""
    x, y, z = normal.T
    basis = torch.stack((torch.ones_like(x), y, x, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y), 1)
    return (basis @ harmonics).clamp(min=0.02)


def _under_lids(where: Tensor, H: int, W: int) -> Tensor:
    """How light [P, 1] the pixels `where` [P] of H by W, those of eyes, are under the lids that shade them: the lower
    the more. The lower lid shades them too, a little."""
    mask = torch.zeros(H * W, device=where.device)
    mask[where] = 1
    mask = mask.reshape(H, W)

    def from_edge(rows: Tensor) -> Tensor:
        count = torch.cumsum(rows, 0)
        return count - torch.cummax(count * (1 - rows), 0).values

    below, above = from_edge(mask), from_edge(mask.flip(0)).flip(0)
    tall = torch.clamp((below + above).amax(), min=4.0)
    shade = 1 - 0.5 * torch.exp(-below / (0.22 * tall)) - 0.18 * torch.exp(-above / (0.12 * tall))
    return shade.reshape(-1)[where][:, None].clamp(0.2, 1)


def _texture_ways(points: Floats, triangles: NDArray[np.int32], at: Floats) -> Floats:
    """Which way and how fast the texture runs over triangles whose corners lie at `at` [t, 3, 2] in it: the gradients
    [T, 2, 3] of its two coordinates along the surface, zero for the triangles that have none."""
    a, b, c = (points[triangles[: len(at), k]] for k in range(3))
    e, f = b - a, c - a
    d, g = at[:, 1] - at[:, 0], at[:, 2] - at[:, 0]  # [t, 2]
    ee, ef, ff = ((u * v).sum(1, keepdims=True) for u, v in ((e, e), (e, f), (f, f)))
    det = np.maximum(ee * ff - ef * ef, 1e-16)
    along_e, along_f = (ff * d - ef * g) / det, (ee * g - ef * d) / det
    ways = np.zeros((len(triangles), 2, 3), np.float32)
    ways[: len(at)] = along_e[..., None] * e[:, None] + along_f[..., None] * f[:, None]
    return ways


def _basis(towards: Floats) -> NDArray[np.float64]:
    """A rotation [3, 3] whose third row points away from a light, so that nearer to it is smaller."""
    z = -towards.astype(np.float64)
    x = np.cross((0.0, 1.0, 0.1), z)
    x /= np.linalg.norm(x)
    return np.stack((x, np.cross(z, x), z))


def open_sky(face: IctFace, n: int = 48) -> Floats:
    """How much of the sky each vertex [V] of the mean face sees, 1 all that lies before it."""
    rng = np.random.default_rng(0)
    names = list(face.parts)
    solid = ~np.isin(face.part_of_triangles(), [names.index(k) for k in ("eye_shells", "lashes")])
    triangles = np.ascontiguousarray(face.triangles[solid])
    points = face.vertices - face.vertices.mean(0)
    normals = vertex_normals(face.vertices, triangles)
    seen, whole = np.zeros(len(points)), np.full(len(points), 1e-6)
    size, px, far = 0.5, 192, np.float32(20)
    for _ in range(n):
        d = rng.standard_normal(3)
        d /= np.linalg.norm(d)
        there = (points @ _basis(d.astype(np.float32)).T).astype(np.float32)
        there[:, 2] += far
        depth = np.full((px, px), FAR, np.float32)
        rasterise(there, triangles, px / size * float(far), px / 2, px / 2, depth, np.full((px, px), -1, np.int32),
                  np.zeros((px, px, 2), np.float32))  # fmt: skip
        x, y = (np.clip(there[:, k] / size * px + px / 2, 0, px - 1).astype(int) for k in (0, 1))
        amount = np.maximum(normals @ d, 0)
        seen += amount * (there[:, 2] < depth[y, x] + 0.004)
        whole += amount
    return np.asarray(0.15 + 0.85 * seen / whole, np.float32)


def _lash_cards(face: IctFace) -> tuple[NDArray[np.int32], Floats]:
    """The lashes' triangles, and for each of their vertices [n, 2] how far along the lid and along the hair it is."""
    part = face.parts["lashes"]
    triangles = np.ascontiguousarray(face.triangles[face.triangle_material == face.material_names.index("M_EyeLashes")])
    uv = np.zeros((len(face.vertices), 2), np.float32)
    uv[face.triangles.ravel()] = face.uv[face.triangle_uv.ravel()]
    uv = uv[part] - (6, 0)
    column, row = (uv[:, 0] > 0.505).astype(int), np.clip((uv[:, 1] * 6).astype(int), 0, 5)
    place = np.zeros_like(uv)
    points = face.vertices[part]
    for card in range(12):
        mine = (row * 2 + column) == card
        if not mine.any():
            continue
        low, high = uv[mine].min(0), uv[mine].max(0)
        place[mine] = (uv[mine] - low) / np.maximum(high - low, 1e-6)
        centre = face.eye(face.vertices, "eyeball_left" if points[mine, 0].mean() > 0 else "eyeball_right")[0]
        away = np.linalg.norm(points[mine] - centre, axis=1)
        if (away * (place[mine, 1] - 0.5)).sum() < 0:  # hair grows away from the eye
            place[mine, 1] = 1 - place[mine, 1]
    return triangles, place.astype(np.float32)
