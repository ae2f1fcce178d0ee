"""Built engines on disk, so that the next start takes no building.

A file is a magic line, a line of JSON (whose engine it is, how long, its SHA-256) and the engine. Its name says the
model, shapes, precision and machine, its header says them whole; a file is believed only if every word of both is
what is wanted now. Whatever else lies there is told of, by what is wrong with it, and built anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from runtime.errors import InputError
from runtime.output import whole_file

MAGIC = b"understudy engine 1\n"
LONGEST_HEADER = 4096  # bytes
SUFFIX = ".engine"
FOLDER_VARIABLE = "UNDERSTUDY_ENGINES"

Fault = Literal["foreign", "truncated", "damaged", "wrong", "stale"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Key:
    """All that an engine depends on."""

    model: str  # SHA-256 of the weights and of the code that they run in
    shapes: str  # like 512-1x1-1
    precision: str
    runs_on: str  # cpu, or a GPU's compute capability: sm_89
    gpu: str  # its name; empty where engines are good for every GPU of that capability
    library: str  # like tensorrt_rtx 1.7.0
    builder: str  # what made the model that the library was given, like torch 2.13.0

    @property
    def file(self) -> str:
        """Of every engine for the same end, whatever library builds it and on which of such machines."""
        library = self.library.split()[0]
        return f"{self.model[:12]}-{self.shapes}-{self.precision}-{library}-{self.runs_on}{SUFFIX}"


class CacheError(Exception):
    """A file that is not the engine that is wanted."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault: Fault = fault


def engine_folder() -> Path:
    """Where engines are kept: $UNDERSTUDY_ENGINES, else the user's folder for caches."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy" / "engines"


def cached(key: Key, build: Callable[[], bytes], folder: Path | None = None) -> bytes:
    """The engine of a key, from its file, else built and kept. One that cannot be kept is used all the same."""
    folder = folder or engine_folder()
    path = folder / key.file
    try:
        return read(path, key)
    except FileNotFoundError:
        pass
    except (CacheError, OSError) as error:
        fault = error.fault if isinstance(error, CacheError) else "unreadable"
        _log.warning("%s is built anew: %s (%s)", path, fault, error)
    engine = build()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(path, key, engine)
    except (OSError, InputError) as error:
        _log.warning("the engine is not kept for the next start: %s", error)
    return engine


def write(path: Path, key: Key, engine: bytes) -> None:
    told = {**asdict(key), "length": len(engine), "sha256": hashlib.sha256(engine).hexdigest()}
    with whole_file(path, force=True) as partial:
        partial.write_bytes(MAGIC + json.dumps(told).encode() + b"\n" + engine)


@dataclass(frozen=True)
class Kept:
    """What a file holds."""

    key: Key
    engine: bytes
    sha256: str  # that it should have

    def check(self) -> None:
        if hashlib.sha256(self.engine).hexdigest() != self.sha256:
            raise CacheError("damaged", "its bytes are not those that were written")


def read(path: Path, key: Key) -> bytes:
    """Raises CacheError for a file that is not this engine, OSError where it cannot be read."""
    kept = _read(path)
    for name, wanted in asdict(key).items():
        other = getattr(kept.key, name)
        if other != wanted:
            fault: Fault = "stale" if name in ("library", "builder") else "wrong"
            raise CacheError(fault, f"{name.replace('_', ' ')} {other}, wanted {wanted}")
    kept.check()
    return kept.engine


def read_any(path: Path) -> Kept:
    """Whatever engine a file holds. Raises CacheError for one that holds none whole, OSError where it cannot be read."""
    kept = _read(path)
    kept.check()
    return kept


def _read(path: Path) -> Kept:
    found = path.read_bytes()
    if not found.startswith(MAGIC):
        if MAGIC.startswith(found):
            raise CacheError("truncated", f"it ends after {len(found)} bytes")
        raise CacheError("foreign", "no engine of ours")
    end = found.find(b"\n", len(MAGIC), len(MAGIC) + LONGEST_HEADER)
    if end < 0:
        raise CacheError("truncated", f"it ends after {len(found)} bytes, in its header")
    try:
        told = json.loads(found[len(MAGIC) : end])
        length, digest = int(told["length"]), str(told["sha256"])
        theirs = Key(**{field.name: str(told[field.name]) for field in fields(Key)})
    except (ValueError, KeyError, TypeError) as error:
        raise CacheError("damaged", "its header cannot be read") from error
    engine = found[end + 1 :]
    if len(engine) < length:
        raise CacheError("truncated", f"{len(engine)} bytes of {length} are there")
    return Kept(theirs, engine, digest)
