"""What one performer's face does at rest and at most, measured once from a short take, and used ever after.

A profile is readable JSON: the resting face, how far each coefficient goes from there, and the gap
between the lids when open and shut. `ToRange` gives later takes that range: an expression at the
performer's own most reads as 1, and lids that are shut close. What the calibration take did not show
is left as measured. Nothing here knows of pixels or of who will be driven.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.expression import basis
from perfcap.landmarks import LEFT_LID_LOWER, LEFT_LID_UPPER, RIGHT_LID_LOWER, RIGHT_LID_UPPER
from runtime.errors import InputError
from runtime.output import whole_file
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, N_EXPRESSION, N_LANDMARKS, Motion

Floats = NDArray[np.float32]

FORMAT = "understudy performer profile"
VERSION = 1  # raised when an older program would misread the file

HELD_S = 0.2  # shown for so long in all, an expression counts as the performer's most
BLINK_S = 0.1  # the same for lids, which shut only for a moment
REST_QUANTILE = 0.1  # of a coefficient over the take: what it reads when the face does nothing
MOST_REST = 0.3  # a take that never rests does not make an expression vanish
SHOWN = (0.05, 0.15)  # a coefficient whose most is below the first was not shown; above the second, surely
MOST_GAIN = 2.5  # a take that holds back must not make later ones shout
CLOSED_FROM = 0.6  # of the way from open to shut: lids this near to shut are closing, not looking down
SHUT_UNITS = 0.018  # gap between lids that every later stage takes for shut, in outer-eye-corner distances

# The irises, not the range, tell where eyes look; no landmark shows the tongue.
_RANGED = np.array([not name.startswith("eyeLook") and name != "tongueOut" for name in ARKIT_NAMES])
# How far a jaw opens is seen on any face as it is; told stronger, clenched teeth would part.
_STRETCHED = _RANGED & np.array([name != "jawOpen" for name in ARKIT_NAMES])
_BLINKS = np.array([name.startswith("eyeBlink") for name in ARKIT_NAMES])
_LIDS = {"Left": (LEFT_LID_UPPER, LEFT_LID_LOWER), "Right": (RIGHT_LID_UPPER, RIGHT_LID_LOWER)}


@dataclass(frozen=True, kw_only=True)
class Lids:
    """Gaps between one eye's lids at its widest place, units."""

    shut: float
    open: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PerformerProfile:
    source: str  # file name of the calibration take
    n_frames: int  # with a face in them
    neutral: Floats  # [478, 3] pose-free, outer eye corners 1 apart
    low: Floats  # [52] what each coefficient reads at rest
    high: Floats  # [52] at the performer's most
    left: Lids | None  # None: the take shows no shut eye
    right: Lids | None

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write as JSON; the file appears only when whole."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "source": self.source,
            "frames": self.n_frames,
            "range": {
                name: [round(float(self.low[i]), 4), round(float(self.high[i]), 4)] for name, i in ARKIT_INDEX.items()
            },
            "lids": {
                side: None if lids is None else {"shut": round(lids.shut, 5), "open": round(lids.open, 5)}
                for side, lids in (("left", self.left), ("right", self.right))
            },
            "neutral": [[round(float(v), 6) for v in point] for point in self.neutral],
        }
        with whole_file(path, force) as partial:
            partial.write_text(_readable(document), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> PerformerProfile:
        """Read what `save` wrote. Raises InputError on anything else."""
        path = Path(path)
        if path.is_dir():
            raise InputError(f"{path} is a folder; wanted a performer profile (.profile.json)")
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist; wanted a performer profile (.profile.json)") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"{path} holds no JSON; wanted a performer profile") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InputError(f"{path} was not written by understudy calibrate performer; wanted a performer profile")
        if document.get("version") != VERSION:
            raise InputError(
                f"{path} is a profile of version {document.get('version')}; this understudy reads {VERSION}"
            )
        try:
            return cls._from(document)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is a damaged performer profile ({error}); wanted a whole one") from error

    @classmethod
    def _from(cls, document: dict[str, Any]) -> PerformerProfile:
        neutral = np.array(document["neutral"], np.float32)
        limits = np.array([document["range"][name] for name in ARKIT_NAMES], np.float32)
        if neutral.shape != (N_LANDMARKS, 3):
            raise ValueError(f"neutral is {neutral.shape}, wanted {(N_LANDMARKS, 3)}")
        if limits.shape != (N_EXPRESSION, 2) or not (np.isfinite(limits).all() and np.isfinite(neutral).all()):
            raise ValueError("range is not two numbers a coefficient")
        if (limits < 0).any() or (limits > 1).any() or (limits[:, 0] > limits[:, 1]).any():
            raise ValueError("a range is not 0 <= rest <= most <= 1")
        lids = {}
        for side in ("left", "right"):
            found = document["lids"][side]
            lids[side] = None if found is None else Lids(shut=float(found["shut"]), open=float(found["open"]))
            if lids[side] is not None and not 0 <= found["shut"] < found["open"]:
                raise ValueError(f"the {side} eye's lids are not 0 <= shut < open")
        return cls(
            source=str(document["source"]),
            n_frames=int(document["frames"]),
            neutral=neutral,
            low=limits[:, 0],
            high=limits[:, 1],
            left=lids["left"],
            right=lids["right"],
        )

    @property
    def gain(self) -> Floats:
        """[52] what each coefficient's way from rest is multiplied by; 1 where the take did not show it.

        Left and right share the stronger side's, so that a lopsided smile stays one.
        """
        most = np.maximum(self.high, _other_side(self.high))
        rest = np.minimum(self.low, _other_side(self.low))
        full = np.clip(1 / np.maximum(most - rest, 1e-3), 1, MOST_GAIN)
        t = np.clip((most - rest - SHOWN[0]) / (SHOWN[1] - SHOWN[0]), 0, 1)
        return np.where(_STRETCHED, 1 + (full - 1) * t * t * (3 - 2 * t), 1).astype(np.float32)


def measure(motions: Iterable[Motion], neutral: Floats, source: str) -> PerformerProfile:
    """The profile of a take's Motion, measured against `neutral` [478, 3]. Raises InputError without a face in it."""
    expressions: list[Floats] = []
    gaps: list[tuple[float, float]] = []
    times: list[Fraction] = []
    for motion in motions:
        if motion.confidence <= 0:
            continue
        expressions.append(motion.expression)
        gaps.append((gap_of(motion.face, "Left"), gap_of(motion.face, "Right")))
        times.append(motion.time)
    if not expressions:
        raise InputError(f"{source} shows no face in any frame; wanted a performer's")
    span = float(times[-1] - times[0])
    per_second = (len(times) - 1) / span if span > 0 else 1.0
    told = np.sort(np.stack(expressions), axis=0)
    n_held, n_blink = (max(2, round(s * per_second)) for s in (HELD_S, BLINK_S))
    high = np.where(_BLINKS, told[-min(n_blink, len(told))], told[-min(n_held, len(told))])
    low = np.minimum(np.quantile(told, REST_QUANTILE, axis=0), np.minimum(MOST_REST, high))
    lids = [_lids(np.array(eye), n_blink) for eye in zip(*gaps, strict=True)]
    return PerformerProfile(
        source=source,
        n_frames=len(times),
        neutral=neutral.astype(np.float32),
        low=np.where(_RANGED, low, 0).astype(np.float32),
        high=np.where(_RANGED, high, 1).astype(np.float32),
        left=lids[0],
        right=lids[1],
    )


class ToRange:
    """Stage: Motion as measured -> Motion in the performer's own range. Frames without a face pass as they are held."""

    def __init__(self, profile: PerformerProfile) -> None:
        self._profile = profile
        self._gain = profile.gain
        # Lids are closed by their gap, below: what the mean blink does to a face would come on top.
        self._basis = np.where(_BLINKS[:, None, None], 0, basis()).astype(np.float32)

    def push(self, item: Motion) -> list[Motion]:
        return [self(item)]

    def flush(self) -> list[Motion]:
        return []

    def __call__(self, motion: Motion) -> Motion:
        profile = self._profile
        away = np.maximum(motion.expression - np.where(_RANGED, profile.low, 0), 0)
        expression = np.clip(away * self._gain, 0, 1).astype(np.float32)
        # What the coefficient gains, the face gains; its own resting offset is part of its shape.
        added = np.where(_RANGED, np.maximum(expression - away, 0), 0).astype(np.float32)
        face = motion.face + np.tensordot(added, self._basis, 1)
        for side, lids in (("Left", profile.left), ("Right", profile.right)):
            if lids is None:
                continue
            gap = gap_of(motion.face, side)
            shut = (lids.open - gap) / (lids.open - lids.shut)
            blink = ARKIT_INDEX[f"eyeBlink{side}"]
            expression[blink] = max(float(expression[blink]), min(1.0, (shut - CLOSED_FROM) / (1 - CLOSED_FROM)))
            _set_gap(face, side, gap_in_range(gap, lids))
        return replace(motion, expression=expression, face=face.astype(np.float32))


def gap_of(face: Floats, side: str) -> float:
    """The gap between an eye's lids at its widest place, units, of a pose-free face [478, 3]."""
    upper, lower = (list(row[1:-1]) for row in _LIDS[side])
    return float(max((face[lower, 1] - face[upper, 1]).max(), 0.0))


def gap_in_range(gap: float, lids: Lids) -> float:
    """The gap that later stages understand: at the performer's own shut, shut; from open on, as measured."""
    if gap >= lids.open or lids.shut <= SHUT_UNITS:
        return gap
    return max(0.0, SHUT_UNITS + (gap - lids.shut) * (lids.open - SHUT_UNITS) / (lids.open - lids.shut))


def _set_gap(face: Floats, side: str, wanted: float) -> None:
    """Move the upper lid of a face [478, 3], in place, so that the gap becomes `wanted`."""
    upper, lower = (list(row[1:-1]) for row in _LIDS[side])
    gap = gap_of(face, side)
    if gap > 0:
        face[upper, 1] = face[lower, 1] - (face[lower, 1] - face[upper, 1]) * np.float32(wanted / gap)


def _lids(gaps: NDArray[np.floating[Any]], n_shut: int) -> Lids | None:
    """From one eye's gaps [N] over a take; None if it never shuts in it."""
    opened = float(np.quantile(gaps, 0.75))
    shut = float(np.sort(gaps)[min(n_shut, len(gaps)) - 1])
    return Lids(shut=shut, open=opened) if 0 <= shut < 0.5 * opened and math.isfinite(opened) else None


def _other_side(values: Floats) -> Floats:
    """[52] with left and right of what has sides exchanged; the rest as it is."""
    out = values.copy()
    for name, i in ARKIT_INDEX.items():
        if name.endswith("Left") and f"{name[:-4]}Right" in ARKIT_INDEX and name not in ("jawLeft", "mouthLeft"):
            j = ARKIT_INDEX[f"{name[:-4]}Right"]
            out[i], out[j] = values[j], values[i]
    return out


def _readable(document: dict[str, Any]) -> str:
    """JSON with a line for every name and point."""

    def lines(value: Any, indent: str) -> str:
        if isinstance(value, dict):
            inner = ",\n".join(f"{indent}  {json.dumps(k)}: {lines(v, indent + '  ')}" for k, v in value.items())
            return f"{{\n{inner}\n{indent}}}"
        if isinstance(value, list) and value and isinstance(value[0], list):
            return "[\n" + ",\n".join(f"{indent}  {json.dumps(v)}" for v in value) + f"\n{indent}]"
        return json.dumps(value)

    return lines(document, "") + "\n"
