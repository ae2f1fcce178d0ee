"""What clients point at elsewhere: files fetched, webhooks sent, never to an address inside our own network.

A name is looked up once, every address it has is judged, and the connection goes to the very address that was
judged, so that a name cannot mean one machine when it is checked and another when it is used. The same holds
for each redirect. No cookies, no proxies, no compression; a limit on bytes and one on the whole time.
"""

from __future__ import annotations

import binascii
import contextlib
import http.client
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import SplitResult, unquote_to_bytes, urljoin, urlsplit

from runtime.errors import InputError

_NAT64 = ip_network("64:ff9b::/96")
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1 << 16

Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    bytes: int = 2 << 30
    data_bytes: int = 8 << 20  # of a data: URI, decoded
    seconds: float = 120.0  # from the first look-up to the last byte
    redirects: int = 4


class FetchError(InputError):
    """Something elsewhere could not be had; the text names it without its query, which may hold secrets."""


def is_public(address: str) -> bool:
    """Whether an IP address is of the open internet, whatever it is wrapped in."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = _inside(ip)
        if inner is not None:
            return _is_open(inner)
    return _is_open(ip)


def _inside(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64 or int(ip) >> 32 == 0:  # ::a.b.c.d, the old compatible form
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def _is_open(ip: IPv4Address | IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def look_up(host: str, port: int) -> list[str]:
    """Every address of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for *_, address in found]


class Fetcher:
    """`trusted`: hosts, or host:port, of our own network that may be asked, by plain http too."""

    def __init__(
        self,
        limits: FetchLimits,
        trusted: frozenset[str] = frozenset(),
        *,
        resolve: Resolve = look_up,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._limits = limits
        self._trusted = trusted
        self._resolve = resolve
        self._tls = tls

    def check(self, url: str) -> None:
        """Say whether a URL might be asked at all, without asking; raises FetchError."""
        self._parts(url)

    def download(self, url: str, path: Path) -> None:
        """Write what a URL holds to a file, which is left in pieces where that fails; raises FetchError."""
        for _ in range(self._limits.redirects + 1):
            with self._asked("GET", url, b"", {}) as answer:
                if answer.status in _REDIRECTS:
                    url = urljoin(url, answer.headers.get("Location", ""))
                    continue
                if answer.status != 200:
                    raise FetchError(f"{_named(url)} answered {answer.status}; wanted 200 and the file")
                self._save(url, answer, path)
                return
        raise FetchError(f"{_named(url)} redirects again and again; wanted at most {self._limits.redirects} times")

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """Send something; returns the status, redirects are not followed. Raises FetchError."""
        with self._asked("POST", url, body, headers) as answer:
            return answer.status

    def _save(self, url: str, answer: http.client.HTTPResponse, path: Path) -> None:
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise FetchError(f"{_named(url)} comes as {encoding}; wanted it as it is, as asked for")
        n, most = 0, self._limits.bytes
        if (answer.length or 0) > most:
            raise FetchError(f"{_named(url)} holds {answer.length} bytes; wanted at most {most}")
        with path.open("wb") as file:
            while chunk := answer.read(_CHUNK):
                n += len(chunk)
                if n > most:
                    raise FetchError(f"{_named(url)} holds more than {most} bytes; wanted at most that")
                file.write(chunk)
        if answer.length:
            raise FetchError(f"{_named(url)} broke off {answer.length} bytes before its end; wanted the whole file")

    @contextmanager
    def _asked(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request, read within the limits of time."""
        parts = self._parts(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        stop = _Stop(self._limits.seconds)
        try:
            with stop, self._connected(parts, host, port, stop) as connected:
                connection = http.client.HTTPConnection(host, port)
                connection.sock = connected
                target = parts.path or "/"
                connection.putrequest(
                    method, f"{target}?{parts.query}" if parts.query else target, skip_host=True, skip_accept_encoding=True
                )  # fmt: skip
                for name, value in {
                    "Host": parts.netloc, "User-Agent": "understudy", "Accept-Encoding": "identity",
                    "Connection": "close", **headers, **({"Content-Length": str(len(body))} if method == "POST" else {}),
                }.items():  # fmt: skip
                    connection.putheader(name, value)
                connection.endheaders(body if method == "POST" else None)
                with connection.getresponse() as answer:
                    yield answer
                if stop.stopped:  # what was cut looks like an end where no length was told
                    raise TimeoutError
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            told = (
                f"did not answer within {self._limits.seconds:g} s"
                if stop.stopped
                else f"cannot be had ({_why(error)})"
            )
            raise FetchError(f"{_named(url)} {told}; wanted a file that can be fetched") from error

    def _parts(self, url: str) -> SplitResult:
        """A URL taken apart and judged by what it says."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise FetchError(f"{_named(url)} is no URL ({error}); wanted https://…") from error
        if parts.scheme != "https" and not (parts.scheme == "http" and self._is_trusted(parts)):
            raise FetchError(f"{_named(url)} is not https; wanted https://…")
        if not parts.hostname or port == 0 or not url.isascii() or any(c <= " " for c in url):
            raise FetchError(f"{_named(url)} names no host that can be asked; wanted https://…")
        if parts.username is not None or parts.password is not None:
            raise FetchError(f"{_named(url)} carries a name and a password; wanted a URL without")
        return parts

    def _is_trusted(self, parts: SplitResult) -> bool:
        return parts.hostname in self._trusted or parts.netloc in self._trusted

    @contextmanager
    def _connected(self, parts: SplitResult, host: str, port: int, stop: _Stop) -> Iterator[socket.socket]:
        """A socket to an address that was judged, with TLS for the name where it is https."""
        addresses = self._resolve(host, port)
        if not addresses or not (self._is_trusted(parts) or all(is_public(address) for address in addresses)):
            raise FetchError(f"{parts.scheme}://{parts.netloc} is inside a network; wanted a public address")
        with contextlib.closing(socket.create_connection((addresses[0], port), self._limits.seconds)) as plain:
            stop.watch(plain)
            if parts.scheme == "http":
                yield plain
            else:
                with self._tls().wrap_socket(plain, server_hostname=host) as secure:
                    yield secure


class _Stop:
    """Cuts a connection when its time is up, however slowly it trickles."""

    def __init__(self, seconds: float) -> None:
        self.stopped = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._stop)
        self._timer.daemon = True

    def watch(self, connected: socket.socket) -> None:
        self._socket = connected.dup()  # TLS takes the original over
        if self.stopped:
            self._stop()

    def _stop(self) -> None:
        self.stopped = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> _Stop:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._socket is not None:
            self._socket.close()


def read_data_uri(uri: str, limits: FetchLimits) -> bytes:
    """What a `data:` URI holds; raises FetchError."""
    head, comma, payload = uri.partition(",")
    if not comma:
        raise FetchError("the data: URI has no comma; wanted data:video/mp4;base64,…")
    most = limits.data_bytes
    if len(payload) > most * 2:
        raise FetchError(f"the data: URI is larger than {most >> 20} MB; wanted an upload instead")
    try:
        raw = unquote_to_bytes(payload)
        data = b64decode(raw, validate=True) if head.endswith(";base64") else raw
    except (binascii.Error, ValueError) as error:
        raise FetchError(f"the data: URI is not base64 ({error}); wanted data:video/mp4;base64,…") from error
    if len(data) > most:
        raise FetchError(f"the data: URI holds {len(data)} bytes; wanted at most {most}, or an upload")
    return data


def _named(url: str) -> str:
    """A URL as it may be told: without its query."""
    return url.partition("?")[0].partition("#")[0][:200]


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
