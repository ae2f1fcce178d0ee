"""An order carried out: what its text says, and what goes wrong in the words of whoever sent it."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.video import VideoReader
from server.act import ActOptions
from server.capture import CaptureOptions
from server.dub import DubOptions
from server.jobs.orders import ActOrder, CaptureOrder, DubOrder, Order, as_text
from server.jobs.work import carry_out
from tests.server.jobs.test_batch import speech


def nothing(done: int, total: int | None) -> None:
    pass


def test_what_went_wrong_names_a_clients_file_by_its_part(tmp_path: Path) -> None:
    order = ActOrder(character=Path("uploads/1/a.png"), performance=Path("uploads/2/b.mp4"), options=ActOptions())
    with pytest.raises(InputError, match=r"^the character does not exist") as refused:
        carry_out(as_text(order), tmp_path, tmp_path, nothing)
    assert str(tmp_path) not in str(refused.value)


def test_a_file_of_this_machine_keeps_its_name(tmp_path: Path) -> None:
    order = DubOrder(clip=tmp_path / "c.mp4", options=DubOptions(audio=tmp_path / "s.wav"))
    with pytest.raises(InputError, match=r"c\.mp4"):
        carry_out(as_text(order), tmp_path / "data", tmp_path, nothing)


@pytest.mark.slow
def test_each_kind_makes_a_file_and_tells_its_length(portrait: Path, clip: Path, tmp_path: Path) -> None:
    for source, name in ((portrait, "a.png"), (clip, "c.mp4")):
        shutil.copy(source, tmp_path / name)
    speech(tmp_path / "s.wav", 0.8)
    orders: list[tuple[Order, str, float]] = [
        (
            ActOrder(
                character=Path("a.png"), performance=Path("c.mp4"), options=ActOptions(end=Fraction(1, 5)),
                suffix=".mkv",
            ),
            "output.mkv", 0.2,
        ),
        (DubOrder(clip=Path("a.png"), options=DubOptions(audio=Path("s.wav"))), "output.mp4", 0.8),
        (CaptureOrder(video=Path("c.mp4"), options=CaptureOptions(), suffix=".csv"), "output.csv", 24 / 25),
    ]  # fmt: skip
    for n, (order, name, seconds) in enumerate(orders):
        folder = tmp_path / str(n)
        folder.mkdir()
        done = carry_out(as_text(order), tmp_path, folder, nothing)
        assert (done.output, [p.name for p in folder.iterdir()]) == (name, [name])
        assert done.seconds == pytest.approx(seconds, abs=0.05)
        assert done.frames > 0
    with VideoReader(tmp_path / "0/output.mkv") as reader:
        assert sum(1 for _ in reader) == 5
