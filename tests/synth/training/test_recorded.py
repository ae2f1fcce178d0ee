"""A captured performance moves made people as it moved whoever gave it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="people are made with torch; pip install torch")

from perfcap.expression import mirror_expression, template
from perfcap.head import Camera
from perfcap.performance import Performance, Take
from perfcap.training.ict import head_pose
from runtime.errors import InputError
from runtime.records import ARKIT_INDEX, N_EXPRESSION, Motion
from synth.training.recorded import recordings
from synth.training.take import AT_REST, run

N, RATE = 100, 25


def written(path: Path, faceless: tuple[int, ...] = ()) -> Path:
    """Four seconds: the mouth opens, one eye shuts, the head turns away from where it mostly is."""
    motions = []
    for i in range(N):
        e = np.zeros(N_EXPRESSION, np.float32)
        e[ARKIT_INDEX["jawOpen"]], e[ARKIT_INDEX["eyeBlinkLeft"]] = 0.4 * i / N, 0.5
        yaw = 0.2 + (0.1 if i >= 75 else 0)
        motions.append(
            Motion(
                time=Fraction(i, RATE), head=head_pose(yaw, 0, 0, (0, 0, 0.6)), expression=e,
                gaze=np.full((2, 2), 0.01, np.float32), face=template(), confidence=0.0 if i in faceless else 1.0,
            )
        )  # fmt: skip
    take = Take(source="actor.mp4", camera=Camera(64, 64, 80.0), neutral=template())
    Performance.of(take, motions).save(path)
    return path


def test_a_recording_is_the_performance_with_its_head_about_where_it_mostly_was(tmp_path: Path) -> None:
    (recording,) = recordings([written(tmp_path / "actor.npz")])
    assert recording.seconds == pytest.approx((N - 1) / RATE)
    jaw = [recording.expression_at(t)[ARKIT_INDEX["jawOpen"]] for t in (0, 1, 1.02, 99)]
    np.testing.assert_allclose(jaw, (0, 0.1, 0.102, 0.396), atol=1e-5)
    np.testing.assert_allclose(recording.angles_at(0.5), (0, 0, 0), atol=1e-5)
    np.testing.assert_allclose(recording.angles_at(3.9), (0.1, 0, 0), atol=1e-5)
    assert recording.gaze_at(1).shape == (2, 2)


def test_where_no_face_was_seen_another_recording_begins(tmp_path: Path) -> None:
    found = recordings([written(tmp_path / "actor.npz", faceless=(40, 45))])
    assert [len(recording.times) for recording in found] == [40, 54]
    assert [recording.times[0] for recording in found] == [0, 0]


def test_a_performance_that_shows_nothing_long_enough_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "actor.npz", faceless=tuple(range(0, N, 10)))
    with pytest.raises(InputError, match=r"actor\.npz shows a face for less than 1 s at a time"):
        recordings([path])
    with pytest.raises(InputError, match=r"gone\.npz"):
        recordings([tmp_path / "gone.npz"])


def test_a_third_of_the_takes_are_recorded_ones_and_half_of_those_mirrored(tmp_path: Path) -> None:
    (recording,) = recordings([written(tmp_path / "actor.npz")])
    as_it_was, mirrored = 0, 0
    winks = recording.expression_at(1)
    for seed in range(200):
        first = run(np.random.default_rng(seed), 1, AT_REST, [recording])[0].expression
        left, right = first[ARKIT_INDEX["eyeBlinkLeft"]], first[ARKIT_INDEX["eyeBlinkRight"]]
        others = np.delete(first, [ARKIT_INDEX[name] for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight")])
        if others.max() < 0.03:  # nothing but what was recorded
            as_it_was += bool(left > right)
            mirrored += bool(right > left)
    print(f"of 200 takes {as_it_was} are the recording's, {mirrored} its mirror image")
    assert 20 < as_it_was < 70
    assert 20 < mirrored < 70
    assert mirror_expression(winks)[ARKIT_INDEX["eyeBlinkRight"]] == winks[ARKIT_INDEX["eyeBlinkLeft"]]
