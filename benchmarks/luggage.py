"""What a day with a GPU needs on a machine that reaches no registry: `python -m benchmarks.luggage --asset ict_face.npz`

    python -m benchmarks.luggage --asset ict_face.npz --python 3.12 --landmarks SAMPLES/landmarks.npz -o out/luggage

Such a machine is taken to have a Python with torch, NumPy, Numba, SciPy, scikit-image, OpenCV's needs, Typer and
pytest, of whatever versions; what of ours it lacks is unpacked from the wheels that constraints.txt names, without
what nobody asks for, into one archive. Beside it lie the 3-D face, a character to paint and the landmarks' errors, so
that nothing there reads pictures or films. Prints what to run. Everything stays on its own side of PYTHONPATH.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TRAVELS = ("diffusers", "importlib-metadata", "zipp", "mediapipe", "protobuf")
MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
LEFT_OUT = re.compile(
    r"mediapipe/(tasks|model_maker|examples)/|mediapipe/modules/(hand|palm|iris|objectron|holistic)\w*/.*\.tflite"
    r"|\.pyi$|/tests?/"
)
LIGHT_MB = 32


def pins(python: str) -> Iterator[str]:
    """NAME==VERSION of what travels, for a Python like 3.12."""
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"[\w.-]+==[^#]*", line):
            pin = Requirement(found[0])
            if pin.name in TRAVELS and (pin.marker is None or pin.marker.evaluate({"python_version": python})):
                yield f"{pin.name}{pin.specifier}"


def fetch(python: str, folder: Path) -> None:
    """The wheels of a Python of that version on Linux."""
    abi = f"cp{python.replace('.', '')}"
    for pin in pins(python):
        line = [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", python,
            "--implementation", "cp", *(word for a in (abi, "abi3", "none") for word in ("--abi", a)),
            *(word for many in MANYLINUX for word in ("--platform", f"{many}_x86_64")), "--dest", str(folder), pin,
        ]  # fmt: skip
        subprocess.run(line, check=True)


def packed(wheels: Path, archive: Path) -> None:
    """All that is wanted of the wheels of a folder, in one archive."""
    with TemporaryDirectory() as temporary:
        site = Path(temporary)
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as files:
                files.extractall(site, [name for name in files.namelist() if not LEFT_OUT.search(name)])
        with tarfile.open(archive, "w:xz", preset=3) as out:
            for path in sorted(site.iterdir()):
                out.add(path, path.name)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.luggage", description=__doc__.split("\n")[0])
    parser.add_argument("--asset", type=Path, required=True, help="ict_face.npz")
    parser.add_argument("--landmarks", type=Path, help="landmarks.npz of people made before: a minute less there")
    parser.add_argument("--weights", type=Path, help="a folder of weights to go on from")
    parser.add_argument("--python", default="3.12", help="of the other machine")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/luggage"))
    given = parser.parse_args()
    from benchmarks.clips import square
    from server.character import save_character

    output: Path = given.output
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary:
        fetch(given.python, Path(temporary))
        packed(Path(temporary), output / "site.tar.xz")
        save_character(square(Path(temporary)), output / "hero.character", [], None, force=True)
    more = ""
    shutil.copyfile(given.asset, output / "ict_face.npz")
    if given.landmarks is not None:
        shutil.copyfile(given.landmarks, output / "landmarks.npz")
        more = f" --landmarks {output}/landmarks.npz"
    if given.weights is not None:
        shutil.copytree(given.weights, output / "base", ignore=shutil.ignore_patterns("state.pt"), dirs_exist_ok=True)
        more += f" --weights {output}/base"
    mb = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 2**20
    print(f"{output}: {mb:.0f} MB{'' if mb <= LIGHT_MB else f', more than the {LIGHT_MB} that were meant'}; there:\n")
    print(
        f"mkdir -p out/site && tar xf {output}/site.tar.xz -C out/site && export PYTHONPATH=out/site PYTHONUNBUFFERED=1\n"
        "python3 -m pytest -q -p no:cacheprovider tests/synth/diffusion/test_gpu.py\n"
        f"python3 -m benchmarks.gpu --asset {output}/ict_face.npz --character {output}/hero.character{more} "
        "--minutes 8 --bring out/brought"
    )


if __name__ == "__main__":
    main()
