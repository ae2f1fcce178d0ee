from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import InputError
from server.virtual_camera import CameraForm, CameraOut, fitted

Rgb = NDArray[np.uint8]


class FakeCamera:
    """What pyvirtualcam has for a camera: RGB of one size, or a RuntimeError where the system has none."""

    there: ClassVar[bool] = True
    device = "/dev/video9"

    def __init__(self, *, width: int, height: int, fps: float) -> None:
        if not FakeCamera.there:
            raise RuntimeError("'v4l2loopback' backend: No v4l2 loopback\ndevices found")
        self.shape = (height, width, 3)
        self.sent = threading.Event()
        self.closed = False
        FakeCamera.last = self

    last: ClassVar[FakeCamera]

    def send(self, frame: Rgb) -> None:
        if frame.shape != self.shape or frame.dtype != np.uint8:
            raise ValueError(f"unexpected frame size: {frame.shape} != {self.shape}")
        self.frame = frame
        self.sent.set()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pyvirtualcam")
    module.Camera = FakeCamera  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    monkeypatch.setattr(FakeCamera, "there", True)


@pytest.mark.usefixtures("there")
def test_the_camera_shows_the_newest_picture_whole_and_in_the_middle() -> None:
    out = CameraOut(CameraForm(width=64, height=36))
    out(np.full((50, 50, 3), 200, np.uint8))
    assert FakeCamera.last.sent.wait(10)
    out.close()
    frame = FakeCamera.last.frame
    assert (frame[:, 14:50] == 200).all()
    assert (frame[:, :14] == 0).all()
    assert (frame[:, 50:] == 0).all()
    assert FakeCamera.last.closed


def test_a_picture_of_any_shape_fits() -> None:
    for shape in ((100, 20), (20, 100), (720, 1280), (1, 1)):
        assert fitted(np.full((*shape, 3), 9, np.uint8), 64, 36).max() == 9


@pytest.mark.usefixtures("there")
def test_a_system_without_a_virtual_camera_is_told_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCamera, "there", False)
    with pytest.raises(InputError, match=r"No v4l2 loopback devices found\); wanted OBS .*modprobe v4l2loopback"):
        CameraOut(CameraForm())


def test_without_its_package_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(InputError, match="wanted pip install pyvirtualcam"):
        CameraOut(CameraForm())


@pytest.mark.usefixtures("there")
def test_a_camera_that_fails_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    out = CameraOut(CameraForm(width=64, height=36))
    FakeCamera.last.shape = (1, 1, 3)
    out(np.zeros((50, 50, 3), np.uint8))
    out._thread.join(10)
    out(np.zeros((50, 50, 3), np.uint8))
    out.close()
    assert "the stream goes on without it" in caplog.text
