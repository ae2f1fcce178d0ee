"""One attempt at a task: a process of its own, with limits, that can be killed at any moment.

The process is forked from one that has loaded everything already, so it begins in milliseconds, and what
it does to memory ends with it. It tells how far it is through a pipe; when the process that forked it is
gone, so is it. Linux and macOS.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import resource
import select
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
from server.jobs.records import Claim, Code

log = logging.getLogger(__name__)

BEAT_S = 1.0  # whoever waits for an attempt is told no more seldom that it goes on
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
        self._pipe, theirs = os.pipe()
        parent = os.getpid()
        self._status: int | None = None  # once it has ended
        self._pid = os.fork()
        if self._pid == 0:
            _be_the_child(doing, folder, limits, theirs, parent)
        os.close(theirs)

    def listen(self, wait_s: float | None = None) -> bool:
        """Take in what it tells, for so long or until there is something; False when there will be no more."""
        if not select.select([self._pipe], [], [], wait_s)[0]:
            return not self._reap(os.WNOHANG)  # a helper that outlives it may keep the pipe open
        heard = os.read(self._pipe, 65536)
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "progress" in told:
                self.progress = told["progress"]
            elif "done" in told:
                self._told = Done(**{**told["done"], "notes": tuple(told["done"]["notes"])})
            else:
                self._told = Failed(**{**told["failed"], "code": Code(told["failed"]["code"])})
        return bool(heard)

    def result(self) -> Done | Failed:
        """What came of it, once there is no more to hear."""
        self._end()
        assert self._status is not None
        status = self._status
        if self._told is not None and status == 0:
            return self._told
        stopped_by = -status
        if stopped_by == signal.SIGXCPU or self.cpu_s >= self._limits.cpu_s:
            return too_slow(self._limits)
        how = signal.Signals(stopped_by).name if stopped_by > 0 else f"exit status {status}"
        return Failed(f"the process that did it died ({how})", Code.CRASHED, for_good=False)

    def kill(self) -> None:
        """Stop it and what it started, at once, and take away what it wrote."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        os.close(self._pipe)
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)

    def _end(self) -> None:
        """It ends if it has not, and with it what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)  # it may not lead its group yet; one that has ended is not changed
            self._reap(0)

    def _reap(self, how: int) -> bool:
        """Whether it has ended, and if so how, and what it took."""
        pid, status, usage = os.wait4(self._pid, how)
        if not pid:
            return False
        self._status = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.peak_mb = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        return True


class Forked:
    """The executor of this machine: each claim in a process that is forked from this one."""

    def __init__(self, doing: Callable[[Claim], Doing], limits: Limits) -> None:
        self._doing = doing
        self._limits = limits

    def execute(self, claim: Claim, folder: Path, beat: Callable[[float], None]) -> Done | Failed:
        """`beat` is told the progress at least once a second; whatever it raises ends the attempt."""
        attempt = Attempt(self._doing(claim), folder, self._limits)
        try:
            while attempt.listen(BEAT_S):
                beat(attempt.progress)
            result = attempt.result()
            used = {"cpu_s": round(attempt.cpu_s, 1), "peak_mb": round(attempt.peak_mb)}
            log.info("an attempt ends", extra={"task": claim.task.id, **used})
            return result
        except BaseException:  # the lease is lost, or the database, or the worker stops: nobody wants what it makes
            attempt.kill()
            raise
        finally:
            attempt.close()


def _be_the_child(doing: Doing, folder: Path, limits: Limits, pipe: int, parent: int) -> NoReturn:
    """Never returns into the parent's code, whatever happens."""
    status = 1
    gc.freeze()  # what the parent left is not for us to free: a codec would wait for threads that stayed there
    try:
        _end_with(parent)
        confine(limits)
        os.environ["TMPDIR"] = str(folder / "tmp")
        tempfile.tempdir = None
        _tell(pipe, _as_told(outcome(doing, folder, _teller(pipe), limits)))
        status = 0
    except BaseException:
        log.exception("an attempt ends")
    finally:
        logging.shutdown()
        os._exit(status)


def outcome(doing: Doing, folder: Path, progress: Progress, limits: Limits) -> Done | Failed:
    """Do it, here and now; whatever goes wrong is told by its cause."""
    try:
        return doing(folder, progress)
    except InputError as error:
        return Failed(str(error), Code.BAD_INPUT, for_good=True)
    except MemoryError:
        return Failed(f"it took more than {limits.memory_mb} MB of memory", Code.MEMORY, for_good=True)
    except Exception as error:
        log.exception("a task failed")
        return Failed(f"a mistake of ours ({type(error).__name__})", Code.BROKEN, for_good=False)


def too_slow(limits: Limits) -> Failed:
    return Failed(f"it took more than {limits.cpu_s} s of CPU time", Code.TIME, for_good=True)


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


def confine(limits: Limits) -> None:
    """Of this process, for good."""
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


def _as_told(result: Done | Failed) -> dict[str, object]:
    return {"done" if isinstance(result, Done) else "failed": asdict(result)}


def _tell(pipe: int, what: dict[str, object]) -> None:
    os.write(pipe, json.dumps(what).encode() + b"\n")
