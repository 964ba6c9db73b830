"""SkyScript: a CSV of file paths and titles, with tags in a JSON or CSV file beside it. Pickles are never read."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rsrag.errors import RefusedSource, SourceError, UnreadableSource
from rsrag.train.sources.captions import known, parse_json
from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import ANNOTATION_BYTES, open_files
from rsrag.train.sources.record import Gather, Listing, of_split, plain_word

_FILE = ("filepath", "file", "filename", "path", "img_name")
_TEXT = ("title_multi_objects", "title", "caption", "captions", "text")
_NAME = re.compile(r"([awnr])(\d+)_([A-Za-z]+)_(\d{2,4})")
_CELL = 100_000


def csv_rows(data: bytes, gather: Gather, where: str) -> Iterator[dict[str, str]]:
    """Rows of a CSV with a header; a row that cannot be parsed is noted, and reading goes on.

    Args:
        data: the file; bytes that are no UTF-8 become replacement characters.
        gather: takes the notes.
        where: name of the file in notes.

    Yields:
        Non-empty cells by column.
    """
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig", "replace"), newline=""))
    header: list[str] | None = None
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            gather.problem(f"{where}:{reader.line_num}", "row", str(exc))
            continue
        if header is None:
            header = [cell.strip() for cell in row] if any(row) else None
        elif any(len(cell) > _CELL for cell in row):  # the module's own limit may have been raised by others
            gather.problem(f"{where}:{reader.line_num}", "row", f"a cell has more than {_CELL:,} characters")
        elif any(row[len(header) :]):  # a comma that is not quoted: the cells lie in wrong columns, and are cut
            reason = f"has {len(row)} cells, the header {len(header)}"
            gather.problem(f"{where}:{reader.line_num}", "row", reason)
        elif row:
            yield {column: cell for column, cell in zip(header, row, strict=False) if cell}


def read_table(path: Path) -> bytes:
    """Bytes of a CSV or JSON file.

    Raises:
        SourceError: missing, too large, or a pickle by its name.
    """
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise RefusedSource(f"{path} is a pickle, which can run code", hint="write the tags as JSON or CSV")
    if not path.is_file() or path.stat().st_size > ANNOTATION_BYTES:
        raise UnreadableSource(f"no usable file {path}")
    return path.read_bytes()


def _tag_values(value: Any) -> dict[str, str]:
    """Tags as text by key, from an object, JSON text, or ``key=value;key=value``."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = dict(part.split("=", 1) for part in value.split(";") if "=" in part)
    if not isinstance(value, dict):
        return {}
    return {plain_word(key): plain_word(one) for key, one in value.items() if plain_word(one)}


def _tags(row: dict[str, Any]) -> dict[str, Any]:
    """Tags, box and time of one picture as ``meta`` holds them."""
    meta: dict[str, Any] = {}
    if center := _tag_values(row.get("center_tags")):
        meta["center_tags"] = center
    around = row.get("surrounding_tags")
    if isinstance(around, str):
        try:
            around = json.loads(around)
        except (ValueError, RecursionError):
            around = [around]
    if isinstance(around, list) and (tags := [found for one in around if (found := _tag_values(one))]):
        meta["surrounding_tags"] = tags
    for name in ("box", "time"):
        if row.get(name):
            meta[name] = row[name]
    return meta


def _side_file(source: SourceConfig, data_dir: Path, gather: Gather) -> dict[str, dict[str, Any]]:
    """Tags by the stem of the picture's name."""
    if not source.annotations:
        return {}
    path = data_dir / source.annotations
    data = read_table(path)
    table: dict[str, dict[str, Any]] = {}
    if path.suffix.lower() == ".csv":
        for cells in csv_rows(data, gather, path.name):
            file = next((cells[c] for c in _FILE if c in cells), "")
            table[PurePosixPath(file).stem] = _tags(dict(cells))
        return table
    found = parse_json(data, str(path))
    if isinstance(found, list):
        found = {str(row.get("filepath") or row.get("file")): row for row in found if isinstance(row, dict)}
    if not isinstance(found, dict):
        raise UnreadableSource(f"{path} holds neither an object nor a list")
    return {PurePosixPath(file).stem: _tags(row) for file, row in found.items() if isinstance(row, dict)}


def _origin(key: str) -> dict[str, Any]:
    """OpenStreetMap object, image source and year that a SkyScript file name tells: ``a198234555_CH_19.jpg``."""
    found = _NAME.fullmatch(PurePosixPath(key).stem)
    if not found:
        return {}
    kind, number, code, year = found.groups()
    return {"osm": kind + number, "origin": code, "year": int(year) + (2000 if len(year) == 2 else 0)}


def list_skyscript(source: SourceConfig, name: str, data_dir: Path) -> Listing:
    """Pictures that the rows of a CSV name; both titles are captions.

    Tags (``center_tags``, ``surrounding_tags``, ``box``, ``time``) come from ``annotations`` or from columns of the
    same names and go to the records' ``meta``. With ``label`` set to the key of a tag (``"landuse"``) its value is the
    class.

    Raises:
        SourceError: the CSV, the pictures or the tags are missing, or the tags are a pickle.
    """
    gather = Gather(name)
    path = data_dir / source.path
    rows = csv_rows(read_table(path), gather, path.name)
    files = open_files(data_dir / source.images if source.images else path.parent)
    for member, reason in files.refused:
        gather.problem(member, "picture", reason)
    tags = _side_file(source, data_dir, gather)
    present = set(files.names)
    for number, row in enumerate(rows):
        if not of_split(row, source.split):
            continue
        raw = next((row[column] for column in _FILE if column in row), None)
        if raw is None:
            gather.problem(f"row {number}", "row", "names no picture")
            continue
        key = known(raw, present, gather)
        if key is None:
            continue
        meta = {**_origin(key), **_tags(dict(row)), **tags.get(PurePosixPath(key).stem, {})}
        label = row.get(source.label) or meta.get("center_tags", {}).get(source.label) if source.label else None
        texts = [row.get(column) for column in source.captions or _TEXT]
        gather.add(key, files.place(key), label=label, captions=texts, meta=meta)
    if not present:
        raise SourceError(f"{source.images or path.parent} has no files")
    return gather.listing()
