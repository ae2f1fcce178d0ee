"""A manifest's rows are all done, whatever the others are, and a run that was stopped goes on."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.video import VideoReader
from server.act import ActOptions
from server.cli import run
from server.dub import DubOptions
from server.jobs.batch import BatchOptions, read_manifest
from server.jobs.orders import ActOrder, DubOrder
from server.jobs.pool import PROGRAMS
from server.jobs.records import State
from server.jobs.store import open_store
from server.jobs.worker import AWAY

HEADER = "command,character,performance,clip,audio,output,intensity,camera,fps,side-by-side\n"


def manifest(folder: Path, text: str, name: str = "jobs.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_table_is_read_with_its_paths_beside_it_and_its_values_typed(tmp_path: Path) -> None:
    rows, bad = read_manifest(
        manifest(tmp_path, HEADER + "act,a.png,b.mp4,,,out/c.mp4,2.5,zoom:1.2 pan:0.1,30000/1001,yes\n")
    )
    assert not bad
    options = ActOptions(
        intensity=2.5, camera=("zoom:1.2", "pan:0.1"), fps=Fraction(30000, 1001), side_by_side=True
    )  # fmt: skip
    act = ActOrder(character=tmp_path / "a.png", performance=tmp_path / "b.mp4", options=options)
    assert (rows[0].line, rows[0].order, rows[0].output) == (2, act, tmp_path / "out/c.mp4")


def test_a_dub_and_an_act_stand_in_one_table(tmp_path: Path) -> None:
    rows, bad = read_manifest(manifest(tmp_path, HEADER + "dub,,,c.mp4,d.wav,e.MOV,,,,\n"))
    assert not bad
    assert rows[0].order == DubOrder(
        clip=tmp_path / "c.mp4", options=DubOptions(audio=tmp_path / "d.wav"), suffix=".mov"
    )


def test_lines_of_json_say_the_same(tmp_path: Path) -> None:
    told = {"command": "act", "character": "/x/a.png", "performance": "b.mp4", "output": "c.mp4", "camera": ["zoom:2"]}
    rows, bad = read_manifest(manifest(tmp_path, "\n" + json.dumps(told) + "\n", "jobs.jsonl"))
    assert not bad
    assert rows[0].line == 2
    assert rows[0].order == ActOrder(
        character=Path("/x/a.png"), performance=tmp_path / "b.mp4", options=ActOptions(camera=("zoom:2",))
    )


def test_bad_rows_are_told_by_line_and_the_good_ones_kept(tmp_path: Path) -> None:
    rows, bad = read_manifest(
        manifest(
            tmp_path,
            HEADER + "act,a.png,b.mp4,,,1.mp4,,,,\n"
            "sing,a.png,b.mp4,,,2.mp4,,,,\n"
            "act,a.png,,,,3.mp4,,,,\n"
            "act,a.png,b.mp4,,,4.mp4,loud,,,\n"
            "act,a.png,b.mp4,,,5.mp4,9,,,\n"
            "act,a.png,b.mp4,,,6.mp4,,,,perhaps\n"
            "act,a.png,b.mp4,,,,,,,\n"
            "act,a.png,b.mp4,,,1.mp4,,,,\n"
            "act,a.png,b.mp4,,,9.mp4,,,,,more\n"
            "dub,,,c.mp4,,10.mp4,,,,\n"
            "act,a.png,b.mp4,,,11.mp4,,,1/0,\n"
            "act,a.png,b.mp4,,,12.png,,,,\n"
            "capture,,b.mp4,,,13.csv,,,,\n",
        )
    )
    assert [row.line for row in rows] == [2]
    said = {b.line: b.reason for b in bad}
    for line, word in [
        (3, "command is 'sing'; wanted act, dub, capture"),
        (4, "act lacks performance"),
        (5, "intensity is 'loud'; wanted a number"),
        (6, "intensity"),
        (7, "side_by_side is 'perhaps'; wanted true or false"),
        (8, "output is None"),
        (9, "1.mp4 is written by line 2 already"),
        (10, "more cells than there are columns"),
        (11, "found nothing to be said"),
        (12, "act.options.fps is '1/0'"),
        (13, "output is '12.png'; wanted one file of the kind .mp4, .m4v"),
        (14, "capture has no performance; wanted command, output and some of end, face, force, profile, start, video"),
    ]:
        assert word in said[line]
    assert len(bad) == 12


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("jobs.txt", "x", "suffix .txt; wanted .csv or .jsonl"),
        ("jobs.csv", "", "wanted names of columns"),
        ("jobs.csv", "a,b\n1,2\n", "wanted names of columns"),
        ("jobs.csv", HEADER, "has no rows"),
        ("jobs.jsonl", "\n\n", "has no rows"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_manifest(manifest(tmp_path, text, name))


def test_a_manifest_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        read_manifest(tmp_path / "none.csv")


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="--workers is 0"):
        BatchOptions(workers=0)
    with pytest.raises(ValueError, match=r"wanted a \.csv or \.json"):
        BatchOptions(report=Path("x.txt"))


def test_rows_whose_files_are_missing_are_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.mp4").write_bytes(b"")
    (tmp_path / "a.png").write_bytes(b"")
    path = manifest(
        tmp_path, HEADER + "act,a.png,none.mp4,,,1.mp4,,,,\nact,a.png,there.mp4,,,there.mp4,,,,\n"
    )  # fmt: skip
    assert run(["batch", str(path)]) == 2
    assert "no row that can be done; line 2: " in capsys.readouterr().err


def speech(path: Path, seconds: float = 0.8) -> Path:
    rng = np.random.default_rng(0)
    pcm = (rng.normal(0, 3000, round(16000 * seconds)) * np.sin(np.arange(round(16000 * seconds)) / 1500)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(pcm.tobytes())
    return path


def test_workers_that_cannot_write_end_a_batch_with_a_sentence(
    portrait: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a full disk; the database is made, and no more."""
    monkeypatch.setitem(PROGRAMS, "local", ("-c", f"raise SystemExit({AWAY})"))
    manifest = tmp_path / "jobs.csv"
    manifest.write_text(f"command,character,performance,output\nact,{portrait},{clip},out.mp4\n")
    assert run(["batch", str(manifest)]) == 2
    said = capsys.readouterr().err
    assert "jobs.sqlite cannot be written by its workers; " in said
    assert said.endswith("MB of its disk are left; wanted it mended, and this command again\n")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_every_row_is_done_and_reported_and_nothing_is_done_twice(
    portrait: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech(tmp_path / "s.wav")
    (tmp_path / "blank.mp4").write_bytes(b"a letter, and no film")
    rows: list[dict[str, Any]] = [
        {"command": "act", "character": str(portrait), "performance": str(clip), "output": "1.mp4"},
        {"command": "act", "character": str(portrait), "performance": "blank.mp4", "output": "2.mp4"},
        {"command": "sing", "output": "3.mp4"},
        {"command": "dub", "clip": str(portrait), "audio": "s.wav", "output": "out/4.mp4"},
        {"command": "capture", "video": str(clip), "output": "5.csv"},
    ]
    path = manifest(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "jobs.jsonl")
    report = tmp_path / "report.json"
    command = ["batch", str(path), "--report", str(report)]
    assert run([*command, "--json"]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], summary["failed"], summary["report"]) == (5, 2, str(report))
    told = json.loads(report.read_text())
    assert [(line["line"], line["state"]) for line in told] == [
        (1, "SUCCEEDED"), (2, "FAILED"), (3, "REFUSED"), (4, "SUCCEEDED"), (5, "SUCCEEDED"),
    ]  # fmt: skip
    assert "blank.mp4" in told[1]["failure"]
    with VideoReader(tmp_path / "1.mp4") as reader:
        assert sum(1 for _ in reader) == 24
    assert told[0]["seconds"] == pytest.approx(24 / 25)
    written = {name: (tmp_path / name).stat().st_mtime_ns for name in ("1.mp4", "out/4.mp4", "5.csv")}
    assert run([*command, "-q"]) == 1
    assert written == {name: (tmp_path / name).stat().st_mtime_ns for name in written}
    (tmp_path / "out/4.mp4").unlink()
    assert run([*command, "-q"]) == 1
    assert (tmp_path / "out/4.mp4").exists()
    assert written["1.mp4"] == (tmp_path / "1.mp4").stat().st_mtime_ns


@pytest.mark.slow
def test_a_run_that_is_killed_or_stopped_goes_on_where_it_was(portrait: Path, clip: Path, tmp_path: Path) -> None:
    table = "command,character,performance,output\n"
    table += "".join(f"act,{portrait},{clip},{n}.mp4\n" for n in range(4))
    path = manifest(tmp_path, table)
    command = [sys.executable, "-m", "server.cli", "batch", str(path)]
    written = {}
    for n, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while not (tmp_path / f"{n}.mp4").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(how)
        assert process.wait(30) == (143 if how is signal.SIGTERM else -how)
        written[n] = (tmp_path / f"{n}.mp4").stat().st_mtime_ns
    store = open_store(tmp_path / "jobs.csv.batch")
    assert not store.tasks(states=[State.RUNNING])
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert all((tmp_path / f"{n}.mp4").stat().st_mtime_ns == then for n, then in written.items())
    with (tmp_path / "jobs.csv.report.csv").open() as file:
        states = [(line["output"], line["state"]) for line in csv.DictReader(file)]
    assert states == [(str(tmp_path / f"{n}.mp4"), "SUCCEEDED") for n in range(4)]
    assert {p.name for p in tmp_path.glob("*.mp4")} == {f"{n}.mp4" for n in range(4)}
