"""What only this server could have written: links to outputs, upload forms, the signatures of webhooks.

One secret, made at the first start and kept in the data folder where only its owner may read it. Each use
signs its own name along, so a signature for one thing is none for another.
"""

from __future__ import annotations

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from runtime.errors import InputError

SECRET_FILE = "secret"
SECRET_BYTES = 32
LINK_S = 24 * 3600  # links and upload forms hold for so long


class Signer:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, use: str, *parts: str) -> str:
        """64 hex digits that hold for these parts, in this order, and no others."""
        message = "".join(f"{len(part)}:{part}" for part in (use, *parts))
        return hmac.new(self._secret, message.encode(), sha256).hexdigest()

    def check(self, signature: str, use: str, *parts: str) -> bool:
        """Whether a signature holds; takes as long either way."""
        return hmac.compare_digest(self.sign(use, *parts).encode(), signature.encode())

    def webhook_secret(self, owner: str) -> str:
        """What an account checks its webhooks with."""
        return f"whsec_{self.sign('webhook secret', owner)}"


def load_signer(data: Path) -> Signer:
    """The signer of a data folder, with a new secret where there is none yet; raises InputError."""
    path = data / SECRET_FILE
    try:
        if not path.exists():
            _write_once(path, secrets.token_hex(SECRET_BYTES))
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be used ({error}); wanted {2 * SECRET_BYTES} hex digits") from error
    if len(secret) != SECRET_BYTES:
        raise InputError(f"{path} holds {len(secret)} bytes; wanted {SECRET_BYTES}, or no file: then it is made")
    return Signer(secret)


def _write_once(path: Path, text: str) -> None:
    """Whole or not at all, readable by its owner alone; who comes second keeps what the first wrote."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def webhook_signature(secret: str, time: int, body: bytes) -> str:
    """`t=1764230400,v1=…`: HMAC-SHA256 over `time.body`, so that neither can be changed nor sent again later."""
    digest = hmac.new(secret.encode(), b"%d." % time + body, sha256).hexdigest()
    return f"t={time},v1={digest}"
