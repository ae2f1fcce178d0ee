"""Speech alone against the real mouths that said it, where a checkout has `../shared`; and the mouth at rest.

The real jaw is what `../shared/eval/judge.py` measures of a clip's pictures, at zero lag. Closures are counted on
speech whose phones are known to the moment.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio.align import align, gliding
from audio.features import FRAME_RATE
from audio.lips import Lips, LipsOptions, phones_of
from audio.phones import SILENCE, Phone
from audio.speech import read_speech, whole
from audio.training import sounds
from audio.voice import EspeakVoice
from benchmarks.reenact import JUDGE, SHARED
from benchmarks.table import Row, Table, Target
from perfcap.expression import template
from runtime.records import SAMPLE_RATE, AudioChunk, Motion
from runtime.stage import run
from runtime.video import VideoReader

Floats = NDArray[np.float64]

# GRID's file names spell what is said (Cooke et al. 2006).
GRID: tuple[dict[str, str], ...] = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {},
    {
        "z": "zero",
        **dict(zip("123456789", ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], strict=True)),
    },
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
PAUSE_S = 0.3
SHUT_UNITS = 0.02  # gap that is no gap
SPOKEN = (
    "My baby bought a big map from Bob, and maybe people will pay for both.",
    "Peter Piper picked a peck of pickled pepper; the bumble bee hums by the pump.",
    "Some lamps beam over the empty room, but nobody comes home before September.",
)
VOICES = ("m3", "f2", "Andy", "linda", "Michael")


def speech(folder: Path) -> list[Table]:
    """r of the jaw over a clip and inside its speech; then closures, rest and speed."""
    del folder
    clips = sorted((SHARED / "clips" / "talk").glob("*")) if JUDGE.exists() else []
    rows = [_against(clip) for clip in clips]
    means = [
        Row(
            f"mean, {label}",
            Table("", "", COLUMNS, [r for r in rows if r.label.startswith("grid") == is_grid]).mean.values,
        )
        for label, is_grid in (("GRID", True), ("others", False))
    ]
    tables = [Table("speech", "Jaw from sound against the real jaw: Pearson r, zero lag", COLUMNS, [*rows, *means])]
    touching = [row for row in (_calm(), _recorded(clips)) if row is not None]
    return [
        *(tables if rows else []),
        Table("speech", "Lips that touch, and a mouth at rest", tuple(CALM), touching, CALM),
    ]


COLUMNS = ("r", "inside speech", "live", "with transcript")
CALM = {
    "closures": Target(low=0.9), "false closures": Target(high=0.1), "silence": Target(high=0.08),
    "noise": Target(high=0.08), "breath": Target(high=0.08), "music": Target(high=0.08), "tones": Target(high=0.08),
    "times real time": Target(low=50),
}  # fmt: skip


def sentence(stem: str) -> str | None:
    """What GRID's file name says is said."""
    code = stem.removeprefix("grid_")
    if code == stem or len(code) != len(GRID):
        return None
    return " ".join(words.get(letter, letter) for words, letter in zip(GRID, code, strict=True))


def _judge() -> Any:
    spec = importlib.util.spec_from_file_location("judge", JUDGE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _against(clip: Path) -> Row:
    judge = _judge()
    times, points, _ = judge.track(clip)
    with VideoReader(clip) as reader:
        times = times + float(next(iter(reader)).time)  # on the clip's own clock, as its sound is
    jaw = judge.curves(points)["jaw"]
    pcm = whole(read_speech(clip))
    said = _moved(pcm)
    inside = _inside(pcm, times)
    values = {
        "r": _r(jaw, said, times),
        "inside speech": _r(np.where(inside, jaw, np.nan), said, times),
        "live": _r(jaw, _moved(pcm, live=True), times),
    }
    if text := sentence(clip.stem):
        values["with transcript"] = _r(jaw, _moved(pcm, phones=gliding(align(pcm, text, "en-gb"))), times)
    return Row(clip.stem, values)


def _inside(pcm: NDArray[np.float32], times: Floats) -> NDArray[np.bool_]:
    """Whether somebody speaks at these times; a pause of less than PAUSE_S is part of it."""
    quiet = [p for p in phones_of(_chunks(pcm)) if p.symbol == SILENCE and p.end - p.start >= PAUSE_S]
    return np.array([not any(p.start <= t < p.end for p in quiet) for t in times])


def _chunks(pcm: NDArray[np.float32]) -> Iterator[AudioChunk]:
    for i in range(0, len(pcm), SAMPLE_RATE):
        yield AudioChunk(time=Fraction(i, SAMPLE_RATE), pcm=pcm[i : i + SAMPLE_RATE])


def _moved(pcm: NDArray[np.float32], *, live: bool = False, phones: tuple[Phone, ...] = ()) -> list[Motion]:
    return list(run(Lips(LipsOptions(listen="live" if live else "whole"), phones), _chunks(pcm)))


def _gap(motions: list[Motion]) -> Floats:
    return np.array([np.linalg.norm(m.face[13, :2] - m.face[14, :2]) for m in motions], np.float64)


def _r(jaw: Floats, motions: list[Motion], times: Floats) -> float:
    ours = np.interp(times, [float(m.time) for m in motions], _gap(motions))
    seen = np.isfinite(jaw)
    return float(np.corrcoef(ours[seen], jaw[seen])[0, 1])


def _calm() -> Row:
    rng = np.random.default_rng(7)
    spoken: list[float] = []
    met: list[bool] = []
    false: list[bool] = []
    took = lasted = 0.0
    for voice in VOICES:
        for text in SPOKEN:
            said = EspeakVoice("en-us", voice).speak(text)
            assert said.phones is not None
            pcm = said.pcm + sounds.coloured(len(said.pcm), 3, rng) * np.float32(0.02)
            begun = time.process_time()
            gap = _gap(_moved(pcm))
            took += time.process_time() - begun
            spoken.append(float(gap.std()))
            touched = _touched(gap, said.phones)
            met += touched.met
            false += touched.false
            lasted += len(pcm) / SAMPLE_RATE
    makers = {"noise": sounds.steady, "breath": sounds.breaths, "music": sounds.music, "tones": sounds.tones}
    values = {"closures": float(np.mean(met)), "false closures": float(np.mean(false))}
    values["silence"] = float(_gap(_moved(np.zeros(4 * SAMPLE_RATE, np.float32))).std() / np.mean(spoken))
    for name, make in makers.items():
        moves = [_gap(_moved(make(6 * SAMPLE_RATE, np.random.default_rng((9, i))))).std() for i in range(10)]
        values[name] = float(np.mean(moves) / np.mean(spoken))
    return Row("made speech", {**values, "times real time": lasted / took})


@dataclass(frozen=True)
class _Touched:
    """Whether lips touch in each p, b and m, and all through each sound that parts them."""

    met: list[bool]
    false: list[bool]


def _touched(gap: Floats, phones: Sequence[Phone]) -> _Touched:
    closed = gap - (template()[14, 1] - template()[13, 1]) < SHUT_UNITS / 2
    return _Touched(
        [bool(closed[_rows(p)].any()) for p in phones if p.symbol in "pbm"],
        [bool(closed[_rows(p)].all()) for p in phones if p.symbol not in {*"pbmfvw", SILENCE}],
    )


def _recorded(clips: list[Path]) -> Row | None:
    """Closures of real people, by sound alone, in sentences that are known; when they come is told by alignment."""
    met: list[bool] = []
    false: list[bool] = []
    for clip in clips:
        if text := sentence(clip.stem):
            pcm = whole(read_speech(clip))
            touched = _touched(_gap(_moved(pcm)), align(pcm, text, "en-gb"))
            met += touched.met
            false += touched.false
    if not met:
        return None
    values = {"closures": float(np.mean(met)), "false closures": float(np.mean(false))}
    return Row(f"GRID, {len(met)} closures", values)


def _rows(phone: Phone) -> slice:
    return slice(
        round(phone.start * FRAME_RATE), max(round(phone.end * FRAME_RATE), round(phone.start * FRAME_RATE) + 1)
    )
