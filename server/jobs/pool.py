"""The local executor: worker processes on this machine, kept alive, and the house kept beside them.

A worker that dies is missed at once: what it held goes back into the line and another takes its place. A pool
owns its data folder; a second one on the same folder is refused.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import disk_usage
from typing import IO, Literal

from runtime.errors import InputError
from runtime.missing import missing
from server.jobs.database import AwayError
from server.jobs.store import Store
from server.jobs.sweep import sweep
from server.jobs.worker import AWAY, Settings
from server.logs import Style

log = logging.getLogger(__name__)

LOOK_S = 0.2  # how often it is looked after the workers
REAP_S = 5.0
SWEEP_S = 600.0
GRACE_S = 10.0  # workers that have not stopped by then are killed
CALM_S = 30.0  # trouble is over when there was none for so long
HASTY_S = 2.0  # a worker that lived no longer is not replaced before that


PROGRAMS = {"local": ("-m", "server.jobs.worker"), "ray": ("-m", "server.jobs.cluster")}


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    workers: int = 1  # tasks worked on at once; 0 only keeps the house
    log: Style = "text"
    quiet: bool = False
    executor: Literal["local", "ray"] = "local"  # who does them: processes of this machine, or a cluster
    program: tuple[str, ...] | None = None  # what a worker is, in arguments of Python; None is the executor's

    def __post_init__(self) -> None:
        if self.executor not in PROGRAMS:
            raise ValueError(f"--executor is {self.executor!r}; wanted {', '.join(PROGRAMS)}")
        if self.workers < 0:
            raise ValueError(f"--workers is {self.workers}; wanted 0 or more")


@dataclass
class _Slot:
    """A place for a worker, and whoever fills it."""

    name: str
    cores: tuple[int, ...]
    process: subprocess.Popen[bytes] | None = None
    begun: float = 0.0


class Pool:
    """`start` it, and `stop` it; in between a thread of its own looks after everything."""

    def __init__(
        self, store: Store, data: Path, options: PoolOptions, database: str | None = None, tariff: Path | None = None
    ) -> None:
        """`database` and `tariff` as `store` was opened with."""
        self._store = store
        self._data = data
        self._options = options
        self._database = database or store.database.url
        self._tariff = tariff
        # one process gives a cluster its tasks, however many at once
        cores = shares(options.workers) if options.executor == "local" else [()]
        self._slots = [_Slot(f"{socket.gethostname()}/{n}", share) for n, share in enumerate(cores)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="pool", daemon=True)
        self._lock: IO[str] | None = None
        self.trouble: AwayError | None = None  # why no work can be done just now
        self._worried = 0.0  # when that was last so

    @property
    def pids(self) -> list[int]:
        """Of the workers that live."""
        return [slot.process.pid for slot in self._slots if slot.process is not None and slot.process.poll() is None]

    def start(self) -> None:
        """Raises InputError where another pool has the data folder."""
        if self._options.executor == "ray" and find_spec("ray") is None:
            raise missing("--executor ray", "ray")
        self._lock = _own(self._data)
        for slot in self._slots:
            self._fill(slot)
        self._thread.start()

    def stop(self) -> None:
        """Have every running task handed back, and end."""
        self._stop.set()
        self._thread.join()
        for slot in self._slots:
            if slot.process is not None and slot.process.stdin is not None:
                slot.process.terminate()
                slot.process.stdin.close()
        until = time.monotonic() + GRACE_S
        for slot in self._slots:
            if slot.process is None:
                continue
            try:
                slot.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("a worker does not stop and is killed", extra={"worker": slot.name})
                slot.process.kill()
                slot.process.wait()
            try:
                self._store.lost(slot.name)
            except AwayError:  # whoever starts next, or the lease's end, puts it back
                log.warning("what a worker held could not be put back", extra={"worker": slot.name})
        if self._lock is not None:
            self._lock.close()

    def _look_after(self) -> None:
        reaped = swept = time.monotonic() - SWEEP_S
        while not self._stop.wait(LOOK_S):
            now = time.monotonic()
            try:
                for slot in self._slots:
                    assert slot.process is not None
                    status = slot.process.poll()
                    if status == AWAY:
                        self._worry(AwayError(f"{self._store.database.name} cannot be written by its workers"))
                    if status is not None and now - slot.begun > HASTY_S:
                        level = logging.INFO if status == AWAY else logging.WARNING
                        log.log(level, "a worker died", extra={"worker": slot.name, "status": status})
                        self._fill(slot)
                if now - reaped >= REAP_S:
                    self._store.reap()
                    reaped = now
                if now - swept >= SWEEP_S:
                    sweep(self._store, self._data)
                    swept = now
                if now - self._worried >= CALM_S:
                    self.trouble = None
            except AwayError as error:  # for a while; the workers are looked after all the same
                self._worry(error)
            except Exception:
                log.exception("the house could not be kept")

    def _worry(self, error: AwayError) -> None:
        if self.trouble is None:
            log.info("the database is away", extra={"why": str(error), "free_mb": disk_usage(self._data).free >> 20})
        self.trouble, self._worried = error, time.monotonic()

    def _fill(self, slot: _Slot) -> None:
        self._store.lost(slot.name)  # whatever it held before, it holds no more
        settings = Settings(
            name=slot.name, data=str(self._data), database=self._database,
            tariff=None if self._tariff is None else str(self._tariff), cores=slot.cores, log=self._options.log,
            quiet=self._options.quiet, parallel=1 if self._options.executor == "local" else self._options.workers,
        )  # fmt: skip
        few = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        slot.begun = time.monotonic()
        program = self._options.program or PROGRAMS[self._options.executor]
        slot.process = subprocess.Popen(
            [sys.executable, *program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, **few},
            start_new_session=True,
        )  # fmt: skip
        assert slot.process.stdin is not None
        try:
            slot.process.stdin.write(settings.as_line())
            slot.process.stdin.flush()
        except BrokenPipeError:
            log.warning("a worker died as it began", extra={"worker": slot.name})


def shares(n: int) -> list[tuple[int, ...]]:
    """This machine's cores shared out among n workers: so two do not fight over one. None where all may have all."""
    if not hasattr(os, "sched_getaffinity") or n <= 1:
        return [()] * n
    cores = sorted(os.sched_getaffinity(0))
    each = max(1, len(cores) // n)
    return [tuple(cores[(i * each + k) % len(cores)] for k in range(each)) for i in range(n)]


def _own(data: Path) -> IO[str]:
    """Lock a data folder until the file that is returned is closed, or this process ends, however it ends."""
    lock = (data / "jobs.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise InputError(f"{data} is used by another server or batch; wanted a --data folder of its own") from error
    return lock
