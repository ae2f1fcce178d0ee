"""What made people do is what people do: bounded, smooth, and often a smile."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="people are made with torch; pip install torch")

from perfcap.training.ict import gaze_of
from runtime.records import ARKIT_INDEX
from synth.training.take import AT_REST, FROM_PICTURE_RAD, RATE, Act, Scene, background, portrait, run


def test_frames_follow_each_other_smoothly_and_stay_near_the_pictures_pose() -> None:
    about = np.radians((10, -4, 3)).astype(np.float32)
    picture = Act(AT_REST.expression, AT_REST.gaze, about)
    steps, turns = [], []
    for seed in range(60):
        acts = run(np.random.default_rng(seed), 5, picture)
        assert len(acts) == 5
        e = np.stack([act.expression for act in acts])
        assert 0 <= e.min() <= e.max() <= 1
        steps.append(np.abs(np.diff(e, axis=0)).max())
        turns.append(np.abs(np.stack([act.angles for act in acts]) - about).max(0))
    print(f"largest step between frames {np.median(steps):.2f} (median), {max(steps):.2f} at most")
    assert np.median(steps) < 12 / RATE
    assert np.median(steps) > 0.02
    assert (np.median(turns, 0) < 0.7 * FROM_PICTURE_RAD).all()


def test_most_takes_stay_near_what_the_picture_shows() -> None:
    pictures = [portrait(np.random.default_rng(seed)) for seed in range(200)]
    firsts = [run(np.random.default_rng(900 + seed), 1, picture)[0] for seed, picture in enumerate(pictures)]
    off = [np.abs(a.expression - p.expression).sum() for a, p in zip(firsts, pictures, strict=True)]
    strangers = [np.abs(a.expression - p.expression).sum() for a, p in zip(firsts[1:], pictures, strict=False)]
    print(f"coefficients off {np.median(off):.2f} (median), another's picture {np.median(strangers):.2f}")
    assert np.median(off) < 0.75 * np.median(strangers)
    assert np.quantile(off, 0.9) > np.median(strangers), "some go far"


def test_coefficients_look_where_the_eyes_do() -> None:
    for seed in range(40):
        for act in run(np.random.default_rng(seed), 2, AT_REST):
            told = gaze_of(act.expression)
            inside = (np.abs(act.gaze) < 0.4).all()
            if inside and act.expression[ARKIT_INDEX["eyeBlinkLeft"]] == 0:
                assert np.sign(told[0, 0]) == np.sign(act.gaze[0, 0]) or abs(act.gaze[0, 0]) < 0.08


def test_portraits_often_smile_and_smiles_often_show_teeth() -> None:
    acts = [portrait(np.random.default_rng(seed)) for seed in range(300)]
    smile = np.array([act.expression[ARKIT_INDEX["mouthSmileLeft"]] for act in acts]) > 0.25
    teeth = np.array([act.expression[ARKIT_INDEX["mouthUpperUpLeft"]] for act in acts]) > 0.1
    print(f"{smile.mean():.0%} smile, {teeth[smile].mean():.0%} of those show teeth")
    assert 0.25 < smile.mean() < 0.6
    assert teeth[smile].mean() > 0.4


def test_shoulders_stay_where_they_are_when_the_head_turns() -> None:
    rng = np.random.default_rng(0)
    scene = Scene.random(rng, 80.0, 0.09, 300, 320)
    a, b = (scene.moment(run(np.random.default_rng(k), 1, AT_REST)[0]) for k in (1, 2))
    np.testing.assert_array_equal(a.body, b.body)
    assert np.abs(a.head[:3, :3] - b.head[:3, :3]).max() > 0.02


def test_a_picture_has_the_face_where_the_scene_puts_it() -> None:
    for seed in range(20):
        scene = Scene.random(np.random.default_rng(seed), 80.0, 0.09, 300, 320)
        px = scene.camera.project(scene.place_m[None] + np.array(((-0.045, 0, 0), (0.045, 0, 0)), np.float32))
        assert px[1, 0] - px[0, 0] == pytest.approx(80, abs=0.5)
        assert 0.3 * 320 < px[0, 1] < 0.55 * 320


def test_backgrounds_are_light_not_colour() -> None:
    for seed in range(12):
        rgb = background(np.random.default_rng(seed), 60, 50)
        assert rgb.shape == (50, 60, 3)
        assert 0 < rgb.min() <= rgb.max() <= 1
        srgb = rgb ** (1 / 2.2)
        assert (srgb.max(-1) - srgb.min(-1)).mean() < 0.2
