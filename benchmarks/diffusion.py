"""The diffusion renderer against the warp: real clips that drive their own first frame, and the speed of whole commands.

    python -m benchmarks.diffusion                              # the packaged weights
    python -m benchmarks.diffusion --weights RUN --weights RUN  # folders that understudy train wrote
    python -m benchmarks.diffusion --weights RUN --sheets DIR   # and warp, painted, truth side by side

Clips come from `../shared`, where a checkout has it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.clips import acted, first_frames, pictures, square
from benchmarks.command import run
from benchmarks.reenact import N_FRAMES, drivers, judge
from benchmarks.table import Row, Table, Target, machine
from perfcap.face import MediaPipeFaces
from runtime.image import save_image
from synth.diffusion.guide import crop_around
from synth.diffusion.renderer import PACKAGED

JUDGED = (
    "r_jaw", "r_width", "r_blink", "r_brow", "r_gaze", "jitter", "psnr", "ssim", "psnr_mouth", "psnr_eyes",
    "lmd", "lmd_mouth", "inside_contrast", "inside_light",
)  # fmt: skip
GAIN_WANTED = {
    **{name: Target(low=-0.005) for name in JUDGED if name.startswith("r_")},
    "jitter": Target(high=0.0), "ssim": Target(low=0.01), "psnr_mouth": Target(low=0.8), "psnr_eyes": Target(low=0.8),
}  # fmt: skip
SPEED_WANTED = {"base": 0.5, "turbo": 2.0}  # frames/s on two cores
N_SHOWN = 6  # moments on a sheet
WIDTH_PX = 256  # of each
FACE_UNITS = 2.0  # about how many distances of the outer eye corners a face is large


def packaged() -> list[Path]:
    return sorted(path.parent for path in PACKAGED.glob("*/model_index.json"))


def diffusion(folder: Path) -> list[Table]:
    """The packaged weights; nothing where none are."""
    return [table for weights in packaged() for table in [*quality(folder, weights), *speed(folder, weights)]]


def quality(folder: Path, weights: Path, sheets: Path | None = None, n_frames: int = N_FRAMES) -> list[Table]:
    """The judge's scores of every clip, warp and painted; then how much painting gains."""
    rows, gains = [], []
    for clip in drivers():
        picture, cut = first_frames(clip, n_frames, folder)
        warped, painted = folder / f"warp_{clip.stem}.mp4", folder / f"{weights.name}_{clip.stem}.mp4"
        run("act", picture, cut, warped)
        run("act", picture, cut, painted, weights)
        before, after = judge(cut, warped, same=True), judge(cut, painted, same=True)
        rows += [Row(f"{clip.stem} warp", before), Row(f"{clip.stem} {weights.name}", after)]
        gains.append(Row(clip.stem, {name: after[name] - before[name] for name in JUDGED if name in before}))
        if sheets is not None:
            sheets.mkdir(parents=True, exist_ok=True)
            sheet((warped, painted, cut), sheets / f"{weights.name}_{clip.stem}.jpg")
    if not rows:
        return []
    title = f"Self-reenactment, first {n_frames} frames"
    return [
        Table("diffusion", f"{title}: warp, and {weights.name}", JUDGED, rows),
        Table("diffusion", f"{title}: {weights.name} less warp", JUDGED, gains, GAIN_WANTED, with_mean=True),
    ]


def speed(folder: Path, weights: Path, n_times: int = 1) -> list[Table]:
    """A whole command on ten seconds, start-up included."""
    portrait = square(folder)
    ran = run("act", portrait, acted(portrait, n_times), folder / "painted.mp4", weights)
    row = Row(f"act, {weights.name}, 512×512", {
        "frames/s": ran.fps, "first frame s": ran.first_s, "peak MB": ran.peak_mb, "render s": ran.stages["render"],
    })  # fmt: skip
    wanted = {"frames/s": Target(low=SPEED_WANTED[weights.name])} if weights.name in SPEED_WANTED else {}
    columns = ("frames/s", "first frame s", "peak MB", "render s")
    return [Table("diffusion", f"Speed of whole commands, {ran.frames} frames", columns, [row], wanted)]


def sheet(videos: Sequence[Path], output: Path) -> None:
    """The face at the same moments of several videos, under each other; where it is, the last one says."""
    frames = [list(pictures(video)) for video in videos]
    n = min(len(shown) for shown in frames)
    at = [round(i) for i in np.linspace(0, n - 1, N_SHOWN)]
    with closing(MediaPipeFaces(still=True)) as finder:
        (face, *_) = finder.find(frames[-1][0])
    crop = crop_around(face.landmarks, face.size / FACE_UNITS, WIDTH_PX)
    rows = [np.concatenate([crop.cut(shown[i]) for i in at], 1) for shown in frames]
    save_image(output, np.concatenate(rows), force=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diffusion", description="Painted against warped.")
    parser.add_argument("--weights", type=Path, action="append", help="a folder of weights; several may be named")
    parser.add_argument("--sheets", type=Path, help="a folder for pictures: warp, painted, truth")
    parser.add_argument("--frames", type=int, default=N_FRAMES, help="of each clip")
    parser.add_argument("--speed", action="store_true", help="speed alone")
    given = parser.parse_args()
    print(machine())
    for weights in given.weights or packaged():
        with TemporaryDirectory() as temporary:
            tables = [] if given.speed else quality(Path(temporary), weights, given.sheets, given.frames)
            for table in [*tables, *speed(Path(temporary), weights)]:
                print(f"\n{table.text()}", flush=True)


if __name__ == "__main__":
    main()
