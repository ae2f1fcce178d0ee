"""The service joined to the live server's application: routes, errors, limits, and what runs beside."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import FastAPI, WebSocket
from fastapi.responses import FileResponse
from starlette.requests import HTTPConnection

from server.api import account, tasks, uploads
from server.api.events import Pulse, events
from server.api.problems import ApiError
from server.api.service import Service
from server.api.webhooks import Patience, Webhooks
from server.house import House

DOCS = Path(__file__).parents[1] / "studio" / "api.html"
MAX_BODY = 32 << 20  # two data: URIs fit
FORM = 1 << 20  # around a file
LITTLE = 1 << 16  # of whoever has no key


def mount(app: FastAPI, house: House, service: Service) -> None:
    """Give an application the routes of the service."""
    app.state.service = service
    for module in (tasks, uploads, account):
        app.include_router(module.router)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(DOCS)

    pulse = Pulse(service)

    @app.websocket("/v1/events")
    async def listen(socket: WebSocket) -> None:
        await events(socket, house, service, pulse)

    house.beside += [pulse.run, Webhooks(service, Patience()).run]


async def most_bytes(service: Service | None, characters: int, request: HTTPConnection) -> int:
    """How much a request may bring, known before any of it is read: little for whoever is not let in anyway."""
    path = request.url.path
    if path == "/v1/characters":
        return characters + FORM
    if service is None:
        return LITTLE
    if path.startswith(uploads.PLACES):
        uploads.check(service, path.removeprefix(uploads.PLACES), request.query_params)
        return service.options.fetching.bytes + FORM
    try:
        await asyncio.to_thread(service.access.owner, request)
    except ApiError:
        return LITTLE
    return MAX_BODY
