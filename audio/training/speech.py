"""Fit the network that hears phones: `python -m audio.training.speech -o audio/weights/lips.npz`.

Makes the speech it learns from (`voices`, `sounds`, `texts`; some hours of it, nothing recorded), weathers it anew
every time it is shown, and fits `audio.hearing`'s network, which never hears more than LATE rows past the moment
it answers for. Needs torch, espeakng-loader and flite.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio.coarticulation import LIPS_TOUCH
from audio.features import FRAME_RATE, N_MEL
from audio.hearing import DILATIONS, EARLY, LATE, WIDTH
from audio.phones import INDEX, SILENCE, SYMBOLS
from audio.training.sounds import gasp, in_room
from audio.training.voices import Heard, heard, nothing, utterance

Floats = NDArray[np.float32]
Rng = np.random.Generator

SILENT = INDEX[SILENCE]
CROP = 500  # rows shown at a time
WARM_UP = 60  # rows of a crop that are not scored: the network has not heard enough yet
NOTHING = 0.15  # hours of other sounds an hour of speech
PAUSE = 20  # rows; a silence shorter than this is part of speaking
LENGTHS = (0.88, 1.3)  # vocal tracts are made shorter by: the voices are mostly men's
BREATHES = 0.65  # share of utterances before which air is drawn
BELOW = (-0.1, 0.9)  # that is quieter than the speech by; 1 is 20 dB
N_GASPS = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    hours: float = 9.0  # of speech
    steps: int = 2600
    batch: int = 16  # crops a step
    rate: float = 2e-3  # of learning, at most
    seed: int = 0
    workers: int = 2


def corpus(options: TrainOptions) -> Iterator[Heard]:
    """The sound of `hours`, and NOTHING times that in which nobody speaks; the same for the same seed."""
    yield from _made(utterance, options, options.hours)
    yield from _made(nothing, options, options.hours * NOTHING)


def _made(make: Callable[[tuple[int, ...]], Heard], options: TrainOptions, hours: float) -> Iterator[Heard]:
    """As many of a kind as fill some hours, however many workers make them."""
    rows, i = 0, 0
    with get_context("spawn").Pool(options.workers) as pool:
        while rows < hours * 3600 * FRAME_RATE:
            for heard in pool.map(make, [(options.seed, j) for j in range(i, i + 200)], chunksize=10):
                rows += len(heard.mel)
                yield heard
            i += 200
            log.info("%s: %d, %.2f h", make.__name__, i, rows / FRAME_RATE / 3600)


def gasps(n: int, seed: int) -> list[Floats]:
    """Mel bands [N, N_MEL] of n breaths between phrases, 0 being their mean level."""
    out = []
    for i in range(n):
        rng = np.random.default_rng((seed, i, 2))
        pcm = gasp(rng)
        mel = heard(in_room(pcm, rng) if rng.random() < 0.3 else pcm, ()).mel.astype(np.float32)
        out.append(mel - mel.mean())
    return out


@dataclass(frozen=True)
class Shown:
    """One pass through everything that was said, cut into crops."""

    mel: Floats  # [B, CROP, N_MEL]
    phone: NDArray[np.int64]  # [B, CROP]
    speech: Floats  # [B, CROP], 1 while somebody speaks, short pauses included
    breath: Floats  # [B, CROP], 1 while air is drawn between phrases


def stream(said: list[Heard], breaths: list[Floats], rng: Rng) -> Shown:
    """Utterances in random order, in voices of random length, with pauses between them, in some of which air is drawn."""
    pieces = list(_pieces(said, breaths, rng))
    mel, phone = np.concatenate([p.mel for p in pieces]), np.concatenate([p.phone for p in pieces]).astype(np.int64)
    breath = np.repeat(np.array([p.is_breath for p in pieces], np.float32), [len(p.mel) for p in pieces])
    speech = speaking(phone).astype(np.float32)
    n = len(mel) // CROP * CROP
    mel = mel[:n].reshape(-1, CROP, N_MEL)
    return Shown(mel, phone[:n].reshape(-1, CROP), speech[:n].reshape(-1, CROP), breath[:n].reshape(-1, CROP))


@dataclass(frozen=True)
class _Piece:
    mel: Floats  # [N, N_MEL]
    phone: NDArray[np.uint8]  # [N]
    is_breath: bool = False


def _pieces(said: list[Heard], breaths: list[Floats], rng: Rng) -> Iterator[_Piece]:
    def silent(mel: Floats, is_breath: bool = False) -> _Piece:
        return _Piece(mel, np.full(len(mel), SILENT, np.uint8), is_breath)

    def quiet(n: int) -> _Piece:
        return silent(np.full((n, N_MEL), -2, np.float32))

    for i in rng.permutation(len(said)):
        mel = stretched(said[i].mel.astype(np.float32), rng.uniform(*LENGTHS)) + np.float32(rng.normal(0, 0.12))
        yield quiet(int(rng.exponential(30)) if rng.random() < 0.6 else 0)
        spoken = said[i].phone != SILENT
        if rng.random() < BREATHES and spoken.any():
            air = breaths[int(rng.integers(len(breaths)))]
            level = float(mel[spoken].mean()) - rng.uniform(*BELOW)
            yield silent(np.maximum(air + np.float32(level), -2), is_breath=True)
            yield quiet(int(rng.exponential(6)))
        yield _Piece(mel, said[i].phone)


def stretched(mel: Floats, factor: float) -> Floats:
    """Bands [N, N_MEL] as of a vocal tract `factor` times as short (Jaitly and Hinton 2013)."""
    place = np.clip(np.arange(N_MEL) / factor, 0, N_MEL - 1.001)
    low = place.astype(int)
    share = (place - low).astype(np.float32)
    return np.asarray(mel[:, low] * (1 - share) + mel[:, low + 1] * share, np.float32)


def speaking(phone: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether [N] somebody speaks or is about to go on."""
    from scipy.ndimage import binary_closing

    return np.asarray(binary_closing(phone != SILENT, np.ones(PAUSE)))


def weathered(mel: Floats, quiet: Floats, rng: Rng) -> Floats:
    """Crops [B, CROP, N_MEL] as other microphones in other places would hear them.

    `quiet` [M, CROP, N_MEL] are crops in which nobody speaks; their power is added, more often little than much.
    """
    B = len(mel)
    bands = np.linspace(-1, 1, N_MEL, dtype=np.float32)

    def curve(size: float) -> Floats:
        tilt, bow, wave, phase = rng.normal(0, size, (4, B, 1)).astype(np.float32)
        return np.asarray(
            (tilt * bands + bow * bands**2 + 0.5 * wave * np.sin(4 * bands + 6 * phase))[:, None], np.float32
        )

    level = mel.mean((1, 2), keepdims=True)
    under = (
        quiet[rng.integers(len(quiet), size=B)]
        if rng.random() < 0.5
        else quiet[rng.integers(len(quiet), size=B)][:, ::-1]
    )
    under = under - under.mean((1, 2), keepdims=True) + level - rng.uniform(0.0, 2.0, (B, 1, 1)).astype(np.float32)
    room = curve(0.3) + level - rng.uniform(0.3, 2.2, (B, 1, 1)).astype(np.float32)
    is_noisy = rng.random((B, 1, 1)) < 0.5
    power = (
        100**mel + np.where(is_noisy, 100**under, 0) + 100 ** (room + rng.normal(0, 0.12, mel.shape).astype(np.float32))
    )
    gain = rng.normal(-0.15, 0.6, (B, 1, 1)).astype(np.float32)  # 1 is 20 dB
    out = np.log10(np.maximum(power, 1e-4)) / 2 + curve(0.12) + gain
    out = np.log10(100**out + 1e-4) / 2  # the file's own floor
    for crop in out:
        for _ in range(int(rng.integers(0, 3))):  # Park et al. 2019
            low, width = int(rng.integers(N_MEL)), int(rng.integers(1, 9))
            crop[:, low : low + width] = crop.mean()
    return np.asarray(out, np.float32)


def network() -> Any:
    """`audio.hearing`'s network, in torch, for whole crops [B, CROP, N_MEL] -> [B, CROP, 2, 2 + len(SYMBOLS)]."""
    import torch
    from torch import nn

    def with_past(x: Any, dilation: int) -> Any:
        """Rows [B, T, C] beside those `dilation` and twice `dilation` before them: [B, T, 3 C], the oldest first."""
        T = x.shape[1]
        x = nn.functional.pad(x, (0, 0, 2 * dilation, 0))
        return torch.cat((x[:, :T], x[:, dilation : dilation + T], x[:, 2 * dilation :]), -1)

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, dilation: int) -> None:
            super().__init__()
            self.dilation = dilation
            self.norm = nn.LayerNorm(WIDTH)
            self.wide = nn.Linear(3 * WIDTH, WIDTH)
            self.out = nn.Linear(WIDTH, WIDTH)
            self.drop = nn.Dropout(0.1)

        def forward(self, x: Any) -> Any:  # [B, T, WIDTH]
            return x + self.drop(self.out(torch.relu(self.wide(with_past(self.norm(x), self.dilation)))))

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3 * N_MEL, WIDTH)
            self.blocks = nn.ModuleList(Block(d) for d in DILATIONS)
            self.norm = nn.LayerNorm(WIDTH)
            self.last = nn.Linear(WIDTH, 2 * (2 + len(SYMBOLS)))

        def forward(self, mel: Any) -> Any:
            x = self.first(with_past(mel, 1))
            for block in self.blocks:
                x = block(x)
            return self.last(torch.relu(self.norm(x))).unflatten(-1, (2, 2 + len(SYMBOLS)))

    return Net()


def loss_of(answer: Any, phone: Any, speech: Any, breath: Any) -> Any:
    """Cross entropy of both answers, each against the moment it is for."""
    import torch.nn.functional as nn

    total = 0.0
    for head, (delay, weight) in enumerate(((LATE, 1.0), (EARLY, 0.5))):
        said = answer[:, WARM_UP:, head]
        was, spoke, air = (x[:, WARM_UP - delay : -delay] for x in (phone, speech, breath))
        total = total + weight * nn.cross_entropy(said[..., 2:].flatten(0, 1), was.flatten(), label_smoothing=0.02)
        total = total + 0.5 * weight * nn.binary_cross_entropy_with_logits(said[..., 0], spoke)
        total = total + 0.5 * weight * nn.binary_cross_entropy_with_logits(said[..., 1], air)
    return total


def fit(said: list[Heard], options: TrainOptions, begin: Path | None = None) -> Any:
    """The fitted network, its weights averaged over some hundred steps; `begin` are weights to go on from."""
    import torch

    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    net = network()
    if begin is not None:
        fill(net, begin)
    optimiser = torch.optim.AdamW(net.parameters(), options.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, options.steps, pct_start=0.1)
    averaged = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    quiet, breaths = _quiet(said), gasps(N_GASPS, options.seed)
    step, right = 0, 0.0
    while step < options.steps:
        shown = stream(said, breaths, rng)
        order = rng.permutation(len(shown.mel))
        for at in range(0, len(order) - options.batch + 1, options.batch):
            some = order[at : at + options.batch]
            mel = torch.from_numpy(weathered(shown.mel[some], quiet, rng))
            phone, speech, breath = (torch.from_numpy(x[some]) for x in (shown.phone, shown.speech, shown.breath))
            with torch.autocast("cpu", torch.bfloat16):
                answer = net(mel)
            answer = answer.float()
            loss = loss_of(answer, phone, speech, breath)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            averaged.update_parameters(net)
            hit = (answer[:, WARM_UP:, 0, 2:].argmax(-1) == phone[:, WARM_UP - LATE : -LATE]).float().mean().item()
            right += (hit - right) * (0.02 if step else 1)
            if step % 50 == 0:
                log.info("step %d loss %.3f rows right %.3f", step, loss.item(), right)
            step += 1
            if step >= options.steps:
                break
    return averaged.module


def _quiet(said: list[Heard]) -> Floats:
    """Crops in which nobody speaks."""
    rows = np.concatenate([h.mel for h in said if (h.phone == SILENT).all()]).astype(np.float32)
    return rows[: len(rows) // CROP * CROP].reshape(-1, CROP, N_MEL)


def export(net: Any, path: Path) -> None:
    """In `audio.hearing`'s layout: half precision, weights as [blocks, in, out]."""
    w = {name: value.detach().numpy().astype(np.float16) for name, value in net.state_dict().items()}
    arrays: dict[str, Any] = {"symbols": np.array(SYMBOLS)}
    for name in ("first", "last"):
        arrays |= {f"{name}_w": w[f"{name}.weight"].T, f"{name}_b": w[f"{name}.bias"]}
    arrays |= {"last_norm_w": w["norm.weight"], "last_norm_b": w["norm.bias"]}
    each = range(len(DILATIONS))
    for name in ("wide", "out"):
        arrays[f"{name}_w"] = np.stack([w[f"blocks.{i}.{name}.weight"].T for i in each])
        arrays[f"{name}_b"] = np.stack([w[f"blocks.{i}.{name}.bias"] for i in each])
    arrays["norm_w"] = np.stack([w[f"blocks.{i}.norm.weight"] for i in each])
    arrays["norm_b"] = np.stack([w[f"blocks.{i}.norm.bias"] for i in each])
    np.savez_compressed(path, **arrays)


def score(path: Path, seed: int, n: int = 300) -> dict[str, float]:
    """How weights do on n utterances that they were not fitted to: shares of rows, late answers then early ones."""
    from audio.hearing import Ear

    found: dict[str, list[NDArray[np.bool_]]] = {}
    for i in range(n):
        said = utterance((seed, i))
        ear = Ear(path)
        answers = ear.hear(np.concatenate((said.mel.astype(np.float32), np.full((LATE, N_MEL), -2, np.float32))))
        spoken, lips = said.phone != SILENT, np.isin(said.phone, LIPS_TOUCH)
        for label, rows, delay in (("late", answers.late, LATE), ("early", answers.early, EARLY)):
            likeliest = rows.phones[delay : delay + len(said.phone)].argmax(1)
            found.setdefault(f"{label}: phone right in speech", []).append((likeliest == said.phone)[spoken])
            found.setdefault(f"{label}: speech told from silence", []).append((likeliest != SILENT) == spoken)
            found.setdefault(f"{label}: p b m heard as one of them", []).append(np.isin(likeliest, LIPS_TOUCH)[lips])
    return {name: float(np.concatenate(values).mean()) for name, values in found.items()}


def fill(net: Any, path: Path) -> None:
    """Give a network the weights that `export` writes, or wrote before it told of breath."""
    import torch

    with np.load(path, allow_pickle=False) as data:
        arrays = {name: data[name].astype(np.float32) for name in data.files if name != "symbols"}
    for name, unheard in (("last_w", 0.0), ("last_b", -4.0)):
        heads = arrays[name].reshape(*arrays[name].shape[:-1], 2, -1)
        if heads.shape[-1] == 1 + len(SYMBOLS):  # fitted before breath was told of: none is heard
            arrays[name] = np.insert(heads, 1, unheard, axis=-1).reshape(*arrays[name].shape[:-1], -1)
    w = {name: torch.from_numpy(array) for name, array in arrays.items()}
    state = {"norm.weight": w["last_norm_w"], "norm.bias": w["last_norm_b"]}
    for name in ("first", "last"):
        state |= {f"{name}.weight": w[f"{name}_w"].T, f"{name}.bias": w[f"{name}_b"]}
    for i in range(len(DILATIONS)):
        for name in ("wide", "out"):
            state |= {f"blocks.{i}.{name}.weight": w[f"{name}_w"][i].T, f"blocks.{i}.{name}.bias": w[f"{name}_b"][i]}
        state |= {f"blocks.{i}.norm.weight": w["norm_w"][i], f"blocks.{i}.norm.bias": w["norm_b"][i]}
    net.load_state_dict(state)


def main() -> None:
    default = TrainOptions()
    parser = argparse.ArgumentParser(prog="python -m audio.training.speech", description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="where the sound that was made is kept for the next time, .npz")
    parser.add_argument("--begin", type=Path, help="weights to go on from, instead of chance")
    parser.add_argument("--hours", type=float, default=default.hours)
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--rate", type=float, default=default.rate)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--workers", type=int, default=default.workers)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = TrainOptions(
        hours=given.hours, steps=given.steps, rate=given.rate, seed=given.seed, workers=given.workers
    )
    said = _kept(given.keep) if given.keep and given.keep.exists() else list(corpus(options))
    if given.keep and not given.keep.exists():
        _keep(given.keep, said)
    export(fit(said, options, given.begin), given.output)
    for name, value in score(given.output, options.seed + 1000).items():
        log.info("%s: %.3f", name, value)


def _keep(path: Path, said: list[Heard]) -> None:
    ends = np.cumsum([len(h.mel) for h in said])
    mel, phone = np.concatenate([h.mel for h in said]), np.concatenate([h.phone for h in said])
    np.savez(path, mel=mel, phone=phone, ends=ends)


def _kept(path: Path) -> list[Heard]:
    with np.load(path, allow_pickle=False) as data:
        mel, phone, ends = data["mel"], data["phone"], data["ends"][:-1]
    return [Heard(m, p) for m, p in zip(np.split(mel, ends), np.split(phone, ends), strict=True)]


if __name__ == "__main__":
    main()
