"""A clip performs: the mouth of whoever is in it does what an actor's does; all else stays the clip's own.

The way of `server.dub`, told what a mouth was seen to do instead of what a speech asks for. The result lasts
as long as the performance, and has its sound.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audio.dubbing import RATE, Curve
from audio.mouth_shape import WIDTH, controls
from audio.speech import inspect_speech
from audio.voice import Utterance
from perfcap.capture import Chooser
from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from runtime.errors import InputError
from runtime.output import check_output
from runtime.records import SAMPLE_RATE
from runtime.remux import clip_kind
from runtime.sound import inspect_sound
from runtime.video import VideoReader, keyframe_times, read_at
from runtime.writer import VideoWriter, WriteOptions
from server.dub import DubOptions, say
from server.lines import Line, write_speech
from server.take import N_CROWD, Take, Tally, open_take
from synth.framing import Size, size_of
from synth.retarget import RetargetOptions

if TYPE_CHECKING:
    from server.act import ActOptions

SAMPLES = 12  # key frames looked at to know where a clip's face is
CRF = 8  # of a clip that is cropped before it is worked on: what is lost once is not seen

Floats = NDArray[np.float32]
Progress = Callable[[int, int | None], None]


def act_in_clip(clip: Path, performance: Path, output: Path, options: ActOptions, progress: Progress) -> Tally:
    """Make the mouth in a clip follow a performance; returns what was done."""
    _want_plain(clip, options)
    clip_kind(output)
    check_output(output, options.force, made_of=(clip, performance, options.sound, options.profile))
    if options.sound is not None:
        inspect_sound(options.sound)
    tally = Tally()
    take = open_take(performance, options, tally)
    times, said = _seen(take, progress)
    rest = controls(take.performer.neutral)
    share = RetargetOptions(intensity=options.intensity).gain * controls(template())[WIDTH] / rest[WIDTH]
    length = times[-1] + 1 / take.rate
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        sound = options.sound or take.sound
        if sound is None:
            sound = Path(folder) / "silence.wav"
            write_speech(sound, Utterance(np.zeros(math.ceil(length * SAMPLE_RATE), np.float32), None))
            speech = inspect_speech(sound)
        else:
            speech = inspect_speech(sound, options.start, options.end)
        line = Line(speech, end=length, curve=_curve(times, (said - rest) * share))
        shown = clip
        if options.ratio is not None:
            with tally.during("frame"):
                shown = _framed(clip, size_of(options.ratio), options.character_face, Path(folder))
        how = DubOptions(audio=sound, face=options.character_face, force=options.force)

        def further(done: int, total: int | None) -> None:
            progress(len(times) + done, None if total is None else len(times) + total)

        try:
            dubbed = say(shown, line, output, how, further)
        except InputError as error:
            raise InputError(str(error).replace(str(shown), str(clip))) from error
    for stage, spent in dubbed.seconds.items():
        tally.seconds[stage] = tally.seconds.get(stage, 0.0) + spent
    tally.frames, tally.faceless = dubbed.frames, dubbed.faceless
    tally.notes += dubbed.notes
    return tally


def _want_plain(clip: Path, options: ActOptions) -> None:
    """Raise for what only a picture can be asked for."""
    asked = {
        "--camera": bool(options.camera), "--fps": options.fps is not None, "--side-by-side": options.side_by_side,
        "--body": options.body,
        f"--renderer {options.renderer}": options.renderer != "warp",
    }  # fmt: skip
    for name, is_asked in asked.items():
        if is_asked:
            raise InputError(f"{clip} is a clip, which keeps its own pictures; wanted a picture for {name}")


def _seen(take: Take, progress: Progress) -> tuple[list[Fraction], Floats]:
    """When every Motion of a take was, and its mouth's controls [N, 7]."""
    times: list[Fraction] = []
    said: list[Floats] = []
    for motion, _ in take.motions:
        times.append(motion.time)
        said.append(controls(motion.face))
        # to watch the clip and to write the result take about as long each
        progress(len(times), None if take.n_frames is None else 3 * take.n_frames)
    return times, np.stack(said)


def _curve(times: Sequence[Fraction], values: Floats) -> Curve:
    """What was seen at some times, RATE times a second from 0 on."""
    at = np.array([float(time) for time in times])
    every = np.arange(math.ceil(at[-1] * RATE) + 1) / RATE
    resampled = np.stack([np.interp(every, at, v) for v in values.T], 1).astype(np.float32)
    return Curve(Fraction(0), resampled, np.ones(len(every), np.float32))


def _framed(clip: Path, size: Size, face: str | None, folder: Path) -> Path:
    """The clip cropped to a size's shape, its face in the middle as far as that goes; itself where it has that size."""
    import cv2

    with VideoReader(clip) as reader:
        if (reader.width, reader.height) == (size.width, size.height):
            return clip
        W, H = reader.width, reader.height
        width = min(W, round(H * size.width / size.height))
        height = min(H, round(W * size.height / size.width))
        x, y = _face_of(clip, face, (W / 2, H / 2))
        left, top = round(min(max(x - width / 2, 0), W - width)), round(min(max(y - height / 2, 0), H - height))
        way = cv2.INTER_AREA if size.width < width else cv2.INTER_LANCZOS4
        out = folder / "framed.mp4"
        with VideoWriter(out, size.width, size.height, reader.rate, options=WriteOptions(crf=CRF)) as writer:
            for frame in reader:
                part = np.ascontiguousarray(frame.rgb[top : top + height, left : left + width])
                rgb = np.asarray(cv2.resize(part, (size.width, size.height), interpolation=way), np.uint8)
                writer.write(rgb, frame.time, frame.duration)
    return out


def _face_of(clip: Path, face: str | None, otherwise: tuple[float, float]) -> NDArray[np.float64]:
    """The middle [2] px of where a clip's face is, from some of its frames."""
    choose = Chooser(face or "largest")
    times = keyframe_times(clip)
    some = sorted({times[i] for i in np.linspace(0, len(times) - 1, min(SAMPLES, len(times))).astype(int)})
    middles = []
    with closing(MediaPipeFaces(still=True, n_faces=N_CROWD)) as finder:
        for frame in read_at(clip, some):
            found = choose(finder.find(frame.rgb))
            if found is not None:
                middles.append(found.centre)
    return np.median(middles, 0).astype(np.float64) if middles else np.array(otherwise)
