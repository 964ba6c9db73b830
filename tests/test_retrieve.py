"""Retrieval: filters for the engine, merging, and what the filters leave of an archive."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from archives import gazetteer, open_archive
from rasters import write_tiff

import rsrag
from rsrag import geo, geometric, retrieve
from rsrag.catalog import TileRow
from rsrag.catalog.records import SourceRecord
from rsrag.collections import TILES, tile_point
from rsrag.engine import Engine
from rsrag.times import parse_span, parse_time
from rsrag.types import BBox, Fact, Filters, Footprint, Hit, Passage, Scene, Tile, Window


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
    assert [h.id for h in found.shown("all", 4)] == ["t0", "t1", "p0", "p1"]
    assert [h.id for h in found.shown("passage", 2)] == ["p0", "p1"]


# --- what is found in an archive ---


def chip(number: int, at: BBox, *, scale: float = 1.0, ndvi: float = 0.1) -> tuple[Scene, Tile]:
    """A scene that is one tile."""
    name, footprint = f"chip{number:04d}", geo.footprint_from_bbox(at)
    day = parse_time((date(2000, 1, 1) + timedelta(days=number)).isoformat())
    scene = Scene(name, f"/{name}.tif", name, "chips", 8, 8, (), footprint=footprint, time=day)
    facts = (Fact("ndvi_mean", ndvi, "1"),)
    return scene, Tile(str(uuid.UUID(int=number)), name, Window(0, 0, 8, 8), scale, name, number, footprint, facts)


def fill(engine: Engine, chips: Sequence[tuple[Scene, Tile]]) -> None:
    """Put scenes of one tile each into the archive."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(len(chips), engine.profile.image.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    marks = [SourceRecord(scene.source, scene.digest, "geotiff") for scene, _ in chips]
    engine.catalog.begin_scenes(marks, [(scene, scene.source) for scene, _ in chips])
    rows = [TileRow(tile, vector, "test:1") for (_, tile), vector in zip(chips, vectors, strict=True)]
    engine.catalog.save_tiles_of_scenes(rows)
    points = [tile_point(tile, scene, vector) for (scene, tile), vector in zip(chips, vectors, strict=True)]
    engine.index.upsert(TILES, points)


NEAR, FAR = BBox(1.0, 0.0, 1.04, 0.04), BBox(20.0, 0.0, 20.04, 0.04)


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """230 dates of one spot, of which the last 20 are green; one of them is coarse; and one chip elsewhere."""
    with open_archive(tmp_path_factory.mktemp("dates") / "archive") as engine:
        chips = [chip(n, NEAR, scale=4.0 if n == 217 else 1.0, ndvi=0.7 if n >= 210 else 0.1) for n in range(230)]
        fill(engine, [*chips, chip(230, FAR)])
        yield engine


def numbers(hits: Sequence[Hit]) -> set[int]:
    return {uuid.UUID(h.id).int for h in hits}


def test_a_fact_is_looked_for_in_every_scene(dates: Engine) -> None:
    green = Filters(facts={"ndvi_mean": (0.5, None)})
    hits = dates.search(filters=green, kind="tile", limit=100)
    assert numbers(hits) == set(range(210, 230))
    assert numbers(hits[:1]) == {217}
    place = Filters(facts=green.facts, bbox=BBox(1.0, 0.0, 1.01, 0.01), when=parse_span("../2000-08-02"))
    assert numbers(dates.search(filters=place, kind="tile", limit=100)) == set(range(210, 215))


def test_every_date_of_a_place_is_found(dates: Engine) -> None:
    assert numbers(dates.search(where=(1.02, 0.02), kind="tile", limit=500)) == set(range(230))


def test_listing_goes_on_until_enough_tiles_touch_the_shape(dates: Engine) -> None:
    west, south, east, north = NEAR.west, NEAR.south, FAR.east, FAR.north
    ring = [(east, south), (east, north), (east - 0.01, north), (west - 1, 2.0), (west - 1, south), (west - 0.9, south)]
    bow = geo.footprint_from_ring(np.array([*ring, (west - 0.9, 1.9)]))
    shown = dates._retriever.browse(Filters(intersects=bow), limit=3)
    assert numbers(shown) == {230}
    coarsest = dates._retriever.browse(Filters(), limit=3)
    assert len(coarsest) == 3 and numbers(coarsest[:1]) == {217}


@pytest.mark.parametrize("text", [None, "fields"])
def test_a_box_holds_for_tiles_at_a_location_too(dates: Engine, text: str | None) -> None:
    elsewhere = Filters(bbox=BBox(20.0, 0.0, 21.0, 0.1))
    assert dates.retrieve(text, where=(1.0, 0.02), filters=elsewhere).tiles == ()
    there = dates.retrieve(text, where=(1.0, 0.02), filters=Filters(bbox=BBox(0.9, 0.0, 1.01, 0.1))).tiles
    assert numbers(there) and numbers(there) <= set(range(230))
    assert numbers(dates.retrieve(text, where=(20.02, 0.02), filters=elsewhere).tiles) == {230}


def test_a_tile_is_compared_with_a_box_exactly(tmp_path: Path) -> None:
    diamond = geo.footprint_from_ring(np.array([(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)]))
    with open_archive(tmp_path / "archive") as engine:
        scene, record = chip(1, NEAR)
        fill(engine, [(replace(scene, footprint=diamond), replace(record, footprint=diamond))])
        corner, inside = Filters(bbox=BBox(0.9, 0.9, 1.0, 1.0)), Filters(bbox=BBox(0.4, 0.4, 0.6, 0.6))
        assert engine.search("fields", filters=corner, kind="tile") == []
        assert len(engine.search("fields", filters=inside, kind="tile")) == 1
        assert len(engine.search("fields", filters=Filters(bbox=BBox(0.5, 0.5, 0.5, 0.5)), kind="tile")) == 1


def test_a_box_holds_for_passages_near_a_location(tmp_path: Path) -> None:
    lake = {"type": "Polygon", "coordinates": [[[3.3, 45.9], [3.5, 45.9], [3.5, 46], [3.3, 46], [3.3, 45.9]]]}
    told = {"name": "Long Lake", "kind": "lake", "country": "Testland", "text": "Long Lake is 90 m deep."}
    features = [{"type": "Feature", "geometry": lake, "properties": told}]
    gazetteer(tmp_path / "places.geojson")
    (tmp_path / "lake.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    with open_archive(tmp_path / "archive") as engine:
        engine.ingest(knowledge=[tmp_path / "places.geojson", tmp_path / "lake.geojson"])

        def names(text: str | None, where: tuple[float, float] | None, *box: float) -> set[str]:
            hits = engine.retrieve(text, where=where, filters=Filters(bbox=BBox(*box))).passages
            return {h.place.name for h in hits if h.place}

        for text in (None, "How deep is the lagoon?"):
            assert names(text, (3.05, 45.95), 20.0, 0.0, 21.0, 0.1) == set()
            assert names(text, (3.05, 45.95), 3.1, 45.8, 3.2, 46.0) == {"Red Quarry"}
        assert names(None, None, 3.0, 45.9, 3.31, 46.0) == {"Blue Lagoon", "Red Quarry", "Long Lake"}
        assert engine.ask("How deep is Blue Lagoon?", where="Blue Lagoon", filters=Filters(bbox=FAR)).abstained


def test_listing_at_a_position_has_fine_tiles_before_coarse_ones(tmp_path: Path) -> None:
    with open_archive(tmp_path / "archive") as engine:
        coarse = chip(2, BBox(0.92, -0.08, 1.12, 0.12), scale=8.0)
        fill(engine, [chip(1, NEAR), coarse])
        found = engine.search(where=(1.02, 0.02), kind="tile")
        assert [h.tile.scale for h in found if h.tile] == [1.0, 8.0]
        assert all(0 < h.score <= 1 for h in found)


def test_tiles_there_are_scored_by_the_channel_that_found_them(dates: Engine) -> None:
    assert 230 not in numbers(dates.retrieve("meadows").tiles)
    (there,) = dates.retrieve("meadows", where=(20.02, 0.02)).tiles
    assert numbers([there]) == {230}
    assert "words" in there.scores and "image" not in there.scores


CHAPELS = (
    "Alder",
    "Beech",
    "Cedar",
    "Dogwood",
    "Elm",
    "Fir",
    "Hazel",
    "Ivy",
    "Juniper",
    "Larch",
    "Maple",
    "Oak",
    "Pine",
    "Fig",
    "Spruce",
)


def test_what_is_asked_for_is_found_among_many_places_at_a_location(tmp_path: Path) -> None:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [7.0 + 0.0001 * n, 46.0]},
            "properties": {"name": f"{name} Chapel", "text": f"{name} Chapel was built in {1700 + n}."},
        }
        for n, name in enumerate(CHAPELS)
    ]
    (tmp_path / "p.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    with open_archive(tmp_path / "archive") as engine:
        engine.ingest(knowledge=[tmp_path / "p.geojson"])
        answer = engine.ask("When was Spruce Chapel built?", where=(7.0, 46.0))
        assert "1714" in answer.text


@pytest.mark.parametrize("fusion", ["rrf", "alpha"])
def test_a_place_alone_shows_what_is_known_of_it(tmp_path: Path, fusion: str) -> None:
    gazetteer(tmp_path / "places.geojson")
    with open_archive(tmp_path / "archive", fusion=fusion) as engine:
        engine.ingest(knowledge=[tmp_path / "places.geojson"])
        found = engine.search(where="Red Quarry", kind="passage")
        assert found and found[0].place is not None and found[0].place.name == "Red Quarry"


def test_the_error_of_a_located_picture_is_in_pixels_of_an_oblong_tile(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    coarse = random.integers(0, 255, (16, 64, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (512, 128), interpolation=cv2.INTER_CUBIC)
    (tmp_path / "s").mkdir()
    strip = tmp_path / "s" / "strip.tif"
    write_tiff(strip, picture.transpose(2, 0, 1), transform=(10, 0, 5e5, 0, -10, 5e6), crs="EPSG:32632")
    noise = random.integers(-15, 16, (90, 150, 3))
    query = np.clip(picture[20:110, 150:300].astype(int) + noise, 0, 255).astype(np.uint8)
    with rsrag.open(tmp_path / "archive", create=True, tile_size=512) as engine:
        engine.ingest([tmp_path / "s"])
        found = engine.retrieve(image=query)
        thumbnail = engine.thumbnail(found.tiles[0].id)
    assert thumbnail is not None and found.location is not None
    shown = np.asarray(cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)
    match = geometric.match(geometric.extract(query), geometric.extract(shown))
    assert match is not None and shown.shape == (128, 512, 3)
    in_km = geometric.ERROR_DEVIATIONS * match.deviation_px * 0.01
    assert found.location.error_km == pytest.approx(in_km, rel=0.01)
