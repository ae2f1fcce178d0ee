"""Pictures and saved characters to a Character ready to perform. Clips are told apart, for `server.moving`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

import synth.character
from perfcap.capture import Chooser
from perfcap.expression import template
from perfcap.face import FaceMesh, MediaPipeFaces
from runtime.errors import InputError
from runtime.image import load_image
from runtime.output import check_output
from server.take import N_CROWD, Tally
from synth.framing import frame, reframe
from synth.rig import Character, rig

OWN_WEIGHTS = ".weights"
RIVAL = 0.25  # of the largest face: one at least so large might be the character as well


def load_character(path: Path, face: str | None = None, ratio: str | None = None) -> Character:
    """The rig of a picture, made now, or a saved one. `face` chooses in a picture of several; `ratio` frames it."""
    if path.suffix.lower() == synth.character.SUFFIX:
        saved = synth.character.load(path)
        if face is not None:
            raise InputError(f"{path} is one face's already; wanted a picture for --character-face {face}")
        return saved if ratio is None else reframe(saved, ratio)
    rgb, mesh = _portrait(path, face)
    if ratio is not None:
        framed = frame(rgb, mesh.landmarks, ratio)
        rgb, mesh = framed.rgb, FaceMesh(framed.landmarks)
    return rig(rgb, mesh, template())


def is_clip(path: Path) -> bool:
    """Whether a file that is to be a character is moving pictures. What cannot be opened is none."""
    try:
        with av.open(f"file:{path}", metadata_errors="ignore") as media:
            name = media.format.name
            if name.endswith("_pipe") or name in ("image2", "tty") or not media.streams.video:
                return False
            packets = (packet for packet in media.demux(media.streams.video[0]) if packet.size)
            return sum(1 for _, _ in zip(packets, range(2), strict=False)) == 2
    except (av.FFmpegError, OSError, ValueError):
        return False


def save_character(picture: Path, output: Path, references: Sequence[Path], face: str | None, force: bool) -> Tally:
    """Make a picture's rig and save it, with further pictures of the same character."""
    synth.character.check(output, force)
    check_output(output, force, made_of=(picture, *references))
    tally = Tally()
    with tally.during("rig"):
        character = load_character(picture, face)
        shown = []
        for path in references:
            rgb, mesh = _portrait(path, face)
            shown.append((rgb, mesh.landmarks))
    with tally.during("write"):
        synth.character.save(replace(character, references=tuple(shown)), output, source=picture.name, force=force)
    return tally


def own_weights(character: Path) -> Path:
    """The folder beside a .character where a network trained for it is, if one was."""
    return character.with_suffix(OWN_WEIGHTS)


def _portrait(path: Path, face: str | None) -> tuple[NDArray[np.uint8], FaceMesh]:
    """A picture [H, W, 3] and the face meant in it."""
    choose = Chooser(face or "largest")
    rgb = load_image(path)
    with closing(MediaPipeFaces(still=True, n_faces=N_CROWD)) as finder:
        faces = sorted(finder.find_all(rgb, RIVAL), key=lambda f: -f.size)
    if not faces:
        raise InputError(f"{path} shows no face; wanted one at least 64 px wide")
    rivals = sum(f.size > RIVAL * faces[0].size for f in faces)
    if face is None and rivals > 1:
        raise InputError(
            f"{path} shows {rivals} faces; wanted one, or a choice: --character-face (character takes --face) "
            "largest, left, right or a number from the left"
        )
    chosen = choose(faces)
    if chosen is None:
        raise InputError(f"{path} shows {len(faces)} faces; wanted --face 1 to {len(faces)}, not {face}")
    return rgb, chosen
