from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.phones import Phone
from audio.voice import EspeakVoice, Utterance
from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from runtime.errors import InputError
from server.performing import Showing
from server.speaking import FPS, MOST_TEXTS, TICK, Queue, SpeakingSession
from server.wire import Kind, Media, unpack
from synth.rig import Character, rig

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def character(face: Rgb) -> Character:
    return rig(face, MediaPipeFaces(still=True).find(face)[0], template())


def pcm16(n: int, level: float = 0.3) -> bytes:
    """A voice-like buzz."""
    t = np.arange(n) / 16_000
    buzz = np.sign(np.sin(2 * np.pi * 120 * t)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))
    return bytes((level * 32767 * buzz).astype("<i2").tobytes())


def test_waiting_sound_is_cut_into_ticks_each_with_its_capture_time() -> None:
    queue = Queue()
    queue.put(5_000_000, np.full(1000, 0.5, np.float32))
    queue.put(9_000_000, np.full(400, 0.25, np.float32))
    ticks = [queue.tick() for _ in range(4)]
    assert [at for at, _ in ticks] == [5_000_000, 5_040_000, 9_017_500, 9_057_500]
    assert all(len(pcm) == TICK for _, pcm in ticks)
    assert ticks[1][1][:360].tolist() == [0.5] * 360
    assert ticks[1][1][360:].tolist() == [0.25] * 280
    assert ticks[2][1].tolist() == [0.25] * 120 + [0.0] * 520
    assert not ticks[3][1].any()


def test_more_sound_than_anybody_waits_for_is_refused() -> None:
    queue = Queue()
    for _ in range(120):
        queue.put(0, np.zeros(16_000, np.float32))
    with pytest.raises(InputError, match="wanted at most 120"):
        queue.put(0, np.zeros(1, np.float32))
    queue.clear()
    assert len(queue) == 0


class Buzz:
    """A voice that buzzes for a second."""

    def speak(self, text: str) -> Utterance:
        if text == "?":
            raise InputError("nothing can be said of '?'")
        phones = (Phone(Fraction(0), Fraction(1), "a", 0.0),)
        return Utterance(np.frombuffer(pcm16(16_000), "<i2").astype(np.float32) / 32768, phones)


class Client:
    """Everything a session sends, sorted."""

    def __init__(self, session: SpeakingSession) -> None:
        self.session = session
        self.sounds: list[Media] = []
        self.pictures: list[Media] = []
        self.said: list[str] = []
        self.order: list[int] = []

    def until(self, what: Callable[[], bool], within_s: float = 90) -> None:
        deadline = time.monotonic() + within_s
        while not what() and time.monotonic() < deadline:
            for message in self.session.take():
                if isinstance(message, str):
                    self.said.append(message)
                    continue
                media = unpack(message)
                (self.sounds if media.kind is Kind.PCM16 else self.pictures).append(media)
                self.order.append(media.time_us)
            time.sleep(0.01)
        assert what()


@pytest.mark.slow
def test_what_is_pushed_is_said_with_sound_and_picture_of_one_moment_at_one_time(character: Character) -> None:
    session = SpeakingSession(Showing(character), Kind.JPEG, lambda: None, echo=True, voice=Buzz)
    client = Client(session)
    try:
        for i in range(10):
            session.push(Media(Kind.PCM16, 7_000_000 + i * 100_000, pcm16(1600)))
        client.until(lambda: any(m.time_us >= 8_000_000 for m in client.sounds))
        spoken = [m for m in client.sounds if 7_000_000 <= m.time_us < 8_000_000]
        assert [m.time_us for m in spoken] == [7_000_000 + i * 1_000_000 // FPS for i in range(25)]
        back = np.concatenate([np.frombuffer(m.payload, "<i2") for m in spoken])
        assert np.abs(back.astype(int) - np.frombuffer(pcm16(1600) * 10, "<i2")).max() <= 1  # not a sample is lost
        assert {m.time_us for m in client.pictures} <= {m.time_us for m in client.sounds}
        assert client.order == sorted(client.order)

        session.cast(Showing(character))  # nor by another character
        session.say("hello")
        n = len(client.sounds)
        client.until(lambda: len(client.sounds) > n + 2 * FPS)
        loud = [m for m in client.sounds[n:] if np.abs(np.frombuffer(m.payload, "<i2")).max() > 1000]
        assert 25 <= len(loud) <= 26
        assert client.order == sorted(client.order)
    finally:
        session.close()


def test_an_interrupt_ends_what_waits_and_a_text_that_cannot_be_said_is_told(character: Character) -> None:
    session = SpeakingSession(Showing(character), Kind.JPEG, lambda: None, echo=False, voice=Buzz)
    client = Client(session)
    try:
        session.push(Media(Kind.PCM16, 0, pcm16(32_000)))
        session.interrupt()
        assert len(session._waiting) < TICK
        session.say("?")
        client.until(lambda: any("nothing can be said" in m for m in client.said))
        client.until(lambda: len(client.pictures) >= 2)
        assert client.sounds == []  # a microphone's own sound does not come back
        with pytest.raises(InputError, match="wanted PCM16"):
            session.push(Media(Kind.JPEG, 0, b"\xff\xd8\xff"))
        with pytest.raises(InputError, match="wanted driver camera"):
            session.ask_seeing(lambda s: None)
        session._texts.extend(["more"] * 2 * MOST_TEXTS)
        with pytest.raises(InputError, match=f"at most {MOST_TEXTS}"):
            session.say("more")
    finally:
        session.close()


@pytest.mark.slow
def test_in_silence_the_character_rests_and_in_speech_its_lips_move(character: Character) -> None:
    from server.pictures import decode

    pytest.importorskip("espeakng_loader", reason="espeak-ng says what is said; pip install understudy[voice]")
    said = EspeakVoice("en").speak("Father's car is far away, and our large farm starts here.").pcm
    finder = MediaPipeFaces(still=True)

    def opening(media: Media) -> float:
        (face,) = finder.find(decode(media))
        p = face.landmarks[:, :2]
        return float(np.linalg.norm(p[13] - p[14]) / np.linalg.norm(p[33] - p[263]))

    session = SpeakingSession(Showing(character), Kind.JPEG, lambda: None, echo=True)
    client = Client(session)
    try:
        client.until(lambda: len(client.pictures) >= 8)
        quiet = [opening(m) for m in client.pictures[-6:]]
        session.push(Media(Kind.PCM16, 90_000_000, (said * 32767).astype("<i2").tobytes()[: 2 * 32_000]))
        client.until(lambda: any(m.time_us >= 91_500_000 for m in client.pictures))
        spoken = [opening(m) for m in client.pictures if m.time_us >= 90_300_000]
        print(f"the lips' distance changes by {np.ptp(quiet):.3f} in silence, by {np.ptp(spoken):.3f} in speech")
        assert np.ptp(quiet) < 0.03
        assert np.ptp(spoken) > 0.06
    finally:
        session.close()
        finder.close()
