"""Against the running server: a real process, real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from server.client import LiveClient
from server.pictures import encode
from server.wire import Kind, pack, say

Rgb = NDArray[np.uint8]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, face: Rgb) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "characters").mkdir()
    Image.fromarray(face).save(folder / "characters" / "eileen.png")
    return folder


def begin(data: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    found = re.search(r"http://([\d.]+:\d+)/", process.stdout.readline())
    assert found is not None
    return process, found[1]


@pytest.fixture(scope="module")
def at(data: Path) -> Iterator[str]:
    """Where the server is, host:port."""
    process, where = begin(data)
    yield where
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in (0, 143, -signal.SIGTERM)


def run(what: Callable[[], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        return await asyncio.wait_for(what(), 60)

    return asyncio.run(within())


def test_pictures_go_in_and_come_back_with_their_times(at: str, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def go() -> list[int]:
        async with LiveClient(f"ws://{at}/v1/live", character="eileen") as live:
            assert live.ready["width"] == face.shape[1]
            out = []
            for i in range(12):
                await live.picture(picture, i * 33_333)
                out.append((await live.receive()).time_us)
            await live.ask("stats")
            await live.picture(picture, 999)
            await live.receive()
            assert live.said[-1]["rendered"] >= 12
            return out

    assert run(go) == [i * 33_333 for i in range(12)]


@pytest.mark.parametrize(("send", "code"), [
    (["{"], 4400), ([b"\x01"], 4400), ([say("hello", version=7)], 4400),
    ([say("hello", version=1), b"\x09" + bytes(20)], 4400), ([say("hello", version=1), '{"type":"explode"}'], 4400),
    ([say("hello", version=1), pack(Kind.PCM16, 0, bytes(70_000))], 1009), ([bytes(5 << 20)], 1009),
    ([say("hello", version=1, character="nobody")], 4400),
])  # fmt: skip
def test_whoever_breaks_the_protocol_gets_a_close_code(at: str, send: list[str | bytes], code: int) -> None:
    async def go() -> int:
        async with connect(f"ws://{at}/v1/live", max_size=None, compression=None) as socket:
            with suppress(ConnectionClosed):
                for message in send:
                    await socket.send(message)
                while True:
                    await socket.recv()
            return int(socket.close_code or 0)

    assert run(go) == code
    assert httpx.get(f"http://{at}/healthz").text == "ok"


def test_a_page_from_elsewhere_may_not_connect(at: str) -> None:
    async def go(origin: str) -> int | None:
        async with connect(f"ws://{at}/v1/live", additional_headers={"Origin": origin}) as socket:
            try:
                await socket.send(say("hello", version=1))
                json.loads(await socket.recv())
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0
            return None

    assert run(lambda: go("https://evil.example")) == 4403
    assert run(lambda: go(f"http://{at}")) is None


def test_a_session_opened_again_takes_over(at: str, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def go() -> int:
        async with LiveClient(f"ws://{at}/v1/live", session="mine") as first:
            await first.picture(picture, 1)
            await first.receive()
            async with LiveClient(f"ws://{at}/v1/live", session="mine") as second:
                await second.picture(picture, 2)
                assert (await second.receive()).time_us == 2
                with suppress(ConnectionClosed):
                    while True:
                        await first.receive()
                return int(first._socket.close_code or 0)

    assert run(go) == 4409


def test_one_that_vanishes_or_does_not_read_does_not_disturb_another(at: str, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def go() -> int:
        silent = LiveClient(f"ws://{at}/v1/live")
        async with silent, LiveClient(f"ws://{at}/v1/live") as other:
            for i in range(30):
                await silent.picture(picture, i)
                await other.picture(picture, i)
                await other.receive()
            silent._socket.transport.abort()
            await other.picture(picture, 77)
            return (await other.receive()).time_us

    assert run(go) == 77


def test_connections_give_back_all_they_took(at: str, face: Rgb, data: Path) -> None:
    picture = encode(face, Kind.JPEG)

    def held() -> tuple[int, int]:
        pid = int(subprocess.check_output(["pgrep", "-f", f"serve --port 0 --data {data}"]).split()[0])
        return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))

    async def once() -> None:
        async with LiveClient(f"ws://{at}/v1/live") as live:
            await live.picture(picture, 0)
            await live.receive()

    for _ in range(3):
        run(once)
    before = held()
    for _ in range(12):
        run(once)
    after = held()
    assert after[0] <= before[0] + 1
    assert after[1] <= before[1] + 2


def test_characters_are_listed_shown_added_and_refused(at: str, face: Rgb, tmp_path: Path) -> None:
    assert "eileen" in httpx.get(f"http://{at}/v1/characters").json()
    shown = httpx.get(f"http://{at}/v1/characters/eileen/picture")
    assert shown.headers["content-type"] == "image/png"
    Image.fromarray(face[:, ::-1]).save(tmp_path / "a b.png")
    added = httpx.post(f"http://{at}/v1/characters", files={"picture": open(tmp_path / "a b.png", "rb")}, timeout=30)  # noqa: SIM115
    assert (added.status_code, added.json()) == (201, {"name": "a-b"})
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(tmp_path / "dark.png")
    refused = httpx.post(f"http://{at}/v1/characters", files={"picture": open(tmp_path / "dark.png", "rb")}, timeout=30)  # noqa: SIM115
    assert refused.status_code == 422
    assert refused.json()["detail"] == "dark.png shows no face; wanted one at least 64 px wide"
    assert httpx.get(f"http://{at}/v1/characters/..%2F..%2Fetc/picture").status_code == 404


def test_the_page_and_the_figures_are_served(at: str) -> None:
    assert "<title>Understudy studio</title>" in httpx.get(f"http://{at}/").text
    for part in ("studio.js", "wire.js", "studio.css"):
        assert httpx.get(f"http://{at}/{part}").status_code == 200
    assert "understudy_rendered_total" in httpx.get(f"http://{at}/metrics").text
    assert httpx.get(f"http://{at}/readyz").text == "ok"


def test_told_to_stop_it_says_so_to_its_clients_and_stops(data: Path) -> None:
    process, where = begin(data)

    async def go() -> int:
        async with LiveClient(f"ws://{where}/v1/live") as live:
            process.send_signal(signal.SIGTERM)
            try:
                while True:
                    await live.receive()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0

    assert run(go) in (1001, 1012)
    process.wait(20)


def test_a_port_that_is_taken_is_refused_with_a_sentence(at: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "server.cli", "serve", "--port", at.split(":")[1], "--data", str(tmp_path / "d")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "cannot be listened on" in done.stderr
    assert not (tmp_path / "d").exists()
