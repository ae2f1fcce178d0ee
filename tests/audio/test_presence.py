from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.presence import Presence, PresenceOptions, WithSound, lid_closure, mouth_units, pitch_hz
from perfcap.landmarks import LIPS
from perfcap.written import angles_of
from runtime.records import ARKIT_INDEX, SAMPLE_RATE, AudioChunk, Cue, Motion
from runtime.stage import run
from tests.audio.loud import Loud, motion_at, syllables

BLINK = ARKIT_INDEX["eyeBlinkLeft"]
TALK = [0.5 + 0.22 * i for i in range(20)]


def cut(pcm: NDArray[np.float32], sizes: list[int]) -> list[AudioChunk]:
    """Sound in pieces of these sizes, again and again."""
    out, at, i = [], 0, 0
    while at < len(pcm):
        n = sizes[i % len(sizes)]
        out.append(AudioChunk(time=Fraction(at, SAMPLE_RATE), pcm=pcm[at : at + n]))
        at, i = at + n, i + 1
    return out


def lived(pcm: NDArray[np.float32], options: PresenceOptions, sizes: list[int] | None = None) -> list[Motion]:
    cues = list(run(WithSound(Loud()), cut(pcm, sizes or [1600])))
    return list(run(Presence(options), cues))


def silent_minutes(minutes: int, *, speaking: bool, rate: int = 20) -> list[Motion]:
    """What a face does in some minutes without sound, its jaw open all the time or never."""
    jaw = motion_at(Fraction(0), 0.3 if speaking else 0.0)
    cues = [
        Cue(time=(time := Fraction(i, rate)), motion=Motion(**{**vars(jaw), "time": time}))
        for i in range(minutes * 60 * rate)
    ]
    return list(run(Presence(PresenceOptions(seed=3)), cues))


def same(a: list[Motion], b: list[Motion]) -> bool:
    return len(a) == len(b) and all(
        x.time == y.time and np.array_equal(x.face, y.face) and np.array_equal(x.head, y.head)
        for x, y in zip(a, b, strict=True)
    )


def test_streamed_equals_whole() -> None:
    pcm = syllables(TALK, 5.5, stressed=frozenset({3, 9}))
    whole = lived(pcm, PresenceOptions(seed=1), [len(pcm)])
    assert len(whole) == 550
    assert same(whole, lived(pcm, PresenceOptions(seed=1), [7, 1600, 333]))


def test_the_same_seed_lives_the_same_life_and_another_another() -> None:
    pcm = syllables(TALK, 5.5)
    assert same(lived(pcm, PresenceOptions(seed=1)), lived(pcm, PresenceOptions(seed=1)))
    assert not same(lived(pcm, PresenceOptions(seed=1)), lived(pcm, PresenceOptions(seed=2)))


def test_a_flushed_stage_is_as_new() -> None:
    cues = list(run(WithSound(Loud()), cut(syllables(TALK[:6], 2.5), [1600])))
    stage = Presence(PresenceOptions())
    assert same(list(run(stage, cues)), list(run(stage, cues)))


def test_still_moves_nothing_but_the_lips() -> None:
    pcm = syllables(TALK, 5.5)
    assert same(lived(pcm, PresenceOptions(still=True)), list(run(Loud(), cut(pcm, [1600]))))


def test_the_lips_stay_as_they_came() -> None:
    pcm = syllables(TALK, 5.5)
    for spoken, motion in zip(run(Loud(), cut(pcm, [1600])), lived(pcm, PresenceOptions()), strict=True):
        assert np.array_equal(spoken.face[list(LIPS)], motion.face[list(LIPS)])
        jaw = ARKIT_INDEX["jawOpen"]
        assert spoken.expression[jaw] == motion.expression[jaw]


def test_each_motion_has_the_sound_under_it() -> None:
    pcm = syllables(TALK, 5.5)[:87_654]
    cues = list(run(WithSound(Loud()), cut(pcm, [1000, 1, 4000])))
    sounds = [cue.sound for cue in cues]
    assert all(sound is not None and sound.time == cue.time for sound, cue in zip(sounds, cues, strict=True))
    assert np.array_equal(np.concatenate([sound.pcm for sound in sounds if sound is not None]), pcm)


@pytest.mark.parametrize(("speaking", "least", "most"), [(True, 20, 36), (False, 13, 23)])
def test_blinks_come_as_often_as_people_blink(speaking: bool, least: int, most: int) -> None:
    shut = np.array([m.expression[BLINK] > 0.5 for m in silent_minutes(6, speaking=speaking, rate=10)])
    a_minute = np.count_nonzero(shut[1:] & ~shut[:-1]) / 6
    assert least <= a_minute <= most


def test_lids_fall_faster_than_they_rise() -> None:
    t = np.arange(0, 0.5, 0.005)
    closure = np.array([lid_closure(x, 0.08, 0.04, 0.2) for x in t])
    down, up = np.diff(closure).max(), -np.diff(closure).min()
    assert closure[0] == 0
    assert closure.max() == 1
    assert closure[-1] == 0
    assert down > 1.3 * up
    assert np.abs(np.diff(closure)).max() < 0.12


def test_lids_shut_wholly_in_most_blinks() -> None:
    blinks = np.array([m.expression[BLINK] for m in silent_minutes(2, speaking=True, rate=50)])
    peaks = [b for a, b, c in zip(blinks, blinks[1:], blinks[2:], strict=False) if a < b >= c and b > 0.3]
    assert len(peaks) > 30
    assert np.mean(np.array(peaks) > 0.97) > 0.7


def test_the_eyes_hold_the_viewer_while_the_head_turns() -> None:
    motions = silent_minutes(2, speaking=True)
    head = np.array([angles_of(m.head)[:2] for m in motions])
    eyes = np.degrees(np.array([m.gaze[0] for m in motions]))
    world = head + eyes
    assert head[:, 0].std() > 1
    assert np.mean(np.linalg.norm(world, axis=1) < 3) > 0.6  # at the viewer, or another part of their face
    assert 2 < np.linalg.norm(world, axis=1).max() < 13  # and sometimes away


def test_the_head_moves_a_few_degrees_and_never_jumps() -> None:
    pcm = syllables([0.5 + 0.22 * i for i in range(50)], 12.5, stressed=frozenset(range(0, 50, 4)))
    angles = np.array([angles_of(m.head) for m in lived(pcm, PresenceOptions(seed=5))])
    assert 1 < np.ptp(angles[:, 0]) < 20
    assert np.abs(angles).max() < 15
    assert np.abs(np.diff(angles, axis=0)).max() < 0.5  # degrees in 10 ms
    assert np.abs(angles[0]).max() < 0.5  # begins as the picture is


def test_the_head_rests_more_in_silence_than_in_speech() -> None:
    def unrest(speaking: bool) -> float:
        return float(np.array([angles_of(m.head)[0] for m in silent_minutes(3, speaking=speaking, rate=10)]).std())

    assert unrest(False) < 0.75 * unrest(True)


def test_a_nod_is_lowest_on_the_stressed_syllable() -> None:
    stressed = frozenset({8})
    heard = TALK[:10]
    pcm = syllables(heard, 2.8, stressed=stressed)
    plain = syllables(heard, 2.8)
    moments = []
    for seed in range(8):  # not every stress gets a nod
        with_stress = np.array([angles_of(m.head)[1] for m in lived(pcm, PresenceOptions(seed=seed))])
        without = np.array([angles_of(m.head)[1] for m in lived(plain, PresenceOptions(seed=seed))])
        off = np.abs(with_stress - without)[: int(100 * (TALK[8] + 0.3))]
        if off.max() > 0.8:
            moments.append(off.argmax() / 100)
    assert len(moments) >= 3
    assert np.abs(np.median(moments) - TALK[8]) < 0.06


def test_without_look_ahead_nothing_jumps_either() -> None:
    pcm = syllables(TALK, 5.5, stressed=frozenset({3, 9, 15}))
    angles = np.array([angles_of(m.head) for m in lived(pcm, PresenceOptions(seed=5, ahead_s=0))])
    assert np.abs(np.diff(angles, axis=0)).max() < 0.5


def test_blinks_like_to_fall_at_the_ends_of_phrases() -> None:
    phrases = [[p * 3.0 + 0.3 + 0.2 * i for i in range(8)] for p in range(8)]
    pcm = syllables([t for phrase in phrases for t in phrase], 24.5)
    shut = np.array([m.expression[BLINK] > 0.5 for m in lived(pcm, PresenceOptions(seed=2))])
    begins = (np.flatnonzero(shut[1:] & ~shut[:-1]) + 1) / 100
    near_end = [any(0 < begin - phrase[-1] < 0.45 for begin in begins) for phrase in phrases]
    assert sum(near_end) >= 3  # by chance alone one


def test_pitch_is_that_of_the_voice_and_none_of_a_hiss() -> None:
    t = np.arange(640) / SAMPLE_RATE
    for hz in (80, 120, 233, 380):
        buzz = (0.3 * np.sign(np.sin(2 * np.pi * hz * t))).astype(np.float32)
        assert pitch_hz(buzz) == pytest.approx(hz, rel=0.05)
    hiss = np.random.default_rng(0).normal(0, 0.2, 640).astype(np.float32)
    assert pitch_hz(hiss) == 0
    assert pitch_hz(np.zeros(640, np.float32)) == 0


def test_a_mouth_at_rest_is_told_from_one_that_speaks() -> None:
    assert mouth_units(motion_at(Fraction(0), 0.0)) < 1e-6
    assert mouth_units(motion_at(Fraction(0), 0.3)) > 0.05


def test_options_say_what_was_found_and_wanted() -> None:
    with pytest.raises(ValueError, match=r"liveliness is 3, wanted 0 to 2"):
        PresenceOptions(liveliness=3)
    with pytest.raises(ValueError, match=r"ahead_s is -1, wanted 0 to 2"):
        PresenceOptions(ahead_s=-1)


def test_times_are_those_of_the_speech() -> None:
    motions = lived(syllables(TALK[:4], 2.0), PresenceOptions())
    assert [m.time for m in motions] == [Fraction(i, 100) for i in range(200)]
    assert all(b.time > a.time for a, b in pairwise(motions))
