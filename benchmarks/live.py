"""How fast the live stream is, measured by a client process of its own against a server process of its own.

    python -m benchmarks.live --seconds 60 --sessions 1 --fps 30 --json

Sends pictures of a performing portrait at a steady rate and prints `fps p50_ms p99_ms dropped`: pictures that
came back a second, the time from a picture's sending to its answer, and the pictures that never came.
`--soak` prints every minute what the server holds: memory, threads, file handles, and how much of a core it takes.
`--h264` sends and asks for H.264 instead of JPEG. `--weights RUN` lets the diffusion renderer draw. `--connects N` does something else: it connects and disconnects N
times, four at once, every fourth performing, and prints what the server holds before and after.

    python -m benchmarks.live --seconds 1800 --sessions 2 --fps 24 --soak
    python -m benchmarks.live --connects 500
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np

from server.wire import Kind, Media

SIDE_PX = 512
WARM_S = 3.0  # not counted: networks load and the neutral is learned


@dataclass(frozen=True)
class Measured:
    """What one client saw."""

    fps: float
    p50_ms: float
    p99_ms: float
    dropped: int


def performer(n: int = 300) -> list[bytes]:
    """JPEG pictures of the demo's portrait performing, at 30 a second."""
    from perfcap.expression import template
    from perfcap.face import MediaPipeFaces
    from perfcap.written import CAMERA, demonstration
    from runtime.records import Cue
    from server.demo import ASTRONAUT
    from server.pictures import encode
    from synth.retarget import Retarget, RetargetOptions
    from synth.rig import rig
    from synth.warp import WarpRenderer

    rgb = ASTRONAUT.load()
    character = rig(rgb, MediaPipeFaces(still=True).find(rgb)[0], template())
    script = demonstration()
    motions = [script(Fraction(i, 30)) for i in range(n)]
    assert CAMERA.width == SIDE_PX
    retarget = Retarget(character, template(), motions[:1], RetargetOptions())
    renderer = WarpRenderer(character)
    return [encode(np.asarray(renderer.render(Cue(time=m.time, motion=retarget(m))).rgb), Kind.JPEG) for m in motions]


async def stream(url: str, pictures: list[bytes], kind: Kind, seconds: float, fps: float) -> Measured:
    """One client that sends at a steady rate and reads what comes."""
    from server.client import LiveClient

    sent: dict[int, float] = {}
    delays: list[float] = []
    async with LiveClient(url, reply=kind) as live:

        async def read() -> None:
            while True:
                media = await live.receive()
                delays.append((time.perf_counter() - sent[media.time_us]) * 1e3)

        reader = asyncio.create_task(read())
        begun = time.perf_counter()
        n_warm, n, warm_until = 0, 0, begun + WARM_S
        counted = 0
        while (now := time.perf_counter()) < warm_until + seconds:
            due = begun + n / fps
            if due > now:
                await asyncio.sleep(due - now)
            if not n_warm and time.perf_counter() >= warm_until:
                n_warm = len(delays)
            time_us = round(n * 1e6 / fps)
            sent[time_us] = time.perf_counter()
            await live.picture(pictures[n % len(pictures)], time_us, kind)
            counted += n_warm > 0
            n += 1
        await asyncio.sleep(0.5)
        reader.cancel()
    got = np.array(delays[n_warm:])
    return Measured(
        fps=round(len(got) / seconds, 2), p50_ms=round(float(np.percentile(got, 50)), 2),
        p99_ms=round(float(np.percentile(got, 99)), 2), dropped=max(0, counted - len(got)),
    )  # fmt: skip


def in_units(pictures: list[bytes]) -> list[bytes]:
    """JPEG pictures as access units, which may be sent over and over: the first is a key frame."""
    from server.h264 import H264Writer
    from server.pictures import decode

    writer = H264Writer()
    return [writer(decode(Media(Kind.JPEG, 0, picture))) for picture in pictures]


def client(url: str, pictures: list[bytes], kind: Kind, seconds: float, fps: float, out: Queue[Measured]) -> None:
    out.put(asyncio.run(stream(url, pictures, kind, seconds, fps)))


@contextmanager
def served(weights: str | None = None) -> Iterator[tuple[str, int]]:
    """A server in a process of its own, painting where it has weights: where its stream is, and its process id."""
    with tempfile.TemporaryDirectory() as data:
        command = [
            sys.executable,
            "-m",
            "server.cli",
            "serve",
            "--port",
            "0",
            "--workers",
            "0",
            "--data",
            str(Path(data)),
            *(() if weights is None else ("--renderer", "diffusion", "--weights", weights)),
        ]
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )  # fmt: skip
        try:
            assert server.stdout is not None
            found = re.search(r"http://([\d.:]+)/", server.stdout.readline())
            assert found is not None, "the server did not start"
            yield f"ws://{found[1]}/v1/live", server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(15)


def measure(
    seconds: float, sessions: int, fps: float, kind: Kind, soak: bool, weights: str | None = None
) -> list[Measured]:
    """Serve, stream, stop; what each client saw."""
    pictures = performer() if kind is Kind.JPEG else in_units(performer())
    with served(weights) as (url, pid):
        context = multiprocessing.get_context("spawn")
        out: Queue[Measured] = context.Queue()
        clients = [
            context.Process(target=client, args=(url, pictures, kind, seconds, fps, out)) for _ in range(sessions)
        ]
        for process in clients:
            process.start()
        if soak:
            _watch(pid, [c.sentinel for c in clients])
        results = [out.get() for _ in clients]
        for process in clients:
            process.join()
        return results


async def connect(url: str, n: int, picture: bytes) -> None:
    """Connect and disconnect n times, four at once, every fourth performing."""
    from server.client import LiveClient

    async def once(performs: bool) -> None:
        async with LiveClient(url) as live:
            if performs:
                await live.picture(picture)
                await live.receive()

    for i in range(0, n, 4):
        await asyncio.gather(*(once(j == 0) for j in range(min(4, n - i))))


def connects(n: int) -> None:
    """Print what a server holds before and after n connections; a few come first, for all that loads once."""
    (picture,) = performer(1)
    with served() as (url, pid):
        asyncio.run(connect(url, 40, picture))
        print(f"before   {_held(pid)}", flush=True)
        asyncio.run(connect(url, n, picture))
        time.sleep(1)
        print(f"after {n}   {_held(pid)}")


def _held(pid: int) -> str:
    """What a process holds."""
    proc = Path(f"/proc/{pid}")
    found = re.search(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())
    assert found is not None
    n_threads, n_handles = len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))
    return f"{int(found[1]) // 1024} MB  {n_threads} threads  {n_handles} handles"


def _watch(pid: int, until: list[int], every_s: float = 60.0) -> None:
    """Print what a process holds, until one of some others has ended."""
    ticks, at = _cpu_ticks(pid), time.monotonic()
    while not multiprocessing.connection.wait(until, timeout=every_s):
        now, then = time.monotonic(), at
        before, ticks, at = ticks, _cpu_ticks(pid), now
        share = (ticks - before) / os.sysconf("SC_CLK_TCK") / (now - then)
        print(f"{_held(pid)}  {share:.2f} cores", flush=True)


def _cpu_ticks(pid: int) -> int:
    """What a process has computed so far, in clock ticks."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--fps", type=float, default=30)
    parser.add_argument("--json", action="store_true", help="one line a session")
    parser.add_argument("--soak", action="store_true", help="print every minute what the server holds")
    parser.add_argument("--h264", action="store_true", help="H.264 both ways instead of JPEG")
    parser.add_argument("--weights", help="of the diffusion renderer, which draws then: a folder, base or turbo")
    parser.add_argument("--connects", type=int, metavar="N", help="connect and disconnect so often instead")
    args = parser.parse_args()
    if args.connects:
        return connects(args.connects)
    kind = Kind.H264 if args.h264 else Kind.JPEG
    for result in measure(args.seconds, args.sessions, args.fps, kind, args.soak, args.weights):
        if args.json:
            print(json.dumps(asdict(result)))
        else:
            print(f"fps {result.fps}  p50_ms {result.p50_ms}  p99_ms {result.p99_ms}  dropped {result.dropped}")
    return None


if __name__ == "__main__":
    main()
