"""What happens to a voice between mouth and file, and what is heard while nobody speaks; all made, none recorded.

Every function takes mono sound [T] at SAMPLE_RATE and its random numbers, and keeps when things happen.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from runtime.records import SAMPLE_RATE

Floats = NDArray[np.float32]
Rng = np.random.Generator


def normalised(pcm: Floats, level: float = 0.1) -> Floats:
    """At a root mean square of `level`; silence stays silence."""
    rms = float(np.sqrt(np.mean(pcm**2))) if len(pcm) else 0.0
    return pcm if rms < 1e-6 else np.asarray(np.clip(pcm * (level / rms), -1, 1), np.float32)


def coloured(n: int, slope: float, rng: Rng) -> Floats:
    """Noise [n] whose power falls by `slope` dB an octave: 0 white, 3 pink, 6 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    f = np.maximum(np.arange(len(spectrum)), max(1, n * 40 // SAMPLE_RATE))
    return normalised(np.fft.irfft(spectrum * f ** (-slope / 6.02), n).astype(np.float32))


def band(pcm: Floats, low_hz: float, high_hz: float) -> Floats:
    """What of a sound lies between two frequencies."""
    from scipy.signal import butter, sosfilt

    high = min(high_hz, 0.49 * SAMPLE_RATE)
    sos = butter(2, (low_hz, high), "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(sos, pcm), np.float32)


def in_room(pcm: Floats, rng: Rng) -> Floats:
    """Heard some way off in a room: the direct sound, then noise that dies away (Moorer 1979)."""
    from scipy.signal import fftconvolve

    dying_s = rng.uniform(0.1, 0.7)  # until 60 dB less
    t = np.arange(int(dying_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / dying_s)
    tail[: int(rng.uniform(0.002, 0.012) * SAMPLE_RATE)] = 0
    tail *= 10 ** (rng.uniform(-20, -2) / 20) / np.sqrt((tail**2).sum())
    tail[0] = 1
    return normalised(fftconvolve(pcm, tail)[: len(pcm)].astype(np.float32))


def telephone(pcm: Floats, rng: Rng) -> Floats:
    """Band-limited, and in eight bits of mu-law (ITU-T G.711)."""
    x = normalised(band(pcm, rng.uniform(80, 300), rng.uniform(3000, 7000)))
    if rng.random() < 0.5:
        squeezed = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)
        squeezed = np.round(squeezed * 127) / 127
        x = (np.sign(squeezed) * np.expm1(np.abs(squeezed) * np.log(256)) / 255).astype(np.float32)
    return x


def encoded(pcm: Floats, rng: Rng) -> Floats:
    """Through AAC or MP3 and back, moved to where it was."""
    import av

    name, rate = (("aac", 48_000), ("libmp3lame", 32_000))[int(rng.integers(2))]
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(name, rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = int(rng.uniform(0.4, 1.0) * rate)
        frame = av.AudioFrame.from_ndarray(pcm[None].astype(np.float32), "flt", "mono")
        frame.sample_rate = SAMPLE_RATE
        for each in av.AudioResampler(stream.format.name, "mono", SAMPLE_RATE, stream.frame_size).resample(frame):
            container.mux(stream.encode(each))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
        heard = [f.to_ndarray()[0] for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    return _in_place(np.concatenate(heard).astype(np.float32), pcm)


def _in_place(moved: Floats, pcm: Floats) -> Floats:
    """A sound that came back late, cut to where it lay."""
    n = 1 << int(np.ceil(np.log2(len(moved) + len(pcm))))
    likeness = np.fft.irfft(np.fft.rfft(moved, n) * np.fft.rfft(pcm, n).conj(), n)
    late = int(np.argmax(likeness[:4096]))
    out = np.zeros(len(pcm), np.float32)
    here = moved[late : late + len(pcm)]
    out[: len(here)] = here
    return out


def weathered(pcm: Floats, rng: Rng) -> Floats:
    """One voice as one of many microphones, rooms and files would have it."""
    out = normalised(pcm)
    if rng.random() < 0.5:
        out = in_room(out, rng)
    if rng.random() < 0.15:
        out = telephone(out, rng)
    if rng.random() < 0.15:
        out = encoded(out, rng)
    return out


def noise(rng: Rng) -> Floats:
    """Some seconds in which nobody speaks."""
    n = int(rng.uniform(3, 9) * SAMPLE_RATE)
    kinds = (steady, gusts, breaths, music, music, tones, knocks, breaths)
    return kinds[int(rng.integers(len(kinds)))](n, rng)


def steady(n: int, rng: Rng) -> Floats:
    return coloured(n, rng.uniform(0, 8), rng)


def gusts(n: int, rng: Rng) -> Floats:
    """Noise that swells and fades: wind, cars, a crowd far off."""
    slow = np.interp(np.arange(n), np.linspace(0, n, n // 4000 + 2), rng.uniform(0, 1, n // 4000 + 2))
    low = rng.uniform(60, 800)
    return normalised((band(coloured(n, 3, rng), low, low * rng.uniform(2, 8)) * slow**2).astype(np.float32))


def breaths(n: int, rng: Rng) -> Floats:
    """Air through a mouth that waits: half a second of it, now and then, over next to nothing."""
    out = coloured(n, 3, rng) * np.float32(10 ** rng.uniform(-3, -1.5))
    at = int(rng.uniform(0, 0.8) * SAMPLE_RATE)
    while at < n - SAMPLE_RATE // 2:
        length = int(rng.uniform(0.2, 0.8) * SAMPLE_RATE)
        swell = np.sin(np.linspace(0, np.pi, length)) ** rng.uniform(0.6, 2)
        low = rng.uniform(250, 1200)
        air = band(coloured(length, rng.uniform(0, 4), rng), low, low * rng.uniform(2.5, 7)) * swell
        part = out[at : at + length]
        part += (air * rng.uniform(0.1, 1))[: len(part)].astype(np.float32)
        at += length + int(rng.uniform(0.3, 2.5) * SAMPLE_RATE)
    return normalised(out, 0.03)


def gasp(rng: Rng) -> Floats:
    """Air drawn between two phrases: noise in the resonances of an open mouth, that swells and stops short."""
    n = int(rng.uniform(0.12, 0.6) * SAMPLE_RATE)
    white = coloured(n, rng.uniform(-2, 5), rng)
    out = white * rng.uniform(0.02, 0.5)
    at = rng.uniform(350, 900)
    for _ in range(int(rng.integers(2, 5))):
        out = out + band(white, at, at * rng.uniform(1.15, 1.8)) * rng.uniform(0.3, 1.5)
        at *= rng.uniform(1.4, 2.2)
        if at > 5000:
            break
    rise = rng.uniform(0.3, 0.95)  # share of it after which it is loudest
    t = np.linspace(0, 1, n)
    swell = np.where(t < rise, t / rise, (1 - t) / (1 - rise)) ** rng.uniform(0.4, 1.5)
    return normalised((out * swell).astype(np.float32))


def tones(n: int, rng: Rng) -> Floats:
    t = np.arange(n) / SAMPLE_RATE
    out = np.zeros(n)
    for _ in range(int(rng.integers(1, 5))):
        hz = 10 ** rng.uniform(1.7, 3.6)
        out += rng.uniform(0.2, 1) * np.sin(
            2 * np.pi * hz * (t + rng.uniform(0, 0.02) * np.sin(t * rng.uniform(0, 6)) / 6)
        )
    return normalised(out.astype(np.float32))


def knocks(n: int, rng: Rng) -> Floats:
    """Clicks, steps and doors."""
    out = coloured(n, 4, rng) * np.float32(0.01)
    for _ in range(int(rng.integers(3, 20))):
        at, length = int(rng.integers(n)), int(rng.uniform(0.01, 0.15) * SAMPLE_RATE)
        dying = np.exp(-np.arange(length) / (length * rng.uniform(0.1, 0.4)))
        part = out[at : at + length]
        part += (coloured(length, rng.uniform(0, 8), rng) * dying * rng.uniform(0.2, 3))[: len(part)].astype(np.float32)
    return normalised(out, 0.05)


def music(n: int, rng: Rng) -> Floats:
    """Notes of plucked, blown and bowed instruments in a scale, some with a beat under them."""
    out = np.zeros(n)
    scale = np.array((0, 2, 4, 5, 7, 9, 11))
    root = rng.uniform(80, 300)
    beat = int(rng.uniform(0.12, 0.5) * SAMPLE_RATE)
    for _ in range(int(rng.integers(1, 4))):
        held, tilt = rng.uniform(0.5, 4), rng.uniform(0.5, 2.5)
        wobble = rng.uniform(0, 0.004)
        at = 0
        while at < n:
            length = min(n - at, int(beat * held * rng.integers(1, 4)))
            t = np.arange(length) / SAMPLE_RATE
            hz = root * 2 ** ((rng.choice(scale) + 12 * rng.integers(0, 3)) / 12)
            phase = 2 * np.pi * hz * (t + wobble * np.sin(2 * np.pi * 5.5 * t) / 30)
            note = sum(np.sin(k * phase) / k**tilt for k in range(1, 16) if k * hz < 7600)
            attack = np.minimum(1, t / rng.uniform(0.005, 0.1))
            out[at : at + length] += note * attack * np.exp(-t * rng.uniform(0.3, 5)) * rng.uniform(0.3, 1)
            at += max(beat, length)
    if rng.random() < 0.5:
        for at in range(0, n, beat):
            length = min(n - at, int(0.08 * SAMPLE_RATE))
            dying = np.exp(-np.arange(length) / (0.02 * SAMPLE_RATE))
            out[at : at + length] += (
                coloured(max(length, 2), rng.uniform(0, 9), rng)[:length] * dying * rng.uniform(2, 12)
            )
    return normalised(out.astype(np.float32))
