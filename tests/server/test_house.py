from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from server.app import create_app
from server.cast import Cast
from server.house import House


def test_a_server_that_stops_is_well_and_not_ready(tmp_path: Path) -> None:
    house = House(Cast(tmp_path))

    async def ask(path: str) -> tuple[int, str]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(house)), base_url="http://here"
        ) as client:
            answer = await client.get(path)
            return answer.status_code, answer.text

    assert asyncio.run(ask("/readyz")) == (200, "ok")
    house.draining = True
    assert asyncio.run(ask("/readyz"))[0] == 503
    assert asyncio.run(ask("/healthz")) == (200, "ok")
