"""A picture that somebody sent made into a saved character, by a process that may fail: it has limits and nothing to lose.

`rig_apart` starts this file as a child, which refuses a picture that is too large before it is decoded, and writes the
character whole or not at all. Live sessions go first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.errors import InputError
from server.api.probe import ROOT, ProbeLimits, RefusedError, confine, still


@dataclass(frozen=True, kw_only=True)
class RigLimits:
    pixels: int = 4096 * 4096  # of the picture
    memory_mb: int = 4096  # of the child, as the others
    cpu_s: int = 120
    wall_s: float = 180.0
    written_bytes: int = 1 << 30  # of a file


def rig_apart(picture: Path, output: Path, called: str, limits: RigLimits) -> None:
    """Write the character of a picture; raises InputError, which names the picture as it is `called`."""
    told = {"picture": str(picture.absolute()), "output": str(output.absolute()), "called": called, **asdict(limits)}
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "server.rigging", json.dumps(told)], cwd=ROOT, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=limits.wall_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        output.unlink(missing_ok=True)
        raise InputError(f"{called} takes longer than {limits.wall_s:g} s; wanted a simpler picture") from error
    if ran.returncode != 0:
        raise InputError(f"{called} cannot be made a character within the limits of one; wanted a smaller picture")
    refused = json.loads(ran.stdout)["refused"]
    if refused is not None:
        raise InputError(refused)


def _rig(picture: Path, output: Path, called: str, limits: RigLimits) -> None:
    try:
        still(picture, ProbeLimits(pixels=limits.pixels))  # refuses one that is too large; what is none is told below
    except RefusedError as error:
        raise InputError(f"{called} {error}") from error
    import synth.character
    from server.character import load_character

    try:
        character = load_character(picture)
    except InputError as error:
        raise InputError(str(error).replace(str(picture), called)) from error
    synth.character.save(character, output, source=called)


def main() -> None:
    told = json.loads(sys.argv[1])
    picture, output, called = Path(told.pop("picture")), Path(told.pop("output")), told.pop("called")
    limits = RigLimits(**told)
    confine(ProbeLimits(memory_mb=limits.memory_mb, cpu_s=limits.cpu_s), limits.written_bytes, 256)
    refused = None
    try:
        _rig(picture, output, called, limits)
    except InputError as error:
        refused = str(error)
    sys.stdout.write(json.dumps({"refused": refused}))


if __name__ == "__main__":
    main()
