"""A day with a GPU: measure its engines, then make people and train base and turbo on them. `make gpu ARGS="--asset ict_face.npz"`

    python -m benchmarks.gpu --asset ict_face.npz -o out/gpu --minutes 9

People are made by all cores while the network learns from those there are already. A course of training has as many
steps as its minutes are found to be good for, so it ends as it should; the next day's begins at its weights. What is
done is kept at once, so that whoever is cut off loses two minutes: OUT holds base/ and turbo/ (weights and curve), a
sheet of each and figures.json. `--bring DIR` puts the same into five files, for machines that give back no more. What
a course goes on with, and people, lie beside OUT: OUT-work, OUT-people.

`--rehearse` runs every line of it, tiny, on a CPU. benchmarks/luggage.py packs what a machine without a network lacks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from benchmarks.engines import told
from benchmarks.table import Table, machine
from runtime.image import load_image, save_image
from runtime.output import whole_file
from server.cli import spare_pools
from synth.diffusion.renderer import PACKAGED, load_network
from synth.training.options import TURBO, TrainOptions
from synth.training.shards import Samples

if TYPE_CHECKING:
    from synth.training.diffusion import Run

Kind = Literal["base", "turbo"]

SLICE_MIN = 2.0  # of training, after which people made meanwhile are taken in
TRIAL_S = 8.0  # of training, by which steps are counted out
WARM_STEPS = 5  # of them that are slower than the rest
ENGINES_SHARE = 0.25  # of all the minutes, at most
SCORES_S = 120.0  # for scores on clips, where there are any
SPARE_S = 20.0  # kept for saving, scoring and ending
ROWS_A_PART = 3000  # of each of the processes that make people
FIRST_ROWS_S = 45.0  # seconds given to the first people before training begins
RATE_GOING_ON, REGRESS_GOING_ON = 2e-4, 0.2  # of a course of base that begins at weights


@dataclass(frozen=True)
class Plan:
    """What one run is to do with its minutes."""

    asset: Path
    output: Path
    minutes: float
    device: str
    cores: int
    landmarks: Path | None = None  # how wrong MediaPipe's are, as a folder of people has it; else each part measures
    bring: Path | None = None  # a folder for a few files of all that is worth keeping
    weights: Path | None = None  # to begin at, before those in OUT and packaged ones
    fresh: bool = False  # begin from nothing
    side: int = 512  # of the square around a face
    window: int = 192  # px around mouth or eyes that are made of it: what is elsewhere is left to the warp
    shown: int = 128  # px of those that a step shows
    batch: int = 48  # windows a step
    widths: tuple[int, ...] = TrainOptions.widths  # of a network that begins from nothing
    threads: int | None = None  # of the CPU that the network takes; all without
    frames: int = 3  # of each
    shard: int = 24  # rows a file of people
    per_person: int = 6
    character: Path | None = None  # who is painted for the engines' figures; else the demo's portrait
    engine_s: float = 2.0  # seconds for each of those figures; 0 for none
    rehearsed: bool = False  # the engines' tables too
    base_share: float = 0.7  # of the time for training; the rest is turbo's

    @property
    def people(self) -> Path:
        return self.output.with_name(self.output.name + "-people")

    @property
    def work(self) -> Path:
        return self.output.with_name(self.output.name + "-work")


# People


def make_people(plan: Plan) -> list[subprocess.Popen[bytes]]:
    """Processes that make people; each has a part of its own, which it goes on with."""
    line = [
        sys.executable, "-m", "synth.training.people", "--asset", str(plan.asset), "--n", str(ROWS_A_PART),
        "--side", str(plan.side), "--window", str(plan.window), "--frames", str(plan.frames),
        "--shard", str(plan.shard), "--per-person", str(plan.per_person),
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


def first_people(plan: Plan, making: list[subprocess.Popen[bytes]], until: float) -> None:
    """Wait for enough of them to begin with; raises SystemExit where none come."""
    begun = time.monotonic()
    while (n := len(list(plan.people.rglob("shard-*.npy")))) < 2 * plan.cores:
        waited = time.monotonic() - begun
        if n and waited > min(FIRST_ROWS_S, 6 * plan.minutes):
            return
        if time.monotonic() > until or all(process.poll() is not None for process in making):
            if n:
                return
            said = (plan.people / "part-00" / "log").read_text(encoding="utf-8").strip().splitlines()
            raise SystemExit(f"no people were made: {said[-1] if said else 'not in time'}")
        time.sleep(0.5)


# Training


def course(plan: Plan, kind: Kind, until: float) -> None:
    """One whole training with as many steps as there is time for; a course that was cut off goes on."""
    folder = plan.work / kind
    book = folder / "training" / "options.json"
    if book.exists():
        steps = int(json.loads(book.read_text(encoding="utf-8"))["steps"])
    else:
        _begin_at(plan, kind)
        pace = _pace(plan, kind)
        steps = max(1, int(pace * (until - time.monotonic() - SPARE_S / 4)))
        print(f"{kind}: {pace:.1f} steps of {plan.batch} windows a second, so {steps} steps", flush=True)
    while time.monotonic() < until:
        run = _run(plan, kind, folder, steps, min(SLICE_MIN, (until - time.monotonic()) / 60))
        score = run.fit(lambda *_: None)
        print(f"{kind}: step {run.step} of {steps}: {score}", flush=True)
        keep(plan, kind)
        if run.step == steps:
            shutil.rmtree(folder)  # done: the next one begins at its weights
            return


def _begin_at(plan: Plan, kind: Kind) -> None:
    """Lay aside the weights that a course begins at, which it writes over as it goes."""
    shutil.rmtree(plan.work / f"{kind}-begin", ignore_errors=True)
    earlier = [plan.output / "base"]
    if kind == "base":
        earlier = [*([plan.weights] if plan.weights else []), *earlier, PACKAGED / "base"]
    there = [folder for folder in earlier if (folder / "model_index.json").exists()]
    if kind == "turbo" and not there:
        raise FileNotFoundError(f"{plan.output}/base has no weights to teach with")
    if kind == "turbo" or (there and not plan.fresh):
        shutil.copytree(there[0], plan.work / f"{kind}-begin")


def _run(plan: Plan, kind: Kind, folder: Path, steps: int, minutes: float | None) -> Run:
    from synth.training.diffusion import base_run, turbo_run

    samples, begin = Samples(plan.people), plan.work / f"{kind}-begin"
    options = TrainOptions(
        steps=steps, batch=plan.batch, window=plan.shown, side=plan.side, elsewhere=0.0, nearest=0.5, still=0.2,
        hue="warp", widths=plan.widths, device=plan.device, threads=plan.threads, precision="bfloat16", every=1_000_000,
        minutes=minutes,
    )  # fmt: skip
    if kind == "turbo":
        return turbo_run(samples, folder, replace(options, rate=TURBO.rate), load_network(begin, plan.device))
    if not begin.exists():
        return base_run(samples, folder, options)
    going_on = replace(options, rate=RATE_GOING_ON, regress=REGRESS_GOING_ON)
    return base_run(samples, folder, going_on, load_network(begin, plan.device))


def _pace(plan: Plan, kind: Kind) -> float:
    """Steps a second, tried."""
    at: list[float] = []

    def learned(*_: object) -> None:
        at.append(time.monotonic())
        if len(at) > WARM_STEPS + 1 and at[-1] - at[WARM_STEPS] > TRIAL_S:
            raise InterruptedError("the pace is known")

    with TemporaryDirectory() as folder, suppress(InterruptedError):
        _run(plan, kind, Path(folder), steps=1_000_000, minutes=None).fit(learned)
    return (len(at) - 1 - WARM_STEPS) / (at[-1] - at[WARM_STEPS])


# What is kept


def keep(plan: Plan, kind: Kind) -> None:
    """A network as it is now, with its curve and its last sheet, in OUT; and in one file where few are brought."""
    run, kept = plan.work / kind, plan.output / kind
    told = (run / "training" / name for name in ("options.json", "curve.csv"))
    for path in (run / "model_index.json", *(run / "unet").iterdir(), *(run / "scheduler").iterdir(), *told):
        target = kept / path.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, force=True) as partial:
            shutil.copyfile(path, partial)
    sheet = load_image(max((run / "training").glob("step_*.png")))
    for folder in filter(None, (plan.output, plan.bring)):
        save_image(folder / f"{kind}.jpg", sheet, force=True)
    if plan.bring is not None:
        with whole_file(plan.bring / f"{kind}.tar", force=True) as partial, tarfile.open(partial, "w") as archive:
            archive.add(kept, kind)


class Figures:
    """Tables, printed and kept as they come."""

    def __init__(self, plan: Plan) -> None:
        self._files = [folder / "figures.json" for folder in (plan.output, plan.bring) if folder is not None]
        self._told: list[dict[str, object]] = []

    def add(self, tables: Iterable[Table]) -> None:
        for table in tables:
            print(f"\n{table.text()}", flush=True)
            rows = {row.label: dict(row.values) for row in [*table.rows, *([table.mean] if table.with_mean else [])]}
            self._told.append({"title": table.title, "machine": machine(), "rows": rows})
            for path in self._files:
                path.write_text(json.dumps(self._told, indent=1), encoding="utf-8")


def scored(plan: Plan, until: float) -> Iterable[Table]:
    """How good the networks are on real clips, where there are any, and how fast whole commands."""
    from benchmarks.diffusion import quality, speed

    with TemporaryDirectory() as folder:
        for kind in ("base", "turbo"):
            if (plan.output / kind / "model_index.json").exists() and time.monotonic() < until:
                yield from quality(Path(folder), plan.output / kind, plan.output / "sheets", 60)
                yield from speed(Path(folder), plan.output / kind)


def attempt(what: str, until: float, work: Callable[[], None]) -> bool:
    """One part of the day: where it fails or hangs the rest goes on, and is told of."""
    begun = time.monotonic()

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {time.monotonic() - begun:.0f} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(max(1, round(until - begun)))
    try:
        work()
    except Exception as error:  # whatever it is, minutes on a GPU are not to be lost over it
        traceback.print_exc()
        print(f"{what} failed: {type(error).__name__}: {error}", flush=True)
        return False
    finally:
        signal.alarm(0)
    print(f"{what}: {time.monotonic() - begun:.0f} s", flush=True)
    return True


def day(plan: Plan, begun: float) -> bool:
    """Everything, within the plan's minutes; says whether nothing failed."""
    spare_pools()  # before torch is loaded
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends as well
    for folder in (plan.output, plan.people, plan.work, *([plan.bring] if plan.bring else [])):
        folder.mkdir(parents=True, exist_ok=True)
    clips = find_spec("av") is not None and bool(_drivers())
    end = begun + 60 * plan.minutes - SPARE_S
    trained_by = end - (SCORES_S if clips else 0)
    figures = Figures(plan)
    went = (
        [attempt("engines", begun + ENGINES_SHARE * 60 * plan.minutes, lambda: measured(plan, figures))]
        if plan.engine_s
        else []
    )
    making = make_people(plan)
    try:
        first_people(plan, making, trained_by)
        base_until = time.monotonic() + plan.base_share * (trained_by - time.monotonic())
        went.append(attempt("base", base_until + SPARE_S, lambda: course(plan, "base", base_until)))
        went.append(attempt("turbo", trained_by + SPARE_S, lambda: course(plan, "turbo", trained_by)))
    finally:
        for process in making:
            process.terminate()
    if clips:
        went.append(attempt("scores", end + SPARE_S, lambda: figures.add(scored(plan, end))))
    else:
        print("to be scored where clips are: python -m benchmarks.diffusion --weights base --weights turbo")
    return all(went)


def measured(plan: Plan, figures: Figures) -> None:
    with TemporaryDirectory() as folder:
        figures.add(told(Path(folder), plan.engine_s, plan.character, rehearsed=plan.rehearsed))


def _drivers() -> list[Path]:
    from benchmarks.reenact import drivers

    return drivers()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--asset", type=Path, required=True, help="ict_face.npz, or ICT-FaceKit's folder of OBJ files")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/gpu"), help="folder that is kept")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything; run again to go on")
    parser.add_argument("--cores", type=int, default=max(1, (os.cpu_count() or 1) - 4), help="that make people")
    parser.add_argument("--weights", type=Path, help="a folder of weights to begin at, as an earlier day brought them")
    parser.add_argument("--fresh", action="store_true", help="begin from nothing, not from weights there are")
    parser.add_argument("--landmarks", type=Path, help="landmarks.npz of people made before: a minute less")
    parser.add_argument("--character", type=Path, help="a .character that is painted for the figures, not the demo's")
    parser.add_argument("--engine-seconds", type=float, default=2.0, help="for each figure of the engines; 0 for none")
    parser.add_argument("--bring", type=Path, help="folder for all that is worth keeping, in five files")
    parser.add_argument(
        "--rehearse", action="store_true", help="all of it, tiny, on the CPU: that every line of it runs"
    )
    given = parser.parse_args()
    plan = Plan(
        asset=given.asset, output=given.output, minutes=given.minutes, device="cuda", cores=given.cores,
        landmarks=given.landmarks, character=given.character, bring=given.bring, weights=given.weights, fresh=given.fresh,
        engine_s=given.engine_seconds,
    )  # fmt: skip
    if given.rehearse:
        plan = replace(
            plan, device="cpu", cores=1, side=128, window=64, shown=32, batch=2, widths=(8, 8, 8, 8), threads=1, shard=2,
            per_person=2, rehearsed=True,
        )  # fmt: skip
    sys.exit(0 if day(plan, begun=time.monotonic()) else 1)


if __name__ == "__main__":
    main()
