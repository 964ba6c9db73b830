"""Boxes in SQL touch as boxes on a round Earth do."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Float, MetaData, Table, create_engine, insert, select

from rsrag.catalog.boxes import touches
from rsrag.types import BBox

BOXES = Table("boxes", MetaData(), *(Column(name, Float) for name in ("west", "south", "east", "north")))


@pytest.mark.parametrize(
    ("stored", "query", "found"),
    [
        ((-1.516585721, -10, 0, 10), BBox(179, -10, -1.516585721, 10), True),  # -1.516585721 + 360 - 360 is less
        ((-1.5, -10, 0, 10), BBox(179, -10, -1.6, 10), False),
        ((170, 0, 190, 10), BBox(-175, 0, -170, 10), True),
        ((170, 0, 190, 10), BBox(-170, 0, -160, 10), True),
        ((170, 0, 190, 10), BBox(-169, 0, -160, 10), False),
        ((-180, 0, -170, 10), BBox(170, 0, 180, 10), True),
    ],
)
def test_boxes_touch_across_the_antimeridian(stored: tuple[float, ...], query: BBox, found: bool) -> None:
    with create_engine("sqlite://").begin() as connection:
        BOXES.create(connection)
        connection.execute(insert(BOXES).values(dict(zip(("west", "south", "east", "north"), stored, strict=True))))
        assert bool(connection.execute(select(BOXES).where(touches(BOXES, query))).all()) is found
