"""Tasks against the running server, asked for by Runway's own client wherever it can ask."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.api.signing import load_signer
from server.jobs.orders import ActOrder, CaptureOrder, DubOrder, from_text
from server.jobs.records import Code
from tests.server.api.conftest import MADE, Served

pytestmark = pytest.mark.slow


def act(served: Served, files: Path, **more: Any) -> Any:
    wanted = {
        "character": {"type": "image", "uri": served.upload(files / "picture.png")},
        "reference": {"type": "video", "uri": served.upload(files / "clip.mp4")}, **more,
    }  # fmt: skip
    return served.client().character_performance.create(model="act_two", **wanted)


def test_the_official_client_orders_follows_and_fetches_an_act(served: Served, files: Path) -> None:
    made = act(
        served,
        files,
        ratio="1280:720",
        expression_intensity=5,
        seed=7,
        content_moderation={"publicFigureThreshold": "low"},
    )
    order = from_text(served.store.task(made.id).order)  # type: ignore[union-attr]
    assert isinstance(order, ActOrder)
    assert (order.options.ratio, order.options.intensity, order.options.seed) == ("1280:720", 5.0, 7)
    client = served.client()
    task = client.tasks.retrieve(made.id)
    assert (task.status, task.estimated_cost.credits, task.id) == ("PENDING", 0, made.id)
    claim = served.begin(0.25)
    task = client.tasks.retrieve(made.id)
    assert (task.status, task.progress) == ("RUNNING", 0.25)
    served.store.hand_back(claim)
    assert served.work() == made.id
    done = made.wait_for_task_output(timeout=30)
    assert done.status == "SUCCEEDED"
    (url,) = done.output
    assert httpx.get(url).content == MADE
    assert httpx.get(url, headers={"Range": "bytes=2-5"}).content == MADE[2:6]
    client.tasks.delete(made.id)
    with pytest.raises(Exception, match="there is no such task") as gone:
        client.tasks.retrieve(made.id)
    assert type(gone.value).__name__ == "NotFoundError"
    assert httpx.get(url).status_code == 404


def test_a_task_that_failed_says_why_to_people_and_to_programs(served: Served, files: Path) -> None:
    made = act(served, files)
    claim = served.store.claim("test")
    assert claim is not None
    served.store.fail(claim, "clip.mp4 shows no face", Code.BAD_INPUT, for_good=True)
    task = served.client().tasks.retrieve(made.id)
    assert (task.status, task.failure, task.failure_code) == ("FAILED", "clip.mp4 shows no face", "ASSET.INVALID")
    with pytest.raises(Exception, match="Task failed"):
        made.wait_for_task_output(timeout=30)


def test_cancelling_keeps_a_task_to_be_seen_and_it_can_be_ordered_again(served: Served, files: Path) -> None:
    made = act(served, files)
    assert served.ask("POST", f"/v1/tasks/{made.id}/retry").status_code == 400
    assert served.ask("POST", f"/v1/tasks/{made.id}/cancel").json()["status"] == "CANCELLED"
    assert served.client().tasks.retrieve(made.id).status == "CANCELLED"
    again = served.ask("POST", f"/v1/tasks/{made.id}/retry").json()["id"]
    assert again != made.id
    assert served.work() == again
    newest = served.ask("GET", "/v1/tasks?limit=2").json()
    assert [(t["id"], t["status"], t["name"]) for t in newest["tasks"]] == [
        (again, "SUCCEEDED", "picture.png"), (made.id, "CANCELLED", "picture.png"),
    ]  # fmt: skip
    older = served.ask("GET", f"/v1/tasks?limit=2&before={newest['next']}").json()["tasks"]
    assert not {again, made.id} & {t["id"] for t in older}
    assert {t["status"] for t in served.ask("GET", "/v1/tasks?status=CANCELLED").json()["tasks"]} == {"CANCELLED"}


def test_lip_sync_and_capture_become_the_orders_of_our_own_commands(served: Served, files: Path) -> None:
    clip, sound = served.upload(files / "clip.mp4"), served.upload(files / "sound.wav")
    body = {
        "source": {"type": "video", "uri": clip}, "length": "loop", "face": "all", "seed": 3,
        "speech": {"type": "audio", "uri": sound, "transcript": "/etc/passwd", "language": "de"},
    }  # fmt: skip
    made = served.ask("POST", "/v1/lip_sync", body).json()
    task = served.store.task(made["id"])
    assert task is not None
    order = from_text(task.order)
    assert isinstance(order, DubOrder)
    assert (order.options.length, order.options.face, order.options.seed) == ("loop", "all", 3)
    assert task.seconds == pytest.approx(1, abs=0.01)
    assert order.options.transcript is not None
    assert not Path(order.options.transcript).exists()  # a text is not taken for the file of that name
    made = served.ask("POST", "/v1/capture", {"reference": {"type": "video", "uri": clip}, "format": "bvh"}).json()
    task = served.store.task(made["id"])
    assert task is not None
    order = from_text(task.order)
    assert isinstance(order, CaptureOrder)
    assert order.suffix == ".bvh"
    served.clear()


def data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


@pytest.mark.parametrize(("change", "path", "why"), [
    ({"character": {"type": "image", "uri": "CLIP"}}, ["character", "uri"], "character.uri is a video; wanted a picture"),
    ({"reference": {"type": "video", "uri": "SOUND"}}, ["reference", "uri"], "reference.uri is sound; wanted a video"),
    ({"reference": {"type": "video", "uri": "data:video/mp4;base64,AAAA"}}, ["reference", "uri"], "the data: URI holds no media"),
    ({"reference": {"type": "video", "uri": "https://localhost/a.mp4"}}, ["reference", "uri"], "https://localhost is inside a network"),
    ({"reference": {"type": "video", "uri": "https://169.254.169.254/a"}}, ["reference", "uri"], "is inside a network"),
    ({"reference": {"type": "video", "uri": f"runway://{uuid.uuid4()}"}}, ["reference", "uri"], "is not known"),
    ({"reference": {"type": "video", "uri": "file:///etc/passwd"}}, ["reference", "video", "uri"], "pattern"),
    ({"expressionIntensity": 6}, ["expressionIntensity"], "less than or equal to 5"),
    ({"ratio": "1:1"}, ["ratio"], "1280:720"), ({"rato": "1280:720"}, ["rato"], "not permitted"),
    ({"model": "act_one"}, ["model"], "act_two"), ({"webhook": "http://example.com/"}, ["webhook"], "not https"),
    ({"character": {"type": "drawing", "uri": "CLIP"}}, ["character"], "does not match any"),
])  # fmt: skip
def test_what_cannot_be_used_is_answered_with_the_field_and_a_sentence(
    served: Served, files: Path, change: dict[str, Any], path: list[str], why: str
) -> None:
    body = {
        "model": "act_two", "character": {"type": "image", "uri": data_uri(files / "picture.png", "image/png")},
        "reference": {"type": "video", "uri": data_uri(files / "clip.mp4", "video/mp4")},
    } | change  # fmt: skip
    for name, file, kind in (("CLIP", "clip.mp4", "video/mp4"), ("SOUND", "sound.wav", "audio/wav")):
        body = json.loads(json.dumps(body).replace(f'"{name}"', json.dumps(data_uri(files / file, kind))))
    refused = served.ask("POST", "/v1/character_performance", body)
    assert refused.status_code == 400
    said = refused.json()
    field = ".".join(path)
    assert why in said["error"] or said["error"] == f"{field}: there is no such field"
    assert why in said["issues"][0]["message"]
    assert [p for p in said["issues"][0]["path"] if p != "video"] == [p for p in path if p != "video"]


def test_the_same_request_under_the_same_key_is_the_same_task(served: Served, files: Path) -> None:
    body = {"reference": {"type": "video", "uri": data_uri(files / "clip.mp4", "video/mp4")}, "format": "csv"}
    ids = {served.ask("POST", "/v1/capture", body, Idempotency_Key="k1").json()["id"] for _ in range(3)}
    assert len(ids) == 1
    assert served.ask("POST", "/v1/capture", body, Idempotency_Key="k2").json()["id"] not in ids
    other = served.ask("POST", "/v1/capture", body | {"format": "npz"}, Idempotency_Key="k1")
    assert (other.status_code, "was used for another order" in other.json()["error"]) == (422, True)
    served.clear()


def test_links_hold_for_what_they_were_given_for_alone(served: Served, files: Path) -> None:
    first, second = act(served, files).id, act(served, files).id
    served.work()
    served.work()
    urls = [served.client().tasks.retrieve(id).output[0] for id in (first, second)]
    assert [httpx.get(url).status_code for url in urls] == [200, 200]
    for wrong in (
        urls[0].replace(first, second), urls[0].replace("/0.mp4", "/1.mp4"), urls[0].replace("expires=1", "expires=2"),
        urls[0][:-1] + ("0" if urls[0][-1] != "0" else "1"),
    ):  # fmt: skip
        answer = httpx.get(wrong)
        assert (answer.status_code, list(answer.json())) == (403, ["error"])
    assert httpx.get(urls[0].partition("?")[0]).status_code == 400
    past = str(int(served.store.clock()) - 1)
    signed = load_signer(served.data).sign("output", first, "0", past)
    assert httpx.get(f"{served.url}/v1/outputs/{first}/0.mp4?expires={past}&signature={signed}").status_code == 403
