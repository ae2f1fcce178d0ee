"""Pictures as they travel: JPEG and WebP to RGB and back.

Whatever comes from outside is measured before it is decoded, and what cannot be decoded is an `InputError`,
never anything else.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from server.wire import Kind, Media

Rgb = NDArray[np.uint8]  # [H, W, 3]

SMALLEST_PX, LARGEST_PX = 16, 4096  # sides of a picture that is decoded
QUALITY = 85  # of JPEG and WebP
_PIL = {Kind.JPEG: "JPEG", Kind.WEBP: "WEBP"}


def decode(media: Media) -> Rgb:
    """A JPEG or WebP as RGB [H, W, 3]; raises InputError on what is broken, too large or not supported."""
    import cv2

    if media.kind not in _PIL:
        raise InputError(f"a picture is {media.kind.name}; wanted JPEG or WebP")
    width, height = _size(media)
    if not SMALLEST_PX <= min(width, height) <= max(width, height) <= LARGEST_PX:
        raise InputError(f"a picture is {width}x{height}; wanted sides of {SMALLEST_PX} to {LARGEST_PX} px")
    try:
        rgb = cv2.imdecode(np.frombuffer(media.payload, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # its parsers read the header in their own way
        rgb = None
    if rgb is None:
        raise InputError(f"a {media.kind.name} picture is damaged; wanted a whole one")
    return np.asarray(rgb, np.uint8)


def _size(media: Media) -> tuple[int, int]:
    """Width and height, px, of which only the header is read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(media.payload), formats=[_PIL[media.kind]]) as header:
            return int(header.size[0]), int(header.size[1])
    except Exception as error:  # whatever a hostile header makes of a parser
        raise InputError(f"a {media.kind.name} picture is damaged; wanted a whole one") from error


def encode(rgb: Rgb, kind: Kind) -> bytes:
    """RGB [H, W, 3] as JPEG or WebP."""
    import cv2

    way, quality = {Kind.JPEG: (".jpg", cv2.IMWRITE_JPEG_QUALITY), Kind.WEBP: (".webp", cv2.IMWRITE_WEBP_QUALITY)}[kind]
    done, data = cv2.imencode(way, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (quality, QUALITY))
    assert done, "OpenCV could not encode a picture of its own"
    return bytes(data.tobytes())


def encode_cut_out(rgb: Rgb, opacity: NDArray[np.uint8]) -> bytes:
    """A JPEG twice as wide: on the left the picture [H, W, 3], on the right its opacity [H, W] in grey.

    JPEG knows no transparency and WebP takes 20 times as long; a page puts the halves together again.
    """
    return encode(np.concatenate((rgb, np.repeat(opacity[..., None], 3, 2)), 1), Kind.JPEG)


FAINT, SOLID = 112, 232  # opacities that become 0 and 255: a matte is never as sure of itself as a stage needs


def cut_out(rgb: Rgb, opacity: NDArray[np.uint8], behind: Rgb | None) -> tuple[Rgb, NDArray[np.uint8]]:
    """Somebody [H, W, 3] over what is `behind` them, so that they can be laid over something else.

    At their edges their own colour without what shines through, where it is known what that was; and a firm opacity.
    """
    rows, columns = np.nonzero((opacity > FAINT) & (opacity < 255))
    share = opacity[rows, columns, None].astype(np.float32) / 255
    own = rgb.copy()
    if behind is not None:
        through = behind[rows, columns] * (1 - share)
        own[rows, columns] = np.clip((rgb[rows, columns] - through) / share + 0.5, 0, 255).astype(np.uint8)
    firm = np.clip((np.arange(256) - FAINT) * (255 / (SOLID - FAINT)), 0, 255).astype(np.uint8)
    return own, firm[opacity]
