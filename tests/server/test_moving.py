"""Clips that perform: whose mouth follows, what of the clip stays, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from audio.mouth_shape import OPENING, controls
from perfcap.capture import Perform, Sighting, survey
from perfcap.face import MediaPipeFaces
from perfcap.head import Camera
from perfcap.performance import PerformanceWriter, Take
from perfcap.written import head_at
from runtime.errors import InputError
from runtime.records import N_EXPRESSION, Motion
from runtime.sound import inspect_sound
from runtime.video import VideoReader
from server.act import ActOptions, act
from server.character import is_clip
from server.take import Tally
from tests.audio.faces import face as mean_face
from tests.server.conftest import RATE, Rgb, film, swaying

N = 50


def nothing(done: int, total: int | None) -> None:
    pass


def acted(clip: Path, performance: Path, output: Path, **options: Any) -> Tally:
    return act(clip, performance, output, ActOptions(**options), nothing)


def jaw(i: int) -> float:
    """Open and shut again, twice."""
    return float(max(0.0, 0.5 * np.sin(2 * np.pi * i / 25)))


@pytest.fixture(scope="module")
def moving(face: Rgb, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A character who sways and keeps their mouth as it is."""
    return film(tmp_path_factory.mktemp("moving") / "character.mp4", swaying(face), 30)


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody whose jaw goes down and up; nobody was filmed, so there is no sound."""
    path = tmp_path_factory.mktemp("take") / "take.npz"
    with PerformanceWriter(path) as writer:
        for i in range(N):
            writer.add(
                Motion(
                    time=i / RATE, head=head_at(0, 0, 0), expression=np.zeros(N_EXPRESSION, np.float32),
                    gaze=np.zeros((2, 2), np.float32), face=mean_face(jawOpen=jaw(i)), confidence=1.0,
                )
            )  # fmt: skip
        writer.finish(Take(source="x", camera=Camera.of_picture(288, 288), neutral=mean_face(), rate=RATE))
    return path


def pictures(path: Path) -> list[Rgb]:
    with VideoReader(path) as reader:
        return [frame.rgb for frame in reader]


def openings(shown: list[Rgb]) -> NDArray[np.float64]:
    """How far the mouth is open in each picture."""
    finder = MediaPipeFaces()
    camera = Camera.of_picture(shown[0].shape[1], shown[0].shape[0])
    sightings = [Sighting(i / RATE, camera, finder.find(rgb)[0]) for i, rgb in enumerate(shown)]
    perform = Perform(survey(sightings), smooth=None)
    return np.array([controls(m.face)[OPENING] for s in sightings for m in perform.push(s)], np.float64)


@pytest.mark.slow
def test_the_mouth_follows_the_actor_and_all_else_stays_the_clips_own(moving: Path, take: Path, tmp_path: Path) -> None:
    tally = acted(moving, take, tmp_path / "out.mp4")
    assert (tally.frames, tally.faceless) == (N, 0)
    made, own = pictures(tmp_path / "out.mp4"), pictures(moving)
    there_and_back = [*range(30), *range(28, 8, -1)]
    off = [np.abs(made[i][:100].astype(int) - own[n][:100]).mean() for i, n in enumerate(there_and_back)]
    assert max(off) < 2  # from the eyes up, an encoder's worth
    r = np.corrcoef(openings(made), [jaw(i) for i in range(N)])[0, 1]
    print(f"the mouth against the actor's jaw: r {r:.3f}")
    assert r > 0.9
    assert inspect_sound(tmp_path / "out.mp4").end == pytest.approx(N / 25, abs=0.1)


@pytest.mark.slow
def test_intensity_is_how_far_the_mouth_opens(moving: Path, take: Path, tmp_path: Path) -> None:
    reach = []
    for intensity in (1.0, 4.0):
        acted(moving, take, tmp_path / f"{intensity}.mp4", intensity=intensity, end=Fraction(1))
        reach.append(np.ptp(openings(pictures(tmp_path / f"{intensity}.mp4"))))
    print(f"opening at intensity 1 and 4: {reach[0]:.3f}, {reach[1]:.3f}")
    assert reach[0] < 0.7 * reach[1]


@pytest.mark.slow
def test_a_clip_is_cropped_to_a_ratio_around_its_face(face: Rgb, take: Path, clip: Path, tmp_path: Path) -> None:
    wide = film(tmp_path / "wide.mp4", lambda i: np.concatenate((np.full_like(face, 60), swaying(face)(i)), 1), 12)
    tally = acted(wide, take, tmp_path / "out.mp4", ratio="720:1280", end=Fraction(1, 5))
    shown = pictures(tmp_path / "out.mp4")
    assert (tally.frames, shown[0].shape) == (5, (1280, 720, 3))
    (found,) = MediaPipeFaces(still=True).find(shown[3])
    assert abs(found.centre[0] - 360) < 80
    with pytest.raises(InputError, match=r"sky.mp4 shows no face in any frame; wanted a speaker's face"):
        acted(film(tmp_path / "sky.mp4", lambda i: np.full((128, 192, 3), 90, np.uint8), 12), take,
              tmp_path / "sky-out.mp4", ratio="960:960")  # fmt: skip
    assert not (tmp_path / "sky-out.mp4").exists()


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"camera": ("zoom:1.2",)}, "--camera"),
        ({"fps": Fraction(25)}, "--fps"),
        ({"side_by_side": True}, "--side-by-side"),
        ({"renderer": "diffusion"}, "--renderer diffusion"),
    ],
)
def test_what_only_a_picture_can_do_is_refused(
    moving: Path, take: Path, tmp_path: Path, options: dict[str, Any], asked: str
) -> None:
    with pytest.raises(InputError, match=f"which keeps its own pictures; wanted a picture for {asked}$"):
        acted(moving, take, tmp_path / "out.mp4", **options)


def test_a_kind_of_file_that_holds_no_clip_is_refused(moving: Path, take: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out\.png has the suffix \.png; wanted one of \.mp4"):
        acted(moving, take, tmp_path / "out.png")


def test_moving_pictures_are_clips_and_nothing_else_is(
    portrait: Path, moving: Path, take: Path, tmp_path: Path
) -> None:
    stills = [Image.open(portrait).resize((64, 64)), Image.new("RGB", (64, 64))]
    stills[0].save(tmp_path / "still.gif")
    stills[0].save(tmp_path / "moves.gif", save_all=True, append_images=stills[1:])
    stills[0].save(tmp_path / "still.webp")
    (tmp_path / "text.mp4").write_text("words")
    assert is_clip(moving)
    assert is_clip(tmp_path / "moves.gif")
    for path in (
        portrait,
        take,
        tmp_path,
        *(tmp_path / name for name in ("still.gif", "still.webp", "text.mp4", "no")),
    ):
        assert not is_clip(path)
