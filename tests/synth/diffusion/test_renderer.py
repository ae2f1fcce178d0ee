"""The renderer streams, leaves all but the face's square alone, and looks at references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch

from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from perfcap.written import range_of_motion
from runtime.records import Cue, Shot
from runtime.stage import run
from synth.camera import VirtualCamera, parse_move
from synth.diffusion.pipeline import GuidePipeline
from synth.diffusion.renderer import DiffusionOptions, DiffusionRenderer
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character, rig
from synth.warp import WarpRenderer
from tests.synth.diffusion.network import pipeline

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def picture() -> Rgb:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    return np.ascontiguousarray(data.astronaut()[:320, 64:384])


def rigged(rgb: Rgb) -> Character:
    finder = MediaPipeFaces(still=True)
    (mesh,) = finder.find(rgb)
    finder.close()
    return rig(rgb, mesh, template())


@pytest.fixture(scope="module")
def hero(picture: Rgb) -> Character:
    return rigged(picture)


@pytest.fixture(scope="module")
def cues(hero: Character) -> list[Cue]:
    script, retarget = (
        range_of_motion(),
        Retarget(hero, template(), [range_of_motion()(Fraction(0))], RetargetOptions()),
    )
    times = [Fraction(i, 4) for i in range(7)]
    return [Cue(time=t, motion=replace(retarget(script(t)), time=t)) for t in times]


def shots(character: Character, cues: Sequence[Cue], side: int = 128, **options: Any) -> list[Shot]:
    made = DiffusionRenderer(character, pipeline(side, sigma=0.2), DiffusionOptions(**options))
    return list(run(made, cues))


def test_chunks_of_any_length_make_the_same_pictures_in_order(hero: Character, cues: list[Cue]) -> None:
    one, three = shots(hero, cues), shots(hero, cues, chunk=3)
    assert [s.cue for s in one] == [s.cue for s in three] == cues
    gap = max(int(np.abs(a.rgb.astype(int) - b.rgb).max()) for a, b in zip(one, three, strict=True))
    assert gap <= 1, f"largest difference {gap}"


def test_cues_are_held_until_a_chunk_is_there_and_a_flush_begins_anew(hero: Character, cues: list[Cue]) -> None:
    made = DiffusionRenderer(hero, pipeline(128), DiffusionOptions(chunk=3))
    assert [len(made.push(cue)) for cue in cues[:4]] == [0, 0, 3, 0]
    (last,) = made.flush()
    assert last.cue is cues[3]
    first = [made.push(cue) for cue in cues[:3]][-1]
    again = [made.push(cue) for cue in [*cues[3:], *cues[:2]]][2]
    made.flush()
    anew = [made.push(cue) for cue in cues[:3]][-1]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(first, anew, strict=True))
    assert not np.array_equal(again[0].rgb, first[0].rgb)


def test_outside_the_faces_square_the_picture_is_the_warps_to_the_last_bit(picture: Rgb, cues: list[Cue]) -> None:
    wide = rigged(np.pad(picture, ((60, 200), (150, 170), (0, 0)), "edge"))
    warp = WarpRenderer(wide)
    made = DiffusionRenderer(wide, pipeline(64), DiffusionOptions())
    crop = made._whole.crop
    for cue in cues[:3]:
        (shot,), plain = made.push(cue), warp.render(cue)
        changed = (shot.rgb != plain.rgb).any(-1)
        inside = np.zeros_like(changed)
        inside[max(0, crop.top) : crop.top + crop.size, max(0, crop.left) : crop.left + crop.size] = True
        assert changed[inside].mean() > 0.3
        assert not changed[~inside].any()
        assert (shot.face_box, shot.mouth_box) == (plain.face_box, plain.mouth_box)


def test_a_network_that_changes_nothing_is_the_warp(hero: Character, cues: list[Cue]) -> None:
    plain = pipeline(128)
    for value in plain.unet.head.parameters():
        torch.nn.init.zeros_(value)
    warp = WarpRenderer(hero)
    for shot in run(DiffusionRenderer(hero, plain, DiffusionOptions(steps=1)), cues[:3]):
        assert np.array_equal(shot.rgb, warp.render(shot.cue).rgb)


def test_a_close_up_gets_detail_finer_than_the_networks_side(hero: Character, cues: list[Cue]) -> None:
    made: GuidePipeline = pipeline(64, finest=4.0)
    renderer = DiffusionRenderer(hero, made, DiffusionOptions())
    assert renderer._close is not None
    assert renderer._close.crop.side > 64
    without = DiffusionRenderer(hero, made, DiffusionOptions())
    without._close = None
    (tiled,), (enlarged,) = renderer.push(cues[2]), without.push(cues[2])
    added = tiled.rgb.astype(np.float32) - enlarged.rgb
    assert added.std() > 0.5
    chunks = list(run(DiffusionRenderer(hero, made, DiffusionOptions(chunk=3)), cues[:4]))
    anew = list(run(DiffusionRenderer(hero, made, DiffusionOptions()), cues[:4]))
    gap = max(int(np.abs(a.rgb.astype(int) - b.rgb).max()) for a, b in zip(chunks, anew, strict=True))
    assert gap <= 1, f"largest difference {gap}"


def test_weights_that_know_no_close_ups_are_enlarged(hero: Character) -> None:
    assert DiffusionRenderer(hero, pipeline(64), DiffusionOptions())._close is None


def test_references_change_what_is_painted(hero: Character, picture: Rgb, cues: list[Cue]) -> None:
    darker = (picture * 0.5).astype(np.uint8)
    with_more = replace(hero, references=((darker, hero.landmarks),))
    (plain,), (referred,) = shots(hero, cues[:1]), shots(with_more, cues[:1])
    assert not np.array_equal(plain.rgb, referred.rgb)


def test_a_virtual_camera_films_what_was_painted(hero: Character, cues: list[Cue]) -> None:
    camera = VirtualCamera(hero, [parse_move("zoom:1.3")], Fraction(1))
    made = DiffusionRenderer(hero, pipeline(128), DiffusionOptions(), camera)
    still = DiffusionRenderer(hero, pipeline(128), DiffusionOptions())
    first, last = (made.push(cue)[0] for cue in (cues[0], cues[4]))
    assert np.array_equal(first.rgb, still.push(cues[0])[0].rgb)
    assert last.face_box is not None
    assert first.face_box is not None
    assert last.face_box[2] - last.face_box[0] > 1.15 * (first.face_box[2] - first.face_box[0])


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="steps is 0, wanted 1 to 100"):
        DiffusionOptions(steps=0)
    with pytest.raises(ValueError, match="chunk is 0, wanted 1 or more"):
        DiffusionOptions(chunk=0)
