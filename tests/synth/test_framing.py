from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import synth.framing
from perfcap.expression import template
from perfcap.face import FaceMesh
from perfcap.landmarks import OVAL
from runtime.errors import InputError
from synth.framing import RATIOS, frame, size_of
from synth.outpaint import Pads, outpaint, without_person

Rgb = NDArray[np.uint8]
RED = np.array((200, 40, 30), np.uint8)
PUPIL = 468  # the middle of an iris


class Scene:
    """A red bust, cut by the picture's lower edge, before a speckled wall; its matte is known exactly."""

    def __init__(self, W: int, H: int, face_px: float, middle: tuple[float, float]) -> None:
        import cv2

        rng = np.random.default_rng(3)
        wall = 110 + 30 * np.linspace(-1, 1, W)[None, :, None] + rng.normal(0, 6, (H, W, 1))
        self.rgb = np.broadcast_to(np.clip(wall, 0, 255), (H, W, 3)).astype(np.uint8)
        x, y = middle
        shape = np.zeros((H, W), np.uint8)
        cv2.ellipse(shape, (int(x), int(y)), (int(0.55 * face_px), int(0.75 * face_px)), 0, 0, 360, 1, -1)
        cv2.rectangle(shape, (int(x - 0.7 * face_px), int(y + 0.7 * face_px)), (int(x + 0.7 * face_px), H), 1, -1)
        self.alpha = shape.astype(np.float32)
        self.rgb[shape > 0] = RED
        mean = template()
        unit = face_px / np.ptp(mean[:, 1])
        self.landmarks = (mean * unit + np.array((x, y - 0.2 * face_px, 0))).astype(np.float32)
        cv2.circle(
            self.rgb, (int(self.landmarks[PUPIL, 0]), int(self.landmarks[PUPIL, 1])), int(face_px / 16), (255,) * 3, -1
        )


SCENES = {
    "close": Scene(400, 400, 200, (200, 190)),
    "tall": Scene(300, 600, 90, (150, 160)),
    "small": Scene(640, 360, 60, (200, 120)),
}


@pytest.fixture
def known_matte(monkeypatch: pytest.MonkeyPatch) -> None:
    def alpha(rgb: Rgb, mesh: FaceMesh) -> NDArray[np.float32]:
        return next(s.alpha for s in SCENES.values() if s.rgb.shape == rgb.shape)

    monkeypatch.setattr(synth.framing, "person_alpha", alpha)


@pytest.mark.usefixtures("known_matte")
@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("ratio", RATIOS)
def test_every_ratio_has_its_exact_size_and_holds_the_whole_face(name: str, ratio: str) -> None:
    scene = SCENES[name]
    framed = frame(scene.rgb, scene.landmarks, ratio)
    size = size_of(ratio)
    assert framed.rgb.shape == (size.height, size.width, 3)
    oval = framed.landmarks[list(OVAL), :2]
    assert (oval > 0).all()
    assert (oval < (size.width, size.height)).all()
    # The landmarks went with the picture.
    x, y = framed.landmarks[PUPIL, :2].astype(int)
    assert framed.rgb[y, x].min() > 230
    # Who was cut by the picture's lower edge is cut by the frame's.
    assert np.abs(framed.rgb[-1, int(oval[:, 0].mean())].astype(int) - RED).max() < 12
    grown = np.ptp(oval, 0) / np.ptp(scene.landmarks[list(OVAL), :2], 0)
    assert np.isclose(grown[0], grown[1], rtol=0.01), "the face was stretched"


@pytest.mark.usefixtures("known_matte")
def test_the_wall_goes_on_beyond_the_picture_without_the_person() -> None:
    scene = SCENES["close"]
    rgb = frame(scene.rgb, scene.landmarks, "1584:672").rgb.astype(int)
    for side in (rgb[:, :300], rgb[:, -300:]):
        assert np.ptp(side.mean((0, 1))) < 3, "the person's red in the wall"
        assert 70 < side.mean() < 150
        assert side.std(0).mean() > 1.5, "no speckle left"


def test_a_picture_of_that_size_stays_as_it_is() -> None:
    rgb = np.zeros((720, 1280, 3), np.uint8)
    assert frame(rgb, template(), "1280:720").rgb is rgb


@pytest.mark.parametrize("text", ["16:9", "1280x720", "", "720:1281"])
def test_any_other_ratio_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(InputError, match=f"--ratio is '{text}'; wanted one of 1280:720, .*1584:672"):
        size_of(text)


def test_a_dark_line_at_the_edge_is_trimmed_and_a_picture_without_one_is_not() -> None:
    rgb = SCENES["close"].rgb.copy()
    assert not synth.framing._frame_line(rgb)
    rgb[:, 0] = 0
    rgb[-2:] = 255
    assert synth.framing._frame_line(rgb) == Pads(left=2, top=0, right=0, bottom=3)  # and the row it bled into


def test_what_the_picture_shows_stays_and_the_same_picture_goes_on_the_same_way() -> None:
    rgb = np.random.default_rng(0).integers(90, 130, (90, 120, 3), dtype=np.uint8)
    usable = np.ones((90, 120), bool)
    pads = Pads(left=40, top=0, right=25, bottom=10)
    one, two = outpaint(rgb, usable, pads), outpaint(rgb, usable, pads)
    assert one.shape == (100, 185, 3)
    assert np.array_equal(one, two)
    assert np.array_equal(one[:80, 50:150], rgb[:80, 10:110])
    assert one.min() > 85
    assert one.max() < 135
    assert outpaint(rgb, usable, Pads(0, 0, 0, 0)) is rgb


def test_a_picture_that_is_all_person_still_goes_on() -> None:
    rgb = np.full((64, 64, 3), 77, np.uint8)
    assert np.abs(outpaint(rgb, np.zeros((64, 64), bool), Pads(20, 0, 20, 0)).astype(int) - 77).max() <= 1


def test_behind_the_person_is_more_of_the_wall() -> None:
    scene = SCENES["tall"]
    wall = without_person(scene.rgb, scene.alpha > 0)
    assert np.ptp(wall.astype(int).mean((0, 1))) < 2
    away = scene.alpha == 0
    away[:, 60:240] = False
    assert np.array_equal(wall[away], scene.rgb[away])


def test_a_black_bar_is_trimmed() -> None:
    rgb = SCENES["close"].rgb.copy()
    rgb[:, -30:] = 1
    assert synth.framing._frame_line(rgb) == Pads(left=0, top=0, right=31, bottom=0)
