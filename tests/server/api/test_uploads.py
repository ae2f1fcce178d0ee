"""Uploads: what a client calls a file is never where it lies, and only who was answered may send it."""

from __future__ import annotations

import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.server.api.conftest import Served

pytestmark = pytest.mark.slow


def started(served: Served, name: str) -> str:
    """Where a file of that name is to be sent."""
    answer = served.ask("POST", "/v1/uploads", {"filename": name, "type": "ephemeral"}).json()
    assert answer["fields"] == {}
    return str(answer["uploadUrl"])


@pytest.mark.parametrize("name", ["../../../tmp/evil.png", "..\\..\\evil.png", "/etc/cron.d/evil", "a/../../b.png", "💥.png", "x" * 255, ".", "c:evil"])  # fmt: skip
def test_a_name_never_becomes_a_path(served: Served, files: Path, name: str) -> None:
    def elsewhere() -> set[Path]:
        ours = ("uploads", "characters")
        everything = {p.relative_to(served.data.parent) for p in served.data.parent.rglob("*")}
        return {p for p in everything if not set(ours) & set(p.parts) and not p.name.startswith("jobs.")}

    before = elsewhere()
    url = started(served, name)
    sent = httpx.post(url, files={"file": (name, (files / "picture.png").read_bytes())})
    assert sent.status_code == 204
    assert elsewhere() == before
    id = urlsplit(url).path.rpartition("/")[2]
    assert sorted(p.stem for p in (served.data / "uploads" / id).iterdir()) == ["facts", "upload"]


def test_an_upload_is_taken_once_and_at_its_own_address(served: Served, files: Path) -> None:
    picture = {"file": ("a.png", (files / "picture.png").read_bytes())}
    url, other = started(served, "a.png"), started(served, "b.png")
    place, _, query = url.partition("?")
    for wrong in (place, f"{place}?", f"{other.partition('?')[0]}?{query}", url.replace("expires=1", "expires=2")):
        assert httpx.post(wrong, files=picture).status_code == 403
    assert httpx.post(url).status_code == 400
    assert httpx.post(url, files=picture, data={"metadata": "mine"}).status_code == 204
    again = httpx.post(url, files=picture)
    assert (again.status_code, again.json()["error"]) == (400, "the upload is here already; ask for another")


def test_what_was_looked_at_is_never_changed_by_one_that_comes_at_the_same_time(served: Served, files: Path) -> None:
    url = started(served, "a.png")
    good, evil = (files / "picture.png").read_bytes(), b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(httpx.post, url, files={"file": ("a.png", what)}, timeout=60) for what in (good, evil) * 4]
    statuses = sorted(answer.result().status_code for answer in sent)
    place = served.data / "uploads" / urlsplit(url).path.rpartition("/")[2]
    kept = (place / "upload.png").read_bytes()
    assert statuses == ([204] if kept == good else [400]) + [400] * 7
    assert (place / "facts.json").exists() == (kept == good)


def test_who_is_not_let_in_is_answered_before_anything_is_read(served: Served) -> None:
    host, _, port = served.running.at.partition(":")
    head = "Host: {at}\r\nX-Forwarded-For: 8.8.8.8\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000000000\r\n\r\n"
    for path, status in (("/v1/lip_sync", "413"), (f"/v1/uploads/{uuid.uuid4()}", "403")):
        with socket.create_connection((host, int(port)), 30) as connection:
            connection.sendall(f"POST {path} HTTP/1.1\r\n{head.format(at=served.running.at)}".encode())
            assert connection.recv(1000).split()[1].decode() == status


def test_a_file_that_is_none_of_ours_is_refused_as_it_comes(served: Served) -> None:
    runwayml = pytest.importorskip("runwayml", reason="runwayml is the client; pip install runwayml")
    with pytest.raises(runwayml.APIStatusError, match="Upload failed with status 400") as refused:
        served.client().uploads.create_ephemeral(file=("a.mp4", b"not a film"))
    assert "holds text" in str(refused.value.body)


def test_a_file_that_has_not_come_cannot_be_worked_on(served: Served) -> None:
    answer = served.ask("POST", "/v1/uploads", {"filename": "a.mp4"}).json()
    body = {"reference": {"type": "video", "uri": answer["runwayUri"]}}
    said = served.ask("POST", "/v1/capture", body).json()["issues"][0]["message"]
    assert said == f"{answer['runwayUri']} has not arrived; wanted its file sent to its uploadUrl first"
