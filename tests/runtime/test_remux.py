"""Clips written anew: what must not change, on files made here."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.subtitles.subtitle import SubtitleSet
from numpy.typing import NDArray

import runtime.remux as remux
from runtime.errors import InputError
from runtime.planes import PlaneFrame, PlaneReader
from runtime.remux import ClipWriter, RemuxOptions, clip_kind, copies_picture
from runtime.sound import cut_sound, inspect_sound
from runtime.splice import Insert, Splice
from runtime.video import VideoReader

NTSC, FILM = Fraction(30_000, 1001), Fraction(24_000, 1001)
RATE = 48_000
FORCED, HARD_OF_HEARING = int(av.stream.Disposition.forced), int(av.stream.Disposition.hearing_impaired)
ASS = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
SAID = ((Fraction(1, 5), Fraction(9, 10), "Bonjour"), (Fraction(3, 2), Fraction(5, 2), "Salut"))


def picture(width: int, height: int, i: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    rgb: NDArray[np.uint8] = np.stack(
        (40 + 150 * x / width, 60 + 120 * y / height, np.full(x.shape, 60 + (i * 7) % 120)), -1
    ).astype(np.uint8)
    return rgb


def tone(hz: float, seconds: float) -> NDArray[np.float32]:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(0.3 * np.sin(2 * np.pi * hz * t), np.float32)


def film(
    path: Path,
    n: int = 60,
    size: tuple[int, int] = (96, 64),
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: Fraction = NTSC,
    times: Sequence[Fraction] | None = None,
    sounds: Sequence[str] = ("aac", "aac"),
    subtitles: str | None = None,
    chapters: bool = True,
    turn: tuple[float, bool] | None = None,
    aspect: Fraction | None = None,
    tags: tuple[int, int, int, int] | None = None,
    attachment: bool = False,
    params: str = "",
) -> Path:
    """A clip with everything, made with PyAV alone."""
    base = Fraction(1, 90_000) if times is not None else 1 / rate
    muxing = {"video_track_timescale": str(base.denominator)} if path.suffix in (".mp4", ".mov") else {}
    muxing |= {"output_ts_offset": "1.4"} if path.suffix == ".ts" else {}
    with av.open(str(path), "w", container_options=muxing) as container:
        video: Any = container.add_stream(codec, rate=rate)
        video.width, video.height = size
        video.pix_fmt = pixels
        context = video.codec_context
        context.time_base = base
        if codec == "libx264":
            context.options = {"crf": "4", "preset": "ultrafast"} | ({"x264-params": params} if params else {})
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if tags is not None:
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        if turn is not None:
            video.set_display_rotation(turn[0], hflip=turn[1])
        audio: list[Any] = []
        for i, name in enumerate(sounds):
            stream: Any = container.add_stream(name, rate=RATE, layout="mono")
            stream.metadata.update({"language": ("eng", "fra", "deu")[i], "title": f"Sound {i}"})
            stream.disposition = HARD_OF_HEARING if i else 1
            audio.append(stream)
        text: Any = None
        if subtitles:
            text = container.add_stream(subtitles)
            text.codec_context.subtitle_header = ASS
            text.codec_context.time_base = text.time_base = Fraction(1, 1000)
            text.metadata["language"] = "fra"
            text.disposition = FORCED
        if attachment:
            container.add_attachment("font.ttf", "font/ttf", b"no font")
        container.metadata.update({"title": "A title", "comment": "seen", "artist": "Somebody"})
        if chapters:
            container.set_chapters(
                [
                    {"id": i, "start": i * 1000, "end": i * 1000 + 1000, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
                    for i, name in enumerate(("One", "Two"))
                ]
            )  # fmt: skip
        container.start_encoding()
        end = times[-1] if times is not None else n / rate
        for i, stream in enumerate(audio):
            frame = av.AudioFrame.from_ndarray(tone(440 + 220 * i, float(end))[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            for part in av.AudioResampler(stream.format.name, "mono", RATE).resample(frame):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        for i in range(n):
            shot = av.VideoFrame.from_ndarray(picture(*size, i), "rgb24").reformat(format=pixels)
            shot.pts = i if times is None else round(times[i] / base)
            shot.time_base = base
            container.mux(video.encode(shot))
        container.mux(video.encode(None))
        for i, (begin, until, words) in enumerate(SAID if text else ()):
            line = f"{i},0,Default,,0,0,0,,{words}".encode()
            packet = text.codec_context.encode_subtitle(SubtitleSet.create(line, 0, 1000))
            packet.pts = packet.dts = round(begin * 1000)
            packet.duration, packet.time_base, packet.stream = round((until - begin) * 1000), Fraction(1, 1000), text
            container.mux(packet)
    return path


def anew(
    source: Path,
    path: Path,
    sound: Splice | None = None,
    replaced: int | None = 1,
    n: int | None = None,
    options: RemuxOptions | None = None,
) -> list[str]:
    """Pass a clip through, or the first n frames of it; returns the notes."""
    with (
        PlaneReader(source) as reader,
        ClipWriter(path, source, reader.layout, sound=sound, replaced=replaced, options=options) as writer,
    ):
        for frame in reader:
            if n is None or frame.number < n:
                writer.write(frame, frame.time, frame.duration)
    return writer.notes


def speech(path: Path, seconds: float = 1.0) -> Splice:
    from tests.runtime.test_splice import wav

    return Splice(RATE, "mono", [Insert(inspect_sound(wav(path, tone(880, seconds), RATE)))])


def read(path: Path) -> list[PlaneFrame]:
    with PlaneReader(path) as reader:
        return list(reader)


def passed(reader: PlaneReader, writer: ClipWriter, error: BaseException | None = None) -> None:
    with writer:
        for frame in reader:
            writer.write(frame, frame.time, frame.duration)
        if error is not None:
            raise error


def when(path: Path) -> list[tuple[Fraction, Fraction]]:
    return [(frame.time, frame.duration) for frame in read(path)]


def tracks(path: Path) -> list[tuple[str, str | None, str | None, int]]:
    """Type, codec, language and purpose of each."""
    with av.open(str(path)) as container:
        return [
            (s.type, s.codec_context and s.codec_context.name, s.language, int(s.disposition))
            for s in container.streams
        ]


def pcm(path: Path, index: int) -> NDArray[np.float32]:
    track = inspect_sound(path, index)
    frames = cut_sound(track, Fraction(0), track.end, rate=RATE, layout="mono")
    return np.concatenate([np.asarray(f.to_ndarray()[0], np.float32) for f in frames])


def pitch(samples: NDArray[np.float32]) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * RATE / len(samples))


def words(path: Path) -> list[tuple[Fraction, Fraction, str]]:
    """When each subtitle comes and goes, and what it says."""
    out = []
    with av.open(str(path)) as container:
        stream: Any = container.streams.subtitles[0]
        for packet in container.demux(stream):
            if packet.size > 2:
                for each in stream.codec_context.decode(packet):
                    begin = packet.pts * packet.time_base
                    said = each.ass.decode().split(",", 8)[-1]
                    out.append((begin, begin + packet.duration * packet.time_base, said))
    return out


# The picture


@pytest.mark.parametrize("rate", [NTSC, FILM, Fraction(25), Fraction(1350, 61)])
def test_every_frame_keeps_its_time_to_the_tick(tmp_path: Path, rate: Fraction) -> None:
    source = film(tmp_path / "clip.mp4", 90, rate=rate, sounds=("aac",))
    anew(source, tmp_path / "out.mp4")
    assert when(tmp_path / "out.mp4") == when(source)
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert reader.rate == rate
        assert reader.n_frames == 90


def test_variable_rates_keep_each_time(tmp_path: Path) -> None:
    times = [Fraction(t, 600) for t in (25, 45, 85, 86, 225, 232)]
    source = film(tmp_path / "clip.mp4", 6, times=times, sounds=())
    anew(source, tmp_path / "out.mp4", replaced=None)
    assert [t for t, _ in when(tmp_path / "out.mp4")] == [t for t, _ in when(source)]
    assert [d for _, d in when(tmp_path / "out.mp4")] == [d for _, d in when(source)]
    assert [b - a for (a, _), (b, _) in pairwise(when(source))] == [b - a for a, b in pairwise(times)]


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix", "written"),
    [
        ("libx264", "yuv420p", "mp4", "yuv420p"),
        ("libx264", "yuv422p", "mov", "yuv422p"),
        ("libx264", "yuv444p", "mkv", "yuv444p"),
        ("libx264", "yuv420p10le", "mp4", "yuv420p10le"),
        ("libx264", "yuv422p10le", "mkv", "yuv422p10le"),
        ("mjpeg", "yuvj420p", "avi", "yuv420p"),
        ("png", "rgb24", "mov", "yuv444p"),
        ("libvpx-vp9", "yuv420p", "webm", "yuv420p"),
    ],
)
def test_the_picture_keeps_its_size_its_pixels_and_its_looks(
    tmp_path: Path, codec: str, pixels: str, suffix: str, written: str
) -> None:
    source = film(tmp_path / f"clip.{suffix}", 5, codec=codec, pixels=pixels, sounds=(), chapters=False)
    out = tmp_path / ("out.mp4" if suffix == "avi" else f"out.{suffix}")
    assert anew(source, out, replaced=None) == []
    before, after = read(source), read(out)
    assert len(after) == 5
    assert after[0].layout.format.removeprefix("yuvj") == written
    for a, b in zip(before, after, strict=True):
        for mine, other in zip(a.planes, b.planes, strict=True):
            assert mine.shape == other.shape
            error = np.mean((mine.astype(float) - other) ** 2) / (1 if mine.dtype == np.uint8 else 16)
            assert 10 * np.log10(255**2 / max(error, 1e-9)) > (42 if mine is a.planes[0] else 40)


@pytest.mark.parametrize(
    ("size", "pixels", "written"),
    [((95, 64), "yuv420p", "yuv444p"), ((96, 63), "yuv420p", "yuv422p"), ((95, 63), "yuv422p10le", "yuv444p10le")],
)
def test_odd_sizes_stay_odd_and_the_finer_colour_is_told(
    tmp_path: Path, size: tuple[int, int], pixels: str, written: str
) -> None:
    source = film(tmp_path / "clip.mkv", 3, size, codec="ffv1", pixels=pixels, sounds=())
    notes = anew(source, tmp_path / "out.mp4", replaced=None)
    assert notes == [f"the picture's {pixels} is written as {written}, which mp4 can hold"]
    frame = read(tmp_path / "out.mp4")[0]
    assert (frame.layout.width, frame.layout.height) == size
    assert np.abs(frame.small(200).astype(int) - read(source)[0].small(200)).mean() < 2


@pytest.mark.parametrize("tags", [(9, 16, 9, 1), (1, 1, 1, 2), (2, 2, 2, 0), (6, 6, 6, 1)])
def test_colour_tags_stay(tmp_path: Path, tags: tuple[int, int, int, int]) -> None:
    source = film(tmp_path / "clip.mp4", 3, tags=tags, sounds=())
    anew(source, tmp_path / "out.mp4", replaced=None)
    layouts = [read(path)[0].layout.tags for path in (source, tmp_path / "out.mp4")]
    assert layouts[0] == layouts[1]


GRADED = "mastering-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):cll=1000,400"


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_how_bright_it_was_made_to_be_shown_stays(tmp_path: Path, suffix: str) -> None:
    source = film(tmp_path / f"clip.{suffix}", 3, pixels="yuv420p10le", tags=(9, 16, 9, 1), sounds=(), params=GRADED)
    anew(source, tmp_path / f"out.{suffix}", replaced=None)
    before, after = (read(path)[0].layout.brightness for path in (source, tmp_path / f"out.{suffix}"))
    assert before.light == (1000, 400)
    assert before.x264 == GRADED
    assert after == before


def test_webm_says_that_it_forgets_how_bright_the_picture_was_made_to_be_shown(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", 3, sounds=(), params=GRADED)
    with PlaneReader(source) as reader, ClipWriter(tmp_path / "out.webm", source, reader.layout) as writer:
        for frame in reader:
            writer.write(frame, frame.time, frame.duration)
    assert writer.notes == ["webm forgets how bright the picture was made to be shown"]


def test_a_picture_that_is_clear_in_places_says_that_its_opacity_is_not_kept(tmp_path: Path) -> None:
    for clear in (True, False):
        path = tmp_path / f"{clear}.mov"
        with av.open(str(path), "w") as container:
            video: Any = container.add_stream("qtrle", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "argb"
            rgba = np.full((48, 64, 4), 255, np.uint8)
            rgba[:, :20, 3] = 0 if clear else 255
            for i in range(3):
                shot = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format="argb")
                shot.pts, shot.time_base = i, Fraction(1, 25)
                container.mux(video.encode(shot))
            container.mux(video.encode(None))
        with PlaneReader(path) as reader, ClipWriter(tmp_path / "out.mov", path, reader.layout, force=True) as writer:
            for frame in reader:
                writer.write(frame, frame.time, frame.duration)
        assert any("its opacity is not kept" in note for note in writer.notes) == clear


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("turn", [(90.0, False), (180.0, False), (-90.0, True)])
def test_how_it_is_turned_and_how_wide_its_pixels_are_stay(
    tmp_path: Path, suffix: str, turn: tuple[float, bool]
) -> None:
    source = film(tmp_path / f"clip.{suffix}", 3, turn=turn, aspect=Fraction(16, 15), sounds=())
    anew(source, tmp_path / f"out.{suffix}", replaced=None)
    before, after = (read(path)[0].layout for path in (source, tmp_path / f"out.{suffix}"))
    assert after.display == before.display
    assert before.display is not None
    assert after.sample_aspect == before.sample_aspect == Fraction(16, 15)
    assert (after.width, after.height) == (96, 64)


def test_a_changed_frame_shows_its_change_and_the_others_do_not(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", 10, turn=(90.0, False), sounds=())
    with PlaneReader(source) as reader, ClipWriter(tmp_path / "out.mp4", source, reader.layout) as writer:
        for frame in reader:
            if frame.number == 4:
                frame.editable()[0][20:40, 10:30] = 235
            writer.write(frame, frame.time, frame.duration)
    for frame, plain in zip(read(tmp_path / "out.mp4"), read(source), strict=True):
        off = np.abs(frame.planes[0].astype(int) - plain.planes[0])
        assert (off[22:38, 12:28].min() > 30) == (frame.number == 4)
        off[16:44, 6:34] = 0
        assert off.max() < 12


def test_less_crf_is_nearer_to_the_source(tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    source = tmp_path / "clip.mkv"
    with av.open(str(source), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.mux([*stream.encode(av.VideoFrame.from_ndarray(noisy, "rgb24")), *stream.encode(None)])
    off = []
    for crf in (5, 35):
        out = tmp_path / f"{crf}.mp4"
        anew(source, out, replaced=None, options=RemuxOptions(crf=crf))
        off.append(np.abs(read(out)[0].planes[0].astype(int) - read(source)[0].planes[0]).mean())
    assert off[0] < off[1] / 3


# What goes along


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_new_sound_takes_the_place_of_one_and_everything_else_goes_along(tmp_path: Path, suffix: str) -> None:
    text = "subrip" if suffix == "mkv" else "mov_text"
    source = film(tmp_path / f"clip.{suffix}", subtitles=text, attachment=suffix == "mkv")
    out = tmp_path / f"out.{suffix}"
    assert anew(source, out, speech(tmp_path / "speech.wav")) == []
    before, after = tracks(source), tracks(out)
    assert [(t[0], t[2], t[3]) for t in after] == [(t[0], t[2], t[3]) for t in before]
    assert [t[1] for t in after][2:] == [t[1] for t in before][2:]
    assert pitch(pcm(out, 1)[:RATE]) == pytest.approx(880, abs=3)
    assert pitch(pcm(out, 2)) == pytest.approx(660, abs=3)
    kept, copied = pcm(source, 2), pcm(out, 2)
    n = min(len(kept), len(copied)) - 2048
    np.testing.assert_allclose(copied[1024:n], kept[1024:n], atol=1e-4)
    assert words(out) == words(source)
    assert [w[2] for w in words(out)] == ["Bonjour", "Salut"]
    with av.open(str(source)) as a, av.open(str(out)) as b:
        assert {k.lower(): v for k, v in b.metadata.items()}.items() >= {
            "title": "A title", "comment": "seen", "artist": "Somebody"
        }.items()  # fmt: skip
        chapters = [[(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]) for c in x.chapters()] for x in (a, b)]  # fmt: skip
        assert len(chapters[0]) == 2
        assert chapters[1] == chapters[0]


@pytest.mark.parametrize(("source", "target"), [("mp4", "mkv"), ("mkv", "mp4"), ("mkv", "mov"), ("mp4", "webm")])
def test_what_another_container_takes_otherwise_is_turned_into_that(tmp_path: Path, source: str, target: str) -> None:
    text = "subrip" if source == "mkv" else "mov_text"
    sounds = ("aac", "flac") if source == "mkv" else ("aac", "aac")
    clip = film(tmp_path / f"clip.{source}", subtitles=text, sounds=sounds)
    out = tmp_path / f"out.{target}"
    assert anew(clip, out, speech(tmp_path / "speech.wav")) == []
    assert [(t[0], t[2]) for t in tracks(out)][:4] == [("video", tracks(out)[0][2]), ("audio", "eng"), ("audio", "fra"), ("subtitle", "fra")]  # fmt: skip
    assert pitch(pcm(out, 2)) == pytest.approx(660, abs=3)
    for mine, other in zip(words(out), SAID, strict=True):
        assert mine == other
    off = [abs(a - b) for (a, _), (b, _) in zip(when(out), when(clip), strict=True)]
    assert max(off) <= Fraction(1, 1000)


def test_what_cannot_go_along_is_told(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mkv", 10, sounds=(), attachment=True)
    notes = anew(source, tmp_path / "out.mp4", replaced=None)
    assert notes == ["track 1 (attachment) does not go into mp4 and was left out"]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_cover_goes_along(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "clip.mp4"
    with av.open(str(source), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        cover: Any = container.add_stream("mjpeg", rate=1)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = int(av.stream.Disposition.attached_pic)
        container.start_encoding()
        for stream, size, n in ((cover, (32, 32), 1), (video, (96, 64), 5)):
            for i in range(n):
                shot = av.VideoFrame.from_ndarray(picture(*size, i), "rgb24").reformat(format=stream.pix_fmt)
                shot.pts = i
                container.mux(stream.encode(shot))
            container.mux(stream.encode(None))
    assert anew(source, tmp_path / f"out.{suffix}", replaced=None) == []
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        kept = container.streams.video[1]
        assert int(kept.disposition) == int(av.stream.Disposition.attached_pic)
        assert [f.width for f in container.decode(kept)] == [32]


def test_a_clip_without_sound_gets_one(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", 30, sounds=())
    anew(source, tmp_path / "out.mp4", speech(tmp_path / "speech.wav"), replaced=None)
    assert [t[0] for t in tracks(tmp_path / "out.mp4")][:2] == ["video", "audio"]


@pytest.mark.parametrize(("language", "said"), [(None, "eng"), ("deu", "deu")])
def test_the_new_sound_says_its_language_where_it_is_known(tmp_path: Path, language: str | None, said: str) -> None:
    source = film(tmp_path / "clip.mp4", 10)
    with PlaneReader(source) as reader:
        out, sound = tmp_path / "out.mp4", speech(tmp_path / "speech.wav")
        passed(reader, ClipWriter(out, source, reader.layout, sound=sound, replaced=1, language=language))
    assert [t[2] for t in tracks(out) if t[0] == "audio"] == [said, "fra"]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_new_sound_is_exact_to_the_sample_and_as_long_as_the_picture(tmp_path: Path, suffix: str) -> None:
    source = film(tmp_path / f"clip.{suffix}", 60)
    out = tmp_path / f"out.{suffix}"
    anew(source, out, speech(tmp_path / "speech.wav", 1.0))
    samples = pcm(out, 1)
    end = read(out)[-1]
    assert len(samples) == pytest.approx(float(end.time + end.duration) * RATE, abs=RATE / 1000 + 1)
    truth = tone(880, 1.0)
    middle = slice(RATE // 4, RATE * 3 // 4)
    lags = [np.dot(samples[RATE // 4 + k : RATE * 3 // 4 + k], truth[middle]) for k in range(-20, 21)]
    assert int(np.argmax(lags)) == 20
    assert np.abs(samples[RATE + 2048 :]).max() < 0.01


def test_what_goes_along_ends_with_the_picture(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", 60, subtitles="mov_text")
    anew(source, tmp_path / "out.mp4", speech(tmp_path / "speech.wav"), n=30)
    end = read(tmp_path / "out.mp4")[-1]
    assert inspect_sound(tmp_path / "out.mp4", 2).end <= end.time + end.duration + Fraction(1024, RATE)
    assert [w[2] for w in words(tmp_path / "out.mp4")] == ["Bonjour"]


def test_a_clip_whose_clock_starts_late_starts_at_nought(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.ts", 40, sounds=("mp2",), chapters=False)
    with av.open(str(source)) as container:
        assert container.start_time
    anew(source, tmp_path / "out.mp4", replaced=None)
    assert when(tmp_path / "out.mp4") == when(source)
    assert pitch(pcm(tmp_path / "out.mp4", 1)) == pytest.approx(440, abs=3)


# The file


def test_nothing_is_left_of_what_was_not_finished(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", 10)
    folder = tmp_path / "out"
    folder.mkdir()
    with PlaneReader(source) as reader, pytest.raises(RuntimeError):
        passed(reader, ClipWriter(folder / "out.mp4", source, reader.layout), RuntimeError())
    assert list(folder.iterdir()) == []


def test_an_output_that_exists_or_is_of_another_kind_is_refused(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", 3)
    (tmp_path / "out.mp4").touch()
    with PlaneReader(source) as reader:
        with pytest.raises(InputError, match="exists; pass --force"):
            ClipWriter(tmp_path / "out.mp4", source, reader.layout)
        with pytest.raises(InputError, match="also what it would be made of"):
            ClipWriter(source, source, reader.layout, force=True)
    with pytest.raises(InputError, match=r"out.avi has the suffix .avi; wanted one of .mp4, .m4v"):
        clip_kind(tmp_path / "out.avi")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = film(tmp_path / "clip.mp4", 3)

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remux, "open_output", full)
    with PlaneReader(source) as reader, pytest.raises(InputError, match="no space left"):
        passed(reader, ClipWriter(tmp_path / "out.mp4", source, reader.layout))
    assert not (tmp_path / "out.mp4").exists()


# The picture copied


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_with_another_sound_alone_the_picture_is_copied_packet_by_packet(tmp_path: Path, suffix: str) -> None:
    source = film(tmp_path / "clip.mp4", 60, subtitles="mov_text", turn=(90.0, False))
    out = tmp_path / f"out.{suffix}"
    late = Splice(RATE, "mono", base=inspect_sound(source, 1), base_start=Fraction(-1, 10))
    layout = read(source)[0].layout
    assert copies_picture(out, source, layout)
    with ClipWriter(out, source, layout, sound=late, replaced=1) as writer:
        writer.copy()
    assert writer.notes == []
    for a, b in zip(read(out), read(source), strict=True):
        np.testing.assert_array_equal(a.planes[0], b.planes[0])
        assert abs(a.time - b.time) <= (Fraction(1, 1000) if suffix == "mkv" else 0)
    assert read(out)[0].layout.display == layout.display
    moved = pcm(out, 1)
    assert np.abs(moved[: RATE // 10 - 1200]).max() < 0.01
    assert pitch(moved[RATE // 5 : RATE]) == pytest.approx(440, abs=3)
    assert [t[0] for t in tracks(out)][:4] == ["video", "audio", "audio", "subtitle"]
    assert [w[2] for w in words(out)] == ["Bonjour", "Salut"]


def test_a_picture_that_a_container_does_not_take_is_known_beforehand(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", 5)
    assert not copies_picture(tmp_path / "out.webm", source, read(source)[0].layout)
