"""Text -> speech: one small protocol, and two that keep it.

`EspeakVoice` speaks about a hundred languages and knows when each phone sounds. It runs the library
that the wheel `espeakng-loader` carries; that is GPL, so it comes only with the extra `voice` and
nothing here needs it. `CommandVoice` is any program that makes a sound file of a text.

What espeak's phoneme events say is put right here, measured on its own sound: of plosives they mark
the burst, after a closure of digital silence; of what is voiced or hisses, a moment 10 to 20 ms late;
their names have at most 8 bytes; some name no sound but a mark of the last one, or a change of language.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audio.phones import SILENCE, VOWELS, Phone, of_ipa, spread
from audio.speech import read_speech, whole
from runtime.errors import InputError
from runtime.missing import brought_by
from runtime.records import SAMPLE_RATE


@dataclass(frozen=True)
class Utterance:
    """What a voice said."""

    pcm: NDArray[np.float32]  # [T], mono, -1..1, at SAMPLE_RATE
    phones: tuple[Phone, ...] | None  # without gaps from 0 to the end; None where the voice does not tell
    words: tuple[int, ...] = ()  # which of the phones begin a word; empty where the voice does not tell

    @property
    def duration(self) -> Fraction:
        return Fraction(len(self.pcm), SAMPLE_RATE)


class Voice(Protocol):
    def speak(self, text: str) -> Utterance:
        """Say a text. Raises InputError where it holds nothing that can be said."""


@dataclass(frozen=True)
class Language:
    """One of espeak's languages."""

    code: str  # BCP 47, like en-us
    name: str  # English (America)
    identifier: str  # espeak's own, like gmw/en-US


@dataclass(frozen=True)
class EspeakVoice:
    """espeak-ng. Raises InputError for a language or voice that it does not have, naming those most like it."""

    language: str = "en-us"  # a code like en, en-us or pt-BR, or a name like German
    voice: str | None = None  # one of voices(): a speaker, with any language
    rate: int = 165  # words a minute
    pitch: int = 50  # 0..99

    def __post_init__(self) -> None:
        if not 80 <= self.rate <= 450:
            raise InputError(f"rate is {self.rate}, wanted 80 to 450 words a minute")
        if not 0 <= self.pitch <= 99:
            raise InputError(f"pitch is {self.pitch}, wanted 0 to 99")
        find_language(self.language)
        if self.voice is not None:
            _find_voice(self.voice)

    def speak(self, text: str) -> Utterance:
        """Say a text: sound, and phones corrected to when the mouth makes them."""
        identifier = find_language(self.language).identifier
        name = identifier if self.voice is None else f"{identifier}+{_find_voice(self.voice)}"
        said = _espeak().say(name, text, self.rate, self.pitch)
        phones = _phones(said)
        if all(phone.symbol == SILENCE for phone in phones):
            raise InputError(f"the text {_short(text)!r} holds nothing that can be said in {self.language}")
        return Utterance(_resampled(said), phones, _beginnings(said, phones))


@dataclass(frozen=True)
class CommandVoice:
    """A program that makes a sound file of a text.

    The command is split as a shell would, but no shell runs it. `{text}` in it stands for the text, which
    otherwise comes on stdin; `{out}` for the file to write, otherwise the file is read from stdout. What it
    made may be anything that `read_speech` reads. Raises InputError where it does not do so.
    """

    command: str  # "piper --model en.onnx --output_file {out}"
    timeout_s: float = 300.0  # then it is stopped, with all that it started

    def __post_init__(self) -> None:
        if not self._parts():
            raise InputError(f"the voice command {self.command!r} names no program")
        program = self._parts()[0]
        if shutil.which(program) is None:
            raise InputError(f"the voice command's program {program!r} is not found; wanted one that can be run")

    def _parts(self) -> list[str]:
        try:
            return shlex.split(self.command)
        except ValueError as error:
            raise InputError(f"the voice command {self.command!r} cannot be split into words: {error}") from error

    def speak(self, text: str) -> Utterance:
        if not text.strip():
            raise InputError(f"the text {_short(text)!r} holds nothing that can be said")
        with tempfile.TemporaryDirectory(prefix="voice") as folder:
            made = Path(folder, "speech.wav")
            printed = self._run(text, made)
            path = made if "{out}" in self.command else printed
            if not path.exists() or path.stat().st_size == 0:
                raise InputError(f"the voice command {self.command!r} made no sound; wanted {self._where()}")
            try:
                pcm = whole(read_speech(path))
            except InputError as error:
                raise InputError(
                    str(error).replace(str(path), f"what the voice command {self.command!r} made")
                ) from error
        return Utterance(pcm, None)

    def _where(self) -> str:
        return "a sound file at {out}" if "{out}" in self.command else "a sound file on stdout"

    def _run(self, text: str, made: Path) -> Path:
        """Run the command to its end; returns what it printed, as a file."""
        words = [part.replace("{text}", text).replace("{out}", str(made)) for part in self._parts()]
        said, printed, complained = (made.with_name(name) for name in ("text", "stdout", "stderr"))
        said.write_text("" if "{text}" in self.command else text, encoding="utf-8")
        # Files, not pipes: what the program leaves running in the background cannot keep us waiting on them.
        with said.open("rb") as stdin, printed.open("wb") as stdout, complained.open("wb") as stderr:
            try:
                process = subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)
            except (OSError, ValueError) as error:
                raise InputError(f"the voice command {self.command!r} cannot be run: {error}") from error
            try:
                status = process.wait(self.timeout_s)
            except subprocess.TimeoutExpired as error:
                raise InputError(f"the voice command {self.command!r} ran over {self.timeout_s:g} s") from error
            finally:
                _stop(process)
        if status:
            last = complained.read_text(encoding="utf-8", errors="replace").strip().split("\n")[-1]
            raise InputError(f"the voice command {self.command!r} failed with status {status}: {last or 'no word why'}")
        return printed


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a program that still runs, and what it started."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def languages() -> tuple[Language, ...]:
    """espeak's languages, by code. Raises InputError without the extra `voice`."""
    return _espeak().languages


def voices() -> tuple[str, ...]:
    """The speakers that any of espeak's languages can have. Raises InputError without the extra `voice`."""
    return _espeak().voices


# Codes that others use for languages espeak files under another.
_ALIASES = {"zh": "cmn", "zh-cn": "cmn", "zh-tw": "cmn", "zh-hk": "yue", "no": "nb", "iw": "he", "in": "id"}


def find_language(wanted: str) -> Language:
    """By code (any case, `_` or `-`), by name, or the nearest region of the same language. Raises InputError."""
    key = wanted.strip().lower().replace("_", "-")
    key = _ALIASES.get(key, key)
    by: dict[str, Language] = {}
    for language in reversed(languages()):
        by[language.name.split(" (")[0].lower()] = language
    for language in reversed(languages()):
        by[language.code.split("-")[0]] = language
        by[language.name.lower()] = language
    for language in reversed(languages()):
        by[language.identifier.split("/")[-1].lower()] = language  # fr for fr-fr, en for en-gb
        by[language.code] = language
    base = key.split("-")[0]
    if found := by.get(key):
        return found
    if "-" in key and (found := by.get(_ALIASES.get(base, base))):
        return found
    near = get_close_matches(key, by, n=8, cutoff=0.5)
    codes = list(dict.fromkeys(by[name].code for name in near)) or ["en-us", "de", "fr", "es"]
    raise InputError(f"language {wanted!r} is not known; wanted a code like {', '.join(codes[:5])}")


def _find_voice(wanted: str) -> str:
    known = {name.lower(): name for name in voices()}
    if found := known.get(wanted.strip().lower()):
        return found
    near = get_close_matches(wanted.lower(), known, n=5, cutoff=0.4)
    named = [known[name] for name in near] or list(voices()[:5])
    raise InputError(f"voice {wanted!r} is not known; wanted one like {', '.join(named)}")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


@dataclass(frozen=True)
class _Mark:
    sample: int
    name: str  # espeak's IPA; empty is a pause


@dataclass(frozen=True)
class _Said:
    """What the library gave: its sound at its own rate and its events, oldest first."""

    pcm: NDArray[np.int16]  # [T], mono
    rate: int  # Hz
    marks: tuple[_Mark, ...]
    words: tuple[int, ...]  # samples at which words begin


_PATIENCE_S = 600  # for an hour of speech it needs a minute


@dataclass(frozen=True)
class _Espeak:
    """The library and its data, run by `audio.espeak` in a process that it may take down with it."""

    library: str
    data: Path

    @cached_property
    def languages(self) -> tuple[Language, ...]:
        found: dict[str, Language] = {}
        for code, name, identifier in json.loads(self._run(["list"], b"")):
            language = Language(code.lower(), name.strip(), identifier)
            if self._has_dictionary(language):
                found.setdefault(language.code, language)
        return tuple(sorted(found.values(), key=lambda language: language.code))

    @cached_property
    def voices(self) -> tuple[str, ...]:
        return tuple(sorted((path.name for path in (self.data / "voices" / "!v").iterdir()), key=str.lower))

    def _has_dictionary(self, language: Language) -> bool:
        """The wheel lists some languages whose dictionary it lacks; they would be silent."""
        lines = (self.data / "lang" / language.identifier).read_text(encoding="utf-8", errors="replace").split("\n")
        named = [line.split()[1] for line in lines if line.startswith("dictionary ")]
        name = named[0] if named else language.code.split("-")[0]
        return (self.data / f"{name}_dict").exists()

    def say(self, name: str, text: str, rate: int, pitch: int) -> _Said:
        spoken = text.replace("\0", " ").encode("utf-8", errors="replace")
        facts, _, pcm = self._run(["say", name, str(rate), str(pitch)], spoken).partition(b"\n")
        said = json.loads(facts)
        marks = tuple(_Mark(sample, mark) for sample, mark in said["marks"])
        return _Said(np.frombuffer(pcm, np.int16), said["rate"], marks, tuple(said["words"]))

    def _run(self, task: list[str], given: bytes) -> bytes:
        program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("espeak.py")), self.library, str(self.data)]
        try:
            ran = subprocess.run([*program, *task], input=given, capture_output=True, timeout=_PATIENCE_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"espeak-ng did not come to the end of the text within {_PATIENCE_S} s") from error
        if ran.returncode < 0:
            raise InputError(f"espeak-ng broke down over the text {_short(given.decode(errors='replace'))!r}")
        if ran.returncode:
            last = ran.stderr.decode(errors="replace").strip().split("\n")[-1]
            raise InputError(f"espeak-ng cannot speak: {last}")
        return ran.stdout


@cache
def _espeak() -> _Espeak:
    try:
        import espeakng_loader
    except ImportError as error:
        raise InputError(
            f"this installation has no voice of its own; {brought_by('espeakng-loader')} adds espeak-ng (GPL), "
            "or name another with --voice-command"
        ) from error
    return _Espeak(espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path()))


_LATE = Fraction(15, 1000)  # s, of all events but those below
_PLOSIVES = frozenset("ptkbdg")  # the last three only after another consonant, but the search is the same
_HISSES = frozenset("ptkfθsʃɕxh")  # after one of these a vowel's event is on time
_CLOSURE = Fraction(60, 1000)  # s; no closure of a plosive is longer
_STRESS = {"ˈ": 1.0, "ˌ": 0.5}


@dataclass(frozen=True)
class _Sound:
    start: Fraction  # seconds
    symbols: tuple[str, ...]
    stress: float


def _phones(said: _Said) -> tuple[Phone, ...]:
    """Phones without gaps over the whole sound, from corrected events."""
    end = Fraction(len(said.pcm), said.rate)
    sounds = _sounds(said)
    if not sounds or sounds[0].start > 0:
        sounds.insert(0, _Sound(Fraction(0), (SILENCE,), 0.0))
    starts = [min(sound.start, end) for sound in sounds] + [end]
    found: list[Phone] = []
    for sound, start, stop in zip(sounds, starts[:-1], starts[1:], strict=True):
        if stop > start:
            found.extend(spread(sound.symbols, start, stop, sound.stress))
    return tuple(_joined_silences(found))


def _sounds(said: _Said) -> list[_Sound]:
    sounds: list[_Sound] = []
    for mark in said.marks:
        symbols = _symbols(mark.name)
        if symbols is None:
            continue
        before = sounds[-1].symbols[-1] if sounds else SILENCE
        start = Fraction(mark.sample, said.rate) - _lead(said, mark.sample, before, symbols[0])
        stress = _STRESS.get(mark.name[:1], 0.0)
        sounds.append(_Sound(max(start, sounds[-1].start if sounds else Fraction(0)), symbols, stress))
    return sounds


def _symbols(name: str) -> tuple[str, ...] | None:
    """What an event names: SILENCE for a pause, None for a mark of the sound before or a change of language."""
    if not name:
        return (SILENCE,)
    if name.startswith("("):
        return None
    aspirated = len(name) > 1 and name[-1] == "h"  # ph of Mandarin is one sound, never p and then h
    return tuple(of_ipa(name[:-1] if aspirated else name)) or None


def _lead(said: _Said, sample: int, before: str, symbol: str) -> Fraction:
    """How long before an event its sound begins, in seconds."""
    if symbol == SILENCE or (symbol in VOWELS and before in _HISSES):
        return Fraction(0)
    if symbol in _PLOSIVES:
        return _closure(said, sample)
    return _LATE


def _closure(said: _Said, sample: int) -> Fraction:
    """How long the digital silence just before a burst lasts, in seconds; _LATE where another sound runs into it."""
    before = said.pcm[max(0, sample - int(_CLOSURE * said.rate)) : sample]
    loud = np.flatnonzero((before > 1) | (before < -1))
    n_silent = len(before) - (int(loud[-1]) + 1 if loud.size else 0)
    return max(Fraction(n_silent, said.rate), _LATE)


def _beginnings(said: _Said, phones: Sequence[Phone]) -> tuple[int, ...]:
    """Which phones begin a word: of each word, the sound that begins nearest to its event."""
    starts = np.array([float(phone.start) for phone in phones])
    spoken = np.array([phone.symbol != SILENCE for phone in phones])
    found = set()
    for word in said.words:
        after = int(np.searchsorted(starts, word / said.rate))
        near = [i for i in range(max(after - 1, 0), min(after + 2, len(phones))) if spoken[i]]
        if near:
            found.add(min(near, key=lambda i: abs(starts[i] - word / said.rate)))
    return tuple(sorted(found))


def _joined_silences(phones: Sequence[Phone]) -> list[Phone]:
    joined: list[Phone] = []
    for phone in phones:
        if joined and phone.symbol == joined[-1].symbol == SILENCE:
            joined[-1] = Phone(joined[-1].start, phone.end, SILENCE)
        else:
            joined.append(phone)
    return joined


def _resampled(said: _Said) -> NDArray[np.float32]:
    from scipy.signal import resample_poly

    ratio = Fraction(SAMPLE_RATE, said.rate)
    pcm = said.pcm.astype(np.float32) / np.float32(2**15)
    out = resample_poly(pcm, ratio.numerator, ratio.denominator)
    return np.asarray(np.clip(out, -1, 1), np.float32)
