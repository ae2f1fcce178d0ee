"""What is said of files that nothing could open."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.foreign import seems
from runtime.image import load_image
from runtime.sound import open_sound
from runtime.video import VideoReader
from runtime.writer import VideoWriter


@pytest.fixture
def movie(tmp_path: Path) -> bytes:
    with VideoWriter(tmp_path / "whole.mp4", 64, 64, Fraction(25)) as writer:
        for i in range(5):
            writer.write(np.full((64, 64, 3), 40 * i, np.uint8), Fraction(i, 25))
    return (tmp_path / "whole.mp4").read_bytes()


def test_an_mp4_whose_index_never_came_is_cut_short(tmp_path: Path, movie: bytes) -> None:
    index = movie.index(b"moov") - 4
    n_bytes = int.from_bytes(movie[index : index + 4], "big")
    cut_index = movie[: index + 60]
    no_index = movie[:index] + movie[index + n_bytes :]  # a camera writes it last, when it is told to stop
    for name, data in {"camera.mp4": no_index, "download.mp4": cut_index}.items():
        (tmp_path / name).write_bytes(data)
        assert seems(tmp_path / name) == "is cut short: its index is missing"
        with pytest.raises(InputError, match=f"{name} is cut short: its index is missing; wanted a"):
            VideoReader(tmp_path / name)
    assert seems(tmp_path / "whole.mp4") is None


def test_text_is_called_text_whatever_its_name_and_language(tmp_path: Path) -> None:
    cut_in_a_character = "ü".encode() * 2048 + b"x"
    for i, data in enumerate((b"dear diary\n" * 50, "Liebes Tagebüchlein".encode(), b"y" + cut_in_a_character)):
        (tmp_path / f"{i}.mp4").write_bytes(data)
        assert seems(tmp_path / f"{i}.mp4") == "holds text"
    with pytest.raises(InputError, match=r"0.mp4 holds text; wanted a file with sound"):
        open_sound(tmp_path / "0.mp4")


def test_of_what_it_does_not_know_it_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    (tmp_path / "b.bin").write_bytes(b"")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe latin \xe9 only")
    assert [seems(tmp_path / name) for name in ("a.bin", "b.bin", "c.bin", "gone.bin")] == [None] * 4


def test_pictures_of_kinds_that_are_not_read_are_called_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(4000))
    (tmp_path / "logo.png").write_text('<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>')
    with pytest.raises(InputError, match=r"photo.jpg is a HEIC picture, to be saved as JPEG first; wanted a picture"):
        load_image(tmp_path / "photo.jpg")
    with pytest.raises(InputError, match=r"logo.png is an SVG drawing, to be saved as PNG first; wanted a picture"):
        load_image(tmp_path / "logo.png")
