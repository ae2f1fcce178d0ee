"""Films of a real face, made on the spot: NASA's portrait of Eileen Collins, public domain, moved about."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runtime.writer import VideoWriter

Rgb = NDArray[np.uint8]
RATE = Fraction(25)


@pytest.fixture(scope="session")
def face() -> Rgb:  # [288, 288, 3]
    skimage = pytest.importorskip("skimage", reason="scikit-image brings the face; pip install scikit-image")
    from skimage import data

    assert skimage
    return np.ascontiguousarray(data.astronaut()[:288, 96:384])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where inputs lie; results go elsewhere."""
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="session")
def portrait(face: Rgb, folder: Path) -> Path:
    Image.fromarray(face).save(folder / "portrait.png")
    return folder / "portrait.png"


def film(path: Path, picture: Callable[[int], Rgb], n_frames: int) -> Path:
    H, W = picture(0).shape[:2]
    with VideoWriter(path, W, H, RATE) as writer:
        for i in range(n_frames):
            writer.write(picture(i), i / RATE)
    return path


def swaying(face: Rgb) -> Callable[[int], Rgb]:
    def picture(i: int) -> Rgb:
        return np.roll(face, (round(6 * np.sin(i / 5)), round(10 * np.sin(i / 7))), (0, 1))

    return picture


@pytest.fixture(scope="session")
def clip(face: Rgb, folder: Path) -> Path:
    """24 frames of a swaying face; the 6th to the 8th show none."""
    moved = swaying(face)
    return film(folder / "clip.mp4", lambda i: np.full_like(face, 90) if 5 <= i < 8 else moved(i), 24)


@pytest.fixture(scope="session")
def two_faces(face: Rgb, folder: Path) -> Path:
    return film(folder / "two.mp4", lambda i: np.concatenate((face, face[:, ::-1]), 1), 8)


@pytest.fixture(scope="session")
def faceless(folder: Path) -> Path:
    sky = np.repeat(np.linspace(60, 200, 128).astype(np.uint8)[:, None, None], 192, 1).repeat(3, 2)
    return film(folder / "sky.mp4", lambda i: sky, 12)


@pytest.fixture(scope="session")
def long_clip(face: Rgb, folder: Path) -> Path:
    """Long enough to be interrupted."""
    return film(folder / "long.mp4", swaying(face), 700)


@pytest.fixture(scope="session")
def long_start(face: Rgb, folder: Path) -> Path:
    """A face comes only after 170 frames, later than a take looks ahead."""
    moved = swaying(face)
    return film(folder / "late.mp4", lambda i: np.full_like(face, 90) if i < 170 else moved(i), 190)
