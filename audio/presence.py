"""What a living face does beside its lips while it speaks: blinks, glances, the head's sway, nods and brows.

Nobody has measured these of this speaker; they are drawn from what the literature measured of others, by a
seed, and tied to the speech where people tie them: nods and brows to its stresses, blinks and new postures to
its phrases, less of everything in silence. The lips are left as they are. Knows neither pictures nor files.

Sources: blink rates and lid speeds, Bentivoglio et al. 1997 and VanderWerf et al. 2003; glances, Lee, Badler
and Badler, "Eyes Alive", 2002; nods and brows, Graf et al., "Visual Prosody", 2002.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from perfcap.expression import look
from perfcap.landmarks import LIPS
from perfcap.written import NECK_M, face_of, head_at
from runtime.records import ARKIT_INDEX, N_EXPRESSION, SAMPLE_RATE, AudioChunk, Cue, Motion
from runtime.stage import Stage

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class PresenceOptions:
    seed: int = 0  # the same seed lives the same life
    still: bool = False  # nothing but the lips moves
    liveliness: float = 1.0  # 0..2, how far head and brows go; blinks and glances stay a person's
    ahead_s: float = 0.3  # what is heard before it is shown: a nod begins before the syllable it stresses

    def __post_init__(self) -> None:
        if not 0 <= self.liveliness <= 2:
            raise ValueError(f"liveliness is {self.liveliness:g}, wanted 0 to 2")
        if not 0 <= self.ahead_s <= 2:
            raise ValueError(f"ahead_s is {self.ahead_s:g}, wanted 0 to 2 seconds")


class WithSound:
    """Stage: sound -> Cues. The Motion that a stage makes of sound, each with the sound under it."""

    def __init__(self, speak: Stage[AudioChunk, Motion]) -> None:
        self._speak = speak
        self._begin()

    def _begin(self) -> None:
        self._pcm: Floats = np.zeros(0, np.float32)
        self._start = Fraction(0)  # seconds, of the first sample kept
        self._heard = False
        self._held: Motion | None = None
        self._step = Fraction(1, 100)  # seconds, from the last Motion but one to the last

    def push(self, item: AudioChunk) -> list[Cue]:
        if not self._heard:
            self._start, self._heard = item.time, True
        missing = round((item.time - self._start) * SAMPLE_RATE) - len(self._pcm)
        self._pcm = np.concatenate((self._pcm, np.zeros(max(0, missing), np.float32), item.pcm))
        return self._joined(self._speak.push(item))

    def flush(self) -> list[Cue]:
        out = self._joined(self._speak.flush())
        if self._held is not None:
            out.append(self._cue(self._held, self._held.time + self._step))
        self._begin()
        return out

    def _joined(self, motions: Iterable[Motion]) -> list[Cue]:
        out = []
        for motion in motions:
            if self._held is not None:
                self._step = motion.time - self._held.time
                out.append(self._cue(self._held, motion.time))
            self._held = motion
        return out

    def _cue(self, motion: Motion, until: Fraction) -> Cue:
        first = max(0, round((motion.time - self._start) * SAMPLE_RATE))
        last = max(first, round((until - self._start) * SAMPLE_RATE))
        sound = AudioChunk(time=motion.time, pcm=self._pcm[first:last])
        self._pcm, self._start = self._pcm[first:], self._start + Fraction(first, SAMPLE_RATE)
        return Cue(time=motion.time, motion=motion, sound=sound)


class Presence:
    """Stage: Cues of a mean face that speaks, in front of a steady head -> Motion of one that lives too.

    Takes any even rate of Cues, 100 a second being what speech gives. Lips, jaw and tongue stay as they came.
    """

    def __init__(self, options: PresenceOptions) -> None:
        self._options = options
        self._begin()

    def _begin(self) -> None:
        seed = self._options.seed
        self._held: deque[Cue] = deque()
        self._ear = _Ear()
        self._first: Fraction | None = None
        self._last = 0.0  # seconds from the first Cue to the last one lived
        self._lids = _Lids(np.random.default_rng((seed, 1)))
        self._eyes = _Eyes(np.random.default_rng((seed, 2)))
        self._head = _Head(np.random.default_rng((seed, 3)))
        self._brows = _Brows(np.random.default_rng((seed, 4)))

    def push(self, item: Cue) -> list[Motion]:
        if self._options.still:
            return [item.motion]
        self._first = item.time if self._first is None else self._first
        self._ear.hear(self._since(item), item)
        self._held.append(item)
        out = []
        while self._held and self._since(item) - self._since(self._held[0]) >= self._options.ahead_s - 1e-9:
            out.append(self._live(self._held.popleft()))
        return out

    def flush(self) -> list[Motion]:
        out = [self._live(cue) for cue in self._held]
        self._begin()
        return out

    def _since(self, cue: Cue) -> float:
        assert self._first is not None
        return float(cue.time - self._first)

    def _live(self, cue: Cue) -> Motion:
        t = self._since(cue)
        moment = Moment(time=t, step=max(0.0, t - self._last), speaking=self._ear.speaking(t))
        self._last = t
        for event in self._ear.events(t):
            self._lids.hear(event, t)
            self._head.hear(event, t)
            self._brows.hear(event, t)
        target = self._eyes.at(moment)
        if self._eyes.leapt > LEAP_DEG:
            self._lids.leap(moment.time)
        head = self._head.at(moment, target) * self._options.liveliness
        shut = self._lids.at(moment)
        brows = self._brows.at(moment) * self._options.liveliness
        return living(cue.motion, head=head, target=target, shut=shut, brows=brows)


def living(motion: Motion, *, head: Floats, target: Floats, shut: float, brows: Floats) -> Motion:
    """A Motion with a head turned by [3] (yaw, pitch, roll) degrees more, whose eyes hold a target [2] (yaw, pitch)
    degrees off the viewer whatever the head does, whose lids are `shut` 0..1 and whose brows are up [2] (inner,
    outer) 0..1."""
    gaze = np.tile(np.radians(target - head[:2]).astype(np.float32), (2, 1))
    added = look(gaze)
    for side in ("Left", "Right"):
        added[ARKIT_INDEX[f"eyeBlink{side}"]] = shut
        added[ARKIT_INDEX[f"browOuterUp{side}"]] = brows[1]
    added[ARKIT_INDEX["browInnerUp"]] = brows[0]
    moved = face_of(added, gaze) - _at_rest()
    moved[list(LIPS)] = 0  # a mean face's brows take the lips along by a trace
    turn = head_at(*(float(v) for v in np.radians(head)))
    turn[:3, 3] = NECK_M - turn[:3, :3] @ NECK_M
    return replace(
        motion,
        head=np.asarray(motion.head @ turn, np.float32),
        expression=np.clip(np.maximum(motion.expression, added), 0, 1).astype(np.float32),
        gaze=(motion.gaze + gaze).astype(np.float32),
        face=(motion.face + moved).astype(np.float32),
    )


@functools.cache
def _at_rest() -> Floats:
    return face_of(np.zeros(N_EXPRESSION, np.float32), np.zeros((2, 2), np.float32))


@dataclass(frozen=True)
class Moment:
    """An instant to be lived."""

    time: float  # seconds from the beginning
    step: float  # seconds since the last one
    speaking: bool


# Listening

MOVING_UNITS = 0.02  # lips this far from rest speak
PAUSE_S = 0.25  # lips at rest this long have stopped
STRESS_Z = 0.6  # of a syllable's prominence among the others, from which it is a stress
APART_S = 0.35  # between two stresses
PEAK_S = 0.06  # a syllable's nucleus is louder than all within this
SYLLABLE_S = 0.05  # loudness is smoothed over this
MEMORY_S = 4.0  # what is loud and high is told by the last few seconds


@dataclass(frozen=True)
class Event:
    """Something in the speech that more than the lips answers to."""

    kind: str  # "begin" and "end" of a phrase, "stress"
    time: float  # seconds
    strength: float = 1.0  # of a stress: standard deviations above the other syllables


class _Ear:
    """Where phrases begin and end and which syllables are stressed, told as soon as it is known."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._spans: deque[tuple[float, float]] = deque()  # of speaking, seconds; the last one may grow
        self._talks = False
        self._moved_at = -1e9
        self._pcm: Floats = np.zeros(0, np.float32)
        self._loud: deque[tuple[float, float]] = deque()  # time, dB
        self._pitch: deque[tuple[float, float]] = deque()  # time, semitones; of voiced moments
        self._level, self._spread = -25.0, 6.0  # dB, of syllables
        self._stressed_at = -1e9

    def hear(self, t: float, cue: Cue) -> None:
        if mouth_units(cue.motion) > MOVING_UNITS:
            self._moved_at = t
            if not self._talks:
                self._talks = True
                self._events.append(Event("begin", t))
                self._spans.append((t, t))
            self._spans[-1] = (self._spans[-1][0], t)
        elif self._talks and t - self._moved_at > PAUSE_S:
            self._talks = False
            self._events.append(Event("end", self._moved_at))
        if cue.sound is not None and len(cue.sound.pcm):
            self._listen(t, cue.sound.pcm)

    def speaking(self, t: float) -> bool:
        while len(self._spans) > 1 and self._spans[1][0] <= t:
            self._spans.popleft()
        return bool(self._spans) and self._spans[0][0] <= t <= self._spans[0][1]

    def events(self, t: float) -> list[Event]:
        """What is to be answered from t on, each once: beginnings and stresses as soon as heard, ends when they come."""
        ready = [e for e in self._events if e.kind != "end" or e.time <= t]
        for event in ready:
            self._events.remove(event)
        return ready

    def _listen(self, t: float, pcm: Floats) -> None:
        self._pcm = np.concatenate((self._pcm, pcm))[-PITCH_SAMPLES:]
        recent = self._pcm[-max(len(pcm), round(SYLLABLE_S * SAMPLE_RATE)) :]
        db = 10 * np.log10(float(recent @ recent) / len(recent) + 1e-9)
        middle = t + len(pcm) / SAMPLE_RATE - SYLLABLE_S / 2
        self._loud.append((middle, db))
        while self._loud[0][0] < middle - 2 * PEAK_S:
            self._loud.popleft()
        if self._talks and len(self._pcm) == PITCH_SAMPLES and (hz := pitch_hz(self._pcm)):
            self._pitch.append((t, 12 * np.log2(hz)))
            while self._pitch[0][0] < t - MEMORY_S:
                self._pitch.popleft()
        if self._talks:
            self._judge(len(pcm) / SAMPLE_RATE)

    def _judge(self, step: float) -> None:
        """Whether the sound one PEAK_S ago was a syllable's nucleus, and a stressed one."""
        last = self._loud[-1][0]
        time, db = min(self._loud, key=lambda one: abs(one[0] - (last - PEAK_S)))
        if db < max(value for _, value in self._loud) or db < -55:
            return
        z = (db - self._level) / self._spread
        share = min(1.0, 0.25 * 20 * step)  # each syllable moves what is usual by so much
        self._level += share * (db - self._level)
        self._spread += share * (max(2.0, 1.25 * abs(db - self._level)) - self._spread)
        prominence = 0.7 * float(np.clip(z, -2, 2)) + 0.5 * self._height(time)
        if prominence > STRESS_Z and time - self._stressed_at > APART_S:
            self._stressed_at = time
            self._events.append(Event("stress", time, prominence))

    def _height(self, time: float) -> float:
        """How high the pitch is at a time among that of the last seconds, standard deviations."""
        if len(self._pitch) < 20:
            return 0.0
        times, tones = np.array(self._pitch).T
        here = tones[np.abs(times - time) < 0.05]
        if not len(here):
            return 0.0
        return float(np.clip((here.mean() - np.median(tones)) / max(tones.std(), 1.0), -2, 2))


PITCH_SAMPLES = 640  # 40 ms: two periods of the lowest voice
_LOWEST_HZ, _HIGHEST_HZ = 65, 400


def pitch_hz(pcm: Floats) -> float:
    """The pitch of a voice in 40 ms of sound [640], by autocorrelation (Boersma 1993); 0 where nothing is voiced."""
    x = (pcm - pcm.mean()) * np.hanning(len(pcm))
    if float(x @ x) < 1e-4:
        return 0.0
    power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    window = np.abs(np.fft.rfft(np.hanning(len(pcm)), 2 * len(x))) ** 2
    alike = np.fft.irfft(power)[: len(x)] / np.maximum(np.fft.irfft(window)[: len(x)], 1e-3)
    low, high = SAMPLE_RATE // _HIGHEST_HZ, min(SAMPLE_RATE // _LOWEST_HZ, len(x) - 1)
    peaks = alike[low:high]
    if peaks.max() < 0.5 * alike[0]:
        return 0.0
    first = int(np.argmax(peaks > 0.85 * peaks.max()))  # two periods are as alike as one
    lag = low + first + int(np.argmax(peaks[first : first + low]))
    return SAMPLE_RATE / lag


def mouth_units(motion: Motion) -> float:
    """How far the lips are from those of the mean face at rest, at most, units."""
    off = motion.face[list(LIPS)] - _at_rest()[list(LIPS)]
    return float(np.abs(off[:, :2]).max())


# Lids

BLINKS_SPEAKING, BLINKS_RESTING = 26 / 60, 17 / 60  # a second, in conversation and at rest (Bentivoglio et al.)
BLINK_SPREAD = 0.55  # of the logarithm of the time between two
AT_END = 0.5  # share of phrases that end in a blink
WITH_LEAP = 0.25  # share of large glances that go with one
LEAP_DEG = 5.0
MIN_APART_S = 0.7


class _Lids:
    """Blinks: log-normal intervals, some of them moved to where a phrase ends or a glance leaps."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._due = self._interval() * float(rng.uniform(0.3, 1))  # in the middle of an interval
        self._spent = 0.0  # of the interval, in blinks
        self._began = -1e9
        self._close, self._shut, self._open = 0.08, 0.04, 0.2  # seconds

    def _interval(self) -> float:
        return float(self._rng.lognormal(-(BLINK_SPREAD**2) / 2, BLINK_SPREAD))  # its mean is 1

    def hear(self, event: Event, now: float) -> None:
        if event.kind == "end" and self._rng.random() < AT_END:
            self._blink(now)

    def leap(self, time: float) -> None:
        if self._rng.random() < WITH_LEAP:
            self._blink(time)

    def _blink(self, time: float) -> None:
        if time - self._began < MIN_APART_S:
            return
        rng = self._rng
        self._began = time
        self._close, self._shut, self._open = rng.uniform(0.07, 0.1), rng.uniform(0.035, 0.06), rng.uniform(0.14, 0.24)
        self._due, self._spent = self._interval(), 0.0

    def at(self, moment: Moment) -> float:
        """How far the lids are shut, 0..1."""
        self._spent += moment.step * (BLINKS_SPEAKING if moment.speaking else BLINKS_RESTING)
        if self._spent >= self._due:
            self._blink(moment.time)
            self._spent = min(self._spent, 0.5 * self._due)  # where the last one was a moment ago
        return lid_closure(moment.time - self._began, self._close, self._shut, self._open)


def lid_closure(since: float, close: float, shut: float, rise: float) -> float:
    """How far a lid is down some seconds after a blink began: it falls fast, rests, and rises ever slower."""
    if since < 0:
        return 0.0
    if since < close:
        x = since / close
        return x * x * (3 - 2 * x)
    if since < close + shut:
        return 1.0
    x = max(0.0, since - close - shut) / rise
    return float(0.5 + 0.5 * np.cos(np.pi * x**0.75)) if x < 1 else 0.0


# Eyes

# Lee, Badler and Badler: seconds with the viewer and away from them (mean, standard deviation).
HELD_S = {True: (3.13, 3.16), False: (7.92, 1.57)}  # while speaking, while not
AWAY_S = {True: (0.93, 0.80), False: (0.43, 0.24)}
DIRECTIONS = np.array((15.54, 6.46, 17.69, 7.44, 16.80, 7.89, 20.38, 7.79))  # %, from the right counter-clockwise
FARTHEST_DEG = {True: 10.0, False: 6.0}
VERTICAL = 0.6  # up and down glances go less far
WANDER_S = (0.35, 1.3)  # a glance stays with one of the viewer's eyes, or their mouth, so long
WANDER_DEG = 0.8


class _Eyes:
    """Where the eyes look: at the viewer, wandering a little over their face, with glances away."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.leapt = 0.0  # degrees that a glance begun at this very moment goes
        self._with_viewer = True
        self._until = float(rng.uniform(1.0, 2.5))  # seconds, of this look or glance
        self._wander_at = float(rng.uniform(*WANDER_S))
        self._from = self._to = np.zeros(2)
        self._base = np.zeros(2)
        self._began, self._takes = -1e9, 0.03

    def at(self, moment: Moment) -> Floats:
        """Yaw and pitch [2] off the viewer, degrees: right and down in a frontal picture."""
        self.leapt = 0.0
        if moment.time >= self._until:
            self._glance(moment)
        elif moment.time >= self._wander_at:
            self._wander_at = moment.time + float(self._rng.uniform(*WANDER_S))
            self._go(moment.time, self._base + self._rng.normal(0, WANDER_DEG, 2) * (1, 0.7))
        return self._now(moment.time)

    def _now(self, t: float) -> Floats:
        x = float(np.clip((t - self._began) / self._takes, 0, 1))
        return np.asarray(self._from + (self._to - self._from) * x * x * (3 - 2 * x), np.float32)

    def _glance(self, moment: Moment) -> None:
        rng = self._rng
        self._with_viewer = not self._with_viewer
        mean, spread = (HELD_S if self._with_viewer else AWAY_S)[moment.speaking]
        shape = (mean / spread) ** 2
        self._until = moment.time + max(0.25, float(rng.gamma(shape, mean / shape)))
        self._wander_at = moment.time + float(rng.uniform(*WANDER_S))
        if self._with_viewer:
            self._base = np.zeros(2)
        else:
            far = min(-6.9 * float(np.log(rng.uniform(0.5, 15) / 15.7)), FARTHEST_DEG[moment.speaking])
            angle = np.pi / 4 * rng.choice(8, p=DIRECTIONS / DIRECTIONS.sum())
            self._base = far * np.array((np.cos(angle), -VERTICAL * np.sin(angle)))
        self._go(moment.time, self._base)
        self.leapt = float(np.linalg.norm(self._to - self._from))

    def _go(self, t: float, to: NDArray[np.float64]) -> None:
        self._from, self._to = self._now(t).astype(np.float64), to
        self._began = t
        self._takes = 0.025 + 0.0024 * float(np.linalg.norm(to - self._from))  # seconds: 2.4 ms a degree


# Head

SWAY_DEG = np.array((1.8, 1.0, 1.0))  # yaw, pitch, roll; standard deviation while speaking
SWAY_S = (1.5, 0.6)  # slow and less slow parts
SWAY_PARTS = (0.85, 0.35)
SWAY_RESTING = 0.45  # share of it that silence leaves
POSTURE_DEG = np.array((2.0, 1.0, 1.0))  # a phrase is spoken from another posture
POSTURE_HZ = 0.75
FOLLOWS = 0.25  # share of a glance that the head goes along
NOD_DEG = (1.3, 1.1)  # of a stress: at least, and for each standard deviation more
NODS = 0.65  # share of stresses that the head takes part in
NOD_S = (0.2, 0.4)  # from its beginning to the stress, and back


class _Head:
    """Yaw, pitch and roll: smooth noise, a posture for each phrase, a little after the eyes, nods on stresses."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._noise = [Noise(np.random.default_rng(rng.integers(2**63)), knot_s) for knot_s in SWAY_S]
        self._goal = np.zeros(3)
        self._place, self._speed = np.zeros(3), np.zeros(3)
        self._life = SWAY_RESTING
        self._nods: deque[_Bump] = deque()

    def hear(self, event: Event, now: float) -> None:
        rng = self._rng
        if event.kind == "begin":
            self._goal = rng.normal(0, 1, 3) * POSTURE_DEG
        elif event.kind == "end":
            self._goal = 0.4 * self._goal
        elif rng.random() < NODS:
            deep = NOD_DEG[0] + NOD_DEG[1] * min(event.strength - STRESS_Z, 2.0)
            way = np.array((rng.normal(0, 0.3), 1 if rng.random() < 0.8 else -0.6, rng.normal(0, 0.2)))
            self._nods.append(_Bump(max(event.time, now + NOD_S[0]), *NOD_S, deep * way * rng.uniform(0.8, 1.2)))

    def at(self, moment: Moment, target: Floats) -> Floats:
        """Degrees [3] from the picture's own pose."""
        t, dt = moment.time, moment.step
        self._life += ((1.0 if moment.speaking else SWAY_RESTING) - self._life) * (1 - np.exp(-dt / 0.6))
        goal = self._goal + FOLLOWS * np.array((target[0], target[1], 0))
        omega = 2 * np.pi * POSTURE_HZ  # a spring without overshoot, solved exactly
        off, decay = self._place - goal, np.exp(-omega * dt)
        drift = self._speed + omega * off
        self._place, self._speed = goal + (off + drift * dt) * decay, (self._speed - omega * drift * dt) * decay
        sway = sum(part * noise.at(t) for part, noise in zip(SWAY_PARTS, self._noise, strict=True))
        while self._nods and self._nods[0].over(t):
            self._nods.popleft()
        nods = sum((nod.at(t) for nod in self._nods), np.zeros(3))
        begun = min(1.0, t / 1.0)  # from the pose of the picture
        return np.asarray(self._place + SWAY_DEG * sway * self._life * begun + nods, np.float32)


class Noise:
    """Smooth noise [3] of mean 0 and spread 1 over time: cubic B-splines over random knots."""

    def __init__(self, rng: np.random.Generator, knot_s: float) -> None:
        self._rng, self._knot_s = rng, knot_s
        self._first = 0  # number of the first knot kept
        self._knots: deque[NDArray[np.float64]] = deque()

    def at(self, t: float) -> NDArray[np.float64]:
        """At a time not much before the last one asked for."""
        place = t / self._knot_s
        number = int(place)
        while self._first + len(self._knots) < number + 4:
            self._knots.append(self._rng.normal(0, 1, 3))
        while self._first < number:
            self._knots.popleft()
            self._first += 1
        x = place - number
        weights = np.array(((1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3)) / 6
        four = np.stack([self._knots[i] for i in range(4)])
        return np.asarray(weights @ four / np.linalg.norm(weights))


@dataclass(frozen=True)
class _Bump:
    """Something that comes, is there at its time, and goes."""

    time: float  # seconds
    before: float
    after: float
    size: NDArray[np.float64]
    hold: float = 0.0  # seconds after `time` that it stays

    def at(self, t: float) -> NDArray[np.float64]:
        since = t - self.time
        if since > 0:
            since = max(0.0, since - self.hold)
        x = since / (self.before if since < 0 else self.after)
        return self.size * (0.5 + 0.5 * np.cos(np.pi * x)) if abs(x) < 1 else np.zeros_like(self.size)

    def over(self, t: float) -> bool:
        return t > self.time + self.hold + self.after


# Brows

BROWS = 0.35  # share of stresses that lift the brows, more for the strongest
LIFT_S = (0.2, 0.35)  # up, and down again
FLASH = 0.3  # share of phrases that begin with lifted brows


class _Brows:
    """Inner and outer brows, up on some stresses and where some phrases begin."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._up: deque[_Bump] = deque()

    def hear(self, event: Event, now: float) -> None:
        rng = self._rng
        if event.kind == "stress" and rng.random() < BROWS + 0.2 * (event.strength - STRESS_Z):
            high = 0.16 + 0.1 * min(event.strength - STRESS_Z, 1.5)
            self._lift(max(event.time, now + LIFT_S[0]), high, hold=float(rng.uniform(0.05, 0.2)))
        elif event.kind == "begin" and rng.random() < FLASH:
            self._lift(max(event.time + 0.25, now + LIFT_S[0]), 0.22, hold=float(rng.uniform(0.2, 0.5)))

    def _lift(self, time: float, high: float, hold: float) -> None:
        if self._up and time - self._up[-1].time < 0.6:
            return
        sizes = high * self._rng.uniform(0.7, 1.3) * np.array((1.0, self._rng.uniform(0.6, 1.0)))
        self._up.append(_Bump(time, *LIFT_S, sizes, hold))

    def at(self, moment: Moment) -> Floats:
        """How far up [2] (inner, outer), 0..1."""
        while self._up and self._up[0].over(moment.time):
            self._up.popleft()
        lifted = [bump.at(moment.time) for bump in self._up]
        return np.asarray(np.max(lifted, 0) if lifted else np.zeros(2), np.float32)
