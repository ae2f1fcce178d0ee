"""A profile gives every performer their own full range, and survives the disk; the gain is scored on known faces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.calibration import ASSET, told
from calibration.performer import (
    MOST_GAIN,
    SHUT_UNITS,
    Lids,
    PerformerProfile,
    ToRange,
    gap_in_range,
    gap_of,
    measure,
)
from perfcap.expression import basis, template
from perfcap.landmarks import LEFT_LID_LOWER, LEFT_LID_UPPER, RIGHT_LID_LOWER, RIGHT_LID_UPPER
from runtime.errors import InputError
from runtime.records import ARKIT_INDEX, N_EXPRESSION, Motion

Floats = NDArray[np.float32]
SMILE, OTHER_SMILE, JAW, BLINK = (
    ARKIT_INDEX[name] for name in ("mouthSmileLeft", "mouthSmileRight", "jawOpen", "eyeBlinkLeft")
)


def motion(i: int, *, gap: float | None = None, confidence: float = 1.0, **expression: float) -> Motion:
    told = np.zeros(N_EXPRESSION, np.float32)
    for name, value in expression.items():
        told[ARKIT_INDEX[name]] = value
    face = (template() + np.tensordot(told, basis(), 1)).astype(np.float32)
    if gap is not None:
        for upper, lower in ((LEFT_LID_UPPER, LEFT_LID_LOWER), (RIGHT_LID_UPPER, RIGHT_LID_LOWER)):
            up, low = list(upper[1:-1]), list(lower[1:-1])
            open_now = float((face[low, 1] - face[up, 1]).max())
            face[up, 1] = face[low, 1] - (face[low, 1] - face[up, 1]) * np.float32(gap / open_now)
    return Motion(
        time=Fraction(i, 25), head=np.eye(4, dtype=np.float32), expression=told,
        gaze=np.zeros((2, 2), np.float32), face=face, confidence=confidence,
    )  # fmt: skip


def weak_take() -> Iterator[Motion]:
    """A performer whose broadest smile reads 0.5, whose shut lids leave a gap, and who never opens the jaw."""
    for i in range(100):
        smile = 0.5 if 20 <= i < 40 else 0.04
        gap = 0.06 if 60 <= i < 66 else 0.15
        yield motion(i, gap=gap, mouthSmileLeft=smile, mouthSmileRight=0.8 * smile, confidence=float(i % 10 != 9))


@pytest.fixture
def profile() -> PerformerProfile:
    return measure(weak_take(), template(), "weak.mp4")


def test_the_most_and_the_rest_are_measured_on_frames_with_a_face(profile: PerformerProfile) -> None:
    assert profile.n_frames == 90
    assert profile.low[SMILE] == pytest.approx(0.04)
    assert profile.high[SMILE] == pytest.approx(0.5)
    assert profile.left is not None
    assert profile.left.shut == pytest.approx(0.06, abs=1e-3)
    assert profile.left.open == pytest.approx(0.15, abs=1e-3)


def test_one_wild_frame_is_no_range() -> None:
    wild = [motion(i, jawOpen=1.0 if i == 30 else 0.3 * (10 <= i < 25)) for i in range(60)]
    assert measure(wild, template(), "wild.mp4").high[JAW] == pytest.approx(0.3)


def test_a_weak_smile_reads_as_a_smile_and_stays_lopsided(profile: PerformerProfile) -> None:
    (out,) = ToRange(profile).push(motion(0, gap=0.15, mouthSmileLeft=0.5, mouthSmileRight=0.4))
    assert out.expression[SMILE] == pytest.approx(1.0, abs=0.03)
    assert out.expression[OTHER_SMILE] == pytest.approx(0.8, abs=0.05)
    moved = out.face - template()
    assert np.linalg.norm(moved[61]) > 1.5 * np.linalg.norm(
        motion(0, mouthSmileLeft=0.5, mouthSmileRight=0.4).face[61] - template()[61]
    )


def test_rest_stays_rest_to_the_point(profile: PerformerProfile) -> None:
    at_rest = motion(0, gap=0.15)
    (out,) = ToRange(profile).push(at_rest)
    np.testing.assert_allclose(out.face, at_rest.face, atol=1e-6)
    assert out.expression.max() == 0


def test_what_the_take_did_not_show_is_left_as_measured(profile: PerformerProfile) -> None:
    said = motion(0, gap=0.15, jawOpen=0.4)
    (out,) = ToRange(profile).push(said)
    assert out.expression[JAW] == pytest.approx(0.4)
    np.testing.assert_allclose(out.face, said.face, atol=1e-6)


def test_lids_that_are_shut_close(profile: PerformerProfile) -> None:
    (out,) = ToRange(profile).push(motion(0, gap=0.06))
    assert gap_of(out.face, "Left") == pytest.approx(SHUT_UNITS, abs=1e-3)
    assert gap_of(out.face, "Right") == pytest.approx(SHUT_UNITS, abs=1e-3)
    assert out.expression[BLINK] > 0.95


def test_a_gap_in_range_never_jumps_and_wide_eyes_stay() -> None:
    lids = Lids(shut=0.06, open=0.15)
    gaps = [gap_in_range(gap, lids) for gap in np.linspace(0, 0.3, 301)]
    assert np.diff(gaps).min() >= 0
    assert np.diff(gaps).max() < 0.002
    assert gap_in_range(0.2, lids) == 0.2


def test_a_take_that_holds_back_does_not_make_later_ones_shout() -> None:
    shy = measure([motion(i, jawOpen=0.2, mouthSmileLeft=0.2 * (i % 20 > 9)) for i in range(80)], template(), "shy.mp4")
    assert shy.gain[SMILE] == MOST_GAIN
    assert shy.left is None


def test_a_jaw_is_told_as_it_is_seen() -> None:
    clenched = measure([motion(i, jawOpen=0.26 * (i % 20 > 9)) for i in range(80)], template(), "clenched.mp4")
    assert clenched.gain[JAW] == 1


def test_a_frame_without_a_face_passes_as_it_is_held(profile: PerformerProfile) -> None:
    held = motion(0, gap=0.06, mouthSmileLeft=0.5, confidence=0.0)
    (out,) = ToRange(profile).push(held)
    assert out.confidence == 0
    assert out.time == held.time
    np.testing.assert_array_equal(out.head, held.head)


def test_streamed_equals_whole(profile: PerformerProfile) -> None:
    motions = list(weak_take())
    one, other = ToRange(profile), ToRange(profile)
    whole = [other(m) for m in motions]
    streamed = [out for m in motions for out in (*one.push(m), *one.flush())]
    for a, b in zip(whole, streamed, strict=True):
        np.testing.assert_array_equal(a.face, b.face)
        np.testing.assert_array_equal(a.expression, b.expression)


def test_a_profile_survives_the_disk_and_reads_like_a_page(profile: PerformerProfile, tmp_path: Path) -> None:
    path = tmp_path / "me.profile.json"
    profile.save(path)
    again = PerformerProfile.load(path)
    np.testing.assert_allclose(again.neutral, profile.neutral, atol=1e-6)
    np.testing.assert_allclose(again.gain, profile.gain, rtol=1e-3)
    assert again.source == "weak.mp4"
    assert again.left == Lids(shut=0.06, open=0.15)
    text = path.read_text()
    assert '    "mouthSmileLeft": [0.04, 0.5],\n' in text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: "no json", "holds no JSON"),
        (lambda d: "[1, 2]", "was not written by understudy calibrate performer"),
        (lambda d: json.dumps(d | {"version": 9}), "is a profile of version 9; this understudy reads 1"),
        (lambda d: json.dumps({k: v for k, v in d.items() if k != "range"}), "is a damaged performer profile"),
        (lambda d: json.dumps(d | {"neutral": [[0, 0, 0]]}), "neutral is"),
        (lambda d: json.dumps(d | {"range": d["range"] | {"jawOpen": [0.5, 0.1]}}), "0 <= rest <= most <= 1"),
        (lambda d: json.dumps(d | {"lids": {"left": {"shut": 0.2, "open": 0.1}, "right": None}}), "shut < open"),
    ],
)
def test_a_profile_that_is_none_is_named(spoil: Any, said: str, profile: PerformerProfile, tmp_path: Path) -> None:
    path = tmp_path / "me.profile.json"
    profile.save(path)
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(InputError, match=said) as caught:
        PerformerProfile.load(path)
    assert str(caught.value).startswith(str(path))


def test_a_take_without_a_face_is_refused() -> None:
    with pytest.raises(InputError, match=r"nobody.mp4 shows no face in any frame"):
        measure([motion(0, confidence=0.0)], template(), "nobody.mp4")


@pytest.mark.slow
@pytest.mark.skipif(not ASSET.exists(), reason="needs ../shared/assets/ict_face.npz, which is not part of the project")
def test_who_performs_at_half_strength_reads_stronger_and_truer() -> None:
    """Two people of known shape act at 55 %; after calibration they read nearer to what they mean."""
    without, profiled = told(n_people=2, n_acting=30, seed=5)
    assert profiled.strength > 1.3 * without.strength
    assert profiled.error < without.error - 0.03
