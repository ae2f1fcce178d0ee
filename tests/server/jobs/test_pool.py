"""Workers on this machine: whatever is killed, each task is done once and nothing half-written is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import InputError
from server.jobs.database import sqlite_url
from server.jobs.pool import Pool, PoolOptions, shares
from server.jobs.records import Code, State, Submission, Task
from server.jobs.store import Store, open_store
from server.jobs.sweep import sweep
from tests.server.jobs.conftest import TARIFF, Clock

FAKING = ("-m", "tests.server.jobs.faking")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "tariff.toml").write_text(TARIFF.replace("lease_s = 20", "lease_s = 3"))
    return tmp_path


def opened(data: Path) -> Store:
    return open_store(data, tariff=data / "tariff.toml")


@contextmanager
def pool(store: Store, data: Path, workers: int = 1) -> Iterator[Pool]:
    pool = Pool(store, data, PoolOptions(workers=workers, quiet=True, program=FAKING), tariff=data / "tariff.toml")
    pool.start()
    try:
        yield pool
    finally:
        pool.stop()


def submit(store: Store, *steps: list[Any], owner: str = "local") -> str:
    order = json.dumps(list(steps))
    return store.submit(Submission(owner=owner, kind="act", order=order, seconds=2.0)).task.id


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.02)


def state(store: Store, id: str) -> Task:
    task = store.task(id)
    assert task is not None
    return task


def runs(store: Store, id: str, progress: float = 0.0) -> bool:
    return state(store, id).state is State.RUNNING and state(store, id).progress >= progress


def over(store: Store, id: str) -> bool:
    return state(store, id).state.is_over


def test_two_workers_do_everything_beside_each_other(data: Path) -> None:
    store = opened(data)
    ids = [submit(store, ["work", 0.3]) for _ in range(6)]
    with pool(store, data, 2):
        until(lambda: all(over(store, id) for id in ids))
    for id in ids:
        task = state(store, id)
        assert (task.state, task.attempts, task.seconds) == (State.SUCCEEDED, 1, 1.0)
        assert (data / task.outputs[0]).read_text() == "whole"
    running = [(e.task, e.state) for e in store.events(0) if e.progress in (0.0, 1.0)]
    begun: set[str] = set()
    most = 0
    for id, now in running:
        begun = begun | {id} if now is State.RUNNING else begun - {id}
        most = max(most, len(begun))
    assert most == 2


def test_what_goes_wrong_is_told_and_the_next_task_is_done(data: Path) -> None:
    store = opened(data)
    bad = submit(store, ["bad", "the clip shows no face"])
    crashing = submit(store, ["crash", signal.SIGKILL])
    good = submit(store, ["work", 0.1])
    with pool(store, data):
        until(lambda: over(store, good) and over(store, crashing))
    assert (state(store, bad).failure, state(store, bad).failure_code) == ("the clip shows no face", Code.BAD_INPUT)
    assert (state(store, crashing).attempts, state(store, crashing).failure_code) == (3, Code.CRASHED)
    assert state(store, good).state is State.SUCCEEDED


def test_a_cancelled_task_is_killed_and_leaves_nothing(data: Path) -> None:
    store = opened(data)
    id = submit(store, ["helper", 60], ["work", 60])
    with pool(store, data):
        until(lambda: (data / "helper").exists() and runs(store, id))
        store.cancel(id)
        until(lambda: not any((data / "outputs" / id).iterdir()), 5)
        helper = Path(f"/proc/{(data / 'helper').read_text()}")
        until(lambda: not helper.exists() or "Z" in (helper / "stat").read_text().split()[2], 5)
        following = submit(store, ["work", 0.1])
        until(lambda: over(store, following))
    assert state(store, id).state is State.CANCELLED


def test_stopping_hands_running_tasks_back_as_if_they_had_not_begun(data: Path) -> None:
    store = opened(data)
    id = submit(store, ["work", 60])
    with pool(store, data):
        until(lambda: runs(store, id))
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    assert (state(store, id).state, state(store, id).attempts) == (State.PENDING, 0)
    assert list((data / "outputs" / id).iterdir()) == []


def test_a_worker_that_is_killed_is_replaced_and_its_task_done_by_another(data: Path) -> None:
    store = opened(data)
    store.keys.create("ann", "paid")
    id = submit(store, ["work", 1.5], owner="ann")
    with pool(store, data) as workers:
        until(lambda: runs(store, id))
        (pid,) = workers.pids
        os.kill(pid, signal.SIGKILL)
        until(lambda: over(store, id))
        assert workers.pids != [pid]
    task = state(store, id)
    assert (task.state, task.attempts, task.cost) == (State.SUCCEEDED, 2, 5)
    assert [entry.step for entry in store.entries("ann")] == ["settle", "reserve", "grant"]
    assert [p.parent.parent.name for p in (data / "outputs").rglob("output.txt")] == [id]


def test_an_attempt_that_is_killed_is_made_again(data: Path) -> None:
    store = opened(data)
    id = submit(store, ["work", 1.0])
    with pool(store, data) as workers:
        until(lambda: any(data.glob(f"{id}-*")))  # the note that the attempt leaves of itself
        (worker,) = workers.pids
        attempt = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()[-1]
        os.kill(int(attempt), signal.SIGKILL)
        until(lambda: over(store, id))
    assert (state(store, id).state, state(store, id).attempts) == (State.SUCCEEDED, 2)


SERVER = """
import sys, time
from pathlib import Path
from server.jobs.pool import Pool, PoolOptions
from server.jobs.store import open_store
data = Path(sys.argv[1])
store = open_store(data, tariff=data / "tariff.toml")
options = PoolOptions(workers=2, quiet=True, program=("-m", "tests.server.jobs.faking"))
pool = Pool(store, data, options, tariff=data / "tariff.toml")
pool.start()
print("ready", flush=True)
time.sleep(60)
"""


def test_a_server_that_is_killed_takes_its_workers_along_and_the_next_one_goes_on(data: Path) -> None:
    store = opened(data)
    ids = [submit(store, ["work", 1.5]) for _ in range(2)]
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(data)], stdout=subprocess.PIPE)
    until(lambda: all(runs(store, id) for id in ids))
    server.kill()
    server.wait()
    assert server.stdout is not None
    server.stdout.close()
    with pool(store, data, 2):
        until(lambda: all(over(store, id) for id in ids))
    for id in ids:
        assert state(store, id).state is State.SUCCEEDED
    assert sorted(p.parent.parent.name for p in (data / "outputs").rglob("output.txt")) == sorted(ids)


def test_a_second_pool_on_the_same_folder_is_refused(data: Path) -> None:
    store = opened(data)
    with pool(store, data, 0), pytest.raises(InputError, match="used by another server or batch"):
        Pool(store, data, PoolOptions(workers=0)).start()
    with pool(store, data, 0):
        pass


def test_cores_are_shared_out_among_workers() -> None:
    cores = os.sched_getaffinity(0)
    assert shares(1) == [()]
    assert shares(0) == []
    each = shares(len(cores))
    if len(cores) > 1:
        assert sorted(core for share in each for core in share) == sorted(cores)
    assert len(shares(len(cores) + 1)) == len(cores) + 1


def test_the_sweep_takes_what_no_task_needs_and_nothing_else(tmp_path: Path, clock: Clock) -> None:
    store = Store(sqlite_url(tmp_path / "jobs.sqlite"), clock=clock)
    kept, gone, _ = (submit(store, ["work", 0]) for _ in range(3))

    def write(path: str) -> str:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
        return path

    for id in (kept, gone):
        claim = store.claim("w")
        assert claim is not None
        write(f"outputs/{id}/lost-attempt/.output.partial-7.mp4")
        store.finish(claim, [write(f"{claim.folder}/output.mp4")], 1.0)
    claim = store.claim("w")
    assert claim is not None
    write(f"{claim.folder}/output.mp4")
    store.delete(gone)
    upload = store.uploads.announce("local", "a.png")
    write(upload.path)
    write("outputs/somebody-elses/a/output.mp4")
    assert sweep(store, tmp_path) == 4  # two attempts that were lost; the one that is deleted, and its task
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file() and "sqlite" not in p.name)
    assert left == sorted(
        [*state(store, kept).outputs, f"{claim.folder}/output.mp4", upload.path, "outputs/somebody-elses/a/output.mp4"]
    )
    clock.now += 31 * 86_400
    assert sweep(store, tmp_path) == 3
    assert sweep(store, tmp_path) == 0
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file() and "sqlite" not in p.name)
    assert left == sorted([f"{claim.folder}/output.mp4", "outputs/somebody-elses/a/output.mp4"])
