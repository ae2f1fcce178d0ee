"""Files are fetched from where they are said to be, and from nowhere inside our own network."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from server.api.fetch import Fetcher, FetchError, FetchLimits, is_public, read_data_uri

LIMITS = FetchLimits(bytes=100_000, seconds=2.0, redirects=2)
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1",
])  # fmt: skip
def test_an_address_inside_a_network_is_told_whatever_it_is_wrapped_in(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_open_internet_is_let_pass(address: str) -> None:
    assert is_public(address)


@contextmanager
def answering(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A web server whose every answer is `answer`; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that has gone is what these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def said(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **named}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def trusting(port: int, limits: FetchLimits = LIMITS) -> Fetcher:
    return Fetcher(limits, frozenset({f"files.test:{port}"}), resolve=lambda host, port: ["127.0.0.1"])


def test_a_file_arrives_whole(tmp_path: Path) -> None:
    with answering(said(b"film" * 9000)) as port:
        trusting(port).download(f"http://files.test:{port}/a/film.mp4?token=1", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"film" * 9000


def test_a_name_that_leads_inside_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    asked: list[str] = []
    with answering(lambda handler: asked.append(handler.path)) as port:
        fetcher = Fetcher(LIMITS, resolve=lambda host, port: ["8.8.8.8", "127.0.0.1"])
        with pytest.raises(
            FetchError, match=rf"^https://files.test:{port} is inside a network; wanted a public address$"
        ):
            fetcher.download(f"https://files.test:{port}/film.mp4", tmp_path / "got")
    assert not asked
    assert not (tmp_path / "got").exists()


def test_a_redirect_is_judged_like_the_first_address(tmp_path: Path) -> None:
    with answering(said(b"", 302, Location="https://metadata.test/latest/")) as port:
        addresses = {"files.test": "127.0.0.1", "metadata.test": "169.254.169.254"}
        fetcher = Fetcher(LIMITS, frozenset({"files.test"}), resolve=lambda host, port: [addresses[host]])
        with pytest.raises(FetchError, match=r"^https://metadata.test is inside a network"):
            fetcher.download(f"http://files.test:{port}/", tmp_path / "got")
    with (
        answering(said(b"", 302, Location="http://elsewhere.test/")) as port,
        pytest.raises(FetchError, match="not https"),
    ):
        trusting(port).download(f"http://files.test:{port}/", tmp_path / "got")
    with answering(said(b"", 302, Location="/again")) as port, pytest.raises(FetchError, match="again and again"):
        trusting(port).download(f"http://files.test:{port}/", tmp_path / "got")


def test_a_name_is_looked_up_once_so_that_it_cannot_change_its_meaning(tmp_path: Path) -> None:
    answers = iter([["127.0.0.1"], ["8.8.8.8"]])
    with answering(said(b"film")) as port:
        fetcher = Fetcher(LIMITS, frozenset({"files.test"}), resolve=lambda host, port: next(answers))
        fetcher.download(f"http://files.test:{port}/", tmp_path / "got")
    assert next(answers) == ["8.8.8.8"]  # the second answer was not asked for


@pytest.mark.parametrize(("url", "why"), [
    ("http://example.com/film.mp4", "is not https"), ("file:///etc/passwd", "is not https"), ("https://", "names no host"),
    ("ftp://example.com/a", "is not https"), ("https://a:b@example.com/", "a name and a password"), ("https://exa mple.com/", "names no host"),
    ("https://example.com:99999/", "is no URL"), ("https://[::1/", "is no URL"), ("https://example.com/\r\nX: y", "names no host"),
])  # fmt: skip
def test_a_url_that_is_none_of_ours_to_ask_is_refused(url: str, why: str) -> None:
    with pytest.raises(FetchError, match=why):
        Fetcher(LIMITS, resolve=lambda host, port: pytest.fail("it was looked up")).download(url, Path("never"))


def test_a_url_is_told_without_its_query_which_may_hold_secrets(tmp_path: Path) -> None:
    with answering(said(b"", 404)) as port, pytest.raises(FetchError) as refused:
        trusting(port).download(f"http://files.test:{port}/film.mp4?X-Signature=secret", tmp_path / "got")
    assert str(refused.value) == f"http://files.test:{port}/film.mp4 answered 404; wanted 200 and the file"


def test_too_much_is_refused_whether_it_is_told_before_or_not(tmp_path: Path) -> None:
    with (
        answering(said(bytes(100_001))) as port,
        pytest.raises(FetchError, match="holds 100001 bytes; wanted at most 100000"),
    ):
        trusting(port).download(f"http://files.test:{port}/", tmp_path / "got")

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(bytes(1000))

    with answering(endless) as port, pytest.raises(FetchError, match="holds more than 100000 bytes"):
        trusting(port).download(f"http://files.test:{port}/", tmp_path / "got")


def test_a_file_that_breaks_off_or_is_compressed_is_refused(tmp_path: Path) -> None:
    with (
        answering(said(b"half", Content_Length="8")) as port,
        pytest.raises(FetchError, match="broke off 4 bytes before its end"),
    ):
        trusting(port).download(f"http://files.test:{port}/", tmp_path / "got")
    with answering(said(b"x", Content_Encoding="gzip")) as port, pytest.raises(FetchError, match="comes as gzip"):
        trusting(port).download(f"http://files.test:{port}/", tmp_path / "got")


def test_one_that_trickles_is_cut_when_its_time_is_up(tmp_path: Path) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b".")
            time.sleep(0.1)

    begun = time.monotonic()
    with answering(slow) as port, pytest.raises(FetchError, match=r"did not answer within 0\.5 s"):
        trusting(port, FetchLimits(bytes=1000, seconds=0.5)).download(f"http://files.test:{port}/", tmp_path / "got")
    assert time.monotonic() - begun < 4


def test_nobody_there_is_told_in_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        port = taken.getsockname()[1]
        with pytest.raises(FetchError, match=r"cannot be had \(.*[Rr]efused.*\); wanted a file that can be fetched"):
            trusting(port).download(f"http://files.test:{port}/", tmp_path / "got")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For files.test, by nobody but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with; apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=files.test", "-addext",
         "subjectAltName=DNS:files.test", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_https_goes_to_the_judged_address_with_the_certificate_of_the_name(tmp_path: Path, certificate: Path) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")

    def tls() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(certificate / "certificate.pem"))

    with answering(said(b"film"), served) as port:
        for name, works in (("files.test", True), ("other.test", False)):
            fetcher = Fetcher(LIMITS, frozenset({name}), resolve=lambda host, port: ["127.0.0.1"], tls=tls)
            if works:
                fetcher.download(f"https://{name}:{port}/", tmp_path / "got")
                assert (tmp_path / "got").read_bytes() == b"film"
            else:
                with pytest.raises(FetchError, match=r"cannot be had \(.*certificate"):
                    fetcher.download(f"https://{name}:{port}/", tmp_path / "other")


def test_a_data_uri_is_read_or_refused() -> None:
    limits = FetchLimits(data_bytes=10)
    assert read_data_uri("data:image/png;base64,aGVsbG8=", limits) == b"hello"
    assert read_data_uri("data:text/plain,a%20b", limits) == b"a b"
    for uri, why in (
        ("data:image/png;base64", "no comma"), ("data:;base64,!!!!", "not base64"), ("data:,01234567890", "holds 11 bytes; wanted at most 10"),
        ("data:," + "0" * 30, "larger than 0 MB"),
    ):  # fmt: skip
        with pytest.raises(FetchError, match=why):
            read_data_uri(uri, limits)
