"""From a face free of pose to ARKit's 52 coefficients, and from many faces to the performer's neutral.

The network is small, runs in numpy and was fitted to renders of a 3-D face seen through the real
detector (`perfcap.training.expression`; docs/weights.md). A face and its mirror image get mirrored
answers, exactly. Eye directions come from the irises, not from the network. tongueOut is always 0:
the landmarks do not show it. Nothing here knows of pixels, poses or time.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.head import OUTER_EYE_LEFT, OUTER_EYE_RIGHT, STABLE, similarity
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, N_EXPRESSION, N_LANDMARKS

Floats = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights" / "expression.npz"

# An eye turned this far from straight ahead is fully in, out, up or down (coefficient 1).
LOOK_YAW, LOOK_PITCH = 0.6, 0.45  # radians

HISTORY = 512  # moments whose coefficients are remembered
CALM = 1.0  # sum of coefficients at which a moment's say falls to 1 / e
REST_QUANTILE = 0.2  # of a coefficient over time: how the face is when it does nothing
REST_AFTER = 20  # moments until that quantile is half believed

_STABLE = np.array(sorted({*STABLE, 356}))  # 356 is 127's other side: a mirrored face must align alike
_LOOKS = np.array([name.startswith("eyeLook") for name in ARKIT_NAMES])
_OTHER_SIDE = np.array(
    [
        ARKIT_INDEX[
            name.replace("Left", "*").replace("Right", "Left").replace("*", "Right")  # jawLeft and jawRight too
        ]
        for name in ARKIT_NAMES
    ]
)


def look(gaze: Floats) -> Floats:
    """Coefficients [52], zero but for the eight eyeLook ones, of a gaze [2, 2].

    Gaze is the performer's left, then right eye; yaw towards the right of a frontal picture, pitch
    down, radians. In is towards the nose: the left eye looks in when its yaw is negative.
    """
    out = np.zeros(N_EXPRESSION, np.float32)
    for side, nose_is_at, (yaw, pitch) in (("Left", -1, gaze[0]), ("Right", 1, gaze[1])):
        inwards, down = nose_is_at * yaw / LOOK_YAW, pitch / LOOK_PITCH
        for name, value in (("In", inwards), ("Out", -inwards), ("Down", down), ("Up", -down)):
            out[ARKIT_INDEX[f"eyeLook{name}{side}"]] = min(max(value, 0.0), 1.0)
    return out


@functools.cache
def weights(path: Path = WEIGHTS) -> dict[str, NDArray[Any]]:
    """What was fitted, by name, floats as float32. Raises ValueError if the file is not ours."""
    with np.load(path, allow_pickle=False) as data:
        if "template" not in data.files or data["template"].shape != (N_LANDMARKS, 3):
            raise ValueError(f"{path} has no template of {N_LANDMARKS} points; wanted the expression weights")
        return {n: data[n].astype(np.float32) if data[n].dtype.kind == "f" else data[n] for n in data.files}


def template(path: Path = WEIGHTS) -> Floats:
    """The mean neutral face [478, 3]: head's frame, origin between the outer eye corners, those 1 apart."""
    return np.asarray(weights(path)["template"]).copy()


def basis(path: Path = WEIGHTS) -> Floats:
    """What each coefficient at 1 does to a pose-free face on average [52, 478, 3], as the detector sees it."""
    return np.asarray(weights(path)["basis"])


def mirror(face: Floats, path: Path = WEIGHTS) -> Floats:
    """The face [478, 3] in a mirror, its landmarks renumbered so that the left eye is a left eye again."""
    return mirrored_by(face, weights(path)["mirror"])


def mirrored_by(faces: Floats, partner: NDArray[Any]) -> Floats:
    """Faces [..., 478, 3] mirrored, where `partner` [478] names the landmark on the other side."""
    return np.asarray(faces[..., partner, :] * np.array((-1, 1, 1), np.float32))


def mirror_expression(expression: Floats) -> Floats:
    """Coefficients [..., 52] with left and right exchanged."""
    return np.asarray(expression[..., _OTHER_SIDE])


def align(face: Floats, reference: Floats) -> Floats:
    """The face moved, turned and scaled so that its stable points [27 of 478] lie best on the reference's."""
    a, b = face[_STABLE], reference[_STABLE]
    middle_a, middle_b = a.mean(0), b.mean(0)
    scale, turn = similarity(a - middle_a, b - middle_b)
    return np.asarray((face - middle_a) @ (scale * turn.T).astype(np.float32) + middle_b, np.float32)


def normalise(face: Floats) -> Floats:
    """A neutral face moved and scaled so that its outer eye corners are 1 apart around the origin."""
    left, right = face[OUTER_EYE_LEFT], face[OUTER_EYE_RIGHT]
    return np.asarray((face - (left + right) / 2) / np.linalg.norm(left - right), np.float32)


def neutral_of(face: Floats, expression: Floats, path: Path = WEIGHTS) -> Floats:
    """The face [478, 3] with the mean effect of its expression [52] taken away."""
    return np.asarray(face - np.tensordot(expression, basis(path), 1), np.float32)


# Iris centre, inner and outer corner of the performer's left, then right eye.
_EYES = np.array(((473, 362, 263), (468, 133, 33)))
_LIDS = np.array(((386, 374), (159, 145)))  # upper, lower


def iris_offset(face: Floats) -> Floats:
    """Each iris [..., 2, 2] from the middle of its eye's corners, x right and y down, in widths of that eye."""
    iris, inner, outer = (face[..., _EYES[:, k], :2] for k in range(3))
    width = np.linalg.norm(inner - outer, axis=-1, keepdims=True)
    return np.asarray((iris - (inner + outer) / 2) / width)


def gaze_of(face: Floats, neutral: Floats | None = None, path: Path = WEIGHTS) -> Floats:
    """Gaze [2, 2] of a pose-free face: left, right eye; yaw to the right of a frontal picture, pitch down; radians.

    The neutral, if known, tells where this performer's irises are when they look straight ahead.
    Eyes move together: pitch is told from both, yaw half from both, the wider open eye counting more
    (a closed eye's iris is the detector's guess).
    """
    w = weights(path)
    rest = w["iris_rest"] if neutral is None else iris_offset(neutral)
    each = (iris_offset(face) - rest) * w["gaze_gain"]
    opening = np.abs(face[_LIDS[:, 1], 1] - face[_LIDS[:, 0], 1]) + 0.005
    both = opening @ each / opening.sum()
    return np.asarray(both + (each - both) * np.array((0.5, 0.0)), np.float32)


@dataclass(frozen=True)
class _Network:
    """Projections, then three layers; one for a known neutral, one without."""

    moved: Floats  # [1434, K], projection of what moved
    person: Floats  # [1434, P], projection of who it is; P is 0 without a neutral
    mean: Floats  # [K + P]
    layers: tuple[tuple[Floats, Floats], ...]  # (weight [in, out], bias [out])

    @classmethod
    def load(cls, prefix: str, path: Path) -> _Network:
        w = weights(path)
        n = sum(name.startswith(f"{prefix}_w") for name in w)
        layers = tuple((w[f"{prefix}_w{i}"], w[f"{prefix}_b{i}"]) for i in range(n))
        return cls(w[f"{prefix}_moved"], w[f"{prefix}_person"], w[f"{prefix}_mean"], layers)

    def __call__(self, faces: Floats, bases: Floats, reference: Floats, emphasis: Floats) -> Floats:
        """Aligned faces and what they are at rest [B, 478, 3] to coefficients [B, 52], not yet between 0 and 1."""
        x = project(faces, bases, reference, emphasis, self.moved, self.person) - self.mean
        for weight, bias in self.layers[:-1]:
            x = np.maximum(x @ weight + bias, 0)
        weight, bias = self.layers[-1]
        return np.asarray(x @ weight + bias)


def project(faces: Floats, bases: Floats, reference: Floats, emphasis: Floats, moved: Floats, person: Floats) -> Floats:
    """What the network sees [B, K + P]: what moved, and who it is. `emphasis` [478, 1] weighs landmarks."""
    change = ((faces - bases) * emphasis).reshape(len(faces), -1) @ moved
    if not person.shape[1]:
        return np.asarray(change)
    return np.concatenate((change, ((bases - reference) * emphasis).reshape(len(faces), -1) @ person), 1)


class ExpressionSolver:
    """Pose-free faces to coefficients. Stateless; the weights are shared."""

    def __init__(self, path: Path = WEIGHTS) -> None:
        self._path = path
        self._networks: dict[str, _Network] = {}

    def solve(self, face: Floats, neutral: Floats | None = None) -> Floats:
        """Coefficients [52], ARKIT_NAMES' order, 0..1, of a pose-free face [478, 3].

        `neutral` [478, 3] is the performer at rest; without it their features are taken for the mean's.
        Both are re-aligned here, so their exact scale and place do not matter.
        """
        w = weights(self._path)
        reference, emphasis = w["template"], w["emphasis"]
        if neutral is None:
            kind, base = "unknown", reference
        else:
            kind, base = "known", align(neutral, reference)
        if kind not in self._networks:
            self._networks[kind] = _Network.load(kind, self._path)
        aligned = align(face, base)
        pair = np.stack((aligned, mirrored_by(aligned, w["mirror"]))), np.stack((base, mirrored_by(base, w["mirror"])))
        one, other = self._networks[kind](*pair, reference, emphasis)
        out = np.clip((one + mirror_expression(other)) / 2, 0, 1)
        return np.asarray(
            np.where(_LOOKS, look(gaze_of(aligned, None if neutral is None else base, self._path)), out), np.float32
        )


class NeutralEstimator:
    """The performer's resting face from whatever moments came so far; no frame need be neutral.

    Every moment's face less the mean effect of its expression is an estimate; their mean, weighted
    towards moments near rest, is the answer. What a solver that knows no neutral takes for a slight
    expression all the time (narrow eyes, a downturned mouth) is the performer's own: the low
    quantile of each coefficient over time counts as rest. Memory does not grow.
    """

    def __init__(self, path: Path = WEIGHTS) -> None:
        self._path = path
        self._weight = 0.0
        self._face = np.zeros((N_LANDMARKS, 3))  # weighted sum
        self._expression = np.zeros(N_EXPRESSION)  # weighted sum
        self._history = np.zeros((HISTORY, N_EXPRESSION), np.float32)
        self._n = 0
        self._stride = 1  # every so many moments one is remembered, so that the memory spans the whole take
        self._kept = 0
        self._rest = np.zeros(N_EXPRESSION, np.float32)
        self._neutral: Floats | None = None

    def update(self, face: Floats, expression: Floats, confidence: float) -> None:
        """Take one moment: a pose-free face, what it does as told without a neutral, how well it was seen (0..1)."""
        if confidence <= 0:
            return
        aligned = align(face, weights(self._path)["template"])
        strength = float(np.abs(expression[~_LOOKS]).sum())
        weight = confidence * float(np.exp(-strength / CALM))
        weight = max(weight, 1e-3 * confidence)
        self._weight += weight
        self._face += weight * aligned
        self._expression += weight * expression
        if self._n % self._stride == 0:
            if self._kept == HISTORY:
                self._history[: HISTORY // 2] = self._history[::2].copy()
                self._kept, self._stride = HISTORY // 2, self._stride * 2
            self._history[self._kept] = expression
            self._kept += 1
            if self._kept < 32 or self._kept % 8 == 0:
                self._rest = self._resting()
        self._n += 1
        self._neutral = None

    def _resting(self) -> Floats:
        usual = np.quantile(self._history[: self._kept], REST_QUANTILE, axis=0).astype(np.float32)
        usual[_LOOKS] = 0
        return np.asarray(usual * np.float32(self._kept / (self._kept + REST_AFTER)))

    def neutral(self) -> Floats:
        """The resting face [478, 3] as known so far, outer eye corners 1 apart; the template before any."""
        if self._weight == 0:
            return template(self._path)
        if self._neutral is None:
            acted = self._expression / self._weight - self._rest
            self._neutral = normalise(
                neutral_of((self._face / self._weight).astype(np.float32), acted.astype(np.float32), self._path)
            )
        return self._neutral.copy()
