"""What goes in comes out equal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsrag.catalog import Catalog, PassageRow, SourceRecord, TileRow
from rsrag.types import (
    Band,
    BBox,
    Document,
    Fact,
    Footprint,
    ItemError,
    Passage,
    Place,
    Scene,
    Tile,
    TimeSpan,
    Window,
)

quick = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# PostgreSQL text has no NUL, and neither has a lone surrogate.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
maybe_text = st.none() | texts
lons = st.floats(-180, 180)
lats = st.floats(-90, 90)
numbers = st.floats(-1e300, 1e300)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
properties = st.dictionaries(texts, anything, max_size=3)
times = st.none() | st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-7)))
)
spans = st.none() | st.builds(TimeSpan, times, times)
rings = st.lists(st.tuples(lons, lats), min_size=4, max_size=6).map(tuple)
polygons = st.lists(rings, min_size=1, max_size=2).map(tuple)
footprints = st.none() | st.builds(
    Footprint, st.lists(polygons, min_size=1, max_size=3).map(tuple), st.builds(BBox, lons, lats, lons, lats)
)
facts = st.lists(st.builds(Fact, texts, numbers | texts, texts), max_size=3).map(tuple)
small = st.integers(0, 2**31 - 1)
bands = st.lists(
    st.builds(Band, small, maybe_text, texts, st.none() | numbers, numbers, numbers, maybe_text), max_size=3
).map(tuple)
windows = st.builds(Window, small, small, small, small)
scenes = st.builds(
    Scene,
    id=st.just("scene"),
    source=texts,
    digest=texts,
    collection=texts,
    width=small,
    height=small,
    bands=bands,
    footprint=footprints,
    crs=maybe_text,
    transform=st.none() | st.tuples(*[numbers] * 6),
    gsd_m=st.none() | numbers,
    time=spans,
    sensor=maybe_text,
    title=maybe_text,
    licence=maybe_text,
    stretch=maybe_text,
    properties=properties,
)
tiles = st.builds(
    Tile,
    id=st.just("tile"),
    scene_id=st.just("scene"),
    window=windows,
    scale=numbers,
    digest=texts,
    phash=st.integers(0, 2**64 - 1),
    footprint=footprints,
    facts=facts,
    group=maybe_text,
)
places = st.builds(
    Place,
    id=st.just("place"),
    name=texts,
    source=texts,
    lon=lons,
    lat=lats,
    kind=maybe_text,
    country=maybe_text,
    aliases=st.lists(texts, max_size=3).map(tuple),
    extent=footprints,
    facts=facts,
    licence=maybe_text,
)
documents = st.builds(
    Document,
    id=st.just("document"),
    source=texts,
    digest=texts,
    title=texts,
    licence=maybe_text,
    properties=properties,
)
passages = st.builds(
    Passage,
    id=st.just("passage"),
    document_id=st.just("document"),
    ordinal=small,
    text=texts,
    heading=maybe_text,
    place_id=maybe_text,
    lon=st.none() | lons,
    lat=st.none() | lats,
    time=spans,
    facts=facts,
    picture=maybe_text,
    sources=st.lists(texts, max_size=3).map(tuple),
)
vectors = st.lists(st.floats(0.5, 2.0**100, width=32), min_size=1, max_size=5).map(
    lambda values: np.array(values, dtype=np.float32)
)
names_of_keys = st.text("abc", min_size=1, max_size=5)


@quick
@given(scene=scenes)
def test_scene(catalog: Catalog, scene: Scene) -> None:
    catalog.save_scene(scene, "/source")
    assert catalog.scene("scene") == scene
    assert catalog.counts()["scenes"] == 1


@quick
@given(tile=tiles, vector=vectors, thumbnail=st.binary(max_size=20))
def test_tile_with_vector_and_thumbnail(
    catalog: Catalog, make, tile: Tile, vector: np.ndarray, thumbnail: bytes
) -> None:
    catalog.save_scene(make.scene("scene"), "/source")
    catalog.save_tiles("scene", [TileRow(tile, vector, "model", thumbnail)])
    assert catalog.tile("tile") == tile
    assert catalog.thumbnail("tile") == thumbnail
    [[(again, scene, stored)]] = list(catalog.iter_tile_vectors())
    assert (again, scene) == (tile, make.scene("scene"))
    assert stored.dtype == np.float32
    assert stored.tobytes() == vector.tobytes()


@quick
@given(place=places)
def test_place(catalog: Catalog, place: Place) -> None:
    catalog.save_places([place], "/source")
    assert catalog.place("place") == place
    assert place in catalog.places_by_name(place.name)


@quick
@given(document=documents, passage=passages, text_vector=st.none() | vectors, image_vector=st.none() | vectors)
def test_document_and_passage(
    catalog: Catalog,
    document: Document,
    passage: Passage,
    text_vector: np.ndarray | None,
    image_vector: np.ndarray | None,
) -> None:
    catalog.save_document(document, "/source")
    catalog.save_passages([PassageRow(passage, text_vector, "model", image_vector)])
    assert catalog.document("document") == document
    assert catalog.passage("passage") == passage
    assert catalog.resolve_passages(["passage"]) == {"passage": (passage, document, None)}
    [[(again, place, stored)]] = list(catalog.iter_passage_vectors())
    assert (again, place) == (passage, None)
    given_vectors = {"text": text_vector, "image": image_vector}
    expected = {name: vector.tobytes() for name, vector in given_vectors.items() if vector is not None}
    assert {name: vector.tobytes() for name, vector in stored.items()} == expected


@quick
@given(
    path=texts,
    digest=texts,
    size=st.integers(0, 2**62),
    mtime=st.integers(-(2**62), 2**62),
    status=st.sampled_from(["done", "partial", "failed"]),
    options=anything,
)
def test_source(catalog: Catalog, path: str, digest: str, size: int, mtime: int, status, options) -> None:
    record = SourceRecord(path, digest, "scene", size, mtime, status, None, options)
    catalog.finish_source(record)
    assert catalog.source(path) == record


@quick
@given(error=st.builds(ItemError, texts, texts, texts, st.none() | windows), argv=st.lists(texts, max_size=3))
def test_run_and_error(catalog: Catalog, error: ItemError, argv: list[str]) -> None:
    run_id = catalog.begin_run("ingest", argv)
    catalog.record_error(run_id, error)
    assert catalog.errors(run_id) == [error]
    assert catalog.runs(1)[0].argv == tuple(argv)


@quick
@given(key=names_of_keys, value=anything)
def test_meta(catalog: Catalog, key: str, value) -> None:
    catalog.set_meta(key, value)
    assert catalog.get_meta(key) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_json_has_no_word_for(catalog: Catalog, make, value: float) -> None:
    """A float raster commonly has NaN as its nodata value."""
    scene = make.scene(bands=(Band(1, None, "float32", nodata=value),), properties={"deep": [{"x": value}], "s": "nan"})
    catalog.save_scene(scene, "/source")
    stored = catalog.scene(scene.id)
    assert stored is not None
    assert repr(stored.bands[0].nodata) == repr(value)
    assert repr(stored.properties) == repr(scene.properties)


def test_times_come_back_in_utc(catalog: Catalog, make) -> None:
    local = datetime(2020, 5, 1, 23, 30, tzinfo=timezone(timedelta(hours=-7)))
    catalog.save_scene(make.scene(time=TimeSpan(local, None)), "/source")
    stored = catalog.scene("scene-1")
    assert stored is not None and stored.time is not None and stored.time.start is not None
    assert stored.time.start.isoformat() == "2020-05-02T06:30:00+00:00"


def test_unknown_time_is_not_open_time(catalog: Catalog, make) -> None:
    catalog.save_scene(make.scene("unknown", time=None), "/a")
    catalog.save_scene(make.scene("open", time=TimeSpan(None, None)), "/b")
    stored = {scene.id: scene.time for scene in catalog.scenes()}
    assert stored == {"unknown": None, "open": TimeSpan(None, None)}


@pytest.fixture
def reopened(target: str, make) -> Iterator[Catalog]:
    with Catalog.open(target) as first:
        first.save_scene(make.scene(box=(170, -10, -170, 10)), "/source")
        first.set_meta("fingerprint", {"image": "m1"})
    with Catalog.open(target, create=False) as second:
        yield second


def test_another_opening_sees_it(reopened: Catalog, make) -> None:
    assert reopened.scene("scene-1") == make.scene(box=(170, -10, -170, 10))
    assert reopened.get_meta("fingerprint") == {"image": "m1"}
    assert reopened.get_meta("never set") is None
