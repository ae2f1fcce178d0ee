"""What is to be said, and what a mouth does while it is said."""

from __future__ import annotations

from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio.dubbing import RATE, Curve
from audio.lips import motion_of
from audio.mouth_shape import OPENING, controls
from audio.phones import SILENCE, Phone
from audio.speech import inspect_speech
from audio.training import sounds
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE, AudioChunk
from runtime.stage import run
from server.lines import ByPhones, Heard, Line, SpeechOptions, joined, language_tag, lines_of, mouth_of
from tests.runtime.test_splice import wav


def phones(*said: tuple[str, float]) -> tuple[Phone, ...]:
    out, at = [], Fraction(0)
    for symbol, seconds in said:
        end = at + Fraction(str(seconds))
        out.append(Phone(at, end, symbol))
        at = end
    return tuple(out)


BANANA = phones((SILENCE, 0.5), ("b", 0.1), ("a", 0.3), ("n", 0.1), ("a", 0.4), ("m", 0.2), ("a", 0.3), (SILENCE, 0.6))


def chunks(n_samples: int, *cuts: int, start: Fraction = Fraction(0)) -> list[AudioChunk]:
    edges = [0, *cuts, n_samples]
    return [
        AudioChunk(time=start + Fraction(a, SAMPLE_RATE), pcm=np.zeros(b - a, np.float32)) for a, b in pairwise(edges)
    ]


def test_known_phones_move_the_mouth_the_same_however_the_sound_is_cut() -> None:
    said = tuple(Phone(p.start + t, p.end + t, p.symbol) for t in range(0, 25, 3) for p in BANANA)
    n = 27 * SAMPLE_RATE
    whole = motion_of(said, Fraction(27))
    for cuts in ((), (7, 1_000, 170_000, 170_001), tuple(range(1600, n, 1600))):
        streamed = list(run(ByPhones(said), chunks(n, *cuts, start=Fraction(5))))
        assert [m.time for m in streamed] == [5 + Fraction(i, RATE) for i in range(27 * RATE)]
        off = max(float(np.abs(a.face - b.face).max()) for a, b in zip(streamed, whole, strict=True))
        print(f"{len(cuts)} cuts: largest difference {off:.2g} units")
        assert off < 1e-4


def test_after_a_flush_it_is_as_new() -> None:
    stage = ByPhones(BANANA)
    once, again = (list(run(stage, chunks(2 * SAMPLE_RATE))) for _ in range(2))
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a.face, b.face)


def test_a_line_with_known_phones_opens_and_shuts_the_mouth_when_they_say(tmp_path: Path) -> None:
    sound = wav(tmp_path / "a.wav", np.full(20_000, 0.1, np.float32))
    mouth = mouth_of(Line(inspect_speech(sound), Fraction(3), None, BANANA))
    assert mouth.curve.start == 3
    assert len(mouth.curve.values) == 250
    opening = mouth.curve.at(np.array([3.75, 4.2, 4.5, 5.4]))[:, OPENING]
    assert opening[0] > opening[2] + 0.02
    assert opening[1] > opening[2] + 0.02
    assert abs(opening[3]) < 0.02
    assert not mouth.is_silent
    assert mouth.rests is None


def test_music_gives_a_mouth_nothing_to_say_and_that_is_told(tmp_path: Path) -> None:
    music = wav(tmp_path / "music.wav", sounds.music(4 * SAMPLE_RATE, np.random.default_rng(3)), SAMPLE_RATE)
    mouth = mouth_of(Line(inspect_speech(music)))
    assert not mouth.is_silent
    assert mouth.rests == f"nobody is heard to speak in {music}, so the mouth rests"
    known = mouth_of(Line(inspect_speech(music), phones=BANANA))
    assert known.rests is None


@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="espeakng-loader is not installed")
def test_a_word_is_enough_to_be_heard(tmp_path: Path) -> None:
    for word in ("yes", "go"):
        (line,) = lines_of(SpeechOptions(text=word), tmp_path)
        assert mouth_of(Line(inspect_speech(line.speech.path))).rests is None, word


def test_somebody_speaks_where_it_is_loud() -> None:
    rng = np.random.default_rng(0)
    pcm = 0.001 * rng.standard_normal(3 * SAMPLE_RATE).astype(np.float32)
    pcm[SAMPLE_RATE : 2 * SAMPLE_RATE] *= 200
    heard = Heard([AudioChunk(time=Fraction(0), pcm=part) for part in np.array_split(pcm, 17)])
    assert sum(len(chunk.pcm) for chunk in heard) == len(pcm)
    voiced = heard.voiced(3 * RATE)
    assert voiced[RATE : 2 * RATE].mean() > 0.95
    assert voiced[: RATE - 1].mean() < 0.05
    assert not heard.is_silent
    quiet = Heard(chunks(SAMPLE_RATE))
    assert list(quiet)
    assert quiet.is_silent
    assert not quiet.voiced(RATE).any()


def test_curves_are_joined_with_rest_between_them() -> None:
    a = Curve(Fraction(1), np.ones((50, 7), np.float32), np.ones(50, np.float32))
    b = Curve(Fraction(3), np.full((20, 7), 2, np.float32), np.ones(20, np.float32))
    both = joined([a, b])
    assert both.at(np.array([0.9, 1.2, 2.0, 3.1, 3.3]))[:, 0].tolist() == [0, 1, 0, 2, 0]
    assert both.voiced_at(np.array([1.2, 2.0, 3.1])).tolist() == [1, 0, 1]


@pytest.mark.parametrize("as_file", [False, True])
def test_a_transcript_is_a_text_or_a_file_of_it(tmp_path: Path, as_file: bool) -> None:
    sound = wav(tmp_path / "a.wav", np.zeros(8000, np.float32))
    given = "ba\nna  na"
    if as_file:
        (tmp_path / "said.txt").write_text(given, encoding="utf-8-sig")
        given = str(tmp_path / "said.txt")
    (line,) = lines_of(SpeechOptions(audio=sound, transcript=given), tmp_path)
    assert line.transcript == "ba na na"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"text": " "}, "the text is empty"),
        ({"audio": "a.wav", "transcript": " "}, "the transcript ' ' is empty"),
        ({"text": "a", "voice_command": "no-such-program {text}"}, "'no-such-program' is not found"),
        ({"text": "a", "language": "klingonese"}, "klingonese"),
    ],
)
def test_what_cannot_be_said_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    wav(tmp_path / "a.wav", np.zeros(8000, np.float32))
    if "language" in options and find_spec("espeakng_loader") is None:
        pytest.skip("espeakng-loader is not installed")
    options = {k: tmp_path / v if k == "audio" else v for k, v in options.items()}
    with pytest.raises(InputError, match=said):
        lines_of(SpeechOptions(**options), tmp_path)


@pytest.mark.parametrize(
    ("code", "tag"),
    [("de", "deu"), ("en-us", "eng"), ("pt-BR", "por"), ("cmn", "cmn"), ("xx", None), (None, None), ("German", None)],
)
def test_languages_have_the_names_that_files_use(code: str | None, tag: str | None) -> None:
    assert language_tag(code) == tag


def test_a_text_becomes_sound_and_a_mouth(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="espeakng-loader brings the voice; pip install espeakng-loader")
    (line,) = lines_of(SpeechOptions(text="Mama, a bee.", start=Fraction(2)), tmp_path)
    assert line.start == 2
    assert line.phones is not None
    mouth = mouth_of(line)
    assert len(mouth.curve.values) == pytest.approx(float(line.speech.duration) * RATE, abs=2)
    shut = [p for p in line.phones if p.symbol in ("m", "b")]
    assert len(shut) >= 3
    for phone in shut:
        middle = mouth.curve.at(np.array([float(2 + (phone.start + phone.end) / 2)]))[0, OPENING]
        assert middle < 0.02
    assert mouth.curve.values[:, OPENING].max() > 0.05


def test_a_mouth_of_the_mean_face_at_rest_differs_in_nothing() -> None:
    rest = motion_of(phones((SILENCE, 1.0)), Fraction(1))
    assert np.abs(controls(rest[50].face) - controls(rest[10].face)).max() < 1e-3
