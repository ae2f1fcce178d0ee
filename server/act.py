"""An actor's video drives a character, from files to a file: the offline driver of capture, retarget and renderer.

Every frame goes through the same stages as live, one in hand at a time, however long the clip.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import synth.character
from perfcap.capture import Chooser
from perfcap.resample import Resample
from runtime.errors import InputError
from runtime.output import check_output
from runtime.records import Cue, Motion, Shot
from runtime.sound import inspect_sound
from runtime.writer import KINDS, VideoWriter, output_kind
from server.character import is_clip, load_character, own_weights
from server.take import Take, TakeOptions, Tally, ahead, open_take
from synth.camera import VirtualCamera, parse_move
from synth.diffusion.renderer import DiffusionOptions, DiffusionRenderer, engine_named, find_weights, load_network
from synth.framing import size_of
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character
from synth.wan_animate.options import WanAnimateOptions
from synth.wan_animate.renderer import WanAnimateRenderer
from synth.wan_animate.weights import check_weights, load_weights
from synth.warp import WarpRenderer

MAX_FPS = 240
RENDERERS = ("warp", "diffusion", "wan-animate")


@dataclass(frozen=True, kw_only=True)
class ActOptions(TakeOptions):
    character_face: str | None = None  # of a picture of several, who acts; like `face`
    sound: Path | None = None  # sounds instead of the performance's own, on the performance's clock
    intensity: float = 3.0  # 1 to 5, how strongly the character shows what the actor does; 3 = as acted
    fps: Fraction | None = None  # pictures a second; None keeps the actor's own times
    body: bool = False  # whether the shoulders follow the actor's too, where they are seen
    ratio: str | None = None  # the result's size, one of synth.framing.RATIOS; None keeps the picture's
    camera: tuple[str, ...] = ()  # moves over the take, like zoom:1.2
    side_by_side: bool = False  # the actor on the left of the character
    renderer: str = "warp"  # what draws the character; one of RENDERERS
    weights: str | None = None  # of diffusion: packaged ones by name, or a folder; of wan-animate: a folder
    steps: int | None = None  # of those two; None takes their own, as in what follows
    engine: str | None = None  # that runs diffusion's network, or a model of understudy export; None is auto, the best
    prompt: str | None = None  # of wan-animate, as the others down to quantize: see WanAnimateOptions
    segment: int | None = None
    overlap: int | None = None
    area: int | None = None  # px
    offload: str | None = None
    quantize: str | None = None
    seed: int = 0  # of a renderer that draws from noise; the warp draws from none
    force: bool = False  # write over an existing file

    def __post_init__(self) -> None:
        super().__post_init__()
        RetargetOptions(intensity=self.intensity)
        if self.fps is not None and not 1 <= self.fps <= MAX_FPS:
            raise ValueError(f"fps is {float(self.fps):g}, wanted 1 to {MAX_FPS}")
        if self.renderer not in RENDERERS:
            raise ValueError(f"--renderer is {self.renderer!r}; wanted {', '.join(RENDERERS)}")
        if self.renderer == "warp" and (self.weights is not None or self.steps is not None):
            raise ValueError("--weights and --steps are not for the warp; wanted --renderer diffusion or wan-animate")
        if self.renderer == "wan-animate" and self.weights is None:
            raise ValueError("--renderer wan-animate brings no weights; wanted --weights FOLDER")
        alone = (self.prompt, self.segment, self.overlap, self.area, self.offload, self.quantize)
        if self.renderer != "wan-animate" and any(given is not None for given in alone):
            raise ValueError(
                f"--prompt, --segment, --overlap, --area, --offload and --quantize are not for the {self.renderer}; "
                "wanted --renderer wan-animate"
            )
        if self.renderer != "diffusion" and self.engine is not None:
            raise ValueError(f"--engine is not for the {self.renderer}; wanted --renderer diffusion")
        engine_named(self.engine)
        DiffusionOptions(steps=self.steps, seed=self.seed)
        _for_wan_animate(self)
        if self.ratio is not None:
            size_of(self.ratio)
        for move in self.camera:
            parse_move(move)
        if self.character_face is not None:
            Chooser(self.character_face, "--character-face")


def act(
    character_path: Path,
    performance_path: Path,
    output: Path,
    options: ActOptions,
    progress: Callable[[int, int | None], None],
) -> Tally:
    """Render the character of one file performing another; returns what was done."""
    if is_clip(character_path):
        from server.moving import act_in_clip  # it brings speech along, which no picture needs

        return act_in_clip(character_path, performance_path, output, options, progress)
    retargeting = RetargetOptions(intensity=options.intensity)
    _check_sound(options.sound, output)
    sources = (character_path, performance_path, options.sound, options.profile)
    check_output(output, options.force, made_of=sources)
    load = _loading(options, character_path)
    tally = Tally()
    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as beside:  # the character is rigged, a network loaded, while the take is surveyed
        loading = beside.submit(load)
        rigged = beside.submit(load_character, character_path, options.character_face, options.ratio)
        try:
            take = open_take(
                performance_path, options, tally, pictures=options.side_by_side, tells="face", body=options.body
            )
        finally:
            character = rigged.result()  # its own error comes first: it is the first thing the user named
        moves = [parse_move(move) for move in options.camera]
        camera = VirtualCamera(character, moves, _length(take, options)) if moves else None
        rendering = beside.submit(loading.result(), character, camera)
        retarget = Retarget(character, take.performer.neutral, take.moments, retargeting)
        renderer = rendering.result()
    tally.seconds["prepare"] = time.perf_counter() - begun
    H, W = character.rgb.shape[:2]
    actor = _Beside(take, performance_path, H) if options.side_by_side else None
    rate = options.fps or take.rate
    motions = take.motions if options.fps is None else at_rate(take.motions, rate)
    n_frames = take.n_frames and round(take.n_frames * rate / take.rate)

    def rendered() -> Iterator[tuple[Shot, NDArray[np.uint8] | None]]:
        """Each shot with the actor's picture, which waits while the shot is held."""
        waiting: deque[NDArray[np.uint8] | None] = deque()
        for motion, seen in ahead(motions, 4):
            waiting.append(seen)
            with tally.during("render"):
                (moved,) = retarget.push(motion)
                shots = renderer.push(Cue(time=motion.time, motion=moved))
            for shot in shots:
                yield shot, waiting.popleft()
        with tally.during("render"):
            shots = renderer.flush()
        for shot in shots:
            yield shot, waiting.popleft()

    shoulders = False  # whether any were seen
    with VideoWriter(
        output,
        W + (actor.width if actor else 0),
        H,
        rate,
        sound=options.sound or take.sound,
        sound_start=options.start or Fraction(0),
        force=options.force,
    ) as writer:
        # A network is not left to a thread of its own: who stops a command should not have to wait for it.
        for shot, seen in ahead(rendered(), 2) if options.renderer == "warp" else rendered():
            with tally.during("encode"):
                writer.write(shot.rgb if actor is None else actor.join(seen, shot.rgb), shot.time)
            tally.frames += 1
            tally.faceless += shot.cue.motion.confidence == 0
            shoulders = shoulders or shot.cue.motion.shoulders is not None
            progress(tally.frames, n_frames)
    if options.body and not shoulders:
        tally.notes.append("the actor's shoulders are not to be seen; the character's follow its neck a little")
    if isinstance(renderer, DiffusionRenderer):
        tally.notes += renderer.told()
    return tally


Make = Callable[[Character, VirtualCamera | None], WarpRenderer | DiffusionRenderer | WanAnimateRenderer]


def _loading(options: ActOptions, character: Path) -> Callable[[], Make]:
    """What loads the renderer's weights, which takes long, and tells how to make the renderer then."""
    if options.renderer == "diffusion":
        weights = _weights(options, character)
        return lambda: _diffusion(weights, options)
    if options.renderer == "wan-animate":
        assert options.weights is not None
        folder, how = Path(options.weights), _for_wan_animate(options)
        check_weights(folder, how)
        return lambda: _wan_animate(folder, how)
    return lambda: WarpRenderer


def _weights(options: ActOptions, character: Path) -> Path:
    """The folder of the diffusion renderer's weights: the ones named, else the character's own, else packaged ones."""
    own = own_weights(character)
    if options.weights is None and character.suffix.lower() == synth.character.SUFFIX and own.is_dir():
        return find_weights(str(own))
    return find_weights(options.weights)


def _diffusion(weights: Path, options: ActOptions) -> Make:
    network = load_network(weights, engine=engine_named(options.engine))
    import torch

    on_cpu = network.device.type == "cpu"
    if on_cpu:
        torch.set_num_threads(os.cpu_count() or 1)  # unlike our own matrices, these are large enough to share
    painting = DiffusionOptions(steps=options.steps, chunk=1 if on_cpu else 8, seed=options.seed)
    return lambda character, camera: DiffusionRenderer(character, network, painting, camera)


def _for_wan_animate(options: ActOptions) -> WanAnimateOptions:
    given: dict[str, Any] = {
        "steps": options.steps, "prompt": options.prompt, "segment": options.segment, "overlap": options.overlap,
        "area_px": options.area, "offload": options.offload, "quantize": options.quantize,
    }  # fmt: skip
    return WanAnimateOptions(seed=options.seed, **{name: value for name, value in given.items() if value is not None})


def _wan_animate(folder: Path, how: WanAnimateOptions) -> Make:
    model = load_weights(folder, how)
    return lambda character, camera: WanAnimateRenderer(character, model, how, camera)


def _check_sound(sound: Path | None, output: Path) -> None:
    """Say before the work starts whether a sound can go along."""
    suffix = output_kind(output)
    if sound is None:
        return
    if suffix not in KINDS or KINDS[suffix].sound_encoder is None:
        raise InputError(f"{output} takes no sound, as no {suffix} does; wanted .mp4, .mov, .mkv or .webm for --sound")
    inspect_sound(sound)


def at_rate(
    items: Iterable[tuple[Motion, NDArray[np.uint8] | None]], rate: Fraction
) -> Iterator[tuple[Motion, NDArray[np.uint8] | None]]:
    """Motion at an even rate, each with the picture that is shown at its time."""
    stage = Resample(rate)
    shown: deque[tuple[Fraction, NDArray[np.uint8] | None]] = deque()

    def paired(motions: Iterable[Motion]) -> Iterator[tuple[Motion, NDArray[np.uint8] | None]]:
        for motion in motions:
            while len(shown) > 1 and shown[1][0] <= motion.time:
                shown.popleft()
            yield motion, shown[0][1]

    for motion, rgb in items:
        shown.append((motion.time, rgb))
        yield from paired(stage.push(motion))
    yield from paired(stage.flush())


def _length(take: Take, options: ActOptions) -> Fraction:
    """How long the take lasts, s."""
    if take.n_frames is not None:
        return take.n_frames / take.rate
    if options.end is not None:
        return options.end - (options.start or 0)
    raise InputError("the performance does not say how long it is; wanted --end for --camera to move until")


class _Beside:
    """The actor's picture on the left, as high as the character's."""

    def __init__(self, take: Take, path: Path, height: int) -> None:
        if take.size is None:
            raise InputError(f"{path} holds no pictures of the actor; wanted a video for --side-by-side")
        width, actor_height = take.size
        self.width = max(2, round(width * height / actor_height / 2) * 2)
        self._smaller = height < actor_height
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None  # as filmed, as shown

    def join(self, actor: NDArray[np.uint8] | None, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        assert actor is not None, "a video's motion without its picture"
        if self._last is None or self._last[0] is not actor:
            way = cv2.INTER_AREA if self._smaller else cv2.INTER_CUBIC
            self._last = actor, cv2.resize(actor, (self.width, rgb.shape[0]), interpolation=way)
        return np.concatenate((self._last[1], rgb), 1)
