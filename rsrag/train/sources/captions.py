"""Caption files in JSON beside their pictures: a flat list, or the layout in which RSICD was published."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from rsrag.errors import RefusedSource, SourceError, UnreadableSource
from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import ANNOTATION_BYTES, Files, Folder, open_files, safe_name
from rsrag.train.sources.record import Gather, Listing, of_split

_FILE = ("file", "filename", "file_name", "image")
_TEXT = ("captions", "caption", "sentences")
_LABEL = ("class", "label")
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


def first(row: dict[str, Any], keys: tuple[str, ...] | list[str]) -> Any:
    """The first value of ``row`` under one of the keys that is not empty, or None."""
    return next((row[key] for key in keys if row.get(key) not in (None, "", [])), None)


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


def _open(source: SourceConfig, data_dir: Path) -> tuple[Any, Files, str]:
    """The parsed caption file, the files that hold the pictures, and where the former lies."""
    path = data_dir / source.path
    if path.suffix.lower() == ".json" and path.is_file():
        around: Files = Folder(path.parent) if not source.images else open_files(data_dir / source.images)
        return parse_json(path.read_bytes(), str(path)), around, str(path)
    files = open_files(path)
    member = source.annotations or "captions.json"
    table = parse_json(files.read(member, ANNOTATION_BYTES), f"{path}:{member}")
    return table, open_files(data_dir / source.images) if source.images else files, f"{path}:{member}"


def list_captions(source: SourceConfig, name: str, data_dir: Path) -> Listing:
    """Pictures that the rows of a caption file name.

    A row needs ``file``, ``filename``, ``file_name`` or ``image``, and may have ``filepath`` (a folder), ``split``,
    ``class`` or ``label``, and ``captions``, ``caption`` or ``sentences``: a text, a list of texts, or of
    ``{"raw": ...}``. The rows are the document itself or its ``images``. One without ``split`` belongs to every split.

    Raises:
        SourceError: the set is missing, or its caption file cannot be read or has no text.
    """
    table, files, where = _open(source, data_dir)
    rows = table.get("images") if isinstance(table, dict) else table
    if not isinstance(rows, list):
        raise SourceError(f"{where} holds no list of pictures", hint="a list of rows, or an object with 'images'")
    gather = Gather(name)
    for file, reason in files.refused:
        gather.problem(file, "picture", reason)
    present = set(files.names)
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(first(row, _FILE), str):
            gather.problem(f"row {number}", "row", f"names no picture under {', '.join(_FILE)}")
            continue
        if not of_split(row, source.split):
            continue
        raw = str(PurePosixPath(str(row.get("filepath") or ""), first(row, _FILE)))
        key = known(raw, present, gather)
        if key is not None:
            label = first(row, (source.label,) if source.label else _LABEL)
            texts = first(row, source.captions or _TEXT)
            gather.add(key, files.place(key), label=label, captions=texts)
    listing = gather.listing()
    if listing.records and not source.captions and not len(listing.records.texts) and listing.records.words == [""]:
        raise SourceError(
            f"{where}: no row has a caption or a class",
            hint=f"captions under {', '.join(_TEXT)} of every row, or name the keys: captions = [...], label = ...",
        )
    return listing
