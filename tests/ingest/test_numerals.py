"""Numbers of tables with decimal commas and grouped thousands, and numbers that are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsrag.ingest.knowledge import KnowledgeItem, read_knowledge
from rsrag.ingest.readers.numerals import comma_columns, ungrouped, with_point


def facts(folder: Path, text: str) -> list[dict[str, str | float]]:
    path = folder / "lakes.csv"
    path.write_text(text, encoding="utf-8")
    items = [item for item in read_knowledge(path) if isinstance(item, KnowledgeItem)]
    return [{f.name: f.value for f in item.place.facts} for item in items if item.place]


def test_a_table_with_semicolons_has_decimal_commas(tmp_path: Path) -> None:
    table = (
        "Name;Lat;Lon;Height (m);Area (km2);People;Depth (m)\n"
        "Aa;46,5;7,9;1,5;1.234,5;1.234.567;1,234\n"
        "Bb;-46,123;7,1;2.500;12;3 400,5;-5,1\n"
    )
    first, second = facts(tmp_path, table)
    assert first == {"height": 1.5, "area": 1234.5, "people": 1234567.0, "depth": 1.234}
    assert second == {"height": 2500.0, "area": 12.0, "people": 3400.5, "depth": -5.1}


def test_points_elsewhere_leave_unclear_numbers_as_they_were(tmp_path: Path) -> None:
    (found,) = facts(tmp_path, "name;lat;lon;height (m);people;version\nAa;46.5;7.9;1,5;1,234;1.234\n")
    assert found == {"height": 1.5, "people": 1234.0, "version": "1.234"}
    (found,) = facts(tmp_path, 'name,lat,lon,floors\nAa,46.5,7.9,"1,5"\n')
    assert found == {"floors": "1,5"}


def test_columns_are_told_by_what_is_clear() -> None:
    assert comma_columns([["a", "1,5", "1,234"]], 3) == {0, 1, 2}
    assert comma_columns([["a", "1,5", "2.75"]], 3) == {1}
    assert comma_columns([["1,5"], ["1.5"]], 1) == frozenset()
    assert comma_columns([["1,234", "1.234"]], 2) == frozenset()


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("1,5", "1.5"), ("-0,25", "-0.25"), ("1.234.567,8", "1234567.8"), ("12\u00a0345,6", "12345.6"),
        ("1'234", "1234"), ("12", "12"), ("0.123", "0.123"), ("Aix, 5", "Aix, 5"), ("1,2,3", "1,2,3"), ("", ""),
    ],
)  # fmt: skip
def test_decimal_commas(written: str, plain: str) -> None:
    assert with_point(written) == plain


@pytest.mark.parametrize(
    ("written", "number"),
    [("1,234.5", 1234.5), ("1'234’567", 1234567.0), ("1\u202f234", 1234.0), ("1 234", None), ("1,23", None)],
)
def test_thousands(written: str, number: float | None) -> None:
    assert ungrouped(written) == number
