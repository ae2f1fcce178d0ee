"""What a command tells while it works and when it is done: a progress bar, a line for people, a line for programs."""

from __future__ import annotations

import json as json_format
import resource
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.take import Tally

PATIENCE_S = 1.0  # nothing is shown of work shorter than this


class Report:
    """Progress on stderr, the summary on stdout.

    The bar appears by itself when its time has come, so that work before the first frame shows too.
    """

    def __init__(self, command: str, *, quiet: bool, json: bool) -> None:
        self._command = command
        self._quiet = quiet
        self._json = json
        self._begun = time.perf_counter()
        self._first: float | None = None  # when the first frame was done
        self._bar: Any = None
        self._task: Any = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Report:
        if not self._quiet and not self._json and sys.stderr.isatty():
            self._timer = threading.Timer(PATIENCE_S, self._show)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        if self._bar is not None:
            self._bar.stop()

    def progress(self, done: int, total: int | None) -> None:
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        if self._bar is not None:
            rate = (done - 1) / (now - self._first) if now > self._first else 0.0
            total = None if total is None else max(total, done)  # a container's count is an estimate
            self._bar.update(self._task, completed=done, total=total, rate=rate)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn(self._command),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} frames/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = bar.add_task(self._command, total=None, rate=0.0)
        bar.start()
        self._bar = bar

    def done(self, output: Path, tally: Tally) -> None:
        elapsed = time.perf_counter() - self._begun
        if self._bar is not None:
            self._bar.stop()
        rate = tally.frames / elapsed
        if self._json:
            summary = {
                "command": self._command,
                "output": str(output),
                "frames": tally.frames,
                "faceless": tally.faceless,
                "fps": round(rate, 2),
                "seconds": round(elapsed, 3),
                "stages": {name: round(s, 3) for name, s in tally.seconds.items()},
                "peak_mb": round(peak_mb(), 1),
                **({"notes": tally.notes} if tally.notes else {}),
            }
            print(json_format.dumps(summary))
        elif not self._quiet:
            faceless = f", {tally.faceless} without a face" if tally.faceless else ""
            frames = f" {tally.frames} frames{faceless}, {rate:.1f} frames/s," if tally.frames else ""
            print(f"{output}:{frames} {elapsed:.1f} s")
            for note in tally.notes:
                print(f"note: {note}", file=sys.stderr)


class Rows:
    """One bar for many jobs on stderr, and what is wrong with them; the summary on stdout."""

    def __init__(self, command: str, *, quiet: bool, json: bool) -> None:
        self._command = command
        self._quiet = quiet
        self._json = json
        self._begun = time.perf_counter()
        self._bar: Any = None
        self._task: Any = None
        self._told: set[int] = set()

    def __enter__(self) -> Rows:
        if not self._quiet and not self._json and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            rows = TextColumn("{task.completed:.0f}/{task.total:.0f} rows")
            columns = TextColumn(self._command), BarColumn(), TaskProgressColumn(), rows, TimeRemainingColumn()
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._command, total=1)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, done: float, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)

    def refuse(self, line: int, reason: str) -> None:
        """Told while there is time to put it right."""
        self._told.add(line)
        if self._bar is not None:
            self._bar.console.print(f"line {line}: {reason}", markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet and not self._json:
            print(f"line {line}: {reason}", file=sys.stderr)

    def done(self, report: Path, rows: Sequence[tuple[int, str]]) -> None:
        """`rows` are lines of what was asked for, each with why it failed or nothing."""
        elapsed = time.perf_counter() - self._begun
        if self._bar is not None:
            self._bar.stop()
        failed = [(line, failure) for line, failure in rows if failure]
        if self._json:
            print(
                json_format.dumps(
                    {
                        "command": self._command, "report": str(report), "rows": len(rows),
                        "failed": len(failed), "seconds": round(elapsed, 3),
                    }
                )
            )  # fmt: skip
        elif not self._quiet:
            print(f"{report}: {len(rows)} rows, {len(failed)} failed, {elapsed:.1f} s")
            for line, failure in failed:
                if line not in self._told:
                    print(f"line {line}: {failure}", file=sys.stderr)


def peak_mb() -> float:
    """The most memory this process has held; Linux' getrusage counts in what it was started from."""
    status = Path("/proc/self/status")
    if status.exists():
        held = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
        if held is not None:
            return int(held.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
