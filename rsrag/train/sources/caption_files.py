"""Files of captions in the layouts in which sets are published, as rows of one form, and the pictures they name.

A list of rows, one a picture or one a caption: ``{"file", "captions"}``, perhaps with ``split`` and ``class`` or
``label``; a JSON file or, ending in ``.jsonl``, one row a line. Names that others use for the same are read, too
(``filename``, ``file_name``, ``image``; ``caption``, ``sentences`` of ``{"raw"}``; ``filepath``, a folder). So are

* ``{"images": rows}``, as RSICD, RSITMD, Sydney- and UCM-Captions are published;
* ``{"images", "annotations"}`` of COCO's captions;
* ``{"airplane": rows, ...}`` with ``raw``, ``raw_1``, ... of NWPU-Captions;
* ``{"a.jpg": ["...", ...], ...}`` or ``{"a.jpg": "...", ...}``.

Training takes the rows as they come (:func:`rows_of`), one after the other, and notes the bad ones; everything else
takes :class:`CaptionRow`.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from rsrag.errors import UnreadableSource, UsageError
from rsrag.train.sources.files import hidden
from rsrag.train.sources.record import plain_word

EXAMPLE = '[{"file": "a.jpg", "captions": ["..."]}, ...]'
FILE = ("file", "filename", "file_name", "image")
TEXT = ("captions", "caption", "sentences")
LABEL = ("class", "label")
NO_FILE, SEVERAL = "no such file", "several files of that name"
"""Why a row has no picture."""


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """What a file of captions says about a picture.

    Attributes:
        file: the picture's name as it is written, or where it lies (:func:`located`).
        captions: sentences, without empty ones.
        split: as the file says, or "".
        label: the class as the file says, or "".
        folder: in which ``file`` lies, or "".
        reason: why there is no such picture, or "".
    """

    file: str
    captions: tuple[str, ...]
    split: str = ""
    label: str = ""
    folder: str = ""
    reason: str = ""

    def of_split(self, split: str) -> bool:
        """Whether it belongs to a split: it says so, or says nothing and lies in a folder of that name."""
        return self.split == split or (not self.split and split in PurePosixPath(self.folder, self.file).parts[:-1])


def caption_rows(
    captions: Path | None,
    root: Path,
    names: Collection[str],
    read: Callable[[str], bytes],
    bad: list[str] | None = None,
) -> list[CaptionRow]:
    """The rows of a file of captions; several of one picture become one.

    Args:
        captions: a path, or its name among ``names``; "captions.json" among ``names`` when None.
        root: what holds the pictures, for messages.
        names: of the files in it.
        read: gives their bytes.
        bad: takes the rows without what they need, and what that is; when None they are an error.

    Raises:
        UnreadableSource: damaged JSON.
        UsageError: no such file, none of the layouts, or a row without what it needs.
    """
    name = captions.as_posix() if captions is not None else "captions.json"
    if captions is not None and captions.is_file():
        try:
            data = captions.read_bytes()
        except OSError as error:
            raise UnreadableSource(f"{name}: cannot be read, {error.strerror}") from error
    elif name in names:
        data = read(name)
    else:
        where = f"neither by itself nor in {root}" if captions is not None else f"in {root}"
        raise UsageError(f"no captions file {name}, {where}", hint=f"JSON: {EXAMPLE}")
    merged: dict[tuple[str, str], CaptionRow] = {}
    for number, raw in enumerate(rows_of(data, name), 1):
        try:
            row = _row(raw)
        except UsageError as error:
            if bad is None:
                raise UsageError(f"{name}, entry {number}: {error.message}", hint=EXAMPLE) from error
            bad.append(f"{name}, entry {number}: {error.message}")
            continue
        key = path_of(row.file, row.folder), row.split
        known = merged.setdefault(key, row)
        if known is not row:
            merged[key] = replace(known, captions=known.captions + row.captions, label=known.label or row.label)
    return list(merged.values())


def rows_of(data: bytes, name: str, errors: str = "strict") -> Iterable[Any]:
    """Rows of a file in any of the layouts, as JSON has them; nothing is said of what a row holds.

    Args:
        data: bytes of the file.
        name: of the file; one that ends in ".jsonl" has a row a line, and is parsed while one goes through the rows.
        errors: what becomes of bytes that are no UTF-8, see :meth:`bytes.decode`.

    Raises:
        UnreadableSource: damaged JSON.
        UsageError: none of the layouts.
    """
    if name.lower().endswith(".jsonl"):
        lines = enumerate(io.BytesIO(data), 1)  # a text in JSON may hold what ends a line for str.splitlines
        return (_parsed(line, f"{name}, line {number}", errors) for number, line in lines if line.strip())
    rows = _listed(_parsed(data, name, errors), name)
    if rows is None:
        raise UsageError(f"{name}: not a list of objects", hint=EXAMPLE)
    return rows


def _parsed(data: bytes, where: str, errors: str) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig", errors))
    except (ValueError, RecursionError) as error:
        raise UnreadableSource(f"{where}: damaged JSON, {error}", hint=EXAMPLE) from error


def _listed(document: Any, name: str) -> Iterable[Any] | None:
    """Rows of a document, or None where it has none of the layouts."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    images, annotations = document.get("images"), document.get("annotations")
    if isinstance(images, list):
        return _coco(images, annotations, name) if isinstance(annotations, list) and annotations else images
    values = document.values()
    kinds = {type(one) for value in values for one in (value if isinstance(value, list) else (value,))}
    if kinds == {str}:
        return ({"file": file, "captions": value} for file, value in document.items())
    if kinds == {dict} and all(isinstance(value, list) for value in values):
        return ({"class": label, **row} for label, rows in document.items() for row in rows)
    return None


def _coco(images: list[Any], annotations: list[Any], name: str) -> Iterator[dict[str, Any]]:
    try:
        said: dict[Any, list[Any]] = {row["id"]: [] for row in images}
        for row in annotations:
            said[row["image_id"]].append(row["caption"])
    except (KeyError, TypeError) as error:
        hint = "images: id, file_name; annotations: image_id, caption"
        raise UsageError(f"{name}: not COCO's captions ({error!r})", hint=hint) from error
    return ({**row, "captions": said[row["id"]]} for row in images)


def file_of(row: Mapping[str, Any]) -> str | None:
    """The name of its picture that a row gives, or None."""
    return next((file for key in FILE if isinstance(file := row.get(key), str) and file), None)


def path_of(file: str, folder: Any = "") -> str:
    """Where a row says that its picture lies, with forward slashes."""
    return str(PurePosixPath(str(folder or ""), file))


def first(row: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """The first value of ``row`` under one of the keys that is not empty, or None."""
    return next((row[key] for key in keys if row.get(key) not in (None, "", [])), None)


def texts_of(row: Mapping[str, Any]) -> Any:
    """What a row has as its captions: a text, a list of texts or of ``{"raw": ...}``, or anything else; None of none.

    They lie under the first of the usual names that is not empty, or under ``raw``, ``raw_1``, ...
    """
    found = first(row, TEXT)
    if found is None and "raw" in row:
        return [value for key, value in row.items() if key == "raw" or key.startswith("raw_")]
    return found


def _row(raw: Any) -> CaptionRow:
    if not isinstance(raw, dict):
        raise UsageError("no object; the file is not a list of objects")
    file, found = file_of(raw), texts_of(raw)
    if file is None:
        raise UsageError("no 'file'")
    if found is None and any(key in raw for key in TEXT):
        found = []
    listed = [found] if isinstance(found, str) else found if isinstance(found, list) else [None]
    texts: list[Any] = [one.get("raw", one.get("caption")) if isinstance(one, dict) else one for one in listed]
    if not all(isinstance(text, str) for text in texts):
        raise UsageError("'captions' is not a list of sentences")
    kept = tuple(text.strip() for text in texts if text.strip())
    split, folder = raw.get("split"), raw.get("filepath")
    return CaptionRow(file, kept, "" if split is None else str(split), plain_word(first(raw, LABEL)), str(folder or ""))


def locator(names: Collection[str]) -> Callable[[str, str], tuple[str, str]]:
    """A function that gives the file of a name and a folder among ``names``, or "" and the reason why there is none.

    It is the file of just that path, or the only one whose path ends in it, with the folder or without; hidden files do
    not count for the latter.
    """
    known = names if isinstance(names, AbstractSet) else frozenset(names)

    @cache
    def alike() -> dict[str, list[str]]:  # of a set whose rows give whole paths it is never needed
        found = defaultdict(list)
        for name in names:
            if not hidden(name):
                found[PurePosixPath(name).name].append(name)
        return found

    def find(file: str, folder: str) -> tuple[str, str]:
        paths = dict.fromkeys((path_of(file, folder), path_of(file)))
        if (path := next(iter(paths))) in known:
            return path, ""
        several = False
        for path in paths:
            ends = [name for name in alike().get(PurePosixPath(path).name, ()) if name.endswith(f"/{path}")]
            if path in known or len(ends) == 1:
                return (path if path in known else ends[0]), ""
            several |= len(ends) > 1
        return "", SEVERAL if several else NO_FILE

    return find


def located(rows: Iterable[CaptionRow], names: Collection[str]) -> Iterator[CaptionRow]:
    """Rows with the path of their picture among ``names`` as ``file``, or with the reason why there is none."""
    find = locator(names)
    for row in rows:
        place, reason = find(row.file, row.folder)
        yield replace(row, file=place or path_of(row.file, row.folder), folder="", reason=reason)
