"""Pictures as H.264 travels: access units (Annex B) to RGB and back, each at once.

A unit is of no use without the ones before it. So a reader that missed one, or met a damaged one, waits for a key
frame, and a writer is told when it must begin anew with one.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.pixels import SMPTE170M, ToRgb

Rgb = NDArray[np.uint8]  # [H, W, 3]

LARGEST_PX = 1920 * 1088  # of a picture that is decoded: a decoder holds up to seventeen of them
SMALLEST_SIDE = 16
CRF = 21  # of what is sent: as good as the JPEG that is sent otherwise, in a fifth of the bytes
MOST_BEFORE = 32  # NAL units that are looked at for a picture's first slice: whoever sends more means harm
KEY, SEQUENCE = 5, 7  # types of NAL units: an independent picture's slice; what a decoder must know before it


def is_key(unit: bytes) -> bool:
    """Whether an access unit can be decoded without those before it."""
    types = set(islice(_nal_types(unit), MOST_BEFORE))
    return KEY in types and SEQUENCE in types


def _nal_types(unit: bytes) -> Iterator[int]:
    at = unit.find(b"\x00\x00\x01")
    while 0 <= at < len(unit) - 3:
        kind = unit[at + 3] & 31
        yield kind
        if kind in (1, KEY):
            return  # slices come last
        at = unit.find(b"\x00\x00\x01", at + 3)


class H264Reader:
    """Access units of one stream -> RGB."""

    def __init__(self) -> None:
        self._codec: Any = None  # while None, a key frame is waited for
        self._to_rgb: Any = None
        self._form = (0, 0, "")  # width, height, pixel format

    @property
    def waits(self) -> bool:
        """Whether nothing but a key frame is of use."""
        return self._codec is None

    def lost(self) -> None:
        """A unit never came."""
        self._codec = None

    def __call__(self, unit: bytes) -> Rgb:
        """The picture of a unit [H, W, 3]. Raises InputError on what is damaged or too large; then it waits."""
        import av

        assert not self.waits or is_key(unit), "a unit that hangs on one that never came"
        if self._codec is None:
            self._codec = _decoder()
        try:
            frames = self._codec.decode(av.Packet(unit))
            if len(frames) == 1 and min(frames[0].width, frames[0].height) >= SMALLEST_SIDE:
                return self._rgb(frames[0])
        except av.FFmpegError as error:
            self.lost()
            raise InputError("an H264 picture is damaged, or larger than 1920x1088; wanted a whole one") from error
        self.lost()
        raise InputError("an H264 access unit holds no single picture of 16 px a side or more; wanted one")

    def _rgb(self, frame: Any) -> Rgb:
        if (frame.width, frame.height, frame.format.name) != self._form:
            self._form = frame.width, frame.height, frame.format.name
            self._to_rgb = ToRgb(frame, None)
        return np.asarray(self._to_rgb(frame), np.uint8)


def _decoder() -> Any:
    import av
    from av.codec.context import Flags

    codec: Any = av.CodecContext.create("h264", "r")
    codec.thread_count = 1
    codec.flags |= Flags.low_delay  # each picture as soon as it is there
    codec.options = {"max_pixels": str(LARGEST_PX), "err_detect": "explode"}
    return codec


class H264Writer:
    """RGB -> access units of one stream."""

    def __init__(self) -> None:
        self._codec: Any = None
        self._n = 0
        self._begins = True

    def begin_anew(self) -> None:
        """Whoever reads missed a unit: the next is a key frame."""
        self._begins = True

    def __call__(self, rgb: Rgb) -> bytes:
        """The access unit of the next picture [H, W, 3], without its last row or column where they are odd."""
        import av
        import cv2
        from av.video.frame import PictureType

        H, W = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
        if self._codec is None or (self._codec.width, self._codec.height) != (W, H):
            self._codec = _encoder(W, H)
        yuv = cv2.cvtColor(np.ascontiguousarray(rgb[:H, :W]), cv2.COLOR_RGB2YUV_I420)  # BT.601
        frame: Any = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.pts = self._n
        begins, self._begins = self._begins, False
        frame.pict_type = PictureType.I if begins else PictureType.NONE
        self._n += 1
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


def _encoder(width: int, height: int) -> Any:
    import av
    from av.video.reformatter import ColorRange

    codec: Any = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = Fraction(1, 30)  # for its rate control alone
    codec.thread_count = 1
    codec.color_primaries = codec.color_trc = codec.colorspace = SMPTE170M
    codec.color_range = int(ColorRange.MPEG)
    codec.profile = "Baseline"
    codec.options = {
        "crf": str(CRF), "preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "g": "100000",
    }  # fmt: skip
    return codec
