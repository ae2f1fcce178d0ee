"""What is missing is named with the word of the Makefile that brings it, and that word does bring it."""

from __future__ import annotations

import re
from pathlib import Path

from runtime.missing import WORDS, brought_by, missing

ROOT = Path(__file__).parents[2]
HEADS = {
    "# Only with an extra": None, "# With torch": "make diffusion", "# With TensorRT": "make tensorrt",
    "# With Wan-Animate": "make wan-animate",
}  # fmt: skip


def test_every_word_pins_what_it_is_said_to_bring() -> None:
    pinned: dict[str, str | None] = {}
    word: str | None = "make setup"
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        word = next((w for head, w in HEADS.items() if line.startswith(head)), word)
        if found := re.match(r"([\w-]+)==", line):
            pinned[found[1]] = word
    for brings, names in WORDS.items():
        assert {name: pinned[name] for name in names} == dict.fromkeys(names, brings)


def test_what_no_word_brings_is_named_itself() -> None:
    assert [brought_by(name) for name in ("torch", "pyvirtualcam")] == ["make diffusion", "pip install pyvirtualcam"]


def test_the_error_is_one_sentence() -> None:
    assert str(missing("training", "torch")) == "training needs torch, which is not installed; wanted make diffusion"
    said = str(missing("painting", "torch", "diffusers", "transformers"))
    assert said == (
        "painting needs torch and diffusers and transformers, which are not installed; wanted make diffusion, make wan-animate"
    )


def test_nobody_is_sent_to_a_registry_for_this_project_itself() -> None:
    """The name belongs to another project there."""
    folders = ("runtime", "perfcap", "calibration", "synth", "audio", "server", "benchmarks", "docs")
    told = [ROOT / "README.md", *(p for f in folders for p in (ROOT / f).rglob("*") if p.suffix in (".py", ".md"))]
    assert not [str(path) for path in told if re.search(r"pip install\W+understudy", path.read_text(encoding="utf-8"))]
