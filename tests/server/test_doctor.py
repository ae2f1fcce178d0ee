"""The doctor tries the parts it names, and says what is wrong in words."""

from __future__ import annotations

import json

import pytest

import server.doctor
from server.cli import run


def test_this_machine_runs_an_act_and_every_part_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["able"] is True
    checks = {check["name"]: check for check in told["checks"]}
    for name in (
        "Python",
        "cores",
        "current folder",
        "av",
        "numpy",
        "encoder libx264",
        "face mesh",
        "numba",
        "espeak-ng",
        "torch",
        "diffusers",
        "engine torch",
        "engine onnx",
        "engine tensorrt",
    ):
        assert name in checks
        assert checks[name]["found"]
    assert checks["face mesh"]["ok"]


def test_a_broken_part_is_named_with_what_to_do_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> str:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(server.doctor, "_face_mesh", broken)
    assert run(["doctor"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "NO face mesh" in said
    assert "libGL.so.1" in said
    assert "cannot run understudy act" in said


def test_what_is_optional_does_not_count(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(server.doctor, "find_spec", lambda name: None)
    assert run(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert not checks["torch"]["ok"]
    assert checks["torch"]["remedy"] == "make diffusion, for training and --renderer diffusion"
    assert checks["transformers"]["remedy"] == "make wan-animate, for --renderer wan-animate"
    assert checks["espeak-ng"]["remedy"] == "make setup, for texts and for transcripts of any language"
    assert checks["pocketsphinx"]["remedy"] == "make setup, for English transcripts"


def test_engines_are_told_of_and_which_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch", reason="pip install torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert run(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["engine torch"]["found"] == f"torch {torch.__version__} on the CPU"
    assert checks["engine auto"]["found"] == "takes torch"
    assert not checks["engine tensorrt"]["ok"]
    assert checks["engine tensorrt"]["found"].endswith(("only that builds without a GPU", "running them needs a GPU"))
    assert "make tensorrt" in checks["engine tensorrt"]["remedy"]
