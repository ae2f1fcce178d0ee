"""What goes wrong, in Runway's shape: `{"error": "…", "issues": […]}` and the status that clients act on."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from runtime.output import FULL
from server.api.shapes import Problem
from server.jobs.database import AwayError
from server.jobs.records import ConflictError, LimitError, RefusalError

NO_ROOM = "the server has no room for files; try again later"
log = logging.getLogger(__name__)

OURS = "invalid_asset"  # the code of what was found out after the shape was right
_PLAIN = {"missing": "it is missing", "extra_forbidden": "there is no such field"}  # the validator's codes, in words


class ApiError(HTTPException):
    """An answer other than what was asked for."""

    def __init__(self, status: int, error: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, error, headers)


def bad_field(path: str, error: ValueError) -> RequestValidationError:
    """A part of the body that cannot be used, found out after its shape was right."""
    return RequestValidationError([{"type": OURS, "loc": ("body", *path.split(".")), "msg": str(error)}])


def answered(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer besides success, for the OpenAPI page."""
    said = {
        400: "The request is malformed, or something it points at cannot be used.", 401: "The key is missing or wrong.",
        403: "Not from here.", 404: "There is none of that name, or it is another's.", 413: "Larger than may be sent.",
        422: "The Idempotency-Key was used for another request.", 429: "The tier's limit is reached; Retry-After says when.",
        503: "The server has no room for files, or its database is away.",
    }  # fmt: skip
    return {status: {"model": Problem, "description": said[status]} for status in statuses}


def handle(app: FastAPI) -> None:
    """Answer every error of the application in one shape."""

    @app.exception_handler(HTTPException)
    async def told(request: Request, error: HTTPException) -> JSONResponse:
        said = {404: "there is nothing at {path}", 405: "{path} does not take {method}"}
        is_bare = error.detail == HTTPStatus(error.status_code).phrase  # the routes' own word, for want of a route
        text = said.get(error.status_code, "{detail}") if is_bare else "{detail}"
        asked = {"path": request.url.path[:100], "method": request.method, "detail": error.detail}
        return _problem(error.status_code, text.format(**asked), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        issues = [
            {"code": e["type"], "path": [str(p) if not isinstance(p, int) else p for p in e["loc"][1:]], "message": e["msg"]}
            for e in error.errors()
        ]  # fmt: skip
        return JSONResponse({"error": _sentence(issues), "issues": issues}, 400)

    @app.exception_handler(RefusalError)
    async def refused(_: Request, error: RefusalError) -> JSONResponse:
        status = 422 if isinstance(error, ConflictError) else 429 if isinstance(error, LimitError) else 400
        wait = {} if error.retry_after_s is None else {"Retry-After": f"{error.retry_after_s:.0f}"}
        return _problem(status, str(error), wait)

    @app.exception_handler(OSError)
    async def full(_: Request, error: OSError) -> JSONResponse:
        if error.errno not in FULL:
            raise error
        return _problem(503, NO_ROOM, {"Retry-After": "60"})

    @app.exception_handler(AwayError)
    async def away(_: Request, error: AwayError) -> JSONResponse:
        log.error("the database is away", extra={"why": str(error)})
        return _problem(503, "the server cannot reach what it keeps; try again later", {"Retry-After": "10"})


def _sentence(issues: list[dict[str, Any]]) -> str:
    """The first of them, for people."""
    first = issues[0]
    where, said = ".".join(map(str, first["path"])), first["message"]
    if first["code"] == OURS:
        return str(said)
    if not where:
        return "the body is no JSON object; wanted one, as application/json"
    return f"{where}: {_PLAIN.get(first['code'], said)}"


def _problem(status: int, error: str, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse({"error": error}, status, headers)
