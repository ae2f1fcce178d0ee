from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.wire import (
    HEADER,
    MAX_PICTURE,
    MAX_SOUND,
    MAX_TEXT,
    Close,
    Control,
    Hello,
    Kind,
    Media,
    WireError,
    pack,
    read_control,
    read_hello,
    say,
    unpack,
)

JPEG = b"\xff\xd8\xff\xe0rest"


@pytest.mark.parametrize(("kind", "payload"), [
    (Kind.JPEG, JPEG), (Kind.WEBP, b"RIFF...."), (Kind.H264, b"\x00\x00\x00\x01g"), (Kind.PCM16, b"\x01\x02"),
])  # fmt: skip
@pytest.mark.parametrize("time_us", [0, 1, -5, 2**62])
def test_what_is_packed_comes_out_again(kind: Kind, payload: bytes, time_us: int) -> None:
    assert unpack(pack(kind, time_us, payload)) == Media(kind, time_us, payload)


@pytest.mark.parametrize(("message", "code", "says"), [
    (b"", Close.MALFORMED, "0 bytes"),
    (b"\x01short", Close.MALFORMED, "6 bytes"),
    (HEADER.pack(9, 0) + JPEG, Close.MALFORMED, "type 9"),
    (HEADER.pack(1, 0) + b"GIF89a", Close.MALFORMED, "does not begin like one"),
    (HEADER.pack(1, 0), Close.MALFORMED, "does not begin like one"),
    (HEADER.pack(4, 0) + b"odd", Close.MALFORMED, "whole 16-bit samples"),
    (HEADER.pack(4, 0), Close.MALFORMED, "whole 16-bit samples"),
    (HEADER.pack(4, 0) + bytes(MAX_SOUND + 2), Close.TOO_BIG, "or fewer"),
    (HEADER.pack(1, 0) + JPEG + bytes(MAX_PICTURE), Close.TOO_BIG, "or fewer"),
])  # fmt: skip
def test_a_malformed_binary_message_gets_a_code_and_a_reason(message: bytes, code: Close, says: str) -> None:
    with pytest.raises(WireError, match=says) as caught:
        unpack(message)
    assert caught.value.code == code


def hello(**fields: Any) -> str:
    return json.dumps({"type": "hello", "version": 1, **fields})


def test_a_hello_says_who_comes_and_what_is_wanted() -> None:
    assert read_hello(hello()) == Hello(None, None, Kind.JPEG)
    assert read_hello(hello(session="a", character="hero", reply="webp")) == Hello("a", "hero", Kind.WEBP)
    assert read_hello(hello(driver="speech")).driver == "speech"
    assert read_hello(hello(renderer="diffusion")).renderer == "diffusion"


@pytest.mark.parametrize(("text", "says"), [
    ("{", "not JSON"), ("[]", "not an object"), ('{"type": 3}', "not an object"), ('{"type":"stats"}', "not a hello"),
    ('{"type":"hello","version":2}', "version 2"), (hello(reply="gif"), "jpeg, webp or h264"), (hello(reply=[1]), "jpeg, webp or h264"),
    (hello(renderer="oil"), "renderer is asked for other than warp, diffusion"), (hello(renderer=[]), "renderer is asked for"),
    (hello(driver="cat"), "camera, microphone, speech"), (hello(driver=3), "driver other than"),
    (hello(session=""), "session is not a name"), (hello(character="a\nb"), "character is not a name"),
    (hello(character="x" * 201), "character is not a name"), ("[" * 100_000, "more than"), ("[" * 60_000, "not JSON"),
])  # fmt: skip
def test_a_malformed_hello_gets_a_reason(text: str, says: str) -> None:
    with pytest.raises(WireError, match=says) as caught:
        read_hello(text)
    assert len(caught.value.reason.encode()) <= 123


@pytest.mark.parametrize(("text", "control"), [
    ('{"type":"intensity","value":4}', Control("intensity", 4.0)), ('{"type":"mirror","value":true}', Control("mirror", True)),
    ('{"type":"stats"}', Control("stats")), ('{"type":"character","value":"hero"}', Control("character", "hero")),
    ('{"type":"camera","value":"zoom:1.2"}', Control("camera", "zoom:1.2")),
    ('{"type":"renderer","value":"diffusion"}', Control("renderer", "diffusion")), ('{"type":"calibrate","value":9}', Control("calibrate")),
])  # fmt: skip
def test_controls_are_read(text: str, control: Control) -> None:
    assert read_control(text) == control


@pytest.mark.parametrize("text", [
    '{"type":"intensity","value":9}', '{"type":"intensity","value":NaN}', '{"type":"intensity","value":true}',
    '{"type":"renderer","value":"oil"}', '{"type":"renderer"}', '{"type":"intensity"}', '{"type":"mirror","value":1}', '{"type":"explode"}', '{"type":"camera","value":5}',
    '{"type":"intensity","value":1' + "0" * 400 + "}", json.dumps({"type": "camera", "value": "x" * MAX_TEXT}), '"text"', "",
])  # fmt: skip
def test_a_malformed_control_gets_a_reason(text: str) -> None:
    with pytest.raises(WireError) as caught:
        read_control(text)
    assert caught.value.reason


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_wire_error(message: bytes) -> None:
    try:
        media = unpack(message)
    except WireError as error:
        refused = error
    else:
        assert pack(media.kind, media.time_us, media.payload) == message
        return
    assert refused.code in Close._value2member_map_


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_TYPES = st.sampled_from(["hello", "intensity", "mirror", "character", "camera", "stats", "pause", "x"])


@settings(max_examples=400, deadline=None)
@given(
    st.text(max_size=60)
    | st.builds(lambda t, v, w: json.dumps({"type": t, "value": v, "version": w, "session": v}), _TYPES, _JSON, _JSON)
)
def test_no_text_raises_anything_but_a_wire_error(text: str) -> None:
    for read in (read_hello, read_control):
        with suppress(WireError):
            assert isinstance(read(text), Hello | Control)


def test_what_is_said_to_clients_is_one_object() -> None:
    assert json.loads(say("stats", fps=29.5)) == {"type": "stats", "fps": 29.5}
