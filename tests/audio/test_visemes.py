"""Phones become the shapes that animators draw, in files that their programs read."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from audio.phones import SYMBOLS, Phone
from audio.visemes import (
    OCULUS,
    Kind,
    MouthCue,
    RhubarbOptions,
    Sheet,
    oculus_cues,
    oculus_weights,
    rhubarb_cues,
    write_cues,
    write_weights,
)


def phones_at(text: str) -> tuple[Phone, ...]:
    """`h0.05 a0.11 _0.43` as phones that begin then; the last ends a tenth of a second after."""
    parts = [(part[0], Fraction(part[1:])) for part in text.split()]
    ends = [start for _, start in parts[1:]] + [parts[-1][1] + Fraction(1, 10)]
    return tuple(Phone(start, end, symbol) for (symbol, start), end in zip(parts, ends, strict=True))


def shown(cues: tuple[MouthCue, ...]) -> str:
    return " ".join(f"{cue.value}{cue.start / 100:.2f}" for cue in cues)


def tiles(cues: tuple[MouthCue, ...], end: int) -> bool:
    return cues[0].start == 0 and cues[-1].end == end and all(a.end == b.start for a, b in pairwise(cues))


def random_phones(seed: int, n: int) -> tuple[Phone, ...]:
    rng = np.random.default_rng(seed)
    at, phones = Fraction(0), []
    for _ in range(n):
        at += Fraction(int(rng.integers(0, 3)) // 2 * int(rng.integers(0, 400)), 1000)
        end = at + Fraction(int(rng.integers(5, 250)), 1000)
        phones.append(Phone(at, end, SYMBOLS[rng.integers(len(SYMBOLS))]))
        at = end
    return tuple(phones)


# Rhubarb


def test_hi_is_the_example_of_rhubarbs_documentation() -> None:
    cues = rhubarb_cues(phones_at("_0 h0.05 a0.11 ɪ0.31 _0.43"), Fraction(475, 1000))
    assert shown(cues) == "X0.00 D0.05 C0.27 B0.31 X0.43"
    assert cues[-1].end == 47  # truncated


@pytest.mark.parametrize(
    ("symbols", "shape"),
    [("pbm", "A"), ("kstɪi", "B"), ("ɛæ", "C"), ("aɑ", "D"), ("ɔɜ", "E"), ("uw", "F"), ("fv", "G"), ("l", "H"), ("_", "X")],
)  # fmt: skip
def test_each_sound_of_the_documentation_has_its_shape(symbols: str, shape: str) -> None:
    for symbol in symbols:
        assert rhubarb_cues((Phone(Fraction(0), Fraction(1, 5), symbol),), Fraction(1, 5))[0].value == shape


def test_every_symbol_has_a_shape_of_both_kinds() -> None:
    for symbol in SYMBOLS:
        phone = (Phone(Fraction(0), Fraction(1, 5), symbol),)
        assert rhubarb_cues(phone, Fraction(1, 5))[0].value in "ABCDEFGHX"
        assert oculus_cues(phone, Fraction(1, 5))[0].value in OCULUS


def test_a_wide_mouth_is_reached_and_left_by_a_shape_between() -> None:
    assert shown(rhubarb_cues(phones_at("m0 a0.1 p0.3 u0.4 a0.6 _0.8"), Fraction(9, 10))) == (
        "A0.00 C0.10 D0.14 C0.26 A0.30 F0.40 E0.60 D0.64 X0.80"
    )


def test_a_short_l_shows_no_tongue() -> None:
    assert shown(rhubarb_cues(phones_at("b0 l0.1 b0.17"), Fraction(1, 4))) == "A0.00 C0.10 A0.17"
    assert shown(rhubarb_cues(phones_at("b0 l0.1 b0.25"), Fraction(1, 3))) == "A0.00 H0.10 A0.25"


def test_a_short_pause_does_not_close_the_mouth() -> None:
    assert shown(rhubarb_cues(phones_at("ɛ0 _0.2 i0.3 _0.5"), Fraction(1))) == "C0.00 B0.30 X0.50"


def test_a_closure_too_short_to_be_seen_is_made_long_enough_and_never_lost() -> None:
    assert shown(rhubarb_cues(phones_at("ɛ0 b0.20 ɛ0.23"), Fraction(4, 10))) == "C0.00 A0.17 C0.23 X0.33"
    assert shown(rhubarb_cues(phones_at("ɛ0 s0.20 ɛ0.23"), Fraction(4, 10))) == "C0.00 X0.33"


def test_the_mouth_opens_between_two_closures() -> None:
    assert shown(rhubarb_cues(phones_at("b0 ɪ0.15 b0.18 _0.3"), Fraction(4, 10))) == "A0.00 B0.12 A0.18 X0.30"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_said_the_cues_fill_the_time_and_none_is_a_flicker(seed: int) -> None:
    phones = random_phones(seed, 60)
    duration = phones[-1].end + Fraction(1, 3)
    cues = rhubarb_cues(phones, duration)
    assert tiles(cues, int(duration * 100))
    assert all(a.value != b.value for a, b in pairwise(cues))
    assert all(cue.length >= 4 for cue in cues[1:-1])
    closed = sum(p.symbol in "pbm" and p.end - p.start > Fraction(6, 100) for p in phones)
    assert sum(cue.value == "A" for cue in cues) >= closed / 2  # neighbours may be one
    assert tiles(oculus_cues(phones, duration), int(duration * 100))


@pytest.mark.parametrize("extended", ["", "G", "HX", "GHX"])
def test_shapes_that_are_not_drawn_are_replaced(extended: str) -> None:
    phones = phones_at("_0 f0.2 l0.4 i0.6")
    values = [cue.value for cue in rhubarb_cues(phones, Fraction(1), RhubarbOptions(extended=extended))]
    assert not set(values) & (set("GHX") - set(extended))
    basic = {"G": "B", "H": "C", "X": "A"}
    assert values == [v if v in extended or v not in basic else basic[v] for v in ["X", "G", "H", "B", "X"]]
    with pytest.raises(ValueError, match="extended shapes are 'GQ', wanted some of G, H and X"):
        RhubarbOptions(extended="GQ")


def test_no_phones_are_a_mouth_at_rest() -> None:
    assert shown(rhubarb_cues((), Fraction(2))) == "X0.00"
    assert shown(rhubarb_cues((), Fraction(0))) == "X0.00"
    assert rhubarb_cues(phones_at("a0 b0.1"), Fraction(5, 1000)) == (MouthCue(0, 0, "X"),)


def test_an_hour_is_no_burden() -> None:
    phones = random_phones(0, 3000)
    assert len(rhubarb_cues(phones, phones[-1].end)) > 500


# Files

HI = Sheet(
    r"C:\Users\Daniel\Desktop\av\hi\hi.wav",
    Fraction(479, 1000),
    tuple(MouthCue(a, b, v) for a, b, v in ((0, 5, "X"), (5, 27, "D"), (27, 31, "C"), (31, 43, "B"), (43, 47, "X"))),
    "X",
)
TSV = "0.00\tX\n0.05\tD\n0.27\tC\n0.31\tB\n0.43\tX\n0.47\tX\n"
XML = r"""<?xml version="1.0" encoding="utf-8"?>
<rhubarbResult>
  <metadata>
    <soundFile>C:\Users\Daniel\Desktop\av\hi\hi.wav</soundFile>
    <duration>0.47</duration>
  </metadata>
  <mouthCues>
    <mouthCue start="0.00" end="0.05">X</mouthCue>
    <mouthCue start="0.05" end="0.27">D</mouthCue>
    <mouthCue start="0.27" end="0.31">C</mouthCue>
    <mouthCue start="0.31" end="0.43">B</mouthCue>
    <mouthCue start="0.43" end="0.47">X</mouthCue>
  </mouthCues>
</rhubarbResult>
"""
JSON = r"""{
  "metadata": {
    "soundFile": "C:\\Users\\Daniel\\Desktop\\av\\hi\\hi.wav",
    "duration": 0.47
  },
  "mouthCues": [
    { "start": 0.00, "end": 0.05, "value": "X" },
    { "start": 0.05, "end": 0.27, "value": "D" },
    { "start": 0.27, "end": 0.31, "value": "C" },
    { "start": 0.31, "end": 0.43, "value": "B" },
    { "start": 0.43, "end": 0.47, "value": "X" }
  ]
}
"""


def written(sheet: Sheet, kind: Kind) -> str:
    file = io.StringIO()
    write_cues(sheet, kind, file)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "text"), [("tsv", TSV), ("xml", XML), ("json", JSON)])
def test_files_are_those_of_rhubarbs_documentation(kind: Kind, text: str) -> None:
    assert written(HI, kind) == text


def test_any_file_name_is_written_so_that_it_is_read_again() -> None:
    name = "/tönë/a & b <\"quoted\"> 'x'.wav"
    sheet = Sheet(name, HI.duration, HI.cues, "X")
    assert json.loads(written(sheet, "json"))["metadata"]["soundFile"] == name
    sound = ET.fromstring(written(sheet, "xml").encode()).find("metadata/soundFile")
    assert sound is not None
    assert sound.text == name
    ET.fromstring(written(Sheet("a\x07b.wav", HI.duration, HI.cues, "X"), "xml").encode())
    assert (
        json.loads(written(Sheet("a\nb.wav", HI.duration, HI.cues, "X"), "json"))["metadata"]["soundFile"] == "a\nb.wav"
    )


def test_all_kinds_of_file_say_the_same() -> None:
    phones = random_phones(1, 40)
    duration = phones[-1].end
    sheet = Sheet("a.wav", duration, rhubarb_cues(phones, duration), "X")
    from_json = [(c["start"], c["end"], c["value"]) for c in json.loads(written(sheet, "json"))["mouthCues"]]
    root = ET.fromstring(written(sheet, "xml").encode())
    from_xml = [(float(c.attrib["start"]), float(c.attrib["end"]), c.text) for c in root.iter("mouthCue")]
    from_csv = [(float(a), float(b), v) for a, b, v in list(csv.reader(io.StringIO(written(sheet, "csv"))))[1:]]
    starts = [line.split("\t") for line in written(sheet, "tsv").splitlines()]
    from_tsv = [(float(a[0]), float(b[0]), a[1]) for a, b in pairwise(starts)]
    assert from_json == from_xml == from_csv == from_tsv
    assert all(re.fullmatch(r"\d+\.\d\d", line[0]) for line in starts)


def test_a_file_of_no_time_has_a_cue_all_the_same() -> None:
    sheet = Sheet("a.wav", Fraction(0), rhubarb_cues((), Fraction(0)), "X")
    assert json.loads(written(sheet, "json"))["mouthCues"] == [{"start": 0, "end": 0, "value": "X"}]
    assert written(sheet, "tsv") == "0.00\tX\n"


# Oculus


def test_an_affricate_is_one_viseme_and_an_h_is_its_vowel() -> None:
    assert shown(oculus_cues(phones_at("t0 ʃ0.1 h0.2 u0.3"), Fraction(4, 10))) == "CH0.00 ou0.20"


def test_weights_are_whole_and_each_viseme_has_its_time() -> None:
    phones = random_phones(2, 50)
    cues = oculus_cues(phones, phones[-1].end)
    times = np.arange(0, float(phones[-1].end), 0.01)
    weights = oculus_weights(cues, times)
    assert weights.shape == (len(times), len(OCULUS))
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    assert weights.min() > -1e-6
    for cue in cues:
        if cue.length > 10:
            middle = (cue.start + cue.end) // 2
            assert weights[middle, OCULUS.index(cue.value)] == pytest.approx(1, abs=1e-5)


def test_weights_in_a_file_are_those_of_the_whole_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from audio import visemes

    phones = random_phones(3, 30)
    duration = phones[-1].end
    cues = oculus_cues(phones, duration)
    files = [io.StringIO(), io.StringIO()]
    write_weights(cues, duration, Fraction(30), files[0])
    monkeypatch.setattr(visemes, "_ROWS_AT_ONCE", 7)
    write_weights(cues, duration, Fraction(30), files[1])
    assert files[0].getvalue() == files[1].getvalue()
    rows = list(csv.reader(io.StringIO(files[0].getvalue())))
    assert rows[0] == ["time", *OCULUS]
    assert len(rows) == 1 + int(duration * 30)
