"""On an emptied root (Python and the C and C++ runtimes, nothing else) everything of ours imports and runs.

A bare Debian has no libGL, no PortAudio and no compiler. `tests/bare_machine.sh` is the long form:
it debootstraps one and runs `make test` there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

import pytest

from tests.test_layers import IMPORTED, OF_TORCH

ROOT = Path(__file__).parents[1]
MISSING = ("libGL.so.1", "libportaudio.so.2")
# The parts of libc6, libstdc++6, libgcc-s1 and zlib1g, which every Debian has.
RUNTIMES = (
    "libanl.so.1", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libmvec.so.1", "libpthread.so.0", "libresolv.so.2",
    "librt.so.1", "libstdc++.so.6", "libutil.so.1", "libz.so.1",
)  # fmt: skip

INSIDE = """
import ctypes, importlib, shutil, sys
for name in {missing!r}:
    try:
        ctypes.CDLL(name)
    except OSError:
        continue
    sys.exit(name + " is here: the root is not bare")
assert not any(map(shutil.which, ("cc", "gcc", "clang", "g++")))

sys.path.insert(0, {root!r})
for name in {modules!r}:
    importlib.import_module(name)

from perfcap.performance import Performance
from perfcap.written import demonstration
from server.cli import run
from server.demo import ADMIRAL
from runtime.image import save_image

save_image("/tmp/portrait.png", ADMIRAL.load())
demonstration().performance()[:3].save("/tmp/written.npz")
assert run(["act", "/tmp/portrait.png", "/tmp/written.npz", "-o", "/tmp/acted.mp4"]) == 0
assert run(["capture", "/tmp/acted.mp4", "-o", "/tmp/seen.npz"]) == 0
seen = Performance.load("/tmp/seen.npz")
assert (len(seen), seen.n_faceless) == (3, 0)
print("bare and well")
"""


def _needed(path: Path) -> set[Path]:
    """The libraries of this machine that a binary loads, all the way down."""
    said = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in re.findall(r"(?:=> )?(/\S+) \(0x", said)}


def _bare_files() -> set[Path]:
    """Python itself with the libraries it needs, the virtual environment and this checkout."""
    base = Path(sys.base_prefix)
    stdlib = Path(sysconfig.get_path("stdlib"))
    python = Path(sys.executable).resolve()
    libraries = _needed(python)
    for extension in (stdlib / "lib-dynload").glob("*.so"):
        libraries |= _needed(extension)
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in RUNTIMES:
        if found := re.search(rf"^\s+{re.escape(name)} .*x86-64.* => (\S+)$", listed, re.MULTILINE):
            libraries.add(Path(found[1]))
    # A Python of its own prefix goes in whole; that of /usr only with its own files.
    prefix = {stdlib} if base in {Path("/usr"), Path("/")} else {base}
    return {*_links(Path(sys.executable)), Path(sys.prefix), ROOT, *prefix, *libraries}


def _links(path: Path) -> list[Path]:
    """A path and all that it points at in turn."""
    return [path, *(_links(path.parent / path.readlink()) if path.is_symlink() else ())]


def _unshare() -> list[str]:
    return ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def _why_not() -> str | None:
    if sys.platform != "linux" or not all(map(shutil.which, ("unshare", "mount", "chroot", "ldd"))):
        return "needs Linux with unshare, mount, chroot and ldd"
    tried = subprocess.run([*_unshare(), "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "this machine lets nobody make a mount of their own (unshare --mount)"


@pytest.mark.slow
def test_everything_runs_without_libgl_portaudio_or_a_compiler(tmp_path: Path) -> None:
    if why_not := _why_not():
        pytest.skip(why_not)
    root = tmp_path / "root"
    root.mkdir()
    binds = ""
    for path in sorted(_bare_files()):
        target = Path(f"{root}{path}")
        make = f"mkdir -p {quote(str(target if path.is_dir() else target.parent))}\n"
        if not path.is_dir():
            make += f"touch {quote(str(target))}\n"
        binds += f"{make}mount --bind {quote(str(path))} {quote(str(target))}\n"
    script = f"""
mount -t tmpfs none {root}
mkdir -p {root}/tmp {root}/proc {root}/dev
touch {root}/dev/null {root}/dev/urandom
{binds}
mount --bind /dev/null {root}/dev/null
mount --bind /dev/urandom {root}/dev/urandom
mount --rbind /proc {root}/proc
exec {shutil.which("chroot")} {root} {quote(sys.executable)} -c "$INSIDE"
"""
    modules = [*IMPORTED, *(sorted(OF_TORCH) if find_spec("diffusers") is not None else ())]
    env = {"INSIDE": INSIDE.format(missing=MISSING, modules=modules, root=str(ROOT)), "HOME": "/tmp"}
    ran = subprocess.run(
        [*_unshare(), "sh", "-eu", "-c", script],
        env=env | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "bare and well" in ran.stdout


def test_no_library_that_was_installed_asks_for_libgl_or_portaudio() -> None:
    """The same question to the binaries themselves, wherever the tests run."""
    if not shutil.which("ldd"):
        pytest.skip("needs ldd")
    site = Path(sysconfig.get_path("platlib"))
    for package in ("cv2", "mediapipe", "av", "numba", "llvmlite"):
        assert (site / package).exists()
        for library in (site / package).rglob("*.so"):
            said = subprocess.run(["ldd", str(library)], capture_output=True, text=True, check=False).stdout
            assert not any(name in said for name in MISSING), library.name
