"""What an uploaded file is, found out by a process that may fail: it has limits and nothing to lose.

`probe` starts this file as a child, which opens the contents (names and suffixes are not believed), decodes one
picture or one piece of sound, and reads through the rest without decoding. Only kinds named here are opened:
others can point at further files. What the child says is taken; if it dies, the file is refused.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from runtime.errors import InputError
from runtime.foreign import seems

ROOT = Path(__file__).parents[2]
SOUND_AND_PICTURES = {  # FFmpeg's name -> the suffix we keep such files under
    "mov": ".mp4", "matroska": ".mkv", "avi": ".avi", "mpegts": ".ts", "mpeg": ".mpg", "flv": ".flv", "gif": ".gif",
    "ogg": ".ogg", "wav": ".wav", "w64": ".w64", "mp3": ".mp3", "flac": ".flac", "aac": ".aac", "aiff": ".aiff", "caf": ".caf",
}  # fmt: skip
STILLS = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WEBP": ".webp",
    "GIF": ".gif",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "AVIF": ".avif",
    "MPO": ".jpg",
}
Kind = Literal["image", "video", "audio"]


@dataclass(frozen=True, kw_only=True)
class ProbeLimits:
    pixels: int = 8192 * 8192  # of a still
    frame_pixels: int = 4096 * 4096  # of a video
    seconds: float = 4 * 3600.0
    memory_mb: int = 2048  # of the child
    cpu_s: int = 30
    wall_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Media:
    kind: Kind
    suffix: str
    seconds: float  # of its longest stream; 0 of a still
    width: int  # 0 of sound
    height: int
    has_sound: bool


def probe(path: Path, limits: ProbeLimits, called: str) -> Media:
    """What a file holds; raises InputError, which names it as it is `called`."""
    command = [sys.executable, "-m", "server.api.probe", str(path.absolute()), json.dumps(asdict(limits))]
    try:
        ran = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=limits.wall_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{called} takes longer than {limits.wall_s:g} s to look at; wanted a simpler file") from error
    if ran.returncode != 0:
        raise InputError(f"{called} cannot be decoded within the limits of a file; wanted a picture, video or sound")
    answer = json.loads(ran.stdout)
    if "refused" in answer:
        raise InputError(f"{called} {answer['refused']}")
    return Media(**answer)


class RefusedError(Exception):
    """Said after the file's name."""


def confine(limits: ProbeLimits, written_bytes: int, n_files: int) -> None:
    """Hold this process to its limits from here on, which it cannot lift again, and let live sessions go first."""
    os.nice(10)
    for what, most in (
        (resource.RLIMIT_AS, limits.memory_mb << 20), (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, written_bytes), (resource.RLIMIT_NOFILE, n_files), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard),) * 2)


def _look(path: Path, limits: ProbeLimits) -> Media:
    found_still = still(path, limits)
    if found_still is not None:
        return found_still
    if (found := seems(path)) is not None:
        raise RefusedError(f"{found}; wanted a picture, video or sound")
    return _moving(path, limits)


def still(path: Path, limits: ProbeLimits) -> Media | None:
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # ours is checked below, before anything is decoded
    try:
        image = Image.open(path, formats=[name for name in STILLS if name != "MPO"])
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None
    with image:
        width, height = image.size
        if width * height > limits.pixels:
            raise RefusedError(f"has {width}x{height} pixels; wanted at most {limits.pixels}")
        if getattr(image, "n_frames", 1) > 1 and image.format == "GIF":
            return None
        try:
            image.load()
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise RefusedError(f"is a damaged {image.format} picture; wanted a whole one") from error
        suffix = STILLS[image.format or ""]
        return Media(kind="image", suffix=suffix, seconds=0.0, width=width, height=height, has_sound=False)


def _moving(path: Path, limits: ProbeLimits) -> Media:
    import av

    options = {"format_whitelist": ",".join(SOUND_AND_PICTURES), "protocol_whitelist": "file"}
    try:
        media = av.open(f"file:{path}", options=options, metadata_errors="ignore")
    except (av.FFmpegError, OSError) as error:
        raise RefusedError("holds no media that can be read; wanted a picture, video or sound") from error
    with media:
        suffix = SOUND_AND_PICTURES.get(media.format.name.partition(",")[0])
        if suffix is None:
            raise RefusedError(f"is {media.format.long_name}; wanted a common kind of picture, video or sound")
        pictures, sound = media.streams.best("video"), media.streams.best("audio")
        stream = pictures or sound
        if stream is None:
            raise RefusedError("holds neither pictures nor sound; wanted one of them")
        width, height = (pictures.width, pictures.height) if pictures is not None else (0, 0)
        if width * height > limits.frame_pixels:
            raise RefusedError(f"has {width}x{height} pixels; wanted at most {limits.frame_pixels} a frame")
        try:
            if next(media.decode(stream), None) is None:
                raise RefusedError("holds nothing that can be decoded; wanted a whole file")
            media.seek(0)
            seconds = _length(media, stream, limits)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise RefusedError("is damaged; wanted a whole file") from error
        kind: Kind = "audio" if pictures is None else "video"
        return Media(
            kind=kind, suffix=suffix, seconds=seconds, width=width, height=height, has_sound=sound is not None
        )  # fmt: skip


def _length(media: Any, stream: Any, limits: ProbeLimits) -> float:
    """Seconds from the first packet to the end of the last, as they are, not as the header says."""
    first: float | None = None
    last = 0.0
    for packet in media.demux(stream):
        if packet.pts is None:
            continue
        begin = float(packet.pts * packet.time_base)
        first = begin if first is None else min(first, begin)
        last = max(last, begin + float((packet.duration or 0) * packet.time_base))
        if last - first > limits.seconds:
            raise RefusedError(f"lasts longer than {limits.seconds:g} s; wanted at most that")
    if first is None:
        raise RefusedError("does not say when its pictures are shown; wanted a file that does")
    return last - first


def _answer(path: Path, limits: ProbeLimits) -> dict[str, Any]:
    try:
        return asdict(_look(path, limits))
    except RefusedError as refusal:
        return {"refused": str(refusal)}


if __name__ == "__main__":
    _limits = ProbeLimits(**json.loads(sys.argv[2]))
    confine(_limits, 0, 32)
    sys.stdout.write(json.dumps(_answer(Path(sys.argv[1]), _limits)))
