"""A pipeline streams, is saved and loaded whole, and is the same for the same seed."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch
from torch import Tensor

from runtime.errors import InputError
from synth.diffusion.model import N_GUIDE, N_REFERENCE, RGB, FaceUNet
from synth.diffusion.pipeline import GuidePipeline, Memory
from synth.diffusion.renderer import find_weights, load_network
from synth.diffusion.scheduler import BridgeScheduler
from tests.synth.diffusion.network import pipeline

S = 32


def inputs(made: GuidePipeline, T: int = 5) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    guide = torch.randn((1, T, N_GUIDE, S, S), generator=draw).clamp(-1, 1)
    with torch.no_grad():
        return guide, made.unet.encode(torch.randn((1, 2, N_REFERENCE, S, S), generator=draw))


@pytest.mark.parametrize("steps", [1, 4])
def test_streamed_equals_whole(steps: int) -> None:
    made = pipeline(steps=steps)
    guide, references = inputs(made, T=9)
    whole = made(guide, references, made.begin(1, S)).pictures
    memory, parts = made.begin(1, S), []
    for part in guide.split([1, 4, 1, 3], 1):
        frames = made(part, references, memory)
        memory = frames.memory
        parts.append(frames.pictures)
    gap = (torch.cat(parts, 1) - whole).abs().max().item()
    assert gap < 1e-4, f"largest difference {gap}"


def test_a_neutral_moment_looks_the_same_however_long_the_stream() -> None:
    made = pipeline(steps=2)
    guide, references = inputs(made, T=24)
    neutral = guide[:, :1].expand(-1, 20, -1, -1, -1)
    memory = made.begin(1, S)
    early = made(neutral, references, memory)
    memory = early.memory
    for _ in range(4):
        memory = made(guide, references, memory).memory
    late = made(neutral, references, memory)
    torch.testing.assert_close(late.pictures[:, -1], early.pictures[:, -1], atol=1e-4, rtol=0)
    sizes = [[tuple(m.shape) for step in m.left for m in step] for m in (early.memory, late.memory)]
    assert sizes[0] == sizes[1]


def test_the_same_seed_is_the_same_picture_and_another_is_not() -> None:
    made = pipeline(steps=3, sigma=0.3)
    guide, references = inputs(made)
    first, again, other = (made(guide, references, made.begin(1, S, seed=seed)).pictures for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-3


def test_noise_lies_still_over_a_take() -> None:
    made = pipeline(steps=3, sigma=0.3)
    guide, references = inputs(made, T=1)
    pictures = made(guide.expand(-1, 30, -1, -1, -1), references, made.begin(1, S)).pictures
    torch.testing.assert_close(pictures[:, -1], pictures[:, -2], atol=1e-5, rtol=0)


def test_the_last_step_alone_goes_on_from_pictures_that_are_nearly_there() -> None:
    made = pipeline(steps=4, sigma=0.0)
    guide, references = inputs(made, T=1)
    begun = guide[:, :, RGB].flip(-1)
    asked: list[tuple[float, Tensor]] = []
    made.unet.register_forward_pre_hook(lambda _, given: asked.append((float(given[1]), given[0])))
    made(guide, references, made.begin(1, S), begun=begun)
    ((time, sample),) = asked
    assert time == 0.75
    torch.testing.assert_close(sample, 0.25 * guide[:, :, RGB] + 0.75 * begun)


def test_what_is_saved_comes_back_the_same_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("went out to the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    made = pipeline(steps=2)
    made.save_pretrained(tmp_path / "mine")
    loaded = load_network(find_weights(str(tmp_path / "mine")))
    guide, references = inputs(made)
    assert loaded.unet.config.side == S
    before, after = (p(guide, references, p.begin(1, S)).pictures for p in (made, loaded))
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no weights; wanted a folder that understudy train wrote"):
        find_weights(str(tmp_path))


def test_what_is_saved_is_a_pipeline_of_diffusers(tmp_path: Path) -> None:
    pipeline().save_pretrained(tmp_path)
    loaded = GuidePipeline.from_pretrained(tmp_path, local_files_only=True, low_cpu_mem_usage=False)
    assert isinstance(loaded.unet, FaceUNet)
    assert isinstance(loaded.scheduler, BridgeScheduler)


def cut_short(folder: Path) -> None:
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])


def left_out(folder: Path) -> None:
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.unlink()


def pickled(folder: Path) -> None:
    """As a stranger might send it: torch's own format can hold any program."""
    left_out(folder)
    torch.save(pipeline().unet.state_dict(), folder / "unet" / "diffusion_pytorch_model.bin")


def of_another_size(folder: Path) -> None:
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "widths": [8, 8, 24]}))


def without_a_scheduler(folder: Path) -> None:
    (folder / "scheduler" / "scheduler_config.json").write_text("{")


@pytest.mark.parametrize("damage", [cut_short, left_out, pickled, of_another_size, without_a_scheduler])
def test_damaged_weights_are_refused_in_a_sentence(damage: Callable[[Path], None], tmp_path: Path) -> None:
    pipeline().save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read \(.*\); wanted weights that understudy train wrote"):
        load_network(tmp_path)


N_LONG = 10_000


@pytest.mark.slow
def test_frame_ten_thousand_at_a_neutral_moment_is_frame_ten_in_constant_memory() -> None:
    """Motion between two neutral moments, through one stream."""
    made = pipeline(16, steps=2, sigma=0.3)
    draw = torch.Generator().manual_seed(1)
    neutral = torch.randn((1, 1, N_GUIDE, 16, 16), generator=draw).clamp(-1, 1).expand(-1, 50, -1, -1, -1)
    with torch.no_grad():
        references = made.unet.encode(torch.randn((1, 1, N_REFERENCE, 16, 16), generator=draw))
    frames = made(neutral, references, made.begin(1, 16))
    early, moved, held = frames.pictures[:, 10], [], [(kept(frames.memory), resident_mb())]
    for done in range(50, N_LONG - 50, 50):
        moving = torch.randn(neutral.shape, generator=draw).clamp(-1, 1)
        frames = made(moving, references, frames.memory)
        if done % 1000 == 0:
            moved.append((frames.pictures - early[:, None]).abs().mean().item())
            held.append((kept(frames.memory), resident_mb()))
    late = made(neutral, references, frames.memory).pictures
    print(f"MB at first and after each thousand frames: {[mb for _, mb in held]}")
    gap = (late[:, 10] - early).abs().max().item()
    assert gap < 1e-4, f"largest difference {gap}"
    assert (late[:, 0] - early).abs().max() > 1e-3, "what was just shown does matter"
    assert min(moved) > 0.1
    assert len({size for size, _ in held}) == 1, "bytes that the memory holds"
    assert held[-1][1] - held[1][1] < 8, "MB more than after the first thousand"


def kept(memory: Memory) -> int:
    """Bytes that a stream's memory keeps alive, views of larger things counted whole."""
    layers = [memory.noise, *(layer for step in memory.left for layer in step)]
    return sum(layer.untyped_storage().nbytes() for layer in layers)


def resident_mb() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("only Linux tells what a process holds in /proc")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) // 1024
