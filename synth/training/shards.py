"""Samples on disk: one array of rows a file, whatever made them; read back as random batches.

A row is a short run of frames of one made person: the guide that the product would have, the true frames, and other
pictures of the same person. Rows have fixed shapes and files are not compressed, so they are mapped, not loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.output import whole_file

Rng = np.random.Generator


def row_type(n_frames: int, n_references: int, side: int) -> np.dtype[Any]:
    """T frames and R references of S by S pixels. Masks are 0..255; the rest is as in `synth.diffusion.guide`."""
    T, R, S = n_frames, n_references, side
    return np.dtype(
        [
            ("target", np.uint8, (T, S, S, 3)),
            ("rgb", np.uint8, (T, S, S, 3)),
            ("valid", np.uint8, (T, S, S)),
            ("coords", np.float16, (T, S, S, 3)),
            ("stretch", np.float16, (T, S, S)),
            ("mouth", np.uint8, (T, S, S)),
            ("eyes", np.uint8, (T, S, S)),
            ("opened", np.float32),
            ("references", np.uint8, (R, S, S, 3)),
            ("reference_coords", np.float16, (R, S, S, 3)),
            ("reference_opened", np.float32, (R,)),
            ("person", np.int64),
        ]
    )


@dataclass(frozen=True)
class Batch:
    """B rows: each field of a row with B before its shape."""

    target: NDArray[np.uint8]  # [B, T, S, S, 3]
    rgb: NDArray[np.uint8]  # [B, T, S, S, 3], the guide's
    valid: NDArray[np.uint8]  # [B, T, S, S]
    coords: NDArray[np.float16]  # [B, T, S, S, 3]
    stretch: NDArray[np.float16]  # [B, T, S, S]
    mouth: NDArray[np.uint8]  # [B, T, S, S]
    eyes: NDArray[np.uint8]  # [B, T, S, S]
    opened: NDArray[np.float32]  # [B], of the picture that the guide was made of
    references: NDArray[np.uint8]  # [B, R, S, S, 3]; the first is that picture
    reference_coords: NDArray[np.float16]  # [B, R, S, S, 3]
    reference_opened: NDArray[np.float32]  # [B, R]
    person: NDArray[np.int64]  # [B], rows of the same person have the same number


def write_shard(path: Path, rows: NDArray[Any]) -> None:
    """Rows [N] of `row_type` to a file that appears only when whole."""
    with whole_file(path, force=True) as partial, partial.open("wb") as file:
        np.lib.format.write_array(file, rows, allow_pickle=False)


def read_shard(path: Path) -> NDArray[Any]:
    """Rows [N], mapped."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no shard of samples: {error}") from error
    if rows.dtype.names != row_type(1, 1, 1).names:
        raise InputError(f"{path} holds {rows.dtype.names}; wanted {row_type(1, 1, 1).names}")
    return np.asanyarray(rows)


class Samples:
    """All the rows in the shards of a folder and of those inside it."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.rglob("shard-*.npy"))
        if not paths:
            raise InputError(f"{folder} holds no shards; make some with python -m synth.training.people")
        self._shards = [read_shard(path) for path in paths]
        for path, rows in zip(paths, self._shards, strict=True):
            if rows.dtype != self._shards[0].dtype:
                raise InputError(f"{path} holds rows of other shapes than {paths[0]}")
        self._starts = np.cumsum([0, *(len(rows) for rows in self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, i: int) -> Any:
        """One row, mapped: what is not looked at is not read."""
        shard = int(np.searchsorted(self._starts, i, side="right")) - 1
        return self._shards[shard][i - self._starts[shard]]

    def take(self, index: NDArray[np.int64]) -> Batch:
        """The rows with these numbers [B]."""
        shard = np.searchsorted(self._starts, index, side="right") - 1
        rows = [self._shards[s][i - self._starts[s]] for s, i in zip(shard, index, strict=True)]
        return Batch(*(np.stack([row[field.name] for row in rows]) for field in fields(Batch)))

    def batches(self, size: int, rng: Rng) -> Iterator[Batch]:
        """Random batches without end: every row once, in a new order each time round."""
        if not 1 <= size <= len(self):
            raise ValueError(f"a batch of {size} rows, wanted 1 to {len(self)}")
        while True:
            order = rng.permutation(len(self))
            for start in range(0, len(order) - size + 1, size):
                yield self.take(order[start : start + size])
