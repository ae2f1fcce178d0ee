from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from audio.cutout import Box
from audio.footage import LOOK_EVERY, Footage, Look, Motions, obstructed, watch
from audio.mouth_shape import OPENING
from perfcap.face import FaceMesh
from perfcap.head import Camera, place
from perfcap.written import head_at
from runtime.records import N_EXPRESSION, Motion
from tests.audio.faces import face

W, H = 640, 480
CAMERA = Camera.of_picture(W, H)


def landmarks(jaw: float, x_m: float = 0.0, wide: float = 1.0) -> NDArray[np.float32]:
    """A face mesh in pixels, somewhere across the picture."""
    head = head_at(0.0, 0.0, 0.0)
    head[0, 3] += x_m
    head[2, 3] *= 1.6
    shape = face(jawOpen=jaw) * np.array((wide, 1, 1), np.float32)
    points = place(head, shape)
    px = CAMERA.project(points)
    depth = (points[:, 2] - points[:, 2].mean()) * CAMERA.focal_px / head[2, 3]
    return np.asarray(np.concatenate((px, depth[:, None]), 1), np.float32)


@dataclass
class Shown:
    """A frame that knows what is in it, and that it was looked at last."""

    time: Fraction
    faces: list[FaceMesh]
    planes: tuple[NDArray[Any], ...]
    looked: list[tuple[Shown, Box, float]]  # shared by all frames of a clip: what was looked at, and how large

    def small(self, longer_px: int, box: Box | None = None) -> NDArray[np.uint8]:
        """Heads that are painted by who they are: a wide face is dark above, a narrow one below."""
        rgb = np.full((H, W, 3), 120, np.uint8)
        for found in self.faces:
            x0, y0, x1, y1 = found.box.astype(int)
            middle = (y0 + y1) // 2
            p = found.landmarks
            upper = (p[263, 0] - p[33, 0]) / (p[1, 1] - p[33, 1]) > upper_from()
            rgb[y0 - 30 : middle if upper else y1, x0:x1] = (60, 40, 20) if upper else (200, 150, 120)
        x0, y0, x1, y1 = box = box or (0, 0, W, H)
        scale = min(1.0, longer_px / max(x1 - x0, y1 - y0))
        self.looked.append((self, box, scale))
        part: Any = cv2.resize(rgb[y0:y1, x0:x1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.asarray(part, np.uint8)


class Finder:
    """Finds so many of the faces that the frame looked at last has in the part looked at."""

    def __init__(self, clip: list[Shown], most: int = 4) -> None:
        self._looked = clip[0].looked
        self._most = most
        self.n_finds = self.n_forgotten = 0

    def find(self, rgb: NDArray[np.uint8]) -> list[FaceMesh]:
        self.n_finds += 1
        frame, (x0, y0, x1, y1), scale = self._looked[-1]
        inside = [f for f in frame.faces if x0 <= f.centre[0] < x1 and y0 <= f.centre[1] < y1]
        corner = np.array((x0, y0, 0), np.float32)
        return [FaceMesh((f.landmarks - corner) * np.float32(scale)) for f in inside][: self._most]

    def forget(self) -> None:
        self.n_forgotten += 1


def watched(clip: list[Shown], n_people: int = 4) -> list[Footage]:
    return watch(clip, Look(Finder(clip), Finder(clip, 1)), n_people)


def upper_from() -> float:
    """Width of the eyes over the nose's length from which a face counts as wide."""
    narrow, wide = (landmarks(0.0, wide=w) for w in (1.0, 1.15))
    return float(np.mean([(p[263, 0] - p[33, 0]) / (p[1, 1] - p[33, 1]) for p in (narrow, wide)]))


def frames(per_frame: list[list[NDArray[np.float32]]]) -> list[Shown]:
    grey = (
        np.full((H, W), 120, np.uint8),
        np.full((H // 2, W // 2), 128, np.uint8),
        np.full((H // 2, W // 2), 128, np.uint8),
    )
    looked: list[tuple[Shown, Box, float]] = []
    return [Shown(Fraction(i, 25), [FaceMesh(p) for p in ps], grey, looked) for i, ps in enumerate(per_frame)]


def test_who_is_alone_is_looked_at_closely_and_others_who_come_are_found_soon() -> None:
    alone, other = landmarks(0.0, -0.1), landmarks(0.0, 0.1, wide=1.15)
    clip = frames([[alone] for _ in range(3 * LOOK_EVERY)] + [[alone, other] for _ in range(LOOK_EVERY + 2)])
    several, one = Finder(clip), Finder(clip, 1)
    look = Look(several, one)
    seen = [look(frame) for frame in clip]
    assert several.n_finds <= 3 + 2 + 2 * LOOK_EVERY
    assert all(len(s.faces) == 1 and s.view.box != (0, 0, W, H) for s in seen[: 3 * LOOK_EVERY])
    assert len(seen[-1].faces) == 2
    assert seen[-1].view.box == (0, 0, W, H)
    for each, frame in zip(seen, clip, strict=True):
        for found, true in zip(each.faces, frame.faces, strict=False):
            assert np.abs(each.view.in_frame(found.landmarks) - true.landmarks).max() < 0.1
            assert np.abs(each.view.of_frame(true.landmarks) - found.landmarks).max() < 0.1


def test_who_is_not_found_again_in_the_whole_frame_is_still_followed_closely() -> None:
    clip = frames([[landmarks(0.0)] for _ in range(3 * LOOK_EVERY)])
    several = Finder(clip)
    look = Look(several, Finder(clip, 1))
    assert look(clip[0]).faces
    several.find = lambda rgb: []  # type: ignore[method-assign]
    assert all(look(frame).faces for frame in clip[1:])


def test_the_part_that_is_looked_at_follows_who_moves() -> None:
    clip = frames([[landmarks(0.0, -0.15 + 0.3 * i / 40)] for i in range(40)])
    one = Finder(clip, 1)
    look = Look(Finder(clip), one)
    boxes = [look(frame).view.box for frame in clip]
    assert 1 < one.n_forgotten < 6
    assert boxes[0][0] < boxes[-1][0]


def test_a_mouth_s_opening_is_followed_frame_by_frame() -> None:
    jaws = 0.3 + 0.3 * np.sin(np.arange(60) / 5)
    clip = frames([[landmarks(float(j))] for j in jaws])
    (footage,) = watched(clip)
    assert np.corrcoef(footage.said[:, OPENING], jaws)[0, 1] > 0.95
    assert len(footage.motions) == len(footage.bank.patches) == 60
    assert footage.free.min() == 1


def test_frames_without_a_face_are_marked_and_are_not_in_the_bank() -> None:
    clip = frames([[landmarks(0.2)] if i % 3 else [] for i in range(30)])
    (footage,) = watched(clip)
    assert len(footage.motions) == 30
    assert [i for i in range(30) if not footage.free[i]] == list(range(0, 30, 3))
    assert all(p.number % 3 for p in footage.bank.patches)


def test_two_people_are_kept_apart_when_they_are_found_in_another_order_and_after_a_cut() -> None:
    def two(i: int) -> list[NDArray[np.float32]]:
        left, right = landmarks(0.5 * (i % 2), -0.1), landmarks(0.0, 0.1, wide=1.15)
        if i >= 20:  # a cut: they have changed sides
            left, right = landmarks(0.0, -0.1, wide=1.15), landmarks(0.5 * (i % 2), 0.1)
        return [left, right] if i % 3 else [right, left]

    clip = frames([two(i) for i in range(40)])
    found = watched(clip, n_people=2)
    assert len(found) == 2
    moved = sorted(float(f.said[5:, OPENING].std()) for f in found)
    assert moved[0] < 0.01 < moved[1]


def test_somebody_else_in_the_same_place_after_a_cut_is_somebody_else() -> None:
    clip = frames([[landmarks(0.3, wide=1.15 if i < 20 else 1.0)] for i in range(40)])
    found = watched(clip)
    assert sorted(f.share_seen for f in found) == [0.5, 0.5]


def test_a_clip_without_a_face_shows_nobody() -> None:
    clip = frames([[] for _ in range(5)])
    assert watched(clip) == []


def test_motions_come_back_from_disk_as_they_went_in() -> None:
    rng = np.random.default_rng(0)
    motions = Motions()

    given = [
        Motion(
            time=Fraction(i, 30), head=rng.normal(size=(4, 4)).astype(np.float32),
            expression=np.zeros(N_EXPRESSION, np.float32), gaze=np.zeros((2, 2), np.float32),
            face=rng.normal(size=(478, 3)).astype(np.float32), confidence=1.0,
        )
        for i in range(5)
    ]  # fmt: skip
    for each in given:
        motions.append(each)
    for i in (3, 0, 4):
        back = motions[i]
        assert back.time == given[i].time
        assert np.array_equal(back.head, given[i].head)
        assert np.array_equal(back.face, given[i].face)
    with pytest.raises(IndexError):
        motions[5]


def test_something_before_the_mouth_is_noticed_and_a_change_of_light_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(60, 180, (80, 3))
    colours = base + rng.normal(0, 2, (100, 80, 3))
    colours[40:60, :, 0] += 40  # the sun comes out
    colours[70:80, :40] = 90  # a microphone
    colours[85:90, 10:] = np.median(base, 0) + rng.normal(0, 2, (5, 70, 3))  # a hand, of the skin's own colour
    hidden = obstructed(colours.astype(np.float32))
    assert np.flatnonzero(hidden).tolist() == [*range(70, 80), *range(85, 90)]


def test_a_hand_shaded_a_little_like_lips_is_noticed_and_haze_over_a_mouth_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(60, 180, (80, 3))
    colours = base + rng.normal(0, 16, (100, 80, 3))
    mean = base.mean(0)
    colours[40:50] = mean + 0.45 * (colours[40:50] - mean)
    colours[70:80] = mean + 0.3 * (base - mean) + rng.normal(0, 16, (10, 80, 3))
    assert np.flatnonzero(obstructed(colours.astype(np.float32))).tolist() == [*range(70, 80)]
