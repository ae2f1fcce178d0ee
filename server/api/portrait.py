"""A video of a character, as the picture that shows its face best: largest and looking at the camera.

Decoded like any file of a client's, in a child process with limits. A clip's own motion is not kept.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from runtime.errors import InputError
from server.api.probe import ROOT, ProbeLimits, confine

SAMPLES = 12  # key frames looked at
PICTURE_BYTES = 256 << 20
NATIVE_MB = 6144  # what the face mesh reserves, little of which it uses


def portrait(video: Path, picture: Path, limits: ProbeLimits, called: str) -> None:
    """Write the best picture of a video as a PNG; one that is there already stays. Raises InputError."""
    if picture.exists():
        return
    partial = picture.with_name(f".partial-{secrets.token_hex(6)}.png")
    more = replace(limits, memory_mb=limits.memory_mb + NATIVE_MB)
    command = [sys.executable, "-m", "server.api.portrait", *map(str, (video.absolute(), partial.absolute()))]
    try:
        ran = subprocess.run(
            [*command, json.dumps(asdict(more))], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=limits.wall_s, check=False,
        )  # fmt: skip
        if ran.returncode != 0:
            raise InputError(
                f"{called} cannot be decoded within the limits of a file; wanted a video with a clear face"
            )
        if not partial.exists():
            raise InputError(f"{called} shows no face in {SAMPLES} frames; wanted one at least 64 px wide")
        os.replace(partial, picture)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{called} takes longer than {limits.wall_s:g} s to look at; wanted a simpler file") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_best(video: Path, picture: Path) -> None:
    from perfcap.face import MediaPipeFaces
    from runtime.image import save_image
    from runtime.video import keyframe_times, read_at

    times = keyframe_times(video)
    some = sorted({times[round(i * (len(times) - 1) / max(1, SAMPLES - 1))] for i in range(SAMPLES)} if times else ())
    finder = MediaPipeFaces(still=True)
    best = 0.0
    for frame in read_at(video, some):
        for mesh in finder.find(frame.rgb):
            left, right, nose = (mesh.landmarks[i, 0] for i in (234, 454, 1))  # cheeks and tip of the nose
            turned = abs(2 * nose - left - right) / max(1.0, abs(right - left))
            score = mesh.size * (1 - min(1.0, float(turned)))
            if mesh.size >= 64 and score > best:
                best = score
                save_image(picture, frame.rgb, force=True)


if __name__ == "__main__":
    confine(ProbeLimits(**json.loads(sys.argv[3])), PICTURE_BYTES, 128)
    _write_best(Path(sys.argv[1]), Path(sys.argv[2]))
