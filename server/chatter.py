"""Keep native libraries' chatter off the user's screen, and nothing else.

MediaPipe and TFLite write notices to file descriptor 2 from C++, from several threads, past Python
and past every environment variable they document. So descriptor 2 is piped through a small child
that drops the lines known to be notices and passes on all others: a real error, even the last words
of a process that aborts, still shows. Python's own `sys.stderr` goes straight to the screen.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
import warnings
from contextlib import suppress

NOTICES = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog"
    rb"|INFO: |VERBOSE: "  # TFLite
    rb"|[IW]\d{4} \d\d:\d\d:\d\d\.\d+ "  # glog and absl, information and warnings; never E or F
    rb"|[IW]\d{4} \d\d:\d\d:\d{10}\.\d+ )"
)


def quiet_natives() -> None:
    """From here on, for the whole process. Call before other threads start."""
    warnings.filterwarnings("ignore", r"SymbolDatabase\.GetPrototype\(\) is deprecated", UserWarning)
    if not hasattr(os, "fork"):
        return
    screen = os.dup(2)
    for_reading, for_writing = os.pipe()
    if os.fork() == 0:
        _filter(for_reading, for_writing, screen)
    os.close(for_reading)
    os.dup2(for_writing, 2)
    os.close(for_writing)
    sys.stderr = os.fdopen(screen, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)
    faulthandler.enable(sys.stderr)


def _filter(source: int, other_end: int, screen: int) -> None:
    """The child: lines from `source` to `screen` until every writer is gone."""
    try:
        for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for the parent; the child outlives it
            signal.signal(stop, signal.SIG_IGN)
        os.close(other_end)
        for inherited in (0, 1, 2):  # whoever waits for the command's output must not wait for the child
            with suppress(OSError):
                os.close(inherited)
        with os.fdopen(source, "rb") as lines:
            for line in lines:
                if line.strip() and not NOTICES.match(line):
                    os.write(screen, line)
    finally:
        os._exit(0)
