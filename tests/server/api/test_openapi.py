"""Whatever the OpenAPI page allows may be asked, and is answered as the page says. A few seeded examples of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, settings

from server.api import account, tasks, uploads
from tests.server.api.conftest import Served

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis asks, on Python 3.11 and later; pip install schemathesis")  # fmt: skip
pytestmark = pytest.mark.slow


# What the server says of itself, known when tests are collected; that it says so is the first test.
app = FastAPI()
for module in (tasks, uploads, account):
    app.include_router(module.router)
schema = schemathesis.openapi.from_dict(app.openapi())


@dataclass(frozen=True)
class Asked:
    url: str
    headers: dict[str, str]


@pytest.fixture(scope="module")
def asked(keyed: Served, secret: str) -> Asked:
    mine = keyed.ask("POST", "/v1/keys", {"owner": "fuzz", "tier": "studio"}, authorization=f"Bearer {secret}")
    return Asked(keyed.url, {"Authorization": f"Bearer {mine.json()['secret']}"})


def test_the_page_tells_of_every_route_and_needs_nothing_from_elsewhere(asked: Asked) -> None:
    told = httpx.get(f"{asked.url}/openapi.json", timeout=60).json()["paths"]
    assert {path: told[path] for path in app.openapi()["paths"]} == app.openapi()["paths"]
    page = httpx.get(f"{asked.url}/docs", timeout=60).text
    assert "api.js" in page
    assert "//" not in page


@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(
    max_examples=12, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip
def test_every_answer_is_one_that_the_page_tells_of(case: Any, asked: Asked) -> None:
    checks = schemathesis.checks
    case.call_and_validate(
        base_url=asked.url, headers=asked.headers,
        checks=[
            checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
            checks.response_schema_conformance, checks.response_headers_conformance,
        ],
        timeout=30,
    )  # fmt: skip
