from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from audio.bank import Patch
from audio.cutout import cut, patch_points, pose, subsampled
from audio.mouth_shape import CONTROLS, OPENING, SpeakerMouth, controls
from audio.rerender import MouthEditor, to_yuv, unshown
from perfcap.expression import basis, template
from perfcap.head import Camera
from perfcap.landmarks import INNER_LIPS, OUTER_LIPS, OVAL
from perfcap.written import head_at
from runtime.records import ARKIT_INDEX, N_FACE, Motion
from synth.mouth import MouthPalette

H, W = 512, 512
CAMERA = Camera.of_picture(W, H)
PALETTE = MouthPalette(teeth=(220, 210, 200), gum=(180, 90, 90), tongue=(190, 100, 100), dark=(30, 10, 10))
Planes = tuple[NDArray[Any], ...]


def motion(jaw: float, yaw: float = 0.0) -> Motion:
    expression = np.zeros(52, np.float32)
    expression[ARKIT_INDEX["jawOpen"]] = jaw
    face = (template() + jaw * basis()[ARKIT_INDEX["jawOpen"]]).astype(np.float32)
    return Motion(
        time=Fraction(0), head=head_at(yaw, 0.0, 0.0), expression=expression, gaze=np.zeros((2, 2), np.float32),
        face=face, confidence=1.0,
    )  # fmt: skip


def speaker() -> SpeakerMouth:
    faces = np.stack([motion(v).face for v in np.linspace(0, 0.6, 20)])
    return SpeakerMouth.of(faces, np.stack([controls(f) for f in faces]))


def film(of: Motion, light: float = 1.0, *, half: bool = True, deep: bool = False) -> Planes:
    """A grey head with a red ring of lips and a dark inside, in its planes."""
    points = pose(of, CAMERA, of.face[:N_FACE]).points
    y = np.full((H, W), 60, np.float32)
    y += np.random.default_rng(0).normal(0, 2, y.shape)
    cv2.fillPoly(y, [points[list(OVAL)].round().astype(np.int32)], 150 * light)
    cv2.fillPoly(y, [points[list(INNER_LIPS)].round().astype(np.int32)], 30 * light)
    u, v = np.full((H, W), 120, np.float32), np.full((H, W), 140, np.float32)
    scale = 4 if deep else 1
    kind = np.uint16 if deep else np.uint8
    planes = [y, u[::2, ::2], v[::2, ::2]] if half else [y, u, v]
    return tuple((p * scale).clip(0, 1023 if deep else 255).astype(kind) for p in planes)


def patch(of: Motion, planes: Planes) -> Patch:
    points = pose(of, CAMERA, of.face[:N_FACE]).points
    parts, corner = cut(planes, points[patch_points()], 4)
    return Patch(0, parts, corner, points, controls(of.face), np.zeros(3, np.float32), 128.0, 1.0)


def copies(planes: Planes) -> Planes:
    return tuple(p.copy() for p in planes)


def inside(planes: Planes, of: Motion) -> float:
    """Mean luma between where a face's lips are."""
    mask = np.zeros((H, W), np.uint8)
    points = pose(of, CAMERA, of.face[:N_FACE]).points
    cv2.fillPoly(mask, [points[list(INNER_LIPS)].round().astype(np.int32)], 1)
    return float(planes[0][cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0].mean())


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("deep", [True, False])
def test_a_shut_mouth_opens_where_it_should_and_nothing_else_changes(half: bool, deep: bool) -> None:
    shut, wide = motion(0.0), motion(0.5)
    frame = film(shut, half=half, deep=deep)
    before = copies(frame)
    MouthEditor(speaker(), CAMERA, PALETTE).edit(
        frame, shut, controls(wide.face), patch(wide, film(wide, half=half, deep=deep)), 1.0
    )
    assert inside(before, wide) > 100 * (4 if deep else 1)
    assert inside(frame, wide) < 60 * (4 if deep else 1)
    points = pose(shut, CAMERA, shut.face[:N_FACE]).points
    above = int(points[1, 1]) // 4 * 4 - 20
    for was, now, (_, sy) in zip(before, frame, subsampled(frame), strict=True):
        assert np.array_equal(was[: above // sy], now[: above // sy])
    assert np.array_equal(before[0][:, :40], frame[0][:, :40])


def test_an_open_mouth_shuts() -> None:
    shut, wide = motion(0.0), motion(0.5)
    frame = film(wide)
    assert inside(frame, wide) < 40
    MouthEditor(speaker(), CAMERA, PALETTE).edit(frame, wide, controls(shut.face), patch(shut, film(shut)), 1.0)
    assert inside(frame, wide) > 100


def test_what_is_as_wanted_already_hardly_changes() -> None:
    now = motion(0.3)
    frame = film(now)
    before = copies(frame)
    MouthEditor(speaker(), CAMERA, PALETTE).edit(frame, now, controls(now.face), patch(now, film(now)), 1.0)
    off = np.abs(frame[0].astype(float) - before[0])
    assert off.mean() < 0.3
    assert np.quantile(off, 0.999) < 25


def test_a_mouth_from_a_darker_moment_takes_this_moment_s_light() -> None:
    now = motion(0.0)
    frame = film(now)
    MouthEditor(speaker(), CAMERA, PALETTE).edit(frame, now, controls(now.face), patch(now, film(now, light=0.7)), 1.0)
    points = pose(now, CAMERA, now.face[:N_FACE]).points
    x, y = points[17].round().astype(int)
    assert abs(float(frame[0][y + 6 : y + 12, x - 5 : x + 5].mean()) - 150) < 8


def test_grain_stays_where_one_mouth_fades_into_another() -> None:
    def grainy(planes: Planes, seed: int) -> Planes:
        noise = np.random.default_rng(seed).normal(0, 6, planes[0].shape)
        return (np.clip(planes[0] + cv2.GaussianBlur(noise, (0, 0), 0.6) * 2, 0, 255).astype(np.uint8), *planes[1:])

    def grain(planes: Planes, where: NDArray[np.bool_]) -> float:
        luma = planes[0].astype(np.float32)
        return float((luma - cv2.GaussianBlur(luma, (0, 0), 1.5))[where].std())

    now, then = motion(0.1), motion(0.3)
    frame = grainy(film(now), 1)
    before = copies(frame)
    laid = patch(then, grainy(film(then), 2))
    MouthEditor(speaker(), CAMERA, PALETTE).edit(frame, now, controls(then.face), laid, 1.0)
    points = pose(then, CAMERA, then.face[:N_FACE]).points
    unit = float(np.linalg.norm(points[33] - points[263]))
    mouth = np.zeros((H, W), np.uint8)
    cv2.fillPoly(mouth, [points[list(OUTER_LIPS)].round().astype(np.int32)], 1)
    away = cv2.distanceTransform(1 - mouth, cv2.DIST_L2, 3) / unit
    below = np.arange(H)[:, None] > points[17, 1]
    for low in (0.0, 0.04, 0.08, 0.12, 0.16, 0.2):  # units; beyond is the chin
        ring = (away > low) & (away <= low + 0.04) & below
        assert 0.75 < grain(frame, ring) / grain(before, ring) < 1.1


def test_an_inside_that_no_frame_showed_is_drawn() -> None:
    shut, wide = motion(0.0), motion(0.5)
    frame = film(shut)
    MouthEditor(speaker(), CAMERA, PALETTE).edit(frame, shut, controls(wide.face), patch(shut, film(shut)), 1.0)
    u, v = frame[1], frame[2]
    points = pose(wide, CAMERA, wide.face[:N_FACE]).points
    x, y = (points[[13, 14]].mean(0) / 2).astype(int)
    assert (int(u[y, x]), int(v[y, x])) != (120, 140)
    assert unshown(0.0, 0.15) == 1
    assert unshown(0.15, 0.15) == 0
    assert unshown(0.0, 0.0) == 0


def test_a_mouth_at_the_frame_s_edge_or_outside_is_no_error() -> None:
    from dataclasses import replace

    wide = motion(0.5)
    for dx, dy in ((0.12, 0.0), (0.0, 0.15), (2.0, 0.0)):
        head = wide.head.copy()
        head[:2, 3] += (dx, dy)
        moved = replace(wide, head=head)
        frame = film(motion(0.0))
        MouthEditor(speaker(), CAMERA, PALETTE).edit(frame, moved, controls(wide.face), patch(wide, film(wide)), 1.0)


def test_colours_of_the_drawn_inside_are_those_of_rec_709() -> None:
    grey = to_yuv(np.full((1, 1, 3), 255, np.uint8))[0, 0]
    assert grey == pytest.approx((235, 128, 128), abs=0.6)
    assert CONTROLS[OPENING] == "opening"
