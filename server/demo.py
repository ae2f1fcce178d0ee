"""The whole job with no input of the user's: a written performance, two portraits and the way back.

One portrait performs what `perfcap.written` says; that film is captured like any actor's, and the
other portrait performs what was captured. Both pictures are in the public domain and lie inside
Python packages (scikit-image, matplotlib), so nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from perfcap.written import Agreement, Script, agreement, demonstration
from runtime.errors import InputError
from runtime.image import load_image, save_image
from runtime.missing import missing
from runtime.output import check_output
from runtime.records import Cue, Motion
from runtime.video import VideoReader
from runtime.writer import VideoWriter
from server.act import ActOptions, act
from server.character import load_character
from server.take import TakeOptions, Tally, open_take
from synth.retarget import Retarget, RetargetOptions
from synth.warp import WarpRenderer

SIDE_PX = 512  # of each picture; both are square
SHEET_PX = 224  # of each picture of the contact sheet
# What the contact sheet shows, seconds into `demonstration()`.
MOMENTS: dict[str, float] = {
    "rest": 0.0, "right": 1.33, "up": 1.97, "down": 2.4, "tilt": 2.87, "jaw": 3.23, "look": 3.4, "brows": 4.27,
    "pucker": 4.8, "smile": 5.5, "blink": 5.93, "speech 1": 6.2, "speech 2": 7.13, "speech 3": 8.33, "speech 4": 9.1, "speech 5": 9.43,
}  # fmt: skip
SHEET_ACROSS = 8


@dataclass(frozen=True)
class Portrait:
    """A picture inside a Python package, and the square of it to show."""

    title: str
    package: str  # as imported
    distribution: str  # as installed
    path: str  # inside the package
    square: tuple[int, int, int]  # left, top, side px

    def load(self) -> NDArray[np.uint8]:
        """The square [SIDE_PX, SIDE_PX, 3]. Raises InputError if the package is not installed."""
        import cv2

        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise missing(f"the demo shows {self.title} and", self.distribution)
        rgb = load_image(Path(spec.origin).parent / self.path)
        left, top, side = self.square
        part = rgb[top : top + side, left : left + side]
        return part if side == SIDE_PX else cv2.resize(part, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)


ASTRONAUT = Portrait("NASA's portrait of Eileen Collins", "skimage", "scikit-image", "data/astronaut.png", (80, 0, 288))
ADMIRAL = Portrait(
    "the US Navy's portrait of Grace Hopper",
    "matplotlib",
    "matplotlib",
    "mpl-data/sample_data/grace_hopper.jpg",
    (0, 0, 512),
)


@dataclass(frozen=True)
class Loop:
    """A performance that was written, rendered, and captured again from the pixels."""

    written: Sequence[Motion]
    captured: Sequence[Motion]
    tally: Tally

    def agreement(self) -> dict[str, Agreement]:
        return agreement(self.written, self.captured)


def film(portrait: Path, script: Script, output: Path, progress: Callable[[int, int | None], None]) -> Tally:
    """Render one portrait performing a script."""
    with TemporaryDirectory() as folder:
        performance = Path(folder) / "written.npz"
        script.performance().save(performance)
        return act(portrait, performance, output, ActOptions(force=True), progress)


def film_and_capture(portrait: Portrait, script: Script) -> Loop:
    """The closed loop: what a capture sees of a script that a portrait performs."""
    with TemporaryDirectory() as folder:
        picture, video = Path(folder) / "portrait.png", Path(folder) / "acted.mp4"
        save_image(picture, portrait.load())
        tally = film(picture, script, video, lambda *_: None)
        take = open_take(video, TakeOptions(), tally)
        return Loop(script.performance(), [motion for motion, _ in take.motions], tally)


def demo(output: Path, force: bool, progress: Callable[[int, int | None], None]) -> Loop:
    """Write `output` and, beside it, a contact sheet of the same name in .png."""
    sheet = sheet_path(output)
    if sheet == output:
        raise InputError(f"{output} is where the contact sheet goes; wanted a video, as in out/demo.mp4")
    with suppress(OSError):  # what cannot be made is told by check_output
        output.parent.mkdir(exist_ok=True)
    check_output(output, force)
    check_output(sheet, force)
    script = demonstration()
    performance = script.performance()
    n = len(performance)
    with TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.png", Path(folder) / "second.png"
        save_image(first, ASTRONAUT.load())
        save_image(second, ADMIRAL.load())
        acted = Path(folder) / "acted.mp4"
        tally = film(first, script, acted, lambda done, _: progress(done, 2 * n))
        captured = []
        for motion in _perform_again(acted, second, output, tally, force):
            captured.append(motion)
            progress(n + len(captured), 2 * n)
    _contact_sheet(output, sheet)
    return Loop(performance, captured, tally)


def sheet_path(output: Path) -> Path:
    return output.with_suffix(".png")


def _perform_again(acted: Path, portrait: Path, output: Path, tally: Tally, force: bool) -> Iterator[Motion]:
    """Capture a film and let a portrait perform it, both side by side; the captured Motion, frame by frame."""
    with tally.during("rig"):
        character = load_character(portrait)
    take = open_take(acted, TakeOptions(), tally, pictures=True)
    retarget = Retarget(character, take.performer.neutral, take.moments, RetargetOptions())
    renderer = WarpRenderer(character)
    with VideoWriter(output, 2 * SIDE_PX, SIDE_PX, take.rate, force=force) as writer:
        for motion, seen in take.motions:
            assert seen is not None
            with tally.during("render"):
                (moved,) = retarget.push(motion)
                shot = renderer.render(Cue(time=motion.time, motion=moved))
            with tally.during("encode"):
                writer.write(np.concatenate((seen, shot.rgb), 1), motion.time)
            tally.frames += 1
            tally.faceless += motion.confidence == 0
            yield motion


def columns(video: Path, moments: Sequence[str], side_px: int) -> list[NDArray[np.uint8]]:
    """Moments of a side-by-side video, by name in their order there: one character over the other, each picture square."""
    import cv2

    wanted = [MOMENTS[name] for name in moments]
    found: list[NDArray[np.uint8]] = []
    with VideoReader(video) as reader:
        for frame in reader:
            if len(found) < len(wanted) and frame.time >= Fraction(wanted[len(found)]) - Fraction(1, 60):
                both = np.concatenate((frame.rgb[:, :SIDE_PX], frame.rgb[:, SIDE_PX:]))
                found.append(cv2.resize(both, (side_px, 2 * side_px), interpolation=cv2.INTER_AREA).astype(np.uint8))
    return found


def _contact_sheet(video: Path, output: Path) -> None:
    shown = columns(video, list(MOMENTS), SHEET_PX)
    rows = [np.concatenate(shown[i : i + SHEET_ACROSS], 1) for i in range(0, len(shown), SHEET_ACROSS)]
    save_image(output, np.concatenate(rows), force=True)
