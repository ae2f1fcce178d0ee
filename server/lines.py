"""What is to be said in a dub, where in the clip, and what a mouth does while it is said.

A recording, a text for a voice, or a file that lists such parts. Each becomes a Line: a sound file at its
native quality, and from it a curve of the mouth. Nothing here knows of pictures.
"""

from __future__ import annotations

import json
import logging
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio.dubbing import RATE, Curve, relative
from audio.lips import Lips, motion_of
from audio.mouth_shape import N_CONTROLS, OPENING
from audio.phones import Phone
from audio.speech import Listened, Speech, inspect_speech, read_speech, whole
from audio.voice import CommandVoice, EspeakVoice, Utterance, Voice, find_language
from perfcap.expression import template
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE, AudioChunk, Motion
from runtime.splice import Insert
from runtime.stage import Stage, run

log = logging.getLogger(__name__)

_TICK = SAMPLE_RATE // RATE  # samples of one value of a curve
_BLOCK, _AROUND = 10 * RATE, 2 * RATE  # moments worked out at once, and on either side that can matter to them
_AT_ONCE = 10 * RATE  # moments whose faces are measured together
_VOICED = 0.06  # of how loud a speech is in its loudest twentieth, from which somebody speaks
_KNOWN_BY = 600  # seconds of a clip's own sound that are enough to know its speaker
_PARTED = 0.085  # how far lips part in anything that is said: .10 and more in single words, .07 at most in music
SPEECH = "speech.wav"  # what a voice said
_PART = {"start", "end", "audio", "text", "transcript"}  # what a part of a segments file may say

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SpeechOptions:
    """Where a speech comes from: one of audio, text and segments."""

    audio: Path | None = None  # any file with sound
    text: str | None = None  # to be spoken by a voice
    segments: Path | None = None  # a .json list of {"start", "end", "audio" or "text"}: only these parts are dubbed
    language: str | None = None  # of the text, or of the transcript; None is English
    voice: str | None = None  # one of espeak's
    voice_command: str | None = None  # a program that speaks, instead of espeak
    transcript: str | None = None  # what is said in the audio, or a file that holds it
    start: Fraction | None = None  # seconds of the clip; only from here on is dubbed
    end: Fraction | None = None  # seconds of the clip

    def __post_init__(self) -> None:
        given = [name for name in ("audio", "text", "segments") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(f"--{name}" for name in given) or "nothing to be said"
            raise ValueError(f"found {found}; wanted one of --audio, --text and --segments")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"end is {float(self.end):g} s and start {float(self.start):g} s, wanted a later end")
        if self.segments is not None and (self.start is not None or self.end is not None):
            raise ValueError("--start and --end do not go with --segments, which says them of each part")
        if self.transcript is not None and self.audio is None:
            raise ValueError("--transcript goes with --audio; a text is known already")
        if self.audio is not None and (self.voice is not None or self.voice_command is not None):
            raise ValueError("--voice and --voice-command speak a --text; found --audio")
        if self.voice is not None and self.voice_command is not None:
            raise ValueError("--voice is one of espeak's; found --voice-command as well")

    @property
    def in_parts(self) -> bool:
        """Whether the rest of the clip stays as it is, with its own sound."""
        return self.segments is not None or self.start is not None or self.end is not None

    def the_voice(self) -> Voice:
        if self.voice_command is not None:
            return CommandVoice(self.voice_command)
        if self.language is None:
            return EspeakVoice(voice=self.voice)
        return EspeakVoice(self.language, self.voice)


@dataclass(frozen=True)
class Line:
    """One speech and its place."""

    speech: Speech
    start: Fraction = Fraction(0)  # seconds of the result
    end: Fraction | None = None  # seconds of the result; None is when the speech is over
    phones: tuple[Phone, ...] | None = None  # where it is known what is said when, seconds of the speech
    transcript: str | None = None
    language: str | None = None  # a code like en-us or de
    curve: Curve | None = None  # what the mouth does, where it was seen; from 0 on

    @property
    def length(self) -> Fraction:
        """Of its place, seconds."""
        return self.speech.duration if self.end is None else self.end - self.start

    @property
    def insert(self) -> Insert:
        """The sound in its place."""
        speech = self.speech
        return Insert(speech.track, self.start, self.start + self.length, begin=speech.origin + speech.start)

    def at(self, start: Fraction) -> Line:
        """The same from another time on."""
        return replace(self, start=start, end=None if self.end is None else start + self.length)


def lines_of(options: SpeechOptions, folder: Path) -> list[Line]:
    """All that is to be said, in order; sounds that are made go into `folder`. Raises InputError."""
    start = options.start or Fraction(0)
    if options.audio is not None:
        transcript = None if options.transcript is None else text_of(options.transcript)
        return [Line(inspect_speech(options.audio), start, options.end, None, transcript, options.language)]
    if options.text is not None:
        return [_spoken(options.the_voice(), options.text, start, options.end, folder / SPEECH)]
    assert options.segments is not None
    lines = [_part(part, i, options, folder) for i, part in enumerate(_parts(options.segments), 1)]
    lines.sort(key=lambda line: line.start)
    for before, after in pairwise(lines):
        if after.start < before.start + before.length:
            raise InputError(
                f"{options.segments} has a part from {float(after.start):g} s on, while that from "
                f"{float(before.start):g} s lasts until {float(before.start + before.length):g} s; wanted one at a time"
            )
    return lines


# ISO 639-1 -> 639-2/T, which is what files say of their tracks
_ISO = (
    "af:afr am:amh ar:ara az:aze be:bel bg:bul bn:ben bs:bos ca:cat cs:ces cy:cym da:dan de:deu el:ell en:eng eo:epo "
    "es:spa et:est eu:eus fa:fas fi:fin fr:fra ga:gle gd:gla gu:guj he:heb hi:hin hr:hrv hu:hun hy:hye id:ind is:isl "
    "it:ita ja:jpn ka:kat kk:kaz kn:kan ko:kor la:lat lb:ltz lt:lit lv:lav mk:mkd ml:mal mr:mar ms:msa mt:mlt my:mya "
    "nb:nob ne:nep nl:nld nn:nno no:nor pa:pan pl:pol pt:por ro:ron ru:rus sk:slk sl:slv sq:sqi sr:srp sv:swe sw:swa "
    "ta:tam te:tel th:tha tr:tur uk:ukr ur:urd uz:uzb vi:vie yue:yue zh:zho"
)
_TAGS = dict(pair.split(":") for pair in _ISO.split())


def language_tag(code: str | None) -> str | None:
    """`de` or `de-AT` as `deu`; None where it is not known."""
    first = (code or "").replace("_", "-").split("-")[0].lower()
    return first if len(first) == 3 and first.isalpha() else _TAGS.get(first)


def text_of(given: str) -> str:
    """A text, or what is in the file of that name."""
    path = Path(given)
    try:
        is_file = len(given) < 4096 and path.is_file()
    except OSError:  # longer than names may be
        is_file = False
    try:
        text = path.read_text(encoding="utf-8-sig") if is_file else given
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text; wanted what is said") from error
    if not text.strip():
        raise InputError(f"the transcript {given!r} is empty; wanted what is said")
    return " ".join(text.split())


def _spoken(voice: Voice, text: str, start: Fraction, end: Fraction | None, path: Path) -> Line:
    if not text.strip():
        raise InputError("the text is empty; wanted something to be said")
    said = voice.speak(text)
    write_speech(path, said)
    language = find_language(voice.language).code if isinstance(voice, EspeakVoice) else None
    return Line(inspect_speech(path), start, end, said.phones, None, language)


def write_speech(path: Path, said: Utterance) -> None:
    """A voice's sound as a .wav of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(said.pcm, -1, 1) * 32767).round().astype("<i2").tobytes())


def _parts(path: Path) -> list[Any]:
    try:
        parts = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=Fraction)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); wanted a .json list of parts") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); wanted a list of parts") from error
    if not isinstance(parts, list) or not parts:
        raise InputError(f'{path} holds no list of parts; wanted [{{"start": 1.5, "end": 4, "audio": "a.wav"}}, ...]')
    return parts


def _part(part: Any, number: int, options: SpeechOptions, folder: Path) -> Line:
    path = options.segments
    assert path is not None
    where = f"part {number} of {path}"
    if not isinstance(part, dict) or set(part) - _PART:
        found = ", ".join(sorted(set(part) - _PART)) if isinstance(part, dict) else type(part).__name__
        raise InputError(f"{where} holds {found}; wanted start, end, and audio or text")
    start, end = _time(part.get("start"), where) or Fraction(0), _time(part.get("end"), where)
    if end is not None and end <= start:
        raise InputError(f"{where} ends at {float(end):g} s and starts at {float(start):g} s; wanted a later end")
    audio, text = part.get("audio"), part.get("text")
    if isinstance(audio, str):
        transcript = part.get("transcript", text)
        if transcript is not None and not isinstance(transcript, str):
            raise InputError(f"{where} has a transcript that is no text; wanted what is said")
        return Line(inspect_speech(path.parent / audio), start, end, None, transcript, options.language)
    if isinstance(text, str):
        return _spoken(options.the_voice(), text, start, end, folder / f"speech-{number}.wav")
    raise InputError(f"{where} says nothing; wanted audio or text")


def _time(value: Any, where: str) -> Fraction | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Fraction)) or value < 0:
        raise InputError(f"{where} has the time {value!r}; wanted seconds, 0 or more")
    return Fraction(value)


# What the mouth does


class Heard:
    """Chunks, passed on as they come, of which it is known afterwards how loud each moment was."""

    def __init__(self, chunks: Iterable[AudioChunk], stop: Event | None = None) -> None:
        self._chunks = Listened(chunks)
        self._stop = stop or Event()  # once it is set, no more is passed on
        self._left = np.zeros(0, np.float32)
        self._loudness: list[Floats] = []

    def __iter__(self) -> Iterator[AudioChunk]:
        for chunk in self._chunks:
            if self._stop.is_set():
                return
            pcm = np.concatenate((self._left, chunk.pcm))
            n = len(pcm) // _TICK
            moments = pcm[: n * _TICK].reshape(n, _TICK)
            self._loudness.append(np.sqrt((moments**2).mean(1)))
            self._left = pcm[n * _TICK :]
            yield chunk

    @property
    def is_silent(self) -> bool:
        return self._chunks.is_silent

    def voiced(self, n: int) -> Floats:
        """[n] 0 or 1 whether somebody speaks, RATE times a second."""
        loudness = np.concatenate((*self._loudness, np.zeros(n, np.float32)))[:n]
        if self.is_silent or not n:
            return np.zeros(n, np.float32)
        return np.asarray(loudness > _VOICED * np.percentile(loudness, 95), np.float32)


@dataclass(frozen=True)
class Mouth:
    """What a mouth does while a sound is heard."""

    curve: Curve  # in seconds of the result
    is_silent: bool  # nothing was heard
    rests: str | None  # why it has nothing to say, for who wonders; None where it speaks


def mouth_of(line: Line, stop: Event | None = None) -> Mouth:
    """What a mouth does while a line is said, or up to when `stop` is set."""
    speech = line.speech
    if line.curve is not None:
        return Mouth(replace(line.curve, start=line.start), is_silent=False, rests=None)
    heard = Heard(read_speech(speech.path, speech.start, min(speech.end, speech.start + line.length)), stop)
    speaker = Parting(speaker_of(line))
    motions = run(speaker, heard)
    blocks = [np.zeros((0, N_CONTROLS), np.float32)]
    while faces := [motion.face for motion in islice(motions, _AT_ONCE)]:
        blocks.append(relative(np.stack(faces)))
    values = np.concatenate(blocks) if len(blocks) > 1 else relative(template())[None]
    curve = Curve(line.start, values, heard.voiced(len(values)))
    parted = speaker.parted or line.phones is not None or line.transcript is not None
    return Mouth(curve, heard.is_silent, resting(speech.path, heard.is_silent, parted))


def resting(path: Path, is_silent: bool, parted: bool) -> str | None:
    """What to tell of a mouth that a sound gives nothing to say."""
    if is_silent:
        return f"{path} is silent, so the mouth rests"
    return None if parted else f"nobody is heard to speak in {path}, so the mouth rests"


class Parting:
    """Stage: a speaker's Motion as it comes, of which it is known afterwards whether lips ever parted as in speech."""

    def __init__(self, speaker: Stage[AudioChunk, Motion]) -> None:
        self._speaker = speaker
        self.parted = False

    def push(self, item: AudioChunk) -> list[Motion]:
        return self._looked_at(self._speaker.push(item))

    def flush(self) -> list[Motion]:
        return self._looked_at(self._speaker.flush())

    def _looked_at(self, made: Iterable[Motion]) -> list[Motion]:
        motions = list(made)
        if motions and not self.parted:
            faces = np.stack([motion.face for motion in motions])
            self.parted = bool(relative(faces)[:, OPENING].max() > _PARTED)
        return motions


def own_mouth(clip: Path, start: Fraction | None, end: Fraction | None, stop: Event | None = None) -> Curve | None:
    """What a mouth would do that said what is heard in a clip, in the clip's own time; None if that is unknown."""
    first = start or Fraction(0)
    last = first + _KNOWN_BY if end is None else min(end, first + _KNOWN_BY)
    try:
        speech = inspect_speech(clip, first, last)
        return mouth_of(Line(speech, speech.start), stop).curve
    except InputError:  # its sound is broken, or not there: nothing to be learned from it
        log.debug("the sound of %s tells nothing", clip, exc_info=True)
        return None


def speaker_of(line: Line) -> Stage[AudioChunk, Motion]:
    """Whoever knows what the mouth does: a voice's own phones, else the speech model, told what a transcript tells."""
    if line.phones is not None:
        return ByPhones(line.phones)
    if line.transcript is None:
        return Lips()
    from audio.align import align, gliding

    speech, language = line.speech, line.language or "en-us"
    pcm = whole(read_speech(speech.path, speech.start, speech.end))
    return Lips(phones=gliding(align(pcm, line.transcript, language), language))


class ByPhones:
    """Stage: AudioChunk -> Motion of known phones, RATE a second; their clock begins with the first chunk."""

    def __init__(self, phones: tuple[Phone, ...]) -> None:
        self._phones = phones
        self._begin()

    def _begin(self) -> None:
        self._start: Fraction | None = None
        self._n_samples = 0
        self._n = 0  # moments given

    def push(self, item: AudioChunk) -> list[Motion]:
        self._start = item.time if self._start is None else self._start
        self._n_samples += len(item.pcm)
        ready = (self._n_samples // _TICK - self._n) // _BLOCK * _BLOCK
        return self._next(ready)

    def flush(self) -> list[Motion]:
        out = self._next(-(-self._n_samples // _TICK) - self._n)
        self._begin()
        return out

    def _next(self, n: int) -> list[Motion]:
        """The next n moments, worked out a block at a time with what is said around it."""
        out: list[Motion] = []
        until = self._n + n
        while self._n < until:
            first, last = self._n, min(self._n + _BLOCK, until)
            before = min(first, _AROUND)
            around = motion_of(
                self._phones, Fraction(last - first + before + _AROUND, RATE), Fraction(first - before, RATE)
            )
            for i, motion in enumerate(around[before : before + last - first], first):
                out.append(replace(motion, time=(self._start or Fraction(0)) + Fraction(i, RATE)))
            self._n = last
        return out


def joined(curves: list[Curve]) -> Curve:
    """One curve of several in order, at rest between them."""
    first = curves[0].start
    n = max(round((c.start - first) * RATE) + len(c.values) for c in curves)
    values = np.zeros((n, curves[0].values.shape[1]), np.float32)
    voiced = np.zeros(n, np.float32)
    for curve in curves:
        place = round((curve.start - first) * RATE)
        values[place : place + len(curve.values)] = curve.values
        voiced[place : place + len(curve.voiced)] = curve.voiced
    return Curve(first, values, voiced)
