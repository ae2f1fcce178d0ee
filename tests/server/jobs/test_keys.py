"""Keys are shown once, kept as a hash, found in constant time, and revoked for good."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import InputError
from server.jobs.database import sqlite_url
from server.jobs.store import Store
from tests.server.jobs.conftest import Clock


@pytest.fixture
def url(tmp_path: Path) -> str:  # one database will do: keys use nothing that differs
    return sqlite_url(tmp_path / "jobs.sqlite")


def test_a_key_opens_its_account(store: Store, clock: Clock) -> None:
    assert not store.keys.any()
    made = store.keys.create("ann", "paid")
    assert re.fullmatch(r"key_[0-9a-f]{128}", made.secret)
    assert store.keys.look_up(made.secret) == made.key
    assert (made.key.owner, made.key.tier, made.key.created, made.key.revoked) == ("ann", "paid", clock.now, None)
    assert store.keys.any()


def test_the_secret_is_nowhere_in_the_database(store: Store, tmp_path: Path) -> None:
    secret = store.keys.create("ann", "paid").secret
    store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("jobs.sqlite*"))
    assert secret[20:].encode() not in kept
    assert bytes.fromhex(secret[20:]) not in kept


@pytest.mark.parametrize("spoil", [lambda s: s[:-1] + "g", lambda s: s[:-1] + ("1" if s[-1] == "0" else "0")])
def test_a_key_that_is_off_by_a_letter_opens_nothing(store: Store, spoil: object) -> None:
    secret = store.keys.create("ann", "paid").secret
    assert callable(spoil)
    assert store.keys.look_up(spoil(secret)) is None


@pytest.mark.parametrize("nonsense", ["", "key_", "key_" + "0" * 128, "ключ", "x" * 10_000])
def test_nonsense_opens_nothing(store: Store, nonsense: str) -> None:
    store.keys.create("ann", "paid")
    assert store.keys.look_up(nonsense) is None


def test_a_known_and_an_unknown_key_are_compared_alike(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    real: Callable[[str, str], bool] = hmac.compare_digest

    def seen(a: str, b: str) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", seen)
    store.keys.look_up(store.keys.create("ann", "paid").secret)
    store.keys.look_up("key_" + "0" * 128)
    store.keys.look_up("nonsense")
    assert compared == [(64, 64)] * 3


def test_a_revoked_key_opens_nothing_while_its_accounts_other_key_does(store: Store, clock: Clock) -> None:
    first, second = store.keys.create("ann", "paid"), store.keys.create("ann", "paid")
    clock.now += 1
    revoked = store.keys.revoke(first.key.id)
    assert revoked.revoked == clock.now
    assert store.keys.look_up(first.secret) is None
    assert store.keys.look_up(second.secret) == second.key
    assert [key.id for key in store.keys.all()] == [first.key.id, second.key.id]
    clock.now += 1
    assert store.keys.revoke(first.key.id) == revoked
    assert store.keys.any()


def test_an_account_begins_with_its_tiers_credits_once(store: Store) -> None:
    store.keys.create("ann", "free")
    store.keys.create("ann", "free")
    assert store.standing("ann").credits == 1000


def test_a_new_key_of_another_tier_moves_the_account(store: Store) -> None:
    old = store.keys.create("ann", "free")
    store.keys.create("ann", "paid")
    found = store.keys.look_up(old.secret)
    assert found is not None
    assert found.tier == "paid"


@pytest.mark.parametrize(
    ("owner", "tier", "said"),
    [
        ("ann", "golden", "'golden' is no tier; wanted one of local, free, paid"),
        ("", "free", "no name for an account"),
        ("a\nb", "free", "no name for an account"),
        ("local", "free", "whoever needs no key"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused(store: Store, owner: str, tier: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        store.keys.create(owner, tier)
    assert store.keys.all() == []


def test_a_key_that_does_not_exist_cannot_be_revoked(store: Store) -> None:
    with pytest.raises(InputError, match="there is no key 1234"):
        store.keys.revoke("1234")
