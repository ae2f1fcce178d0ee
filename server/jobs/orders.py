"""What can be ordered, and how an order is written down: JSON with a version, made from the option dataclasses.

Paths are relative to the service's data folder, or absolute where the orderer is this machine's own user
(`understudy batch`). A field that is not known is refused rather than passed over: an order is never half read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from runtime.errors import InputError
from server.act import ActOptions
from server.capture import CaptureOptions
from server.dub import DubOptions

VERSION = 1
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ActOrder:
    character: Path
    performance: Path
    options: ActOptions
    suffix: str = ".mp4"  # what kind of file is made


@dataclass(frozen=True, kw_only=True)
class DubOrder:
    clip: Path
    options: DubOptions
    suffix: str = ".mp4"


@dataclass(frozen=True, kw_only=True)
class CaptureOrder:
    video: Path
    options: CaptureOptions
    suffix: str = ".npz"


Order = Union[ActOrder, DubOrder, CaptureOrder]  # noqa: UP007 - a value on Python 3.10, for get_args
KINDS: dict[str, type[ActOrder] | type[DubOrder] | type[CaptureOrder]] = {
    "act": ActOrder, "lip_sync": DubOrder, "capture": CaptureOrder,
}  # fmt: skip


def kind_of(order: Order) -> str:
    """The name by which an order is priced."""
    return next(name for name, kind in KINDS.items() if isinstance(order, kind))


def as_text(order: Order) -> str:
    return json.dumps({"version": VERSION, "kind": kind_of(order), **_plain(order)}, sort_keys=True)


def from_text(text: str) -> Order:
    """The order that `as_text` wrote. Raises InputError for one that this version does not know."""
    told = json.loads(text)
    version, kind = told.pop("version", None), told.pop("kind", None)
    if version != VERSION or kind not in KINDS:
        raise InputError(f"the order is of version {version} and kind {kind}; wanted version {VERSION}")
    return order_of(kind, told)


def order_of(kind: str, told: Mapping[str, Any]) -> Order:
    """An order from plain values, as JSON has them. Raises InputError for what is missing, unknown or refused."""
    return _record(KINDS[kind], told, kind)


def inside(order: Order, folder: Path) -> Order:
    """The same order with its relative paths inside a folder."""
    return _moved(order, folder)


def paths_of(order: Order) -> list[Path]:
    """Every file an order reads."""
    return [path for path, _ in parts_of(order)]


def parts_of(order: Order) -> list[tuple[Path, str]]:
    """Every file an order reads, and what it is called there: character, sound, clip."""
    return list(_parts(order))


def _parts(record: Any) -> Iterator[tuple[Path, str]]:
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Path):
            yield value, field.name
        elif hasattr(value, "__dataclass_fields__"):
            yield from _parts(value)


def _moved(record: T, folder: Path) -> T:
    values = {field.name: getattr(record, field.name) for field in fields(record)}  # type: ignore[arg-type]
    changed = {
        name: folder / value if isinstance(value, Path) else _moved(value, folder)
        for name, value in values.items()
        if isinstance(value, Path) or hasattr(value, "__dataclass_fields__")
    }
    return replace(record, **changed)  # type: ignore[type-var]


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Path | Fraction):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _record(kind: type[T], told: Mapping[str, Any], where: str) -> T:
    hints = get_type_hints(kind)
    if unknown := set(told) - set(hints):
        raise InputError(f"{where} has no {min(unknown)}; wanted some of {', '.join(sorted(hints))}")
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}  # type: ignore[arg-type]
    if missing := needed - set(told):
        raise InputError(f"{where} lacks {', '.join(sorted(missing))}")
    try:
        return kind(**{name: _value(hints[name], value, f"{where}.{name}") for name, value in told.items()})
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error


def _value(hint: Any, value: Any, where: str) -> Any:
    choices = [h for h in get_args(hint) if h is not type(None)] if type(None) in get_args(hint) else [hint]
    if value is None and type(None) in get_args(hint):
        return None
    (wanted,) = choices
    if hasattr(wanted, "__dataclass_fields__") and isinstance(value, Mapping):
        return _record(wanted, value, where)
    if get_origin(wanted) is tuple and isinstance(value, list | tuple):
        return tuple(_value(get_args(wanted)[0], v, where) for v in value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is Path and isinstance(value, str):
        return Path(value)
    if wanted is Fraction and (isinstance(value, str) or is_number):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            raise InputError(f"{where} is {value!r}; wanted a number") from error
    if wanted is float and is_number:
        return float(value)
    if get_origin(wanted) is None and isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    raise InputError(f"{where} is {value!r}; wanted {getattr(wanted, '__name__', wanted)}")
