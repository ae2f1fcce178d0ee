"""The fault trial of benchmarks/service.py, small: killed at random, nothing is lost and nothing charged twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.service import Faults, Load, faults, tariff
from tests.server.jobs.test_pool import SERVER

LOAD = Load("act", '[["work", 0.6]]', 1.0, lambda path: path.read_text() == "whole")


@pytest.mark.slow
def test_what_is_killed_at_random_loses_nothing_and_charges_nothing_twice(tmp_path: Path) -> None:
    tariff(tmp_path, tries=1000, losses=1000, lease_s=3)
    line = (sys.executable, "-c", SERVER, str(tmp_path))
    result = faults(tmp_path, 8, LOAD, line, (0.2, 1.5), seed=3)
    print(result)
    assert result.killed.total() == 8
    assert len(result.killed) >= 2
    assert result == Faults(
        killed=result.killed, tasks=result.tasks, lost=0, failed=0, broken=0, double=0, wrong=0, off=0,
        begun=result.begun,
    )  # fmt: skip
