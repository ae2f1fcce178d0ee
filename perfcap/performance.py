"""A performance on disk: every Motion of a take, and what is true of the take as a whole.

The file is a plain `.npz` that `numpy.load` reads without pickle: `header` (JSON text), `neutral`
[478, 3] and `frames`, one structured row a Motion (MOTION_ROW), stored uncompressed so that a take
of any length is written and read with bounded memory. Knows nothing of cameras or renderers.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from perfcap.head import Camera
from runtime.errors import InputError
from runtime.records import N_EXPRESSION, N_LANDMARKS, Motion

FORMAT = "understudy performance"
VERSION = 1  # raised when an older program would misread the file

MOTION_ROW = np.dtype(
    [
        ("time", "<i8", (2,)),  # seconds: numerator, denominator
        ("head", "<f4", (4, 4)),
        ("expression", "<f4", (N_EXPRESSION,)),
        ("gaze", "<f4", (2, 2)),
        ("face", "<f4", (N_LANDMARKS, 3)),
        ("confidence", "<f4"),
    ]
)
ROWS_AT_ONCE = 256  # 1.6 MB

# What zipfile and NumPy raise on broken bytes; RuntimeError and its NotImplementedError are zipfile's.
DAMAGE = (KeyError, TypeError, ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, kw_only=True)
class Take:
    """What is true of a whole performance."""

    source: str  # file name of the clip, without its folder
    camera: Camera  # the one `Motion.head` stands in front of
    neutral: NDArray[np.float32]  # [478, 3], the performer's face at rest, in the units of `Motion.face`
    rate: Fraction | None = None  # frames/s the clip says it has; each Motion's own time is what counts


@contextmanager
def appears_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes its name only when the block ends well; otherwise nothing is left behind."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        part.chmod(0o666 & ~_umask())  # mkstemp makes it private
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class PerformanceWriter:
    """Write a take of any length as it happens; rows wait in an unnamed file beside the result.

    The result appears under its name in `finish`, whole; without it nothing is left behind.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._n_frames = 0
        self._n_faceless = 0
        try:
            self._rows = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115
        except OSError as error:
            raise InputError(f"{self._path} cannot be written: {error.strerror}") from error

    def __enter__(self) -> PerformanceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()

    def add(self, motion: Motion) -> None:
        try:
            self._rows.write(_row(motion).tobytes())
        except OSError as error:
            raise InputError(f"{self._path} cannot be written: {error.strerror}") from error
        self._n_frames += 1
        self._n_faceless += motion.confidence <= 0

    def finish(self, take: Take) -> None:
        """Put the file in its place; the take's facts may be known only now."""
        header = {
            "format": FORMAT,
            "version": VERSION,
            "source": take.source,
            "rate": None if take.rate is None else [take.rate.numerator, take.rate.denominator],
            "width": take.camera.width,
            "height": take.camera.height,
            "focal_px": take.camera.focal_px,
            "frames": self._n_frames,
            "faceless": int(self._n_faceless),
        }
        self._rows.seek(0)
        with appears_whole(self._path) as file, zipfile.ZipFile(file, "w") as archive:
            with archive.open("header.npy", "w") as member:
                np.lib.format.write_array(member, np.array(json.dumps(header)), allow_pickle=False)
            with archive.open("neutral.npy", "w") as member:
                np.lib.format.write_array(member, take.neutral.astype("<f4"), allow_pickle=False)
            with archive.open("frames.npy", "w", force_zip64=True) as member:
                shape = {
                    "descr": np.lib.format.dtype_to_descr(MOTION_ROW),
                    "fortran_order": False,
                    "shape": (self._n_frames,),
                }
                np.lib.format.write_array_header_1_0(member, shape)
                shutil.copyfileobj(self._rows, member, ROWS_AT_ONCE * MOTION_ROW.itemsize)
        self._rows.close()


@dataclass(frozen=True, eq=False)
class Performance(Sequence[Motion]):
    """A whole take in memory: a sequence of Motion over one structured array."""

    take: Take
    frames: NDArray[np.void]  # [N] of MOTION_ROW

    @classmethod
    def of(cls, take: Take, motions: Iterable[Motion]) -> Performance:
        rows = [_row(motion) for motion in motions]
        return cls(take, np.array(rows, MOTION_ROW))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Performance:
        """Read a file that `save` or PerformanceWriter wrote. Raises InputError on anything else."""
        with PerformanceReader(path) as reader:
            frames = np.concatenate([np.empty(0, MOTION_ROW), *reader.rows()])
            return cls(reader.take, frames)

    def save(self, path: str | os.PathLike[str]) -> None:
        with PerformanceWriter(path) as writer:
            for motion in self:
                writer.add(motion)
            writer.finish(self.take)

    @property
    def times(self) -> list[Fraction]:  # seconds
        return [Fraction(int(n), int(d)) for n, d in self.frames["time"]]

    @property
    def n_faceless(self) -> int:
        return int((self.frames["confidence"] <= 0).sum())

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> Motion: ...
    @overload
    def __getitem__(self, index: slice) -> Performance: ...
    def __getitem__(self, index: int | slice) -> Motion | Performance:
        if isinstance(index, slice):
            return Performance(self.take, self.frames[index])
        return _motion(self.frames[index])


class PerformanceReader:
    """Read a performance row by row, so that memory does not grow with the take.

    Opening checks that the file is one of ours and yields `take` and the counts; iterating yields Motion.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if self._path.is_dir():
            raise InputError(f"{self._path} is a folder; wanted a performance (.npz)")
        if not self._path.exists():
            raise InputError(f"{self._path} does not exist; wanted a performance (.npz)")
        try:
            self._archive = zipfile.ZipFile(self._path)
        except OSError as error:
            raise InputError(f"{self._path} cannot be read: {error.strerror}") from error
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise InputError(f"{self._path} is damaged or no .npz file; wanted a performance") from error
        try:
            header = self._header()
            self.n_frames = int(header["frames"])
            self.n_faceless = int(header["faceless"])
            self.take = self._take(header)
        except DAMAGE as error:
            self._archive.close()
            if isinstance(error, InputError):
                raise
            raise self._damaged("header", error) from error

    def __enter__(self) -> PerformanceReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    def __len__(self) -> int:
        return self.n_frames

    def __iter__(self) -> Iterator[Motion]:
        for rows in self.rows():
            for row in rows:
                yield _motion(row)

    def rows(self) -> Iterator[NDArray[np.void]]:
        """The frames as arrays of MOTION_ROW, at most ROWS_AT_ONCE long."""
        try:
            with self._archive.open("frames.npy") as member:
                if np.lib.format.read_magic(member) != (1, 0):
                    raise ValueError("the array header is of another version")
                shape, _, dtype = np.lib.format.read_array_header_1_0(member)
                if dtype != MOTION_ROW or shape != (self.n_frames,):
                    raise ValueError(f"frames are {dtype} {shape}")
                left = self.n_frames
                while left:
                    wanted = min(left, ROWS_AT_ONCE) * MOTION_ROW.itemsize
                    raw = member.read(wanted)
                    if len(raw) != wanted:
                        raise EOFError(f"{left} frames are missing")
                    rows = np.frombuffer(bytearray(raw), MOTION_ROW)
                    if (rows["time"][:, 1] <= 0).any():
                        raise ValueError("a frame has no time")
                    left -= len(rows)
                    yield rows
        except DAMAGE as error:
            raise self._damaged("frames", error) from error

    def _header(self) -> dict[str, Any]:
        if "header.npy" not in self._archive.namelist():
            raise InputError(f"{self._path} was not written by understudy: it has no header; wanted a performance")
        header = json.loads(str(self._array("header.npy")[()]))
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise InputError(f"{self._path} was not written by understudy; wanted a performance")
        if not 1 <= int(header["version"]) <= VERSION:
            raise InputError(
                f"{self._path} is a performance of version {header['version']}; this understudy reads up to {VERSION}"
            )
        return header

    def _take(self, header: dict[str, Any]) -> Take:
        neutral = self._array("neutral.npy")
        if neutral.shape != (N_LANDMARKS, 3) or neutral.dtype != np.float32:
            raise ValueError(f"neutral is {neutral.dtype} {neutral.shape}")
        camera = Camera(int(header["width"]), int(header["height"]), float(header["focal_px"]))
        rate = None if header["rate"] is None else Fraction(*map(int, header["rate"]))
        return Take(source=str(header["source"]), camera=camera, neutral=neutral, rate=rate)

    def _array(self, name: str) -> NDArray[Any]:
        with self._archive.open(name) as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            return array

    def _damaged(self, part: str, error: Exception) -> InputError:
        return InputError(f"{self._path} is damaged in its {part} ({error}); wanted a performance")


def _row(motion: Motion) -> NDArray[np.void]:
    return np.array(
        (
            (motion.time.numerator, motion.time.denominator),
            motion.head,
            motion.expression,
            motion.gaze,
            motion.face,
            motion.confidence,
        ),
        MOTION_ROW,
    )


def _motion(row: np.void | NDArray[np.void]) -> Motion:
    return Motion(
        time=Fraction(int(row["time"][0]), int(row["time"][1])),
        head=row["head"],
        expression=row["expression"],
        gaze=row["gaze"],
        face=row["face"],
        confidence=float(row["confidence"]),
    )
