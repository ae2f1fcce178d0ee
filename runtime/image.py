"""Pictures in and out: anything Pillow reads becomes upright sRGB, 8 bits, `[H, W, 3]`.

What the file says about itself is obeyed: EXIF turn, colour profile, palette, alpha, 16 bits. The
suffix is not believed, the contents are. Only the first picture of an animation is read.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from runtime.errors import InputError
from runtime.foreign import seems
from runtime.output import whole_file

MAX_PIXELS = 178_000_000  # 8192 x 8192 and every camera in use; above it Pillow itself refuses
MIN_SIDE_PX = 16
MATTE = 128  # grey that shows where a picture is transparent

_WRITTEN = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}


@dataclass(frozen=True)
class Picture:
    """A still picture, upright, sRGB. Where `alpha` is 0, `rgb` holds whatever the file hides there."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    alpha: NDArray[np.uint8] | None = None  # [H, W], 0 clear to 255 solid; None if the file has none

    @property
    def flat(self) -> NDArray[np.uint8]:
        """`[H, W, 3]` laid over mid-grey."""
        return self.rgb if self.alpha is None else flatten(self.rgb, self.alpha)


def flatten(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`rgb [H, W, 3]` over mid-grey, weighted by `alpha [H, W]`."""
    a = alpha[..., None].astype(np.uint16)
    return ((rgb * a + MATTE * (255 - a) + 127) // 255).astype(np.uint8)


def load_image(path: str | Path) -> NDArray[np.uint8]:
    """`[H, W, 3]` sRGB, upright, transparent parts over mid-grey; raises InputError."""
    return load_rgba(path).flat


def load_rgba(path: str | Path) -> Picture:
    """The picture with its alpha, if it has one; raises InputError."""
    path = Path(path)
    with _open(path) as image:
        try:
            return _to_picture(image)
        except Image.DecompressionBombError as error:
            raise InputError(f"{path} is too large; wanted at most {MAX_PIXELS} pixels") from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise InputError(f"{path} is a damaged {image.format} picture ({error}); wanted a whole one") from error


def save_image(path: str | Path, rgb: NDArray[np.uint8], *, force: bool = False) -> None:
    """Write `[H, W, 3]` or `[H, W, 4]` by the suffix; the file appears only when whole."""
    path = Path(path)
    kind = _WRITTEN.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path} has the suffix {path.suffix or '(none)'}; wanted one of {', '.join(_WRITTEN)}")
    if kind == "JPEG" and rgb.shape[2] == 4:
        rgb = flatten(rgb[..., :3], rgb[..., 3])
    image = Image.fromarray(np.ascontiguousarray(rgb))
    with whole_file(path, force) as partial:
        if kind == "JPEG":
            image.save(partial, kind, quality=95, subsampling=0)
        elif kind == "WEBP":
            image.save(partial, kind, quality=95)
        elif kind == "PNG":
            image.save(partial, kind, compress_level=3)
        else:
            image.save(partial, kind)


def _open(path: Path) -> Image.Image:
    if path.is_dir():
        raise InputError(f"{path} is a folder; wanted a picture")
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted a picture")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; wanted a picture")
    with warnings.catch_warnings():
        # Pillow's own limit is lower than what cameras make; ours follows
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(path)
        except UnidentifiedImageError as error:
            raise InputError(f"{path} {_what(path)}; wanted a picture") from error
        except Image.DecompressionBombError as error:
            raise InputError(f"{path} is too large; wanted at most {MAX_PIXELS} pixels") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise InputError(f"{path} is {width} x {height} px; wanted at most {MAX_PIXELS} pixels")
    if min(width, height) < MIN_SIDE_PX:
        image.close()
        raise InputError(f"{path} is {width} x {height} px; wanted at least {MIN_SIDE_PX} px a side")
    return image


def _what(path: Path) -> str:
    """What is said of a file that is no picture."""
    import av

    found = seems(path)
    if found is not None:
        return found
    try:
        with av.open(str(path)) as container:
            if any(s.width for s in container.streams.video):
                return "holds a video"
            if container.streams.audio:
                return "holds sound only"
    except (av.FFmpegError, OSError, ValueError):
        pass
    return "holds nothing that can be read"


def _to_picture(image: Image.Image) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image.seek(0)
        profile = image.info.get("icc_profile")
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        image = _to_8_bits(image)
    alpha = None
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        band = np.asarray(image.getchannel("A"))
        alpha = band.copy() if int(band.min()) < 255 else None
        image = image.convert("RGB")
    rgb = _to_srgb(image, profile)
    return Picture(np.array(rgb, dtype=np.uint8), alpha)


def _to_8_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float32)
    top = 1.0 if image.mode == "F" and float(values.max()) <= 1.0 else 65535.0
    if image.mode in ("I", "F") and 1.0 < float(values.max()) <= 255.0:
        top = 255.0
    return Image.fromarray((np.clip(values / top, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Through the file's own colour profile if it carries one that works, plainly otherwise."""
    if image.mode in ("P", "1", "PA", "HSV"):
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L", "LAB"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            turned = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if turned is not None:
                return turned
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile, or one for another colour model: as if it had none
    return image if image.mode == "RGB" else image.convert("RGB")
