"""A clip of a character becomes the picture that shows its face best."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.face import MediaPipeFaces
from runtime.errors import InputError
from runtime.image import load_image
from runtime.video import VideoWriter
from server.api.portrait import portrait
from server.api.probe import ProbeLimits

pytestmark = pytest.mark.slow


def test_the_frame_with_the_face_is_taken_and_kept(face: NDArray[np.uint8], tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4", 288, 288, Fraction(10)) as writer:
        for i in range(30):
            writer.write(face if 10 <= i < 20 else np.full_like(face, 90), Fraction(i, 10))
    portrait(tmp_path / "clip.mp4", tmp_path / "portrait.png", ProbeLimits(), "clip.mp4")
    assert MediaPipeFaces(still=True).find(load_image(tmp_path / "portrait.png"))
    before = (tmp_path / "portrait.png").stat().st_mtime_ns
    portrait(tmp_path / "clip.mp4", tmp_path / "portrait.png", ProbeLimits(), "clip.mp4")
    assert (tmp_path / "portrait.png").stat().st_mtime_ns == before


def test_a_clip_without_a_face_is_refused_and_leaves_nothing(files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^clip.mp4 shows no face in 12 frames; wanted one at least 64 px wide$"):
        portrait(files / "clip.mp4", tmp_path / "portrait.png", ProbeLimits(), "clip.mp4")
    assert not list(tmp_path.iterdir())
