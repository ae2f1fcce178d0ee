from fractions import Fraction

import numpy as np
import pytest

from perfcap.resample import Resample
from runtime.records import N_EXPRESSION, N_LANDMARKS, Motion
from runtime.stage import run

NTSC = Fraction(24000, 1001)


def yaw(angle: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    head = np.eye(4, dtype=np.float32)
    head[0, 0] = head[2, 2] = np.cos(angle)
    head[0, 2], head[2, 0] = np.sin(angle), -np.sin(angle)
    return head


def motion(time: Fraction, value: float, confidence: float = 1.0) -> Motion:
    head = yaw(value)
    head[2, 3] = value
    return Motion(
        time=time,
        head=head,
        expression=np.full(N_EXPRESSION, value, np.float32),
        gaze=np.full((2, 2), value, np.float32),
        face=np.full((N_LANDMARKS, 3), value, np.float32),
        confidence=confidence,
    )


def take(n: int, rate: Fraction, start: Fraction = Fraction(0)) -> list[Motion]:
    return [motion(start + i / rate, i / float(rate)) for i in range(n)]


@pytest.mark.parametrize(
    ("old", "new"), [(Fraction(30), Fraction(25)), (Fraction(25), Fraction(60)), (Fraction(30000, 1001), NTSC)]
)
def test_every_time_is_exact_and_what_moves_steadily_still_does(old: Fraction, new: Fraction) -> None:
    start = Fraction(7, 3)
    made = list(run(Resample(new), take(40, old, start)))
    assert [m.time for m in made] == [start + i / new for i in range(len(made))]
    assert made[-1].time < start + 40 / old <= made[-1].time + 1 / new
    for m in made:
        want = min(float(m.time - start), 39 / float(old))
        assert np.allclose(m.face, want, atol=1e-6)
        assert np.allclose(m.head[:3, :3], yaw(want)[:3, :3], atol=1e-6)
        assert np.allclose(m.head[2, 3], want, atol=1e-6)


def test_the_same_rate_changes_nothing() -> None:
    before = take(12, NTSC)
    after = list(run(Resample(NTSC), before))
    assert [m.time for m in after] == [m.time for m in before]
    assert all(
        np.array_equal(a.face, b.face) and np.array_equal(a.head, b.head) for a, b in zip(after, before, strict=True)
    )


def test_streamed_equals_whole() -> None:
    items = [motion(Fraction(t, 100), float(np.sin(t))) for t in (0, 3, 4, 11, 12, 30, 31)]  # variable rate
    whole = list(run(Resample(Fraction(50)), items))
    stage = Resample(Fraction(50))
    for _ in range(2):  # and after a flush it is as new
        streamed = [out for item in items for out in stage.push(item)] + list(stage.flush())
        assert [m.time for m in streamed] == [m.time for m in whole]
        assert all(
            np.array_equal(a.face, b.face) and np.array_equal(a.head, b.head)
            for a, b in zip(streamed, whole, strict=True)
        )


def test_nothing_is_held_back_longer_than_one_moment() -> None:
    stage = Resample(Fraction(60))
    assert stage.push(motion(Fraction(0), 0)) == []
    assert [m.time for m in stage.push(motion(Fraction(1, 30), 1))] == [0, Fraction(1, 60)]


def test_who_was_seen_is_what_the_nearer_moment_says() -> None:
    made = list(run(Resample(Fraction(4)), [motion(Fraction(0), 0, 1.0), motion(Fraction(1), 1, 0.0)]))
    assert [m.confidence for m in made[:4]] == [1, 1, 0, 0]


def test_one_moment_stays_one() -> None:
    assert [m.time for m in run(Resample(Fraction(25)), [motion(Fraction(2), 0)])] == [2]


def test_a_rate_of_nothing_and_times_that_go_back_are_refused() -> None:
    with pytest.raises(ValueError, match="rate is 0, wanted more than 0 a second"):
        Resample(Fraction(0))
    stage = Resample(Fraction(25))
    stage.push(motion(Fraction(1), 0))
    with pytest.raises(ValueError, match="motion time is 1 after 1, wanted a later one"):
        stage.push(motion(Fraction(1), 0))
