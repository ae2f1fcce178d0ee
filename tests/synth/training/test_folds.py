"""Expressions draw their own folds, and age keeps some of them."""

from __future__ import annotations

import numpy as np
import pytest

from perfcap.training.ict import load_ict
from runtime.records import ARKIT_INDEX, N_EXPRESSION
from synth.training.folds import FOLDS, draw_folds, fold_strengths, kept_folds
from synth.training.skin import SkinPainter
from tests.synth.training.toy_face import write_toy_face


def test_expressions_draw_their_own_folds() -> None:
    e = np.zeros(N_EXPRESSION, np.float32)
    e[ARKIT_INDEX["browInnerUp"]] = 0.7
    np.testing.assert_allclose(fold_strengths(e), [0.7 * (name == "forehead") for name in FOLDS])


def test_the_old_keep_more_than_the_young() -> None:
    young, old = (kept_folds(age, np.random.default_rng(0)) for age in (0.1, 0.9))
    assert (old > young).all()
    assert (old < 1).all()


def test_folds_sink_and_lie_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    painter = SkinPainter(load_ict(write_toy_face(tmp_path_factory.mktemp("asset") / "toy.npz")))
    folds = draw_folds(painter.marks, np.random.default_rng(0))
    height = dict(zip(FOLDS, (float(np.nonzero(f < 0.3 * f.min())[0].mean()) for f in folds), strict=True))
    assert (folds.min((1, 2)) < -0.1).all()
    assert (-folds.min((1, 2)) > 1.5 * folds.max((1, 2))).all(), "they sink more than they rise"
    assert height["forehead"] < height["between brows"] < height["under eyes"] < height["beside mouth"]
