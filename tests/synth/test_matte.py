"""The person, what is behind them, and that the two together are the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.face import FaceMesh
from synth.matte import continue_behind, fill, guided, layers, person_alpha, person_colour, refine

Rgb = NDArray[np.uint8]
SIDE = 160
RADIUS = 50
SKIN = np.array((205, 140, 110), np.float32)


@dataclass(frozen=True)
class Scene:
    """A disc of skin before a speckled wall; all parts are known."""

    rgb: Rgb
    alpha: NDArray[np.float32]
    wall: Rgb


@pytest.fixture(scope="module")
def scene() -> Scene:
    rng = np.random.default_rng(0)
    across = np.linspace(40, 110, SIDE)[None, :, None]
    wall = np.clip(across + rng.normal(0, 12, (SIDE, SIDE, 1)) + (0, 20, 40), 0, 255)
    skin = np.clip(SKIN + rng.normal(0, 6, (SIDE, SIDE, 1)), 0, 255)
    ys, xs = np.mgrid[:SIDE, :SIDE] + 0.5
    alpha = np.clip(RADIUS + 0.5 - np.hypot(xs - SIDE / 2, ys - SIDE / 2), 0, 1).astype(np.float32)
    rgb = skin * alpha[..., None] + wall * (1 - alpha[..., None])
    return Scene((rgb + 0.5).astype(np.uint8), alpha, wall.astype(np.uint8))


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (61, 97), (1, 40), (3, 2)])
def test_fill_leaves_what_is_known_and_is_within_its_range(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(60, 180, (*shape, 3), dtype=np.uint8)
    known = (rng.random(shape) < 0.5).astype(np.float32)
    known.flat[0] = 1
    filled = fill(rgb, known)
    np.testing.assert_array_equal(filled[known > 0], rgb[known > 0])
    assert (filled >= rgb[known > 0].min(0)).all()
    assert (filled <= rgb[known > 0].max(0)).all()


def test_fill_goes_smoothly_across_a_hole() -> None:
    ramp = np.broadcast_to(np.linspace(20, 220, SIDE)[None, :, None], (SIDE, SIDE, 3)).astype(np.uint8)
    known = np.ones((SIDE, SIDE), np.float32)
    known[50:110, 50:110] = 0
    assert np.abs(fill(np.where(known[..., None] > 0, ramp, 0).astype(np.uint8), known) - ramp.astype(int)).max() < 40


def test_fill_of_nothing_known_is_a_picture_all_the_same() -> None:
    filled = fill(np.full((20, 30, 3), 99, np.uint8), np.zeros((20, 30), np.float32))
    assert filled.shape == (20, 30, 3)
    assert np.ptp(filled) == 0


def test_the_person_over_what_is_behind_gives_the_picture_back(scene: Scene) -> None:
    behind = continue_behind(scene.rgb, (scene.alpha < 0.01).astype(np.float32), 2 * RADIUS)
    person = person_colour(scene.rgb, scene.alpha, behind, fill(scene.rgb, (scene.alpha > 0.95).astype(np.float32)))
    a = scene.alpha[..., None]
    error = np.abs(person * a + behind * (1 - a) - scene.rgb)
    print(f"mean error {error.mean():.2f}, largest {error.max():.0f} of 255")
    assert error.mean() < 0.6
    rim = (scene.alpha > 0.02) & (scene.alpha < 0.98)
    assert error[rim].mean() < 12
    # At the rim the person is skin, not the wall that shone through.
    assert np.abs(person[rim].mean(0) - SKIN).max() < 15


def test_what_is_behind_goes_on_with_its_own_colours_and_speckles(scene: Scene) -> None:
    known = (scene.alpha < 0.01).astype(np.float32)
    behind = continue_behind(scene.rgb, known, 2 * RADIUS)
    np.testing.assert_allclose(behind[known > 0], scene.rgb[known > 0], atol=1)
    hidden = known == 0
    assert np.abs(behind[hidden].astype(float).mean(0) - scene.wall[hidden].mean(0)).max() < 8
    grain = np.diff(behind.astype(float), axis=0)[hidden[1:]].std() / np.diff(scene.wall.astype(float), axis=0).std()
    print(f"speckle behind the person: {grain:.2f} of the wall's")
    assert 0.5 < grain < 1.5


def test_what_is_made_up_begins_with_no_great_step_where_light_falls_off() -> None:
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    away = np.hypot(x - SIDE / 2, y - SIDE / 2) - RADIUS
    wall = np.repeat((90 + 90 * np.exp(-np.maximum(away, 0) / RADIUS))[..., None], 3, 2).astype(np.uint8)
    known = (away > 0).astype(np.float32)
    behind = continue_behind(wall, known, 2 * RADIUS).astype(float)
    rim = (away > -3) & (away <= 0)
    print(f"made up {behind[rim].mean():.1f}, beside it {wall[(away > 0) & (away < 2)].mean():.1f} of 255")
    assert abs(behind[rim].mean() - wall[(away > 0) & (away < 2)].mean()) < 10, "a slope goes on; it is no texture"


def shadowed(wall: NDArray[np.floating[Any]], levels: float) -> tuple[Scene, NDArray[np.bool_]]:
    """A disc before a wall that it makes darker (or, levels below 0, lighter) close by; and where it does."""
    ys, xs = np.mgrid[:240, :240] + 0.5
    away = np.hypot(xs - 120, ys - 120) - RADIUS
    alpha = np.clip(0.5 - away, 0, 1).astype(np.float32)
    shadow = levels * np.clip(1 - np.abs(away - 3) / 6, 0, 1)
    rgb = (wall - shadow[..., None]) * (1 - alpha[..., None]) + SKIN * alpha[..., None]
    scene = Scene(np.clip(rgb + 0.5, 0, 255).astype(np.uint8), alpha, np.clip(wall, 0, 255).astype(np.uint8))
    return scene, (shadow != 0) & (alpha == 0)


@pytest.mark.parametrize("levels", [35, -35])
def test_a_shadow_or_glow_on_an_even_wall_goes_with_the_person(levels: float) -> None:
    rng = np.random.default_rng(2)
    ramp = np.linspace(70, 130, 240)[None, :, None] + np.linspace(0, 20, 240)[:, None, None] + (0, 20, 40)
    scene, rim = shadowed(ramp + rng.normal(0, 3, (240, 240, 1)), levels)
    cut = layers(scene.rgb, scene.alpha, 2 * RADIUS)
    a = cut.alpha[..., None]
    back = cut.person * a + cut.behind * (1 - a)
    assert np.abs(back - scene.rgb)[scene.alpha < 0.02].max() < 6
    before, left = (np.abs((x.astype(float) - scene.wall)[rim].mean()) for x in (scene.rgb, cut.behind))
    print(f"off the wall by {before:.1f} levels in the picture, {left:.1f} in what is behind")
    assert left < 0.45 * before
    assert cut.alpha[rim].mean() > 0.05
    assert cut.alpha[rim].max() < 0.6
    np.testing.assert_array_equal(cut.behind[:20], scene.rgb[:20])


def test_on_a_cluttered_wall_the_rim_stays_the_walls() -> None:
    rng = np.random.default_rng(3)
    clutter = np.kron(rng.uniform(30, 220, (30, 30, 3)), np.ones((8, 8, 1)))
    scene, rim = shadowed(clutter, 30)
    cut = layers(scene.rgb, scene.alpha, 2 * RADIUS)
    np.testing.assert_array_equal(cut.alpha, scene.alpha)
    beyond = rim & (np.hypot(*(np.mgrid[:240, :240] - 119.5)) > RADIUS + 4)
    np.testing.assert_array_equal(cut.behind[beyond], scene.rgb[beyond])


@pytest.mark.parametrize("share", [0, 1])
def test_all_or_nothing_known_is_no_failure(share: int, scene: Scene) -> None:
    behind = continue_behind(scene.rgb, np.full((SIDE, SIDE), share, np.float32), 40)
    assert behind.shape == scene.rgb.shape
    if share:
        np.testing.assert_array_equal(behind, scene.rgb)


@pytest.mark.parametrize("radius", [2, 5])
def test_edges_are_taken_over_as_opencvs_contributions_do(radius: int, scene: Scene) -> None:
    """Where the picture is even, where it is speckled, and between."""
    import cv2

    if not hasattr(cv2, "ximgproc"):
        pytest.skip("this OpenCV is without its contributions")
    picture = scene.rgb.astype(np.float32) / 255
    soft = cv2.GaussianBlur(scene.alpha, (0, 0), 6)
    theirs = cv2.ximgproc.guidedFilter(picture, soft, radius, 2e-4)
    off = float(np.abs(guided(picture, soft, radius, 2e-4) - theirs).max())
    assert off < 1e-4, f"largest difference {off}"
    assert np.abs(theirs - soft).max() > 0.01


def test_a_soft_mask_is_drawn_to_the_edge(scene: Scene) -> None:
    import cv2

    coarse = cv2.GaussianBlur(cv2.dilate(scene.alpha, np.ones((5, 5))), (0, 0), 5)
    drawn = refine(scene.rgb, coarse, 2 * RADIUS)
    before, after = (float(np.abs(m - scene.alpha).mean()) for m in (coarse, drawn))
    print(f"mean error of the mask {before:.4f}, drawn to the edge {after:.4f}")
    assert after < 0.35 * before
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_a_real_person_is_cut_out() -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    rgb = np.ascontiguousarray(data.astronaut()[:288, 80:368])
    alpha = person_alpha(rgb, FaceMesh(np.array(((99, 69, 0), (191, 69, 0), (191, 177, 0), (99, 177, 0)), np.float32)))
    assert alpha.shape == rgb.shape[:2]
    assert alpha.dtype == np.float32
    assert ((alpha >= 0) & (alpha <= 1)).all()
    assert (alpha[80:160, 115:175] > 0.9).all(), "the face"
    assert alpha[250:, 90:190].mean() > 0.9, "the suit"
    assert alpha[5:60, 5:40].mean() < 0.1, "the flag"
