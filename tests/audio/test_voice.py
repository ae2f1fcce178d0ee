"""Text is spoken, and each phone stands where the mouth makes it."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from audio.phones import SILENCE, unknown_ipa
from audio.voice import CommandVoice, EspeakVoice, Language, Utterance, find_language, languages, voices
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE

HAS_ESPEAK = find_spec("espeakng_loader") is not None
espeak = pytest.mark.skipif(not HAS_ESPEAK, reason="make setup brings it")

# Digits are read in any language and any script.
NUMBERS = "1 2 3 4 5 6 7 8 9 10 14 36 100, 1000. a b c d e f g"


def level_db(said: Utterance, start_s: float, end_s: float) -> float:
    part = said.pcm[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    return float(10 * np.log10((part.astype(np.float64) ** 2).mean() + 1e-10))


@espeak
def test_a_text_is_spoken_at_the_houses_rate_and_its_phones_fill_it() -> None:
    said = EspeakVoice("en-us").speak("Place red by J five now.")
    assert said.pcm.dtype == np.float32
    assert said.pcm.ndim == 1
    assert 0.1 < np.abs(said.pcm).max() <= 1
    assert said.phones is not None
    assert said.phones[0].start == 0
    assert abs(said.phones[-1].end - said.duration) < 0.001
    assert all(a.end == b.start for a, b in pairwise(said.phones))
    assert "".join(phone.symbol for phone in said.phones) == "pleɪsɹɛdbaɪdʒeɪfaɪvnaʊ_"


@espeak
def test_stress_stands_on_the_vowel_that_has_it() -> None:
    said = EspeakVoice("en-us").speak("banana")
    assert [(p.symbol, p.stress) for p in said.phones or () if p.stress] == [("æ", 1.0)]


@espeak
@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("en-us", "And so, my fellow Americans", "ænd soʊ_ maɪ fɛloʊ ʌmɛɹɪkənz_"),
        ("de", "Guten Morgen, Pia", "gutən mɔrgən_ piɑ_"),
    ],
)
def test_it_is_known_where_words_begin(language: str, text: str, said: str) -> None:
    spoken = EspeakVoice(language).speak(text)
    spaced = "".join(" " * (i in spoken.words) + p.symbol for i, p in enumerate(spoken.phones or ()))
    assert spaced.strip() == said


@espeak
def test_a_silent_closure_belongs_to_its_plosive_and_holds_no_sound() -> None:
    said = EspeakVoice("en-us").speak("happy copper, attack a rapid paper.")
    closed = [p for p in said.phones or () if p.symbol in "pk" and p.start > 0.1]
    assert len(closed) >= 6
    for phone in closed:
        start = float(phone.start)
        assert level_db(said, start + 0.006, start + 0.024) < -60
        assert 0.05 < phone.end - phone.start < 0.2


@espeak
@pytest.mark.parametrize("symbol", "mvsʃ")
def test_a_consonant_begins_where_the_vowel_before_it_falls(symbol: str) -> None:
    words = {"m": "aroma, coma, comma", "v": "over, lava, hover", "s": "kiss us, essay", "ʃ": "ashore, ashen, fishy"}
    said = EspeakVoice("en-us").speak(words[symbol])
    found = [b for a, b in pairwise(said.phones or ()) if b.symbol == symbol and a.stress]
    assert found
    for phone in found:
        start = float(phone.start)
        before, after = level_db(said, start - 0.05, start - 0.02), level_db(said, start - 0.005, start + 0.02)
        assert after < before - 1.5, f"{symbol} at {start:.3f}: {before:.1f} dB before, {after:.1f} after"


@espeak
@pytest.mark.slow
def test_every_language_says_numbers_in_phones_that_are_known() -> None:
    """Whatever espeak calls a sound, in any language, is a symbol of ours."""
    from audio import voice

    def said(language: Language) -> voice._Said | None:
        try:
            return voice._espeak().say(language.identifier, NUMBERS, 200, 50)
        except InputError:
            return None

    broken = []
    with ThreadPoolExecutor(2) as pool:
        for language, heard in zip(languages(), pool.map(said, languages()), strict=True):
            if heard is None:
                broken.append(language.code)
                continue
            names = {mark.name for mark in heard.marks if not mark.name.startswith("(")}
            assert not [name for name in names if unknown_ipa(name)], language
            phones = voice._phones(heard)
            assert len({phone.symbol for phone in phones} - {SILENCE}) >= 6, language
            assert phones[0].start == 0
            assert phones[-1].end == Fraction(len(heard.pcm), heard.rate)
            assert all(a.end == b.start for a, b in pairwise(phones)), language
    assert len(broken) <= 1, broken  # espeak 1.52 breaks down over Greenlandic numbers


@espeak
def test_speakers_differ_in_sound_and_agree_in_what_they_say() -> None:
    one, other = (EspeakVoice("de", voice=name).speak("Guten Tag") for name in (None, "Annie"))
    assert [p.symbol for p in one.phones or ()] == [p.symbol for p in other.phones or ()]
    n = min(len(one.pcm), len(other.pcm))
    assert np.abs(one.pcm[:n] - other.pcm[:n]).max() > 0.05
    assert len(voices()) > 20


@espeak
def test_a_faster_voice_is_shorter() -> None:
    slow, fast = (EspeakVoice("en", rate=rate).speak("One two three four five").duration for rate in (120, 240))
    assert fast < slow * 0.7


@espeak
@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("en", "en-gb"),
        ("EN_us", "en-us"),
        ("fr", "fr-fr"),
        ("fr-CA", "fr-fr"),
        ("German", "de"),
        ("de-AT", "de"),
        ("zh-CN", "cmn"),
        ("pt-BR", "pt-br"),
        ("english (america)", "en-us"),
    ],
)
def test_a_language_is_found_by_any_of_its_names(asked: str, code: str) -> None:
    assert find_language(asked).code == code


@espeak
def test_a_wrong_language_or_voice_is_told_with_what_is_like_it() -> None:
    with pytest.raises(InputError, match="language 'germn' is not known; wanted a code like de"):
        EspeakVoice("germn")
    with pytest.raises(InputError, match=r"voice 'anie' is not known; wanted one like Annie, "):
        EspeakVoice("de", voice="anie")
    with pytest.raises(InputError, match="rate is 10, wanted 80 to 450"):
        EspeakVoice("de", rate=10)
    with pytest.raises(InputError, match="pitch is 100, wanted 0 to 99"):
        EspeakVoice("de", pitch=100)


@espeak
@pytest.mark.parametrize("text", ["", "  \n", "...", "\0"])
def test_a_text_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="holds nothing that can be said in en-us"):
        EspeakVoice().speak(text)


def test_without_the_library_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from audio import voice

    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r"make setup adds espeak-ng \(GPL\)"):
        voice._espeak.__wrapped__()


@espeak
def test_a_library_that_breaks_down_or_is_broken_takes_nothing_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audio import voice

    whole = voice._espeak()
    for broken, said in (
        (voice._Espeak("no such library.so", whole.data), "espeak-ng cannot speak: OSError"),
        (voice._Espeak(whole.library, tmp_path), f"espeak-ng cannot speak: {tmp_path} holds no voices"),
    ):
        with pytest.raises(InputError, match=said):
            broken.say("gmw/en", "hello", 160, 50)
    (tmp_path / "python").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InputError, match="espeak-ng broke down over the text 'hello'"):
        whole.say("gmw/en", "hello", 160, 50)


@espeak
def test_the_library_is_found_under_a_very_long_path(tmp_path: Path) -> None:
    """Its own buffer for a path holds 160 bytes."""
    import espeakng_loader

    deep = tmp_path.joinpath(*["a_folder_with_a_long_name"] * 8)
    deep.mkdir(parents=True)
    (deep / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path(), target_is_directory=True)
    script = f"""
import espeakng_loader
espeakng_loader.get_data_path = lambda: {str(deep / "espeak-ng-data")!r}
from audio.voice import EspeakVoice
print(len(EspeakVoice("de").speak("Hallo").phones))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) >= 5


# A program of the kind that --voice-command names: a tone as long as its text, on stdout or in a file.
SPEAKER = """
import sys, time, wave, io, math, struct
text = sys.argv[2] if len(sys.argv) > 2 else sys.stdin.read()
if text == "crash": sys.exit("no such voice: x")
if text == "sleep": time.sleep(60)
held = io.BytesIO()
with wave.open(held, "wb") as file:
    file.setparams((1, 2, 22050, 0, "NONE", ""))
    file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i / 9))) for i in range(2205 * len(text))))
data = {"garbage": b"not a wav at all, sorry", "nothing": b""}.get(text, held.getvalue())
if sys.argv[1] == "-": sys.stdout.buffer.write(data)
else: open(sys.argv[1], "wb").write(data)
"""


@pytest.fixture
def speaker(tmp_path: Path) -> str:
    path = tmp_path / "a speaker.py"
    path.write_text(SPEAKER)
    return f"{sys.executable} '{path}'"


@pytest.mark.parametrize("end", ["-", "{out}", "- {text}", "{out} {text}", "'{out}' '{text}'"])
def test_a_command_speaks_by_any_way_in_and_out(speaker: str, end: str) -> None:
    said = CommandVoice(f"{speaker} {end}").speak("hello; $(x) 'it'")
    assert said.phones is None
    assert said.duration == Fraction(16, 10)
    assert 0.2 < np.abs(said.pcm).max() < 0.4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("crash", "failed with status 1: no such voice: x$"),
        ("sleep", "ran over 1 s$"),
        ("garbage", "^what the voice command .* made holds (text|no media that can be read); wanted"),
        ("nothing", "made no sound; wanted a sound file on stdout$"),
        (" ", "the text ' ' holds nothing that can be said"),
    ],
)
def test_a_command_that_does_not_speak_is_told_in_a_sentence(speaker: str, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        CommandVoice(f"{speaker} -", timeout_s=1).speak(text)


def test_a_command_that_writes_nowhere_is_told(speaker: str) -> None:
    with pytest.raises(InputError, match=r"made no sound; wanted a sound file at \{out\}"):
        CommandVoice(f"{speaker} - {{text}} {{out}}").speak("hello")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "names no program"),
        ("no_such_program_here {out}", "'no_such_program_here' is not found"),
        ("python 'unclosed", "cannot be split into words: No closing quotation"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_before_it_is_needed(command: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        CommandVoice(command)


def test_a_command_that_is_stopped_takes_with_it_what_it_started(tmp_path: Path) -> None:
    script = tmp_path / "slow.sh"
    script.write_text(f"sleep 60 & echo $! > {tmp_path}/pid; wait\n")
    with pytest.raises(InputError, match=r"ran over 0\.5 s"):
        CommandVoice(f"sh {script}", timeout_s=0.5).speak("hello")
    process = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    for _ in range(100):  # the kernel takes a moment to bury it
        if not process.exists() or process.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("what the command started still runs")
