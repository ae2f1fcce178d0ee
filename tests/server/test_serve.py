"""Against the running server: a real process, real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from runtime.errors import InputError
from server.client import LiveClient
from server.h264 import H264Reader, H264Writer, is_key
from server.pictures import decode, encode
from server.serve import ServeOptions, listen, serve
from server.wire import Kind, WireError, pack, read_hello, say
from tests.server.serving import Running, apart, serving

Rgb = NDArray[np.uint8]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, face: Rgb) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "characters").mkdir()
    Image.fromarray(face).save(folder / "characters" / "eileen.png")
    return folder


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    with serving(data) as running:
        yield running


@pytest.fixture(scope="module")
def impatient(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that waits for nothing longer than .3 s."""
    limits = "hello_s=0.3, silent_s=0.3, resume_s=0.3"
    with serving(apart(data, tmp_path_factory.mktemp("impatient")), limits=limits) as running:
        yield running


@pytest.fixture
def at(server: Running) -> str:
    """Where the server is, host:port."""
    return server.at


def run(what: Callable[[], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        return await asyncio.wait_for(what(), 120)

    return asyncio.run(within())


def test_pictures_go_in_and_come_back_with_their_times(at: str, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def go() -> list[int]:
        async with LiveClient(f"ws://{at}/v1/live", character="eileen") as live:
            assert live.ready["width"] == face.shape[1]
            out = []
            for i in range(12):
                await live.picture(picture, i * 33_333)
                out.append((await live.receive()).time_us)
            await live.ask("stats")
            await live.picture(picture, 999)
            await live.receive()
            assert live.said[-1]["rendered"] >= 12
            return out

    assert run(go) == [i * 33_333 for i in range(12)]


async def closing(at: str, send: list[str | bytes]) -> tuple[int, str]:
    """The code and the reason that a connection is closed with on which something is sent."""
    async with connect(f"ws://{at}/v1/live", max_size=None, compression=None) as socket:
        with suppress(ConnectionClosed):
            for message in send:
                await socket.send(message)
            while True:
                await socket.recv()
        return int(socket.close_code or 0), socket.close_reason or ""


@pytest.mark.parametrize(("send", "code"), [
    (["{"], 4400), ([b"\x01"], 4400), ([say("hello", version=7)], 4400),
    ([say("hello", version=1), b"\x09" + bytes(20)], 4400), ([say("hello", version=1), '{"type":"explode"}'], 4400),
    ([say("hello", version=1), pack(Kind.PCM16, 0, bytes(70_000))], 1009), ([bytes(5 << 20)], 1009),
    ([say("hello", version=1, character="nobody")], 4400),
])  # fmt: skip
def test_whoever_breaks_the_protocol_gets_a_close_code(at: str, send: list[str | bytes], code: int) -> None:
    closed, reason = run(lambda: closing(at, send))
    assert closed == code
    assert reason
    assert httpx.get(f"http://{at}/healthz").text == "ok"


def test_whatever_comes_first_but_a_hello_is_answered_by_a_code_and_a_reason(at: str) -> None:
    rng = np.random.default_rng(3)
    hello = say("hello", version=1, character="eileen", reply="jpeg")

    def message(i: int) -> str | bytes:
        if i % 2:
            return rng.bytes(int(rng.integers(1, 60)))
        k = int(rng.integers(len(hello)))
        return hello[:k] + chr(int(rng.integers(32, 127))) + hello[k + 1 :]

    def refused(sent: str | bytes) -> bool:
        try:
            return isinstance(sent, bytes) or (read_hello(sent).character or "eileen") != "eileen"
        except WireError:
            return True

    sent = [s for s in map(message, range(80)) if refused(s)]

    async def go() -> list[tuple[int, str]]:
        return list(await asyncio.gather(*(closing(at, [s]) for s in sent)))

    answers = run(go)
    assert len(answers) > 60
    assert {code for code, _ in answers} == {4400}
    assert all(reason for _, reason in answers)


def test_a_picture_is_sent_at_once_and_not_when_the_last_is_known_to_have_come() -> None:
    """asyncio turns Nagle's algorithm off for a socket that says it is TCP: else one late answer delays all that follow."""

    async def go() -> int:
        taken: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        async with await asyncio.start_server(
            lambda _, writer: taken.set_result(writer), sock=listen("127.0.0.1", 0)
        ) as s:
            _, client = await asyncio.open_connection(*s.sockets[0].getsockname())
            made = (await taken).get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for writer in (client, await taken):
                writer.close()
            return int(made)

    assert run(go) == 1


def test_a_page_from_elsewhere_may_not_connect(at: str) -> None:
    async def go(origin: str) -> int | None:
        async with connect(f"ws://{at}/v1/live", additional_headers={"Origin": origin}) as socket:
            try:
                await socket.send(say("hello", version=1))
                json.loads(await socket.recv())
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0
            return None

    assert run(lambda: go("https://evil.example")) == 4403
    assert run(lambda: go(f"http://{at}")) is None


def test_a_session_opened_again_takes_over(at: str, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def go() -> int:
        async with LiveClient(f"ws://{at}/v1/live", session="mine") as first:
            await first.picture(picture, 1)
            await first.receive()
            async with LiveClient(f"ws://{at}/v1/live", session="mine") as second:
                await second.picture(picture, 2)
                assert (await second.receive()).time_us == 2
                with suppress(ConnectionClosed):
                    while True:
                        await first.receive()
                return int(first._socket.close_code or 0)

    assert run(go) == 4409


def test_one_that_vanishes_or_does_not_read_does_not_disturb_another(at: str, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def go() -> int:
        silent = LiveClient(f"ws://{at}/v1/live")
        async with silent, LiveClient(f"ws://{at}/v1/live") as other:
            for i in range(30):
                await silent.picture(picture, i)
                await other.picture(picture, i)
                await other.receive()
            silent._socket.transport.abort()
            await other.picture(picture, 77)
            return (await other.receive()).time_us

    assert run(go) == 77


def test_connections_give_back_all_they_took(server: Running, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def once(performs: bool) -> None:
        async with LiveClient(server.url) as live:
            if performs:
                await live.picture(picture, 0)
                await live.receive()

    async def many(n: int) -> None:
        for i in range(0, n, 4):
            await asyncio.gather(*(once(j == 0 and i % 16 == 0) for j in range(4)))

    run(lambda: many(24))
    before = server.held
    run(lambda: many(120))
    after = server.held
    print(f"handles, threads, MB: {before} before 120 connections, {after} after")
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 3
    assert after[2] <= before[2] + 30


def settled_session(server: Running) -> str:
    return httpx.get(f"http://{server.at}/metrics").text


def test_a_dropped_connection_is_taken_up_with_all_that_was_known(server: Running, face: Rgb) -> None:
    """The performer seen before the drop needs no learning after it: the character moves from the first picture."""
    picture, moved = encode(face, Kind.JPEG), encode(np.roll(face, 14, 1), Kind.JPEG)

    async def go() -> tuple[int, float]:
        first = LiveClient(server.url, session="dropped", character="eileen")
        async with first:
            for i in range(12):
                await first.picture(picture, i * 40_000)
                still = await first.receive()
            first._socket.transport.abort()
        async with LiveClient(server.url, session="dropped") as second:
            assert second.ready["character"] == "eileen"
            await second.picture(moved, 500_000)
            then = decode(await second.receive())
            await second.ask("stats")
            await second.picture(picture, 540_000)
            await second.receive()
            return second.said[-1]["received"], float(np.abs(then.astype(int) - decode(still)).mean())

    received, difference = run(go)
    assert received >= 13
    assert difference > 2


def test_a_session_that_nobody_takes_up_again_is_let_go(impatient: Running) -> None:
    async def go() -> None:
        async with LiveClient(impatient.url, session="left") as live:
            live._socket.transport.abort()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if "understudy_live_sessions 0" in settled_session(impatient):
                return
        raise AssertionError("the session is still there")

    run(go)
    lines = [json.loads(line) for line in impatient.log.read_text().splitlines() if line[0] == "{"]
    label = hashlib.sha256(b"left").hexdigest()[:8]
    messages = [line["message"] for line in lines if line.get("session") == label]
    assert messages == ["a session begins", "a session waits to be taken up again", "a session ends"]


@pytest.mark.parametrize("says", [False, True])
def test_a_client_that_says_nothing_is_let_go(impatient: Running, says: bool) -> None:
    sent: list[str | bytes] = [say("hello", version=1)] if says else []
    assert run(lambda: closing(impatient.at, sent)) == (4408, "nothing was said for too long")


def test_who_has_nothing_to_say_may_listen_on(impatient: Running) -> None:
    async def go() -> int:
        async with LiveClient(impatient.url, driver="speech") as live:
            began = time.monotonic()
            while time.monotonic() < began + 1.0:
                last = await live.receive()
            return len(last.payload)

    assert run(go) > 0


def test_a_flood_is_stopped_and_another_session_goes_on(server: Running, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def flood() -> int:
        async with LiveClient(server.url) as live:
            with suppress(ConnectionClosed):
                for i in range(2000):
                    await live.picture(picture, i)
                while True:
                    await live.receive()
            return int(live._socket.close_code or 0)

    async def go() -> tuple[int, int]:
        async with LiveClient(server.url) as other:
            flooding = asyncio.ensure_future(flood())
            n = 0
            while not flooding.done() or n < 5:
                await other.picture(picture, n)
                await other.receive()
                n += 1
            return await flooding, n

    code, n = run(go)
    assert code == 4429
    assert n >= 5


def test_pictures_without_end_or_sense_do_not_take_the_server_down(server: Running, face: Rgb) -> None:
    rng = np.random.default_rng(5)
    small = face[:128, :128]
    whole = {Kind.JPEG: encode(small, Kind.JPEG), Kind.WEBP: encode(small, Kind.WEBP), Kind.H264: H264Writer()(small)}

    def broken(kind: Kind) -> bytes:
        data = bytearray(whole[kind])
        for at in rng.integers(4, len(data), rng.integers(1, 30)):
            data[at] = rng.integers(256)
        return bytes(data[: rng.integers(30, len(data))])

    async def go() -> dict[str, Any]:
        async with LiveClient(server.url) as live:
            for i in range(90):
                kind = (Kind.JPEG, Kind.WEBP, Kind.H264)[i % 3]
                await live.picture(broken(kind), i * 33_333, kind)
                await asyncio.sleep(0.02)
            await live.picture(encode(face, Kind.JPEG), 7_000_000)
            while (await live.receive()).time_us != 7_000_000:
                pass
            await live.ask("stats")
            await live.picture(encode(face, Kind.JPEG), 7_040_000)
            await live.receive()
            return live.said[-1]

    assert run(go)["refused"] > 5


def test_h264_goes_in_and_comes_back_and_the_camera_may_change_its_size(server: Running, face: Rgb) -> None:
    """In access units, of which only the first can be decoded by itself; a connection taken up again begins anew."""
    pictures = [face] * 3 + [face[:240, 20:260]] * 3

    async def go() -> tuple[list[int], float, list[bool]]:
        writer, reader = H264Writer(), H264Reader()
        times: list[int] = []
        async with LiveClient(server.url, session="units", reply=Kind.H264, character="eileen") as live:
            for i, rgb in enumerate(pictures):
                await live.picture(writer(rgb), i * 40_000, Kind.H264)
                media = await live.receive()
                assert media.kind is Kind.H264
                back = reader(media.payload)
                times.append(media.time_us)
            live._socket.transport.abort()
        keys = []
        async with LiveClient(server.url, session="units", reply=Kind.H264) as live:
            await live.picture(
                writer(face[:240, 20:260]), 900_000, Kind.H264
            )  # hangs on what this connection never sent
            while {"type": "keyframe"} not in live.said:
                await live.ask("stats")
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(live.receive(), 0.2)
            writer.begin_anew()
            for i in range(3):
                if i == 2:
                    await live.ask("keyframe")
                await live.picture(writer(face[:240, 20:260]), 1_000_000 + i * 40_000, Kind.H264)
                keys.append(is_key((await live.receive()).payload))
        return times, float(np.abs(back.astype(int) - face).mean()), keys

    times, difference, keys = run(go)
    assert times == [i * 40_000 for i in range(6)]
    assert difference < 25  # the character, who is the performer
    assert keys == [True, False, True]


def test_a_slow_reader_loses_its_own_pictures_and_nobody_else_s(server: Running, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)
    host, _, port = server.at.partition(":")

    def upgraded() -> socket.socket:
        slow = socket.create_connection((host, int(port)))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(
            f"GET /v1/live HTTP/1.1\r\nHost: {server.at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        return slow

    def frame(payload: bytes, opcode: int) -> bytes:
        n = len(payload)
        length = bytes((0x80 | n,)) if n < 126 else bytes((0xFE,)) + n.to_bytes(2, "big")
        return bytes((0x80 | opcode,)) + length + bytes(4) + payload

    async def go() -> int:
        with upgraded() as slow:
            slow.sendall(frame(say("hello", version=1).encode(), 1))
            async with LiveClient(server.url) as other:
                for i in range(40):
                    slow.sendall(frame(pack(Kind.JPEG, i, picture), 2))
                    if i % 10 == 0:
                        slow.recv(1)
                    await other.picture(picture, i)
                    shown = (await other.receive()).time_us
                return shown

    assert len(picture) < 65_000
    assert run(go) == 39


def test_sound_that_a_program_pushes_comes_back_with_pictures_of_the_same_times(server: Running) -> None:
    t = np.arange(8000) / 16_000
    pcm = (9000 * np.sin(2 * np.pi * 150 * t)).astype("<i2").tobytes()

    async def go() -> list[tuple[Kind, int]]:
        async with LiveClient(server.url, character="eileen", driver="speech") as live:
            await live.sound(pcm, 50_000_000)
            await live.ask("mirror", True)
            got: list[tuple[Kind, int]] = []
            while not any(kind is Kind.PCM16 and us >= 50_480_000 for kind, us in got):
                media = await live.receive()
                got.append((media.kind, media.time_us))
            assert "wanted driver camera" in live.said[0]["message"]
            return got

    got = run(go)
    sounds = [us for kind, us in got if kind is Kind.PCM16]
    assert {us for kind, us in got if kind is Kind.JPEG} <= set(sounds)
    assert [us for us in sounds if us >= 50_000_000][:12] == [50_000_000 + i * 40_000 for i in range(12)]


def test_a_text_is_said_and_whoever_speaks_can_be_interrupted(server: Running) -> None:
    pytest.importorskip("espeakng_loader", reason="espeak-ng says what is said; make setup brings it")

    async def go() -> tuple[int, int]:
        async with LiveClient(server.url, character="eileen", driver="speech") as live:
            await live.ask(
                "say", "This is a long sentence, and whoever listens to it will soon have heard enough of it."
            )
            loud, silent, after = 0, 0, 0
            while silent < 12:
                media = await live.receive()
                if media.kind is not Kind.PCM16:
                    continue
                is_loud = bool(np.abs(np.frombuffer(media.payload, "<i2")).max() > 500)
                loud += is_loud
                if loud == 10:
                    await live.ask("interrupt")
                    loud += 1
                after += loud > 10 and is_loud
                silent = 0 if is_loud or loud < 10 else silent + 1
            return loud, after

    loud, after = run(go)
    print(f"{after} of {loud} loud pieces of 40 ms came after the interrupt")
    assert loud > 10
    assert after < 40  # the sentence is six seconds long; what was on its way is said


def test_views_and_unknown_characters_are_refused_in_words_and_the_session_goes_on(server: Running, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def go() -> list[dict[str, Any]]:
        async with LiveClient(server.url) as live:

            async def told(n: int) -> None:
                while len(live.said) < n:  # who is made ready beside the pictures is told of beside them
                    await live.picture(picture, 3)
                    assert (await live.receive()).time_us == 3

            for action, value in (("character", "nobody"), ("camera", "fly:3"), ("camera", "zoom:1.2"), ("camera", "")):
                await live.ask(action, value)
            await told(2)
            await live.ask("character", "eileen")
            await told(3)
            return live.said

    *refused, cast = run(go)
    no_view, nobody = sorted(said["message"] for said in refused)  # they may come either way round
    assert no_view.startswith("--camera is 'fly:3'; wanted one of zoom")
    assert nobody.startswith("there is no character 'nobody'")
    assert cast == {"type": "cast", "character": "eileen", "renderer": "warp", "width": 288, "height": 288}


def test_whoever_looks_on_sees_the_character_while_somebody_performs(server: Running, face: Rgb) -> None:
    picture = encode(face, Kind.JPEG)

    async def go() -> tuple[int, bytes]:
        async with (
            connect(f"ws://{server.at}/v1/watch?session=shown") as watcher,  # before there is a session
            LiveClient(server.url, session="shown", character="eileen") as live,
        ):
            seen = asyncio.ensure_future(watcher.recv())
            i = 0
            while not seen.done():
                await live.picture(picture, i)
                await live.receive()
                await asyncio.sleep(0.02)
                i += 1
            async with (
                httpx.AsyncClient() as client,
                client.stream("GET", f"http://{server.at}/v1/watch.mjpeg?session=shown") as stream,
            ):
                assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
                parts = stream.aiter_bytes()
                await asyncio.sleep(0.3)
                await live.picture(picture, i)
                part = b""
                while b"\xff\xd9" not in part:
                    part += await parts.__anext__()
            return len(await seen), part

    n, part = run(go)
    assert n > 1000
    assert part.startswith(b"--frame\r\nContent-Type: image/jpeg\r\n")
    for _ in range(100):
        if "understudy_watchers 0" in settled_session(server):
            break
        time.sleep(0.05)
    assert "understudy_watchers 0" in settled_session(server)


def test_characters_are_listed_shown_added_and_refused(at: str, face: Rgb, tmp_path: Path) -> None:
    assert "eileen" in httpx.get(f"http://{at}/v1/characters").json()
    shown = httpx.get(f"http://{at}/v1/characters/eileen/picture")
    assert shown.headers["content-type"] == "image/png"
    Image.fromarray(face[:, ::-1]).save(tmp_path / "a b.png")
    added = httpx.post(
        f"http://{at}/v1/characters", files={"picture": ("a b.png", (tmp_path / "a b.png").read_bytes())}, timeout=120
    )
    assert (added.status_code, added.json()) == (201, {"name": "a-b"})
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(tmp_path / "dark.png")
    refused = httpx.post(
        f"http://{at}/v1/characters", files={"picture": ("dark.png", (tmp_path / "dark.png").read_bytes())}, timeout=120
    )
    assert refused.status_code == 422
    assert refused.json()["error"] == "dark.png shows no face; wanted one at least 64 px wide"
    assert httpx.get(f"http://{at}/v1/characters/..%2F..%2Fetc/picture").status_code == 404


def test_the_page_and_the_figures_are_served(at: str) -> None:
    assert "<title>Understudy studio</title>" in httpx.get(f"http://{at}/").text
    for part in ("studio.js", "wire.js", "camera.js", "take.js", "studio.css", "stage.html", "stage.js"):
        assert httpx.get(f"http://{at}/{part}").status_code == 200
    for name in (
        "sessions_total",
        "rendered_total",
        "dropped_total",
        "waiting_pictures",
        'stage_seconds_bucket{stage="see"',
    ):
        assert f"understudy_{name}" in httpx.get(f"http://{at}/metrics").text
    assert httpx.get(f"http://{at}/readyz").text == "ok"


def test_told_to_stop_it_finishes_what_came_says_so_and_stops(data: Path, face: Rgb, tmp_path: Path) -> None:
    async def go(server: Running) -> tuple[int, int]:
        async with LiveClient(server.url) as live:
            await live.picture(encode(face, Kind.JPEG), 0)
            await live.receive()
            await live.picture(encode(face, Kind.JPEG), 40_000)
            await live.ask("stats")
            await asyncio.sleep(0.02)
            server.process.send_signal(signal.SIGTERM)
            n = 0
            with suppress(ConnectionClosed):
                while True:
                    await live.receive()
                    n += 1
            return n, int(live._socket.close_code or 0)

    with serving(apart(data, tmp_path)) as server:
        assert run(lambda: go(server)) == (1, 1001)
        server.process.wait(60)
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    assert [line["message"] for line in lines] == ["a session begins", "the server stops", "a session ends"]
    assert lines[-1]["rendered"] == 2
    assert len(lines[0]["session"]) == 8
    assert max(map(len, server.log.read_text().splitlines())) < 500  # of pictures and sound not a word


def test_a_port_that_is_taken_is_refused_with_a_sentence(at: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{at} cannot be listened on .*; wanted a free --port"):
        serve(ServeOptions(port=int(at.split(":")[1]), data=tmp_path / "d"), quiet=True)
    assert not (tmp_path / "d").exists()
