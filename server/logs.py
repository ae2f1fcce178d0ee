"""What the server tells of itself on stderr: sentences for a terminal, JSON lines for a collector.

Sessions are named by a label that lets nobody in; pictures and sound are never logged.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from typing import Any, Literal

REQUEST: ContextVar[str | None] = ContextVar("REQUEST", default=None)  # id of the one that is being answered
Style = Literal["text", "json"]
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {k: v for k, v in vars(record).items() if k not in _OWN}


class Text(logging.Formatter):
    """`12:00:01 a session begins (session 1f2e3d4c)`."""

    def format(self, record: logging.LogRecord) -> str:
        told = ", ".join(f"{k} {v}" for k, v in _extra(record).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.getMessage()}{f' ({told})' if told else ''}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class Json(logging.Formatter):
    """One object a line: time (ISO 8601), level, message, and what belongs to it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower(),
            "logger": record.name, "message": record.getMessage(), **_extra(record),
        }  # fmt: skip
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _mark(record: logging.LogRecord) -> bool:
    """Put the id of the request that is being answered beside whatever is told meanwhile."""
    if (request := REQUEST.get()) is not None:
        record.request = request
    return True


def tell(style: Style, *, quiet: bool) -> None:
    """Send what the server tells to stderr; with `quiet` only what went wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if style == "json" else Text())
    handler.addFilter(_mark)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("server").setLevel(logging.WARNING if quiet else logging.INFO)
