"""An attempt has a process and limits of its own, and tells what came of it, however it ended."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from server.jobs.attempt import Attempt, Done, Failed, Limits, Progress
from server.jobs.records import Code
from tests.server.jobs.faking import STEPS, doing

ROOMY = Limits(cpu_s=60, memory_mb=4096)


def outcome(steps: list[list[Any]], folder: Path, limits: Limits = ROOMY) -> Done | Failed:
    attempt = Attempt(doing(steps), folder, limits)
    while attempt.listen():
        pass
    result = attempt.result()
    attempt.close()
    return result


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def vanishes(pid: int, seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


def test_what_is_done_is_told_and_the_file_is_whole(tmp_path: Path) -> None:
    done = outcome([["work", 0.05]], tmp_path / "a")
    assert done == Done(output="output.txt", seconds=1.0, frames=1, notes=("a note",))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["output.txt"]
    assert (tmp_path / "a/output.txt").read_text() == "whole"


def test_progress_comes_while_it_works(tmp_path: Path) -> None:
    attempt = Attempt(doing([["work", 1.0]]), tmp_path / "a", ROOMY)
    seen = []
    while attempt.listen():
        seen.append(attempt.progress)
    assert isinstance(attempt.result(), Done)
    attempt.close()
    assert len(seen) >= 2
    assert seen == sorted(seen)
    assert 0 < seen[0] < 1


@pytest.mark.parametrize(
    ("steps", "failed"),
    [
        ([["bad", "the clip shows no face"]], Failed("the clip shows no face", Code.BAD_INPUT, True)),
        ([["bug", "x"]], Failed("a mistake of ours (KeyError)", Code.BROKEN, False)),
        ([["crash", signal.SIGKILL]], Failed("the process that did it died (SIGKILL)", Code.CRASHED, False)),
        ([["crash", signal.SIGUSR1]], Failed("the process that did it died (SIGUSR1)", Code.CRASHED, False)),
        ([["memory", 3000]], Failed("it took more than 1000 MB of memory", Code.MEMORY, True)),
        ([["spin", 20]], Failed("it took more than 1 s of CPU time", Code.TIME, True)),
    ],
)
def test_what_went_wrong_is_told_by_its_cause(tmp_path: Path, steps: list[list[Any]], failed: Failed) -> None:
    assert outcome(steps, tmp_path / "a", Limits(cpu_s=1, memory_mb=1000)) == failed
    assert not (tmp_path / "a/output.txt").exists()


def test_a_killed_attempt_takes_its_helpers_and_its_files_along(tmp_path: Path) -> None:
    folder = tmp_path / "outputs/task/a"
    attempt = Attempt(doing([["helper", 60], ["work", 60]]), folder, ROOMY)
    while not (tmp_path / "helper").exists() or not (tmp_path / "helper").read_text():
        time.sleep(0.01)
    helper = int((tmp_path / "helper").read_text())
    assert alive(helper)
    attempt.kill()
    attempt.close()
    assert vanishes(helper)
    assert not folder.exists()


def test_what_the_parent_left_behind_is_not_freed_by_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec with threads, freed where its threads are not, waits for them for ever."""

    class Left:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            (tmp_path / str(os.getpid())).touch()

    monkeypatch.setitem(STEPS, "collect", lambda much, progress, folder: gc.collect())
    gc.disable()
    try:
        Left()
        assert isinstance(outcome([["collect", 1]], tmp_path / "a"), Done)
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        gc.collect()
    finally:
        gc.enable()
    assert (tmp_path / str(os.getpid())).exists()


def test_listening_ends_though_an_attempt_says_nothing(tmp_path: Path) -> None:
    attempt = Attempt(doing([["spin", 60]]), tmp_path / "a", ROOMY)
    assert attempt.listen(0.1)
    attempt.kill()
    attempt.close()


def _hold(seconds: float, progress: Progress, folder: Path) -> None:
    """A fork that keeps all its parent has open."""
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)


def test_an_attempt_has_ended_though_a_helper_keeps_its_pipe_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STEPS, "hold", _hold)
    attempt = Attempt(doing([["hold", 60], ["crash", signal.SIGKILL]]), tmp_path / "a", ROOMY)
    begun = time.monotonic()
    while attempt.listen(0.1):
        assert time.monotonic() - begun < 20
    assert attempt.result() == Failed("the process that did it died (SIGKILL)", Code.CRASHED, False)
    attempt.close()


ORPHANED = """
import sys, time
from pathlib import Path
from server.jobs.attempt import Attempt, Limits
from tests.server.jobs.faking import doing
attempt = Attempt(doing([["work", 60]]), Path(sys.argv[1]), Limits(cpu_s=60, memory_mb=4096))
print(attempt._pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="dying with the parent at once is Linux's; elsewhere the pipe tells"
)
def test_an_attempt_dies_with_whoever_began_it(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANED, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert vanishes(child)
