"""All that one server holds: its characters, the sessions that are live, who looks on, and the figures.

Used by the event loop alone. It opens no sockets (`server.connection`) and draws nothing (`server.live`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, get_args
from urllib.parse import urlsplit

import numpy as np
from fastapi import HTTPException, WebSocket
from numpy.typing import NDArray

from audio.voice import Voice
from perfcap.face import MediaPipeFaces
from runtime.errors import InputError
from runtime.records import N_EXPRESSION, N_LANDMARKS, Motion
from server.cast import Cast
from server.live import STAGES, LiveSession, Stats
from server.metrics import Histogram, exposition
from server.painting import Painting
from server.performing import Seeing, Showing
from server.speaking import SpeakingSession
from server.wire import Close, Driver, Hello, Renderer, WireError, say

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client may do, and how long anything is waited for."""

    sessions: int = 8
    watchers: int = 16
    messages: int = 130  # of one client, a second
    bytes: int = 12 << 20  # of one client, a second
    hello_s: float = 10.0  # a client that says nothing for so long is let go
    silent_s: float = 60.0
    resume_s: float = 20.0  # a session whose connection dropped is kept for so long
    drain_s: float = 3.0  # pictures that are here when the server is told to stop are finished within


@dataclass
class Held:
    """A session and the connection it has just now, if any."""

    key: str
    character: str  # its name
    driver: Driver
    renderer: Renderer
    session: LiveSession
    showing: Showing  # the newest, which the session goes over to before its next picture
    finder: MediaPipeFaces | None
    something: asyncio.Event  # there is something to send
    socket: WebSocket | None = None
    forget: asyncio.TimerHandle | None = None

    @property
    def label(self) -> str:
        """What logs call the session: its key lets whoever knows it take the session over."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:8]


@dataclass
class House:
    cast: Cast
    limits: Limits = field(default_factory=Limits)
    origins: frozenset[str] = frozenset()  # further pages that may connect
    outputs: list[Callable[[Motion], None]] = field(default_factory=list)  # what the newest session's Motion goes to
    screens: list[Callable[[NDArray[np.uint8]], None]] = field(default_factory=list)  # and its pictures [H, W, 3]
    beside: list[Callable[[], Coroutine[Any, Any, None]]] = field(
        default_factory=list
    )  # what runs while the server does
    voice: Callable[[], Voice] | None = None  # what says a text
    painting: Painting | None = None  # the network of the diffusion renderer
    renderer: Renderer = "warp"  # what draws where a client does not say
    live: dict[str, Held] = field(default_factory=dict)  # by key, oldest first
    newest: str | None = None  # key of the session that moves what is outside; its threads ask
    n_watchers: int = 0
    draining: bool = False
    n_sessions: int = 0
    past: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Stats.COUNTS, 0))  # of sessions that ended
    stages: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in STAGES})
    joining: asyncio.Lock = field(default_factory=asyncio.Lock)

    def check_origin(self, origin: str | None, host: str | None) -> None:
        """Let only the server's own page, other programs, and pages named at the start ask for anything."""
        if origin is None or origin in self.origins or (host is not None and urlsplit(origin).netloc == host):
            return
        raise HTTPException(403, "pages from elsewhere may not connect; name them with --origin")

    async def join(self, hello: Hello, key: str, socket: WebSocket) -> Held:
        """The session that was asked for: one that is here, or a new one. Raises InputError and WireError."""
        if hello.character is not None or key not in self.live:
            # Slow where it is not ready, and whoever joins meanwhile is not to wait for it.
            await asyncio.to_thread(self.cast.character, hello.character or self.cast.names()[0])
        async with self.joining:
            held = self.live.get(key)
            if held is not None and (held.session.failed or held.driver != hello.driver):
                await self._put_out(held)
                held = None
            if held is None:
                held = await self._begin(hello, key)
            else:
                await self._take_up(held, hello)
            held.socket = socket
            held.something.set()
            return held

    async def _begin(self, hello: Hello, key: str) -> Held:
        await self._make_room()
        name, renderer = hello.character or self.cast.names()[0], hello.renderer or self.renderer
        loop, something = asyncio.get_running_loop(), asyncio.Event()
        showing = await asyncio.to_thread(self.showing, name, renderer)
        session, finder = await asyncio.to_thread(self._session, hello, key, showing, lambda: call(loop, something))
        held = self.live[key] = Held(key, name, hello.driver, renderer, session, showing, finder, something)
        self.newest = key
        self.n_sessions += 1
        log.info("a session begins", extra={"session": held.label})
        return held

    def _session(
        self, hello: Hello, key: str, showing: Showing, wake: Callable[[], None]
    ) -> tuple[LiveSession, MediaPipeFaces | None]:
        def heard(motion: Motion) -> None:
            if key == self.newest:
                for output in self.outputs:
                    output(motion)

        def shown(rgb: NDArray[np.uint8]) -> None:
            if key == self.newest:
                for screen in self.screens:
                    screen(rgb)

        if hello.driver == "camera":
            finder = MediaPipeFaces()
            return LiveSession(
                Seeing(finder), showing, hello.reply, wake, stages=self.stages, heard=heard, shown=shown
            ), finder
        echo = hello.driver == "speech"
        return SpeakingSession(
            showing, hello.reply, wake, echo=echo, voice=self.voice, stages=self.stages, heard=heard, shown=shown
        ), None

    @property
    def renderers(self) -> list[Renderer]:
        """Those there are; the first draws where a client does not say."""
        offered = [name for name in get_args(Renderer) if name == "warp" or self.painting is not None]
        return sorted(offered, key=lambda name: name != self.renderer)

    def showing(self, name: str, renderer: Renderer) -> Showing:
        """A character ready to go on; slow. Raises InputError where there is no such character or renderer."""
        if renderer == "warp":
            return Showing(self.cast.character(name))
        if self.painting is None:
            raise InputError(
                "the server has no weights for the diffusion renderer; wanted --weights of understudy serve"
            )
        return Showing(self.cast.character(name), painter=self.painting.painter())

    def warm(self) -> None:
        """Make the first character ready before anybody asks: compiled code and networks load meanwhile."""
        with contextlib.suppress(InputError):
            showing = self.showing(self.cast.names()[0], self.renderer)
            showing.draw(replace(_REST, head=showing.character.head, face=showing.character.face))
        gc.freeze()  # what is loaded stays: looking through it all again would hold up every thread for .1 s

    async def recast(self, held: Held, name: str, renderer: Renderer) -> None:
        """Let another character go on, or another renderer draw it; raises InputError."""
        held.showing = await asyncio.to_thread(self.showing, name, renderer)
        held.session.cast(held.showing)
        held.character, held.renderer = name, renderer
        H, W = held.showing.character.rgb.shape[:2]
        held.session.send(say("cast", character=name, renderer=renderer, width=W, height=H))

    async def _take_up(self, held: Held, hello: Hello) -> None:
        if held.forget is not None:
            held.forget.cancel()
            held.forget = None
        await self._disconnect(held)
        held.session.take()  # what was for the connection before
        held.session.answer(hello.reply)
        name, renderer = hello.character or held.character, hello.renderer or held.renderer
        if (name, renderer) != (held.character, held.renderer):
            await self.recast(held, name, renderer)
        log.info("a session goes on", extra={"session": held.label})

    async def _disconnect(self, held: Held) -> None:
        before, held.socket = held.socket, None
        if before is not None:
            await close(before, Close.TAKEN_OVER, "this session was opened elsewhere")

    async def _put_out(self, held: Held) -> None:
        """End a session that cannot be gone on with under its own key."""
        await self._disconnect(held)
        await self.end(held)

    async def _make_room(self) -> None:
        if len(self.live) >= self.limits.sessions:
            waiting = next((h for h in self.live.values() if h.socket is None), None)
            if waiting is None:
                raise WireError(Close.TOO_MUCH, f"{self.limits.sessions} sessions are open already")
            await self.end(waiting)

    async def leave(self, held: Held, socket: WebSocket, *, for_good: bool) -> None:
        """A connection is gone; the session waits for it to come back, or ends."""
        if held.socket is not socket:
            return  # the session lives on in another connection
        held.socket = None
        if for_good or self.draining or held.session.failed:
            await self.end(held)
        else:
            log.info("a session waits to be taken up again", extra={"session": held.label})
            loop = asyncio.get_running_loop()
            held.forget = loop.call_later(self.limits.resume_s, lambda: loop.create_task(self.end(held)))

    async def end(self, held: Held) -> None:
        """Give back all that a session took."""
        if self.live.get(held.key) is not held:
            return
        del self.live[held.key]
        self.newest = next(reversed(self.live), None)
        if held.forget is not None:
            held.forget.cancel()
        await asyncio.to_thread(held.session.close)
        if held.finder is not None:
            held.finder.close()
        for name, count in held.session.stats.counts().items():
            self.past[name] += count
        log.info("a session ends", extra={"session": held.label, **held.session.stats.summary()})

    async def drain(self) -> None:
        """Finish what is here, tell every client, end every session."""
        self.draining = True
        everybody = list(self.live.values())
        log.info("the server stops", extra={"sessions": len(everybody)})
        await asyncio.gather(*(asyncio.to_thread(h.session.finish, self.limits.drain_s) for h in everybody))
        await asyncio.sleep(0.05)  # what was just drawn is sent
        for held in everybody:
            if held.socket is not None:
                await close(held.socket, Close.GOING_AWAY, "the server stops")
            await self.end(held)

    def metrics(self) -> str:
        """Prometheus' text format."""
        sessions = [held.session for held in self.live.values()]
        counts = {"sessions": self.n_sessions}
        for name in Stats.COUNTS:
            counts[name] = self.past[name] + sum(getattr(s.stats, name) for s in sessions)
        if self.painting is not None:
            counts.update(self.painting.counts())
        depths = [s.depths for s in sessions]
        levels = {
            "live_sessions": len(sessions), "watchers": self.n_watchers,
            "waiting_pictures": sum(waiting for waiting, _ in depths), "unsent_messages": sum(unsent for _, unsent in depths),
        }  # fmt: skip
        return exposition(counts, levels, self.stages, "understudy")


_REST = Motion(
    time=Fraction(0), head=np.eye(4, dtype=np.float32), expression=np.zeros(N_EXPRESSION, np.float32),
    gaze=np.zeros((2, 2), np.float32), face=np.zeros((N_LANDMARKS, 3), np.float32), confidence=0.0,
)  # fmt: skip


def call(loop: asyncio.AbstractEventLoop, something: asyncio.Event) -> None:
    """From another thread: there is something to send."""
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(something.set)


async def close(socket: WebSocket, code: Close, reason: str) -> None:
    """Close a connection, whatever state it is in, without waiting long for a client that does not read."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(socket.close(int(code), reason.encode()[:120].decode(errors="ignore")), 2)
