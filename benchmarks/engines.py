"""The diffusion renderer's engines: speed of a step and of whole frames, floors, starts, and what eight bits cost.

    python -m benchmarks.engines                       # on this machine's GPU, else its CPU; a network of chance
    python -m benchmarks.engines --quality RUN         # what eight bits lose on real clips, with trained weights
    python -m benchmarks.engines --seconds 2           # a short run, to see that it works
    python -m benchmarks.engines --compile             # with torch's compiler beside the others; a minute more
    python -m benchmarks.engines --rehearse            # a GPU's tables, tiny, on the CPU: that every line of them runs

Speed does not depend on the weights. On a GPU the ceilings that the floors are made of are measured in the same run.
Each table is told as soon as it is there, and what fails is told of and does not stop the others. Clips come from
`../shared`, where a checkout has it. With --character nothing is needed to read pictures, clips or faces.
"""

from __future__ import annotations

import argparse
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

import synth.character
from benchmarks.table import Row, Table, Target, machine
from runtime.engine import EngineName
from runtime.records import Cue
from server.cli import spare_pools
from synth.rig import Character

FRAMES_AT_ONCE = 8  # in bulk
PEAK_WANTED = Target(high=4096)  # MB
SESSIONS, SESSION_FPS = 4, 30
EIGHT_WANTED = {"times torch": Target(low=2), "loss dB": Target(high=0.3)}
START_WANTED = {"from cache s": Target(high=2)}
BUILT: tuple[EngineName, ...] = ("onnx", "tensorrt")
STEPS = {"turbo": 1, "base": 4}
N_FITTED, N_JUDGED = 24, 60  # frames of a clip that ranges are measured on, and of each that is judged


@dataclass(frozen=True)
class Stand:
    """Where figures are taken, and of what size."""

    device: str
    side: int = 512
    product: int = 8192  # rows and columns of the matrices that a ceiling is measured with
    copied: int = 2**30  # bytes

    def peak_mb(self) -> dict[str, float]:
        import torch

        return {"peak MB": torch.cuda.max_memory_allocated() / 2**20} if self.device == "cuda" else {}

    def forget_peak(self) -> None:
        import torch

        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def name(self) -> str:
        import torch

        return torch.cuda.get_device_name() if self.device == "cuda" else "a CPU, in rehearsal"


GPU, CPU, REHEARSAL = Stand("cuda"), Stand("cpu"), Stand("cpu", side=64, product=64, copied=2**16)


def engines(folder: Path, seconds: float = 10.0) -> list[Table]:
    """Speed on this machine."""
    return list(told(folder, seconds))


def told(
    folder: Path, seconds: float, character: Path | None = None, *, compiled: bool = False, rehearsed: bool = False
) -> Iterator[Table]:
    """The tables, each as soon as it is there. Where some failed, raises RuntimeError after the others."""
    spare_pools()  # as the command does, before torch is loaded
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    if not torch.cuda.is_available() and not rehearsed:
        yield from (cpu_steps(seconds), starts(CPU))
        return
    stand = REHEARSAL if rehearsed else GPU
    stage = cache(lambda: performing(folder, 300, character))
    tables: dict[str, Callable[[], Table]] = {
        "steps": lambda: gpu_steps(stand, seconds, compiled=compiled),
        "whole frames": lambda: whole_frames(stand, stage(), seconds),
        "sessions": lambda: sessions(stand, stage(), seconds),
        "starts": lambda: starts(stand),
    }
    failed = []
    for what, table in tables.items():
        try:
            yield table()
        except TimeoutError:  # of who waits for all of them
            raise
        except Exception as error:  # minutes on a GPU are not to be lost over one table
            failed.append(f"{what}: {type(error).__name__}: {error}")
    if failed:
        raise RuntimeError("; ".join(failed))


def pipeline_of(kind: str, stand: Stand) -> Any:
    """A pipeline with a network of chance, of the size that ships."""
    import torch

    from synth.diffusion.model import FaceUNet
    from synth.diffusion.pipeline import GuidePipeline
    from synth.diffusion.scheduler import BridgeScheduler

    torch.manual_seed(0)
    unet = FaceUNet(side=stand.side).eval()
    with torch.no_grad():
        for value in unet.parameters():
            if not value.any():
                value.normal_(0, 0.02)
    unet.to(stand.device, memory_format=torch.channels_last)
    return GuidePipeline(unet, BridgeScheduler(STEPS[kind]))


@dataclass(frozen=True)
class Performed:
    """A character, 512×512, and what it does."""

    hero: Character
    cues: list[Cue]  # 30 a second


def performing(folder: Path, n: int, character: Path | None = None) -> Performed:
    """A saved character, else the demo's portrait, in the demo's performance."""
    from perfcap.expression import template
    from perfcap.written import demonstration
    from synth.retarget import Retarget, RetargetOptions

    hero, script = _portrait(folder) if character is None else synth.character.load(character), demonstration()
    retarget = Retarget(hero, template(), [script(Fraction(0))], RetargetOptions())
    moments = [Fraction(i, 30) for i in range(n)]
    return Performed(hero, [Cue(time=t, motion=replace(retarget(script(t % 10)), time=t)) for t in moments])


def _portrait(folder: Path) -> Character:
    from benchmarks.clips import square
    from server.character import load_character

    return load_character(square(folder))


def timed(call: Callable[[], object], seconds: float) -> float:
    """The median time of a call, ms, after three that warm up."""
    import torch

    def finish() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    for _ in range(3):
        call()
    finish()
    took: list[float] = []
    until = time.perf_counter() + seconds
    while len(took) < 5 or time.perf_counter() < until:
        begun = time.perf_counter()
        call()
        finish()
        took.append(1e3 * (time.perf_counter() - begun))
    return float(np.median(took))


# On a CPU


def cpu_steps(seconds: float) -> Table:
    """One step at 512×512, by each engine."""
    import torch

    from calibration.quantize import measure, quantized
    from runtime.engine_onnx import OnnxEngine
    from synth.diffusion.step import Shapes, Step, ask, by_chance, to_onnx

    unet = pipeline_of("turbo", CPU).unet
    shapes = Shapes(512)
    tensors, step = by_chance(unet, shapes), Step(unet)
    model = to_onnx(unet, shapes)
    eight = quantized(model, measure(model, [{name: x.numpy() for name, x in tensors.items()}]), "uint8")
    whole, small = OnnxEngine(model), OnnxEngine(eight)
    with torch.no_grad():
        ms = {
            "torch, fp32": timed(lambda: step.by_name(**tensors), seconds),
            "ONNX Runtime, fp32": timed(lambda: ask(whole, tensors), seconds),
            "ONNX Runtime, int8": timed(lambda: ask(small, tensors), seconds),
        }
    rows = [
        Row(who, {"ms a step": t, "turbo, frames/s": 1e3 / t, "times torch": ms["torch, fp32"] / t})
        for who, t in ms.items()
    ]
    columns = ("ms a step", "turbo, frames/s", "times torch")
    wanted = {"times torch": EIGHT_WANTED["times torch"]}
    return Table("engines", "Engines on a CPU, one step at 512×512; wanted of int8", columns, rows, wanted)


def starts(stand: Stand) -> Table:
    """Until the first step is done, where nothing is kept yet and where everything is."""
    import torch

    from runtime.engines import look
    from synth.diffusion.engines import EngineNetwork
    from synth.diffusion.step import Shapes, by_chance, fingerprint

    on_gpu = stand.device == "cuda"
    unet = pipeline_of("turbo", stand).unet
    model = fingerprint(unet)
    if on_gpu:
        torch.nn.Module.half(unet)
    tensors = by_chance(unet, Shapes(stand.side))
    memory = tuple(x for name, x in tensors.items() if name.startswith("memory"))
    rows = []
    with TemporaryDirectory() as kept, _kept_in(Path(kept)):
        for name in (found.name for found in look() if found.able and found.name in (*BUILT, *["torch"] * on_gpu)):
            took = []
            for _ in range(2):
                begun = time.perf_counter()
                network = EngineNetwork(unet, model, name)
                network(tensors["noisy"], tensors["time"], tensors["guide"], tensors["references"], memory)
                if on_gpu:
                    torch.cuda.synchronize()
                took.append(time.perf_counter() - begun)
            rows.append(
                Row(network.told()[0].removeprefix("painted by "), {"built s": took[0], "from cache s": took[1]})
            )
    return Table(
        "engines", "Start of an engine, its first step included", ("built s", "from cache s"), rows, START_WANTED
    )


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    before = os.environ.get("UNDERSTUDY_ENGINES")
    os.environ["UNDERSTUDY_ENGINES"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["UNDERSTUDY_ENGINES"]
        else:
            os.environ["UNDERSTUDY_ENGINES"] = before


# On a GPU


@dataclass(frozen=True)
class Ceilings:
    """What the GPU does at best, measured."""

    tflops: float  # half precision, of a large product
    gb_s: float  # of a large copy, read and written

    def floor_ms(self, flops: float, n_bytes: float) -> float:
        return 1e3 * max(flops / (self.tflops * 1e12), n_bytes / (self.gb_s * 1e9))


def ceilings(stand: Stand, seconds: float) -> Ceilings:
    import torch

    n = stand.product
    a, b = (torch.randn(n, n, device=stand.device, dtype=torch.float16) for _ in range(2))
    source = torch.empty(stand.copied, device=stand.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    product_ms, copy_ms = timed(lambda: a @ b, seconds / 4), timed(lambda: target.copy_(source), seconds / 4)
    return Ceilings(2 * n**3 / product_ms / 1e9, 2 * source.numel() / copy_ms / 1e6)


def cost(unet: Any, tensors: Mapping[str, Any]) -> tuple[float, float]:
    """FLOPs of a step, and the bytes it cannot but move: each layer's weights, what it reads and what it writes."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from synth.diffusion.step import Step

    moved = 0

    def count(module: Any, given: tuple[Any, ...], made: Any) -> None:
        nonlocal moved
        tensors = (*given, made, *module.parameters(recurse=False))
        moved += sum(x.numel() * x.element_size() for x in tensors)

    hooks = [m.register_forward_hook(count) for m in unet.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        Step(unet).by_name(**tensors)
    for hook in hooks:
        hook.remove()
    return float(counter.get_total_flops()), float(moved)


def gpu_steps(stand: Stand, seconds: float, *, compiled: bool = False) -> Table:
    """One step by each engine that is there, against the floor."""
    import torch

    from runtime.engine_torch import TorchEngine
    from runtime.engines import look
    from synth.diffusion.engines import EngineNetwork
    from synth.diffusion.step import Shapes, Step, ask, by_chance, fingerprint

    best, rows = ceilings(stand, seconds), []
    unet = pipeline_of("turbo", stand).unet
    model = fingerprint(unet)
    torch.nn.Module.half(unet)  # diffusers' own warns of what is meant
    for frames in (1, FRAMES_AT_ONCE):
        shapes = Shapes(stand.side, frames=frames)
        tensors, step = by_chance(unet, shapes), Step(unet)
        floor = best.floor_ms(*cost(unet, tensors)) / frames
        calls: dict[str, Callable[[], object]] = {}
        calls["torch, as it is"] = lambda t=tensors, s=step: s.by_name(**t)  # type: ignore[misc]
        recorded = TorchEngine(step.by_name, stand.device, shapes.inputs(unet), shapes.outputs(unet))
        calls[recorded.told] = lambda t=tensors, e=recorded: e(t)  # type: ignore[misc]
        able: list[EngineName] = [found.name for found in look() if found.able and found.name in BUILT]
        if compiled:
            able.append("compile")
        for name in able:
            made = EngineNetwork(unet, model, name).prepare(shapes)
            calls[made.told] = lambda t=tensors, e=made: ask(e, t)  # type: ignore[misc]
        for who, call in calls.items():
            stand.forget_peak()
            with torch.no_grad():
                ms = timed(call, seconds / 2) / frames
            figures = {"ms a frame": ms, "floor ms": floor, "times floor": ms / floor, "frames/s": 1e3 / ms}
            figures |= stand.peak_mb()
            rows.append(Row(f"{who}, {frames} at once", figures))
    columns = ("ms a frame", "floor ms", "times floor", "frames/s", "peak MB")
    title = (
        f"One step in half precision at {stand.side}×{stand.side} on {stand.name()}; "
        f"ceilings {best.tflops:.0f} TFLOP/s and {best.gb_s:.0f} GB/s"
    )
    return Table("engines", title, columns, rows, {"peak MB": PEAK_WANTED})


def whole_frames(stand: Stand, stage: Performed, seconds: float) -> Table:
    """Guide to picture: the warp, the network, the picture laid back, on the device throughout."""
    from synth.diffusion.engines import run_by
    from synth.diffusion.renderer import DiffusionOptions, DiffusionRenderer

    hero, cues, rows = stage.hero, stage.cues, []
    for kind in STEPS:
        for chunk in (1, FRAMES_AT_ONCE):
            pipeline = pipeline_of(kind, stand)
            run_by(pipeline, "auto")
            renderer = DiffusionRenderer(hero, pipeline, DiffusionOptions(chunk=chunk))
            coming = itertools.cycle(cues)
            for cue in itertools.islice(coming, 2 * chunk):
                renderer.push(cue)
            stand.forget_peak()
            begun, n = time.perf_counter(), 0
            while time.perf_counter() < begun + seconds / 2:
                n += sum(len(renderer.push(cue)) for cue in itertools.islice(coming, chunk))
            fps = n / (time.perf_counter() - begun)
            figures = {"frames/s": fps, "ms a frame": 1e3 / fps, **stand.peak_mb()}
            rows.append(Row(f"{kind}, {chunk} at once", figures))
    title = "Guide to picture, 512×512; wanted of turbo 150 frames/s and a frame alone in 8 ms, of base 50 frames/s"
    return Table("engines", title, ("frames/s", "ms a frame", "peak MB"), rows, {"peak MB": PEAK_WANTED})


def sessions(
    stand: Stand, stage: Performed, seconds: float, n_sessions: int = SESSIONS, fps: int = SESSION_FPS
) -> Table:
    """Live sessions that share one network, each sent so many frames a second."""
    from server.painting import Shared
    from synth.diffusion.engines import run_by
    from synth.diffusion.pipeline import GuidePipeline
    from synth.diffusion.renderer import DiffusionOptions, DiffusionRenderer

    hero, cues = stage.hero, stage.cues
    pipeline = pipeline_of("turbo", stand)
    run_by(pipeline, "auto", n_sessions)
    shared = cast(GuidePipeline, Shared(pipeline))
    renderers = [DiffusionRenderer(hero, shared, DiffusionOptions()) for _ in range(n_sessions)]
    delays: list[list[float]] = [[] for _ in renderers]
    begin = time.perf_counter() + 0.5

    def live(i: int) -> None:
        for k in range(int(seconds * fps)):
            due = begin + k / fps
            now = time.perf_counter()
            if now > due + 1 / fps:
                continue  # dropped, as live drops what it cannot draw in time
            time.sleep(max(0.0, due - now))
            renderers[i].push(cues[k % len(cues)])
            delays[i].append(1e3 * (time.perf_counter() - due))

    threads = [threading.Thread(target=live, args=(i,)) for i in range(n_sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [
        Row(f"session {i + 1}", {
            "frames/s": len(d) / seconds, "p50 ms": float(np.percentile(d, 50)), "p99 ms": float(np.percentile(d, 99)),
        })
        for i, d in enumerate(delays) if d
    ]  # fmt: skip
    title = f"{n_sessions} live sessions at {fps} frames/s, turbo, 512×512"
    return Table("engines", title, ("frames/s", "p50 ms", "p99 ms"), rows, {"frames/s": Target(low=fps - 0.5)})


# What eight bits cost


def quality(weights: Path) -> Table:
    """Psnr in mouths and eyes against the actor's own frames, in single precision and in eight bits.

    The first clip alone fits the ranges; it is judged on frames that were not among them.
    """
    from benchmarks.reenact import drivers
    from calibration.quantize import measure, quantized
    from runtime.engine_onnx import OnnxEngine
    from synth.diffusion.renderer import load_network
    from synth.diffusion.step import Asked, Overheard, Shapes, to_onnx

    pipeline = load_network(weights, "cpu")
    model = to_onnx(pipeline.unet, Shapes(pipeline.unet.config.side))
    eight: Asked | None = None
    rows = []
    for clip in drivers():
        shown = list(_acted(clip, pipeline))
        if eight is None:
            overheard = Overheard(pipeline.unet)
            _painted(pipeline, overheard, shown[:N_FITTED])
            calls = ({name: x.numpy() for name, x in call.items()} for call in overheard.calls)
            eight = Asked(OnnxEngine(quantized(model, measure(model, calls), "uint8")))
            shown = shown[N_FITTED:]
        single, rounded = (_psnr(_painted(pipeline, who, shown), shown) for who in (pipeline.unet, eight))
        rows.append(Row(clip.stem, {"fp32 dB": single, "int8 dB": rounded, "loss dB": single - rounded}))
    return Table(
        "engines", f"Eight bits against the actor's own mouths and eyes, {weights.name}", ("fp32 dB", "int8 dB", "loss dB"),
        rows, {"loss dB": EIGHT_WANTED["loss dB"]}, with_mean=True,
    )  # fmt: skip


@dataclass(frozen=True)
class _Moment:
    guide: Any  # [1, 1, N_GUIDE, S, S]
    references: Any
    truth: Any  # [3, S, S], -1..1


def _acted(clip: Path, pipeline: Any) -> Iterator[_Moment]:
    """A clip's first frames, driving its own first frame."""
    import torch

    from benchmarks.clips import pictures
    from perfcap.expression import template
    from perfcap.face import MediaPipeFaces
    from server.take import TakeOptions, Tally, open_take
    from synth.diffusion.guide import Guides, references
    from synth.retarget import Retarget, RetargetOptions
    from synth.rig import rig
    from synth.warp import WarpRenderer

    first = next(pictures(clip))
    hero = rig(first, MediaPipeFaces(still=True).find(first)[0], template())
    take = open_take(clip, TakeOptions(face="largest"), Tally(), pictures=True)
    retarget = Retarget(hero, take.performer.neutral, take.moments, RetargetOptions())
    warp, side = WarpRenderer(hero), pipeline.unet.config.side
    guides, attended = Guides(warp, side), pipeline.references(references(hero, side)[:1])
    for i, (motion, seen) in enumerate(take.motions):
        if i == N_FITTED + N_JUDGED:
            return
        guide = pipeline.guide([guides.of(warp.draw(retarget(motion)))])
        assert seen is not None
        truth = torch.from_numpy(guides.crop.cut(seen)).movedim(-1, 0).float() / 127.5 - 1
        yield _Moment(guide, attended, truth)


def _painted(pipeline: Any, network: Any, moments: list[_Moment]) -> list[Any]:
    pipeline.network = network
    memory, painted = pipeline.begin(1, pipeline.unet.config.side), []
    for moment in moments:
        frames = pipeline(moment.guide, moment.references, memory)
        memory = frames.memory
        painted.append(frames.pictures[0, 0])
    return painted


def _psnr(painted: list[Any], moments: list[_Moment]) -> float:
    from synth.diffusion.model import EYES, MOUTH

    squares, n = 0.0, 0.0
    for picture, moment in zip(painted, moments, strict=True):
        where = (moment.guide[0, 0, MOUTH] + moment.guide[0, 0, EYES]).clamp(max=1)
        squares += float((where * ((picture - moment.truth) / 2) ** 2).sum())
        n += 3 * float(where.sum())
    return float(-10 * np.log10(squares / n))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description="Engines of the network.")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each figure, about")
    parser.add_argument("--quality", type=Path, action="append", default=[], help="weights to lose; may be repeated")
    parser.add_argument("--character", type=Path, help="a .character that is painted, not the demo's")
    parser.add_argument("--rehearse", action="store_true", help="a GPU's tables, tiny, on the CPU")
    parser.add_argument("--compile", action="store_true", help="torch's compiler too, on a GPU")
    given = parser.parse_args()
    spare_pools()
    print(machine())
    with TemporaryDirectory() as folder:
        tables: Iterable[Table] = (quality(w) for w in given.quality)
        if not given.quality:
            tables = told(
                Path(folder), given.seconds, given.character, compiled=given.compile, rehearsed=given.rehearse
            )
        for table in tables:
            print(f"\n{table.text()}", flush=True)


if __name__ == "__main__":
    main()
