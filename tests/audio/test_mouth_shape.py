from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from audio.mouth_shape import CONTROLS, OPENING, WIDTH, SpeakerMouth, belongs, controls, from_lips
from perfcap.landmarks import CHIN, LIPS, NOSE_TIP
from runtime.records import N_FACE
from tests.audio.faces import face


def speaker(n: int = 60) -> tuple[SpeakerMouth, list[NDArray[np.float32]]]:
    rng = np.random.default_rng(0)
    faces = [
        face(jawOpen=float(a), mouthPucker=float(b)) + rng.normal(0, 0.0005, (478, 3)).astype(np.float32)
        for a, b in rng.uniform(0, 0.6, (n, 2))
    ]
    return SpeakerMouth.of(np.stack(faces), np.stack([controls(f) for f in faces])), faces


@pytest.mark.parametrize(("name", "control", "sign"), [
    ("jawOpen", "opening", 1), ("jawOpen", "chin", 1), ("mouthPucker", "width", -1), ("mouthStretchLeft", "width", 1),
])  # fmt: skip
def test_a_coefficient_moves_its_control(name: str, control: str, sign: int) -> None:
    change = controls(face(**{name: 0.6})) - controls(face())
    assert change[CONTROLS.index(control)] * sign > 0.01


def test_a_speaker_s_shapes_give_back_their_own_faces() -> None:
    mouth, faces = speaker()
    lips = list(LIPS)
    for each in faces[:10]:
        off = (mouth.shape(controls(each)) - each[:N_FACE])[lips]
        assert np.sqrt((off**2).sum(-1).mean()) < 0.012


def test_shapes_move_by_what_is_asked() -> None:
    mouth, faces = speaker()
    now = controls(faces[0])
    wanted = now.copy()
    wanted[OPENING] += 0.05
    moved = mouth.moved(now, wanted)
    assert moved[14, 1] - moved[13, 1] == pytest.approx(0.05, abs=0.015)
    assert np.abs(mouth.moved(now, now)).max() == 0


def test_a_mouth_at_rest_is_shut_even_if_the_clip_never_shuts_it() -> None:
    faces = np.stack([face(jawOpen=v) for v in np.linspace(0.3, 0.6, 30)])
    mouth = SpeakerMouth.of(faces, np.stack([controls(f) for f in faces]))
    assert mouth.rest[OPENING] <= 0.0121
    assert mouth.rest[WIDTH] == pytest.approx(controls(face())[WIDTH], abs=0.03)
    assert mouth.rest[CONTROLS.index("chin")] == pytest.approx(controls(face())[CONTROLS.index("chin")], abs=0.05)


def test_one_frame_is_enough_for_a_speaker() -> None:
    only = face(jawOpen=0.1)
    mouth = SpeakerMouth.of(only[None], controls(only)[None])
    assert np.isfinite(mouth.shapes).all()
    assert np.isfinite(mouth.shape(mouth.rest)).all()


def test_lips_and_chin_go_with_the_mouth_and_the_nose_does_not() -> None:
    share = belongs()[:, 0]
    assert share[list(LIPS)].min() > 0.99
    assert share[CHIN] == 1
    assert share[NOSE_TIP] < 0.3
    assert share[[10, 33, 263]].max() == 0
    assert from_lips()[list(LIPS)].max() == 0


def test_many_faces_are_measured_as_each_is() -> None:
    faces = np.stack([face(jawOpen=0.1 * i, mouthPucker=0.2 * i) for i in range(4)])
    np.testing.assert_array_equal(controls(faces), np.stack([controls(f) for f in faces]))
