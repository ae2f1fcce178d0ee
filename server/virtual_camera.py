"""Pictures to a virtual camera of this machine, which video calls and OBS take for a real one: RGB -> pyvirtualcam.

A thread of its own sends the newest picture, so that a camera that is slow holds up nobody who performs.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.missing import missing

log = logging.getLogger(__name__)

Rgb = NDArray[np.uint8]  # [H, W, 3]


@dataclass(frozen=True, kw_only=True)
class CameraForm:
    width: int = 1280  # px: what programs expect of a camera, whatever size the character has
    height: int = 720  # px
    fps: int = 30


class CameraOut:
    """Shows what it is given, whole and in the middle. Raises InputError where there is no virtual camera."""

    def __init__(self, form: CameraForm) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise missing("--virtual-camera", "pyvirtualcam") from error
        try:
            self._camera: Any = pyvirtualcam.Camera(width=form.width, height=form.height, fps=form.fps)
        except RuntimeError as error:
            raise InputError(
                f"no virtual camera can be opened ({' '.join(str(error).split())}); wanted OBS on Windows and macOS, "
                "on Linux the module v4l2loopback (modprobe v4l2loopback)"
            ) from error
        self._form = form
        self._ready = threading.Condition()
        self._newest: Rgb | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="virtual camera", daemon=True)
        self._thread.start()
        log.info("a virtual camera shows the newest session", extra={"device": self._camera.device})

    def __call__(self, rgb: Rgb) -> None:
        """From any thread: this is how it is now."""
        with self._ready:
            self._newest = rgb
            self._ready.notify()

    def close(self) -> None:
        with self._ready:
            self._stopped = True
            self._ready.notify()
        self._thread.join(timeout=5)
        self._camera.close()

    def _run(self) -> None:
        try:
            while True:
                with self._ready:
                    self._ready.wait_for(lambda: self._stopped or self._newest is not None)
                    if self._stopped:
                        return
                    rgb, self._newest = self._newest, None
                assert rgb is not None
                self._camera.send(fitted(rgb, self._form.width, self._form.height))
        except Exception:
            log.exception("the virtual camera failed; the stream goes on without it")


def fitted(rgb: Rgb, width: int, height: int) -> Rgb:
    """A picture [H, W, 3] as large as it can be whole in [height, width, 3], black around it."""
    import cv2

    H, W = rgb.shape[:2]
    scale = min(width / W, height / H)
    w, h = round(W * scale), round(H * scale)
    out = np.zeros((height, width, 3), np.uint8)
    x, y = (width - w) // 2, (height - h) // 2
    out[y : y + h, x : x + w] = cv2.resize(rgb, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return out
