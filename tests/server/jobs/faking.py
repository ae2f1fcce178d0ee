"""Work that is told by an order what to do, and a worker that does it: `python -m tests.server.jobs.faking`.

An order is a JSON list of [what, how much]: ["work", seconds], ["file", text], ["crash", signal], ["memory", MB],
["spin", seconds], ["bad", sentence], ["bug", word], ["helper", seconds].
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.output import whole_file
from server.jobs.attempt import Doing, Done, Progress
from server.jobs.records import Claim
from server.jobs.worker import main


def doing(steps: list[list[Any]], begun: Path | None = None) -> Doing:
    """What an attempt does; `begun` is a folder in which each leaves a note of itself."""

    def do(folder: Path, progress: Progress) -> Done:
        if begun is not None:
            (begun / f"{folder.parent.name}-{folder.name}").touch()
        with whole_file(folder / "output.txt") as output:
            output.write_text("half")
            for what, much in steps:
                STEPS[what](much, progress, folder)
            output.write_text("whole")
        return Done(output="output.txt", seconds=1.0, frames=1, notes=("a note",))

    return do


def _work(seconds: float, progress: Progress, folder: Path) -> None:
    n = max(1, round(seconds / 0.02))
    for i in range(n):
        time.sleep(0.02)
        progress(i + 1, n)


def _crash(signal: int, progress: Progress, folder: Path) -> None:
    os.kill(os.getpid(), signal)


def _memory(mb: int, progress: Progress, folder: Path) -> None:
    bytearray(mb << 20)


def _spin(seconds: float, progress: Progress, folder: Path) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def _bad(sentence: str, progress: Progress, folder: Path) -> None:
    raise InputError(sentence)


def _bug(word: str, progress: Progress, folder: Path) -> None:
    raise KeyError(word)


def _helper(seconds: float, progress: Progress, folder: Path) -> None:
    helper = subprocess.Popen(["sleep", str(seconds)])
    (folder.parent.parent.parent / "helper").write_text(str(helper.pid))


STEPS: dict[str, Callable[[Any, Progress, Path], None]] = {
    "work": _work, "crash": _crash, "memory": _memory, "spin": _spin, "bad": _bad, "bug": _bug, "helper": _helper,
}  # fmt: skip


def faked(data: Path) -> Callable[[Claim], Doing]:
    return lambda claim: doing(json.loads(claim.task.order), data)


if __name__ == "__main__":
    main(faked)
