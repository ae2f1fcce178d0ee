"""What `act` makes of its options, on a film made on the spot."""

from __future__ import annotations

import shutil
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from perfcap.face import MediaPipeFaces
from runtime.errors import InputError
from runtime.image import save_image
from runtime.records import N_EXPRESSION, N_LANDMARKS, Motion
from runtime.video import VideoReader
from server.act import ActOptions, act, at_rate
from tests.server.conftest import film


def motion(time: Fraction) -> Motion:
    return Motion(
        time=time, head=np.eye(4, dtype=np.float32), expression=np.zeros(N_EXPRESSION, np.float32),
        gaze=np.zeros((2, 2), np.float32), face=np.zeros((N_LANDMARKS, 3), np.float32), confidence=1.0,
    )  # fmt: skip


def render(portrait: Path, clip: Path, output: Path, **options: object) -> Path:
    act(portrait, clip, output, ActOptions(**options), lambda *_: None)  # type: ignore[arg-type]
    return output


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(25), Fraction(60)])
def test_at_another_rate_each_moment_comes_with_the_picture_shown_then(rate: Fraction) -> None:
    old = Fraction(25)
    pictures = [np.full((2, 2, 3), i, np.uint8) for i in range(20)]
    items = [(motion(i / old), picture) for i, picture in enumerate(pictures)]
    made = list(at_rate(items, rate))
    assert len(made) == 20 * rate / old
    for i, (moved, rgb) in enumerate(made):
        assert moved.time == i / rate
        assert rgb is pictures[min(int(moved.time * old), 19)]


def test_fps_ratio_camera_and_the_actor_beside_go_together(portrait: Path, clip: Path, tmp_path: Path) -> None:
    made = render(
        portrait, clip, tmp_path / "out.mp4", fps=Fraction(24000, 1001), ratio="1280:720",
        camera=("zoom:1.2", "orbit:5"), side_by_side=True, end=Fraction(2, 5),
    )  # fmt: skip
    with VideoReader(made) as reader:
        frames = list(reader)
        assert (reader.width, reader.height) == (720 + 1280, 720)  # the actor is square
    assert [frame.time for frame in frames] == [i * Fraction(1001, 24000) for i in range(10)]
    with VideoReader(clip) as reader:
        actor = next(iter(reader)).rgb
    shown = frames[0].rgb[:, :720]
    assert np.abs(shown.mean((0, 1)) - actor.mean((0, 1))).max() < 4


def test_shoulders_follow_the_actors_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    whole = np.ascontiguousarray(data.astronaut()[:400, :400])
    save_image(tmp_path / "portrait.png", whole)
    leaning = film(tmp_path / "actor.mp4", lambda i: np.roll(whole, 3 * i, 1), 12)
    chest = (slice(250, 310), slice(170, 240))  # cloth on all sides

    def gone(**options: object) -> float:
        """How many px to the right the chest went from the first picture to the last."""
        made = render(tmp_path / "portrait.png", leaning, tmp_path / f"{len(options)}.mp4", **options)
        with VideoReader(made) as reader:
            first, *_, last = (frame.rgb.mean(-1) for frame in reader)
        off = [np.abs(np.roll(first, i, 1)[chest] - last[chest]).mean() for i in range(40)]
        return float(np.argmin(off))

    with monkeypatch.context() as nobody:
        nobody.setattr("perfcap.body.Shoulders.find", lambda *_: None)
        options = ActOptions(body=True, end=Fraction(2, 25))
        tally = act(tmp_path / "portrait.png", leaning, tmp_path / "unseen.mp4", options, lambda *_: None)
    assert tally.notes == ["the actor's shoulders are not to be seen; the character's follow its neck a little"]
    assert gone(body=True) > 22  # of the actor's 33: joints are not told to the pixel
    assert gone() < 14
    with pytest.raises(InputError, match=r"take\.npz holds a head alone; wanted a video for --body"):
        act(
            tmp_path / "portrait.png",
            tmp_path / "take.npz",
            tmp_path / "out.mp4",
            ActOptions(body=True),
            lambda *_: None,
        )


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "face_share"), [(256, 256, 0.8), (3840, 2160, 0.06), (700, 2100, 0.25)])
def test_faces_large_and_small_act_in_pictures_of_any_size(
    width: int, height: int, face_share: float, portrait: Path, clip: Path, tmp_path: Path
) -> None:
    import cv2

    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    head = np.ascontiguousarray(data.astronaut()[20:200, 120:300])  # its face is .65 of it wide
    side = round(face_share / 0.65 * width)
    rgb = np.full((height, width, 3), (90, 110, 130), np.uint8)
    x, y = (width - side) // 2, max(0, (height - side) // 3)
    head = np.asarray(cv2.resize(head, (side, side), interpolation=cv2.INTER_CUBIC))[: height - y, max(0, -x) :]
    rgb[y : y + head.shape[0], max(0, x) : max(0, x) + head.shape[1]] = head[:, :width]
    save_image(tmp_path / "picture.png", rgb)
    made = render(tmp_path / "picture.png", clip, tmp_path / "out.mp4", end=Fraction(3, 25))
    with VideoReader(made) as reader:
        frames = [frame.rgb for frame in reader]
    assert len(frames) == 3
    assert all(frame.shape == rgb.shape for frame in frames)
    if side < width:  # what is around the person is as it was
        corner = (slice(-height // 8, None), slice(0, width // 8))
        assert np.abs(frames[-1][corner].astype(int) - rgb[corner]).mean() < 4
    (face,) = MediaPipeFaces(still=True).find(frames[-1])
    assert abs(face.centre[0] - width / 2) < 0.5 * side


def test_a_performance_without_pictures_has_no_actor_to_show(portrait: Path, clip: Path, tmp_path: Path) -> None:
    from server.capture import CaptureOptions, capture

    capture(clip, tmp_path / "take.npz", CaptureOptions(), lambda *_: None)
    with pytest.raises(
        InputError, match=r"take\.npz holds no pictures of the actor; wanted a video for --side-by-side"
    ):
        render(portrait, tmp_path / "take.npz", tmp_path / "out.mp4", side_by_side=True)
    assert not (tmp_path / "out.mp4").exists()


def test_an_export_is_no_performance_to_be_read(portrait: Path, tmp_path: Path) -> None:
    (tmp_path / "take.csv").write_text("Timecode,BlendshapeCount\n")
    with pytest.raises(
        InputError, match=r"take\.csv is written for other programs; wanted a video, or the capture's .npz"
    ):
        render(portrait, tmp_path / "take.csv", tmp_path / "out.mp4")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a tiny network that was never trained for anything."""
    pytest.importorskip("diffusers", reason="make diffusion brings it")
    from tests.synth.diffusion.network import pipeline

    folder = tmp_path_factory.mktemp("weights") / "tiny"
    pipeline(64, steps=2).save_pretrained(folder)
    return folder


def test_the_diffusion_renderer_paints_every_frame_at_its_time(
    portrait: Path, clip: Path, weights: Path, tmp_path: Path
) -> None:
    end = Fraction(2, 5)
    made = render(
        portrait, clip, tmp_path / "out.mp4", renderer="diffusion", weights=str(weights), steps=1,
        end=end, side_by_side=True,
    )  # fmt: skip
    warped = render(portrait, clip, tmp_path / "warp.mp4", end=end, side_by_side=True)
    with VideoReader(made) as one, VideoReader(warped) as other:
        painted, plain = list(one), list(other)
    assert [f.time for f in painted] == [f.time for f in plain]
    width = plain[0].rgb.shape[0]
    gaps = [np.abs(a.rgb.astype(int) - b.rgb).mean((0, 2)) for a, b in zip(painted, plain, strict=True)]
    assert all(gap[:width].mean() < 2 for gap in gaps), "the actor is not painted over"
    assert all(gap[width:].mean() > 4 for gap in gaps)


def test_a_character_is_painted_by_the_network_that_was_trained_for_it(
    portrait: Path, clip: Path, weights: Path, tmp_path: Path
) -> None:
    from server.character import save_character

    hero = tmp_path / "hero.character"
    save_character(portrait, hero, [portrait], None, force=False)
    shutil.copytree(weights, tmp_path / "hero.weights")
    own = render(hero, clip, tmp_path / "own.mp4", renderer="diffusion", end=Fraction(1, 5))
    named = render(hero, clip, tmp_path / "named.mp4", renderer="diffusion", weights=str(weights), end=Fraction(1, 5))
    assert own.read_bytes() == named.read_bytes()


def test_without_weights_the_diffusion_renderer_says_what_it_wants(
    portrait: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth.diffusion.renderer.PACKAGED", tmp_path / "nothing")
    with pytest.raises(InputError, match="no weights of the diffusion renderer are packaged; wanted --weights FOLDER"):
        render(portrait, clip, tmp_path / "out.mp4", renderer="diffusion")
    with pytest.raises(InputError, match="turbo holds no weights; wanted a folder that understudy train wrote"):
        render(portrait, clip, tmp_path / "out.mp4", renderer="diffusion", weights="turbo")
    assert not list(tmp_path.iterdir())


def test_options_of_the_diffusion_renderer_are_not_for_the_warp() -> None:
    with pytest.raises(ValueError, match="--weights and --steps are not for the warp; wanted --renderer diffusion or"):
        ActOptions(steps=2)
    with pytest.raises(ValueError, match="steps is 0, wanted 1 to 100"):
        ActOptions(renderer="diffusion", steps=0)


@pytest.fixture(scope="module")
def animate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Wan-Animate's form, its numbers by chance."""
    from tests.synth.wan_animate.tiny import save

    return save(tmp_path_factory.mktemp("wan-animate"))


def test_wan_animate_makes_every_frame_at_its_time_in_its_size_with_the_sound(
    portrait: Path, clip: Path, animate: Path, tmp_path: Path
) -> None:
    from server.cli import run

    noise = np.random.default_rng(0).normal(0, 3000, 44_100).astype("<i2")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 44_100, 0, "NONE", ""))
        sound.writeframes(noise.tobytes())
    same = [str(portrait), str(clip), "--sound", str(tmp_path / "sound.wav"), "--fps", "24000/1001", "--quiet"]
    assert run(["act", *same, "-o", str(tmp_path / "warp.mp4")]) == 0
    small = ["--steps", "1", "--segment", "9", "--area", "1024", "--prompt", "dancing"]
    own = ["--renderer", "wan-animate", "--weights", str(animate), *small, "--quantize", "fp8"]
    assert run(["act", *same, *own, "-o", str(tmp_path / "made.mp4")]) == 0
    with VideoReader(tmp_path / "made.mp4") as one, VideoReader(tmp_path / "warp.mp4") as other:
        assert (one.width, one.height) == (other.width, other.height)
        made, plain = list(one), list(other)
    assert [f.time for f in made] == [f.time for f in plain]
    assert len(made) == 24
    assert np.abs(made[0].rgb.astype(int) - plain[0].rgb).mean() > 20, "nothing is learned yet, so nothing is alike"
    assert samples(tmp_path / "made.mp4") == samples(tmp_path / "warp.mp4")


def samples(path: Path) -> list[tuple[float, bytes]]:
    """What a video's sound track says and when."""
    with av.open(str(path)) as container:
        return [(float(f.time), f.to_ndarray().tobytes()) for f in container.decode(audio=0)]


def test_wan_animates_options_are_its_own_and_it_needs_its_weights(portrait: Path, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--renderer wan-animate brings no weights; wanted --weights FOLDER"):
        ActOptions(renderer="wan-animate")
    for renderer in ("warp", "diffusion"):
        with pytest.raises(ValueError, match=f"--quantize are not for the {renderer}; wanted --renderer wan-animate"):
            ActOptions(renderer=renderer, quantize="fp8")
    with pytest.raises(ValueError, match="--quantize is 'q4'; wanted none, fp8, int8, nf4"):
        ActOptions(renderer="wan-animate", weights="w", quantize="q4")
    with pytest.raises(InputError, match="holds no weights; wanted Wan-Animate's as diffusers saves them"):
        render(portrait, clip, tmp_path / "out.mp4", renderer="wan-animate", weights=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_options_that_cannot_be_are_refused_before_anything_is_read() -> None:
    with pytest.raises(InputError, match="--ratio is '4:3'; wanted one of"):
        ActOptions(ratio="4:3")
    with pytest.raises(InputError, match="--camera is 'dutch:1'; wanted one of"):
        ActOptions(camera=("dutch:1",))
    with pytest.raises(ValueError, match=r"fps is 0\.5, wanted 1 to 240"):
        ActOptions(fps=Fraction(1, 2))
