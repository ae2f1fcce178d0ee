"""What surrounds a face is followed, and where there is nothing to follow, that is said."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.anchors import FEW, AnchorTracker
from perfcap.expression import template
from perfcap.face import FaceMesh

Rgb = NDArray[np.uint8]
UNIT_PX = 100.0
SIDE = 480


def mesh(x: float = 240, y: float = 240, unit_px: float = UNIT_PX) -> FaceMesh:
    return FaceMesh((template() * unit_px + np.array((x, y, 0))).astype(np.float32))


def hair(seed: int = 0, contrast: float = 2) -> Rgb:
    """Speckles as coarse as curls."""
    import cv2

    noise = np.random.default_rng(seed).normal(0, 120, (SIDE, SIDE, 3))
    return np.asarray(np.clip(cv2.GaussianBlur(noise, (0, 0), 2.5) * contrast + 128, 0, 255), np.uint8)


def moved(rgb: Rgb, x: float, y: float) -> Rgb:
    import cv2

    return np.asarray(cv2.warpAffine(rgb, np.array(((1, 0, x), (0, 1, y)), np.float32), (SIDE, SIDE)), np.uint8)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (6.0, -4.0), (17.5, 9.25)])
def test_features_go_with_the_picture(shift: tuple[float, float]) -> None:
    tracker = AnchorTracker()
    tracker.follow(hair(), mesh())
    # The face itself is seen a little elsewhere than it is: its surroundings are not fooled.
    anchors = tracker.follow(moved(hair(), *shift), mesh(240 + shift[0] + 1.5, 240 + shift[1] - 1))
    assert anchors is not None
    assert len(anchors.now) == len(anchors.then) >= FEW
    off = np.linalg.norm(anchors.now - anchors.then - shift, axis=1)
    print(f"{len(off)} features, median {np.median(off):.3f} px off, worst {off.max():.2f}")
    assert np.median(off) < 0.1
    assert np.mean(off < 0.5) > 0.9


def test_the_first_sighting_is_its_own_reference() -> None:
    anchors = AnchorTracker().follow(hair(), mesh())
    assert anchors is not None
    np.testing.assert_array_equal(anchors.now, anchors.then)


def test_features_lie_around_the_face_and_not_on_it() -> None:
    import cv2

    anchors = AnchorTracker().follow(hair(), mesh())
    assert anchors is not None
    hull = cv2.convexHull(np.ascontiguousarray(mesh().landmarks[:468, :2]))
    inside = [cv2.pointPolygonTest(hull, (float(x), float(y)), True) > 3 for x, y in anchors.then]
    assert not any(inside)
    assert (anchors.then[:, 1] < mesh().landmarks[152, 1] - 0.5 * UNIT_PX).all(), "nor on neck and clothes"


def test_a_flat_picture_has_nothing_to_follow() -> None:
    tracker = AnchorTracker()
    flat = np.full((SIDE, SIDE, 3), 120, np.uint8)
    assert tracker.follow(flat, mesh()) is None
    assert tracker.follow(hair(), mesh()) is not None


def test_another_shot_or_a_reset_takes_a_new_reference() -> None:
    tracker = AnchorTracker()
    first = tracker.follow(hair(), mesh())
    same = tracker.follow(hair(), mesh())
    assert first is not None
    assert same is not None
    assert same.reference == first.reference
    closer = tracker.follow(hair(), mesh(unit_px=2 * UNIT_PX))
    assert closer is None or closer.reference > first.reference
    tracker.reset()
    anew = tracker.follow(hair(), mesh())
    assert anew is not None
    assert anew.reference > first.reference


def test_a_cut_to_other_hair_is_not_followed_across() -> None:
    tracker = AnchorTracker()
    first = tracker.follow(hair(0, contrast=4), mesh())
    after = tracker.follow(hair(1, contrast=4), mesh())
    assert first is not None
    assert after is None or after.reference != first.reference


def test_a_small_face_keeps_the_reference_it_began_with() -> None:
    tracker = AnchorTracker()
    small = mesh(unit_px=45)
    numbers = [found.reference for _ in range(4) if (found := tracker.follow(hair(), small)) is not None]
    assert numbers == [1, 1, 1, 1]
