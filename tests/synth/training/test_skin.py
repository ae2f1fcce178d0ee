"""Skin is painted as faces have it: from dark to light, its lips redder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfcap.training.ict import load_ict
from synth.training.folds import FOLDS
from synth.training.regions import TEXELS
from synth.training.skin import SkinPainter, linear
from tests.synth.training.toy_face import write_toy_face


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> SkinPainter:
    path: Path = write_toy_face(tmp_path_factory.mktemp("asset") / "toy.npz")
    return SkinPainter(load_ict(path))


def test_the_seed_makes_the_skin_and_it_is_a_colour(painter: SkinPainter) -> None:
    one, same, other = (painter.person(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.albedo, same.albedo)
    assert not np.array_equal(one.albedo, other.albedo)
    assert one.albedo.shape == (TEXELS, TEXELS, 3)
    assert 0 < one.albedo.min() <= one.albedo.max() < 1
    assert one.folds.shape == (len(FOLDS), TEXELS, TEXELS)
    assert (one.gloss >= 0).all()


def test_lips_are_redder_than_the_skin_around_them(painter: SkinPainter) -> None:
    lips = painter.at.lips > 0.9
    cheeks = painter.at.blush > 0.6
    redder = 0
    for seed in range(6):
        albedo = painter.person(np.random.default_rng(seed)).albedo
        redness = albedo[..., 0] / albedo[..., 1]
        redder += bool(redness[lips].mean() > redness[cheeks].mean())
    assert redder >= 5


def test_people_have_different_tones_from_dark_to_light(painter: SkinPainter) -> None:
    tones = np.array([painter._tone(np.random.default_rng(seed)).mean() for seed in range(200)])
    assert tones.min() < 0.1
    assert tones.max() > 0.5
    reds = np.array([painter._tone(np.random.default_rng(seed)) for seed in range(50)])
    assert (reds[:, 0] > reds[:, 2]).all()


def test_linear_light_of_srgb_values() -> None:
    np.testing.assert_allclose(linear(np.array((0.0, 0.5, 1.0, 2.0))), (0, 0.5**2.2, 1, 1), rtol=1e-5)
