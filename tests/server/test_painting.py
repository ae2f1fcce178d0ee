"""One network paints for all sessions that wait, and each keeps to itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch
from torch import Tensor

from runtime.errors import InputError
from server.painting import TOGETHER, Painting, Shared, open_painting
from synth.diffusion.engines import EngineNetwork, run_by
from synth.diffusion.model import N_GUIDE, N_REFERENCE
from synth.diffusion.pipeline import Frames, GuidePipeline, Memory
from tests.synth.diffusion.network import pipeline

S = 32


class Gated:
    """A network that waits before each call until it is let go."""

    def __init__(self, network: GuidePipeline) -> None:
        self.network = network
        self.go = threading.Semaphore(0)
        self.fails = False
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def __call__(self, guide: Tensor, references: Tensor, memory: Memory, *, begun: Tensor | None = None) -> Frames:
        assert self.go.acquire(timeout=60)
        if self.fails:
            raise MemoryError("made to fail")
        self.sizes.append(len(guide))
        frames: Frames = self.network(guide, references, memory, begun=begun)
        return frames


class Client:
    """What one session asks for, a frame at a time."""

    def __init__(self, network: Any, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.network = network
        self.frames = torch.randn((1, 4, N_GUIDE, S, S), generator=draw).clamp(-1, 1)
        with torch.no_grad():
            self.references = network.unet.encode(torch.randn((1, 1, N_REFERENCE, S, S), generator=draw))
        self.memory = network.begin(1, S)
        self.pictures: list[Tensor] = []

    def next(self) -> None:
        i = len(self.pictures)
        out = self.network(self.frames[:, i : i + 1], self.references, self.memory)
        self.memory = out.memory
        self.pictures.append(out.pictures)


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert what()


def test_sessions_that_wait_at_the_same_moment_are_painted_in_one_call() -> None:
    made = pipeline(S)
    gated = Gated(made)
    shared = Shared(gated)  # type: ignore[arg-type]
    clients = [Client(shared, seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as sessions:
        first = sessions.submit(clients[0].next)
        until(lambda: shared.n_calls == 1)  # the others come while it is painted
        rest = [sessions.submit(client.next) for client in clients[1:]]
        until(lambda: len(shared._waiting) == 3)
        gated.go.release()
        gated.go.release()
        for asked in (first, *rest):
            asked.result(60)
    assert gated.sizes == [1, 3]
    assert (shared.n_calls, shared.n_painted) == (2, 4)


@pytest.mark.parametrize("fixed", [False, True])
def test_every_session_gets_its_own_pictures_in_its_own_order(fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the network itself, which takes any number of streams, and by engines for 1, 2 and 4, as on a GPU."""
    made, live = pipeline(S, steps=2), pipeline(S, steps=2)
    shared = Shared(live)
    if fixed:
        monkeypatch.setattr(EngineNetwork, "_onnx", EngineNetwork._torch)
        network = run_by(live, "onnx", streams=TOGETHER)
        network.ready(S, 1, 1)
        assert [shapes.streams for shapes in network._engines] == [1, 2, 4]
    alone, together = ([Client(network, seed) for seed in range(5)] for network in (made, shared))

    def perform(client: Client) -> None:
        for _ in range(4):
            client.next()

    with ThreadPoolExecutor(5) as sessions:
        list(sessions.map(perform, together))
    for client in alone:
        perform(client)
    gaps = [(a - b).abs().max().item() for x, y in zip(alone, together, strict=True) for a, b in zip(x.pictures, y.pictures, strict=True)]  # fmt: skip
    assert len(gaps) == 20
    assert max(gaps) < 1e-4, f"largest difference {max(gaps)}"


def test_a_call_that_fails_is_told_to_who_waits_and_the_next_goes_on() -> None:
    gated = Gated(pipeline(S))
    shared = Shared(gated)  # type: ignore[arg-type]
    client = Client(shared, 1)
    gated.go.release()
    gated.fails = True
    with pytest.raises(MemoryError, match="made to fail"):
        client.next()
    gated.go.release()
    gated.fails = False
    client.next()
    assert len(client.pictures) == 1


def test_weights_are_loaded_once_and_when_they_are_wanted(tmp_path: Path) -> None:
    pipeline(S).save_pretrained(tmp_path / "run")
    painting = Painting(tmp_path / "run")
    assert painting.counts() == {"painted": 0, "paintings": 0}
    with ThreadPoolExecutor(3) as several:
        networks = set(several.map(lambda _: painting.painter(), range(3)))
    assert len(networks) == 1
    Client(painting.painter(), 1).next()
    assert painting.counts() == {"painted": 1, "paintings": 1}


def test_named_weights_must_be_there_and_be_whole(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no weights; wanted a folder that understudy train wrote"):
        open_painting(str(tmp_path), wanted=False)
    pipeline(S).save_pretrained(tmp_path)
    (tmp_path / "unet" / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        open_painting(str(tmp_path), wanted=False)


def test_without_weights_nothing_is_offered_and_what_was_wanted_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("server.painting", "synth.diffusion.renderer"):
        monkeypatch.setattr(f"{module}.PACKAGED", tmp_path)
    assert open_painting(None, wanted=False) is None
    with pytest.raises(InputError, match="no weights of the diffusion renderer are packaged; wanted --weights FOLDER"):
        open_painting(None, wanted=True)
    pipeline(S).save_pretrained(tmp_path / "turbo")
    packaged = open_painting(None, wanted=False)
    assert packaged is not None
    assert packaged.painter().unet.config.side == S


def test_an_engine_that_nobody_knows_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    pipeline(32).save_pretrained(tmp_path / "run")
    with pytest.raises(
        InputError, match="--engine is 'openvino'; wanted auto, torch, compile, onnx, tensorrt, or an exported"
    ):
        open_painting(str(tmp_path / "run"), "openvino", wanted=True)
