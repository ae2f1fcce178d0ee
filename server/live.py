"""One live session: what a client's camera sees, performed by a character, picture by picture.

`Performing` is plain and synchronous: a picture in, a picture out. `LiveSession` runs it in a thread of its
own between two bounded queues. When behind, the oldest picture not yet rendered is dropped and counted. It
knows messages (`server.wire`), not sockets.
"""

from __future__ import annotations

import io
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from perfcap.capture import Chooser, Perform, Performer, Track, blend
from perfcap.face import FaceFinder, MediaPipeFaces
from runtime.errors import InputError
from runtime.records import Cue, Motion
from server.wire import Kind, Media, say
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character
from synth.warp import WarpRenderer

LEARN = (8, 45, 240)  # faces seen after which the performer's neutral is looked at again
CHANGE_S = 0.6  # how long going over to a better neutral takes
MOMENTS = 40  # of the performer's, kept to anchor by
LARGEST_PX = 4096  # longer side of a picture that is decoded
WAITING = 2  # pictures that wait to be rendered
UNSENT = 6  # pictures that wait to be sent
QUALITY = 85  # of JPEG and WebP


@dataclass(frozen=True)
class Picture:
    """A decoded picture: what `perfcap.capture.Track` takes."""

    time: Fraction
    rgb: NDArray[np.uint8]


def decode(media: Media) -> NDArray[np.uint8]:
    """A JPEG or WebP as RGB [H, W, 3]; raises InputError on what is broken, too large or not supported."""
    import cv2
    from PIL import Image

    if media.kind not in (Kind.JPEG, Kind.WEBP):
        raise InputError(f"a picture is {media.kind.name}; wanted JPEG or WebP")
    try:
        with Image.open(io.BytesIO(media.payload), formats=[media.kind.name]) as header:
            size = header.size  # only the header is read
    except Exception as error:  # whatever a hostile header makes of a parser
        raise InputError(f"a {media.kind.name} picture is damaged; wanted a whole one") from error
    if not 16 <= min(size) <= max(size) <= LARGEST_PX:
        raise InputError(f"a picture is {size[0]}x{size[1]}; wanted sides of 16 to {LARGEST_PX} px")
    bgr = cv2.imdecode(np.frombuffer(media.payload, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"a {media.kind.name} picture is damaged; wanted a whole one")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def encode(rgb: NDArray[np.uint8], kind: Kind) -> bytes:
    import cv2

    way, quality = {Kind.JPEG: (".jpg", cv2.IMWRITE_JPEG_QUALITY), Kind.WEBP: (".webp", cv2.IMWRITE_WEBP_QUALITY)}[kind]
    done, data = cv2.imencode(way, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (quality, QUALITY))
    assert done, "OpenCV could not encode a picture of its own"
    return bytes(data.tobytes())


class Performing:
    """A performer's pictures to a character's. Nothing is known of the performer beforehand."""

    def __init__(self, character: Character, finder: FaceFinder | None = None) -> None:
        self._finder = finder or MediaPipeFaces()
        self._intensity = 3.0
        self.mirror = False
        self.n_faceless = 0
        self._begin(character)

    def _begin(self, character: Character) -> None:
        self._character = character
        self._renderer = WarpRenderer(character)
        self.reset()

    def reset(self) -> None:
        """Forget the performer."""
        self._size: tuple[int, ...] | None = None
        self._track = Track(self._finder, Chooser("largest"))
        self._perform = Perform()
        self._moments: deque[Motion] = deque(maxlen=MOMENTS)
        self._n_seen = 0
        self._retarget: Retarget | None = None
        self._before: Retarget | None = None
        self._changed_at = Fraction(0)

    def perform_as(self, character: Character) -> None:
        self._begin(character)

    @property
    def intensity(self) -> float:
        return self._intensity

    @intensity.setter
    def intensity(self, value: float) -> None:
        self._intensity = value
        self._aim(None)

    def calibrate(self) -> None:
        """Take the performer as they are now for neutral."""
        if self._moments:
            now = self._moments[-1]
            self._perform = Perform(Performer(now.face))
            self._moments = deque([now], maxlen=MOMENTS)
            self._n_seen = LEARN[-1]
            self._aim(now.time)

    def _aim(self, now: Fraction | None) -> None:
        """Carry the performer over to the character anew; from `now` on, little by little."""
        if not self._moments:
            return
        self._before = self._retarget if now is not None else None
        self._changed_at = now or Fraction(0)
        options = RetargetOptions(intensity=self._intensity)
        self._retarget = Retarget(self._character, self._perform.neutral, list(self._moments), options)

    def __call__(self, picture: Picture) -> NDArray[np.uint8]:
        """The character [H, W, 3] doing what the picture shows; at rest until a face has been seen."""
        if self.mirror:
            picture = Picture(picture.time, np.ascontiguousarray(picture.rgb[:, ::-1]))
        if self._size != picture.rgb.shape[:2]:  # a camera that changed: what was followed is elsewhere
            self._size = picture.rgb.shape[:2]
            self._track = Track(self._finder, Chooser("largest"))
        (sighting,) = self._track.push(picture)
        (motion,) = self._perform.push(sighting)
        if sighting.face is None:
            self.n_faceless += 1
        else:
            self._n_seen += 1
            if self._n_seen % 3 == 0 or not self._moments:
                self._moments.append(motion)
            if self._n_seen in LEARN:
                self._aim(motion.time)
        return np.asarray(self._renderer.render(Cue(time=motion.time, motion=self._carried(motion))).rgb, np.uint8)

    def _carried(self, motion: Motion) -> Motion:
        if self._retarget is None:
            c = self._character
            return replace(motion, head=c.head, face=c.face)
        after = self._retarget(motion)
        if self._before is None:
            return after
        share = float(motion.time - self._changed_at) / CHANGE_S
        if share >= 1:
            self._before = None
            return after
        return blend(self._before(motion), after, share * share * (3 - 2 * share))


@dataclass
class Stats:
    """What a session did so far."""

    received: int = 0
    rendered: int = 0
    dropped: int = 0
    refused: int = 0
    delays_ms: deque[float] = field(default_factory=lambda: deque(maxlen=300))  # picture in to picture out

    def summary(self, faceless: int) -> dict[str, float]:
        delays = np.array(self.delays_ms) if self.delays_ms else np.zeros(1)
        p50, p99 = np.percentile(delays, (50, 99))
        return {
            "received": self.received, "rendered": self.rendered, "dropped": self.dropped, "refused": self.refused,
            "faceless": faceless, "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2),
        }  # fmt: skip


class LiveSession:
    """Performing, in a thread, between a queue of pictures to render and one of messages to send.

    `wake` is called from the thread whenever `take` has something.
    """

    def __init__(self, performing: Performing, reply: Kind, wake: Callable[[], None]) -> None:
        self._performing = performing
        self._reply = reply
        self._wake = wake
        self._ready = threading.Condition()
        self._pictures: deque[tuple[Media, float]] = deque()
        self._asked: deque[Callable[[], None]] = deque()
        self._unsent: deque[bytes | str] = deque()
        self._stopped = False
        self.paused = False
        self.stats = Stats()
        self._thread = threading.Thread(target=self._work, name="live", daemon=True)
        self._thread.start()

    def push(self, media: Media) -> None:
        """A picture to be performed. Where too many wait, the oldest is dropped."""
        with self._ready:
            self.stats.received += 1
            if self.paused:
                return
            self._pictures.append((media, time.perf_counter()))
            while len(self._pictures) > WAITING:
                self._pictures.popleft()
                self.stats.dropped += 1
            self._ready.notify()

    def ask(self, action: Callable[[Performing], None]) -> None:
        """Something to be done to what performs, between two pictures."""
        with self._ready:
            self._asked.append(lambda: action(self._performing))
            self._ready.notify()

    def send_stats(self) -> None:
        self._put(say("stats", **self.stats.summary(self._performing.n_faceless)))

    def take(self) -> list[bytes | str]:
        """What is to be sent, oldest first."""
        with self._ready:
            out = list(self._unsent)
            self._unsent.clear()
            return out

    def close(self) -> None:
        with self._ready:
            self._stopped = True
            self._ready.notify()
        self._thread.join(timeout=10)

    def _put(self, message: bytes | str) -> None:
        with self._ready:
            self._unsent.append(message)
            n_pictures = sum(isinstance(m, bytes) for m in self._unsent)
            if n_pictures > UNSENT:  # the client reads too slowly
                oldest = next(m for m in self._unsent if isinstance(m, bytes))
                self._unsent.remove(oldest)
                self.stats.dropped += 1
        self._wake()

    def _work(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._stopped or self._pictures or self._asked)
                if self._stopped:
                    break
                asked = self._asked.popleft() if self._asked else None
                waiting = self._pictures.popleft() if asked is None else None
            try:
                if asked is not None:
                    asked()
                elif waiting is not None:
                    self._render(*waiting)
            except InputError as error:
                self.stats.refused += 1
                self._put(say("error", message=str(error)))
        close = getattr(self._performing, "close", None)
        if close is not None:
            close()

    def _render(self, media: Media, since: float) -> None:
        picture = Picture(Fraction(media.time_us, 1_000_000), decode(media))
        shown = encode(self._performing(picture), self._reply)
        from server.wire import pack

        self.stats.rendered += 1
        self.stats.delays_ms.append((time.perf_counter() - since) * 1e3)
        self._put(pack(self._reply, media.time_us, shown))
