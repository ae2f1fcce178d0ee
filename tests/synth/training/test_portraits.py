"""Made people wear the skin of people in pictures: in its place, without its light, and whole."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="people are made with torch; pip install torch")

from perfcap.head import Camera
from perfcap.training.ict import head_pose
from runtime.errors import InputError
from runtime.image import load_image, save_image
from runtime.records import N_EXPRESSION, N_LANDMARKS
from synth.training.people import Maker, PeopleOptions, Sources
from synth.training.photograph import Light, Moment, View
from synth.training.portraits import portraits, project
from synth.training.skin import Projected, usual_tone
from tests.synth.training.toy_face import toy_landmarks, write_toy_face

Floats = NDArray[np.float32]
SIDE = 224
SMALL = PeopleOptions(n=2, side=96, frames=1, references=1, per_person=1, shard=2, seed=3)
PAINTED = Path(__file__).parents[4] / "shared" / "clips" / "portraits" / "s0.jpg"


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_face(tmp_path_factory.mktemp("asset") / "toy.npz")


@pytest.fixture(scope="module")
def maker(asset: Path) -> Maker:
    return Maker(asset, SMALL, toy_landmarks())


def light(aside: float) -> Light:
    """From everywhere, and so much from one side."""
    ambient = np.zeros((9, 3), np.float32)
    ambient[0] = 0.7
    towards = np.array(((1, -0.3, -1),), np.float32) / np.sqrt(np.float32(2.09))
    return Light(ambient=ambient, directions=towards, colours=np.full((1, 3), aside, np.float32), window=0.3)


@cache
def pictured(maker: Maker, yaw: float, aside: float) -> tuple[Projected, Floats]:
    """Somebody's skin by way of a picture of them, and as it is."""
    figure = maker._tailor.person(np.random.default_rng(4))
    n = len(figure.triangle_uv)  # nothing worn, no hair over the face
    figure = replace(figure, triangles=figure.triangles[:n], material=figure.material[:n])
    still = Moment(np.zeros(N_EXPRESSION, np.float32), np.zeros((2, 2), np.float32), head_pose(yaw, 0, 0, (0, -0.02, 0.6)), head_pose(0, 0, 0, (0, 9, 0.6)))  # fmt: skip
    view = View(SIDE, SIDE, 900.0, SIDE / 2, SIDE / 2)
    shown = maker._studio.shoot(figure, still, view, light(aside), maker._studio.develop(figure, 200))
    rgb = (np.clip(shown.rgb, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    posed, none = figure.pose(still.expression, still.gaze), np.zeros((N_LANDMARKS, 3), np.float32)
    mesh = maker.landmarks.see(figure.face, posed, still.gaze, still.head, Camera(SIDE, SIDE, 900.0), none)
    return project(rgb, mesh, maker._tailor.skins, maker.texels()), figure.skin.albedo


def alike(a: Floats, b: Floats, where: NDArray[np.bool_]) -> float:
    return float(np.corrcoef(a.mean(-1)[where], b.mean(-1)[where])[0, 1])


def test_what_a_picture_shows_of_a_face_lies_where_it_belongs(maker: Maker) -> None:
    worn, truth = pictured(maker, 0.0, 0.0)
    face = worn.share > 0.9
    face[face.shape[0] * 5 // 8 :] = False  # what lies before the toy's mouth is no skin
    print(f"the texture and what came back of it: r {alike(worn.albedo, truth, face):.2f}")
    assert alike(worn.albedo, truth, face) > 0.6
    moved = np.roll(truth, 25, axis=0)
    assert alike(worn.albedo, moved, face) < alike(worn.albedo, truth, face) - 0.2


def test_what_one_side_hides_the_other_shows(maker: Maker) -> None:
    worn, truth = pictured(maker, 0.75, 0.0)
    left, right = worn.share > 0.9, worn.share > 0.9
    left[left.shape[0] * 5 // 8 :], right[right.shape[0] * 5 // 8 :] = False, False
    left[:, left.shape[1] // 2 :], right[:, : right.shape[1] // 2] = False, False
    r = [alike(worn.albedo, truth, half) for half in (left, right)]
    print(f"r of the two halves, turned away by 43 degrees: {r[0]:.2f} and {r[1]:.2f}")
    assert min(r) > 0.4


def test_light_from_one_side_is_not_in_the_skin(maker: Maker) -> None:
    def lopsided(worn: Projected) -> float:
        level = worn.albedo.mean(-1)
        half = level.shape[1] // 2
        sides = level[:, :half][worn.share[:, :half] > 0.9], level[:, half:][worn.share[:, half:] > 0.9]
        return float(np.log(np.median(sides[1]) / np.median(sides[0])))

    even, aside = (lopsided(pictured(maker, 0.0, amount)[0]) for amount in (0.0, 0.8))
    print(f"one side lighter than the other: {even:+.3f} in even light, {aside:+.3f} lit from there")
    assert abs(aside - even) < 0.12


def test_half_of_the_people_wear_portraits_and_their_tone_goes_on_beyond_the_face(maker: Maker) -> None:
    worn = pictured(maker, 0.0, 0.0)[0]
    blue = replace(worn, tone=np.array((0.1, 0.1, 0.4), np.float32))
    wearing = Maker.__new__(Maker)
    wearing.__dict__ = {**maker.__dict__, "_portraits": [blue]}
    figures = [wearing._figure(np.random.default_rng(seed)) for seed in range(6)]
    theirs = [figure for figure in figures if figure.skin.tone is blue.tone]
    assert 0 < len(theirs) < 6
    beyond = theirs[0].skin.albedo[(worn.share == 0) & (maker._tailor.skins.at.scalp == 0)]
    np.testing.assert_allclose(np.median(beyond, 0), blue.tone, rtol=0.05)


def test_a_tone_has_the_colour_that_skin_mostly_has() -> None:
    tones = np.stack([usual_tone(level) for level in (0.07, 0.2, 0.5)])
    np.testing.assert_allclose(tones.mean(1), (0.07, 0.2, 0.5), rtol=1e-5)
    assert (tones[:, 0] > tones[:, 2]).all()


def test_folders_and_pictures_that_do_not_serve_are_named(maker: Maker, asset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is no folder; wanted one with pictures of faces"):
        Maker(asset, SMALL, toy_landmarks(), sources=Sources(portraits=tmp_path / "nowhere"))
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InputError, match=r"holds no picture; wanted \.png"):
        portraits(tmp_path, maker._tailor.skins, maker.texels())
    save_image(tmp_path / "wall.png", np.full((80, 90, 3), 120, np.uint8))
    with pytest.raises(InputError, match=r"wall\.png shows no face; wanted one at least 64 px high"):
        portraits(tmp_path, maker._tailor.skins, maker.texels())


@pytest.mark.skipif(not PAINTED.exists(), reason="the public-domain portrait is not at hand")
def test_a_painting_is_worn_as_skin(maker: Maker, tmp_path: Path) -> None:
    save_image(tmp_path / "painted.png", load_image(PAINTED))
    (worn,) = portraits(tmp_path, maker._tailor.skins, maker.texels())
    lips, cheeks = maker._tailor.skins.at.lips > 0.9, maker._tailor.skins.at.blush > 0.6
    redness = worn.albedo[..., 0] / worn.albedo[..., 1]
    assert redness[lips].mean() > redness[cheeks].mean()
    assert worn.hair.mean() < 0.6 * worn.tone.mean() + 1e-6
