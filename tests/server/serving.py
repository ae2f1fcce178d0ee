"""A server in a process of its own, as a user would start it, or with limits small enough to be met in a test."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_WITH_LIMITS = """
import sys
from pathlib import Path
from server.cast import Cast
from server.house import House, Limits
from server.logs import tell
from server.serve import listen, run
tell("json", quiet=False)
listening = listen("127.0.0.1", 0)
print(f"http://127.0.0.1:{{listening.getsockname()[1]}}/", flush=True)
run(House(Cast(Path(sys.argv[1])), Limits({limits})), listening)
"""


@dataclass(frozen=True)
class Running:
    """A server that runs, and where."""

    at: str  # host:port
    process: subprocess.Popen[str]
    log: Path  # its stderr

    @property
    def url(self) -> str:
        return f"ws://{self.at}/v1/live"

    @property
    def held(self) -> tuple[int, int, int]:
        """File handles, threads and resident memory (MB) that it holds."""
        proc = Path(f"/proc/{self.process.pid}")
        resident = re.search(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())
        assert resident is not None
        return len(os.listdir(proc / "fd")), len(os.listdir(proc / "task")), int(resident[1]) // 1024


def apart(data: Path, folder: Path) -> Path:
    """A data folder of its own with the same characters: two servers do not share one."""
    shutil.copytree(data / "characters", folder / "apart" / "characters")
    return folder / "apart"


@contextmanager
def serving(data: Path, *, options: tuple[str, ...] = (), limits: str | None = None) -> Iterator[Running]:
    """`understudy serve` until the end of the block, by itself without workers.

    `limits`: arguments of `server.house.Limits` instead of options.
    """
    command = [
        sys.executable,
        "-m",
        "server.cli",
        "serve",
        "--port",
        "0",
        "--log",
        "json",
        "--data",
        str(data),
        "--workers",
        "0",
        *options,
    ]
    if limits is not None:
        command = [sys.executable, "-c", _WITH_LIMITS.format(limits=limits), str(data)]
    log = data / "server.log"
    with log.open("w") as stderr:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
    try:
        assert process.stdout is not None
        found = re.search(r"http://([\d.]+:\d+)/", process.stdout.readline())
        assert found is not None, log.read_text()
        yield Running(found[1], process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, 143, -signal.SIGTERM, -signal.SIGKILL), log.read_text()
        assert process.stdout is not None
        process.stdout.close()
