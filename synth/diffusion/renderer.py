"""The studio-quality renderer: the warp's picture, painted over where a network knows better.

A stage, Cue in, Shot out: cues are held until a chunk of them is there. Outside the square around the face the
picture is the warp's to the last bit. What a stream remembers is of constant size and lies here; the network is
shared. torch and diffusers load when a network is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from runtime.engine import ENGINES, Wanted
from runtime.engine_cache import SUFFIX
from runtime.errors import InputError
from runtime.missing import missing
from runtime.records import Cue, Shot
from synth.camera import VirtualCamera
from synth.diffusion.guide import Crop, references
from synth.rig import Character
from synth.warp import WarpRenderer

if TYPE_CHECKING:
    from synth.diffusion.model import FaceUNet
    from synth.diffusion.pipeline import GuidePipeline

PACKAGED = Path(__file__).parent / "weights"  # a folder a network: base, turbo
MOST_REFERENCES = 4
CLOSE = 1.25  # a face so many times the network's side is a close-up


@dataclass(frozen=True, kw_only=True)
class DiffusionOptions:
    steps: int | None = None  # along the bridge; None takes the weights' own
    chunk: int = 1  # frames painted together, so delay is chunk / fps; a GPU likes 8
    seed: int = 0  # of the bridge's noise

    def __post_init__(self) -> None:
        if self.steps is not None and not 1 <= self.steps <= 100:
            raise ValueError(f"steps is {self.steps}, wanted 1 to 100")
        if self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}, wanted 1 or more")


def find_weights(name: str | None) -> Path:
    """The folder of packaged weights by their name, base without one, or any folder that training wrote."""
    folder = PACKAGED / (name or "base")
    if (folder / "model_index.json").exists():
        return folder
    if name is None:
        raise InputError(
            "no weights of the diffusion renderer are packaged; wanted --weights FOLDER, as understudy train writes"
        )
    if not (Path(name) / "model_index.json").exists():
        raise InputError(f"{name} holds no weights; wanted a folder that understudy train wrote, with model_index.json")
    return Path(name)


def engine_named(text: str | None) -> Wanted | Path:
    """`auto`, as without a name, one of ENGINES, or a file that understudy export wrote; raises InputError."""
    for known in get_args(Wanted):
        if (text or "auto") == known:
            return cast(Wanted, known)
    path = Path(text or "")
    if path.suffix.lower() not in (".onnx", SUFFIX):
        raise InputError(f"--engine is {text!r}; wanted auto, {', '.join(ENGINES)}, or an exported .onnx or {SUFFIX}")
    if not path.is_file():
        raise InputError(f"{path} does not exist; wanted what understudy export wrote")
    return path


def load_network(
    folder: Path, device: str | None = None, engine: Wanted | Path | None = None, streams: int = 1
) -> GuidePipeline:
    """A saved network, ready to paint, on the best device without a name of one; run as it is, or by an engine.

    An engine is made ready for so many streams that come together.
    Raises InputError where there is none that can be read.
    """
    try:
        import torch

        from synth.diffusion.model import FaceUNet
        from synth.diffusion.pipeline import GuidePipeline
        from synth.diffusion.scheduler import BridgeScheduler
    except ImportError as error:
        raise missing("the diffusion renderer", error.name or "diffusers") from error
    from safetensors import SafetensorError

    try:  # part by part: a pipeline's own index may name any class of any module, and pickles
        unet = FaceUNet.from_pretrained(
            folder / "unet", local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
        )
        scheduler = BridgeScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # RuntimeError: of shapes that differ
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder} cannot be read ({reason}); wanted weights that understudy train wrote") from error
    pipeline: GuidePipeline = GuidePipeline(unet, scheduler)
    pipeline.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    pipeline.unet.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    pipeline.unet.eval()
    if engine is not None:
        from synth.diffusion.engines import run_by

        run_by(pipeline, engine, streams)
    return pipeline


@dataclass(frozen=True)
class _Held:
    cue: Cue
    drawn: Any  # as the easel draws


class DiffusionRenderer:
    """(Character, Cue) -> Shot, the size of the character's picture."""

    def __init__(
        self,
        character: Character,
        pipeline: GuidePipeline,
        options: DiffusionOptions,
        camera: VirtualCamera | None = None,
    ) -> None:
        from synth.diffusion.view import easel_for

        self._warp = WarpRenderer(character, camera)
        self._pipeline, self._options = pipeline, options
        side = pipeline.unet.config.side
        self._easel = easel_for(self._warp, pipeline)
        self._whole = self._easel.view(side)
        shown = references(character, side)[:MOST_REFERENCES]
        self._references = pipeline.references(shown)
        pipeline.ready(side, options.chunk, len(shown))
        close = _close_side(self._whole.crop, pipeline.unet)
        self._close = None if close is None else self._easel.view(close)
        self._held: list[_Held] = []
        self._start()

    def _start(self) -> None:
        o = self._options
        self._memory = self._pipeline.begin(1, self._whole.crop.side, steps=o.steps, seed=o.seed)
        if self._close is not None:
            from synth.diffusion.detail import Detail

            self._detail = Detail(self._pipeline, self._close.crop.side, steps=o.steps, seed=o.seed)

    def told(self) -> list[str]:
        """Who ran the network, for people."""
        return self._pipeline.told()

    def push(self, cue: Cue) -> list[Shot]:
        self._held.append(_Held(cue, self._easel.draw(self._warp.motion_of(cue))))
        return self._paint() if len(self._held) == self._options.chunk else []

    def flush(self) -> list[Shot]:
        shots = self._paint() if self._held else []
        self._start()
        return shots

    def _paint(self) -> list[Shot]:
        held, self._held = self._held, []
        drawn = [h.drawn for h in held]
        view, guide = self._whole, self._whole.guide(drawn)
        frames = self._pipeline(guide, self._references, self._memory)
        self._memory = frames.memory
        pictures = frames.pictures
        if self._close is not None:
            view = self._close
            pictures = self._detail.paint(view.guide(drawn), guide, pictures, self._references)
        return [self._warp.shot(h.cue, view.lay_back(h.drawn, p)) for h, p in zip(held, pictures[0], strict=True)]


def _close_side(crop: Crop, unet: FaceUNet) -> int | None:
    """The picture's own resolution, where that is above the network's side and the network knows it."""
    multiple = unet.multiple
    finest = int(unet.config.finest * crop.side)
    if min(crop.size, finest) < CLOSE * crop.side:
        return None
    return int(min(crop.size, finest) // multiple * multiple)
