"""The command line as a user meets it: what it refuses and how, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import synth.character
from perfcap.performance import Performance
from runtime.errors import InputError
from runtime.sound import inspect_sound
from runtime.video import VideoReader
from runtime.writer import VideoWriter
from server.cli import run
from server.commands.options import seconds

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "server.cli")
Rgb = NDArray[np.uint8]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence of a command that ends with status 2."""
    capsys.readouterr()
    status = run([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert status == 2, said.err
    assert said.out == ""
    assert said.err.startswith("understudy: ")
    assert said.err.count("\n") == 1
    return said.err.removeprefix("understudy: ").rstrip("\n")


@pytest.mark.parametrize("text", ["90", "1:30", "0:01:30", "90.0", "180/2"])
def test_times_are_seconds_or_minutes_and_seconds_and_exact(text: str) -> None:
    assert seconds(text) == 90
    assert seconds("0.1") == Fraction(1, 10)


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "-3", "1/0", "::"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no time; wanted seconds"):
        seconds(text)


# ---------------------------------------------------------------- inputs that cannot be used


def _missing(folder: Path) -> Path:
    return folder / "missing.mp4"


def _folder(folder: Path) -> Path:
    (folder / "folder.mp4").mkdir(exist_ok=True)
    return folder / "folder.mp4"


def _empty(folder: Path) -> Path:
    (folder / "empty.mp4").write_bytes(b"")
    return folder / "empty.mp4"


def _text(folder: Path) -> Path:
    (folder / "text.mp4").write_text("Dear diary, today I was renamed.\n" * 50)
    return folder / "text.mp4"


def _truncated(folder: Path) -> Path:
    whole = (folder / "clip.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    return folder / "truncated.mp4"


def _truncated_mkv(folder: Path) -> Path:
    with (
        VideoReader(folder / "clip.mp4") as clip,
        VideoWriter(folder / "whole.mkv", clip.width, clip.height, clip.rate, force=True) as writer,
    ):
        for frame in clip:
            writer.write(frame.rgb, frame.time)
    whole = (folder / "whole.mkv").read_bytes()
    (folder / "truncated.mkv").write_bytes(whole[: len(whole) // 2])
    return folder / "truncated.mkv"


def _headless(folder: Path) -> Path:
    whole = (folder / "clip.mp4").read_bytes()
    (folder / "headless.mp4").write_bytes(whole[:600])
    return folder / "headless.mp4"


def _sound(folder: Path) -> Path:
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    return folder / "sound.wav"


def _still(folder: Path) -> Path:
    return folder / "portrait.png"


def _foreign_npz(folder: Path) -> Path:
    np.savez(folder / "foreign.npz", a=np.zeros(3))
    return folder / "foreign.npz"


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (_missing, "does not exist"),
        (_folder, "is a folder"),
        (_empty, "is empty"),
        (_text, "holds text; wanted a video"),
        (_truncated, "breaks off"),
        (_truncated_mkv, "breaks off"),
        (_headless, "is cut short: its index is missing; wanted a video"),
        (_sound, "holds sound only"),
        (_still, "is a still picture"),
        (_foreign_npz, "was not written by understudy"),
    ],
)
@pytest.mark.usefixtures("clip", "portrait")
def test_a_performance_that_cannot_be_used_is_named_with_what_it_is(
    make: Callable[[Path], Path], found: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = make(folder)
    for command in (["capture", bad], ["act", folder / "portrait.png", bad]):
        output = tmp_path / ("out.npz" if command[0] == "capture" else "out.mp4")
        said = refused(capsys, *command, "-o", output)
        assert said.startswith(str(bad))
        assert found in said
        assert "wanted" in said
        assert list(tmp_path.iterdir()) == []


def test_a_video_without_a_face_is_refused(faceless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "capture", faceless, "-o", tmp_path / "out.npz")
    assert said == f"{faceless} shows no face in any frame; wanted an actor's face at least 64 px wide"
    assert list(tmp_path.iterdir()) == []


def test_a_face_that_is_not_there_is_told_with_those_that_are(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "capture", clip, "-o", tmp_path / "out.npz", "--face", "2")
    assert said == f"{clip} shows no more than 1 face at once; wanted --face 1, not 2"
    assert run(["capture", str(clip), "-o", str(tmp_path / "out.npz"), "-q"]) == 0
    said = refused(capsys, "capture", tmp_path / "out.npz", "-o", tmp_path / "out.csv", "--face", "left")
    assert said == f"{tmp_path / 'out.npz'} holds one performer; wanted a video for --face left"


def test_two_faces_want_a_choice(two_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "capture", two_faces, "-o", tmp_path / "out.npz")
    assert "shows 2 faces; wanted one, or a choice: --face largest" in said
    assert list(tmp_path.iterdir()) == []
    places = []
    for choice in ("left", "2"):
        assert run(["capture", str(two_faces), "-o", str(tmp_path / f"{choice}.npz"), "--face", choice, "-q"]) == 0
        places.append(Performance.load(tmp_path / f"{choice}.npz")[0].head[0, 3])
    assert places[0] < places[1]


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda folder, face: folder / "nobody.png", "does not exist; wanted a picture"),
        (lambda folder, face: folder, "is a folder; wanted a picture"),
        (lambda folder, face: _text(folder), "holds text; wanted a picture"),
        (lambda folder, face: _sound(folder), "holds sound only; wanted a picture"),
        (lambda folder, face: _picture(folder / "sky.png", np.full_like(face, 90)), "shows no face; wanted one"),
        (lambda folder, face: _picture(folder / "pair.png", np.hstack((face, face))), "shows 2 faces; wanted one"),
        (lambda folder, face: _damaged_character(folder), "is a damaged character"),
        (lambda folder, face: folder / "hero.character", "does not exist; wanted a character"),
    ],
)
def test_a_character_that_cannot_be_used_is_named_with_what_it_is(
    make: Callable[[Path, Rgb], Path],
    found: str,
    face: Rgb,
    clip: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = make(folder, face)
    said = refused(capsys, "act", bad, clip, "-o", tmp_path / "out.mp4")
    assert said.startswith(str(bad))
    assert found in said
    assert list(tmp_path.iterdir()) == []


def test_two_faces_in_a_picture_want_a_choice_and_follow_it(
    face: Rgb, clip: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = _picture(folder / "pair.png", np.hstack((face, face)))
    choice = "wanted one, or a choice: --character-face (character takes --face) largest, left, right or a number"
    assert choice in refused(capsys, "act", pair, clip, "-o", tmp_path / "out.mp4")
    assert choice in refused(capsys, "character", pair, "-o", tmp_path / "out.character")
    assert "shows 2 faces; wanted --face 1 to 2, not 3" in refused(
        capsys, "act", pair, clip, "--character-face", "3", "-o", tmp_path / "out.mp4"
    )
    assert refused(capsys, "act", pair, clip, "--character-face", "both", "-o", tmp_path / "out.mp4").startswith(
        "--character-face is 'both'; wanted largest"
    )
    saved = tmp_path / "right.character"
    assert run(["character", str(pair), "--face", "right", "-o", str(saved), "-q"]) == 0
    assert synth.character.load(saved).landmarks[:, 0].mean() > face.shape[1]
    assert "wanted a picture for --character-face left" in refused(
        capsys, "act", saved, clip, "--character-face", "left", "-o", tmp_path / "out.mp4"
    )
    movie = tmp_path / "left.mp4"
    line = ["act", str(pair), str(clip), "--character-face", "left", "--end", "0.2", "-o", str(movie), "-q"]
    assert run(line) == 0
    with VideoReader(movie) as reader:
        last = list(reader)[-1].rgb
    moved = np.abs(last.astype(int) - np.hstack((face, face))).mean((0, 2))  # by column
    assert moved[: face.shape[1]].mean() > 2 * moved[face.shape[1] :].mean()


def test_a_small_face_in_the_background_is_no_rival(face: Rgb, folder: Path, tmp_path: Path) -> None:
    crowd = np.hstack((face, np.full_like(face, 120)))
    crowd[40:94, -90:-36] = np.asarray(Image.fromarray(face).resize((54, 54)))  # a fifth as large
    picture = _picture(folder / "crowd.png", crowd)
    assert run(["character", str(picture), "-o", str(tmp_path / "hero.character"), "-q"]) == 0
    assert synth.character.load(tmp_path / "hero.character").landmarks[:, 0].mean() < face.shape[1]


def _picture(path: Path, rgb: Rgb) -> Path:
    Image.fromarray(rgb).save(path)
    return path


def _damaged_character(folder: Path) -> Path:
    (folder / "damaged.character").write_bytes(b"PK\3\4 and then nothing of use")
    return folder / "damaged.character"


# ---------------------------------------------------------------- outputs that cannot be written


@pytest.mark.parametrize("command", ["capture", "act", "calibrate", "character"])
def test_an_output_that_cannot_be_is_refused_before_the_work(
    command: str, clip: Path, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, suffix = {
        "capture": (["capture", clip], ".npz"),
        "act": (["act", portrait, clip], ".mp4"),
        "calibrate": (["calibrate", "performer", clip], ".profile.json"),
        "character": (["character", portrait], ".character"),
    }[command]
    there = tmp_path / f"there{suffix}"
    there.write_bytes(b"precious")
    nowhere = tmp_path / "nowhere" / f"out{suffix}"
    assert refused(capsys, *inputs, "-o", there) == f"{there} exists; pass --force to write over it"
    assert there.read_bytes() == b"precious"
    assert refused(capsys, *inputs, "-o", nowhere).endswith(f"the folder {nowhere.parent} does not exist")
    assert "is a folder" in refused(capsys, *inputs, "-o", _folder_named(tmp_path / f"folder{suffix}"))
    assert "wanted" in refused(capsys, *inputs, "-o", tmp_path / "out.docx")
    assert "has the suffix (none)" in refused(capsys, *inputs, "-o", "/dev/full")
    assert {path.name for path in tmp_path.iterdir()} == {there.name, f"folder{suffix}"}


@pytest.mark.parametrize(("character", "performance"), [("no.png", None), (None, "no.mp4")])
def test_a_missing_input_is_told_before_an_output_that_exists(
    character: str | None, performance: str | None,
    clip: Path, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    there = tmp_path / "there.mp4"
    there.write_bytes(b"precious")
    said = refused(capsys, "act", character or portrait, performance or clip, "-o", there)
    assert said.startswith(f"{character or performance} does not exist")
    assert there.read_bytes() == b"precious"


def _folder_named(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where nobody may make files")
@pytest.mark.parametrize("name", ["out.npz", "out.csv", "out.mp4"])
def test_a_folder_where_nothing_can_be_written_is_said(
    name: str, clip: Path, portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = ["act", portrait, clip] if name.endswith("mp4") else ["capture", clip]
    said = refused(capsys, *inputs, "-o", f"/proc/{name}")
    assert said.startswith(f"/proc/{name} c")
    assert "be written" in said


@pytest.mark.parametrize(
    "name", ["out.npz", "out.glb", "out.mp4", "out.webm", "out.gif", "out.character", "me.profile.json"]
)
def test_a_full_disk_leaves_nothing_behind(
    name: str, clip: Path, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs: list[object] = ["capture", clip]
    if name.endswith((".mp4", ".webm", ".gif")):
        inputs = ["act", portrait, clip]
    elif name.endswith(".character"):
        inputs = ["character", portrait]
    elif name.endswith(".json"):
        inputs = ["calibrate", "performer", clip]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, before[1]))
    try:
        said = refused(capsys, *inputs, "-o", tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert name in said
    assert "be written" in said
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- options that make no sense


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--intensity", "7"], "intensity is 7, wanted 1 to 5"),
        (["--intensity", "nan"], "intensity is nan, wanted 1 to 5"),
        (["--intensity", "much"], "Invalid value for '--intensity'"),
        (["--start", "soon"], "'soon' is no time; wanted seconds"),
        (["--start", "2", "--end", "1"], "end is 1 s and start 2 s, wanted a later end"),
        (["--start", "60"], "has no picture in the wanted stretch"),
        (["--face", "prettiest"], "'prettiest'; wanted largest, left, right or a number"),
        (["--profile", "nobody.profile.json"], "nobody.profile.json does not exist; wanted a performer profile"),
        (["--ratio", "7:5"], "--ratio is '7:5'; wanted one of 1280:720"),
        (["--colour", "blue"], "No such option"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    options: list[str],
    found: str,
    clip: Path,
    portrait: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert found in refused(capsys, "act", portrait, clip, "-o", tmp_path / "out.mp4", *options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_on_the_command_line_is_said(capsys: pytest.CaptureFixture[str], clip: Path) -> None:
    said = refused(capsys, "capture", clip)
    assert "Missing option '--output'" in said
    assert said.endswith("; see understudy capture --help")
    assert refused(capsys, "capture") == "Missing argument 'VIDEO'; see understudy capture --help"
    said = refused(capsys, "ackt")
    assert "No such command 'ackt'" in said
    assert said.endswith("ee understudy --help")
    assert refused(capsys, "calibrate", "performer").endswith("; see understudy calibrate performer --help")


@pytest.mark.parametrize("group", [[], ["calibrate"], ["keys"], ["train"]])
def test_a_command_alone_tells_what_there_is_line_by_line(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(group) == 2
    said = capsys.readouterr().err
    assert re.search(r"^Commands:\n  \w+ +\w", said, re.M), said


# ---------------------------------------------------------------- what it does when all is well


@pytest.fixture(scope="module")
def captured(clip: Path, folder: Path) -> Path:
    assert run(["capture", str(clip), "-o", str(folder / "take.npz"), "--force", "-q"]) == 0
    return folder / "take.npz"


def test_every_frame_is_captured_at_its_own_time_and_faceless_ones_are_counted(
    clip: Path, captured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    performance = Performance.load(captured)
    with VideoReader(clip) as reader:
        assert performance.times == [frame.time for frame in reader]
    assert performance.n_faceless >= 3
    capsys.readouterr()
    assert run(["capture", str(clip), "-o", str(tmp_path / "again.npz"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["frames"] == len(performance) == 24
    assert summary["faceless"] == performance.n_faceless
    assert summary["output"] == str(tmp_path / "again.npz")
    assert summary["fps"] > 0
    assert summary["peak_mb"] > 10
    assert {"decode", "capture"} <= set(summary["stages"])
    np.testing.assert_array_equal(Performance.load(tmp_path / "again.npz").frames, performance.frames)


@pytest.mark.parametrize("suffix", [".csv", ".bvh", ".glb"])
def test_captured_from_the_video_or_its_npz_an_export_is_the_same(
    suffix: str, clip: Path, captured: Path, tmp_path: Path
) -> None:
    for name, source in (("video", clip), ("npz", captured)):
        assert run(["capture", str(source), "-o", str(tmp_path / f"{name}{suffix}"), "-q"]) == 0
    assert len(list(tmp_path.iterdir())) == 2
    one, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("video", "npz"))
    assert one.replace(b"take.npz", b"clip.mp4") == other.replace(b"take.npz", b"clip.mp4")


def test_a_stretch_begins_at_zero_and_is_the_same_from_video_and_npz(
    clip: Path, captured: Path, portrait: Path, tmp_path: Path
) -> None:
    counts = []
    for name, source in (("video", clip), ("npz", captured)):
        output = tmp_path / f"{name}.mp4"
        stretch = ["--start", "0.4", "--end", "0.72"]
        assert run(["act", str(portrait), str(source), "-o", str(output), "-q", *stretch]) == 0
        with VideoReader(output) as reader:
            times = [frame.time for frame in reader]
        assert times[0] == 0
        counts.append(len(times))
    assert counts == [8, 8]


def test_a_sound_of_ones_own_goes_along_to_the_end_of_the_picture(
    clip: Path, portrait: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take, sound = tmp_path / "take.npz", _sound(folder)  # 1 s
    assert run(["capture", str(clip), "-o", str(take), "-q"]) == 0
    for name, performance in {"take.mp4": take, "clip.mkv": clip}.items():
        line = ["act", str(portrait), str(performance), "--sound", str(sound), "-o", str(tmp_path / name), "-q"]
        assert run([*line, "--end", "0.6"]) == 0
        track = inspect_sound(tmp_path / name)
        assert 0.6 <= track.end - track.start < 0.6 + track.packet
    refusals = {
        "out.gif": (sound, "takes no sound, as no .gif does; wanted .mp4"),
        "out.mp4": (portrait, "holds no sound; wanted a file with sound"),
        "off.mp4": (folder / "gone.wav", "does not exist; wanted a file with sound"),
    }
    for name, (bad, found) in refusals.items():
        assert found in refused(capsys, "act", portrait, take, "--sound", bad, "-o", tmp_path / name)
        assert not (tmp_path / name).exists()


def test_a_quiet_command_says_nothing(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["capture", str(clip), "-o", str(tmp_path / "out.npz"), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == ""


def test_force_writes_over(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out.npz").write_bytes(b"old")
    assert run(["capture", str(clip), "-o", str(tmp_path / "out.npz"), "--force"]) == 0
    assert len(Performance.load(tmp_path / "out.npz")) == 24
    assert "out.npz: 24 frames, 3 without a face" in capsys.readouterr().out


def test_a_saved_character_performs_the_same_frames_as_its_picture(clip: Path, portrait: Path, tmp_path: Path) -> None:
    hero = tmp_path / "hero.character"
    assert run(["character", str(portrait), "--references", str(portrait), "-o", str(hero), "-q"]) == 0
    frames = []
    for name, character in (("saved", hero), ("picture", portrait)):
        output = tmp_path / f"{name}.mkv"
        assert run(["act", str(character), str(clip), "-o", str(output), "--end", "0.3", "-q"]) == 0
        with VideoReader(output) as reader:
            frames.append([frame.rgb for frame in reader])
    np.testing.assert_array_equal(frames[0], frames[1])


def test_a_character_keeps_all_its_references(portrait: Path, tmp_path: Path) -> None:
    for name, references in (
        ("spread", ["--references", portrait, portrait]),
        ("repeated", ["--references", portrait, "--references", portrait]),
    ):
        hero = tmp_path / f"{name}.character"
        assert run([str(part) for part in ("character", portrait, *references, "-o", hero, "-q")]) == 0
        kept = synth.character.load(hero).references
        assert [(rgb.shape, landmarks.shape) for rgb, landmarks in kept] == [((288, 288, 3), (478, 3))] * 2


def test_a_reference_without_a_face_is_named(
    portrait: Path, face: Rgb, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sky = _picture(folder / "sky.png", np.full_like(face, 90))
    said = refused(capsys, "character", portrait, "--references", sky, "-o", tmp_path / "hero.character")
    assert said.startswith(f"{sky} shows no face; wanted one")
    assert list(tmp_path.iterdir()) == []


def test_a_profile_is_measured_and_used(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "me.profile.json"
    assert run(["calibrate", "performer", str(clip), "-o", str(profile), "-q"]) == 0
    assert json.loads(profile.read_text())["source"] == "clip.mp4"
    take = tmp_path / "take.npz"
    assert run(["capture", str(clip), "-o", str(take), "--profile", str(profile), "-q"]) == 0
    np.testing.assert_allclose(
        Performance.load(take).take.neutral, json.loads(profile.read_text())["neutral"], atol=1e-5
    )
    said = refused(capsys, "capture", take, "-o", tmp_path / "b.npz", "--profile", profile)
    assert "is captured already; wanted a video for --profile" in said


# ---------------------------------------------------------------- as a process


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def test_version_and_the_help_of_every_command_load_nothing_heavy() -> None:
    script = (
        "import sys, typer, server.cli\n"
        "def every(command, path):\n"
        "    yield path\n"
        "    for name, inner in getattr(command, 'commands', {}).items():\n"
        "        yield from every(inner, [*path, name])\n"
        "commands = list(every(typer.main.get_command(server.cli.app), []))\n"
        "assert ['train', 'base'] in commands and ['act'] in commands\n"
        "for a in (['--version'], *([*path, '--help'] for path in commands)):\n"
        "    assert server.cli.run(a) == 0, a\n"
        "heavy = {'numpy', 'av', 'cv2', 'mediapipe', 'numba', 'scipy', 'PIL', 'rich', 'torch', 'sqlalchemy', 'fastapi'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=_environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert "capture" in done.stdout
    assert "--intensity" in done.stdout
    assert not re.search(r"\w\.\.\.$", done.stdout, re.M), "what a command does is cut short"
    assert "understudy 0." in done.stdout


def test_notices_of_native_libraries_are_dropped_and_errors_survive() -> None:
    script = (
        "import os, sys, threading\n"
        "from server.chatter import quiet_natives\n"
        "quiet_natives()\n"
        "os.write(2, b'INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\n')\n"
        "os.write(2, b'W0000 00:00:1795252230.157913    5106 inference.cc:114] Feedback manager\\n')\n"
        "os.write(2, b'W0000 12:30:41.157913    5106 inference.cc:114] Feedback manager\\n')\n"
        "os.write(2, b'E0000 00:00:1795252230.157913    5106 graph.cc:1] real trouble\\n')\n"
        "print('from python', file=sys.stderr)\n"
        "os.write(2, b'last words')\n"
        "os.abort()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=_environment(), check=False
    )
    assert done.returncode == -signal.SIGABRT
    for survivor in ("real trouble", "from python", "last words", "Fatal Python error: Aborted"):
        assert survivor in done.stderr
    assert "INFO" not in done.stderr
    assert "Feedback manager" not in done.stderr


def test_a_refused_command_says_one_sentence_on_stderr_as_a_process_too(faceless: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "capture", str(faceless), "-o", str(tmp_path / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "shows no face" in done.stderr


def _writes(pid: int, folder: Path) -> bool:
    """Whether a process has a file open there, be it one without a name."""
    opened = []
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            opened.append(os.readlink(handle))
    return any(name.startswith(str(folder)) for name in opened)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "told", "status"), [
    ("out.mp4", signal.SIGINT, 130), ("out.mp4", signal.SIGTERM, 143), ("out.png", signal.SIGINT, 130),
    ("out.npz", signal.SIGTERM, 143), ("out.csv", signal.SIGINT, 130),
])  # fmt: skip
def test_a_command_told_to_stop_leaves_nothing_behind(
    name: str, told: signal.Signals, status: int, portrait: Path, long_clip: Path, tmp_path: Path
) -> None:
    inputs = ["capture", str(long_clip)] if name.endswith(("npz", "csv")) else ["act", str(portrait), str(long_clip)]
    command = [*COMMAND, *inputs, "-o", str(tmp_path / name)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=_environment()) as process:
        deadline = time.monotonic() + 60
        while not _writes(process.pid, tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(told)
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait(60)
    assert process.returncode == status, said
    assert said == ("understudy: stopped\n" if told == signal.SIGINT else "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("told", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_arrives_inside_a_finalizer_still_stops_the_command(told: signal.Signals, status: int) -> None:
    script = (
        "import time\n"
        "from server import cli\n"
        "class Slow:\n"
        "    def __del__(self):\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(30)\n"
        "def run():\n"
        "    Slow()\n"
        "    time.sleep(30)\n"
        "cli.run = run\n"
        "try:\n"
        "    cli.main()\n"
        "except KeyboardInterrupt:\n"
        "    raise SystemExit(130)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(told)
        assert process.wait(60) == status


@pytest.mark.parametrize("linked", [False, True])
def test_no_command_writes_over_what_it_reads_even_if_forced(
    linked: bool, portrait: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    actor, picture = tmp_path / "actor.mp4", tmp_path / "picture.png"
    actor.write_bytes(clip.read_bytes())
    picture.write_bytes(portrait.read_bytes())
    same = tmp_path / "same.mp4"
    if linked:
        same.symlink_to(actor)
    target = same if linked else actor
    commands = [["act", str(picture), str(actor), "-o", str(target), "--force"]]
    commands.append(["dub", str(actor), "--audio", str(actor), "-o", str(target), "--force"])
    for arguments in commands:
        assert run(arguments) == 2
        assert "is also what it would be made of; wanted another name for the result" in capsys.readouterr().err
    assert actor.read_bytes() == clip.read_bytes()
