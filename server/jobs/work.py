"""One order carried out: what runs in a task's own process, whoever started it.

It knows nothing of stores, leases or limits. What a client sent is called by its part in the order, never by
where it lies, in whatever is said of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from runtime.errors import InputError
from runtime.video import VideoReader
from server.act import act
from server.capture import capture
from server.dub import dub
from server.jobs.attempt import Done, Progress
from server.jobs.orders import ActOrder, DubOrder, Order, from_text, inside, parts_of
from server.take import Tally


def carry_out(text: str, data: Path, folder: Path, progress: Progress) -> Done:
    """Do what an order's text says, with its files in `data`, into a file in `folder` that appears only when whole.

    Raises InputError.
    """
    order = inside(from_text(text), data)
    output = folder / f"output{order.suffix}"
    names = {**parts_by_path(text, data), str(output): "the output"}
    with in_the_clients_words(names):
        tally, seconds = _carry_out(order, output, progress)
    lasting(output)
    notes = tuple(_called(note, names) for note in tally.notes)
    return Done(output=output.name, seconds=float(seconds), frames=tally.frames, faceless=tally.faceless, notes=notes)


def parts_by_path(text: str, data: Path) -> dict[str, str]:
    """What the files are called that a client sent: by their part in the order. A file of this machine keeps its name."""
    return {str(data / path): f"the {part}" for path, part in parts_of(from_text(text)) if not path.is_absolute()}


@contextmanager
def in_the_clients_words(names: Mapping[str, str]) -> Iterator[None]:
    """An InputError from inside tells of no path in the data folder."""
    try:
        yield
    except InputError as error:
        raise InputError(_called(str(error), names)) from error


def _called(text: str, names: Mapping[str, str]) -> str:
    for path, name in names.items():
        text = text.replace(path, name)
    return text


def _carry_out(order: Order, output: Path, progress: Progress) -> tuple[Tally, Fraction]:
    if isinstance(order, ActOrder):
        tally = act(order.character, order.performance, output, order.options, progress)
        return tally, length_of(output)
    if isinstance(order, DubOrder):
        tally = dub(order.clip, output, order.options, progress)
        return tally, length_of(output)
    tally = capture(order.video, output, order.options, progress)
    with VideoReader(order.video) as reader:
        return tally, tally.frames / reader.rate


def length_of(video: Path) -> Fraction:
    """Seconds."""
    with VideoReader(video) as reader:
        return reader.duration or Fraction(reader.n_frames or 0) / reader.rate


def lasting(path: Path) -> None:
    """Make sure that a file that is whole stays so if the power goes."""
    for each in (path, path.parent):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
