"""Videos of one encoder, one after another, as if they had been encoded at once: their packets are copied.

Made for parts of one take that were rendered beside each other. Each begins with a key frame, so nothing in
one part leans on another, and nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from runtime.errors import InputError
from runtime.output import whole_file
from runtime.sound import inspect_sound
from runtime.writer import KINDS, WriteOptions, open_output, with_sound


@dataclass(frozen=True)
class Part:
    path: Path  # an H.264 file of `runtime.writer.VideoWriter`, without sound
    start: Fraction  # seconds of the whole, where its time 0 is


def join(
    parts: Sequence[Part],
    output: Path,
    *,
    sound: Path | None = None,
    sound_start: Fraction = Fraction(0),
    force: bool = False,
) -> None:
    """Write the parts in a row, with the sound of a file of which `sound_start` sounds at 0.

    Raises InputError where they cannot be in one stream.
    """
    kind = KINDS[output.suffix.lower()]
    assert kind.encoder == "libx264", "only parts of H.264 are joined"
    track = None if sound is None else inspect_sound(sound)
    with whole_file(output, force) as partial, av.open(f"file:{parts[0].path}") as first:
        template: Any = first.streams.video[0]
        ticks: Fraction = template.time_base
        with open_output(partial, kind.container, ticks, last=True) as whole:
            if track is None:
                picture = whole.add_stream_from_template(template, opaque=True)
                for packet in _packets(parts, template):
                    packet.stream = picture
                    whole.mux_one(packet)
            else:
                end = _end(parts[-1])
                kbps = WriteOptions.sound_kbps
                with_sound(whole, template, _packets(parts, template), track, sound_start, end, kind, kbps)


def _packets(parts: Sequence[Part], template: Any) -> Iterator[Any]:
    """Every packet, at its time in the whole."""
    for part in parts:
        with av.open(f"file:{part.path}") as container:
            stream: Any = container.streams.video[0]
            found = stream.codec_context.extradata, stream.time_base
            if found != (template.codec_context.extradata, template.time_base):
                raise InputError(f"{part.path} was encoded otherwise than the parts before it; wanted them alike")
            shift = round(part.start / stream.time_base)
            for packet in container.demux(stream):
                if packet.size:
                    packet.pts += shift
                    packet.dts += shift
                    yield packet


def _end(part: Part) -> Fraction:
    """When the last picture of a part ends, seconds of the whole."""
    last = Fraction(0)
    with av.open(f"file:{part.path}") as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size and packet.pts is not None and packet.time_base is not None:
                last = max(last, (packet.pts + (packet.duration or 0)) * packet.time_base)
    return part.start + last
