"""The tables of the service, and the one way to read and to write them: SQLite by default, PostgreSQL by URL.

Whoever writes is alone: what a writing transaction has read is still true when it commits, and events are
numbered in the order they happened. SQLite has it so anyway; PostgreSQL is asked for it by one lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from runtime.errors import InputError
from runtime.missing import missing

VERSION = 1  # of these tables
BUSY_S = 60  # how long a writer waits for the ones before it
_ONLY_ADDED = "lines of the ledger are only added"
_WRITERS = 0x756E6465  # the lock of all who write, in PostgreSQL

metadata = MetaData()

about = Table("about", metadata, Column("version", Integer, nullable=False))

accounts = Table(
    "accounts",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("turn", Double, nullable=False, default=0.0),  # seconds of work served, see Store.claim
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("digest", Text, nullable=False),  # SHA-256 of the whole secret; the secret itself is nowhere
    Column("created", Double, nullable=False),
    Column("revoked", Double),
)

tasks = Table(
    "tasks",
    metadata,
    Column("place", Integer, primary_key=True),  # in the line
    Column("id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("order", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("progress", Double, nullable=False, default=0.0),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    Column("deleted", Double),
    Column("attempts", Integer, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),  # attempts that failed by themselves
    Column("losses", Integer, nullable=False, default=0),  # attempts whose worker vanished
    Column("failure", Text),
    Column("failure_code", Text),
    Column("outputs", Text, nullable=False, default="[]"),  # JSON
    Column("cost", Integer, nullable=False),
    Column("webhook", Text),
    Column("idempotency_key", Text),
    Column("lease", Text),
    Column("worker", Text),
    Column("expires", Double),  # the lease
    UniqueConstraint("owner", "idempotency_key"),
    Index("tasks_of", "owner", "place"),
    Index("tasks_in_line", "owner", "state", "place"),
    Index("tasks_by_state", "state", "expires"),
    Index("tasks_begun", "owner", "started"),
    Index("tasks_created", "owner", "created"),
    sqlite_autoincrement=True,
)

reads = Table(  # which uploads a task reads
    "reads",
    metadata,
    Column("task", Text, primary_key=True),
    Column("upload", Text, primary_key=True),
    Index("reads_of", "upload"),
)

events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("time", Double, nullable=False),
    Column("task", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress", Double, nullable=False),
    Index("events_of", "owner", "number"),
    Index("events_at", "time"),
    sqlite_autoincrement=True,
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("n_bytes", Integer),
    Column("created", Double, nullable=False),
    Index("uploads_at", "created"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("time", Double, nullable=False),
    Column("owner", Text, nullable=False),
    Column("task", Text),
    Column("step", Text, nullable=False),
    Column("closes", Integer, nullable=False),  # 0: grant or reserve, 1: settle or refund
    Column("amount", Integer, nullable=False),
    Column("balance", Integer, nullable=False),  # of the owner, after this line
    UniqueConstraint("task", "closes"),  # a task is reserved for once, and closed once
    CheckConstraint("step in ('grant', 'reserve', 'settle', 'refund')"),
    CheckConstraint("closes = case when step in ('settle', 'refund') then 1 else 0 end"),
    Index("ledger_of", "owner", "number"),
    sqlite_autoincrement=True,
)

for what in ("update", "delete"):
    said = f"create trigger ledger_no_{what} before {what} on ledger begin select raise(abort, '{_ONLY_ADDED}'); end"
    event.listen(ledger, "after_create", DDL(said).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]
for said in (
    f"create or replace function only_added() returns trigger language plpgsql as $$ begin raise '{_ONLY_ADDED}'; end $$",
    "create trigger ledger_only_added before update or delete on ledger execute function only_added()",
):
    event.listen(ledger, "after_create", DDL(said).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task", Text, nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("due", Double),  # None: done, or given up
    Index("deliveries_due", "due"),
    sqlite_autoincrement=True,
)


class AwayError(Exception):
    """The database does not answer, or its disk is full: what was begun is undone, and may go well another time."""


class Database:
    """One per process; safe to use from several threads, never across a fork. Whoever uses it may raise AwayError."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)
        try:
            with self.writing() as connection:
                metadata.create_all(connection)
                found = connection.execute(select(about.c.version)).scalar()
                if found is None:
                    connection.execute(insert(about).values(version=VERSION))
        except DBAPIError as error:
            raise InputError(self._told(error)) from error
        except AwayError as error:
            raise InputError(str(error)) from error
        if found not in (None, VERSION):
            raise InputError(f"{self.name} has tables of version {found}; wanted {VERSION}")

    @property
    def name(self) -> str:
        """What messages call it: without a password."""
        url = make_url(self.url)
        return str(url.database) if url.drivername.startswith("sqlite") else url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._here(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Alone among writers until the block ends; an exception undoes all of it."""
        with self._here(), self._engine.connect().execution_options(alone=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def _here(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise AwayError(self._told(error)) from error

    def _told(self, error: DBAPIError) -> str:
        return f"{self.name} cannot be used as a database ({' '.join(str(error.orig).split())})"

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def in_words() -> Iterator[None]:
    """For commands, which do not wait for a database that is away: raises InputError."""
    try:
        yield
    except AwayError as error:
        raise InputError(f"{error}; wanted it mended, and this command again") from error


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InputError(f"{url!r} is no database; wanted a URL like postgresql://user@host/name") from error
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(url)
    if parsed.get_backend_name() != "postgresql":
        raise InputError(f"{parsed.get_backend_name()} is no database we know; wanted sqlite or postgresql")
    try:
        engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except (ImportError, NoSuchModuleError) as error:
        raise missing("PostgreSQL", "psycopg") from error

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("alone"):
            connection.execute(text(f"select pg_advisory_xact_lock({_WRITERS})"))

    return engine


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def connect(raw: object, _: ConnectionPoolEntry) -> None:
        raw.isolation_level = None  # type: ignore[attr-defined]  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):  # a commit outlives a power cut
            raw.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        alone = connection.get_execution_options().get("alone")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if alone else "BEGIN")

    return engine
