from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from perfcap.written import range_of_motion
from runtime.records import Cue
from synth.retarget import Retarget, RetargetOptions
from synth.rig import Character, rig

Rgb = NDArray[np.uint8]


def rigged(rgb: Rgb) -> Character:
    finder = MediaPipeFaces(still=True)
    (mesh,) = finder.find(rgb)
    finder.close()
    return rig(rgb, mesh, template())


@pytest.fixture(scope="session")
def portrait() -> Rgb:  # [368, 320, 3]: head and shoulders
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    return np.ascontiguousarray(data.astronaut()[:368, 64:384])


@pytest.fixture(scope="session")
def hero(portrait: Rgb) -> Character:
    return rigged(portrait)


@pytest.fixture(scope="session")
def performed(hero: Character) -> Callable[[int], list[Cue]]:
    script = range_of_motion()
    retarget = Retarget(hero, template(), [script(Fraction(0))], RetargetOptions())

    def cues(n: int) -> list[Cue]:
        return [Cue(time=Fraction(i, 10), motion=retarget(script(Fraction(i, 10)))) for i in range(n)]

    return cues
