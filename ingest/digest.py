"""Content digests and the ids derived from them: the same input gives the same ids on every machine."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

_NAMESPACE = uuid.UUID("8a4f6c1e-5d0b-5e7a-9c39-2f1d6a7b8c90")
_CHUNK = 1 << 20


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as ``sha256sum`` prints it; processors have instructions for it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def make_id(kind: str, *parts: object) -> str:
    """UUID (version 5) of a kind of thing and what determines it."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join([kind, *map(str, parts)])))
