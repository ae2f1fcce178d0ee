"""What every route is given: the service, the account that asks, and where links begin."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from server.api.access import VERSIONS
from server.api.service import Service

_key = HTTPBearer(auto_error=False, description="A key; without one only while none was made, from this machine.")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _owner(
    request: Request,
    _credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_key)],
    _version: Annotated[
        str | None, Header(alias="X-Runway-Version", description=f"{VERSIONS[-1]}, or left out.")
    ] = None,
) -> str:
    return _service(request).access.owner(request)


def _manager(
    request: Request, _credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_key)]
) -> None:  # fmt: skip
    _service(request).access.manager(request)


def _base(request: Request) -> str:
    return _service(request).options.public_url or str(request.base_url).rstrip("/")


Held = Annotated[Service, Depends(_service)]
Owner = Annotated[str, Depends(_owner)]
Base = Annotated[str, Depends(_base)]
MANAGED = [Depends(_manager)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[!-~]+$",
        description="The same request under the same key is the same task.",
    ),
]  # fmt: skip
