"""A network of the diffusion renderer written for other runtimes, and proven to say what torch says.

What it is tried on, and what eight bits are fitted to, is what the renderer itself asks of the network while a
character performs: every call is the next frame's.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

import numpy as np

from calibration.quantize import Flavour, measure, quantized
from perfcap.written import demonstration
from runtime.engine import PRECISIONS, Engine, EngineError, Precision, Tensor
from runtime.engine_cache import Key, write
from runtime.engine_onnx import OnnxEngine
from runtime.engine_tensorrt import RTX, build, load, module_for
from runtime.errors import InputError
from runtime.image import save_image
from runtime.missing import missing
from runtime.output import check_output, whole_file
from runtime.records import Cue
from server.character import load_character
from server.demo import ASTRONAUT
from server.take import TakeOptions, Tally, open_take
from synth.diffusion.renderer import DiffusionOptions, DiffusionRenderer, find_weights, load_network
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character

if TYPE_CHECKING:
    from synth.diffusion.model import FaceUNet
    from synth.diffusion.pipeline import GuidePipeline

MODELS = ("base", "turbo")
RUNTIMES = ("onnx", "tensorrt")
GPUS = ("sm_86", "sm_89", "sm_120")  # GeForce and RTX of the last generations
FIRST_FP8 = 89  # the oldest compute capability that has it
N_STEPS = {"base": 4, "turbo": 1}  # of a network that was never trained
MOMENTS = 12  # of a performance that an export is tried on
MOST_REFERENCES = 4
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    model: str | None = None  # packaged weights, one of MODELS
    weights: str | None = None  # or the folder of a run
    random_weights: bool = False  # or a network that was never trained: for timing and trying out
    to: str = "onnx"  # one of RUNTIMES
    precision: Precision = "fp32"
    frames: int = 1  # painted at once
    references: int = 1  # pictures of the character that are attended to
    gpus: tuple[str, ...] = ()  # that TensorRT engines are for; none named are those of GPUS that have the precision
    character: Path | None = None  # who performs for eight bits and for proof; None is the demo's portrait
    performance: Path | None = None  # and what; None is the demo's
    force: bool = False  # write over existing files

    def __post_init__(self) -> None:
        if self.model is not None and self.model not in MODELS:
            raise ValueError(f"--model is {self.model!r}; wanted {' or '.join(MODELS)}")
        if self.model is None and self.weights is None:
            raise ValueError("found nothing to export; wanted --model base or turbo, or --weights FOLDER")
        if self.weights is not None and (self.random_weights or self.model is not None):
            raise ValueError("--weights are of one network; wanted neither --model nor --random-weights beside them")
        if self.to not in RUNTIMES:
            raise ValueError(f"--to is {self.to!r}; wanted {' or '.join(RUNTIMES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"--precision is {self.precision!r}; wanted {', '.join(PRECISIONS)}")
        if self.precision == "fp8" and self.to == "onnx":
            raise ValueError("--precision fp8 is for GPUs that have it; wanted --to tensorrt")
        if self.frames < 1:
            raise ValueError(f"--frames is {self.frames}, wanted 1 or more")
        if not 1 <= self.references <= MOST_REFERENCES:
            raise ValueError(f"--references is {self.references}, wanted 1 to {MOST_REFERENCES}")
        if (self.character is None) != (self.performance is None):
            raise ValueError("a character performs a performance; wanted --character and --performance, or neither")
        for gpu in self.gpus:
            if not re.fullmatch(r"sm_\d{2,3}", gpu):
                raise ValueError(f"--gpu is {gpu!r}; wanted a compute capability, like sm_89")
            if not self._fits(gpu):
                raise ValueError(f"--gpu {gpu} computes in no fp8; wanted sm_{FIRST_FP8} or newer")

    @property
    def targets(self) -> tuple[str, ...]:
        """Compute capabilities that TensorRT engines are built for."""
        return self.gpus or tuple(gpu for gpu in GPUS if self._fits(gpu))

    def _fits(self, gpu: str) -> bool:
        return self.precision != "fp8" or int(gpu.removeprefix("sm_")) >= FIRST_FP8


def export(output: Path, options: ExportOptions, progress: Progress) -> Tally:
    """Write the network into a folder; returns how far what was written is from torch."""
    lacking = [name for name in ("torch", "diffusers") if find_spec(name) is None]
    if lacking:
        raise missing("exporting", *lacking)
    try:
        return _Exporting(output, options, progress).run()
    except EngineError as error:
        raise InputError(f"nothing can be exported to {options.to}: {error}") from error


class _Exporting:
    def __init__(self, output: Path, options: ExportOptions, progress: Progress) -> None:
        from synth.diffusion.step import Shapes, fingerprint

        if output.exists() and not output.is_dir():
            raise InputError(f"{output} is a file; wanted the name of a folder to write into")
        self._output, self._options, self._progress = output, options, progress
        self._name, self._pipeline = _network(options)
        self._unet = unet = self._pipeline.unet
        self._shapes = Shapes(unet.config.side, 1, options.frames, options.references)
        self._model = fingerprint(unet)
        self._tally = Tally()

    def run(self) -> Tally:
        from synth.diffusion.step import encoder_to_onnx, to_onnx

        options, tally = self._options, self._tally
        for path in self._paths():
            if path.exists():
                check_output(path, options.force)
        with tally.during("perform"):
            calls = self._performed()
        half = options.precision == "fp16" or (options.to == "tensorrt" and options.precision != "fp32")
        unet = copy.deepcopy(self._unet).half() if half else self._unet
        with tally.during("export"):
            model = to_onnx(unet, self._shapes)
        if options.precision in ("int8", "fp8"):
            with tally.during("quantize"):
                model = self._in_eight_bits(model, calls)
        with tally.during("prove"):
            self._prove(model, calls)
        if options.to == "tensorrt":
            with tally.during("build"):
                self._write_engines(model)
            return tally
        step, encoder = self._paths()
        self._write_onnx(model, step, options.precision)
        with tally.during("export"):
            encoding = encoder_to_onnx(unet, self._shapes)
        self._write_onnx(encoding, encoder, "fp16" if half else "fp32")
        return tally

    def _paths(self) -> list[Path]:
        options = self._options
        if options.to == "onnx":
            names = (f"{self._shapes}-{options.precision}", f"{self._shapes.side}-references-{options.references}")
            return [self._output / f"{self._name}-{name}.onnx" for name in names]
        return [self._output / self._key(gpu).file for gpu in options.targets]

    def _key(self, gpu: str) -> Key:
        """Of an engine for whatever GPU has that capability."""
        from synth.diffusion.step import exporter

        return Key(
            model=self._model, shapes=str(self._shapes), precision=self._options.precision, runs_on=gpu, gpu="",
            library=f"{RTX} {load(module_for(None)).__version__}", builder=exporter(),
        )  # fmt: skip

    def _performed(self) -> list[dict[str, Tensor]]:
        """What the renderer asks of the network during a performance, a call each moment; nothing without a performer.

        Of a network that takes several steps, the moments show one each in turn.
        """
        from synth.diffusion.step import Overheard

        performance = _performance(self._options)
        if performance is None:
            return []
        character, cues = performance
        n_steps = self._pipeline.scheduler.config.steps
        overheard = Overheard(self._unet, lambda n: n % n_steps == n // n_steps % n_steps)
        self._pipeline.network = overheard
        painting = DiffusionRenderer(character, self._pipeline, DiffusionOptions(chunk=self._options.frames))
        for i, cue in enumerate(cues):
            painting.push(cue)
            self._progress(i + 1, len(cues))
        self._pipeline.network = self._unet
        return overheard.calls

    def _in_eight_bits(self, model: bytes, calls: Sequence[Mapping[str, Tensor]]) -> bytes:
        if not calls:
            raise InputError(
                f"--precision {self._options.precision} is fitted to a performance; wanted --character and --performance, "
                "or scikit-image for the demo's"
            )
        kinds = {name: getattr(np, spec.dtype) for name, spec in OnnxEngine(model).inputs.items()}
        ranges = measure(model, ({name: x.numpy().astype(kinds[name]) for name, x in call.items()} for call in calls))
        flavour: Flavour = "uint8" if self._options.to == "onnx" else cast(Flavour, self._options.precision)
        return quantized(model, ranges, flavour)

    def _prove(self, model: bytes, calls: Sequence[Mapping[str, Tensor]]) -> None:
        """Compare the model with torch, on chance and on the performance; raises EngineError where it is another."""
        from synth.diffusion.engines import TOLERANCE
        from synth.diffusion.step import by_chance, gap

        engine, precision = OnnxEngine(model), self._options.precision
        chance = gap(self._unet, engine, by_chance(self._unet, self._shapes))
        real = max((gap(self._unet, engine, call) for call in calls), default=None)
        shown = f", {real:.1e} on {len(calls)} moments of a performance" if real is not None else ""
        self._tally.notes.append(f"differs from torch by {chance:.1e} at most on random inputs{shown}")
        limit, worst = TOLERANCE.get(precision), max(chance, real or 0)
        if limit is not None and not worst <= limit:
            raise EngineError(f"the model differs from torch by {worst:.1e}, wanted {limit:g} at most")
        if calls and limit is None:
            self._tally.notes.append(
                f"is {_likeness(self._unet, engine, calls):.1f} dB psnr from torch in mouths and eyes"
            )

    def _write_onnx(self, model: bytes, path: Path, precision: Precision) -> None:
        import onnx

        from synth.diffusion.engines import MADE_OF, PRECISION

        told = onnx.load_from_string(model)
        onnx.helper.set_model_props(told, {MADE_OF: self._model, PRECISION: precision})
        self._output.mkdir(parents=True, exist_ok=True)
        with whole_file(path, self._options.force) as partial:
            partial.write_bytes(told.SerializeToString())
        self._tally.notes.append(f"wrote {path}")

    def _write_engines(self, model: bytes) -> None:
        for gpu in self._options.targets:
            key = self._key(gpu)
            path = self._output / key.file
            self._output.mkdir(parents=True, exist_ok=True)
            write(path, key, build(model, RTX, int(gpu.removeprefix("sm_"))))
            self._tally.notes.append(f"wrote {path}")


def _network(options: ExportOptions) -> tuple[str, GuidePipeline]:
    """What is exported, on the CPU, and what its files are called."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)  # unlike our own matrices, these are large enough to share
    if not options.random_weights:
        folder = find_weights(options.weights or options.model)
        return folder.resolve().name, load_network(folder, "cpu")
    from synth.diffusion.model import FaceUNet
    from synth.diffusion.pipeline import GuidePipeline
    from synth.diffusion.scheduler import BridgeScheduler

    assert options.model is not None
    torch.manual_seed(0)
    unet: FaceUNet = FaceUNet().eval()
    with torch.no_grad():
        for value in unet.parameters():
            if not value.any():  # what begins at nothing, so that an untrained network is the warp
                value.normal_(0, 0.02)
    return f"random-{options.model}", GuidePipeline(unet, BridgeScheduler(N_STEPS[options.model]))


def _performance(options: ExportOptions) -> tuple[Character, list[Cue]] | None:
    """A character and moments that it performs; without --character the demo's, None where that is not installed."""
    if options.character is not None and options.performance is not None:
        character, cues = _cues(options.character, options.performance)
    elif find_spec("skimage") is None:
        return None
    else:
        with TemporaryDirectory() as folder:
            portrait, performance = Path(folder) / "portrait.png", Path(folder) / "performance.npz"
            save_image(portrait, ASTRONAUT.load())
            demonstration().performance().save(performance)
            character, cues = _cues(portrait, performance)
    own = (character.rgb, character.landmarks)
    more = (*character.references, *[own] * MOST_REFERENCES)[: options.references - 1]
    at = np.linspace(0, len(cues) - 1, MOMENTS * options.frames).round().astype(int)
    return replace(character, references=more), [cues[i] for i in at]


def _cues(character_path: Path, performance_path: Path) -> tuple[Character, list[Cue]]:
    character = load_character(character_path)
    take = open_take(performance_path, TakeOptions(), Tally())
    retarget = Retarget(character, take.performer.neutral, take.moments, RetargetOptions())
    cues = [Cue(time=motion.time, motion=retarget(motion)) for motion, _ in take.motions]
    if not cues:
        raise InputError(f"{performance_path} shows no performance; wanted a video or a captured .npz that does")
    return character, cues


def _likeness(unet: FaceUNet, engine: Engine, calls: Sequence[Mapping[str, Tensor]]) -> float:
    """Psnr of what an engine paints against what torch paints, dB, where mouths and eyes are."""
    import torch

    from synth.diffusion.model import EYES, MOUTH
    from synth.diffusion.step import Step, ask

    squares, n = 0.0, 0.0
    with torch.no_grad():
        for call in calls:
            made, wanted = ask(engine, call)["frame"], Step(unet).by_name(**call)["frame"]
            where = (call["guide"][:, :, MOUTH] + call["guide"][:, :, EYES]).clamp(max=1)
            squares += float((where * ((made - wanted) / 2) ** 2).sum())
            n += 3 * float(where.sum())
    return float(-10 * np.log10(max(squares / n, 1e-12)))
