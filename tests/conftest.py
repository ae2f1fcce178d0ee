"""What every test runs under."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as for every command: small matrices wait for a pool of threads


@pytest.fixture(autouse=True)
def usual_priority() -> Iterator[None]:
    """SVT-AV1, which makes some clips here, gives root's process a priority that starves the whole machine."""
    yield
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
