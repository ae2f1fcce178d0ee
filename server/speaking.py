"""A live session without a camera: sound comes in, from a microphone or pushed by a program, and the character says it.

The session keeps a clock of its own, a tick a picture. Each tick takes the sound that waits, or silence where none
does, so that the character goes on living; some ticks later, when enough was heard, its picture is drawn. Sound and
picture of one moment carry one time. When behind, pictures are left out and counted, never sound.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from audio.lips import Lips, LipsOptions
from audio.portrait import Speaking
from audio.presence import Presence, PresenceOptions, WithSound
from audio.voice import Voice
from perfcap.expression import template
from perfcap.resample import Resample
from runtime.errors import InputError
from runtime.records import SAMPLE_RATE, AudioChunk, Motion
from runtime.stage import Chain
from server.live import Half, LiveSession
from server.metrics import Histogram
from server.performing import Seeing, Showing
from server.wire import Kind, Media, pack
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character

FPS = 25
TICK = SAMPLE_RATE // FPS  # samples
AHEAD_S = 0.1  # how much sooner a nod begins than the syllable it stresses; all of it is delay
MOST_WAITING = 120 * SAMPLE_RATE  # samples that may wait to be said
MOST_TEXTS = 32  # that may wait to be said
LATE = 3  # ticks that the session may be behind before pictures are left out
FROZEN = 12  # pictures left out after which one is shown, however late: nobody shall take the character for dead

Pcm = NDArray[np.float32]  # [T], mono, -1..1, at SAMPLE_RATE


class Queue:
    """Sound that waits to be said, with the times it was captured at; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: deque[tuple[int, Pcm]] = deque()  # capture time us of the first sample
        self._waiting = 0
        self._next_us = 0  # of the next tick where nothing waits

    def __len__(self) -> int:
        return self._waiting

    def put(self, time_us: int, pcm: Pcm) -> None:
        """Raises InputError where too much waits already."""
        with self._lock:
            if self._waiting + len(pcm) > MOST_WAITING:
                raise InputError(
                    f"{self._waiting // SAMPLE_RATE} s of sound wait; wanted at most {MOST_WAITING // SAMPLE_RATE}"
                )
            self._pieces.append((time_us, pcm))
            self._waiting += len(pcm)

    def add(self, pcm: Pcm) -> None:
        """Put sound that nobody captured, to follow what is here."""
        with self._lock:
            last_us, last = self._pieces[-1] if self._pieces else (self._next_us, np.zeros(0, np.float32))
        self.put(last_us + len(last) * 1_000_000 // SAMPLE_RATE, pcm)

    def clear(self) -> None:
        with self._lock:
            self._pieces.clear()
            self._waiting = 0

    def tick(self) -> tuple[int, Pcm]:
        """The next TICK samples, filled up with silence, and their time, us."""
        with self._lock:
            if self._pieces:
                self._next_us = self._pieces[0][0]
            taken: list[Pcm] = []
            wanted = TICK
            while wanted and self._pieces:
                time_us, pcm = self._pieces.popleft()
                taken.append(pcm[:wanted])
                if len(pcm) > wanted:
                    self._pieces.appendleft((time_us + wanted * 1_000_000 // SAMPLE_RATE, pcm[wanted:]))
                wanted -= len(taken[-1])
            self._waiting -= TICK - wanted
            at = self._next_us
            self._next_us += 1_000_000 // FPS
            return at, np.concatenate((*taken, np.zeros(wanted, np.float32)))


class Says:
    """Motion of a mean face that speaks -> Motion in a character's own terms."""

    def __init__(self, character: Character, intensity: float) -> None:
        speaking = Speaking(character.face, RetargetOptions(intensity=intensity).gain)
        retarget = Retarget(character, template(), (), RetargetOptions(), rest=speaking.rest)
        chain = Chain[Motion, Motion](speaking, retarget)
        self.push, self.flush = chain.push, chain.flush


class SpeakingSession(LiveSession):
    """`LiveSession` with sound in the place of pictures. `voice` says what is asked by `say`, if there is one.

    `echo` sends the sound back beside its pictures, for a client that is to play what a program pushed.
    """

    def __init__(
        self,
        showing: Showing,
        reply: Kind,
        wake: Callable[[], None],
        *,
        echo: bool,
        voice: Callable[[], Voice] | None = None,
        stages: Mapping[str, Histogram] | None = None,
        heard: Callable[[Motion], None] | None = None,
        shown: Callable[[NDArray[np.uint8]], None] | None = None,
    ) -> None:
        self._echo = echo
        self._voice = voice
        self._waiting = Queue()
        self._living = Chain[AudioChunk, Motion](
            WithSound(Lips(LipsOptions(listen="live"))), Presence(PresenceOptions(ahead_s=AHEAD_S)), Resample(Fraction(FPS))
        )  # fmt: skip
        self._says = Says(showing.character, showing.intensity)
        self._said_by = (showing.character, showing.intensity)
        self._ticks: deque[tuple[int, Pcm]] = deque()  # of the moments whose pictures are not drawn yet
        self._n_ticks = 0
        self._texts: deque[str] = deque()
        self._n_interrupts = 0
        self._n_left_out = 0  # pictures since one was shown
        self._begun = time.perf_counter()
        super().__init__(_NO_CAMERA, showing, reply, wake, stages=stages, heard=heard, shown=shown)

    def push(self, media: Media) -> None:
        """Sound to be said. Raises InputError for what is none, or too much."""
        if media.kind is not Kind.PCM16:
            raise InputError(f"the session hears and does not see; found {media.kind.name}, wanted PCM16")
        self.stats.received += 1
        if not self.paused:
            self._waiting.put(media.time_us, np.frombuffer(media.payload, "<i2").astype(np.float32) / 32768)

    def ask_seeing(self, action: Callable[[Seeing], None]) -> None:
        raise InputError("the session hears and does not see; wanted driver camera for what a camera sees")

    def say(self, text: str) -> None:
        """Let a voice say a text, after what waits. Raises InputError where there is no voice, or too much to say."""
        if self._voice is None:
            raise InputError("this server has no voice; wanted sound")
        if len(self._texts) >= MOST_TEXTS:
            raise InputError(f"{len(self._texts)} texts wait to be said; wanted at most {MOST_TEXTS}")
        with self._ready:
            self._texts.append(text)
            self._ready.notify_all()

    def interrupt(self) -> None:
        """Say no more of what waits."""
        with self._ready:
            self._n_interrupts += 1
            self._texts.clear()
            self._waiting.clear()

    def _steps(self) -> dict[Half, Callable[[], None]]:
        return {"show": self._tick, "say": self._say_next}

    def _say_next(self) -> None:
        with self._ready:
            self._ready.wait_for(lambda: self._stopped or self._texts)
            if self._stopped:
                return
            text, n_interrupts = self._texts.popleft(), self._n_interrupts

        def speak() -> None:
            assert self._voice is not None
            pcm = self._voice().speak(text).pcm
            if n_interrupts == self._n_interrupts:
                self._waiting.add(pcm)

        self._usable(speak)

    def _tick(self) -> None:
        due = self._begun + self._n_ticks / FPS
        with self._ready:
            if self._ready.wait_for(lambda: self._stopped, timeout=max(0.0, due - time.perf_counter())):
                return
        at, pcm = self._waiting.tick()
        if not self._echo and len(self._waiting) > LATE * TICK and time.perf_counter() < due + 1 / FPS:
            # A microphone whose clock is faster than ours, or that was held up: the next tick is due at once.
            self._begun -= 1 / FPS
        self._ticks.append((at, pcm))
        moment = Fraction(self._n_ticks, FPS)
        self._n_ticks += 1
        with self._timed("see"):
            living = list(self._living.push(AudioChunk(time=moment, pcm=pcm)))
        self._keep_to_character()
        for motion in living:
            if self._heard is not None:
                self._heard(motion)
            for own in self._says.push(motion):
                self._draw(own, due)

    def _keep_to_character(self) -> None:
        """Another character, or intensity, begins with the next moment; the sound of those held back is not lost."""
        character, intensity = self.showing.character, self.showing.intensity
        if self._said_by[0] is not character or self._said_by[1] != intensity:
            for own in self._says.flush():
                self._sound_until(own.time)
            self._said_by, self._says = (character, intensity), Says(character, intensity)

    def _draw(self, motion: Motion, due: float) -> None:
        at = self._sound_until(motion.time)
        if time.perf_counter() - due > LATE / FPS and self._n_left_out < FROZEN:
            self.stats.dropped += 1
            self._n_left_out += 1
            return
        self._n_left_out = 0
        with self._timed("show"):
            rgb = self.showing.draw(motion)
        with self._timed("encode"):
            message = self._message(at, rgb)
        gone = time.perf_counter() - due
        self.stats.rendered += 1
        self._stages["whole"].observe(gone)
        self.stats.delays_ms.append(gone * 1e3)
        self.send(message)
        self._show_others(message, rgb)

    def _sound_until(self, moment: Fraction) -> int:
        """Send the sound up to a moment; its capture time, us."""
        at = 0
        for _ in range(int(moment * FPS) - (self._n_ticks - len(self._ticks)) + 1):
            at, pcm = self._ticks.popleft()
            if self._echo:
                self.send(pack(Kind.PCM16, at, np.clip(np.rint(pcm * 32768), -32768, 32767).astype("<i2").tobytes()))
        return at


class _NoCamera(Seeing):
    """What a session without pictures sees."""

    def __init__(self) -> None:
        self.mirror = False


_NO_CAMERA = _NoCamera()
