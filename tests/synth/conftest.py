"""A character that several tests draw."""

from __future__ import annotations

import numpy as np
import pytest

from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from synth.rig import Character, rig


@pytest.fixture(scope="session")
def hero() -> Character:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the face; pip install scikit-image")
    rgb = np.ascontiguousarray(data.astronaut()[:320, 64:384])
    finder = MediaPipeFaces(still=True)
    (mesh,) = finder.find(rgb)
    finder.close()
    return rig(rgb, mesh, template())
