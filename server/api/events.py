"""A websocket of what happens to an account's tasks: told as it happens, and from any number on, so none is missed.

    client  {"type": "hello", "key": "…", "after": 41}      key and after may be left out
    server  {"type": "ready", "after": 41}
    server  {"type": "event", "number": 42, "task": "…", "status": "RUNNING", "progress": 0.25}

A client that comes back says the last number it heard. One who reads slowly keeps nobody waiting: each is told
from the store at a pace of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from starlette.exceptions import HTTPException

from server.api.access import bearer
from server.api.service import Service
from server.house import House, close
from server.jobs.database import AwayError
from server.jobs.records import Event
from server.wire import Close

log = logging.getLogger(__name__)

HELLO_S = 10.0
POLL_S = 0.25
MOST_AT_ONCE = 200
MOST_LISTENERS = 16  # of one account
MAX_HELLO = 4096


class Pulse:
    """Looks at the store's last number while anybody listens, once for all of them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._changed = asyncio.Event()
        self._number = 0
        self.listeners: Counter[str] = Counter()  # by account

    async def run(self) -> None:
        while True:
            try:
                if self.listeners.total():
                    await self._look()
            except AwayError as error:
                log.warning("the database does not answer", extra={"why": str(error)})
            await asyncio.sleep(POLL_S)

    async def _look(self) -> None:
        number = await asyncio.to_thread(self._service.store.last_event)
        if number != self._number:
            self._number = number
            self._changed.set()
            self._changed = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Until something happened, or so long."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)


async def events(socket: WebSocket, house: House, service: Service, pulse: Pulse) -> None:
    """One listener, from its hello to its end."""
    await socket.accept()
    try:
        house.check_origin(socket.headers.get("origin"), socket.headers.get("host"))
        hello = _hello(await asyncio.wait_for(socket.receive(), HELLO_S))
        owner = await asyncio.to_thread(service.access.owner_of, hello.key or bearer(socket), socket)
        if pulse.listeners[owner] >= MOST_LISTENERS:
            await close(socket, Close.TOO_MUCH, f"{MOST_LISTENERS} of yours listen already")
            return
        pulse.listeners[owner] += 1
        try:
            await _listen(socket, house, service, pulse, owner, hello.after)
        finally:
            pulse.listeners[owner] -= 1
    except HTTPException as error:
        await close(socket, Close.FORBIDDEN, str(error.detail))
    except _HelloError as error:
        await close(socket, Close.MALFORMED, str(error))
    except asyncio.TimeoutError:
        await close(socket, Close.TIMED_OUT, "nothing was said for too long")
    except (WebSocketDisconnect, RuntimeError):  # starlette's word for a socket that closed under a send
        pass


class _HelloError(ValueError):
    """What a client said is no hello."""


@dataclass(frozen=True)
class _Hello:
    key: str | None
    after: int | None


async def _listen(
    socket: WebSocket, house: House, service: Service, pulse: Pulse, owner: str, after: int | None
) -> None:
    last = await asyncio.to_thread(service.store.last_event) if after is None else after
    await socket.send_text(json.dumps({"type": "ready", "after": last}))
    gone = asyncio.ensure_future(_gone(socket))
    try:
        while not gone.done() and not house.draining:
            new = await asyncio.to_thread(service.store.events, last, owner, MOST_AT_ONCE)
            for event in new:
                await socket.send_text(_told(event))
                last = event.number
            if len(new) < MOST_AT_ONCE:
                await pulse.wait(4 * POLL_S)
        if house.draining:
            await close(socket, Close.GOING_AWAY, "the server stops")
    finally:
        gone.cancel()


def _hello(message: Mapping[str, Any]) -> _Hello:
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text = message.get("text") or ""
    try:
        said = json.loads(text) if len(text) <= MAX_HELLO else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or said.get("type") != "hello":
        raise _HelloError('the first message is no hello; wanted {"type": "hello"}')
    key, after = said.get("key"), said.get("after")
    if after is not None and (not isinstance(after, int) or isinstance(after, bool) or not 0 <= after < 2**53):
        raise _HelloError(f"after is {str(after)[:40]}; wanted the number of an event")
    return _Hello(None if key is None else str(key), after)


def _told(event: Event) -> str:
    return json.dumps({
        "type": "event", "number": event.number, "task": event.task, "status": event.state.value,
        "progress": event.progress,
    })  # fmt: skip


async def _gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
