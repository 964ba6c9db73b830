"""Numbers as tables of other countries write them: a decimal comma, and thousands apart by points, blanks or commas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_BLANK = " \u00a0\u202f\u2009"
_COMMA = re.compile(rf"[-+]?(?:\d+|\d{{1,3}}(?:\.\d{{3}})+|\d{{1,3}}(?:[{_BLANK}'’]\d{{3}})+),\d+")
_WHOLE = re.compile(rf"[-+]?[1-9]\d{{0,2}}(?:(?:\.\d{{3}})+|(?:[{_BLANK}'’]\d{{3}})+)")
_POINT = re.compile(r"[-+]?\d*\.\d+")
_BY_POINTS = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+")
_BY_COMMAS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")
_APART = re.compile(r"[-+]?\d{1,3}(?:(?:,\d{3})+|(?:[\u00a0\u202f\u2009]\d{3})+|(?:['’]\d{3})+)(?:\.\d+)?")
_THOUSANDS = str.maketrans("", "", f",'’{_BLANK}")


def comma_columns(rows: Iterable[Sequence[str]], count: int) -> frozenset[int]:
    """Which columns of a table have decimal commas, by what no other way of writing numbers explains.

    "1,5" and "1.234,50" are such; "1,234" may be either, and is read as the other columns of the table are.

    Args:
        rows: some of the table, without its header.
        count: of columns.
    """
    commas: set[int] = set()
    points: set[int] = set()
    for row in rows:
        for column, cell in enumerate(row[:count]):
            cell = cell.strip()
            if _COMMA.fullmatch(cell) and not _BY_COMMAS.fullmatch(cell):
                commas.add(column)
            elif _POINT.fullmatch(cell) and not _BY_POINTS.fullmatch(cell):
                points.add(column)
    return frozenset(range(count) if commas and not points else commas - points)


def with_point(cell: str) -> str:
    """A number of a column with decimal commas as a program writes it: "1.234,50" is "1234.50"; other text as it is."""
    text = cell.strip()
    if not (_COMMA.fullmatch(text) or _WHOLE.fullmatch(text)):
        return cell
    return text.replace(".", "").replace(",", ".").translate(_THOUSANDS)


def ungrouped(text: str) -> float | None:
    """A number with thousands apart by commas, apostrophes or unbreakable blanks; None for other text."""
    return float(text.translate(_THOUSANDS)) if _APART.fullmatch(text) else None
