"""Landmarks are held to the skin they lie on, and where nothing shows, the mesh is left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import template
from perfcap.face import FaceMesh
from perfcap.landmarks import LEFT_EYE, RIGHT_EYE
from perfcap.texture import MOST, N_REFERENCES, TextureTracker
from perfcap.topology import face_triangles
from runtime.records import N_FACE
from synth.raster import FAR, rasterise

Rgb = NDArray[np.uint8]
UNIT_PX = 100.0
SIDE = 480


def mesh(x: float = 240, y: float = 200, turned: float = 0.0) -> FaceMesh:
    """The mean face in a picture; `turned` radians to one side."""
    c, s = np.cos(turned), np.sin(turned)
    face = template() @ np.array(((c, 0, -s), (0, 1, 0), (s, 0, c)), np.float32)
    return FaceMesh((face * UNIT_PX + np.array((x, y, 0))).astype(np.float32))


def skin(seed: int = 0, contrast: float = 1.0) -> Rgb:
    """Speckles as fine as freckles."""
    noise = np.random.default_rng(seed).normal(0, 100, (SIDE, SIDE, 3)) * contrast
    return np.asarray(np.clip(cv2.GaussianBlur(noise, (0, 0), 2.0) * 2 + 128, 0, 255), np.uint8)


def painted(face: FaceMesh) -> Rgb:
    """A picture in which the face's skin is that of `skin()`."""
    sampling = np.zeros((SIDE, SIDE, 2), np.float32)
    nearest = np.full((SIDE, SIDE), FAR, np.float32)
    now, then = (np.ascontiguousarray(f.landmarks[:N_FACE, :2]) for f in (face, mesh()))
    rasterise(now, then, np.ascontiguousarray(face.landmarks[:N_FACE, 2]), face_triangles(), sampling, nearest)
    return np.asarray(cv2.remap(skin(), sampling, None, cv2.INTER_LINEAR), np.uint8)


def slid(face: FaceMesh, x: float, y: float) -> FaceMesh:
    """A face whose landmarks the mesh sees beside the skin that they lay on."""
    landmarks = face.landmarks.copy()
    landmarks[:, :2] += (x, y)
    return FaceMesh(landmarks)


def on_skin() -> NDArray[np.intp]:
    """Landmarks that are not of an eye."""
    return np.setdiff1d(np.arange(N_FACE), np.array(LEFT_EYE + RIGHT_EYE))


@pytest.mark.parametrize("off", [(2.0, 0.0), (-1.5, 2.0), (0.0, -3.0)])
def test_landmarks_that_slid_are_put_back_where_the_skin_is(off: tuple[float, float]) -> None:
    tracker = TextureTracker()
    tracker.follow(skin(), mesh())
    back = tracker.follow(skin(), slid(mesh(), *off))
    error = np.linalg.norm((back.landmarks - mesh().landmarks)[on_skin(), :2], axis=1)
    print(f"slid by {np.hypot(*off):.2f} px, after that median {np.median(error):.2f}, worst {error.max():.2f}")
    assert np.median(error) < 0.4 * np.hypot(*off)  # doubt keeps some of it
    np.testing.assert_array_equal(back.landmarks[:, 2], mesh().landmarks[:, 2])


def test_landmarks_that_go_with_the_skin_are_left_alone() -> None:
    tracker = TextureTracker()
    tracker.follow(skin(), mesh())
    moved = np.asarray(cv2.warpAffine(skin(), np.array(((1, 0, 12), (0, 1, -7)), np.float32), (SIDE, SIDE)), np.uint8)
    face = mesh(252, 193)
    np.testing.assert_allclose(tracker.follow(moved, face).landmarks, face.landmarks, atol=0.25)


def test_light_that_changes_moves_nothing() -> None:
    tracker = TextureTracker()
    tracker.follow(skin(), mesh())
    shade = np.linspace(0.5, 1.1, SIDE)[None, :, None]
    darker = np.asarray(np.clip(skin() * shade, 0, 255), np.uint8)
    np.testing.assert_allclose(tracker.follow(darker, mesh()).landmarks, mesh().landmarks, atol=0.3)


@pytest.mark.parametrize("rgb", [skin(contrast=0.0), skin(seed=1)], ids=["even", "another face"])
def test_skin_that_shows_nothing_or_is_somebody_elses_corrects_nothing_much(rgb: Rgb) -> None:
    tracker = TextureTracker()
    tracker.follow(rgb if rgb.std() == 0 else skin(), mesh())
    face = slid(mesh(), 3, 0)
    off = np.linalg.norm((tracker.follow(rgb, face).landmarks - face.landmarks)[:, :2], axis=1)
    print(f"moved by {off.mean():.2f} px in the mean, {off.max():.2f} at most")
    assert off.mean() < 1.0
    assert off.max() <= MOST * UNIT_PX * 1.01


def test_a_head_that_turns_is_seen_against_more_references_and_a_frozen_tracker_takes_none() -> None:
    tracker = TextureTracker()
    frozen = tracker.frozen()
    faces = [mesh(turned=float(turned)) for turned in np.radians((0, 18, -18, 30, -30, 10))]
    for who in (tracker, frozen):
        for face in faces:
            back = who.follow(painted(face), slid(face, 2, 0))
            assert np.abs((back.landmarks - slid(face, 2, 0).landmarks)[:, :2]).max() <= MOST * UNIT_PX
        assert 1 < len(tracker._references) <= N_REFERENCES
    n = len(tracker._references)
    frozen.follow(painted(mesh(turned=0.7)), mesh(turned=0.7))
    assert len(tracker._references) == n
    frozen.reset()
    assert tracker._references  # it does not forget for the other
    tracker.reset()
    assert not tracker._references


def test_a_face_at_the_pictures_edge_or_outside_it_is_no_trouble() -> None:
    tracker = TextureTracker()
    for x, y in ((10, 10), (SIDE - 5, 200), (-300, -300)):
        face = mesh(x, y)
        for _ in range(2):
            assert np.isfinite(tracker.follow(skin(), face).landmarks).all()


def test_a_face_much_larger_than_the_reference_is_followed_as_well() -> None:
    fine = np.asarray(cv2.resize(skin(), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), np.uint8)
    face = FaceMesh((mesh().landmarks * 3).astype(np.float32))
    tracker = TextureTracker()
    tracker.follow(fine, face)
    back = tracker.follow(fine, slid(face, 6, 0))
    error = np.linalg.norm((back.landmarks - face.landmarks)[on_skin(), :2], axis=1)
    print(f"slid by 6 px, after that median {np.median(error):.2f}")
    assert np.median(error) < 0.5 * 6
