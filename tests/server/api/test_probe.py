"""Files are looked at by a process with limits; what is none of ours is refused in a sentence."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from runtime.errors import InputError
from server.api.probe import Media, ProbeLimits, probe

LIMITS = ProbeLimits()


def refused(path: Path, limits: ProbeLimits = LIMITS) -> str:
    with pytest.raises(InputError) as error:
        probe(path, limits, "it")
    return str(error.value)


def test_pictures_clips_and_sounds_are_told_apart_by_what_they_hold(files: Path, tmp_path: Path) -> None:
    def disguised(name: str, as_: str) -> Media:
        (tmp_path / as_).write_bytes((files / name).read_bytes())
        return probe(tmp_path / as_, LIMITS, "it")

    assert disguised("picture.png", "film.mp4") == Media(
        kind="image", suffix=".png", seconds=0, width=96, height=64, has_sound=False
    )
    clip = disguised("clip.mp4", "picture.png")
    assert (clip.kind, clip.suffix, clip.width, clip.height, clip.has_sound) == ("video", ".mp4", 96, 64, False)
    assert clip.seconds == pytest.approx(0.5, abs=0.05)
    sound = disguised("sound.wav", "noise")
    assert (sound.kind, sound.suffix, sound.has_sound) == ("audio", ".wav", True)
    assert sound.seconds == pytest.approx(1, abs=0.01)


def test_what_is_too_large_or_too_long_is_refused_before_it_is_decoded(files: Path, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))))
    assert refused(tmp_path / "bomb.png") == "it has 50000x50000 pixels; wanted at most 67108864"
    assert (
        refused(files / "clip.mp4", replace(LIMITS, frame_pixels=1000))
        == "it has 96x64 pixels; wanted at most 1000 a frame"
    )
    assert (
        refused(files / "clip.mp4", replace(LIMITS, seconds=0.2)) == "it lasts longer than 0.2 s; wanted at most that"
    )
    assert (
        refused(files / "sound.wav", replace(LIMITS, seconds=0.5)) == "it lasts longer than 0.5 s; wanted at most that"
    )


def test_what_is_damaged_or_none_of_ours_is_refused(files: Path, tmp_path: Path) -> None:
    for name, content, why in (
        ("text", b"hello", "holds text"), ("empty", b"", "holds no media"),
        ("cut.png", (files / "picture.png").read_bytes()[:-40], "is a damaged PNG picture"),
        ("cut.mp4", (files / "clip.mp4").read_bytes()[:900], "wanted a whole file"),
        ("noise.mp4", (files / "clip.mp4").read_bytes()[:40] + bytes(range(256)) * 20, "wanted one of them"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert why in refused(tmp_path / name)


@pytest.mark.parametrize("content", [
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {other}\n",
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT1S"><Period><AdaptationSet>'
    "<BaseURL>{other}</BaseURL></AdaptationSet></Period></MPD>", "[playlist]\nFile1={other}\n",
])  # fmt: skip
def test_a_file_that_points_at_another_is_not_followed(files: Path, tmp_path: Path, content: str) -> None:
    for name in ("list.m3u8", "list.mp4", "list"):
        (tmp_path / name).write_text(content.format(other=files / "clip.mp4"))
        assert "holds text" in refused(tmp_path / name)


def test_a_child_that_wants_more_than_it_may_have_is_stopped(files: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8000, 8000)).save(tmp_path / "large.png", compress_level=1)
    assert probe(tmp_path / "large.png", LIMITS, "it").width == 8000
    said = refused(tmp_path / "large.png", replace(LIMITS, memory_mb=150))
    assert said == "it cannot be decoded within the limits of a file; wanted a picture, video or sound"
    assert refused(files / "clip.mp4", replace(LIMITS, wall_s=0.01)) == (
        "it takes longer than 0.01 s to look at; wanted a simpler file"
    )
