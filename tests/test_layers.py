"""Imports point one way, nothing is a drawer for the rest, and nothing heavy happens at import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("runtime", "perfcap", "calibration", "synth", "audio", "server")  # each may import those before it
DRAWERS = {"utils", "util", "common", "base", "helpers", "misc"}
# Loaded when first used: seconds of start-up, or a library that an installation may lack.
NEVER_AT_IMPORT = {
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "mediapipe",
    "matplotlib",
    "skimage",
    "tensorrt",
    "tensorrt_rtx",
    "onnx",
    "onnxruntime",
    "onnxscript",
}


def _modules() -> dict[str, Path]:
    """Every module of ours by its import name."""
    found = {}
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(path: Path) -> Iterator[str]:
    """The top-level names a file imports anywhere, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} line {node.lineno} imports relatively; wanted the full name"
            assert node.module is not None
            yield node.module.split(".")[0]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_its_layer_and_below(name: str) -> None:
    own = LAYERS.index(name.split(".")[0])
    above = {layer for layer in _imports(MODULES[name]) if layer in LAYERS and LAYERS.index(layer) > own}
    assert not above, f"{name} imports from above: {sorted(above)}"
    outside = {"tests", "benchmarks"} & set(_imports(MODULES[name]))
    assert not outside, f"{name} imports {sorted(outside)}"


def test_records_import_nothing_of_ours() -> None:
    assert not set(LAYERS) & set(_imports(ROOT / "runtime" / "records.py"))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_named_after_what_it_does(name: str) -> None:
    assert not DRAWERS & set(name.split(".")), f"{name} is a drawer for the rest"


# Training scripts run by hand on machines that have what they need; they may say so in their first lines.
# So may the files that are torch modules themselves, which their users import when they first need one.
OF_TORCH = {
    *(f"synth.diffusion.{name}" for name in ("model", "scheduler", "pipeline", "detail", "together")),
    *(f"synth.diffusion.{name}" for name in ("step", "engines", "view")),
    "synth.device",
    "synth.wan_animate.pipeline",
}
IMPORTED = [n for n in MODULES if ".training" not in n and not n.endswith("__main__") and n not in OF_TORCH]


def test_importing_any_module_loads_nothing_heavy() -> None:
    """One process for all: the first module that pulls something heavy in is named, the rest after a clean-up."""
    script = f"""
import importlib, sys
for name in {IMPORTED!r}:
    importlib.import_module(name)
    loaded = {NEVER_AT_IMPORT!r} & set(sys.modules)
    if loaded:
        sys.exit(name + " loads " + ", ".join(sorted(loaded)))
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_importing_leaves_no_trace_on_the_disk(tmp_path: Path) -> None:
    script = f"""
import importlib
for name in {IMPORTED!r}:
    importlib.import_module(name)
"""
    env = {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert not list(tmp_path.iterdir())
    assert not ran.stdout
