"""Image folders: ``SPLIT/CLASS/picture`` or, in a set without splits, ``CLASS/picture``."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from rsrag.errors import SourceError
from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import hidden, open_files
from rsrag.train.sources.record import PICTURES, Listing, Problem
from rsrag.train.sources.records import RecordsBuilder


def list_folders(source: SourceConfig, name: str, data_dir: Path) -> Listing:
    """Pictures of a folder or zip; the class is the folder a picture lies in.

    A set with any ``SPLIT/CLASS/picture`` is one with splits, and only those of the wanted split are taken; pictures
    that lie higher or deeper are noted. Hidden files and folders, and what macOS puts beside the files of a zip, are no
    part of a set.

    Raises:
        SourceError: the set is missing, or all of its pictures lie elsewhere.
    """
    files = open_files(data_dir / source.path)
    pictures = [(n, PurePosixPath(n).parts) for n in files.names if n.lower().endswith(PICTURES) and not hidden(n)]
    splits = sorted({parts[0] for _, parts in pictures if len(parts) == 3})
    records = RecordsBuilder(name)
    problems = [Problem(name, file, "picture", reason) for file, reason in files.refused]
    for file, parts in pictures:
        if len(parts) != (3 if splits else 2):
            problems.append(
                Problem(name, file, "picture", f"lies elsewhere than {'SPLIT/' * bool(splits)}CLASS/picture")
            )
        elif not splits or parts[0] == source.split:
            records.add(file, files.place(file), parts[-2], (), {})
    if pictures and not len(records):
        there = f"the splits {', '.join(splits[:5])}" if splits else f"{pictures[0][0]}, for example"
        raise SourceError(
            f"{data_dir / source.path} has no picture of split {source.split!r}: it has {there}",
            hint="a set is SPLIT/CLASS/picture, or CLASS/picture without splits: begin path there, or set split",
        )
    return Listing(records.records(), problems)
