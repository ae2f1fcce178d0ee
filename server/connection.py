"""One websocket of `/v1/live` or `/v1/watch`, from its opening to its closing (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import HTTPException, WebSocket, WebSocketDisconnect

from runtime.errors import InputError
from server.house import Held, House, call, close
from server.live import LiveSession, Watcher
from server.performing import Seeing, Showing
from server.speaking import SpeakingSession
from server.wire import VERSION, Close, Control, Hello, WireError, as_renderer, read_control, read_hello, say, unpack
from synth.camera import Move, parse_move

log = logging.getLogger(__name__)


@dataclass
class _Rate:
    """A token bucket of one second."""

    per_second: float
    left: float = 0.0
    at: float = 0.0

    def take(self, n: float) -> bool:
        now = time.monotonic()
        self.left = min(self.per_second, self.left + (now - self.at) * self.per_second) if self.at else self.per_second
        self.at = now
        self.left -= n
        return self.left >= 0


SLOW = ("character", "renderer", "camera")  # what takes as long as many pictures


class _Changes:
    """What takes long to make ready, one at a time while pictures go on; of each kind the last that was asked for."""

    def __init__(self, house: House, held: Held) -> None:
        self._house, self._held = house, held
        self._wanted: dict[str, Control] = {}
        self._something = asyncio.Event()

    def want(self, control: Control) -> None:
        """Raises InputError for a camera's moves that are none."""
        if control.action == "camera":
            _moves(control)
        self._wanted.pop(control.action, None)
        self._wanted[control.action] = control
        self._something.set()

    async def make(self) -> None:
        """Until cancelled. An error of our own fails the session."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._wanted:
                control = self._wanted.pop(next(iter(self._wanted)))
                try:
                    await self._change(control)
                except InputError as error:
                    self._held.session.refuse(error)
                except Exception:
                    log.exception("a change of a live session failed")
                    self._held.session.fail()

    async def _change(self, control: Control) -> None:
        house, held = self._house, self._held
        if control.action == "character":
            await house.recast(held, str(control.value), held.renderer)
        elif control.action == "renderer":
            await house.recast(held, held.character, as_renderer(control.value))
        else:
            view = await asyncio.to_thread(held.showing.look, _moves(control))
            held.session.ask_showing(lambda s: s.go(view))


def _moves(control: Control) -> tuple[Move, ...]:
    return tuple(parse_move(move) for move in str(control.value).split())


async def live(socket: WebSocket, house: House) -> None:
    """A client that performs."""
    await socket.accept()
    try:
        house.check_origin(socket.headers.get("origin"), socket.headers.get("host"))
        if house.draining:
            raise WireError(Close.GOING_AWAY, "the server stops")
        hello = read_hello(await asyncio.wait_for(_text(socket), house.limits.hello_s))
        await _perform(socket, house, hello)
    except HTTPException as error:
        await _refuse(socket, Close.FORBIDDEN, str(error.detail))
    except WireError as error:
        await _refuse(socket, error.code, error.reason)
    except InputError as error:
        await _refuse(socket, Close.MALFORMED, str(error))
    except asyncio.TimeoutError:
        await _refuse(socket, Close.TIMED_OUT, "nothing was said for too long")
    except WebSocketDisconnect:
        pass
    except Exception:
        log.exception("a connection failed")
        await _refuse(socket, Close.INTERNAL, "the server failed; its log says why")


async def _refuse(socket: WebSocket, code: Close, reason: str) -> None:
    log.info("a connection is closed", extra={"code": int(code), "reason": reason})
    await close(socket, code, reason)


async def _text(socket: WebSocket) -> str:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text = message.get("text")
    if text is None:
        raise WireError(Close.MALFORMED, "the first message is not a hello")
    return str(text)


async def _perform(socket: WebSocket, house: House, hello: Hello) -> None:
    held = await house.join(hello, hello.session or secrets.token_urlsafe(9), socket)
    changes = _Changes(house, held)
    beside: list[asyncio.Task[None]] = []
    for_good = True
    try:
        H, W = held.showing.character.rgb.shape[:2]
        await socket.send_text(
            say("ready", version=VERSION, session=held.key, character=held.character, renderer=held.renderer, width=W, height=H)
        )  # fmt: skip
        beside = [asyncio.create_task(task) for task in (_write(socket, held), changes.make())]
        for_good = await _read(socket, house, held, changes) == 1000  # a page that is loaded again says 1001
    except (WebSocketDisconnect, asyncio.TimeoutError):
        for_good = False
        raise
    finally:
        for task in beside:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        await house.leave(held, socket, for_good=for_good)


async def _write(socket: WebSocket, held: Held) -> None:
    while not held.session.failed:
        await held.something.wait()
        held.something.clear()
        if held.socket is not socket:
            return
        for message in held.session.take():
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_text(message)
    await close(socket, Close.INTERNAL, "the session failed; the server's log says why")


async def _read(socket: WebSocket, house: House, held: Held, changes: _Changes) -> int:
    """Take in what a client says until it goes; the code it closed with."""
    limits = house.limits
    messages, weight = _Rate(limits.messages), _Rate(limits.bytes)
    silent_s = None if held.driver == "speech" else limits.silent_s  # who has nothing to say may listen on
    while True:
        message = await asyncio.wait_for(socket.receive(), silent_s)
        if message["type"] == "websocket.disconnect":
            return int(message.get("code") or 1006)
        data, text = message.get("bytes"), message.get("text")
        if not messages.take(1) or not weight.take(len(data or text or "")):
            raise WireError(
                Close.TOO_MUCH, f"more than {limits.messages} messages or {limits.bytes >> 20} MB in a second"
            )
        try:
            if data is not None:
                held.session.push(unpack(data))
            elif text is not None:
                _obey(read_control(text), held.session, changes)
        except InputError as error:
            held.session.refuse(error)


def _obey(control: Control, session: LiveSession, changes: _Changes) -> None:
    value = control.value
    if control.action in SLOW:
        changes.want(control)
    elif control.action == "stats":
        session.send_stats()
    elif control.action == "pause":
        session.paused = bool(value)
    elif control.action == "keyframe":
        session.begin_anew()
    elif control.action == "calibrate":
        session.ask_seeing(Seeing.calibrate)
    elif control.action == "reset":
        session.ask_seeing(Seeing.reset)
        session.ask_showing(Showing.reset)
    elif control.action in ("say", "interrupt"):
        if not isinstance(session, SpeakingSession):
            raise InputError("the session sees and does not speak; wanted driver speech")
        if control.action == "say":
            session.say(str(value))
        else:
            session.interrupt()
    elif control.action == "mirror":
        session.ask_seeing(lambda s: setattr(s, "mirror", bool(value)))
    else:
        assert control.action == "intensity", control.action
        session.ask_showing(lambda s: setattr(s, "intensity", float(value or 3.0)))


async def watch(socket: WebSocket, house: House, key: str, cut_out: bool) -> None:
    """A page that looks on: the newest pictures of a session, as binary messages."""
    await socket.accept()
    try:
        house.check_origin(socket.headers.get("origin"), socket.headers.get("host"))
        gone = asyncio.ensure_future(_gone(socket))
        async with contextlib.aclosing(watched(house, key, cut_out)) as messages:
            try:
                async for message in messages:
                    if gone.done():
                        return
                    if message:
                        await socket.send_bytes(message)
                await close(socket, Close.GOING_AWAY, "the server stops")
            finally:
                gone.cancel()
    except HTTPException as error:
        await _refuse(socket, Close.FORBIDDEN, str(error.detail))
    except WireError as error:
        await _refuse(socket, error.code, error.reason)
    except (WebSocketDisconnect, RuntimeError):  # starlette's word for a socket that closed under a send
        pass


async def _gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def watched(house: House, key: str, cut_out: bool) -> AsyncGenerator[bytes, None]:
    """The newest messages of a session until the server stops; empty ones now and then, while there is nothing new.

    A session that is not there, or not yet, is waited for. Raises WireError where too many look on already.
    """
    if house.n_watchers >= house.limits.watchers:
        raise WireError(Close.TOO_MUCH, f"{house.limits.watchers} look on already")
    house.n_watchers += 1
    loop, something = asyncio.get_running_loop(), asyncio.Event()
    watcher = Watcher(cut_out, lambda: call(loop, something))
    held: Held | None = None
    try:
        while not house.draining:
            if held is None or house.live.get(key) is not held:
                held = house.live.get(key)
                if held is not None:
                    held.session.watchers.add(watcher)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(something.wait(), 0.25)
            something.clear()
            yield watcher.take() or b""
    finally:
        house.n_watchers -= 1
        if held is not None:
            held.session.watchers.discard(watcher)
