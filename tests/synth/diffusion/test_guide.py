"""A guide is the warp's frame in one steady square, with what of it is known and where the face is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import gaze_of, template
from perfcap.face import MediaPipeFaces
from perfcap.landmarks import INNER_LIPS_LOWER, INNER_LIPS_UPPER, NOSE_TIP
from perfcap.written import range_of_motion
from runtime.records import N_EXPRESSION, N_FACE, Motion
from synth.diffusion.guide import (
    MOST_STRETCH,
    Crop,
    Guide,
    Guides,
    canonical_vertices,
    crop_around,
    mouth_opening,
    references,
    stretch_of,
)
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character, rig
from synth.warp import WarpRenderer

Rgb = NDArray[np.uint8]
Array = NDArray[np.float32]
S = 256


@pytest.fixture(scope="module")
def hero() -> Character:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    rgb = np.ascontiguousarray(data.astronaut()[:288, 80:368])
    finder = MediaPipeFaces(still=True)
    (mesh,) = finder.find(rgb)
    finder.close()
    return rig(rgb, mesh, template())


@pytest.fixture(scope="module")
def warp(hero: Character) -> WarpRenderer:
    return WarpRenderer(hero)


@pytest.fixture(scope="module")
def guides(warp: WarpRenderer) -> Guides:
    return Guides(warp, S)


def own(character: Character) -> Motion:
    """What the picture shows."""
    return Motion(
        time=Fraction(0), head=character.head, expression=np.zeros(N_EXPRESSION, np.float32),
        gaze=gaze_of(character.face), face=character.face, confidence=1.0,
    )  # fmt: skip


def performed(character: Character, time: Fraction) -> Motion:
    script = range_of_motion()
    return Retarget(character, template(), [script(Fraction(0))], RetargetOptions())(script(time))


def with_lips(character: Character, gap: float) -> Motion:
    """The picture with lips that are `gap` units apart in the middle."""
    face = character.face.copy()
    bow = np.sin(np.linspace(0, np.pi, len(INNER_LIPS_UPPER), dtype=np.float32))
    face[list(INNER_LIPS_LOWER)] = face[list(INNER_LIPS_UPPER)]
    face[list(INNER_LIPS_LOWER), 1] += gap * bow
    return replace(own(character), face=face)


def arrays(guide: Guide) -> dict[str, NDArray[Any]]:
    return {name: value for name, value in vars(guide).items() if isinstance(value, np.ndarray)}


def at(guide: Guide, layer: Array, point_px: Array) -> Array:
    x, y = guide.crop.to_crop(point_px[None])[0].astype(int)
    return np.asarray(layer[y, x])


def test_a_guide_has_one_shape_and_plain_ranges(hero: Character, warp: WarpRenderer, guides: Guides) -> None:
    guide = guides.of(warp.draw(performed(hero, Fraction(3))))
    assert {name: (value.shape, value.dtype.name) for name, value in arrays(guide).items()} == {
        "rgb": ((S, S, 3), "uint8"),
        "coords": ((S, S, 3), "float32"),
        **dict.fromkeys(("valid", "stretch", "mouth", "eyes"), ((S, S), "float32")),
    }
    for name in ("valid", "mouth", "eyes"):
        layer = arrays(guide)[name]
        assert 0 <= layer.min() <= layer.max() <= 1, name
        assert layer.max() > 0.95, name
    assert np.abs(guide.stretch).max() <= MOST_STRETCH


def test_at_rest_nothing_is_stretched_or_painted(hero: Character, warp: WarpRenderer, guides: Guides) -> None:
    guide = guides.of(warp.draw(own(hero)))
    on_face = guide.coords.any(-1)
    print(
        f"largest stretch {np.abs(guide.stretch).max():.3f}, least valid on the face {guide.valid[on_face].min():.3f}"
    )
    assert np.abs(guide.stretch).max() < 0.01
    assert np.percentile(guide.valid[on_face], 3) > 0.99, "all but the rim, where the mesh may reach beside the person"


def test_coordinates_are_the_templates_wherever_the_face_goes(
    hero: Character, warp: WarpRenderer, guides: Guides
) -> None:
    for time in (0, 1, 3):
        drawn = warp.draw(performed(hero, Fraction(time)))
        guide = guides.of(drawn)
        for name in (NOSE_TIP, 50, 280, 9):  # nose, cheeks, between the brows
            shown = at(guide, guide.coords, drawn.vertices[name])
            np.testing.assert_allclose(shown, template()[name], atol=0.03)
    assert not guide.coords[:4].any(), "the face does not reach the crop's edge"


def test_a_turned_head_hides_its_far_cheek(hero: Character, warp: WarpRenderer, guides: Guides) -> None:
    shares = []
    for time in (Fraction(3, 4), Fraction(27, 20)):  # turned one way, then the other
        across = guides.of(warp.draw(performed(hero, time))).coords[..., 0]
        shares.append(float((across > 0).sum() / max((across < 0).sum(), 1)))
    print(f"left cheek over right cheek, pixels: {shares[0]:.2f} and {shares[1]:.2f}")
    assert max(shares) > 1.3 * min(shares)


def test_lips_that_part_are_known_for_stretched_and_their_inside_for_painted(
    hero: Character, warp: WarpRenderer, guides: Guides
) -> None:
    middles = []
    for gap in (0.0, 0.25):
        drawn = warp.draw(with_lips(hero, gap))
        guide = guides.of(drawn)
        middle = drawn.landmarks[[13, 14]].mean(0)
        middles.append((float(at(guide, guide.stretch, middle)), float(at(guide, guide.valid, middle))))
        assert at(guide, guide.mouth, middle) > 0.99
    (shut, known), (parted, painted) = middles
    assert parted > shut + 0.5
    assert known > 0.5 > painted


def test_what_was_behind_the_person_is_not_known_once_they_leave(
    hero: Character, warp: WarpRenderer, guides: Guides
) -> None:
    motion = own(hero)
    head = motion.head.copy()
    head[0, 3] += 0.04
    rest, aside = guides.of(warp.draw(motion)), guides.of(warp.draw(replace(motion, head=head)))
    lost = (rest.valid > 0.9) & (aside.valid < 0.1) & (aside.mouth + aside.eyes < 0.01)
    assert lost.sum() > 0.002 * S * S
    assert (aside.valid[:, -8:] > 0.9).mean() > 0.5, "what the person never hid stays known"


def test_the_crop_is_the_characters_and_nothing_is_remembered(
    hero: Character, warp: WarpRenderer, guides: Guides
) -> None:
    drawn = warp.draw(performed(hero, Fraction(1)))
    first = guides.of(drawn)
    guides.of(warp.draw(performed(hero, Fraction(3))))
    again, fresh = guides.of(drawn), Guides(WarpRenderer(hero), S).of(drawn)
    for name, value in arrays(first).items():
        np.testing.assert_array_equal(value, arrays(again)[name])
        np.testing.assert_array_equal(value, arrays(fresh)[name])
    assert first.crop == again.crop == guides.crop


def test_a_result_that_changes_nothing_leaves_the_picture_as_it_is(hero: Character) -> None:
    for side in (64, S, 512):
        crop = crop_around(hero.landmarks, hero.unit_px, side)
        shown = crop.cut(hero.rgb)
        np.testing.assert_array_equal(crop.lay_back(hero.rgb, shown, shown), hero.rgb)


def test_a_result_is_laid_back_in_its_place_with_a_soft_edge(hero: Character) -> None:
    crop = crop_around(hero.landmarks, hero.unit_px, S)
    shown = (crop.cut(hero.rgb) // 2).astype(np.uint8)
    grey = np.full_like(hero.rgb, 100)
    out = crop.lay_back(grey, shown, (shown + 50).astype(np.uint8))
    x, y = hero.landmarks[NOSE_TIP, :2].astype(int)
    assert (out[y, x] == 150).all()
    steps = np.abs(np.diff(out[y, :, 0].astype(int)))
    print(f"largest step along a row {steps.max()} of 50")
    assert steps.max() < 12
    assert (out[0] == 100).all() or crop.top < 0


@pytest.mark.parametrize(("left", "top"), [(-20, -30), (150, 180), (-60, 20)])
def test_a_crop_may_reach_beyond_the_picture(left: int, top: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (200, 180, 3), dtype=np.uint8)
    crop = Crop(left, top, 100, 128)
    shown = crop.cut(picture)
    assert shown.shape == (128, 128, 3)
    laid = crop.lay_back(picture, shown, (255 - shown).astype(np.uint8))
    assert laid.shape == picture.shape
    y, x = np.mgrid[:200, :180]
    outside = (x < left) | (x >= left + 100) | (y < top) | (y >= top + 100)
    np.testing.assert_array_equal(laid[outside], picture[outside])
    known = crop.cut(np.full((200, 180), 255, np.uint8), beyond=0)
    ys, xs = np.mgrid[:128, :128] * (100 / 128)
    within = (xs + left > 2) & (xs + left < 178) & (ys + top > 2) & (ys + top < 198)
    assert (known[within] > 200).all()
    assert (known == 0).any()


def test_a_cut_of_the_crops_own_size_is_the_pictures_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (200, 180, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Crop(30, 40, 100, 100).cut(picture), picture[40:140, 30:130])


def test_references_tell_their_own_pose(hero: Character) -> None:
    mirrored = np.ascontiguousarray(hero.rgb[:, ::-1])
    finder = MediaPipeFaces(still=True)
    (mesh,) = finder.find(mirrored)
    finder.close()
    own_picture, other = references(replace(hero, references=((mirrored, mesh.landmarks),)), S)
    for reference, landmarks in ((own_picture, hero.landmarks), (other, mesh.landmarks)):
        crop = crop_around(landmarks, hero.unit_px, S)
        x, y = crop.to_crop(landmarks[[NOSE_TIP], :2])[0].astype(int)
        np.testing.assert_allclose(reference.coords[y, x], template()[NOSE_TIP], atol=0.06)
        assert reference.rgb.shape == reference.coords.shape == (S, S, 3)
        assert reference.opened == pytest.approx(mouth_opening(hero.landmarks), abs=0.05)
    at_rest = Guides(WarpRenderer(hero), S).of(WarpRenderer(hero).draw(own(hero)))
    both = at_rest.coords.any(-1) & own_picture.coords.any(-1)
    assert both.sum() > 0.15 * S * S
    assert np.abs(at_rest.coords - own_picture.coords)[both].mean() < 0.01
    np.testing.assert_array_equal(own_picture.rgb, at_rest.crop.cut(hero.rgb))


def test_canonical_vertices_begin_with_the_template() -> None:
    np.testing.assert_array_equal(canonical_vertices()[:N_FACE], template()[:N_FACE])


def test_stretch_is_the_logarithm_of_the_longest_growth() -> None:
    rest = np.array(((0, 0), (10, 0), (0, 10)), np.float32)
    triangles = np.array(((0, 1, 2),), np.int32)
    turn = np.array(((0.6, -0.8), (0.8, 0.6)), np.float32)
    for growth, most in (((1, 1), 1), ((1, 4), 4), ((0.5, 0.25), 0.5), ((3, 3), 3)):
        target = (rest * np.array(growth, np.float32)) @ turn.T + 7
        assert stretch_of(rest, target.astype(np.float32), triangles)[0] == pytest.approx(np.log(most), abs=1e-3)
    seam = np.array(((0, 0), (10, 0), (5, 0)), np.float32)
    assert stretch_of(seam, rest, triangles)[0] == pytest.approx(MOST_STRETCH)


def test_a_side_that_does_not_fit_is_refused(warp: WarpRenderer) -> None:
    with pytest.raises(ValueError, match="side is 30, wanted a multiple of 4 from 16 on"):
        Guides(warp, 30)
