"""`understudy keys`: a key is shown once, listed without its secret, and revoked by its id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.cli import run
from server.jobs.store import open_store


def test_a_key_is_made_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    assert run(["keys", "create", "ann", "--tier", "paid", "--credits", "700", "--data", str(data)]) == 0
    told = capsys.readouterr()
    secret = told.out.strip()
    assert "ann (paid) has 700 credits; the key is shown this once" in told.err
    assert "lets nobody in without a key" in told.err
    store = open_store(data)
    key = store.keys.look_up(secret)
    assert key is not None
    assert (key.owner, key.tier) == ("ann", "paid")
    assert run(["keys", "list", "--data", str(data)]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith(f"{key.id}  ann  paid  700 credits  made ")
    assert secret not in listed
    assert run(["keys", "revoke", key.id, "--data", str(data)]) == 0
    assert capsys.readouterr().out == f"{key.id} of ann is revoked\n"
    assert store.keys.look_up(secret) is None
    assert run(["keys", "list", "--data", str(data)]) == 0
    assert "revoked" in capsys.readouterr().out


def test_keys_are_told_to_programs_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "ann", "--data", str(tmp_path), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["owner"], made["tier"], made["credits"]) == ("ann", "free", 1000)
    assert run(["keys", "list", "--data", str(tmp_path), "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert "secret" not in listed
    assert listed["id"] == made["id"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["create", "ann", "--tier", "golden"], "'golden' is no tier; wanted one of local, free, paid, studio"),
        (["revoke", "0123456789abcdef"], "there is no key 0123456789abcdef"),
        (["list", "--tariff", "none.toml"], "none.toml cannot be read as a tariff"),
        (["list", "--database", "mysql://host/name"], "mysql is no database we know"),
    ],
)
def test_what_cannot_be_done_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], said: str
) -> None:
    assert run(["keys", *command, "--data", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_told_and_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = tmp_path / "elsewhere"
    for command in (["list"], ["revoke", "0123456789abcdef"]):
        assert run(["keys", *command, "--data", str(elsewhere)]) == 2
        assert f"{elsewhere} is no folder; wanted the server's data folder" in capsys.readouterr().err
    assert not elsewhere.exists()


def test_an_empty_list_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "list", "--data", str(tmp_path)]) == 0
    assert "understudy keys create NAME" in capsys.readouterr().out
