"""diffusers' Wan-Animate pipeline, loaded from a folder and called a segment at a time.

What a segment takes from the one before goes in and comes out as a `Memory`, so the weights are shared, and a take
of any length needs no more memory than one segment. Its frames are those of one call with the whole take.
Importing this file loads torch, diffusers and transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import diffusers
import numpy as np
import torch
import transformers
from diffusers import BitsAndBytesConfig, PipelineQuantizationConfig, WanAnimatePipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from runtime.errors import InputError
from synth.wan_animate.options import Offload, Quantize, WanAnimateOptions

N_TOKENS = 512  # that a prompt is cut or filled up to


@dataclass(frozen=True)
class Memory:
    """What one take remembers from segment to segment."""

    generator: Generator  # where in the seed's noise it is
    last: Tensor | None = None  # [1, 3, overlap, h, w], -1..1, the frames that the next segment begins with


@dataclass(frozen=True)
class Painted:
    pictures: NDArray[np.uint8]  # [T, h, w, 3]
    memory: Memory


class SegmentPipeline(WanAnimatePipeline):  # type: ignore[misc]
    """A call makes one segment; `before` are the frames that it begins with, where it is not the first."""

    before: Tensor | None = None

    def prepare_prev_segment_cond_latents(self, shown: Tensor | None, *, start_frame: int, **how: Any) -> Tensor:
        """As the parent's, whose other arguments are handed on, but for who went before."""
        if self.before is not None:
            shown, start_frame = self.before, 1  # anything but 0: there was something before
        return cast(Tensor, super().prepare_prev_segment_cond_latents(shown, start_frame=start_frame, **how))


class WanAnimate:
    """The weights, ready to paint; remembers no take."""

    def __init__(self, pipeline: SegmentPipeline, prompt: str) -> None:
        pipeline.set_progress_bar_config(disable=True)
        with torch.no_grad():
            self._prompt, _ = pipeline.encode_prompt(
                prompt, do_classifier_free_guidance=False, max_sequence_length=N_TOKENS
            )
        pipeline.register_modules(text_encoder=None, tokenizer=None)  # large, and no longer needed
        self._pipeline = pipeline

    @property
    def face_side(self) -> int:
        """Of the face pictures, px."""
        return int(self._pipeline.transformer.config.motion_encoder_size)

    def begin(self, seed: int) -> Memory:
        """Of a take that has shown nothing yet."""
        return Memory(Generator().manual_seed(seed))

    def paint(
        self,
        reference: NDArray[np.uint8],  # [h, w, 3], sides multiples of 16
        pose: Sequence[NDArray[np.uint8]],  # as many as a segment has, each [h, w, 3]
        face: Sequence[NDArray[np.uint8]],  # as many, each [face_side, face_side, 3]
        memory: Memory,
        options: WanAnimateOptions,
    ) -> Painted:
        """One segment; with a memory, its first `options.overlap` pictures are again those that were last."""
        assert len(pose) == len(face) == options.segment, "a segment is filled up by who asks for it"
        height, width = reference.shape[:2]
        self._pipeline.before = memory.last
        frames: Tensor = self._pipeline(
            image=Image.fromarray(reference), pose_video=_images(pose), face_video=_images(face), height=height,
            width=width, segment_frame_length=options.segment, num_inference_steps=options.steps,
            prev_segment_conditioning_frames=options.overlap, generator=memory.generator, prompt_embeds=self._prompt,
            output_type="pt",
        ).frames  # fmt: skip
        last = frames[:, -options.overlap :].movedim(1, 2) * 2 - 1
        levels = (frames[0].float() * 255).round().to(torch.uint8)
        return Painted(levels.movedim(1, -1).cpu().numpy(), Memory(memory.generator, last))


def load(folder: Path, options: WanAnimateOptions, device: str) -> WanAnimate:
    """Weights in diffusers' form, checked by `synth.wan_animate.weights`. Raises InputError where they cannot be read."""
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()  # progress is told by who renders
    precision = torch.float32 if device == "cpu" else torch.bfloat16
    try:
        pipeline: SegmentPipeline = SegmentPipeline.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, quantization_config=_quantization(options.quantize),
            dtype={"default": precision, "vae": torch.float32},
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, ImportError, TypeError, KeyError) as error:  # whatever a part says
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{folder} cannot be read ({reason}); wanted Wan-Animate's weights as diffusers saves them"
        ) from error
    if options.quantize == "fp8":
        pipeline.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=precision)
    place(pipeline, options.offload, device)
    return WanAnimate(pipeline, options.prompt)


def place(pipeline: SegmentPipeline, offload: Offload, device: str) -> None:
    """Put the models where they compute, or let them come there when their turn is."""
    if offload == "none":
        pipeline.to(device)
    elif offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_group_offload(
            torch.device(device), offload_type="leaf_level", use_stream=torch.device(device).type == "cuda"
        )


def _quantization(quantize: Quantize) -> Any:
    """Of the two models that are too large otherwise, in the forms that their libraries want."""
    if quantize in ("none", "fp8"):
        return None
    how: dict[str, Any] = {"load_in_8bit": True}
    if quantize == "nf4":
        how = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16}
    mapping = {"transformer": BitsAndBytesConfig(**how), "text_encoder": transformers.BitsAndBytesConfig(**how)}
    return PipelineQuantizationConfig(quant_mapping=mapping)


def _images(pictures: Sequence[NDArray[np.uint8]]) -> list[Image.Image]:
    return [Image.fromarray(picture) for picture in pictures]
