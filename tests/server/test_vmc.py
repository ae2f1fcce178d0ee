from __future__ import annotations

import socket
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from perfcap.written import Script
from runtime.errors import InputError
from runtime.records import Motion
from server.vmc import VmcSender, bones

osc = pytest.importorskip("pythonosc.osc_bundle", reason="python-osc writes OSC; pip install python-osc")


def at(**values: float) -> Motion:
    return Script(Fraction(1), {name: ((0.0, value),) for name, value in values.items()})(Fraction(0))


def received(motion: Motion) -> list[tuple[str, list[Any]]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sender = VmcSender(f"127.0.0.1:{receiver.getsockname()[1]}")
        sender(motion)
        sender.close()
        return [(m.address, m.params) for m in osc.OscBundle(receiver.recv(65536))]


def test_a_motion_arrives_as_one_bundle_of_bones_and_blend_shapes() -> None:
    messages = received(at(jawOpen=0.75, yaw=20.0))
    blends = {p[0]: p[1] for a, p in messages if a == "/VMC/Ext/Blend/Val"}
    assert blends["JawOpen"] == pytest.approx(0.75, abs=1e-6)
    assert blends["A"] == blends["JawOpen"]
    assert len(blends) == 55
    heads = [p for a, p in messages if a == "/VMC/Ext/Bone/Pos" and p[0] == "Head"]
    assert [len(p) for p in heads] == [8]
    assert messages[-1][0] == "/VMC/Ext/Blend/Apply"


def test_a_head_that_turns_to_the_viewer_s_right_turns_to_the_avatar_s_left() -> None:
    """In Unity a turn about y (up) by a positive angle goes to the right."""
    x, y, z, w = bones(at(yaw=20.0))["Head"]
    assert 2 * np.degrees(np.arctan2(y, w)) == pytest.approx(-20, abs=0.1)
    assert (abs(x), abs(z)) < (0.01, 0.01)
    x, y, z, w = bones(at(pitch=10.0))["Head"]
    assert 2 * np.degrees(np.arctan2(x, w)) == pytest.approx(10, abs=0.1)  # down
    x, y, z, w = bones(replace(at(), gaze=np.array(((0.2, 0.1), (0.2, 0.1)), np.float32)))["LeftEye"]
    assert y < -0.09
    assert x > 0.04


@pytest.mark.parametrize("to", ["", ":39539", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused(to: str) -> None:
    with pytest.raises(InputError, match="wanted HOST or HOST:PORT"):
        VmcSender(to)
