"""How late the character is on the screen, as the studio page itself measures it, in a Chromium on the same machine.

    python -m benchmarks.studio --seconds 30 --json

The browser's camera is a film of the demo's portrait. Prints `fps p50_ms p99_ms server_ms dropped`: pictures shown in the
last second, from a picture's capture to its showing (p50 and p99 of the last 300), the server's share of that (p50),
and pictures that were not performed. `--jpeg` keeps the page from H.264.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.live import performer, served

WITHOUT_H264 = "delete window.VideoEncoder; delete window.VideoDecoder;"


def measure(seconds: float, jpeg: bool) -> dict[str, float]:
    """Serve, open the page, perform, and read its meters."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    assert found is not None, "there is no Chromium; apt-get install chromium"
    with tempfile.TemporaryDirectory() as folder, served() as (url, _), sync_playwright() as playwright:
        film = Path(folder) / "camera.mjpeg"
        film.write_bytes(b"".join(performer()))
        browser = playwright.chromium.launch(executable_path=found, args=[
            "--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={film}",
        ])  # fmt: skip
        page = browser.new_page(bypass_csp=True)
        if jpeg:
            page.add_init_script(WITHOUT_H264)
        page.goto(url.replace("ws:", "http:").removesuffix("v1/live"))
        page.wait_for_selector(".cast input", timeout=60_000)
        page.click("#start")
        page.wait_for_function("document.getElementById('character').dataset.time", polling=100, timeout=60_000)
        time.sleep(seconds)
        shown = {name: _number(page, name) for name in ("fps", "delay", "delay-worst", "server", "dropped")}
        browser.close()
    names = ("fps", "p50_ms", "p99_ms", "server_ms", "dropped")
    return dict(zip(names, shown.values(), strict=True))


def _number(page: Any, id_: str) -> float:
    text = page.inner_text(f"#{id_}")
    numbers = re.findall(r"\d+", text)
    assert numbers, f"the page shows {text!r} for {id_}"
    return float(numbers[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--jpeg", action="store_true", help="JPEG both ways instead of H.264")
    parser.add_argument("--json", action="store_true", help="one line")
    args = parser.parse_args()
    result = measure(args.seconds, args.jpeg)
    print(json.dumps(result) if args.json else "  ".join(f"{k} {v:g}" for k, v in result.items()))


if __name__ == "__main__":
    main()
