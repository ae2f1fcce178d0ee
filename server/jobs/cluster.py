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
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from server.jobs.attempt import BEAT_S, Done, Failed, Limits, Progress, confine, outcome, too_slow
from server.jobs.database import AwayError
from server.jobs.records import Claim, Code
from server.jobs.worker import AWAY, Worker, limits_of, opened, received, stopping

if TYPE_CHECKING:
    from server.jobs.orders import Order
    from server.jobs.segments import InParts

log = logging.getLogger("server.jobs.cluster")  # run as a program, its own name is __main__

AGAIN = 3  # times that Ray does a step again whose worker was killed
SHARES = {"begin": 0.35, "render": 0.6, "join": 0.05}  # of the work, about
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
        running = _Running(self._ray, self._run, self._data, folder, self._limits, beat)
        with contextlib.closing(running):
            parts = None
            if claim.task.seconds > self._segment_s:
                parts = running.one("begin", text, (self._segment_s,), (0.0, SHARES["begin"]))
            if isinstance(parts, Failed):
                return parts
            if parts is None:
                return _done(running.one("whole", text, (), (0.0, 1.0)))
            begun = SHARES["begin"]
            made = running.all("render", text, [(part,) for part in parts], (begun, SHARES["render"]))
            failed = next((part for part in made if isinstance(part, Failed)), None)
            if failed is not None:
                return failed
            return _done(running.one("join", text, (parts,), (begun + SHARES["render"], SHARES["join"])))


def _done(result: Any) -> Done | Failed:
    assert isinstance(result, Done | Failed), result
    return result


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

    def doing(where: Path, progress: Progress) -> Any:
        with in_the_clients_words(parts_by_path(text, Path(data))):
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


def _begin(text: str, data: Path, folder: Path, progress: Progress, seconds: float) -> Any:
    """The parts of an order; None where it is done whole."""
    from server.jobs.segments import in_parts

    way = in_parts(_order(text, data))
    return None if way is None else way.begin(folder, seconds, progress)


def _render(text: str, data: Path, folder: Path, progress: Progress, stretch: Any) -> None:
    _way(text, data).render(folder, stretch, progress)


def _join(text: str, data: Path, folder: Path, progress: Progress, parts: Any) -> Done:
    return _way(text, data).join(folder, parts)


def _way(text: str, data: Path) -> InParts:
    from server.jobs.segments import in_parts

    way = in_parts(_order(text, data))
    assert way is not None, "an order that was begun in parts"
    return way


def _order(text: str, data: Path) -> Order:
    from server.jobs.orders import from_text, inside

    return inside(from_text(text), data)


STEPS: dict[str, Callable[..., Any]] = {"whole": _whole, "begin": _begin, "render": _render, "join": _join}


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
    if failed and isinstance(failed[0], AwayError):
        log.info("the cluster's workers give up", extra={"why": str(failed[0])})
        sys.exit(AWAY)
    if failed:
        raise failed[0]


if __name__ == "__main__":
    main()
