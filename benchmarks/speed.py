"""How fast whole commands are, from being asked for to the last byte, and what memory they take."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.clips import acted, pictures, square, wide
from benchmarks.command import Ran, run
from benchmarks.table import Row, Table, Target

COLUMNS = (
    "frames/s",
    "wanted",
    "first frame s",
    "peak MB",
    "rig s",
    "survey s",
    "decode s",
    "find s",
    "capture s",
    "render s",
    "encode s",
)
N_TIMES = 2  # twenty seconds


def _row(label: str, ran: Ran, **more: float) -> Row:
    stages = {f"{stage} s": s for stage, s in ran.stages.items() if f"{stage} s" in COLUMNS}
    return Row(label, {"frames/s": ran.fps, "first frame s": ran.first_s, "peak MB": ran.peak_mb, **stages, **more})


def speed(folder: Path) -> list[Table]:
    """Whole commands on clips of twenty seconds; decoding and capture run beside rendering and encoding."""
    small, large = square(folder), wide(folder)
    small_clip, large_clip = acted(small, N_TIMES), acted(large, N_TIMES)
    video, performance = folder / "speed.mp4", folder / "speed.npz"
    rows = [
        _row("act, 512×512", run("act", small, small_clip, video), wanted=40),
        _row("act, 1280×720", run("act", large, large_clip, video), wanted=28),
        _row("capture, 512×512", run("capture", small_clip, performance)),
        _row("capture, 1280×720", run("capture", large_clip, performance)),
    ]
    title = "Speed of whole commands, 600 frames, start-up included; stages run side by side"
    wanted = {"first frame s": Target(high=3), "peak MB": Target(high=1200)}
    return [Table("speed", title, COLUMNS, rows, wanted), _help()]


def _help() -> Table:
    """How soon the command line says what it can do; the middle of five."""
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([Path(sys.executable).with_name("understudy"), "--help"], capture_output=True, check=True)
        took.append(time.perf_counter() - begun)
    return Table(
        "speed", "", ("s",), [Row("understudy --help", {"s": float(np.median(took))})], {"s": Target(high=0.5)}
    )


def memory(folder: Path) -> list[Table]:
    """One minute against ten: memory must not grow, and the picture must not drift. Takes a quarter of an hour."""
    portrait = square(folder)
    rows = []
    for label, n_times in (("1 minute", 6), ("10 minutes", 60)):
        output = folder / "memory.mp4"
        ran = run("act", portrait, acted(portrait, n_times), output)
        shown = {300, 300 * (n_times - 1)}  # the same moment of the second and the last round
        rest = [rgb.astype(np.float32) for i, rgb in enumerate(pictures(output)) if i in shown]
        error = float(((rest[0] - rest[-1]) ** 2).mean())
        psnr = 60.0 if error < 0.065 else 10 * float(np.log10(255**2 / error))
        rows.append(Row(label, {"peak MB": ran.peak_mb, "drift psnr": psnr}))
    grown = rows[1].values["peak MB"] / rows[0].values["peak MB"] - 1
    rows.append(Row("growth", {"peak MB": grown}))
    return [
        Table(
            "memory", "Memory and drift with the length of the clip, 512×512; growth as a share",
            ("peak MB", "drift psnr"), rows, {"drift psnr": Target(low=40)},
        )
    ]  # fmt: skip
