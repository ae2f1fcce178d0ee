"""Webhooks that are owed: written down as the task ends, in one transaction with it, until they are delivered."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import select, update

from server.jobs.database import Database, deliveries, tasks
from server.jobs.line import task_of
from server.jobs.records import Delivery


class Deliveries:
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def due(self, limit: int = 20) -> list[Delivery]:
        """What is to be sent now: what was tried least often first, so that one who never answers delays few others."""
        query = (
            select(deliveries.c.id.label("delivery"), deliveries.c.url, deliveries.c.tries, *tasks.c)
            .join(tasks, tasks.c.id == deliveries.c.task)
            .where(deliveries.c.due <= self._clock())
            .order_by(deliveries.c.tries, deliveries.c.due)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [
                Delivery(id=row.delivery, url=row.url, task=task_of(row), tries=row.tries)
                for row in connection.execute(query)
            ]

    def done(self, id: int) -> None:
        """Delivered, or given up."""
        self._set(id, None)

    def again(self, id: int, after_s: float) -> None:
        """It failed; try again later."""
        self._set(id, self._clock() + after_s)

    def _set(self, id: int, due: float | None) -> None:
        with self._database.writing() as connection:
            change = update(deliveries).where(deliveries.c.id == id)
            connection.execute(change.values(due=due, tries=deliveries.c.tries + 1))
