"""The same tasks on a Ray cluster of two nodes on this machine: long acts in parts, without a seam."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.video import VideoReader
from server.act import ActOptions, act
from server.capture import CaptureOptions, capture
from server.dub import DubOptions, dub
from server.jobs.orders import ActOrder, DubOrder, as_text, inside
from server.jobs.pool import Pool, PoolOptions
from server.jobs.records import Code, State, Submission
from server.jobs.segments import stretches
from server.jobs.store import Store, open_store
from tests.server.conftest import RATE, Rgb, film, swaying
from tests.server.jobs.conftest import TARIFF
from tests.server.jobs.test_batch import speech

PORT = 26_391


def nothing(done: int, total: int | None) -> None:
    pass


def order(character: Path, performance: Path) -> ActOrder:
    return ActOrder(character=character, performance=performance, options=ActOptions())


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[str]:
    """Two nodes of one core each, two processes; their address."""
    pytest.importorskip("ray", reason="the cluster needs Ray; make setup brings it")
    folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.getcwd()}
    program = Path(sys.executable).with_name("ray")
    common = ["--num-cpus=1", "--object-store-memory=80000000", "--node-ip-address=127.0.0.1", "--block"]
    places = [["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={folder}"]]
    places += [[f"--address=127.0.0.1:{PORT}"]]
    nodes = []
    try:
        for place in places:
            node = subprocess.Popen(
                [program, "start", *place, *common], env=environment, stdout=subprocess.PIPE, text=True,
                start_new_session=True,
            )  # fmt: skip
            nodes.append(node)
            assert node.stdout is not None
            assert any("Ray runtime started" in line for line in iter(node.stdout.readline, "")), "a node did not start"
        yield f"127.0.0.1:{PORT}"
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            node.wait(60)
            assert node.stdout is not None
            node.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def submit(store: Store, ordered: ActOrder, seconds: float) -> str:
    return store.submit(Submission(owner="local", kind="act", order=as_text(ordered), seconds=seconds)).task.id


def steps_running() -> list[int]:
    """Processes of the cluster that do a step just now."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if (proc / "cmdline").read_bytes().startswith(b"ray::_run"):
                found.append(int(proc.name))
        except OSError:  # it has ended
            continue
    return found


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with VideoReader(path) as reader:
        return [frame.rgb for frame in reader]


@pytest.mark.slow
def test_a_long_act_in_parts_is_the_whole_though_a_worker_is_killed(
    ray_cluster: str,
    face: Rgb,
    portrait: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster)
    (tmp_path / "tariff.toml").write_text(TARIFF.replace("segment_s = 60", "segment_s = 1"))
    clip = film(tmp_path / "clip.mp4", swaying(face), 75)
    shutil.copy(portrait, tmp_path / "a.png")
    store = open_store(tmp_path, tariff=tmp_path / "tariff.toml")
    long = submit(store, order(Path("a.png"), Path("clip.mp4")), 3.0)
    bad = submit(store, order(Path("a.png"), Path("none.mp4")), 0.5)
    options = PoolOptions(workers=2, quiet=True, executor="ray")
    pool = Pool(store, tmp_path, options, tariff=tmp_path / "tariff.toml")
    pool.start()
    killed = 0
    try:
        until = time.monotonic() + 240
        while not all(task.state.is_over for task in store.tasks()):
            assert time.monotonic() < until, store.tasks()
            task = store.task(long)
            assert task is not None
            if not killed and task.progress > 0.36 and task.progress < 0.9 and (running := steps_running()):
                killed = running[0]
                os.kill(killed, signal.SIGKILL)
            time.sleep(0.02)
    finally:
        pool.stop()
    done, failed = store.task(long), store.task(bad)
    assert done is not None
    assert failed is not None
    assert killed, "no part was killed"
    # A killed part is no attempt of the whole. Ray itself sometimes aborts the process that asked for the part when its
    # worker is killed in the act of answering ("Tried to complete task that was not pending"); that is one.
    aborted = sum(record.getMessage() == "a worker died" for record in caplog.records)
    assert (done.state, done.failure) == (State.SUCCEEDED, None)
    assert done.attempts <= 1 + aborted
    assert (failed.state, failed.failure_code) == (State.FAILED, Code.BAD_INPUT)
    assert failed.failure is not None
    assert str(tmp_path) not in failed.failure
    assert "the performance" in failed.failure
    output = tmp_path / done.outputs[0]
    assert [p.name for p in output.parent.iterdir()] == ["output.mp4"]

    capture(clip, tmp_path / "take.npz", CaptureOptions(), nothing)
    assert len(stretches([i / RATE for i in range(75)], 1.0)) == 3
    act(portrait, tmp_path / "take.npz", tmp_path / "whole.mp4", ActOptions(), nothing)
    ours, wanted = pictures(output), pictures(tmp_path / "whole.mp4")
    assert len(ours) == len(wanted) == 75
    far = np.array([[np.abs(a.astype(int) - b).mean() for b in wanted] for a in ours])
    print(f"mean difference from the whole: {far.diagonal().mean():.3f}, at the seams {far.diagonal()[[25, 50]]}")
    # Each is the whole's picture of that number and no other, as far as two encodings tell where a head turns back.
    assert (far.diagonal() < far.min(1) + 0.01).all()


@pytest.mark.slow
def test_a_long_dub_in_parts_is_the_whole(
    ray_cluster: str, face: Rgb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster)
    (tmp_path / "tariff.toml").write_text(TARIFF.replace("segment_s = 60", "segment_s = 1"))
    film(tmp_path / "clip.mp4", swaying(face), 30)
    speech(tmp_path / "said.wav", 2.0)
    ordered = DubOrder(clip=Path("clip.mp4"), options=DubOptions(audio=Path("said.wav")))
    store = open_store(tmp_path, tariff=tmp_path / "tariff.toml")
    id = store.submit(Submission(owner="local", kind="lip_sync", order=as_text(ordered), seconds=2.0)).task.id
    pool = Pool(store, tmp_path, PoolOptions(workers=2, quiet=True, executor="ray"), tariff=tmp_path / "tariff.toml")
    pool.start()
    try:
        wait_until(lambda: (task := store.task(id)) is not None and task.state.is_over, 240)
    finally:
        pool.stop()
    done = store.task(id)
    assert done is not None
    assert (done.state, done.failure) == (State.SUCCEEDED, None)
    output = tmp_path / done.outputs[0]
    assert [path.name for path in output.parent.iterdir()] == ["output.mp4"]
    dub(tmp_path / "clip.mp4", tmp_path / "whole.mp4", inside(ordered, tmp_path).options, nothing)  # type: ignore[arg-type]
    ours, wanted = pictures(output), pictures(tmp_path / "whole.mp4")
    assert len(ours) == len(wanted) == 50
    off = np.array([np.abs(a.astype(int) - b).mean() for a, b in zip(ours, wanted, strict=True)])
    print(f"mean difference from the whole: {off.mean():.3f}, at most {off.max():.3f}")
    assert off.max() < 2  # two encodings of the same pictures


@pytest.mark.slow
def test_a_cancelled_task_ends_on_the_cluster_and_stopping_hands_the_others_back(
    ray_cluster: str, face: Rgb, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster)
    (tmp_path / "tariff.toml").write_text(TARIFF)
    clip = film(tmp_path / "clip.mp4", swaying(face), 700)
    store = open_store(tmp_path, tariff=tmp_path / "tariff.toml")
    ids = [submit(store, order(portrait, clip), 28.0) for _ in range(2)]
    options = PoolOptions(workers=2, quiet=True, executor="ray")
    pool = Pool(store, tmp_path, options, tariff=tmp_path / "tariff.toml")
    pool.start()
    try:
        wait_until(lambda: all(running(store, id) for id in ids) and len(steps_running()) == 2)
        store.cancel(ids[0])
        wait_until(lambda: len(steps_running()) == 1)
    finally:
        pool.stop()
    wait_until(lambda: not steps_running())
    cancelled, back = store.task(ids[0]), store.task(ids[1])
    assert cancelled is not None
    assert back is not None
    assert cancelled.state is State.CANCELLED
    assert (back.state, back.attempts) == (State.PENDING, 0)
    assert [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()] == []


def running(store: Store, id: str) -> bool:
    task = store.task(id)
    return task is not None and task.state is State.RUNNING


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing came of it"
        time.sleep(0.05)
