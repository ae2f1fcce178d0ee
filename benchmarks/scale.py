"""How the service grows, simulated: waiting times and throughput from one machine to 64, and what breaks first.

    python -m benchmarks.scale            # print
    python -m benchmarks.scale --write    # and put the tables into docs/scale.md

A discrete-event simulation of one day, the third of three. What a job takes comes from the speed table of the
README, read at run time; what it costs the database is measured here, on the store itself. A machine is what the
table was measured on: two cores, with or without a GPU that today's stages do not use.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import re
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.table import Row, Table, machine
from server.jobs.database import sqlite_url
from server.jobs.records import Submission
from server.jobs.store import NEWS_S, Store
from server.jobs.tariff import load_tariff

ROOT = Path(__file__).parents[1]
DAY_S = 86_400
N_MEASURED = 600  # frames of each command in the README's table
FPS = 30
MACHINES = (1, 2, 4, 8, 16, 32, 64)
JOBS_A_DAY = (1_000, 10_000, 100_000)
PEAK = 2.0  # the busiest hour against the mean
SHORTEST_S, LONGEST_S = 3.0, 30.0  # of a performance, each length as likely
SHARE_HD = 0.5  # of jobs in 1280×720, the others in 512×512
UP_MB_S, DOWN_MB_S = 0.25, 0.5  # megabytes that a second of video is, as sent and as made
LINK_MB_S = 110.0  # a gigabit, less its overhead


@dataclass(frozen=True)
class Stages:
    """Seconds of one whole command of N_MEASURED frames, from the README."""

    total: float
    first: float  # until the first frame is written
    decode: float
    capture: float
    render: float
    encode: float

    def job_s(self, frames: int, *, render_free: bool = False) -> float:
        """Of one machine. Without rendering, the other stages share the cores, none faster than it is alone."""
        beside = self.total - self.first
        if render_free:
            cores = self.decode + self.capture + self.render + self.encode
            beside = max(self.capture, beside * (cores - self.render) / cores)
        return self.first + beside * frames / N_MEASURED


def measured(readme: Path = ROOT / "README.md") -> dict[str, Stages]:
    """By size, from the table between the marks of `bench speed`."""
    text = readme.read_text(encoding="utf-8")
    found = re.search(r"<!-- bench speed -->(.*?)<!-- /bench speed -->", text, re.S)
    assert found is not None, "the README has no speed table"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines() if "|" in line]
    heading = rows[0]
    out = {}
    for row in rows:
        value = dict(zip(heading, row, strict=True))
        if row[0].startswith("act, "):
            total = N_MEASURED / float(value["frames/s"])
            find, *stages = (float(value[f"{name} s"]) for name in ("find", "decode", "capture", "render", "encode"))
            stages[0] += find  # both go ahead of the capture
            out[row[0].removeprefix("act, ")] = Stages(total, float(value["first frame s"]), *stages)
    return out


@dataclass(frozen=True)
class Writes:
    """Seconds that a job takes of the one who may write."""

    job_s: float  # submitted, claimed and finished
    beat_s: float  # told how far it is, or that it goes on

    def of(self, takes_s: float) -> float:
        return self.job_s + self.beat_s * takes_s / NEWS_S


def writes(n: int = 100) -> Writes:
    """Of the store on this machine's disk, the median of n."""
    jobs, beats = [], []
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        store = Store(sqlite_url(Path(folder) / "jobs.sqlite"), clock=clock)
        for _ in range(n):
            begun = time.perf_counter()
            store.submit(Submission(owner="local", kind="act", order="{}", seconds=1.0))
            claim = store.claim("worker")
            assert claim is not None
            claimed = time.perf_counter()
            clock.now += NEWS_S
            store.heartbeat(claim, 0.5)
            beaten = time.perf_counter()
            store.finish(claim, [], 1.0)
            jobs.append(claimed - begun + time.perf_counter() - beaten)
            beats.append(beaten - claimed)
    return Writes(float(np.median(jobs)), float(np.median(beats)))


@dataclass
class Clock:
    """One that stands still, so that it can be made later at will."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Day:
    """What one day was like."""

    asked: int
    done: int
    busy: float  # share of the machines' time
    waits_s: np.ndarray[tuple[int], np.dtype[np.float64]]  # from submission to being taken up, of each job that was
    writer: float  # share of the time that somebody has to write into the database
    link: float  # share of what the server's link could carry

    @property
    def keeps_up(self) -> bool:
        return self.done > 0.98 * self.asked


def simulate(machines: int, jobs: int, stages: dict[str, Stages], cost: Writes, *, render_free: bool = False) -> Day:
    """Three days of arrivals that rise and fall; the third is counted."""
    dice = random.Random(7)
    end = 3 * DAY_S
    sizes = list(stages.values())
    arrivals = _arrivals(dice, jobs, end)
    free, line = machines, deque[tuple[float, float]]()  # when it was asked for, what it takes
    leaving: list[float] = []
    writer_free = 0.0  # when whoever writes now is done
    waits: list[float] = []
    busy_s, asked, done, written_s, sent_mb = 0.0, 0, 0, 0.0, 0.0
    upcoming = next(arrivals, math.inf)
    while True:
        now = min(upcoming, leaving[0] if leaving else math.inf)
        if now >= end:
            break
        counted = now >= end - DAY_S
        if leaving and leaving[0] == now:
            heapq.heappop(leaving)
            free += 1
            done += counted
        else:
            seconds = dice.uniform(SHORTEST_S, LONGEST_S)
            size = sizes[1] if dice.random() < SHARE_HD else sizes[0]
            takes = size.job_s(round(seconds * FPS), render_free=render_free)
            line.append((now, takes))
            asked += counted
            sent_mb += counted * seconds * (UP_MB_S + DOWN_MB_S)
            written_s += counted * cost.of(takes)
            upcoming = next(arrivals, math.inf)
        while free and line:
            since, takes = line.popleft()
            free -= 1
            beats = (machines - free) / NEWS_S * cost.beat_s  # share of the writer's time that those take who run
            writer_free = max(writer_free, now) + cost.job_s / max(0.01, 1 - beats)
            heapq.heappush(leaving, writer_free + takes)
            if counted:
                waits.append(writer_free - since)
                busy_s += takes
    return Day(
        asked=asked, done=done, busy=min(1.0, busy_s / (machines * DAY_S)), waits_s=np.array(waits), writer=written_s / DAY_S,
        link=sent_mb / DAY_S / LINK_MB_S,
    )  # fmt: skip


def _arrivals(dice: random.Random, jobs: int, end: float) -> Iterator[float]:
    """A Poisson process that rises to PEAK times its mean and falls as far below once a day."""
    most, now = jobs / DAY_S * PEAK, 0.0
    while now < end:
        now += dice.expovariate(most)
        rate = 1 + (PEAK - 1) * math.sin(2 * math.pi * now / DAY_S)
        if dice.random() < rate / PEAK:
            yield now


def tables(cost: Writes, stages: dict[str, Stages]) -> list[Table]:
    out = []
    for jobs in JOBS_A_DAY:
        rows = []
        for n in MACHINES:
            day = simulate(n, jobs, stages, cost)
            gpu = simulate(n, jobs, stages, cost, render_free=True)
            values = {"jobs done": float(day.done), "busy": day.busy, "writing": day.writer, "link": day.link}
            if day.keeps_up:
                values |= {
                    "wait, mean s": float(day.waits_s.mean()),
                    "wait, 95 % s": float(np.quantile(day.waits_s, 0.95)),
                }
            if gpu.keeps_up:
                values["were rendering free, 95 % s"] = float(np.quantile(gpu.waits_s, 0.95))
            rows.append(Row(f"{n} machine{'s' if n > 1 else ''}", values))
        columns = (
            "jobs done",
            "busy",
            "wait, mean s",
            "wait, 95 % s",
            "were rendering free, 95 % s",
            "writing",
            "link",
        )
        out.append(Table("scale", f"{jobs:,} jobs a day; a cell is empty where the line only grows", columns, rows))
    return out


def limits(cost: Writes, stages: dict[str, Stages]) -> Table:
    """Where each resource is used up, if all others had no end."""
    mean_frames = round((SHORTEST_S + LONGEST_S) / 2 * FPS)
    small, large = (stage.job_s(mean_frames) for stage in stages.values())
    job_s = small * (1 - SHARE_HD) + large * SHARE_HD
    mb = (SHORTEST_S + LONGEST_S) / 2 * (UP_MB_S + DOWN_MB_S)
    keep = load_tariff().work.output_days
    a_day = {
        "one machine": DAY_S / job_s / PEAK,
        "64 machines": 64 * DAY_S / job_s / PEAK,
        "one writer in the database": DAY_S / cost.of(job_s) / PEAK,
        "a gigabit link": DAY_S * LINK_MB_S / mb / PEAK,
        f"10 TB of outputs, kept {keep:g} days": 10e6 / (keep * mb * DOWN_MB_S / (UP_MB_S + DOWN_MB_S)),
    }
    rows = [Row(name, {"jobs/day": value}) for name, value in a_day.items()]
    return Table(
        "limits",
        f"What carries how many jobs a day, at {PEAK:g} times the mean in the busiest hour",
        ("jobs/day",),
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    args = parser.parse_args()
    stages = measured()
    cost = writes()
    made = [limits(cost, stages), *tables(cost, stages)]
    told = (
        f"To submit, claim and finish a job takes {cost.job_s * 1000:.1f} ms of the database's one writer, to tell of its "
        f"progress {cost.beat_s * 1000:.1f} ms, once in {NEWS_S:g} s ({machine()})."
    )
    print(told)
    for table in made:
        print(f"\n{table.text()}")
    if args.write:
        page = ROOT / "docs" / "scale.md"
        begin, end = "<!-- bench scale -->", "<!-- /bench scale -->"
        body = "\n\n".join(f"{table.title}\n\n{table.markdown()}" for table in made)
        text = page.read_text(encoding="utf-8")
        assert begin in text
        fresh = f"{begin}\n{told}\n\n{body}\n{end}"
        page.write_text(re.sub(f"{begin}.*?{end}", lambda _: fresh, text, flags=re.S), encoding="utf-8")


if __name__ == "__main__":
    main()
