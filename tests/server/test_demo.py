"""The demo needs nothing of the user's, fetches nothing and tells where things are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from perfcap.face import MediaPipeFaces
from perfcap.written import demonstration
from runtime.errors import InputError
from runtime.image import load_image
from runtime.video import VideoReader
from server.demo import ADMIRAL, ASTRONAUT, MOMENTS, SIDE_PX, Portrait, demo, sheet_path

PORTRAITS = pytest.mark.parametrize("portrait", [ASTRONAUT, ADMIRAL], ids=lambda p: p.package)


@PORTRAITS
def test_a_portrait_lies_inside_an_installed_package_and_shows_one_face(portrait: Portrait) -> None:
    rgb = portrait.load()
    assert rgb.shape == (SIDE_PX, SIDE_PX, 3)
    finder = MediaPipeFaces(still=True, n_faces=4)
    assert len(finder.find(rgb)) == 1
    finder.close()


@PORTRAITS
def test_a_missing_package_is_told_in_one_sentence(portrait: Portrait) -> None:
    missing = dataclasses.replace(portrait, package="surely_not_installed")
    with pytest.raises(InputError, match=rf"{portrait.title} .* {portrait.distribution}, .*make setup"):
        missing.load()


def test_every_moment_of_the_contact_sheet_is_in_the_script_and_in_order() -> None:
    times = list(MOMENTS.values())
    assert times == sorted(times)
    assert times[-1] < demonstration().duration


def test_an_existing_demo_is_not_written_over(tmp_path: Path) -> None:
    output = tmp_path / "demo.mp4"
    output.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"demo\.mp4 exists; pass --force"):
        demo(output, False, lambda *_: None)
    output.unlink()
    sheet_path(output).write_bytes(b"mine")
    with pytest.raises(InputError, match=r"demo\.png exists; pass --force"):
        demo(output, False, lambda *_: None)
    assert sheet_path(output).read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo.png"]


@pytest.mark.slow
def test_the_demo_writes_a_video_and_a_contact_sheet(tmp_path: Path) -> None:
    output = tmp_path / "out" / "demo.mp4"
    seen: list[int] = []
    loop = demo(output, False, lambda done, total: seen.append(done))
    n = len(demonstration().performance())
    assert seen == list(range(1, 2 * n + 1))
    assert loop.tally.frames == 2 * n
    assert loop.tally.faceless == 0
    with VideoReader(output) as reader:
        frames = list(reader)
    assert len(frames) == n
    assert frames[0].rgb.shape == (SIDE_PX, 2 * SIDE_PX, 3)
    for half in (slice(0, SIDE_PX), slice(SIDE_PX, None)):  # both move
        assert np.abs(frames[0].rgb[:, half].astype(int) - frames[95].rgb[:, half]).max() > 50
    sheet = load_image(sheet_path(output))
    assert sheet.shape[0] < sheet.shape[1]
    assert sheet.std() > 20
    assert sorted(p.name for p in output.parent.iterdir()) == ["demo.mp4", "demo.png"]
