"""Options that several commands share, and what their words mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from runtime.errors import InputError

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]
Json = Annotated[bool, typer.Option("--json", help="One machine-readable summary line on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Write over an existing output.")]
Face = Annotated[
    str | None, typer.Option(help="Whose face, of several: largest, left, right or a number from the left.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write; the suffix says what kind.")]
Start = Annotated[str | None, typer.Option(help="Begin here in the performance: seconds or minutes:seconds.")]
End = Annotated[str | None, typer.Option(help="Stop here.")]
Profile = Annotated[
    Path | None, typer.Option(help="The performer's range of motion, made by understudy calibrate performer.")
]
Ratio = Annotated[
    str | None,
    typer.Option(
        help="Size of the result, cropped or continued around the character: "
        "1280:720, 720:1280, 960:960, 1104:832, 832:1104 or 1584:672."
    ),
]
CameraMoves = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MOVE",
        help="Move the camera over the take, eased; may be given several times. zoom:1.2 ends 1.2 times as large; "
        "pan:0.1 looks right, tilt:0.1 up, by a tenth of the frame; dolly:0.2 comes nearer by a fifth of the distance; "
        "orbit:10 goes 10 degrees round to the right.",
    ),
]
LiveRenderer = Annotated[
    str, typer.Option(help="What draws the character: warp, or diffusion, which paints over it with a network.")
]
LiveWeights = Annotated[
    str | None,
    typer.Option(help="The network of the diffusion renderer: base, turbo, or a folder that understudy train wrote."),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="What runs the network of --renderer diffusion: torch, compile, onnx, tensorrt, a .onnx or .engine that "
        "understudy export wrote, or auto, the default: the best that understudy doctor finds.",
    ),
]
Fps = Annotated[
    str | None, typer.Option(help="Pictures a second, like 25 or 24000/1001; the actor's own times by default.")
]
Language = Annotated[
    str | None, typer.Option(help="Language of the text or transcript: en-us, de, pt-BR, German; English by default.")
]
VoiceName = Annotated[str | None, typer.Option(help="Who of espeak's voices says the text.")]
VoiceCommand = Annotated[
    str | None,
    typer.Option(help="A program that says the text, given {text} or by stdin, into a sound file {out} or stdout."),
]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.")]
Vmc = Annotated[
    str | None, typer.Option(help="Send the captured motion to a VMC receiver over OSC: HOST or HOST:PORT.")
]
CameraOut = Annotated[
    bool, typer.Option("--virtual-camera", help="Show the character as a camera of this machine, for video calls.")
]


def seconds(text: str | None) -> Fraction | None:
    """`90`, `1:30`, `0:01:30.5` as exact seconds."""
    if text is None:
        return None
    try:
        parts = [Fraction(part) for part in text.split(":")]
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{text!r} is no time; wanted seconds or [hours:]minutes:seconds") from error
    total = Fraction(0)
    for part in parts:
        total = total * 60 + part
    if len(parts) > 3 or total < 0:
        raise InputError(f"{text!r} is no time; wanted seconds or [hours:]minutes:seconds")
    return total


def rate(text: str | None) -> Fraction | None:
    """`25`, `29.97`, `24000/1001` as exact pictures a second."""
    if text is None:
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"--fps is {text!r}; wanted pictures a second, like 25 or 24000/1001") from error


@contextmanager
def asked_for() -> Iterator[None]:
    """An option dataclass that refuses its values refuses what the user asked for."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error)) from error
