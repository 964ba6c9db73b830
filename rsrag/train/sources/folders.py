"""Image folders: ``SPLIT/CLASS/picture`` or, in a set without splits, ``CLASS/picture``."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import hidden, open_files
from rsrag.train.sources.record import PICTURES, Listing, Problem
from rsrag.train.sources.records import RecordsBuilder


def list_folders(source: SourceConfig, name: str, data_dir: Path) -> Listing:
    """Pictures of a folder or zip; the class is the folder a picture lies in.

    A set with any ``SPLIT/CLASS/picture`` is one with splits, and only those of the wanted split are taken. Hidden
    files and folders, and what macOS puts beside the files of a zip, are no part of a set.

    Raises:
        SourceError: the set is missing.
    """
    files = open_files(data_dir / source.path)
    pictures = [(n, PurePosixPath(n).parts) for n in files.names if n.lower().endswith(PICTURES) and not hidden(n)]
    if any(len(parts) == 3 for _, parts in pictures):
        chosen = [(n, parts[1]) for n, parts in pictures if len(parts) == 3 and parts[0] == source.split]
    else:
        chosen = [(n, parts[0]) for n, parts in pictures if len(parts) == 2]
    records = RecordsBuilder(name)
    for file, label in chosen:
        records.add(file, files.place(file), label, (), {})
    return Listing(records.records(), [Problem(name, file, "picture", reason) for file, reason in files.refused])
