"""One picture speaks: the offline driver of speech, presence, retarget and warp.

Every frame goes through the same stages as live; nothing whole is held, however long the speech.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from audio.portrait import Speaking
from audio.presence import Presence, PresenceOptions, WithSound
from audio.speech import Listened, Speech, read_speech
from perfcap.expression import template
from perfcap.resample import Resample
from runtime.output import check_output
from runtime.records import AudioChunk, Cue, Motion
from runtime.stage import Chain, Stage, run
from runtime.writer import VideoWriter, WriteOptions, output_kind
from server.character import load_character
from server.lines import Parting, resting
from server.take import Tally, ahead
from synth.framing import size_of
from synth.retarget import Retarget, RetargetOptions, facing
from synth.rig import Character, smoothstep
from synth.warp import WarpRenderer

MAX_FPS = 240


@dataclass(frozen=True, kw_only=True)
class StillOptions:
    seed: int = 0  # of blinks, glances, sway and nods: the same seed gives the same clip
    still: bool = False  # nothing but the lips moves
    intensity: float = 3.0  # 1 to 5, how far the mouth goes; 3 = as spoken
    fps: Fraction = Fraction(25)  # pictures a second
    face: str | None = None  # whose, of several in the picture: largest, left, right or a number from the left
    ratio: str | None = None  # the result's size, one of synth.framing.RATIOS; None keeps the picture's
    crf: int = WriteOptions.crf  # of the encoder
    force: bool = False  # write over an existing file

    def __post_init__(self) -> None:
        RetargetOptions(intensity=self.intensity)
        PresenceOptions(seed=self.seed, still=self.still)
        WriteOptions(crf=self.crf)
        if not 1 <= self.fps <= MAX_FPS:
            raise ValueError(f"fps is {float(self.fps):g}, wanted 1 to {MAX_FPS}")
        if self.ratio is not None:
            size_of(self.ratio)


def still_dub(
    picture: Path,
    speech: Speech,
    output: Path,
    options: StillOptions,
    progress: Callable[[int, int | None], None],
    speak: Stage[AudioChunk, Motion] | None = None,
) -> Tally:
    """Let a picture, or a saved .character, say a recording (`audio.speech.inspect_speech`), into a video of it.

    The video is as long as the speech, up to the end of its last frame, and has its sound at native quality.
    `speak` makes the mouth's motion of the sound and defaults to the speech model; where it is known already what
    is said when, it is a stage that knows. Raises InputError for what cannot be read, shown or written.
    """
    output_kind(output)
    check_output(output, options.force, made_of=(picture, speech.path))
    tally = Tally()
    with tally.during("rig"):
        character = load_character(picture, options.face, options.ratio)
        renderer = WarpRenderer(character)
    chunks = Listened(read_speech(speech.path, speech.start, speech.end))
    n_frames = max(1, math.ceil(speech.duration * options.fps))
    H, W = character.rgb.shape[:2]
    with VideoWriter(
        output, W, H, options.fps, sound=speech.path, sound_start=speech.start + speech.origin,
        options=WriteOptions(crf=options.crf), force=options.force,
    ) as writer:  # fmt: skip
        speaker = Parting(speak or _lips())
        motions = perform(chunks, character, options, speaker)
        for motion in ahead(tally.timed("speech", lasting(motions, n_frames, options.fps)), 4):
            with tally.during("render"):
                shot = renderer.render(Cue(time=motion.time, motion=motion))
            with tally.during("encode"):
                writer.write(shot.rgb, shot.time)
            tally.frames += 1
            progress(tally.frames, n_frames)
    rests = resting(speech.path, chunks.is_silent, speaker.parted or speak is not None)
    if rests is not None:
        tally.notes.append(rests)
    return tally


def perform(
    chunks: Iterable[AudioChunk], character: Character, options: StillOptions, speak: Stage[AudioChunk, Motion]
) -> Iterator[Motion]:
    """What the character does while it says that: Motion in its own terms, options.fps a second."""
    gain = RetargetOptions(intensity=options.intensity).gain
    speaking = Speaking(character.face, gain)
    retarget = Retarget(character, template(), (), RetargetOptions(), rest=speaking.rest)
    presence = Presence(PresenceOptions(seed=options.seed, still=options.still, liveliness=_liveliness(character)))
    living: Chain[AudioChunk, Motion] = Chain(WithSound(speak), presence, Resample(options.fps), speaking, retarget)
    return run(living, chunks)


def _liveliness(character: Character) -> float:
    """How far this head may go: one that is turned aside already has less to show on its far side."""
    aside = abs(facing(character.head[:3, :3]))
    return 1 - 0.5 * float(smoothstep(np.array(aside), 0.2, 0.6))


def lasting(motions: Iterable[Motion], n_frames: int, rate: Fraction) -> Iterator[Motion]:
    """Exactly so many, 1/rate s apart from 0 on: the last one is held, what is more is left out."""
    last: Motion | None = None
    number = 0
    for motion in motions:
        if number == n_frames:
            break
        last = replace(motion, time=number / rate)
        yield last
        number += 1
    while last is not None and number < n_frames:
        yield replace(last, time=number / rate)
        number += 1


def _lips() -> Stage[AudioChunk, Motion]:
    from audio.lips import Lips

    return Lips()
