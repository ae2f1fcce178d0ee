"""Who is chosen among several faces, and what the face mesh finds in real pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.capture import Chooser
from perfcap.expression import template
from perfcap.face import FaceMesh, MediaPipeFaces
from perfcap.landmarks import CHIN, NOSE_TIP, OUTER_EYES
from runtime.errors import InputError
from runtime.image import load_image
from runtime.video import VideoReader

PORTRAITS = Path(__file__).parents[3] / "shared" / "clips" / "portraits"
DANCER = PORTRAITS.parent / "body" / "s13.mp4"  # a whole body, so that the face is small
Rgb = NDArray[np.uint8]


def face_at(x: float, size: float = 100, y: float = 200) -> FaceMesh:
    mesh = FaceMesh((template() * size / 2).astype(np.float32))
    return FaceMesh(mesh.landmarks + np.array((x, y, 0), np.float32) - np.array((*mesh.centre, 0), np.float32))


@pytest.mark.parametrize(("rule", "wanted"), [("largest", 1), ("left", 0), ("right", 2), ("1", 0), ("2", 1), ("3", 2)])
def test_the_rule_decides_in_whatever_order_the_faces_come(rule: str, wanted: int) -> None:
    faces = [face_at(100), face_at(400, size=140), face_at(700)]
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        assert Chooser(rule)([faces[i] for i in order]) is faces[wanted]


@pytest.mark.parametrize("rule", ["biggest", "-1", "1.5", "", "0", "²"])
def test_a_rule_that_is_none_is_refused(rule: str) -> None:
    with pytest.raises(InputError, match=f"--face is '{rule}'; wanted largest, left, right or a number"):
        Chooser(rule)


def test_the_same_person_stays_chosen_while_they_move_and_others_come() -> None:
    choose = Chooser("largest")
    for i in range(40):
        performer = face_at(100 + 20 * i, size=100 + i)
        other = face_at(950 - 20 * i, size=160, y=330)  # larger, and crosses the picture the other way
        assert choose([other, performer] if i else [performer]) is performer


def test_the_performer_is_awaited_through_frames_without_a_face() -> None:
    choose = Chooser("left")
    choose([face_at(500)])
    assert choose([]) is None
    back = face_at(520)
    assert choose([face_at(100), back]) is back


def test_after_a_cut_the_rule_decides_again() -> None:
    choose = Chooser("left")
    choose([face_at(500)])
    others = [face_at(100), face_at(800)]
    assert choose(others) is others[0]
    close_up = face_at(120, size=320)  # in the same place, but three times as large: another shot
    left = face_at(40, size=60)
    assert choose([close_up, left]) is left


def test_a_number_that_nobody_has_chooses_nobody() -> None:
    choose = Chooser("3")
    assert choose([face_at(100), face_at(400)]) is None
    third = face_at(700)
    assert choose([face_at(100), face_at(400), third]) is third


@pytest.fixture(scope="module")
def astronaut() -> Rgb:  # [288, 288, 3]
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    return np.ascontiguousarray(data.astronaut()[:288, 96:384])


@pytest.fixture
def finder() -> Iterator[MediaPipeFaces]:
    faces = MediaPipeFaces(still=True)
    yield faces
    faces.close()


def in_big_picture(astronaut: Rgb, side: int, width: int, height: int) -> Rgb:
    import cv2

    rgb = np.full((height, width, 3), (90, 110, 140), np.uint8)
    x, y = round(0.6 * width), round(0.5 * height)
    rgb[y : y + side, x : x + side] = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)
    return rgb


def test_a_portrait_shows_one_face_in_its_place(astronaut: Rgb, finder: MediaPipeFaces) -> None:
    (face,) = finder.find(astronaut)
    assert face.landmarks.shape == (478, 3)
    assert face.landmarks.dtype == np.float32
    right, left = face.landmarks[list(OUTER_EYES), :2]
    np.testing.assert_allclose((right, left), ((99, 100), (160, 104)), atol=4)
    assert right[0] < face.landmarks[NOSE_TIP, 0] < left[0]
    assert face.landmarks[CHIN, 1] > face.landmarks[NOSE_TIP, 1] > right[1]


def test_a_face_six_hundredths_of_the_picture_wide_is_found_where_it_is(astronaut: Rgb, finder: MediaPipeFaces) -> None:
    side = 240
    (near,) = finder.find(astronaut)
    width = round(near.size * side / 288 / 0.06)  # the face fills 6 % of the width
    rgb = in_big_picture(astronaut, side, width, round(width * 9 / 16))
    (face,) = finder.find(rgb)
    print(f"{face.size / width:.3f} of the picture's width")
    wanted = near.centre * side / 288 + (round(0.6 * width), round(0.5 * rgb.shape[0]))
    assert np.linalg.norm(face.centre - wanted) < 0.1 * face.size
    assert abs(face.size / (0.06 * width) - 1) < 0.1


def test_noise_and_a_flat_picture_show_nobody(finder: MediaPipeFaces) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert list(finder.find(noise)) == []
    assert list(finder.find(np.full((64, 400, 3), 128, np.uint8))) == []


def test_a_face_that_comes_after_nobody_is_found_again_and_followed(astronaut: Rgb) -> None:
    finder = MediaPipeFaces()
    flat = np.full_like(astronaut, 90)
    counts = [len(finder.find(rgb)) for rgb in [astronaut] * 3 + [flat] * 4 + [astronaut] * 8]
    finder.close()
    assert counts[:3] == [1, 1, 1]
    assert counts[3:7] == [0, 0, 0, 0]
    assert counts[7:] == [1] * 8


def test_a_mesh_that_shrinks_at_once_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, slipped, smaller = face_at(200), face_at(205, size=80), face_at(210, size=97)
    looks = iter([[whole], [slipped], [whole], [smaller]])
    forgot: list[bool] = []
    finder = MediaPipeFaces()
    monkeypatch.setattr(finder, "_look", lambda rgb: next(looks))
    monkeypatch.setattr(finder, "_mesh", SimpleNamespace(reset=lambda: forgot.append(True)))
    picture = np.zeros((400, 400, 3), np.uint8)
    assert [finder.find(picture)[0] for _ in range(3)] == [whole, whole, smaller]
    assert forgot == [True]


@pytest.mark.skipif(not DANCER.exists(), reason="needs ../shared/clips, which are not part of the project")
def test_the_mesh_keeps_its_hold_on_a_small_face_that_moves_fast() -> None:
    finder = MediaPipeFaces()
    with VideoReader(DANCER) as reader:
        sizes = np.array([finder.find(frame.rgb)[0].size for frame in reader])
    finder.close()
    assert np.abs(sizes / np.median(sizes) - 1).max() < 0.1


def test_two_people_are_two_faces_and_never_one_twice(astronaut: Rgb) -> None:
    two = np.concatenate((astronaut, astronaut[:, ::-1]), 1)
    finder = MediaPipeFaces(n_faces=4, still=True)
    faces = sorted(finder.find(np.ascontiguousarray(two)), key=lambda f: float(f.centre[0]))
    finder.close()
    assert len(faces) == 2
    assert faces[1].centre[0] - faces[0].centre[0] > 200


def beside(face: Rgb, other: Rgb) -> Rgb:
    """Two pictures next to each other, as high as the first."""
    import cv2

    width = round(other.shape[1] * face.shape[0] / other.shape[0])
    return np.concatenate((face, cv2.resize(other, (width, face.shape[0]), interpolation=cv2.INTER_AREA)), 1)


@pytest.fixture
def searcher() -> Iterator[MediaPipeFaces]:
    faces = MediaPipeFaces(n_faces=4, still=True)
    yield faces
    faces.close()


def test_a_smaller_face_beside_a_large_one_is_searched_for(astronaut: Rgb, searcher: MediaPipeFaces) -> None:
    import cv2

    (near,) = searcher.find_all(astronaut, 0.25)
    figure = cv2.copyMakeBorder(astronaut, 40, 380, 120, 120, cv2.BORDER_REPLICATE)  # its face is 0.4 as large
    two = np.ascontiguousarray(beside(astronaut, figure))
    faces = sorted(searcher.find_all(two, 0.25), key=lambda f: -f.size)
    assert len(faces) == 2
    assert faces[1].centre[0] > 288
    assert 0.25 < faces[1].size / faces[0].size < 0.6
    assert len(searcher.find_all(np.ascontiguousarray(np.concatenate((astronaut, two), 1)), 0.25)) == 3
    assert abs(near.size / faces[0].size - 1) < 0.15


def test_no_further_face_is_seen_in_a_space_suit_whichever_way_it_is_turned(
    astronaut: Rgb, searcher: MediaPipeFaces
) -> None:
    for picture in (astronaut, astronaut[:, ::-1]):
        assert len(searcher.find_all(np.ascontiguousarray(picture), 0.4)) == 1


def test_no_further_face_is_seen_in_folds_flowers_or_noise(astronaut: Rgb, searcher: MediaPipeFaces) -> None:
    noise = np.random.default_rng(1).integers(0, 255, astronaut.shape, dtype=np.uint8)
    checks = np.kron(np.indices((36, 36)).sum(0) % 2 * 200, np.ones((8, 8))).astype(np.uint8)[..., None].repeat(3, 2)
    for other in (noise, checks, np.ascontiguousarray(astronaut[200:, :88])):
        assert len(searcher.find_all(np.ascontiguousarray(beside(astronaut, other)), 0.25)) == 1
    assert searcher.find_all(noise, 0.25) == []


@pytest.mark.skipif(not PORTRAITS.is_dir(), reason="real portraits lie beside the repository, in ../shared")
@pytest.mark.parametrize("names", [("s0", "s4"), ("s4", "s9"), ("s9", "s4", "s7")])
def test_every_one_of_several_paintings_in_a_row_is_found(names: tuple[str, ...], searcher: MediaPipeFaces) -> None:
    row, *others = (load_image(PORTRAITS / f"{name}.jpg") for name in names)
    for other in others:
        row = beside(row, other)
    assert len(searcher.find_all(np.ascontiguousarray(row), 0.2)) == len(names)
