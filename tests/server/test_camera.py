from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect

from runtime.errors import InputError
from server.camera import Camera, LiveOptions, _cast
from server.cast import Cast
from server.pictures import decode
from server.wire import unpack


def test_a_video_plays_over_and_over_as_a_camera(clip: Path) -> None:
    camera = Camera(str(clip))
    camera._step_s = 0.0
    pictures = [camera.read() for _ in range(30)]  # the clip has 24
    assert all(p.shape == (288, 288, 3) for p in pictures)
    assert np.abs(pictures[24].astype(int) - pictures[0]).mean() < 1
    camera.close()


@pytest.mark.parametrize(("wanted", "says"), [
    ("nowhere.mp4", "is no file"), ("77", "cannot be opened"), (__file__, "which holds text; wanted a video"),
])  # fmt: skip
def test_a_camera_that_is_not_there_is_refused_in_our_words_alone(
    wanted: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=says):
        Camera(wanted)
    assert capfd.readouterr() == ("", "")


def test_a_character_is_a_picture_or_the_demo_s_by_name(tmp_path: Path) -> None:
    assert _cast(Cast(tmp_path), "astronaut") == "astronaut"
    with pytest.raises(InputError, match=r"nobody.png does not exist"):
        _cast(Cast(tmp_path), "nobody.png")


@pytest.mark.parametrize(("options", "says"), [
    ({"renderer": "oil"}, "renderer is 'oil', wanted warp or diffusion"),
    ({"weights": "RUN"}, "--weights and --engine are not for the warp; wanted --renderer diffusion"),
    ({"intensity": 9}, "intensity is 9, wanted 1 to 5"),
])  # fmt: skip
def test_options_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LiveOptions(character="astronaut", **options)


@pytest.mark.slow
def test_what_a_camera_sees_is_shown_to_whoever_looks_on_and_its_motion_sent(portrait: Path, clip: Path) -> None:
    pytest.importorskip("pythonosc", reason="python-osc writes OSC; pip install python-osc")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        command = [
            sys.executable,
            "-u",
            "-m",
            "server.cli",
            "live",
            "--character",
            str(portrait),
            "--camera",
            str(clip),
        ]
        command += ["--port", "0", "--vmc", f"127.0.0.1:{receiver.getsockname()[1]}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            found = re.search(r"http://([\d.:]+)/stage.html\?session=live", process.stdout.readline())
            assert found is not None

            async def look() -> bytes:
                async with connect(f"ws://{found[1]}/v1/watch?session=live", open_timeout=60) as watcher:
                    message = await watcher.recv()
                    assert isinstance(message, bytes)
                    return message

            assert decode(unpack(asyncio.run(look()))).shape == (288, 288, 3)
            assert b"/VMC/Ext/Bone/Pos" in receiver.recv(65536)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (0, 143, -signal.SIGTERM)
            assert process.stdout is not None
            process.stdout.close()
