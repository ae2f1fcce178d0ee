"""A known performance, rendered to pixels and captured again: the curves that come back are those that went in.

The thresholds lie a little below what was measured on 2026-11-21 with the demo's first portrait; what the capture
does not tell well yet (the pitch of the eyes) has none, and stands in the printed table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.capture import HOLD_S, Perform, Performer, Sighting
from perfcap.expression import template
from perfcap.face import FaceMesh
from perfcap.head import place
from perfcap.written import CAMERA, Script, demonstration, range_of_motion
from runtime.image import save_image
from runtime.records import Motion
from runtime.stage import Stage, run
from runtime.video import VideoReader
from runtime.writer import VideoWriter
from server.demo import ASTRONAUT, Loop, film, film_and_capture
from server.take import TakeOptions, Tally, open_take
from synth.retarget import Retarget, RetargetOptions
from synth.rig import rig

In = TypeVar("In")

# Pearson r of each curve against the written one.
WANTED_R = {
    "jawOpen": 0.88,
    "blink": 0.88,
    "smile": 0.85,
    "pucker": 0.45,
    "brow": 0.90,
    "gaze yaw": 0.88,
    "head yaw": 0.98,
    "head pitch": 0.97,
    "head roll": 0.98,
}
WANTED_DEG = {"head yaw": 1.2, "head pitch": 0.9, "head roll": 0.6}  # root mean square error


@pytest.fixture(scope="module")
def loop() -> Loop:
    return film_and_capture(ASTRONAUT, demonstration())


@pytest.mark.slow
def test_the_curves_that_come_back_are_those_that_went_in(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    curves = loop.agreement()
    error = {name: float(np.sqrt(((c.written - c.captured) ** 2).mean())) for name, c in curves.items()}
    with capsys.disabled():
        print(f"\n{'curve':<12}{'r':>6}{'wanted':>8}{'rms error':>11}")
        for name, curve in curves.items():
            print(f"{name:<12}{curve.r:>6.3f}{WANTED_R.get(name, float('nan')):>8.2f}{error[name]:>11.2f}")
    assert loop.tally.faceless == 0
    assert [m.time for m in loop.captured] == [m.time for m in loop.written]
    for name, wanted in WANTED_R.items():
        assert curves[name].r >= wanted, f"{name} came back with r {curves[name].r:.3f}, wanted {wanted}"
    for name, degrees in WANTED_DEG.items():
        assert error[name] <= degrees, f"{name} came back {error[name]:.2f} degrees off, wanted {degrees}"


@pytest.mark.slow
def test_every_written_blink_comes_back_once(loop: Loop) -> None:
    curve = loop.agreement()["blink"]
    written, captured = curve.written > 0.5, curve.captured > 0.35
    assert _rises(written) == _rises(captured) == 6


def _rises(above: NDArray[np.bool_]) -> int:
    return int((np.diff(above.astype(int)) > 0).sum())


def sightings(motions: Iterable[Motion]) -> list[Sighting]:
    """What a perfect tracker would see of a performance."""
    seen = []
    for m in motions:
        points = place(m.head, m.face)
        depth = (points[:, 2:] - m.head[2, 3]) * CAMERA.focal_px / m.head[2, 3]
        mesh = FaceMesh(np.concatenate((CAMERA.project(points), depth), 1).astype(np.float32))
        seen.append(Sighting(m.time, CAMERA, mesh))
    return seen


def assert_same(ours: Sequence[Motion], theirs: Sequence[Motion]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.time == b.time
        assert a.confidence == b.confidence
        for name in ("head", "expression", "gaze", "face"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=f"{name} at {a.time}")


def streamed(stage: Stage[In, Motion], items: Iterable[In]) -> list[Motion]:
    """One item pushed at a time, then the flush."""
    out = [motion for item in items for motion in stage.push(item)]
    return [*out, *stage.flush()]


@pytest.mark.parametrize("performer", [None, Performer(template())], ids=["learning the neutral", "knowing it"])
def test_perform_streamed_equals_whole_and_is_as_new_after_a_flush(performer: Performer | None) -> None:
    seen = sightings(range_of_motion().performance()[:60])
    seen[30] = Sighting(seen[30].time, CAMERA, None)
    stage = Perform(performer)
    whole = list(run(stage, seen))
    again = streamed(stage, seen)
    assert_same(whole, again)
    other = Perform(performer)  # two streams side by side do not touch each other
    mixed = [(stage.push(s), other.push(s)) for s in seen]
    assert_same(whole, [m for pair in mixed for m in pair[0]])
    assert_same(whole, [m for pair in mixed for m in pair[1]])


def test_retarget_streamed_equals_whole() -> None:
    performance = range_of_motion().performance()
    rest = sightings([performance[0]])[0]
    assert rest.face is not None
    character = rig(np.full((512, 512, 3), 128, np.uint8), rest.face, template())
    stage = Retarget(character, template(), list(performance), RetargetOptions())
    whole = list(run(stage, performance))
    assert_same(whole, streamed(stage, performance))
    backwards = [m for motion in reversed(performance) for m in stage.push(motion)]
    assert_same(whole, backwards[::-1])  # it remembers nothing, so a take cannot drift


def test_an_unsmoothed_perfect_sighting_gives_the_written_motion_back() -> None:
    written = range_of_motion().performance()
    got = list(run(Perform(Performer(template()), smooth=None), sightings(written)))
    for w, g in zip(written, got, strict=True):
        turn = w.head[:3, :3] @ g.head[:3, :3].T
        assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 3
        np.testing.assert_allclose(g.head[:3, 3], w.head[:3, 3], rtol=0.02, atol=0.01)


@pytest.mark.slow
def test_a_frame_without_a_face_is_held_and_counted(tmp_path: Path) -> None:
    picture, acted, gap = tmp_path / "portrait.png", tmp_path / "acted.mp4", tmp_path / "gap.mp4"
    save_image(picture, ASTRONAUT.load())
    full = demonstration()
    film(picture, Script(Fraction(2), full.tracks), acted, lambda *_: None)
    empty = range(20, 38)
    with VideoReader(acted) as reader, VideoWriter(gap, reader.width, reader.height, reader.rate) as writer:
        for i, frame in enumerate(reader):
            writer.write(np.full_like(frame.rgb, 90) if i in empty else frame.rgb, frame.time)
    take = open_take(gap, TakeOptions(), Tally())
    motions = [motion for motion, _ in take.motions]
    assert len(motions) == 60
    assert [i for i, m in enumerate(motions) if m.confidence == 0] == list(empty)
    last = motions[empty.start - 1]
    held = motions[empty.start + 2]
    assert float(held.time - motions[empty.start].time) < HOLD_S
    np.testing.assert_allclose(held.head, last.head, atol=1e-6)
    np.testing.assert_allclose(held.face, last.face, atol=1e-6)
    rest = take.performer.neutral
    away = [float(np.abs(motions[i].face - rest).mean()) for i in (empty.start + 2, empty.start + 10, empty.stop - 1)]
    assert away[0] > away[1] > away[2]  # eased to rest
    steps = np.array([np.abs(b.face - a.face).max() for a, b in pairwise(motions)])
    assert steps[empty.start - 1] < 1e-6
    assert steps[empty.stop - 1] < 0.1  # and back without a jump
