"""A process of its own in which espeak-ng speaks, so that a text it stumbles over ends nothing but that.

    python -I -S espeak.py LIBRARY DATA list
    python -I -S espeak.py LIBRARY DATA say VOICE RATE PITCH < text > what was said

What is said is a line of JSON (`rate` in Hz, `marks` of [sample, name] of phonemes, `words` of samples) and after
it the sound, 16 bits, mono, in the machine's own order of bytes; a list is only JSON. It needs Python and the
library alone: no package, ours included, is imported. `audio.voice` runs it.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What the library calls by numbers (espeak-ng/speak_lib.h).
SYNCHRONOUS, PHONEME_EVENTS, IPA, DO_NOT_EXIT = 2, 1, 2, 0x8000
UTF8, END_PAUSE = 1, 0x1000
RATE, PITCH = 1, 3
EVENT_WORD, EVENT_PHONEME = 1, 7
NAME_BYTES = 8
LONGEST_PATH = 130  # bytes; the library keeps 160 for its folder and a file's name in it


class Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_ubyte * NAME_BYTES),  # a union in C; of phonemes, a string that may lack its zero
    )


class VoiceRecord(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),  # a priority byte and a code, several times
        ("identifier", ctypes.c_char_p),
        ("gender_age_variant", ctypes.c_ubyte * 4),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(Event))


def main(arguments: list[str]) -> None:
    library_path, data, task, *rest = arguments
    library = ctypes.CDLL(library_path)
    with reachable(data) as path:
        options = PHONEME_EVENTS | IPA | DO_NOT_EXIT
        rate = int(library.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(path), options))
        if rate <= 0:
            sys.exit(f"{data} holds no voices that espeak-ng can read")
        if task == "list":
            print(json.dumps(voices(library)))
        else:
            voice, words_a_minute, pitch = rest
            said = say(library, voice, int(words_a_minute), int(pitch), sys.stdin.buffer.read())
            facts = {"rate": rate, "marks": said.marks, "words": said.words}
            sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n")
            sys.stdout.buffer.writelines(said.pcm)


@contextmanager
def reachable(data: str) -> Iterator[str]:
    """The data folder by a path that fits the library's buffer."""
    if len(os.fsencode(data)) <= LONGEST_PATH:
        yield data
        return
    import tempfile  # which takes as long to load as a sentence to say

    with tempfile.TemporaryDirectory(prefix="espeak") as folder:
        link = os.path.join(folder, "espeak-ng-data")
        os.symlink(data, link, target_is_directory=True)
        yield link


def voices(library: Any) -> list[tuple[str, str, str]]:
    """Code, name and identifier of each language."""
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(VoiceRecord))
    records = library.espeak_ListVoices(None)
    found = []
    i = 0
    while records[i]:
        record = records[i].contents
        code = ctypes.string_at(record.languages + 1)
        found.append((code.decode(), record.name.decode(), record.identifier.decode()))
        i += 1
    return found


class Said:
    """What the library gives, piece by piece."""

    def __init__(self) -> None:
        self.pcm: list[bytes] = []
        self.marks: list[tuple[int, str]] = []  # sample, espeak's IPA, empty of a pause
        self.words: list[int] = []  # samples

    def take(self, wave: Any, n: int, events: Any) -> int:
        if n > 0 and wave:
            self.pcm.append(ctypes.string_at(wave, 2 * n))
        i = 0
        while events[i].type:
            if events[i].type == EVENT_PHONEME:
                name = bytes(events[i].name).split(b"\0")[0]
                self.marks.append((events[i].sample, name.decode(errors="ignore")))
            elif events[i].type == EVENT_WORD:
                self.words.append(events[i].sample)
            i += 1
        return 0


def say(library: Any, voice: str, words_a_minute: int, pitch: int, text: bytes) -> Said:
    """Say UTF-8."""
    said = Said()
    callback = Callback(said.take)  # the library keeps only its address
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()):
        sys.exit(f"it has no voice {voice}")
    library.espeak_SetParameter(RATE, words_a_minute, 0)
    library.espeak_SetParameter(PITCH, pitch, 0)
    library.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8 | END_PAUSE, None, None)
    return said


if __name__ == "__main__":
    main(sys.argv[1:])
