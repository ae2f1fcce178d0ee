"""Forced alignment: speech and what is said in it -> when each phone sounds.

English goes through pocketsphinx (extra `align`), whose wheel carries a model and a dictionary. Any language
is spoken by espeak-ng (extra `voice`) from the transcript, and the recording is laid on that; of English, with
both, whichever the recording sounds more like is taken. Speech that a voice of ours made brings its own phones
and needs neither. Memory is bounded for any length.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from fractions import Fraction
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio.follow import Recording
from audio.phones import SILENCE, VOWELS, Phone, of_arpabet, spread
from audio.spelling import sounds, words
from audio.voice import EspeakVoice
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]


def align(pcm: Floats, transcript: str, language: str = "en-us") -> tuple[Phone, ...]:
    """The phones of a transcript where they sound in `pcm` [T], mono at SAMPLE_RATE, without gaps from 0 to its end.

    `language` is a code like en-us or de. Raises InputError where the transcript has no words, does not
    fit, or the language needs an extra that is not installed.
    """
    if not len(pcm) or float(np.abs(pcm).max()) < _HUSH:
        end = Fraction(len(pcm), SAMPLE_RATE)
        return (Phone(Fraction(0), end, SILENCE),) if end else ()
    if not _is_english(language) or find_spec("pocketsphinx") is None:
        return followed(pcm, transcript, language)
    found = recognised(pcm, transcript, language)
    if find_spec("espeakng_loader") is None:
        return found
    recording = Recording(pcm)
    try:
        other = _followed(recording, transcript, language)
    except InputError:
        log.debug("espeak's reading does not fit, and pocketsphinx's does", exc_info=True)
        return found
    return min((found, other), key=recording.unlike)


def _is_english(language: str) -> bool:
    return language.strip().lower().replace("_", "-").split("-")[0] in ("en", "english")


def gliding(phones: Sequence[Phone], language: str = "en-us") -> tuple[Phone, ...]:
    """The same as lips make them: an English u begins with them apart and ends in a w (Lindsey 2019)."""
    if not _is_english(language):
        return tuple(phones)
    out: list[Phone] = []
    for phone in phones:
        if phone.symbol == "u":
            vowel, glide = spread("ɯw", phone.start, phone.end, phone.stress)
            out += [vowel, replace(glide, stress=0.0)]
        else:
            out.append(phone)
    return tuple(out)


_HUSH = 1e-3  # of full scale; below it nobody speaks, whatever the transcript says
_PACE = (0.2, 4.0)  # a transcript that had to be said so much slower or faster than usual is not of this speech
_SPEAKERS = (None, "f2", "m3", "Annie")  # one of them is the most like whoever speaks
_RATES = (90, 400)  # words a minute


def followed(pcm: Floats, transcript: str, language: str) -> tuple[Phone, ...]:
    """As `align`, by what espeak-ng makes of the transcript, at the pace of the recording."""
    return _followed(Recording(pcm), transcript, language)


def _followed(recording: Recording, transcript: str, language: str) -> tuple[Phone, ...]:
    voice = EspeakVoice(language)
    usual_s, spoken_s = Recording(voice.speak(transcript).pcm).spoken_s, recording.spoken_s
    pace = usual_s / max(spoken_s, 0.01)
    if not _PACE[0] <= pace <= _PACE[1]:
        raise InputError(
            f"the transcript does not fit the speech: saying it takes about {usual_s:.1f} s, "
            f"and somebody speaks for {spoken_s:.1f} s"
        )
    rate = int(np.clip(voice.rate * pace, *_RATES))
    attempts = []
    for speaker in _SPEAKERS:
        said = EspeakVoice(language, voice=speaker, rate=rate).speak(transcript)
        assert said.phones is not None
        attempts.append(recording.follow(said.pcm, said.phones, frozenset(said.words)))
    return min(attempts, key=lambda attempt: attempt[1])[0]


def with_stress(phones: tuple[Phone, ...], transcript: str, language: str) -> tuple[Phone, ...]:
    """The same with each vowel's stress as espeak-ng would speak the transcript; as they are without it.

    The time it takes grows with the square of the length.
    """
    if find_spec("espeakng_loader") is None:
        return phones
    spoken = [p for p in EspeakVoice(language).speak(transcript).phones or () if p.symbol != SILENCE]
    places = [i for i, phone in enumerate(phones) if phone.symbol != SILENCE]
    stress = [0.0] * len(phones)
    theirs, ours = [_kind(p.symbol) for p in spoken], [_kind(phones[i].symbol) for i in places]
    for a, b, n in SequenceMatcher(None, theirs, ours, autojunk=False).get_matching_blocks():
        for k in range(n):
            stress[places[b + k]] = spoken[a + k].stress
    return tuple(Phone(p.start, p.end, p.symbol, s) for p, s in zip(phones, stress, strict=True))


def _kind(symbol: str) -> str:
    """Vowels are alike: accents differ in them more than in where they are."""
    return "a" if symbol in VOWELS else symbol


# pocketsphinx

_FRAME = Fraction(1, 100)  # seconds
_CENTRE = Fraction(
    8, 1000
)  # seconds; the window of its frame 0 has its middle 12.8 ms in, and half a frame is before it
_BEAM = 1e-120  # its own are meant for speed and lose whoever mumbles
_PIECE_S = 40  # of a long recording, taken at once; its memory grows with the square of that
_TAIL_S = 4  # at the end of a piece that is not trusted: a word may be cut
_FASTEST = 6  # words a second
_STRESSED = 25  # words whose stress is looked up together


@dataclass(frozen=True)
class _Word:
    """A word where it was heard, or a pause or noise."""

    text: str  # empty of a pause
    phones: tuple[Phone, ...]

    @property
    def end(self) -> Fraction:
        return self.phones[-1].end


def recognised(pcm: Floats, transcript: str, language: str = "en-us") -> tuple[Phone, ...]:
    """As `align`, of English, by pocketsphinx."""
    said = words(transcript)
    if not said:
        raise InputError("the transcript holds no words; wanted what is said in the speech")
    decoder = _decoder()
    for word in dict.fromkeys(said):
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, " ".join(_pronounced(word)), True)
    phones: list[Phone] = []
    for piece in _by_words(list(_heard(decoder, pcm, said)), _STRESSED):
        plain = tuple(phone for word in piece for phone in word.phones)
        phones.extend(with_stress(plain, " ".join(word.text for word in piece), language))
    return _tiled(phones, Fraction(len(pcm), SAMPLE_RATE))


def _by_words(heard: Sequence[_Word], n: int) -> Iterator[Sequence[_Word]]:
    """The same in pieces of `n`."""
    for at in range(0, len(heard), n):
        yield heard[at : at + n]


def _decoder() -> Any:
    from pocketsphinx import Decoder, get_model_path

    return Decoder(
        hmm=get_model_path("en-us/en-us"),
        dict=get_model_path("en-us/cmudict-en-us.dict"),
        lm=None,
        beam=_BEAM,
        wbeam=_BEAM,
        pbeam=_BEAM,
        bestpath=False,
        loglevel="FATAL",
    )


def _heard(decoder: Any, pcm: Floats, said: Sequence[str]) -> Iterator[_Word]:
    """Each word in turn; long recordings are heard in pieces that end where a word does."""
    at = done = 0  # samples, words
    while len(pcm) - at > _PIECE_S * SAMPLE_RATE * 5 // 4:
        piece = pcm[at : at + _PIECE_S * SAMPLE_RATE]
        start = Fraction(at, SAMPLE_RATE)
        n = _heard_of(decoder, piece, said[done : done + _PIECE_S * _FASTEST])
        kept = _trusted(_forced(decoder, piece, said[done : done + n], start), start) if n else []
        yield from kept
        done += sum(bool(word.text) for word in kept)
        at = int(kept[-1].end * SAMPLE_RATE) if kept else at + _PIECE_S * SAMPLE_RATE // 2
    if done < len(said):
        yield from _forced(decoder, pcm[at:], said[done:], Fraction(at, SAMPLE_RATE))


def _trusted(found: list[_Word], start: Fraction) -> list[_Word]:
    """The words up to the last pause that is not too near the end of a piece, or up to there."""
    before = [i for i, word in enumerate(found) if word.end <= start + _PIECE_S - _TAIL_S]
    pauses = [i for i in before if not found[i].text and i > len(before) // 2]
    last = pauses[-1] if pauses else (before[-1] if before else -1)
    return found[: last + 1]


def _listen(decoder: Any, pcm: Floats) -> None:
    data = np.clip(pcm * 32767, -32768, 32767).astype("<i2").tobytes()
    decoder.start_utt()
    decoder.process_raw(data, full_utt=True)
    decoder.end_utt()


def _heard_of(decoder: Any, pcm: Floats, said: Sequence[str]) -> int:
    """How many of the next words a piece of a recording holds."""
    end = len(said)
    steps = [(i, i + 1, 1.0, word) for i, word in enumerate(said)]
    leaps = [(i, end, 1.0) for i in range(1, end)]
    decoder.add_fsg("piece", decoder.create_fsg("piece", 0, end, [*steps, *leaps]))
    decoder.activate_search("piece")
    _listen(decoder, pcm)
    return len(decoder.hyp().hypstr.split()) if decoder.hyp() else 0


def _forced(decoder: Any, pcm: Floats, said: Sequence[str], at: Fraction) -> list[_Word]:
    """Exactly these words in a recording that starts at `at`. Raises InputError where they do not fit in it."""
    try:
        decoder.set_align_text(" ".join(said))
        _listen(decoder, pcm)
        if decoder.hyp() is None:
            raise RuntimeError("no hypothesis")
        decoder.set_alignment()
        _listen(decoder, pcm)
    except RuntimeError as error:
        raise InputError(
            f"the transcript does not fit the speech: {len(said)} words, from {said[0]!r} to {said[-1]!r}, "
            f"are not heard in {len(pcm) / SAMPLE_RATE:.1f} s of it"
        ) from error
    return [_word(found, at + _CENTRE) for found in decoder.get_alignment()]


def _word(found: Any, at: Fraction) -> _Word:
    phones: list[Phone] = []
    for phone in found:
        start = at + phone.start * _FRAME
        phones.extend(spread(of_arpabet(phone.name), start, start + phone.duration * _FRAME))
    text = "" if found.name[0] in "<[+" else found.name.split("(")[0]
    return _Word(text, tuple(phones))


# Pairs first: what is two symbols of ours may be one phone of CMU's.
_CMU = {
    "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY", "tʃ": "CH", "dʒ": "JH",
    "p": "P", "b": "B", "m": "M", "f": "F", "v": "V", "β": "V", "w": "W", "θ": "TH", "ð": "DH", "t": "T", "d": "D",
    "n": "N", "s": "S", "z": "Z", "l": "L", "r": "D", "ɹ": "R", "ʃ": "SH", "ʒ": "ZH", "ɕ": "SH", "k": "K", "g": "G",
    "ŋ": "NG", "x": "K", "ɣ": "G", "h": "HH", "ʔ": "T", "j": "Y", "i": "IY", "ɪ": "IH", "e": "EY", "ɛ": "EH",
    "æ": "AE", "a": "AA", "ɑ": "AA", "ɔ": "AO", "o": "OW", "ʊ": "UH", "u": "UW", "ʌ": "AH", "ə": "AH", "ɜ": "ER",
    "y": "UW", "ø": "ER", "ɯ": "UW",
}  # fmt: skip


def _pronounced(word: str) -> list[str]:
    """How a word that is in no dictionary may sound, by espeak-ng where there is one, else by its letters."""
    if find_spec("espeakng_loader") is None:
        return sounds(word) or ["AH"]
    try:
        said = EspeakVoice("en-us").speak(word).phones or ()
    except InputError:
        return sounds(word) or ["AH"]
    symbols = "".join(phone.symbol for phone in said if phone.symbol != SILENCE)
    found: list[str] = []
    while symbols:
        n = 2 if symbols[:2] in _CMU else 1
        found.append(_CMU[symbols[:n]])
        symbols = symbols[n:]
    return found


def _tiled(phones: Sequence[Phone], end: Fraction) -> tuple[Phone, ...]:
    """Phones in order, cut to the recording, what is between them silence and silences joined."""
    kept: list[Phone] = []
    at = Fraction(0)
    for phone in (*phones, Phone(end, end, SILENCE)):
        start, stop = max(min(phone.start, end), at), min(phone.end, end)
        if start > at:
            _add(kept, Phone(at, start, SILENCE))
        if stop > start:
            _add(kept, Phone(start, stop, phone.symbol, phone.stress))
        at = max(stop, start, at)
    return tuple(kept)


def _add(kept: list[Phone], phone: Phone) -> None:
    if kept and kept[-1].symbol == phone.symbol == SILENCE:
        kept[-1] = Phone(kept[-1].start, phone.end, SILENCE)
    else:
        kept.append(phone)
