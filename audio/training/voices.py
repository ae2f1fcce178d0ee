"""Speech whose phones are known to the moment: espeak-ng in many languages, and the four voices of flite.

flite (`apt-get install flite`) is asked for what it says and until when, `-psdur`; espeak's own events are
corrected in `audio.voice`. Everything follows from a seed.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio.features import HOP, LogMel, scaled
from audio.phones import INDEX, SILENCE, Phone, of_arpabet, spread
from audio.training.sounds import noise, weathered
from audio.training.texts import LANGUAGES, sentence
from audio.voice import EspeakVoice
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE

Floats = NDArray[np.float32]
Rng = np.random.Generator

FLITE = ("kal", "kal16", "awb", "rms", "slt")
# espeak's speakers that sound like people.
ESPEAK = (
    "Alex", "Alicia", "Andrea", "Andy", "Annie", "adam", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb",
    "david", "Denis", "Diogo", "ed", "edward", "f1", "f2", "f3", "f4", "f5", "Gene", "grandma", "grandpa", "gustave",
    "Henrique", "Hugo", "ian", "iven", "Jacky", "john", "klatt", "klatt2", "klatt4", "Lee", "linda", "m1", "m2", "m3",
    "m4", "m5", "m6", "m7", "m8", "marcelo", "Marco", "Mario", "max", "Michael", "michel", "miguel", "Mike", "norbert",
    "pablo", "paul", "pedro", "quincy", "Reed", "rob", "robert", "sandro", "shelby", "steph", "steph2", "travis",
    "victor", "zac", None, None, None, None, None, None, None, None,
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    pcm: Floats  # [T] at SAMPLE_RATE
    phones: tuple[Phone, ...]


@dataclass(frozen=True)
class Heard:
    """What the network is given and what it should answer, a row every 10 ms."""

    mel: NDArray[np.float16]  # [N, N_MEL], features.scaled
    phone: NDArray[np.uint8]  # [N], index into SYMBOLS


def by_espeak(rng: Rng) -> Said:
    language = str(rng.choice(LANGUAGES))
    voice = ESPEAK[int(rng.integers(len(ESPEAK)))]
    speaker = EspeakVoice(language, voice, int(rng.uniform(110, 230)), int(rng.uniform(15, 90)))
    said = speaker.speak(sentence(language, rng))
    assert said.phones is not None
    return Said(said.pcm, said.phones)


def by_flite(rng: Rng) -> Said:
    """Raises InputError where flite is not installed."""
    name = FLITE[int(rng.integers(len(FLITE)))]
    stretch, pitch = rng.uniform(0.75, 1.35), rng.uniform(80, 230)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "said.wav")
        settings = ["--setf", f"duration_stretch={stretch:.3f}"]
        if name in ("kal", "kal16"):
            settings += ["--setf", f"int_f0_target_mean={pitch:.1f}"]
        command = ["flite", "-voice", name, *settings, "-t", sentence("en-us", rng) + " ", "-o", str(path), "-psdur"]
        try:
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except FileNotFoundError as error:
            raise InputError(
                "flite is not installed; wanted it for half of the speech: apt-get install flite"
            ) from error
        with wave.open(str(path)) as file:
            rate = file.getframerate()
            pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 2**15
    phones: list[Phone] = []
    start = Fraction(0)
    for entry in listed.split():
        label, until = entry.rsplit(":", 1)
        end = max(Fraction(until), start)
        phones.extend(spread(of_arpabet(label.upper()), start, end))
        start = end
    return Said(resampled(pcm, Fraction(SAMPLE_RATE, rate)), tuple(phones))


def resampled(pcm: Floats, ratio: Fraction) -> Floats:
    from scipy.signal import resample_poly

    return np.asarray(resample_poly(pcm, ratio.numerator, ratio.denominator), np.float32)


def faster(said: Said, speed: Fraction) -> Said:
    """As a tape that runs at another speed: a smaller or larger speaker, too."""
    phones = tuple(Phone(p.start / speed, p.end / speed, p.symbol, p.stress) for p in said.phones)
    return Said(resampled(said.pcm, 1 / speed), phones)


def rows(phones: tuple[Phone, ...], n: int) -> NDArray[np.uint8]:
    """The phone [n] at every row's moment; silence where none is."""
    out = np.full(n, INDEX[SILENCE], np.uint8)
    for phone in phones:
        first, last = (ceil(t * SAMPLE_RATE / HOP) for t in (phone.start, phone.end))
        out[first:last] = INDEX[phone.symbol]
    return out


def heard(pcm: Floats, phones: tuple[Phone, ...]) -> Heard:
    ear = LogMel()
    mel = scaled(np.concatenate((ear.push(pcm), ear.flush())))
    return Heard(mel.astype(np.float16), rows(phones, len(mel)))


def utterance(seed: tuple[int, ...]) -> Heard:
    """One sentence by one voice, from one seed; every fifteenth is no speech at all."""
    rng = np.random.default_rng(seed)
    choice = rng.random()
    if choice < 1 / 15:
        return heard(noise(rng), ())
    said = by_flite(rng) if choice < 0.53 else by_espeak(rng)
    said = faster(said, Fraction(int(rng.integers(34, 48)), 40))
    return heard(weathered(said.pcm, rng), said.phones)


def nothing(seed: tuple[int, ...]) -> Heard:
    """Some seconds in which nobody speaks, from one seed."""
    rng = np.random.default_rng((*seed, 1))
    pcm = noise(rng)
    return heard(weathered(pcm, rng) if rng.random() < 0.5 else pcm, ())
