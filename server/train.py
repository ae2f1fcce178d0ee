"""Training from the command line: `base` and `turbo` from samples that were made, `character` from a clip of one's own.

A clip becomes samples as the product would see it: some of its frames are pictures of the character, each drives the
rest, and what the warp makes of them stands beside what was filmed. Needs torch and diffusers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import synth.character
from perfcap.expression import template
from perfcap.face import FaceMesh, MediaPipeFaces
from runtime.errors import InputError
from runtime.missing import missing
from runtime.records import Motion
from server.character import own_weights
from server.take import Take, TakeOptions, Tally, open_take
from synth.diffusion.guide import Guides, Reference, references
from synth.diffusion.renderer import find_weights, load_network
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character, rig
from synth.training.options import TrainOptions
from synth.training.shards import Samples, row_type, write_shard
from synth.warp import WarpRenderer

if TYPE_CHECKING:
    from synth.training.diffusion import Run

Progress = Callable[[int, int | None], None]
Rgb = NDArray[np.uint8]

N_SOURCES = 3  # frames of a clip that are taken for pictures of the character
MOST_ROWS = 200  # pairs of frames taken from a clip, spread over it
ROWS_A_SHARD = 10
ROWS_A_PERSON = 10  # neighbours in time are kept together, to be shown or to be scored with
FIRST_LOOKED_AT = 40  # frames looked through for one that shows the face


def need_torch() -> None:
    lacking = [name for name in ("torch", "diffusers") if find_spec(name) is None]
    if lacking:
        raise missing("training", *lacking)


def train_base(data: Path, output: Path, weights: str | None, options: TrainOptions, progress: Progress) -> Tally:
    """A network from samples that were made; from nothing without weights to begin with."""
    need_torch()
    from synth.training import diffusion as training

    begun = None if weights is None else load_network(find_weights(weights), options.device)
    return _told(training.base_run(Samples(data), output, options, begun), progress)


def train_turbo(data: Path, output: Path, teacher: str | None, options: TrainOptions, progress: Progress) -> Tally:
    """A network that does in one step what its teacher does in several."""
    need_torch()
    from synth.training import diffusion as training

    taught_by = load_network(find_weights(teacher), options.device)
    return _told(training.turbo_run(Samples(data), output, options, taught_by), progress)


@dataclass(frozen=True, kw_only=True)
class Footage:
    """A clip of one character, and whose leave it is used with."""

    clip: Path
    character: Path  # a .character; the weights are saved beside it
    have_the_rights: bool
    take: TakeOptions = field(default_factory=TakeOptions)

    def __post_init__(self) -> None:
        if not self.have_the_rights:
            raise InputError(
                f"{self.clip} shows somebody; wanted --i-have-the-rights: that you may train on this footage "
                "and that who is in it has agreed"
            )
        if self.character.suffix.lower() != synth.character.SUFFIX:
            raise InputError(f"{self.character} is no {synth.character.SUFFIX}; wanted one, to save the weights beside")


def train_character(footage: Footage, weights: str | None, options: TrainOptions, progress: Progress) -> Tally:
    """The network of `weights`, shown more of one character. The footage is forgotten when it is done."""
    need_torch()
    from synth.training import diffusion as training

    hero = synth.character.load(footage.character)
    output = own_weights(footage.character)
    network = load_network(find_weights(weights), options.device)
    data = output / "training" / "footage"
    tally = Tally()
    if not (data / "whole").exists():  # else a run goes on
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        with tally.during("footage"):
            write_footage(footage, hero, data, network.unet.config.side)
        (data / "whole").touch()
    run = training.character_run(Samples(data), output, options, network)
    told = _told(run, progress)
    if run.step == options.steps:
        shutil.rmtree(data)
    return replace(told, seconds={**tally.seconds, **told.seconds})


def _told(run: Run, progress: Progress) -> Tally:
    tally = Tally()
    with tally.during("train"):
        scores = run.fit(progress)
    tally.notes.append(f"step {run.step} of {run.options.steps}" + (f": {scores}" if scores else ""))
    if run.step < run.options.steps:
        tally.notes.append("the same command goes on from here")
    return tally


# ---------------------------------------------------------------- a clip as samples


@dataclass(frozen=True)
class _Picture:
    """A frame of the clip that is to be a picture of the character."""

    rgb: Rgb
    mesh: FaceMesh
    motion: Motion  # of this very moment


@dataclass(frozen=True)
class _Source:
    """A frame of the clip as the picture of a character, who acts the clip."""

    warp: WarpRenderer
    guides: Guides
    retarget: Retarget
    shown: list[Reference]


def write_footage(footage: Footage, hero: Character, folder: Path, side: int) -> int:
    """Write a clip's frames as samples, guide beside truth; returns how many."""
    take = open_take(footage.clip, footage.take, Tally(), pictures=True)
    motions, pictures = _looked_through(take)
    seen = [i for i, motion in enumerate(motions[:-1]) if motion.confidence > 0 and motions[i + 1].confidence > 0]
    if not pictures or len(seen) < 2:
        raise InputError(f"{footage.clip} shows a face in {len(seen)} frames; wanted many more, seconds at least")
    sources = [_source(picture, hero, take, side) for picture in pictures]
    wanted = [seen[round(i)] for i in np.linspace(0, len(seen) - 1, min(MOST_ROWS, len(seen)))]
    again = open_take(footage.clip, footage.take, Tally(), pictures=True)
    rows: list[Any] = []
    n = 0
    for pair in _pairs(again, wanted):
        rows.append(_row(sources[n % len(sources)], pair, side, n // ROWS_A_PERSON))
        n += 1
        if len(rows) == ROWS_A_SHARD or n == len(wanted):
            write_shard(folder / f"shard-{(n - 1) // ROWS_A_SHARD:05d}.npy", np.array(rows))
            rows = []
    return n


def _looked_through(take: Take) -> tuple[list[Motion], list[_Picture]]:
    """All of a take's motion, and N_SOURCES frames spread over it."""
    step = max(1, (take.n_frames or 1) // N_SOURCES)
    motions: list[Motion] = []
    found: list[_Picture] = []
    finder = MediaPipeFaces(still=True)
    looked = 0
    for i, (motion, rgb) in enumerate(take.motions):
        motions.append(motion)
        due = len(found) < N_SOURCES and i >= len(found) * step and looked < FIRST_LOOKED_AT
        if due and motion.confidence > 0 and rgb is not None:
            looked += 1
            faces = finder.find(rgb)
            if len(faces) == 1:
                found.append(_Picture(rgb, faces[0], motion))
                looked = 0
    finder.close()
    return motions, found


def _source(picture: _Picture, hero: Character, take: Take, side: int) -> _Source:
    character = rig(picture.rgb, picture.mesh, template())
    character = replace(character, references=((hero.rgb, hero.landmarks),))
    warp = WarpRenderer(character)
    retarget = Retarget(character, take.performer.neutral, [picture.motion], RetargetOptions())
    return _Source(warp, Guides(warp, side), retarget, references(character, side))


def _pairs(take: Take, wanted: list[int]) -> Iterator[list[tuple[Motion, Rgb]]]:
    """Two frames each, from the wanted ones on."""
    last: tuple[Motion, Rgb] | None = None
    firsts = set(wanted)
    for i, (motion, rgb) in enumerate(take.motions):
        assert rgb is not None, "a video's motion without its picture"
        if i - 1 in firsts and last is not None:
            yield [last, (motion, rgb)]
        last = motion, rgb


def _row(source: _Source, pair: list[tuple[Motion, Rgb]], side: int, person: int) -> Any:
    row = np.zeros((), row_type(len(pair), len(source.shown), side))
    for t, (motion, rgb) in enumerate(pair):
        (moved,) = source.retarget.push(motion)
        guide = source.guides.of(source.warp.draw(moved))
        row["target"][t] = guide.crop.cut(rgb)
        row["rgb"][t], row["coords"][t], row["stretch"][t] = guide.rgb, guide.coords, guide.stretch
        for name in ("valid", "mouth", "eyes"):
            row[name][t] = np.round(255 * getattr(guide, name))
    for r, seen in enumerate(source.shown):
        row["references"][r], row["reference_coords"][r] = seen.rgb, seen.coords
        row["reference_opened"][r] = seen.opened
    row["opened"], row["person"] = source.guides.opened, person
    return row
