"""Scenes and tiles: filters, lookups, near-duplicates, vectors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsrag.catalog import Catalog, SourceRecord, TileRow
from rsrag.errors import BadVector, CatalogError, UsageError
from rsrag.geo import footprint_from_bbox, footprint_from_ring
from rsrag.types import BBox, Fact, Filters, ItemError, TimeSpan


def when(start: str | None, end: str | None) -> TimeSpan:
    first, last = (datetime.fromisoformat(t).replace(tzinfo=UTC) if t else None for t in (start, end))
    return TimeSpan(first, last)


def ids(scenes) -> list[str]:
    return [scene.id for scene in scenes]


# --- saving ---------------------------------------------------------------------------------------------------------


def test_saving_again_changes_nothing(filled: Catalog, make) -> None:
    before = (filled.counts(), list(filled.tile_ids()), filled.tiles_of("scene-1"))
    filled.save_scene(make.scene("scene-1", box=(10, 0, 15, 5)), "/data/scene-1.tif")
    filled.save_tiles("scene-1", [make.tile_row(f"tile-1{letter}") for letter in "abc"])
    assert (filled.counts(), list(filled.tile_ids()), filled.tiles_of("scene-1")) == before


def test_saving_again_replaces(filled: Catalog, make) -> None:
    facts = (Fact("ndvi", 0.5),)
    vector = make.vector(seed=7)
    filled.save_tiles("scene-1", [TileRow(make.tile("tile-1a", facts=facts), vector, "model b", b"new")])
    assert filled.tiles(["tile-1a"])["tile-1a"].facts == facts
    assert filled.thumbnail("tile-1a") == b"new"
    vectors = {tile.id: v for batch in filled.iter_tile_vectors() for tile, _, v in batch}
    assert np.array_equal(vectors["tile-1a"], vector)


def test_layouts_go_with_their_tiles(filled: Catalog, make) -> None:
    known = filled.tiles_without_layout()
    assert known == sorted(filled.tile_ids())
    cells = np.arange(-144, 144).clip(-127, 127).astype(np.int8)
    filled.save_layouts({"tile-1b": cells})
    row = replace(make.tile_row("tile-1a"), layout=cells[::-1])
    filled.save_tiles("scene-1", [row])
    found = filled.layouts(["tile-1b", "tile-1c", "no such", "tile-1a"])
    assert list(found) == ["tile-1b", "tile-1a"]
    assert found["tile-1b"].tolist() == cells.tolist()
    assert found["tile-1a"].tolist() == cells[::-1].tolist()
    assert filled.tiles_without_layout() == [i for i in known if i not in ("tile-1a", "tile-1b")]
    filled.remove_source("/data/scene-1.tif")
    assert filled.layouts(["tile-1a", "tile-1b"]) == {}
    with pytest.raises(CatalogError, match="save layouts"):
        filled.save_layouts({"no such": cells})


def test_tiles_are_saved_whole_or_not_at_all(filled: Catalog, make) -> None:
    rows = [make.tile_row("new-1"), make.tile_row("new-2", "no such scene")]
    with pytest.raises(CatalogError, match="new-2 does not belong"):
        filled.save_tiles("scene-1", rows)
    assert filled.tile("new-1") is None


def test_tiles_of_many_scenes_are_saved_at_once_or_not_at_all(filled: Catalog, make) -> None:
    with pytest.raises(CatalogError, match="cannot save tiles of 2 scenes: it refers to something"):
        filled.save_tiles_of_scenes([make.tile_row("new-1", "scene-1"), make.tile_row("new-9", "scene-9")])
    assert filled.tile("new-1") is None
    filled.save_tiles_of_scenes([make.tile_row("new-1", "scene-1"), make.tile_row("new-2", "scene-2")])
    assert filled.tile_ids_of("scene-1") == {"tile-1a", "tile-1b", "tile-1c", "new-1"}
    assert filled.tile_ids_of("scene-2") == {tile.id for tile in filled.tiles_of("scene-2")}
    assert filled.tile_ids_of("scene-9") == set()


def test_scenes_of_many_sources_begin_at_once_or_not_at_all(filled: Catalog, make) -> None:
    filled.record_error(None, ItemError("/data/3.tif", "UnreadableSource", "torn"))
    filled.record_error(None, ItemError("/data/9.tif", "UnreadableSource", "torn"))
    marks = [SourceRecord(f"/data/{n}.tif", f"digest {n}", "geotiff", 5, 6, "partial") for n in (3, 4)]
    begun = [(make.scene("scene-3"), "/data/3.tif"), (make.scene("scene-4"), "/data/4.tif")]
    bad = replace(make.scene("scene-5"), digest=None)
    with pytest.raises(CatalogError, match="cannot save 3 scenes"):
        filled.begin_scenes(marks, [*begun, (bad, "/data/4.tif")])
    assert filled.scene("scene-3") is None and filled.source("/data/3.tif") is None
    assert len(filled.errors()) == 2
    filled.begin_scenes(marks, [*begun, (make.scene("scene-5"), "/data/4.tif")])  # such as a document of several images
    assert ids(filled.scenes()) == ["scene-1", "scene-2", "scene-3", "scene-4", "scene-5"]
    assert [filled.source(mark.path) for mark in marks] == marks
    assert [error.source for error in filled.errors()] == ["/data/9.tif"], "those of what is read again are forgotten"
    filled.remove_source("/data/4.tif")
    assert ids(filled.scenes()) == ["scene-1", "scene-2", "scene-3"]


def test_tiles_of_an_unknown_scene(catalog: Catalog, make) -> None:
    with pytest.raises(CatalogError, match="cannot save tiles of scene scene-9: it refers to something that is not in"):
        catalog.save_tiles("scene-9", [make.tile_row("tile", "scene-9")])
    assert catalog.counts()["tiles"] == 0


@pytest.mark.parametrize(
    "vector",
    [np.zeros(4), np.array([1.0, np.nan]), np.array([1.0, np.inf]), np.ones((2, 2)), np.array([])],
    ids=["zero", "nan", "inf", "2-D", "empty"],
)
def test_bad_vectors_are_refused_before_anything_is_written(filled: Catalog, make, vector: np.ndarray) -> None:
    rows = [make.tile_row("good"), TileRow(make.tile("bad"), vector.astype(np.float32), "model", None)]
    with pytest.raises(BadVector, match="bad"):
        filled.save_tiles("scene-1", rows)
    assert filled.tiles(["good", "bad"]) == {}


def test_threads_may_write_at_once(catalog: Catalog, make) -> None:
    def work(number: int) -> None:
        scene = make.scene(f"scene-{number}")
        catalog.save_scene(scene, scene.source)
        for letter in "abc":
            catalog.save_tiles(scene.id, [make.tile_row(f"tile-{number}{letter}", scene.id)])
        if number % 2:
            assert len(catalog.remove_source(scene.source).tiles) == 3

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(30)))
    assert sorted(catalog.tile_ids()) == sorted(
        f"tile-{number}{letter}" for number in range(0, 30, 2) for letter in "abc"
    )


def test_saving_nothing(filled: Catalog) -> None:
    filled.save_tiles("scene-1", [])
    assert filled.counts()["tiles"] == 6


# --- lookups --------------------------------------------------------------------------------------------------------


def test_unknown_ids(filled: Catalog) -> None:
    assert filled.scene("x") is None
    assert filled.tile("x") is None
    assert filled.thumbnail("x") is None
    assert filled.tiles_of("x") == []
    assert filled.resolve_tiles(["x"]) == {}


def test_resolved_in_the_order_asked_for(filled: Catalog, make) -> None:
    asked = ["tile-2c", "unknown", "tile-1a", "tile-2a"]
    resolved = filled.resolve_tiles(asked)
    assert list(resolved) == ["tile-2c", "tile-1a", "tile-2a"]
    assert resolved["tile-1a"] == (make.tile("tile-1a"), make.scene("scene-1", box=(10, 0, 15, 5)))
    assert resolved["tile-2c"][1].id == "scene-2"
    assert list(filled.tiles(asked)) == list(resolved)


def test_more_ids_than_one_statement_takes(catalog: Catalog, make) -> None:
    catalog.save_scene(make.scene(), "/source")
    names = [f"tile-{number:04}" for number in range(1201)]
    catalog.save_tiles("scene-1", [make.tile_row(name) for name in names])
    assert list(catalog.tiles(names[::-1])) == names[::-1]
    assert list(catalog.resolve_tiles(names)) == names
    assert sorted(catalog.tile_ids()) == names


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_tiles_of_a_scene_come_in_batches(filled: Catalog, batch: int) -> None:
    tiles = filled.tiles_of("scene-1")
    found = list(filled.iter_tiles_of("scene-1", batch))
    assert [tile for part in found for tile in part] == tiles and max(map(len, found)) <= batch
    assert list(filled.iter_tiles_of("unknown", batch)) == []


def test_tiles_of_a_scene_are_ordered(catalog: Catalog, make) -> None:
    catalog.save_scene(make.scene(), "/source")
    order = [(1.0, 0, 0), (1.0, 0, 256), (1.0, 256, 0), (4.0, 0, 0)]
    rows = [
        make.tile_row(f"tile-{9 - n}", scale=scale, window=make.tile().window._replace(row=row, col=col))
        for n, (scale, row, col) in enumerate(order)
    ]
    catalog.save_tiles("scene-1", rows[::-1])
    assert [(t.scale, t.window.row, t.window.col) for t in catalog.tiles_of("scene-1")] == order


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
def test_every_vector_once(filled: Catalog, batch: int) -> None:
    batches = list(filled.iter_tile_vectors(batch))
    assert max(len(b) for b in batches) == min(batch, 6)
    seen = [(tile.id, scene.id) for b in batches for tile, scene, _ in b]
    assert seen == [(f"tile-{n}{letter}", f"scene-{n}") for n in (1, 2) for letter in "abc"]


# --- filters --------------------------------------------------------------------------------------------------------


def test_scenes_by_what_is_written_on_them(catalog: Catalog, make) -> None:
    catalog.save_scene(make.scene("a", collection="naip", sensor="ADS100"), "/a")
    catalog.save_scene(make.scene("b", collection="sentinel-2", sensor="MSI"), "/b")
    catalog.save_scene(make.scene("c", collection="landsat"), "/c")
    assert ids(catalog.scenes()) == ["a", "b", "c"]
    assert ids(catalog.scenes(limit=2)) == ["a", "b"]
    assert ids(catalog.scenes(Filters(collections=("naip", "landsat")))) == ["a", "c"]
    assert ids(catalog.scenes(Filters(sensors=("MSI",)))) == ["b"]
    assert ids(catalog.scenes(Filters(scenes=("c", "x")))) == ["c"]
    assert ids(catalog.scenes(Filters(collections=("naip",), sensors=("MSI",)))) == []


def test_scenes_by_time(catalog: Catalog, make) -> None:
    spans = {
        "day": when("2020-05-01", "2020-05-02"),
        "since": when("2021-01-01", None),
        "until": when(None, "2000-01-01"),
        "always": when(None, None),
        "unknown": None,
    }
    for key, span in spans.items():
        catalog.save_scene(make.scene(key, time=span), f"/{key}")

    def found(start: str | None, end: str | None) -> set[str]:
        return set(ids(catalog.scenes(Filters(when=when(start, end)))))

    assert found("2020-05-02", "2020-06-01") == {"day", "always"}
    assert found("2020-05-03", "2020-06-01") == {"always"}
    assert found("2020-01-01", None) == {"day", "since", "always"}
    assert found(None, "1990-01-01") == {"until", "always"}
    assert found(None, None) == {"day", "since", "until", "always"}


BOXES = {
    "fiji": (177, -20, -178, -15),
    "east of it": (-179, -19, -175, -16),
    "west of it": (170, -19, 178, -16),
    "europe": (0, 40, 20, 60),
    "edge": (180, -18, 180, -17),
}


@pytest.mark.parametrize(
    ("box", "found"),
    [
        ((178.5, -18, 179.5, -17), {"fiji"}),
        ((-179.9, -18, -179.5, -17), {"fiji"}),
        ((-178.5, -18, -176, -17), {"fiji", "east of it"}),
        ((176, -18, -176, -17), {"fiji", "east of it", "west of it", "edge"}),
        ((-180, -18, -179.5, -17), {"fiji", "edge"}),
        ((179.5, -18, 180, -17), {"fiji", "edge"}),
        ((-180, -90, 180, 90), set(BOXES)),
        ((170, 45, -170, 50), set()),
        ((15, 45, 170, 50), {"europe"}),
        ((15, 45, -170, 50), {"europe"}),
        ((60, -18, 100, -17), set()),
    ],
)
def test_boxes_across_the_antimeridian(catalog: Catalog, make, box: tuple[float, ...], found: set[str]) -> None:
    for key, corners in BOXES.items():
        if key == "edge":
            ring = ((179.9999, -18), (-179.9999, -18), (-179.9999, -17), (179.9999, -17))
            catalog.save_scene(make.scene(key, footprint=footprint_from_ring(ring)), f"/{key}")
        else:
            catalog.save_scene(make.scene(key, box=corners), f"/{key}")
    catalog.save_scene(make.scene("nowhere"), "/nowhere")
    assert set(ids(catalog.scenes(Filters(bbox=BBox(*box))))) == found


def test_shapes_are_compared_exactly(catalog: Catalog, make) -> None:
    """A diagonal strip whose box covers the query, while it passes by."""
    strip = footprint_from_ring([(0, 0), (1, 0), (10, 9), (10, 10), (9, 10), (0, 1)])
    catalog.save_scene(make.scene("strip", footprint=strip), "/strip")
    beside, on_it = BBox(7, 1, 8, 2), BBox(5, 5, 6, 6)
    for filters in (Filters(bbox=beside), Filters(intersects=footprint_from_bbox(beside))):
        assert catalog.scenes(filters) == []
    for filters in (Filters(bbox=on_it), Filters(intersects=footprint_from_bbox(on_it))):
        assert ids(catalog.scenes(filters)) == ["strip"]
    assert catalog.scenes(Filters(bbox=on_it, intersects=footprint_from_bbox(beside))) == []


def test_limit_counts_scenes_that_pass(catalog: Catalog, make) -> None:
    strip = footprint_from_ring([(0, 0), (1, 0), (10, 9), (10, 10), (9, 10), (0, 1)])
    catalog.save_scene(make.scene("a", source="/a", footprint=strip), "/a")
    catalog.save_scene(make.scene("b", source="/b", box=(7, 1, 8, 2)), "/b")
    assert ids(catalog.scenes(Filters(bbox=BBox(7, 1, 8, 2)), limit=1)) == ["b"]
    assert catalog.scenes(limit=0) == []


@pytest.mark.parametrize("filters", [Filters(kinds=("desert",)), Filters(facts={"ndvi": (0.1, None)})])
def test_filters_that_scenes_do_not_have(catalog: Catalog, filters: Filters) -> None:
    with pytest.raises(UsageError, match="no facts and no kinds"):
        catalog.scenes(filters)


# --- near-duplicates ------------------------------------------------------------------------------------------------


@pytest.fixture
def one(catalog: Catalog, make) -> Catalog:
    catalog.save_scene(make.scene(), "/source")
    catalog.save_tiles("scene-1", [make.tile_row("first", phash=0xF0F0_1234_5678_9ABC, digest="pixels")])
    return catalog


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bits=st.sets(st.integers(0, 63), max_size=8))
def test_hashes_within_four_bits_are_found_and_others_not(one: Catalog, bits: set[int]) -> None:
    phash = 0xF0F0_1234_5678_9ABC
    for bit in bits:
        phash ^= 1 << bit
    assert one.find_group(phash, "other pixels") == ("first" if len(bits) <= 4 else None)
    assert one.find_group(phash, "other pixels", distance=1) == ("first" if len(bits) <= 1 else None)


def test_equal_pixels_win_over_a_near_hash(one: Catalog, make) -> None:
    one.save_tiles("scene-1", [make.tile_row("second", phash=0, digest="same")])
    assert one.find_group(0xF0F0_1234_5678_9ABC, "same") == "second"


def test_the_nearest_hash_wins(one: Catalog, make) -> None:
    near = 0xF0F0_1234_5678_9ABC ^ 0b11111
    one.save_tiles("scene-1", [make.tile_row("a-nearer", phash=near)])
    assert one.find_group(near ^ 0b1, "x") == "a-nearer"


def test_looking_for_many_finds_for_each_what_it_finds_alone(one: Catalog, make) -> None:
    rng = np.random.default_rng(0)
    hashes = [0xF0F0_1234_5678_9ABC ^ int(rng.integers(0, 2**6)) for _ in range(40)]
    rows = [make.tile_row(f"t{n:02d}", phash=h, digest=f"d{n % 7}") for n, h in enumerate(hashes[:20])]
    one.save_tiles("scene-1", rows)
    looks = [(phash, f"d{n % 11}") for n, phash in enumerate(hashes)]
    found = one.looks_like(looks)
    for distance in (0, 2, 4):
        together = [found.group_of(phash, digest, distance) for phash, digest in looks]
        assert together == [one.find_group(phash, digest, distance) for phash, digest in looks]
    assert len(set(together)) > 3


def test_groups_do_not_grow_into_chains(one: Catalog, make) -> None:
    near = 0xF0F0_1234_5678_9ABC ^ 0b1111
    one.save_tiles("scene-1", [make.tile_row("member", phash=near, digest="m", group="first")])
    assert one.find_group(near ^ 0b1111_0000, "x") is None
    assert one.find_group(near, "m") == "first"


def test_a_tile_that_leaves_its_group(one: Catalog, make) -> None:
    row = make.tile_row("second", phash=7, group="first")
    one.save_tiles("scene-1", [row])
    assert one.find_group(7, "x") is None
    one.save_tiles("scene-1", [replace(row, tile=replace(row.tile, group=None))])
    assert one.find_group(7, "x") == "second"
    one.save_tiles("scene-1", [row])
    assert one.find_group(7, "x") is None


def test_when_a_group_s_own_tile_goes_the_next_stands_for_it(one: Catalog, make) -> None:
    look = 0xF0F0_1234_5678_9ABC
    one.save_scene(make.scene("scene-2"), "/other")
    near = {"m2": look ^ 0b11, "m1": look ^ 0b1, "m3": look ^ 0b111}
    rows = [make.tile_row(key, "scene-2", phash=h, digest=key, group="first") for key, h in near.items()]
    alone = make.tile_row("alone", "scene-2", phash=1, digest="a", group="alone")
    one.save_tiles("scene-2", [*rows, alone])
    one.remove_source("/source")
    assert {tile.id: tile.group for tile in one.tiles_of("scene-2")} == {**dict.fromkeys(near, "m1"), "alone": "alone"}
    assert one.find_group(look, "new pixels") == "m1"
    assert one.find_group(near["m3"], "m3") == "m1"
    one.remove_source("/other")
    assert one.find_group(look, "new pixels") is None


def test_a_distance_at_which_pairs_would_be_missed(one: Catalog) -> None:
    with pytest.raises(UsageError, match="5 is not in"):
        one.find_group(0, "x", distance=5)
