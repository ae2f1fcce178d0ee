"""Files that nothing in the store needs any more, taken away.

What may go is decided by what the store knows and never by what was about to be done, so it does not matter
who was killed in between.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from server.jobs.records import State, Task
from server.jobs.store import Store

YOUNG_S = 3600.0  # a folder that nobody knows is left alone for so long: it may be about to be known


def sweep(store: Store, data: Path) -> int:
    """Forget what is old, then remove the files nobody needs; returns how many folders went."""
    store.forget_old()
    n = 0
    for folder in _folders(data / "uploads"):
        if store.uploads.get(folder.name) is None and _is_old(folder):
            n += _remove(folder)
    for folder in _folders(data / "outputs"):
        task = store.task(folder.name)
        if task is None or _is_forgotten(store, task):
            n += _remove(folder) if task is not None or _is_old(folder) else 0
        elif task.state is not State.RUNNING:
            kept = {(data / output).parent for output in task.outputs}
            n += sum(_remove(attempt) for attempt in _folders(folder) if attempt not in kept)
    return n


def _is_forgotten(store: Store, task: Task) -> bool:
    return task.ended is not None and store.clock() - task.ended > store.tariff.work.output_days * 86_400


def _is_old(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > YOUNG_S
    except FileNotFoundError:
        return False


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []


def _remove(folder: Path) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    return int(not folder.exists())
