"""The compiled loops do what plain NumPy does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.raster import FAR, Canvas, lay_over, rasterise, soften_folds, trace

Array = NDArray[np.float32]
H, W = 48, 64


def plain(target: Array, source: Array, depth: Array, triangles: NDArray[np.int32]) -> tuple[Array, Array]:
    """All pixels at once, one triangle after the other; doubles."""
    sampling, nearest = blank()
    ys, xs = np.mgrid[:H, :W] + 0.5
    for t in triangles:
        (ax, ay), (bx, by), (cx, cy) = target[t].astype(np.float64)
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        ub = ((xs - ax) * (cy - ay) - (ys - ay) * (cx - ax)) / area
        uc = ((bx - ax) * (ys - ay) - (by - ay) * (xs - ax)) / area
        share = np.stack((1 - ub - uc, ub, uc), -1)
        z = share @ depth[t]
        drawn = (share >= 0).all(-1) & (z < nearest)
        nearest[drawn] = z[drawn]
        sampling[drawn] = (share @ source[t] - 0.5)[drawn]
    return sampling, nearest


def blank() -> tuple[Array, Array]:
    return np.full((H, W, 2), -1, np.float32), np.full((H, W), FAR, np.float32)


def scene(seed: int, n: int = 12) -> tuple[Array, Array, Array, NDArray[np.int32]]:
    """Triangles of any size, partly outside, each with its own corners."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(-0.3, 1.3, (3 * n, 2)) * (W, H)
    source = rng.uniform(0, 100, (3 * n, 2))
    depth = rng.uniform(0.4, 0.6, 3 * n)
    triangles = np.arange(3 * n, dtype=np.int32).reshape(n, 3)
    return target.astype(np.float32), source.astype(np.float32), depth.astype(np.float32), triangles


def test_rasterise_is_the_plain_formula() -> None:
    worst, elsewhere = 0.0, 0
    for seed in range(8):
        parts = scene(seed)
        sampling, nearest = blank()
        rasterise(*parts, sampling, nearest)
        wanted, wanted_depth = plain(*parts)
        same = np.abs(nearest - wanted_depth) < 1e-3
        elsewhere += int((~same).sum())
        worst = max(worst, float(np.abs(sampling - wanted)[same].max()))
    print(f"largest difference {worst:.2e} px; {elsewhere} pixels on an edge went to another triangle")
    assert worst < 5e-3
    assert elsewhere < 8


def test_a_square_of_two_triangles_has_no_seam_and_samples_the_middles_of_pixels() -> None:
    target = np.array(((8, 8), (40, 8), (40, 40), (8, 40)), np.float32)
    triangles = np.array(((0, 1, 2), (0, 2, 3)), np.int32)
    sampling, nearest = blank()
    rasterise(target, target + 5, np.ones(4, np.float32), triangles, sampling, nearest)
    drawn = nearest < FAR
    assert drawn.sum() == 32 * 32
    assert drawn[8:40, 8:40].all()
    ys, xs = np.nonzero(drawn)
    np.testing.assert_allclose(sampling[drawn], np.stack((xs + 5, ys + 5), 1), atol=1e-4)


def test_the_nearer_triangle_is_seen_whichever_is_drawn_first() -> None:
    target, source, depth, triangles = scene(3)
    one, other = blank(), blank()
    rasterise(target, source, depth, triangles, *one)
    rasterise(target, source, depth, np.ascontiguousarray(triangles[::-1]), *other)
    np.testing.assert_array_equal(one[0], other[0])


def test_what_is_not_covered_is_left_and_flat_triangles_draw_nothing() -> None:
    sampling, nearest = blank()
    line = np.array(((2, 2), (20, 20), (40, 40)), np.float32)
    far_away = np.array(((200, 200), (300, 200), (200, 300)), np.float32)
    for corners in (line, far_away, far_away - 1000):
        rasterise(corners, corners, np.ones(3, np.float32), np.array(((0, 1, 2),), np.int32), sampling, nearest)
    assert (nearest == FAR).all()
    assert (sampling == -1).all()


def test_lay_over_is_the_plain_formula_within_one() -> None:
    rng = np.random.default_rng(0)
    under = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
    over = rng.integers(0, 256, (H, W, 4), dtype=np.uint8)
    over[: H // 4, :, 3], over[H // 4 : H // 2, :, 3] = 0, 255
    alpha = over[..., 3:] / 255
    wanted = np.round(under * (1 - alpha) + over[..., :3] * alpha)
    laid = under.copy()
    lay_over(laid, over)
    difference = np.abs(laid - wanted)
    print(f"largest difference {difference.max():.0f} of 255")
    assert difference.max() <= 1
    np.testing.assert_array_equal(laid[: H // 4], under[: H // 4])
    np.testing.assert_array_equal(laid[H // 4 : H // 2], over[H // 4 : H // 2, :, :3])


def test_golden() -> None:
    sampling, nearest = blank()
    rasterise(*scene(11, n=3), sampling, nearest)
    drawn = nearest < FAR
    got = (int(drawn.sum()), float(nearest[drawn].mean()), *(float(v) for v in sampling[drawn].mean(0)))
    np.testing.assert_allclose(got, GOLDEN, rtol=1e-3)


GOLDEN = (1408, 0.4741659, 53.60394, 46.33636)


def test_trace_is_rasterise_with_other_values() -> None:
    for seed in range(4):
        target, source, depth, triangles = scene(seed)
        sampling, nearest = blank()
        rasterise(target, source, depth, triangles, sampling, nearest)
        values = np.c_[source, depth].astype(np.float32)
        levels = np.arange(1, len(triangles) + 1, dtype=np.float32)
        traced, level = np.zeros((H, W, 3), np.float32), np.zeros((H, W), np.float32)
        traced_depth = np.full((H, W), FAR, np.float32)
        trace(target, depth, triangles, values, levels, 6, traced, level, traced_depth)
        np.testing.assert_allclose(traced_depth, nearest, rtol=1e-5)
        valued = (level > 0) & (level <= 6)
        assert valued.any()
        np.testing.assert_allclose(traced[valued, :2], sampling[valued] + 0.5, atol=2e-3)
        np.testing.assert_allclose(traced[valued, 2], nearest[valued], atol=1e-5)
        assert not traced[~valued].any(), "what is in front hides the values behind it"
        np.testing.assert_array_equal(level > 0, nearest < FAR)


def test_a_canvas_remembers_what_was_painted() -> None:
    rgb, painted = np.full((8, 8, 3), 10, np.uint8), np.zeros((8, 8), np.uint8)
    canvas = Canvas(rgb, painted)
    canvas.lay(2, 3, np.full((2, 4, 3), 110, np.float32), np.full((2, 4), 0.5, np.float32))
    canvas.lay(2, 3, np.full((1, 1, 3), 60, np.float32), np.full((1, 1), 0.1, np.float32))
    assert (rgb[4, 2:6] == 60).all()
    assert painted.sum() == 128 * 8
    assert (rgb[painted == 0] == 10).all()


def a_fold_and_an_end() -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """A dark surface that goes behind a red one, which ends: pixels [H, W, 4], where they come from, their depth."""
    sampling = np.stack(np.meshgrid(np.arange(W), np.arange(H)), -1).astype(np.float32)
    sampling[:, 30:, 0] += 20  # what is to the right hides some of the surface
    nearest = np.ones((H, W), np.float32)
    nearest[:, 50:] = FAR
    sampling[:, 50:] = -1e4
    drawn = np.zeros((H, W, 4), np.uint8)
    drawn[:, :50, 3] = 255
    drawn[:, 30:50, 0] = 160
    return drawn, sampling, nearest


def test_a_fold_is_blended_with_what_is_beside_it_and_nothing_else_is() -> None:
    drawn, sampling, nearest = a_fold_and_an_end()
    was = drawn.copy()
    soften_folds(drawn, sampling, nearest, np.float32(4))
    row = drawn[H // 2]
    assert list(row[27:33, 0]) == sorted(row[27:33, 0]), "from one to the other and not back"
    assert 0 < row[29, 0] < 80 < row[30, 0] < 160
    assert (row[:48, 3] == 255).all(), "what is whole stays whole"
    still = np.ones(W, bool)
    still[[28, 29, 30, 31, 48, 49, 50, 51]] = False
    assert np.array_equal(drawn[:, still], was[:, still])


def test_a_surface_ends_softly_in_its_own_colour() -> None:
    drawn, sampling, nearest = a_fold_and_an_end()
    soften_folds(drawn, sampling, nearest, np.float32(4))
    row = drawn[H // 2]
    assert (np.diff(row[46:54, 3].astype(int)) <= 0).all()
    assert 255 > row[49, 3] > 128 > row[50, 3] > 0
    assert (np.abs(row[40:52, 0].astype(int) - 160) <= 1).all(), "not darkened by the nothing beside it"


def test_where_nothing_of_the_person_is_a_surface_ends_unseen() -> None:
    drawn, sampling, nearest = a_fold_and_an_end()
    drawn[..., 3] = 0
    was = drawn.copy()
    soften_folds(drawn[:, 40:], sampling[:, 40:], nearest[:, 40:], np.float32(4))
    assert np.array_equal(drawn, was)
