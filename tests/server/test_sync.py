from __future__ import annotations

import json
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from audio.speech import inspect_speech, read_speech, whole
from audio.sync import Offset
from runtime.errors import InputError
from runtime.planes import PlaneReader
from runtime.records import SAMPLE_RATE
from runtime.writer import VideoWriter
from server.cli import run
from server.still import StillOptions, still_dub
from server.sync import InSync, SyncOptions, as_json, fix_clip, in_words, measure_clip, sync
from server.take import Tally

Floats = NDArray[np.float32]
SHARED = Path(__file__).parents[3] / "shared" / "clips" / "talk"
TEXT = "Every morning my mother bakes bread before the birds wake up. We hope you will come and visit us very soon."

BURST: Floats = np.random.default_rng(0).normal(0, 0.2, SAMPLE_RATE // 5).clip(-1, 1).astype(np.float32)


def quiet(done: int, total: int | None) -> None:
    """No progress."""


def wav(path: Path, pcm: Floats) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((pcm * 32767).astype("<i2").tobytes())
    return path


def film(path: Path, rgb: NDArray[np.uint8], seconds: int, sound: Path | None = None) -> Path:
    """A picture for so long, every frame a little different."""
    with VideoWriter(path, rgb.shape[1], rgb.shape[0], Fraction(25), sound=sound) as writer:
        for i in range(25 * seconds):
            writer.write(np.roll(rgb, i % 3, 1), Fraction(i, 25))
    return path


@pytest.fixture(scope="module")
def burst(tmp_path_factory: pytest.TempPathFactory, face: NDArray[np.uint8]) -> Path:
    """A clip of two seconds with a burst of noise at 1 s."""
    folder = tmp_path_factory.mktemp("burst")
    pcm = np.zeros(2 * SAMPLE_RATE, np.float32)
    pcm[SAMPLE_RATE : SAMPLE_RATE + len(BURST)] = BURST
    return film(folder / "clip.mp4", face, 2, wav(folder / "burst.wav", pcm))


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory, portrait: Path) -> Path:
    """The portrait says a sentence, in time."""
    pytest.importorskip("espeakng_loader", reason="somebody has to speak; pip install espeakng-loader")
    from audio.voice import EspeakVoice

    folder = tmp_path_factory.mktemp("talking")
    said = EspeakVoice().speak(TEXT)
    speech = inspect_speech(wav(folder / "said.wav", said.pcm))
    still_dub(portrait, speech, folder / "talk.mp4", StillOptions(seed=2), quiet)
    return folder / "talk.mp4"


def burst_at(path: Path) -> float:
    """When the burst is heard, seconds."""
    return float(np.correlate(whole(read_speech(path)), BURST, "valid").argmax()) / SAMPLE_RATE


@pytest.mark.parametrize("late_ms", [-400.0, -40.0, 12.5, 333.0])
def test_a_sound_is_moved_by_what_it_is_late(burst: Path, tmp_path: Path, late_ms: float) -> None:
    before = burst_at(burst)
    fix_clip(burst, late_ms, tmp_path / "out.mp4", False)
    assert burst_at(tmp_path / "out.mp4") - before == pytest.approx(-late_ms / 1000, abs=2 / SAMPLE_RATE)


def packets(path: Path) -> list[tuple[bytes, Fraction]]:
    with av.open(str(path)) as file:
        return [(bytes(p), Fraction(p.pts) * p.time_base) for p in file.demux(video=0) if p.size]


def test_the_picture_is_copied_packet_by_packet(burst: Path, tmp_path: Path) -> None:
    fix_clip(burst, 100, tmp_path / "out.mov", False)
    assert [time for _, time in packets(tmp_path / "out.mov")] == [time for _, time in packets(burst)]
    assert [data for data, _ in packets(tmp_path / "out.mov")] == [data for data, _ in packets(burst)]


def test_a_picture_the_container_does_not_take_is_encoded_with_all_its_frames(burst: Path, tmp_path: Path) -> None:
    fix_clip(burst, 100, tmp_path / "out.webm", False)
    with PlaneReader(tmp_path / "out.webm") as reader:
        assert sum(1 for _ in reader) == 50
    assert burst_at(tmp_path / "out.webm") == pytest.approx(0.9, abs=0.001)


def test_the_sound_is_as_long_as_the_picture_afterwards(burst: Path, tmp_path: Path) -> None:
    fix_clip(burst, 300, tmp_path / "out.mp4", False)
    with av.open(str(tmp_path / "out.mp4")) as file:
        sound = file.streams.audio[0]
        assert sound.duration is not None
        assert sound.time_base is not None
        assert abs(float(sound.duration * sound.time_base) - 2) < 1e-3


@pytest.mark.slow
def test_a_talking_face_is_in_sync_and_out_of_it_by_what_it_was_moved(talking: Path, tmp_path: Path) -> None:
    found = measure_clip(talking, SyncOptions(), quiet).offset
    assert abs(found.ms) < 20
    assert found.confidence > 0.5
    fix_clip(talking, 160, tmp_path / "early.mp4", False)
    moved = measure_clip(tmp_path / "early.mp4", SyncOptions(), quiet).offset
    assert abs(moved.ms - found.ms + 160) < 20
    repaired = sync(tmp_path / "early.mp4", SyncOptions(fix=True, output=tmp_path / "again.mp4"), quiet)
    assert abs(repaired.offset.ms + 160) < 25
    assert abs(measure_clip(tmp_path / "again.mp4", SyncOptions(), quiet).offset.ms) < 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grid_sbwe5n.mpg", "vr4_30fps.mp4"])
def test_a_real_talker_moved_by_so_much_is_found_moved_by_so_much(name: str, tmp_path: Path) -> None:
    clip = SHARED / name
    if not clip.exists():
        pytest.skip(f"{clip} is not here")
    own = measure_clip(clip, SyncOptions(), quiet).offset
    assert abs(own.ms) < 40
    fix_clip(clip, -120, tmp_path / "late.mp4", False)
    assert abs(measure_clip(tmp_path / "late.mp4", SyncOptions(), quiet).offset.ms - own.ms - 120) < 20


def test_a_clip_without_sound_is_named(clip: Path) -> None:
    with pytest.raises(InputError, match=r"clip\.mp4 has no sound; wanted a clip with sound"):
        measure_clip(clip, SyncOptions(), quiet)


def test_a_silent_clip_is_named(face: NDArray[np.uint8], tmp_path: Path) -> None:
    silence = wav(tmp_path / "silence.wav", np.zeros(SAMPLE_RATE, np.float32))
    with pytest.raises(InputError, match=r"clip\.mp4 is silent; wanted a clip with speech"):
        measure_clip(film(tmp_path / "clip.mp4", face, 1, silence), SyncOptions(), quiet)


def test_a_clip_without_a_face_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hum = wav(tmp_path / "hum.wav", rng.normal(0, 0.2, 2 * SAMPLE_RATE).clip(-1, 1).astype(np.float32))
    sky = np.full((128, 160, 3), 150, np.uint8)
    with pytest.raises(InputError, match=r"clip\.mp4 shows no face while it is spoken"):
        measure_clip(film(tmp_path / "clip.mp4", sky, 2, hum), SyncOptions(), quiet)


def test_too_little_talk_is_said(burst: Path) -> None:
    with pytest.raises(InputError, match=r"shows nobody who talks for a second or more"):
        measure_clip(burst, SyncOptions(start=Fraction(1), end=Fraction(5, 4)), quiet)


def test_no_sound_is_moved_where_nobody_is_sure(burst: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unsure = InSync(Offset(ms=100, confidence=0.1, talked_s=2, agreement=0.1), Tally())
    monkeypatch.setattr("server.sync.measure_clip", lambda *_: unsure)
    with pytest.raises(InputError, match=r"confidence 0\.10.*; wanted a confidence of 0\.5 or more"):
        sync(burst, SyncOptions(fix=True, output=tmp_path / "out.mp4"), quiet)
    assert not (tmp_path / "out.mp4").exists()


def test_what_was_found_is_told_to_people_and_to_programs() -> None:
    late = InSync(Offset(ms=118.4, confidence=0.91, talked_s=4.2, agreement=0.5), Tally())
    assert in_words(Path("a.mp4"), late) == (
        "a.mp4: the sound is 118 ms after the lips; confidence 0.91, from 4.2 s of talk"
    )
    near = InSync(Offset(ms=-9, confidence=1, talked_s=4.2, agreement=0.5), Tally())
    assert "in sync with the lips (-9 ms)" in in_words(Path("a.mp4"), near)
    told = json.loads(as_json(Path("a.mp4"), late, None))
    assert (told["offset_ms"], told["confidence"], told["output"]) == (118.4, 0.91, None)


def test_options_say_what_was_found_and_wanted() -> None:
    with pytest.raises(ValueError, match="--fix writes a clip; wanted --output as well"):
        SyncOptions(fix=True)
    with pytest.raises(ValueError, match="--output is where --fix writes; found no --fix"):
        SyncOptions(output=Path("a.mp4"))


def test_the_command_refuses_in_one_sentence(clip: Path, burst: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sync", str(clip)]) == 2
    assert "has no sound" in capsys.readouterr().err
    assert run(["sync", str(burst), "--fix"]) == 2
    assert "wanted --output as well" in capsys.readouterr().err
    assert run(["sync", str(burst), "--fix", "-o", str(burst)]) == 2
    assert "wanted another name for the result" in capsys.readouterr().err
