"""Stores of either database, with a clock that tests move. PostgreSQL is a cluster of the test's own, on a socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from server.jobs.database import sqlite_url
from server.jobs.store import Store
from server.jobs.tariff import Tariff, load_tariff

TARIFF = """
[prices]
act = 5
lip_sync = 2.5
capture = 1
[tiers.local]
priority = 2
metered = false
[tiers.free]
priority = 0
concurrency = 1
daily = 3
waiting = 8
per_minute = 20
credits = 1000
[tiers.paid]
priority = 1
concurrency = 3
credits = 100000
[work]
tries = 3
losses = 4
lease_s = 20
patience_s = 600
cpu_s = 600
memory_mb = 4096
segment_s = 60
upload_days = 1
output_days = 30
event_days = 7
"""


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tariff_file(tmp_path: Path) -> Path:
    path = tmp_path / "tariff.toml"
    path.write_text(TARIFF)
    return path


@pytest.fixture
def tariff(tariff_file: Path) -> Tariff:
    return load_tariff(tariff_file)


def _postgres_programs() -> Path | None:
    found = shutil.which("postgres")
    homes = [Path(found).resolve().parent] if found else []
    homes += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((home for home in homes if (home / "initdb").exists() and (home / "postgres").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a server that lives as long as the tests."""
    pytest.importorskip("psycopg", reason="PostgreSQL needs psycopg; make setup brings it")
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server on this machine")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = None
    if os.getuid() == 0:  # which PostgreSQL refuses to run as
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        shutil.chown(folder, user)
    data = folder / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "--no-sync"],
        user=user, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    command = [
        str(programs / "postgres"),
        "-D",
        str(data),
        "-k",
        str(folder),
        "-c",
        "listen_addresses=",
        "-c",
        "fsync=off",
    ]
    log = (folder / "log").open("wb")
    server = subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log)
    try:
        _await(lambda: (folder / ".s.PGSQL.5432").exists() and _answers(f"postgresql://tester@/postgres?host={folder}"))
        yield f"postgresql://tester@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGQUIT)  # which waits neither for clients nor for what nobody will read again
        server.wait(30)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            return connection.execute(text("select 1")).scalar() == 1
    except Exception:  # it is still starting
        return False
    finally:
        engine.dispose()


def _await(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "PostgreSQL did not come up"
        time.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "jobs.sqlite")
    base: str = request.getfixturevalue("postgres")
    name = f"t{abs(hash(tmp_path))}"
    admin = create_engine(base.replace("postgresql://", "postgresql+psycopg://"))
    with admin.begin() as connection:
        connection.execute(text(f"create schema {name}"))  # as good as a database, and made in no time
    admin.dispose()
    return f"{base}&options=-csearch_path%3D{name}"


@pytest.fixture
def store(url: str, tariff: Tariff, clock: Clock) -> Iterator[Store]:
    store = Store(url, tariff, clock)
    yield store
    store.close()
