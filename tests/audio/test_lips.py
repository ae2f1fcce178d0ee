"""A voice moves a mouth: in time with it, in any chunks, and not at all while nobody speaks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.lips import LOOK_AHEAD, Lips, LipsOptions, faces_of, motion_of, phones_of
from audio.phones import SILENCE, VOWELS, Phone
from audio.training import sounds
from audio.voice import EspeakVoice, Utterance
from perfcap.expression import template
from perfcap.landmarks import INNER_LIPS_LOWER, INNER_LIPS_UPPER
from perfcap.written import face_of
from runtime.records import ARKIT_INDEX, N_EXPRESSION, SAMPLE_RATE, AudioChunk, Motion
from runtime.stage import run

Floats = NDArray[np.float32]

espeak = pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="make setup brings it")
LISTEN = ("whole", "live")
UPPER, LOWER = list(INNER_LIPS_UPPER[1:-1]), list(INNER_LIPS_LOWER[1:-1])


def chunks(pcm: Floats, size: int = SAMPLE_RATE, start: Fraction = Fraction(0)) -> list[AudioChunk]:
    return [
        AudioChunk(time=start + Fraction(i, SAMPLE_RATE), pcm=pcm[i : i + size].astype(np.float32))
        for i in range(0, len(pcm), size)
    ]


def moved(pcm: Floats, size: int = SAMPLE_RATE, listen: str = "whole") -> list[Motion]:
    return list(run(Lips(LipsOptions(listen=listen)), chunks(pcm, size)))  # type: ignore[arg-type]


def opening(motions: list[Motion]) -> Floats:
    return np.array([m.face[14, 1] - m.face[13, 1] for m in motions])


def hiss(seconds: float = 1.5) -> Floats:
    return sounds.coloured(int(seconds * SAMPLE_RATE), 3, np.random.default_rng(0)) * np.float32(0.3)


@pytest.fixture(scope="module")
def said() -> Utterance:
    return EspeakVoice("en-us").speak("My baby bought a big map from Bob, and we believe you.")


@pytest.mark.parametrize("listen", LISTEN)
@pytest.mark.parametrize("size", [161, 320, 4000])
def test_streamed_equals_whole(listen: str, size: int) -> None:
    pcm = hiss()
    whole, streamed = moved(pcm, len(pcm), listen), moved(pcm, size, listen)
    assert [m.time for m in streamed] == [m.time for m in whole]
    for a, b in zip(whole, streamed, strict=True):
        np.testing.assert_allclose(a.face, b.face, atol=1e-4)
        np.testing.assert_allclose(a.expression, b.expression, atol=1e-3)


@espeak
@pytest.mark.parametrize("listen", LISTEN)
def test_streamed_speech_equals_whole_speech(said: Utterance, listen: str) -> None:
    whole, streamed = moved(said.pcm, len(said.pcm), listen), moved(said.pcm, 777, listen)
    print("largest difference", np.abs(opening(whole) - opening(streamed)).max())
    np.testing.assert_allclose(opening(whole), opening(streamed), atol=1e-3)


@pytest.mark.parametrize("listen", LISTEN)
def test_motion_comes_every_hundredth_of_a_second_from_the_first_chunk_on(listen: str) -> None:
    stage = Lips(LipsOptions(listen=listen))  # type: ignore[arg-type]
    for start in (Fraction(0), Fraction(1001, 30000)):
        motions = list(run(stage, chunks(hiss(1.003), 480, start)))
        assert [m.time for m in motions] == [start + Fraction(i, 100) for i in range(101)]


def test_live_never_waits_for_more_than_200_ms_of_sound() -> None:
    assert Fraction(200, 1000) >= LOOK_AHEAD
    stage, heard, made = Lips(LipsOptions(listen="live")), Fraction(0), 0
    for chunk in chunks(hiss(), 160):
        heard += Fraction(len(chunk.pcm), SAMPLE_RATE)
        made += len(stage.push(chunk))
        assert Fraction(made, 100) >= heard - LOOK_AHEAD - Fraction(1, 100)
    assert made


def test_no_sound_is_no_motion() -> None:
    assert list(run(Lips(), [])) == []
    assert list(phones_of([])) == []


@espeak
@pytest.mark.parametrize("listen", LISTEN)
def test_a_mouth_speaks_with_the_voice_and_rests_without(said: Utterance, listen: str) -> None:
    pause = np.zeros(2 * SAMPLE_RATE, np.float32)
    gap = opening(moved(np.concatenate((pause, said.pcm, pause)), listen=listen)) - 0.0122
    n = len(said.pcm) // 160
    assert gap[200 : 200 + n].std() > 0.02
    assert np.abs(gap[:130]).max() < 0.005
    assert np.abs(gap[200 + n + 60 :]).max() < 0.005


@espeak
def test_lips_meet_on_nearly_every_p_b_and_m(said: Utterance) -> None:
    motions = moved(said.pcm)
    gap = opening(motions)
    assert said.phones is not None
    closed = []
    for phone in said.phones:
        if phone.symbol in "pbm":
            part = gap[max(0, int(phone.start * 100) - 2) : int(phone.end * 100) + 3]
            closed.append(part.min() < 0.02)
    print(f"{sum(closed)} of {len(closed)} closures")
    assert len(closed) >= 9
    assert np.mean(closed) >= 0.9


@espeak
@pytest.mark.parametrize("make", [sounds.steady, sounds.breaths, sounds.music, sounds.tones])
def test_noise_breath_and_music_move_the_mouth_little(make: object, said: Utterance) -> None:
    speech = opening(moved(said.pcm)).std()
    moves = [
        opening(moved(make(4 * SAMPLE_RATE, np.random.default_rng(1000 + i)))).std()  # type: ignore[operator]
        for i in range(3)
    ]
    print(f"{np.mean(moves) / speech:.3f} of the movement in speech")
    assert np.mean(moves) < 0.08 * speech


@espeak
def test_phones_heard_are_mostly_those_said_and_fill_the_time(said: Utterance) -> None:
    heard = list(phones_of(chunks(said.pcm, 1000, Fraction(3))))
    assert said.phones is not None
    assert heard[0].start == 3
    assert all(a.end == b.start for a, b in pairwise(heard))
    assert abs(float(heard[-1].end - 3) - len(said.pcm) / SAMPLE_RATE) < 0.011
    times = np.arange(0.005, len(said.pcm) / SAMPLE_RATE, 0.01)

    def at(phones: tuple[Phone, ...], time: float) -> str:
        return next((p.symbol for p in phones if p.start <= time < p.end), SILENCE)

    right = np.mean([at(said.phones, t) == at(tuple(heard), t + 3) for t in times])
    print(f"{right:.2f} of the time the right phone")
    assert right > 0.6


@espeak
@pytest.mark.parametrize("size", [480, 16000])
def test_an_alignment_puts_right_what_was_misheard_and_the_other_way_round(said: Utterance, size: int) -> None:
    assert said.phones is not None
    noisy = said.pcm + sounds.coloured(len(said.pcm), 2, np.random.default_rng(3)) * np.float32(0.6)
    truth = opening(motion_of(said.phones, said.duration))
    heard, known = (opening(list(run(Lips(phones=phones), chunks(noisy, size)))) for phones in ((), said.phones))
    r_heard, r_known = (np.corrcoef(truth, gap)[0, 1] for gap in (heard, known))
    print(f"r {r_heard:.2f} by ear, {r_known:.2f} with the alignment")
    assert r_known > max(r_heard + 0.05, 0.7)


def test_lips_touch_for_a_sound_that_only_a_transcript_tells_of(said: Utterance) -> None:
    assert said.phones is not None
    vowel = max((p for p in said.phones if p.symbol in VOWELS), key=lambda p: p.end - p.start)
    told = tuple(replace(p, symbol="m") if p is vowel else p for p in said.phones)
    rows = slice(round(vowel.start * 100), round(vowel.end * 100))
    heard, known = (opening(list(run(Lips(phones=phones), chunks(said.pcm))))[rows] for phones in ((), told))
    rest = opening(moved(np.zeros(SAMPLE_RATE, np.float32))).max()
    assert heard.min() > rest + 0.01
    assert known.min() < rest + 0.001


def test_known_phones_move_the_mouth_when_they_sound() -> None:
    times = [Fraction(k, 10) for k in (10, 12, 14, 16)]
    phones = tuple(Phone(a, b, s) for a, b, s in zip(times[:-1], times[1:], "apa", strict=True))
    motions = motion_of(phones, Fraction(3))
    gap = opening(motions)
    assert len(motions) == 300
    assert motions[-1].time == Fraction(299, 100)
    assert gap[108:112].min() > 0.08 < gap[148:152].min()
    assert gap[124:136].max() < 0.015
    assert gap[200:].max() < 0.015
    shifted = motion_of(phones, Fraction(1), start=Fraction(1))
    assert shifted[0].time == 1
    np.testing.assert_allclose(opening(shifted)[20:50], gap[120:150], atol=1e-3)


def test_many_faces_at_once_are_the_faces_of_a_written_performance() -> None:
    made = np.zeros((3, N_EXPRESSION), np.float32)
    for i, name in enumerate(("jawOpen", "mouthPucker", "mouthSmileLeft")):
        made[i, ARKIT_INDEX[name]] = 0.5
    faces = faces_of(made, np.zeros(3, np.float32))
    for expression, face in zip(made, faces, strict=True):
        np.testing.assert_allclose(
            face, face_of(expression, np.zeros((2, 2), np.float32)), atol=4e-3
        )  # lips part, never pass
    np.testing.assert_allclose(faces_of(made * 0, np.zeros(3, np.float32))[0], template(), atol=1e-6)


def test_lips_that_are_shut_touch_whatever_the_jaw_does() -> None:
    made = np.zeros((1, N_EXPRESSION), np.float32)
    made[0, ARKIT_INDEX["jawOpen"]] = 0.5
    face = faces_of(made, np.ones(1, np.float32))[0]
    rest = template()
    assert np.all(face[LOWER, 1] - face[UPPER, 1] <= rest[LOWER, 1] - rest[UPPER, 1] + 1e-6)


def test_a_mouth_moves_without_scipy_being_loaded() -> None:
    code = (
        "import sys\n"
        "from fractions import Fraction\n"
        "import numpy as np\n"
        "from audio.lips import Lips\n"
        "from runtime.records import AudioChunk\n"
        "assert Lips().push(AudioChunk(time=Fraction(0), pcm=np.zeros(32000, np.float32)))\n"
        "assert not any(n.startswith('scipy') for n in sys.modules), 'a fifth of a second lost'\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_weights_are_small() -> None:
    from audio.hearing import WEIGHTS

    assert Path(WEIGHTS).stat().st_size < 10_000_000
