"""Characters on disk: the rig of one picture, whole, so that it performs exactly as made from the picture.

The file is an `.npz` that `numpy.load` reads without pickle: `header` (JSON text), every array of
the Character by its name, and `reference_N_rgb`, `reference_N_landmarks` for further pictures of it.
"""

from __future__ import annotations

import dataclasses
import json
import typing
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.performance import DAMAGE, appears_whole
from runtime.errors import InputError
from runtime.output import check_output
from runtime.records import N_LANDMARKS
from synth.rig import Character

SUFFIX = ".character"
FORMAT = "understudy character"
VERSION = 1  # raised when an older program would misread the file

_ARRAYS = tuple(field.name for field in dataclasses.fields(Character) if field.name != "references")
_DTYPES = {"rgb": "u1", "person": "u1", "behind": "u1"}  # of [H, W, 3]; all others are float32


def check(path: str | Path, force: bool = False) -> Path:
    """Say before the work starts whether a character can be written there; raises InputError."""
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path} has the suffix {path.suffix or '(none)'}; wanted {SUFFIX}")
    return check_output(path, force)


def save(character: Character, path: str | Path, *, source: str, force: bool = False) -> None:
    """Write a character; the file appears only when whole. `source` is the picture's file name."""
    path = check(path, force)
    H, W = character.rgb.shape[:2]
    header = {
        "format": FORMAT, "version": VERSION, "source": source, "width": W, "height": H,
        "references": len(character.references),
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {name: getattr(character, name) for name in _ARRAYS}
    for i, (rgb, landmarks) in enumerate(character.references):
        arrays |= {f"reference_{i}_rgb": rgb, f"reference_{i}_landmarks": landmarks}
    with (
        appears_whole(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name, array in {"header": np.array(json.dumps(header)), **arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load(path: str | Path) -> Character:
    """Read what `save` wrote. Raises InputError on anything else."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; wanted a character ({SUFFIX})")
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted a character ({SUFFIX})")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; wanted a character")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    except InputError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} is a damaged character or none at all ({reason}); wanted one made by understudy character"
        ) from error


def _read(archive: zipfile.ZipFile, path: Path) -> Character:
    def array(name: str) -> NDArray[Any]:
        with archive.open(f"{name}.npy") as member:
            return typing.cast(NDArray[Any], np.lib.format.read_array(member, allow_pickle=False))

    if "header.npy" not in archive.namelist():
        raise InputError(f"{path} was not written by understudy character: it has no header; wanted a character")
    header = json.loads(str(array("header")[()]))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path} was not written by understudy character; wanted a character")
    if header["version"] != VERSION:
        raise InputError(f"{path} is a character of version {header['version']}; this understudy reads {VERSION}")
    H, W = int(header["height"]), int(header["width"])
    shapes = {"landmarks": (N_LANDMARKS, 3), "neutral": (N_LANDMARKS, 3), "alpha": (H, W)}
    arrays = {}
    for name in _ARRAYS:
        arrays[name] = array(name)
        dtype = np.dtype(_DTYPES.get(name, "<f4"))
        shape = (H, W, 3) if name in _DTYPES else shapes.get(name, arrays[name].shape)
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}, wanted {dtype} {shape}")
    references = []
    for i in range(int(header["references"])):
        rgb, landmarks = array(f"reference_{i}_rgb"), array(f"reference_{i}_landmarks")
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or landmarks.shape != (N_LANDMARKS, 3):
            raise ValueError(f"reference {i} is {rgb.dtype} {rgb.shape} with landmarks {landmarks.shape}")
        references.append((rgb, landmarks))
    return Character(**arrays, references=tuple(references))
