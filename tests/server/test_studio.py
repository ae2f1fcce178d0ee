"""The studio page in a real browser, with a camera and a microphone that are files."""

from __future__ import annotations

import base64
import os
import signal
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from audio.speech import read_speech, whole
from perfcap.expression import template
from perfcap.face import MediaPipeFaces
from perfcap.written import Script
from runtime.records import SAMPLE_RATE, Cue
from server.demo import ADMIRAL, ASTRONAUT
from server.pictures import encode
from server.wire import Kind
from synth.retarget import Retarget, RetargetOptions
from synth.rig import rig
from synth.warp import WarpRenderer
from tests.server.browsing import Chromium, asleep, firefox, limited
from tests.server.serving import Running, apart, serving

Rgb = NDArray[np.uint8]
pytestmark = pytest.mark.slow
SPEAKER = Path(__file__).parents[3] / "shared" / "clips" / "talk" / "vr4_30fps.mp4"
SHOTS = os.environ.get("UNDERSTUDY_SCREENSHOTS")  # a folder to keep pictures of the page in; docs/images has some

# What the page sends is kept by its capture time, so that what the canvas shows can be compared with it: as it goes
# into the encoder, where `keeps` is set, since a unit of H.264 is no picture by itself.
# `dropped` cuts the connection as a network does: without a word of goodbye that the page could hear.
KEEP_SENT = """
  window.sent = new Map();
  window.kinds = new Set();
  const keep = (time, bytes) => {
    window.sent.set(time, bytes);
    if (window.sent.size > 300) window.sent.delete(window.sent.keys().next().value);
  };
  const close = WebSocket.prototype.close;
  window.dropped = () => close.call(window.last, 4000);
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (message) {
    window.last = this;
    if (message instanceof Uint8Array) {
      window.kinds.add(message[0]);
      if (message[0] === 1) keep(String(new DataView(message.buffer).getBigInt64(1)), message.slice(9));
    }
    return send.call(this, message);
  };
  if (window.VideoEncoder) {
    const encode = VideoEncoder.prototype.encode;
    VideoEncoder.prototype.encode = function (frame, options) {
      if (window.keeps) {
        const canvas = new OffscreenCanvas(frame.displayWidth, frame.displayHeight), time = String(frame.timestamp);
        canvas.getContext("2d").drawImage(frame, 0, 0);
        canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 }).then((blob) => blob.arrayBuffer()).then((bytes) => keep(time, new Uint8Array(bytes)));
      }
      return encode.call(this, frame, options);
    };
  }
"""
# What a browser does to a page that nobody looks at: its videos tell of no more pictures.
AWAY = """() => {
  HTMLVideoElement.prototype.requestVideoFrameCallback = () => 0;
  Object.defineProperty(document, "hidden", { get: () => true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
DROP = """async ([name, base64]) => {
  const dropped = new DataTransfer(), bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  dropped.items.add(new File([bytes], name));
  for (const kind of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""
# Pairs of what was sent and what the canvas showed of it, with the time of showing, for some time.
SAMPLE = """async (ms) => {
  const canvas = document.getElementById("character"), small = document.createElement("canvas"), out = [], begun = performance.now();
  Object.assign(small, { width: 256, height: Math.round(256 * canvas.height / canvas.width) });
  const base64 = (bytes) => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
  let last = canvas.dataset.time;
  while (performance.now() < begun + ms) {
    await new Promise((done) => setTimeout(done, 80));
    if (canvas.dataset.time === last || !window.sent.has(canvas.dataset.time)) continue;
    last = canvas.dataset.time;
    small.getContext("2d").drawImage(canvas, 0, 0, small.width, small.height);
    out.push([performance.now(), base64(window.sent.get(last)), small.toDataURL("image/jpeg", 0.85).split(",")[1]]);
  }
  return out;
}"""


SHOWN = "document.getElementById('character').toDataURL('image/jpeg', 0.85).split(',')[1]"


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film for a fake camera, and beside it sound for a fake microphone: of somebody who speaks, where there is such
    a clip; else, and where pictures of the page are kept, of a portrait.
    """
    film = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    if SPEAKER.exists() and not SHOTS:
        shots, pcm = _filmed(), whole(read_speech(SPEAKER))
    else:
        shots, pcm = _made(), np.float32(0.28) * np.sin(2 * np.pi * 440 * np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE)
    film.write_bytes(b"".join(encode(shot, Kind.JPEG) for shot in shots))
    with wave.open(str(film.with_name("microphone.wav")), "wb") as sound:
        sound.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        sound.writeframes((32_000 * pcm).astype("<i2").tobytes())
    return film


def _filmed() -> Iterator[Rgb]:
    with av.open(str(SPEAKER)) as media:
        for frame in media.decode(video=0):
            yield np.asarray(frame.to_ndarray(width=512, height=512, format="rgb24"), np.uint8)


def _made() -> Iterator[Rgb]:
    """Seven seconds of a portrait that opens and shuts its mouth, turns and smiles."""
    pytest.importorskip("skimage", reason="scikit-image brings the face; pip install scikit-image")
    rgb = ASTRONAUT.load()
    character = rig(rgb, MediaPipeFaces(still=True).find(rgb)[0], template())
    jaw = ((0.0, 0.0), (0.7, 0.0), (1.1, 0.7), (1.5, 0.1), (1.9, 0.8), (2.6, 0.0), (3.2, 0.5), (3.5, 0.0), (4.2, 0.9), (5.0, 0.2), (5.5, 0.6), (6.2, 0.0), (7.0, 0.0))  # fmt: skip
    smile = ((0.0, 0.0), (5.0, 0.0), (5.8, 0.6), (6.6, 0.0))
    script = Script(Fraction(7), {
        "jawOpen": jaw, "mouthSmileLeft": smile, "mouthSmileRight": smile,
        "yaw": ((0.0, 0.0), (2.0, 8.0), (4.5, -8.0), (7.0, 0.0)),
    })  # fmt: skip
    motions = [script(Fraction(i, 30)) for i in range(210)]
    retarget, renderer = Retarget(character, template(), motions[:1], RetargetOptions()), WarpRenderer(character)
    for motion in motions:
        yield np.asarray(renderer.render(Cue(time=motion.time, motion=retarget(motion))).rgb)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("matplotlib", reason="matplotlib brings a face; pip install matplotlib")
    folder = tmp_path_factory.mktemp("data")
    (folder / "characters").mkdir()
    for name, portrait in (("astronaut", ASTRONAUT), ("admiral", ADMIRAL)):
        Image.fromarray(portrait.load()).save(folder / "characters" / f"{name}.png")
    Image.fromarray(np.ascontiguousarray(ASTRONAUT.load()[:, 104:392])).save(folder / "characters" / "tall.png")
    return folder


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    with serving(data) as running:
        yield running


@pytest.fixture(scope="module")
def strict(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that has room for one and waits a second for them, and has no jobs, which the page asks for in vain."""
    with serving(apart(data, tmp_path_factory.mktemp("strict")), limits="sessions=1, silent_s=1.0") as running:
        yield running


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    with limited():
        yield


@pytest.fixture(scope="module")
def kept(camera: Path) -> Iterator[Chromium]:
    """A Chromium whose camera is the film."""
    films = (
        f"--use-file-for-fake-video-capture={camera}",
        f"--use-file-for-fake-audio-capture={camera.with_name('microphone.wav')}",
    )
    found = Chromium("--use-fake-ui-for-media-stream", *films)
    yield found
    found.close()


@pytest.fixture
def browser(kept: Chromium) -> Any:
    return kept()


@dataclass
class Studio:
    """The page, and what its console said."""

    page: Any
    errors: list[str] = field(default_factory=list)

    def says(self, text: str, within_ms: int = 60_000) -> None:
        self.wait("text => document.getElementById('status').textContent.includes(text)", text, within_ms)

    def wait(self, until: str, with_: Any = None, within_ms: int = 60_000) -> None:
        """By a timer: a page that draws nothing may have no animation frames."""
        self.page.wait_for_function(until, arg=with_, timeout=within_ms, polling=100)

    def begin(self) -> None:
        self.page.click("#start")
        self.says("Live.")

    def sees(self, n: int) -> None:
        """Until so many more pictures were shown."""
        self.page.evaluate(
            """n => new Promise((done) => {
              let seen = 0;
              new MutationObserver((_, observer) => {
                seen += 1;
                if (seen === n) { observer.disconnect(); done(); }
              }).observe(document.getElementById("character"), { attributes: true, attributeFilter: ["data-time"] });
            })""",
            n,
        )

    def shot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=f"{SHOTS}/studio-{name}.jpg", type="jpeg", quality=80, full_page=True)

    def shown(self, id_: str) -> str:
        return str(self.page.inner_text(f"#{id_}"))


@contextmanager
def opened(browser: Any, at: str, *, session: str = "", forgive: str = "\0", **options: Any) -> Iterator[Studio]:
    """The page in a context of its own; whatever the console says, but for `forgive`, fails the test."""
    # These tests wait by evaluating text, which the page's policy forbids; tests/server/api/test_page.py keeps it.
    context = browser.new_context(**{"viewport": {"width": 1160, "height": 900}, "bypass_csp": True, **options})
    context.grant_permissions(["camera", "microphone"])
    context.add_init_script(KEEP_SENT)
    studio = Studio(context.new_page())
    studio.page.on("console", lambda m: studio.errors.extend([m.text] if m.type in ("error", "warning") else []))
    studio.page.on("pageerror", lambda error: studio.errors.append(str(error)))
    studio.page.goto(f"http://{at}/{f'?session={session}' if session else ''}")
    studio.page.wait_for_selector(".cast input")
    try:
        yield studio
        assert [e for e in studio.errors if forgive not in e] == []
    finally:
        context.close()


def landmarks(base64_jpeg: str, finder: MediaPipeFaces) -> NDArray[np.float32]:
    """Of a sampled picture's face [478, 2] px; not numbers where it shows none."""
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(base64_jpeg), np.uint8), cv2.IMREAD_COLOR)
    found = finder.find(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
    return found[0].landmarks[:, :2] if found else np.full((478, 2), np.nan, np.float32)


def mouths(samples: list[list[Any]], which: int, finder: MediaPipeFaces) -> NDArray[np.float64]:
    """How far the mouth of each sampled picture is open, in distances of the outer eye corners."""
    points = [landmarks(sample[which], finder) for sample in samples]
    return np.array([np.linalg.norm(p[14] - p[13]) / np.linalg.norm(p[33] - p[263]) for p in points])


def test_an_actor_sees_their_character_move_with_them_and_takes_the_take_home(
    browser: Any, server: Running, tmp_path: Path
) -> None:
    with opened(browser, server.at) as studio:
        studio.wait("() => [...document.images].every((image) => image.naturalWidth)")
        studio.shot("begin")
        studio.page.check("input[value=admiral]", force=True)
        studio.begin()
        studio.page.wait_for_timeout(3000)
        assert studio.page.evaluate("[...window.kinds]") == [3]  # this browser speaks H.264
        studio.page.evaluate("window.keeps = true")
        samples: list[list[Any]] = []
        while len(samples) < 40 or samples[-1][0] - samples[0][0] < 10_000:
            samples += studio.page.evaluate(SAMPLE, 1500)
        studio.shot("live")
        was, now = (mouths(samples, i, MediaPipeFaces()) for i in (1, 2))
        seen = np.isfinite(was) & np.isfinite(now)
        assert seen.mean() > 0.9
        r = float(np.corrcoef(was[seen], now[seen])[0, 1])
        print(
            f"mouth of actor and character: r {r:.3f} in {seen.sum()}; {studio.shown('delay')}, {studio.shown('fps')} a second"
        )
        assert r > 0.8
        assert float(studio.shown("delay").split()[0]) > 0
        studio.wait("() => document.getElementById('loudness').value > 0.3")

        studio.page.keyboard.press("r")
        studio.says("Recording")
        studio.page.wait_for_timeout(2000)
        studio.sees(15)
        studio.shot("recording")
        studio.page.check("input[value=tall]", force=True)
        studio.wait("() => document.getElementById('character').width === 288")
        studio.says("Recording")
        studio.sees(15)
        studio.page.click("#record")
        studio.says("ready to play and download")
        frames, sound = taken_home(studio, tmp_path)
        studio.wait("() => document.querySelector('#takes video')?.readyState >= 2")
        if SHOTS:
            studio.page.check("input[value=admiral]", force=True)
            studio.wait("() => document.getElementById('character').width === 512")
            studio.sees(5)
        studio.shot("take")
    assert len(frames) >= 15
    assert {frame.rgb.shape for frame in frames} == {(512, 512, 3)}  # whoever came on
    assert frames[-1].rgb[:, :80].max() < 30 < frames[0].rgb[:, :80].max()  # a narrower one is whole in the middle
    assert MediaPipeFaces(still=True).find(frames[-1].rgb)
    assert np.abs(sound).max() > 0


@dataclass(frozen=True)
class Frame:
    seconds: float
    rgb: Rgb


def taken_home(studio: Studio, folder: Path) -> tuple[list[Frame], NDArray[np.float64]]:
    """Frames and sound of the newest take, downloaded."""
    with studio.page.expect_download() as download:
        studio.page.click("#takes a")
    assert download.value.suggested_filename == "take-1.mp4"
    path = folder / "take-1.mp4"
    download.value.save_as(path)
    with av.open(str(path)) as take:
        frames = [Frame(float(f.time or 0), f.to_ndarray(format="rgb24")) for f in take.decode(video=0)]
    with av.open(str(path)) as take:
        return frames, np.concatenate([f.to_ndarray().ravel() for f in take.decode(audio=0)]).astype(np.float64)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_the_light_and_in_the_dark(browser: Any, server: Running, scheme: str) -> None:
    phone: dict[str, Any] = {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": scheme,
        "is_mobile": True,
        "has_touch": True,
    }
    with opened(browser, server.at, **phone) as studio:
        studio.page.check("input[value=tall]", force=True)
        studio.begin()
        studio.page.wait_for_timeout(1500)
        studio.shot(f"phone-{scheme}")
        assert studio.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ground = studio.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) > 384) == (scheme == "light")
        box = studio.page.locator("#character").bounding_box()
        assert box["width"] * box["height"] > 0.3 * 390 * 844  # a vertical picture fills the stage
        assert box["height"] / box["width"] == pytest.approx(512 / 288, rel=0.02)


def test_everything_can_be_reached_and_done_by_keyboard(browser: Any, server: Running) -> None:
    with opened(browser, server.at) as studio:
        seen = []
        for _ in range(14):
            studio.page.keyboard.press("Tab")
            seen.append(studio.page.evaluate("document.activeElement.id || document.activeElement.name"))
        for wanted in ("start", "character", "picture", "driver", "intensity", "mirror"):
            assert wanted in seen
        studio.page.focus("#start")
        studio.page.keyboard.press("Enter")
        studio.says("Live.")
        studio.page.keyboard.press("m")
        assert studio.page.is_checked("#mirror")
        studio.page.keyboard.press("n")
        studio.says("neutral")
        assert studio.page.is_visible("#keys-hint")
        finder = MediaPipeFaces(still=True)

        def eyes_px() -> float:
            p = landmarks(studio.page.evaluate(SHOWN), finder)
            return float(np.linalg.norm(p[33] - p[263]))

        before = eyes_px()
        studio.page.focus("#view")
        studio.page.keyboard.press("ArrowDown")  # close-up
        studio.page.focus("#intensity")
        studio.page.keyboard.press("ArrowRight")
        assert studio.shown("intensity-value") == "3.1"
        studio.page.wait_for_timeout(1000)
        studio.sees(20)
        assert eyes_px() > 1.15 * before


def test_a_take_goes_on_when_the_connection_drops_and_holds_both_halves(
    browser: Any, server: Running, tmp_path: Path
) -> None:
    gone_on = server.log.read_text().count("a session goes on")
    with opened(browser, server.at, forgive="WebSocket") as studio:
        studio.begin()
        studio.page.click("#record")
        studio.wait("() => document.getElementById('clock').textContent === '0:01'")
        studio.sees(10)
        before = studio.page.evaluate("document.getElementById('character').dataset.time")
        half, again = studio.page.evaluate("""() => new Promise((done) => {
          const status = document.getElementById("status"), cut = performance.now();
          const [minutes, seconds] = document.getElementById("clock").textContent.split(":");
          window.dropped();
          const seen = new MutationObserver(() => {
            if (status.textContent.includes("Recording")) { seen.disconnect(); done([60 * minutes + Number(seconds), performance.now() - cut]); }
          });
          seen.observe(status, { childList: true, characterData: true, subtree: true });
        })""")
        studio.wait(
            "before => Number(document.getElementById('character').dataset.time) > Number(before) + 1e6", before
        )
        print(f"the take went on {again:.0f} ms after the drop")
        assert again < 2000
        studio.page.wait_for_timeout(1000)
        studio.sees(10)
        studio.page.click("#record")
        studio.says("ready to play")
        times = np.array([frame.seconds for frame in taken_home(studio, tmp_path)[0]])
    assert server.log.read_text().count("a session goes on") == gone_on + 1
    assert (times < half).sum() >= 5
    assert (times > half + 1 + again / 1000).sum() >= 5


def test_a_second_tab_takes_over_and_the_first_says_so(browser: Any, server: Running) -> None:
    with opened(browser, server.at, session="shared") as first:
        first.begin()
        with opened(browser, server.at, session="shared") as second:
            second.begin()
            first.says("You went on in another tab")
            first.shot("another-tab")
            second.wait("() => document.getElementById('character').dataset.time")


def test_a_camera_may_change_its_size_and_one_that_stops_or_a_microphone_is_told_in_words(
    browser: Any, server: Running
) -> None:
    with opened(browser, server.at) as studio:
        studio.begin()
        studio.sees(3)
        studio.page.evaluate(
            "document.getElementById('actor').srcObject.getVideoTracks()[0].applyConstraints({ width: 320, height: 160, resizeMode: 'crop-and-scale' })"
        )
        studio.wait("() => document.getElementById('you').style.getPropertyValue('--ratio') !== '1'")
        studio.sees(5)
        for kind, says in (("Audio", "The microphone stopped"), ("Video", "The camera stopped")):
            studio.page.evaluate(
                f"document.getElementById('actor').srcObject.get{kind}Tracks()[0].dispatchEvent(new Event('ended'))"
            )
            studio.says(says)
        assert studio.page.inner_text("#start") == "Start camera"
        studio.begin()


def test_a_camera_that_cannot_be_had_is_told_in_words(browser: Any, server: Running) -> None:
    with opened(browser, server.at, color_scheme="dark") as studio:
        for name, says in (
            ("NotFoundError", "No camera was found. Plug one in, then press Start camera again."),
            ("NotReadableError", "Another program uses the camera. Close it, then press Start camera again."),
            (
                "NotAllowedError",
                "The camera is not allowed. Allow it in the address bar, then press Start camera again.",
            ),
        ):
            studio.page.evaluate(
                "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name)); }",
                name,
            )
            studio.page.click("#start")
            studio.says(says)
            assert studio.page.is_enabled("#start")
            assert studio.page.is_disabled("#record")
        studio.wait("() => [...document.images].every((image) => image.naturalWidth)")
        studio.shot("camera-refused-dark")


def test_a_server_that_is_gone_is_told_in_words_and_one_that_comes_back_is_taken_up(
    browser: Any, data: Path, tmp_path: Path
) -> None:
    own = apart(data, tmp_path)
    with serving(own) as server:
        port = server.at.split(":")[1]
        with opened(browser, server.at, forgive="WebSocket") as studio:
            studio.begin()
            studio.wait("() => document.getElementById('character').dataset.time")
            server.process.send_signal(signal.SIGTERM)
            studio.says("The server stopped. Start it again, and you go on here.")
            server.process.wait(60)
            studio.says("The server does not answer.")
            studio.shot("server-gone")
            with serving(own, options=("--port", port)):
                studio.says("Live.")


def test_a_phone_that_slept_goes_on_when_it_wakes(browser: Any, strict: Running) -> None:
    with opened(browser, strict.at, forgive="404") as studio:
        studio.begin()
        studio.wait("() => document.getElementById('character').dataset.time")
        with asleep():
            while "waits to be taken up again" not in strict.log.read_text():
                time.sleep(0.1)
        while "a session goes on" not in strict.log.read_text():
            time.sleep(0.1)
        now = studio.page.evaluate("document.getElementById('character').dataset.time")
        studio.wait("now => Number(document.getElementById('character').dataset.time) > Number(now) + 5e5", now)


def test_one_actor_too_many_is_told_so(browser: Any, strict: Running) -> None:
    with opened(browser, strict.at, session="first", forgive="404") as first:
        first.begin()
        with opened(browser, strict.at, session="second", forgive="404") as second:
            second.page.click("#start")
            second.says("The server refuses: 1 sessions are open already. Trying again")


def test_a_microphone_alone_moves_the_character(browser: Any, server: Running) -> None:
    with opened(browser, server.at) as studio:
        studio.page.select_option("#driver", "microphone")
        assert studio.page.inner_text("#start") == "Start microphone"
        studio.begin()
        shown = "Number(document.getElementById('character').dataset.time)"
        studio.wait(f"() => {shown} > 0")
        studio.wait(f"before => {shown} > before + 1e6", studio.page.evaluate(shown))
        studio.shot("microphone")
        assert studio.page.is_disabled("#calibrate")
        studio.page.click("#start")
        studio.says("Stopped")


def test_obs_gets_the_character_without_what_is_behind(browser: Any, server: Running) -> None:
    with opened(browser, server.at, session="obs") as studio:
        studio.begin()
        stage = studio.page.context.new_page()
        stage.goto(f"http://{server.at}/stage.html?cut_out=1&session=obs")
        Studio(stage).wait("() => document.getElementById('shown').width > 100")
        corner, middle = stage.evaluate("""() => {
          const c = document.getElementById("shown"), paint = c.getContext("2d");
          return [[4, 4], [c.width / 2, c.height / 2]].map(([x, y]) => paint.getImageData(x, y, 1, 1).data[3]);
        }""")
        assert corner < 20
        assert middle > 235
        studio.page.evaluate(AWAY)
        studio.sees(10)
        if SHOTS:
            stage.screenshot(path=f"{SHOTS}/studio-stage.png", omit_background=True)
        shown = stage.evaluate("""src => new Promise((done) => {
          const image = new Image();
          image.onload = () => { done(image.naturalWidth); image.src = ""; }; // it would never end
          image.src = src;
        })""", f"http://{server.at}/v1/watch.mjpeg?session=obs")  # fmt: skip
        assert shown == 512


def test_a_picture_is_dropped_or_added_or_refused_in_words(browser: Any, server: Running, tmp_path: Path) -> None:
    Image.fromarray(np.ascontiguousarray(ASTRONAUT.load()[:, ::-1])).save(tmp_path / "mirrored.png")
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(tmp_path / "dark.png")
    with opened(browser, server.at, forgive="422") as studio:
        studio.page.evaluate(
            DROP, ["mirrored.png", base64.b64encode((tmp_path / "mirrored.png").read_bytes()).decode()]
        )
        studio.says("mirrored is ready")
        assert studio.page.is_checked("input[value=mirrored]")
        studio.page.set_input_files("#picture", tmp_path / "dark.png")
        studio.says("dark.png shows no face")
        studio.says("Try another picture")
        studio.shot("refused")


def test_firefox_performs_too_and_takes_the_take_home(server: Running, tmp_path: Path) -> None:
    with firefox(tmp_path) as page:
        page.open(f"http://{server.at}/")
        page.wait("document.querySelector('.cast input') !== null")
        page.evaluate("document.getElementById('start').click()")
        # What this Firefox has for a camera shows nobody.
        page.wait("document.getElementById('status').textContent.startsWith('No face')")
        page.wait("Number(document.getElementById('fps').textContent) > 0")
        page.evaluate("document.getElementById('record').click()")
        time.sleep(1.5)
        page.evaluate("document.getElementById('record').click()")
        page.wait("document.querySelector('#takes video')?.readyState >= 2")
        assert page.evaluate("document.querySelector('#takes a').download") in ("take-1.mp4", "take-1.webm")
        assert page.evaluate("document.querySelector('#takes video').videoWidth") == 512
        if SHOTS:
            page.screenshot(Path(SHOTS) / "studio-firefox.jpg")


def test_a_browser_that_hangs_is_killed(browser: Any) -> None:
    page = browser.new_page()
    with pytest.raises(TimeoutError, match="took longer than 2 s"), limited(2):
        page.evaluate("() => { while (true); }")


def test_a_renderer_can_be_chosen_where_the_server_has_more_than_one(
    browser: Any, server: Running, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("diffusers", reason="make diffusion brings it")
    from tests.synth.diffusion.network import pipeline

    if httpx.get(f"http://{server.at}/v1/renderers").json() == ["warp"]:
        with opened(browser, server.at) as studio:
            assert not studio.page.is_visible("#renderer")
    pipeline(64, steps=1).save_pretrained(tmp_path / "weights")
    options = ("--weights", str(tmp_path / "weights"))
    with serving(apart(data, tmp_path), options=options) as able, opened(browser, able.at) as studio:
        studio.wait("() => !document.getElementById('renderers').hidden")
        assert studio.page.evaluate("[...document.getElementById('renderer').options].map((o) => o.value)") == ["warp", "diffusion"]  # fmt: skip
        studio.begin()
        studio.sees(5)
        assert "understudy_painted_total 0" in httpx.get(f"http://{able.at}/metrics").text
        studio.page.select_option("#renderer", "diffusion")
        until = time.monotonic() + 60  # the network is made ready beside the pictures
        while "understudy_painted_total 0" in httpx.get(f"http://{able.at}/metrics").text:
            assert time.monotonic() < until, "nothing was painted"
            studio.sees(1)
        studio.shot("painted")
        studio.page.evaluate("window.dropped()")  # the connection that follows asks for the same
        studio.page.wait_for_timeout(500)
        studio.sees(3)
        assert studio.page.input_value("#renderer") == "diffusion"
