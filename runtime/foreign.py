"""What a file that nothing could open seems to be, in words for the user.

Looks at its first bytes and, of an mp4, at the list of its boxes. It does not decode anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

HEAD_BYTES = 4096
TEXT_CONTROLS = frozenset(b"\t\n\r\f\b\x1b")  # control characters that text may hold


def seems(path: Path) -> str | None:
    """`holds text`, `is a HEIC picture, …`, `is cut short: …`, or None where there is nothing to say."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if _is_heic(head):
                return "is a HEIC picture, to be saved as JPEG first"
            if _is_text(head):
                return "is an SVG drawing, to be saved as PNG first" if b"<svg" in head else "holds text"
            if head[4:8] == b"ftyp" and not _has_index(file, path.stat().st_size):
                return "is cut short: its index is missing"
    except OSError:
        pass
    return None


def _is_heic(head: bytes) -> bool:
    """Whether a file with these first bytes holds pictures as telephones keep them (ISO/IEC 23008-12)."""
    return head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def _is_text(head: bytes) -> bool:
    if not head or any(byte < 32 and byte not in TEXT_CONTROLS for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # the last character may be cut
    return True


def _has_index(file: BinaryIO, n_bytes: int) -> bool:
    """Whether an mp4's top-level boxes (ISO/IEC 14496-12, 4.2) include a whole `moov`."""
    at = 0
    while at + 8 <= n_bytes:
        file.seek(at)
        header = file.read(16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size == 0:  # to the end of the file
            size = n_bytes - at
        if kind == b"moov":
            return at + size <= n_bytes
        if size < 8:
            return False
        at += size
    return False
