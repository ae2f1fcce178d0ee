"""A cut is told from what moves, shakes or grows lighter."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.cuts import Cuts

Rgb = NDArray[np.uint8]


def scene(seed: int, height: int = 180, width: int = 320) -> Rgb:
    """Large patches of random colours."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def test_another_scene_is_a_cut_and_the_first_picture_is_none() -> None:
    cuts = Cuts()
    assert [cuts(scene(seed)) for seed in (1, 1, 2, 2, 1)] == [False, False, True, False, True]


@pytest.mark.parametrize("height", [90, 180, 1080])
def test_a_shaken_camera_and_a_lamp_switched_on_are_no_cut(height: int) -> None:
    still = scene(1, height, height * 16 // 9)
    shaken = np.roll(still, (height // 60, -height // 45), (0, 1))
    lighter = np.clip(still * 0.5 + 60, 0, 255).astype(np.uint8)
    cuts = Cuts()
    assert [cuts(rgb) for rgb in (still, shaken, still)] == [False] * 3
    dim = (still * 0.5 + 20).astype(np.uint8)
    cuts = Cuts()
    assert [cuts(rgb) for rgb in (dim, lighter)] == [False] * 2


def test_a_picture_may_change_its_size() -> None:
    cuts = Cuts()
    assert [cuts(rgb) for rgb in (scene(1), scene(1, 360, 640), scene(2, 90, 160))] == [False, False, True]
