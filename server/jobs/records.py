"""What the service keeps of its work: tasks, what happened to them, keys, uploads, credits.

Plain records, all frozen: a change is made by the store (`server.jobs.store`) and read anew. Times are
seconds since 1970, UTC. What an order means is for `server.jobs.orders` to know; here it is a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    """Where a task stands. PENDING may be taken up, THROTTLED waits until its owner's tier has room."""

    PENDING = "PENDING"
    THROTTLED = "THROTTLED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_over(self) -> bool:
        return self in OVER


OVER = (State.SUCCEEDED, State.FAILED, State.CANCELLED)
WAITING = (State.PENDING, State.THROTTLED)


class Code(str, Enum):
    """Why a task failed, for programs; the sentence beside it is for people."""

    BAD_INPUT = "ASSET.INVALID"  # what was sent cannot be used; sending it again will not help
    CRASHED = "INTERNAL.CRASHED"  # the process that did it died
    MEMORY = "INTERNAL.LIMIT.MEMORY"  # it wanted more memory than a task may have
    TIME = "INTERNAL.LIMIT.TIME"  # it wanted more CPU time than a task may have
    LOST = "INTERNAL.LOST"  # its worker vanished, again and again
    BROKEN = "INTERNAL"  # a mistake of ours


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A task about to be. Nothing of it exists until `Store.submit` returns."""

    owner: str  # whose account it counts against
    kind: str  # what is priced: act, lip_sync or capture
    order: str  # `orders.as_text`
    seconds: float  # of the result, estimated: that much is reserved
    uploads: tuple[str, ...] = ()  # ids of uploads it reads, which are kept until it is over
    idempotency_key: str | None = None  # the same key and order again is the same task
    webhook: str | None = None  # URL told when the task is over


@dataclass(frozen=True, kw_only=True)
class Task:
    id: str  # UUID4
    owner: str
    kind: str
    state: State
    order: str
    seconds: float  # of the result: estimated, measured once it has succeeded
    progress: float  # 0..1
    created: float
    started: float | None  # first taken up
    ended: float | None
    attempts: int  # begun, not counting those that were handed back
    failure: str | None  # a sentence
    failure_code: Code | None
    outputs: tuple[str, ...]  # paths in the data folder
    cost: int  # credits: reserved while it is not over, charged after
    webhook: str | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """A task changed. Numbers only grow, in the order of the changes, so a follower asks for those after its last."""

    number: int
    time: float
    task: str
    owner: str
    state: State
    progress: float


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on a task, until the lease runs out or is taken away."""

    task: Task
    lease: str  # what the store knows this attempt by

    @property
    def folder(self) -> str:
        """Where this attempt writes, in the data folder; no other attempt ever does."""
        return f"outputs/{self.task.id}/{self.lease[:12]}"


@dataclass(frozen=True, kw_only=True)
class Key:
    id: str  # 16 hex digits, also the visible part of the secret
    owner: str
    tier: str  # of the owner's account
    created: float
    revoked: float | None


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file a client announced; `n_bytes` is None until it is here."""

    id: str  # UUID4
    owner: str
    name: str  # what the client calls it; never a path
    path: str  # in the data folder
    n_bytes: int | None
    created: float


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the ledger. A balance is the sum of them; none is ever changed."""

    number: int
    time: float
    owner: str
    task: str | None  # None of a grant
    step: str  # grant, reserve, settle or refund
    amount: int  # credits: what the balance gains, or loses


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What an owner spent on one kind in one day."""

    day: str  # 2026-11-27, UTC
    kind: str
    credits: int
    tasks: int


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook that is due."""

    id: int
    url: str
    task: Task
    tries: int  # made so far


class RefusalError(ValueError):
    """A submission that cannot be taken; the text says why, `retry_after_s` when to try again, if ever."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class LimitError(RefusalError):
    """The tier's rate or waiting line is used up."""


class CreditError(RefusalError):
    """The balance does not reach."""


class ConflictError(RefusalError):
    """The idempotency key was used for another order."""


class LeaseError(Exception):
    """Whoever works on a task no longer may: it was cancelled, or given to another."""
