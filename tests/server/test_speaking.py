from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.phones import Phone
from audio.voice import EspeakVoice, Utterance
from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from runtime.errors import InputError
from runtime.records import AudioChunk, Motion
from server.live import Half
from server.performing import Showing
from server.speaking import FPS, MOST_TEXTS, TICK, Queue, SpeakingSession
from server.wire import Kind, Media, pack, unpack
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


REST = Motion(
    time=Fraction(0), head=np.eye(4, dtype=np.float32), expression=np.zeros(52, np.float32),
    gaze=np.zeros((2, 2), np.float32), face=template(), confidence=1.0,
)  # fmt: skip


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

        session.cast(Showing(replace(character, rgb=character.rgb[::-1])))  # nor by another character
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


class Delay:
    """Sound to the Motion of its moment, held back for some ticks: what listening does, without listening."""

    def __init__(self) -> None:
        self._held: deque[Motion] = deque()

    def push(self, item: AudioChunk) -> list[Motion]:
        self._held.append(replace(REST, time=item.time))
        return [self._held.popleft()] if len(self._held) > 15 else []

    def flush(self) -> list[Motion]:
        return []


class AsItIs:
    def push(self, item: Motion) -> list[Motion]:
        return [item]


class Grey(Showing):
    """Draws the same grey picture."""

    def __init__(self) -> None:
        self.character = None  # type: ignore[assignment]
        self._intensity = 3.0

    def draw(self, motion: Motion) -> Rgb:
        return np.full((16, 16, 3), 100, np.uint8)


class Stepped(SpeakingSession):
    """A session whose ticks are asked for one by one, and whose clock never says that it is late."""

    def _steps(self) -> dict[Half, Callable[[], None]]:
        return {}

    def tick(self) -> list[Media]:
        self._begun = time.perf_counter() - self._n_ticks / FPS  # it is just now due
        self._tick()
        return [unpack(m) for m in self.take() if isinstance(m, bytes)]


class Deaf(Stepped):
    """Hears and draws nothing, for what is about times alone."""

    def __init__(self, echo: bool) -> None:
        super().__init__(Grey(), Kind.JPEG, lambda: None, echo=echo)
        self._living, self._says = Delay(), AsItIs()  # type: ignore[assignment]

    def _message(self, time_us: int, rgb: Rgb) -> bytes:
        return pack(Kind.JPEG, time_us, b"\xff\xd8\xff")


@pytest.mark.slow
def test_after_an_hour_sound_and_picture_are_no_farther_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sound's clock runs slower than the one that capture times are read from, as many sound cards' do."""
    monkeypatch.setattr("server.speaking.Says", lambda character, intensity: AsItIs())
    session = Deaf(echo=True)
    rng = np.random.default_rng(0)
    piece_us = 40_000 * (1 + 60e-6)
    sent = 0
    offsets: list[float] = []  # ms from when the sound under a picture was captured to the picture's time
    for tick in range(3600 * FPS):
        while sent * piece_us <= tick * 40_000:  # the number of each piece stands in its samples
            captured = round(sent * piece_us + rng.uniform(-2000, 2000))
            session.push(Media(Kind.PCM16, captured, np.full(TICK, sent % 30_000 + 1, "<i2").tobytes()))
            sent += 1
        out = session.tick()
        heard = [m for m in out if m.kind is Kind.PCM16]
        for picture in (m for m in out if m.kind is Kind.JPEG):
            assert picture.time_us == heard[-1].time_us
            sounds = np.frombuffer(heard[-1].payload, "<i2")
            if sounds[0]:  # a slow sound card leaves a gap now and then
                number = round((picture.time_us / piece_us - sounds[0] + 1) / 30_000) * 30_000 + int(sounds[0]) - 1
                offsets.append((picture.time_us - number * piece_us) / 1e3)
    session.close()
    assert len(offsets) > 3590 * FPS
    first, last = np.median(offsets[: 60 * FPS]), np.median(offsets[-60 * FPS :])
    print(f"{first:.2f} ms in the first minute, {last:.2f} ms in the last")
    assert abs(last - first) < 10


def test_a_microphone_that_was_held_up_is_caught_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.speaking.Says", lambda character, intensity: AsItIs())
    waits = []
    for echo in (False, True):
        session = Deaf(echo=echo)
        session.push(Media(Kind.PCM16, 0, pcm16(20 * TICK)))
        begun = session._begun
        for _ in range(20):
            session._tick()
        waits.append((session._n_ticks / FPS + session._begun) - begun)
        session.close()
    print(f"twenty ticks of sound that came at once take {waits[0]:.2f} s, pushed by a program {waits[1]:.2f} s")
    assert waits[0] < 0.25
    assert waits[1] == pytest.approx(20 / FPS, abs=0.01)


@pytest.mark.slow
def test_in_silence_the_character_rests_and_in_speech_its_lips_move(character: Character) -> None:
    from server.pictures import decode

    pytest.importorskip("espeakng_loader", reason="espeak-ng says what is said; make setup brings it")
    said = EspeakVoice("en").speak("Father's car is far away, and our large farm starts here.").pcm
    finder = MediaPipeFaces(still=True)

    def opening(media: Media) -> float:
        (face,) = finder.find(decode(media))
        p = face.landmarks[:, :2]
        return float(np.linalg.norm(p[13] - p[14]) / np.linalg.norm(p[33] - p[263]))

    session = Stepped(Showing(character), Kind.JPEG, lambda: None, echo=True)

    def openings(n_ticks: int) -> list[float]:
        return [opening(m) for _ in range(n_ticks) for m in session.tick() if m.kind is Kind.JPEG]

    try:
        quiet = openings(30)[-6:]
        session.push(Media(Kind.PCM16, 90_000_000, (said * 32767).astype("<i2").tobytes()[: 2 * 32_000]))
        spoken = openings(55)[20:]
        print(f"the lips' distance changes by {np.ptp(quiet):.3f} in silence, by {np.ptp(spoken):.3f} in speech")
        assert np.ptp(quiet) < 0.03
        assert np.ptp(spoken) > 0.06
    finally:
        session.close()
        finder.close()
