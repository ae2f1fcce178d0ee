"""Where a film cuts from one picture to another, from the pixels alone.

Everything a tracker knows of the picture before is wrong after it, and often somebody else is in it, at the same
place. A picture that only seems to be another (a flash) does no harm: what follows is found again as it was.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # px that a picture is reduced to
OTHER = 14.0  # grey levels of mean difference, brightness aside; within takes that move and shake it is 5 at most


class Cuts:
    """Whether each picture of a film begins another shot; the first begins none."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def __call__(self, rgb: NDArray[np.uint8]) -> bool:
        """Of a picture [H, W, 3]."""
        import cv2

        step = max(1, min(rgb.shape[:2]) // (4 * SIDE))
        small = cv2.resize(rgb[::step, ::step], (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).mean(2)
        last, self._last = self._last, small
        if last is None:
            return False
        off = small - last
        return bool(np.abs(off - off.mean()).mean() > OTHER)
