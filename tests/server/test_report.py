"""What a command tells while it works."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import server.report
from server.report import Report
from server.take import Tally


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def reported(
    monkeypatch: pytest.MonkeyPatch, *, quiet: bool = False, json: bool = False, patience_s: float = 0.0
) -> str:
    """What a terminal showed of 50 frames."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(server.report, "PATIENCE_S", patience_s)
    with Report("act", quiet=quiet, json=json) as report:
        if report._timer is not None and patience_s == 0:
            report._timer.join()
        for i in range(50):
            report.progress(i + 1, 40)
        report.done(Path("out.mp4"), Tally(frames=50, faceless=2, seconds={"render": 1.23456}))
    return terminal.getvalue()


def test_long_work_shows_how_far_it_is_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    shown = reported(monkeypatch)
    assert "50/50" in shown  # the container's count was too low
    assert "frames/s" in shown


@pytest.mark.parametrize("how", [{"quiet": True}, {"json": True}, {"patience_s": 60.0}])
def test_quiet_machine_read_or_short_work_shows_no_bar(how: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    assert reported(monkeypatch, **how) == ""  # type: ignore[arg-type]


def test_the_summary_is_one_line_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reported(monkeypatch, patience_s=60.0)
    said = capsys.readouterr().out
    assert said.startswith("out.mp4: 50 frames, 2 without a face, ")
    assert said.count("\n") == 1


def test_the_summary_is_one_line_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reported(monkeypatch, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["command"] == "act"
    assert told["output"] == "out.mp4"
    assert told["frames"] == 50
    assert told["faceless"] == 2
    assert told["stages"] == {"render": 1.235}
    assert {"fps", "seconds", "peak_mb"} <= set(told)


def test_a_process_has_held_no_less_than_it_holds_and_nothing_of_its_parents() -> None:
    ask = "import numpy; a = numpy.ones(40 << 17); from server.report import peak_mb; print(peak_mb())"
    weight = np.ones(600 << 17)  # 600 MB
    told = float(subprocess.run([sys.executable, "-c", ask], capture_output=True, check=True, text=True).stdout)
    assert weight.any()
    assert 40 < told < 400
