"""Clips that say something else: what of them changes, what stays, and what is refused."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from time import sleep
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import server.dub as driver
import server.lines as lines_module
from audio.footage import Footage
from perfcap.written import head_at
from runtime.errors import InputError
from runtime.output import check_output
from runtime.planes import PlaneReader
from runtime.records import N_EXPRESSION, SAMPLE_RATE, AudioChunk, Motion
from runtime.sound import cut_sound, inspect_sound
from server.cli import run
from server.dub import DubOptions, dub
from server.take import Tally
from tests.audio.faces import face
from tests.runtime.test_splice import wav

SOUND_RATE = 48_000
JAWS = [face(jawOpen=k / 10) for k in range(11)]


class LoudIsOpen:
    """Stage: a mouth that opens as far as the sound is loud."""

    def __init__(self, *, phones: object = None) -> None:
        del phones  # what a transcript tells does not make it louder
        self._n = 0
        self._left = np.zeros(0, np.float32)

    def push(self, item: AudioChunk) -> list[Motion]:
        pcm = np.concatenate((self._left, item.pcm))
        n = len(pcm) // 160
        self._left = pcm[n * 160 :]
        levels = np.sqrt((pcm[: n * 160].reshape(n, 160) ** 2).mean(1))
        self._n += n
        return [
            Motion(
                time=Fraction(self._n - n + i, 100), head=head_at(0, 0, 0), gaze=np.zeros((2, 2), np.float32),
                expression=np.zeros(N_EXPRESSION, np.float32), face=JAWS[int(min(6, 20 * level))], confidence=1.0,
            )
            for i, level in enumerate(levels)
        ]  # fmt: skip

    def flush(self) -> list[Motion]:
        return []


@pytest.fixture(autouse=True)
def _ears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "Lips", LoudIsOpen)


def bursts(seconds: float, rate: int = SOUND_RATE, hz: float = 300) -> NDArray[np.float32]:
    """Something like syllables, three a second."""
    t = np.arange(round(seconds * rate)) / rate
    return np.asarray(0.4 * np.sin(2 * np.pi * hz * t) * np.maximum(0, np.sin(2 * np.pi * 3 * t)), np.float32)


def with_sound(clip: Path, path: Path, pcm: NDArray[np.float32]) -> Path:
    """The same picture, packet by packet, with a sound."""
    with av.open(str(clip)) as old, av.open(str(path), "w") as container:
        picture = container.add_stream_from_template(old.streams.video[0], opaque=True)
        sound: Any = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        sound.metadata["language"] = "eng"
        frame = av.AudioFrame.from_ndarray(pcm[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
        container.mux([*sound.encode(frame), *sound.encode(None)])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = picture
                container.mux(packet)
    return path


@pytest.fixture(scope="session")
def talk(clip: Path, folder: Path) -> Path:
    """24 frames at 25 a second, with a sound of 440 Hz."""
    return with_sound(clip, folder / "talk.mp4", bursts(24 / 25, hz=440))


@pytest.fixture(scope="session")
def said(folder: Path) -> Path:
    """0.96 s, as long as the clip."""
    return wav(folder / "said.wav", bursts(0.96), SOUND_RATE)


@pytest.fixture(scope="session")
def long_said(folder: Path) -> Path:
    return wav(folder / "long.wav", bursts(2.0), SOUND_RATE)


def nothing(done: int, total: int | None) -> None:
    """Progress that nobody sees."""


def made(clip: Path, out: Path, **options: Any) -> Tally:
    return dub(clip, out, DubOptions(**options), nothing)


def luma(path: Path) -> list[NDArray[np.float32]]:
    with PlaneReader(path) as reader:
        return [frame.planes[0].astype(np.float32) for frame in reader]


def when(path: Path) -> list[Fraction]:
    with PlaneReader(path) as reader:
        return [frame.time for frame in reader]


def pcm(path: Path) -> NDArray[np.float32]:
    track = inspect_sound(path)
    frames = cut_sound(track, Fraction(0), track.end, rate=SOUND_RATE, layout="mono")
    return np.concatenate([np.asarray(f.to_ndarray()[0], np.float32) for f in frames])


def pitch(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SOUND_RATE / len(samples))


# ---------------------------------------------------------------- whole clips


def test_the_mouth_alone_changes(talk: Path, said: Path, tmp_path: Path) -> None:
    tally = made(talk, tmp_path / "out.mp4", audio=said)
    assert tally.frames == 24
    before, after = luma(talk), luma(tmp_path / "out.mp4")
    assert when(tmp_path / "out.mp4") == when(talk)
    off = np.array([np.abs(a - b) for a, b in zip(before, after, strict=True)])
    assert off[:, :60].mean() < 1.5  # above the eyes, an encoder's worth
    assert off.reshape(24, -1).max(1)[[1, 10, 15]].max() > 40
    assert pitch(pcm(tmp_path / "out.mp4")) == pytest.approx(300, abs=4)


def test_frames_without_a_face_pass_and_are_counted(talk: Path, said: Path, tmp_path: Path) -> None:
    tally = made(talk, tmp_path / "out.mp4", audio=said)
    assert 3 <= tally.faceless <= 8
    after = luma(tmp_path / "out.mp4")
    for before, now in list(zip(luma(talk), after, strict=True))[5:8]:
        assert np.abs(before - now).max() < 8


@pytest.mark.parametrize(("length", "frames"), [("hold", 50), ("stretch", 50), ("silence", 24)])
def test_a_longer_speech_makes_the_clip_longer_as_asked(
    talk: Path, long_said: Path, tmp_path: Path, length: str | None, frames: int
) -> None:
    tally = made(talk, tmp_path / "out.mp4", audio=long_said, length=length)
    assert tally.frames == frames
    assert when(tmp_path / "out.mp4") == [Fraction(i, 25) for i in range(frames)]
    assert len(pcm(tmp_path / "out.mp4")) == pytest.approx(frames * SOUND_RATE / 25, abs=2)
    cut = "the speech is 1.04 s longer than the clip and was cut"
    assert tally.notes == ([cut] if frames == 24 else [])


def test_bouncing_shows_the_clip_there_and_back(talk: Path, long_said: Path, tmp_path: Path) -> None:
    made(talk, tmp_path / "out.mp4", audio=long_said)
    before, after = luma(talk), luma(tmp_path / "out.mp4")
    for i, number in enumerate([*range(24), *range(22, 0, -1), *range(4)]):
        assert np.abs(after[i][:60] - before[number][:60]).mean() < 1.5


@pytest.mark.parametrize(("length", "frames"), [(None, 10), ("silence", 24)])
def test_a_shorter_speech_cuts_the_clip_or_is_followed_by_silence(
    talk: Path, folder: Path, tmp_path: Path, length: str | None, frames: int
) -> None:
    short = wav(folder / f"short-{length}.wav", bursts(0.4), SOUND_RATE)
    assert made(talk, tmp_path / "out.mp4", audio=short, length=length).frames == frames
    assert not np.abs(pcm(tmp_path / "out.mp4")[round(0.45 * SOUND_RATE) :]).max(initial=0) > 0.01


def test_a_turned_clip_is_dubbed_as_it_is_shown(talk: Path, said: Path, tmp_path: Path) -> None:
    """A phone's film: stored lying, with a flag that says so."""
    turned = tmp_path / "turned.mp4"
    with PlaneReader(talk) as reader, av.open(str(turned), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 288
        stream.pix_fmt = "yuv420p"
        stream.codec_context.options = {"crf": "4"}
        stream.set_display_rotation(90.0)
        for i, frame in enumerate(reader):
            lying = np.ascontiguousarray(np.rot90(frame.small(288), -1))
            shot = av.VideoFrame.from_ndarray(lying, "rgb24")
            shot.pts = i
            container.mux(stream.encode(shot))
        container.mux(stream.encode(None))
    assert made(turned, tmp_path / "out.mp4", audio=said).faceless <= 8
    with PlaneReader(turned) as a, PlaneReader(tmp_path / "out.mp4") as b:
        assert a.layout.display == b.layout.display
        off = np.mean([np.abs(x.planes[0].astype(int) - y.planes[0]) for x, y in zip(a, b, strict=True)], 0)
    assert off[:60].mean() < 1.5
    assert off[120:200].max() > 10


def test_a_silent_speech_is_told_and_the_mouth_rests(talk: Path, folder: Path, tmp_path: Path) -> None:
    silent = wav(folder / "silent.wav", np.zeros(SOUND_RATE, np.float32), SOUND_RATE)
    tally = made(talk, tmp_path / "out.mp4", audio=silent)
    assert tally.notes == [f"{silent} is silent, so the mouth rests"]


def test_the_same_again_is_the_same(talk: Path, said: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        made(talk, tmp_path / f"{name}.mp4", audio=said)
    for a, b in zip(luma(tmp_path / "a.mp4"), luma(tmp_path / "b.mp4"), strict=True):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- parts


def test_a_part_alone_is_dubbed_and_the_rest_keeps_its_picture_and_sound(
    long_clip: Path, folder: Path, tmp_path: Path
) -> None:
    clip = with_sound(long_clip, tmp_path / "talk.mp4", bursts(28, hz=440))
    said = wav(tmp_path / "said.wav", bursts(1.0), SOUND_RATE)
    tally = made(clip, tmp_path / "out.mp4", audio=said, start=Fraction(20), end=Fraction(21))
    assert tally.frames == 700
    assert tally.notes == []
    assert when(tmp_path / "out.mp4") == when(clip)
    sound = pcm(tmp_path / "out.mp4")
    assert pitch(sound[SOUND_RATE * 10 : SOUND_RATE * 19]) == pytest.approx(440, abs=3)
    assert pitch(sound[round(SOUND_RATE * 20.05) : round(SOUND_RATE * 20.95)]) == pytest.approx(300, abs=4)
    assert pitch(sound[round(SOUND_RATE * 21.05) :]) == pytest.approx(440, abs=3)
    with PlaneReader(clip) as a, PlaneReader(tmp_path / "out.mp4") as b:
        off = np.array([np.abs(x.planes[0].astype(int) - y.planes[0]).max() for x, y in zip(a, b, strict=True)])
    inside = np.zeros(700, bool)
    inside[500:526] = True
    assert off[~inside].max() < 25
    assert off[503:520].max() > 40


def test_parts_are_listed_in_a_file(talk: Path, folder: Path, tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", bursts(0.2), SOUND_RATE)
    wav(tmp_path / "b.wav", bursts(0.4, hz=700), SOUND_RATE)
    parts = [{"start": 0.52, "end": 0.8, "audio": "b.wav"}, {"start": 0.1, "audio": "a.wav", "text": "ah"}]
    (tmp_path / "parts.json").write_text(json.dumps(parts))
    tally = made(talk, tmp_path / "out.mp4", segments=tmp_path / "parts.json")
    assert tally.frames == 24
    assert tally.notes == []
    sound = pcm(tmp_path / "out.mp4")
    assert pitch(sound[round(0.55 * SOUND_RATE) : round(0.78 * SOUND_RATE)]) == pytest.approx(700, abs=8)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("{", "is no JSON"),
        ("{}", "holds no list of parts"),
        ("[]", "holds no list of parts"),
        ("[3]", "part 1 of .* holds int; wanted start, end, and audio or text"),
        ('[{"audio": "a.wav", "begin": 3}]', "holds begin; wanted start"),
        ('[{"start": 3, "end": 2, "audio": "a.wav"}]', "ends at 2 s and starts at 3 s; wanted a later end"),
        ('[{"start": -1, "audio": "a.wav"}]', "has the time -1; wanted seconds, 0 or more"),
        ('[{"start": "now", "audio": "a.wav"}]', "has the time 'now'; wanted seconds"),
        ('[{"start": 1}]', "says nothing; wanted audio or text"),
        ('[{"audio": "none.wav"}]', "none.wav does not exist"),
        ('[{"start": null, "audio": "a.wav"}, {"start": 0.1, "audio": "a.wav"}]', "wanted one at a time"),
        ('[{"start": 30, "audio": "a.wav"}]', "talk.mp4 lasts 0.96 s; wanted it to reach 30 s"),
    ],
)
def test_a_list_of_parts_that_cannot_be_used_is_refused(talk: Path, tmp_path: Path, parts: str, said: str) -> None:
    wav(tmp_path / "a.wav", bursts(0.2), SOUND_RATE)
    (tmp_path / "parts.json").write_text(parts)
    with pytest.raises(InputError, match=said):
        made(talk, tmp_path / "out.mp4", segments=tmp_path / "parts.json")
    assert not (tmp_path / "out.mp4").exists()


# ---------------------------------------------------------------- whose mouth


def test_of_several_people_those_asked_for_speak(
    two_faces: Path, said: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people: list[Footage] = []

    class Noted(driver.Change):
        def __init__(self, footage: Footage, *rest: Any) -> None:
            people.append(footage)
            super().__init__(footage, *rest)

    monkeypatch.setattr(driver, "Change", Noted)
    made(two_faces, tmp_path / "out.mp4", audio=said, face="all", length="cut")
    assert len(people) == 2
    off = [np.abs(a - b) for a, b in zip(luma(two_faces), luma(tmp_path / "out.mp4"), strict=True)]
    assert min(np.max(off, 0)[:, half].max() for half in (slice(0, 288), slice(288, None))) > 40

    def of(face: str | None) -> list[Footage]:
        return driver._choose(two_faces, people, face, np.zeros(0), None)

    (left,), (right,) = of("left"), of("right")
    assert driver._place(left) < 0 < driver._place(right)
    assert of("1") == [left]
    assert of("2") == [right]
    assert of("largest")[0] in people
    assert of(None)[0] in people
    with pytest.raises(InputError, match=r"two.mp4 shows 2 faces; wanted --face 2 or less, found 3"):
        of("3")


# ---------------------------------------------------------------- the command


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert run(["dub", *[str(a) for a in arguments]]) == 2
    return capsys.readouterr().err.removeprefix("understudy: ").rstrip("\n")


def test_what_cannot_be_used_is_refused_in_a_sentence(
    talk: Path, faceless: Path, said: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    line = (talk, "-o", out)
    assert refused(capsys, *line) == "found nothing to be said; wanted one of --audio, --text and --segments"
    assert "found --audio and --text; wanted one" in refused(capsys, *line, "--audio", said, "--text", "hello")
    assert "none.wav does not exist" in refused(capsys, *line, "--audio", "none.wav")
    assert "holds no sound" in refused(capsys, *line, "--audio", faceless)
    assert "shows no face in any frame" in refused(capsys, faceless, "-o", out, "--audio", said)
    assert "--length is 'twice'; wanted bounce, loop" in refused(capsys, *line, "--audio", said, "--length", "twice")
    assert "which keep the clip's" in refused(capsys, *line, "--audio", said, "--length", "cut", "--start", "1")
    assert "end is 1 s and start 2 s" in refused(capsys, *line, "--audio", said, "--start", "2", "--end", "1")
    whose = refused(capsys, *line, "--audio", said, "--face", "both")
    assert whose.startswith("--face is 'both'; wanted largest")
    assert whose.endswith("or all")
    assert "crf is 99, wanted 0 to 51" in refused(capsys, *line, "--audio", said, "--crf", "99")
    assert "speak a --text; found --audio" in refused(capsys, *line, "--audio", said, "--voice", "m1")
    assert "--transcript goes with --audio" in refused(capsys, *line, "--text", "a", "--transcript", "a")
    assert "out.avi has the suffix .avi" in refused(capsys, talk, "-o", tmp_path / "out.avi", "--audio", said)
    assert "holds sound only; wanted a file with video" in refused(capsys, said, "-o", out, "--audio", said)
    assert "wanted it to reach 9 s" in refused(capsys, *line, "--audio", said, "--start", "9")
    assert not out.exists()
    check_output(out)


def test_the_command_writes_a_clip_and_says_what_it_did(
    talk: Path, said: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    assert run(["dub", str(talk), "--audio", str(said), "-o", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["frames"] == 24
    assert summary["output"] == str(out)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    assert "exists; pass --force" in refused(capsys, talk, "--audio", said, "-o", out)


def test_progress_counts_both_looks_at_the_clip(talk: Path, said: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    dub(talk, tmp_path / "out.mp4", DubOptions(audio=said), lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, 49))
    assert seen[-1] == (48, 48)


def test_a_long_speech_is_not_listened_to_once_the_clip_is_known_to_show_no_face(
    faceless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = wav(tmp_path / "long.wav", np.tile(bursts(1.0, 8000), 600), 8000)
    heard = 0

    class Slow(LoudIsOpen):
        def push(self, item: AudioChunk) -> list[Motion]:
            nonlocal heard
            heard += len(item.pcm)
            sleep(0.05)
            return super().push(item)

    monkeypatch.setattr(lines_module, "Lips", Slow)
    with pytest.raises(InputError, match="shows no face in any frame"):
        made(faceless, tmp_path / "out.mp4", audio=sound)
    assert heard < 600 * SAMPLE_RATE


@pytest.mark.slow
def test_a_clip_and_a_picture_say_a_text(
    talk: Path, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader", reason="espeakng-loader brings the voice; pip install espeakng-loader")
    monkeypatch.undo()
    for who in (talk, portrait):
        out = tmp_path / f"{who.stem}.mp4"
        tally = made(who, out, text="Guten Tag, Mama", language="de")
        assert tally.notes == []
        assert tally.frames > 20
        assert len(pcm(out)) == pytest.approx(tally.frames * SOUND_RATE / 25, abs=SOUND_RATE / 25)
    assert "--length" in refused_of(portrait, tmp_path, text="a", length="loop")
    assert "--start" in refused_of(portrait, tmp_path, text="a", start=Fraction(1))


def refused_of(clip: Path, tmp_path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        made(clip, tmp_path / "refused.mp4", **options)
    return str(caught.value)
