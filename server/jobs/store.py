"""What must survive: every task, what happened to it, and its credits, in one database.

Each operation is one transaction, so whoever is killed leaves it done or not done. Many processes may use
the same database; only one of them is given a task, and only while its lease lasts.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from runtime.errors import InputError
from server.jobs import ledger, line
from server.jobs.database import Database, accounts, events, reads, sqlite_url, tasks, uploads
from server.jobs.database import ledger as lines
from server.jobs.deliveries import Deliveries
from server.jobs.keys import Keys, open_account
from server.jobs.records import (
    WAITING,
    Claim,
    Code,
    ConflictError,
    CreditError,
    Entry,
    Event,
    LeaseError,
    LimitError,
    Spent,
    State,
    Submission,
    Task,
    Upload,
)
from server.jobs.tariff import LOCAL, Tariff, load_tariff
from server.jobs.uploads import Uploads

NEWS, NEWS_S = 0.02, 2.0  # progress is written when it has grown by so much, no more often than that
UNFINISHED = tuple(state.value for state in (*WAITING, State.RUNNING))


@dataclass(frozen=True)
class Submitted:
    task: Task
    is_new: bool  # False: the same was submitted before, under the same idempotency key


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where an owner stands with their tier."""

    tier: str
    credits: int
    running: int
    waiting: int  # not over
    begun_today: int  # in the last 24 hours


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The whole service at a glance."""

    tasks: Mapping[tuple[str, State], int]  # by kind and state, those that were deleted included
    attempts: int
    failures: int  # attempts that failed by themselves
    losses: int  # attempts whose worker vanished
    credits: int  # charged
    oldest_waits_s: float  # of those that may be taken up


class Store:
    def __init__(
        self, url: str, tariff: Tariff | None = None, clock: Callable[[], float] = time.time
    ) -> None:  # fmt: skip
        self.tariff = tariff or load_tariff()
        self.database = Database(url)
        self.clock = clock
        self.keys = Keys(self.database, self.tariff, clock)
        self.uploads = Uploads(self.database, clock)
        self.deliveries = Deliveries(self.database, clock)
        self._check_tiers()

    def _check_tiers(self) -> None:
        with self.database.reading() as connection:
            for owner, tier in connection.execute(select(accounts.c.owner, accounts.c.tier)):
                if tier not in self.tariff.tiers:
                    raise InputError(f"the tariff has no tier {tier}, which the account {owner} has; wanted it kept")

    def close(self) -> None:
        self.database.close()

    # -- for those who want something done

    def submit(self, submission: Submission) -> Submitted:
        """Take a task into the line and reserve its credits. Raises LimitError, CreditError or ConflictError."""
        now, kind, owner = self.clock(), submission.kind, submission.owner
        if kind not in self.tariff.prices:
            raise InputError(f"the tariff has no price for {kind}; wanted {', '.join(self.tariff.prices)}")
        with self.database.writing() as connection:
            before = self._same(connection, submission)
            if before is not None:
                return Submitted(before, is_new=False)
            tier = self.tariff.tier(self._tier(connection, owner, now))
            self._check_limits(connection, now, owner, tier.name)
            cost = self.tariff.cost(kind, submission.seconds, tier.name)
            credits = ledger.balance(connection, owner)
            if tier.metered and cost > credits:
                raise CreditError(f"this costs {cost} credits and {owner} has {credits}")
            line.join_line(connection, owner)
            id = str(uuid.uuid4())
            connection.execute(
                insert(tasks).values(
                    id=id, owner=owner, kind=kind, state=State.PENDING.value, order=submission.order,
                    seconds=submission.seconds, created=now, cost=cost, webhook=submission.webhook,
                    idempotency_key=submission.idempotency_key, outputs="[]",
                )
            )  # fmt: skip
            for upload in submission.uploads:
                connection.execute(insert(reads).values(task=id, upload=upload))
            ledger.reserve(connection, now, owner, id, cost)
            line.tell(connection, now, id, owner, State.PENDING, 0.0)
            line.make_room(connection, now, owner, tier)
            return Submitted(line.task_of(self._row(connection, id)), is_new=True)

    def _same(self, connection: Connection, submission: Submission) -> Task | None:
        key = submission.idempotency_key
        before = None if key is None else self._known(connection, submission.owner, key)
        if before is not None and (before.kind, before.order) != (submission.kind, submission.order):
            raise ConflictError(f"the idempotency key {key!r} was used for another order")
        return before

    def _check_limits(self, connection: Connection, now: float, owner: str, name: str) -> None:
        tier = self.tariff.tier(name)
        if tier.per_minute is not None and line.submitted(connection, owner, now - 60) >= tier.per_minute:
            raise LimitError(f"the tier {name} may submit {tier.per_minute} tasks a minute", retry_after_s=60)
        if tier.waiting is not None and line.waiting(connection, owner) >= tier.waiting:
            raise LimitError(f"the tier {name} may have {tier.waiting} unfinished tasks", retry_after_s=60)

    def known(self, owner: str, idempotency_key: str) -> Task | None:
        """What was submitted under that key before."""
        with self.database.reading() as connection:
            return self._known(connection, owner, idempotency_key)

    def task(self, id: str, owner: str | None = None) -> Task | None:
        """None where there is none, or it is another's or deleted."""
        with self.database.reading() as connection:
            row = self._find(connection, id, owner)
        return None if row is None else line.task_of(row)

    def tasks(
        self,
        owner: str | None = None,
        states: Sequence[State] = (),
        kind: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Task]:
        """The newest first; those older than the task `before`, to turn pages."""
        query = select(tasks).where(tasks.c.deleted.is_(None)).order_by(tasks.c.place.desc()).limit(limit)
        if owner is not None:
            query = query.where(tasks.c.owner == owner)
        if states:
            query = query.where(tasks.c.state.in_([state.value for state in states]))
        if kind is not None:
            query = query.where(tasks.c.kind == kind)
        if before is not None:
            query = query.where(tasks.c.place < select(tasks.c.place).where(tasks.c.id == before).scalar_subquery())
        with self.database.reading() as connection:
            return [line.task_of(row) for row in connection.execute(query)]

    def cancel(self, id: str, owner: str | None = None) -> Task | None:
        """End a task that is not over, and give its credits back; one that is over stays as it is."""
        with self.database.writing() as connection:
            return self._cancel(connection, id, owner)

    def delete(self, id: str, owner: str | None = None) -> Task | None:
        """Cancel a task if it is not over, and forget it; its files go with the next `sweep`."""
        with self.database.writing() as connection:
            task = self._cancel(connection, id, owner)
            if task is not None:
                connection.execute(update(tasks).where(tasks.c.id == id).values(deleted=self.clock()))
            return task

    # -- for those who follow

    def events(self, after: int, owner: str | None = None, limit: int = 1000) -> list[Event]:
        """What happened after the event of that number, oldest first."""
        query = select(events).where(events.c.number > after).order_by(events.c.number).limit(limit)
        if owner is not None:
            query = query.where(events.c.owner == owner)
        with self.database.reading() as connection:
            return [
                Event(number=r.number, time=r.time, task=r.task, owner=r.owner, state=State(r.state), progress=r.progress)
                for r in connection.execute(query)
            ]  # fmt: skip

    def last_event(self) -> int:
        with self.database.reading() as connection:
            return int(connection.execute(select(func.max(events.c.number))).scalar() or 0)

    # -- for those who work

    def claim(self, worker: str) -> Claim | None:
        """The task whose turn it is, for this worker alone while it keeps telling of itself; None if none waits."""
        now, lease = self.clock(), secrets.token_hex(16)
        with self.database.reading() as connection:  # whoever idles keeps nobody from writing
            if (
                connection.execute(select(tasks.c.id).where(tasks.c.state == State.PENDING.value).limit(1)).first()
                is None
            ):
                return None
        with self.database.writing() as connection:
            row = line.next_in_line(connection, now, self.tariff)
            if row is None:
                return None
            values = {
                "lease": lease, "worker": worker, "expires": now + self.tariff.work.lease_s, "progress": 0.0,
                "attempts": row.attempts + 1, "started": row.started or now,
            }  # fmt: skip
            line.change(connection, now, line.task_of(row), State.RUNNING, values)
            self._make_room(connection, now, row.owner)
            return Claim(task=line.task_of(self._row(connection, row.id)), lease=lease)

    def heartbeat(self, claim: Claim, progress: float) -> None:
        """Keep the lease and tell how far the task is, 0..1. Raises LeaseError.

        Nothing is written while there is little news, since all who work share one writer.
        """
        now, lease_s = self.clock(), self.tariff.work.lease_s
        with self.database.reading() as connection:
            row = self._held(connection, claim)
        since = now - (row.expires - lease_s)
        has_news = progress - row.progress >= NEWS and since >= NEWS_S
        if not has_news and since < lease_s / 4:
            return
        with self.database.writing() as connection:
            row = self._held(connection, claim)
            values: dict[str, Any] = {"expires": now + lease_s}
            if progress > row.progress:
                values["progress"] = progress
                line.tell(connection, now, row.id, row.owner, State.RUNNING, progress)
            connection.execute(update(tasks).where(tasks.c.id == row.id).values(**values))

    def finish(self, claim: Claim, outputs: Sequence[str], seconds: float) -> Task:
        """It is done: these files in the data folder are its outputs, so many seconds long. Raises LeaseError."""
        now = self.clock()
        with self.database.writing() as connection:
            row = self._held(connection, claim)
            values = {"outputs": json.dumps(list(outputs)), "seconds": seconds, "progress": 1.0}
            self._end(connection, now, line.task_of(row), State.SUCCEEDED, values)
            return line.task_of(self._row(connection, row.id))

    def fail(self, claim: Claim, failure: str, code: Code, *, for_good: bool) -> Task:
        """This attempt failed; the task goes back into the line unless that was `for_good` or the last try. Raises LeaseError."""
        now = self.clock()
        with self.database.writing() as connection:
            row = self._held(connection, claim)
            failures = row.failures + 1
            values: dict[str, Any] = {"failures": failures}
            if for_good or failures >= self.tariff.work.tries:
                values |= {"failure": failure, "failure_code": code.value}
                self._end(connection, now, line.task_of(row), State.FAILED, values)
            else:
                self._put_back(connection, now, row, values)
            return line.task_of(self._row(connection, row.id))

    def hand_back(self, claim: Claim) -> None:
        """The worker stops, the task is as if it had not been taken up; no attempt is counted. Raises LeaseError."""
        with self.database.writing() as connection:
            row = self._held(connection, claim)
            self._put_back(connection, self.clock(), row, {"attempts": row.attempts - 1})

    def reap(self) -> int:
        """Put back what vanished workers held, and throttled tasks whose day is over; returns how many leases ran out."""
        now = self.clock()
        expired = select(tasks).where(tasks.c.state == State.RUNNING.value, tasks.c.expires < now)
        throttled = select(tasks.c.owner).where(tasks.c.state == State.THROTTLED.value).distinct()
        with self.database.reading() as connection:
            if not connection.execute(expired.limit(1)).first() and not connection.execute(throttled.limit(1)).first():
                return 0
        with self.database.writing() as connection:
            rows = list(connection.execute(expired))
            for row in rows:
                self._lose(connection, now, row)
            for owner in connection.execute(throttled).scalars().all():
                self._make_room(connection, now, owner)
            return len(rows)

    def lost(self, worker: str) -> int:
        """A worker is known to be gone: put back what it held without waiting for its leases to run out."""
        now = self.clock()
        with self.database.writing() as connection:
            held = select(tasks).where(tasks.c.state == State.RUNNING.value, tasks.c.worker == worker)
            rows = list(connection.execute(held))
            for row in rows:
                self._lose(connection, now, row)
            return len(rows)

    def _lose(self, connection: Connection, now: float, row: Row[Any]) -> None:
        losses = row.losses + 1
        values: dict[str, Any] = {"losses": losses}
        if losses >= self.tariff.work.losses:
            values |= {"failure": f"its worker vanished {losses} times", "failure_code": Code.LOST.value}
            self._end(connection, now, line.task_of(row), State.FAILED, values)
        else:
            self._put_back(connection, now, row, values)

    # -- for those who pay

    def grant(self, owner: str, credits: int) -> int:
        """Add credits to an account, or take some away; returns the balance. Raises InputError where there is none."""
        with self.database.writing() as connection:
            if connection.execute(select(accounts.c.owner).where(accounts.c.owner == owner)).first() is None:
                raise InputError(f"there is no account {owner}; wanted one that `understudy keys list` names")
            ledger.grant(connection, self.clock(), owner, credits)
            return ledger.balance(connection, owner)

    def standing(self, owner: str) -> Standing:
        now = self.clock()
        with self.database.reading() as connection:
            tier = connection.execute(select(accounts.c.tier).where(accounts.c.owner == owner)).scalar()
            return Standing(
                tier=tier or LOCAL, credits=ledger.balance(connection, owner), running=line.running(connection, owner),
                waiting=line.waiting(connection, owner), begun_today=line.begun(connection, owner, now - line.DAY_S),
            )  # fmt: skip

    def entries(self, owner: str, limit: int = 1000) -> list[Entry]:
        """The ledger's lines of an owner, the newest first."""
        query = select(lines).where(lines.c.owner == owner).order_by(lines.c.number.desc()).limit(limit)
        with self.database.reading() as connection:
            return [
                Entry(number=r.number, time=r.time, owner=r.owner, task=r.task, step=r.step, amount=r.amount)
                for r in connection.execute(query)
            ]

    def spent(self, owner: str, since: float, until: float) -> list[Spent]:
        """Credits charged for tasks that ended in that time, by day and kind, oldest first."""
        query = select(tasks.c.ended, tasks.c.kind, tasks.c.cost).where(
            tasks.c.owner == owner, tasks.c.state == State.SUCCEEDED.value, tasks.c.ended.between(since, until)
        )
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        with self.database.reading() as connection:
            for row in connection.execute(query):
                day = datetime.fromtimestamp(row.ended, timezone.utc).date().isoformat()
                credits, n = sums.get((day, row.kind), (0, 0))
                sums[day, row.kind] = credits + row.cost, n + 1
        return [Spent(day=day, kind=kind, credits=c, tasks=n) for (day, kind), (c, n) in sorted(sums.items())]

    # -- for those who keep house

    def forget_events(self) -> None:
        """Delete events whose time is over."""
        with self.database.writing() as connection:
            old = self.clock() - self.tariff.work.event_days * line.DAY_S
            connection.execute(delete(events).where(events.c.time < old))

    def unwanted_uploads(self) -> list[Upload]:
        """Those whose time is over and that no unfinished task reads."""
        old = self.clock() - self.tariff.work.upload_days * line.DAY_S
        read = select(reads.c.upload).join(tasks, tasks.c.id == reads.c.task).where(tasks.c.state.in_(UNFINISHED))
        with self.database.reading() as connection:
            return self.uploads.of(connection, uploads.c.created < old, uploads.c.id.not_in(read))

    def wanted_outputs(self, id: str) -> tuple[str, ...] | None:
        """Those of a task's files that are to be kept; None where this store never knew of it, or it runs."""
        old = self.clock() - self.tariff.work.output_days * line.DAY_S
        with self.database.reading() as connection:
            row = connection.execute(select(tasks).where(tasks.c.id == id)).first()
        if row is None or row.state == State.RUNNING.value:
            return None
        is_unwanted = row.deleted is not None or (row.ended is not None and row.ended < old)
        return () if is_unwanted else line.task_of(row).outputs

    def figures(self) -> Figures:
        """How much of everything there is, for those who watch the service."""
        now = self.clock()
        oldest = select(func.min(tasks.c.created)).where(tasks.c.state == State.PENDING.value)
        with self.database.reading() as connection:
            counts = connection.execute(
                select(tasks.c.kind, tasks.c.state, func.count()).group_by(tasks.c.kind, tasks.c.state)
            )
            tried = select(func.sum(tasks.c.attempts), func.sum(tasks.c.failures), func.sum(tasks.c.losses))
            by = {(row[0], State(row[1])): int(row[2]) for row in counts}
            attempts, failures, losses = connection.execute(tried).one()
            charged = connection.execute(select(func.sum(tasks.c.cost)).where(tasks.c.state == State.SUCCEEDED.value))
            first = connection.execute(oldest).scalar()
            return Figures(
                tasks=by, attempts=attempts or 0, failures=failures or 0, losses=losses or 0,
                credits=charged.scalar() or 0, oldest_waits_s=0.0 if first is None else now - first,
            )  # fmt: skip

    # -- inside a transaction

    def _tier(self, connection: Connection, owner: str, now: float) -> str:
        """An owner's tier; the local account is opened when it is first used."""
        if owner == LOCAL:
            return open_account(connection, self.tariff, now, LOCAL, LOCAL)
        tier = connection.execute(select(accounts.c.tier).where(accounts.c.owner == owner)).scalar()
        if tier is None:
            raise InputError(f"there is no account {owner}; wanted one that a key was made for")
        return str(tier)

    def _known(self, connection: Connection, owner: str, idempotency_key: str) -> Task | None:
        same = select(tasks).where(tasks.c.owner == owner, tasks.c.idempotency_key == idempotency_key)
        row = connection.execute(same).first()
        return None if row is None else line.task_of(row)

    def _cancel(self, connection: Connection, id: str, owner: str | None) -> Task | None:
        row = self._find(connection, id, owner)
        if row is None:
            return None
        task = line.task_of(row)
        if not task.state.is_over:
            self._end(connection, self.clock(), task, State.CANCELLED, {})
        return line.task_of(self._row(connection, id))

    def _row(self, connection: Connection, id: str) -> Row[Any]:
        return connection.execute(select(tasks).where(tasks.c.id == id)).one()

    def _find(self, connection: Connection, id: str, owner: str | None) -> Row[Any] | None:
        query = select(tasks).where(tasks.c.id == id, tasks.c.deleted.is_(None))
        return connection.execute(query if owner is None else query.where(tasks.c.owner == owner)).first()

    def _held(self, connection: Connection, claim: Claim) -> Row[Any]:
        row = connection.execute(select(tasks).where(tasks.c.id == claim.task.id)).first()
        if row is None or row.state != State.RUNNING.value or row.lease != claim.lease:
            raise LeaseError(f"task {claim.task.id} is no longer this worker's")
        return row

    def _put_back(self, connection: Connection, now: float, row: Row[Any], values: dict[str, Any]) -> None:
        back = {"lease": None, "worker": None, "expires": None, "progress": 0.0, **values}
        line.change(connection, now, line.task_of(row), State.PENDING, back)
        self._make_room(connection, now, row.owner)

    def _end(self, connection: Connection, now: float, task: Task, state: State, values: dict[str, Any]) -> None:
        if state is State.SUCCEEDED:
            tier = self._tier(connection, task.owner, now)
            cost = self.tariff.cost(task.kind, values["seconds"], tier)
            cost = ledger.settle(connection, now, task.owner, task.id, cost)
        else:
            cost = 0
            ledger.refund(connection, now, task.owner, task.id)
        over = {"ended": now, "cost": cost, "lease": None, "worker": None, "expires": None, **values}
        line.change(connection, now, task, state, over)
        self._make_room(connection, now, task.owner)

    def _make_room(self, connection: Connection, now: float, owner: str) -> None:
        line.make_room(connection, now, owner, self.tariff.tier(self._tier(connection, owner, now)))


def open_store(data: Path, database: str | None = None, tariff: Path | None = None) -> Store:
    """The store of a data folder: `jobs.sqlite` in it, or the database of that URL. Raises InputError."""
    told = load_tariff() if tariff is None else load_tariff(tariff)
    return Store(database or sqlite_url(data / "jobs.sqlite"), told)
