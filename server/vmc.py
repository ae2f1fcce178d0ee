"""Captured motion to anything that speaks the VMC protocol, over OSC: Motion -> UDP.

One bundle a Motion: head and eyes as bones, ARKit's 52 coefficients as blend shapes under the names of Perfect Sync
(`EyeBlinkLeft`), and the three of VRM 0 that every model has. Specification: https://protocol.vmc.info/
"""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.missing import missing
from runtime.records import ARKIT_INDEX, ARKIT_NAMES, Motion

PORT = 39539  # of whoever draws, unless told otherwise
PERFECT_SYNC = tuple(name[0].upper() + name[1:] for name in ARKIT_NAMES)
VRM0 = {"A": "jawOpen", "Blink_L": "eyeBlinkLeft", "Blink_R": "eyeBlinkRight"}


class VmcSender:
    """Sends to `HOST:PORT`. Raises InputError where that is no address, or python-osc is not installed."""

    def __init__(self, to: str) -> None:
        try:
            from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
        except ImportError as error:
            raise missing("VMC", "python-osc") from error
        host, _, port = to.rpartition(":") if ":" in to else (to, "", str(PORT))
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError(f"--vmc is {to!r}; wanted HOST or HOST:PORT, like 127.0.0.1:{PORT}")
        try:
            self._to = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0][4]
            family = socket.AF_INET6 if len(self._to) == 4 else socket.AF_INET
        except OSError as error:
            raise InputError(f"--vmc is {to!r}, which cannot be found ({error.strerror})") from error
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._bundle: Any = lambda: OscBundleBuilder(IMMEDIATELY)

    def __call__(self, motion: Motion) -> None:
        """Send one Motion; what nobody takes is lost, as UDP is."""
        try:
            self._socket.sendto(self.packet(motion), self._to)
        except OSError:  # nobody there, or a full buffer: the next one comes in a moment
            return

    def packet(self, motion: Motion) -> bytes:
        """The bundle of one Motion."""
        bundle = self._bundle()
        _add(bundle, "/VMC/Ext/OK", 1)
        _add(bundle, "/VMC/Ext/T", float(motion.time))
        for bone, turn in bones(motion).items():
            _add(bundle, "/VMC/Ext/Bone/Pos", bone, 0.0, 0.0, 0.0, *(float(v) for v in turn))
        for name, value in zip(PERFECT_SYNC, motion.expression, strict=True):
            _add(bundle, "/VMC/Ext/Blend/Val", name, float(value))
        for name, of in VRM0.items():
            _add(bundle, "/VMC/Ext/Blend/Val", name, float(motion.expression[ARKIT_INDEX[of]]))
        _add(bundle, "/VMC/Ext/Blend/Apply")
        return bytes(bundle.build().dgram)

    def close(self) -> None:
        self._socket.close()


def bones(motion: Motion) -> dict[str, NDArray[np.float64]]:
    """Quaternions x, y, z, w of Head, LeftEye and RightEye in Unity's axes.

    Unity's x, y and z (the avatar's right, up, forward) are the camera's turned about: -x, -y, -z of ours. A rotation
    matrix is the same in both, and a look to the viewer's right is one to the avatar's left.
    """
    from scipy.spatial.transform import Rotation

    turns = {"Head": Rotation.from_matrix(motion.head[:3, :3].astype(np.float64))}
    for bone, (yaw, pitch) in zip(("LeftEye", "RightEye"), motion.gaze, strict=True):
        turns[bone] = Rotation.from_euler("YX", (-float(yaw), float(pitch)))
    return {bone: np.asarray(turn.as_quat(), np.float64) for bone, turn in turns.items()}


def _add(bundle: Any, address: str, *values: Any) -> None:
    from pythonosc.osc_message_builder import OscMessageBuilder

    message = OscMessageBuilder(address)
    for value in values:
        message.add_arg(value)
    bundle.add_content(message.build())
