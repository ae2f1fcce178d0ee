"""Who asks: the account of a key, or this machine's own user while there are no keys.

A request is local only if it comes from this machine, was not passed on by a proxy, and was made to an address of
this machine by name: a page elsewhere can make a browser here ask, under a name of its own that leads here.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from starlette.requests import HTTPConnection

from server.api.problems import ApiError
from server.jobs.keys import Keys
from server.jobs.tariff import LOCAL

VERSIONS = ("2024-11-06",)  # of Runway's interface
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-real-ip")
_BEARER = re.compile(r"Bearer +(\S+) *\Z", re.IGNORECASE)


class AccessControl:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._any = False

    def needs_key(self) -> bool:
        """Whether a key was ever made, by this process or by another."""
        self._any = self._any or self._keys.any()
        return self._any

    def owner(self, request: HTTPConnection) -> str:
        """Whose request it is; raises ApiError. Blocks on the database."""
        version = request.headers.get("x-runway-version", VERSIONS[-1])
        if version not in VERSIONS:
            raise ApiError(400, f"X-Runway-Version is {version[:40]!r}; wanted {', '.join(VERSIONS)}")
        return self.owner_of(bearer(request), request)

    def owner_of(self, secret: str | None, request: HTTPConnection) -> str:
        """The same, for a key that came another way."""
        if not self.needs_key():
            if is_local(request):
                return LOCAL
            raise ApiError(401, "no key has been made yet, so only this machine is let in; make one: understudy keys")
        key = None if secret is None else self._keys.look_up(secret)
        if key is None:
            said = "no key came along" if secret is None else "the key is not known, or was revoked"
            raise ApiError(401, f"{said}; wanted Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})
        return key.owner

    def manager(self, request: HTTPConnection) -> None:
        """Let only somebody at this machine make and revoke keys; raises ApiError."""
        if not is_local(request):
            raise ApiError(403, "keys are made and revoked at the server's own machine: there, or by understudy keys")
        self.owner(request)


def bearer(request: HTTPConnection) -> str | None:
    """The key that came along, if any."""
    found = _BEARER.match(request.headers.get("authorization", ""))
    return None if found is None else found[1]


def is_local(request: HTTPConnection) -> bool:
    peer = request.client.host if request.client is not None else ""
    passed_on = any(name in request.headers for name in _PASSED_ON)
    return _is_loopback(peer) and not passed_on and _is_loopback(request.url.hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
