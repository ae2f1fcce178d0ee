"""How near `understudy sync` comes to offsets that are known: talking clips with their sound moved by so much."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.reenact import JUDGE, SHARED
from benchmarks.table import Row, Table, Target
from server.sync import InSync, SyncOptions, fix_clip, measure_clip

MOVED_MS = (-400, -160, -40, 40, 160, 400)  # how late the sound is made
NEAR_MS = 20.0


def sync(folder: Path) -> list[Table]:
    """A clip's own offset and confidence, then how far off each known one is found.

    `off` counts from the offset that the clip has of its own, `as is` takes that for zero.
    """
    clips = sorted((SHARED / "clips" / "talk").glob("*")) if JUDGE.exists() else []
    rows = [Row(clip.stem, _measured(clip, folder)) for clip in clips]
    if not rows:
        return []
    columns = ("own ms", "confidence", "talk s", *(f"{ms:+d}" for ms in MOVED_MS), "most off", "most off as is")
    title = "Offset of sound against lips: what a clip has of its own, and the error of known ones, ms"
    return [Table("sync", title, columns, rows, {"most off": Target(high=NEAR_MS)})]


def _measured(clip: Path, folder: Path) -> dict[str, float]:
    own = _measure(clip).offset
    off = {}
    for ms in MOVED_MS:
        moved = folder / f"{clip.stem}{ms:+d}.mp4"
        fix_clip(clip, -ms, moved, True)
        off[ms] = _measure(moved).offset.ms - ms
    errors = {f"{ms:+d}": found - own.ms for ms, found in off.items()}
    return {
        "own ms": own.ms, "confidence": own.confidence, "talk s": own.talked_s, **errors,
        "most off": float(np.abs(list(errors.values())).max()), "most off as is": float(np.abs(list(off.values())).max()),
    }  # fmt: skip


def _measure(clip: Path) -> InSync:
    return measure_clip(clip, SyncOptions(), lambda done, total: None)
