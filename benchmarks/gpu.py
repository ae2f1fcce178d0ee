"""A day with a GPU: make people, train base and turbo on them, measure. `make gpu ARGS="--asset ict_face.npz"`

    python -m benchmarks.gpu --asset ict_face.npz -o out/gpu --minutes 9

Everything goes on where it was stopped, so a machine that is lent for minutes at a time loses seconds. People are
made by all cores while the network learns from those there are already. What is worth keeping is small and lies in
OUT: base/ and turbo/ (weights, curve, sheets), figures.json and sheets/. People lie beside it, in OUT-people.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.diffusion import quality, speed
from benchmarks.engines import engines
from benchmarks.table import Table, machine
from synth.diffusion.renderer import PACKAGED

SLICE_MIN = 2.5  # of training, after which people made meanwhile are taken in
ENGINES_S = 2.0  # for each figure of the engines
ROWS_A_PART = 3000  # of each of the processes that make people
FIRST_ROWS_S = 45  # seconds given to the first people before training begins


@dataclass(frozen=True)
class Plan:
    """What one run is to do with its minutes."""

    asset: Path
    output: Path
    minutes: float
    device: str
    cores: int
    landmarks: Path | None = None  # how wrong MediaPipe's are, as a folder of people has it; else each part measures
    side: int = 512  # of the square around a face
    window: int = 192  # px around mouth or eyes that are made of it: what is elsewhere is left to the warp
    base_share: float = 0.7  # of the time for training; the rest is turbo's
    bench_min: float = 2.0  # kept for measuring

    @property
    def people(self) -> Path:
        return self.output.with_name(self.output.name + "-people")


def make_people(plan: Plan) -> list[subprocess.Popen[bytes]]:
    """Processes that make people; each has a part of its own, which it goes on with."""
    line = [
        sys.executable, "-m", "synth.training.people", "--asset", str(plan.asset), "--n", str(ROWS_A_PART),
        "--side", str(plan.side), "--window", str(plan.window), "--frames", "3", "--shard", "24", "--per-person", "6",
    ]  # fmt: skip
    one_thread = {**os.environ, **{f"{lib}_NUM_THREADS": "1" for lib in ("OMP", "MKL", "OPENBLAS", "NUMBA")}}
    started = []
    for k in range(plan.cores):
        part = plan.people / f"part-{k:02d}"
        part.mkdir(parents=True, exist_ok=True)
        if plan.landmarks is not None:
            shutil.copyfile(plan.landmarks, part / "landmarks.npz")
        with (part / "log").open("ab") as log:
            more = ["-o", str(part), "--seed", str(1000 + k)]
            started.append(subprocess.Popen([*line, *more], env=one_thread, stdout=log, stderr=log))
    return started


def train(plan: Plan, kind: str, until: float, more: Sequence[str]) -> bool:
    """Slices of one training until a time; says whether it is done."""
    run = plan.output / kind
    on_gpu = plan.device != "cpu"
    while time.monotonic() < until:
        minutes = min(SLICE_MIN, (until - time.monotonic()) / 60)
        line = [
            sys.executable, "-m", "server.cli", "train", kind, str(plan.people), "-o", str(run), "--device", plan.device,
            "--minutes", f"{minutes:.2f}", "--every", "1000", "--precision", "bfloat16" if on_gpu else "float32",
            "--batch", "48" if on_gpu else "2", "--json", "--window", str(plan.window * 2 // 3 // 16 * 16),
            "--hue", "warp", "--nearest", "0.5", "--still", "0.2", *more,
        ]  # fmt: skip
        ran = subprocess.run(line, capture_output=True, text=True, check=False)
        print(ran.stdout, ran.stderr, sep="", flush=True)
        if ran.returncode:
            raise SystemExit(f"train {kind} failed with {ran.returncode}")
        if "goes on from here" not in ran.stdout:
            return True
    return False


def measure(plan: Plan) -> None:
    """Speed of the engines, scores and speed of the networks there are, into figures.json."""
    figures = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def told(tables: Sequence[Table]) -> None:
            for table in tables:
                print(f"\n{table.text()}", flush=True)
                rows = {
                    row.label: dict(row.values) for row in [*table.rows, *([table.mean] if table.with_mean else [])]
                }
                figures.append({"title": table.title, "machine": machine(), "rows": rows})
            (plan.output / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")

        told(engines(folder, ENGINES_S))
        for kind in ("base", "turbo"):
            weights = plan.output / kind
            if (weights / "model_index.json").exists():
                told([*quality(folder, weights, plan.output / "sheets", 60), *speed(folder, weights)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--asset", type=Path, required=True, help="ict_face.npz, or ICT-FaceKit's folder of OBJ files")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/gpu"), help="folder that is kept")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything; run again to go on")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cores", type=int, default=max(1, (os.cpu_count() or 1) - 2), help="that make people")
    parser.add_argument("--steps", type=int, default=40_000, help="of the base network; turbo takes a fifth")
    parser.add_argument("--fresh", action="store_true", help="begin from nothing, not from the packaged weights")
    parser.add_argument("--landmarks", type=Path, help="landmarks.npz of people made before: a minute less")
    given = parser.parse_args()
    plan = Plan(
        asset=given.asset, output=given.output, minutes=given.minutes, device=given.device, cores=given.cores,
        landmarks=given.landmarks,
    )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends as well
    begun = time.monotonic()
    plan.output.mkdir(parents=True, exist_ok=True)
    making = make_people(plan)
    try:
        while not list(plan.people.rglob("shard-*.npy")):
            late = time.monotonic() > begun + 60 * (plan.minutes - plan.bench_min)
            if late or all(process.poll() is not None for process in making):
                raise SystemExit(f"no people were made; {plan.people}/part-00/log says why")
            time.sleep(1)
        if time.monotonic() - begun < FIRST_ROWS_S and len(list(plan.people.rglob("shard-*.npy"))) < 2 * plan.cores:
            time.sleep(min(FIRST_ROWS_S, 0.1 * 60 * plan.minutes))
        left = 60 * (plan.minutes - plan.bench_min) - (time.monotonic() - begun)
        base_until = time.monotonic() + plan.base_share * left
        begin = [] if given.fresh or not (PACKAGED / "base").exists() else ["--weights", "base"]
        of_base = ["--steps", str(given.steps), "--side", str(plan.side), "--elsewhere", "0", *begin]
        train(plan, "base", base_until, of_base)
        teacher = ["--teacher", str(plan.output / "base"), "--steps", str(max(1, given.steps // 5))]
        train(plan, "turbo", begun + 60 * (plan.minutes - plan.bench_min), teacher)
    finally:
        for process in making:
            process.terminate()
    measure(plan)


if __name__ == "__main__":
    main()
