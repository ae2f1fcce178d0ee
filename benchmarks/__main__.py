"""Measure and print; `make bench`.

python -m benchmarks                       # all but the long one
python -m benchmarks --only speed          # one of them; may be given several times
python -m benchmarks --long                # the long clips and the service's trials as well
python -m benchmarks --json                # one line of JSON a table
python -m benchmarks --readme              # write what was measured into README.md too
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.calibration import calibration
from benchmarks.closed_loop import closed_loop
from benchmarks.diffusion import diffusion
from benchmarks.dub import dub_memory, dub_speed, dubbing
from benchmarks.engines import engines
from benchmarks.picture import picture
from benchmarks.reenact import JUDGE, cross_reenactment, self_reenactment
from benchmarks.service import faults_table, scaling_table, soak_table
from benchmarks.speech import speech
from benchmarks.speed import memory, speed
from benchmarks.sync import sync
from benchmarks.table import Table, machine

ALL: dict[str, Callable[[Path], list[Table]]] = {
    "speed": speed,
    "closed-loop": closed_loop,
    "self": self_reenactment,
    "cross": cross_reenactment,
    "calibration": calibration,
    "speech": speech,
    "dub": dubbing,
    "dub-speed": dub_speed,
    "dub-memory": dub_memory,
    "sync": sync,
    "diffusion": diffusion,
    "engines": engines,
    "memory": memory,
    "picture": picture,
    "faults": faults_table,
    "soak": soak_table,
    "scaling": scaling_table,
}
LONG = {"memory", "dub-memory", "faults", "soak", "scaling"}
ASKED_FOR = {"picture"}  # writes into docs/
NEED_SHARED = {"self", "cross", "calibration", "dub"}
README = Path(__file__).parents[1] / "README.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the README claims.")
    parser.add_argument("--only", action="append", choices=ALL, help="which to run; several may be named")
    parser.add_argument("--long", action="store_true", help="the long clips and the service's trials as well")
    parser.add_argument("--json", action="store_true", help="one line of JSON a table")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md")
    parser.add_argument("--keep", type=Path, help="folder for clips and results, kept; else a temporary one")
    arguments = parser.parse_args()
    names = arguments.only or [name for name in ALL if name not in ASKED_FOR and (arguments.long or name not in LONG)]
    if not arguments.json:
        print(machine())
    with TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if name in NEED_SHARED and not JUDGE.exists():
                print(f"{name}: left out, {JUDGE.parents[1]} is not here", file=sys.stderr)
                continue
            tables = ALL[name](folder)
            for table in tables:
                print(_json(table) if arguments.json else f"\n{table.text()}", flush=True)
            if arguments.readme and tables and f"<!-- bench {name} -->" in README.read_text(encoding="utf-8"):
                into_readme(name, tables)


def _json(table: Table) -> str:
    rows = {row.label: dict(row.values) for row in [*table.rows, *([table.mean] if table.with_mean else [])]}
    wanted = {name: str(target) for name, target in table.targets.items()}
    return json.dumps({"name": table.name, "title": table.title, "rows": rows, "wanted": wanted})


def into_readme(name: str, tables: list[Table]) -> None:
    """Put tables between the marks of their name in README.md."""
    begin, end = f"<!-- bench {name} -->", f"<!-- /bench {name} -->"
    text = README.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise ValueError(f"{README.name} has no marks for {name}; wanted {begin} and {end}")
    body = "\n\n".join(f"{table.title}\n\n{table.markdown()}" if table.title else table.markdown() for table in tables)
    stamp = f"Measured {date.today():%Y-%m-%d} on {machine()}."
    fresh = f"{begin}\n{body}\n\n{stamp}\n{end}"
    README.write_text(
        re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: fresh, text, flags=re.S), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
