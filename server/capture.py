"""A video's performance into a file, and a performer's range into a profile: the offline drivers of capture.

Motion is written as it is made, so memory does not grow with the clip; what a format needs of the
whole take is read back from disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perfcap.export import export
from perfcap.performance import PerformanceReader, PerformanceWriter
from perfcap.performance import Take as Facts
from runtime.errors import InputError
from runtime.output import check_output, partial_path, write_failure
from runtime.records import Motion
from server.take import Take, TakeOptions, Tally, ahead, open_take

Progress = Callable[[int, int | None], None]

SUFFIXES = (".npz", ".csv", ".bvh", ".glb")


@dataclass(frozen=True, kw_only=True)
class CaptureOptions(TakeOptions):
    force: bool = False  # write over an existing file


def capture(video: Path, output: Path, options: CaptureOptions, progress: Progress) -> Tally:
    """Write the Motion of every frame to .npz, .csv, .bvh or .glb; times are the clip's own."""
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{output} has the suffix {suffix or '(none)'}; wanted one of {', '.join(SUFFIXES)}")
    check_output(output, options.force, made_of=(video, options.profile))
    tally = Tally()
    take = open_take(video, options, tally)
    facts = Facts(source=video.name, camera=take.camera, neutral=take.performer.neutral, rate=take.rate)
    if suffix == ".npz":
        _write(output, facts, _counted(take, tally, progress))
        return tally
    whole = partial_path(output).with_suffix(".npz")
    try:
        _write(whole, facts, _counted(take, tally, progress))
        with tally.during("write"), PerformanceReader(whole) as reader:
            export(reader, output)
    except InputError as error:
        raise InputError(str(error).replace(str(whole), str(output))) from error
    finally:
        whole.unlink(missing_ok=True)
    return tally


def _write(path: Path, facts: Facts, motions: Iterator[Motion]) -> None:
    try:
        with PerformanceWriter(path) as writer:
            for motion in motions:
                writer.add(motion)
            writer.finish(facts)
    except OSError as error:
        raise write_failure(path, error) from error


def calibrate(video: Path, output: Path, options: CaptureOptions, progress: Progress) -> Tally:
    """Measure a performer's resting face and range of motion from a short take."""
    from calibration.performer import measure

    if not output.name.lower().endswith(".json"):
        raise InputError(f"{output} has the suffix {output.suffix or '(none)'}; wanted .profile.json")
    check_output(output, options.force, made_of=(video, options.profile))
    tally = Tally()
    take = open_take(video, options, tally)
    profile = measure(_counted(take, tally, progress), take.performer.neutral, video.name)
    profile.save(output, force=options.force)
    return tally


def _counted(take: Take, tally: Tally, progress: Progress) -> Iterator[Motion]:
    for motion, _ in ahead(take.motions, 4):
        yield motion
        tally.frames += 1
        tally.faceless += motion.confidence == 0
        progress(tally.frames, take.n_frames)
