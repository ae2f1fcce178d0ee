from __future__ import annotations

import threading
import time
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from perfcap.written import Script
from runtime.errors import InputError
from server.live import UNSENT, WAITING, LiveSession, Performing, Picture, decode, encode
from server.wire import Kind, Media, pack, unpack
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character, rig
from synth.warp import WarpRenderer

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def character(face: Rgb) -> Character:
    found = MediaPipeFaces(still=True).find(face)
    return rig(face, found[0], template())


def acting(character: Character, n: int) -> list[Rgb]:
    """The character's own picture, its mouth opening and shutting."""
    from runtime.records import Cue

    script = Script(Fraction(n, 30), {"jawOpen": tuple((i / 30, 0.8 * (i // 10 % 2)) for i in range(0, n, 10))})
    motions = [script(Fraction(i, 30)) for i in range(n)]
    retarget, renderer = Retarget(character, template(), motions[:1], RetargetOptions()), WarpRenderer(character)
    return [np.asarray(renderer.render(Cue(time=m.time, motion=retarget(m))).rgb) for m in motions]


def opening(rgb: Rgb, finder: MediaPipeFaces) -> float:
    (found,) = finder.find(rgb)
    p = found.landmarks
    return float((p[14, 1] - p[13, 1]) / np.linalg.norm(p[33, :2] - p[263, :2]))


@pytest.mark.slow
def test_the_character_s_mouth_follows_the_performer_s(character: Character) -> None:
    pictures = acting(character, 80)
    performing = Performing(character)
    shown = [performing(Picture(Fraction(i, 30), p)) for i, p in enumerate(pictures)]
    finder = MediaPipeFaces()
    was, now = (np.array([opening(p, finder) for p in film]) for film in (pictures, shown))
    assert np.corrcoef(was[10:], now[10:])[0, 1] > 0.9


def test_before_a_face_is_seen_the_character_rests(character: Character) -> None:
    performing = Performing(character)
    shown = performing(Picture(Fraction(0), np.full((240, 320, 3), 90, np.uint8)))
    assert shown.shape == character.rgb.shape
    assert np.abs(shown.astype(int) - character.rgb).mean() < 2
    assert performing.n_faceless == 1


def test_a_camera_that_changes_size_and_a_face_that_leaves_are_no_errors(character: Character, face: Rgb) -> None:
    performing = Performing(character)
    half = cv2.resize(face, None, fx=0.5, fy=0.5)
    pictures = [face] * 10 + [half] * 3 + [np.zeros_like(half)] * 3 + [face] * 3
    for i, picture in enumerate(pictures):
        assert performing(Picture(Fraction(i, 30), np.asarray(picture, np.uint8))).shape == character.rgb.shape
    assert performing.n_faceless == 3


def test_calibrating_makes_the_face_of_now_rest(character: Character) -> None:
    pictures = acting(character, 26)
    performing = Performing(character)
    for i, picture in enumerate(pictures[:16]):
        performing(Picture(Fraction(i, 30), picture))  # ends with its mouth wide open
    performing.calibrate()
    for i in range(16, 40):
        shown = performing(Picture(Fraction(i, 30), pictures[15]))
    finder = MediaPipeFaces()
    assert abs(opening(shown, finder) - opening(character.rgb, finder)) < 0.06


@pytest.mark.parametrize(("payload", "says"), [
    (b"\xff\xd8\xff\xe0garbage", "damaged"), (b"\xff\xd8\xff", "damaged"), (b"RIFF0000WEBP", "damaged"),
])  # fmt: skip
def test_a_damaged_picture_is_refused_with_a_sentence(payload: bytes, says: str) -> None:
    kind = Kind.WEBP if payload.startswith(b"RIFF") else Kind.JPEG
    with pytest.raises(InputError, match=says):
        decode(Media(kind, 0, payload))


@pytest.mark.parametrize("side", [(8, 100), (100, 5000)])
def test_a_picture_of_a_senseless_size_is_refused_before_it_is_decoded(side: tuple[int, int]) -> None:
    data = encode(np.zeros((*side, 3), np.uint8), Kind.JPEG)
    with pytest.raises(InputError, match="wanted sides of 16 to 4096 px"):
        decode(Media(Kind.JPEG, 0, data))


def test_no_damage_to_a_jpeg_raises_anything_else(face: Rgb) -> None:
    data = encode(face[:96, :96], Kind.JPEG)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        for at in rng.integers(3, len(data), rng.integers(1, 12)):
            broken[at] = rng.integers(256)
        try:
            assert decode(Media(Kind.JPEG, 0, bytes(broken[: rng.integers(20, len(data))]))).ndim == 3
        except InputError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("kind", [Kind.JPEG, Kind.WEBP])
def test_a_picture_survives_the_wire(kind: Kind, face: Rgb) -> None:
    back = decode(unpack(pack(kind, 5, encode(face, kind))))
    assert np.abs(back.astype(int) - face).mean() < 4


class Slow(Performing):
    """Waits to be told before each picture; draws the time of the picture it performs."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.mirror = False
        self.n_faceless = 0

    def __call__(self, picture: Picture) -> Rgb:
        assert self.go.acquire(timeout=10)
        return np.full((16, 16, 3), 100, np.uint8)


def media(i: int) -> Media:
    return Media(Kind.JPEG, i, encode(np.zeros((16, 16, 3), np.uint8), Kind.JPEG))


def settled(session: LiveSession, n: int) -> None:
    deadline = time.monotonic() + 10
    while session.stats.rendered < n and time.monotonic() < deadline:
        time.sleep(0.002)
    assert session.stats.rendered == n


def test_when_behind_the_oldest_waiting_picture_is_dropped_and_counted() -> None:
    slow = Slow()
    session = LiveSession(slow, Kind.JPEG, lambda: None)
    try:
        session.push(media(0))
        time.sleep(0.2)  # the first is being performed
        for i in range(1, 6):
            session.push(media(i))
        for _ in range(1 + WAITING):
            slow.go.release()
        settled(session, 1 + WAITING)
        shown = [unpack(m).time_us for m in session.take() if isinstance(m, bytes)]
        assert shown == [0, 4, 5]
        assert session.stats.dropped == 3
    finally:
        session.close()


def test_a_client_that_does_not_read_loses_the_oldest_pictures_and_memory_stays_bounded() -> None:
    slow = Slow()
    session = LiveSession(slow, Kind.JPEG, lambda: None)
    try:
        for i in range(20):
            slow.go.release()
            session.push(media(i))
            settled(session, i + 1)
        shown = [unpack(m).time_us for m in session.take() if isinstance(m, bytes)]
        assert shown == list(range(20 - UNSENT, 20))
    finally:
        session.close()


def test_a_picture_that_cannot_be_used_is_said_and_the_session_goes_on() -> None:
    slow = Slow()
    session = LiveSession(slow, Kind.JPEG, lambda: None)
    try:
        session.push(Media(Kind.JPEG, 1, b"\xff\xd8\xffbroken"))
        slow.go.release()
        session.push(media(2))
        settled(session, 1)
        said = session.take()
        assert any(isinstance(m, str) and "damaged" in m for m in said)
        assert session.stats.refused == 1
    finally:
        session.close()


def test_a_paused_session_takes_pictures_in_and_performs_none() -> None:
    slow = Slow()
    session = LiveSession(slow, Kind.JPEG, lambda: None)
    try:
        session.paused = True
        session.push(media(1))
        assert session.stats.received == 1
        assert not session._pictures
    finally:
        session.close()


def test_what_is_open_is_closed() -> None:
    before = threading.active_count()
    for _ in range(20):
        LiveSession(Slow(), Kind.JPEG, lambda: None).close()
    assert threading.active_count() == before
