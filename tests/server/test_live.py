from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import template
from perfcap.face import FaceMesh
from runtime.records import Motion
from server.h264 import H264Writer, is_key
from server.live import UNREAD, UNSENT, WAITING, LiveSession, Watcher
from server.performing import Picture, Seeing, Seen, Showing
from server.pictures import encode
from server.wire import Kind, Media, unpack

Rgb = NDArray[np.uint8]


class NoFaces:
    def find(self, rgb: Rgb) -> list[FaceMesh]:
        return []


class Gated(Seeing):
    """Sees nothing, and waits to be told before each picture."""

    def __init__(self) -> None:
        super().__init__(NoFaces())
        self.go = threading.Semaphore(0)
        self.fails = False

    def __call__(self, picture: Picture) -> Seen:
        assert self.go.acquire(timeout=60)
        if self.fails:
            raise RuntimeError("made to fail")
        motion = Motion(
            time=picture.time, head=np.eye(4, dtype=np.float32), expression=np.zeros(52, np.float32),
            gaze=np.zeros((2, 2), np.float32), face=template(), confidence=1.0,
        )  # fmt: skip
        return Seen(motion)


class Grey(Showing):
    """Draws the same grey picture, of nobody."""

    def __init__(self, grey: int = 100) -> None:
        self._grey = grey

    def __call__(self, seen: Seen) -> Rgb:
        return np.full((16, 16, 3), self._grey, np.uint8)

    def take_over(self, other: Showing) -> None:
        pass

    @property
    def opacity(self) -> NDArray[np.uint8]:
        return np.zeros((16, 16), np.uint8)

    @property
    def behind(self) -> Rgb | None:
        return None


def media(i: int) -> Media:
    return Media(Kind.JPEG, i, encode(np.zeros((16, 16, 3), np.uint8), Kind.JPEG))


@pytest.fixture
def gated() -> Gated:
    return Gated()


@pytest.fixture
def session(gated: Gated) -> Iterator[LiveSession]:
    session = LiveSession(gated, Grey(), Kind.JPEG, lambda: None)
    yield session
    for _ in range(9):
        gated.go.release()
    session.close()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert what()


def times(session: LiveSession) -> list[int]:
    return [unpack(m).time_us for m in session.take() if isinstance(m, bytes)]


def test_when_behind_the_oldest_waiting_picture_is_dropped_and_counted(session: LiveSession, gated: Gated) -> None:
    session.push(media(0))
    until(lambda: session.depths[0] == 0)  # the first is being looked at
    for i in range(1, 6):
        session.push(media(i))
    for _ in range(1 + WAITING):
        gated.go.release()
    until(lambda: session.stats.rendered == 1 + WAITING)
    until(lambda: session.depths[1] == 3)
    assert times(session) == [0, 4, 5]
    assert session.stats.dropped == 3


def test_a_client_that_does_not_read_loses_the_oldest_pictures_and_memory_stays_bounded(
    session: LiveSession, gated: Gated
) -> None:
    for i in range(20):
        gated.go.release()
        session.push(media(i))
        until(lambda: session.stats.rendered == i + 1)  # noqa: B023
    assert times(session) == list(range(20 - UNSENT, 20))
    for _ in range(2 * UNREAD):
        session.send_stats()
    assert session.depths[1] <= UNREAD
    assert session.failed


def test_where_drawing_is_slow_a_picture_is_looked_at_only_when_it_can_be_drawn(
    session: LiveSession, gated: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = threading.Semaphore(0)

    def slowly(self: Grey, seen: Seen) -> Rgb:
        assert drawn.acquire(timeout=60)
        return np.zeros((16, 16, 3), np.uint8)

    monkeypatch.setattr(Grey, "__call__", slowly)
    for _ in range(3):
        gated.go.release()
    session.push(media(0))
    until(lambda: session._shows_since is not None)
    for i in range(1, 4):
        session.push(media(i))
    for _ in range(3):
        drawn.release()
    until(lambda: session.stats.rendered == 3)
    assert times(session) == [0, 2, 3]  # 1 was not looked at while 0 was drawn, and newer ones came
    assert session.stats.dropped == 1


def test_a_picture_that_cannot_be_used_is_said_and_the_session_goes_on(session: LiveSession, gated: Gated) -> None:
    session.push(Media(Kind.JPEG, 1, b"\xff\xd8\xffbroken"))
    gated.go.release()
    session.push(media(2))
    until(lambda: session.stats.rendered == 1)
    assert any(isinstance(m, str) and "damaged" in m for m in session.take())
    assert session.stats.refused == 1


def test_a_paused_session_takes_pictures_in_and_performs_none(session: LiveSession) -> None:
    session.paused = True
    session.push(media(1))
    assert session.stats.received == 1
    assert session.depths[0] == 0


def test_an_error_of_our_own_ends_the_session_and_says_so(session: LiveSession, gated: Gated) -> None:
    woken = threading.Event()
    session.wake = woken.set
    gated.fails = True
    gated.go.release()
    session.push(media(1))
    assert woken.wait(60)
    assert session.failed


def test_another_character_goes_on_from_the_next_picture(session: LiveSession, gated: Gated) -> None:
    session.cast(Grey(200))
    gated.go.release()
    until(lambda: isinstance(session.showing, Grey) and session.showing._grey == 200)


def units(n: int) -> list[bytes]:
    writer = H264Writer()
    return [writer(np.full((16, 16, 3), 9 * i, np.uint8)) for i in range(n)]


def test_where_a_unit_of_h264_was_dropped_a_key_frame_is_asked_for_and_awaited(
    session: LiveSession, gated: Gated
) -> None:
    stream = units(7)
    session.push(Media(Kind.H264, 0, stream[0]))
    until(lambda: session.depths[0] == 0)
    for i in range(1, 5):
        session.push(Media(Kind.H264, i, stream[i]))  # two of them are dropped, and what is left hangs on them
    gated.go.release()
    until(lambda: session.stats.dropped == 4)
    session.push(Media(Kind.H264, 5, stream[5]))
    session.push(Media(Kind.H264, 6, units(1)[0]))
    gated.go.release()
    until(lambda: session.stats.rendered == 2)
    until(lambda: session.depths[1] == 3)
    sent = session.take()
    assert [unpack(m).time_us for m in sent if isinstance(m, bytes)] == [0, 6]
    assert [m for m in sent if isinstance(m, str)] == ['{"type":"keyframe"}']
    assert (session.stats.dropped, session.stats.refused) == (5, 0)
    session.paused = True
    session.push(Media(Kind.H264, 7, stream[1]))
    session.paused = False
    session.push(Media(Kind.H264, 8, stream[2]))
    until(lambda: session.stats.dropped == 6)
    assert session.take() == ['{"type":"keyframe"}']


def test_h264_that_comes_back_begins_anew_for_a_new_reader_and_where_one_is_not_read(
    session: LiveSession, gated: Gated
) -> None:
    def perform(i: int) -> None:
        gated.go.release()
        session.push(media(i))
        until(lambda: session.stats.rendered == i + 1)
        until(lambda: bool(session.depths[1]) or session.stats.dropped > 0)

    def keys() -> list[bool]:
        return [is_key(unpack(m).payload) for m in session.take() if isinstance(m, bytes)]

    session.answer(Kind.H264)
    for i in range(3):
        perform(i)
    assert keys() == [True, False, False]
    session.answer(Kind.H264)
    perform(3)
    assert keys() == [True]
    for i in range(4, 4 + UNSENT + 2):
        perform(i)
    session.finish(5)
    assert keys() == [True]  # the others are gone, since they hung on the oldest
    assert session.stats.dropped == UNSENT + 1


def test_whoever_looks_on_gets_the_newest_picture_only_whole_or_cut_out(session: LiveSession, gated: Gated) -> None:
    whole, cut_out = Watcher(False, lambda: None), Watcher(True, lambda: None)
    session.watchers |= {whole, cut_out}
    for i in range(3):
        gated.go.release()
        session.push(media(i))
        until(lambda: session.stats.rendered == i + 1)  # noqa: B023
    session.finish(5)
    sizes = []
    for watcher in (whole, cut_out):
        message = watcher.take()
        assert message is not None
        assert unpack(message).time_us == 2
        assert watcher.take() is None
        from server.pictures import decode

        sizes.append(decode(unpack(message)).shape)
    assert sizes == [(16, 16, 3), (16, 32, 3)]


def test_finishing_performs_what_is_here_and_takes_no_more(session: LiveSession, gated: Gated) -> None:
    session.push(media(0))
    session.push(media(1))
    for _ in range(2):
        gated.go.release()
    session.finish(10)
    session.push(media(2))
    assert times(session) == [0, 1]


def test_every_captured_motion_is_told() -> None:
    gated, heard = Gated(), list[Motion]()
    session = LiveSession(gated, Grey(), Kind.JPEG, lambda: None, heard=heard.append)
    gated.go.release()
    session.push(media(0))
    session.finish(10)
    session.close()
    assert [m.time for m in heard] == [Fraction(0)]


def test_what_is_open_is_closed() -> None:
    before = threading.active_count()
    for _ in range(20):
        LiveSession(Gated(), Grey(), Kind.JPEG, lambda: None).close()
    assert threading.active_count() == before
