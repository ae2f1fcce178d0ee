"""The inside of the mouth: what is seen where, and that it is smooth in what goes in."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from synth.mouth import INNER_LIPS, LIPS, WEIGHTS, Interior, MouthInterior, MouthPalette, palette_from_picture

SHA256 = "75dd84c3b66d053b2d89a9ea0c4f64a833cc4e00fdb9269db249603e82b49777"  # of synth/weights/mouth.npz; docs/weights.md holds it too

PALETTE = MouthPalette(teeth=(230, 225, 210), gum=(200, 110, 105), tongue=(210, 120, 115), dark=(45, 12, 10))
MOUTH_Y = 0.76  # of the mean face's closed lips
WIDTH = 0.51


def a_face(gap: float, *, lift: float = 0.0, chin: float = 0.0) -> NDArray[np.float32]:
    """A face [478, 3] whose lips are `gap` apart, the upper one `lift` above the line; only the mouth is right."""
    face = np.zeros((478, 3), np.float32)
    face[2] = (0, MOUTH_Y - 0.26, -0.35)
    face[152] = face[199] = (0, MOUTH_Y + 0.5 + chin, -0.1)
    for row, side in ((range(11), -1), (range(10, 21), 1)):
        for place in row:
            k = place % 20
            f = (k / 10) if side < 0 else ((20 - place) / 10)
            bow = np.sin(np.pi * f)
            y = MOUTH_Y + bow * (-lift if side < 0 else gap - lift)
            face[INNER_LIPS[k]] = (WIDTH * (f - 0.5), y, -0.2 - 0.05 * bow)
    return face


def frontal(px_per_unit: float = 250.0) -> NDArray[np.float64]:
    return np.array([[px_per_unit, 0.0, 0.0, 200.0], [0.0, px_per_unit, 0.0, 30.0]])


def draw(
    face: NDArray[np.float32], camera: NDArray[np.float64] | None = None, palette: MouthPalette = PALETTE
) -> Interior:
    camera = frontal() if camera is None else camera
    ring = face[list(INNER_LIPS)] @ camera[:, :3].T + camera[:, 3]
    return MouthInterior(palette, a_face(0.0)).render(face, ring.astype(np.float32), camera)


def column(picture: Interior, camera: NDArray[np.float64], x: float, y: float) -> NDArray[np.float64]:
    px = camera @ np.array([x, y, -0.25, 1.0]) - (picture.left, picture.top)
    i, j = int(px[0]), int(px[1])
    return np.asarray(picture.rgb[j - 1 : j + 2, i - 1 : i + 2].reshape(-1, 3).mean(0, dtype=np.float64))


def test_the_weights_are_those_that_the_record_names() -> None:
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == SHA256
    record = WEIGHTS.parents[2] / "docs" / "weights.md"
    assert SHA256 in record.read_text()


def test_a_smile_shows_upper_teeth_and_the_lines_between_them() -> None:
    face = a_face(0.12, lift=0.07)
    rgb = draw(face).rgb.astype(np.float64)
    camera = frontal()
    picture = draw(face)
    tooth = column(picture, camera, 0.05, MOUTH_Y - 0.02)
    line = column(picture, camera, 0.0, MOUTH_Y + 0.0)
    assert tooth[0] > 150
    assert tooth[2] / tooth[0] > 0.75, "teeth are pale"
    row = rgb[int(rgb.shape[0] * 0.5)].mean(-1)
    assert np.diff(row).max() > 4, "no edge between two teeth"
    assert line.mean() < tooth.mean()


def test_a_wide_mouth_has_teeth_above_dark_and_flesh_below() -> None:
    camera = frontal()
    picture = draw(a_face(0.38, lift=0.02, chin=0.24), camera)
    teeth = column(picture, camera, 0.05, MOUTH_Y + 0.0)
    behind = column(picture, camera, 0.05, MOUTH_Y + 0.12)
    tongue = column(picture, camera, 0.05, MOUTH_Y + 0.26)
    assert teeth.mean() > behind.mean() + 60
    assert tongue.mean() > behind.mean() + 5
    assert tongue[0] > 1.3 * tongue[2], "flesh is red"


def test_lips_that_barely_part_show_less_light_than_open_ones() -> None:
    camera = frontal()
    slit = draw(a_face(0.012), camera)
    wide = draw(a_face(0.15, lift=0.08, chin=0.03), camera)
    assert column(slit, camera, 0.05, MOUTH_Y + 0.004).mean() < column(wide, camera, 0.05, MOUTH_Y).mean()


def test_the_picture_covers_the_ring() -> None:
    face = a_face(0.2, chin=0.1)
    camera = frontal()
    ring = face[list(INNER_LIPS)] @ camera[:, :3].T + camera[:, 3]
    picture = draw(face, camera)
    h, w = picture.rgb.shape[:2]
    assert picture.left < ring[:, 0].min()
    assert picture.left + w > ring[:, 0].max()
    assert picture.top < ring[:, 1].min()
    assert picture.top + h > ring[:, 1].max()


def test_a_small_step_of_the_lips_is_a_small_step_of_the_picture() -> None:
    steps = []
    for gap in np.arange(0.02, 0.3, 0.004):
        a, b = (draw(a_face(g, lift=g / 4, chin=g / 2)) for g in (gap, gap + 0.001))
        if (a.left, a.top, a.rgb.shape) != (b.left, b.top, b.rgb.shape):
            continue
        both = (a.rgb.sum(-1) > 0) & (b.rgb.sum(-1) > 0)
        steps.append(np.abs(a.rgb.astype(int) - b.rgb.astype(int))[both].mean())
    print(f"largest mean step {max(steps):.2f} of 255")
    assert len(steps) > 20
    assert max(steps) < 4.0


def test_teeth_keep_their_place_on_the_head_when_it_turns() -> None:
    face = a_face(0.12, lift=0.07)
    yaw = 0.5
    turn = np.array([[np.cos(yaw), 0.0, np.sin(yaw)], [0.0, 1.0, 0.0]]) * 250.0
    camera = np.concatenate([turn, [[200.0], [30.0]]], 1)
    picture = draw(face, camera)
    tooth = column(picture, camera, 0.05, MOUTH_Y - 0.02)
    assert tooth[2] / tooth[0] > 0.7


def test_a_mouth_outside_the_picture_is_still_drawn_whole() -> None:
    camera = frontal()
    camera[:, 3] -= 1000
    inside = draw(a_face(0.2), frontal())
    outside = draw(a_face(0.2), camera)
    assert np.abs(inside.rgb.astype(int) - outside.rgb.astype(int)).max() <= 1
    assert outside.left == inside.left - 1000


def a_picture(*, side: float = 0.0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    face = a_face(0.0)
    face[33, :2], face[263, :2] = (-0.5, 0.0), (0.5, 0.0)
    rng = np.random.default_rng(0)
    loose = [k for k in range(478) if not face[k].any()]
    face[loose, :2] = rng.uniform((-0.6, -0.2), (0.6, 0.6), (len(loose), 2))
    px = face[:, :2] * 150 + (200, 150)
    ramp = 1 + side * (np.arange(400) - 200) / 200
    rgb = np.clip(np.array([200, 150, 130]) * ramp[None, :, None], 0, 255).astype(np.uint8)
    return np.repeat(rgb, 400, 0), px.astype(np.float32)


def test_teeth_are_brighter_and_paler_than_skin_and_dark_is_dark() -> None:
    palette = palette_from_picture(*a_picture())
    assert palette.teeth[1] > 150
    assert palette.teeth[2] / palette.teeth[0] > 130 / 200
    assert sum(palette.dark) < 0.3 * sum(palette.tongue)


@pytest.mark.parametrize("side", [-0.4, 0.4])
def test_light_from_one_side_is_seen_on_the_skin(side: float) -> None:
    palette = palette_from_picture(*a_picture(side=side))
    assert np.sign(palette.light[0]) == np.sign(side)


def test_an_open_mouth_lends_its_own_teeth() -> None:
    rgb, px = a_picture()
    px[list(INNER_LIPS)] = a_face(0.2, lift=0.1)[list(INNER_LIPS), :2] * 150 + (200, 150)
    y, x = int(150 + 150 * (MOUTH_Y - 0.1)), 170
    rgb[y : y + 30, x : x + 60] = (180, 190, 200)
    palette = palette_from_picture(rgb, px)
    assert palette.teeth[2] > palette.teeth[0]


def test_a_strip_of_lip_inside_an_open_mouth_is_not_its_teeth() -> None:
    rgb, px = a_picture()
    px[list(INNER_LIPS)] = a_face(0.2, lift=0.1)[list(INNER_LIPS), :2] * 150 + (200, 150)
    for x, y in px[list(LIPS)].astype(int):
        rgb[y - 6 : y + 7, x - 6 : x + 7] = (170, 105, 95)
    y, x = int(150 + 150 * (MOUTH_Y - 0.1)), 170
    rgb[y : y + 30, x : x + 60] = (175, 126, 116)  # paler than the lips, redder than the skin
    teeth = palette_from_picture(rgb, px).teeth
    assert teeth[1] / teeth[0] > 150 / 200


def test_where_lips_are_as_brown_as_skin_an_open_mouth_is_as_dark_as_nostrils() -> None:
    rgb, px = a_picture()
    px[[98, 97, 2, 326, 327, 278, 4, 48]] = [(180, 150), (190, 155), (200, 156), (210, 155), (220, 150), (222, 145), (200, 130), (178, 145)]  # fmt: skip
    px[[17, 84, 314]] = px[[14, 87, 317]] + (0, 20)
    pale = palette_from_picture(rgb, px)
    rgb[146:156, 182:194] = 30
    deep = palette_from_picture(rgb, px)
    x, y = px[14].astype(int)
    rgb[y : y + 20, x - 60 : x + 60] = (190, 90, 100)
    pink = palette_from_picture(rgb, px)
    print(f"tongues: {pale.tongue[0]:.0f}, {deep.tongue[0]:.0f} and {pink.tongue[0]:.0f}")
    assert deep.tongue[0] < 0.5 * pale.tongue[0]
    assert deep.dark[0] < 0.5 * pale.dark[0]
    assert deep.teeth == pale.teeth, "light on teeth is no matter of what is behind them"
    assert pink.tongue[0] > 0.9 * pale.tongue[0]


def test_parted_lips_that_show_no_teeth_lend_none() -> None:
    rgb, px = a_picture()
    assert not palette_from_picture(rgb, px).teeth_shown
    px[list(INNER_LIPS)] = a_face(0.2, lift=0.1)[list(INNER_LIPS), :2] * 150 + (200, 150)
    y, x = int(150 + 150 * (MOUTH_Y - 0.1)), 170
    rgb[y : y + 30, x : x + 60] = (140, 80, 70)
    assert not palette_from_picture(rgb, px).teeth_shown
    rgb[y : y + 30, x : x + 60] = (180, 190, 200)
    assert palette_from_picture(rgb, px).teeth_shown


def test_teeth_stand_where_the_face_has_its_middle() -> None:
    rest, face = a_face(0.0), a_face(0.12, lift=0.07)
    ring = (face[list(INNER_LIPS)] @ frontal()[:, :3].T + frontal()[:, 3]).astype(np.float32)
    here = MouthInterior(PALETTE, rest).render(face, ring, frontal())
    for of in (rest, face):
        of[[2, 164], 0] += 0.05
    there = MouthInterior(PALETTE, rest).render(face, ring, frontal())

    def gap(picture: Interior, x: float) -> int:
        """Where the row of teeth is darkest, px, within half a tooth of a place."""
        row = picture.rgb.shape[0] // 3
        at = round(200 + 250 * x) - picture.left
        return at + int(picture.rgb[row - 3 : row + 3, at - 9 : at + 10].mean((0, 2)).argmin()) - 9

    assert abs(gap(here, 0.0) + here.left - 200) <= 1, "between the two in the middle"
    assert abs(gap(there, 0.05) + there.left - 212) <= 2


def test_of_a_head_turned_aside_teeth_go_on_to_the_far_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    def turned(degrees: float) -> NDArray[np.float64]:
        """How light each column of the middle is, from the near side to the far."""
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.array([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 0], [0, 0, 0, 1]])
        rgb = draw(a_face(0.12, lift=0.07), frontal() @ turn).rgb
        columns = rgb[rgb.shape[0] * 2 // 5 : rgb.shape[0] * 3 // 5].mean((0, 2))
        return np.asarray(columns[:: 1 if degrees >= 0 else -1], np.float64)

    angles = (35.0, -35.0, 0.0)
    now = [turned(angle) for angle in angles]
    monkeypatch.setattr(MouthInterior, "_halves", lambda *_: np.ones(2, np.float32))
    before = [turned(angle) for angle in angles]
    for with_teeth, without in zip(now[:2], before[:2], strict=True):
        far = slice(len(without) * 3 // 4, len(without) * 7 // 8)
        assert without[far].mean() < 50
        assert with_teeth[far].mean() > 90
        assert np.array_equal(with_teeth[: len(without) // 3], without[: len(without) // 3]), (
            "the near side is as it was"
        )
    assert np.array_equal(now[2], before[2]), "seen from the front nothing is changed"


def test_a_palette_out_of_range_says_so() -> None:
    with pytest.raises(ValueError, match=r"teeth is \(500, 0, 0\), wanted three numbers from 0 to 400"):
        MouthPalette(teeth=(500, 0, 0), gum=(0, 0, 0), tongue=(0, 0, 0), dark=(0, 0, 0))


def test_a_ring_of_the_wrong_shape_says_so() -> None:
    with pytest.raises(ValueError, match=r"the ring is \(19, 2\)"):
        MouthInterior(PALETTE, a_face(0.0)).render(a_face(0.1), np.zeros((19, 2), np.float32), frontal())


def test_a_reference_that_shows_teeth_tells_their_colour() -> None:
    from dataclasses import replace
    from types import SimpleNamespace

    from synth.mouth import INNER_LIPS
    from synth.warp import _palette

    face = np.zeros((478, 3), np.float32)
    rng = np.random.default_rng(0)
    face[:, :2] = 20 + 60 * rng.random((478, 2))
    face[33, :2], face[263, :2] = (20, 30), (80, 30)
    angle = np.linspace(np.pi, 3 * np.pi, len(INNER_LIPS), endpoint=False)
    shut, ajar = face.copy(), face.copy()
    for points, height in ((shut, 0.2), (ajar, 12.0)):
        points[list(INNER_LIPS), 0] = 50 + 18 * np.cos(angle)
        points[list(INNER_LIPS), 1] = 70 + height * np.sin(angle)
    skin = np.full((100, 100, 3), (190, 140, 120), np.uint8)
    smile = skin.copy()
    smile[55:85, 30:70] = (240, 235, 190)
    alone = _palette(SimpleNamespace(rgb=skin, landmarks=shut, references=()))  # type: ignore[arg-type]
    shown = _palette(SimpleNamespace(rgb=skin, landmarks=shut, references=((smile, ajar),)))  # type: ignore[arg-type]
    assert np.ptp(shown.teeth[:2]) < np.ptp(alone.teeth[:2])
    assert shown == replace(alone, teeth=shown.teeth, dark=shown.dark)
