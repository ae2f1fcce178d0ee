"""The executor of a Ray cluster: the same tasks, done on whichever machine has room.

The machines share the data folder. Ray does a step again whose worker was killed; what it cannot do again
goes back into the line like any attempt that failed. `python -m server.jobs.cluster` is the one process that
gives tasks to the cluster, told what to do as a worker is. RAY_ADDRESS says which cluster; without one, a
cluster of this machine alone is begun.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from runtime.errors import InputError
from server.jobs.attempt import BEAT_S, Done, Failed, Limits, Progress, confine, outcome, too_slow
from server.jobs.records import Claim, Code
from server.jobs.worker import Worker, limits_of, opened, received, stopping

log = logging.getLogger("server.jobs.cluster")  # run as a program, its own name is __main__

AGAIN = 3  # times that Ray does a step again whose worker was killed
SHARES = {"take": 0.35, "parts": 0.6, "join": 0.05}  # of the work, about
TELL_S = 0.5

Beat = Callable[[float], None]


class Cluster:
    """Steps of tasks as Ray tasks, each in a process of its own that ends with it."""

    def __init__(self, data: Path, limits: Limits, segment_s: float) -> None:
        import ray

        self._ray: Any = ray
        self._data = data.resolve()
        self._limits = limits
        self._segment_s = segment_s
        self._run = ray.remote(max_calls=1, max_retries=AGAIN, num_cpus=1)(_run)

    def execute(self, claim: Claim, folder: Path, beat: Beat) -> Done | Failed:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        text = claim.task.order
        try:
            order = _order(text, self._data)
        except InputError as error:
            return Failed(str(error), Code.BAD_INPUT, for_good=True)
        running = _Running(self._ray, self._run, self._data, folder, self._limits, beat)
        with contextlib.closing(running):
            if order is None or claim.task.seconds <= self._segment_s:
                return _done(running.one("whole", text, (), (0.0, 1.0)))
            take = running.one("take", text, (self._segment_s,), (0.0, SHARES["take"]))
            if isinstance(take, Failed):
                return take
            begun = SHARES["take"]
            made = running.all("part", text, [(part,) for part in take], (begun, SHARES["parts"]))
            failed = next((part for part in made if isinstance(part, Failed)), None)
            if failed is not None:
                return failed
            return _done(running.one("join", text, (take,), (begun + SHARES["parts"], SHARES["join"])))


def _done(result: Any) -> Done | Failed:
    assert isinstance(result, Done | Failed), result
    return result


def _order(text: str, data: Path) -> Any:
    """What can be split, or None."""
    from server.jobs.orders import from_text, inside
    from server.jobs.segments import can_split

    order = inside(from_text(text), data)
    return order if can_split(order) else None


class _Running:
    """The steps of one task that are under way."""

    def __init__(self, ray: Any, run: Any, data: Path, folder: Path, limits: Limits, beat: Beat) -> None:
        self._ray, self._run = ray, run
        self._data, self._folder, self._limits, self._beat = data, folder, limits, beat
        self._refs: list[Any] = []

    def one(self, step: str, text: str, arguments: Sequence[Any], share: tuple[float, float]) -> Any:
        return self.all(step, text, [arguments], share)[0]

    def all(self, step: str, text: str, each: Sequence[Sequence[Any]], share: tuple[float, float]) -> list[Any]:
        """What comes of a step for each of these arguments; `share` is where its progress begins and how far it goes."""
        notes = [self._folder / f".progress-{uuid.uuid4().hex}" for _ in each]
        common = step, text, str(self._data), str(self._folder), self._limits
        self._refs = [
            self._run.remote(*common, str(note), tuple(arguments)) for note, arguments in zip(notes, each, strict=True)
        ]
        waiting = self._refs
        try:
            while waiting:
                _, waiting = self._ray.wait(waiting, num_returns=len(waiting), timeout=BEAT_S)
                far = sum(map(_read, notes)) / len(notes)
                self._beat(share[0] + share[1] * far)
            return [self._result(ref) for ref in self._refs]
        finally:
            for note in notes:
                note.unlink(missing_ok=True)

    def _result(self, ref: Any) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except exceptions.OutOfMemoryError:
            return Failed("the machine that did it ran out of memory", Code.MEMORY, for_good=False)
        except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.RayTaskError) as error:
            log.warning("a step failed", exc_info=error)
            return Failed("the process that did it died", Code.CRASHED, for_good=False)

    def close(self) -> None:
        """Whatever still runs is stopped."""
        for ref in self._refs:
            self._ray.cancel(ref, force=True)


def _read(note: Path) -> float:
    try:
        return float(note.read_text() or 0)
    except (FileNotFoundError, ValueError):  # it has not begun, or is being written
        return 0.0


# -- in a process of the cluster


class _OvertimeError(BaseException):
    """Raised wherever the process just is, and past whoever catches what can go wrong there."""


def _run(step: str, text: str, data: str, folder: str, limits: Limits, note: str, arguments: tuple[Any, ...]) -> Any:
    """One step, confined like a task on one machine."""

    def overtime(_: int, __: FrameType | None) -> None:
        raise _OvertimeError

    from server.jobs.work import in_the_clients_words, parts_by_path

    for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[pool] = "1"
    signal.signal(signal.SIGXCPU, overtime)
    confine(limits)
    names = parts_by_path(text, Path(data))

    def doing(where: Path, progress: Progress) -> Any:
        with in_the_clients_words(names):
            return STEPS[step](text, Path(data), where, progress, *arguments)

    try:
        return outcome(doing, Path(folder), _noting(Path(note)), limits)
    except _OvertimeError:
        return too_slow(limits)


def _noting(note: Path) -> Progress:
    last = 0.0

    def progress(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if total and (now - last >= TELL_S or done == total):
            last = now
            note.write_text(f"{min(1.0, done / total):.4f}")

    return progress


def _whole(text: str, data: Path, folder: Path, progress: Progress) -> Done:
    from server.jobs.work import carry_out

    return carry_out(text, data, folder, progress)


def _take(text: str, data: Path, folder: Path, progress: Progress, seconds: float) -> Any:
    from server.jobs.segments import stretches, take_up

    return stretches(take_up(_order(text, data), folder, progress), seconds)


def _part(text: str, data: Path, folder: Path, progress: Progress, stretch: Any) -> str:
    from server.jobs.segments import render

    return render(_order(text, data), folder, stretch, progress).name


def _join(text: str, data: Path, folder: Path, progress: Progress, parts: Any) -> Done:
    from server.jobs.segments import put_together

    return put_together(_order(text, data), folder, parts)


STEPS: dict[str, Callable[..., Any]] = {"whole": _whole, "take": _take, "part": _part, "join": _join}


# -- the process that gives tasks to the cluster


def main() -> None:
    import ray

    from server.jobs import cluster

    settings = received()
    if settings is None:
        return
    address = os.environ.get("RAY_ADDRESS")
    ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    store, data, stop = opened(settings), Path(settings.data), stopping()
    # by its import name, so that the cluster's processes find what they are to run
    executor = cluster.Cluster(data, limits_of(store), store.tariff.work.segment_s)
    failed: list[BaseException] = []

    def work(n: int) -> None:
        try:
            Worker(settings.name, store, data, executor, stop).run()
        except BaseException as error:
            failed.append(error)
            os.kill(os.getpid(), signal.SIGTERM)  # the others hand back what they have, and all begins anew

    threads = [threading.Thread(target=work, args=(n,), name=f"cluster-{n}") for n in range(settings.parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    ray.shutdown()
    if failed:
        raise failed[0]


if __name__ == "__main__":
    main()
