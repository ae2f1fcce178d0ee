"""Who asked to be told is told when a task is over: signed, and again until they heard it."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from server.api.webhooks import POLL_S, Patience
from tests.server.api.conftest import Served


def test_patience_doubles_has_a_longest_and_an_end() -> None:
    patience = Patience()
    waits = [patience.wait_s(n) for n in range(1, patience.tries + 1)]
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] is None
    assert 1 < sum(w for w in waits if w is not None) / 3600 < 3


@contextmanager
def receiver(statuses: list[int]) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """Answers each webhook with the next status, 200 after those; where it is, and what came."""
    came: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/told", came
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_a_webhook_is_sent_again_until_it_is_heard_and_can_be_checked(served: Served, files: Path) -> None:
    clip = base64.b64encode((files / "clip.mp4").read_bytes()).decode()
    with receiver([500, 302]) as (url, came):
        body = {"reference": {"type": "video", "uri": f"data:video/mp4;base64,{clip}"}, "webhook": url}
        id = served.ask("POST", "/v1/capture", body).json()["id"]
        assert not came
        served.work(".npz")
        until = time.monotonic() + 30
        while len(came) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(2 * POLL_S)  # none follows the one that was heard
    assert len(came) == 3
    assert len({headers["Understudy-Delivery"] for headers, _ in came}) == 1
    secret = served.ask("GET", "/v1/webhook_secret").json()["secret"]
    for headers, sent in came:
        stamp, _, digest = headers["Understudy-Signature"].removeprefix("t=").partition(",v1=")
        assert hmac.compare_digest(hmac.new(secret.encode(), f"{stamp}.".encode() + sent, sha256).hexdigest(), digest)
        assert abs(time.time() - int(stamp)) < 60
        told = json.loads(sent)
        assert (told["type"], told["task"]["id"], told["task"]["status"]) == ("task.over", id, "SUCCEEDED")
        assert told["task"]["output"][0].startswith(f"{served.url}/v1/outputs/{id}/0.npz?")
