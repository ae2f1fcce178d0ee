"""The triangles of MediaPipe's face mesh, which publishes only its edges.

Knows which points are joined, never where they are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from perfcap.landmarks import OVAL
from perfcap.solutions import solution

Triangle = tuple[int, int, int]


@cache
def face_triangles() -> NDArray[np.int32]:
    """Triangles [852, 3] over the first 468 landmarks, read-only, with holes at the eyes and between the lips.

    Seen from outside the face they run counter-clockwise (glTF's front), in a frontal picture too.
    """
    edges = solution("face_mesh_connections").FACEMESH_TESSELATION
    # The oval runs clockwise in a frontal picture, so the triangle on its first edge must run against it.
    triangles = np.array(_wind(_faces(edges), (OVAL[1], OVAL[0])), np.int32)
    triangles.setflags(write=False)
    return triangles


def _edges(triangle: Triangle) -> list[tuple[int, int]]:
    return [tuple(sorted(pair)) for pair in combinations(triangle, 2)]  # type: ignore[misc]


def _faces(edges: Iterable[tuple[int, int]]) -> list[Triangle]:
    """Every cycle of three edges, except those that run around others: each of their edges is shared by three."""
    neighbours: dict[int, set[int]] = defaultdict(set)
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    cycles = sorted(
        (a, b, c) for a in neighbours for b in neighbours[a] if b > a for c in neighbours[a] & neighbours[b] if c > b
    )
    uses = Counter(edge for cycle in cycles for edge in _edges(cycle))
    return [cycle for cycle in cycles if any(uses[edge] < 3 for edge in _edges(cycle))]


def _wind(triangles: list[Triangle], seed: tuple[int, int]) -> list[Triangle]:
    """Turn every triangle so that neighbours cross their shared edge in opposite senses, from one seed edge on."""
    beside: dict[tuple[int, int], list[int]] = defaultdict(list)
    for n, triangle in enumerate(triangles):
        for edge in _edges(triangle):
            beside[edge].append(n)
    wound: dict[int, Triangle] = {}
    waiting = [seed]
    while waiting:
        a, b = waiting.pop()
        for n in beside[min(a, b), max(a, b)]:
            if n in wound:
                continue
            (c,) = set(triangles[n]) - {a, b}
            wound[n] = (a, b, c)
            waiting += [(b, a), (c, b), (a, c)]
    assert len(wound) == len(triangles), "the face mesh is not in one piece"
    return [wound[n] for n in range(len(triangles))]
