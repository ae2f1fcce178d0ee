"""One attempt at a task: a process of its own, with limits, that can be killed at any moment.

The process is forked from one that has loaded everything already, so it begins in milliseconds, and what
it does to memory ends with it. It tells how far it is through a pipe; when the process that forked it is
gone, so is it. Linux and macOS.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from runtime.errors import InputError
from server.jobs.records import Code

log = logging.getLogger(__name__)

TELL_S = 0.25  # progress is told no more often
_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG

Progress = Callable[[int, int | None], None]  # how many are done, of how many


@dataclass(frozen=True, kw_only=True)
class Done:
    """What an attempt made."""

    output: str  # name of the file in the attempt's folder
    seconds: float  # of the result
    frames: int
    faceless: int = 0
    notes: tuple[str, ...] = ()


Doing = Callable[[Path, Progress], Done]


@dataclass(frozen=True, kw_only=True)
class Limits:
    cpu_s: int
    memory_mb: int


@dataclass(frozen=True)
class Failed:
    failure: str
    code: Code
    for_good: bool


class Attempt:
    """`doing` begun in its own process, with `folder` to write to."""

    def __init__(self, doing: Doing, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self.progress = 0.0
        self.cpu_s = 0.0
        self.peak_mb = 0.0
        self._told: Done | Failed | None = None
        self._heard = b""
        self._limits = limits
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        self.pipe, theirs = os.pipe()
        parent = os.getpid()
        self._pid: int | None = os.fork()
        if self._pid == 0:
            _be_the_child(doing, folder, limits, theirs, parent)
        os.close(theirs)

    def listen(self) -> bool:
        """Take in what `pipe` has, once it is readable; False when there will be no more."""
        heard = os.read(self.pipe, 65536)
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "progress" in told:
                self.progress = told["progress"]
            elif "done" in told:
                self._told = Done(**{**told["done"], "notes": tuple(told["done"]["notes"])})
            else:
                self._told = Failed(told["failed"], Code(told["code"]), told["for_good"])
        return bool(heard)

    def result(self) -> Done | Failed:
        """What came of it, once there is no more to hear."""
        status = self._wait()
        if self._told is not None and status == 0:
            return self._told
        stopped_by = -status
        if stopped_by == signal.SIGXCPU or self.cpu_s >= self._limits.cpu_s:
            return Failed(f"it took more than {self._limits.cpu_s} s of CPU time", Code.TIME, for_good=True)
        how = signal.Signals(stopped_by).name if stopped_by > 0 else f"exit status {status}"
        return Failed(f"the process that did it died ({how})", Code.CRASHED, for_good=False)

    def kill(self) -> None:
        """Stop it and what it started, at once, and take away what it wrote."""
        if self._pid is not None:
            _kill_group(self._pid)
            self._wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        os.close(self.pipe)
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)

    def _wait(self) -> int:
        assert self._pid is not None, "waited for twice"
        _, status, usage = os.wait4(self._pid, 0)
        _kill_group(self._pid)  # what it started and left behind
        self._pid = None
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.peak_mb = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        return os.waitstatus_to_exitcode(status)


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # it may not have made its group yet
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _be_the_child(doing: Doing, folder: Path, limits: Limits, pipe: int, parent: int) -> NoReturn:
    """Never returns into the parent's code, whatever happens."""
    status = 1
    try:
        _end_with(parent)
        _confine(limits)
        os.environ["TMPDIR"] = str(folder / "tmp")
        tempfile.tempdir = None
        _tell(pipe, _attempt(doing, folder, _teller(pipe), limits))
        status = 0
    except BaseException:
        log.exception("an attempt ends")
    finally:
        logging.shutdown()
        os._exit(status)


def _attempt(doing: Doing, folder: Path, progress: Progress, limits: Limits) -> dict[str, object]:
    try:
        return {"done": asdict(doing(folder, progress))}
    except InputError as error:
        return _failed(str(error), Code.BAD_INPUT, for_good=True)
    except MemoryError:
        return _failed(f"it took more than {limits.memory_mb} MB of memory", Code.MEMORY, for_good=True)
    except Exception as error:
        log.exception("a task failed")
        return _failed(f"a mistake of ours ({type(error).__name__})", Code.BROKEN, for_good=False)


def _failed(failure: str, code: Code, *, for_good: bool) -> dict[str, object]:
    return {"failed": failure, "code": code.value, "for_good": for_good}


def _end_with(parent: int) -> None:
    """Die when the parent does; lead a group of one's own, so that helpers die too; take no signals for it."""
    os.setsid()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _confine(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 5))
    n_bytes = limits.memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS, (n_bytes, n_bytes))


def _teller(pipe: int) -> Progress:
    last = 0.0

    def progress(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if total and now - last >= TELL_S:
            last = now
            _tell(pipe, {"progress": min(done / total, 0.99)})

    return progress


def _tell(pipe: int, what: dict[str, object]) -> None:
    os.write(pipe, json.dumps(what).encode() + b"\n")
