"""Captured motion to VTube Studio: Motion -> its tracking parameters, over its websocket.

The user is asked once, in VTube Studio, whether they allow it; the token it answers with is kept. Where it is not
there, or goes away, it is tried again. API: https://github.com/DenchiSoft/VTubeStudio (version 1.0)
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from perfcap.written import angles_of
from runtime.records import ARKIT_INDEX, Motion

log = logging.getLogger(__name__)

URL = "ws://localhost:8001"
AGAIN_S = 3.0
EVERY_S = 1 / 60  # at most so often
ALIVE_S = 0.5  # it forgets what it was not told for a second
LOOK_RAD = 0.6  # as far as eyes look


class VTubeStudio:
    """The newest Motion, sent whenever it is a new one, until `run` is cancelled."""

    def __init__(self, token: Path, url: str = URL) -> None:
        self._token = token
        self._url = url
        self._newest: Motion | None = None

    def __call__(self, motion: Motion) -> None:
        """From any thread: this is how it is now."""
        self._newest = motion

    async def run(self) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        told = False
        while True:
            try:
                async with connect(self._url, open_timeout=5) as socket:
                    if await self._let_in(socket):
                        log.info("VTube Studio is connected")
                        told = False
                        await self._inject(socket)
            except (OSError, TimeoutError, asyncio.TimeoutError, WebSocketException, ValueError) as error:
                if not told:
                    log.warning("VTube Studio does not answer; trying again", extra={"why": str(error)[:100]})
                    told = True
            await asyncio.sleep(AGAIN_S)

    async def _let_in(self, socket: Any) -> bool:
        """Whether VTube Studio lets us in; asks its user where it does not know us."""
        plugin = {"pluginName": "Understudy", "pluginDeveloper": "Understudy"}
        if not self._token.exists():
            answer = await _ask(socket, "AuthenticationTokenRequest", plugin)
            if "authenticationToken" not in answer:
                log.warning("VTube Studio refused", extra={"why": answer.get("message", "")})
                return False
            self._token.write_text(str(answer["authenticationToken"]))
        token = {"authenticationToken": self._token.read_text()}
        if (await _ask(socket, "AuthenticationRequest", plugin | token)).get("authenticated"):
            return True
        self._token.unlink()  # withdrawn: ask again next time
        return False

    async def _inject(self, socket: Any) -> None:
        last: Motion | None = None
        waited = 0.0
        while True:
            motion = self._newest
            if motion is not None and (motion is not last or waited >= ALIVE_S):
                values = [{"id": name, "value": round(value, 4)} for name, value in parameters(motion).items()]
                request = {"faceFound": motion.confidence > 0, "mode": "set", "parameterValues": values}
                await _ask(socket, "InjectParameterDataRequest", request)
                last, waited = motion, 0.0
            await asyncio.sleep(EVERY_S)
            waited += EVERY_S


def parameters(motion: Motion) -> dict[str, float]:
    """VTube Studio's own tracking parameters: angles in degrees, eyes -1..1, the rest 0..1."""

    def e(name: str) -> float:
        return float(motion.expression[ARKIT_INDEX[name]])

    yaw, pitch, roll = (float(v) for v in angles_of(motion.head))
    looks = np.clip(motion.gaze / LOOK_RAD, -1, 1)
    brows = {
        side: float(np.clip(0.5 + 0.5 * (e("browInnerUp") + e(f"browOuterUp{side}")) / 2 - 0.5 * e(f"browDown{side}"), 0, 1))
        for side in ("Left", "Right")
    }  # fmt: skip
    return {
        "FaceAngleX": yaw, "FaceAngleY": -pitch, "FaceAngleZ": -roll,
        "MouthOpen": e("jawOpen"),
        "MouthSmile": float(np.clip(0.5 + 0.5 * (e("mouthSmileLeft") + e("mouthSmileRight") - e("mouthFrownLeft") - e("mouthFrownRight")) / 2, 0, 1)),
        "EyeOpenLeft": 1 - e("eyeBlinkLeft"), "EyeOpenRight": 1 - e("eyeBlinkRight"),
        "EyeLeftX": float(looks[0, 0]), "EyeLeftY": -float(looks[0, 1]),
        "EyeRightX": float(looks[1, 0]), "EyeRightY": -float(looks[1, 1]),
        "BrowLeftY": brows["Left"], "BrowRightY": brows["Right"], "Brows": (brows["Left"] + brows["Right"]) / 2,
        "CheekPuff": e("cheekPuff"), "TongueOut": e("tongueOut"),
    }  # fmt: skip


async def _ask(socket: Any, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """One request and its answer's data. Raises ValueError on what is no answer."""
    request = {
        "apiName": "VTubeStudioPublicAPI",
        "apiVersion": "1.0",
        "requestID": kind,
        "messageType": kind,
        "data": data,
    }
    await socket.send(json.dumps(request))
    answer = json.loads(await socket.recv())
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
        raise ValueError("found no answer of VTube Studio's; wanted an object with data")
    return dict(answer["data"])
