"""The tasks' figures are lines that Prometheus reads."""

from __future__ import annotations

import re
from pathlib import Path

from server.jobs.database import sqlite_url
from server.jobs.metrics import task_metrics
from server.jobs.records import Submission
from server.jobs.store import Store
from tests.server.jobs.conftest import Clock

LINE = re.compile(r'(# TYPE \w+ (gauge|counter)|\w+(\{\w+="\w+"(,\w+="\w+")*\})? [\d.]+)\Z')


def test_every_line_is_one_that_prometheus_reads(tmp_path: Path, clock: Clock) -> None:
    store = Store(sqlite_url(tmp_path / "jobs.sqlite"), clock=clock)
    for _ in range(2):
        store.submit(Submission(owner="local", kind="act", order="{}", seconds=1.0))
    assert store.claim("w") is not None
    clock.now += 5
    text = task_metrics(store)
    assert text.endswith("\n")
    assert all(LINE.match(line) for line in text.splitlines())
    assert 'understudy_tasks{kind="act",state="running"} 1' in text
    assert 'understudy_tasks{kind="act",state="pending"} 1' in text
    assert 'understudy_tasks{kind="capture",state="failed"} 0' in text
    assert "understudy_task_attempts_total 1" in text
    assert "understudy_task_oldest_wait_seconds 5.000" in text
