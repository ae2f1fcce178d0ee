"""The line that tasks wait in: who has room, and whose turn it is.

All of it works inside a writing transaction of the store, on what that has read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, select, update

from server.jobs.database import accounts, deliveries, events, tasks
from server.jobs.records import WAITING, Code, State, Task
from server.jobs.tariff import Tariff, Tier

DAY_S = 86_400.0


def task_of(row: Row[Any]) -> Task:
    return Task(
        id=row.id, owner=row.owner, kind=row.kind, state=State(row.state), order=row.order, seconds=row.seconds,
        progress=row.progress, created=row.created, started=row.started, ended=row.ended, attempts=row.attempts,
        failure=row.failure, failure_code=None if row.failure_code is None else Code(row.failure_code),
        outputs=tuple(json.loads(row.outputs)), cost=row.cost, webhook=row.webhook,
    )  # fmt: skip


def change(connection: Connection, now: float, task: Task, state: State, values: Mapping[str, Any]) -> None:
    """A task's new state, the event that tells of it, and the webhook that is owed once it is over."""
    connection.execute(update(tasks).where(tasks.c.id == task.id).values(state=state.value, **values))
    tell(connection, now, task.id, task.owner, state, values.get("progress", task.progress))
    if state.is_over and task.webhook is not None:
        connection.execute(insert(deliveries).values(task=task.id, url=task.webhook, due=now))


def tell(connection: Connection, now: float, task: str, owner: str, state: State, progress: float) -> None:
    connection.execute(
        insert(events).values(time=now, task=task, owner=owner, state=state.value, progress=progress)
    )  # fmt: skip


def running(connection: Connection, owner: str) -> int:
    return _count(connection, owner, tasks.c.state == State.RUNNING.value)


def waiting(connection: Connection, owner: str) -> int:
    """Tasks that are not over."""
    return _count(connection, owner, tasks.c.state.in_([s.value for s in (*WAITING, State.RUNNING)]))


def begun(connection: Connection, owner: str, since: float) -> int:
    """Tasks first taken up since then."""
    return _count(connection, owner, tasks.c.started > since)


def submitted(connection: Connection, owner: str, since: float) -> int:
    return _count(connection, owner, tasks.c.created > since)


def _count(connection: Connection, owner: str, condition: Any) -> int:
    query = select(func.count()).select_from(tasks).where(tasks.c.owner == owner, condition)
    return int(connection.execute(query).scalar_one())


def make_room(connection: Connection, now: float, owner: str, tier: Tier) -> None:
    """The first in an owner's line are PENDING, as many as the tier has room for; the others are THROTTLED."""
    room = _room(connection, now, owner, tier)
    pending, throttled = (
        select(tasks).where(tasks.c.owner == owner, tasks.c.state == state.value).order_by(tasks.c.place)
        for state in (State.PENDING, State.THROTTLED)
    )
    if room is None:
        first = list(connection.execute(throttled))
    else:
        line = [*connection.execute(pending), *connection.execute(throttled.limit(room))]  # never many more than room
        line.sort(key=lambda row: row.place)
        first = [row for row in line[:room] if row.state == State.THROTTLED.value]
        for row in line[room:]:
            if row.state == State.PENDING.value:
                change(connection, now, task_of(row), State.THROTTLED, {})
    for row in first:
        change(connection, now, task_of(row), State.PENDING, {})


def _room(connection: Connection, now: float, owner: str, tier: Tier) -> int | None:
    """How many more of an owner's tasks may be taken up; None is any number."""
    rooms = []
    if tier.concurrency is not None:
        rooms.append(tier.concurrency - running(connection, owner))
    if tier.daily is not None:
        again = and_(tasks.c.started > now - DAY_S, tasks.c.state.in_([state.value for state in WAITING]))
        rooms.append(tier.daily - begun(connection, owner, now - DAY_S) + _count(connection, owner, again))
    return max(0, min(rooms)) if rooms else None


def join_line(connection: Connection, owner: str) -> None:
    """Who was away is not owed the turns they did not want: they come back beside whoever is served least."""
    if waiting(connection, owner):
        return
    in_line = select(accounts.c.turn).where(
        select(tasks.c.id).where(tasks.c.owner == accounts.c.owner, tasks.c.state == State.PENDING.value).exists()
    )
    least = connection.execute(select(func.min(in_line.subquery().c.turn))).scalar()
    if least is not None:
        here = update(accounts).where(accounts.c.owner == owner, accounts.c.turn < least)
        connection.execute(here.values(turn=least))


def next_in_line(connection: Connection, now: float, tariff: Tariff) -> Row[Any] | None:
    """The task whose turn it is: of the highest tier that waits, the owner who was served least.

    What has waited for long counts as of the highest tier, so that none starves. An owner's `turn` grows by
    the seconds of each task that is taken up (start-time fair queueing, Goyal et al. 1996), so those who send
    long clips wait as those who send many.
    """
    first = select(func.min(tasks.c.place)).where(tasks.c.owner == accounts.c.owner, tasks.c.state == "PENDING")
    line = select(accounts.c.owner, accounts.c.tier, accounts.c.turn, first.scalar_subquery().label("place")).subquery()
    candidates = list(
        connection.execute(
            select(line.c.tier, line.c.turn, *tasks.c).join(tasks, tasks.c.place == line.c.place)
        )
    )  # fmt: skip
    if not candidates:
        return None
    top = max(tier.priority for tier in tariff.tiers.values())

    def rank(row: Row[Any]) -> tuple[int, float, int]:
        is_old = now - row.created > tariff.work.patience_s
        return -(top if is_old else tariff.tier(row.tier).priority), row.turn, row.place

    chosen = min(candidates, key=rank)
    served = update(accounts).where(accounts.c.owner == chosen.owner)
    connection.execute(served.values(turn=accounts.c.turn + max(1.0, chosen.seconds)))
    return chosen
