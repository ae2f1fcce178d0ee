"""Figures in Prometheus' text format: counts, levels and histograms (exposition format 0.0.4)."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping

EDGES_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.066, 0.1, 0.2, 0.5, 1.0)


class Histogram:
    """How long something took, in bins; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bins = [0] * (len(EDGES_S) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        with self._lock:
            self._bins[bisect_left(EDGES_S, seconds)] += 1
            self._sum += seconds

    def lines(self, name: str, label: str) -> list[str]:
        """`name_bucket`, `name_sum` and `name_count`; `label` like `stage="decode"`."""
        with self._lock:
            bins, total = list(self._bins), self._sum
        out, n = [], 0
        for edge, count in zip((*map(str, EDGES_S), "+Inf"), bins, strict=True):
            n += count
            out.append(f'{name}_bucket{{{label},le="{edge}"}} {n}')
        return [*out, f"{name}_sum{{{label}}} {total:.6f}", f"{name}_count{{{label}}} {n}"]


def exposition(
    counts: Mapping[str, int], levels: Mapping[str, float], stages: Mapping[str, Histogram], prefix: str
) -> str:
    """Everything as one text; counts end in `_total`, stages become one histogram with a label."""
    lines: list[str] = []
    for name, count in counts.items():
        lines += [f"# TYPE {prefix}_{name}_total counter", f"{prefix}_{name}_total {count}"]
    for name, level in levels.items():
        lines += [f"# TYPE {prefix}_{name} gauge", f"{prefix}_{name} {level:g}"]
    lines += _stages(stages.items(), f"{prefix}_stage_seconds")
    return "\n".join([*lines, ""])


def _stages(stages: Iterable[tuple[str, Histogram]], name: str) -> list[str]:
    lines = [f"# TYPE {name} histogram"]
    for stage, histogram in stages:
        lines += histogram.lines(name, f'stage="{stage}"')
    return lines
