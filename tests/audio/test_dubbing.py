from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.bank import Bank, Patch
from audio.dubbing import RATE, SPEED, Curve, Dubbing, ranges, relative, who_speaks
from audio.footage import Footage, Motions
from audio.mouth_shape import N_CONTROLS, OPENING, SHUT, WIDTH, SpeakerMouth, controls
from perfcap.head import Camera
from perfcap.written import head_at
from runtime.records import N_EXPRESSION, Motion
from synth.mouth import MouthPalette
from tests.audio.faces import face

FPS = 25
PALETTE = MouthPalette(teeth=(220, 210, 200), gum=(180, 90, 90), tongue=(190, 100, 100), dark=(30, 10, 10))


def footage(jaws: NDArray[np.float64], free: NDArray[np.float32] | None = None) -> Footage:
    faces = [face(jawOpen=float(j)) for j in jaws]
    said = np.stack([controls(f) for f in faces])
    motions = Motions()
    bank = Bank()
    for i, each in enumerate(faces):
        motions.append(
            Motion(
                time=Fraction(i, FPS), head=head_at(0, 0, 0), expression=np.zeros(N_EXPRESSION, np.float32),
                gaze=np.zeros((2, 2), np.float32), face=each, confidence=1.0,
            )
        )  # fmt: skip
        plane = np.zeros((4, 4), np.uint8)
        bank.offer(
            Patch(i, (plane,), (0, 0), np.zeros((468, 2), np.float32), said[i], np.zeros(3, np.float32), 1.0, 1.0)
        )
    n = len(jaws)
    return Footage(
        Camera.of_picture(512, 512), motions, SpeakerMouth.of(np.stack(faces), said), PALETTE, bank, said,
        np.zeros((n, 3), np.float32), np.ones(n, np.float32), np.ones(n, np.float32),
        np.ones(n, np.float32) if free is None else free,
    )  # fmt: skip


def speech(jaws: NDArray[np.float64]) -> Curve:
    """A curve at RATE of a mean face whose jaw does this at FPS."""
    t = np.arange(0, len(jaws) / FPS, 1 / RATE)
    dense = np.interp(t, np.arange(len(jaws)) / FPS, jaws)
    values = np.stack([relative(face(jawOpen=float(j))) for j in dense])
    return Curve(Fraction(0), values, (dense > 0.01).astype(np.float32))


def times(n: int) -> NDArray[np.float64]:
    return np.arange(n) / FPS


def dubbed(clip: Footage, what: Curve, own: Curve | None = None) -> Dubbing:
    n = len(clip.motions)
    return Dubbing(clip, what, np.arange(n), times(n), own, times(n))


def waves(n: int = 100, rate: float = 3.0) -> NDArray[np.float64]:
    return np.asarray(0.25 + 0.25 * np.sin(np.arange(n) / FPS * 2 * np.pi * rate))


def test_a_silent_mouth_follows_a_speech() -> None:
    said = waves()
    plan = dubbed(footage(np.zeros(100)), speech(said))
    assert np.corrcoef(plan.wanted[:, OPENING], said)[0, 1] > 0.97
    assert plan.share.min() >= 0
    assert plan.share[10:90].mean() > 0.9


def test_a_speaking_mouth_follows_the_new_speech_and_no_longer_the_old() -> None:
    old, new = waves(rate=3.0), waves(rate=2.1)
    plan = dubbed(footage(old), speech(new), own=speech(old))
    assert np.corrcoef(plan.wanted[:, OPENING], new)[0, 1] > 0.95
    assert abs(np.corrcoef(plan.wanted[:, OPENING], old)[0, 1]) < 0.3


def test_lips_move_no_faster_than_the_speaker_s_own_did() -> None:
    jumps = np.where(np.arange(100) % 10 < 5, 0.5, 0.0)
    plan = dubbed(footage(waves(rate=0.5)), speech(jumps))
    assert np.ptp(plan.wanted[10:90, OPENING]) > 0.1
    assert np.abs(np.diff(plan.wanted[10:90, OPENING])).max() < 1.1 * SPEED / FPS


def test_a_mouth_opens_little_wider_than_its_clip_showed() -> None:
    clip, wide = footage(0.8 * waves()), speech(1.6 * waves(rate=2.1))
    shown, asked = clip.speaker.open_most, wide.values[:, OPENING].max()
    assert asked > 1.8 * shown
    assert dubbed(clip, speech(0.8 * waves(rate=2.1))).wanted[10:90, OPENING].max() > 0.9 * shown
    assert shown < dubbed(clip, wide).wanted[10:90, OPENING].max() < 1.1 * (shown + asked) / 2


def test_a_speaking_mouth_rests_in_silence() -> None:
    plan = dubbed(footage(waves()), speech(np.zeros(100)))
    assert plan.wanted[10:90, OPENING].max() < 0.02
    assert plan.share[10:90].min() > 0.5


def test_frames_that_are_as_wanted_already_are_left_alone() -> None:
    clip = footage(np.zeros(100))
    plan = dubbed(clip, speech(np.zeros(100)))
    assert plan.share.max() == 0
    assert all(stroke.motion is None for stroke in plan.strokes())


def test_what_the_mouth_did_by_itself_stays_where_it_is_hidden_and_comes_and_goes_softly() -> None:
    free = np.ones(100, np.float32)
    free[40:60] = 0
    plan = dubbed(footage(np.zeros(100), free), speech(waves()))
    assert plan.share[40:60].max() < 0.05
    assert plan.share[:25].mean() > 0.8
    assert np.abs(np.diff(plan.share)).max() < 0.4


def test_a_speaker_who_opens_wider_than_the_mean_does_so_in_another_language_too() -> None:
    spoken = waves(150)
    plain = footage(spoken)
    from dataclasses import replace

    wide = replace(plain, said=plain.said.mean(0) + 1.5 * (plain.said - plain.said.mean(0)))
    gains = [ranges(f, times(150), speech(spoken))[OPENING] for f in (plain, wide)]
    assert gains[1] / gains[0] == pytest.approx(1.5, abs=0.05)
    assert ranges(plain, times(150), None)[OPENING] == pytest.approx(1.0, abs=0.15)


def test_sound_that_has_nothing_to_do_with_the_mouth_says_nothing_of_its_range() -> None:
    clip = footage(waves(150, rate=3.0))
    other = speech(0.05 * waves(150, rate=1.37))
    assert ranges(clip, times(150), other)[OPENING] == pytest.approx(ranges(clip, times(150), None)[OPENING], rel=0.15)


def test_lips_that_touch_do_so_as_those_that_are_laid_over_them_and_none_passes_through_the_other() -> None:
    clip = footage(np.where(np.arange(100) % 20 < 10, 0.4, 0.0))
    said = speech(waves(rate=1.0))
    said.values[:, OPENING] -= 0.03  # they are pressed together
    plan = dubbed(clip, said)
    shut = (plan.wanted[:, OPENING] < SHUT) & (plan.share > 0.99)
    assert shut.sum() > 10
    assert plan.wanted[:, OPENING].min() > clip.speaker.rest[OPENING] - 1e-6
    laid = [p.controls[OPENING] for p in plan.patches() if p is not None]
    assert plan.wanted[shut, OPENING].tolist() == pytest.approx([laid[i] for i in np.flatnonzero(shut)])


def test_where_the_new_sound_is_the_clip_s_own_the_mouth_stays_as_it_was_filmed() -> None:
    told, untold = waves(150, rate=3.0), 0.3 * waves(150, rate=0.7)  # of what a mouth does, sound tells a part
    clip, own = footage(told + untold), speech(told)
    assert dubbed(clip, own, own=own).share.max() < 0.01
    half = np.concatenate((told[:75], waves(150, rate=2.1)[75:]))
    share = dubbed(clip, speech(half), own=own).share
    assert share[:60].max() < 0.05
    assert share[90:].min() > 0.9


def test_a_sound_that_is_not_this_mouth_s_leaves_none_of_it_as_it_was() -> None:
    clip, strange = footage(waves(150, rate=3.0)), speech(waves(150, rate=1.37))
    plan = dubbed(clip, strange, own=strange)
    assert plan.share[10:140].min() > 0.5
    assert np.corrcoef(plan.wanted[:, OPENING], waves(150, rate=1.37))[0, 1] > 0.9


def test_frames_of_the_result_may_come_in_any_order_from_the_clip() -> None:
    clip = footage(np.zeros(50))
    order = np.concatenate((np.arange(50), np.arange(50)[::-1]))
    said = waves(100)
    plan = Dubbing(clip, speech(said), order, times(100))
    assert len(plan.wanted) == 100
    assert np.corrcoef(plan.wanted[:, OPENING], said)[0, 1] > 0.97
    assert len(list(plan.patches())) == 100


def test_whoever_moves_with_the_sound_is_who_speaks() -> None:
    sound = speech(waves(150, rate=3.0))
    listener, speaker = footage(0.5 * waves(150, rate=1.3)), footage(waves(150, rate=3.0))
    assert who_speaks([listener, speaker], times(150), sound) == 1
    assert who_speaks([speaker, listener], times(150), sound) == 0
    assert who_speaks([listener, speaker], times(150), None) == 0


def test_a_curve_is_at_rest_outside_itself() -> None:
    curve = Curve(Fraction(1), np.ones((50, N_CONTROLS), np.float32), np.ones(50, np.float32))
    values = curve.at(np.array((0.5, 1.2, 1.49, 2.0)))
    assert values[:, WIDTH].tolist() == [0, 1, 1, 0]
    assert curve.voiced_at(np.array((0.5, 1.2))).tolist() == [0, 1]
