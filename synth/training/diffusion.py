"""Fit the diffusion renderer's network: `understudy train base`, `turbo` and `character`.

Base: first a regressor from guide to frame, then the bridge from it; a bridge begun from an untrained regressor gives
noise. Turbo: one step that was taught by the base network's four. Character: the base network, shown more of one
character. A run is seeded and stands in a folder that is itself weights to render with; stopped at any moment, it
goes on where it was, and ends as it would have. Needs torch and diffusers; knows nothing of where samples come from.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import json
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from runtime.errors import InputError
from runtime.image import save_image
from synth.diffusion.model import RGB, FaceUNet, pack_guide, pack_reference
from synth.diffusion.pipeline import GuidePipeline, to_pictures
from synth.diffusion.scheduler import BridgeScheduler
from synth.training.options import FREE, TrainOptions
from synth.training.shards import Samples

log = logging.getLogger(__name__)
Rng = np.random.Generator
Point = NDArray[np.float64]  # [2], y and x, px

HELD_OUT = 10  # one person in so many is never shown, only scored
SHARD = "15MB"
AHEAD = 4  # batches cut while one is learned from
LEAST_PX = 30  # of a part of a window that counts
GRAIN = 40.0  # of a picture: variance of its levels that is nobody's fault
FIELDS = ("target", "rgb", "valid", "coords", "stretch", "mouth", "eyes")
MASKS = ("valid", "mouth", "eyes")


# ---------------------------------------------------------------- what is shown


@dataclass(frozen=True)
class Shown:
    """A batch of windows as the network takes them."""

    guide: Tensor  # [B, T, N_GUIDE, w, w]
    target: Tensor  # [B, T, 3, w, w], -1..1
    references: Tensor  # [B, R, N_REFERENCE, w, w]
    weight: Tensor  # [B, T, 1, w, w], how much each pixel counts


class Windows:
    """Windows cut from samples: which ones hangs on the seed and the step alone."""

    def __init__(self, samples: Samples, options: TrainOptions) -> None:
        self._samples, self._options = samples, options
        person = np.array([samples.row(i)["person"] for i in range(len(samples))])
        held_out = person % HELD_OUT == HELD_OUT - 1
        self.learned, self.scored = (np.flatnonzero(some) for some in (~held_out, held_out))
        if not len(self.learned):
            raise InputError(f"all {len(samples)} samples are of people kept to score with; wanted more")
        if options.nearest < 1:
            regions = ("mouth", "eyes") if options.eyes else ("mouth",)
            wrong = np.array([_wrong(samples.row(int(i)), regions) for i in self.learned])
            self.learned = self.learned[wrong <= np.quantile(wrong, options.nearest)]

    def of(self, step: int) -> dict[str, NDArray[Any]]:
        """Of one step of training."""
        rng = np.random.default_rng((self._options.seed, step))
        cut = self._cut(rng.choice(self.learned, self._options.batch), rng)
        most = min(self._options.references, cut["references"].shape[1])
        return _with_references(cut, int(rng.integers(min(1, most), most + 1)))

    def to_score(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Always the same ones, of people never shown; of those shown where there are no others.

        One reference each if any, the picture that is warped: what the product has of most characters.
        """
        rng = np.random.default_rng(self._options.seed)
        n = min(1, self._options.references)
        some = (self.scored if len(self.scored) else self.learned)[:64]
        for at in range(0, len(some), self._options.batch):
            yield _with_references(self._cut(some[at : at + self._options.batch], rng), n)

    def stream(self, first: int) -> Iterator[dict[str, NDArray[Any]]]:
        """Of all steps from one on, cut ahead of their use."""
        with ThreadPoolExecutor(AHEAD) as pool:
            waiting = deque(pool.submit(self.of, first + i) for i in range(AHEAD))
            for step in range(first + AHEAD, self._options.steps + AHEAD):
                yield waiting.popleft().result()
                waiting.append(pool.submit(self.of, step))

    def _cut(self, index: NDArray[np.int64], rng: Rng) -> dict[str, NDArray[Any]]:
        rows = [self._window(self._samples.row(int(i)), rng) for i in index]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _window(self, row: Any, rng: Rng) -> dict[str, NDArray[Any]]:
        zoom, S = int(rng.choice((1, self._options.zoom))), row["rgb"].shape[-2]
        w = self._options.window * zoom
        if w > S:
            raise InputError(f"the samples are {S} px wide; wanted a window of at most that, not {w}")
        T = len(row["rgb"])
        n = min(self._options.frames or T, T)
        first = int(rng.integers(T - n + 1))
        if rng.random() < 0.2 and self._options.elsewhere > 0:
            middle = rng.uniform(0, S, 2)
        else:
            eyes = row["eyes"][first] if self._options.eyes else np.zeros_like(row["eyes"][first])
            middle = _shown_at(row["mouth"][first], eyes, rng) + rng.normal(0, w / 8, 2)
        rows, columns = _square(middle, w, S)
        out = {name: np.array(row[name][first : first + n, rows, columns]) for name in FIELDS}
        y, x = middle.clip(0, S - 1).astype(int)
        point = row["coords"][first, y, x]
        there = [_square(_same_point(seen, point, middle), w, S) for seen in row["reference_coords"]]
        if self._options.hue == "warp":
            out["target"] = _hued(out)
        if rng.random() < self._options.still:
            out |= {"rgb": out["target"], "valid": np.full_like(out["valid"], 255), "stretch": 0 * out["stretch"]}
        for name in ("references", "reference_coords"):
            out[name] = np.stack([seen[part] for seen, part in zip(row[name], there, strict=True)])
        small = {name: _shrunk(array, zoom) for name, array in out.items()} if zoom > 1 else out
        return small | {"opened": row["opened"], "reference_opened": row["reference_opened"]}


def _with_references(cut: dict[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
    return {name: array[:, :n] if name.startswith("reference") else array for name, array in cut.items()}


def _shrunk(array: NDArray[Any], zoom: int) -> NDArray[Any]:
    """Pictures or maps [N, w, w, ...] at 1 / zoom of their size."""
    N, w = array.shape[:2]
    blocks = array.reshape(N, w // zoom, zoom, w // zoom, zoom, *array.shape[3:])
    return np.asarray(blocks.astype(np.float32).mean((2, 4)) + 0.5 * (array.dtype == np.uint8)).astype(array.dtype)


def _hued(cut: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """The truth [T, w, w, 3] with the insides of mouths as light as they are, but of the guide's mean hue."""
    truth = cut["target"].astype(np.float32)
    inside = (cut["mouth"] / 255 * (1 - cut["valid"] / 255)).astype(np.float32)[..., None]
    if inside.sum() < LEAST_PX * len(truth):
        return cut["target"]
    shares = []
    for picture in (cut["rgb"], truth):
        mean = (inside * picture).sum((0, 1, 2)) / inside.sum() + 1
        shares.append(mean / mean.mean())
    gain = np.clip(shares[0] / shares[1], 0.7, 1.4)
    return np.asarray(np.clip(truth * (1 + inside * (gain - 1)) + 0.5, 0, 255), np.uint8)


def _wrong(row: Any, regions: tuple[str, ...]) -> float:
    """How far the guide of a sample's first frame is from the truth, of what there is to see, where that is farthest:
    between the lips or around them, on the eyes or around those."""
    valid = row["valid"][0]
    off = np.square(row["rgb"][0].astype(np.float32) - row["target"][0])
    worst = []
    for region in (row[name][0] for name in regions):
        for part in ((region > 127) & (valid < 102), (region > 25) & (valid > 153)):
            if part.sum() >= LEAST_PX:
                worst.append(off[part].mean() / (row["target"][0][part].var(0).mean() + GRAIN))
    return max(worst, default=math.inf)


def _shown_at(mouth: NDArray[np.uint8], eyes: NDArray[np.uint8], rng: Rng) -> Point:
    """The middle of the mouth or of an eye, whichever of their regions [S, S] are there."""
    regions = [mouth] if mouth.any() else []
    if eyes.any():
        half = int(_middle(eyes)[1]) + 1
        one = np.array(eyes)
        if rng.random() < 0.5:
            one[:, :half] = 0
        else:
            one[:, half:] = 0
        regions.append(one if one.any() else eyes)
    return _middle(regions[rng.integers(len(regions))]) if regions else np.full(2, len(mouth) / 2)


def _middle(mask: NDArray[np.uint8]) -> Point:
    """Of a region [S, S] that is there."""
    weight = mask.astype(np.float64)
    return np.array([(weight.sum(1 - k) * np.arange(len(weight))).sum() / weight.sum() for k in (0, 1)])


def _same_point(coords: NDArray[np.float16], point: NDArray[np.float16], else_at: Point) -> Point:
    """Where a reference [S, S, 3] shows a point of the face; off the face, the same place in the square."""
    if not point.any():
        return else_at
    coarse = coords[::4, ::4].astype(np.float32)
    gap = np.abs(coarse - point).sum(-1) + 9 * ~coarse.any(-1)
    return np.array(np.unravel_index(gap.argmin(), gap.shape)) * 4.0


def _square(middle: Point, w: int, side: int) -> tuple[slice, slice]:
    top, left = (int(np.clip(round(v - w / 2), 0, side - w)) for v in middle)
    return slice(top, top + w), slice(left, left + w)


def shown(cut: dict[str, NDArray[Any]], device: str, jitter: torch.Generator | None = None) -> Shown:
    """Windows on their device; with a generator, mirrored and in other light at random."""
    t = {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in cut.items()}
    masks = {name: t[name].float() / 255 for name in MASKS}
    T = t["rgb"].shape[1]
    opened = t["opened"][:, None].expand(-1, T)
    guide = pack_guide(t["rgb"], masks["valid"], t["coords"], t["stretch"], masks["mouth"], masks["eyes"], opened)
    target = t["target"].float().movedim(-1, -3) / 127.5 - 1
    references = pack_reference(t["references"], t["reference_coords"], t["reference_opened"])
    within = torch.maximum(masks["mouth"], masks["eyes"])[:, :, None]
    weight = 1 + 4 * within + 2 * (1 - masks["valid"][:, :, None])
    if jitter is None:
        return Shown(guide, target, references, weight)
    camera = _Camera.random(len(guide), jitter, device)
    grain = camera.grain(guide[:, :, RGB].shape[1:], jitter)
    guide, references = (
        torch.cat((camera.sees(x[:, :, RGB], noise), x[:, :, 3:]), 2) for x, noise in ((guide, grain), (references, 0))
    )
    target = camera.sees(target, grain)
    if torch.rand((), generator=jitter) < 0.5:
        guide, target, references, weight = (x.flip(-1) for x in (guide, target, references, weight))
        guide[:, :, 4], references[:, :, 3] = -guide[:, :, 4], -references[:, :, 3]
    return Shown(guide, target, references, weight)


@dataclass(frozen=True)
class _Camera:
    """Another camera in another light, for each of a batch: guide, references and truth are seen by the same."""

    gain: Tensor  # [B, 1, 3, 1, 1]
    gamma: Tensor  # [B, 1, 1, 1, 1], as the others
    saturation: Tensor
    noise: Tensor  # of -1..1
    blur_px: float  # one for all

    @classmethod
    def random(cls, n: int, jitter: torch.Generator, device: str) -> _Camera:
        def near_0(spread: float, channels: int = 1) -> Tensor:
            return (spread * torch.randn((n, 1, channels, 1, 1), generator=jitter)).to(device)

        soft, blur = torch.rand(2, generator=jitter).tolist()
        return cls(
            gain=(near_0(0.15) + near_0(0.06, 3)).exp(), gamma=near_0(0.2).exp(), saturation=near_0(0.25).exp(),
            noise=near_0(0.012).abs(), blur_px=0.3 + 0.7 * blur if soft < 0.4 else 0.0,
        )  # fmt: skip

    def grain(self, shape: torch.Size, jitter: torch.Generator) -> Tensor:
        """Noise [B, T, 3, h, w] that stays where it is: what cannot be known is not to be learned."""
        return self.noise * torch.randn((len(self.noise), *shape), generator=jitter).to(self.noise.device)

    def sees(self, x: Tensor, grain: Tensor | float) -> Tensor:
        """Pictures [B, T, 3, h, w], -1..1, as it would have taken them."""
        light = ((x + 1) / 2).clamp(1e-4, 1) ** self.gamma * self.gain
        grey = light.mean(2, keepdim=True)
        picture = (grey + self.saturation * (light - grey)).clamp(0, 1) * 2 - 1
        return _blurred(picture, self.blur_px) + grain if self.blur_px else picture + grain


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """Pictures [B, T, 3, h, w] through a Gaussian of so many pixels, 1 at most."""
    kernel = torch.exp(-(torch.arange(-3.0, 4.0, device=x.device) ** 2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = x.reshape(-1, 1, *x.shape[-2:])
    flat = F.conv2d(F.pad(flat, (3, 3, 3, 3), mode="replicate"), kernel.view(1, 1, 1, 7))
    return F.conv2d(flat, kernel.view(1, 1, 7, 1)).reshape(x.shape)


# ---------------------------------------------------------------- what is asked


def distance(painted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """How far pictures [B, T, 3, h, w] are from the truth: levels, edges at three scales, and how they change."""
    gap = painted - target
    total = (weight * (gap.square() + 1e-6).sqrt()).mean()
    flat, w = gap.flatten(0, 1), weight.flatten(0, 1)
    for _ in range(3):
        for axis in (-1, -2):
            n = flat.shape[axis] - 1
            step = flat.narrow(axis, 1, n) - flat.narrow(axis, 0, n)
            total = total + 0.3 * (w.narrow(axis, 1, n) * step.abs()).mean()
        flat, w = F.avg_pool2d(flat, 2), F.avg_pool2d(w, 2)
    if gap.shape[1] > 1:
        total = total + 0.3 * (weight[:, 1:] * (gap[:, 1:] - gap[:, :-1]).abs()).mean()
    return total


class Objective(Protocol):
    def __call__(self, unet: FaceUNet, shown: Shown, step: int, draw: torch.Generator) -> Tensor:
        """The loss of one step."""

    def scheduler(self, step: int) -> BridgeScheduler:
        """How a network that learned so far is to be rendered with."""


@dataclass(frozen=True)
class AlongTheBridge:
    """The frame, wherever on the way to it the picture is."""

    bridge: BridgeScheduler
    from_step: int  # before it, only at the start

    def scheduler(self, step: int) -> BridgeScheduler:
        if step > self.from_step:
            return self.bridge
        return cast(BridgeScheduler, BridgeScheduler(steps=1, sigma=self.bridge.config.sigma))

    def __call__(self, unet: FaceUNet, shown: Shown, step: int, draw: torch.Generator) -> Tensor:
        B, _, _, h, w = shown.target.shape
        start = shown.guide[:, :, RGB]
        time = torch.rand(B, generator=draw)
        time = torch.where(torch.rand(B, generator=draw) < 0.3, 0.0, time) if step >= self.from_step else 0 * time
        noise = torch.randn((B, 1, 3, h, w), generator=draw).to(start.device)
        time = time.to(start.device)
        noisy = self.bridge.between(start, shown.target, time, noise)
        references, memory = unet.encode(shown.references), unet.empty_memory(B, h)
        painted = unet(noisy, time, shown.guide, references, memory).frame
        return distance(painted.float(), shown.target, shown.weight)


@dataclass(frozen=True)
class AsTheTeacher:
    """In one step what the teacher makes in its own, and still the frame."""

    teacher: GuidePipeline

    def scheduler(self, step: int) -> BridgeScheduler:
        return cast(BridgeScheduler, BridgeScheduler(steps=1, sigma=self.teacher.scheduler.config.sigma))

    def __call__(self, unet: FaceUNet, shown: Shown, step: int, draw: torch.Generator) -> Tensor:
        B, _, _, h, _ = shown.target.shape
        time = torch.zeros(B, device=shown.guide.device)
        references, memory = unet.encode(shown.references), unet.empty_memory(B, h)
        painted = unet(shown.guide[:, :, RGB], time, shown.guide, references, memory).frame.float()
        with torch.no_grad():
            attended = self.teacher.unet.encode(shown.references)
        taught = self.teacher(shown.guide, attended, self.teacher.begin(B, h)).pictures.float()
        return 0.5 * distance(painted, taught, shown.weight) + 0.5 * distance(painted, shown.target, shown.weight)


# ---------------------------------------------------------------- a run


@dataclass(frozen=True)
class Score:
    """psnr in mouths and eyes of people who were not shown, dB."""

    warp: float
    painted: float

    def __str__(self) -> str:
        return f"mouths and eyes {self.painted:.2f} dB, the warp's {self.warp:.2f}"


class Run:
    """One network being fitted, in a folder. What is in memory is always what the folder would give back."""

    def __init__(
        self,
        folder: Path,
        options: TrainOptions,
        network: Callable[[], FaceUNet],
        windows: Windows,
        objective: Objective,
    ) -> None:
        self.folder, self.options = folder, options
        self._windows, self._objective = windows, objective
        self._private = folder / "training"
        torch.set_num_threads(options.threads or os.cpu_count() or 1)
        torch.manual_seed(options.seed)
        self.unet = network().to(options.device, memory_format=torch.channels_last)
        self.averaged = {name: value.detach().clone() for name, value in self.unet.state_dict().items()}
        self._optimiser = torch.optim.AdamW(self.unet.parameters(), options.rate, weight_decay=0.01)
        self.step = 0
        self._begin()

    def _begin(self) -> None:
        """Take up what the folder holds of the same run."""
        self._private.mkdir(parents=True, exist_ok=True)
        book, state = self._private / "options.json", self._private / "state.pt"
        mine = json.loads(json.dumps(dataclasses.asdict(self.options)))
        if book.exists():
            begun = json.loads(book.read_text(encoding="utf-8"))
            other = [name for name in mine if name not in FREE and mine[name] != begun.get(name)]
            if other:
                told = ", ".join(f"{name} {begun.get(name)} and not {mine[name]}" for name in other)
                raise InputError(f"{self.folder} was begun with {told}; wanted the same options, or another folder")
        book.write_text(json.dumps(mine, indent=1), encoding="utf-8")
        if state.exists():
            kept = torch.load(state, map_location=self.options.device, weights_only=True)
            self.unet.load_state_dict(kept["unet"])
            self._optimiser.load_state_dict(kept["optimiser"])
            self.averaged, self.step = kept["averaged"], kept["step"]

    def fit(self, progress: Callable[[int, int | None], None]) -> Score | None:
        """Steps until all are done or the time is up; returns how good it is then, None if all were done before."""
        o = self.options
        until = math.inf if o.minutes is None else time.monotonic() + 60 * o.minutes
        recent: deque[float] = deque(maxlen=o.every)
        score: Score | None = None
        saved = time.monotonic()
        for cut in self._windows.stream(self.step):
            recent.append(self._learn(cut))
            self.step += 1
            progress(self.step, o.steps)
            done = self.step == o.steps or time.monotonic() > until
            due = done or self.step % o.every == 0
            if due or time.monotonic() > saved + SAVE_S:
                self._save()
                saved = time.monotonic()
            if due:
                score = self._report(float(np.mean(recent)))
            if done:
                break
        return score

    def _learn(self, cut: dict[str, NDArray[Any]]) -> float:
        o, device = self.options, torch.device(self.options.device).type
        draw = torch.Generator().manual_seed(o.seed * 1_000_003 + self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = o.rate * _slope(self.step / o.steps)
        with torch.autocast(device, torch.bfloat16, enabled=o.precision == "bfloat16"):
            loss = self._objective(self.unet, shown(cut, o.device, draw), self.step, draw)
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self._optimiser.step()
        keep = min(o.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.unet.state_dict().items():
            self.averaged[name].lerp_(value, 1 - keep)
        return float(loss.item())

    def pipeline(self) -> GuidePipeline:
        """The averaged network, to render with."""
        unet = FaceUNet.from_config(self.unet.config)
        unet.load_state_dict(self.averaged)
        return GuidePipeline(unet.to(self.options.device).eval(), self._objective.scheduler(self.step))

    def _save(self) -> None:
        kept = {
            "unet": self.unet.state_dict(), "averaged": self.averaged,
            "optimiser": self._optimiser.state_dict(), "step": self.step,
        }  # fmt: skip
        partial = self._private / "state.partial"
        torch.save(kept, partial)
        os.replace(partial, self._private / "state.pt")
        made = self.pipeline()
        torch.nn.Module.half(made.unet)  # diffusers' own warns of what is meant
        fresh = self._private / "fresh"
        made.save_pretrained(fresh, max_shard_size=SHARD)
        for path in [p for p in fresh.rglob("*") if p.is_file()]:  # whole before they are in place
            (self.folder / path.relative_to(fresh).parent).mkdir(exist_ok=True)
            os.replace(path, self.folder / path.relative_to(fresh))

    def _report(self, loss: float) -> Score:
        """A line of the curve, and a sheet: guide, painted, truth."""
        made = self.pipeline()
        gains: dict[str, list[float]] = {"warp": [], "painted": []}
        rows = []
        for cut in self._windows.to_score():
            seen = shown(cut, self.options.device)
            with torch.no_grad():
                attended = made.unet.encode(seen.references)
            painted = made(seen.guide, attended, made.begin(len(seen.guide), self.options.window)).pictures
            within = seen.weight > 3
            for name, picture in (("warp", seen.guide[:, :, RGB]), ("painted", painted)):
                gains[name].append(_psnr(picture, seen.target, within))
            rows += [to_pictures(x[:, -1]) for x in (seen.guide[:, :, RGB], painted, seen.target)]
        score = Score(*(float(np.mean(gains[name])) for name in ("warp", "painted")))
        line = {"step": self.step, "loss": loss, **dataclasses.asdict(score)}
        log.info("step %d loss %.4f: %s", self.step, loss, score)
        curve = self._private / "curve.csv"
        fresh = not curve.exists()
        with curve.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(line))
            if fresh:
                writer.writeheader()
            writer.writerow(line)
        sheet = np.concatenate([np.concatenate(list(row), 1) for row in rows[:3]], 0)
        save_image(self._private / f"step_{self.step:06d}.png", sheet, force=True)
        return score


SAVE_S = 60.0  # the most that is lost when a run is cut off
WARM_UP = 0.02  # of the steps


def _slope(done: float) -> float:
    """Of the learning rate over a run: up, then down along a cosine."""
    return min(1.0, done / WARM_UP + 0.01) * (0.5 + 0.5 * math.cos(math.pi * min(done, 1.0)))


def _psnr(picture: Tensor, target: Tensor, within: Tensor) -> float:
    """Where a mask [B, T, 1, h, w] says, dB."""
    gap = ((picture.float() - target) / 2).square() * within
    return -10 * math.log10(float(gap.sum() / (3 * within.sum().clamp(min=1))) + 1e-9)


def base_run(samples: Samples, folder: Path, options: TrainOptions, begun: GuidePipeline | None = None) -> Run:
    """Regressor, then bridge, from nothing, or from weights that begin to know."""
    bridge = BridgeScheduler(steps=4, sigma=options.sigma)

    def network() -> FaceUNet:
        o = options
        widths = o.widths if begun is None else begun.unet.config.widths
        unet = FaceUNet(widths=widths, side=o.side, elsewhere=o.elsewhere, eyes=o.eyes, finest=float(o.zoom))
        if begun is not None:
            unet.load_state_dict(begun.unet.state_dict())
        return cast(FaceUNet, unet)

    objective = AlongTheBridge(bridge, round(options.regress * options.steps))
    return Run(folder, options, network, Windows(samples, options), objective)


def turbo_run(samples: Samples, folder: Path, options: TrainOptions, teacher: GuidePipeline) -> Run:
    """One step that is as good as the teacher's."""
    options = _as_wide(options, teacher)
    return Run(folder, options, lambda: _copy(teacher), Windows(samples, options), AsTheTeacher(teacher))


def character_run(samples: Samples, folder: Path, options: TrainOptions, base: GuidePipeline) -> Run:
    """A network that knows people, shown more of one character."""
    options = _as_wide(options, base)
    n_steps = base.scheduler.config.steps
    bridge = BridgeScheduler(steps=n_steps, sigma=base.scheduler.config.sigma)
    objective = AlongTheBridge(bridge, options.steps if n_steps == 1 else -1)
    return Run(folder, options, lambda: _copy(base), Windows(samples, options), objective)


def _as_wide(options: TrainOptions, pipeline: GuidePipeline) -> TrainOptions:
    """Options that show what a network may change."""
    config = pipeline.unet.config
    return dataclasses.replace(options, elsewhere=config.elsewhere, eyes=config.eyes)


def _copy(pipeline: GuidePipeline) -> FaceUNet:
    return cast(FaceUNet, copy.deepcopy(pipeline.unet).train().requires_grad_())
