"""The service joined to the live server's application: routes, errors, limits, and what runs beside."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, WebSocket
from fastapi.responses import FileResponse

from server.api import account, tasks, uploads
from server.api.events import Pulse, events
from server.api.service import Service
from server.api.webhooks import Patience, Webhooks
from server.house import House

DOCS = Path(__file__).parents[1] / "studio" / "api.html"
MAX_BODY = 32 << 20  # two data: URIs fit
FORM = 1 << 20  # around a file


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


def most_bytes(service: Service | None, characters: int, path: str) -> int:
    """How much a request may bring."""
    if path == "/v1/characters":
        return characters + FORM
    if path.startswith("/v1/uploads/") and service is not None:
        return service.options.fetching.bytes + FORM
    return MAX_BODY
