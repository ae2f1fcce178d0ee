"""The diffusion renderer live, against the running server: a real process, real sockets, weights by chance."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from websockets.exceptions import ConnectionClosed

from server.client import LiveClient
from server.pictures import decode, encode
from server.wire import Kind, Renderer
from tests.server.serving import Running, apart, serving

Rgb = NDArray[np.uint8]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers", reason="make diffusion brings it")
    from tests.synth.diffusion.network import pipeline

    folder = tmp_path_factory.mktemp("run") / "chance"
    pipeline(64, steps=2, sigma=0.2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, face: Rgb) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "characters").mkdir()
    Image.fromarray(face).save(folder / "characters" / "eileen.png")
    Image.fromarray(np.ascontiguousarray(face[:, ::-1])).save(folder / "characters" / "mirrored.png")
    return folder


@pytest.fixture(scope="module")
def server(data: Path, weights: Path) -> Iterator[Running]:
    with serving(data, options=("--weights", str(weights))) as running:
        yield running


@pytest.fixture(scope="module")
def without(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that has no weights."""
    from synth.diffusion.renderer import PACKAGED

    if list(PACKAGED.glob("*/model_index.json")):
        pytest.skip("weights are packaged, so every server has some")
    with serving(apart(data, tmp_path_factory.mktemp("without"))) as running:
        yield running


@pytest.fixture(scope="module")
def acted(face: Rgb) -> list[bytes]:
    return [encode(np.roll(face, 3 * i, 1), Kind.JPEG) for i in range(8)]


def run(what: Callable[[], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        return await asyncio.wait_for(what(), 240)

    return asyncio.run(within())


async def perform(live: LiveClient, acted: list[bytes], first: int = 0) -> list[Rgb]:
    out = []
    for i, picture in enumerate(acted, first):
        await live.picture(picture, i * 40_000)
        out.append(decode(await live.receive()))
    return out


def counted(server: Running, name: str) -> int:
    found = re.search(rf"understudy_{name}_total (\d+)", httpx.get(f"http://{server.at}/metrics").text)
    assert found is not None
    return int(found[1])


def gap(one: list[Rgb], other: list[Rgb]) -> float:
    return max(float(np.abs(a.astype(int) - b).mean()) for a, b in zip(one, other, strict=True))


def test_a_server_with_weights_offers_both_renderers_and_paints_for_who_asks(
    server: Running, acted: list[bytes], face: Rgb
) -> None:
    assert httpx.get(f"http://{server.at}/v1/renderers").json() == ["warp", "diffusion"]

    async def go(renderer: Renderer | None) -> tuple[str, list[Rgb]]:
        async with LiveClient(server.url, character="eileen", renderer=renderer) as live:
            return live.ready["renderer"], await perform(live, acted)

    (default, plain), (named, same), (painter, painted) = (run(partial(go, r)) for r in (None, "warp", "diffusion"))
    assert (default, named, painter) == ("warp", "warp", "diffusion")
    assert gap(plain, same) < 0.5
    assert all(picture.shape == face.shape for picture in painted)
    assert min(float(np.abs(a.astype(int) - b).mean()) for a, b in zip(plain, painted, strict=True)) > 4


def test_the_renderer_changes_in_the_midst_of_a_session_and_all_else_goes_on(
    server: Running, acted: list[bytes]
) -> None:
    """View and performer are kept: soon the pictures are those of who was painted from the beginning."""

    async def go(first: Renderer) -> tuple[list[Rgb], list[Rgb]]:
        async with LiveClient(server.url, character="eileen", renderer=first) as live:
            await live.ask("camera", "zoom:1.4")
            before = await perform(live, acted * 2)
            await live.ask("renderer", "diffusion")
            while "cast" not in [said["type"] for said in live.said]:  # it is made ready beside the pictures
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(live.receive(), 0.1)
            return before, await perform(live, acted, first=len(before))

    (warped, changed), (_, painted) = (run(partial(go, first)) for first in ("warp", "diffusion"))
    assert gap(changed[-3:], painted[-3:]) < 0.5
    assert gap(changed[-1:], warped[-1:]) > 4


def test_sessions_beside_each_other_are_painted_together_and_get_what_they_would_alone(
    server: Running, acted: list[bytes]
) -> None:
    async def session(character: str, pictures: list[bytes]) -> list[Rgb]:
        async with LiveClient(server.url, character=character, renderer="diffusion") as live:
            return await perform(live, pictures)

    takes = [("eileen", acted), ("mirrored", acted), ("eileen", acted[::-1]), ("mirrored", acted[3:] + acted[:3])]

    async def together() -> list[list[Rgb]]:
        return list(await asyncio.gather(*(session(*take) for take in takes)))

    alone = [run(partial(session, *take)) for take in takes]
    painted, calls = counted(server, "painted"), counted(server, "paintings")
    assert painted == calls, "one at a time"
    beside = run(together)
    painted, calls = counted(server, "painted") - painted, counted(server, "paintings") - calls
    print(f"{painted} pictures in {calls} calls")
    assert painted == sum(len(pictures) for _, pictures in takes)
    assert calls < painted
    assert max(gap(a, b) for a, b in zip(alone, beside, strict=True)) < 0.5


def test_a_session_that_is_taken_up_again_goes_on_painting(server: Running, acted: list[bytes]) -> None:
    async def go() -> str:
        first = LiveClient(server.url, session="kept", renderer="diffusion")
        async with first:
            await perform(first, acted[:2])
            first._socket.transport.abort()
        async with LiveClient(server.url, session="kept") as second:
            await perform(second, acted[:1])
            return str(second.ready["renderer"])

    assert run(go) == "diffusion"


def test_a_microphone_drives_a_painted_character_too(server: Running) -> None:
    async def go() -> Rgb:
        async with LiveClient(server.url, character="eileen", driver="microphone", renderer="diffusion") as live:
            return decode(await live.receive())

    before = counted(server, "painted")
    run(go)
    assert counted(server, "painted") > before


def test_without_weights_whoever_asks_is_told_and_the_session_goes_on(without: Running, acted: list[bytes]) -> None:
    says = "the server has no weights for the diffusion renderer; wanted --weights of understudy serve"
    assert httpx.get(f"http://{without.at}/v1/renderers").json() == ["warp"]

    async def in_hello() -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as caught:
            async with LiveClient(without.url, renderer="diffusion") as live:
                await live.receive()
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason

    async def later() -> list[dict[str, Any]]:
        async with LiveClient(without.url, character="eileen") as live:
            await live.ask("renderer", "diffusion")
            await perform(live, acted)
            return live.said

    assert run(in_hello) == (4400, says)
    assert [said["message"] for said in run(later) if said["type"] == "error"] == [says]


@pytest.mark.parametrize(("options", "says"), [
    (("--weights", "nowhere"), "nowhere holds no weights; wanted a folder that understudy train wrote"),
    (("--renderer", "oil"), "renderer is 'oil', wanted warp or diffusion"),
])  # fmt: skip
def test_a_server_that_cannot_paint_as_told_does_not_start(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0", "--data", str(tmp_path / "data"), *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 2
    assert says in ran.stderr


def test_a_server_may_paint_for_everybody(data: Path, weights: Path, acted: list[bytes], tmp_path: Path) -> None:
    options = ("--renderer", "diffusion", "--weights", str(weights))
    with serving(apart(data, tmp_path), options=options) as running:
        assert httpx.get(f"http://{running.at}/v1/renderers").json() == ["diffusion", "warp"]

        async def go() -> str:
            async with LiveClient(running.url, character="eileen") as live:
                await perform(live, acted[:2])
                return json.dumps(live.ready)

        assert '"renderer": "diffusion"' in run(go)
