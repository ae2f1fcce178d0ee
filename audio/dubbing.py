"""One person's mouth in a clip made to follow a speech: what it should do, when, and how strongly.

The speech's controls, of a mean face, become the speaker's by their own range: measured against what their
original sound predicts where there is one. Where the clip already shows what is wanted, it is left alone;
where the new sound is much as the old one was, since no guess is as good as what was filmed; where the mouth
cannot be seen, too; in between is eased. Knows neither files nor planes' formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audio.bank import SHAPE, Choose, Patch, Wanted
from audio.curves import highest, lowest, smooth
from audio.cutout import Planes
from audio.footage import Footage
from audio.mouth_shape import OPENING, SHUT, WIDTH, SpeakerMouth, controls, with_opening
from perfcap.expression import template
from perfcap.head import Camera
from runtime.records import Motion

if TYPE_CHECKING:
    from synth.mouth import MouthPalette

Floats = NDArray[np.float32]

RATE = 100  # values a second of a speech's curve
SAME = (1.5, 4.5)  # the same difference between two sounds, within which a moment's mouth stays, and beyond which not
SAME_S = 0.25  # over which sounds are compared, either way; standard deviation of a Gaussian
TOLD = (0.1, 0.25)  # correlation of what a mouth did with its own sound from which that sound is believed to be its own
LIKE = (0.25, 0.7)  # difference in the bank's costs from which a mouth is changed at all, and changed wholly
ENOUGH = 40  # frames of speech that tell how far a mouth goes with its sound
FEW = 15  # and that tell whether it goes with it at all
EASE_S = 0.16  # how long a change takes to come and go
HOLD_S = 0.3  # a pause shorter than this is not worth going back for
MOOD_S = 1.5  # what the corners do more slowly than this is no speech and stays
MOOD = 0.6  # share of it that stays
GAIN = (0.6, 1.7)  # bounds of a speaker's range against the mean face's
CORNERS = 5
DRAWN = np.array((0.3, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7), np.float32)  # share of the way to the mouth chosen
LEAST = 0.01  # of a change that is made
DRAWN_LAG = 0.6  # of what the frame before was drawn, so that another choice does not jerk
SPEED = 2.5  # units a second by which any mouth may open or shut; more where the clip's did
FREELY = 0.12  # units that any mouth may open; more where the clip's did
BEYOND = 0.5  # of what is asked beyond that: a mouth that is bent wider has its teeth grow
OPEN_MOST = 0.25  # units that any mouth may open at most, whatever the clip shows


@dataclass(frozen=True)
class Curve:
    """The controls of a mean face that says something, RATE times a second from `start` on."""

    start: Fraction  # seconds
    values: Floats  # [N, 7], what they differ from that face at rest
    voiced: Floats  # [N] 0..1, whether somebody speaks

    def at(self, times: NDArray[np.float64]) -> Floats:
        """The controls [T, 7] at times [T] in seconds; at rest outside."""
        place = (times - float(self.start)) * RATE
        n = np.arange(len(self.values))
        return np.stack([np.interp(place, n, v, left=0, right=0) for v in self.values.T], 1).astype(np.float32)

    def voiced_at(self, times: NDArray[np.float64]) -> Floats:
        place = (times - float(self.start)) * RATE
        return np.interp(place, np.arange(len(self.voiced)), self.voiced, left=0, right=0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Stroke:
    """What is done to one mouth in one frame of the result."""

    motion: Motion | None  # in that frame; None where the mouth is left alone
    wanted: Floats  # [7] controls
    share: float  # 0..1, how opaque what is laid over is
    patch: int | None  # number of the mouth laid over
    is_seen: bool  # whether the frame shows the mouth


@dataclass(frozen=True, eq=False)
class Sitter:
    """Whose mouth is changed: all there is to know of them to do it."""

    speaker: SpeakerMouth
    camera: Camera
    palette: MouthPalette
    patches: Mapping[int, Patch]  # by number

    @classmethod
    def of(cls, footage: Footage) -> Sitter:
        patches = {patch.number: patch for patch in footage.bank.patches}
        return cls(footage.speaker, footage.camera, footage.palette, patches)


class Painter:
    """Changes one person's mouth, frame by frame. Remembers nothing between frames."""

    def __init__(self, sitter: Sitter) -> None:
        from audio.rerender import MouthEditor

        self._patches = sitter.patches
        self._editor = MouthEditor(sitter.speaker, sitter.camera, sitter.palette)

    def paint(self, planes: Planes, stroke: Stroke) -> None:
        """Change the planes of a frame in place."""
        assert stroke.motion is not None, "a mouth that is left alone"
        patch = None if stroke.patch is None else self._patches[stroke.patch]
        self._editor.edit(planes, stroke.motion, stroke.wanted, patch, stroke.share)


def relative(face: Floats) -> Floats:
    """What mean faces [..., 478, 3] differ from themselves at rest: controls [..., 7]."""
    return controls(face) - controls(template())


def _correlations(a: Floats, b: Floats) -> Floats:
    """Of the columns of two arrays [N, 7]."""
    pairs = zip(a.T, b.T, strict=True)
    return np.array([np.corrcoef(x, y)[0, 1] if x.std() > 1e-6 and y.std() > 1e-6 else 0.0 for x, y in pairs])


def ranges(footage: Footage, times: NDArray[np.float64], own: Curve | None) -> Floats:
    """How far [7] this speaker's mouth goes where the mean face's goes one.

    With the clip's own sound: what they did against what it predicts, as far as that can be trusted.
    """
    size = float(np.clip(footage.speaker.rest[WIDTH] / controls(template())[WIDTH], 0.7, 1.5))
    gain = np.full(len(SHAPE), size, np.float32)
    if own is None:
        return gain
    spoken = (own.voiced_at(times) > 0.5) & (footage.free > 0.5)
    if spoken.sum() < ENOUGH:
        return gain
    did, said = footage.said[spoken], own.at(times)[spoken]
    trust = np.clip((_correlations(did, said) - 0.2) / 0.4, 0, 1)
    measured = np.clip(did.std(0) / np.maximum(said.std(0), 1e-4), *(np.array(GAIN) * size))
    return np.asarray(gain + (measured - gain) * trust, np.float32)


def fitting(
    footage: Footage, clip_times: NDArray[np.float64], own: Curve | None,
    order: NDArray[np.int64], asked: Floats, gain: Floats,
) -> Floats:  # fmt: skip
    """How far [N], 0..1, each frame's mouth as filmed fits what is asked of it [N, 7] better than any guess would.

    It does where the new sound asks for what the clip's own did then, and that sound is this mouth's own. Both
    are told by the same model, whose mistakes are the same in both.
    """
    seen = footage.free > 0.5
    if own is None or (seen & (own.voiced_at(clip_times) > 0.5)).sum() < FEW:
        return np.zeros(len(order), np.float32)
    before = own.at(clip_times)
    told = _correlations(footage.said[seen], before[seen])[OPENING]
    off = (np.abs(asked - before[order]) * gain * SHAPE).sum(1)
    step = float(np.median(np.diff(clip_times))) if len(clip_times) > 1 else 0.04
    like = 1 - np.clip((smooth(off, SAME_S / step) - SAME[0]) / (SAME[1] - SAME[0]), 0, 1)
    return np.asarray(like * np.clip((told - TOLD[0]) / (TOLD[1] - TOLD[0]), 0, 1), np.float32)


def who_speaks(people: Sequence[Footage], times: NDArray[np.float64], own: Curve | None) -> int:
    """Whose mouth moves with the clip's own sound; without one, whoever is seen most."""
    if own is None or len(people) < 2:
        return 0
    predicted = own.at(times)[:, OPENING]
    scores = []
    for person in people:
        seen = person.free > 0.5
        did, said = person.said[seen, OPENING], predicted[seen]
        r = np.corrcoef(did, said)[0, 1] if len(did) > 20 and did.std() > 1e-4 and said.std() > 1e-6 else 0.0
        scores.append(max(r, 0.0) * did.std() * np.sqrt(seen.mean()) if len(did) else 0.0)
    return int(np.argmax(scores)) if max(scores) > 0 else 0


def _speed(footage: Footage, step: float) -> float:
    """How fast this speaker's lips part and meet, units a second: only a hundredth of the time they are faster."""
    seen = footage.free > 0.5
    moves = np.abs(np.diff(footage.said[:, OPENING]))[seen[1:] & seen[:-1]]
    return float(np.quantile(moves, 0.99)) / step if len(moves) else 0.0


def _no_faster(values: Floats, step: float) -> Floats:
    """The largest values [T], none above those given, of which none differs from the next by more than a step."""
    ramp = step * np.arange(len(values))
    ahead = np.minimum.accumulate(values - ramp) + ramp
    return np.asarray(np.minimum.accumulate((ahead + ramp)[::-1])[::-1] - ramp, np.float32)


class Dubbing:
    """What one person's mouth does over the frames of the result.

    `order` [N] names the clip's frame that each result's frame is, `times` [N] in seconds of the speech.
    """

    def __init__(
        self, footage: Footage, speech: Curve, order: NDArray[np.int64], times: NDArray[np.float64],
        own: Curve | None = None, clip_times: NDArray[np.float64] | None = None,
    ) -> None:  # fmt: skip

        self._footage = footage
        self._order = order
        speaker = footage.speaker
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
        at = np.zeros(0) if clip_times is None else clip_times
        gain = ranges(footage, at, own)
        now = footage.said[order]
        asked = speech.at(times)
        goal = speaker.rest + asked * gain
        mood = smooth(footage.said[:, [CORNERS, WIDTH]], MOOD_S / 2 / step) - footage.said[:, [CORNERS, WIDTH]].mean(0)
        goal[:, [CORNERS, WIDTH]] += MOOD * mood[order]
        knee = max(speaker.open_most, FREELY)
        opening = np.minimum(goal[:, OPENING], knee + BEYOND * (goal[:, OPENING] - knee))
        opening = np.minimum(opening, max(1.3 * speaker.open_most, OPEN_MOST))
        opening = _no_faster(opening, max(SPEED, _speed(footage, step)) * step)
        goal += (opening - goal[:, OPENING])[:, None] * with_opening()
        goal[goal[:, OPENING] < SHUT, OPENING] = speaker.rest[OPENING]  # lips touch, and none passes through the other
        off = (np.abs(goal - now) * SHAPE).sum(1)
        change = np.clip((off - LIKE[0]) / (LIKE[1] - LIKE[0]), 0, 1)
        change *= 1 - fitting(footage, at, own, order, asked, gain)
        n = max(1, round(HOLD_S / step)) | 1
        change = lowest(highest(change, n), n)
        change = smooth(highest(change, max(1, round(EASE_S / step)) | 1), EASE_S / 2 / step)
        free = footage.free[order]
        free = smooth(lowest(free, max(1, round(2 * EASE_S / step)) | 1), EASE_S / 2 / step)
        share = np.clip(change * free * 1.02 - 0.01, 0, 1)
        self.share = np.asarray(share, np.float32)
        self.wanted = np.asarray(now + (goal - now) * self.share[:, None], np.float32)

    def patches(self) -> Iterator[Patch | None]:
        """The mouth laid over each frame, in order, decided a few frames ahead.

        As each is handed on, what is wanted of its frame is drawn towards what that mouth does: the less it
        has to be bent, the straighter its teeth. Lips that are to touch do, as that mouth's do.
        """
        footage = self._footage
        if not footage.bank.patches:
            yield from (None for _ in self._order)
            return
        drawn = np.zeros(len(SHAPE), np.float32)
        for i, patch in enumerate(self._chosen()):
            wanted = self.wanted[i].copy()
            drawn = DRAWN_LAG * drawn + (1 - DRAWN_LAG) * (patch.controls - wanted) * DRAWN * self.share[i]
            self.wanted[i] = wanted + drawn
            if wanted[OPENING] < SHUT:  # then the line between the lips is that mouth's own, or as thin as can be
                shown = float(patch.controls[OPENING])
                self.wanted[i, OPENING] = shown if shown < 1.5 * SHUT else wanted[OPENING]
            yield patch

    def _chosen(self) -> Iterator[Patch]:
        footage = self._footage
        choose = Choose(footage.bank)
        for i, source in enumerate(self._order):
            turn, light, sharpness = footage.turn[source], footage.light[source], footage.sharpness[source]
            yield from choose.push(Wanted(self.wanted[i].copy(), turn, float(light), float(sharpness)))
        yield from choose.flush()

    def strokes(self) -> Iterator[Stroke]:
        """What is done to each frame, in order."""
        footage = self._footage
        for i, patch in enumerate(self.patches()):
            source, share = int(self._order[i]), float(self.share[i])
            yield Stroke(
                footage.motions[source] if share > LEAST else None, self.wanted[i].copy(), share,
                None if patch is None else patch.number, bool(footage.free[source] > 0.5),
            )  # fmt: skip
