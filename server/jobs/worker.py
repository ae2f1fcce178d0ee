"""A worker: takes the task whose turn it is, has it done in a process of its own, and tells the store.

`python -m server.jobs.worker` is one, told what to do by a line of JSON on its stdin. When stdin ends or a
SIGTERM comes it hands its task back and stops. Whatever else becomes of it, its lease runs out and another
worker takes the task up.
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from server.jobs.attempt import BEAT_S, Doing, Done, Failed, Forked, Limits
from server.jobs.database import AwayError
from server.jobs.records import Claim, LeaseError
from server.jobs.store import Store, open_store
from server.logs import Style, tell

log = logging.getLogger("server.jobs.worker")  # run as a program, its own name is __main__

IDLE_S = 0.3  # how often it is looked for a task while there was none
AWAY = 75  # exit status of one whose database is away
NICE = 10  # live sessions go first


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a worker process is told."""

    name: str
    data: str
    database: str
    tariff: str | None
    cores: tuple[int, ...]  # the only ones it runs on; none is all
    log: Style
    quiet: bool
    parallel: int = 1  # tasks at once, of a worker that has others do them

    def as_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


class Executor(Protocol):
    def execute(self, claim: Claim, folder: Path, beat: Callable[[float], None]) -> Done | Failed:
        """Do what is claimed, writing into `folder`; call `beat` with the progress at least once a second.

        What `beat` raises ends the work at once, and goes on.
        """


class _StoppingError(Exception):
    """The worker is to stop."""


class Worker:
    def __init__(self, name: str, store: Store, data: Path, executor: Executor, stop: tuple[int, ...]) -> None:
        """A descriptor of `stop` becomes readable to stop."""
        self._name = name
        self._store = store
        self._data = data
        self._executor = executor
        self._stop = stop

    def run(self) -> None:
        while not self._stopped(0):
            claim = self._store.claim(self._name)
            if claim is None:
                self._stopped(IDLE_S)
                continue
            log.info("a task begins", extra={"task": claim.task.id, "kind": claim.task.kind})
            try:
                self._work(claim)
            except LeaseError as error:
                shutil.rmtree(self._data / claim.folder, ignore_errors=True)
                log.info("a task was taken away", extra={"task": claim.task.id, "why": str(error)})

    def _stopped(self, wait_s: float) -> bool:
        return bool(select.select(self._stop, [], [], wait_s)[0])

    def _work(self, claim: Claim) -> None:
        folder = self._data / claim.folder
        last = time.monotonic()

        def beat(progress: float) -> None:
            nonlocal last
            if self._stopped(0):
                raise _StoppingError
            if time.monotonic() - last >= BEAT_S:
                self._store.heartbeat(claim, progress)
                last = time.monotonic()

        try:
            result = self._executor.execute(claim, folder, beat)
        except _StoppingError:
            shutil.rmtree(folder, ignore_errors=True)
            self._store.hand_back(claim)
            log.info("a task is handed back", extra={"task": claim.task.id})
            return
        if isinstance(result, Failed):
            shutil.rmtree(folder, ignore_errors=True)
            task = self._store.fail(claim, result.failure, result.code, for_good=result.for_good)
        else:
            task = self._store.finish(claim, [f"{claim.folder}/{result.output}"], result.seconds)
        log.info("a task ends", extra={"task": task.id, "attempt": task.attempts, "state": task.state.value})


def ordered(data: Path) -> Callable[[Claim], Doing]:
    """What a claim's order asks for, with its files in the data folder."""
    import mediapipe  # noqa: F401 - loaded once, before any task's process is forked

    from server.jobs.work import carry_out

    def doing(claim: Claim) -> Doing:
        return lambda folder, progress: carry_out(claim.task.order, data, folder, progress)

    return doing


def stopping() -> tuple[int, ...]:
    """Descriptors of which one becomes readable on SIGTERM, SIGINT or the end of stdin."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)
    signal.set_wakeup_fd(writing)
    return reading, sys.stdin.fileno()


def received() -> Settings | None:
    """What stdin says, and the process made ready for it; None where nobody is there any more."""
    from server.chatter import quiet_natives

    line = sys.stdin.buffer.readline()
    if not line:
        return None
    told = json.loads(line)
    settings = Settings(**{**told, "cores": tuple(told["cores"])})
    if settings.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, settings.cores)
    os.nice(NICE)
    quiet_natives()
    tell(settings.log, quiet=settings.quiet)
    return settings


def opened(settings: Settings) -> Store:
    return open_store(
        Path(settings.data), settings.database, None if settings.tariff is None else Path(settings.tariff)
    )


def limits_of(store: Store) -> Limits:
    return Limits(cpu_s=store.tariff.work.cpu_s, memory_mb=store.tariff.work.memory_mb)


def main(making: Callable[[Path], Callable[[Claim], Doing]] = ordered) -> None:
    settings = received()
    if settings is None:
        return
    data = Path(settings.data)
    store = opened(settings)
    try:
        Worker(settings.name, store, data, Forked(making(data), limits_of(store)), stopping()).run()
    except AwayError as error:  # it is begun anew until the database is there again
        log.info("a worker gives up", extra={"why": str(error)})
        sys.exit(AWAY)
    store.close()


if __name__ == "__main__":
    main()
