"""Path, size and time of change of the files that a set is read from: whether they are those of an earlier scan."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import expand

Stamp = list[str | int]
"""Of a file: path, size, time of modification in ns. Of a folder: path, number of files, digest of their stamps."""


def inputs(source: SourceConfig, data_dir: Path) -> list[Path]:
    """Files and folders that a set is read from, as its configuration tells."""
    paths = [data_dir / name for name in expand(source.path)]
    rows_alone = source.kind == "skyscript" or (source.kind == "captions" and paths[0].is_file())
    if source.images:
        paths.append(data_dir / source.images)
    elif rows_alone and paths[0].suffix.lower() in (".json", ".jsonl", ".csv"):
        paths.append(paths[0].parent)
    if source.annotations and source.kind in ("skyscript", "gaia"):
        paths.append(data_dir / source.annotations)
    return [path.resolve() for path in dict.fromkeys(paths)]


def stamp(path: Path) -> tuple[Stamp, int]:
    """The stamp of a file or of all files below a folder, and when the youngest of them was changed, ns.

    Raises:
        OSError: it is not there, or cannot be looked at.
    """
    if not path.is_dir():
        about = path.stat()
        return [str(path), about.st_size, about.st_mtime_ns], max(about.st_mtime_ns, about.st_ctime_ns)
    digest, count, youngest = hashlib.sha256(), 0, 0
    for where, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            file = Path(where, name)
            about = file.stat()
            digest.update(f"{file}\0{about.st_size}\0{about.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
            count += 1
            youngest = max(youngest, about.st_mtime_ns, about.st_ctime_ns)
    return [str(path), count, digest.hexdigest()], youngest
