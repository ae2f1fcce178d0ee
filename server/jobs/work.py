"""One order carried out: what runs in a task's own process, whoever started it.

It knows nothing of stores, leases or limits. What a client sent is called by its part in the order, never by
where it lies, in whatever is said of it.
"""

from __future__ import annotations

import os
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.video import VideoReader
from server.act import act
from server.capture import capture
from server.dub import dub
from server.jobs.attempt import Done, Progress
from server.jobs.orders import ActOrder, DubOrder, Order
from server.take import Tally


def carry_out(order: Order, folder: Path, progress: Progress) -> Done:
    """Do what is ordered, into a file in `folder` that appears only when whole. Raises InputError."""
    output = folder / f"output{order.suffix}"
    output.unlink(missing_ok=True)  # of this same attempt, begun anew
    try:
        tally, seconds = _carry_out(order, output, progress)
    except InputError as error:
        raise InputError(_in_parts(str(error), order, output)) from error
    lasting(output)
    notes = tuple(_in_parts(note, order, output) for note in tally.notes)
    return Done(output=output.name, seconds=float(seconds), frames=tally.frames, faceless=tally.faceless, notes=notes)


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


def _in_parts(text: str, order: Order, output: Path) -> str:
    for path, part in {**dict(_parts(order)), output: "the result"}.items():
        text = text.replace(str(path), part)
    return text


def _parts(record: Any) -> list[tuple[Path, str]]:
    """Files of an order, and what each is in it."""
    out: list[tuple[Path, str]] = []
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Path):
            out.append((value, f"the {field.name}"))
        elif hasattr(value, "__dataclass_fields__"):
            out += _parts(value)
    return out
