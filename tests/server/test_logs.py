from __future__ import annotations

import json
import logging
import sys

from server.logs import Json, Text


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("server.house", logging.INFO, __file__, 1, message, None, None)
    vars(made).update(extra)
    return made


def test_a_line_for_a_collector_is_one_object_with_what_belongs_to_it() -> None:
    line = json.loads(Json().format(record("a session ends", session="1f2e", rendered=7)))
    assert (line["message"], line["session"], line["rendered"], line["level"]) == ("a session ends", "1f2e", 7, "info")
    assert "args" not in line


def test_an_error_takes_its_trace_along() -> None:
    try:
        raise RuntimeError("made to fail")
    except RuntimeError:
        failed = record("a session failed")
        failed.exc_info = sys.exc_info()
    assert "made to fail" in json.loads(Json().format(failed))["trace"]
    assert "made to fail" in Text().format(failed)


def test_a_line_for_a_terminal_is_a_sentence() -> None:
    assert Text().format(record("a session begins", session="1f2e")).endswith("a session begins (session 1f2e)")
