"""Around every request: its id, how much it may bring, which pages may ask, and the headers that confine a browser.

Plain ASGI, so that streams and websockets pass untouched. Logs name method, path and status; never a query, a
header or a body: those may hold keys.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.problems import ApiError
from server.logs import REQUEST

log = logging.getLogger(__name__)

_ID = re.compile(r"[\w.-]{1,64}\Z")
_SAFE = ("GET", "HEAD", "OPTIONS")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self' {sockets}; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
}  # fmt: skip
_HOST = re.compile(r"[\w.:\[\]-]{1,255}\Z")


class Guard:
    """`check_origin(origin, host)` raises HTTPException; so does `most`, which says how many bytes may come along."""

    def __init__(
        self,
        app: ASGIApp,
        check_origin: Callable[[str | None, str | None], None],
        most: Callable[[HTTPConnection], Awaitable[int]],
    ) -> None:
        self._app = app
        self._check_origin = check_origin
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = headers.get("x-request-id", "")
        id = asked if _ID.match(asked) else secrets.token_hex(8)
        token = REQUEST.set(id)
        try:
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                await self._http(scope, receive, send, headers, id)
        finally:
            REQUEST.reset(token)

    async def _http(self, scope: Scope, receive: Receive, send: Send, headers: Headers, id: str) -> None:
        begun, status, path = time.perf_counter(), 0, scope["path"]

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _confine(MutableHeaders(scope=message), status, path, headers.get("host", ""), id)
            await send(message)

        try:
            if scope["method"] not in _SAFE:
                self._check_origin(headers.get("origin"), headers.get("host"))
                receive = _bounded(receive, headers, await self._most(HTTPConnection(scope)))
            await self._app(scope, receive, answering)
        except HTTPException as error:  # before the application, which answers its own
            await _refuse(answering, error)
        except Exception:
            log.exception("a request failed", extra={"method": scope["method"], "path": path})
            if status:
                raise  # the answer has begun: all that is left is to break it off
            await _refuse(answering, ApiError(500, "the server failed; its log says why under the id of this request"))
        finally:
            quiet = scope["method"] in _SAFE and status < 500  # pages ask how tasks are going all the time
            told = {"method": scope["method"], "path": path, "status": status, "ms": _ms(begun)}
            log.log(logging.DEBUG if quiet else logging.INFO, "a request is answered", extra=told)


def _bounded(receive: Receive, headers: Headers, most: int) -> Receive:
    """The same body, or ApiError as soon as it is larger than it may be."""
    told = headers.get("content-length", "0")
    if told.isdecimal() and int(told) > most:
        raise ApiError(413, f"the request has {int(told)} bytes; wanted at most {most}", {"Connection": "close"})
    n = 0

    async def counting() -> Message:
        nonlocal n
        message = await receive()
        n += len(message.get("body", b""))
        if n > most:
            raise ApiError(413, f"the request has more than {most} bytes; wanted at most that", {"Connection": "close"})
        return message

    return counting


def _confine(answer: MutableHeaders, status: int, path: str, host: str, id: str) -> None:
    for name, value in _ALWAYS.items():
        answer.setdefault(name, value)
    answer["X-Request-Id"] = id
    is_page = answer.get("content-type", "").startswith("text/html")
    sockets = f"ws://{host} wss://{host}" if _HOST.match(host) else ""
    if status != 304:  # what a browser has already keeps the policy it came with
        answer.setdefault("Content-Security-Policy", PAGE_POLICY.format(sockets=sockets) if is_page else DATA_POLICY)
    # The page's parts belong together: after an upgrade none may be an old one.
    answer.setdefault("Cache-Control", "no-store" if path.startswith("/v1/") else "no-cache")


async def _refuse(send: Send, error: HTTPException) -> None:
    body = json.dumps({"error": str(error.detail)}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(error.headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status_code, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _ms(begun: float) -> int:
    return round(1000 * (time.perf_counter() - begun))
