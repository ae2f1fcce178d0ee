from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from perfcap.expression import template
from runtime.errors import InputError
from runtime.records import N_EXPRESSION, Cue, Motion, Shot
from synth.camera import Move, VirtualCamera, parse_move
from synth.rig import Character

H, W = 120, 160
END = Fraction(2)


def character() -> Character:
    """A face amid coarse noise; the lower edge cuts the person."""
    import cv2

    noise = np.random.default_rng(1).integers(0, 255, (H // 8, W // 8, 3), dtype=np.uint8)
    behind = np.asarray(cv2.resize(noise, (W, H)), np.uint8)
    alpha = np.zeros((H, W), np.float32)
    cv2.ellipse(alpha, (70, 50), (25, 35), 0, 0, 360, 1.0, -1)
    alpha[80:, 40:100] = 1
    person = np.full((H, W, 3), (220, 20, 20), np.uint8)
    rgb = np.where(alpha[..., None] > 0, person, behind).astype(np.uint8)
    landmarks = (template() * 30 + (70, 45, 0)).astype(np.float32)
    return Character(rgb=rgb, landmarks=landmarks, neutral=template(), alpha=alpha, person=person, behind=behind)


def shot(of: Character, time: Fraction) -> Shot:
    motion = Motion(
        time=time, head=of.head, expression=np.zeros(N_EXPRESSION, np.float32),
        gaze=np.zeros((2, 2), np.float32), face=of.face, confidence=1.0,
    )  # fmt: skip
    return Shot(cue=Cue(time=time, motion=motion), rgb=of.rgb, face_box=(50, 20, 90, 80))


def filmed(of: Character, moves: list[str], time: Fraction) -> Shot:
    camera = VirtualCamera(of, [parse_move(move) for move in moves], END)
    return camera.film(shot(of, time), (of.alpha * 255).astype(np.uint8))


@pytest.mark.parametrize("time", [Fraction(0), Fraction(1), END])
def test_a_camera_that_does_not_move_changes_nothing(time: Fraction) -> None:
    hero = character()
    before = shot(hero, time)
    still = VirtualCamera(hero, [parse_move(t) for t in ("zoom:1", "pan:0", "tilt:0", "dolly:0", "orbit:0")], END)
    assert still.film(before, (hero.alpha * 255).astype(np.uint8)) is before
    assert still.turn(before.cue.motion) is before.cue.motion


@pytest.mark.parametrize("move", ["zoom:1.5", "dolly:0.3"])
def test_what_only_comes_nearer_starts_as_the_picture(move: str) -> None:
    hero = character()
    assert filmed(hero, [move], Fraction(0)).rgb is hero.rgb


def test_a_zoom_makes_the_face_larger_where_it_is() -> None:
    box = filmed(character(), ["zoom:1.5"], END).face_box
    assert box is not None
    assert abs(box[2] - box[0] - 60) <= 2
    assert abs(box[3] - box[1] - 90) <= 2
    assert box[0] <= 50
    assert box[2] >= 90


def test_moves_are_eased_and_stop_where_they_end() -> None:
    camera = VirtualCamera(character(), [parse_move("zoom:2")], END)
    sizes = [float(camera.view(END * i / 20).person[0, 0]) for i in range(21)]
    steps = np.diff(np.log(sizes))
    assert (steps > 0).all()
    assert max(steps[0], steps[-1]) < 0.2 * steps[10]
    assert np.isclose(sizes[-1], 2)
    assert camera.view(END + 1).person[0, 0] == sizes[-1]


@pytest.mark.parametrize(
    "moves",
    [
        ["pan:0.3"],
        ["pan:-0.3", "zoom:1.3"],
        ["tilt:0.2"],
        ["zoom:0.6"],
        ["dolly:-0.6"],
        ["orbit:20"],
        ["orbit:-25", "dolly:0.3"],
    ],
)
def test_no_edge_of_the_picture_comes_into_sight(moves: list[str]) -> None:
    camera = VirtualCamera(character(), [parse_move(move) for move in moves], END)
    for i in range(50):
        view = camera.view(END * i / 49)
        x0, y0 = view.behind[:, 2]
        x1, y1 = view.behind @ (W, H, 1)
        assert x0 < 1e-6
        assert y0 < 1e-6
        assert x1 > W - 1e-6
        assert y1 > H - 1e-6
        assert (view.person @ (0, H, 1))[1] > H - 1e-6, "the cut person floats above the frame's edge"


def test_near_and_far_move_apart_only_when_the_camera_itself_moves() -> None:
    hero = character()
    for move, apart in (("zoom:1.3", False), ("pan:0.1", False), ("dolly:0.3", True), ("orbit:10", True)):
        view = VirtualCamera(hero, [parse_move(move)], END).view(END)
        assert (not np.allclose(view.person, view.behind)) == apart, move


def test_a_camera_that_goes_round_to_the_right_sees_the_head_from_there() -> None:
    hero = character()
    camera = VirtualCamera(hero, [parse_move("orbit:10")], END)
    turned = camera.turn(shot(hero, END).cue.motion).head
    forward = turned[:3, :3] @ hero.head[:3, :3].T @ np.array((0, 0, -1.0))
    assert np.allclose(np.degrees(np.arctan2(forward[0], -forward[2])), -10, atol=1e-3)
    assert np.allclose(turned[:3, 3], hero.head[:3, 3], atol=0.02)


def test_the_person_hides_what_is_behind_also_when_filmed() -> None:
    rgb = filmed(character(), ["orbit:10"], END).rgb
    assert (np.abs(rgb[60:70, 65:75].astype(int) - (220, 20, 20)).max() <= 2).all()


def test_moves_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="--camera is 'dutch:3'; wanted one of zoom, pan, tilt, dolly, orbit"):
        parse_move("dutch:3")
    with pytest.raises(InputError, match="--camera is 'zoom'; wanted a number after zoom:"):
        parse_move("zoom")
    with pytest.raises(InputError, match="--camera is 'orbit:90'; camera orbit is 90, wanted -30 to 30"):
        parse_move("orbit:90")
    with pytest.raises(InputError, match="--camera is 'pan:nan'"):
        parse_move("pan:nan")
    with pytest.raises(InputError, match="--camera goes beyond the picture's edges; wanted smaller amounts"):
        VirtualCamera(character(), [Move("pan", 0.7), Move("pan", 0.2)], END)
