"""Whether a folder holds Wan-Animate's weights and this machine can load them; then, loading them.

The checks take no time; torch, diffusers and transformers load with the weights.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import InputError
from runtime.missing import missing
from synth.wan_animate.options import WanAnimateOptions

if TYPE_CHECKING:
    from synth.wan_animate.pipeline import WanAnimate

NEEDS = ("torch", "diffusers", "transformers", "accelerate", "ftfy")


def check_weights(folder: Path, options: WanAnimateOptions) -> None:
    """Raises InputError for a folder of anything else, and for libraries that are missing.

    What a folder names is loaded, so it may name nothing but parts of the libraries the pipeline is made of.
    """
    try:
        index = json.loads((folder / "model_index.json").read_text())
        kind = index["_class_name"]
        libraries = {part[0] for name, part in index.items() if not name.startswith("_") and part[0] is not None}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"{folder} holds no weights; wanted Wan-Animate's as diffusers saves them, with model_index.json"
        ) from error
    if kind != "WanAnimatePipeline":
        raise InputError(f"{folder} holds a {kind}; wanted a WanAnimatePipeline, like Wan2.2-Animate-14B-Diffusers")
    if strange := libraries - {"diffusers", "transformers"}:
        raise InputError(f"{folder} names parts of {min(strange)}; wanted parts of diffusers and transformers alone")
    needed = {
        **dict.fromkeys(NEEDS, "wan-animate"),
        **({"bitsandbytes": f"--quantize {options.quantize}"} if options.quantize in ("int8", "nf4") else {}),
    }
    for library, what in needed.items():
        if find_spec(library) is None:
            raise missing(what, library)


def load_weights(folder: Path, options: WanAnimateOptions) -> WanAnimate:
    """The model on the best device. Raises InputError for what cannot be read, or not be done without a GPU."""
    check_weights(folder, options)
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and options.offload != "none":
        raise InputError(f"--offload {options.offload} moves weights to a GPU and back, and there is none; wanted none")
    import transformers

    transformers.utils.logging.set_verbosity_error()  # it warns of how it will read pictures
    from synth.wan_animate.pipeline import load

    return load(folder, options, device)
