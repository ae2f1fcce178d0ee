from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.head import Camera
from perfcap.performance import (
    MOTION_ROW,
    ROWS_AT_ONCE,
    VERSION,
    Performance,
    PerformanceReader,
    PerformanceWriter,
    Take,
    appears_whole,
)
from runtime.errors import InputError
from runtime.records import Motion

RATE = Fraction(30000, 1001)


def _take(rng: np.random.Generator) -> Take:
    neutral = rng.standard_normal((478, 3)).astype(np.float32)
    return Take(source="clip.mov", camera=Camera(1280, 720, 1536.0), neutral=neutral, rate=RATE)


def _motions(n: int, rng: np.random.Generator) -> list[Motion]:
    def random(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    return [
        Motion(
            time=i / RATE,
            head=random(4, 4),
            expression=random(52),
            gaze=random(2, 2),
            face=random(478, 3),
            confidence=float(i % 5 != 0),
        )
        for i in range(n)
    ]


def _same(a: Motion, b: Motion) -> bool:
    arrays = ("head", "expression", "gaze", "face")
    return (
        a.time == b.time
        and a.confidence == b.confidence
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)
    )


@pytest.fixture
def performance() -> Performance:
    rng = np.random.default_rng(0)
    return Performance.of(_take(rng), _motions(12, rng))


def test_what_is_saved_is_loaded_bit_for_bit_with_exact_times(performance: Performance, tmp_path: Path) -> None:
    path = tmp_path / "take.npz"
    performance.save(path)
    loaded = Performance.load(path)
    assert len(loaded) == 12
    assert all(_same(a, b) for a, b in zip(performance, loaded, strict=True))
    assert loaded.times[1] == Fraction(1001, 30000)
    assert loaded.n_faceless == 3
    assert loaded.take.source == "clip.mov"
    assert loaded.take.camera == performance.take.camera
    assert loaded.take.rate == RATE
    assert np.array_equal(loaded.take.neutral, performance.take.neutral)
    assert [p.name for p in tmp_path.iterdir()] == ["take.npz"]


def test_a_slice_is_a_performance(performance: Performance) -> None:
    assert isinstance(performance[2:5], Performance)
    assert _same(performance[2:5][0], performance[2])
    assert _same(performance[-1], performance[11])


def test_numpy_alone_reads_the_file_without_pickle(performance: Performance, tmp_path: Path) -> None:
    path = tmp_path / "take.npz"
    performance.save(path)
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(str(file["header"]))
        assert header["version"] == VERSION
        assert header["frames"] == 12
        assert header["faceless"] == 3
        assert np.array_equal(file["frames"]["expression"], performance.frames["expression"])


def test_streamed_equals_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    take, motions = _take(rng), _motions(2 * ROWS_AT_ONCE + 7, rng)
    with PerformanceWriter(tmp_path / "streamed.npz") as writer:
        for motion in motions:
            writer.add(motion)
        writer.finish(take)
    Performance.of(take, motions).save(tmp_path / "whole.npz")
    with PerformanceReader(tmp_path / "streamed.npz") as reader:
        assert max(len(rows) for rows in reader.rows()) == ROWS_AT_ONCE
        assert len(reader) == len(motions)
        assert all(_same(a, b) for a, b in zip(reader, motions, strict=True))
    whole, streamed = Performance.load(tmp_path / "whole.npz"), Performance.load(tmp_path / "streamed.npz")
    assert np.array_equal(whole.frames, streamed.frames)


def test_an_empty_take_is_a_performance(tmp_path: Path) -> None:
    Performance.of(_take(np.random.default_rng(0)), []).save(tmp_path / "empty.npz")
    assert len(Performance.load(tmp_path / "empty.npz")) == 0


def test_a_take_without_a_rate_has_none(performance: Performance, tmp_path: Path) -> None:
    Performance(replace(performance.take, rate=None), performance.frames).save(tmp_path / "a.npz")
    assert Performance.load(tmp_path / "a.npz").take.rate is None


def test_an_unfinished_take_leaves_nothing_behind(performance: Performance, tmp_path: Path) -> None:
    with PerformanceWriter(tmp_path / "take.npz") as writer:
        writer.add(performance[0])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "take.npz"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError), appears_whole(path) as file:  # noqa: PT012
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["take.npz"]


def test_a_folder_that_is_not_there_is_said(performance: Performance, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing/take.npz cannot be written: No such file or directory"):
        performance.save(tmp_path / "missing" / "take.npz")


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing.npz does not exist; wanted a performance"):
        Performance.load(tmp_path / "nothing.npz")
    with pytest.raises(InputError, match=r"is a folder; wanted a performance"):
        Performance.load(tmp_path)


def test_text_in_place_of_a_performance_is_said(tmp_path: Path) -> None:
    path = tmp_path / "take.npz"
    path.write_text("not a performance")
    with pytest.raises(InputError, match=r"take.npz is damaged or no .npz file; wanted a performance"):
        Performance.load(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_said_in_one_sentence(performance: Performance, tmp_path: Path, share: float) -> None:
    path = tmp_path / "take.npz"
    performance.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"take.npz is damaged"):
        Performance.load(path)


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_are_noticed_or_harmless(performance: Performance, tmp_path: Path, seed: int) -> None:
    path = tmp_path / "take.npz"
    performance.save(path)
    raw = bytearray(path.read_bytes())
    for at in np.random.default_rng(seed).integers(0, len(raw), 3):
        raw[at] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"take.npz"):
        Performance.load(path)


def test_a_foreign_npz_is_said(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(InputError, match=r"other.npz was not written by understudy"):
        Performance.load(path)
    np.savez(path, header=np.array(json.dumps({"format": "something else"})))
    with pytest.raises(InputError, match=r"other.npz was not written by understudy"):
        Performance.load(path)


def test_pickled_arrays_are_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, header=np.array([{"format": "understudy performance"}], dtype=object))
    with pytest.raises(InputError, match=r"bad.npz is damaged in its header"):
        Performance.load(path)


def test_a_newer_version_is_said(performance: Performance, tmp_path: Path) -> None:
    path = tmp_path / "take.npz"
    performance.save(path)
    with np.load(path) as file:
        header = json.loads(str(file["header"])) | {"version": VERSION + 1}
        arrays = {"header": np.array(json.dumps(header)), "neutral": file["neutral"], "frames": file["frames"]}
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=rf"version {VERSION + 1}; this understudy reads up to {VERSION}"):
        Performance.load(path)


def test_frames_of_another_shape_are_said(performance: Performance, tmp_path: Path) -> None:
    path = tmp_path / "take.npz"
    performance.save(path)
    with np.load(path) as file:
        np.savez(path, header=file["header"], neutral=file["neutral"], frames=np.zeros(12))
    with pytest.raises(InputError, match=r"damaged in its frames"):
        Performance.load(path)


def test_members_are_stored_so_that_rows_stream(performance: Performance, tmp_path: Path) -> None:
    performance.save(tmp_path / "take.npz")
    with zipfile.ZipFile(tmp_path / "take.npz") as archive:
        frames = archive.getinfo("frames.npy")
    assert frames.compress_type == zipfile.ZIP_STORED
    assert frames.file_size >= 12 * MOTION_ROW.itemsize
