from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.errors import InputError
from server.connection import _Changes
from server.wire import Control


class SlowHouse:
    """Its characters are ready when told so; `nobody` never is, and `bomb` is our own mistake."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ready = asyncio.Semaphore(0)

    async def recast(self, held: Any, name: str, renderer: str) -> None:
        self.asked.append(name)
        await self.ready.acquire()
        if name == "bomb":
            raise RuntimeError("made to fail")
        if name == "nobody":
            raise InputError("there is no character 'nobody'")
        held.showing = SimpleNamespace(look=lambda moves: f"{name} from {moves[0].kind}")


def test_what_takes_long_holds_nothing_up_and_of_several_the_last_is_made() -> None:
    async def go() -> None:
        house, refused, failed, views = SlowHouse(), list[str](), list[bool](), list[str]()
        session = SimpleNamespace(
            refuse=lambda error: refused.append(str(error)), fail=lambda: failed.append(True),
            ask_showing=lambda action: action(SimpleNamespace(go=views.append)),
        )  # fmt: skip
        changes = _Changes(house, SimpleNamespace(session=session, renderer="warp"))  # type: ignore[arg-type]
        making = asyncio.create_task(changes.make())
        for name in ("one", "two", "three", "nobody"):
            changes.want(Control("character", name))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert house.asked == ["one"]
        for _ in range(2):
            house.ready.release()
            await asyncio.sleep(0.01)
        assert house.asked == ["one", "nobody"]
        assert refused == ["there is no character 'nobody'"]
        with pytest.raises(InputError, match="wanted one of zoom"):
            changes.want(Control("camera", "fly:3"))
        for control in (Control("character", "four"), Control("camera", "zoom:2")):
            changes.want(control)
        house.ready.release()
        while not views:
            await asyncio.sleep(0.01)
        assert views == ["four from zoom"]  # not the view of whoever was on before
        assert not failed
        changes.want(Control("character", "bomb"))
        house.ready.release()
        await asyncio.sleep(0.01)
        assert failed
        making.cancel()

    asyncio.run(go())
