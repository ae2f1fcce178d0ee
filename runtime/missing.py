"""What brings a package that is missing, for the end of a sentence: "… is not installed; wanted make diffusion".

Whoever runs this has a checkout, so it is a word of the Makefile. Packages that no word brings are named themselves.
"""

from __future__ import annotations

from runtime.errors import InputError

WORDS = {
    "make setup": ("espeakng-loader", "matplotlib", "pocketsphinx", "psycopg", "python-osc", "ray", "scikit-image"),
    "make diffusion": ("diffusers", "onnx", "onnxruntime", "onnxscript", "safetensors", "torch"),
    "make tensorrt": ("tensorrt-rtx-cu13",),
    "make wan-animate": ("accelerate", "ftfy", "transformers"),
}


def brought_by(package: str) -> str:
    """What to type for a package, named as registries name it."""
    return next((word for word, names in WORDS.items() if package in names), f"pip install {package}")


def missing(what: str, *packages: str) -> InputError:
    """The error of something that needs packages which are not installed."""
    wanted = ", ".join(dict.fromkeys(map(brought_by, packages)))
    are = "is" if len(packages) == 1 else "are"
    return InputError(f"{what} needs {' and '.join(packages)}, which {are} not installed; wanted {wanted}")
