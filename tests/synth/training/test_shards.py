"""Rows come back from disk as they went there, every one of them, in random batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import InputError
from synth.training.shards import Samples, read_shard, row_type, write_shard

T, R, S = 2, 3, 8


def rows(n: int, seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    out = np.zeros(n, row_type(T, R, S))
    for name in out.dtype.names or ():
        out[name] = rng.integers(0, 200, out[name].shape)
    out["person"] = 100 * seed + np.arange(n)
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, n in enumerate((5, 3)):
        write_shard(tmp_path / f"shard-{i:05d}.npy", rows(n, i))
    return tmp_path


def test_what_is_read_is_mapped_and_what_was_written(folder: Path) -> None:
    back = read_shard(folder / "shard-00001.npy")
    assert isinstance(back, np.memmap)
    np.testing.assert_array_equal(back, rows(3, 1))


def test_a_batch_has_the_rows_that_were_asked_for(folder: Path) -> None:
    samples = Samples(folder)
    assert len(samples) == 8
    batch = samples.take(np.array([6, 0, 4]))
    assert batch.person.tolist() == [101, 0, 4]
    assert batch.target.shape == (3, T, S, S, 3)
    assert batch.references.shape == (3, R, S, S, 3)
    assert batch.coords.dtype == np.float16
    np.testing.assert_array_equal(batch.stretch[0], rows(3, 1)["stretch"][1])


def test_every_row_comes_once_a_round_in_an_order_that_the_seed_tells(folder: Path) -> None:
    def first(n: int, seed: int) -> list[int]:
        batches = Samples(folder).batches(4, np.random.default_rng(seed))
        return [int(p) for _ in range(n) for p in next(batches).person]

    assert sorted(first(2, 0)) == [0, 1, 2, 3, 4, 100, 101, 102]
    assert first(4, 0) == first(4, 0)
    assert first(4, 0)[:8] != first(4, 0)[8:]
    assert first(2, 0) != first(2, 1)


def test_what_is_no_shard_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=r"holds no shards; make some with python -m synth\.training\.people"):
        Samples(tmp_path / "nowhere")
    np.save(folder / "shard-00002.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"shard-00002\.npy holds None; wanted \('target'"):
        Samples(folder)
    (folder / "shard-00002.npy").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"shard-00002\.npy is no shard of samples"):
        Samples(folder)
    write_shard(folder / "shard-00002.npy", np.zeros(2, row_type(T, R, S + 1)))
    with pytest.raises(InputError, match=r"shard-00002\.npy holds rows of other shapes than"):
        Samples(folder)


def test_a_batch_larger_than_all_there_is_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="a batch of 9 rows, wanted 1 to 8"):
        next(Samples(folder).batches(9, np.random.default_rng(0)))
