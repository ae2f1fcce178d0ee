"""Any recording becomes the same stream of samples, in its own time, a piece at a time."""

from __future__ import annotations

import struct
import wave
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from audio.speech import Listened, inspect_speech, read_speech, whole
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE, AudioChunk

HZ = 220.0


def tone(seconds: float, rate: int = 48_000) -> NDArray[np.float64]:
    return np.asarray(0.5 * np.sin(2 * np.pi * HZ * np.arange(round(seconds * rate)) / rate))


def write_wav(path: Path, samples: NDArray[np.generic], rate: int = 48_000) -> Path:
    """`samples` [T] or [T, C] of the type that the file is to have."""
    from scipy.io import wavfile

    wavfile.write(path, rate, samples)
    return path


def pcm16(seconds: float, rate: int = 48_000) -> NDArray[np.int16]:
    return (tone(seconds, rate) * 32767).astype(np.int16)


def expect_tone(pcm: NDArray[np.float32], seconds: float, tolerance: float = 0.02) -> None:
    assert pcm.dtype == np.float32
    assert abs(len(pcm) - seconds * SAMPLE_RATE) <= 1
    wanted = tone(seconds, SAMPLE_RATE)[: len(pcm)]
    inside = slice(200, -200)  # the resampler rings at the ends
    assert np.abs(pcm[: len(wanted)] - wanted)[inside].max() < tolerance


@pytest.mark.parametrize("rate", [4_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_any_rate_becomes_the_houses(tmp_path: Path, rate: int) -> None:
    expect_tone(whole(read_speech(write_wav(tmp_path / "a.wav", pcm16(0.5, rate), rate))), 0.5)


def _packed24(samples: NDArray[np.float64]) -> bytes:
    return b"".join(struct.pack("<i", int(v * (2**23 - 1)))[:3] for v in samples)


def test_any_depth_and_number_of_channels_becomes_the_same_sound(tmp_path: Path) -> None:
    x = tone(0.3)
    files: dict[str, NDArray[Any]] = {
        "u8": (x * 127 + 128).astype(np.uint8),
        "s16": pcm16(0.3),
        "s32": (x * (2**31 - 1)).astype(np.int32),
        "f32": x.astype(np.float32),
        "f64": x,
        "stereo": np.repeat(pcm16(0.3)[:, None], 2, 1),
        "channels32": np.repeat(pcm16(0.3)[:, None], 32, 1),
    }
    for name, samples in files.items():
        expect_tone(whole(read_speech(write_wav(tmp_path / f"{name}.wav", samples))), 0.3)
    with wave.open(str(tmp_path / "s24.wav"), "wb") as file:
        file.setparams((1, 3, 48_000, 0, "NONE", ""))
        file.writeframes(_packed24(x))
    expect_tone(whole(read_speech(tmp_path / "s24.wav")), 0.3)


def _encode(path: Path, codec: str, seconds: float, rate: int = 48_000) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(seconds, rate).astype(np.float32)[None], "fltp", "mono")
        frame.sample_rate, frame.pts = rate, 0
        for out in (frame, None):
            container.mux(stream.encode(out))
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.flac", "flac"), ("a.opus", "libopus"), ("a.mp4", "aac")])  # fmt: skip
def test_any_coding_and_container_is_read(tmp_path: Path, name: str, codec: str) -> None:
    pcm = whole(read_speech(_encode(tmp_path / name, codec, 1.0)))
    assert abs(len(pcm) / SAMPLE_RATE - 1) < 0.06
    inside = pcm[4000:12000]
    spectrum = np.abs(np.fft.rfft(inside * np.hanning(len(inside))))
    assert abs(np.argmax(spectrum) * SAMPLE_RATE / len(inside) - HZ) < 3


def test_a_part_is_exact_to_the_sample_and_keeps_its_own_time(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", pcm16(1.0, SAMPLE_RATE), SAMPLE_RATE)
    chunks = list(read_speech(path, Fraction(1, 4), Fraction(3, 4)))
    assert chunks[0].time == Fraction(1, 4)
    for a, b in pairwise(chunks):
        assert b.time == a.time + Fraction(len(a.pcm), SAMPLE_RATE)
    expected = pcm16(1.0, SAMPLE_RATE)[4000:12000] / 32768
    assert np.abs(whole(chunks) - expected).max() < 1e-4
    assert inspect_speech(path, Fraction(1, 4), Fraction(3, 4)).duration == Fraction(1, 2)
    assert inspect_speech(path).duration == 1


def test_the_clock_of_a_file_that_does_not_begin_at_0_is_taken_off(tmp_path: Path) -> None:
    """A transport stream's clock begins anywhere, an hour in if it likes."""
    path = tmp_path / "a.ts"
    with av.open(str(path), "w", options={"output_ts_offset": "4000"}) as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(1.0).astype(np.float32)[None], "fltp", "mono")
        frame.sample_rate, frame.pts = 48_000, 0
        for out in (frame, None):
            container.mux(stream.encode(out))
    assert abs(inspect_speech(path).duration - 1) < 0.06
    first = next(iter(read_speech(path)))
    assert first.time == 0
    assert abs(len(whole(read_speech(path))) / SAMPLE_RATE - 1) < 0.06


def test_numbers_that_are_none_and_numbers_beyond_full_scale_are_made_sound(tmp_path: Path) -> None:
    x = (tone(0.3) * 4).astype(np.float32)
    x[1000:1010] = np.nan
    x[2000] = np.inf
    pcm = whole(read_speech(write_wav(tmp_path / "a.wav", x)))
    assert np.isfinite(pcm).all()
    assert np.abs(pcm).max() == 1


@pytest.mark.parametrize(("at", "bytes_"), [(4, b"\0\0\0\0"), (4, b"\xff\xff\xff\xff"), (40, b"\0\0\0\0"), (40, b"\xff\xff\xff\xff"), (32, b"\0\0")])  # fmt: skip
def test_a_wav_whose_header_lies_about_its_size_is_read(tmp_path: Path, at: int, bytes_: bytes) -> None:
    data = bytearray(write_wav(tmp_path / "a.wav", pcm16(0.3)).read_bytes())
    data[at : at + len(bytes_)] = bytes_
    (tmp_path / "b.wav").write_bytes(data)
    expect_tone(whole(read_speech(tmp_path / "b.wav")), 0.3)


def test_a_wav_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    data = write_wav(tmp_path / "a.wav", pcm16(0.5)).read_bytes()
    (tmp_path / "b.wav").write_bytes(data[: 44 + 9601 * 2 + 1])
    assert abs(len(whole(read_speech(tmp_path / "b.wav"))) / SAMPLE_RATE - 0.2) < 0.01


def _broken(folder: Path, what: str) -> Path:
    path = folder / f"{what}.wav"
    data = bytearray(write_wav(folder / "whole.wav", pcm16(0.1)).read_bytes())
    if what == "header_alone":
        data = data[:44]
        data[40:44] = b"\0\0\0\0"
    elif what == "stub":
        data = data[:20]
    elif what == "unknown_coding":
        data[20:22] = b"\x99\x99"
    elif what == "no_channels":
        data[22:24] = b"\0\0"
    elif what == "empty":
        data = bytearray()
    elif what == "text":
        data = bytearray(b"hello " * 100)
    elif what == "folder":
        path.mkdir()
        return path
    elif what == "missing":
        return path
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("header_alone", "holds an empty sound track"),
        ("stub", "holds no media that can be read"),
        ("unknown_coding", "holds sound in a coding that is not known"),
        ("no_channels", "holds no sound"),
        ("empty", "holds no media that can be read"),
        ("text", "holds text; wanted a file with sound"),
        ("folder", "is a folder; wanted a file with sound"),
        ("missing", "does not exist; wanted a file with sound"),
    ],
)
def test_what_holds_no_sound_is_told_in_a_sentence(tmp_path: Path, what: str, said: str) -> None:
    path = _broken(tmp_path, what)
    with pytest.raises(InputError, match=f"{what}.wav {said}"):
        read_speech(path)


def test_a_part_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", pcm16(0.5))
    with pytest.raises(InputError, match=r"a.wav lasts 0.50 s; wanted it to reach the start at 0.80 s"):
        read_speech(path, Fraction(4, 5))
    with pytest.raises(InputError, match=r"a.wav was asked for from 0.30 to 0.20 s; wanted a later end"):
        read_speech(path, Fraction(3, 10), Fraction(2, 10))


def test_more_than_an_hour_is_refused_and_an_hour_of_it_is_not(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(400 * 3700, np.uint8), 400)
    with pytest.raises(InputError, match=r"a.wav holds 1:01:40 of sound; wanted an hour or less, or a part of it"):
        inspect_speech(path)
    assert inspect_speech(path, Fraction(100)).duration == 3600
    assert inspect_speech(path, Fraction(199, 2)).duration == Fraction(7201, 2)  # encoders add to an hour


def test_sound_is_read_a_little_at_a_time(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(SAMPLE_RATE * 60, np.int16), SAMPLE_RATE)
    sizes = [len(chunk.pcm) for chunk in read_speech(path)]
    assert sum(sizes) == SAMPLE_RATE * 60
    assert max(sizes) <= 2 * SAMPLE_RATE


def _listen(pcm: NDArray[np.float32]) -> Listened:
    listened = Listened([AudioChunk(time=Fraction(0), pcm=pcm)])
    assert np.array_equal(whole(listened), pcm)
    return listened


def test_silence_is_found_and_a_whisper_in_it_too() -> None:
    quiet = np.random.default_rng(0).normal(0, 1e-4, SAMPLE_RATE).astype(np.float32)
    assert _listen(np.zeros(SAMPLE_RATE, np.float32)).is_silent
    assert _listen(quiet).is_silent
    quiet[8000:8800] += (0.01 * tone(0.05, SAMPLE_RATE)).astype(np.float32)
    assert not _listen(quiet).is_silent
