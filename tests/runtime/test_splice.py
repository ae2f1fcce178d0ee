"""Sound laid over sound, to the sample."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.sound import inspect_sound
from runtime.splice import Insert, Splice

RATE = 8000


def wav(path: Path, pcm: NDArray[np.float32], rate: int = RATE) -> Path:
    """`pcm [T]` or `[channels, T]` as 16 bits."""
    pcm = np.atleast_2d(pcm)
    with av.open(str(path), "w") as container:
        layout = "mono" if len(pcm) == 1 else "stereo"
        stream = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        samples = np.ascontiguousarray((pcm.T * 32767).round().astype(np.int16).reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(samples, "s16", layout)
        frame.sample_rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def level(value: float, seconds: float) -> NDArray[np.float32]:
    return np.full(round(seconds * RATE), value, np.float32)


def heard(splice: Splice, *until: Fraction) -> NDArray[np.float32]:
    frames = [frame for time in until for frame in splice.until(time)]
    place = 0
    for frame in frames:
        assert frame.pts == place
        place += frame.samples
    return np.concatenate([np.asarray(f.to_ndarray(), np.float32) for f in frames], 1)


def test_one_sound_alone_is_kept_to_the_sample_and_followed_by_silence(tmp_path: Path) -> None:
    pcm = (0.5 * np.sin(np.arange(RATE) / 5)).astype(np.float32)
    track = inspect_sound(wav(tmp_path / "a.wav", pcm))
    out = heard(Splice(RATE, "mono", [Insert(track)]), Fraction(2))
    assert out.shape == (1, 2 * RATE)
    assert np.abs(out[0, :RATE] - pcm).max() < 1e-4
    assert not out[0, RATE:].any()


def test_asked_for_in_small_pieces_it_is_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = inspect_sound(wav(tmp_path / "base.wav", 0.2 * rng.standard_normal(3 * RATE).astype(np.float32)))
    over = inspect_sound(wav(tmp_path / "over.wav", 0.2 * rng.standard_normal(RATE).astype(np.float32)))

    def splice() -> Splice:
        return Splice(RATE, "mono", [Insert(over, Fraction(1, 3)), Insert(over, Fraction(3, 2), Fraction(2))], base)

    whole = heard(splice(), Fraction(5, 2))
    pieces = heard(splice(), *[Fraction(i, 29) for i in range(1, 73)], Fraction(5, 2))
    np.testing.assert_array_equal(whole, pieces)


def test_what_is_laid_over_is_heard_in_its_place_and_the_rest_stays(tmp_path: Path) -> None:
    base = inspect_sound(wav(tmp_path / "base.wav", level(0.25, 3)))
    over = inspect_sound(wav(tmp_path / "over.wav", level(-0.5, 1)))
    out = heard(Splice(RATE, "mono", [Insert(over, Fraction(1))], base), Fraction(4))[0]
    np.testing.assert_allclose(out[: RATE - 1], 0.25, atol=1e-3)
    np.testing.assert_allclose(out[RATE + 80 : 2 * RATE - 80], -0.5, atol=1e-3)
    np.testing.assert_allclose(out[2 * RATE : 3 * RATE], 0.25, atol=1e-3)
    assert not out[3 * RATE :].any()
    assert np.abs(np.diff(out[: 3 * RATE - 1])).max() < 0.02  # no click


def test_a_place_longer_than_its_sound_is_silent_at_the_end_and_a_shorter_one_cuts_it(tmp_path: Path) -> None:
    base = inspect_sound(wav(tmp_path / "base.wav", level(0.25, 4)))
    over = inspect_sound(wav(tmp_path / "over.wav", level(-0.5, 1)))
    inserts = [Insert(over, Fraction(0), Fraction(2)), Insert(over, Fraction(3), Fraction(7, 2))]
    out = heard(Splice(RATE, "mono", inserts, base), Fraction(4))[0]
    assert not out[RATE + 80 : 2 * RATE - 80].any()
    np.testing.assert_allclose(out[3 * RATE + 80 : 3 * RATE + RATE // 2 - 80], -0.5, atol=1e-3)
    np.testing.assert_allclose(out[3 * RATE + RATE // 2 :], 0.25, atol=1e-3)


def test_a_sound_is_heard_from_the_instant_asked_for(tmp_path: Path) -> None:
    ramp = np.linspace(-0.9, 0.9, RATE, dtype=np.float32)
    track = inspect_sound(wav(tmp_path / "a.wav", ramp))
    out = heard(Splice(RATE, "mono", [Insert(track, begin=Fraction(1, 4))]), Fraction(1, 2))[0]
    np.testing.assert_allclose(out, ramp[RATE // 4 : RATE * 3 // 4], atol=1e-3)
    moved = heard(Splice(RATE, "mono", base=track, base_start=Fraction(-1, 4)), Fraction(1))[0]
    assert not moved[: RATE // 4].any()
    np.testing.assert_allclose(moved[RATE // 4 :], ramp[: RATE * 3 // 4], atol=1e-3)


@pytest.mark.parametrize(("layout", "n"), [("mono", 1), ("stereo", 2)])
def test_it_has_the_rate_and_the_channels_asked_for(tmp_path: Path, layout: str, n: int) -> None:
    t = np.arange(2 * RATE) / RATE
    track = inspect_sound(wav(tmp_path / "a.wav", np.stack([0.3 * np.sin(2 * np.pi * 300 * t)] * 2).astype(np.float32)))
    out = heard(Splice(16_000, layout, [Insert(track)]), Fraction(2))
    assert out.shape == (n, 32_000)
    t = np.arange(32_000) / 16_000
    assert np.corrcoef(out[0], np.sin(2 * np.pi * 300 * t))[0, 1] > 0.999


def test_thirty_two_channels_become_their_mean(tmp_path: Path) -> None:
    import wave

    pcm = np.zeros((RATE, 32), np.int16)
    pcm[:, 3] = 16_000
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(32)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm.tobytes())
    out = heard(Splice(RATE, "stereo", [Insert(inspect_sound(tmp_path / "a.wav"))]), Fraction(1))
    np.testing.assert_allclose(out[0, 100:-100], out[1, 100:-100], atol=1e-6)
    assert out[0, 100:-100].mean() == pytest.approx(16_000 / 32768 / 32, rel=0.35)
