"""The network: from what the warp knows of a frame, and pictures of the character, to what the frame should be.

A U-Net over the face region at half its resolution. It answers with a change to the warp's picture, which comes in
whole, so what it leaves alone keeps every pixel. Three things are put in from outside: reference pictures, encoded
once and attended to; the frames before, through causal layers that see the last PAST of them; and how far along the
bridge (`synth.diffusion.scheduler`) the picture is. The network remembers nothing itself: what past frames left
goes in and comes out as tensors, so any number of streams share one, and what was long ago has no effect at all.

Importing this file loads torch and diffusers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor, nn

PAST = 2  # frames that each causal layer sees of what was before
PATCH = 2  # px of the picture across one of the network's finest
N_GUIDE = 11  # channels of a guide: RGB, valid, coords (3), stretch, mouth, eyes, opened
RGB, MOUTH, EYES, COORDS = slice(0, 3), slice(8, 9), slice(9, 10), slice(4, 7)  # of those
N_REFERENCE = 7  # channels of a reference: RGB, coords (3), opened
N_TIMES = 64  # numbers that tell how far along the bridge a picture is


def pack_guide(
    rgb: Tensor,  # [..., S, S, 3], 0..255
    valid: Tensor,  # [..., S, S], as all that follow but coords
    coords: Tensor,  # [..., S, S, 3]
    stretch: Tensor,
    mouth: Tensor,
    eyes: Tensor,
    opened: Tensor,  # [...]
) -> Tensor:
    """A `synth.diffusion.guide.Guide`'s arrays as the network takes them [..., N_GUIDE, S, S]."""
    flat = torch.stack((valid, stretch, mouth, eyes, opened[..., None, None].expand_as(valid)), -3).float()
    picture, where = (x.float().movedim(-1, -3) for x in (rgb, coords))
    return torch.cat((picture / 127.5 - 1, flat[..., :1, :, :], where, flat[..., 1:, :, :]), -3)


def pack_reference(rgb: Tensor, coords: Tensor, opened: Tensor) -> Tensor:
    """A `synth.diffusion.guide.Reference`'s arrays, likewise [..., N_REFERENCE, S, S]."""
    picture, where = (x.float().movedim(-1, -3) for x in (rgb, coords))
    wide = opened[..., None, None, None].float().expand_as(picture[..., :1, :, :])
    return torch.cat((picture / 127.5 - 1, where, wide), -3)


@dataclass
class FrameOutput(BaseOutput):  # type: ignore[misc]
    frame: Tensor  # [B, T, 3, S, S], -1..1: what the frame should be
    memory: tuple[Tensor, ...]  # each [B, PAST, C, s, s], for the frames that follow


class Norm(nn.Module):  # type: ignore[misc]
    """Root mean square over the channels of each pixel alone: the same in a crop of any size."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n))

    def forward(self, x: Tensor) -> Tensor:
        size = torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-5).to(x.dtype)  # squares overflow half floats
        return x * size * self.gain[:, None, None]


class Block(nn.Module):  # type: ignore[misc]
    """Two convolutions beside a shortcut, told the time between them."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = Norm(n_in), Norm(n_out)
        self.first = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.time = nn.Linear(N_TIMES, 2 * n_out)
        self.shortcut = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1)
        nn.init.zeros_(self.time.weight)
        nn.init.zeros_(self.time.bias)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:  # [N, C, h, w], [N, N_TIMES]
        scale, shift = self.time(time)[..., None, None].chunk(2, 1)
        y = self.first(F.silu(self.norm_in(x)))
        y = self.norm_out(y) * (1 + scale) + shift
        return self.shortcut(x) + self.second(F.silu(y))


class Recall(nn.Module):  # type: ignore[misc]
    """Each frame beside the PAST before it, pixel by pixel."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.norm = Norm(n)
        self.mix = nn.Conv2d((1 + PAST) * n, n, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:  # [B * T, C, h, w], [B, PAST, C, h, w]
        B = memory.shape[0]
        C, h, w = x.shape[1:]
        seen = torch.cat((memory, self.norm(x).view(B, -1, C, h, w)), 1)
        T = seen.shape[1] - PAST
        beside = torch.cat([seen[:, i : i + T] for i in range(PAST + 1)], 2)
        return x + self.mix(beside.flatten(0, 1)), seen[:, -PAST:]


class Attend(nn.Module):  # type: ignore[misc]
    """Every place of a frame looks at every place of the references, told which point of the face each is."""

    def __init__(self, n: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Norm(n)
        self.where = nn.Conv2d(COORDS.stop - COORDS.start, n, 1)
        self.query, self.key, self.value = (nn.Conv2d(n, n, 1) for _ in range(3))
        self.out = nn.Conv2d(n, n, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def remember(self, seen: Tensor, coords: Tensor) -> Tensor:
        """Maps [B, R, C, h, w] of the references and their coords to [2, B, R h w, C], keys and values."""
        B, R, C, h, w = seen.shape
        x = self.norm(seen.flatten(0, 1))
        keys = self.key(x + self.where(coords.flatten(0, 1)))
        pair = torch.stack((keys, self.value(x)))  # [2, B R, C, h, w]
        return pair.view(2, B, R, C, h * w).transpose(3, 4).flatten(2, 3)

    def forward(self, x: Tensor, coords: Tensor, references: Tensor) -> Tensor:  # [B T, C, h, w]
        if not references.shape[2]:
            return x
        B, C = references.shape[1], references.shape[3]
        h, w = x.shape[2:]
        queries = self.query(self.norm(x) + self.where(coords))
        q = queries.view(B, -1, C, h * w).transpose(2, 3).flatten(1, 2)  # [B, T h w, C]
        q, k, v = (z.view(B, -1, self.heads, C // self.heads).transpose(1, 2) for z in (q, *references))
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(seen.view(B, -1, h * w, C).transpose(2, 3).reshape(x.shape))


class FaceUNet(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Guide, references and a picture on the way -> the frame. All pictures are -1..1.

    `side` is the one that the weights know faces at, `finest` how many times as large they know them too. `elsewhere`
    is how much may be changed outside mouth and eyes, 0 to 1: weights that know only those leave all else to the warp;
    `eyes` is how much at the eyes, beyond that.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128, 192),  # channels at 1/2, 1/4, ... of the side
        heads: int = 4,
        side: int = 512,
        elsewhere: float = 1.0,
        eyes: float = 1.0,
        finest: float = 1.0,
    ) -> None:
        super().__init__()
        n, last = widths[0], widths[-1]
        self.stem = nn.Conv2d((N_GUIDE + 3) * PATCH**2, n, 3, padding=1)
        self.reference_stem = nn.Conv2d(N_REFERENCE * PATCH**2, n, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(N_TIMES, N_TIMES), nn.SiLU(), nn.Linear(N_TIMES, N_TIMES))
        self.register_buffer("waves", 2.0 ** torch.linspace(-1, 7, N_TIMES // 2), persistent=False)
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.reference_down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.before = nn.ModuleList(Block(w, w) for w in widths)
        self.reference_blocks = nn.ModuleList(Block(w, w) for w in widths)
        self.middle = nn.ModuleList((Block(last, last), Block(last, last)))
        self.attend = nn.ModuleList((Attend(last, heads), Attend(last, heads)))
        self.recall = nn.ModuleList(Recall(w) for w in widths[1:])  # the finest is left out: much memory, no gain
        self.after = nn.ModuleList(Block(w, w) for w in widths)
        self.norm = Norm(n)
        self.head = nn.Conv2d(n, 3 * PATCH**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)  # an untrained network is the warp
        nn.init.zeros_(self.head.bias)

    @property
    def multiple(self) -> int:
        """What a side must be a multiple of."""
        return PATCH << len(self.config.widths) - 1

    def empty_memory(self, n: int, side: int) -> tuple[Tensor, ...]:
        """Of n streams that have seen nothing yet."""
        coarser = ((width, side // PATCH >> i + 1) for i, width in enumerate(self.config.widths[1:]))
        return tuple(torch.zeros(n, PAST, w, s, s, device=self.device, dtype=self.dtype) for w, s in coarser)

    def encode(self, references: Tensor) -> Tensor:
        """Reference pictures [B, R, N_REFERENCE, S, S] as what is attended to [layers, 2, B, N, C]; once a character."""
        B, R = references.shape[:2]
        if not R:
            return references.new_zeros(len(self.attend), 2, B, 0, self.config.widths[-1])
        flat = references.flatten(0, 1)
        time = self._times(torch.zeros(B * R, device=flat.device, dtype=flat.dtype))
        x = self.reference_stem(F.pixel_unshuffle(flat, PATCH))
        for i, block in enumerate(self.reference_blocks):
            x = block(self.reference_down[i - 1](x) if i else x, time)
        coords = F.avg_pool2d(flat[:, 3:6], self.multiple)
        seen, where = (z.unflatten(0, (B, R)) for z in (x, coords))
        return torch.stack([layer.remember(seen, where) for layer in self.attend])

    def forward(
        self,
        noisy: Tensor,  # [B, T, 3, S, S], where the bridge is
        time: Tensor,  # [B], 0 at the warp's picture to 1 at the frame
        guide: Tensor,  # [B, T, N_GUIDE, S, S]
        references: Tensor,  # [layers, 2, B, N, C], by `encode`
        memory: tuple[Tensor, ...],  # by the frames before, or `empty_memory`
    ) -> FrameOutput:
        B, T = noisy.shape[:2]
        told = torch.cat((noisy, guide), 2).flatten(0, 1)
        coords = F.avg_pool2d(guide[:, :, COORDS].flatten(0, 1), self.multiple)
        times = self._times(time.repeat_interleave(T))
        x = self.stem(F.pixel_unshuffle(told, PATCH))
        kept = []
        for i, block in enumerate(self.before):
            x = block(self.down[i - 1](x) if i else x, times)
            kept.append(x)
        for block, attend, seen in zip(self.middle, self.attend, references, strict=True):
            x = attend(block(x, times), coords, seen)
        left: list[Tensor] = []
        for i in reversed(range(len(self.after))):
            x = x + kept[i]
            if i:
                x, for_later = self.recall[i - 1](x, memory[i - 1])
                left.insert(0, for_later)
            x = self.after[i](x, times)
            if i:
                x = F.interpolate(self.up[i - 1](x), scale_factor=2.0, mode="nearest")
        change = F.pixel_shuffle(self.head(F.silu(self.norm(x))), PATCH).unflatten(0, (B, T))
        within = torch.maximum(guide[:, :, MOUTH], self.config.eyes * guide[:, :, EYES])
        share = self.config.elsewhere + (1 - self.config.elsewhere) * within
        return FrameOutput(frame=guide[:, :, RGB] + share * change, memory=tuple(left))

    def _times(self, time: Tensor) -> Tensor:
        angles = time[:, None] * self.waves.to(time.dtype)
        return self.time(torch.cat((angles.sin(), angles.cos()), 1))
