"""`understudy serve` as a whole: the official client before it, workers behind it, and what outlives a stop."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.video import VideoReader
from server.api.signing import webhook_signature
from server.jobs.records import State
from server.jobs.store import open_store
from tests.server.api.conftest import Served
from tests.server.conftest import Rgb, film, swaying
from tests.server.serving import serving

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


def until(true: Callable[[], bool], within_s: float = 120) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def examples(language: str) -> list[str]:
    """The blocks of docs/service.md in a language."""
    text = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_first_example_of_the_docs_renders_an_act_by_the_official_client(
    working: Served, portrait: Path, clip: Path, tmp_path: Path
) -> None:
    pytest.importorskip("runwayml", reason="runwayml is the client; pip install runwayml")
    shutil.copy(portrait, tmp_path / "portrait.png")
    shutil.copy(clip, tmp_path / "actor.mp4")
    script = examples("python")[0].replace("http://127.0.0.1:8765", working.url)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=300)
    with av.open(str(tmp_path / "performed.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert [frames[0].shape, len(frames)] == [(960, 960, 3), 24]
    assert np.abs(frames[0].astype(int) - frames[8]).max() > 30  # it moves


def test_the_example_without_a_library_is_taken(working: Served, portrait: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl; apt-get install curl")
    pytest.importorskip("espeakng_loader", reason="espeakng_loader brings the voice; make setup brings it")
    shutil.copy(portrait, tmp_path / "portrait.png")
    script = examples("sh")[0].replace("http://127.0.0.1:8765", working.url)
    ran = subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120)
    made, listed = (json.loads(line) for line in ran.stdout.replace("}{", "}\n{").splitlines())
    assert made["id"] == listed["tasks"][0]["id"]
    working.ask("DELETE", f"/v1/tasks/{made['id']}")


def test_the_docs_check_a_webhook_as_it_is_signed() -> None:
    told: dict[str, Callable[..., bool]] = {}
    exec(examples("python")[1], told)
    now = int(time.time())
    assert told["is_ours"](webhook_signature("s", now, b"{}"), b"{}", "s")
    assert not told["is_ours"](webhook_signature("s", now, b"{}"), b"[]", "s")
    assert not told["is_ours"](webhook_signature("s", now - 900, b"{}"), b"{}", "s")


def test_a_video_of_the_character_keeps_its_own_pictures_and_says_what_follows(
    working: Served, clip: Path, tmp_path: Path
) -> None:
    uri = working.upload(clip)
    body = {
        "model": "act_two", "character": {"type": "video", "uri": uri}, "reference": {"type": "video", "uri": uri}, "bodyControl": True,
    }  # fmt: skip
    made = working.ask("POST", "/v1/character_performance", body).json()
    assert made["warnings"] == ["a video character keeps its own head, eyes and body; its mouth follows the performer"]
    until(lambda: (task := working.store.task(made["id"])) is not None and task.state.is_over)
    task = working.store.task(made["id"])
    assert task is not None
    assert (task.kind, task.state, task.failure) == ("act", State.SUCCEEDED, None)
    shown = [pictures(path) for path in (clip, working.data / task.outputs[0])]
    assert len(shown[0]) == len(shown[1]) == 24
    assert max(np.abs(a[:100].astype(int) - b[:100]).mean() for a, b in zip(*shown, strict=True)) < 2  # above the mouth


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with VideoReader(path) as reader:
        return [frame.rgb for frame in reader]


def test_tasks_join_the_metrics(working: Served) -> None:
    figures = httpx.get(f"{working.url}/metrics").text
    for line in (
        'understudy_tasks{kind="act",state="succeeded"}',
        "understudy_live_sessions",
        "understudy_task_attempts_total",
    ):
        assert f"\n{line} " in figures


def test_what_a_server_worked_on_that_stops_or_is_killed_the_next_takes_up(tmp_path: Path, face: Rgb) -> None:
    clip = film(tmp_path / "clip.mp4", swaying(face), 350)
    with serving(tmp_path, options=("--workers", "1")) as running:
        served = Served(running, open_store(tmp_path), tmp_path)
        body = {"reference": {"type": "video", "uri": served.upload(clip)}, "format": "csv"}
        id = served.ask("POST", "/v1/capture", body).json()["id"]
        until(lambda: (task := served.store.task(id)) is not None and task.progress > 0)
    task = served.store.task(id)
    assert task is not None
    assert (task.state, task.attempts, task.progress) == (State.PENDING, 0, 0)
    assert not list((tmp_path / "outputs").rglob("*.csv"))

    def taken_up() -> bool:
        task = served.store.task(id)
        return task is not None and task.state is State.RUNNING

    with serving(tmp_path, options=("--workers", "1")) as running:
        until(taken_up)
        running.process.kill()
    until(lambda: not taken_up())  # its worker does not outlive it
    with serving(tmp_path, options=("--workers", "1")) as running:
        again = Served(running, served.store, tmp_path)
        until(taken_up)
        assert again.ask("POST", f"/v1/tasks/{id}/cancel").json()["status"] == "CANCELLED"
    served.store.close()
    assert not list((tmp_path / "outputs").rglob("*.csv"))
