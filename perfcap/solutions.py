"""MediaPipe's solutions, imported without what draws them and what came after them.

To draw landmarks, mediapipe imports matplotlib.pyplot, which takes longer than all else of it, and its newer
tasks take as long as the solutions. Nobody here uses either, so while it is imported stand-ins are found in their place.
Each of its answers is a class of its own, which takes longer to make than all else around a network; a plain object
takes its place.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterable
from types import ModuleType, SimpleNamespace
from typing import Any

_ONE_AT_A_TIME = threading.Lock()  # its modules import each other in circles: two threads would wait for one another
_UNUSED = ("matplotlib", "matplotlib.pyplot", "mediapipe.tasks", "mediapipe.tasks.python")


def solution(name: str) -> Any:
    """One module of `mediapipe.python.solutions`."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _ONE_AT_A_TIME:
        standing_in = [module for module in _UNUSED if module not in sys.modules]
        sys.modules.update({module: ModuleType(module) for module in standing_in})
        try:
            found = importlib.import_module(f"mediapipe.python.solutions.{name}")
            base: Any = sys.modules["mediapipe.python.solution_base"]
            base.collections = SimpleNamespace(namedtuple=_answer)  # it asks nothing else of it
            return found
        finally:
            for module in standing_in:
                del sys.modules[module]


def _answer(name: str, fields: Iterable[str]) -> SimpleNamespace:
    """What `collections.namedtuple` stands for there: something whose fields are set once."""
    del name, fields
    return SimpleNamespace()
