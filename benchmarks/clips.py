"""Clips made on the spot, so that a benchmark needs nothing but this repository."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perfcap.written import RATE, demonstration
from runtime.image import save_image
from runtime.video import VideoReader
from runtime.writer import VideoWriter, WriteOptions
from server.demo import ASTRONAUT, film


def square(folder: Path) -> Path:
    """A portrait, 512 x 512."""
    path = folder / "square.png"
    if not path.exists():
        save_image(path, ASTRONAUT.load())
    return path


def wide(folder: Path) -> Path:
    """The same portrait as 1280 x 720: enlarged, its sides continued in their mean colours."""
    import cv2

    path = folder / "wide.png"
    if not path.exists():
        tall = cv2.resize(ASTRONAUT.load(), (720, 720), interpolation=cv2.INTER_CUBIC)
        left, right = (np.repeat(cv2.blur(side, (1, 41)), 280, 1) for side in (tall[:, :1], tall[:, -1:]))
        save_image(path, np.concatenate((left, tall, right), 1))
    return path


def acted(portrait: Path, n_times: int = 2) -> Path:
    """A clip of a portrait acting the ten seconds of the demonstration over and over."""
    once = portrait.with_suffix(".mp4")
    if not once.exists():
        film(portrait, demonstration(), once, lambda *_: None)
    if n_times == 1:
        return once
    path = portrait.with_name(f"{portrait.stem}_{n_times}.mp4")
    if not path.exists():
        with VideoReader(once) as reader:
            width, height, n = reader.width, reader.height, 0
        with VideoWriter(path, width, height, RATE) as writer:
            for _ in range(n_times):
                for rgb in pictures(once):
                    writer.write(rgb, n / RATE)
                    n += 1
    return path


def pictures(path: Path) -> Iterator[NDArray[np.uint8]]:
    with VideoReader(path) as reader:
        for frame in reader:
            yield frame.rgb


def first_frames(clip: Path, n: int, folder: Path) -> tuple[Path, Path]:
    """The clip's first frame as a picture, and its first `n` frames as a clip, without loss."""
    picture, cut = folder / f"{clip.stem}.png", folder / f"{clip.stem}.mp4"
    if not cut.exists():
        with (
            VideoReader(clip) as reader,
            VideoWriter(cut, reader.width, reader.height, reader.rate, options=WriteOptions(crf=0)) as writer,
        ):
            begin: Fraction | None = None
            for i, frame in enumerate(reader):
                if i == n:
                    break
                if begin is None:
                    begin = frame.time
                    save_image(picture, frame.rgb, force=True)
                writer.write(frame.rgb, frame.time - begin)
    return picture, cut
