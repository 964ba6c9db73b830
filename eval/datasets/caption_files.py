"""Files of captions in the layouts in which sets are published, as rows of one form.

A list of rows, one a picture or one a caption: ``{"file", "captions"}``, perhaps with ``split`` and ``class`` or
``label``; a JSON file or, ending in ``.jsonl``, one row a line. Names that others use for the same are read, too
(``filename``, ``file_name``, ``image``; ``caption``, ``sentences`` of ``{"raw"}``; ``filepath``, a folder). So are

* ``{"images": rows}``, as RSICD, RSITMD, Sydney- and UCM-Captions are published;
* ``{"images", "annotations"}`` of COCO's captions;
* ``{"airplane": rows, ...}`` with ``raw``, ``raw_1``, ... of NWPU-Captions;
* ``{"a.jpg": ["...", ...], ...}`` or ``{"a.jpg": "...", ...}``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from rsrag.errors import UnreadableSource, UsageError

EXAMPLE = '[{"file": "a.jpg", "captions": ["..."]}, ...]'
_FILE = ("file", "filename", "file_name", "image")
_TEXT = ("captions", "caption", "sentences")


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """What a file of captions says about a picture.

    Attributes:
        file: the picture's name as it is written.
        captions: sentences, without empty ones.
        split: as the file says, or None.
        label: the class as the file says, or "".
        folder: where the picture lies, or "".
    """

    file: str
    captions: tuple[str, ...]
    split: str | None = None
    label: str = ""
    folder: str = ""

    def of_split(self, split: str, place: str) -> bool:
        """Whether it belongs to a split: it says so, or says nothing and lies in a folder of that name."""
        return self.split == split if self.split is not None else split in PurePosixPath(place).parts[:-1]


def caption_rows(captions: Path, root: Path, names: Collection[str], read: Callable[[str], bytes]) -> list[CaptionRow]:
    """The rows of a file of captions; several of one picture become one.

    Args:
        captions: a path, or its name among ``names``.
        root: what holds the pictures, for messages.
        names: of the files in it.
        read: gives their bytes.

    Raises:
        UnreadableSource: damaged JSON.
        UsageError: no such file, none of the layouts, or a row without what it needs.
    """
    name = captions.as_posix()
    try:
        if captions.is_file():
            data = captions.read_bytes()
        elif name in names:
            data = read(name)
        else:
            raise UsageError(f"no captions file {name}, neither by itself nor in {root}", hint=f"JSON: {EXAMPLE}")
        text = data.decode("utf-8-sig")
        lines = name.lower().endswith(".jsonl")
        document = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableSource(f"{name}: damaged JSON, {error}", hint=EXAMPLE) from error
    listed = _listed(document, name)
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise UsageError(f"{name}: not a list of objects", hint=EXAMPLE)
    merged: dict[tuple[str, str, str | None], CaptionRow] = {}
    for number, raw in enumerate(listed, 1):
        row = _row(raw, f"{name}, entry {number}")
        known = merged.setdefault((row.folder, row.file, row.split), row)
        if known is not row:
            merged[row.folder, row.file, row.split] = replace(known, captions=known.captions + row.captions)
    return list(merged.values())


def _listed(document: Any, name: str) -> Any:
    """Rows of a document in any of the layouts; the document itself where it has none of the others."""
    if not isinstance(document, dict) or not document:
        return document
    images, annotations = document.get("images"), document.get("annotations")
    if isinstance(images, list) and isinstance(annotations, list):
        try:
            said: dict[Any, list[str]] = {row["id"]: [] for row in images}
            for row in annotations:
                said[row["image_id"]].append(row["caption"])
            return [{**row, "captions": said[row["id"]]} for row in images]
        except (KeyError, TypeError) as error:
            hint = "images: id, file_name; annotations: image_id, caption"
            raise UsageError(f"{name}: not COCO's captions ({error!r})", hint=hint) from error
    if isinstance(images, list):
        return images
    values = [value if isinstance(value, list) else [value] for value in document.values()]
    kinds = {type(one) for value in values for one in value}
    if kinds == {str}:
        return [{"file": file, "captions": value} for file, value in zip(document, values, strict=True)]
    if kinds == {dict} and all(isinstance(value, list) for value in document.values()):
        return [{"class": label, **row} for label, rows in document.items() for row in rows]
    return document


def _row(raw: Mapping[str, Any], where: str) -> CaptionRow:
    file, found = _first(raw, _FILE), _first(raw, _TEXT)
    if not isinstance(file, str) or not file:
        raise UsageError(f"{where}: no 'file'", hint=EXAMPLE)
    if found is None and "raw" in raw:
        found = [value for key, value in raw.items() if key == "raw" or key.startswith("raw_")]
    if isinstance(found, str):
        found = [found]
    texts = [one.get("raw") if isinstance(one, dict) else one for one in found] if isinstance(found, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{where}: 'captions' is not a list of sentences", hint=EXAMPLE)
    split, label = raw.get("split"), raw.get("class") or raw.get("label") or ""
    kept = tuple(text.strip() for text in texts if text and text.strip())
    return CaptionRow(file, kept, None if split is None else str(split), str(label), str(raw.get("filepath") or ""))


def _first(raw: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((raw[key] for key in keys if raw.get(key) is not None), None)


def locator(names: Collection[str]) -> Callable[[CaptionRow], tuple[str, str]]:
    """A function that gives the file of a row among ``names``, or "" and the reason why there is none.

    A row's picture is the file of just that path, or the only one whose path ends in it.
    """
    known = frozenset(names)
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[PurePosixPath(name).name].append(name)

    def find(row: CaptionRow) -> tuple[str, str]:
        several = False
        for file in dict.fromkeys((str(PurePosixPath(row.folder, row.file)), row.file)):
            ends = [name for name in alike.get(PurePosixPath(file).name, ()) if name.endswith(f"/{file}")]
            if file in known or len(ends) == 1:
                return (file if file in known else ends[0]), ""
            several |= len(ends) > 1
        return "", "several files of that name" if several else "no such file"

    return find
