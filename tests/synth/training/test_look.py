"""Light becomes a picture: exposed for the face, in a camera's or a painter's way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from synth.training.look import Look

Floats = NDArray[np.float32]


@pytest.fixture
def plain() -> Look:
    return Look(
        kind="photo", level=0.25, balance=np.ones(3, np.float32), contrast=0, saturation=1, gamma=1, blur=0, noise=0,
        jpeg=100, steps=6,
    )  # fmt: skip


def ramp() -> Floats:  # [40, 60, 3], linear
    x = np.linspace(0.01, 0.55, 60, dtype=np.float32)
    return np.broadcast_to(x[None, :, None] * np.array((1, 0.7, 0.5), np.float32), (40, 60, 3)).astype(np.float32)


def shown(look: Look, light: Floats, seed: int = 0) -> NDArray[np.uint8]:
    return look.picture(light, 80.0, np.random.default_rng(seed))


def test_a_plain_photograph_is_the_light_to_the_power_of_1_over_2_2(plain: Look) -> None:
    np.testing.assert_allclose(shown(plain, ramp()), ramp() ** (1 / 2.2) * 255, atol=0.6)


def test_a_face_is_as_light_as_the_exposure_aims_at_however_bright_the_lamp(plain: Look) -> None:
    skin = np.zeros((40, 60), np.float32)
    skin[:, 20:40] = 1
    tone = np.full(3, 0.35, np.float32)
    for lamp in (0.1, 1.0, 7.0):
        exposed = ramp() * lamp * plain.exposure(ramp() * lamp, skin, tone)
        luma = exposed @ np.array((0.2126, 0.7152, 0.0722), np.float32)
        assert luma[:, 20:40].mean() == pytest.approx(0.25, rel=1e-3)
    dark = plain.exposure(ramp(), skin, np.full(3, 0.08, np.float32))
    assert dark < 0.6 * plain.exposure(ramp(), skin, tone), "a dark skin stays one"


def test_no_colour_means_grey_and_noise_is_the_seeds(plain: Look) -> None:
    grey = shown(replace(plain, saturation=0), ramp())
    assert np.ptp(grey.astype(int), axis=-1).max() == 0
    noisy = replace(plain, noise=2.0)
    np.testing.assert_array_equal(shown(noisy, ramp(), 3), shown(noisy, ramp(), 3))
    spread = (shown(noisy, ramp(), 3).astype(int) - shown(noisy, ramp(), 4)).std()
    assert spread == pytest.approx(2.0 * np.sqrt(2), rel=0.15)
    faint = noisy.picture(ramp(), 80.0, np.random.default_rng(3), faults=0.0)
    np.testing.assert_array_equal(faint, shown(plain, ramp()))


def test_a_painting_has_strokes_and_a_cartoon_has_few_tones(plain: Look) -> None:
    rough = np.clip(ramp() + 0.05 * np.random.default_rng(0).standard_normal((40, 60, 1)), 0.01, 1).astype(np.float32)
    photo, paint = (shown(replace(plain, kind=kind), rough).astype(float) for kind in ("photo", "paint"))
    down = [np.abs(np.diff(rgb, axis=0)).mean() for rgb in (photo, paint)]
    print(f"mean step down a column: photo {down[0]:.1f}, paint {down[1]:.1f}")
    assert down[1] < 0.6 * down[0]
    assert np.abs(paint.mean() - photo.mean()) < 6
    smooth, cartoon = (shown(replace(plain, kind=kind), ramp())[20].astype(float) for kind in ("photo", "cartoon"))
    across = [np.abs(np.diff(rgb, axis=0)).max(-1) for rgb in (smooth, cartoon)]
    print(
        f"largest step over the median along a ramp: photo {across[0].max() / np.median(across[0]):.1f}, cartoon {across[1].max() / np.median(across[1]):.1f}"
    )
    assert across[1].max() / np.median(across[1]) > 1.5 * across[0][5:].max() / np.median(across[0])


def test_looks_vary_and_most_are_photographs() -> None:
    kinds = [Look.random(np.random.default_rng(seed)).kind for seed in range(200)]
    assert kinds.count("photo") > 140
    assert {"paint", "cartoon"} <= set(kinds)
