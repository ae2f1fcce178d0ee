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

from server.jobs.attempt import Attempt, Doing, Failed, Limits
from server.jobs.records import Claim, LeaseError
from server.jobs.store import Store, open_store
from server.logs import Style, tell

log = logging.getLogger("server.jobs.worker")  # run as a program, its own name is __main__

IDLE_S = 0.3  # how often it is looked for a task while there was none
BEAT_S = 1.0  # how often a task's progress is written, and found out that it was cancelled
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

    def as_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


class Worker:
    def __init__(
        self, name: str, store: Store, data: Path, doing: Callable[[Claim], Doing], stop: tuple[int, ...]
    ) -> None:
        """`doing` makes of a claim what has to be done; a descriptor of `stop` becomes readable to stop."""
        self._name = name
        self._store = store
        self._data = data
        self._doing = doing
        self._stop = stop
        work = store.tariff.work
        self._limits = Limits(cpu_s=work.cpu_s, memory_mb=work.memory_mb)

    def run(self) -> None:
        while not self._stopped(0):
            claim = self._store.claim(self._name)
            if claim is None:
                self._stopped(IDLE_S)
                continue
            try:
                self._work(claim)
            except LeaseError as error:
                log.info("a task was taken away", extra={"task": claim.task.id, "why": str(error)})

    def _stopped(self, wait_s: float) -> bool:
        return bool(select.select(self._stop, [], [], wait_s)[0])

    def _work(self, claim: Claim) -> None:
        folder = self._data / claim.folder
        log.info("a task begins", extra={"task": claim.task.id, "kind": claim.task.kind})
        attempt = Attempt(self._doing(claim), folder, self._limits)
        try:
            if not self._watch(attempt, claim):
                attempt.kill()
                self._store.hand_back(claim)
                log.info("a task is handed back", extra={"task": claim.task.id})
                return
            result = attempt.result()
            if isinstance(result, Failed):
                shutil.rmtree(folder, ignore_errors=True)
                task = self._store.fail(claim, result.failure, result.code, for_good=result.for_good)
            else:
                task = self._store.finish(claim, [f"{claim.folder}/{result.output}"], result.seconds)
            said = {"state": task.state.value, "cpu_s": round(attempt.cpu_s, 1), "peak_mb": round(attempt.peak_mb)}
            log.info("a task ends", extra={"task": task.id, "attempt": task.attempts, **said})
        except BaseException:  # the lease is lost, or the database: nobody will want what it makes
            attempt.kill()
            raise
        finally:
            attempt.close()

    def _watch(self, attempt: Attempt, claim: Claim) -> bool:
        """Until the attempt has no more to say; False if the worker is to stop first."""
        beat = time.monotonic()
        while True:
            ready, _, _ = select.select([attempt.pipe, *self._stop], [], [], BEAT_S)
            if set(ready) & set(self._stop):
                return False
            if attempt.pipe in ready and not attempt.listen():
                return True
            if time.monotonic() - beat >= BEAT_S:
                self._store.heartbeat(claim, attempt.progress)
                beat = time.monotonic()


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


def main(making: Callable[[Path], Callable[[Claim], Doing]] = ordered) -> None:
    from server.chatter import quiet_natives

    line = sys.stdin.buffer.readline()
    if not line:
        return
    told = json.loads(line)
    settings = Settings(**{**told, "cores": tuple(told["cores"])})
    if settings.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, settings.cores)
    os.nice(NICE)
    quiet_natives()
    tell(settings.log, quiet=settings.quiet)
    data = Path(settings.data)
    store = open_store(data, settings.database, None if settings.tariff is None else Path(settings.tariff))
    Worker(settings.name, store, data, making(data), stopping()).run()
    store.close()


if __name__ == "__main__":
    main()
