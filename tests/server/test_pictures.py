from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import InputError
from server.pictures import cut_out, decode, encode, encode_cut_out
from server.wire import Kind, Media, pack, unpack

Rgb = NDArray[np.uint8]


@pytest.mark.parametrize("payload", [b"\xff\xd8\xff\xe0garbage", b"\xff\xd8\xff", b"RIFF0000WEBP"])
def test_a_damaged_picture_is_refused_with_a_sentence(payload: bytes) -> None:
    kind = Kind.WEBP if payload.startswith(b"RIFF") else Kind.JPEG
    with pytest.raises(InputError, match=f"a {kind.name} picture is damaged; wanted a whole one"):
        decode(Media(kind, 0, payload))


@pytest.mark.parametrize("side", [(8, 100), (100, 5000)])
def test_a_picture_of_a_senseless_size_is_refused_before_it_is_decoded(side: tuple[int, int]) -> None:
    data = encode(np.zeros((*side, 3), np.uint8), Kind.JPEG)
    with pytest.raises(InputError, match="wanted sides of 16 to 4096 px"):
        decode(Media(Kind.JPEG, 0, data))


def test_a_header_that_promises_more_than_there_is_costs_nothing() -> None:
    data = bytearray(encode(np.zeros((64, 64, 3), np.uint8), Kind.JPEG))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\x13\x88\x13\x88"
    with pytest.raises(InputError, match="5000x5000"):
        decode(Media(Kind.JPEG, 0, bytes(data)))


@pytest.mark.parametrize("kind", [Kind.JPEG, Kind.WEBP])
def test_no_damage_to_a_picture_raises_anything_else(kind: Kind, face: Rgb) -> None:
    data = encode(face[:96, :96], kind)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        for at in rng.integers(4, len(data), rng.integers(1, 12)):
            broken[at] = rng.integers(256)
        try:
            assert decode(Media(kind, 0, bytes(broken[: rng.integers(20, len(data))]))).ndim == 3
        except InputError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("kind", [Kind.JPEG, Kind.WEBP])
def test_a_picture_survives_the_wire(kind: Kind, face: Rgb) -> None:
    back = decode(unpack(pack(kind, 5, encode(face, kind))))
    assert np.abs(back.astype(int) - face).mean() < 4


def test_a_cut_out_carries_the_picture_and_its_opacity_side_by_side(face: Rgb) -> None:
    opacity = np.zeros(face.shape[:2], np.uint8)
    opacity[50:200, 60:220] = 255
    both = decode(Media(Kind.JPEG, 0, encode_cut_out(face, opacity)))
    seen, matte = both[:, : face.shape[1]], both[:, face.shape[1] :]
    assert np.abs(matte[..., 0].astype(int) - opacity).mean() < 2
    assert np.abs(seen.astype(int) - face).mean() < 4


def test_what_shines_through_at_the_edges_is_taken_away() -> None:
    person, behind = np.array((200, 40, 40), np.float32), np.full((4, 256, 3), (0, 0, 250), np.uint8)
    opacity = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    share = opacity[..., None] / np.float32(255)
    rgb = (person * share + behind * (1 - share) + 0.5).astype(np.uint8)
    own, firm = cut_out(rgb, opacity, behind)
    assert np.abs(own[:, 120:].astype(int) - person).max() <= 3
    assert (firm[0, 0], firm[0, 110], firm[0, 235]) == (0, 0, 255)
    assert np.abs(cut_out(rgb, opacity, None)[0].astype(int) - rgb).max() == 0
