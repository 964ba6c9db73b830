"""What classes are called in words: from their folders' names, or from a file that says so."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from rsrag.errors import UsageError
from rsrag.train.prompts import words

_ORDER = re.compile(r"^(?:\d+[\s_.\-]*|[a-z](?=[A-Z]))(?=[^\W\d_])")
_HEADINGS = {"folder", "class", "name", "label", "file"}


def label_words(labels: Sequence[str], labels_file: Path | str | None = None) -> dict[str, str]:
    """What each label is called in words.

    Args:
        labels: names of class folders.
        labels_file: see :func:`read_labels`; without it names are split into words ("SeaLake" → "sea lake"), and those
            that UC Merced writes in one ("tenniscourt") as it means them. A number or letter that every name begins
            with to give an order ("01_airport"; "aGrass", "bField" of RSSCN7) is no word.

    Raises:
        UsageError: a label has no words, or two have the same.
    """
    table = _split_words(labels) if labels_file is None else read_labels(labels_file)
    missing = [label for label in labels if not table.get(label)]
    if missing:
        shown = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise UsageError(f"no words for {len(missing)} of {len(labels)} labels: {shown}", hint="add them to the labels")
    kept = {label: table[label] for label in labels}
    counts = Counter(kept.values())
    same = [label for label in labels if counts[kept[label]] > 1]
    if same:
        hint = f"both are {kept[same[0]]!r}; tell them apart with --labels-file"
        raise UsageError(f"labels with the same words: {', '.join(same[:8])}", hint=hint)
    return kept


def _split_words(labels: Sequence[str]) -> dict[str, str]:
    ordered = all(_ORDER.match(label) for label in labels)
    written_in_one = read_labels("ucm")
    bare = {label: words(_ORDER.sub("", label) if ordered else label) for label in labels}
    return {label: written_in_one.get(name, name) for label, name in bare.items()}


def read_labels(path: Path | str) -> dict[str, str]:
    """Folder → words, from a JSON object, a CSV file of two columns, or a text file with lines ``folder: words``.

    Args:
        path: the file; or the name of one that rsrag brings ("eurosat", "ucm").

    Raises:
        UsageError: no such file, an unknown ending, an empty label, or a folder twice.
    """
    path = Path(path)
    shipped = files("rsrag.eval") / "suites" / "labels"
    if not path.is_file() and len(path.parts) == 1 and (shipped / f"{path}.json").is_file():
        text, kind = (shipped / f"{path}.json").read_text(encoding="utf-8"), ".json"
    else:
        try:
            text, kind = path.read_text(encoding="utf-8-sig"), path.suffix.lower()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read labels {path}: {error}") from error
    if kind not in _PARSERS:
        raise UsageError(f"labels {path}: unknown ending {kind!r}", hint="one of .json, .csv, .txt")
    table: dict[str, str] = {}
    for folder, said in _PARSERS[kind](text, str(path)):
        if not isinstance(said, str) or not said.strip():
            raise UsageError(f"labels {path}: {folder!r} has no words")
        if folder in table:
            raise UsageError(f"labels {path}: {folder!r} comes twice")
        table[folder] = " ".join(said.split())
    return table


def _json_labels(text: str, where: str) -> list[tuple[str, Any]]:
    try:
        pairs = json.loads(text, object_pairs_hook=lambda found: found)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"labels {where}: damaged JSON, {error}") from error
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise UsageError(f"labels {where}: not an object", hint='{"folder": "words", ...}')
    return pairs


def _csv_labels(text: str, where: str) -> list[tuple[str, Any]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UsageError(f"labels {where}: damaged CSV, {error}") from error
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != 2), None)
    if wrong is not None:
        raise UsageError(f"labels {where}, row {wrong}: two columns are needed, folder and words")
    body = rows[1:] if rows and rows[0][0].strip().lower() in _HEADINGS else rows
    return [(folder.strip(), said) for folder, said in body]


def _text_labels(text: str, where: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            folder, colon, said = line.partition(":")
            if not colon:
                raise UsageError(f"labels {where}, line {number}: no colon", hint="folder: words")
            pairs.append((folder.strip(), said))
    return pairs


_PARSERS: Mapping[str, Callable[[str, str], list[tuple[str, Any]]]] = {
    ".json": _json_labels,
    ".csv": _csv_labels,
    ".txt": _text_labels,
}
