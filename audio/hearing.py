"""Sound -> what is being said, a hundred times a second: how likely each phone is, and who speaks or draws breath.

The network is a causal temporal convolution (Bai, Kolter and Koltun 2018) in numpy, fitted by
`audio.training.speech` to synthetic speech in many languages (docs/weights.md). It answers twice for every moment:
early, when little after it has been heard, and late, when more has. Knows nothing of mouths.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio.features import N_MEL, LogMel, scaled
from audio.phones import SYMBOLS
from audio.rows import Rows

Floats = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights" / "lips.npz"
WIDTH = 160
DILATIONS = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8)
LATE, EARLY = 17, 7  # rows heard after the moment that an answer is for
AT_ONCE = 512  # rows worked out together, so that a long sound takes no more memory than a short one
QUIET = -2.0  # what `features.scaled` makes of digital silence


@dataclass(frozen=True)
class Answers:
    """What was made of some rows of sound: of row i, what was said LATE rows before it, and EARLY rows before it."""

    late: Rows
    early: Rows

    def __len__(self) -> int:
        return len(self.late)


@functools.cache
def weights(path: Path = WEIGHTS) -> dict[str, NDArray[Any]]:
    """What was fitted, by name, floats as float32. Raises ValueError if the file is not ours."""
    with np.load(path, allow_pickle=False) as data:
        if "symbols" not in data.files or tuple(data["symbols"]) != SYMBOLS:
            raise ValueError(
                f"{path} does not answer with our {len(SYMBOLS)} phones; wanted the weights of this version"
            )
        return {n: data[n].astype(np.float32) if data[n].dtype.kind == "f" else data[n] for n in data.files}


class Ear:
    """Samples in, cut anyhow -> an answer for every row of `features.LogMel`, and LATE more when the sound ends."""

    def __init__(self, path: Path = WEIGHTS) -> None:
        self._w = weights(path)
        self._begin()

    def _begin(self) -> None:
        self._mel = LogMel()
        # Of every layer, the rows that the next ones still look back on.
        self._past = [np.full((2, N_MEL), QUIET, np.float32)]
        self._past += [np.zeros((2 * d, WIDTH), np.float32) for d in DILATIONS]

    def push(self, pcm: Floats) -> Answers:
        """Answers for the rows that samples [T] complete."""
        return self.hear(scaled(self._mel.push(pcm)))

    def flush(self) -> Answers:
        """Answers for the rest, and for LATE rows of silence after it; then as new."""
        rest = scaled(self._mel.flush())
        answers = self.hear(np.concatenate((rest, np.full((LATE, N_MEL), QUIET, np.float32))))
        self._begin()
        return answers

    def hear(self, mel: Floats) -> Answers:
        """Answers for rows [n, N_MEL] of `features.scaled`, in the place of sound."""
        parts = [self._raw(mel[i : i + AT_ONCE]) for i in range(0, len(mel), AT_ONCE)]
        n_heads = 2 + len(SYMBOLS)
        raw = np.concatenate([np.zeros((0, 2 * n_heads), np.float32), *parts]).reshape(-1, 2, n_heads)
        likely, (speech, breath) = _softmax(raw[..., 2:]), (1 / (1 + np.exp(-raw[..., i])) for i in (0, 1))
        return Answers(*(Rows(likely[:, i], speech[:, i], breath[:, i]) for i in (0, 1)))

    def _raw(self, mel: Floats) -> Floats:
        w = self._w
        x = self._with_past(0, mel, 1) @ w["first_w"] + w["first_b"]
        for i, dilation in enumerate(DILATIONS):
            h = self._with_past(i + 1, _norm(x, w["norm_w"][i], w["norm_b"][i]), dilation)
            x = x + np.maximum(h @ w["wide_w"][i] + w["wide_b"][i], 0) @ w["out_w"][i] + w["out_b"][i]
        x = np.maximum(_norm(x, w["last_norm_w"], w["last_norm_b"]), 0)
        return np.asarray(x @ w["last_w"] + w["last_b"], np.float32)

    def _with_past(self, layer: int, x: Floats, dilation: int) -> Floats:
        """Rows [T, C] beside those `dilation` and twice `dilation` before them: [T, 3 C], the oldest first."""
        n = len(x)
        x = np.concatenate((self._past[layer], x))
        self._past[layer] = x[len(x) - 2 * dilation :]
        return np.concatenate((x[:n], x[dilation : dilation + n], x[2 * dilation :]), 1)


def _norm(x: Floats, w: Floats, b: Floats) -> Floats:
    """Layer normalisation of rows [T, C] (Ba, Kiros and Hinton 2016)."""
    n = np.float32(x.shape[-1])
    x = x - np.add.reduce(x, -1, keepdims=True) / n
    spread = np.sqrt(np.einsum("tc,tc->t", x, x) / n + np.float32(1e-5))
    return np.asarray(x * (w / spread[:, None]) + b, np.float32)


def _softmax(x: Floats) -> Floats:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True), np.float32)
