"""Signatures hold for what was signed and nothing else; the secret is its owner's alone."""

from __future__ import annotations

import hmac
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from runtime.errors import InputError
from server.api.signing import Signer, load_signer, webhook_signature


def test_a_signature_holds_for_its_use_and_parts_alone() -> None:
    signer = Signer(bytes(32))
    signature = signer.sign("output", "a", "bc")
    assert signer.check(signature, "output", "a", "bc")
    for use, parts in (
        ("upload", ("a", "bc")),
        ("output", ("ab", "c")),
        ("output", ("a", "bc", "")),
        ("output", ("a",)),
    ):
        assert not signer.check(signature, use, *parts)
    assert not Signer(b"1" * 32).check(signature, "output", "a", "bc")
    assert not signer.check("é", "output", "a", "bc")


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first, again = load_signer(tmp_path), load_signer(tmp_path)
    assert first.sign("x") == again.sign("x")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]


def test_a_secret_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abcd")
    with pytest.raises(InputError, match=r"secret holds 2 bytes; wanted 32"):
        load_signer(tmp_path)
    (tmp_path / "secret").write_text("not hex")
    with pytest.raises(InputError, match=r"secret cannot be used .*; wanted 64 hex digits"):
        load_signer(tmp_path)


def test_a_webhook_is_checked_by_the_recipe_of_the_docs() -> None:
    header = webhook_signature("whsec_1", 1700000000, b'{"a": 1}')
    time, _, digest = header.removeprefix("t=").partition(",v1=")
    assert hmac.compare_digest(hmac.new(b"whsec_1", f"{time}.".encode() + b'{"a": 1}', sha256).hexdigest(), digest)
