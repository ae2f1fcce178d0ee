"""Every kind of training runs at toy size: it learns, goes on where it was stopped, and leaves weights to render with."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="make diffusion brings it")

import torch

from runtime.errors import InputError
from synth.diffusion.model import COORDS, MOUTH, N_GUIDE, RGB
from synth.diffusion.renderer import find_weights, load_network
from synth.training.diffusion import (
    Run,
    Windows,
    base_run,
    character_run,
    distance,
    shown,
    turbo_run,
)
from synth.training.options import TrainOptions
from synth.training.shards import Samples, row_type, write_shard

torch.set_num_threads(1)  # these are too small to share
S = 32


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People who are patches of colour, whose mouths the warp shows too dark."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    rows = np.zeros(40, row_type(2, 2, S))
    ys, xs = np.mgrid[:S, :S]
    for i, row in enumerate(rows):
        row["person"] = i // 2
        skin = rng.integers(80, 200, 3)
        target = np.broadcast_to(skin, (2, S, S, 3)) + rng.normal(0, 4, (2, S, S, 3))
        mouth = np.exp(-(((ys - 21) / 4) ** 2 + ((xs - 16) / 7) ** 2))
        eyes = np.exp(-(((ys - 9) / 3) ** 2 + ((np.abs(xs - 16) - 6) / 3) ** 2))
        row["target"] = target.clip(0, 255)
        row["rgb"] = (target - 60 * mouth[None, :, :, None]).clip(0, 255)
        row["valid"] = 255 * (1 - mouth)
        row["coords"] = np.stack(((xs - 16) / 16, (ys - 16) / 16, 0 * xs), -1)
        row["mouth"], row["eyes"] = 255 * mouth, 255 * eyes
        row["opened"] = 0.2
        row["references"], row["reference_coords"] = row["target"], row["coords"]
    write_shard(folder / "shard-00000.npy", rows)
    return folder


def toy(**more: object) -> TrainOptions:
    plain = {
        "steps": 40,
        "batch": 4,
        "window": 16,
        "side": S,
        "widths": (8, 8, 8),
        "every": 20,
        "rate": 4e-3,
        "ema": 0.9,
        "threads": 1,
    }
    return TrainOptions(**{**plain, **more})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "base"
    train(base_run(Samples(data), folder, toy(steps=120)))
    return folder


def train(run: Run) -> int:
    """How far it went."""
    run.fit(lambda *_: None)
    return run.step


def curve(folder: Path) -> list[dict[str, float]]:
    with (folder / "training" / "curve.csv").open() as file:
        return [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]


def test_a_base_network_learns_what_the_warp_does_wrong(base: Path) -> None:
    lines = curve(base)
    assert [line["step"] for line in lines] == [20, 40, 60, 80, 100, 120]
    assert lines[-1]["painted"] > lines[-1]["warp"] + 3, "dB, on people who were never shown"
    assert (base / "training" / "step_000120.png").exists()
    made = load_network(find_weights(str(base)))
    assert (made.scheduler.config.steps, made.unet.config.side) == (4, S)


def test_a_run_that_was_stopped_ends_as_it_would_have(data: Path, tmp_path: Path) -> None:
    samples = Samples(data)
    assert train(base_run(samples, tmp_path / "once", toy(steps=5))) == 5
    done = [train(base_run(samples, tmp_path / "often", toy(steps=5, minutes=0.0, every=2))) for _ in range(6)]
    assert done == [1, 2, 3, 4, 5, 5]
    once, often = (load_network(tmp_path / name).unet.state_dict() for name in ("once", "often"))
    for name, value in once.items():
        torch.testing.assert_close(value, often[name], msg=name)


def test_while_it_is_a_regressor_it_is_rendered_with_one_step(data: Path, tmp_path: Path) -> None:
    """Later steps were not shown yet, so what they would do is chance."""
    run = base_run(Samples(data), tmp_path, toy(steps=4, regress=0.5, every=1))
    steps = []
    run.fit(lambda *_: steps.append(run.pipeline().scheduler.config.steps))
    assert steps == [1, 1, 4, 4]


def test_a_turbo_network_does_in_one_step_what_its_teacher_does_in_four(data: Path, base: Path, tmp_path: Path) -> None:
    teacher = load_network(base)
    train(turbo_run(Samples(data), tmp_path / "turbo", toy(rate=1e-3), teacher))
    turbo = load_network(tmp_path / "turbo")
    assert turbo.scheduler.config.steps == 1
    windows = Windows(Samples(data), toy())
    (seen, *_) = (shown(cut, "cpu") for cut in windows.to_score())
    with torch.no_grad():
        attended = [made.unet.encode(seen.references) for made in (teacher, turbo)]
    taught = teacher(seen.guide, attended[0], teacher.begin(len(seen.guide), 16)).pictures
    did = turbo(seen.guide, attended[1], turbo.begin(len(seen.guide), 16)).pictures
    warped = seen.guide[:, :, RGB]
    assert (did - taught).square().mean() < 0.3 * (warped - taught).square().mean()


def test_a_network_is_shown_more_of_one_character(data: Path, base: Path, tmp_path: Path) -> None:
    samples, network = Samples(data), load_network(base)
    train(character_run(samples, tmp_path / "hero.weights", toy(), network))
    own = load_network(tmp_path / "hero.weights")
    assert own.scheduler.config.steps == network.scheduler.config.steps
    before, after = network.unet.head.weight, own.unet.head.weight
    assert (before - after).abs().max() > 1e-3


def test_a_run_begun_with_other_options_is_not_gone_on_with(data: Path, tmp_path: Path) -> None:
    train(base_run(Samples(data), tmp_path, toy(steps=2, precision="bfloat16")))
    (line,) = curve(tmp_path)
    assert line["painted"] > line["warp"] - 1, "in bfloat16 it begins at the warp too"
    with pytest.raises(InputError, match=r"was begun with batch 4 and not 2; wanted the same options, or another"):
        base_run(Samples(data), tmp_path, toy(steps=2, batch=2, precision="bfloat16"))


def test_a_window_is_around_what_it_is_meant_to_show_and_the_references_show_it_too(data: Path) -> None:
    windows = Windows(Samples(data), toy(elsewhere=0.0, batch=32))
    cut = windows.of(0)
    shows = np.maximum(cut["mouth"], cut["eyes"]).max((1, 2, 3))
    assert (shows > 150).all()
    assert cut["references"].shape[2:] == (16, 16, 3)
    gap = np.abs(cut["coords"][:, :1].mean((2, 3)) - cut["reference_coords"].mean((2, 3)))
    assert gap.max() < 0.3


def test_a_network_is_shown_as_many_references_as_users_have(data: Path) -> None:
    windows = Windows(Samples(data), toy())
    assert {windows.of(step)["references"].shape[1] for step in range(12)} == {1, 2}
    assert {cut["references"].shape[1] for cut in windows.to_score()} == {1}


def test_a_network_may_be_shown_no_references(data: Path, tmp_path: Path) -> None:
    options = toy(references=0, steps=3, every=3)
    windows = Windows(Samples(data), options)
    assert {windows.of(step)["references"].shape[1] for step in range(4)} == {0}
    train(base_run(Samples(data), tmp_path, options))
    attended = load_network(tmp_path).unet.attend[0].out.weight
    assert not attended.any(), "what it learned takes no notice of any"


def test_one_frame_of_a_sample_may_be_shown_alone(data: Path) -> None:
    cut = Windows(Samples(data), toy(frames=1)).of(0)
    assert cut["rgb"].shape == (4, 1, 16, 16, 3)
    assert cut["target"].shape == cut["rgb"].shape


def test_samples_whose_guides_are_most_wrong_may_be_left_out(data: Path, tmp_path: Path) -> None:
    samples = Samples(data)
    rows = np.stack([samples.row(i) for i in range(20)])
    rows["rgb"][[3, 11]] = 255 - rows["rgb"][[3, 11]]
    write_shard(tmp_path / "shard-00000.npy", rows)
    shows = set(Windows(Samples(tmp_path), toy(nearest=0.89)).learned)
    assert shows == set(range(18)) - {3, 11}, "18 and 19 are kept to score with"


def test_the_insides_of_made_mouths_may_have_the_warps_hue(data: Path, tmp_path: Path) -> None:
    samples = Samples(data)
    rows = np.stack([samples.row(i) for i in range(8)])
    inside = rows["mouth"] > 200
    rows["target"][inside], rows["rgb"][inside], rows["valid"][inside] = (120, 110, 100), (150, 90, 60), 0
    write_shard(tmp_path / "shard-00000.npy", rows)
    plain, hued = (Windows(Samples(tmp_path), toy(hue=hue, batch=16)).of(0) for hue in ("truth", "warp"))
    seen = plain["mouth"] > 200
    assert seen.any()
    red = [np.ptp(cut["target"][seen].astype(float).mean(0)) for cut in (plain, hued)]
    light = [cut["target"][seen].astype(float).mean() for cut in (plain, hued)]
    assert red[1] > 2 * red[0]
    assert light[1] == pytest.approx(light[0], rel=0.1)
    outside = (plain["mouth"] == 0) | (plain["valid"] == 255)
    assert np.array_equal(plain["target"][outside], hued["target"][outside])


def test_eyes_may_be_left_to_the_warp(data: Path, tmp_path: Path) -> None:
    options = toy(elsewhere=0.0, eyes=0.0, steps=20, every=20, batch=32)
    cut = Windows(Samples(data), options).of(0)
    assert (cut["mouth"].max((1, 2, 3)) > 150).all()
    train(base_run(Samples(data), tmp_path, options))
    made, seen = load_network(tmp_path), shown(cut, "cpu")
    with torch.no_grad():
        attended = made.unet.encode(seen.references)
    painted = made(seen.guide, attended, made.begin(32, 16)).pictures
    untouched = (seen.guide[:, :, MOUTH] == 0).expand_as(painted)
    assert untouched.any()
    assert torch.equal(painted[untouched], seen.guide[:, :, RGB][untouched])
    assert not torch.equal(painted, seen.guide[:, :, RGB])


def test_a_picture_that_does_not_move_may_be_shown_as_it_is(data: Path) -> None:
    """Where it is its own guide there is nothing to paint."""
    cut = Windows(Samples(data), toy(still=0.99, batch=32)).of(0)
    same = (cut["rgb"] == cut["target"]).all((1, 2, 3, 4))
    assert same.sum() > 28
    assert (cut["valid"][same] == 255).all()
    moved = Windows(Samples(data), toy(batch=32)).of(0)
    assert not (moved["rgb"] == moved["target"]).all((1, 2, 3, 4)).any()


def test_training_begins_where_other_weights_are(data: Path, base: Path, tmp_path: Path) -> None:
    begun = load_network(base)
    run = base_run(Samples(data), tmp_path, toy(steps=20, rate=1e-4, regress=1.0, widths=(8, 16, 8)), begun)
    assert run.unet.config.widths == begun.unet.config.widths
    train(run)
    (line,) = curve(tmp_path)
    assert line["painted"] > line["warp"] + 3


def test_samples_finer_than_the_network_are_shown_as_they_are_and_shrunk(data: Path) -> None:
    cut = Windows(Samples(data), toy(zoom=2, batch=32)).of(0)
    assert cut["rgb"].shape == (32, 2, 16, 16, 3)
    across = cut["coords"][:, 0, 8, :, 0].astype(np.float32)  # x of the face, 1/16 a pixel of the samples
    steps = np.median(np.diff(across, axis=1), 1)
    assert {round(float(step) * 16) for step in steps} == {1, 2}


def test_people_to_score_with_are_never_shown(data: Path) -> None:
    samples = Samples(data)
    windows = Windows(samples, toy())
    shown_people, scored_people = (
        {int(samples.row(int(i))["person"]) for i in some} for some in (windows.learned, windows.scored)
    )
    assert scored_people == {9, 19}
    assert not shown_people & scored_people


def test_what_is_mirrored_stays_one_person(data: Path) -> None:
    """In other light and mirrored, x of the face still grows with where it belongs, and truth and guide still agree."""
    windows = Windows(Samples(data), toy(batch=8))
    flipped = set()
    for seed in range(8):
        seen = shown(windows.of(0), "cpu", torch.Generator().manual_seed(seed))
        plain = shown(windows.of(0), "cpu")
        x = seen.guide[:, 0, COORDS][:, 0]
        assert (x.diff(dim=-1) > 0).all()
        flipped.add(not torch.equal(x, plain.guide[:, 0, COORDS][:, 0]))
        elsewhere = seen.weight < 1.1
        gap = ((seen.guide[:, :, RGB] - seen.target).abs() * elsewhere).mean()
        assert gap < 0.06
        assert seen.guide.shape[2] == N_GUIDE
    assert flipped == {True, False}


def test_the_loss_is_nought_at_the_truth_and_sees_levels_edges_and_flicker() -> None:
    truth, weight = torch.rand(1, 3, 3, 16, 16) * 2 - 1, torch.ones(1, 3, 1, 16, 16)
    assert distance(truth, truth, weight) < 2e-3
    level = distance(truth + 0.1, truth, weight)
    stripes = 0.1 * torch.tensor([1.0, -1.0]).repeat(8)
    edges = distance(truth + stripes, truth, weight)
    flicker = distance(truth + 0.1 * torch.tensor([1.0, -1.0, 1.0])[:, None, None, None], truth, weight)
    assert level < min(flicker, edges)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="frames and references are -1 and 4, wanted 0 or more"):
        TrainOptions(frames=-1)
    with pytest.raises(ValueError, match="nearest is 0, wanted more than 0, up to 1"):
        TrainOptions(nearest=0)
    with pytest.raises(ValueError, match="eyes is 2, wanted 0 to 1"):
        TrainOptions(eyes=2)
    with pytest.raises(ValueError, match="still is 1, wanted 0 to less than 1"):
        TrainOptions(still=1)
    with pytest.raises(ValueError, match="hue is grey, wanted truth or warp"):
        TrainOptions(hue="grey")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="window is 20, wanted a multiple of 16 from 32 on"):
        TrainOptions(window=20)
    with pytest.raises(ValueError, match="regress is 2 and elsewhere 1, wanted 0 to 1"):
        TrainOptions(regress=2)


def test_samples_that_are_windows_of_eyes_alone_are_cut_around_those(tmp_path: Path) -> None:
    rows = np.zeros(3, row_type(1, 1, S))
    rows["eyes"][:, :, 20:30, 2:12] = 255
    write_shard(tmp_path / "shard-00000.npy", rows)
    cut = Windows(Samples(tmp_path), toy(elsewhere=0.0, batch=16)).of(0)
    assert (cut["eyes"].max((1, 2, 3)) == 255).all()
