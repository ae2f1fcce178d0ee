"""Speech or text -> mouth shapes for animators, in a file. The driver of `understudy visemes`.

What is said when comes from the voice that says a text, from a transcript laid on the recording, or from
the recording alone; `audio.visemes` makes shapes of it and `audio.lips` curves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

from audio.features import FRAME_RATE
from audio.phones import SILENCE, Phone
from audio.speech import Listened, inspect_speech, read_speech, whole
from audio.visemes import (
    Kind,
    MouthCue,
    RhubarbOptions,
    Sheet,
    oculus_cues,
    rhubarb_cues,
    write_cues,
    write_weights,
)
from audio.voice import CommandVoice, EspeakVoice, Voice
from perfcap.export import write_csv
from perfcap.expression import template
from perfcap.performance import Take
from perfcap.resample import Resample
from perfcap.written import CAMERA
from runtime.errors import InputError
from runtime.output import check_output, whole_file
from runtime.records import AudioChunk, Motion
from runtime.stage import run
from server.lines import text_of, write_speech
from server.take import Tally

Progress = Callable[[int, int | None], None]
Shapes = Literal["rhubarb", "oculus", "arkit"]

KINDS = {".json": "json", ".tsv": "tsv", ".xml": "xml", ".csv": "csv"}
AT_ONCE = Fraction(10)  # seconds of curves made together
AROUND = Fraction(2)  # seconds before and after that matter to them


@dataclass(frozen=True, kw_only=True)
class VisemeOptions:
    shapes: Shapes | None = None  # None is rhubarb's, but arkit's curves for a .csv
    extended: str = RhubarbOptions.extended  # which of Rhubarb's G, H and X are drawn
    fps: Fraction = Fraction(60)  # rows a second of curves
    transcript: str | None = None  # what is said, or a file that holds it
    text: str | None = None  # what a voice shall say, in the place of a recording
    language: str | None = None  # of transcript or text; None is English
    voice: str | None = None  # one of espeak's
    voice_command: str | None = None  # a program that speaks, instead of espeak
    force: bool = False  # write over an existing file

    def __post_init__(self) -> None:
        RhubarbOptions(extended=self.extended)
        if self.shapes is not None and self.shapes not in get_args(Shapes):
            raise ValueError(f"--shapes is {self.shapes!r}; wanted {', '.join(get_args(Shapes))}")
        if not 1 <= self.fps <= 1000:
            raise ValueError(f"--fps is {float(self.fps):g}; wanted 1 to 1000 rows a second")
        if self.text is not None and self.transcript is not None:
            raise ValueError("--transcript is of a recording; found --text, which is known already")
        if self.text is None and (self.voice is not None or self.voice_command is not None):
            raise ValueError("--voice and --voice-command say a --text; found none")
        if self.voice is not None and self.voice_command is not None:
            raise ValueError("--voice is one of espeak's; found --voice-command as well")

    def the_voice(self) -> Voice:
        if self.voice_command is not None:
            return CommandVoice(self.voice_command)
        return EspeakVoice(self.language or EspeakVoice.language, self.voice)


@dataclass(frozen=True)
class _Said:
    """A recording and what is said in it when."""

    sound: Path
    duration: Fraction  # seconds
    phones: tuple[Phone, ...] | None  # None where it is not known but by listening


def visemes(speech: Path | None, output: Path, options: VisemeOptions, progress: Progress) -> Tally:
    """Write the mouth shapes of a recording, or of a text that is spoken into a .wav beside the output."""
    kind = KINDS.get(output.suffix.lower())
    if kind is None:
        raise InputError(f"{output} has the suffix {output.suffix or '(none)'}; wanted one of {', '.join(KINDS)}")
    shapes = options.shapes or ("arkit" if kind == "csv" else "rhubarb")
    if shapes == "arkit" and kind != "csv":
        raise InputError(f"{output} ends in {output.suffix}; wanted .csv for ARKit's curves")
    check_output(output, options.force, made_of=(speech,))
    tally = Tally()
    with tally.during("phones"):
        said = _said(speech, output, options)
    listened = Listened(_progressing(said, progress))
    with whole_file(output, options.force) as path:
        if shapes == "arkit":
            curves = _Curves(said, listened, options.fps)
            with tally.during("curves"):
                write_csv(curves, path)
            tally.frames = len(curves)
        else:
            with tally.during("phones"):
                phones = said.phones or _heard(listened)
            _write(shapes, kind, said, phones, options, path)
            if all(phone.symbol == SILENCE for phone in phones) and not listened.is_silent:
                tally.notes.append(f"nobody is heard to speak in {said.sound}: the mouth rests")
    if said.phones is None and listened.is_silent:
        tally.notes.append(f"nothing is heard in {said.sound}: the mouth rests")
    return tally


def _said(speech: Path | None, output: Path, options: VisemeOptions) -> _Said:
    if (speech is None) == (options.text is None):
        raise InputError("wanted a recording of speech or a --text, one of them")
    if speech is None:
        assert options.text is not None
        sound = output.with_suffix(".wav")
        check_output(sound, options.force)
        utterance = options.the_voice().speak(options.text)
        with whole_file(sound, options.force) as path:
            write_speech(path, utterance)
        return _Said(sound, utterance.duration, utterance.phones)
    found = inspect_speech(speech)
    if options.transcript is None:
        return _Said(speech, found.duration, None)
    from audio.align import align

    text = text_of(options.transcript)
    return _Said(speech, found.duration, align(whole(read_speech(speech)), text, options.language or "en-us"))


def _progressing(said: _Said, progress: Progress) -> Iterator[AudioChunk]:
    """The recording's sound; progress counts what is heard of it FRAME_RATE times a second."""
    for chunk in read_speech(said.sound):
        yield chunk
        progress(int(chunk.time * FRAME_RATE) + 1, int(said.duration * FRAME_RATE) + 1)


def _heard(listened: Listened) -> tuple[Phone, ...]:
    from audio.lips import phones_of

    return tuple(phones_of(listened))


def _write(
    shapes: Shapes, kind: str, said: _Said, phones: tuple[Phone, ...], options: VisemeOptions, path: Path
) -> None:
    """Write cues, or the fifteen weights."""
    cues: tuple[MouthCue, ...]
    closed = "sil"
    if shapes == "rhubarb":
        cues = rhubarb_cues(phones, said.duration, RhubarbOptions(extended=options.extended))
        closed = "X" if "X" in options.extended else "A"
    else:
        cues = oculus_cues(phones, said.duration)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        if shapes == "oculus" and kind == "csv":
            write_weights(cues, said.duration, options.fps, file)
        else:
            written: Kind = kind  # type: ignore[assignment]
            write_cues(Sheet(str(said.sound.resolve()), said.duration, cues, closed), written, file)


class _Curves:
    """What a mouth does while something is said, as a performance that is made as it is read; may be read once."""

    def __init__(self, said: _Said, listened: Listened, fps: Fraction) -> None:
        self._said = said
        self._listened = listened
        self.take = Take(source=said.sound.name, camera=CAMERA, neutral=template(), rate=fps)

    def __len__(self) -> int:
        assert self.take.rate is not None
        return max(int(self._said.duration * self.take.rate), 1)

    def __iter__(self) -> Iterator[Motion]:
        assert self.take.rate is not None
        moved = self._by_listening() if self._said.phones is None else self._by_phones(self._said.phones)
        motions = run(Resample(self.take.rate), moved)
        return (motion for motion, _ in zip(motions, range(len(self)), strict=False))

    def _by_listening(self) -> Iterator[Motion]:
        from audio.lips import Lips

        return run(Lips(), self._listened)

    def _by_phones(self, phones: tuple[Phone, ...]) -> Iterator[Motion]:
        from audio.lips import motion_of

        at = Fraction(0)
        while at < self._said.duration:
            first, until = max(at - AROUND, Fraction(0)), min(at + AT_ONCE, self._said.duration)
            near = [p for p in phones if p.end > first and p.start < until + AROUND]
            length = min(until + AROUND, self._said.duration) - first
            yield from (m for m in motion_of(near, length, first) if at <= m.time < until)
            at = until
