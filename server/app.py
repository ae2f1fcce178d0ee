"""What the network sees: `/v1/live`, who looks on, the characters, the studio page and the health of it all.

FastAPI routes (docs/protocol.md); the sockets are `server.connection`'s, what is held is `server.house`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from fastapi import FastAPI, HTTPException, UploadFile, WebSocket
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from runtime.errors import InputError
from server import connection
from server.api.guard import Guard
from server.api.mount import most_bytes, mount
from server.api.problems import handle
from server.api.service import Service
from server.house import House
from server.jobs.metrics import task_metrics
from server.wire import HEADER

PAGE = Path(__file__).with_name("studio")
MAX_UPLOAD = 64 << 20  # bytes
PART = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"


def create_app(house: House, service: Service | None = None) -> FastAPI:
    """The server's application around what it holds; without a service it is live alone."""
    app = FastAPI(title="Understudy", docs_url=None, redoc_url=None, separate_input_output_schemas=False)
    most = partial(most_bytes, service, MAX_UPLOAD)
    app.add_middleware(Guard, check_origin=house.check_origin, most=most)
    handle(app)
    _health(app, house, service)
    _characters(app, house)
    _renderers(app, house)
    _watching(app, house)

    @app.websocket("/v1/live")
    async def live(socket: WebSocket) -> None:
        await connection.live(socket, house)

    if service is not None:
        mount(app, house, service)
    app.mount("/", StaticFiles(directory=PAGE, html=True), name="studio")
    return app


def _health(app: FastAPI, house: House, service: Service | None) -> None:
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
        tasks = "" if service is None else await asyncio.to_thread(task_metrics, service.store)
        return house.metrics() + tasks


def _characters(app: FastAPI, house: House) -> None:
    adding = asyncio.Lock()  # one picture at a time is made a character: others wait without a thread

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
    async def add(picture: UploadFile) -> dict[str, str]:
        if picture.size is None or picture.size > MAX_UPLOAD:
            raise HTTPException(413, f"a picture may have {MAX_UPLOAD >> 20} MB")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"picture{Path(picture.filename or '').suffix[:12]}"
            path.write_bytes(await picture.read())
            try:
                async with adding:
                    name = await asyncio.to_thread(house.cast.take_in, path, picture.filename or "picture")
            except InputError as error:
                raise HTTPException(422, str(error)) from error
        return {"name": name}


def _renderers(app: FastAPI, house: House) -> None:
    @app.get("/v1/renderers")
    async def renderers() -> list[str]:
        """What may draw a live session's character; the first does where a client does not say."""
        return list(house.renderers)


def _watching(app: FastAPI, house: House) -> None:
    @app.websocket("/v1/watch")
    async def watch(socket: WebSocket, session: str, cut_out: bool = False) -> None:
        await connection.watch(socket, house, session, cut_out)

    @app.get("/v1/watch.mjpeg")
    async def mjpeg(session: str) -> StreamingResponse:
        """For `<img>` and players: each part a JPEG."""

        async def parts() -> AsyncIterator[bytes]:
            async with contextlib.aclosing(connection.watched(house, session, False)) as messages:
                async for message in messages:
                    if message:
                        payload = message[HEADER.size :]
                        yield PART % (len(payload), payload)

        if house.n_watchers >= house.limits.watchers:
            raise HTTPException(429, f"{house.limits.watchers} look on already")
        return StreamingResponse(
            parts(), media_type="multipart/x-mixed-replace; boundary=frame", headers={"Cache-Control": "no-store"}
        )
