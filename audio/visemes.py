"""Phones -> mouth shapes for animators: Rhubarb Lip Sync's nine, and the fifteen of Oculus' lip-sync.

Rhubarb's cues and files are those of its documentation (github.com/DanielSWolf/rhubarb-lip-sync, README,
"Mouth shapes" and "Output formats"), so whatever reads them reads ours: times are whole hundredths of a
second, each cue ends where the next begins, the last where the sound does, truncated. The fifteen are
those of Oculus and OpenXR (XR_META_face_tracking_visemes); they come as cues or as weights over time.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, zip_longest
from typing import Any, Literal, TextIO
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from audio.phones import SILENCE, VOWELS, Phone

Floats = NDArray[np.float32]

OCULUS = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou")
_OCULUS_INDEX = {name: i for i, name in enumerate(OCULUS)}


@dataclass(frozen=True)
class MouthCue:
    """A shape and how long it shows. Times are whole hundredths of a second."""

    start: int  # 1/100 s
    end: int  # 1/100 s
    value: str

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class RhubarbOptions:
    extended: str = "GHX"  # which of the shapes G, H and X are drawn, as in Rhubarb's --extendedShapes

    def __post_init__(self) -> None:
        if set(self.extended) - set("GHX"):
            raise ValueError(f"extended shapes are {self.extended!r}, wanted some of G, H and X")


_BASIC = {"G": "B", "H": "C", "X": "A"}  # what stands for an extended shape that is not drawn
_SHAPES: dict[str, str] = {
    SILENCE: "X",
    **dict.fromkeys("pbmβ", "A"),
    **dict.fromkeys("fv", "G"),
    **dict.fromkeys("θðtdnszrʃʒɕkgŋxɣʔj", "B"),
    **dict.fromkeys("iɪeɯ", "B"),
    **dict.fromkeys("ɛæʌəh", "C"),
    **dict.fromkeys("aɑ", "D"),
    **dict.fromkeys("ɔoɜøɹ", "E"),
    **dict.fromkeys("wuʊy", "F"),
    "l": "H",
}
_SHORTEST = 6  # 1/100 s; what shows shorter is a flicker at 24 pictures a second
_LONG_L = 8  # 1/100 s from which an l shows the tongue
_BREATH = 12  # 1/100 s; the mouth does not close for a pause that is shorter
_LONG_PHRASE = 200  # cues that are looked at together
_TWEEN = 4  # 1/100 s of a shape between two that are far apart
_TWEENED = 12  # 1/100 s from which a shape gives some of its time for that
_BETWEEN: dict[frozenset[str], str] = {
    **{frozenset((closed, "D")): "C" for closed in "ABG"},
    **{frozenset((opened, "F")): "E" for opened in "CDH"},
}
_OPENNESS = {shape: i for i, shape in enumerate("XAGBFECHD")}


def rhubarb_cues(
    phones: Sequence[Phone], duration: Fraction, options: RhubarbOptions | None = None
) -> tuple[MouthCue, ...]:
    """The nine shapes for phones in order, from 0 to `duration` in seconds."""
    options = options or RhubarbOptions()
    cues = _of(phones, duration, _rhubarb_shape)
    cues = _merged(_without_breaths(cues))
    cues = _merged(kept for phrase in _phrases(cues) for kept in _without_flicker(phrase))
    cues = _merged(_tweened(cues))
    drawn = [cue if _drawn(cue.value, options) else replace(cue, value=_BASIC[cue.value]) for cue in cues]
    return tuple(_merged(drawn))


def _drawn(shape: str, options: RhubarbOptions) -> bool:
    return shape not in _BASIC or shape in options.extended


def _of(phones: Sequence[Phone], duration: Fraction, shape: Callable[[Phone, Phone | None], str]) -> list[MouthCue]:
    """One cue a phone, silence where there is none, on the grid of hundredths and inside the duration."""
    end = int(duration * 100)
    silent = shape(Phone(Fraction(0), Fraction(0), SILENCE), None)
    cues: list[MouthCue] = []
    at = 0
    for phone, after in zip_longest(phones, phones[1:]):
        start, stop = (min(max(round(t * 100), at), end) for t in (phone.start, phone.end))
        if start > at:
            cues.append(MouthCue(at, start, silent))
        if stop > start:
            cues.append(MouthCue(start, stop, shape(phone, after)))
        at = max(at, stop)
    if at < end or not cues:
        cues.append(MouthCue(at, end, silent))
    return _merged(cues)


def _rhubarb_shape(phone: Phone, after: Phone | None) -> str:
    if phone.symbol in "hʔ" and after is not None and after.symbol in VOWELS:
        return _SHAPES[after.symbol]  # the mouth is where it is going
    if phone.symbol == "l" and (phone.end - phone.start) * 100 < _LONG_L:
        return "C"
    return _SHAPES[phone.symbol]


def _merged(cues: Iterable[MouthCue]) -> list[MouthCue]:
    """Neighbours of one shape as one."""
    merged: list[MouthCue] = []
    for cue in cues:
        if merged and merged[-1].value == cue.value:
            merged[-1] = replace(merged[-1], end=cue.end)
        else:
            merged.append(cue)
    return merged


def _without_breaths(cues: Sequence[MouthCue]) -> list[MouthCue]:
    """Where a pause is hardly one, the shape before it is held."""
    last = len(cues) - 1
    return [
        replace(cue, value=cues[i - 1].value) if cue.value == "X" and 0 < i < last and cue.length < _BREATH else cue
        for i, cue in enumerate(cues)
    ]


def _phrases(cues: Sequence[MouthCue]) -> Iterator[Sequence[MouthCue]]:
    """The same in pieces that end at a pause, or that are long."""
    first = 0
    for i, cue in enumerate(cues, 1):
        if cue.value == "X" or i - first >= _LONG_PHRASE or i == len(cues):
            yield cues[first:i]
            first = i


def _without_flicker(cues: Sequence[MouthCue]) -> list[MouthCue]:
    """No cue shorter than _SHORTEST but at rest: closures take time from their neighbours, the rest give theirs away."""
    kept = list(cues)
    while len(kept) > 1:
        short = [i for i, cue in enumerate(kept) if cue.length < _SHORTEST and cue.value != "X"]
        if not short:
            break
        i = min(short, key=lambda i: kept[i].length)
        if not _widened(kept, i):
            _given_away(kept, i)
        kept = _merged(kept)
    return kept


def _widened(cues: list[MouthCue], i: int) -> bool:
    """Make a closure, or what opens between two, as long as it must be; False if it is neither, or has no room."""
    cue = cues[i]
    opens = 0 < i < len(cues) - 1 and cues[i - 1].value in "AG" and cues[i + 1].value in "AG"
    if cue.value not in "AG" and not opens:
        return False
    before = cues[i - 1].length - _SHORTEST if i > 0 else 0
    after = cues[i + 1].length - _SHORTEST if i + 1 < len(cues) else 0
    wanted = _SHORTEST - cue.length
    early = min(max(before, 0), wanted)
    late = min(max(after, 0), wanted - early)
    if early + late < wanted:
        return False
    cues[i] = replace(cue, start=cue.start - early, end=cue.end + late)
    if early:
        cues[i - 1] = replace(cues[i - 1], end=cue.start - early)
    if late:
        cues[i + 1] = replace(cues[i + 1], start=cue.end + late)
    return True


def _given_away(cues: list[MouthCue], i: int) -> None:
    """Drop a cue: a closure takes a short neighbour's place, anything else goes to one that is no closure if it can."""
    cue = cues[i]
    neighbours = [n for n in (i - 1, i + 1) if 0 <= n < len(cues)]
    if cue.value in "AG":
        j = min(neighbours, key=lambda n: cues[n].length)
        value = cues[j].value if cues[j].value in "AG" and cues[j].length > cue.length else cue.value
    else:
        j = max(neighbours, key=lambda n: (cues[n].value not in "AG", cues[n].length))
        value = cues[j].value
    first, second = min(i, j), max(i, j)
    cues[first] = MouthCue(cues[first].start, cues[second].end, value)
    del cues[second]


def _tweened(cues: Sequence[MouthCue]) -> list[MouthCue]:
    """With a shape between two that are far apart, taken from the more open one where that is long enough."""
    tweened = list(cues[:1])
    for cue in cues[1:]:
        before = tweened[-1]
        between = _BETWEEN.get(frozenset((before.value, cue.value)))
        from_before = _OPENNESS[before.value] > _OPENNESS[cue.value]
        if between is None or (before if from_before else cue).length < _TWEENED:
            tweened.append(cue)
        elif from_before:
            tweened[-1] = replace(before, end=before.end - _TWEEN)
            tweened += [MouthCue(before.end - _TWEEN, before.end, between), cue]
        else:
            tweened += [MouthCue(cue.start, cue.start + _TWEEN, between), replace(cue, start=cue.start + _TWEEN)]
    return tweened


# The fifteen

_VISEMES: dict[str, str] = {
    SILENCE: "sil",
    **dict.fromkeys("pbmβ", "PP"),
    **dict.fromkeys("fv", "FF"),
    **dict.fromkeys("θð", "TH"),
    **dict.fromkeys("td", "DD"),
    **dict.fromkeys("kgŋxɣʔ", "kk"),
    **dict.fromkeys("ʃʒɕ", "CH"),
    **dict.fromkeys("sz", "SS"),
    **dict.fromkeys("nl", "nn"),
    **dict.fromkeys("ɹrɜ", "RR"),
    **dict.fromkeys("aɑæʌ", "aa"),
    **dict.fromkeys("eɛəh", "E"),
    **dict.fromkeys("iɪɯj", "ih"),
    **dict.fromkeys("oɔø", "oh"),
    **dict.fromkeys("uʊwy", "ou"),
}
_BLEND_S = 0.08  # how long one viseme takes to become the next


def _oculus_shape(phone: Phone, after: Phone | None) -> str:
    if phone.symbol in "hʔ" and after is not None and after.symbol in VOWELS:
        return _VISEMES[after.symbol]
    if phone.symbol in "td" and after is not None and after.symbol in "ʃʒɕ":
        return "CH"  # an affricate is one
    return _VISEMES[phone.symbol]


def oculus_cues(phones: Sequence[Phone], duration: Fraction) -> tuple[MouthCue, ...]:
    """The fifteen visemes for phones in order, from 0 to `duration` in seconds."""
    return tuple(_of(phones, duration, _oculus_shape))


def oculus_weights(cues: Sequence[MouthCue], times: NDArray[np.floating[Any]]) -> Floats:
    """How much of each viseme shows [T, 15] at times [T] in seconds: 0..1, together 1, each passing into the next."""
    edges = np.array([cue.start for cue in cues[1:]], np.float64) / 100
    weights = np.zeros((len(times), len(OCULUS)), np.float32)
    # Of the cue that is on, and those before and after, as far as their edges are crossed.
    for cue, begin, end in zip(cues, (-np.inf, *edges), (*edges, np.inf), strict=True):
        first, last = np.searchsorted(times, (begin - _BLEND_S, end + _BLEND_S))
        t = np.asarray(times[first:last], np.float64)
        weights[first:last, _OCULUS_INDEX[cue.value]] += _step(t - begin) - _step(t - end)
    return weights


def _step(since: NDArray[np.floating[Any]]) -> Floats:
    """0 to 1 around an edge, as a cosine."""
    x = np.clip(since / _BLEND_S + 0.5, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * x), np.float32)


# Files

Kind = Literal["json", "tsv", "xml", "csv"]


@dataclass(frozen=True)
class Sheet:
    """What a file of cues says."""

    sound: str  # the recording's full path
    duration: Fraction  # seconds
    cues: tuple[MouthCue, ...]
    closed: str  # the shape of a mouth at rest, which ends a .tsv


def write_cues(sheet: Sheet, kind: Kind, file: TextIO) -> None:
    """Write a sheet as Rhubarb does; a .csv has the columns start, end and value."""
    {"json": _write_json, "tsv": _write_tsv, "xml": _write_xml, "csv": _write_csv}[kind](sheet, file)


def _seconds(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _write_tsv(sheet: Sheet, file: TextIO) -> None:
    for cue in sheet.cues:
        if cue.length or len(sheet.cues) > 1:
            file.write(f"{_seconds(cue.start)}\t{cue.value}\n")
    file.write(f"{_seconds(int(sheet.duration * 100))}\t{sheet.closed}\n")


def _write_json(sheet: Sheet, file: TextIO) -> None:
    import json

    sound = json.dumps(sheet.sound, ensure_ascii=False)
    cues = ",\n".join(
        f'    {{ "start": {_seconds(cue.start)}, "end": {_seconds(cue.end)}, "value": "{cue.value}" }}'
        for cue in sheet.cues
    )
    duration = _seconds(int(sheet.duration * 100))
    file.write(f'{{\n  "metadata": {{\n    "soundFile": {sound},\n    "duration": {duration}\n  }},\n')
    file.write(f'  "mouthCues": [\n{cues}\n  ]\n}}\n')


def _write_xml(sheet: Sheet, file: TextIO) -> None:
    file.write('<?xml version="1.0" encoding="utf-8"?>\n<rhubarbResult>\n  <metadata>\n')
    file.write(f"    <soundFile>{escape(_printable(sheet.sound))}</soundFile>\n")
    file.write(f"    <duration>{_seconds(int(sheet.duration * 100))}</duration>\n  </metadata>\n  <mouthCues>\n")
    for cue in sheet.cues:
        times = f'start="{_seconds(cue.start)}" end="{_seconds(cue.end)}"'
        file.write(f"    <mouthCue {times}>{cue.value}</mouthCue>\n")
    file.write("  </mouthCues>\n</rhubarbResult>\n")


def _printable(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(letter if letter >= " " else "?" for letter in text)


def _write_csv(sheet: Sheet, file: TextIO) -> None:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("start", "end", "value"))
    table.writerows((_seconds(cue.start), _seconds(cue.end), cue.value) for cue in sheet.cues)


def write_weights(cues: Sequence[MouthCue], duration: Fraction, rate: Fraction, file: TextIO) -> None:
    """The fifteen weights as a table, `rate` rows a second: time and a column a viseme."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("time", *OCULUS))
    n = max(int(duration * rate), 1)
    for first in range(0, n, _ROWS_AT_ONCE):
        times = np.array([float(i / rate) for i in range(first, min(first + _ROWS_AT_ONCE, n))])
        near = _near(cues, times[0], times[-1])
        for time, row in zip(times, oculus_weights(near, times), strict=True):
            table.writerow((f"{time:.4f}", *(f"{value:.4f}" for value in row)))


_ROWS_AT_ONCE = 6000


def _near(cues: Sequence[MouthCue], first: float, last: float) -> Sequence[MouthCue]:
    """The cues that show, or pass into one that shows, between two times in seconds."""
    near = [c for c in cues if c.end / 100 > first - _BLEND_S and c.start / 100 < last + _BLEND_S]
    assert all(a.end == b.start for a, b in pairwise(near))
    return near
