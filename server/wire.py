"""The wire of `/v1/live`, without any I/O: bytes and text in, messages out, and back (docs/protocol.md).

A binary message is a type byte, a capture time (64-bit, signed, big-endian microseconds of the sender's own
clock) and a payload. A text message is one JSON object with a `type`. What breaks the protocol raises
`WireError` with the close code and the reason to send; nothing else is ever raised, whatever comes in.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, get_args

VERSION = 1
HEADER = struct.Struct(">Bq")  # type, microseconds
MAX_PICTURE = 4 << 20  # bytes of one picture
MAX_SOUND = 64 << 10  # bytes of one piece of sound: 2 s
MAX_TEXT = 64 << 10  # bytes of one JSON message
MAX_MESSAGE = HEADER.size + MAX_PICTURE


class Kind(IntEnum):
    """What a binary message carries."""

    JPEG = 1
    WEBP = 2
    H264 = 3  # one access unit, Annex B
    PCM16 = 4  # mono, little-endian, 16 kHz


PICTURES = (Kind.JPEG, Kind.WEBP, Kind.H264)
_STARTS = {Kind.JPEG: (b"\xff\xd8\xff",), Kind.WEBP: (b"RIFF",), Kind.H264: (b"\x00\x00\x01", b"\x00\x00\x00\x01")}


class Close(IntEnum):
    """Why a connection ends; 4000 and above are this protocol's own."""

    GOING_AWAY = 1001  # the server stops
    TOO_BIG = 1009
    INTERNAL = 1011
    MALFORMED = 4400  # not this protocol
    FORBIDDEN = 4403  # a page from elsewhere
    TIMED_OUT = 4408  # no hello, or nothing for too long
    TAKEN_OVER = 4409  # the same session was opened elsewhere
    TOO_MUCH = 4429  # more than the rates allow


class WireError(Exception):
    """What came in is not of this protocol."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason[:120]  # a close frame holds 123 bytes


@dataclass(frozen=True)
class Media:
    """A picture or a piece of sound."""

    kind: Kind
    time_us: int  # when it was captured, on the sender's clock
    payload: bytes


# What moves the character: pictures of a performer; the sound of a microphone; sound or text that a program pushes,
# whose sound comes back with the pictures.
Driver = Literal["camera", "microphone", "speech"]
Renderer = Literal["warp", "diffusion"]  # what draws the character


@dataclass(frozen=True)
class Hello:
    """The first message of a client."""

    session: str | None  # to take up again; None begins a new one
    character: str | None
    reply: Kind  # how pictures are to come back
    driver: Driver = "camera"
    renderer: Renderer | None = None  # None takes the server's own, or goes on with the session's


@dataclass(frozen=True)
class Control:
    """What a client may ask for at any time."""

    action: Literal[
        "character",
        "intensity",
        "camera",
        "mirror",
        "pause",
        "calibrate",
        "reset",
        "stats",
        "say",
        "interrupt",
        "keyframe",
        "renderer",
    ]
    value: str | float | bool | None = None


_WANTED: dict[str, Any] = {
    "character": str, "intensity": (int, float), "camera": str, "mirror": bool, "pause": bool, "calibrate": None,
    "reset": None, "stats": None, "say": str, "interrupt": None,
    "keyframe": None, "renderer": str,
}  # fmt: skip


def pack(kind: Kind, time_us: int, payload: bytes) -> bytes:
    """A binary message."""
    return HEADER.pack(kind, time_us) + payload


def unpack(message: bytes) -> Media:
    """A binary message taken apart; raises WireError."""
    if len(message) < HEADER.size:
        raise WireError(Close.MALFORMED, f"a binary message has {len(message)} bytes, wanted {HEADER.size} or more")
    code, time_us = HEADER.unpack_from(message)
    if code not in Kind._value2member_map_:
        raise WireError(
            Close.MALFORMED,
            f"a binary message is of type {code}, wanted one of {', '.join(str(k.value) for k in Kind)}",
        )
    kind, payload = Kind(code), message[HEADER.size :]
    if kind is Kind.PCM16:
        if len(payload) > MAX_SOUND:
            raise WireError(Close.TOO_BIG, f"a piece of sound has {len(payload)} bytes, wanted {MAX_SOUND} or fewer")
        if len(payload) % 2 or not payload:
            raise WireError(Close.MALFORMED, f"a piece of sound has {len(payload)} bytes, wanted whole 16-bit samples")
    else:
        if len(payload) > MAX_PICTURE:
            raise WireError(Close.TOO_BIG, f"a picture has {len(payload)} bytes, wanted {MAX_PICTURE} or fewer")
        if not payload.startswith(_STARTS[kind]):
            raise WireError(Close.MALFORMED, f"a picture of type {kind.name} does not begin like one")
    return Media(kind, time_us, payload)


def _parsed(text: str) -> dict[str, Any]:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT:
        raise WireError(Close.TOO_BIG, f"a text message has more than {MAX_TEXT} bytes")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(Close.MALFORMED, "a text message is not JSON") from error
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise WireError(Close.MALFORMED, "a text message is not an object with a type")
    return value


def read_hello(text: str) -> Hello:
    """The first text message; raises WireError."""
    value = _parsed(text)
    if value["type"] != "hello":
        raise WireError(Close.MALFORMED, "the first message is not a hello")
    if value.get("version") != VERSION:
        raise WireError(Close.MALFORMED, f"the client speaks version {value.get('version')!r:.40}, wanted {VERSION}")
    reply = value.get("reply", "jpeg")
    replies = {"jpeg": Kind.JPEG, "webp": Kind.WEBP, "h264": Kind.H264}
    if not isinstance(reply, str) or reply not in replies:
        raise WireError(Close.MALFORMED, "hello asks for a reply other than jpeg, webp or h264")
    driver = value.get("driver", "camera")
    drivers: dict[str, Driver] = {name: name for name in get_args(Driver)}
    if not isinstance(driver, str) or driver not in drivers:
        raise WireError(Close.MALFORMED, f"hello asks for a driver other than {', '.join(drivers)}")
    renderer = None if value.get("renderer") is None else as_renderer(value["renderer"])
    return Hello(_name(value, "session"), _name(value, "character"), replies[reply], drivers[driver], renderer)


def as_renderer(given: object) -> Renderer:
    """A renderer's name; raises WireError for any other."""
    renderers: dict[object, Renderer] = {name: name for name in get_args(Renderer)}
    if not isinstance(given, str) or given not in renderers:
        raise WireError(Close.MALFORMED, f"a renderer is asked for other than {', '.join(get_args(Renderer))}")
    return renderers[given]


def _name(value: dict[str, Any], field: str) -> str | None:
    name = value.get(field)
    if name is None:
        return None
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
        raise WireError(Close.MALFORMED, f"{field} is not a name of 1 to 200 printable characters")
    return name


def read_control(text: str) -> Control:
    """A later text message; raises WireError."""
    value = _parsed(text)
    action = value["type"]
    if action not in _WANTED:
        raise WireError(Close.MALFORMED, f"a message asks for {action[:40]!r}, which is not known")
    wanted = _WANTED[action]
    given: Any = value.get("value")
    if wanted is None:
        return Control(action)
    if not isinstance(given, wanted) or (isinstance(given, bool) and wanted is not bool):
        raise WireError(Close.MALFORMED, f"the value of {action} is of the wrong kind")
    if action == "character":
        return Control("character", _name({"value": given}, "value"))
    if action == "intensity":
        if not 1 <= given <= 5:  # so NaN and integers of any length as well
            raise WireError(Close.MALFORMED, "intensity is not a number from 1 to 5")
        return Control("intensity", float(given))
    if action == "renderer":
        return Control("renderer", as_renderer(given))
    return Control(action, given)


def say(kind: str, **fields: Any) -> str:
    """A text message to a client."""
    return json.dumps({"type": kind, **fields}, separators=(",", ":"), allow_nan=False)
