"""Browsers of the system, driven so that none can hold a test up: what takes too long is killed.

Chromium through Playwright; Firefox, which Playwright knows only in a build of its own, through WebDriver BiDi,
which it speaks itself.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
LIMIT_S = 300  # of one test: ten times what it takes where nothing else runs
GRACE_S = 20  # until what still does not end is interrupted again


@contextmanager
def limited(limit_s: float = LIMIT_S) -> Iterator[None]:
    """Whatever runs for longer is interrupted, after its browsers were killed; again, should it then hang in clearing
    up. A browser or its driver may wait for ever, and Playwright would with it.
    """

    def over(_signal: int, _frame: FrameType | None) -> None:
        _kill_browsers()
        raise TimeoutError(f"the browser took longer than {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, limit_s, GRACE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _kill_browsers() -> None:
    for pid in _below():
        if _command(pid).startswith(("node", "chrom", "firefox", "Web Content", "Socket Process")):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def asleep() -> Iterator[None]:
    """The pages of every browser here stand still, as on a phone that sleeps."""
    pages = [pid for pid in _below() if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert pages, "no page is open"
    for pid in pages:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pages:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _below() -> list[int]:
    """Every process that descends from this one."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])

    def is_below(pid: int) -> bool:
        above = parents.get(pid, 0)
        return above == os.getpid() or (above > 1 and is_below(above))

    return [pid for pid in parents if is_below(pid)]


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """Playwright's `Browser`, with a camera and a microphone that are always allowed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser; pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; apt-get install chromium")
    fixed = (
        "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-backgrounding-occluded-windows",
        "--disable-renderer-backgrounding", "--use-fake-device-for-media-stream",
    )  # fmt: skip
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*fixed, *arguments])
        yield browser
        with suppress(api.Error):  # it may have been killed
            browser.close()


class Chromium:
    """A Chromium for many tests, each with a context of its own; another one where it was killed."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._open = ExitStack()
        self._browser: Any = None

    def __call__(self) -> Any:
        """Playwright's `Browser`."""
        if self._browser is None or not self._is_alive():
            self.close()
            self._browser = self._open.enter_context(chromium(*self._arguments))
        return self._browser

    def _is_alive(self) -> bool:
        from playwright.sync_api import Error

        try:
            self._browser.new_context().close()
        except Error:
            return False
        return True

    def close(self) -> None:
        self._open.close()


class Page:
    """One page of a Firefox, over WebDriver BiDi (https://w3c.github.io/webdriver-bidi/)."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._n = 0
        self._ask("session.new", capabilities={})
        self._context = self._ask("browsingContext.getTree")["contexts"][0]["context"]

    def open(self, url: str) -> None:
        self._ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, a promise's when it is kept."""
        answer = self._ask(
            "script.evaluate", expression=f"(async () => JSON.stringify(await ({expression})))()", awaitPromise=True,
            target={"context": self._context}, userActivation=True,
        )  # fmt: skip
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    def wait(self, expression: str) -> None:
        """Until it is true."""
        while not self.evaluate(expression):
            time.sleep(0.1)

    def screenshot(self, path: Path) -> None:
        form = {"type": "image/jpeg", "quality": 0.8}
        shot = self._ask("browsingContext.captureScreenshot", context=self._context, origin="document", format=form)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._n += 1
        self._socket.send(json.dumps({"id": self._n, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._n:
                assert answer["type"] == "success", answer
                return answer["result"]


_PREFERENCES = {
    "media.navigator.streams.fake": True, "media.navigator.permission.disabled": True, "media.autoplay.default": 0,
    "app.normandy.enabled": False, "datareporting.policy.dataSubmissionEnabled": False,
}  # fmt: skip


@contextmanager
def firefox(profile: Path) -> Iterator[Page]:
    """A page of a Firefox whose camera, of its own making, is always allowed. `profile` is an empty folder."""
    from websockets.sync.client import connect

    if FIREFOX is None:
        pytest.skip("there is no Firefox; apt-get install firefox-esr")
    preferences = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in _PREFERENCES.items())
    (profile / "user.js").write_text("".join(preferences))
    process = subprocess.Popen(
        [FIREFOX, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", str(profile)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, "HOME": str(profile)},
    )  # fmt: skip
    assert process.stderr is not None
    with process, process.stderr as said:
        at = next(filter(None, (re.search(r"ws://\S+", line) for line in said)))
        try:
            with connect(f"{at[0]}/session", max_size=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
