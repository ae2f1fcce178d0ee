"""An order comes back from its text as it was, and one that is not understood is refused whole."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import InputError
from server.act import ActOptions
from server.capture import CaptureOptions
from server.dub import DubOptions
from server.jobs.orders import ActOrder, CaptureOrder, DubOrder, Order, as_text, from_text, inside, order_of, paths_of

ACT = ActOrder(
    character=Path("a.png"), performance=Path("b.mp4"),
    options=ActOptions(fps=Fraction(30000, 1001), camera=("zoom:1.2", "pan:0.1"), sound=Path("c.wav"), start=Fraction(1, 3)),
)  # fmt: skip
ORDERS: list[Order] = [
    ACT,
    ActOrder(
        character=Path("a.png"), performance=Path("b.mp4"),
        options=ActOptions(renderer="wan-animate", weights="w", steps=4, segment=33, offload="group"),
    ),
    DubOrder(clip=Path("c.mp4"), options=DubOptions(audio=Path("d.wav"), crf=20), suffix=".mov"),
    CaptureOrder(video=Path("v.mp4"), options=CaptureOptions(face="left"), suffix=".bvh"),
]  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    assert from_text(as_text(order)) == order


def test_the_text_is_the_same_for_the_same_order() -> None:
    assert as_text(ACT) == as_text(from_text(as_text(ACT)))


def test_relative_paths_go_into_the_data_folder_and_absolute_ones_stay() -> None:
    order = ActOrder(character=Path("/home/me/a.png"), performance=Path("b.mp4"), options=ACT.options)
    moved = inside(order, Path("/data"))
    assert paths_of(moved) == [Path("/home/me/a.png"), Path("/data/b.mp4"), Path("/data/c.wav")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2 and kind act; wanted version 1"),
        ({"kind": "film"}, "kind film"),
        ({"sharper": True}, "act has no sharper"),
        ({"options": {"sharper": True}}, "act.options has no sharper"),
        ({"options": {"intensity": "much"}}, "act.options.intensity is 'much'; wanted float"),
        ({"options": {"intensity": 9}}, "intensity"),
        ({"options": {"intensity": True}}, "act.options.intensity is True"),
        ({"options": {"fps": "1/0"}}, "act.options.fps is '1/0'; wanted a number"),
        ({"options": {"seed": 1.5}}, "act.options.seed is 1.5; wanted int"),
        ({"options": {"camera": "zoom:1.2"}}, "act.options.camera is 'zoom:1.2'"),
        ({"options": {"side_by_side": 1}}, "act.options.side_by_side is 1"),
        ({"character": None}, "act.character is None"),
    ],
)
def test_an_order_that_is_not_understood_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_text(json.dumps({**json.loads(as_text(ACT)), **change}))


def test_an_order_without_what_it_needs_is_refused() -> None:
    with pytest.raises(InputError, match="act lacks options, performance"):
        order_of("act", {"character": "a.png"})
    with pytest.raises(InputError, match="nothing to be said"):
        order_of("lip_sync", {"clip": "c.mp4", "options": {}})
