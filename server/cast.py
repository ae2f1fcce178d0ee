"""The characters that a server can show: pictures and saved rigs in a folder, made ready once and kept."""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import synth.character
from runtime.errors import InputError
from runtime.image import load_image, save_image
from server.character import load_character
from server.rigging import RigLimits, rig_apart
from synth.rig import Character

KEPT = 4  # rigs kept in memory
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


class Cast:
    """Characters by name. With an empty folder it is the demo's own portrait, where its package is installed."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "characters"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._ready: OrderedDict[str, Character] = OrderedDict()
        self._lock = threading.Lock()  # of what is ready, held for moments
        self._making = threading.Lock()  # one rig at a time; nobody whose character is ready waits for it
        self._first = threading.Lock()

    def names(self) -> list[str]:
        """Those there are, by name; raises InputError where there is none."""
        return self._names() or self._add_demo()

    def _names(self) -> list[str]:
        known = (synth.character.SUFFIX, *PICTURES)
        return sorted(
            p.stem for p in self._folder.iterdir() if p.suffix.lower() in known and not p.name.startswith(".")
        )  # what is just being written is hidden

    def character(self, name: str) -> Character:
        """One of them, ready to perform; raises InputError."""
        found = self._found(name)
        if found is None:
            with self._making:
                found = self._found(name) or self._remember(name, load_character(self._path(name)))
        return found

    def _found(self, name: str) -> Character | None:
        with self._lock:
            if name in self._ready:
                self._ready.move_to_end(name)
            return self._ready.get(name)

    def _remember(self, name: str, character: Character) -> Character:
        with self._lock:
            self._ready[name] = character
            while len(self._ready) > KEPT:
                self._ready.popitem(last=False)
            return character

    def picture(self, name: str) -> Path:
        """A PNG of one of them, as it looks at rest; raises InputError. No rig is made for it."""
        source = self._path(name)
        path = self._folder / ".pictures" / f"{name}.png"
        if not path.exists():
            saved = source.suffix.lower() == synth.character.SUFFIX
            rgb = synth.character.load(source).rgb if saved else load_image(source)
            with self._first:
                if not path.exists():
                    path.parent.mkdir(exist_ok=True)
                    save_image(path, rgb)
        return path

    def add(self, picture: Path, called: str) -> str:
        """Make a picture of this machine's own user a character, and keep it; its name. Raises InputError."""
        return self._keep(called, lambda made: synth.character.save(load_character(picture), made, source=called))

    def take_in(self, picture: Path, called: str, limits: RigLimits = RigLimits()) -> str:  # noqa: B008
        """The same with a picture that somebody sent, which is opened in a process of its own."""
        return self._keep(called, lambda made: rig_apart(picture, made, called, limits))

    def _keep(self, called: str, make: Callable[[Path], None]) -> str:
        stem = re.sub(r"[^\w-]+", "-", Path(called).stem).strip("-")[:60] or "character"
        made = self._folder / f".{secrets.token_hex(6)}{synth.character.SUFFIX}"
        try:
            make(made)
            with self._first:
                taken = {p.stem for p in self._folder.iterdir()}
                name = next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, 1_000_000))) if n not in taken)
                made.rename(made.with_name(f"{name}{synth.character.SUFFIX}"))
            return name
        finally:
            for left in (made, *made.parent.glob(f".{made.name}.*")):  # who is killed in writing leaves a part of it
                left.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        for suffix in (synth.character.SUFFIX, *PICTURES):
            path = self._folder / f"{name}{suffix}"
            if path.parent == self._folder and path.exists():
                return path
        raise InputError(f"there is no character {name!r}; wanted one of {', '.join(self.names())}")

    def _add_demo(self) -> list[str]:
        from server.demo import ASTRONAUT

        with self._first:  # several may ask for it at once
            if not self._names():
                save_image(self._folder / "astronaut.png", ASTRONAUT.load())
            return self._names()
