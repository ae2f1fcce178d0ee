"""Prices, tiers and limits: one TOML file, `tariff.toml` beside this or another by path."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from runtime.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHIPPED = Path(__file__).with_name("tariff.toml")
LOCAL = "local"  # the tier while no key has been made
PRICED = ("act", "lip_sync", "capture")  # what can be ordered, server.jobs.orders.KINDS
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Tier:
    name: str
    priority: int
    concurrency: int | None = None  # tasks that run at once
    daily: int | None = None  # tasks begun in 24 hours
    waiting: int | None = None  # tasks that are not over
    per_minute: int | None = None  # tasks submitted
    credits: int = 0  # of a new account
    metered: bool = True


@dataclass(frozen=True, kw_only=True)
class Work:
    """How long, how often and with what a task is worked on."""

    tries: int
    losses: int
    lease_s: float
    patience_s: float
    cpu_s: int
    memory_mb: int
    segment_s: float
    upload_days: float
    output_days: float
    event_days: float


@dataclass(frozen=True, kw_only=True)
class Tariff:
    prices: Mapping[str, Fraction]  # credits a second of the result, by kind
    tiers: Mapping[str, Tier]
    work: Work

    def cost(self, kind: str, seconds: float, tier: str) -> int:
        """Whole credits of a task."""
        if not self.tiers[tier].metered:
            return 0
        return math.ceil(self.prices[kind] * Fraction(round(seconds * 1000), 1000))

    def tier(self, name: str) -> Tier:
        if name not in self.tiers:
            raise InputError(f"{name!r} is no tier; wanted one of {', '.join(self.tiers)}")
        return self.tiers[name]


def load_tariff(path: Path = SHIPPED) -> Tariff:
    """Raises InputError for a file that cannot be read or says what is not known."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read as a tariff ({error}); wanted TOML like {SHIPPED}") from error
    if unknown := set(told) - {"prices", "tiers", "work"}:
        raise InputError(f"{path} has [{min(unknown)}]; wanted [prices], [tiers.NAME] and [work]")
    try:
        prices = {kind: Fraction(str(price)) for kind, price in _table(path, told, "prices").items()}
    except ValueError as error:
        raise InputError(f"{path} has a price that is no number ({error})") from error
    if missing := [kind for kind in PRICED if kind not in prices]:
        raise InputError(f"{path} has no price for {missing[0]}; wanted one for each of {', '.join(PRICED)}")
    if any(price < 0 for price in prices.values()):
        raise InputError(f"{path} has a price below 0; wanted credits a second")
    tiers = {
        name: _record(Tier, {"name": name, **_table(path, {name: tier}, name)}, f"{path} [tiers.{name}]")
        for name, tier in _table(path, told, "tiers").items()
    }
    if LOCAL not in tiers:
        raise InputError(f"{path} has no [tiers.{LOCAL}]; wanted the tier of whoever needs no key")
    return Tariff(prices=prices, tiers=tiers, work=_record(Work, _table(path, told, "work"), f"{path} [work]"))


def _table(path: Path, told: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = told.get(name)
    if not isinstance(table, dict):
        raise InputError(f"{path} has no table [{name}]")
    return table


def _record(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := set(values) - set(known):
        raise InputError(f"{where} says {min(unknown)}; wanted {', '.join(known)}")
    for name, value in values.items():
        wants_text, wants_truth = known[name].type == "str", known[name].type == "bool"
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (isinstance(value, str) if wants_text else isinstance(value, bool) if wants_truth else is_number):
            raise InputError(f"{where} has {name} = {value!r}; wanted {known[name].type}")
        if "int" in str(known[name].type) and value != int(value):
            raise InputError(f"{where} has {name} = {value!r}; wanted a whole number")
        if is_number and value < 0:
            raise InputError(f"{where} has {name} = {value!r}; wanted 0 or more")
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"{where} is not complete ({error})") from error
