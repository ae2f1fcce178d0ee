"""`understudy visemes`: a recording or a text in, cues or curves out."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from audio.phones import SILENCE, Phone
from audio.visemes import OCULUS
from audio.voice import EspeakVoice
from perfcap.export import LIVE_LINK_COLUMNS
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE, AudioChunk
from server.lines import write_speech
from server.visemes import VisemeOptions, visemes

espeak = pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="make setup brings it")

TEXT = "My baby bought a big red apple."


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "said.wav"
    write_speech(path, EspeakVoice("en-us").speak(TEXT))
    return path


def quiet(done: int, total: int | None) -> None:
    pass


def run(speech: Path | None, output: Path, options: VisemeOptions | None = None) -> list[str]:
    return visemes(speech, output, options or VisemeOptions(), quiet).notes


@espeak
@pytest.mark.parametrize("shapes", ["rhubarb", "oculus"])
def test_a_text_is_spoken_and_its_sound_lies_beside_its_cues(tmp_path: Path, shapes: str) -> None:
    options = VisemeOptions(text=TEXT, language="en-us", shapes=shapes)  # type: ignore[arg-type]
    run(None, tmp_path / "a.json", options)
    sheet = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert sheet["metadata"]["soundFile"] == str(tmp_path / "a.wav")
    assert (tmp_path / "a.wav").stat().st_size == pytest.approx(
        sheet["metadata"]["duration"] * SAMPLE_RATE * 2, rel=0.02
    )
    closed = {"rhubarb": "A", "oculus": "PP"}[shapes]
    assert sum(cue["value"] == closed for cue in sheet["mouthCues"]) == 6  # m b b b b p


@espeak
def test_a_transcript_finds_the_closures_where_the_voice_made_them(tmp_path: Path, recording: Path) -> None:
    run(recording, tmp_path / "a.tsv", VisemeOptions(transcript=TEXT, shapes="oculus"))
    rows = [line.split("\t") for line in (tmp_path / "a.tsv").read_text().splitlines()]
    truth = [float(p.start) for p in EspeakVoice("en-us").speak(TEXT).phones or () if p.symbol in "pbm"]
    found = [float(time) for time, value in rows if value == "PP"]
    assert len(found) == len(truth)
    assert np.median(np.abs(np.array(found) - truth)) < 0.04
    assert rows[-1][1] == "sil"


@espeak
def test_a_transcript_may_be_a_file(tmp_path: Path, recording: Path) -> None:
    (tmp_path / "said.txt").write_text(TEXT)
    run(recording, tmp_path / "a.xml", VisemeOptions(transcript=str(tmp_path / "said.txt")))
    run(recording, tmp_path / "b.xml", VisemeOptions(transcript=TEXT))
    assert (tmp_path / "a.xml").read_text() == (tmp_path / "b.xml").read_text()
    root = ET.parse(tmp_path / "a.xml").getroot()
    assert [child.tag for child in root] == ["metadata", "mouthCues"]


@espeak
def test_a_recording_alone_is_listened_to(tmp_path: Path, recording: Path) -> None:
    run(recording, tmp_path / "a.json")
    sheet = json.loads((tmp_path / "a.json").read_text())
    values = {cue["value"] for cue in sheet["mouthCues"]}
    assert "A" in values
    assert len(values) >= 4
    assert sheet["mouthCues"][0]["start"] == 0
    assert sheet["mouthCues"][-1]["end"] == sheet["metadata"]["duration"]


@espeak
@pytest.mark.parametrize("transcript", [None, TEXT])
def test_curves_are_live_links_and_open_and_close_with_the_speech(
    tmp_path: Path, recording: Path, transcript: str | None
) -> None:
    run(recording, tmp_path / "a.csv", VisemeOptions(transcript=transcript, fps=Fraction(30)))
    table = list(csv.reader((tmp_path / "a.csv").open()))
    assert tuple(table[0]) == LIVE_LINK_COLUMNS
    said = EspeakVoice("en-us").speak(TEXT)
    assert len(table) - 1 == int(said.duration * 30)
    jaw = np.array([float(row[table[0].index("JawOpen")]) for row in table[1:]])
    assert jaw.max() > 0.15
    assert jaw[-2:].max() < 0.1


@espeak
def test_curves_made_piece_by_piece_are_those_of_the_whole(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server import visemes as module

    options = VisemeOptions(transcript=TEXT, fps=Fraction(30))
    run(recording, tmp_path / "a.csv", options)
    monkeypatch.setattr(module, "AT_ONCE", Fraction(1, 2))
    run(recording, tmp_path / "b.csv", options)
    one, other = (
        np.array([[float(cell) for cell in row[2:]] for row in list(csv.reader(path.open()))[1:]])
        for path in (tmp_path / "a.csv", tmp_path / "b.csv")
    )
    assert one.shape == other.shape
    assert np.abs(one - other).max() < 0.01


@espeak
def test_the_fifteen_come_as_weights_over_time(tmp_path: Path) -> None:
    run(None, tmp_path / "a.csv", VisemeOptions(text=TEXT, shapes="oculus", fps=Fraction(25)))
    table = list(csv.reader((tmp_path / "a.csv").open()))
    assert table[0] == ["time", *OCULUS]
    assert float(table[2][0]) == pytest.approx(0.04)


def silent(folder: Path) -> Path:
    from scipy.io import wavfile

    wavfile.write(folder / "silent.wav", SAMPLE_RATE, np.zeros(SAMPLE_RATE * 2, np.int16))
    return folder / "silent.wav"


def test_silence_is_a_mouth_at_rest_and_is_said(tmp_path: Path) -> None:
    notes = run(silent(tmp_path), tmp_path / "a.tsv")
    assert notes == [f"nothing is heard in {tmp_path / 'silent.wav'}: the mouth rests"]
    assert (tmp_path / "a.tsv").read_text() == "0.00\tX\n2.00\tX\n"


def test_music_is_a_mouth_at_rest_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import wavfile

    from audio import lips

    def silence(chunks: Iterable[AudioChunk]) -> Iterator[Phone]:
        n = sum(len(chunk.pcm) for chunk in chunks)
        yield Phone(Fraction(0), Fraction(n, SAMPLE_RATE), SILENCE)

    monkeypatch.setattr(lips, "phones_of", silence)
    tone = np.sin(np.arange(SAMPLE_RATE) / 10) * 9000
    wavfile.write(tmp_path / "music.wav", SAMPLE_RATE, tone.astype(np.int16))
    notes = run(tmp_path / "music.wav", tmp_path / "a.tsv")
    assert notes == [f"nobody is heard to speak in {tmp_path / 'music.wav'}: the mouth rests"]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.txt", {}, r"a.txt has the suffix \.txt; wanted one of \.json, \.tsv, \.xml, \.csv"),
        ("a.json", {"shapes": "arkit"}, r"a.json ends in \.json; wanted \.csv for ARKit's curves"),
        ("no/a.json", {}, "the folder .*no does not exist"),
        ("old.json", {}, "old.json exists; pass --force"),
        ("a.json", {"text": "hello"}, "wanted a recording of speech or a --text, one of them"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, name: str, options: dict[str, str], said: str
) -> None:
    (tmp_path / "old.json").write_text("mine")
    with pytest.raises(InputError, match=said):
        run(silent(tmp_path), tmp_path / name, VisemeOptions(**options))  # type: ignore[arg-type]
    assert (tmp_path / "old.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shapes": "disney"}, "--shapes is 'disney'; wanted rhubarb, oculus, arkit"),
        ({"fps": Fraction(0)}, "--fps is 0; wanted 1 to 1000"),
        ({"extended": "Q"}, "wanted some of G, H and X"),
        ({"voice": "Annie"}, "say a --text; found none"),
        ({"text": "a", "transcript": "b"}, "--transcript is of a recording; found --text"),
        ({"text": "a", "voice": "Annie", "voice_command": "piper"}, "found --voice-command as well"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        VisemeOptions(**options)  # type: ignore[arg-type]


@espeak
def test_the_sound_of_a_text_does_not_write_over_another(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("mine")
    with pytest.raises(InputError, match=r"a\.wav exists; pass --force"):
        run(None, tmp_path / "a.json", VisemeOptions(text=TEXT))
    assert not (tmp_path / "a.json").exists()


@espeak
def test_the_command_line_writes_a_file_and_tells_of_it(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from server.cli import run as command

    assert command(["visemes", str(recording), "-o", str(tmp_path / "a.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == str(tmp_path / "a.json")
    assert command(["visemes", str(recording), "-o", str(tmp_path / "a.mp4")]) == 2
    assert "wanted one of .json" in capsys.readouterr().err
    assert command(["visemes", "-o", str(tmp_path / "b.json"), "--fps", "zero", "--text", "a"]) == 2
