"""Parts of retrieval that need no archive: filters for the engine, time and place weights, merging."""

from __future__ import annotations

from rsrag import geo, retrieve
from rsrag.times import parse_span, parse_time
from rsrag.types import BBox, Filters, Footprint, Hit, Passage, Scene, Tile, Window


def tile(name: str, score: float, *, scene: str = "s", when: str | None = None, at: BBox | None = None) -> Hit:
    footprint = geo.footprint_from_bbox(at) if at else None
    record = Tile(name, scene, Window(0, 0, 1, 1), 1.0, name, 0, footprint)
    source = Scene(scene, f"{scene}.tif", "d", "c", 1, 1, (), time=parse_time(when) if when else None)
    return Hit("tile", name, score, {}, tile=record, scene=source)


def passage(name: str, score: float) -> Hit:
    return Hit("passage", name, score, {}, passage=Passage(name, "d", 0, "text"))


def test_filters_for_tiles_and_for_passages() -> None:
    filters = Filters(
        bbox=BBox(0, 0, 1, 1),
        when=parse_span("2020"),
        collections=("naip",),
        sensors=("naip",),
        kinds=("lake",),
        facts={"ndvi_mean": (0.3, None)},
    )
    tiles = retrieve.index_filter(filters)
    assert tiles is not None
    assert tiles.match == {"collection": ("naip",), "sensor": ("naip",)}
    assert tiles.ranges == {"facts.ndvi_mean": (0.3, None)}
    assert tiles.when == filters.when
    passages = retrieve.index_filter(filters, for_passages=True)
    assert passages is not None
    assert passages.match == {"kind": ("lake",)}
    assert passages.when is None
    assert retrieve.index_filter(Filters()) is None


def test_a_shape_is_searched_by_its_box() -> None:
    shape: Footprint = geo.around((10.0, 50.0), 20)
    found = retrieve.index_filter(Filters(intersects=shape))
    assert found is not None
    assert found.box == shape.bbox


def test_merging_keeps_room_for_both_kinds() -> None:
    found = retrieve.Retrieval(
        tiles=tuple(tile(f"t{i}", 1 - i / 10, scene=f"s{i}") for i in range(5)),
        passages=tuple(passage(f"p{i}", 1 - i / 10) for i in range(5)),
    )
    merged = retrieve.merge(found, 4, tiles_first=2)
    assert [h.id for h in merged] == ["t0", "t1", "p0", "p1"]
    assert [h.id for h in retrieve.merge(found, 3, tiles_first=0)] == ["p0", "p1", "p2"]
    only_tiles = retrieve.Retrieval(tiles=found.tiles)
    assert len(retrieve.merge(only_tiles, 4, tiles_first=2)) == 4
