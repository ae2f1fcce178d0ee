"""Regions lie where their names say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.training.ict import load_ict
from synth.training.regions import TEXELS, noise, ramp
from synth.training.skin import SkinPainter
from tests.synth.training.toy_face import write_toy_face


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> SkinPainter:
    return SkinPainter(load_ict(write_toy_face(tmp_path_factory.mktemp("asset") / "toy.npz")))


def test_masks_lie_where_their_names_say(painter: SkinPainter) -> None:
    rows = np.arange(TEXELS)[:, None]

    def height(mask: NDArray[np.float32]) -> float:
        return float((mask * rows).sum() / mask.sum())

    assert height(painter.at.sockets) < height(painter.at.blush) < height(painter.at.lips)
    assert height(painter.at.beard) > height(painter.at.blush)
    assert (painter.at.beard * painter.at.lips).max() < 0.2, "no beard grows on lips"


def test_a_ramp_goes_either_way() -> None:
    np.testing.assert_allclose(ramp(np.array((0.0, 1.5, 9.0)), 1, 2), (0, 0.5, 1))
    np.testing.assert_allclose(ramp(np.array((0.0, 1.5, 9.0)), 2, 1), (1, 0.5, 0))


def test_noise_has_the_size_that_was_asked_for() -> None:
    coarse, fine = (noise(np.random.default_rng(0), cells) for cells in (8, 120))
    assert coarse.shape == (TEXELS, TEXELS)
    assert np.abs(np.diff(coarse, axis=0)).mean() < 0.2 * np.abs(np.diff(fine, axis=0)).mean()
    assert 0.5 < coarse.std() < 1.3
