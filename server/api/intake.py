"""What a request points at, brought into the data folder and looked at: uploads, data: URIs, files elsewhere.

All three become uploads of the account, in a folder of their own, and are swept away like them. What was found
out about a file lies beside it, so it is looked at once. Blocks; `server.api.service` runs it in threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from runtime.errors import InputError
from server.api.fetch import Fetcher, FetchLimits, read_data_uri
from server.api.probe import Kind, Media, ProbeLimits, probe
from server.jobs.records import Upload
from server.jobs.uploads import Uploads

UPLOADED = "runway://"
FACTS = "facts.json"
_ORDERS = uuid.UUID("5c1a0f3e-64f7-4f0b-a1b7-0f6f7a3d9a51")  # the namespace of ids that come of idempotency keys


@dataclass(frozen=True)
class Taken:
    """A file that a task may read."""

    upload: str  # its id
    path: Path  # in the data folder
    media: Media


class WrongKindError(InputError):
    """A file is here and whole, and not what was wanted."""

    def __init__(self, text: str, taken: Taken) -> None:
        super().__init__(text)
        self.taken = taken


@dataclass(frozen=True)
class Intake:
    data: Path
    uploads: Uploads
    fetcher: Fetcher
    fetching: FetchLimits
    probing: ProbeLimits

    def take(self, owner: str, uri: str, wanted: Kind, called: str, again: str | None) -> Taken:
        """The file of a URI; the same one when a request is made `again` under the same key. Raises InputError."""
        if uri.startswith(UPLOADED):
            upload = self._uploaded(owner, uri)
        else:
            upload = self._copied(owner, uri, None if again is None else _same(owner, again, called, uri))
        taken = Taken(upload.id, Path(upload.path), self.look(upload))
        if taken.media.kind != wanted:
            raise WrongKindError(f"{called} is {_a(taken.media.kind)}; wanted {_a(wanted)}", taken)
        return taken

    def look(self, upload: Upload) -> Media:
        """What an upload is; raises InputError for what is none of ours to work on."""
        path = self.data / upload.path
        facts = path.with_name(FACTS)
        if not facts.exists():
            media = probe(path, self.probing, upload.name)
            partial = facts.with_name(f".{FACTS}.{secrets.token_hex(6)}")
            partial.write_text(json.dumps(asdict(media)), encoding="utf-8")
            os.replace(partial, facts)
        return Media(**json.loads(facts.read_text(encoding="utf-8")))

    def place(self, upload: Upload) -> Path:
        """A hidden neighbour to write an upload to before `arrived` gives it its name."""
        folder = (self.data / upload.path).parent
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f".partial-{secrets.token_hex(6)}{Path(upload.path).suffix}"

    def arrived(self, upload: Upload, partial: Path) -> bool:
        """A whole file takes its name; False if one was here before, which stays: what was looked at is never changed."""
        path = self.data / upload.path
        try:
            os.link(partial, path)
            is_first = True
        except FileExistsError:
            is_first = False
        if self.uploads.received(upload.id, path.stat().st_size) is None:
            raise InputError("the upload was forgotten meanwhile; wanted it within a day")
        return is_first

    def _uploaded(self, owner: str, uri: str) -> Upload:
        upload = self.uploads.get(uri.removeprefix(UPLOADED))
        if upload is None or upload.owner != owner:
            raise InputError(f"{uri} is not known; wanted an upload of the last 24 hours")
        if upload.n_bytes is None:
            raise InputError(f"{uri} has not arrived; wanted its file sent to its uploadUrl first")
        return upload

    def _copied(self, owner: str, uri: str, id: str | None) -> Upload:
        upload = self.uploads.announce(owner, _name(uri), id)
        if upload.n_bytes is not None:
            return upload
        partial = self.place(upload)
        try:
            if uri.startswith("data:"):
                partial.write_bytes(read_data_uri(uri, self.fetching))
            else:
                self.fetcher.download(uri, partial)
            self.arrived(upload, partial)
            return upload
        finally:
            partial.unlink(missing_ok=True)


def _name(uri: str) -> str:
    """What a file is called in messages; of an address its last part."""
    if uri.startswith("data:"):
        return "the data: URI"
    return urlsplit(uri).path.rpartition("/")[2][:100] or "the file"


def _same(owner: str, again: str, called: str, uri: str) -> str:
    digest = hashlib.sha256(uri.encode()).hexdigest()
    return str(uuid.uuid5(_ORDERS, "\n".join((owner, again, called, digest))))


def _a(kind: Kind) -> str:
    return {"image": "a picture", "video": "a video", "audio": "sound"}[kind]
