"""A running service, the official client before it, and files for it to work on."""

from __future__ import annotations

import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runtime.writer import VideoWriter
from server.jobs.records import Claim
from server.jobs.store import NEWS_S, Store, open_store
from tests.server.serving import Running, serving

MADE = b"not a film, but whole"  # what a worker of these tests makes


@dataclass(frozen=True)
class Served:
    """A service that takes tasks, and its store, by which a test works on them as a worker would."""

    running: Running
    store: Store
    data: Path

    @property
    def url(self) -> str:
        return f"http://{self.running.at}"

    def client(self, key: str = "any key", *, retries: int = 0) -> Any:
        """Runway's own client, unchanged."""
        runwayml = pytest.importorskip("runwayml", reason="runwayml is the client; pip install runwayml")
        return runwayml.RunwayML(api_key=key, base_url=self.url, max_retries=retries)

    def upload(self, path: Path) -> str:
        return str(self.client().uploads.create_ephemeral(file=path).uri)

    def ask(self, method: str, path: str, json: object = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(method, self.url + path, json=json, headers=named, timeout=60)

    def clear(self) -> None:
        """Nothing was ordered that is still known."""
        while known := self.store.tasks():
            for task in known:
                self.store.delete(task.id)

    def begin(self, progress: float) -> Claim:
        """Take up the task whose turn it is, and be so far."""
        claim = self.store.claim("test")
        assert claim is not None
        self.store.clock = lambda: time.time() + NEWS_S  # what is news sooner is not written
        self.store.heartbeat(claim, progress)
        self.store.clock = time.time
        return claim

    def work(self, suffix: str = ".mp4") -> str:
        """Do the task whose turn it is; its id."""
        claim = self.store.claim("test")
        assert claim is not None
        folder = self.data / claim.folder
        folder.mkdir(parents=True)
        (folder / f"made{suffix}").write_bytes(MADE)
        self.store.finish(claim, [f"{claim.folder}/made{suffix}"], 1.0)
        return claim.task.id


@pytest.fixture(scope="module")
def served(one_for_all: Served) -> Served:
    """No key has been made, nothing was ordered that is still known, and nobody works on tasks but the test."""
    one_for_all.clear()
    return one_for_all


@contextmanager
def keeping(data: Path, *options: str) -> Iterator[Served]:
    with serving(data, options=options) as running:
        store = open_store(data)
        yield Served(running, store, data)
        store.close()


@pytest.fixture(scope="session")
def one_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with keeping(tmp_path_factory.mktemp("data"), "--trust-host", "127.0.0.1") as ours:
        yield ours


@pytest.fixture(scope="session")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a worker; no key has been made."""
    with keeping(tmp_path_factory.mktemp("working"), "--workers", "1") as ours:
        yield ours


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose only user so far holds a `secret`."""
    with keeping(tmp_path_factory.mktemp("keyed")) as ours:
        yield ours


@pytest.fixture(scope="session")
def secret(keyed: Served) -> str:
    """The first key, made over HTTP by this machine's user, who needs none for that."""
    made = keyed.ask("POST", "/v1/keys", {"owner": "alice", "tier": "free"})
    assert made.status_code == 201
    return str(made.json()["secret"])


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """picture.png, clip.mp4 of 12 frames, and sound.wav of a second; nobody is in them."""
    folder = tmp_path_factory.mktemp("files")
    shade = np.repeat(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    Image.fromarray(shade).save(folder / "picture.png")
    with VideoWriter(folder / "clip.mp4", 96, 64, Fraction(24)) as writer:
        for i in range(12):
            frame: NDArray[np.uint8] = np.roll(shade, i, 1)
            writer.write(frame, Fraction(i, 24))
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes((9000 * np.sin(np.arange(16_000) / 20)).astype("<i2").tobytes())
    return folder
