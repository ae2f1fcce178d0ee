"""All that the HTTP service holds beside the live house, and what its routes ask of it.

`order` is the one way in: files are taken in and looked at in a few threads of their own, so that slow ones keep
nobody else waiting; then the task is in the store, and what happens to it is for `server.jobs` to do.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from server.api.access import AccessControl
from server.api.fetch import Fetcher, FetchLimits
from server.api.intake import Intake, Taken
from server.api.ordering import Ordered, Ordering
from server.api.probe import Kind, ProbeLimits
from server.api.problems import NO_ROOM, ApiError, bad_field
from server.api.shapes import Created, Credits, TaskDetails
from server.api.signing import LINK_S, Signer, load_signer
from server.jobs.orders import as_text, from_text, kind_of, paths_of
from server.jobs.records import State, Submission, Task
from server.jobs.store import Store

T = TypeVar("T")
log = logging.getLogger(__name__)

_DETAILS: TypeAdapter[TaskDetails] = TypeAdapter(TaskDetails)
UPLOADS = "uploads"  # the folder of them, in the data folder
LEAST_FREE = 1 << 30  # bytes of the disk that are left to outputs and the database
INTAKES = 8  # files taken in at once
INTAKES_EACH = 4  # of one account


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    public_url: str | None = None  # what clients reach the server by, where a proxy stands before it
    trusted_hosts: tuple[str, ...] = ()  # of our own network, which inputs and webhooks may be at
    voice_command: str | None = None  # says texts, instead of espeak
    fetching: FetchLimits = field(default_factory=FetchLimits)
    probing: ProbeLimits = field(default_factory=ProbeLimits)


class Service:
    def __init__(self, data: Path, store: Store, options: ServiceOptions, address: str) -> None:
        """`address` is what the server listens on, like http://127.0.0.1:8765; raises InputError."""
        self.data = data
        self.store = store
        self.options = options
        self.address = (options.public_url or address).rstrip("/")
        self.signer: Signer = load_signer(data)
        self.access = AccessControl(store.keys)
        self.fetcher = Fetcher(options.fetching, frozenset(options.trusted_hosts))
        self.intake = Intake(data, store.uploads, self.fetcher, options.fetching, options.probing)
        self.threads = ThreadPoolExecutor(INTAKES, thread_name_prefix="intake")
        self._taking: Counter[str] = Counter()

    async def order(
        self, owner: str, make: Callable[[Ordering], Ordered], webhook: str | None, idempotency_key: str | None
    ) -> Created:
        """Take in what a request points at, and put its task into the line. Raises what is to be answered."""
        if webhook is not None:
            try:
                self.fetcher.check(webhook)
            except ValueError as error:
                raise bad_field("webhook", error) from error
        self.check_room()
        with self._turn(owner):
            call = partial(self._order, owner, make, webhook, idempotency_key)
            return await self.in_thread(call)

    def check_room(self) -> None:
        """Take in no files while the disk is nearly full; raises ApiError."""
        if shutil.disk_usage(self.data).free < LEAST_FREE:
            raise ApiError(503, NO_ROOM, {"Retry-After": "60"})

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Wait for what blocks on files, in one of the threads for that."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, copy_context().run, call)

    @contextmanager
    def _turn(self, owner: str) -> Iterator[None]:
        if self._taking[owner] >= INTAKES_EACH:
            raise ApiError(429, f"{INTAKES_EACH} requests of yours are being taken in", {"Retry-After": "1"})
        self._taking[owner] += 1
        try:
            yield
        finally:
            self._taking[owner] -= 1

    def _order(
        self, owner: str, make: Callable[[Ordering], Ordered], webhook: str | None, idempotency_key: str | None
    ) -> Created:
        def take(uri: str, wanted: Kind, called: str) -> Taken:
            return self.intake.take(owner, uri, wanted, called, idempotency_key)

        ordering = Ordering(take, self.options.voice_command)
        ordered = make(ordering)
        kind = kind_of(ordered.order)
        submitted = self.store.submit(
            Submission(
                owner=owner, kind=kind, order=as_text(ordered.order), seconds=ordered.seconds, uploads=tuple(dict.fromkeys(ordered.uploads)),
                idempotency_key=idempotency_key, webhook=webhook,
            )
        )  # fmt: skip
        if submitted.is_new:
            log.info(
                "a task is taken", extra={"task": submitted.task.id, "kind": kind, "seconds": round(ordered.seconds)}
            )
        return created(submitted.task, ordered.warnings)

    def details(self, task: Task, base: str) -> TaskDetails:
        """A task as it is answered, with links that begin with `base`."""
        told: dict[str, object] = {
            "id": task.id, "created_at": moment(task.created), "kind": task.kind, "status": task.state.value, "name": self._name(task),
            "cost" if task.state.is_over else "estimated_cost": Credits(credits=task.cost),
        }  # fmt: skip
        if task.state is State.RUNNING:
            told["progress"] = task.progress
        elif task.state is State.FAILED:
            told["failure"] = task.failure
            told["failure_code"] = None if task.failure_code is None else task.failure_code.value
        elif task.state is State.SUCCEEDED:
            told["output"] = [self.link(base, task, number) for number in range(len(task.outputs))]
        return _DETAILS.validate_python(told)

    def _name(self, task: Task) -> str | None:
        """What a client called the first file of a task."""
        path = next((path for path in paths_of(from_text(task.order)) if path.parts[0] == UPLOADS), None)
        upload = None if path is None else self.store.uploads.get(path.parts[1])
        return None if upload is None else upload.name

    def link(self, base: str, task: Task, number: int) -> str:
        """Where an output can be had for a day by whoever has the link."""
        suffix = Path(task.outputs[number]).suffix
        expires = str(int(self.store.clock()) + LINK_S)
        signature = self.signer.sign("output", task.id, str(number), expires)
        return f"{base}/v1/outputs/{task.id}/{number}{suffix}?expires={expires}&signature={signature}"

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.store.close()


def created(task: Task, warnings: tuple[str, ...] = ()) -> Created:
    return Created(id=task.id, estimated_cost=Credits(credits=task.cost), warnings=list(warnings))


def moment(time: float) -> datetime:
    return datetime.fromtimestamp(time, timezone.utc)
