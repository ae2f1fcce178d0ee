"""A Python client of `/v1/live`, on `websockets`: pictures or sound in, the character's pictures out.

async with LiveClient("ws://127.0.0.1:8765/v1/live", character="astronaut") as live:
    await live.picture(jpeg)
    shown = await live.receive()

async with LiveClient("ws://127.0.0.1:8765/v1/live", driver="speech") as live:
    await live.ask("say", "Good evening.")  # or: await live.sound(pcm)
    while True:
        media = await live.receive()  # PCM16 to be played, and the pictures of the same times
"""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any

from server.wire import MAX_MESSAGE, VERSION, Driver, Kind, Media, Renderer, pack, say, unpack


class LiveClient:
    """One live session. What the server says besides pictures is in `said`, newest last."""

    def __init__(
        self,
        url: str,
        *,
        character: str | None = None,
        session: str | None = None,
        driver: Driver = "camera",
        reply: Kind = Kind.JPEG,
        renderer: Renderer | None = None,
    ) -> None:
        self._url = url
        self._hello = {
            "version": VERSION, "character": character, "session": session, "driver": driver, "reply": reply.name.lower(),
            "renderer": renderer,
        }  # fmt: skip
        self._socket: Any = None
        self.ready: dict[str, Any] = {}
        self.said: list[dict[str, Any]] = []

    async def __aenter__(self) -> LiveClient:
        from websockets.asyncio.client import connect

        self._socket = await connect(self._url, max_size=MAX_MESSAGE, compression=None)
        await self._socket.send(say("hello", **{k: v for k, v in self._hello.items() if v is not None}))
        try:
            self.ready = json.loads(await self._socket.recv())
        except BaseException:
            await self._socket.close()
            raise
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

    async def sound(self, payload: bytes, time_us: int | None = None) -> int:
        """Send PCM16, mono, 16 kHz; the time of its first sample as for a picture."""
        return await self.picture(payload, time_us, Kind.PCM16)

    async def ask(self, action: str, value: str | float | bool | None = None) -> None:
        """A control (docs/protocol.md), like `await live.ask("intensity", 4)`."""
        await self._socket.send(say(action) if value is None else say(action, value=value))

    async def receive(self) -> Media:
        """The next picture of the character; with the driver speech, also the sound under it."""
        while True:
            message = await self._socket.recv()
            if isinstance(message, bytes):
                return unpack(message)
            self.said.append(json.loads(message))
