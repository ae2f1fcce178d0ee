"""What of a written performance comes back from the pixels: both portraits of the demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.table import Row, Table
from perfcap.written import demonstration
from server.demo import ADMIRAL, ASTRONAUT, film_and_capture


def closed_loop(folder: Path) -> list[Table]:
    """Pearson r of every curve, and how many degrees the head is off."""
    rows = []
    for label, portrait in (("astronaut", ASTRONAUT), ("admiral (hat, glasses)", ADMIRAL)):
        curves = film_and_capture(portrait, demonstration()).agreement()
        heads = [c for name, c in curves.items() if name.startswith("head")]
        off = float(np.sqrt(sum(((c.written - c.captured) ** 2).mean() for c in heads)))
        rows.append(Row(label, {**{name: curve.r for name, curve in curves.items()}, "head off, deg": off}))
    columns = tuple(rows[0].values)
    return [Table("closed-loop", "Written, rendered and captured again: Pearson r of each curve", columns, rows)]
