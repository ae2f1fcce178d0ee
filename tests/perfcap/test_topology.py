from __future__ import annotations

from collections import Counter

import numpy as np

from perfcap.landmarks import INNER_LIPS, LEFT_EYE, OVAL, RIGHT_EYE
from perfcap.topology import face_triangles


def test_the_mesh_is_852_triangles_over_all_468_points() -> None:
    triangles = face_triangles()
    assert triangles.shape == (852, 3)
    assert triangles.dtype == np.int32
    assert set(triangles.ravel()) == set(range(468))


def test_neighbours_run_the_same_way_round() -> None:
    directed = Counter((int(t[i]), int(t[(i + 1) % 3])) for t in face_triangles() for i in range(3))
    assert max(directed.values()) == 1


def test_what_is_open_is_the_oval_the_eyes_and_the_mouth() -> None:
    uses = Counter(frozenset((int(t[i]), int(t[(i + 1) % 3]))) for t in face_triangles() for i in range(3))
    border = {edge for edge, n in uses.items() if n == 1}
    rings = [OVAL, LEFT_EYE, RIGHT_EYE, INNER_LIPS]
    assert border == {frozenset((ring[i - 1], ring[i])) for ring in rings for i in range(len(ring))}


def test_a_frontal_oval_is_run_counter_clockwise() -> None:
    directed = {(int(t[i]), int(t[(i + 1) % 3])) for t in face_triangles() for i in range(3)}
    assert all((OVAL[i], OVAL[i - 1]) in directed for i in range(len(OVAL)))
