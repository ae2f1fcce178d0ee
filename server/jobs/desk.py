"""`understudy keys`: what is asked and answered at the desk where keys are made, listed and revoked."""

from __future__ import annotations

import contextlib
import json as json_format
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from runtime.errors import InputError
from server.jobs.database import in_words
from server.jobs.store import Store, open_store


@contextlib.contextmanager
def _opened(data: Path, database: str | None, tariff: Path | None, *, new: bool = False) -> Iterator[Store]:
    if not new and database is None and not data.is_dir():
        raise InputError(f"{data} is no folder; wanted the server's data folder")
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{data} cannot be made ({error.strerror}); wanted the server's data folder") from error
    with in_words(), contextlib.closing(open_store(data, database, tariff)) as store:
        yield store


def create(
    data: Path, database: str | None, tariff: Path | None, name: str, tier: str, credits: int, *, json: bool
) -> None:
    """Prints the secret alone on stdout, so that it can be kept by a pipe; the rest goes to stderr."""
    with _opened(data, database, tariff, new=True) as store:
        first = not store.keys.any()
        made = store.keys.create(name, tier)
        if credits:
            store.grant(name, credits)
        left = store.standing(name).credits
    if json:
        print(json_format.dumps({**asdict(made.key), "credits": left, "secret": made.secret}))
        return
    print(made.secret)
    print(f"{name} ({tier}) has {left} credits; the key is shown this once, its id is {made.key.id}", file=sys.stderr)
    if first:
        print(f"from now on a server of {data} lets nobody in without a key", file=sys.stderr)


def show(data: Path, database: str | None, tariff: Path | None, *, json: bool) -> None:
    with _opened(data, database, tariff) as store:
        listed = [(key, store.standing(key.owner).credits) for key in store.keys.all()]
    if json:
        print(json_format.dumps([{**asdict(key), "credits": credits} for key, credits in listed]))
        return
    if not listed:
        print("no key was made yet; understudy keys create NAME makes one")
    for key, credits in listed:
        state = "" if key.revoked is None else f"  revoked {_day(key.revoked)}"
        print(f"{key.id}  {key.owner}  {key.tier}  {credits} credits  made {_day(key.created)}{state}")


def revoke(data: Path, database: str | None, tariff: Path | None, id: str) -> None:
    with _opened(data, database, tariff) as store:
        key = store.keys.revoke(id.removeprefix("key_")[:16])
    print(f"{key.id} of {key.owner} is revoked")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()
