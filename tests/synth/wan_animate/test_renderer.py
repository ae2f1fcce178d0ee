"""Segments make the pictures that diffusers' own call makes of the whole take, at the size of the character's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("transformers", reason="make wan-animate brings it")

import torch
from diffusers import WanAnimatePipeline
from PIL import Image

from runtime.records import Cue, Shot
from runtime.stage import run
from synth.camera import VirtualCamera, parse_move
from synth.rig import Character
from synth.wan_animate.options import WanAnimateOptions
from synth.wan_animate.pipeline import Memory, Painted, WanAnimate
from synth.wan_animate.renderer import Frame, WanAnimateRenderer
from synth.wan_animate.weights import load_weights
from tests.synth.wan_animate.tiny import FACE_PX, save

Rgb = NDArray[np.uint8]
SMALL = WanAnimateOptions(steps=2, segment=5, area_px=32 * 32)
Performed = Callable[[int], list[Cue]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def model(folder: Path) -> WanAnimate:
    return load_weights(folder, SMALL)


class Watched:
    """The model, and what went in and came out."""

    def __init__(self, model: WanAnimate) -> None:
        self.model = model
        self.face_side, self.begin = model.face_side, model.begin
        self.pose: list[Rgb] = []
        self.face: list[Rgb] = []
        self.pictures: list[Rgb] = []
        self.reference: Rgb | None = None

    def paint(
        self, reference: Rgb, pose: Sequence[Rgb], face: Sequence[Rgb], memory: Memory, options: WanAnimateOptions
    ) -> Painted:
        made = self.model.paint(reference, pose, face, memory, options)
        n_before = 0 if memory.last is None else options.overlap
        self.reference = reference
        self.pose += pose[n_before:]
        self.face += face[n_before:]
        self.pictures += list(made.pictures[n_before:])
        return made


def shots(
    character: Character, cues: Sequence[Cue], model: WanAnimate | Watched, options: WanAnimateOptions = SMALL
) -> list[Shot]:
    return list(run(WanAnimateRenderer(character, model, options), cues))  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "segment", "overlap"), [(11, 5, 1), (9, 5, 1), (3, 5, 1), (16, 13, 5)])
def test_segments_make_what_one_call_with_the_whole_take_makes(
    hero: Character, performed: Performed, model: WanAnimate, folder: Path, n: int, segment: int, overlap: int
) -> None:
    options = WanAnimateOptions(steps=2, segment=segment, overlap=overlap, area_px=32 * 32, seed=7)
    watched = Watched(model)
    assert len(shots(hero, performed(n), watched, options)) == n
    whole = WanAnimatePipeline.from_pretrained(folder, local_files_only=True)
    whole.set_progress_bar_config(disable=True)
    assert watched.reference is not None
    height, width = watched.reference.shape[:2]
    expected = whole(
        image=Image.fromarray(watched.reference), pose_video=[Image.fromarray(p) for p in watched.pose[:n]],
        face_video=[Image.fromarray(f) for f in watched.face[:n]], prompt=options.prompt, height=height, width=width,
        segment_frame_length=segment, prev_segment_conditioning_frames=overlap, num_inference_steps=2,
        generator=torch.Generator().manual_seed(7),
    ).frames[0]  # fmt: skip
    gap = float(np.abs(np.stack(watched.pictures[:n]) / 255.0 - expected).max())
    assert len(expected) == n
    assert gap < 0.5 / 255 + 1e-4, f"largest difference {gap}; rounding is {0.5 / 255:.5f}"
    assert np.stack(watched.pictures).std() > 1, "the pictures are of something"


def test_pose_and_face_both_move_the_picture(hero: Character, performed: Performed, model: WanAnimate) -> None:
    watched = Watched(model)
    shots(hero, performed(5), watched)
    assert watched.reference is not None
    black = [np.zeros_like(p) for p in watched.pose]
    blank = [np.zeros_like(f) for f in watched.face]
    pictures = [
        model.paint(watched.reference, pose, face, model.begin(0), SMALL).pictures
        for pose, face in ((watched.pose, watched.face), (black, watched.face), (watched.pose, blank))
    ]
    assert np.array_equal(pictures[0], np.stack(watched.pictures))
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_every_cue_gets_its_shot_in_its_order_and_size(
    hero: Character, performed: Performed, model: WanAnimate
) -> None:
    renderer, cues = WanAnimateRenderer(hero, model, SMALL), performed(12)
    counts = [len(renderer.push(cue)) for cue in cues]
    assert counts == [0, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0], "the first segment whole, then less what overlaps"
    left = renderer.flush()
    assert all(shot.cue is cue for shot, cue in zip(left, cues[9:], strict=True))
    assert all(shot.rgb.shape == hero.rgb.shape and shot.rgb.dtype == np.uint8 for shot in left)
    assert left[0].face_box is not None
    assert renderer.flush() == []


def test_a_flush_begins_anew_and_a_seed_is_a_take(hero: Character, performed: Performed, model: WanAnimate) -> None:
    renderer, cues = WanAnimateRenderer(hero, model, SMALL), performed(6)
    first, again = (list(run(renderer, cues)) for _ in range(2))
    other = shots(hero, cues, model, WanAnimateOptions(steps=2, segment=5, area_px=32 * 32, seed=1))
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].rgb, other[0].rgb)


def test_takes_that_share_a_model_do_not_meet(hero: Character, performed: Performed, model: WanAnimate) -> None:
    cues = performed(10)
    alone = shots(hero, cues, model)
    one, other = WanAnimateRenderer(hero, model, SMALL), WanAnimateRenderer(hero, model, SMALL)
    mixed: list[Shot] = []
    for cue, late in zip(cues, reversed(cues), strict=True):
        mixed += one.push(cue)
        other.push(late)
    mixed += one.flush()
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(alone, mixed, strict=True))


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6])
def test_takes_of_any_length_come_out_whole(hero: Character, performed: Performed, model: WanAnimate, n: int) -> None:
    assert [shot.time for shot in shots(hero, performed(n), model)] == [cue.time for cue in performed(n)]


def test_a_virtual_camera_films_what_was_made(hero: Character, performed: Performed, model: WanAnimate) -> None:
    camera = VirtualCamera(hero, [parse_move("zoom:1.3")], Fraction(2, 5))
    plain = shots(hero, performed(5), model)
    filmed = list(run(WanAnimateRenderer(hero, model, SMALL, camera), performed(5)))
    assert np.array_equal(plain[0].rgb, filmed[0].rgb)
    assert not np.array_equal(plain[-1].rgb, filmed[-1].rgb)
    before, after = filmed[0].face_box, filmed[-1].face_box
    assert before is not None
    assert after is not None
    assert after[2] - after[0] > 1.15 * (before[2] - before[0])


@pytest.mark.parametrize(("height", "width"), [(368, 320), (97, 431), (2000, 1125), (64, 48)])
def test_a_picture_goes_into_the_models_size_and_comes_back(height: int, width: int) -> None:
    frame = Frame.of(height, width, 128 * 128)
    assert frame.outer_height % 16 == frame.outer_width % 16 == 0
    assert abs(frame.inner_height * frame.inner_width / 128**2 - 1) < 0.02
    y, x = np.mgrid[:height, :width]
    smooth = np.dstack((x * 255 // width, y * 255 // height, np.full_like(x, 90))).astype(np.uint8)
    inside = frame.put(smooth)
    assert inside.shape == (frame.outer_height, frame.outer_width, 3)
    back = frame.take(inside)
    assert back.shape == smooth.shape
    assert np.abs(back.astype(int) - smooth).max() <= 12
    at = frame.points(np.array(((width / 2, height / 4),), np.float32))[0]
    assert np.abs(inside[int(at[1]), int(at[0])].astype(int) - smooth[height // 4, width // 2]).max() <= 6


def test_faces_are_as_large_as_the_weights_want_them(model: WanAnimate) -> None:
    assert model.face_side == FACE_PX
