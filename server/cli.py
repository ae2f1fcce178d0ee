"""The command line: `understudy act`, `dub`, `visemes`, `capture`, `calibrate`, `character`, `train`, `demo`, `doctor`.

Parses, reports and exits; the work is done by the modules it imports when a command runs, so that
`--help` answers at once. An `InputError` becomes one sentence on stderr and exit status 2.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Timer
from typing import Annotated

import typer

from runtime.errors import InputError
from synth.training.options import CHARACTER, TURBO, TrainOptions
from synth.wan_animate.options import WanAnimateOptions

app = typer.Typer(
    name="understudy",
    help="Performance characters and lip-sync: an actor's video drives any character image.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
calibration = typer.Typer(
    name="calibrate", help="Measure once what is used ever after.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(calibration)
keys = typer.Typer(
    name="keys", help="Keys that let clients of the service in.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(keys)

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


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"understudy {version('understudy')}")
        raise typer.Exit


@app.callback()
def understudy(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Performance characters and lip-sync: an actor's video drives any character image."""


@app.command()
def act(
    character: Annotated[
        Path,
        typer.Argument(
            metavar="CHARACTER",
            help="Picture of the character, a saved .character, or a clip, whose mouth alone follows.",
        ),
    ],
    performance: Annotated[Path, typer.Argument(metavar="PERFORMANCE", help="Video of the actor, or a captured .npz.")],
    output: Output,
    intensity: Annotated[
        float, typer.Option(help="1 to 5, how strongly the character shows what the actor does; 3 = as acted.")
    ] = 3.0,
    face: Face = None,
    character_face: Annotated[
        str | None, typer.Option(help="Who of several in the picture acts: largest, left, right or a number.")
    ] = None,
    sound: Annotated[
        Path | None,
        typer.Option(help="Sound of the result, instead of the video's: a sound file, or a video with sound."),
    ] = None,
    profile: Profile = None,
    start: Start = None,
    end: End = None,
    body: Annotated[bool, typer.Option("--body", help="Let the shoulders follow the actor's too.")] = False,
    ratio: Ratio = None,
    camera: CameraMoves = None,
    fps: Fps = None,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Show the actor on the left.")] = False,
    renderer: Annotated[
        str,
        typer.Option(
            help="What draws the character: warp; diffusion, which paints over it with a network; or wan-animate, which "
            "makes whole pictures with weights of your own and needs a large GPU."
        ),
    ] = "warp",
    weights: Annotated[
        str | None,
        typer.Option(
            help="The network of --renderer diffusion: base, turbo, or a folder that understudy train wrote. Of "
            "--renderer wan-animate: the folder of Wan2.2-Animate-14B-Diffusers."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="How often --renderer diffusion or wan-animate paints each frame over; its own number by default."
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help=f'wan-animate: what is to be seen, in words; "{WanAnimateOptions.prompt}" by default.'),
    ] = None,
    segment: Annotated[
        int | None,
        typer.Option(
            help="wan-animate: frames made together, one more than a multiple of 4; fewer need less memory; "
            f"{WanAnimateOptions.segment} by default."
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(help="wan-animate: frames of the segment before that each begins with: 1, the default, or 5."),
    ] = None,
    area: Annotated[
        int | None,
        typer.Option(help=f"wan-animate: pixels of the model's own pictures; {WanAnimateOptions.area_px} by default."),
    ] = None,
    offload: Annotated[
        str | None,
        typer.Option(help="wan-animate: what waits in main memory, not on the GPU: none, model or group (of layers)."),
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(help="wan-animate: how weights are kept: none, fp8, int8 or nf4 (those two with bitsandbytes)."),
    ] = None,
    engine: EngineOption = None,
    seed: Annotated[int, typer.Option(help="For renderers that draw from noise; the warp is always the same.")] = 0,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Render the character performing what the actor performs."""
    from server.act import ActOptions
    from server.act import act as render
    from server.report import Report

    with asked_for():
        options = ActOptions(
            intensity=intensity, face=face, character_face=character_face, sound=sound, profile=profile, start=seconds(start), end=seconds(end),
            body=body, ratio=ratio, camera=tuple(camera or ()), fps=rate(fps), side_by_side=side_by_side, renderer=renderer, weights=weights, steps=steps, seed=seed, force=force,
            prompt=prompt, segment=segment, overlap=overlap, area=area, offload=offload, quantize=quantize, engine=engine,
        )  # fmt: skip
    with Report("act", quiet=quiet, json=json) as report:
        report.done(output, render(character, performance, output, options, report.progress))


@app.command()
def dub(
    clip: Annotated[
        Path, typer.Argument(metavar="CLIP", help="Clip of somebody, or a picture of them, or a saved .character.")
    ],
    output: Output,
    audio: Annotated[Path | None, typer.Option(help="What is to be said: a sound file, or a video with sound.")] = None,
    text: Annotated[str | None, typer.Option(help="What is to be said, by a voice.")] = None,
    voice: VoiceName = None,
    language: Language = None,
    voice_command: VoiceCommand = None,
    transcript: Annotated[
        str | None, typer.Option(help="What is said in the audio, or a text file of it: lips close more exactly.")
    ] = None,
    face: Annotated[
        str | None,
        typer.Option(
            help="Whose mouth: all, largest, left, right or a number from the left; by default whoever speaks in the clip."
        ),
    ] = None,
    length: Annotated[
        str | None,
        typer.Option(
            help="Where speech and clip differ: as long as the speech, the clip going there and back (bounce, the "
            "default), over again (loop), staying at its end (hold) or played slower or faster (stretch); as long as the "
            "clip (silence); as long as the shorter (cut)."
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Dub only from here in the clip on: seconds or minutes:seconds.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Dub only until here; the rest keeps its own sound.")] = None,
    segments: Annotated[
        Path | None,
        typer.Option(
            help='Dub only parts: a .json list of {"start": 1.5, "end": 4, "audio": "a.wav" or "text": "..."}.'
        ),
    ] = None,
    crf: Annotated[int, typer.Option(help="Quality of the picture, 0 without loss to 51.")] = 15,
    still: Annotated[bool, typer.Option("--still", help="Of a picture, move the lips alone.")] = False,
    seed: Annotated[int, typer.Option(help="Of a picture's blinks, glances and nods.")] = 0,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Let a clip or a picture say something else. All else stays as it is."""
    from server.dub import DubOptions
    from server.dub import dub as speak
    from server.report import Report

    with asked_for():
        options = DubOptions(
            audio=audio, text=text, voice=voice, language=language, voice_command=voice_command, transcript=transcript,
            face=face, length=length, start=seconds(start), end=seconds(end), segments=segments,
            crf=crf, still=still, seed=seed, force=force,
        )  # fmt: skip
    with Report("dub", quiet=quiet, json=json) as report:
        report.done(output, speak(clip, output, options, report.progress))


@app.command()
def visemes(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .json, .tsv or .xml of cues, .csv of curves.")
    ],
    speech: Annotated[
        Path | None, typer.Argument(metavar="SPEECH", help="Recording of speech, or a video with sound.")
    ] = None,
    transcript: Annotated[
        str | None, typer.Option(help="What is said in it, or a text file of it: times are more exact.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="What a voice shall say, instead of a recording; its sound goes beside the output."),
    ] = None,
    language: Language = None,
    voice: VoiceName = None,
    voice_command: VoiceCommand = None,
    shapes: Annotated[
        str | None,
        typer.Option(
            help="rhubarb: Rhubarb Lip Sync's A to H and X; oculus: the 15 of Oculus; arkit: 52 curves, in a .csv. "
            "By default rhubarb, and arkit for a .csv."
        ),
    ] = None,
    extended_shapes: Annotated[str, typer.Option(help="Which of Rhubarb's shapes G, H and X are drawn.")] = "GHX",
    fps: Annotated[str, typer.Option(help="Rows a second of curves.")] = "60",
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write a speech's mouth shapes for animators, cues or curves."""
    from server.report import Report
    from server.visemes import VisemeOptions
    from server.visemes import visemes as write

    with asked_for():
        options = VisemeOptions(
            shapes=shapes, extended=extended_shapes, fps=rate(fps) or VisemeOptions.fps, transcript=transcript, text=text,  # type: ignore[arg-type]
            language=language, voice=voice, voice_command=voice_command, force=force,
        )  # fmt: skip
    with Report("visemes", quiet=quiet, json=json) as report:
        report.done(output, write(speech, output, options, report.progress))


@app.command()
def capture(
    video: Annotated[
        Path, typer.Argument(metavar="VIDEO", help="Video of the actor, or a captured .npz to write as another kind.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .npz, .csv (Live Link Face), .bvh or .glb.")
    ],
    face: Face = None,
    profile: Profile = None,
    start: Start = None,
    end: End = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure the actor's performance, frame by frame, into a file."""
    from server.capture import CaptureOptions
    from server.capture import capture as measure
    from server.report import Report

    with asked_for():
        options = CaptureOptions(face=face, profile=profile, start=seconds(start), end=seconds(end), force=force)
    with Report("capture", quiet=quiet, json=json) as report:
        report.done(output, measure(video, output, options, report.progress))


@app.command()
def sync(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="Video of somebody who talks, with its sound.")],
    fix: Annotated[bool, typer.Option("--fix", help="Write the clip with its sound moved to its lips.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --fix, the clip to write: .mp4, .mov, .mkv or .webm.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Measure from here on: seconds or minutes:seconds.")] = None,
    end: Annotated[str | None, typer.Option(help="Measure until here.")] = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure how far sound and lips of a clip are apart. --fix puts it right."""
    from server.report import Report
    from server.sync import SyncOptions, as_json, in_words
    from server.sync import sync as measure

    with asked_for():
        options = SyncOptions(start=seconds(start), end=seconds(end), fix=fix, output=output, force=force)
    with Report("sync", quiet=quiet, json=json) as report:
        found = measure(clip, options, report.progress)
    print(as_json(clip, found, output) if json else in_words(clip, found, output))


@calibration.command()
def performer(
    clip: Annotated[
        Path,
        typer.Argument(metavar="CLIP", help="Short video of the performer: at rest, then each expression at its most."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: NAME.profile.json.")],
    face: Face = None,
    start: Start = None,
    end: End = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure a performer's resting face and range of motion."""
    from server.capture import CaptureOptions, calibrate
    from server.report import Report

    with asked_for():
        options = CaptureOptions(face=face, start=seconds(start), end=seconds(end), force=force)
    with Report("calibrate", quiet=quiet, json=json) as report:
        report.done(output, calibrate(clip, output, options, report.progress))


@calibration.callback()
def calibrate() -> None:
    """Measure once what is used ever after."""


@app.command()
def character(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="Picture of the character.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: NAME.character.")],
    references: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PICTURE...",
            help="More pictures of the same person, whose teeth are taken from these. The diffusion renderer looks at three.",
        ),
    ] = None,
    face: Face = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Save a picture made ready to perform. Acts with it start sooner."""
    from server.character import save_character
    from server.report import Report

    with Report("character", quiet=quiet, json=json) as report:
        report.done(output, save_character(picture, output, references or [], face, force))


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Video to write; a contact sheet goes beside it, as .png.")
    ] = Path("out/demo.mp4"),
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Show the whole job on two portraits. One acts what was written in code, the other what a capture saw of that."""
    from server.demo import demo as perform
    from server.demo import sheet_path
    from server.report import Report

    with Report("demo", quiet=quiet, json=json) as report:
        loop = perform(output, force, report.progress)
        report.done(output, loop.tally)
    if not quiet and not json:
        came_back = ", ".join(f"{name} {curve.r:.2f}" for name, curve in loop.agreement().items())
        print(f"{sheet_path(output)}: contact sheet")
        print(f"what was captured follows what was written (Pearson r): {came_back}")


training = typer.Typer(
    name="train", help="Train the network of --renderer diffusion.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(training)

Samples = Annotated[
    Path, typer.Argument(metavar="SAMPLES", help="Folder of samples, made by python -m synth.training.people.")
]
RunFolder = Annotated[
    Path,
    typer.Option("--output", "-o", help="Folder of the run, which can be rendered with; one that is there goes on."),
]
Weights = Annotated[str | None, typer.Option(help="Begin with these: base, turbo, or a folder; base by default.")]
Steps = Annotated[int, typer.Option(help="Steps of learning.")]
BatchSize = Annotated[int, typer.Option(help="Windows shown a step.")]
Window = Annotated[int, typer.Option(help="Pixels of the samples across a window that is shown.")]
FramesShown = Annotated[int, typer.Option(help="Of a sample that are shown, one after the other; 0 shows all.")]
ReferencesShown = Annotated[
    int, typer.Option(help="Pictures of a person that are shown at most; 0 teaches to do without.")
]
Nearest = Annotated[
    float, typer.Option(help="Share of the samples that are shown: those whose guides are least wrong.")
]
Still = Annotated[float, typer.Option(help="Share of the windows that show the picture unmoved: nothing to paint.")]
Hue = Annotated[
    str, typer.Option(help="Whose the insides of mouths have: truth, or warp where those made are too grey.")
]
Rate = Annotated[float, typer.Option(help="Of learning, at most.")]
TrainSeed = Annotated[int, typer.Option(help="The same seed ends in the same network.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Threads = Annotated[int | None, typer.Option(help="Cores of a CPU to take; all by default.")]
Precision = Annotated[str, typer.Option(help="float32 or bfloat16.")]
Every = Annotated[int, typer.Option(help="Steps between what is saved, scored and shown.")]
Minutes = Annotated[float | None, typer.Option(help="Stop after so long; the same command goes on.")]


@training.callback()
def train() -> None:
    """Train the network of --renderer diffusion."""


@training.command()
def base(
    samples: Samples,
    output: RunFolder,
    weights: Annotated[
        str | None, typer.Option(help="Begin with these: base, turbo, or a folder; with nothing by default.")
    ] = None,
    steps: Steps = TrainOptions.steps,
    batch: BatchSize = TrainOptions.batch,
    window: Window = TrainOptions.window,
    side: Annotated[
        int, typer.Option(help="Of the square around a face that the network works at.")
    ] = TrainOptions.side,
    zoom: Annotated[
        int, typer.Option(help="How many times as large the samples' square is; more than 1 teaches close-ups.")
    ] = TrainOptions.zoom,
    elsewhere: Annotated[
        float, typer.Option(help="0 to 1, how much may be changed outside mouth and eyes.")
    ] = TrainOptions.elsewhere,
    eyes: Annotated[float, typer.Option(help="0 to 1, how much may be changed at the eyes.")] = TrainOptions.eyes,
    frames: FramesShown = TrainOptions.frames,
    references: ReferencesShown = TrainOptions.references,
    nearest: Nearest = TrainOptions.nearest,
    still: Still = TrainOptions.still,
    hue: Hue = TrainOptions.hue,
    regress: Annotated[
        float, typer.Option(help="Share of the steps before it learns to paint in four steps.")
    ] = TrainOptions.regress,
    rate: Rate = TrainOptions.rate,
    seed: TrainSeed = TrainOptions.seed,
    device: Device = TrainOptions.device,
    threads: Threads = TrainOptions.threads,
    precision: Precision = TrainOptions.precision,
    every: Every = TrainOptions.every,
    minutes: Minutes = TrainOptions.minutes,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a network from samples: first from guide to frame, then along the bridge between them."""
    from server.report import Report
    from server.train import train_base

    with asked_for():
        options = TrainOptions(
            steps=steps, batch=batch, window=window, side=side, zoom=zoom, elsewhere=elsewhere, eyes=eyes, frames=frames,
            references=references, nearest=nearest, still=still, hue=hue,  # type: ignore[arg-type]
            regress=regress, rate=rate, seed=seed, device=device, threads=threads, precision=precision, every=every, minutes=minutes,  # type: ignore[arg-type]
        )  # fmt: skip
    with Report("train", quiet=quiet, json=json) as report:
        report.done(output, train_base(samples, output, weights, options, report.progress))


@training.command()
def turbo(
    samples: Samples,
    output: RunFolder,
    teacher: Annotated[
        str | None, typer.Option(help="Who teaches: base, or the folder of a run; base by default.")
    ] = None,
    steps: Steps = TURBO.steps,
    batch: BatchSize = TURBO.batch,
    window: Window = TURBO.window,
    frames: FramesShown = TURBO.frames,
    references: ReferencesShown = TURBO.references,
    nearest: Nearest = TURBO.nearest,
    still: Still = TURBO.still,
    hue: Hue = TURBO.hue,
    rate: Rate = TURBO.rate,
    seed: TrainSeed = TURBO.seed,
    device: Device = TURBO.device,
    threads: Threads = TURBO.threads,
    precision: Precision = TURBO.precision,
    every: Every = TURBO.every,
    minutes: Minutes = TURBO.minutes,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a network that does in one step what its teacher does in several."""
    from server.report import Report
    from server.train import train_turbo

    with asked_for():
        options = TrainOptions(
            steps=steps, batch=batch, window=window, frames=frames, references=references, nearest=nearest, still=still, hue=hue,  # type: ignore[arg-type]
            rate=rate, seed=seed, device=device, threads=threads, precision=precision, every=every, minutes=minutes,  # type: ignore[arg-type]
        )  # fmt: skip
    with Report("train", quiet=quiet, json=json) as report:
        report.done(output, train_turbo(samples, output, teacher, options, report.progress))


@training.command("character")
def train_character(
    clip: Annotated[
        Path,
        typer.Argument(metavar="CLIP", help="Video of the character, your own, and with the leave of who is in it."),
    ],
    character: Annotated[Path, typer.Option(help="The saved .character; the weights are saved beside it.")],
    i_have_the_rights: Annotated[
        bool, typer.Option("--i-have-the-rights", help="You may train on this footage, and who is in it has agreed.")
    ] = False,
    weights: Weights = None,
    face: Face = None,
    start: Start = None,
    end: End = None,
    steps: Steps = CHARACTER.steps,
    batch: BatchSize = CHARACTER.batch,
    window: Window = CHARACTER.window,
    rate: Rate = CHARACTER.rate,
    seed: TrainSeed = CHARACTER.seed,
    device: Device = CHARACTER.device,
    threads: Threads = CHARACTER.threads,
    precision: Precision = CHARACTER.precision,
    every: Every = CHARACTER.every,
    minutes: Minutes = CHARACTER.minutes,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a network further on footage of one character; act uses it for that .character."""
    from server.character import own_weights
    from server.report import Report
    from server.take import TakeOptions
    from server.train import Footage
    from server.train import train_character as train_on

    with asked_for():
        take = TakeOptions(face=face, start=seconds(start), end=seconds(end))
        footage = Footage(clip=clip, character=character, have_the_rights=i_have_the_rights, take=take)
        options = TrainOptions(
            steps=steps, batch=batch, window=window, rate=rate, seed=seed, device=device,
            threads=threads, precision=precision, every=every, minutes=minutes,  # type: ignore[arg-type]
        )  # fmt: skip
    with Report("train", quiet=quiet, json=json) as report:
        report.done(own_weights(character), train_on(footage, weights, options, report.progress))


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write into.")],
    model: Annotated[str | None, typer.Option(help="The packaged network to write: base or turbo.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Or a network of your own: a folder that understudy train wrote.")
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="Or one of --model's kind that was never trained, to time and to try."),
    ] = False,
    to: Annotated[
        str, typer.Option(help="What for: onnx, for ONNX Runtime and others, or tensorrt, engines for NVIDIA GPUs.")
    ] = "onnx",
    precision: Annotated[
        str, typer.Option(help="Numbers it computes in: fp32, fp16, int8 or fp8; the last for tensorrt alone.")
    ] = "fp32",
    frames: Annotated[int, typer.Option(help="Frames painted at once.")] = 1,
    references: Annotated[
        int, typer.Option(help="Pictures of the character it looks at: 1, and one for each --references it has.")
    ] = 1,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Compute capability that a TensorRT engine is for, like sm_89; may be given several times. None needs "
            "to be here. sm_86, sm_89 and sm_120 by default.",
        ),
    ] = None,
    character: Annotated[
        Path | None, typer.Option(help="Who performs what it is tried on and int8 is fitted to; the demo's by default.")
    ] = None,
    performance: Annotated[Path | None, typer.Option(help="What they perform: a video, or a captured .npz.")] = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write the network of --renderer diffusion for other runtimes. What is written is compared with torch."""
    from server.export import ExportOptions
    from server.export import export as write
    from server.report import Report

    with asked_for():
        options = ExportOptions(
            model=model, weights=weights, random_weights=random_weights, to=to, precision=precision,  # type: ignore[arg-type]
            frames=frames, references=references, gpus=tuple(gpu or ()), character=character,
            performance=performance, force=force,
        )  # fmt: skip
    with Report("export", quiet=quiet, json=json) as report:
        report.done(output, write(output, options, report.progress))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Port = 8765,
    data: Annotated[Path, typer.Option(help="Folder that characters, uploads, tasks and outputs are kept in.")] = Path(
        "understudy-data"
    ),
    workers: Annotated[int, typer.Option(help="Tasks worked on at once; 0 only takes them.")] = 1,
    executor: Annotated[
        str, typer.Option(help="Who works on tasks: local, processes of this machine; or ray, a cluster.")
    ] = "local",
    database: Annotated[
        str | None, typer.Option(help="Keep tasks in PostgreSQL, by URL, instead of SQLite in the data folder.")
    ] = None,
    tariff: Annotated[Path | None, typer.Option(help="A .toml of prices, tiers and limits of your own.")] = None,
    public_url: Annotated[
        str | None, typer.Option(help="What clients reach the server by, where a proxy stands before it.")
    ] = None,
    trust_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="A host of your own network that inputs and webhooks may be at; may be repeated."
        ),
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A page elsewhere that may connect; may be repeated.")
    ] = None,
    vmc: Vmc = None,
    vtube_studio: Annotated[
        bool, typer.Option("--vtube-studio", help="Send the captured motion to VTube Studio on this machine.")
    ] = False,
    virtual_camera: CameraOut = False,
    voice_command: Annotated[
        str | None, typer.Option(help="A program that says the texts a client sends, as for understudy dub.")
    ] = None,
    renderer: LiveRenderer = "warp",
    weights: LiveWeights = None,
    engine: EngineOption = None,
    log: Annotated[str, typer.Option(help="How to tell what happens, on stderr: text or json.")] = "text",
    quiet: Quiet = False,
) -> None:
    """Perform live in a browser, and work on what clients send. It is studio page, stream and HTTP service in one."""
    from server.serve import ServeOptions
    from server.serve import serve as run_server

    with asked_for():
        options = ServeOptions(
            host=host, port=port, data=data, origins=tuple(origin or ()), log=log,  # type: ignore[arg-type]
            vmc=vmc, vtube_studio=vtube_studio, virtual_camera=virtual_camera, voice_command=voice_command,
            renderer=renderer, weights=weights, engine=engine, workers=workers, executor=executor,  # type: ignore[arg-type]
            database=database, tariff=tariff, public_url=public_url, trusted_hosts=tuple(trust_host or ()),
        )  # fmt: skip
    run_server(options, quiet=quiet)


@app.command()
def live(
    character: Annotated[
        str, typer.Option(help="Picture of the character, a saved .character, or astronaut, the demo's.")
    ],
    camera: Annotated[str, typer.Option(help="Number of a camera, or a video that plays over and over.")] = "0",
    port: Port = 8765,
    intensity: Annotated[float, typer.Option(help="1 to 5, how strongly the character shows what is acted.")] = 3.0,
    mirror: Annotated[bool, typer.Option("--mirror", help="Your left is the character's right.")] = False,
    renderer: LiveRenderer = "warp",
    weights: LiveWeights = None,
    engine: EngineOption = None,
    vmc: Vmc = None,
    virtual_camera: CameraOut = False,
    quiet: Quiet = False,
) -> None:
    """Perform live with a camera of this machine. A browser or OBS shows the character."""
    from server.camera import LiveOptions
    from server.camera import live as perform

    with asked_for():
        options = LiveOptions(
            character=character, camera=camera, port=port, intensity=intensity, mirror=mirror, vmc=vmc,
            virtual_camera=virtual_camera, renderer=renderer, weights=weights, engine=engine,  # type: ignore[arg-type]
        )  # fmt: skip
    perform(options, quiet=quiet)


@app.command()
def batch(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST",
            help="Rows of act, dub and capture jobs, a .csv or .jsonl. Columns: command, output, the command's arguments (character and performance, clip, video) and options.",
        ),
    ],
    workers: Annotated[int, typer.Option(help="Rows worked on at once.")] = 1,
    report: Annotated[
        Path | None, typer.Option(help="What became of each row: a .csv or .json; MANIFEST.report.csv by default.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Work on every row of a manifest. The same command again goes on where it was stopped."""
    from server.jobs.batch import BatchOptions
    from server.jobs.batch import batch as work
    from server.report import Rows

    with asked_for():
        options = BatchOptions(workers=workers, report=report, force=force)
    with Rows("batch", quiet=quiet, json=json) as rows:
        outcome = work(manifest, options, rows.progress, rows.refuse)
        rows.done(outcome.report, [(line.line, line.failure) for line in outcome.lines])
    if outcome.n_failed:
        raise typer.Exit(1)


DataFolder = Annotated[Path, typer.Option(help="The server's data folder.")]
DatabaseUrl = Annotated[str | None, typer.Option(help="The server's --database, where it has one.")]
TariffFile = Annotated[Path | None, typer.Option(help="The server's --tariff, where it has one.")]


@keys.command("create")
def create_key(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose account it opens; a new one where there is none of that name.")
    ],
    tier: Annotated[str, typer.Option(help="What the account may do; one of the tariff's tiers.")] = "free",
    credits: Annotated[int, typer.Option(help="Credits to add to the account.")] = 0,
    data: DataFolder = Path("understudy-data"),
    database: DatabaseUrl = None,
    tariff: TariffFile = None,
    json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    from server.jobs.desk import create

    create(data, database, tariff, name, tier, credits, json=json)


@keys.command("list")
def list_keys(
    data: DataFolder = Path("understudy-data"),
    database: DatabaseUrl = None,
    tariff: TariffFile = None,
    json: Json = False,
) -> None:
    """Tell which keys there are, whose, and how many credits are left."""
    from server.jobs.desk import show

    show(data, database, tariff, json=json)


@keys.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as listed: the 16 digits after key_.")],
    data: DataFolder = Path("understudy-data"),
    database: DatabaseUrl = None,
    tariff: TariffFile = None,
) -> None:
    """Let nobody in with a key any more."""
    from server.jobs.desk import revoke

    revoke(data, database, tariff, id)


@keys.callback()
def keys_of_clients() -> None:
    """Keys that let clients of the service in."""


@app.command()
def doctor(json: Json = False) -> None:
    """Tell what this machine can run, and why not what it cannot. Exit status 1 if it cannot run act."""
    from server.doctor import examine, show

    checks = examine()
    show(checks, json=json)
    if not all(check.ok for check in checks if check.needed):
        raise typer.Exit(1)


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status; an input that cannot be used ends it with one sentence and 2."""
    try:
        status = app(_spread(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
        return status if isinstance(status, int) else 0
    except InputError as error:
        return _say(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", 130)
    except BrokenPipeError:  # whoever read the output has gone; there is nobody to tell
        sys.stdout = None
        return 1
    except Exception as error:  # click's own errors: a command line that cannot be parsed
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # by its name: where it is defined has moved before
            print(error.format_message(), file=sys.stderr)
            return 2
        said = error.format_message().rstrip(".")
        see = " See" if said.endswith("?") else "; see"
        return _say(f"{said}{see} {_command_of(error)} --help", 2)


def _command_of(error: Exception) -> str:
    """The command whose line could not be parsed, like `understudy calibrate performer`."""
    names: list[str] = []
    context = getattr(error, "ctx", None)
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(["understudy", *names])


def _spread(arguments: list[str]) -> list[str]:
    """`PICTURE --references a b` as `PICTURE --references a --references b`, which the parser takes."""
    flag = "--references"
    if arguments[:1] != ["character"] or flag not in arguments:
        return arguments
    at = arguments.index(flag) + 2
    if arguments[1:2] == [flag]:  # the picture comes last, as the only one without the flag
        return arguments
    until = next((i for i in range(at, len(arguments)) if arguments[i].startswith("-")), len(arguments))
    more = [part for name in arguments[at:until] for part in (flag, name)]
    return [*arguments[:at], *more, *arguments[until:]]


def _say(text: str, status: int) -> int:
    sentence = " ".join(text.split()).rstrip(".")
    print(f"understudy: {sentence}", file=sys.stderr)
    return status


def spare_pools() -> None:
    """Before numpy is loaded: our matrices are small, and waking a pool for one costs more than it saves."""
    for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(pool, "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a network's threads yield a busy machine instead of spinning


def main() -> None:
    """The process: quiet native libraries, stop cleanly when told to, exit with the command's status."""
    from server.chatter import quiet_natives

    def stop(*_: object) -> None:
        raise SystemExit(143)

    def tell_again(lost: sys.UnraisableHookArgs) -> None:
        # A signal that arrives inside a finalizer or weak-reference callback is printed and forgotten by Python.
        signals = {SystemExit: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}
        if lost.exc_type in signals:
            Timer(0.02, os.kill, (os.getpid(), signals[lost.exc_type])).start()
        else:
            sys.__unraisablehook__(lost)

    spare_pools()
    signal.signal(signal.SIGTERM, stop)
    sys.unraisablehook = tell_again
    quiet_natives()
    sys.exit(run())


if __name__ == "__main__":
    main()
