"""Whether a long take drifts: a neutral moment early in it against the same one late, and the memory in between.

    python -m benchmarks.drift --weights RUN                   # 10,000 frames of the demo's portrait
    python -m benchmarks.drift --weights RUN --frames 1000
    python -m benchmarks.drift --renderer warp

Prints every so many frames what the process holds, and at the end how far the late frame is from the early one.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.table import machine
from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from perfcap.written import range_of_motion
from runtime.records import Cue, Motion, Shot
from runtime.stage import Stage, run
from server.cli import spare_pools
from server.demo import ASTRONAUT
from server.painting import Painting
from synth.diffusion.renderer import DiffusionOptions, DiffusionRenderer, find_weights
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character, rig
from synth.warp import WarpRenderer

EARLY = 10  # the frame that the last one is compared with
N_NEUTRAL = 2 * EARLY  # frames at rest, at the beginning and at the end
FPS = 30
N_TOLD = 20  # times that memory is told


def motions(n: int) -> Iterator[Motion]:
    """At rest, then a range of motion over and over, then at rest; n frames and those after the last at rest."""
    script = range_of_motion()
    for i in range(n + N_NEUTRAL - EARLY):
        is_neutral = i < N_NEUTRAL or i >= n - EARLY
        yield script(Fraction(0) if is_neutral else Fraction(i, FPS) % script.duration)


def renderer(character: Character, name: str, weights: str | None) -> Stage[Cue, Shot]:
    """What draws, as an act would have it."""
    if name == "warp":
        return WarpRenderer(character)
    painter = Painting(find_weights(weights)).painter()
    return DiffusionRenderer(character, painter, DiffusionOptions(chunk=1 if painter.unet.device.type == "cpu" else 8))


def resident_mb() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def drift(name: str, weights: str | None, n: int) -> None:
    rgb = ASTRONAUT.load()
    character = rig(rgb, MediaPipeFaces(still=True).find(rgb)[0], template())
    retarget = Retarget(character, template(), [range_of_motion()(Fraction(0))], RetargetOptions())
    cues = (Cue(time=Fraction(i, FPS), motion=retarget(motion)) for i, motion in enumerate(motions(n)))
    begun, early, most = time.perf_counter(), np.zeros_like(rgb), 0.0
    for i, shot in enumerate(run(renderer(character, name, weights), cues)):
        if i == EARLY:
            early = shot.rgb.astype(int)
        gap = np.abs(shot.rgb - early)
        if EARLY < i < n:
            most = max(most, float(gap.mean()))
        if i and i % max(1, n // N_TOLD) == 0:
            print(f"{i} frames  {resident_mb()} MB  {i / (time.perf_counter() - begun):.2f} frames/s", flush=True)
        if i == n:
            print(f"frame {n} against frame {EARLY}: at most {gap.max()} levels, {gap.mean():.4f} on average; "
                  f"those between differ from it by up to {most:.2f} on average")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renderer", choices=("warp", "diffusion"), default="diffusion")
    parser.add_argument("--weights", help="of the diffusion renderer; packaged ones without")
    parser.add_argument("--frames", type=int, default=10_000)
    given = parser.parse_args()
    if given.frames < 2 * N_NEUTRAL:
        sys.exit(f"--frames is {given.frames}, wanted {2 * N_NEUTRAL} or more")
    spare_pools()
    print(machine())
    drift(given.renderer, given.weights, given.frames)


if __name__ == "__main__":
    main()
