"""What is answered when something is wrong that no route knows of: a sentence and a status that clients act on."""

from __future__ import annotations

import asyncio
import errno

import httpx
import pytest
from fastapi import FastAPI

from server.api.problems import handle
from server.jobs.database import AwayError


def asked(error: Exception, method: str = "GET", path: str = "/") -> httpx.Response:
    app = FastAPI()
    handle(app)

    @app.get("/")
    async def fails() -> None:
        raise error

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path)

    return asyncio.run(go())


@pytest.mark.parametrize(("error", "said"), [
    (OSError(errno.ENOSPC, "No space left on device"), "the server has no room for files; try again later"),
    (AwayError("jobs.sqlite cannot be used"), "the server cannot reach what it keeps; try again later"),
])  # fmt: skip
def test_a_full_disk_and_a_database_that_is_away_are_told_to_come_back_later(error: Exception, said: str) -> None:
    answer = asked(error)
    assert (answer.status_code, answer.json()) == (503, {"error": said})
    assert int(answer.headers["Retry-After"]) > 0


def test_any_other_error_of_the_system_is_a_mistake_of_ours() -> None:
    with pytest.raises(PermissionError):
        asked(PermissionError(errno.EACCES, "no"))


def test_what_is_not_there_is_answered_with_what_was_asked_for() -> None:
    assert asked(OSError(), path="/v1/nothing").json() == {"error": "there is nothing at /v1/nothing"}
    assert asked(OSError(), "PUT").json() == {"error": "/ does not take PUT"}
