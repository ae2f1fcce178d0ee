"""Made people have a face of their own, a guide as the product makes it, and the truth beside it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="people are made with torch; pip install torch")

from perfcap.expression import template
from perfcap.landmarks import NOSE_TIP
from runtime.errors import InputError
from synth.diffusion.guide import reference
from synth.training import people
from synth.training.people import Maker, PeopleOptions, make
from synth.training.shards import Samples, row_type
from tests.synth.training.toy_face import toy_landmarks, write_toy_face

SMALL = PeopleOptions(n=4, side=96, frames=2, references=2, per_person=2, shard=2, seed=3)


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_face(tmp_path_factory.mktemp("asset") / "toy.npz")


@pytest.fixture(scope="module")
def maker(asset: Path) -> Maker:
    return Maker(asset, SMALL, toy_landmarks())


@pytest.fixture(scope="module")
def rows(maker: Maker) -> NDArray[Any]:
    return np.stack([row for number in range(3) for row in maker.rows(number)])


def test_a_row_has_what_a_network_is_to_be_told(rows: NDArray[Any]) -> None:
    assert rows.dtype == row_type(2, 2, 96)
    assert rows["person"].tolist() == [0, 0, 1, 1, 2, 2]
    for name in ("target", "rgb", "references"):
        assert rows[name].std() > 20, name
    for name in ("mouth", "eyes", "valid"):
        assert rows[name].min() == 0, name
        assert rows[name].max() > 200, name
    assert np.isfinite(rows["coords"]).all()
    assert np.isfinite(rows["stretch"]).all()
    assert (rows["opened"] >= 0).all()
    assert (rows["opened"][::2] == rows["opened"][1::2]).all(), "both rows of a person are of one picture"


def test_the_guide_is_nearer_to_the_truth_than_the_picture_it_was_made_of(rows: NDArray[Any]) -> None:
    face = rows["coords"].any(-1)
    truth = rows["target"].astype(float)
    warped = ((rows["rgb"] - truth) ** 2)[face].mean()
    still = ((rows["references"][:, :1] - truth) ** 2)[face].mean()
    print(f"mean square on the face: warped {warped:.0f}, the picture as it is {still:.0f}")
    assert warped < 0.75 * still


def test_coordinates_say_where_the_nose_is_in_the_truth(maker: Maker) -> None:
    """The point that the guide calls the nose's tip is where the made nose is."""
    rng = np.random.default_rng(0)
    person = people.Person(maker._figure(rng), maker._studio, maker.landmarks, 96, rng)
    picture = person.source
    shown = reference(picture.rgb, picture.landmarks, template(), 96)
    x, y = shown.crop.to_crop(picture.landmarks[[NOSE_TIP], :2])[0].astype(int)
    np.testing.assert_allclose(shown.coords[y, x], template()[NOSE_TIP], atol=0.08)


def test_frames_of_a_row_follow_each_other(rows: NDArray[Any]) -> None:
    truth = rows["target"].astype(float)
    step = np.abs(truth[:, 1] - truth[:, 0]).mean()
    other = np.abs(truth[::2, 0] - truth[1::2, 0]).mean()
    print(f"mean difference of two frames {step:.1f}, of two rows {other:.1f}")
    assert 0 < step < 0.7 * other


def test_the_seed_makes_the_people(asset: Path, maker: Maker, rows: NDArray[Any]) -> None:
    again = next(iter(Maker(asset, SMALL, toy_landmarks()).rows(1)))
    for name in again.dtype.names:
        np.testing.assert_array_equal(again[name], rows[2][name], err_msg=name)
    assert not np.array_equal(rows[0]["target"], rows[2]["target"])


def test_a_window_is_around_mouth_or_eyes(asset: Path) -> None:
    options = PeopleOptions(n=3, side=96, window=40, frames=1, references=2, per_person=3, shard=3)
    made = Maker(asset, options, toy_landmarks()).shard(0)
    assert made["target"].shape == (3, 1, 40, 40, 3)
    assert made["reference_coords"].shape == (3, 2, 40, 40, 3)
    seen = np.maximum(made["mouth"], made["eyes"]).max((1, 2, 3))
    assert (seen > 200).all()


def test_a_run_that_was_stopped_goes_on_where_it_was(
    asset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    toy_landmarks().save(folder / "landmarks.npz")
    made: list[int] = []

    def until_stopped(self: Maker, index: int) -> NDArray[Any]:
        made.append(index)
        if made == [0, 1]:
            raise KeyboardInterrupt
        return np.zeros(2, row_type(2, 2, 96))

    monkeypatch.setattr(Maker, "shard", until_stopped)
    with pytest.raises(KeyboardInterrupt):
        make(asset, folder, SMALL)
    assert sorted(p.name for p in folder.iterdir()) == ["landmarks.npz", "shard-00000.npy"]
    make(asset, folder, SMALL)
    assert made == [0, 1, 1]
    assert len(Samples(folder)) == 4
    with pytest.raises(InputError, match=r"shard-00000\.npy holds rows of other shapes"):
        make(asset, folder, PeopleOptions(n=4, side=64, frames=2, references=2, per_person=2, shard=2))


def _command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Callable[[], None]:
    monkeypatch.setattr(sys, "argv", ["people", *arguments])
    return people.main


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [("--n", "0", "n is 0, wanted 1 or more"), ("--window", "300", "window is 300, wanted 0 to the side, which is 256"),
     ("--shard", "30", "shard is 30, wanted a multiple of per_person, which is 4")],
)  # fmt: skip
def test_options_that_make_no_sense_are_answered_with_a_sentence(
    option: str, value: str, sentence: str, asset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        _command(monkeypatch, "--asset", str(asset), "-o", str(tmp_path / "set"), option, value)()
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err


def test_an_asset_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _command(monkeypatch, "--asset", str(tmp_path / "no.npz"), "-o", str(tmp_path / "set"))()
    assert "no.npz" in capsys.readouterr().err
