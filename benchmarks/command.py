"""One command in a process of its own, so that start-up and memory are its own too.

    python -m benchmarks.command BEGUN act CHARACTER PERFORMANCE OUTPUT [WEIGHTS, then --renderer diffusion]
    python -m benchmarks.command BEGUN capture VIDEO OUTPUT
    python -m benchmarks.command BEGUN dub CLIP SPEECH OUTPUT

BEGUN is the wall clock when the process was asked for. Prints one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Ran:
    """How one command went."""

    frames: int
    faceless: int
    seconds: float  # from being asked for to the end
    first_s: float  # until the first frame was written
    peak_mb: float
    stages: dict[str, float] = field(default_factory=dict)  # seconds

    @property
    def fps(self) -> float:
        return self.frames / self.seconds


def run(*arguments: object) -> Ran:
    """Run one command; raises RuntimeError with what it said if it fails."""
    line = [sys.executable, "-m", "benchmarks.command", repr(time.time()), *map(str, arguments)]
    ran = subprocess.run(line, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(line[3:])} failed: {ran.stderr.strip().splitlines()[-1:]}")
    return Ran(**json.loads(ran.stdout.splitlines()[-1]))


def main() -> None:
    begun, command, *paths = sys.argv[1:]
    from server.cli import spare_pools

    spare_pools()  # as the real command does
    from server.report import peak_mb
    from server.take import Tally

    first: list[float] = []

    def progress(done: int, total: int | None) -> None:
        if not first:
            first.append(time.time())

    tally: Tally
    if command == "act":
        from server.act import ActOptions, act

        character, performance, output = map(Path, paths[:3])
        options = ActOptions(force=True, face="largest")
        if paths[3:]:
            options = replace(options, renderer="diffusion", weights=paths[3])
        tally = act(character, performance, output, options, progress)
    elif command == "dub":
        from server.dub import DubOptions, dub

        clip, speech, output = map(Path, paths)
        tally = dub(clip, output, DubOptions(audio=speech, force=True), progress)
    else:
        from server.capture import CaptureOptions, capture

        video, output = map(Path, paths)
        tally = capture(video, output, CaptureOptions(force=True, face="largest"), progress)
    now = time.time()
    ran = Ran(
        frames=tally.frames,
        faceless=tally.faceless,
        seconds=now - float(begun),
        first_s=(first[0] if first else now) - float(begun),
        peak_mb=peak_mb(),
        stages=tally.seconds,
    )
    print(json.dumps(vars(ran)))


if __name__ == "__main__":
    main()
