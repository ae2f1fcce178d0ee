"""What happens to tasks, told over a websocket of the running server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from server.api.events import Pulse
from server.api.service import Service, ServiceOptions
from server.jobs.database import AwayError
from server.jobs.store import open_store
from tests.server.api.conftest import Served

pytestmark = pytest.mark.slow


def run(what: Callable[[], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        return await asyncio.wait_for(what(), 60)

    return asyncio.run(within())


def ordered(served: Served, files: Path) -> str:
    clip = base64.b64encode((files / "clip.mp4").read_bytes()).decode()
    body = {"reference": {"type": "video", "uri": f"data:video/mp4;base64,{clip}"}}
    return str(served.ask("POST", "/v1/capture", body).json()["id"])


async def until_over(socket: ClientConnection, task: str) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    while not out or out[-1]["status"] != "SUCCEEDED":
        said = json.loads(await socket.recv())
        if said["task"] == task:
            out.append(said)
    return out


def test_every_change_is_told_and_none_is_missed_over_a_dropped_connection(served: Served, files: Path) -> None:
    async def go() -> list[dict[str, Any]]:
        async with connect(f"ws://{served.running.at}/v1/events") as socket:
            await socket.send('{"type": "hello"}')
            after = json.loads(await socket.recv())["after"]
            task = await asyncio.to_thread(ordered, served, files)
            while (first := json.loads(await socket.recv()))["task"] != task:
                pass
            socket.transport.abort()
        await asyncio.to_thread(served.work)
        async with connect(f"ws://{served.running.at}/v1/events") as socket:
            await socket.send(json.dumps({"type": "hello", "after": first["number"]}))
            assert json.loads(await socket.recv()) == {"type": "ready", "after": first["number"]}
            return [{"number": after}, first, *await until_over(socket, task)]

    told = run(go)
    numbers = [each["number"] for each in told]
    assert numbers == sorted(set(numbers))
    assert [each["status"] for each in told[1:]] == ["PENDING", "RUNNING", "SUCCEEDED"]


def test_a_database_that_is_away_for_a_while_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(tmp_path, open_store(tmp_path), ServiceOptions(), "http://127.0.0.1:1")
    answers: list[int | Exception] = [AwayError("away"), 7]

    def last_event() -> int:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def go() -> None:
        monkeypatch.setattr(service.store, "last_event", last_event)
        pulse = Pulse(service)
        pulse.listeners["me"] = 1
        running = asyncio.ensure_future(pulse.run())
        await asyncio.wait_for(pulse._changed.wait(), 30)
        running.cancel()

    run(go)
    service.close()


@pytest.mark.parametrize(("said", "code"), [
    ("{", 4400), ('{"type": "goodbye"}', 4400), ('{"type": "hello", "after": "all"}', 4400), ('{"type": "hello", "after": -1}', 4400),
    ("[" * 4000, 4400), ('{"type": "hello", "after": true}', 4400), ("x" * 5000, 4400),
    (b"hello", 4400),
])  # fmt: skip
def test_whoever_breaks_the_protocol_gets_a_close_code(served: Served, said: str | bytes, code: int) -> None:
    async def go() -> int:
        async with connect(f"ws://{served.running.at}/v1/events") as socket:
            await socket.send(said)
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            return int(socket.close_code or 0)

    assert run(go) == code


def test_a_page_from_elsewhere_may_not_listen(served: Served) -> None:
    async def go() -> int:
        async with connect(
            f"ws://{served.running.at}/v1/events", additional_headers={"Origin": "https://evil.example"}
        ) as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            return int(socket.close_code or 0)

    assert run(go) == 4403
