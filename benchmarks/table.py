"""What a benchmark hands back: rows of figures and what was wanted of them; as text and as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Target:
    """What a figure should be: at least `low`, at most `high`."""

    low: float = -np.inf
    high: float = np.inf

    def __str__(self) -> str:
        if np.isinf(self.high):
            return f"≥ {self.low:g}"
        if np.isinf(self.low):
            return f"≤ {self.high:g}"
        return f"{self.low:g} to {self.high:g}"

    def met(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Row:
    label: str
    values: Mapping[str, float]  # by column; one that was not measured is left out


@dataclass(frozen=True)
class Table:
    name: str  # as in `--only NAME`
    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    targets: Mapping[str, Target] = field(default_factory=dict)
    with_mean: bool = False

    @property
    def mean(self) -> Row:
        """Of each column over the rows that have it."""
        known = {c: [r.values[c] for r in self.rows if c in r.values] for c in self.columns}
        return Row("mean", {c: float(np.nanmean(v)) for c, v in known.items() if v})

    def cells(self) -> list[list[str]]:
        """Heading, rows, mean, and what was wanted."""
        rows = [*self.rows, *([self.mean] if self.with_mean else [])]
        lines = [["", *self.columns], *([r.label, *(figure(r.values.get(c)) for c in self.columns)] for r in rows)]
        if self.targets:
            lines.append(["wanted", *(str(self.targets[c]) if c in self.targets else "" for c in self.columns)])
        return lines

    def text(self) -> str:
        cells = self.cells()
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        lines = [
            "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
            for line in cells
        ]
        return "\n".join([self.title, *lines])

    def markdown(self) -> str:
        heading, *lines = self.cells()
        rule = ["---", *("---:" for _ in self.columns)]
        return "\n".join("| " + " | ".join(line) + " |" for line in (heading, rule, *lines))


def figure(value: float | None) -> str:
    """As few digits as tell it: .987, 12.3, 346."""
    if value is None:
        return ""
    if np.isnan(value):
        return "–"
    size = abs(value)
    return (
        f"{value:.0f}"
        if size >= 100 or float(value).is_integer()
        else f"{value:.1f}"
        if size >= 10
        else f"{value:.2f}"
        if size >= 1
        else f"{value:.3f}"
    )


def machine() -> str:
    """What the figures were measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{cores} CPU cores ({model}), {platform.system()}, Python {platform.python_version()}"
