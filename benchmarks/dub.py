"""Clips dubbed: with their own sound, against themselves; with other sound; and how fast whole commands are.

Scores are read off pixels by `../shared/eval/judge.py`, where a checkout has `../shared`. With its own sound a clip
mostly stays as it was filmed, which says little of the mouths that are made; so it is dubbed once more by a command
that does not compare sounds. The floor is that command with an empty bank: the frame itself, bent.

    python -m benchmarks.dub --seconds 3600        # memory of one length alone, and what of the clip is kept
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from audio import dubbing as dubbing_of_mouths
from audio.bank import Patch
from audio.dubbing import Dubbing
from audio.footage import Footage
from audio.speech import read_speech
from benchmarks.clips import acted
from benchmarks.command import run
from benchmarks.reenact import JUDGE, SHARED
from benchmarks.table import Row, Table, Target
from runtime.image import save_image
from runtime.join import Part, join
from runtime.records import SAMPLE_RATE
from runtime.video import VideoReader
from runtime.writer import VideoWriter
from server.demo import ASTRONAUT
from server.dub import DubOptions, dub

OWN = ("r_jaw", "lag_ms", "lmd_mouth", "psnr_mouth", "over_floor", "psnr_outside", "sharpness", "coverage")
GUESSED = ("r_jaw", "lag_ms", "lmd_mouth", "psnr_mouth", "over_floor", "sharpness", "coverage")
OWN_WANTED = {
    "r_jaw": Target(low=0.60), "lag_ms": Target(-40, 40), "lmd_mouth": Target(high=4.5), "over_floor": Target(low=2),
    "psnr_outside": Target(low=42), "sharpness": Target(0.90, 1.15), "coverage": Target(low=1.0),
}  # fmt: skip
FPS = 25
LENGTHS_S = (60, 600, 3600)
ONCE_S = 60  # of a clip and of its sound; longer ones are these over again


def dubbing(folder: Path) -> list[Table]:
    """Talking clips with their own sound, then with somebody else's."""
    if not JUDGE.exists():
        return []
    clips = sorted((SHARED / "clips" / "talk").glob("*"))
    others = sorted((SHARED / "clips" / "speech").glob("*"))
    own, guessed, other = [], [], []
    for i, clip in enumerate(clips):
        kept = _judged(clip, clip, folder / "own.mp4")
        with mock.patch.object(dubbing_of_mouths, "fitting", _never):
            scores = _judged(clip, clip, folder / "guessed.mp4")
            with mock.patch.object(Dubbing, "patches", _nothing_laid_over):
                floor = _judged(clip, clip, folder / "floor.mp4")["psnr_mouth"]
        own.append(Row(clip.stem, {**kept, "over_floor": kept["psnr_mouth"] - floor}))
        guessed.append(Row(clip.stem, {**scores, "over_floor": scores["psnr_mouth"] - floor}))
        speech = others[i % len(others)]
        scores = _judged(clip, speech, folder / "other.mp4", length="silence")
        shown = {
            "r to the old jaw": scores["r_jaw"],
            "psnr_outside": scores["psnr_outside"],
            "coverage": scores["coverage"],
        }
        other.append(Row(f"{clip.stem} says {speech.stem}", shown))
    return [
        Table("dub", "A clip dubbed with its own sound, against itself", OWN, own, OWN_WANTED, with_mean=True),
        Table(
            "dub", "The same, as if nobody knew that it is its own sound", GUESSED, guessed, OWN_WANTED, with_mean=True
        ),
        Table(
            "dub", "A clip dubbed with other speech", ("r to the old jaw", "psnr_outside", "coverage"), other,
            {"r to the old jaw": Target(high=0.3), "psnr_outside": Target(low=42), "coverage": Target(low=1.0)}, with_mean=True,
        ),
    ]  # fmt: skip


def _never(
    footage: Footage, clip_times: object, own: object, order: NDArray[np.int64], asked: object, gain: object
) -> NDArray[np.float32]:
    return np.zeros(len(order), np.float32)


def _nothing_laid_over(self: Dubbing) -> Iterator[Patch | None]:
    return repeat(None, len(self.wanted))


def _judged(clip: Path, speech: Path, output: Path, length: str | None = None) -> dict[str, float]:
    dub(clip, output, DubOptions(audio=speech, length=length, force=True), lambda *_: None)
    line = [sys.executable, str(JUDGE), "dub", "--original", str(clip), "--output", str(output)]
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    scores: dict[str, float] = json.loads(ran.stdout.splitlines()[-1]) if ran.returncode == 0 else {}
    return scores or {name: float("nan") for name in (*OWN, "psnr_mouth")}


def dub_speed(folder: Path) -> list[Table]:
    """Whole commands, start-up and speech model included, on clips of twenty seconds."""
    rows = []
    for width, height, wanted in ((360, 288, 4.0), (1080, 1920, 1.3)):
        clip = _talking(_tall(folder, width, height))
        ran = run("dub", clip, clip, folder / "dubbed.mp4")
        values = {
            "× real time": ran.fps / FPS,
            "wanted": wanted,
            "first progress s": ran.first_s,
            "peak MB": ran.peak_mb,
        }
        rows.append(Row(f"{width}×{height}", {**values, **{f"{stage} s": s for stage, s in ran.stages.items()}}))
    columns = ("× real time", "wanted", "first progress s", "peak MB", "watch s", "edit s", "encode s")
    wanted_all = {"first progress s": Target(high=3), "peak MB": Target(high=1500)}
    return [Table("dub-speed", "Speed of dubbing, 25 frames a second", columns, rows, wanted_all)]


def _tall(folder: Path, width: int, height: int) -> Path:
    """The demo's portrait, continued in its edges' colours to a size."""
    import cv2

    path = folder / f"tall_{width}x{height}.png"
    if not path.exists():
        side = min(width, height)
        rgb = cv2.resize(ASTRONAUT.load(), (side, side), interpolation=cv2.INTER_CUBIC)
        x, y = width - side, height - side
        save_image(
            path,
            np.asarray(cv2.copyMakeBorder(rgb, y // 2, y - y // 2, x // 2, x - x // 2, cv2.BORDER_REPLICATE), np.uint8),
        )
    return path


def dub_memory(folder: Path, lengths_s: Sequence[int] = LENGTHS_S) -> list[Table]:
    """A small picture's memory by its length, which must not matter. The longest takes half an hour."""
    portrait = _tall(folder, 360, 288)
    rows = []
    for seconds in lengths_s:
        clip, output = _talking(portrait, seconds), folder / "dubbed.mp4"
        ran = run("dub", clip, clip, output)
        label = f"{seconds} s" if seconds % 60 else "1 minute" if seconds == 60 else f"{seconds // 60} minutes"
        rows.append(Row(label, {"peak MB": ran.peak_mb, **_kept(clip, output)}))
    wanted = {
        "peak MB": Target(high=1500),
        "lost": Target(high=0),
        "moved": Target(high=0),
        "sound off ms": Target(-1, 1),
    }
    title = "Memory of dubbing with the length of the clip, 360×288; frames lost, frames at another time, and the sound"
    return [Table("dub-memory", title, ("peak MB", "frames", "lost", "moved", "sound off ms"), rows, wanted)]


def _kept(clip: Path, output: Path) -> dict[str, float]:
    """How many frames of a clip a result of the same length has, how many at other times, and the sounds' difference."""
    was, now = _times(clip), _times(output)
    heard = [sum(len(chunk.pcm) for chunk in read_speech(path)) / SAMPLE_RATE for path in (clip, output)]
    moved = sum(a != b for a, b in zip(was, now, strict=False))
    return {
        "frames": len(now),
        "lost": len(was) - len(now),
        "moved": moved,
        "sound off ms": 1000 * (heard[1] - heard[0]),
    }


def _times(path: Path) -> list[Fraction]:
    """When each frame is shown, seconds."""
    import av

    with av.open(str(path)) as media:
        packets = media.demux(video=0)
        return sorted(p.pts * p.time_base for p in packets if p.pts is not None and p.time_base is not None)


def _talking(portrait: Path, seconds: int = 20) -> Path:
    """A clip at 25 frames a second of a portrait that acts, and is heard to speak."""
    path = portrait.with_name(f"{portrait.stem}_talking_{seconds}.mp4")
    if path.exists():
        return path
    once = min(seconds, ONCE_S)
    silent = portrait.with_name(f"{portrait.stem}_silent_{once}.mp4")
    if not silent.exists():
        acting = acted(portrait, -(-once // 10))
        with VideoReader(acting) as reader, VideoWriter(silent, reader.width, reader.height, Fraction(FPS)) as writer:
            for i, frame in enumerate(islice(reader, once * FPS)):
                writer.write(frame.rgb, Fraction(i, FPS))
    parts = [Part(silent, Fraction(start)) for start in range(0, seconds, once)]
    join(parts, path, sound=_speech(portrait.with_name(f"{path.stem}.wav"), seconds))
    return path


def _speech(path: Path, seconds: int) -> Path:
    """Noise in syllables: what it says does not matter for the time it takes."""
    import wave

    rng = np.random.default_rng(0)
    n = min(seconds, ONCE_S) * SAMPLE_RATE
    t = np.arange(n) / SAMPLE_RATE
    level = np.clip(np.sin(2 * np.pi * 4 * t), 0, 1) * (np.sin(2 * np.pi * t / 3) > -0.5)
    pcm = (level * rng.normal(0, 3000, n)).astype(np.int16)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        for start in range(0, seconds * SAMPLE_RATE, n):
            out.writeframes(pcm[: seconds * SAMPLE_RATE - start].tobytes())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of dubbing clips of some lengths.")
    parser.add_argument("--seconds", type=int, action="append", help="whole minutes, or less than one; may be several")
    given = parser.parse_args()
    lengths = given.seconds or LENGTHS_S
    if any(s < 1 or (s > ONCE_S and s % ONCE_S) for s in lengths):
        parser.error(f"--seconds is {given.seconds}, wanted whole minutes, or less than one")
    with TemporaryDirectory() as folder:
        for table in dub_memory(Path(folder), lengths):
            print(table.text())


if __name__ == "__main__":
    main()
