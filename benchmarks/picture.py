"""The picture at the top of the README: moments of the demo, made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.table import Table
from runtime.image import save_image
from server.demo import columns, demo

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "demo.jpg"
SHOWN = ("right", "down", "brows", "smile", "blink", "speech 3")
WIDTH_PX = 256  # of each


def picture(folder: Path) -> list[Table]:
    """Write docs/images/demo.jpg."""
    video = folder / "demo.mp4"
    demo(video, True, lambda *_: None)
    PICTURE.parent.mkdir(exist_ok=True)
    save_image(PICTURE, np.concatenate(columns(video, SHOWN, WIDTH_PX), 1), force=True)
    return []
