"""Labels as users give them: a list, or a file of any of the usual shapes, checked once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rsrag.errors import UsageError
from rsrag.words import fold

MOST = 1000
"""Labels that one request may have."""
_LONGEST = 200


def check_labels(labels: Sequence[str], *, least: int = 2) -> tuple[str, ...]:
    """Labels with single blanks.

    Raises:
        UsageError: fewer than ``least``, more than 1,000, an empty or overlong one, or two that differ in case only.
    """
    clean = tuple(" ".join(str(label).split()) for label in labels)
    if any(not label for label in clean):
        raise UsageError(f"label {clean.index('') + 1} of {len(clean)} is empty", hint="--labels 'water, forest'")
    if len(clean) < least:
        raise UsageError(
            f"{len(clean)} label: classification needs at least {least}", hint="add 'other' to ask for one"
        )
    if len(clean) > MOST:
        raise UsageError(f"{len(clean)} labels, the limit is {MOST}")
    long = next((label for label in clean if len(label) > _LONGEST), None)
    if long is not None:
        raise UsageError(f"a label of {len(long)} characters: {long[:40]!r}…", hint=f"at most {_LONGEST}")
    folded = [fold(label) for label in clean]
    twice = next((label for number, label in enumerate(clean) if folded[number] in folded[:number]), None)
    if twice is not None:
        raise UsageError(f"the label {twice!r} comes twice")
    return clean


def split_labels(text: str) -> tuple[str, ...]:
    """Labels separated by commas."""
    return tuple(part.strip() for part in text.split(","))


def read_labels(path: Path) -> tuple[str, ...]:
    """Labels of a file: a JSON list or object (its values, or lists whose first is the name), or lines of text.

    Raises:
        UsageError: no such file, damaged JSON, or another shape.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read labels {path}: {error}") from error
    if path.suffix.lower() == ".csv":
        raise UsageError(
            f"labels {path}: folders and words in columns belong to rsrag eval classification",
            hint="here one label a line in a .txt file, or JSON",
        )
    if path.suffix.lower() != ".json":
        lines = (line.strip() for line in text.splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"labels {path}: damaged JSON, {error}") from error
    values = list(table.values()) if isinstance(table, dict) else table
    if not isinstance(values, list):
        raise UsageError(f"labels {path}: neither a list nor an object", hint='["water", "forest"]')
    names = [value[0] if isinstance(value, list) and value else value for value in values]
    if not all(isinstance(name, str) for name in names):
        raise UsageError(f"labels {path}: a label that is no text")
    return tuple(names)
