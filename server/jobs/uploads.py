"""What clients send to be worked on. A client's name for a file is kept to be shown; where it lies is ours to say."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from server.jobs.database import Database, reads, uploads
from server.jobs.records import Upload

_SUFFIX = re.compile(r"\.[a-z0-9]{1,12}\Z")


class Uploads:
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def announce(self, owner: str, name: str, id: str | None = None) -> Upload:
        """A place for a file that is about to come: a folder of its own, of whose name only the suffix is the client's.

        With the `id` of one that is here already, that one: so a request that is made again finds its files.
        """
        again = id is not None
        id = id or str(uuid.uuid4())
        suffix = _SUFFIX.search(PurePosixPath(name.replace("\\", "/")).suffix.lower())
        upload = Upload(
            id=id, owner=owner, name=name, path=f"uploads/{id}/upload{suffix[0] if suffix else ''}", n_bytes=None,
            created=self._clock(),
        )  # fmt: skip
        with self._database.writing() as connection:
            there = self.of(connection, uploads.c.id == id) if again else []
            if there:
                return there[0]
            connection.execute(
                insert(uploads).values(id=id, owner=owner, name=name, path=upload.path, created=upload.created)
            )
        return upload

    def received(self, id: str, n_bytes: int) -> Upload | None:
        """The file is in its place; None where it was not announced or is forgotten."""
        with self._database.writing() as connection:
            connection.execute(update(uploads).where(uploads.c.id == id).values(n_bytes=n_bytes))
        return self.get(id)

    def forget(self, id: str) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(reads).where(reads.c.upload == id))
            connection.execute(delete(uploads).where(uploads.c.id == id))

    def of(self, connection: Connection, *conditions: ColumnElement[bool]) -> list[Upload]:
        """Those that fulfil the conditions, oldest first."""
        query = select(uploads).where(*conditions).order_by(uploads.c.created)
        return [_upload(row) for row in connection.execute(query)]

    def get(self, id: str) -> Upload | None:
        with self._database.reading() as connection:
            row = connection.execute(select(uploads).where(uploads.c.id == id)).first()
        return None if row is None else _upload(row)


def _upload(row: Row[Any]) -> Upload:
    return Upload(
        id=row.id, owner=row.owner, name=row.name, path=row.path, n_bytes=row.n_bytes, created=row.created
    )  # fmt: skip
