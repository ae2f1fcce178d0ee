"""Commands that make files of files: `act`, `dub`, `visemes`, `capture`, `sync`, `calibrate`, `character`, `demo`; and `doctor`.

Each parses and reports; the work is done by the module it imports when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.commands.options import (
    CameraMoves,
    End,
    EngineOption,
    Face,
    Force,
    Fps,
    Json,
    Language,
    Output,
    Profile,
    Quiet,
    Ratio,
    Start,
    VoiceCommand,
    VoiceName,
    asked_for,
    rate,
    seconds,
)
from synth.wan_animate.options import WanAnimateOptions


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


calibration = typer.Typer(
    name="calibrate", help="Measure once what is used ever after.", no_args_is_help=True, rich_markup_mode=None
)


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


def doctor(json: Json = False) -> None:
    """Tell what this machine can run, and why not what it cannot. Exit status 1 if it cannot run act."""
    from server.doctor import examine, show

    checks = examine()
    show(checks, json=json)
    if not all(check.ok for check in checks if check.needed):
        raise typer.Exit(1)
