"""One step of the network as exporters and engines take it: fixed shapes, its memory as tensors with names.

Importing this file loads torch and diffusers.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from runtime.engine import Engine, EngineError, Spec
from synth.diffusion import model
from synth.diffusion.model import N_GUIDE, N_REFERENCE, PATCH, RGB, FaceUNet, FrameOutput

OPSET = 20  # of ONNX: what every runtime of the last two years reads


class Network(Protocol):
    """What a pipeline asks at every step: the network itself, or what stands in its place."""

    def __call__(
        self, noisy: Tensor, time: Tensor, guide: Tensor, references: Tensor, memory: tuple[Tensor, ...]
    ) -> FrameOutput: ...


@dataclass(frozen=True)
class Shapes:
    """What an engine is made for."""

    side: int  # px of the square around a face
    streams: int = 1  # painted at once
    frames: int = 1  # of each, one after another
    references: int = 1  # pictures that are attended to

    def __str__(self) -> str:
        return f"{self.side}-{self.streams}x{self.frames}-{self.references}"

    def inputs(self, unet: FaceUNet) -> dict[str, Spec]:
        S, B, T, C = self.side, self.streams, self.frames, unet.config.widths[-1]
        kind = str(unet.dtype).removeprefix("torch.")
        n_places = self.references * (S // unet.multiple) ** 2
        memory = {f"memory_{i}": Spec(shape, kind) for i, shape in enumerate(self._memory(unet))}
        return {
            "noisy": Spec((B, T, 3, S, S), kind), "time": Spec((B,), kind),
            "guide": Spec((B, T, N_GUIDE, S, S), kind),
            "references": Spec((len(unet.attend), 2, B, n_places, C), kind), **memory,
        }  # fmt: skip

    def outputs(self, unet: FaceUNet) -> dict[str, Spec]:
        kind = str(unet.dtype).removeprefix("torch.")
        left = {f"left_{i}": Spec(shape, kind) for i, shape in enumerate(self._memory(unet))}
        return {"frame": Spec((self.streams, self.frames, 3, self.side, self.side), kind), **left}

    @classmethod
    def of(cls, inputs: Mapping[str, Spec], unet: FaceUNet) -> Shapes:
        """Those that an engine with such inputs was made for."""
        B, T, _, S, _ = inputs["noisy"].shape
        return cls(S, B, T, inputs["references"].shape[3] // (S // unet.multiple) ** 2)

    def _memory(self, unet: FaceUNet) -> list[tuple[int, ...]]:
        coarser = ((width, self.side // PATCH >> i + 1) for i, width in enumerate(unet.config.widths[1:]))
        return [(self.streams, model.PAST, width, s, s) for width, s in coarser]


def named(
    noisy: Tensor, time: Tensor, guide: Tensor, references: Tensor, memory: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    """What the network is given, as an engine is."""
    remembered = {f"memory_{i}": each for i, each in enumerate(memory)}
    return {"noisy": noisy, "time": time, "guide": guide, "references": references, **remembered}


def output(made: Mapping[str, Tensor]) -> FrameOutput:
    """What an engine answers, as the network does."""
    return FrameOutput(frame=made["frame"], memory=tuple(made[f"left_{i}"] for i in range(len(made) - 1)))


class Overheard:
    """A network, and what it was asked, of those calls whose number is wanted."""

    def __init__(self, network: Network, wanted: Callable[[int], bool] = lambda number: True) -> None:
        self._network, self._wanted, self._n = network, wanted, 0
        self.calls: list[dict[str, Tensor]] = []

    def __call__(
        self, noisy: Tensor, time: Tensor, guide: Tensor, references: Tensor, memory: tuple[Tensor, ...]
    ) -> FrameOutput:
        if self._wanted(self._n):
            self.calls.append(named(noisy, time, guide, references, memory))
        self._n += 1
        return self._network(noisy, time, guide, references, memory)


class Asked:
    """An engine, called as the network is."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(
        self, noisy: Tensor, time: Tensor, guide: Tensor, references: Tensor, memory: tuple[Tensor, ...]
    ) -> FrameOutput:
        made = ask(self._engine, named(noisy, time, guide, references, memory))
        return output({name: x.to(noisy.dtype) for name, x in made.items()})


class Step(nn.Module):  # type: ignore[misc]
    """The network, its tensors in a row as `Shapes` names them."""

    def __init__(self, unet: FaceUNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, noisy: Tensor, time: Tensor, guide: Tensor, references: Tensor, *memory: Tensor
    ) -> tuple[Tensor, ...]:
        out = self.unet(noisy, time, guide, references, memory)
        return (out.frame, *out.memory)

    def by_name(
        self, noisy: Tensor, time: Tensor, guide: Tensor, references: Tensor, **memory: Tensor
    ) -> dict[str, Tensor]:
        remembered = (memory[f"memory_{i}"] for i in range(len(memory)))
        frame, *left = self(noisy, time, guide, references, *remembered)
        return {"frame": frame, **{f"left_{i}": each for i, each in enumerate(left)}}


@torch.no_grad()  # type: ignore[untyped-decorator]
def by_chance(unet: FaceUNet, shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Tensors of chance that a network can be given."""
    draw = torch.Generator().manual_seed(seed)
    S = shapes.side

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw).to(unet.device, unet.dtype)

    guide = normal(shapes.streams, shapes.frames, N_GUIDE, S, S).clamp(-1, 1)
    shown = normal(shapes.streams, shapes.references, N_REFERENCE, S, S).clamp(-1, 1)
    memory = tuple(normal(*spec.shape) for name, spec in shapes.inputs(unet).items() if name.startswith("memory"))
    time = torch.rand(shapes.streams, generator=draw).to(unet.device, unet.dtype)
    noisy = (guide[:, :, RGB] + 0.1 * normal(shapes.streams, shapes.frames, 3, S, S)).clamp(-1, 1)
    return named(noisy, time, guide, unet.encode(shown), memory)


def ask(engine: Engine, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an engine makes of tensors, in its own numbers."""
    return engine({name: x.to(getattr(torch, engine.inputs[name].dtype)) for name, x in tensors.items()})


@torch.no_grad()  # type: ignore[untyped-decorator]
def gap(unet: FaceUNet, engine: Engine, tensors: Mapping[str, Tensor]) -> float:
    """The largest difference between what an engine and what torch make of the same tensors.

    Pictures are -1..1; of what has larger numbers, it is the share of the largest.
    """
    made, wanted = ask(engine, tensors), Step(unet).by_name(**tensors)
    return max(
        float((made[name].float() - x.float()).abs().max()) / max(1.0, float(x.abs().max()))
        for name, x in wanted.items()
    )


class Encoder(nn.Module):  # type: ignore[misc]
    """What frames attend to, from pictures of the character [B, R, N_REFERENCE, S, S]; once a character."""

    def __init__(self, unet: FaceUNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, pictures: Tensor) -> Tensor:
        return self.unet.encode(pictures)


def to_onnx(unet: FaceUNet, shapes: Shapes) -> bytes:
    """The step as an ONNX model in the network's own numbers. Raises EngineError where nothing can be exported."""
    example = {
        name: torch.zeros(spec.shape, dtype=unet.dtype, device=unet.device)
        for name, spec in shapes.inputs(unet).items()
    }
    return _exported(Step(unet), example, list(shapes.outputs(unet)))


def encoder_to_onnx(unet: FaceUNet, shapes: Shapes) -> bytes:
    """The encoder of references likewise."""
    pictures = torch.zeros(1, shapes.references, N_REFERENCE, shapes.side, shapes.side, dtype=unet.dtype)
    return _exported(Encoder(unet), {"pictures": pictures.to(unet.device)}, ["references"])


def _exported(module: nn.Module, example: Mapping[str, Tensor], outputs: list[str]) -> bytes:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise EngineError(f"{error.name} is not installed, which exports networks") from error
    file = io.BytesIO()
    # The one misses torchvision, which nothing here is of; the other tells of what it leaves as it is.
    for name in ("torch.onnx", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program = torch.onnx.export(
            module.eval(), tuple(example.values()), input_names=list(example), output_names=outputs,
            opset_version=OPSET, dynamo=True, external_data=False, verbose=False,
            custom_translation_table={torch.ops.aten.pixel_unshuffle.default: _unshuffled},
        )  # fmt: skip
    assert program is not None
    program.save(file, external_data=False)
    return file.getvalue()


def _unshuffled(x: Any, factor: int) -> Any:
    """pixel_unshuffle for the exporter, whose own is a transposition of six axes: a tenth of a frame's time on a CPU."""
    from onnxscript import opset20 as op

    N, C, H, W = x.shape
    h, w = H // factor, W // factor
    apart = op.Reshape(op.SpaceToDepth(x, blocksize=factor), [N, factor * factor, C, h, w])
    return op.Reshape(op.Transpose(apart, perm=[0, 2, 1, 3, 4]), [N, C * factor * factor, h, w])


def exporter() -> str:
    """What makes ONNX models here; raises EngineError where nothing does."""
    try:
        return f"torch {torch.__version__}, onnxscript {version('onnxscript')}"
    except PackageNotFoundError as error:
        raise EngineError("onnxscript is not installed, which exports networks") from error


def fingerprint(unet: FaceUNet) -> str:
    """SHA-256 of a network's numbers, and of the code that they run in."""
    digest = hashlib.sha256(inspect.getsource(model).encode())
    made_of = {name: value for name, value in unet.config.items() if not name.startswith("_")}  # nor where it lies
    digest.update(json.dumps(made_of, sort_keys=True).encode())
    for name, value in sorted(unet.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
