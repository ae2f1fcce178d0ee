"""Characters of a folder: what is whole is one, and what somebody sent cannot hurt whoever keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from runtime.errors import InputError
from server.cast import Cast
from server.rigging import RigLimits


def test_what_is_still_being_written_is_no_character(tmp_path: Path) -> None:
    cast = Cast(tmp_path)
    for name in ("hero.png", ".hero.partial-7.png"):
        Image.new("RGB", (64, 64)).save(tmp_path / "characters" / name)
    assert cast.names() == ["hero"]
    with pytest.raises(InputError, match="there is no character 'nobody'; wanted one of hero"):
        cast.character("nobody")


def test_a_picture_is_shown_without_its_rig_and_who_is_ready_waits_for_nobody_else_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = Cast(tmp_path)
    Image.new("RGB", (64, 64), (9, 60, 200)).save(tmp_path / "characters" / "sky.png")
    monkeypatch.setattr("server.cast.load_character", lambda path: path)
    with cast._making:
        assert Image.open(cast.picture("sky")).getpixel((5, 5)) == (9, 60, 200)
    with pytest.raises(InputError, match="there is no character 'earth'"):
        cast.picture("earth")
    made = cast.character("sky")
    with cast._making:
        assert cast.character("sky") is made


def test_a_picture_that_is_sent_is_opened_by_a_process_with_limits(tmp_path: Path) -> None:
    cast = Cast(tmp_path)
    Image.new("RGB", (640, 480)).save(tmp_path / "sent.png")
    for limits, said in (
        (RigLimits(pixels=1000), r"^a\.png has 640x480 pixels; wanted at most 1000$"),
        (
            RigLimits(memory_mb=300),
            r"^a\.png cannot be made a character within the limits of one; wanted a smaller picture$",
        ),
        (RigLimits(wall_s=0.01), r"^a\.png takes longer than 0\.01 s; wanted a simpler picture$"),
    ):
        with pytest.raises(InputError, match=said):
            cast.take_in(tmp_path / "sent.png", "a.png", limits)
    assert list((tmp_path / "characters").iterdir()) == []
