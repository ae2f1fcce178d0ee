"""One live session: what a client's camera sees, performed by a character, picture by picture.

Two threads of its own, so that one picture is looked at while the one before is drawn, between two bounded
queues: pictures to be performed and messages to be sent. When behind, the oldest picture not yet performed is
dropped and counted, nowhere else and nothing else. It knows messages (`server.wire`), not sockets.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.records import Motion
from server.h264 import H264Reader, H264Writer, is_key
from server.metrics import Histogram
from server.performing import Picture, Seeing, Seen, Showing, SteadyClock
from server.pictures import cut_out, decode, encode, encode_cut_out
from server.wire import Kind, Media, pack, say

log = logging.getLogger(__name__)

WAITING = 2  # pictures that wait to be performed
UNSENT = 6  # pictures that wait to be sent
UNDRAWN_S = 10.0  # how long drawing is taken to last until a picture was drawn
ASK_EVERY = 15  # pictures that hang on one that never came, until a key frame is asked for again
Half = Literal["see", "show", "say"]
UNREAD = 600  # pieces of sound and words that wait, from which on nobody reads any more: 24 s
STAGES = ("wait", "decode", "see", "show", "encode", "whole")


@dataclass
class Stats:
    """What a session did so far, and how long the last of it took."""

    received: int = 0
    rendered: int = 0
    dropped: int = 0
    refused: int = 0
    faceless: int = 0
    delays_ms: deque[float] = field(default_factory=lambda: deque(maxlen=300))  # picture in to picture out

    COUNTS: ClassVar = ("received", "rendered", "dropped", "refused", "faceless")

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.COUNTS}

    def summary(self) -> dict[str, float]:
        delays = np.array(self.delays_ms) if self.delays_ms else np.zeros(1)
        p50, p99 = np.percentile(delays, (50, 99))
        return {**self.counts(), "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


class Watcher:
    """Somebody who looks on: the newest picture and no other, whole or cut out."""

    def __init__(self, cut_out: bool, wake: Callable[[], None]) -> None:
        self.cut_out = cut_out
        self._wake = wake
        self._newest: deque[bytes] = deque(maxlen=1)

    def show(self, message: bytes) -> None:
        self._newest.append(message)
        self._wake()

    def take(self) -> bytes | None:
        return self._newest.popleft() if self._newest else None


@dataclass(frozen=True)
class _Due:
    """A picture on its way through a session."""

    media: Media
    since: float  # when it came, seconds of the steady clock
    after_gap: bool = False  # whether one before it never came this far
    seen: Seen | None = None


class LiveSession:
    """Seeing and Showing in two threads between a queue of pictures and one of messages.

    `wake` is called from the threads whenever `take` has something. `heard` is given every captured Motion,
    `shown` every picture [H, W, 3] of the character.
    """

    def __init__(
        self,
        seeing: Seeing,
        showing: Showing,
        reply: Kind,
        wake: Callable[[], None],
        *,
        stages: Mapping[str, Histogram] | None = None,
        heard: Callable[[Motion], None] | None = None,
        shown: Callable[[NDArray[np.uint8]], None] | None = None,
    ) -> None:
        self.seeing = seeing
        self.showing = showing
        self.reply = reply
        self.wake = wake
        self.paused = False
        self.failed = False  # an error of our own ended a thread
        self.stats = Stats()
        self.watchers: set[Watcher] = set()
        self._reader, self._writer = H264Reader(), H264Writer()
        self._gap = False  # whether the next picture may hang on one that never came
        self._n_hanging = 0  # pictures one after the other that did
        self._stages = stages or {name: Histogram() for name in STAGES}
        self._heard = heard
        self._shown = shown
        self._clock = SteadyClock()
        self._ready = threading.Condition()
        self._pictures: deque[_Due] = deque()
        self._seen: _Due | None = None  # handed over from one thread to the other
        self._looks_s, self._draws_s = 0.0, UNDRAWN_S  # for a picture, rather too long and rather too short
        self._shows_since: float | None = None  # when drawing began, while it goes on
        self._asked: dict[Half, list[Callable[[], None]]] = {"see": [], "show": [], "say": []}
        self._unsent: deque[bytes | str] = deque()
        self._stopped = False
        self._busy = 0  # pictures between the queues
        self._threads = [
            threading.Thread(target=self._run, args=(half, step), name=f"live {half}", daemon=True)
            for half, step in self._steps().items()
        ]
        for thread in self._threads:
            thread.start()

    def _steps(self) -> dict[Half, Callable[[], None]]:
        """What each thread does over and over."""
        return {"see": self._see, "show": self._show}

    def push(self, media: Media) -> None:
        """A picture to be performed. Where too many wait, the oldest is dropped."""
        with self._ready:
            self.stats.received += 1
            if self.paused or self._stopped:
                self._gap = True
                return
            self._pictures.append(_Due(media, time.perf_counter(), self._gap))
            self._gap = False
            while len(self._pictures) > WAITING:
                self._pictures.popleft()
                self._pictures[0] = replace(self._pictures[0], after_gap=True)
                self.stats.dropped += 1
            self._ready.notify_all()

    def ask_seeing(self, action: Callable[[Seeing], None]) -> None:
        """Something to be done to what sees, between two pictures."""
        self._ask("see", lambda: action(self.seeing))

    def ask_showing(self, action: Callable[[Showing], None]) -> None:
        """Something to be done to what shows, between two pictures."""
        self._ask("show", lambda: action(self.showing))

    def cast(self, showing: Showing) -> None:
        """Let another character go on."""

        def change() -> None:
            showing.take_over(self.showing)
            self.showing = showing

        self._ask("show", change)

    def answer(self, reply: Kind) -> None:
        """Somebody else sends and reads from now on: neither side knows the other's last picture."""
        self.reply, self._gap = reply, True
        self.begin_anew()

    def begin_anew(self) -> None:
        """Let the next picture hang on none before it."""
        self._writer.begin_anew()

    def send_stats(self) -> None:
        self.send(say("stats", **self.stats.summary()))

    def send(self, message: bytes | str) -> None:
        """Put a message last. Of more pictures than UNSENT the oldest goes: the client reads too slowly.

        Sound and words are never left out; where far too many of them wait, the session has failed.
        """
        with self._ready:
            self._unsent.append(message)
            pictures = [m for m in self._unsent if isinstance(m, bytes) and m[0] != Kind.PCM16]
            if len(pictures) > UNSENT:
                if pictures[0][0] != Kind.H264:
                    pictures = pictures[:1]
                else:  # those that follow hang on it
                    self._writer.begin_anew()
                for picture in pictures:
                    self._unsent.remove(picture)
                self.stats.dropped += len(pictures)
            elif len(self._unsent) - len(pictures) > UNREAD:
                self._unsent.clear()
                self.fail()
        self.wake()

    def take(self) -> list[bytes | str]:
        """What is to be sent, oldest first."""
        with self._ready:
            out = list(self._unsent)
            self._unsent.clear()
            return out

    @property
    def depths(self) -> tuple[int, int]:
        """How many pictures wait to be performed, and how many messages to be sent."""
        return len(self._pictures), len(self._unsent)

    def finish(self, within_s: float) -> None:
        """Take no more pictures and perform those that are here, if that can be done in time."""
        with self._ready:
            self.paused = True
            self._ready.wait_for(lambda: not self._pictures and not self._busy, timeout=within_s)

    def fail(self) -> None:
        """An error of our own: whoever sends is to say so."""
        with self._ready:
            self.failed = self._stopped = True
            self._ready.notify_all()
        self.wake()

    def close(self) -> None:
        """Stop both threads. Raises nothing; may be called twice."""
        with self._ready:
            self._stopped = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join(timeout=10)

    def _ask(self, half: Half, action: Callable[[], None]) -> None:
        with self._ready:
            self._asked[half].append(action)
            self._ready.notify_all()

    def _run(self, half: Half, step: Callable[[], None]) -> None:
        try:
            while not self._stopped:
                with self._ready:
                    asked, self._asked[half] = self._asked[half], []
                for action in asked:
                    self._usable(action)
                step()
        except Exception:
            log.exception("a live session failed")
            self.fail()

    def _usable(self, action: Callable[[], None]) -> bool:
        """Do something with what a client sent; False, and the client is told, where that is no good."""
        try:
            action()
        except InputError as error:
            self.refuse(error)
            return False
        return True

    def refuse(self, error: InputError) -> None:
        """Tell the client why what it sent is no good."""
        self.stats.refused += 1
        self.send(say("error", message=str(error)))

    def _see(self) -> None:
        with self._ready:
            self._ready.wait_for(lambda: self._stopped or self._pictures or self._asked["see"])
            self._wait_until_wanted()
            if self._stopped or not self._pictures:
                return
            due = self._pictures.popleft()
            self._busy += 1
        begun = time.perf_counter()
        found: list[Seen] = []
        self._usable(lambda: found.extend(self._look(due)))
        self._looks_s = max(time.perf_counter() - begun, 0.8 * self._looks_s)
        with self._ready:
            self._ready.wait_for(lambda: self._stopped or self._seen is None)
            if found:
                self._seen = replace(due, seen=found[0])
            else:
                self._busy -= 1
            self._ready.notify_all()

    def _wait_until_wanted(self) -> None:
        """Where drawing is the slower half, look only as soon as is needed to be done with it: newer pictures may come."""
        if self._shows_since is not None:
            early = self._shows_since + self._draws_s - self._looks_s - time.perf_counter()
            self._ready.wait_for(lambda: self._stopped or self._shows_since is None, timeout=max(0.0, early))

    def _look(self, due: _Due) -> list[Seen]:
        self._stages["wait"].observe(time.perf_counter() - due.since)
        with self._timed("decode"):
            rgb = decode(due.media) if due.media.kind is not Kind.H264 else self._decode_unit(due)
        if rgb is None:
            return []
        with self._timed("see"):
            seen = self.seeing(Picture(self._clock(due.media.time_us), rgb))
        self.stats.faceless += seen.motion.confidence == 0
        if self._heard is not None:
            self._heard(seen.motion)
        return [seen]

    def _decode_unit(self, due: _Due) -> NDArray[np.uint8] | None:
        """None where it hangs on a picture that never came: then the client is asked for one that does not."""
        if due.after_gap:
            self._reader.lost()
        if not self._reader.waits or is_key(due.media.payload):
            self._n_hanging = 0
            return self._reader(due.media.payload)
        if self._n_hanging % ASK_EVERY == 0:
            self.send(say("keyframe"))
        self._n_hanging += 1
        self.stats.dropped += 1
        return None

    def _message(self, time_us: int, rgb: NDArray[np.uint8]) -> bytes:
        reply = self.reply
        return pack(reply, time_us, self._writer(rgb) if reply is Kind.H264 else encode(rgb, reply))

    def _show(self) -> None:
        with self._ready:
            self._ready.wait_for(lambda: self._stopped or self._seen or self._asked["show"])
            due = self._seen
            if self._stopped or due is None:
                return
            self._seen = None
            begun = self._shows_since = time.perf_counter()
            self._ready.notify_all()
        assert due.seen is not None
        with self._timed("show"):
            rgb = self.showing(due.seen)
        with self._timed("encode"):
            message = self._message(due.media.time_us, rgb)
        gone = time.perf_counter() - due.since
        self._stages["whole"].observe(gone)
        self.stats.rendered += 1
        self.stats.delays_ms.append(gone * 1e3)
        self.send(message)
        self._show_others(message, rgb)
        with self._ready:
            self._busy -= 1
            self._draws_s, self._shows_since = min(time.perf_counter() - begun, 1.25 * self._draws_s), None
            self._ready.notify_all()

    def _show_others(self, message: bytes, rgb: NDArray[np.uint8]) -> None:
        if self._shown is not None:
            self._shown(rgb)
        watchers = list(self.watchers)
        if not watchers:
            return
        time_us = int.from_bytes(message[1:9], "big", signed=True)
        whole = alone = b""
        for watcher in watchers:
            if watcher.cut_out:
                own = (rgb, self.showing.opacity, self.showing.behind)
                alone = alone or pack(Kind.JPEG, time_us, encode_cut_out(*cut_out(*own)))
            elif message[0] != Kind.JPEG:
                whole = whole or pack(Kind.JPEG, time_us, encode(rgb, Kind.JPEG))
            watcher.show(alone if watcher.cut_out else whole or message)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._stages[stage].observe(time.perf_counter() - begun)
