"""Real clips, scored from pixels by `../shared/eval/judge.py`, where a checkout has `../shared`.

Self: the clip's first frame is the character and the clip drives it. Cross: every driver, every portrait.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.clips import first_frames
from benchmarks.command import run
from benchmarks.table import Row, Table, Target

SHARED = Path(__file__).parents[2] / "shared"
JUDGE = SHARED / "eval" / "judge.py"
N_FRAMES = 100

SELF_WANTED = {
    "r_jaw": Target(low=0.98), "r_width": Target(low=0.95), "r_blink": Target(low=0.93), "r_brow": Target(low=0.93),
    "r_gaze": Target(low=0.80), "pose_deg": Target(high=0.8), "jitter": Target(high=1.10), "coverage": Target(low=1.0),
    "psnr": Target(low=27), "ssim": Target(low=0.87), "psnr_mouth": Target(low=29), "psnr_eyes": Target(low=27),
    "lmd": Target(high=0.8), "lmd_mouth": Target(high=0.9),
    "inside_contrast": Target(0.75, 1.3), "inside_light": Target(0.75, 1.3),
}  # fmt: skip
CROSS_WANTED = {
    "r_jaw": Target(low=0.95), "r_width": Target(), "r_blink": Target(low=0.85), "r_brow": Target(low=0.85),
    "r_gaze": Target(), "pose_deg": Target(high=3), "jitter": Target(high=1.2), "coverage": Target(low=1.0),
}  # fmt: skip


def drivers() -> list[Path]:
    return sorted((SHARED / "clips" / "drivers").glob("*.mp4")) if JUDGE.exists() else []


def portraits() -> list[Path]:
    folder = SHARED / "clips" / "portraits"
    return sorted(p for p in folder.glob("*") if p.suffix in (".jpg", ".png")) if JUDGE.exists() else []


def judge(driver: Path, output: Path, *, same: bool) -> dict[str, float]:
    """The scores of one output; none if it shows no face often enough to be judged."""
    line = [
        sys.executable,
        str(JUDGE),
        "reenact",
        "--driver",
        str(driver),
        "--output",
        str(output),
        *(["--same"] if same else []),
    ]
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    scores: dict[str, float] = json.loads(ran.stdout.splitlines()[-1]) if ran.returncode == 0 else {"coverage": 0.0}
    return scores


def self_reenactment(folder: Path) -> list[Table]:
    """First 100 frames of every driver onto its own first frame."""
    rows = []
    for clip in drivers():
        picture, cut = first_frames(clip, N_FRAMES, folder)
        output = folder / f"self_{clip.stem}.mp4"
        run("act", picture, cut, output)
        rows.append(Row(clip.stem, judge(cut, output, same=True)))
    title = f"Self-reenactment, first {N_FRAMES} frames"
    return [Table("self", title, tuple(SELF_WANTED), rows, SELF_WANTED, with_mean=True)] if rows else []


def cross_reenactment(folder: Path) -> list[Table]:
    """First 100 frames of every driver onto every portrait; a row a driver and a row a portrait, each a mean."""
    scores: dict[tuple[str, str], dict[str, float]] = {}
    for clip in drivers():
        _, cut = first_frames(clip, N_FRAMES, folder)
        for portrait in portraits():
            output = folder / f"cross_{clip.stem}_{portrait.stem}.mp4"
            run("act", portrait, cut, output)
            scores[clip.stem, portrait.stem] = judge(cut, output, same=False)
    if not scores:
        return []

    def over(part: int) -> list[Row]:
        names = sorted({key[part] for key in scores})
        tables = [(n, [Row("", v) for key, v in scores.items() if key[part] == n]) for n in names]
        return [Row(n, Table("", "", tuple(CROSS_WANTED), rows).mean.values) for n, rows in tables]

    wanted = {name: target for name, target in CROSS_WANTED.items() if target != Target()}
    title = f"Cross-identity, first {N_FRAMES} frames, means"
    return [
        Table("cross", f"{title}, by driver", tuple(CROSS_WANTED), over(0), wanted, with_mean=True),
        Table("cross", f"{title}, by portrait", tuple(CROSS_WANTED), over(1), wanted, with_mean=True),
    ]
