"""`understudy serve`: the live stream, the HTTP service and the workers behind it, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from runtime.errors import InputError
from server.logs import Style, tell
from server.wire import MAX_MESSAGE, Renderer

if TYPE_CHECKING:
    from audio.voice import Voice
    from server.api.service import Service
    from server.house import House
    from server.jobs.pool import Pool

WARM_S = 20  # what is being made ready ends by itself by then: to end in the midst of native code aborts
SWITCH_S = 0.0005  # until a thread that computes lets another go on: a picture is handed on some twenty times
GRACE_S = 5  # connections that do not end by themselves are cut after that


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    host: str = "127.0.0.1"  # who may connect: this machine only
    port: int = 8765  # 0 takes any free one
    data: Path = Path("understudy-data")  # where characters, uploads, tasks and outputs are kept
    origins: tuple[str, ...] = ()  # further pages that may connect, like https://studio.example
    log: Style = "text"
    vmc: str | None = None  # HOST:PORT that the newest session's motion goes to over OSC
    vtube_studio: bool = False  # whether it goes to VTube Studio on this machine
    virtual_camera: bool = False  # whether its pictures go to a virtual camera of this machine
    voice_command: str | None = None  # a program that says texts, instead of espeak; see audio.voice.CommandVoice
    renderer: Renderer = "warp"  # what draws where a client does not say
    weights: str | None = None  # of the diffusion renderer, as for an act; packaged ones without
    engine: str | None = None  # that runs its network, as for an act
    workers: int = 1  # tasks worked on at once; 0 only takes them
    executor: Literal["local", "ray"] = "local"  # who works on them: processes of this machine, or a cluster
    database: str | None = None  # a URL, instead of SQLite in the data folder
    tariff: Path | None = None  # prices and limits, instead of server/jobs/tariff.toml
    public_url: str | None = None  # what clients reach the server by, where a proxy stands before it
    trusted_hosts: tuple[str, ...] = ()  # hosts of our own network that inputs and webhooks may be at

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}, wanted 0 to 65535")
        if self.log not in ("text", "json"):
            raise ValueError(f"log is {self.log!r}, wanted text or json")
        if self.renderer not in get_args(Renderer):
            raise ValueError(f"renderer is {self.renderer!r}, wanted {' or '.join(get_args(Renderer))}")
        if self.workers < 0:
            raise ValueError(f"workers is {self.workers}, wanted 0 or more")
        if self.executor not in ("local", "ray"):
            raise ValueError(f"executor is {self.executor!r}, wanted local or ray")
        if self.public_url is not None and not self.public_url.startswith(("http://", "https://")):
            raise ValueError(f"public-url is {self.public_url!r}, wanted https://…")


def serve(options: ServeOptions, *, quiet: bool = False) -> None:
    """Serve until a signal; raises InputError where the address cannot be had."""
    from server.cast import Cast
    from server.house import House
    from server.painting import open_painting

    sender = None
    if options.vmc is not None:
        from server.vmc import VmcSender

        sender = VmcSender(options.vmc)
    camera = None
    if options.virtual_camera:
        from server.virtual_camera import CameraForm, CameraOut

        camera = CameraOut(CameraForm())
    painting = open_painting(options.weights, options.engine, wanted=options.renderer == "diffusion")
    listening = listen(options.host, options.port)
    try:
        options.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{options.data} cannot be made; wanted a folder for what the server keeps") from error
    tell(options.log, quiet=quiet)
    address = f"http://{options.host}:{listening.getsockname()[1]}"
    service, pool = _service(options, address, quiet)
    house = House(
        Cast(options.data), origins=frozenset(options.origins), voice=_voice(options), painting=painting,
        renderer=options.renderer,
    )  # fmt: skip
    if sender is not None:
        house.outputs.append(sender)
    if camera is not None:
        house.screens.append(camera)
    if options.vtube_studio:
        from server.vtube_studio import VTubeStudio

        studio = VTubeStudio(options.data / "vtube-studio-token")
        house.outputs.append(studio)
        house.beside.append(studio.run)
    warm = threading.Thread(target=house.warm, name="warm", daemon=True)
    warm.start()
    pool.start()
    if not quiet:
        print(f"understudy: {address}/  (Ctrl+C stops)", flush=True)
    try:
        run(house, listening, service)
    finally:
        pool.stop()
        service.close()
        warm.join(WARM_S)


def _service(options: ServeOptions, address: str, quiet: bool) -> tuple[Service, Pool]:
    from server.api.service import Service, ServiceOptions
    from server.jobs.pool import Pool, PoolOptions
    from server.jobs.store import open_store

    store = open_store(options.data, options.database, options.tariff)
    pool = PoolOptions(workers=options.workers, executor=options.executor, log=options.log, quiet=quiet)
    told = ServiceOptions(
        public_url=options.public_url, trusted_hosts=options.trusted_hosts, voice_command=options.voice_command
    )  # fmt: skip
    return Service(options.data, store, told, address), Pool(
        store, options.data, pool, options.database, options.tariff
    )


def _voice(options: ServeOptions) -> Callable[[], Voice]:
    from audio.voice import CommandVoice, EspeakVoice

    command = options.voice_command
    return EspeakVoice if command is None else lambda: CommandVoice(command)


def run(house: House, listening: socket.socket, service: Service | None = None) -> None:
    """Serve on a socket until a signal; then tell every client, and finish what they sent.

    Raises what ends a task beside it.
    """
    import uvicorn

    _few_arenas()
    sys.setswitchinterval(SWITCH_S)
    failures: list[BaseException | None] = []

    from server.app import create_app

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            self.beside = [asyncio.ensure_future(task()) for task in house.beside]
            for task in self.beside:
                task.add_done_callback(self.ended)

        def ended(self, task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                failures.append(task.exception())
                self.should_exit = True

        async def shutdown(self, sockets: Any = None) -> None:
            for task in self.beside:
                task.cancel()
            await house.drain()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        create_app(house, service), log_config=None, log_level="warning", ws="websockets-sansio", ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    Server(config).run(sockets=[listening])
    for failure in failures:
        if failure is not None and not isinstance(failure, OSError):
            raise failure


def _few_arenas() -> None:
    """Keep glibc from giving each of the many short-lived threads memory of its own that never goes back."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(ctypes.c_int(-8), ctypes.c_int(2))  # M_ARENA_MAX


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises InputError where the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # Told that it is TCP, asyncio sends each picture at once; else it waits for the word that the last has come.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)  # who connects before the application is ready waits
    except OSError as error:
        raise InputError(f"{host}:{port} cannot be listened on ({error.strerror}); wanted a free --port") from error
    return listening
