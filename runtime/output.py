"""Files that appear under their final name only when whole.

Work goes to a hidden neighbour (`.name.partial-PID.mp4`, same folder, so the rename is one step of
the file system) and takes its name at the end; on any exception the neighbour is removed. This file
knows nothing of what is inside.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from runtime.errors import InputError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def check_output(path: str | Path, force: bool = False, *, made_of: Iterable[Path | None] = ()) -> Path:
    """Say before the work starts whether `path` can be written; raises InputError.

    It is none of the files it is `made_of`, not even by `force`: those would be lost. Where one of them is missing,
    whoever is to read it says so: that helps more than that the result is there already.
    """
    path = Path(path)
    sources = [source for source in made_of if source is not None]
    for source in sources:
        if path.exists() and source.exists() and os.path.samefile(path, source):
            raise InputError(f"{path} is also what it would be made of; wanted another name for the result")
    if path.is_dir():
        raise InputError(f"{path} is a folder; wanted the name of a file to write")
    if not path.parent.exists():
        raise InputError(f"{path} cannot be written: the folder {path.parent} does not exist")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: {path.parent} is not a folder")
    if path.exists() and not force and all(source.exists() for source in sources):
        raise InputError(f"{path} exists; pass --force to write over it")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: the folder {path.parent} is not writable")
    return path


def partial_path(path: Path) -> Path:
    """The hidden neighbour that becomes `path`; it keeps the suffix, by which encoders choose."""
    return path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")


class SystemFailure(Protocol):
    """What an OSError and FFmpeg's errors tell alike."""

    errno: int | None
    strerror: str | None


def write_failure(path: Path, error: SystemFailure) -> InputError:
    """What to tell the user when writing `path` failed; chain it: `raise write_failure(...) from error`."""
    if error.errno in FULL:
        return InputError(f"{path} could not be written: no space left in {path.parent}")
    return InputError(f"{path} could not be written: {error.strerror or error}")


@contextmanager
def whole_file(path: str | Path, force: bool = False) -> Iterator[Path]:
    """Give the hidden neighbour of `path` to write to; it takes its name if the block succeeds."""
    path = check_output(path, force)
    partial = partial_path(path)
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        partial.unlink(missing_ok=True)
