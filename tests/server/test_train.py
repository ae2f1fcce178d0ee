"""A clip of one's own becomes samples that agree with what was filmed, and weights beside the character."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from server.act import ActOptions, act
from server.character import save_character
from server.cli import run
from tests.server.test_cli import refused

Rgb = NDArray[np.uint8]
S = 64


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers", reason="make diffusion brings it")
    from tests.synth.diffusion.network import pipeline

    folder = tmp_path_factory.mktemp("weights") / "tiny"
    pipeline(S, steps=2).save_pretrained(folder)
    return folder


@pytest.fixture
def hero(portrait: Path, tmp_path: Path) -> Path:
    save_character(portrait, tmp_path / "hero.character", [], None, force=False)
    return tmp_path / "hero.character"


def test_a_clips_frames_become_samples_beside_what_was_filmed(hero: Path, clip: Path, tmp_path: Path) -> None:
    import synth.character
    from server.train import MOST_ROWS, Footage, write_footage
    from synth.training.shards import Samples

    footage = Footage(clip=clip, character=hero, have_the_rights=True)
    n = write_footage(footage, synth.character.load(hero), tmp_path, S)
    samples = Samples(tmp_path)
    assert len(samples) == n
    assert 10 < n <= min(MOST_ROWS, 24 - 3), "24 frames, three without a face"
    rows = [samples.row(i) for i in range(n)]
    gaps = [np.abs(row["target"].astype(int) - row["rgb"]).mean() for row in rows]
    still = [np.abs(row["target"].astype(int) - row["references"][0]).mean() for row in rows]
    assert np.mean(gaps) < 12, "the warp follows the face that sways"
    assert np.mean(gaps) < 0.7 * np.mean(still)
    for name in ("mouth", "eyes"):
        assert all(row[name].max() > 100 for row in rows)
    assert rows[0]["references"].shape == (2, S, S, 3), "the frame itself, and the character's own picture"


def test_each_picture_taken_from_a_clip_stays_as_it_is_at_its_own_moment(hero: Path, clip: Path) -> None:
    """Else the guides of all other moments would lie beside what was filmed."""
    import synth.character
    from server.take import TakeOptions, Tally, open_take
    from server.train import _looked_through, _source

    take = open_take(clip, TakeOptions(), Tally(), pictures=True)
    _, pictures = _looked_through(take)
    assert len(pictures) == 3
    take = replace(take, moments=[pictures[0].motion])
    for picture in pictures:
        source = _source(picture, synth.character.load(hero), take, S)
        (moved,) = source.retarget.push(picture.motion)
        off = source.warp.draw(moved).landmarks - source.warp.character.landmarks[:, :2]
        assert np.abs(off).max() < 0.02 * source.warp.character.unit_px


@pytest.mark.slow
def test_a_character_is_trained_and_acts_with_what_was_learned(
    hero: Path, clip: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "train", "character", str(clip), "--character", str(hero), "--weights", str(tiny), "--steps", "4", "--batch", "2",
        "--window", "32", "--every", "2", "--threads", "1", "--i-have-the-rights",
    ]  # fmt: skip
    assert run(line) == 0
    said = capsys.readouterr()
    assert "hero.weights:" in said.out
    assert "step 4 of 4: mouths and eyes" in said.err
    own = tmp_path / "hero.weights"
    assert not (own / "training" / "footage").exists(), "the footage is forgotten"
    act(hero, clip, tmp_path / "out.mp4", ActOptions(renderer="diffusion"), lambda *_: None)
    assert (tmp_path / "out.mp4").stat().st_size > 1000


@pytest.mark.slow
def test_base_turbo_and_act_one_after_the_other(hero: Path, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="make diffusion brings it")
    import synth.character
    from server.train import Footage, write_footage

    write_footage(Footage(clip=clip, character=hero, have_the_rights=True), synth.character.load(hero), tmp_path, S)
    short = ["--steps", "2", "--batch", "2", "--window", "32", "--threads", "1", "--quiet"]
    base, turbo = str(tmp_path / "base"), str(tmp_path / "turbo")
    assert run(["train", "base", str(tmp_path), "-o", base, "--side", str(S), "--elsewhere", "0", *short]) == 0
    assert run(["train", "turbo", str(tmp_path), "-o", turbo, "--teacher", base, *short]) == 0
    options = ActOptions(renderer="diffusion", weights=turbo, end=Fraction(1, 5))
    assert act(hero, clip, tmp_path / "out.mp4", options, lambda *_: None).frames == 5


def test_nobody_is_trained_on_without_a_word_that_it_is_allowed(
    hero: Path, clip: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = refused(capsys, "train", "character", clip, "--character", hero)
    assert said == (
        f"{clip} shows somebody; wanted --i-have-the-rights: that you may train on this footage and that who is in it "
        "has agreed"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["hero.character"]


def test_weights_have_no_place_beside_a_picture(portrait: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "train", "character", clip, "--character", portrait, "--i-have-the-rights")
    assert said == f"{portrait} is no .character; wanted one, to save the weights beside"


def test_a_clip_without_a_face_teaches_nothing(
    hero: Path, faceless: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(
        capsys, "train", "character", faceless, "--character", hero, "--weights", tiny, "--i-have-the-rights"
    )
    assert "shows no face in any frame" in said


def test_a_folder_without_samples_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("diffusers", reason="make diffusion brings it")
    said = refused(capsys, "train", "base", tmp_path, "-o", tmp_path / "run")
    assert said == f"{tmp_path} holds no shards; make some with python -m synth.training.people"
    assert not (tmp_path / "run").exists()


def test_options_of_training_that_cannot_be_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "train", "base", tmp_path, "-o", tmp_path / "run", "--window", "20")
    assert said == "window is 20, wanted a multiple of 16 from 32 on"


def test_without_torch_training_says_what_it_wants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.train.find_spec", lambda name: None)
    said = refused(capsys, "train", "base", tmp_path, "-o", tmp_path / "run")
    assert said == "training needs torch and diffusers, which are not installed; wanted make diffusion"
