from __future__ import annotations

import wave
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from audio.speech import Speech, inspect_speech
from audio.training import sounds
from perfcap.landmarks import INNER_LIPS_LOWER, INNER_LIPS_UPPER
from runtime.errors import InputError
from runtime.image import load_image
from runtime.records import SAMPLE_RATE, AudioChunk, Motion
from runtime.video import VideoReader
from server.character import load_character, save_character
from server.still import StillOptions, lasting, perform, still_dub
from server.take import Tally
from synth.rig import Character
from tests.audio.loud import Loud, motion_at, syllables

TALK = [0.4, 0.62, 0.84]
LIPS = (INNER_LIPS_UPPER[5], INNER_LIPS_LOWER[5])


def speech(path: Path, pcm: NDArray[np.float32], rate: int = SAMPLE_RATE, channels: int = 1) -> Speech:
    """A recording with these samples, heard as if they were at `rate`."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat((pcm * 32767).astype("<i2"), channels).tobytes())
    return inspect_speech(path)


def dubbed(portrait: Path, said: Speech, output: Path, **options: object) -> Tally:
    return still_dub(portrait, said, output, StillOptions(**options), lambda done, total: None, Loud())  # type: ignore[arg-type]


def gaps(motions: list[Motion]) -> NDArray[np.float64]:
    """How far the lips are apart in the middle, units."""
    return np.array([m.face[LIPS[1], 1] - m.face[LIPS[0], 1] for m in motions], np.float64)


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with VideoReader(path) as reader:
        return [frame.rgb for frame in reader]


@pytest.fixture(scope="module")
def character(portrait: Path) -> Character:
    return load_character(portrait)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001)])
def test_picture_and_sound_last_as_long_as_the_speech(portrait: Path, tmp_path: Path, fps: Fraction) -> None:
    said = speech(tmp_path / "said.wav", syllables(TALK, 1.31)[: int(1.31 * SAMPLE_RATE)])
    tally = dubbed(portrait, said, tmp_path / "out.mp4", fps=fps)
    n_frames = -(-said.duration * fps // 1)
    assert tally.frames == n_frames == len(pictures(tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as file:
        sound = file.streams.audio[0]
        assert sound.duration is not None
        assert sound.time_base is not None
        assert abs(sound.duration * sound.time_base - n_frames / fps) <= Fraction(1, SAMPLE_RATE)


def test_the_sound_keeps_its_rate_and_its_channels(portrait: Path, tmp_path: Path) -> None:
    said = speech(tmp_path / "said.wav", syllables(TALK, 1.2), rate=48_000, channels=2)
    dubbed(portrait, said, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.audio[0].rate == 48_000
        assert file.streams.audio[0].layout.nb_channels == 2


def test_a_part_of_a_recording_begins_at_the_first_frame(portrait: Path, tmp_path: Path) -> None:
    pcm = np.concatenate((np.zeros(SAMPLE_RATE, np.float32), syllables([0.3], 0.6)))
    speech(tmp_path / "said.wav", pcm)
    part = inspect_speech(tmp_path / "said.wav", Fraction(1), Fraction(8, 5))
    assert dubbed(portrait, part, tmp_path / "out.mp4").frames == 15
    shown = np.stack(pictures(tmp_path / "out.mp4")).astype(float)
    assert np.abs(np.diff(shown, axis=0)).mean((1, 2, 3)).max() > 0.3


def test_silence_is_told_and_the_picture_stays_itself(portrait: Path, tmp_path: Path) -> None:
    said = speech(tmp_path / "said.wav", np.zeros(SAMPLE_RATE, np.float32))
    tally = dubbed(portrait, said, tmp_path / "out.mp4", still=True)
    assert tally.notes == [f"{said.path} is silent, so the mouth rests"]
    own = load_image(portrait).astype(float)
    for picture in pictures(tmp_path / "out.mp4"):
        off = (picture - own)[80:180, 90:180]  # the face
        assert np.sqrt((off**2).mean()) < 6  # what encoder and resampling do
        assert np.abs(cv2.blur(off, (9, 9))).max() < 8


def test_music_is_told_too(portrait: Path, tmp_path: Path) -> None:
    music = speech(tmp_path / "music.wav", sounds.music(SAMPLE_RATE, np.random.default_rng(1)))
    tally = still_dub(portrait, music, tmp_path / "out.mp4", StillOptions(), lambda done, total: None)
    assert tally.notes == [f"nobody is heard to speak in {music.path}, so the mouth rests"]


def test_lips_part_with_the_sound_and_meet_again(character: Character) -> None:
    pcm = syllables(TALK, 2.2)
    chunks = [AudioChunk(time=Fraction(0), pcm=pcm)]
    motions = list(perform(chunks, character, StillOptions(), Loud()))
    gap = gaps(motions)
    assert gap[0] > 0.1  # she smiles
    assert gap[10] > gap[13] + 0.04  # on the first syllable, and before the second
    assert gap[13] < 0.06
    assert abs(gap[-1] - gap[0]) < 0.002


def test_still_holds_the_head_and_the_eyes(character: Character) -> None:
    chunks = [AudioChunk(time=Fraction(0), pcm=syllables(TALK, 2.2))]
    alive, held = (list(perform(chunks, character, StillOptions(still=still), Loud())) for still in (False, True))
    assert np.ptp([m.head[0, 2] for m in alive]) > 0.01
    assert np.ptp([m.head[0, 2] for m in held]) < 1e-6
    assert np.ptp([m.face[468:, :2] for m in held], axis=0).max() < 0.005
    assert np.ptp([m.face[468:, :2] for m in alive], axis=0).max() > 0.01


def test_intensity_opens_the_mouth_farther_and_leaves_the_picture(character: Character) -> None:
    chunks = [AudioChunk(time=Fraction(0), pcm=syllables(TALK, 1.2))]
    weak, strong = (list(perform(chunks, character, StillOptions(intensity=i, still=True), Loud())) for i in (1.0, 5.0))
    assert gaps(strong).max() > 1.5 * gaps(weak)[8:].max()
    assert np.allclose(weak[0].face, strong[0].face, atol=1e-5)


def test_the_same_seed_gives_the_same_clip(portrait: Path, tmp_path: Path) -> None:
    said = speech(tmp_path / "said.wav", syllables(TALK, 1.2))
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        dubbed(portrait, said, tmp_path / f"{name}.mp4", seed=seed)
    a, b, c = ((tmp_path / f"{name}.mp4").read_bytes() for name in "abc")
    assert a == b != c


def test_a_saved_character_speaks_like_its_picture(portrait: Path, tmp_path: Path) -> None:
    save_character(portrait, tmp_path / "she.character", [], None, False)
    said = speech(tmp_path / "said.wav", syllables(TALK, 0.6))
    dubbed(portrait, said, tmp_path / "a.mp4")
    dubbed(tmp_path / "she.character", said, tmp_path / "b.mp4")
    a, b = (np.stack(pictures(tmp_path / f"{name}.mp4")).astype(float) for name in "ab")
    assert np.abs(a - b).mean() < 0.5


class Known:
    """Stage: sound -> Motion that is known already, as far as the sound has come."""

    def __init__(self, motions: Iterable[Motion]) -> None:
        self._all = list(motions)
        self._n = 0  # handed on

    def push(self, item: AudioChunk) -> list[Motion]:
        end = item.time + Fraction(len(item.pcm), SAMPLE_RATE)
        first = self._n
        while self._n < len(self._all) and self._all[self._n].time < end:
            self._n += 1
        return self._all[first : self._n]

    def flush(self) -> list[Motion]:
        rest, self._n = self._all[self._n :], 0
        return rest


def test_motion_that_is_known_is_used_instead_of_a_model(character: Character) -> None:
    known = Known([motion_at(Fraction(i, 100), 0.8 if 50 <= i < 80 else 0.0) for i in range(120)])
    chunks = [AudioChunk(time=Fraction(i), pcm=np.zeros(SAMPLE_RATE, np.float32)) for i in range(2)]
    motions = list(perform(chunks, character, StillOptions(still=True), known))
    assert gaps(motions)[16] > gaps(motions)[2] + 0.05


def test_frames_are_counted_by_the_speech_not_by_what_moves() -> None:
    short = [motion_at(Fraction(i, 25), 0.0) for i in range(3)]
    held = list(lasting(short, 5, Fraction(25)))
    assert [m.time for m in held] == [Fraction(i, 25) for i in range(5)]
    assert [m.time for m in lasting(short, 2, Fraction(25))] == [Fraction(0), Fraction(1, 25)]


def test_what_cannot_be_done_is_said_before_any_work(portrait: Path, tmp_path: Path) -> None:
    said = speech(tmp_path / "said.wav", syllables(TALK, 0.6))
    (tmp_path / "there.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"there\.mp4 exists; pass --force"):
        dubbed(portrait, said, tmp_path / "there.mp4")
    with pytest.raises(InputError, match=r"suffix \.avi"):
        dubbed(portrait, said, tmp_path / "out.avi")
    with pytest.raises(InputError, match=r"nobody\.png"):
        dubbed(tmp_path / "nobody.png", said, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_options_say_what_was_found_and_wanted() -> None:
    with pytest.raises(ValueError, match=r"fps is 0, wanted 1 to 240"):
        StillOptions(fps=Fraction(0))
    with pytest.raises(ValueError, match=r"intensity is 9, wanted 1 to 5"):
        StillOptions(intensity=9)
