"""What callers give: the right types come through as Python's own, any other is refused by the argument's name."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsrag import given
from rsrag.errors import BadGeometry, BadTimeSpan, UsageError
from rsrag.geo import footprint_from_bbox
from rsrag.types import BBox, Filters, QueryImage, TimeSpan

DAY = datetime(2020, 5, 31, tzinfo=UTC)


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("check", "value", "found"),
    [
        (given.text, np.str_("lake"), "lake"),
        (given.number, 3, 3.0),
        (given.number, np.float32(0.5), 0.5),
        (given.number, np.array(2), 2.0),
        (given.number, Fraction(1, 2), 0.5),
        (given.whole, np.int64(7), 7),
        (given.flag, np.bool_(True), True),
        (given.path, "a/b.tif", Path("a/b.tif")),
        (given.path, Path("a"), Path("a")),
        (given.texts, np.array(["a", "b"]), ("a", "b")),
        (given.texts, (t for t in "ab"), ("a", "b")),
        (given.pixel_box, np.array([1, 2, 3, 4]), (1.0, 2.0, 3.0, 4.0)),
        (given.dialogue, [["Which lake?", "This one."]], (("Which lake?", "This one."),)),
    ],
)
def test_what_is_right_comes_through(check: Callable[[str, Any], Any], value: Any, found: Any) -> None:
    got = check("it", value)
    assert got == found
    assert type(got) is type(found) or isinstance(got, str)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (given.text, [None, 5, b"lake", ["lake"], "lake \udcff"]),
        (given.number, [None, "0.5", True, math.nan, math.inf, 10**400, [1], np.zeros(2), 1j]),
        (given.whole, [None, "5", 2.0, True, 10**30, np.zeros(2)]),
        (given.flag, [None, "no", 0, 1, [], np.zeros(2)]),
        (given.path, [None, 5, b"a", "", "a\0b", ["a"]]),
        (given.callback, ["print", 5]),
        (given.texts, [None, 5, "water", b"water", {"a": 1}, [1], [None], np.array(5)]),
        (given.pixel_box, [5, "1234", (1, 2, 3), (1, 2, 3, 4, 5), ("1", 2, 3, 4), (1, 2, 3, math.nan)]),
        (given.dialogue, [None, "ab", ["ab"], [("a",)], [("a", "b", "c")], [("a", None)], [5]]),
        (given.span, ["2020", date(2020, 1, 1), (None, None)]),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(check: Callable[[str, Any], Any], values: list[Any]) -> None:
    for value in [*values, Unshowable()]:
        with pytest.raises(UsageError, match=r"\bit\b"):
            check("it", value)


def test_a_long_value_is_shown_on_one_short_line() -> None:
    with pytest.raises(UsageError) as told:
        given.number("threshold", np.zeros((50, 50)))
    assert "threshold is array" in told.value.message
    assert "\n" not in told.value.message
    assert len(told.value.message) < 120


def test_a_place_is_a_name_or_two_numbers() -> None:
    assert given.where("Blue Lagoon") == "Blue Lagoon"
    assert given.where(np.array([3.0, 45.0])) == (3.0, 45.0)
    for wrong in ("", "  ", b"ab", (True, False), (math.nan, 0), ("3", "45"), 5, "\udcff"):
        with pytest.raises(UsageError, match="where"):
            given.where(wrong)


def test_progress_needs_its_methods() -> None:
    assert given.progress(None).finish() is None
    for wrong in ("x", [], print):
        with pytest.raises(UsageError, match="progress"):
            given.progress(wrong)


def test_ends_of_a_time_span_can_be_compared() -> None:
    for right in (TimeSpan(None, None), TimeSpan(DAY, None), TimeSpan(DAY, DAY)):
        assert given.span("when", right) == right
    for wrong in (TimeSpan(datetime(2020, 1, 1), None), TimeSpan("2020", None), TimeSpan(DAY, DAY - timedelta(1))):  # type: ignore[arg-type]
        with pytest.raises(BadTimeSpan, match="when"):
            given.span("when", wrong)


def test_filters_come_out_as_what_the_search_compares() -> None:
    loose: dict[str, Any] = {"bbox": [1, 2, 3, 4], "kinds": ["lake"], "facts": {"ndvi_mean": [np.float32(0.5), None]}}
    found = given.filters(Filters(**loose))
    assert found == Filters(bbox=BBox(1, 2, 3, 4), kinds=("lake",), facts={"ndvi_mean": (0.5, None)})
    assert isinstance(found.bbox, BBox)
    assert given.filters(Filters(kinds=[])).empty  # type: ignore[arg-type]
    assert given.filters(None) == Filters()
    area = footprint_from_bbox(BBox(1, 2, 3, 4))
    assert given.filters(Filters(intersects=area)).intersects is area


@pytest.mark.parametrize(
    "fields",
    [
        {"facts": {"ndvi": 0.3}},
        {"facts": {"ndvi": (0.3,)}},
        {"facts": {"ndvi": ("a", None)}},
        {"facts": {"ndvi": (math.nan, 1)}},
        {"facts": {"ndvi": (2, 1)}},
        {"facts": {5: (0, 1)}},
        {"facts": ["ndvi"]},
        {"facts": None},
        {"bbox": "1234"},
        {"bbox": (1, 2, 3)},
        {"bbox": BBox("1", 2, 3, 4)},  # type: ignore[arg-type]
        {"intersects": "POLYGON((0 0, 1 0, 1 1, 0 0))"},
        {"when": "2020"},
        {"when": DAY},
        {"collections": 5},
        {"sensors": [5]},
        {"scenes": None},
    ],
)
def test_filters_of_other_types_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="filters"):
        given.filters(Filters(**fields))


def test_a_box_off_earth_is_refused() -> None:
    with pytest.raises(BadGeometry, match="not on Earth"):
        given.filters(Filters(bbox=BBox(0, 0, 300, 10)))


@pytest.mark.parametrize(
    "about", [{"name": 5}, {"footprint": BBox(1, 2, 3, 4)}, {"time": "2020"}, {"gsd_m": "10"}, {"gsd_m": math.nan}]
)
def test_what_a_query_image_says_of_itself_is_checked(about: dict[str, Any]) -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    given.query_image(QueryImage(pixels, "made", None, TimeSpan(DAY, DAY), 10))
    with pytest.raises(UsageError, match="of the image"):
        given.query_image(QueryImage(**{"pixels": pixels, "name": "made", **about}))
