"""Who runs the network: torch, ONNX Runtime or TensorRT.

What is wanted is tried first; where it cannot be had, the next is, and one line says why. An engine is made for the
shapes that are asked for, proven to say what torch says, and kept on disk. Importing this file loads torch and
diffusers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from runtime.engine import Engine, EngineError, EngineName, Precision, Wanted
from runtime.engine_cache import SUFFIX, CacheError, Key, cached, engine_folder, read_any
from runtime.engine_onnx import OnnxEngine, provider_for
from runtime.engine_tensorrt import RTX, TensorRTEngine, build, load, module_for
from runtime.engine_torch import TorchEngine
from runtime.engines import gpu_capability, order
from runtime.errors import InputError
from synth.diffusion.model import FaceUNet, FrameOutput
from synth.diffusion.pipeline import GuidePipeline
from synth.diffusion.step import (
    Asked,
    Shapes,
    Step,
    by_chance,
    exporter,
    fingerprint,
    gap,
    to_onnx,
)

TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 1e-2}  # how far an engine may be from torch, of -1..1
FRAMES = (1, 8)  # of a stream, and
STREAMS = (1, 2, 4)  # streams that engines paint at once: other numbers are made up of these
MADE_OF, PRECISION = "understudy.weights", "understudy.precision"  # what an exported model says of itself

_log = logging.getLogger(__name__)


def run_by(pipeline: GuidePipeline, wanted: Wanted | Path, streams: int = 1) -> EngineNetwork:
    """Let an engine, or a model that was exported, do the pipeline's steps; on a GPU in half precision.

    `streams` is how many come together at most. Raises InputError for a model that is not of these weights.
    """
    unet, model = pipeline.unet, fingerprint(pipeline.unet)
    if unet.device.type == "cuda":
        unet.to(torch.float16)
    network = EngineNetwork(unet, model, "torch" if isinstance(wanted, Path) else wanted, streams)
    if isinstance(wanted, Path):
        network.take(wanted)
    pipeline.network, pipeline.ready, pipeline.told = network, network.ready, network.told
    return network


@dataclass(frozen=True)
class _Given:
    """An engine out of a file, and what the file says of it."""

    engine: Engine
    made_of: str | None  # fingerprint of the weights
    precision: str | None


class EngineNetwork:
    """Stands in the network's place in a pipeline and has engines do its work, one for each set of shapes."""

    def __init__(self, unet: FaceUNet, model: str, wanted: Wanted, streams: int = 1) -> None:
        """`model` is the fingerprint that the weights had as they were loaded."""
        self._unet, self._model = unet, model
        self._streams = [n for n in STREAMS if n <= streams]
        self._names = order(wanted, unet.device.type)
        self._precision: Precision = "fp16" if unet.dtype == torch.float16 else "fp32"
        self._engines: dict[Shapes, Engine] = {}
        self._given: str | None = None  # a model that was exported, and what for
        self._making = Lock()

    def take(self, path: Path) -> None:
        """Use a model or an engine that was exported, for the shapes that it was exported for."""
        try:
            given = self._plan(path) if path.suffix.lower() == SUFFIX else self._model_of(path)
        except (OSError, EngineError, CacheError) as error:
            raise InputError(f"{path} cannot be used ({error}); wanted what understudy export wrote") from error
        if given.made_of != self._model:
            raise InputError(f"{path} was not exported from these weights; wanted the ones it was made of")
        engine = given.engine
        engine.told += f" in {given.precision}"
        shapes = Shapes.of(engine.inputs, self._unet)
        self._engines[shapes], self._given = engine, f"{path} is for {shapes}"

    def _model_of(self, path: Path) -> _Given:
        engine = OnnxEngine(path.read_bytes(), self._unet.device.type)
        return _Given(engine, engine.metadata.get(MADE_OF), engine.metadata.get(PRECISION))

    def _plan(self, path: Path) -> _Given:
        kept = read_any(path)
        gpu, (module, wanted) = f"sm_{self._capability()}", kept.key.library.split()
        if kept.key.runs_on != gpu:
            raise EngineError(f"it is for {kept.key.runs_on}, and this GPU is {gpu}")
        if load(module).__version__ != wanted:
            raise EngineError(f"it was built by {module} {wanted}, and here is {load(module).__version__}")
        engine = TensorRTEngine(kept.engine, module, path.with_suffix(".kernels"))
        return _Given(engine, kept.key.model, kept.key.precision)

    def told(self) -> list[str]:
        """Which engines painted, for people."""
        return [f"painted by {who}" for who in sorted({engine.told for engine in self._engines.values()})]

    def ready(self, side: int, frames: int, references: int) -> None:
        """Make the engines for streams that are painted so many frames at once, so that none waits for them later."""
        for n in self._streams:
            for t in {_most(FRAMES, frames), 1}:
                self.prepare(Shapes(side, n, t, references))

    def prepare(self, shapes: Shapes) -> Engine:
        """The engine for these shapes, made if there is none yet."""
        with self._making:
            if self._given is not None and shapes not in self._engines:
                _log.warning("%s and not for %s, which %s does", self._given, shapes, self._names[0])
            while shapes not in self._engines:
                name = self._names[0]
                try:
                    engine = self._make(name, shapes)
                    engine.told += f" in {self._precision}"
                    self._engines[shapes] = engine
                except EngineError as error:
                    if name == "torch":
                        raise
                    self._names.pop(0)
                    _log.warning("%s does not run the network: %s; %s does instead", name, error, self._names[0])
            return self._engines[shapes]

    def __call__(
        self, noisy: Tensor, time: Tensor, guide: Tensor, references: Tensor, memory: tuple[Tensor, ...]
    ) -> FrameOutput:
        B = len(noisy)
        if self._names == ["torch"] and self._given is None and noisy.device.type == "cpu":
            return self._once(noisy, time, guide, references, memory)  # it takes any shapes
        parts, first = [], 0
        while first < B:
            n = _most(self._streams, B - first)
            own = slice(first, first + n)
            given = (noisy[own], time[own], guide[own], references[:, :, own], tuple(x[own] for x in memory))
            parts.append(self._frames(*given))
            first += n
        if len(parts) == 1:
            return parts[0]
        memories = zip(*(part.memory for part in parts), strict=True)
        return FrameOutput(frame=torch.cat([part.frame for part in parts]), memory=tuple(map(torch.cat, memories)))

    def _frames(
        self, noisy: Tensor, time: Tensor, guide: Tensor, references: Tensor, memory: tuple[Tensor, ...]
    ) -> FrameOutput:
        """Of streams in a number that engines are made for."""
        frames, done, T = [], 0, noisy.shape[1]
        while done < T:
            n = _most(FRAMES, T - done)
            part = slice(done, done + n)
            out = self._once(noisy[:, part], time, guide[:, part], references, memory)
            frames.append(out.frame)
            memory, done = out.memory, done + n
        return FrameOutput(frame=frames[0] if len(frames) == 1 else torch.cat(frames, 1), memory=memory)

    def _once(
        self, noisy: Tensor, time: Tensor, guide: Tensor, references: Tensor, memory: tuple[Tensor, ...]
    ) -> FrameOutput:
        B, T, _, S, _ = noisy.shape
        n_references = references.shape[3] // (S // self._unet.multiple) ** 2
        engine = self.prepare(Shapes(S, B, T, n_references))
        return Asked(engine)(noisy, time, guide, references, memory)

    def _make(self, name: EngineName, shapes: Shapes) -> Engine:
        if name == "torch":
            return self._torch(shapes)
        makers = {"compile": self._compiled, "onnx": self._onnx, "tensorrt": self._tensorrt}
        try:
            return makers[name](shapes)
        except EngineError:
            raise
        except Exception as error:  # the libraries' own have no class in common
            raise EngineError(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error

    def _torch(self, shapes: Shapes, *, compiled: bool = False) -> Engine:
        unet = self._unet
        inputs, outputs = shapes.inputs(unet), shapes.outputs(unet)
        return TorchEngine(Step(unet).by_name, unet.device.type, inputs, outputs, compiled=compiled)

    def _compiled(self, shapes: Shapes) -> Engine:
        engine = self._torch(shapes, compiled=True)
        self._prove(engine, shapes)
        return engine

    def _onnx(self, shapes: Shapes) -> Engine:
        device = self._unet.device.type
        provider_for(device)  # before ten seconds go into exporting
        import onnxruntime

        def open_model(model: bytes) -> Engine:
            return OnnxEngine(model, device)

        library = f"onnxruntime {onnxruntime.__version__}"
        key = self._key(shapes, device, "", library)
        return open_model(cached(key, lambda: self._proven(to_onnx(self._unet, shapes), open_model, shapes)))

    def _tensorrt(self, shapes: Shapes) -> Engine:
        capability = self._capability()
        name = module_for(capability)
        gpu = "" if name == RTX else torch.cuda.get_device_name()
        key = self._key(shapes, f"sm_{capability}", gpu, f"{name} {load(name).__version__}")
        kernels = (engine_folder() / key.file).with_suffix(".kernels")

        def open_plan(plan: bytes) -> Engine:
            return TensorRTEngine(plan, name, kernels)

        def made() -> bytes:
            return self._proven(build(to_onnx(self._unet, shapes), name, capability), open_plan, shapes)

        return open_plan(cached(key, made))

    def _capability(self) -> int:
        """Of the GPU that the network is on, like 89; raises EngineError."""
        capability = gpu_capability() if self._unet.device.type == "cuda" else None
        if capability is None:
            raise EngineError("torch has no GPU here")
        return capability

    def _key(self, shapes: Shapes, runs_on: str, gpu: str, library: str) -> Key:
        return Key(
            model=self._model, shapes=str(shapes), precision=self._precision, runs_on=runs_on, gpu=gpu,
            library=library, builder=exporter(),
        )  # fmt: skip

    def _proven(self, built: bytes, open_built: Callable[[bytes], Engine], shapes: Shapes) -> bytes:
        """What was built, if it says what torch says; raises EngineError."""
        self._prove(open_built(built), shapes)
        return built

    def _prove(self, engine: Engine, shapes: Shapes) -> None:
        off = gap(self._unet, engine, by_chance(self._unet, shapes))
        limit = TOLERANCE[self._precision]
        if not off <= limit:
            raise EngineError(f"what it makes differs from torch's by {off:.2g}, wanted {limit:g} at most")
        _log.info("built for %s, %.1e from torch at most", shapes, off)


def _most(sizes: Sequence[int], n: int) -> int:
    """The largest of the sizes that is no larger than n."""
    return max(size for size in sizes if size <= n)
