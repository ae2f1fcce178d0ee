"""Photographs show what was posed, in the light that was set, whichever rasteriser draws them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="people are made with torch; pip install torch")

from perfcap.training.ict import head_pose, load_ict
from runtime.records import ARKIT_INDEX, N_EXPRESSION
from synth.training.figure import Figure, Tailor
from synth.training.photograph import Light, Moment, Photograph, Studio, View
from tests.synth.training.toy_face import write_toy_face

Floats = NDArray[np.float32]
VIEW = View(96, 96, 260.0, 48.0, 44.0)
HEAD = head_pose(0, 0, 0, (0, -0.02, 0.6))


@pytest.fixture(scope="module")
def tailor(tmp_path_factory: pytest.TempPathFactory) -> Tailor:
    return Tailor(load_ict(write_toy_face(tmp_path_factory.mktemp("asset") / "toy.npz")))


@pytest.fixture(scope="module")
def studio(tailor: Tailor) -> Studio:
    return Studio(tailor)


@pytest.fixture(scope="module")
def figure(tailor: Tailor) -> Figure:
    return tailor.person(np.random.default_rng(2))


@pytest.fixture(scope="module")
def light() -> Light:
    return Light.random(np.random.default_rng(0))


def moment(head: Floats = HEAD, **expression: float) -> Moment:
    e = np.zeros(N_EXPRESSION, np.float32)
    for name, value in expression.items():
        e[ARKIT_INDEX[name]] = value
    return Moment(e, np.zeros((2, 2), np.float32), head, HEAD)


def shot(studio: Studio, figure: Figure, light: Light, at: Moment) -> Photograph:
    return studio.shoot(figure, at, VIEW, light, studio.develop(figure, 80))


def test_both_rasterisers_take_the_same_photograph(
    tailor: Tailor, studio: Studio, figure: Figure, light: Light
) -> None:
    at = moment(head_pose(0.3, 0.1, 0, (0.01, -0.02, 0.6)), jawOpen=0.5)
    one, other = (shot(s, figure, light, at) for s in (studio, Studio(tailor, tracer="torch")))
    off = np.abs(one.rgb - other.rgb).max(-1)
    print(f"largest difference {off.max():.3f}, {(off > 0.02).mean():.2%} of the pixels differ by more than .02")
    assert (off > 0.02).mean() < 0.01
    np.testing.assert_allclose(one.cover, other.cover, atol=0.26)
    assert one.cover.mean() > 0.2


def test_colour_is_premultiplied_and_nothing_shines_where_nobody_is(
    studio: Studio, figure: Figure, light: Light
) -> None:
    taken = shot(studio, figure, light, moment())
    assert (taken.rgb[taken.cover == 0] == 0).all()
    assert np.isfinite(taken.rgb).all()
    assert taken.rgb.min() >= 0
    assert taken.cover.max() == 1
    assert (taken.skin <= taken.cover + 1e-6).all()


def test_light_from_a_side_lights_that_side(studio: Studio, figure: Figure, light: Light) -> None:
    sides = []
    for x in (-1.0, 1.0):
        lamp = replace(
            light, ambient=light.ambient * 0.1, directions=np.array(((x, 0, -0.4),), np.float32) / np.float32(np.hypot(1, 0.4)),
            colours=np.ones((1, 3), np.float32),
        )  # fmt: skip
        taken = shot(studio, figure, lamp, moment())
        on_skin = taken.skin > 0.99
        luma = np.where(on_skin, taken.rgb.sum(-1), 0)
        sides.append(luma[:, :48].sum() / luma[:, 48:].sum())
    print(f"left over right: lit from the left {sides[0]:.2f}, from the right {sides[1]:.2f}")
    assert sides[0] > 1.5 * sides[1]


def test_a_head_that_turns_leaves_its_shoulders(studio: Studio, figure: Figure, light: Light) -> None:
    view = replace(VIEW, focal_px=120.0)
    skin = studio.develop(figure, 40)
    ahead, turned = (
        studio.shoot(figure, moment(head_pose(yaw, 0, 0, (0, -0.02, 0.6))), view, light, skin) for yaw in (0.0, 0.6)
    )
    changed = np.abs(ahead.cover - turned.cover) + np.abs(ahead.rgb - turned.rgb).sum(-1) > 0.05
    assert changed[30:55].mean() > 0.05
    assert not (np.abs(ahead.cover - turned.cover) > 0.5)[-8:].any()


def test_a_mouth_that_opens_is_dark_inside_and_teeth_are_not(studio: Studio, figure: Figure, light: Light) -> None:
    shut, opened = (shot(studio, figure, light, moment(jawOpen=jaw)) for jaw in (0.0, 0.9))
    assert (shut.skin - opened.skin).clip(0).sum() > 5, "less skin is seen"
    new = (shut.skin > 0.99) & (opened.skin < 0.01) & (opened.cover > 0.99)
    assert new.sum() > 3
    assert opened.rgb[new].mean() < 0.8 * shut.rgb[new].mean()


def test_brows_that_rise_crease_the_forehead(studio: Studio, figure: Figure, light: Light) -> None:
    """The same skin with and without what raised brows draw into it."""
    at = moment(browInnerUp=1, browOuterUpLeft=1, browOuterUpRight=1)
    smooth = replace(figure, skin=replace(figure.skin, folds=0 * figure.skin.folds))
    creased, plain = (shot(studio, f, light, at) for f in (figure, smooth))
    off = np.abs(creased.rgb - plain.rgb).sum(-1)
    assert off.max() > 0.01
    rows = np.nonzero(off.max(1) > 0.5 * off.max())[0]
    eyes = 44 + 260 * (-0.02 / 0.6)
    assert rows.mean() < eyes, "above the eyes"


def test_skin_is_seen_where_the_photograph_has_it(studio: Studio, figure: Figure) -> None:
    corners, weights = studio.skin_seen(figure, moment(), VIEW)
    seen = corners[..., 0] >= 0
    assert 0.1 < seen.mean() < 0.8
    np.testing.assert_allclose(weights[seen].sum(-1), 1, atol=1e-4)
