"""What this machine can run, and why not what it can't: every part is tried, not only looked up."""

from __future__ import annotations

import json as json_format
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from runtime.engine import EngineName
from runtime.engines import gpu_capability, look, order
from runtime.missing import brought_by

PACKAGES = ("av", "mediapipe", "numba", "numpy", "opencv-contrib-python-headless", "pillow", "rich", "scipy", "typer")
OPTIONAL = ("matplotlib", "scikit-image")  # the demo's portraits
NEEDED_MB = 1200  # memory of an act
ENCODERS = {
    "libx264": "pictures of .mp4, .mov and .mkv",
    "aac": "sound of .mp4 and .mov",
    "libvpx-vp9": "pictures of .webm",
    "libopus": "sound of .webm and .mkv",
    "gif": ".gif",
}


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    found: str
    needed: bool  # without it `understudy act` does not run
    remedy: str = ""  # what to do where it is not ok


def examine() -> list[Check]:
    """Try everything; takes a few seconds."""
    return [*_machine(), *_packages(), *_encoders(), *_parts(), *_speakers(), *_accelerators()]


def show(checks: list[Check], *, json: bool) -> None:
    """A table for people, or one line for programs, on stdout."""
    able = all(check.ok for check in checks if check.needed)
    if json:
        print(json_format.dumps({"command": "doctor", "able": able, "checks": [asdict(check) for check in checks]}))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("", "part", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for check in checks:
        mark, style = ("ok", "green") if check.ok else ("NO", "bold red") if check.needed else ("-", "yellow")
        told = (check.name, check.found, "" if check.ok else check.remedy)
        table.add_row(Text(mark, style), *(Text(word) for word in told))  # brackets are no markup
    console = Console()
    console.print(table)
    console.print("This machine can run understudy act." if able else "This machine cannot run understudy act: see NO.")


def _machine() -> Iterator[Check]:
    right = (3, 10) <= sys.version_info < (3, 13)
    yield Check(
        "Python", right, platform.python_version(), True, "use Python 3.10 to 3.12: mediapipe has no other wheels"
    )
    yield Check("system", True, f"{platform.system()} {platform.release()} {platform.machine()}", False)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("cores", True, f"{n_cores}", False)
    free_mb = _memory_mb()
    if free_mb is not None:
        yield Check("memory", free_mb >= NEEDED_MB, f"{free_mb} MB free", False, f"an act takes up to {NEEDED_MB} MB")
    yield _writable("current folder", Path.cwd())
    yield _writable("temporary folder", Path(tempfile.gettempdir()))


def _memory_mb() -> int | None:
    """What a new process can get, of the machine and of its control group; None where nobody tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text(encoding="ascii") for name in ("memory.max", "memory.current"))
        free = min(free, (int(limit) - int(used)) // 2**20)
    except (OSError, ValueError):
        pass  # no control group, or one without a limit
    return free


def _writable(name: str, folder: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
            file.flush()
    except OSError as error:
        return Check(name, False, f"{folder}: {error.strerror}", False, "write results elsewhere, or free some space")
    return Check(name, True, f"{folder}, {shutil.disk_usage(folder).free // 2**20} MB free", False)


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            found, ok = version(name), True
        except PackageNotFoundError:
            found, ok = "not installed", False
        remedy = f"pip install {name}"
        if name.startswith("opencv") and not ok and find_spec("cv2") is not None:
            found, ok = "another OpenCV is installed", True
        if name == "numpy" and ok and int(found.split(".")[0]) > 1:
            ok, remedy = False, "pip install 'numpy<2': mediapipe 0.10.21 is built against NumPy 1"
        yield Check(name, ok, found, True, remedy)
    for name in OPTIONAL:
        try:
            yield Check(name, True, version(name), False)
        except PackageNotFoundError:
            yield Check(name, False, "not installed", False, f"{brought_by(name)}, for understudy demo")


def _encoders() -> Iterator[Check]:
    def missing(name: str) -> str | None:
        try:
            import av

            av.codec.Codec(name, "w")
        except Exception as error:  # whatever is wrong with PyAV or the codec is what this command reports
            return _reason(error)
        return None

    for name, purpose in ENCODERS.items():
        error = missing(name)
        yield Check(
            f"encoder {name}", error is None, f"writes {purpose}" if error is None else error, name == "libx264",
            f"cannot write {purpose}: install PyAV's own wheel, pip install --force-reinstall av",
        )  # fmt: skip


def _parts() -> Iterator[Check]:
    """What only running shows."""
    yield _try(
        "face mesh", _face_mesh, "reinstall mediapipe 0.10.21 with opencv-contrib-python-headless, see make setup"
    )
    yield _try("person matte", _matte, "reinstall mediapipe 0.10.21")
    yield _try(
        "numba", _numba, "reinstall numba; with a read-only installation set NUMBA_CACHE_DIR to a writable folder"
    )
    yield _try("expression weights", _weights, "reinstall understudy: a file of the package is missing or damaged")


def _try(name: str, part: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(name, True, part(), True)
    except Exception as error:  # a broken part must be named, whatever breaks it
        return Check(name, False, _reason(error), True, remedy)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _face_mesh() -> str:
    from perfcap.face import MediaPipeFaces

    finder = MediaPipeFaces(still=True)
    try:
        if find_spec("skimage") is not None:
            from skimage import data

            faces = finder.find(np.ascontiguousarray(data.astronaut()))
            if not faces:
                raise RuntimeError("finds no face in a portrait")
            return f"finds a face, {faces[0].size:.0f} px"
        finder.find(np.full((256, 256, 3), 128, np.uint8))
        return "runs"
    finally:
        finder.close()


def _matte() -> str:
    from perfcap.face import FaceMesh
    from synth.matte import person_alpha

    corners = np.array(((96, 96, 0), (160, 96, 0), (160, 160, 0), (96, 160, 0)), np.float32)
    person_alpha(np.full((256, 256, 3), 128, np.uint8), FaceMesh(corners))
    return "runs"


def _numba() -> str:
    from numba import njit

    total: int = njit(lambda n: n * (n + 1) // 2)(10)
    if total != 55:
        raise RuntimeError(f"1 to 10 add up to {total}")
    return "compiles"


def _weights() -> str:
    from perfcap.expression import ExpressionSolver, template

    face = template()
    most = float(ExpressionSolver().solve(face, face).max())
    return f"read; a face at rest reads {most:.2f} at most"


def _accelerators() -> Iterator[Check]:
    """Nothing here is needed; what is missing only makes later renderers slower or unavailable."""
    if find_spec("torch") is None:
        told = f"{brought_by('torch')}, for training and --renderer diffusion"
        yield Check("torch", False, "not installed", False, told)
    else:
        yield _optional("torch", _torch, "reinstall torch")
        yield _optional("CUDA", _cuda, "needs an NVIDIA GPU, its driver and a CUDA build of torch")
    for package, renderer in (("diffusers", "diffusion"), ("transformers", "wan-animate")):
        if find_spec(package) is None:
            yield Check(package, False, "not installed", False, f"{brought_by(package)}, for --renderer {renderer}")
        else:
            yield _optional(package, lambda package=package: _imported(package), f"reinstall {package}")  # type: ignore[misc]
    yield from _engines()


ENGINE_REMEDIES: dict[EngineName, str] = {
    "torch": "make diffusion, for --renderer diffusion",
    "compile": "install g++, for --engine compile; on a GPU triton, which torch brings",
    "onnx": "make diffusion, for --engine onnx and understudy export",
    "tensorrt": "make tensorrt where an NVIDIA GPU is; tensorrt itself for a data centre's",
}


def _engines() -> Iterator[Check]:
    """What may run the network of --renderer diffusion, and which of it --engine auto takes."""
    try:
        found = look()
    except Exception as error:  # a broken library must be named, whatever breaks it
        yield Check("engines", False, _reason(error), False, "reinstall torch and onnxruntime")
        return
    for each in found:
        yield Check(f"engine {each.name}", each.able, each.why, False, ENGINE_REMEDIES[each.name])
    if found[0].able:
        device = "cpu" if gpu_capability() is None else "cuda"
        yield Check("engine auto", True, f"takes {order('auto', device)[0]}", False)


def _speakers() -> Iterator[Check]:
    """Nothing here is needed: recordings are dubbed without."""
    for name, package, part, purpose in (
        ("espeak-ng", "espeakng-loader", _espeak, "for texts and for transcripts of any language"),
        ("pocketsphinx", "pocketsphinx", lambda: version("pocketsphinx"), "for English transcripts"),
    ):
        if find_spec(package.replace("-", "_")) is None:
            yield Check(name, False, "not installed", False, f"{brought_by(package)}, {purpose}")
        else:
            yield _optional(name, part, f"reinstall {package}")


def _espeak() -> str:
    from audio.voice import EspeakVoice, languages

    said = EspeakVoice("en-us").speak("one")
    return f"{len(languages())} languages; says one in {float(said.duration):.1f} s"


def _optional(name: str, part: Callable[[], str], remedy: str) -> Check:
    check = _try(name, part, remedy)
    return Check(check.name, check.ok, check.found, False, check.remedy)


def _imported(package: str) -> str:
    from importlib import import_module

    return str(getattr(import_module(package), "__version__", "found"))


def _torch() -> str:
    import torch

    return str(torch.__version__)


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("no GPU that torch can use")
    found = torch.cuda.get_device_properties(0)
    return f"{found.name}, {found.total_memory // 2**20} MB"
