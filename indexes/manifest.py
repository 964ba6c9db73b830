"""What the embedded engine should find when it opens a collection, kept outside of it.

The engine loads a damaged write-ahead log without a word and with fewer points. The manifest knows how many there were.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rsrag.errors import IndexFailure
from rsrag.indexes.base import CollectionSpec
from rsrag.indexes.schema import spec_from_json, spec_to_json

FILE_NAME = "manifest.json"
_REINDEX = "`rsrag reindex` rebuilds it from the catalogue"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a collection is for, and at least how many points were acknowledged."""

    spec: CollectionSpec
    points: int


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a collection's folder.

    Raises:
        IndexFailure: missing or unreadable.
        SchemaMismatch: written by another version of rsrag.
    """
    path = folder / FILE_NAME
    try:
        stored = json.loads(path.read_bytes())
        points = int(stored["points"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexFailure(f"cannot read {path}: {error}", hint=_REINDEX) from error
    return Manifest(spec_from_json(stored.get("spec"), str(folder)), points)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest in one step, durably: after a power cut there is the old one or the new one.

    Raises:
        IndexFailure: the disk is full or read-only.
    """
    text = json.dumps({"spec": spec_to_json(manifest.spec), "points": manifest.points}, indent=1)
    fresh = folder / f"{FILE_NAME}.new"
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(folder / FILE_NAME)
        sync_directory(folder)
    except OSError as error:
        raise IndexFailure(f"cannot write {folder / FILE_NAME}: {error.strerror}") from error


def sync_directory(folder: Path) -> None:
    """Make renames in a directory durable, where the system can."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
