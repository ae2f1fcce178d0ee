"""How bright a clip was made to be shown: its mastering display (SMPTE ST 2086) and its light levels (CTA-861.3).

Read off a decoded frame, in FFmpeg's structures; written the way x264 takes it, into the picture's own stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_CHROMA, _LUMINANCE = 50_000, 10_000  # steps of a coordinate, and of a candela per square metre


@dataclass(frozen=True)
class Brightness:
    """Whole steps, as streams hold them."""

    display: tuple[int, ...] | None  # x, y of red, green, blue and white, then the least and the most luminance
    light: tuple[int, int] | None  # of the brightest pixel, and of the brightest frame's mean, cd/m²

    def __bool__(self) -> bool:
        return self.display is not None or self.light is not None

    @property
    def x264(self) -> str:
        """The value of FFmpeg's x264-params."""
        said = []
        if self.display is not None:
            rx, ry, gx, gy, bx, by, wx, wy, least, most = self.display
            said.append(f"mastering-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})")
        if self.light is not None:
            said.append("cll={},{}".format(*self.light))
        return ":".join(said)


UNKNOWN = Brightness(None, None)


def brightness_of(frame: Any) -> Brightness:
    """What an `av.VideoFrame` says; a display of which only colours or only luminances are known says nothing."""
    mastering, light = (frame.side_data.get(name) for name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"))
    display = None
    if mastering is not None:
        told = np.frombuffer(bytes(mastering), np.int32)  # ten fractions, then two flags
        over, under = told[:20].reshape(10, 2).T.astype(np.float64)
        if told[20] and told[21] and under.all():
            steps = np.array([_CHROMA] * 8 + [_LUMINANCE] * 2)
            display = tuple(round(v) for v in (over / under * steps).tolist())
    levels = None if light is None else np.frombuffer(bytes(light), np.uint32)
    return Brightness(display, None if levels is None else (int(levels[0]), int(levels[1])))
