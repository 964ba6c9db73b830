"""Caption files in JSON beside their pictures, in the layouts of :mod:`rsrag.train.sources.caption_files`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rsrag.errors import RefusedSource, SourceError, UnreadableSource, UsageError
from rsrag.train.sources.caption_files import (
    FILE,
    LABEL,
    SEVERAL,
    TEXT,
    file_of,
    first,
    locator,
    path_of,
    rows_of,
    texts_of,
)
from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import ANNOTATION_BYTES, Files, Folder, open_files, safe_name
from rsrag.train.sources.record import Gather, Listing, of_split

NOT_THERE = "no such picture"
"""Why a row is left out whose picture is not among the files of the set."""


def parse_json(data: bytes, where: str) -> Any:
    """JSON of a side file; bytes that are no UTF-8 become replacement characters, which :func:`clean` finds.

    Raises:
        UnreadableSource: no JSON.
    """
    try:
        return json.loads(data.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as exc:
        raise UnreadableSource(f"{where} is no JSON: {exc}") from exc


def known(raw: str, present: set[str], gather: Gather) -> str | None:
    """The safe form of a picture name given by a row; None, with a note, when it is unsafe or not there."""
    try:
        key = safe_name(raw)
    except RefusedSource as exc:
        gather.problem(raw, "picture", exc.message)
        return None
    if key not in present:
        gather.problem(raw, "picture", NOT_THERE)
        return None
    return key


def _open(source: SourceConfig, data_dir: Path) -> tuple[Iterable[Any], Files, str, bool]:
    """Rows of the caption file, the files that hold the pictures, where the former lies, and whether the latter are
    of this set alone, as far as one can tell.
    """
    path = data_dir / source.path
    images = open_files(data_dir / source.images) if source.images else None
    if path.suffix.lower() in (".json", ".jsonl") and path.is_file():
        return _rows(path.read_bytes(), str(path)), images or Folder(path.parent), str(path), images is not None
    files = open_files(path)
    member = source.annotations or "captions.json"
    where = f"{path}:{member}"
    return _rows(files.read(member, ANNOTATION_BYTES), where), images or files, where, True


def _rows(data: bytes, where: str) -> Iterable[Any]:
    try:
        return rows_of(data, where, "replace")
    except UsageError as exc:
        raise SourceError(exc.message, hint=exc.hint) from exc


def list_captions(source: SourceConfig, name: str, data_dir: Path) -> Listing:
    """Pictures that the rows of a caption file name.

    A row that names no ``split`` belongs to every split. A picture lies where its row says, from ``images`` on or in
    the folder or zip file of the set; it may lie deeper when only one file's path ends so. Beside a caption file by
    itself other sets may lie: there the path must be the whole one.

    Raises:
        SourceError: the set is missing, or its caption file cannot be read or has no text.
    """
    rows, files, where, alone = _open(source, data_dir)
    gather = Gather(name)
    for file, reason in files.refused:
        gather.problem(file, "picture", reason)
    present = set(files.names)
    find = locator(present) if alone else None
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or (named := file_of(row)) is None:
            gather.problem(f"row {number}", "row", f"names no picture under {', '.join(FILE)}")
            continue
        if not of_split(row, source.split):
            continue
        key = _picture(named, row.get("filepath"), present, find, gather)
        if key is not None:
            label = first(row, (source.label,) if source.label else LABEL)
            texts = first(row, source.captions) if source.captions else texts_of(row)
            gather.add(key, files.place(key), label=label, captions=texts)
    listing = gather.listing()
    if listing.records and not source.captions and not len(listing.records.texts) and listing.records.words == [""]:
        raise SourceError(
            f"{where}: no row has a caption or a class",
            hint=f"captions under {', '.join(TEXT)} of every row, or name the keys: captions = [...], label = ...",
        )
    return listing


def _picture(
    file: str, folder: Any, present: set[str], find: Callable[[str, str], tuple[str, str]] | None, gather: Gather
) -> str | None:
    """The picture that a row names; None, with a note, when there is none."""
    path = path_of(file, folder)
    if find is None or path in present:
        return known(path, present, gather)
    place, reason = find(file, str(folder or ""))
    if reason == SEVERAL:
        gather.problem(path, "picture", reason)
        return None
    return known(place or path, present, gather)
