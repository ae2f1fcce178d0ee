"""Made people rest with their lips shut, and open them as the jaw drops."""

from __future__ import annotations

import numpy as np
import pytest

from perfcap.training.ict import load_ict
from runtime.records import ARKIT_INDEX, N_EXPRESSION
from synth.training.figure import PARTED, Figure, Tailor
from tests.synth.training.toy_face import write_toy_face

UPPER, LOWER = 62, 66  # iBUG's marks of the lips' inner edge


@pytest.fixture(scope="module")
def figure(tmp_path_factory: pytest.TempPathFactory) -> Figure:
    return Tailor(load_ict(write_toy_face(tmp_path_factory.mktemp("asset") / "toy.npz"))).person(
        np.random.default_rng(2)
    )


def gap(figure: Figure, jaw: float) -> float:
    """Between the lips, of the distance of the outer eye corners."""
    e = np.zeros(N_EXPRESSION, np.float32)
    e[ARKIT_INDEX["jawOpen"]] = jaw
    upper, lower = figure.pose(e, np.zeros((2, 2), np.float32))[figure.face.landmark68[[UPPER, LOWER]]]
    return float(lower[1] - upper[1]) / figure.unit_m


def test_lips_are_nearer_to_each_other_at_rest_than_the_3d_face_has_them(figure: Figure) -> None:
    upper, lower = figure.neutral[figure.face.landmark68[[UPPER, LOWER]]]
    parted = float(lower[1] - upper[1]) / figure.unit_m
    assert 0.005 < parted - gap(figure, 0) < 0.03


def test_a_jaw_that_drops_opens_them_as_it_always_did(figure: Figure) -> None:
    gaps = [gap(figure, jaw) for jaw in (0, 0.02, PARTED, 0.3, 0.6)]
    assert gaps == sorted(gaps)
    assert gaps[4] - gaps[3] == pytest.approx((gaps[3] - gaps[2]) * 1.5, rel=0.02)
