"""Real clips, scored from pixels by `../shared/eval/judge.py`, where a checkout has `../shared`.

Self: the clip's first frame is the character and the clip drives it. Cross: every driver, every portrait.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import first_frames, pictures
from benchmarks.command import run
from benchmarks.table import Row, Table, Target
from perfcap.face import MediaPipeFaces
from perfcap.landmarks import OUTER_EYES, OVAL
from runtime.image import load_image

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
    "shape": Target(), "actor's shape": Target(), "size": Target(0.9, 1.1),
}  # fmt: skip
SKULL = (*OUTER_EYES, 133, 362, 168, 6, 197, 195)  # landmarks of eye corners and the nose's bridge


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


def _faces(frames: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Landmarks [N, 478, 3] px of the first face in each picture that shows one."""
    finder = MediaPipeFaces(still=len(frames) == 1)
    found = [faces[0].landmarks for frame in frames if (faces := finder.find(frame))]
    finder.close()
    return np.array(found, np.float32).reshape(-1, 478, 3)


def _eyes_apart(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """px [N], whichever way the head is turned."""
    apart: NDArray[np.float32] = np.linalg.norm(faces[:, OUTER_EYES[0]] - faces[:, OUTER_EYES[1]], axis=-1)
    return apart


def _unlike(faces: NDArray[np.float32], one: NDArray[np.float32]) -> float:
    """How far the outlines [N] lie in the median from that of `one` [1], eyes and nose laid onto each other.

    In per cent of the eyes' distance; what jaws do in passing goes out with the median.
    """
    if not len(faces) or not len(one):
        return float("nan")
    outline = np.median([_laid(face, one[0])[list(OVAL)] for face in faces], 0)
    return float(100 * np.linalg.norm(outline - one[0][list(OVAL)], axis=-1).mean() / _eyes_apart(one)[0])


def _laid(face: NDArray[np.float32], onto: NDArray[np.float32]) -> NDArray[np.float32]:
    """A face moved, turned and scaled so that its skull lies on another's (Umeyama 1991)."""
    source, target = face[list(SKULL)], onto[list(SKULL)]
    a, b = source - source.mean(0), target - target.mean(0)
    u, values, vt = np.linalg.svd(b.T @ a)
    mirrored = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    turn, scale = u @ np.diag(mirrored) @ vt, (values * mirrored).sum() / (a**2).sum()
    laid: NDArray[np.float32] = scale * (face - source.mean(0)) @ turn.T + target.mean(0)
    return laid


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
    own = {portrait: _faces([load_image(portrait)]) for portrait in portraits()}
    for clip in drivers():
        _, cut = first_frames(clip, N_FRAMES, folder)
        actor = _faces(list(pictures(cut)))
        for portrait, face in own.items():
            output = folder / f"cross_{clip.stem}_{portrait.stem}.mp4"
            run("act", portrait, cut, output)
            drawn = _faces(list(pictures(output)))
            scores[clip.stem, portrait.stem] = {
                **judge(cut, output, same=False),
                "shape": _unlike(drawn, face),
                "actor's shape": _unlike(actor, face),
                "size": float(np.median(_eyes_apart(drawn)) / _eyes_apart(face)[0]),
            }
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
