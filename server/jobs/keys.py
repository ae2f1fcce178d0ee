"""Keys that let clients in: shown once, kept as a hash, compared in constant time.

A key opens one account; several may open the same, so that one can be replaced without a gap.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Row, Select, insert, select, update

from runtime.errors import InputError
from server.jobs import ledger
from server.jobs.database import Database, accounts, keys
from server.jobs.records import Key
from server.jobs.tariff import LOCAL, Tariff

_SECRET = re.compile(r"key_([0-9a-f]{16})[0-9a-f]{112}\Z")
_NOBODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class NewKey:
    key: Key
    secret: str  # known to nobody once this is forgotten


class Keys:
    def __init__(self, database: Database, tariff: Tariff, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._tariff = tariff
        self._clock = clock

    def create(self, owner: str, tier: str) -> NewKey:
        """A key to an account, which is opened if it is new. Raises InputError for a tier that is none."""
        if not owner.strip() or len(owner) > 200 or not owner.isprintable():
            raise InputError(f"{owner!r} is no name for an account; wanted 1 to 200 letters")
        if owner == LOCAL:
            raise InputError(f"{LOCAL} is the account of whoever needs no key; wanted another name")
        id, now = secrets.token_hex(8), self._clock()
        secret = f"key_{id}{secrets.token_hex(56)}"
        with self._database.writing() as connection:
            if open_account(connection, self._tariff, now, owner, tier) != tier:
                connection.execute(update(accounts).where(accounts.c.owner == owner).values(tier=tier))
            connection.execute(insert(keys).values(id=id, owner=owner, digest=_digest(secret), created=now))
        return NewKey(Key(id=id, owner=owner, tier=tier, created=now, revoked=None), secret)

    def look_up(self, secret: str) -> Key | None:
        """Whose key it is; None if it is nobody's, or revoked. Takes as long either way."""
        shaped = _SECRET.match(secret)
        with self._database.reading() as connection:
            row = connection.execute(_known().where(keys.c.id == (shaped[1] if shaped else ""))).first()
        same = hmac.compare_digest(_digest(secret), _NOBODY if row is None else row.digest)
        return _key(row) if row is not None and same and row.revoked is None else None

    def all(self) -> list[Key]:
        """Every key there ever was, oldest first."""
        with self._database.reading() as connection:
            return [_key(row) for row in connection.execute(_known().order_by(keys.c.created))]

    def revoke(self, id: str) -> Key:
        """Nobody gets in with it any more. Raises InputError where there is none."""
        with self._database.writing() as connection:
            row = connection.execute(_known().where(keys.c.id == id)).first()
            if row is None:
                raise InputError(f"there is no key {id}; wanted one that `understudy keys list` names")
            if row.revoked is None:
                connection.execute(update(keys).where(keys.c.id == id).values(revoked=self._clock()))
        return next(key for key in self.all() if key.id == id)

    def any(self) -> bool:
        """Whether a key was ever made: from then on nobody gets in without one, not even when all are revoked."""
        with self._database.reading() as connection:
            return connection.execute(select(keys.c.id).limit(1)).first() is not None


def open_account(connection: Connection, tariff: Tariff, now: float, owner: str, tier: str) -> str:
    """Make sure there is an account, with the credits its tier begins with; returns the tier it has."""
    wanted = tariff.tier(tier)
    found = connection.execute(select(accounts.c.tier).where(accounts.c.owner == owner)).scalar()
    if found is not None:
        return str(found)
    connection.execute(insert(accounts).values(owner=owner, tier=tier, created=now, turn=0.0))
    if wanted.credits:
        ledger.grant(connection, now, owner, wanted.credits)
    return tier


def _digest(secret: str) -> str:
    # A plain hash does: the secret has 448 random bits, so there is nothing to guess from a dictionary.
    return hashlib.sha256(secret.encode()).hexdigest()


def _known() -> Select[tuple[str, str, str, str, float, float | None]]:
    columns = keys.c.id, keys.c.owner, keys.c.digest, accounts.c.tier, keys.c.created, keys.c.revoked
    return select(*columns).join(accounts, accounts.c.owner == keys.c.owner)


def _key(row: Row[tuple[str, str, str, str, float, float | None]]) -> Key:
    return Key(id=row.id, owner=row.owner, tier=row.tier, created=row.created, revoked=row.revoked)
