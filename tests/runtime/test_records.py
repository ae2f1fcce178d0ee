"""The records: frozen, complete, and in ARKit's order."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from runtime.records import ARKIT_INDEX, ARKIT_NAMES, N_EXPRESSION, AudioChunk, Cue, Motion, Packet, Shot


def motion(time: Fraction) -> Motion:
    return Motion(
        time=time,
        head=np.eye(4, dtype=np.float32),
        expression=np.zeros(52, np.float32),
        gaze=np.zeros((2, 2), np.float32),
        face=np.zeros((478, 3), np.float32),
        confidence=1.0,
    )


def test_arkit_names_are_fifty_two_and_no_two_alike() -> None:
    assert N_EXPRESSION == len(set(ARKIT_NAMES)) == 52
    assert ARKIT_NAMES[0] == "eyeBlinkLeft"
    assert ARKIT_NAMES[17] == "jawOpen"
    assert ARKIT_NAMES[-1] == "tongueOut"
    assert all(ARKIT_NAMES[i] == name for name, i in ARKIT_INDEX.items())


def test_every_left_has_its_right() -> None:
    for name in ARKIT_NAMES:
        if name.endswith("Left") and name not in ("jawLeft", "mouthLeft"):
            assert name.removesuffix("Left") + "Right" in ARKIT_INDEX


def test_records_cannot_be_changed() -> None:
    time = Fraction(1001, 30_000)
    cue = Cue(time=time, motion=motion(time))
    records = (cue, cue.motion, AudioChunk(time=time, pcm=np.zeros(3, np.float32)), Packet(time=time, payload=b""))
    for record in records:
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.time = Fraction(0)  # type: ignore[misc]


def test_a_misspelt_field_fails() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'payloads'"):
        Packet(time=Fraction(0), payloads=b"")  # type: ignore[call-arg]


def test_a_shot_sits_where_its_cue_sits() -> None:
    time = Fraction(7, 24)
    shot = Shot(cue=Cue(time=time, motion=motion(time)), rgb=np.zeros((4, 4, 3), np.uint8))
    assert shot.time == time


def test_a_packet_does_not_print_its_payload() -> None:
    assert "payload" not in repr(Packet(time=Fraction(0), payload=b"\0" * 10_000))
