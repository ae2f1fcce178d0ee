"""`understudy live`: a camera of this machine performs, and the character is shown where a browser or OBS looks.

The server of `understudy serve` and, beside it, a client of it: the same wire as anybody's.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.foreign import seems
from server.wire import Renderer

if TYPE_CHECKING:
    from server.cast import Cast

SESSION = "live"


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    character: str  # a picture, a saved .character, or astronaut, the demo's
    camera: str = "0"  # number of a camera, or a video that plays over and over
    port: int = 8765  # 0 takes any free one
    intensity: float = 3.0  # 1 to 5; 3 is as acted
    mirror: bool = False
    renderer: Renderer = "warp"  # what draws the character
    weights: str | None = None  # of the diffusion renderer, as for an act; packaged ones without
    engine: str | None = None  # that runs its network, as for an act
    vmc: str | None = None  # HOST:PORT that the captured motion goes to
    virtual_camera: bool = False  # whether the character goes to a virtual camera of this machine

    def __post_init__(self) -> None:
        if not 1 <= self.intensity <= 5:
            raise ValueError(f"intensity is {self.intensity:g}, wanted 1 to 5")
        if self.renderer not in get_args(Renderer):
            raise ValueError(f"renderer is {self.renderer!r}, wanted {' or '.join(get_args(Renderer))}")
        if self.renderer != "diffusion" and (self.weights is not None or self.engine is not None):
            raise ValueError(f"--weights and --engine are not for the {self.renderer}; wanted --renderer diffusion")


class Camera:
    """Pictures of a camera by its number, or of a video by its path at its own pace, over and over."""

    def __init__(self, wanted: str) -> None:
        """Raises InputError where there is none."""
        import cv2

        self._wanted = wanted
        self._is_file = not wanted.isdecimal()
        if self._is_file and not Path(wanted).is_file():
            raise InputError(f"--camera is {wanted}, which is no file; wanted the number of a camera, or a video")
        usual = cv2.setLogLevel(0)  # what OpenCV says of a camera that is not there is said below in words
        self._capture = cv2.VideoCapture(wanted if self._is_file else int(wanted))
        cv2.setLogLevel(usual)
        if self._is_file and not self._capture.isOpened():
            raise InputError(f"--camera is {wanted}, which {seems(Path(wanted)) or 'cannot be played'}; wanted a video")
        if not self._capture.isOpened():
            raise InputError(f"camera {wanted} cannot be opened; wanted one that is there and that nobody else uses")
        self._step_s = 1 / (self._capture.get(cv2.CAP_PROP_FPS) or 30) if self._is_file else 0.0
        self._due = time.monotonic()

    def read(self) -> NDArray[np.uint8]:
        """The next picture [H, W, 3], when it is time for it. Raises InputError when no more come."""
        import cv2

        time.sleep(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due + self._step_s, time.monotonic() - self._step_s)
        there, bgr = self._capture.read()
        if not there and self._is_file:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            there, bgr = self._capture.read()
        if not there:
            raise InputError(f"camera {self._wanted} sends no more pictures; wanted one that goes on")
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)

    def close(self) -> None:
        self._capture.release()


def live(options: LiveOptions, *, quiet: bool = False) -> None:
    """Perform until a signal. Raises InputError for a picture, camera or port that cannot be had."""
    from server.cast import Cast
    from server.house import House
    from server.logs import tell
    from server.painting import open_painting
    from server.serve import listen, run

    camera = Camera(options.camera)
    painting = open_painting(options.weights, options.engine, wanted=True) if options.renderer == "diffusion" else None
    listening = listen("127.0.0.1", options.port)
    at = f"127.0.0.1:{listening.getsockname()[1]}"
    tell("text", quiet=quiet)
    with tempfile.TemporaryDirectory() as folder:
        cast = Cast(Path(folder))
        name = _cast(cast, options.character)
        house = House(cast, painting=painting, renderer=options.renderer)
        if options.vmc is not None:
            from server.vmc import VmcSender

            house.outputs.append(VmcSender(options.vmc))
        if options.virtual_camera:
            from server.virtual_camera import CameraForm, CameraOut

            house.screens.append(CameraOut(CameraForm()))
        house.beside.append(lambda: _perform(f"ws://{at}/v1/live", name, camera, options))
        if not quiet:
            print(f"understudy: http://{at}/stage.html?session={SESSION}  (Ctrl+C stops)", flush=True)
        try:
            run(house, listening)
        finally:
            camera.close()


def _cast(cast: Cast, wanted: str) -> str:
    """Put a character in; its name. Raises InputError where it is none."""
    path = Path(wanted)
    if not path.exists() and wanted in cast.names():  # an empty cast has the demo's
        return wanted
    return cast.add(path, path.name)


async def _perform(url: str, name: str, camera: Camera, options: LiveOptions) -> None:
    """Send what the camera sees; what comes back is for those who look on."""
    from server.client import LiveClient
    from server.pictures import encode
    from server.wire import Kind

    async def discard(client: LiveClient) -> None:
        while True:
            await client.receive()

    async with LiveClient(url, character=name, session=SESSION) as client:
        await client.ask("intensity", options.intensity)
        await client.ask("mirror", options.mirror)
        reader: asyncio.Task[Any] = asyncio.ensure_future(discard(client))
        try:
            while not reader.done():
                await client.picture(await asyncio.to_thread(lambda: encode(camera.read(), Kind.JPEG)))
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reader
