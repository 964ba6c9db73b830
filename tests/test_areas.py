"""Positions and footprints in the areas that filters ask for."""

from __future__ import annotations

import pytest

from rsrag import geo
from rsrag.areas import Areas, smallest
from rsrag.types import BBox, Filters


@pytest.mark.parametrize(
    ("lon", "box", "passes"),
    [
        (3.0, BBox(3, 45, 4, 46), True),
        (4.0, BBox(3, 45, 4, 46), True),
        (2.9, BBox(3, 45, 4, 46), False),
        (180.0, BBox(179, 45, -179, 46), True),
        (-179.5, BBox(179, 45, -179, 46), True),
        (180.0, BBox(-180, 45, -179, 46), True),
        (0.0, BBox(-180, -90, 180, 90), True),
        (None, BBox(-180, -90, 180, 90), False),
    ],
)
def test_positions_in_a_box(lon: float | None, box: BBox, passes: bool) -> None:
    assert Areas(Filters(bbox=box)).hold(lon, 45.5, None) == passes
    assert Areas(Filters()).hold(lon, 45.5, None)


def test_a_shape_and_a_box_must_both_be_met() -> None:
    shape = geo.around((3.5, 45.5), 20)
    areas = Areas(Filters(bbox=BBox(3.5, 45, 4, 46), intersects=shape))
    assert areas.drawn
    assert areas.hold(3.6, 45.5, None)
    assert not areas.hold(3.4, 45.5, None)
    assert not areas.hold(3.95, 45.5, None)
    assert areas.hold(3.4, 45.5, geo.around((3.4, 45.5), 30))
    assert areas.touch(geo.around((3.4, 45.5), 30))
    assert not areas.touch(geo.around((3.0, 45.5), 5))
    assert not areas.touch(None)


@pytest.mark.parametrize(
    "box", [BBox(-74.5, -8.5, -74.5, -8.5), BBox(-75, -8.5, -74, -8.5), BBox(-74.5, -9, -74.5, -8)]
)
def test_a_box_without_area_holds_positions_and_is_no_footprint(box: BBox) -> None:
    areas = Areas(Filters(bbox=box))
    assert not areas.drawn
    assert areas.hold(-74.5, -8.5, None)
    assert not areas.hold(-74.4, -8.6, None)
    assert areas.touch(geo.around((0.0, 0.0), 1))  # its box was compared before


def test_the_smallest_box() -> None:
    wide, narrow, across = BBox(0, 0, 10, 10), BBox(0, 0, 1, 1), BBox(179, 0, -179, 1)
    assert smallest(None, wide, narrow, across) == narrow
    assert smallest(wide, across) == across
    assert smallest(None) is None
