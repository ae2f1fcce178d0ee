"""Dub, Jobs and Keys in a real browser, under the page's own policy, against a server that works on what is sent."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runtime.writer import VideoWriter
from tests.server.api.conftest import Served
from tests.server.browsing import Chromium, limited
from tests.server.serving import serving

pytestmark = pytest.mark.slow
SHOTS = os.environ.get("UNDERSTUDY_SCREENSHOTS")  # a folder to keep pictures of the page in; docs/images has some
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    with limited():
        yield


@pytest.fixture(scope="module")
def kept() -> Iterator[Chromium]:
    found = Chromium("--use-fake-ui-for-media-stream")
    yield found
    found.close()


@pytest.fixture
def browser(kept: Chromium) -> Any:
    return kept()


@pytest.fixture(scope="module")
def portrait_file(face: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faces") / "eileen.png"
    Image.fromarray(face).save(path)
    with VideoWriter(path.with_name("eileen.mp4"), 288, 288, Fraction(25)) as writer:
        for i in range(25):
            writer.write(np.roll(face, i % 5, 1), Fraction(i, 25))
    return path


@dataclass
class Page:
    page: Any
    told: list[str] = field(default_factory=list)  # by its console

    def wait(self, condition: str, within_s: float = 60) -> None:
        """Until an expression is true; asked from outside, since the page's policy lets nobody evaluate text."""
        until = time.monotonic() + within_s
        while not self.page.evaluate(condition):
            assert time.monotonic() < until, (
                f"{condition} did not come true; the page says: {self.page.inner_text('body')}"
            )
            time.sleep(0.05)

    def says(self, tab: str, text: str, within_s: float = 60) -> None:
        self.wait(f"document.querySelector('#{tab} .said')?.textContent.includes({text!r})", within_s)

    def go(self, tab: str) -> None:
        self.page.click(f"#tabs a[href='#{tab}']")
        self.wait(f"document.querySelector('#{tab} .said') !== null && !document.getElementById('{tab}').hidden")

    def shot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=f"{SHOTS}/studio-{name}.jpg", type="jpeg", quality=80, full_page=True)


@contextmanager
def opened(browser: Any, url: str, *, forgive: str = "\0", **options: Any) -> Iterator[Page]:
    """The page; whatever its console says, refusals of its own policy among it, fails the test."""
    context = browser.new_context(**{"viewport": {"width": 1160, "height": 800}, **options})
    page = Page(context.new_page())
    page.page.on(
        "console", lambda m: page.told.extend([f"{m.text} {m.location}"] if m.type in ("error", "warning") else [])
    )
    page.page.on("pageerror", lambda error: page.told.append(str(error)))
    page.page.goto(url)
    page.page.wait_for_selector("#tabs:not([hidden])")
    try:
        yield page
        assert [said for said in page.told if forgive not in said] == []
    finally:
        context.close()


def test_a_picture_is_dubbed_played_and_taken_home(
    browser: Any, working: Served, portrait_file: Path, tmp_path: Path
) -> None:
    with opened(browser, working.url) as page:
        page.go("dub")
        page.shot("dub-begin")
        page.page.click("#dub button[type=submit]")
        page.says("dub", "Choose a clip or a picture")
        page.page.set_input_files("#dub-source", portrait_file)
        page.page.check("input[name=said][value=text]")
        page.page.fill("#dub-text", "Good evening.")
        page.page.click("#dub button[type=submit]")
        page.says("dub", "Working")
        page.shot("dub-working")
        page.says("dub", "Done", 120)
        page.wait("document.querySelector('#dub .result video').readyState >= 2")
        page.shot("dub-done")
        with page.page.expect_download() as download:
            page.page.click("#dub .result a")
        download.value.save_as(tmp_path / "dub.mp4")
        assert download.value.suggested_filename.endswith(".mp4")
        page.go("jobs")
        page.says("jobs", "All are over")
        page.page.click("#jobs li:first-child button")
        page.wait("document.querySelector('#jobs video').readyState >= 2")
        page.shot("jobs-played")
    with av.open(str(tmp_path / "dub.mp4")) as film:
        assert film.streams.video[0].width == 288
        assert len(list(film.decode(audio=0))) > 10


def test_what_cannot_be_dubbed_is_told_in_words(browser: Any, working: Served, files: Path) -> None:
    with opened(browser, working.url, forgive="400") as page:
        page.go("dub")
        page.page.set_input_files(
            "#dub-source", {"name": "notes.mp4", "mimeType": "video/mp4", "buffer": b"not a film"}
        )
        page.page.set_input_files("#dub-speech", files / "sound.wav")
        page.page.click("#dub button[type=submit]")
        page.says("dub", "notes.mp4 holds text; wanted a picture, video or sound.")
        page.shot("dub-refused")
        page.page.set_input_files("#dub-source", files / "clip.mp4")
        page.page.click("#dub button[type=submit]")
        page.says("dub", "shows no face", 120)
        page.says("dub", "dub again")


def test_jobs_move_as_they_are_worked_on_and_can_be_cancelled_tried_again_and_deleted(
    browser: Any, served: Served, files: Path
) -> None:
    clip = served.upload(files / "clip.mp4")
    body = {"reference": {"type": "video", "uri": clip}, "format": "csv"}
    with opened(browser, served.url) as page:
        page.go("jobs")
        page.says("jobs", "Nothing was ordered yet")
        page.shot("jobs-none")
        first = served.ask("POST", "/v1/capture", body).json()["id"]
        page.says("jobs", "1 of 1 not over")
        claim = served.begin(0.42)
        page.wait("document.querySelector('#jobs .state').textContent === 'Working, 42 %'")
        page.shot("jobs-working")
        served.store.hand_back(claim)
        page.wait("document.querySelector('#jobs .state').textContent === 'Waiting'")
        page.page.click("#jobs li button >> text=Cancel")
        page.wait("document.querySelector('#jobs .state').textContent === 'Cancelled'")
        page.page.click("#jobs li button >> text=Retry")
        page.wait("document.querySelectorAll('#jobs li').length === 2")
        assert served.work(".csv") != first
        page.wait("document.querySelector('#jobs li .state').textContent === 'Done'")
        assert page.page.locator("#jobs li:first-child a").get_attribute("download").endswith(".csv")
        page.page.click("#jobs li:last-child button >> text=Delete")
        page.wait("document.querySelectorAll('#jobs li').length === 1")
        page.page.click("#jobs li button >> text=Delete")
        page.says("jobs", "Nothing was ordered yet")


def test_a_key_is_made_shown_once_used_and_revoked(
    browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:  # fmt: skip
    with serving(tmp_path_factory.mktemp("keyed")) as running:
        url = f"http://{running.at}"
        with opened(browser, url, forgive="401", permissions=["clipboard-read", "clipboard-write"]) as page:
            page.go("keys")
            page.says("keys", "No key has been made")
            page.page.fill("#key-owner", "alice")
            page.page.press("#key-owner", "Enter")
            page.says("keys", "Your key is good: tier studio, 10000 credits left")
            page.page.click("#keys .made button >> text=Copy")
            secret = page.page.evaluate("navigator.clipboard.readText()")
            assert secret.startswith("key_")
            page.shot("keys-made")
            page.page.click("#keys .made button >> text=I have it")
            assert secret not in page.page.content()
            page.go("jobs")
            page.says("jobs", "Nothing was ordered yet")
            with opened(browser, f"{url}/#jobs", forgive="401") as stranger:
                stranger.says("jobs", "This server wants a key. Enter one under Keys")
                stranger.shot("jobs-locked")
                stranger.go("keys")
                stranger.says("keys", "This server wants a key")
                stranger.page.fill("#own-key", secret)
                stranger.page.press("#own-key", "Enter")
                stranger.says("keys", "Your key is good")
                stranger.go("jobs")
                stranger.says("jobs", "Nothing was ordered yet")
            page.go("keys")
            page.page.click("#keys li button")
            page.page.click("#keys li button >> text=Revoke for good")
            page.says("keys", "revoked")
            page.shot("keys-revoked")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_fits_a_phone_in_the_light_and_in_the_dark(browser: Any, working: Served, scheme: str) -> None:
    with opened(browser, working.url, color_scheme=scheme, **PHONE) as page:
        for tab in ("dub", "jobs", "keys"):
            page.go(tab)
            page.page.wait_for_timeout(300)
            page.shot(f"{tab}-phone-{scheme}")
            assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ground = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) > 384) == (scheme == "light")
        page.page.goto(f"{working.url}/docs")
        page.page.wait_for_selector("details")
        page.page.click("details:has-text('/v1/lip_sync') summary")
        page.shot(f"docs-phone-{scheme}")
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_live_page_works_under_its_own_policy(browser: Any, served: Served) -> None:
    """Sockets, a worklet and a recording that is a blob: what the policy has to let pass."""
    with opened(browser, served.url, permissions=["camera", "microphone"]) as page:
        page.page.wait_for_selector(".cast input")
        page.page.select_option("#driver", "microphone")
        page.page.click("#start")
        page.wait("document.getElementById('status').textContent.startsWith('Live.')")
        page.wait("Number(document.getElementById('character').dataset.time) > 0")
        page.page.click("#record")
        page.page.wait_for_timeout(1500)
        page.page.click("#record")
        page.wait("document.querySelector('#takes video')?.readyState >= 2")
        page.page.select_option("#view", "zoom:1.3")
        page.page.reload()  # the browser asks whether the take is to be lost; then the page is as it was
        page.page.wait_for_selector(".cast input")
        assert page.page.input_value("#view") == "zoom:1.3"
        page.page.click("#start")
        page.wait("document.getElementById('status').textContent.startsWith('Live.')")
        page.go("dub")
        page.page.click("#tabs a[href='#live']")
        page.wait("!document.getElementById('live').hidden")
        page.page.click("#start")
        page.wait("document.getElementById('status').textContent.startsWith('Stopped')")


def test_all_of_a_dub_can_be_done_by_keyboard(browser: Any, working: Served, portrait_file: Path) -> None:
    with opened(browser, working.url) as page:
        page.page.keyboard.press("Tab")
        page.page.keyboard.press("Tab")
        assert page.page.evaluate("document.activeElement.textContent") == "Dub"
        page.page.keyboard.press("Enter")
        page.says("dub", "Choose who is to speak")
        seen = []
        for _ in range(14):
            page.page.keyboard.press("Tab")
            seen.append(page.page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        for wanted in ("dub-source", "dub-speech", "dub-transcript", "dub-face", "dub-length", "Dub"):
            assert wanted in seen
        page.page.focus("#dub-transcript")
        page.page.keyboard.type("mnr")  # keys that mean something on the live page
        assert page.page.input_value("#dub-transcript") == "mnr"
        assert not page.page.is_checked("#mirror")
