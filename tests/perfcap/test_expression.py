from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import (
    LOOK_PITCH,
    LOOK_YAW,
    WEIGHTS,
    ExpressionSolver,
    NeutralEstimator,
    align,
    basis,
    gaze_of,
    look,
    mirror,
    mirror_expression,
    neutral_of,
    normalise,
    template,
    weights,
)
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, N_EXPRESSION, N_LANDMARKS

Floats = NDArray[np.float32]

ROOT = Path(__file__).parents[2]


def acting(**coefficients: float) -> Floats:
    expression = np.zeros(N_EXPRESSION, np.float32)
    for name, value in coefficients.items():
        expression[ARKIT_INDEX[name]] = value
    return expression


def face_of(expression: Floats, neutral: Floats | None = None) -> Floats:
    start = template() if neutral is None else neutral
    return (start + np.tensordot(expression, basis(), 1)).astype(np.float32)


def somebody(rng: np.random.Generator) -> Floats:
    """A smooth random change of the mean face, as another person's would be."""
    face = template()
    bend = rng.normal(0, 0.02, (3, 3)) + np.eye(3)
    return normalise((face @ bend + 0.03 * np.sin(face * 2 + rng.uniform(0, 6, 3))).astype(np.float32))


def test_the_template_is_a_face_in_the_heads_frame() -> None:
    face = template()
    assert face.shape == (N_LANDMARKS, 3)
    assert face[33] == pytest.approx((-0.5, 0, 0), abs=1e-3)
    assert face[263] == pytest.approx((0.5, 0, 0), abs=1e-3)
    assert face[152, 1] > 0.8  # the chin is below
    assert face[1, 2] < face[234, 2]  # the nose is nearer than the ears
    assert np.abs(mirror(face) - face).max() < 1e-5


def test_the_template_is_the_callers_own_copy() -> None:
    template()[:] = 0
    assert template()[263, 0] == pytest.approx(0.5, abs=1e-3)


def test_mirrored_faces_get_mirrored_answers() -> None:
    rng = np.random.default_rng(0)
    solver = ExpressionSolver()
    for _ in range(10):
        neutral = somebody(rng)
        face = face_of(rng.uniform(0, 0.3, N_EXPRESSION).astype(np.float32), neutral)
        for told, told_mirrored in ((neutral, mirror(neutral)), (None, None)):
            there = solver.solve(face, told)
            back = mirror_expression(solver.solve(mirror(face), told_mirrored))
            print("largest difference", np.abs(there - back).max())
            assert back == pytest.approx(there, abs=1e-3)


def test_every_name_has_its_other_side() -> None:
    numbers = np.arange(N_EXPRESSION, dtype=np.float32)
    swapped = mirror_expression(numbers)
    assert swapped[ARKIT_INDEX["jawLeft"]] == ARKIT_INDEX["jawRight"]
    assert swapped[ARKIT_INDEX["eyeLookInLeft"]] == ARKIT_INDEX["eyeLookInRight"]
    assert swapped[ARKIT_INDEX["jawOpen"]] == ARKIT_INDEX["jawOpen"]
    assert np.array_equal(mirror_expression(swapped), numbers)


@pytest.mark.parametrize(
    "name", ["jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthPucker", "mouthFunnel"]
)
def test_a_plain_expression_is_told_from_rest(name: str) -> None:
    neutral = somebody(np.random.default_rng(3))
    solver = ExpressionSolver()
    rest, full = solver.solve(neutral, neutral), solver.solve(face_of(acting(**{name: 0.9}), neutral), neutral)
    i = ARKIT_INDEX[name]
    assert rest[i] < 0.15
    assert full[i] > 0.35
    assert full[i] > rest[i] + 0.3


def test_rest_is_nearly_nothing() -> None:
    neutral = somebody(np.random.default_rng(4))
    assert ExpressionSolver().solve(neutral, neutral).sum() < 1.0


def test_answers_are_in_range_and_the_tongue_is_never_out() -> None:
    rng = np.random.default_rng(5)
    solver = ExpressionSolver()
    for _ in range(20):
        face = template() + rng.normal(0, 0.1, (N_LANDMARKS, 3)).astype(np.float32)
        out = solver.solve(face, template())
        assert out.shape == (N_EXPRESSION,)
        assert out.dtype == np.float32
        assert out.min() >= 0
        assert out.max() <= 1
        assert out[ARKIT_INDEX["tongueOut"]] < 0.05


def test_place_size_and_turn_of_the_face_do_not_matter() -> None:
    neutral = somebody(np.random.default_rng(6))
    face = face_of(acting(jawOpen=0.5, browInnerUp=0.5), neutral)
    c, s = np.cos(0.2), np.sin(0.2)
    moved = (face @ np.array([(c, -s, 0), (s, c, 0), (0, 0, 1)]).T * 1.3 + (1, 2, 3)).astype(np.float32)
    solver = ExpressionSolver()
    assert solver.solve(moved, neutral) == pytest.approx(solver.solve(face, neutral), abs=1e-3)
    assert align(moved, face) == pytest.approx(face, abs=1e-4)


def test_a_look_is_full_at_its_limit_and_in_is_towards_the_nose() -> None:
    assert look(np.array([(-LOOK_YAW, 0), (LOOK_YAW, 0)], np.float32)) == pytest.approx(
        acting(eyeLookInLeft=1, eyeLookInRight=1)
    )
    assert look(np.array([(0.3, 0), (0.3, 0)], np.float32)) == pytest.approx(
        acting(eyeLookOutLeft=0.5, eyeLookInRight=0.5)
    )
    assert look(np.array([(0, LOOK_PITCH), (0, -9)], np.float32)) == pytest.approx(
        acting(eyeLookDownLeft=1, eyeLookUpRight=1)
    )


def test_irises_to_the_right_of_the_picture_look_there() -> None:
    face = template()
    face[468:, 0] += 0.03
    gaze = gaze_of(face)
    assert gaze[:, 0].min() > 0.1
    assert np.abs(gaze[:, 1]).max() < 0.05
    assert gaze_of(face, face) == pytest.approx(np.zeros((2, 2)), abs=1e-6)


def test_the_neutral_comes_back_when_the_expression_is_taken_away() -> None:
    expression = acting(jawOpen=0.7, mouthSmileLeft=0.4)
    assert neutral_of(face_of(expression), expression) == pytest.approx(template(), abs=1e-5)


def test_a_neutral_is_found_in_a_take_that_never_rests() -> None:
    rng = np.random.default_rng(7)
    truth = somebody(rng)
    estimator = NeutralEstimator()
    errors = {}
    for k in range(1, 201):
        expression = np.where(rng.random(N_EXPRESSION) < 0.15, rng.uniform(0, 1, N_EXPRESSION), 0).astype(np.float32)
        seen = face_of(expression, truth) + rng.normal(0, 0.01, (N_LANDMARKS, 3)).astype(np.float32)
        told = np.clip(expression + rng.normal(0, 0.05, N_EXPRESSION), 0, 1).astype(np.float32)
        estimator.update(seen, told, 1.0)
        errors[k] = float(np.abs(align(estimator.neutral(), truth) - truth).mean())
    print(errors[1], errors[10], errors[200])
    assert errors[200] < 0.5 * errors[1]
    assert errors[200] < 0.01


def test_an_unseen_moment_changes_nothing_and_no_moment_gives_the_template() -> None:
    estimator = NeutralEstimator()
    assert np.array_equal(estimator.neutral(), template())
    estimator.update(face_of(acting(jawOpen=1)), acting(), 0.0)
    assert np.array_equal(estimator.neutral(), template())


def test_a_long_take_is_remembered_in_little_room() -> None:
    estimator = NeutralEstimator()
    size = estimator._history.nbytes
    for _ in range(1500):
        estimator.update(template(), acting(eyeSquintLeft=0.2), 1.0)
    assert estimator._history.nbytes == size
    # A squint that never ends is how this face is made.
    assert np.abs(estimator.neutral() - template()).max() < 0.005


def test_a_file_that_is_not_the_weights_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz has no template of 478 points"):
        weights(tmp_path / "other.npz")


def test_the_record_of_the_weights_names_this_file() -> None:
    record = (ROOT / "docs" / "weights.md").read_text()
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() in record
    assert WEIGHTS.stat().st_size < 2_000_000


def test_all_arkit_coefficients_but_the_tongue_have_an_effect() -> None:
    moved = np.abs(basis()).max((1, 2))
    assert moved[ARKIT_INDEX["tongueOut"]] == 0
    assert all(moved[i] > 0.005 for i, name in enumerate(ARKIT_NAMES) if name != "tongueOut")
