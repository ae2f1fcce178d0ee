from __future__ import annotations

import asyncio
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen

from perfcap.written import Script
from server.vtube_studio import VTubeStudio, parameters


class FakeStudio:
    """Answers as VTube Studio's API does; lets in whoever has its token."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.withdrawn = False

    async def answer(self, socket: ServerConnection) -> None:
        async for text in socket:
            asked = json.loads(text)
            self.asked.append(asked)
            kind, data = asked["messageType"], asked["data"]
            answer: dict[str, Any] = {}
            if kind == "AuthenticationTokenRequest":
                answer = {"authenticationToken": "secret"}
            elif kind == "AuthenticationRequest":
                answer = {"authenticated": data["authenticationToken"] == "secret" and not self.withdrawn}
            await socket.send(json.dumps({"messageType": kind.replace("Request", "Response"), "data": answer}))

    def kinds(self) -> list[str]:
        return [a["messageType"] for a in self.asked]


def run(studio: FakeStudio, token: Path, until: str) -> None:
    async def within() -> None:
        async with listen(studio.answer, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            output = VTubeStudio(token, f"ws://127.0.0.1:{port}")
            output(Script(Fraction(1), {"jawOpen": ((0.0, 0.6),), "yaw": ((0.0, 12.0),)})(Fraction(0)))
            task = asyncio.ensure_future(output.run())
            for _ in range(500):
                await asyncio.sleep(0.01)
                if until in studio.kinds():
                    break
            task.cancel()

    asyncio.run(within())


def test_the_user_is_asked_once_and_motion_is_injected(tmp_path: Path) -> None:
    studio = FakeStudio()
    run(studio, tmp_path / "token", "InjectParameterDataRequest")
    assert studio.kinds()[:3] == ["AuthenticationTokenRequest", "AuthenticationRequest", "InjectParameterDataRequest"]
    sent = studio.asked[2]
    assert (sent["apiName"], sent["apiVersion"]) == ("VTubeStudioPublicAPI", "1.0")
    values = {v["id"]: v["value"] for v in sent["data"]["parameterValues"]}
    assert values["MouthOpen"] == pytest.approx(0.6)
    assert values["FaceAngleX"] == pytest.approx(12, abs=0.01)
    assert sent["data"]["faceFound"] is True

    again = FakeStudio()
    run(again, tmp_path / "token", "InjectParameterDataRequest")
    assert again.kinds()[0] == "AuthenticationRequest"


def test_a_token_that_was_withdrawn_is_forgotten(tmp_path: Path) -> None:
    studio = FakeStudio()
    studio.withdrawn = True
    (tmp_path / "token").write_text("old")
    run(studio, tmp_path / "token", "AuthenticationRequest")
    assert "InjectParameterDataRequest" not in studio.kinds()
    assert not (tmp_path / "token").exists()


def test_every_parameter_stays_within_its_range() -> None:
    wild = Script(Fraction(1), dict.fromkeys(("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "browOuterUpLeft", "eyeBlinkLeft"), ((0.0, 1.0),)))(Fraction(0))  # fmt: skip
    for name, value in parameters(wild).items():
        low, high = (
            (-40, 40) if name.startswith("FaceAngle") else (-1, 1) if name[-1] in "XY" and name[:3] == "Eye" else (0, 1)
        )
        assert low <= value <= high, name
