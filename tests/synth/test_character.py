"""Characters survive the disk to the bit, and anything else is named."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synth.character
from runtime.errors import InputError
from runtime.records import N_LANDMARKS
from synth.rig import Character


def character(*, n_references: int = 0) -> Character:
    rng = np.random.default_rng(0)
    H, W = 40, 30

    def picture() -> Any:
        return rng.integers(0, 255, (H, W, 3), dtype=np.uint8)

    def points() -> Any:
        return rng.uniform(0, W, (N_LANDMARKS, 3)).astype(np.float32)

    return Character(
        rgb=picture(), landmarks=points(), neutral=points(), alpha=rng.random((H, W), np.float32),
        person=picture(), behind=picture(), references=tuple((picture(), points()) for _ in range(n_references)),
    )  # fmt: skip


@pytest.mark.parametrize("n_references", [0, 2])
def test_a_character_survives_the_disk_to_the_bit(n_references: int, tmp_path: Path) -> None:
    made = character(n_references=n_references)
    synth.character.save(made, tmp_path / "hero.character", source="hero.png")
    read = synth.character.load(tmp_path / "hero.character")
    for field in dataclasses.fields(Character):
        if field.name != "references":
            np.testing.assert_array_equal(getattr(read, field.name), getattr(made, field.name))
    assert len(read.references) == n_references
    for one, other in zip(read.references, made.references, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert [path.name for path in tmp_path.iterdir()] == ["hero.character"]


def test_numpy_reads_it_without_pickle(tmp_path: Path) -> None:
    synth.character.save(character(), tmp_path / "hero.character", source="hero.png")
    with np.load(tmp_path / "hero.character", allow_pickle=False) as data:
        assert json.loads(str(data["header"]))["source"] == "hero.png"
        assert data["rgb"].shape == (40, 30, 3)


def _rewritten(raw: bytes, name: str, array: Any) -> bytes:
    """The same file with one array exchanged."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == f"{name}.npy":
                buffer = io.BytesIO()
                np.save(buffer, array)
                content = buffer.getvalue()
            new.writestr(member, content)
    return out.getvalue()


def _newer(raw: bytes) -> bytes:
    with np.load(io.BytesIO(raw)) as data:
        header = json.loads(str(data["header"]))
    return _rewritten(raw, "header", np.array(json.dumps(header | {"version": 7})))


def _flipped(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[:middle] + bytes(b ^ 255 for b in raw[middle : middle + 64]) + raw[middle + 64 :]


def _foreign(raw: bytes) -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.zeros(2))
    return out.getvalue()


def _pickled(raw: bytes) -> bytes:
    out = io.BytesIO()
    np.savez(out, header=np.array([{"format": "understudy character"}], object))
    return out.getvalue()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda raw: b"", "is empty"),
        (lambda raw: b"hello", "is a damaged character or none at all"),
        (lambda raw: raw[: len(raw) // 2], "is a damaged character or none at all"),
        (_flipped, "is a damaged character or none at all"),
        (_foreign, "was not written by understudy character"),
        (_pickled, "is a damaged character or none at all"),
        (_newer, "is a character of version 7; this understudy reads 1"),
        (lambda raw: _rewritten(raw, "alpha", np.zeros((3, 3), np.float32)), "alpha is float32"),
    ],
)
def test_what_is_no_character_is_named(spoil: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "hero.character"
    synth.character.save(character(), path, source="hero.png")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match=said) as caught:
        synth.character.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_folder_or_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; wanted a character"):
        synth.character.load(tmp_path)
    with pytest.raises(InputError, match="does not exist; wanted a character"):
        synth.character.load(tmp_path / "nobody.character")
