"""Faces made of coefficients, for the tests beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfcap.expression import basis, template
from runtime.records import ARKIT_INDEX


def face(**coefficients: float) -> NDArray[np.float32]:
    """The mean face [478, 3] with some coefficients up."""
    out = template()
    for name, value in coefficients.items():
        out = out + value * basis()[ARKIT_INDEX[name]]
    return out.astype(np.float32)
