"""Commands of the network that paints over the warp: `train base`, `turbo` and `character`, and `export`.

Each parses and reports; the work is done by the module it imports when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.commands.options import End, Face, Force, Json, Quiet, Start, asked_for, seconds
from synth.training.options import CHARACTER, TURBO, TrainOptions

training = typer.Typer(
    name="train", help="Train the network of --renderer diffusion.", no_args_is_help=True, rich_markup_mode=None
)

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
    """Train a network from samples. First it learns from guide to frame, then along the bridge between them."""
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
    """Train one that does in a step what its teacher does in several."""
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
    """Train a network further on footage of one character. Acts of that .character use it."""
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
