"""How fast the live stream is, measured by a client process of its own against a server process of its own.

    python -m benchmarks.live --seconds 60 --sessions 1 --fps 30 --json

Sends pictures of a performing portrait at a steady rate and prints `fps p50_ms p99_ms dropped`: pictures that
came back a second, the time from a picture's sending to its answer, and the pictures that never came.
`--soak` prints every minute what the server holds: memory, threads, file handles, and how much of a core it takes.
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
from dataclasses import asdict, dataclass
from fractions import Fraction
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np

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
    from server.wire import Kind
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


async def stream(url: str, pictures: list[bytes], seconds: float, fps: float) -> Measured:
    """One client that sends at a steady rate and reads what comes."""
    from server.client import LiveClient

    sent: dict[int, float] = {}
    delays: list[float] = []
    async with LiveClient(url) as live:

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
            await live.picture(pictures[n % len(pictures)], time_us)
            counted += n_warm > 0
            n += 1
        await asyncio.sleep(0.5)
        reader.cancel()
    got = np.array(delays[n_warm:])
    return Measured(
        fps=round(len(got) / seconds, 2), p50_ms=round(float(np.percentile(got, 50)), 2),
        p99_ms=round(float(np.percentile(got, 99)), 2), dropped=max(0, counted - len(got)),
    )  # fmt: skip


def client(url: str, pictures: list[bytes], seconds: float, fps: float, out: Queue[Measured]) -> None:
    out.put(asyncio.run(stream(url, pictures, seconds, fps)))


def measure(seconds: float, sessions: int, fps: float, soak: bool) -> list[Measured]:
    """Serve, stream, stop; what each client saw."""
    pictures = performer()
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
        ]
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )  # fmt: skip
        try:
            assert server.stdout is not None
            found = re.search(r"http://([\d.:]+)/", server.stdout.readline())
            assert found is not None, "the server did not start"
            context = multiprocessing.get_context("spawn")
            out: Queue[Measured] = context.Queue()
            url = f"ws://{found[1]}/v1/live"
            arguments = url, pictures, seconds, fps, out
            clients = [context.Process(target=client, args=arguments) for _ in range(sessions)]
            for process in clients:
                process.start()
            if soak:
                _watch(server.pid, [process.sentinel for process in clients])
            results = [out.get() for _ in clients]
            for process in clients:
                process.join()
            return results
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(15)


def _watch(pid: int, until: list[int], every_s: float = 60.0) -> None:
    """Print what a process holds, until one of some others has ended."""
    proc = Path(f"/proc/{pid}")
    ticks, at = _cpu_ticks(proc), time.monotonic()
    while not multiprocessing.connection.wait(until, timeout=every_s):
        now, then = time.monotonic(), at
        before, ticks, at = ticks, _cpu_ticks(proc), now
        held = re.search(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())
        assert held is not None
        share = (ticks - before) / os.sysconf("SC_CLK_TCK") / (now - then)
        n_threads, n_handles = len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))
        print(f"{int(held[1]) // 1024} MB  {n_threads} threads  {n_handles} handles  {share:.2f} cores", flush=True)


def _cpu_ticks(proc: Path) -> int:
    """What a process has computed so far, in clock ticks."""
    user, system = (proc / "stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--fps", type=float, default=30)
    parser.add_argument("--json", action="store_true", help="one line a session")
    parser.add_argument("--soak", action="store_true", help="print every minute what the server holds")
    args = parser.parse_args()
    for result in measure(args.seconds, args.sessions, args.fps, args.soak):
        if args.json:
            print(json.dumps(asdict(result)))
        else:
            print(f"fps {result.fps}  p50_ms {result.p50_ms}  p99_ms {result.p99_ms}  dropped {result.dropped}")


if __name__ == "__main__":
    main()
