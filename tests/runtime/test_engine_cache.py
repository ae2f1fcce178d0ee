"""An engine comes from its file only if the file is that engine; all else is told apart and built anew."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.engine_cache import MAGIC, CacheError, Key, cached, engine_folder, read, write

KEY = Key(
    model="ab" * 32, shapes="512-1x1-2", precision="fp16", runs_on="sm_89", gpu="", library="tensorrt_rtx 1.7.1",
    builder="torch 2.13.0",
)  # fmt: skip
ENGINE = bytes(range(256)) * 40


def written(folder: Path) -> Path:
    path = folder / KEY.file
    write(path, KEY, ENGINE)
    return path


def never() -> bytes:
    raise AssertionError("built what was there")


def test_what_was_built_once_is_read_ever_after(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    assert cached(KEY, lambda: ENGINE, folder) == ENGINE
    assert cached(KEY, never, folder) == ENGINE
    assert [p.name for p in folder.iterdir()] == ["abababababab-512-1x1-2-fp16-tensorrt_rtx-sm_89.engine"]


def foreign(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + ENGINE)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def truncated_in_its_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: len(MAGIC) + 20])


def truncated_to_nothing(path: Path) -> None:
    path.write_bytes(b"")


def damaged(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-7] ^= 1
    path.write_bytes(whole)


def damaged_in_its_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"length"', b'"lenght"', 1))


def of_another_model(path: Path) -> None:
    write(path, replace(KEY, model="cd" * 32), ENGINE)


def of_other_shapes(path: Path) -> None:
    write(path, replace(KEY, shapes="256-1x1-2"), ENGINE)


def in_another_precision(path: Path) -> None:
    write(path, replace(KEY, precision="fp32"), ENGINE)


def for_another_gpu(path: Path) -> None:
    write(path, replace(KEY, runs_on="sm_120"), ENGINE)


def by_another_library(path: Path) -> None:
    write(path, replace(KEY, library="tensorrt_rtx 1.6.1"), ENGINE)


def by_another_exporter(path: Path) -> None:
    write(path, replace(KEY, builder="torch 2.12.0"), ENGINE)


@pytest.mark.parametrize(
    ("spoil", "fault", "said"),
    [
        (foreign, "foreign", "no engine of ours"),
        (truncated, "truncated", "10239 bytes of 10240 are there"),
        (truncated_in_its_header, "truncated", "it ends after 40 bytes, in its header"),
        (truncated_to_nothing, "truncated", "it ends after 0 bytes"),
        (damaged, "damaged", "its bytes are not those that were written"),
        (damaged_in_its_header, "damaged", "its header cannot be read"),
        (of_another_model, "wrong", "model cdcd"),
        (of_other_shapes, "wrong", "shapes 256-1x1-2, wanted 512-1x1-2"),
        (in_another_precision, "wrong", "precision fp32, wanted fp16"),
        (for_another_gpu, "wrong", "runs on sm_120, wanted sm_89"),
        (by_another_library, "stale", "library tensorrt_rtx 1.6.1, wanted tensorrt_rtx 1.7.1"),
        (by_another_exporter, "stale", "builder torch 2.12.0, wanted torch 2.13.0"),
    ],
)
def test_every_other_file_is_told_apart_and_built_anew(
    spoil: Callable[[Path], None], fault: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path)
    spoil(path)
    with pytest.raises(CacheError, match=said) as caught:
        read(path, KEY)
    assert caught.value.fault == fault
    fresh = ENGINE[::-1]
    with caplog.at_level(logging.WARNING):
        assert cached(KEY, lambda: fresh, tmp_path) == fresh
    assert f"{path} is built anew: {fault} ({said}" in caplog.text
    assert cached(KEY, never, tmp_path) == fresh


def test_a_header_names_the_whole_key(tmp_path: Path) -> None:
    header = json.loads(written(tmp_path).read_bytes().split(b"\n")[1])
    assert Key(**{name: header[name] for name in vars(KEY)}) == KEY


def test_an_engine_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "engines").write_text("a file where the folder should be")
    assert cached(KEY, lambda: ENGINE, tmp_path / "engines") == ENGINE
    assert "the engine is not kept for the next start" in caplog.text


def test_the_folder_is_named_or_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("UNDERSTUDY_ENGINES", raising=False)
    assert engine_folder() == tmp_path / "understudy" / "engines"
    monkeypatch.setenv("UNDERSTUDY_ENGINES", str(tmp_path / "mine"))
    assert engine_folder() == tmp_path / "mine"
