"""A Python client of `/v1/live`, on `websockets`: pictures in, the character's pictures out.

async with LiveClient("ws://127.0.0.1:8765/v1/live", character="astronaut") as live:
    await live.picture(jpeg)
    shown = await live.receive()
"""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any

from server.wire import MAX_MESSAGE, VERSION, Kind, Media, pack, say, unpack


class LiveClient:
    """One live session. What the server says besides pictures is in `said`, newest last."""

    def __init__(self, url: str, *, character: str | None = None, session: str | None = None) -> None:
        self._url = url
        self._hello = {"version": VERSION, "character": character, "session": session}
        self._socket: Any = None
        self.ready: dict[str, Any] = {}
        self.said: list[dict[str, Any]] = []

    async def __aenter__(self) -> LiveClient:
        from websockets.asyncio.client import connect

        self._socket = await connect(self._url, max_size=MAX_MESSAGE, compression=None)
        await self._socket.send(say("hello", **{k: v for k, v in self._hello.items() if v is not None}))
        self.ready = json.loads(await self._socket.recv())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._socket.close()

    async def picture(self, payload: bytes, time_us: int | None = None, kind: Kind = Kind.JPEG) -> int:
        """Send a picture; its capture time in microseconds, of this machine's steady clock unless given."""
        time_us = time.monotonic_ns() // 1000 if time_us is None else time_us
        await self._socket.send(pack(kind, time_us, payload))
        return time_us

    async def ask(self, action: str, value: str | float | bool | None = None) -> None:
        """A control: character, intensity, mirror, pause, calibrate, reset or stats."""
        await self._socket.send(say(action) if value is None else say(action, value=value))

    async def receive(self) -> Media:
        """The next picture of the character."""
        while True:
            message = await self._socket.recv()
            if isinstance(message, bytes):
                return unpack(message)
            self.said.append(json.loads(message))
