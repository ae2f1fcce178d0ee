"""What the service promises, put to the test: nothing is lost, nothing is charged twice, cores are used.

    python -m benchmarks.service faults --kills 50
    python -m benchmarks.service soak --minutes 30
    python -m benchmarks.service scaling --jobs 12

Each starts `understudy serve` in a process of its own. `python -m benchmarks --only faults` (soak, scaling) runs
the same and can write the figures into the README.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np

from benchmarks.clips import acted, square
from benchmarks.live import Measured, client, performer
from benchmarks.table import Row, Table, Target
from perfcap.performance import PerformanceReader
from server.act import ActOptions
from server.capture import CaptureOptions
from server.jobs.orders import ActOrder, CaptureOrder, as_text
from server.jobs.records import State, Submission, Task
from server.jobs.store import Store, open_store
from server.jobs.tariff import SHIPPED
from server.wire import Kind

OWNERS = ("ann", "bob")
AHEAD = 6  # tasks that wait while processes are killed
PATIENCE_S = 900.0


@dataclass(frozen=True)
class Load:
    """What is ordered over and over, and how a result is known to be whole."""

    kind: str
    order: str
    seconds: float
    is_whole: Callable[[Path], bool]


@dataclass(frozen=True)
class Serving:
    """A server that runs, in a process of its own."""

    command: tuple[str, ...]
    process: subprocess.Popen[str]
    address: str  # host:port, or nothing where it serves none

    @property
    def workers(self) -> list[int]:
        return _children(self.process.pid)


def tariff(folder: Path, **changed: float) -> Path:
    """The shipped tariff with other numbers."""
    text = SHIPPED.read_text(encoding="utf-8")
    for name, value in changed.items():
        text, n = re.subn(rf"^{name} = [\d.]+", f"{name} = {value:g}", text, flags=re.M)
        assert n, f"the tariff has no {name}"
    path = folder / "tariff.toml"
    path.write_text(text, encoding="utf-8")
    return path


def command(data: Path, workers: int) -> tuple[str, ...]:
    serve = ("-m", "server.cli", "serve", "--port", "0", "--log", "json", "--data", str(data))
    return (sys.executable, *serve, "--workers", str(workers), "--tariff", str(data / "tariff.toml"))


def begin(line: Sequence[str], log: Path) -> Serving:
    with log.open("a") as stderr:
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=stderr, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )  # fmt: skip
    assert process.stdout is not None
    found = re.search(r"http://([\d.:]+)/", process.stdout.readline())
    return Serving(tuple(line), process, found[1] if found else "")


@contextmanager
def serving(line: Sequence[str], log: Path) -> Iterator[Serving]:
    server = begin(line, log)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(60)


def _children(pid: int) -> list[int]:
    """Of a process, whichever of its threads began them; those that lead a session, as workers and attempts do."""
    try:
        lists = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        children = [int(child) for each in lists for child in each.split()]
        return sorted(child for child in children if os.getsid(child) == child)
    except OSError:  # one of them has ended
        return []


# -- faults


@dataclass(frozen=True)
class Faults:
    """How a service came through."""

    killed: Counter[str]
    tasks: int
    lost: int  # neither succeeded nor told why not
    failed: int
    broken: int  # succeeded, and the result is not whole
    double: int  # reserved or closed other than once
    wrong: int  # charged another sum than the tariff says
    off: int  # credits by which balances differ from what was granted less what tasks cost
    begun: int  # attempts


def faults(
    folder: Path, kills: int, load: Load, line: Sequence[str], pause_s: tuple[float, float], seed: int = 0
) -> Faults:
    """Kill the server, a worker or an attempt at random moments, while tasks come in; then wait and count."""
    dice = random.Random(seed)
    store = open_store(folder, tariff=folder / "tariff.toml")
    for owner in OWNERS:
        store.keys.create(owner, "paid")
        store.grant(owner, 1_000_000)
    killed: Counter[str] = Counter()
    submitted: list[str] = []
    server = begin(line, folder / "server.log")
    try:
        while killed.total() < kills:
            _feed(store, load, submitted)
            time.sleep(dice.uniform(*pause_s))
            what = dice.choice(("server", "worker", "attempt"))
            if what == "server":
                server.process.kill()
                server.process.wait()
                server = begin(line, folder / "server.log")
            else:
                victims = server.workers
                if what == "attempt":
                    victims = [child for worker in victims for child in _children(worker)]
                if not victims:
                    continue
                try:
                    os.kill(dice.choice(victims), signal.SIGKILL)
                except ProcessLookupError:  # it has just ended by itself
                    continue
            killed[what] += 1
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and _unfinished(store):
            time.sleep(0.2)
    finally:
        server.process.terminate()
        server.process.wait(60)
    return _count(store, folder, load, submitted, killed)


def _feed(store: Store, load: Load, submitted: list[str]) -> None:
    for _ in range(AHEAD - _unfinished(store)):
        n = len(submitted)
        order = Submission(
            owner=OWNERS[n % len(OWNERS)], kind=load.kind, order=load.order, seconds=load.seconds, idempotency_key=str(n)
        )  # fmt: skip
        submitted.append(store.submit(order).task.id)
        assert not store.submit(order).is_new


def _unfinished(store: Store) -> int:
    return sum(store.standing(owner).waiting for owner in OWNERS)


def _count(store: Store, folder: Path, load: Load, submitted: list[str], killed: Counter[str]) -> Faults:
    tasks = [task for task in map(store.task, submitted) if task is not None]
    done = [task for task in tasks if task.state is State.SUCCEEDED]
    failed = [task for task in tasks if task.state is State.FAILED]
    broken = [task for task in done if not load.is_whole(folder / task.outputs[0])]
    double, off = 0, 0
    for owner in OWNERS:
        entries = store.entries(owner, limit=1_000_000)
        steps = Counter((entry.task, entry.step in ("settle", "refund")) for entry in entries if entry.task is not None)
        own = [task for task in tasks if task.owner == owner]
        double += sum(steps[task.id, closing] != 1 for task in own for closing in (False, True))
        granted = sum(entry.amount for entry in entries if entry.step == "grant")
        off += abs(granted - sum(task.cost for task in own) - store.standing(owner).credits)
    wrong = sum(task.cost != store.tariff.cost(load.kind, min(task.seconds, load.seconds), "paid") for task in done)
    return Faults(
        killed=killed, tasks=len(submitted), lost=len(submitted) - len(done) - len(failed), failed=len(failed),
        broken=len(broken), double=double, wrong=wrong, off=off, begun=sum(task.attempts for task in tasks),
    )  # fmt: skip


def captures(folder: Path, seconds: int) -> Load:
    """The demonstration's first seconds, captured."""
    video = acted(square(folder), 1)
    order = as_text(CaptureOrder(video=video.resolve(), options=CaptureOptions(end=Fraction(seconds))))

    def is_whole(path: Path) -> bool:
        with PerformanceReader(path) as take:
            return len(take) == 30 * seconds

    return Load("capture", order, float(seconds), is_whole)


def faults_table(folder: Path, kills: int = 50) -> list[Table]:
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        tariff(data, tries=10_000, losses=10_000, lease_s=10)
        load = captures(folder, 2)
        result = faults(data, kills, load, command(data, 2), (0.5, 8.0))
    columns = ("killed", "tasks", "lost", "failed", "not whole", "charged twice", "charged wrongly", "attempts")
    row = Row(
        ", ".join(f"{n} × {what}" for what, n in sorted(result.killed.items())),
        {
            "killed": result.killed.total(), "tasks": result.tasks, "lost": result.lost, "failed": result.failed,
            "not whole": result.broken, "charged twice": result.double,
            "charged wrongly": result.wrong + result.off, "attempts": result.begun,
        },
    )  # fmt: skip
    none = Target(high=0)
    wanted = dict.fromkeys(("lost", "failed", "not whole", "charged twice", "charged wrongly"), none)
    title = "Server, workers and attempts killed at random while tasks come in"
    return [Table("faults", title, columns, [row], wanted)]


def an_act(folder: Path) -> str:
    """The demonstration, ten seconds of 512 x 512."""
    portrait = square(folder).resolve()
    return as_text(ActOrder(character=portrait, performance=acted(portrait, 1), options=ActOptions()))


# -- soak


def soak_table(folder: Path, minutes: float = 30, jobs: int = 50, sessions: int = 2) -> list[Table]:
    """Live sessions and queued jobs at once; what was lost, and what the server and its workers hold over time."""
    pictures = performer()
    order = an_act(folder)
    held: list[tuple[float, float, float]] = []  # minutes, server MB, workers MB
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        tariff(data)
        store = open_store(data, tariff=data / "tariff.toml")
        with serving(command(data, 1), data / "server.log") as server:
            context = multiprocessing.get_context("spawn")
            out: Queue[Measured] = context.Queue()
            arguments = f"ws://{server.address}/v1/live", pictures, Kind.JPEG, minutes * 60, 15.0, out
            clients = [context.Process(target=client, args=arguments) for _ in range(sessions)]
            for process in clients:
                process.start()
            ids = [
                store.submit(Submission(owner="local", kind="act", order=order, seconds=10.0)).task.id
                for _ in range(jobs)
            ]
            begun = time.monotonic()
            while (passed := time.monotonic() - begun) < minutes * 60:
                time.sleep(min(10.0, minutes * 6))
                held.append((passed / 60, _resident_mb([server.process.pid]), _resident_mb(server.workers)))
            live = [out.get(timeout=120) for _ in clients]
            for process in clients:
                process.join()
            until = time.monotonic() + PATIENCE_S
            while time.monotonic() < until and any(not _task(store, id).state.is_over for id in ids):
                time.sleep(0.5)
        states = Counter(_task(store, id).state for id in ids)
    settled = [row for row in held if row[0] >= minutes / 4] or held
    early, late = settled[: max(1, len(settled) // 4)], settled[-max(1, len(settled) // 4) :]
    columns = (
        "minutes", "jobs", "lost", "server MB early", "late", "workers MB early", "workers late", "fps", "p99 ms",
    )  # fmt: skip
    row = Row(
        f"{sessions} live sessions",
        {
            "minutes": minutes, "jobs": jobs, "lost": jobs - states[State.SUCCEEDED],
            "server MB early": _mean(early, 1), "late": _mean(late, 1),
            "workers MB early": _mean(early, 2), "workers late": _mean(late, 2),
            "fps": float(np.mean([m.fps for m in live])), "p99 ms": max(m.p99_ms for m in live),
        },
    )  # fmt: skip
    title = "Soak: live sessions at 15 pictures a second, and acts of ten seconds in the queue, one worker"
    return [Table("soak", title, columns, [row], {"lost": Target(high=0)})]


def _task(store: Store, id: str) -> Task:
    task = store.task(id)
    assert task is not None, f"task {id} is gone"
    return task


def _mean(rows: Sequence[tuple[float, float, float]], column: int) -> float:
    return float(np.mean([row[column] for row in rows]))


def _resident_mb(pids: Sequence[int]) -> float:
    total = 0
    for pid in pids:
        try:
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        except OSError:  # it has ended
            continue
        total += int(found[1]) if found else 0
    return total / 1024


# -- scaling


def scaling_table(folder: Path, jobs: int = 12) -> list[Table]:
    """Jobs an hour of one worker on one core, and of two on two."""
    order = an_act(folder)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError(f"this machine lets us use {len(cores)} core; wanted two")
    rates = {n: _jobs_an_hour(order, jobs, cores[:n]) for n in (1, 2)}
    rows = [Row(f"{n} worker{'s' if n > 1 else ''} of one core", {"jobs/hour": rate}) for n, rate in rates.items()]
    rows.append(Row("two against one", {"jobs/hour": rates[2] / rates[1]}))
    return [Table("scaling", "Acts of ten seconds, 512×512, an hour", ("jobs/hour",), rows)]


def _jobs_an_hour(order: str, jobs: int, cores: Sequence[int]) -> float:
    """From when the first of them begins, all processes being warm, to when the last one ends."""
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        tariff(data)
        store = open_store(data, tariff=data / "tariff.toml")
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)  # which the server and its workers inherit
        try:
            with serving(command(data, len(cores)), data / "server.log"):
                for _ in cores:
                    store.submit(Submission(owner="local", kind="act", order=order, seconds=10.0))
                _wait(store)
                ids = [
                    store.submit(Submission(owner="local", kind="act", order=order, seconds=10.0)).task.id
                    for _ in range(jobs)
                ]
                _wait(store)
        finally:
            os.sched_setaffinity(0, before)
        tasks = [_task(store, id) for id in ids]
        assert all(task.state is State.SUCCEEDED for task in tasks), tasks
        length = max(task.ended or 0.0 for task in tasks) - min(task.started or 0.0 for task in tasks)
        return jobs / length * 3600


def _wait(store: Store) -> None:
    until = time.monotonic() + PATIENCE_S
    while store.standing("local").waiting:
        assert time.monotonic() < until, "the jobs do not end"
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("faults", "soak", "scaling"))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--jobs", type=int, help="50 of a soak, 12 of scaling")
    parser.add_argument("--keep", type=Path, help="folder for the clips, kept; else a temporary one")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if args.what == "faults":
            tables = faults_table(folder, args.kills)
        elif args.what == "soak":
            tables = soak_table(folder, args.minutes, args.jobs or 50)
        else:
            tables = scaling_table(folder, args.jobs or 12)
    for table in tables:
        print(json.dumps({row.label: dict(row.values) for row in table.rows}) if args.json else table.text())


if __name__ == "__main__":
    main()
