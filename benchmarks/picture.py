"""The pictures of the README that commands make: moments of the demo, and of a film before and after it was dubbed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import acted, pictures, square
from benchmarks.table import Table
from runtime.image import save_image
from server.demo import columns, demo
from server.dub import DubOptions, dub

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SHOWN = ("right", "down", "brows", "smile", "blink", "speech 3")
WIDTH_PX = 256  # of each
SAID = "Whatever the film says, the face says what you want, from its own mouth."
DUBBED_AT = (14, 26, 38, 54, 71, 83)  # frames


def picture(folder: Path) -> list[Table]:
    """Write docs/images/demo.jpg and dub.jpg."""
    IMAGES.mkdir(exist_ok=True)
    video = folder / "demo.mp4"
    demo(video, True, lambda *_: None)
    save_image(IMAGES / "demo.jpg", np.concatenate(columns(video, SHOWN, WIDTH_PX), 1), force=True)
    film, dubbed = acted(square(folder), 1), folder / "dubbed.mp4"
    dub(film, dubbed, DubOptions(text=SAID, force=True), lambda *_: None)
    rows = [_moments(path) for path in (film, dubbed)]
    save_image(IMAGES / "dub.jpg", np.concatenate(rows), force=True)
    return []


def _moments(video: Path) -> NDArray[np.uint8]:
    import cv2

    shown = [rgb[40:400, 76:436] for i, rgb in enumerate(pictures(video)) if i in DUBBED_AT]
    return np.concatenate([cv2.resize(rgb, (WIDTH_PX, WIDTH_PX), interpolation=cv2.INTER_AREA) for rgb in shown], 1)
