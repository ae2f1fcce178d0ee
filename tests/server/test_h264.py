from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import InputError
from server.h264 import LARGEST_PX, H264Reader, H264Writer, is_key

Rgb = NDArray[np.uint8]


def moving(face: Rgb, n: int) -> list[Rgb]:
    return [np.roll(face, (2 * i, 3 * i), (0, 1)) for i in range(n)]


def test_every_picture_comes_back_at_once(face: Rgb) -> None:
    writer, reader = H264Writer(), H264Reader()
    units = []
    for rgb in moving(face, 12):
        units.append(writer(rgb))
        worst = np.abs(reader(units[-1]).astype(int) - rgb).mean()
        assert worst < 5
    assert [is_key(unit) for unit in units] == [True] + [False] * 11
    assert len(units[5]) < len(units[0]) / 2


def test_a_reader_that_missed_a_unit_waits_for_a_key_frame_and_a_writer_sends_one_when_told(face: Rgb) -> None:
    writer, reader = H264Writer(), H264Reader()
    assert reader.waits
    reader(writer(face))
    assert not reader.waits
    reader.lost()
    assert reader.waits
    writer.begin_anew()
    unit = writer(face)
    assert is_key(unit)
    assert np.abs(reader(unit).astype(int) - face).mean() < 5


def test_a_picture_may_change_its_size_and_have_odd_sides(face: Rgb) -> None:
    writer, reader = H264Writer(), H264Reader()
    assert reader(writer(face)).shape == (288, 288, 3)
    unit = writer(face[:201, :133])
    assert is_key(unit)
    assert reader(unit).shape == (200, 132, 3)


def test_a_damaged_unit_is_refused_with_a_sentence_and_then_a_key_frame_wanted(face: Rgb) -> None:
    writer, reader = H264Writer(), H264Reader()
    first = writer(face)
    with pytest.raises(InputError, match="an H264 picture is damaged, or larger than 1920x1088; wanted a whole one"):
        reader(first[: len(first) // 3])
    assert reader.waits
    with pytest.raises(InputError, match="holds no single picture"):
        reader(H264Writer()(face[:8, :8]))


def test_a_picture_larger_than_a_decoder_may_hold_is_refused() -> None:
    large = np.zeros((2160, 3840, 3), np.uint8)
    assert large.shape[0] * large.shape[1] > LARGEST_PX
    with pytest.raises(InputError, match="larger than 1920x1088"):
        H264Reader()(H264Writer()(large))


def test_a_unit_of_nothing_but_beginnings_costs_nothing() -> None:
    unit = b"\0\0\1\x67" * (1 << 20)
    begun = time.process_time()
    assert not is_key(unit)
    assert time.process_time() - begun < 0.05


def test_no_damage_to_a_stream_raises_anything_else(face: Rgb) -> None:
    """Bits turned, units cut, units left out: each is a picture or a sentence."""
    writer = H264Writer()
    units = [writer(rgb) for rgb in moving(face[:128, :128], 40)]
    rng = np.random.default_rng(0)
    shown = refused = 0
    for _ in range(25):
        reader = H264Reader()
        for unit in units:
            broken = bytearray(unit)
            if rng.random() < 0.5:
                for at in rng.integers(4, len(unit), rng.integers(1, 12)):
                    broken[at] = rng.integers(256)
            if rng.random() < 0.1:
                broken = broken[: rng.integers(4, len(unit))]
            if reader.waits and not is_key(bytes(broken)):
                broken = bytearray(units[0])
            if not is_key(bytes(broken)) and reader.waits:
                continue
            try:
                assert reader(bytes(broken)).ndim == 3
                shown += 1
            except InputError:
                refused += 1
    print(f"{shown} pictures, {refused} refused")
    assert shown > 100
    assert refused > 100
