"""Credits: whole numbers in lines that are only ever added. A balance is the sum of an owner's lines, and stands
in the last of them.

A task's credits are reserved when it is submitted and closed once, when it is over: settled (what was
reserved beyond its cost comes back) or refunded. That neither happens twice is a constraint of the table.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from server.jobs.database import ledger


def balance(connection: Connection, owner: str) -> int:
    last = select(ledger.c.balance).where(ledger.c.owner == owner).order_by(ledger.c.number.desc()).limit(1)
    return int(connection.execute(last).scalar() or 0)


def grant(connection: Connection, now: float, owner: str, credits: int) -> None:
    _add(connection, now, owner, None, "grant", credits)


def reserve(connection: Connection, now: float, owner: str, task: str, credits: int) -> None:
    _add(connection, now, owner, task, "reserve", -credits)


def settle(connection: Connection, now: float, owner: str, task: str, cost: int) -> int:
    """Charge a task that succeeded, never more than was reserved; returns what it was charged."""
    reserved = _reserved(connection, task)
    charged = min(cost, reserved)
    _add(connection, now, owner, task, "settle", reserved - charged)
    return charged


def refund(connection: Connection, now: float, owner: str, task: str) -> None:
    _add(connection, now, owner, task, "refund", _reserved(connection, task))


def _reserved(connection: Connection, task: str) -> int:
    amount = connection.execute(select(ledger.c.amount).where(ledger.c.task == task, ledger.c.closes == 0)).scalar_one()
    return -int(amount)


def _add(connection: Connection, now: float, owner: str, task: str | None, step: str, amount: int) -> None:
    line = {
        "time": now, "owner": owner, "task": task, "step": step, "closes": int(step in ("settle", "refund")),
        "amount": amount, "balance": balance(connection, owner) + amount,
    }  # fmt: skip
    connection.execute(insert(ledger).values(**line))
