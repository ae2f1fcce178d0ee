"""What the network sees: `/v1/live`, the characters, the studio page and the health of it all (docs/protocol.md).

FastAPI routes and the two asyncio tasks of each live connection; what they carry is `server.wire`'s, what
they do is `server.live`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles

from perfcap.face import MediaPipeFaces
from runtime.errors import InputError
from server.cast import Cast
from server.live import LiveSession, Performing
from server.wire import Close, Control, Kind, WireError, read_control, read_hello, say, unpack
from synth.rig import Character

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("studio")
HELLO_S = 10.0  # a client that says nothing for so long is let go
SILENT_S = 60.0
PER_SECOND = 130  # messages of one client
BYTES_PER_SECOND = 12 << 20
MAX_SESSIONS = 8
MAX_UPLOAD = 64 << 20


@dataclass
class House:
    """All that one server holds."""

    cast: Cast
    origins: frozenset[str] = frozenset()  # further pages that may connect
    live: dict[str, tuple[LiveSession, WebSocket]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=lambda: {"sessions": 0, "received": 0, "rendered": 0, "dropped": 0})
    draining: bool = False


def create_app(data: Path, origins: frozenset[str] = frozenset()) -> FastAPI:
    """The server's application; `data` is the folder it keeps characters in."""
    house = House(Cast(data), origins)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        house.draining = True
        for _session, socket in list(house.live.values()):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(Close.GOING_AWAY, "the server stops")

    app = FastAPI(title="Understudy", lifespan=lifespan)
    app.state.house = house

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        return "ok"

    @app.get("/readyz", response_class=PlainTextResponse)
    async def readyz() -> str:
        if house.draining:
            raise HTTPException(503, "the server stops")
        return "ok"

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        return _metrics(house)

    @app.get("/v1/characters")
    async def characters() -> list[str]:
        return house.cast.names()

    @app.get("/v1/characters/{name}/picture")
    async def picture(name: str) -> FileResponse:
        try:
            return FileResponse(await asyncio.to_thread(house.cast.picture, name), media_type="image/png")
        except InputError as error:
            raise HTTPException(404, str(error)) from error

    @app.post("/v1/characters", status_code=201)
    async def add(request: Request, picture: UploadFile) -> dict[str, str]:
        _same_page(request.headers.get("origin"), request.headers.get("host"), house)
        if picture.size is None or picture.size > MAX_UPLOAD:
            raise HTTPException(413, f"a picture may have {MAX_UPLOAD >> 20} MB")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"picture{Path(picture.filename or '').suffix[:12]}"
            path.write_bytes(await picture.read())
            try:
                name = await asyncio.to_thread(house.cast.add, path, picture.filename or "picture")
            except InputError as error:
                raise HTTPException(422, str(error).replace(f"{path}", picture.filename or "the picture")) from error
        return {"name": name}

    @app.websocket("/v1/live")
    async def live(socket: WebSocket) -> None:
        await _live(socket, house)

    app.mount("/", StaticFiles(directory=PAGE, html=True), name="studio")
    return app


def _metrics(house: House) -> str:
    """Prometheus' text format."""
    total = dict(house.counted)
    for session, _ in house.live.values():
        for name in ("received", "rendered", "dropped"):
            total[name] += getattr(session.stats, name)
    lines = [f"understudy_{name}_total {value}" for name, value in total.items()]
    return "\n".join([*lines, f"understudy_live_sessions {len(house.live)}", ""])


def _same_page(origin: str | None, host: str | None, house: House) -> None:
    """Let only the server's own page, other programs, and pages named at the start ask for anything."""
    if origin is None or origin in house.origins:
        return
    if host is not None and urlsplit(origin).netloc == host:
        return
    raise HTTPException(403, "pages from elsewhere may not connect; name them with --origin")


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


async def _live(socket: WebSocket, house: House) -> None:
    await socket.accept()
    try:
        _same_page(socket.headers.get("origin"), socket.headers.get("host"), house)
        if house.draining or len(house.live) >= MAX_SESSIONS:
            raise WireError(Close.TOO_MUCH, f"{MAX_SESSIONS} sessions are open already")
        hello = read_hello(await asyncio.wait_for(_text(socket), HELLO_S))
        name = hello.character or house.cast.names()[0]
        character = await asyncio.to_thread(house.cast.character, name)
        await _perform(socket, house, hello.session or secrets.token_urlsafe(9), hello.reply, character, name)
    except HTTPException as error:
        await _close(socket, Close.FORBIDDEN, str(error.detail))
    except WireError as error:
        await _close(socket, error.code, error.reason)
    except InputError as error:
        await _close(socket, Close.MALFORMED, str(error))
    except asyncio.TimeoutError:
        await _close(socket, Close.TIMED_OUT, "nothing was said for too long")
    except WebSocketDisconnect:
        pass


async def _close(socket: WebSocket, code: Close, reason: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(int(code), reason.encode()[:120].decode(errors="ignore"))


async def _text(socket: WebSocket) -> str:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text = message.get("text")
    if text is None:
        raise WireError(Close.MALFORMED, "the first message is not a hello")
    return str(text)


async def _perform(socket: WebSocket, house: House, key: str, reply: Kind, character: Character, name: str) -> None:
    loop = asyncio.get_running_loop()
    something = asyncio.Event()
    finder = MediaPipeFaces()
    performing = await asyncio.to_thread(Performing, character, finder)
    before = house.live.pop(key, None)
    if before is not None:
        await _close(before[1], Close.TAKEN_OVER, "this session was opened elsewhere")
    session = LiveSession(performing, reply, lambda: _call(loop, something))
    house.live[key] = (session, socket)
    house.counted["sessions"] += 1
    H, W = character.rgb.shape[:2]
    writer = asyncio.create_task(_write(socket, session, something))
    try:
        await socket.send_text(say("ready", version=1, session=key, character=name, width=W, height=H))
        await _read(socket, house, session)
    finally:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await writer
        if house.live.get(key, (None,))[0] is session:
            del house.live[key]
        await asyncio.to_thread(session.close)
        finder.close()
        for field_name in ("received", "rendered", "dropped"):
            house.counted[field_name] += getattr(session.stats, field_name)


def _call(loop: asyncio.AbstractEventLoop, something: asyncio.Event) -> None:
    """From a session's thread: there is something to send."""
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(something.set)


async def _write(socket: WebSocket, session: LiveSession, something: asyncio.Event) -> None:
    while True:
        await something.wait()
        something.clear()
        for message in session.take():
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_text(message)


async def _read(socket: WebSocket, house: House, session: LiveSession) -> None:
    messages, weight = _Rate(PER_SECOND), _Rate(BYTES_PER_SECOND)
    while True:
        message = await asyncio.wait_for(socket.receive(), SILENT_S)
        if message["type"] == "websocket.disconnect":
            return
        data, text = message.get("bytes"), message.get("text")
        if not messages.take(1) or not weight.take(len(data or text or "")):
            raise WireError(
                Close.TOO_MUCH, f"more than {PER_SECOND} messages or {BYTES_PER_SECOND >> 20} MB in a second"
            )
        if data is not None:
            session.push(unpack(data))
        elif text is not None:
            await _obey(read_control(text), house, session)


async def _obey(control: Control, house: House, session: LiveSession) -> None:
    value = control.value
    if control.action == "stats":
        session.send_stats()
    elif control.action == "pause":
        session.paused = bool(value)
    elif control.action == "character":
        character = await asyncio.to_thread(house.cast.character, str(value))
        session.ask(lambda p: p.perform_as(character))
    elif control.action == "calibrate":
        session.ask(Performing.calibrate)
    elif control.action == "reset":
        session.ask(Performing.reset)
    elif control.action == "mirror":
        session.ask(lambda p: setattr(p, "mirror", bool(value)))
    elif control.action == "intensity":
        session.ask(lambda p: setattr(p, "intensity", float(value or 3.0)))
    else:
        raise WireError(Close.MALFORMED, f"{control.action} is not served yet")
