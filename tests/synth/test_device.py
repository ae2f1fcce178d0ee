"""What a device draws is what the CPU draws: the twins side by side, here with a CPU as the device."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the twin is in torch; pip install torch")

from perfcap.expression import template  # noqa: E402
from perfcap.written import range_of_motion  # noqa: E402
from runtime.records import Motion  # noqa: E402
from synth.device import DeviceCanvas, DeviceWarp, Hits, carried, rasterise  # noqa: E402
from synth.raster import FAR, Canvas, trace  # noqa: E402
from synth.raster import rasterise as by_numba  # noqa: E402
from synth.retarget import Retarget, RetargetOptions  # noqa: E402
from synth.rig import Character  # noqa: E402
from synth.warp import WarpRenderer  # noqa: E402

H, W = 90, 120


@pytest.fixture(scope="module")
def motions(hero: Character) -> list[Motion]:
    script = range_of_motion()
    retarget = Retarget(hero, template(), [script(Fraction(0))], RetargetOptions())
    return [retarget(script(Fraction(i, 2))) for i in range(12)]


def scene(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Triangles over each other, some beyond the edges, some with no area."""
    draw = np.random.default_rng(seed)
    target = draw.uniform((-30, -30), (W + 30, H + 30), (60, 2)).astype(np.float32)
    triangles = draw.integers(0, 60, (80, 3)).astype(np.int32)
    return target, draw.uniform(0.5, 2, 60).astype(np.float32), triangles


def hit(target: NDArray[np.float32], depth: NDArray[np.float32], triangles: NDArray[np.int32]) -> Hits:
    return rasterise(torch.from_numpy(target), torch.from_numpy(depth), torch.from_numpy(triangles).long(), H, W)


@pytest.mark.parametrize("seed", range(4))
def test_triangles_hide_each_other_alike_and_carry_the_same(seed: int) -> None:
    target, depth, triangles = scene(seed)
    draw = np.random.default_rng(seed)
    values, levels = draw.normal(0, 1, (60, 3)).astype(np.float32), np.arange(80, dtype=np.float32)
    traced, level = np.zeros((H, W, 3), np.float32), np.full((H, W), -1, np.float32)
    trace(target, depth, triangles, values, levels, 80, traced, level, np.full((H, W), FAR, np.float32))
    hits = hit(target, depth, triangles)
    same = hits.triangle.numpy() == level
    shown = carried(hits, torch.from_numpy(values), torch.from_numpy(triangles).long()).numpy()
    off = np.abs(shown - traced)[same].max()
    print(f"{(~same).sum()} of {same.size} pixels on an edge went elsewhere; values differ by {off:.1e} at most")
    assert (~same).mean() < 0.002
    assert off < 1e-3
    assert (level >= 0).mean() > 0.5


def test_where_the_picture_is_taken_from_is_the_same() -> None:
    target, depth, triangles = scene(9)
    source = np.random.default_rng(9).uniform(0, 200, (60, 2)).astype(np.float32)
    sampling, nearest = np.full((H, W, 2), -1, np.float32), np.full((H, W), FAR, np.float32)
    by_numba(target, source, depth, triangles, sampling, nearest)
    hits = hit(target, depth, triangles)
    at = carried(hits, torch.from_numpy(source), torch.from_numpy(triangles).long()).numpy() - 0.5
    drawn = nearest < FAR
    assert (drawn == (hits.triangle.numpy() >= 0)).mean() > 0.998
    off = np.abs(at - sampling).max(-1)[drawn]
    assert np.quantile(off, 0.995) < 0.01, f"99.5 in a hundred within {np.quantile(off, 0.995)} px"


def test_nothing_in_sight_is_nothing_drawn() -> None:
    away = torch.full((3, 2), -50.0) + torch.eye(3)[:, :2]
    hits = rasterise(away, torch.ones(3), torch.tensor([[0, 1, 2]]), H, W)
    assert (hits.triangle == -1).all()


def test_layers_lie_alike() -> None:
    draw = np.random.default_rng(0)
    rgb = draw.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    host = Canvas(rgb.copy(), np.zeros((40, 50), np.uint8))
    device = DeviceCanvas(torch.from_numpy(rgb.copy()), torch.zeros(40, 50, dtype=torch.uint8))
    for left, top in ((3, 4), (10, 8)):
        layer = draw.uniform(0, 255, (20, 30, 3)).astype(np.float32)
        cover = draw.uniform(0, 1, (20, 30)).astype(np.float32)
        for canvas in (host, device):
            canvas.lay(left, top, layer, cover)
    assert np.abs(device.rgb.numpy().astype(int) - host.rgb).max() <= 1
    assert np.array_equal(device.painted.numpy(), host.painted)


def test_a_performance_is_drawn_alike(hero: Character, motions: list[Motion]) -> None:
    warp = WarpRenderer(hero)
    device = DeviceWarp(warp, torch.device("cpu"))
    worst, far = 0.0, 0.0
    for motion in motions:
        plain, twin = warp.draw(motion), device.draw(motion)
        off = np.abs(twin.rgb.numpy().astype(int) - plain.rgb).max(-1)
        worst, far = max(worst, float(off.mean())), max(far, float((off > 2).mean()))
        assert np.array_equal(twin.landmarks, plain.landmarks)
        assert np.abs(twin.opacity.numpy().astype(int) - plain.opacity).mean() < 0.01
        assert np.array_equal(twin.painted.numpy(), plain.painted)
    print(f"{worst:.3f} levels apart in the mean at most; {far:.5f} of the pixels by more than 2")
    assert worst < 0.05
    assert far < 0.001


def test_frames_are_the_callers(hero: Character, motions: list[Motion]) -> None:
    device = DeviceWarp(WarpRenderer(hero), torch.device("cpu"))
    first = device.draw(motions[0])
    kept = first.rgb.clone()
    device.draw(replace(motions[5]))
    assert torch.equal(first.rgb, kept)
