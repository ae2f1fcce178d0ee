"""What stands around every request: limits before anything is read, foreign pages kept out, browsers confined."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from starlette.requests import HTTPConnection

from server.api.guard import Guard
from server.api.problems import handle
from server.logs import REQUEST

log = logging.getLogger("server.test")


@dataclass
class Client:
    """Asks an application without a socket."""

    app: FastAPI

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self._ask("GET", path, headers, None)

    def post(
        self, path: str, headers: dict[str, str] | None = None, content: bytes | list[bytes] | None = None
    ) -> httpx.Response:
        return self._ask("POST", path, headers, content)

    def _ask(
        self, method: str, path: str, headers: dict[str, str] | None, content: bytes | list[bytes] | None
    ) -> httpx.Response:
        async def pieces(parts: list[bytes]) -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        async def ask() -> httpx.Response:
            body = pieces(content) if isinstance(content, list) else content
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as client:
                return await client.request(method, path, headers=headers, content=body)

        return asyncio.run(ask())


@pytest.fixture
def client() -> Client:
    app = FastAPI()

    def check_origin(origin: str | None, host: str | None) -> None:
        if origin not in (None, f"http://{host}"):
            raise HTTPException(403, "not from there")

    async def most(_: HTTPConnection) -> int:
        return 1000

    app.add_middleware(Guard, check_origin=check_origin, most=most)
    handle(app)

    @app.post("/v1/eat")
    async def eat(request: Request) -> dict[str, object]:
        log.info("eaten")
        return {"n": len(await request.body()), "request": REQUEST.get()}

    @app.get("/page", response_class=HTMLResponse)
    async def page() -> str:
        return "<p>hello"

    @app.get("/kept", status_code=304)
    async def kept() -> None:
        """What a browser asks for that has a page already."""

    @app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("a mistake")

    return Client(app)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert list(answer.json()) == ["error"]
    return answer.status_code, answer.json()["error"]


def test_a_body_is_bounded_whether_its_size_is_told_or_not(client: Client) -> None:
    assert client.post("/v1/eat", content=bytes(1000)).json()["n"] == 1000
    assert problem(client.post("/v1/eat", content=bytes(1001))) == (
        413,
        "the request has 1001 bytes; wanted at most 1000",
    )
    untold = client.post("/v1/eat", content=[bytes(600), bytes(600)])
    assert problem(untold) == (413, "the request has more than 1000 bytes; wanted at most that")


def test_a_page_from_elsewhere_may_look_and_not_touch(client: Client) -> None:
    assert problem(client.post("/v1/eat", headers={"origin": "https://evil.example"})) == (403, "not from there")
    assert client.post("/v1/eat", headers={"origin": "http://studio.test"}).status_code == 200
    assert client.get("/page", headers={"origin": "https://evil.example"}).status_code == 200


def test_browsers_are_confined_and_nothing_of_the_interface_is_kept(client: Client) -> None:
    page, data = client.get("/page").headers, client.post("/v1/eat").headers
    policy = page["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "connect-src 'self' ws://studio.test wss://studio.test;" in policy
    assert "unsafe" not in policy
    assert "'self'" not in data["content-security-policy"]
    assert data["cache-control"] == "no-store"
    for answer in (page, data, client.get("/nowhere").headers, client.post("/v1/eat", content=bytes(2000)).headers):
        assert answer["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer["content-security-policy"]
    assert page["cache-control"] == "no-cache"
    assert "content-security-policy" not in client.get("/kept").headers  # it would take the place of the page's own
    strange = client.get("/page", headers={"host": "a; script-src *"}).headers["content-security-policy"]
    assert "script-src *" not in strange


def test_a_request_is_told_by_its_id_and_never_by_its_secrets(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = client.post(
        "/v1/eat?signature=hidden", headers={"x-request-id": "r-1", "authorization": "Bearer hidden"}, content=b"hidden"
    )
    assert answer.headers["x-request-id"] == answer.json()["request"] == "r-1"
    assert REQUEST.get() is None
    ours = [record for record in caplog.records if record.name.startswith("server.")]
    assert [record.getMessage() for record in ours] == ["eaten", "a request is answered"]
    assert vars(ours[1]) | {"path": "/v1/eat", "status": 200, "method": "POST"} == vars(ours[1])
    assert "hidden" not in str([vars(record) for record in ours])
    forged = client.post("/v1/eat", headers={"x-request-id": "a\tb {}"}).headers["x-request-id"]
    assert forged.isalnum()


def test_a_mistake_of_ours_is_answered_in_the_same_shape(client: Client) -> None:
    status, said = problem(client.get("/v1/broken"))
    assert (status, said) == (500, "the server failed; its log says why under the id of this request")
