"""The torch rasteriser draws what the numba one draws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.training.ict import FAR
from perfcap.training.ict import rasterise as by_numba

torch = pytest.importorskip("torch", reason="the twin is in torch; pip install torch")

from synth.training import tiles  # noqa: E402

Floats = NDArray[np.float32]
H, W, FOCAL = 90, 120, 130.0


def hills(seed: int, n: int = 24) -> tuple[Floats, NDArray[np.int32]]:
    """A bumpy sheet in front of the camera, and a few large triangles across it, some behind the camera."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-0.6, 0.6, n), np.linspace(-0.5, 0.5, n))
    z = 1 + 0.15 * np.sin(9 * x + seed) * np.cos(7 * y) + 0.01 * rng.standard_normal(x.shape)
    i, j = np.meshgrid(np.arange(n - 1), np.arange(n - 1), indexing="ij")
    a = (i * n + j).ravel()
    sheet = np.concatenate((np.stack((a, a + 1, a + n), 1), np.stack((a + 1, a + n + 1, a + n), 1)))
    large = rng.uniform((-1, -1, -0.3), (1, 1, 1.3), (12, 3))
    points = np.concatenate((np.stack((x, y, z), -1).reshape(-1, 3), large)).astype(np.float32)
    return points, np.concatenate((sheet, n * n + np.arange(12).reshape(4, 3))).astype(np.int32)


def numba_traced(points: Floats, triangles: NDArray[np.int32]) -> tuple[Floats, NDArray[np.int32], Floats]:
    depth, triangle = np.full((H, W), FAR, np.float32), np.full((H, W), -1, np.int32)
    weights = np.zeros((H, W, 2), np.float32)
    by_numba(points, triangles, FOCAL, W / 2, H / 2, depth, triangle, weights)
    return depth, triangle, weights


def test_the_two_agree_but_for_pixels_on_an_edge() -> None:
    meshes = [hills(seed) for seed in range(3)]
    triangles = meshes[0][1]
    points = torch.from_numpy(np.stack([p for p, _ in meshes]))
    traced = tiles.rasterise(points, torch.from_numpy(triangles).long(), FOCAL, W / 2, H / 2, H, W)
    for i, (mesh, _) in enumerate(meshes):
        depth, triangle, weights = numba_traced(mesh, triangles)
        same = traced.triangle[i].numpy() == triangle
        off = np.abs(traced.weights[i].numpy() - weights)[same].max()
        print(f"{(~same).sum()} of {same.size} pixels on an edge went elsewhere; weights differ by {off:.1e} at most")
        assert (~same).mean() < 0.002
        assert off < 2e-3
        np.testing.assert_allclose(traced.depth[i].numpy()[same], depth[same], rtol=1e-4)
        assert (triangle >= 0).mean() > 0.5


def test_nothing_before_the_camera_is_nothing_drawn() -> None:
    points = torch.tensor([[[0.0, 0, -1], [1, 0, -1], [0, 1, -1]]])
    traced = tiles.rasterise(points, torch.tensor([[0, 1, 2]]), FOCAL, W / 2, H / 2, H, W)
    assert (traced.triangle == -1).all()
    assert (traced.depth == float(FAR)).all()


def test_memory_is_bounded_by_pieces_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points, triangles = hills(5)
    args = (torch.from_numpy(points)[None], torch.from_numpy(triangles).long(), FOCAL, W / 2, H / 2, H, W)
    whole = tiles.rasterise(*args)
    monkeypatch.setattr(tiles, "AT_ONCE", 64)
    assert torch.equal(tiles.rasterise(*args).triangle, whole.triangle)
