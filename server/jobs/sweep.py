"""Files that the store needs no more, taken away.

Files go first and what is known of them after, so it does not matter who is killed in between. A folder that
this store never knew of is left alone: it may be another's, when a server is started on the wrong database.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from server.jobs.store import Store


def sweep(store: Store, data: Path) -> int:
    """Returns how many folders went."""
    store.forget_events()
    n = 0
    for upload in store.unwanted_uploads():
        n += _remove((data / upload.path).parent)
        store.uploads.forget(upload.id)
    for folder in _folders(data / "outputs"):
        wanted = store.wanted_outputs(folder.name)
        if wanted is None:
            continue
        kept = {(data / output).parent for output in wanted}
        n += sum(_remove(attempt) for attempt in _folders(folder) if attempt not in kept)
        if not kept:
            n += _remove(folder)
    return n


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []


def _remove(folder: Path) -> int:
    there = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return int(there and not folder.exists())
