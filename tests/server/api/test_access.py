"""Whoever comes from elsewhere, through a proxy or under a foreign name is not taken for this machine's user."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from server.api.access import AccessControl, is_local
from server.api.problems import ApiError
from server.jobs.store import Store, open_store
from server.jobs.tariff import LOCAL


def request(peer: str = "127.0.0.1", host: str = "127.0.0.1:8765", **headers: str) -> HTTPConnection:
    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "headers": raw, "client": (peer, 5000)}
    return HTTPConnection(scope)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


@pytest.mark.parametrize("asked", [
    request(), request(host="localhost:1"), request(host="localhost"), request("::1", "[::1]:8765"),
    request("::ffff:127.0.0.1"), request("127.0.0.7", "127.0.0.7"),
])  # fmt: skip
def test_this_machine_by_its_own_name_is_local(asked: HTTPConnection) -> None:
    assert is_local(asked)


@pytest.mark.parametrize("asked", [
    request("10.0.0.7"), request(host="evil.example:8765"), request(host="studio.example"), request(host=""),
    request(x_forwarded_for="8.8.8.8"), request(forwarded="for=8.8.8.8"), request(x_real_ip="8.8.8.8"), request("testclient"),
    request(host="localhost.evil.example"), request("::ffff:10.0.0.1"),
])  # fmt: skip
def test_all_others_are_not(asked: HTTPConnection) -> None:
    assert not is_local(asked)


def test_while_there_is_no_key_this_machine_passes_whatever_key_it_carries(store: Store) -> None:
    access = AccessControl(store.keys)
    assert access.owner(request()) == access.owner(request(authorization="Bearer anything")) == LOCAL
    for other in (request("10.0.0.7"), request("10.0.0.7", authorization="Bearer anything")):
        with pytest.raises(ApiError, match="only this machine is let in") as refused:
            access.owner(other)
        assert refused.value.status_code == 401


def test_once_there_is_a_key_everybody_needs_one_even_after_it_is_revoked(store: Store) -> None:
    access = AccessControl(store.keys)
    assert access.owner(request()) == LOCAL
    made = store.keys.create("alice", "free")
    assert access.owner(request("10.0.0.7", authorization=f"bearer {made.secret}")) == "alice"
    for headers in (
        {},
        {"authorization": "Bearer key_0"},
        {"authorization": made.secret},
        {"authorization": "Basic eA=="},
    ):
        with pytest.raises(ApiError) as refused:
            access.owner(request(**headers))
        assert refused.value.status_code == 401
    store.keys.revoke(made.key.id)
    with pytest.raises(ApiError, match="revoked"):
        access.owner(request(authorization=f"Bearer {made.secret}"))
    assert AccessControl(store.keys).needs_key()


def test_keys_are_managed_from_this_machine_alone(store: Store) -> None:
    access = AccessControl(store.keys)
    access.manager(request())
    made = store.keys.create("alice", "free")
    access.manager(request(authorization=f"Bearer {made.secret}"))
    for other, status in ((request(), 401), (request("10.0.0.7", authorization=f"Bearer {made.secret}"), 403)):
        with pytest.raises(ApiError) as refused:
            access.manager(other)
        assert refused.value.status_code == status


def test_another_version_of_the_interface_is_told(store: Store) -> None:
    access = AccessControl(store.keys)
    assert access.owner(request(x_runway_version="2024-11-06")) == LOCAL
    with pytest.raises(ApiError, match=r"X-Runway-Version is '2023-09-06'; wanted 2024-11-06") as refused:
        access.owner(request(x_runway_version="2023-09-06"))
    assert refused.value.status_code == 400
