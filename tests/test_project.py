"""The house as a whole: what stands at the top, how large files are, and that weights are what the books say."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

from benchmarks.luggage import TRAVELS, pins

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FOLDERS = {"perfcap", "synth", "audio", "runtime", "server", "calibration", "tests", "docs", "benchmarks"}
FILES = {"pyproject.toml", "constraints.txt", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"}
IGNORED = {"out", "build", "dist", "__pycache__", "understudy.egg-info"}  # as in .gitignore
LARGEST_BYTES = 16 * 2**20


def _files() -> list[Path]:
    inside = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*")]
    top = [ROOT / name for name in FILES]
    return [p for p in inside + top if p.is_file() and "__pycache__" not in p.parts]


def test_the_top_level_is_what_the_design_says() -> None:
    there = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")} - IGNORED
    assert there == FOLDERS | FILES


def test_no_file_is_over_16_mb() -> None:
    large = [f"{p.relative_to(ROOT)}: {p.stat().st_size} bytes" for p in _files() if p.stat().st_size > LARGEST_BYTES]
    assert not large


def test_every_weights_file_has_its_sha256_in_the_books() -> None:
    text = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    weights = [p for p in _files() if "weights" in p.parts and p.suffix not in {".py", ".md", ".json"}]
    assert weights
    for path in weights:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert digest in text, f"{path.relative_to(ROOT)} is {digest}, which docs/weights.md does not name"
        about = text.split(f"## `{path.relative_to(ROOT).as_posix()}`")[1].split("\n## ")[0]
        assert digest in about
        for told in ("date", "script", "data"):
            assert re.search(rf"^\| {told} \| \S", about, re.MULTILINE), f"{told} of {path.name} is not told"
        assert re.search(r"scor", about, re.IGNORECASE), f"how good {path.name} is is not told"
    for digest in re.findall(r"\b[0-9a-f]{64}\b", text):
        assert any(hashlib.sha256(p.read_bytes()).hexdigest() == digest for p in weights), f"no weights are {digest}"


def test_every_package_is_listed() -> None:
    """Packages are named one by one in pyproject.toml, so a new folder of modules must be added there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    packages = FOLDERS - {"tests", "docs", "benchmarks"}
    there = {".".join(p.parent.relative_to(ROOT).parts) for name in packages for p in (ROOT / name).rglob("*.py")}
    assert there <= listed


def _pins() -> dict[str, list[str]]:
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = re.split(r"[;#]", line)[0].strip().split("==")
            pins.setdefault(name, []).append(version)
    return pins


def test_all_that_the_project_asks_for_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {re.split(r"[<>=!~\[; ]", requirement)[0].lower() for requirement in asked}
    assert names <= set(_pins())


def test_what_a_day_with_a_gpu_takes_along_is_pinned_for_every_python() -> None:
    for python in ("3.10", "3.12"):
        assert sorted(pin.split("==")[0] for pin in pins(python)) == sorted(TRAVELS)


def test_the_pins_that_have_a_reason_stand() -> None:
    pins = _pins()
    assert pins["torch"] == ["2.13.0"]
    assert pins["mediapipe"] == ["0.10.21"]
    assert pins["opencv-contrib-python-headless"] == ["4.11.0.86"]
    assert "opencv-contrib-python" not in pins
    assert all(version.startswith("1.26.") for version in pins["numpy"])


def test_make_ci_and_pre_commit_say_the_same_words() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in ("setup", "demo", "test", "style", "types", "bench", "gpu", "ci", "clean"):
        assert re.search(rf"^{word}:", makefile, re.MULTILINE), f"make {word} is missing"
    assert "make style types test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert all(f"make {word}" in hooks for word in ("style", "types", "test"))


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
