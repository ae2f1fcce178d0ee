"""Accounts of a running server that has keys: tiers, credits, limits, and who may make keys."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.server.api.conftest import Served

pytestmark = pytest.mark.slow


def capture(files: Path) -> dict[str, Any]:
    clip = base64.b64encode((files / "clip.mp4").read_bytes()).decode()
    return {"reference": {"type": "video", "uri": f"data:video/mp4;base64,{clip}"}}


def test_from_the_first_key_on_everybody_needs_one(keyed: Served, secret: str) -> None:
    runwayml = pytest.importorskip("runwayml", reason="runwayml is the client; pip install runwayml")
    assert keyed.client(secret).organization.retrieve().credit_balance == 1000
    with pytest.raises(runwayml.AuthenticationError, match="the key is not known, or was revoked"):
        keyed.client("nonsense").organization.retrieve()
    assert keyed.ask("GET", "/v1/keys").status_code == 401
    for path in ("/v1/tasks", "/v1/organization", "/v1/webhook_secret"):
        answer = keyed.ask("GET", path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert keyed.ask("GET", "/v1/access").json() == {
        "needsKey": True, "isLetIn": False, "mayManageKeys": False, "tiers": [],
    }  # fmt: skip


def test_an_account_sees_its_tier_its_credits_and_what_it_spent(keyed: Served, secret: str, files: Path) -> None:
    client = keyed.client(secret)
    made = client.post("/v1/capture", body=capture(files), cast_to=httpx.Response).json()
    assert made["estimatedCost"] == {"credits": 1}  # half a second at a credit a second, rounded up
    assert client.organization.retrieve().credit_balance == 999
    keyed.work(".npz")
    about = client.organization.retrieve()
    assert about.tier.models["act_two"].max_concurrent_generations == 1
    assert about.tier.models["act_two"].max_daily_generations == 50
    assert about.usage.models["capture"].daily_generations == 1
    assert client.tasks.retrieve(made["id"]).cost.credits == 1
    today = datetime.now(timezone.utc).date()
    report = client.organization.retrieve_usage(start_date=today, before_date=today + timedelta(1))
    assert [(day.date, [(c.model, c.amount) for c in day.used_credits]) for day in report.results] == [
        (today, [("capture", 1)])
    ]
    answer = keyed.ask(
        "POST",
        "/v1/organization/usage",
        {"startDate": "2026-01-01", "beforeDate": "2027-01-01"},
        authorization=f"Bearer {secret}",
    )
    assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, ["beforeDate"])


def test_one_account_sees_nothing_of_another(keyed: Served, secret: str, files: Path) -> None:
    bob = keyed.store.keys.create("bob", "paid").secret
    keyed.store.grant("bob", 100)
    as_bob = {"authorization": f"Bearer {bob}"}
    uri = str(keyed.client(secret).uploads.create_ephemeral(file=files / "clip.mp4").uri)
    answer = keyed.ask("POST", "/v1/capture", {"reference": {"type": "video", "uri": uri}}, **as_bob)
    assert (answer.status_code, answer.json()["issues"][0]["message"]) == (
        400,
        f"{uri} is not known; wanted an upload of the last 24 hours",
    )
    task = keyed.ask("POST", "/v1/capture", capture(files), authorization=f"Bearer {secret}").json()["id"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry")):
        assert keyed.ask(method, f"/v1/tasks/{task}{path}", **as_bob).status_code == 404
    assert keyed.ask("GET", "/v1/tasks", **as_bob).json()["tasks"] == []
    with connect(f"ws://{keyed.running.at}/v1/events") as socket:
        socket.send(json.dumps({"type": "hello", "after": 0, "key": bob}))
        assert json.loads(socket.recv()) == {"type": "ready", "after": 0}
        mine = keyed.ask("POST", "/v1/capture", capture(files), **as_bob).json()["id"]
        assert json.loads(socket.recv())["task"] == mine
    with connect(f"ws://{keyed.running.at}/v1/events") as socket:
        socket.send('{"type": "hello"}')
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403
    secrets = {keyed.ask("GET", "/v1/webhook_secret", authorization=f"Bearer {key}").text for key in (secret, bob)}
    assert len(secrets) == 2
    keyed.clear()


def test_without_credits_or_room_nothing_is_taken_and_it_is_said_when_to_come_back(keyed: Served, files: Path) -> None:
    runwayml = pytest.importorskip("runwayml", reason="runwayml is the client; pip install runwayml")
    poor = keyed.store.keys.create("poor", "paid").secret
    answer = keyed.ask("POST", "/v1/capture", capture(files), authorization=f"Bearer {poor}")
    assert (answer.status_code, answer.json()["error"]) == (400, "this costs 1 credits and poor has 0")
    busy = keyed.store.keys.create("busy", "free").secret
    uri = str(keyed.client(busy).uploads.create_ephemeral(file=files / "clip.mp4").uri)
    body = {"reference": {"type": "video", "uri": uri}}
    statuses = [
        keyed.ask("POST", "/v1/capture", body, authorization=f"Bearer {busy}", idempotency_key=f"{i}")
        for i in range(31)
    ]
    assert [a.status_code for a in statuses] == [200] * 30 + [429]
    assert statuses[-1].headers["retry-after"] == "60"
    with pytest.raises(runwayml.RateLimitError, match="may submit 30 tasks a minute"):
        keyed.client(busy).post("/v1/capture", body=body, cast_to=httpx.Response)
    keyed.store.claim("test")  # one runs, so the tier has no room for the next
    assert keyed.client(busy).tasks.retrieve(statuses[5].json()["id"]).status == "THROTTLED"


def test_a_key_is_shown_once_and_lets_nobody_in_once_revoked(keyed: Served, secret: str) -> None:
    mine = {"authorization": f"Bearer {secret}"}
    made = keyed.ask("POST", "/v1/keys", {"owner": "carol", "tier": "paid"}, **mine).json()
    listed = keyed.ask("GET", "/v1/keys", **mine)
    assert made["id"] in listed.text
    assert made["secret"] not in listed.text
    hers = {"authorization": f"Bearer {made['secret']}"}
    assert keyed.ask("GET", "/v1/tasks", **hers).status_code == 200
    assert keyed.ask("DELETE", f"/v1/keys/{made['id']}", **mine).json()["revokedAt"] is not None
    assert keyed.ask("GET", "/v1/tasks", **hers).status_code == 401
    assert keyed.ask("DELETE", "/v1/keys/0000", **mine).status_code == 404
    wrong = keyed.ask("POST", "/v1/keys", {"owner": "dave", "tier": "gold"}, **mine)
    assert (wrong.status_code, wrong.json()["issues"][0]["path"]) == (400, ["tier"])
    passed_on = keyed.ask("POST", "/v1/keys", {"owner": "dave"}, **mine, x_forwarded_for="8.8.8.8")
    assert passed_on.status_code == 403
    page = keyed.ask("POST", "/v1/keys", {"owner": "dave"}, **mine, origin="https://evil.example")
    assert page.status_code == 403


def test_neither_keys_nor_media_nor_links_are_in_the_log(keyed: Served, secret: str) -> None:
    log = keyed.running.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    taken = [line for line in lines if line["message"] == "a task is taken"]
    assert taken
    assert all(line["task"] and line["request"] for line in taken)
    for hidden in (secret, "signature", "Bearer", "base64", "key_"):
        assert hidden not in log
