"""Sources, runs, errors; and what leaves with a source."""

from __future__ import annotations

import pytest

from rsrag.catalog import Catalog, SourceRecord
from rsrag.catalog.records import RemovedIds
from rsrag.errors import CatalogError
from rsrag.types import ItemError, Window

# --- sources --------------------------------------------------------------------------------------------------------


def test_a_source_is_partial_until_it_is_finished(catalog: Catalog, make) -> None:
    assert catalog.source("/a.tif") is None
    catalog.save_scene(make.scene(digest="d1"), "/a.tif")
    early = catalog.source("/a.tif")
    assert early is not None
    assert (early.status, early.digest, early.kind) == ("partial", "d1", "scene")
    record = SourceRecord("/a.tif", "d1", "scene", 10, 20, options={"scales": [1, 4]})
    catalog.finish_source(record)
    assert catalog.source("/a.tif") == record


def test_a_finished_source_becomes_partial_when_it_is_written_again(catalog: Catalog, make) -> None:
    """Otherwise a run killed while replacing would look complete."""
    catalog.save_places([make.place()], "/p.csv")
    catalog.finish_source(SourceRecord("/p.csv", "d1", "places", 10, 20))
    catalog.save_places([make.place()], "/p.csv")
    again = catalog.source("/p.csv")
    assert again == SourceRecord("/p.csv", "d1", "places", 10, 20, status="partial")


def test_sources_by_prefix(catalog: Catalog) -> None:
    for path in ("/data/b", "/data/a", "/Data/a", "/data_/c", "/datax/%"):
        catalog.finish_source(SourceRecord(path, "d", "scene"))
    assert [s.path for s in catalog.sources("/data/")] == ["/data/a", "/data/b"]
    assert [s.path for s in catalog.sources("/datax/%")] == ["/datax/%"]
    assert [s.path for s in catalog.sources()] == ["/Data/a", "/data/a", "/data/b", "/data_/c", "/datax/%"]


def test_sources_by_path(catalog: Catalog) -> None:
    for number in range(700):
        catalog.finish_source(SourceRecord(f"/{number}", str(number), "scene"))
    found = catalog.sources_at([*(f"/{number}" for number in range(650)), "/none", "/3"])
    assert {path: record.digest for path, record in found.items()} == {f"/{n}": str(n) for n in range(650)}
    assert catalog.sources_at([]) == {}


# --- removal --------------------------------------------------------------------------------------------------------


def test_removing_a_scene_takes_everything_of_it(filled: Catalog) -> None:
    filled.record_error(None, ItemError("/data/scene-1.tif", "BadFootprint", "no position"))
    removed = filled.remove_source("/data/scene-1.tif")
    assert removed == RemovedIds(tiles=("tile-1a", "tile-1b", "tile-1c"))
    assert filled.scene("scene-1") is None
    assert filled.thumbnail("tile-1a") is None
    assert filled.source("/data/scene-1.tif") is None
    assert filled.errors() == []
    assert list(filled.tile_ids()) == ["tile-2a", "tile-2b", "tile-2c"]
    assert [tile.id for batch in filled.iter_tile_vectors() for tile, _, _ in batch] == list(filled.tile_ids())


def test_removed_tiles_attract_no_duplicates(filled: Catalog, make) -> None:
    tile = make.tile("tile-1a")
    assert filled.find_group(tile.phash, "x") == "tile-1a"
    filled.remove_source("/data/scene-1.tif")
    assert filled.find_group(tile.phash, tile.digest) is None


def test_removing_texts_and_places(filled: Catalog) -> None:
    assert filled.remove_source("/texts/document-1.md") == RemovedIds(passages=("passage-1", "passage-2"))
    assert list(filled.iter_passage_vectors()) == []
    assert not filled.remove_source("/data/places.geojson")
    assert filled.places_by_name("name of place-1") == []
    counts = filled.counts()
    assert (counts["places"], counts["documents"], counts["passages"], counts["tiles"]) == (0, 0, 0, 6)


def test_nothing_of_a_removed_source_is_left_anywhere(filled: Catalog) -> None:
    for record in filled.sources():
        filled.remove_source(record.path)
    from rsrag.catalog.tables import Base

    with filled._engine.connect() as connection:
        left = {table.name: connection.execute(table.select()).all() for table in Base.metadata.sorted_tables}
    assert {name: rows for name, rows in left.items() if rows} == {}


def test_an_unknown_source_removes_nothing(filled: Catalog) -> None:
    before = filled.counts()
    assert filled.remove_source("/nothing") == RemovedIds()
    assert filled.counts() == before


def test_scenes_that_leave_their_source(catalog: Catalog, make) -> None:
    scenes = [make.scene(f"scene-{number}") for number in (1, 2, 3)]
    catalog.begin_scenes([], [(scene, "/items.json") for scene in scenes])
    catalog.begin_scenes([], [(scenes[2], "/copy.json")])
    for scene in scenes:
        catalog.save_tiles(scene.id, [make.tile_row(f"tile of {scene.id}", scene.id)])
    assert [scene.id for scene in catalog.scenes_from("/items.json")] == ["scene-1", "scene-2", "scene-3"]
    removed = catalog.remove_scenes("/items.json", ["scene-2", "scene-3", "unknown"])
    assert removed == RemovedIds(tiles=("tile of scene-2",))
    assert [scene.id for scene in catalog.scenes_from("/items.json")] == ["scene-1"]
    assert [scene.id for scene in catalog.scenes_from("/copy.json")] == ["scene-3"]
    assert list(catalog.scenes_at(["scene-1", "scene-2", "scene-3"])) == ["scene-1", "scene-3"]
    kept = [tile.id for batch in catalog.iter_tile_vectors(scenes=["scene-1"]) for tile, _, _ in batch]
    assert (kept, list(catalog.iter_tile_vectors(scenes=[]))) == (["tile of scene-1"], [])
    assert catalog.remove_source("/copy.json").tiles == ("tile of scene-3",)


def test_content_that_also_lies_elsewhere_stays(catalog: Catalog, make) -> None:
    """Two copies of a file have the same content digest, so the same ids."""
    for path in ("/one/a.tif", "/two/a.tif"):
        catalog.save_scene(make.scene(source=path), path)
        catalog.save_tiles("scene-1", [make.tile_row()])
        catalog.save_document(make.document(source=path), path)
    assert catalog.remove_source("/two/a.tif") == RemovedIds()
    scene, document = catalog.scene("scene-1"), catalog.document("document-1")
    assert scene is not None and document is not None
    assert scene.source == document.source == "/one/a.tif"
    assert catalog.tile("tile-1") is not None
    assert catalog.remove_source("/one/a.tif") == RemovedIds(tiles=("tile-1",))
    assert catalog.counts()["scenes"] == 0


# --- runs and errors ------------------------------------------------------------------------------------------------


def test_runs_newest_first(catalog: Catalog) -> None:
    first = catalog.begin_run("ingest", ["data", "--scales", "1"])
    second = catalog.begin_run("reindex", [])
    catalog.finish_run(first, done=3, skipped=2, failed=1, status="done")
    newest, oldest = catalog.runs()
    assert (newest.id, newest.status, newest.finished, newest.argv) == (second, "running", None, ())
    assert (oldest.id, oldest.command, oldest.done, oldest.skipped, oldest.failed, oldest.status) == (
        first,
        "ingest",
        3,
        2,
        1,
        "done",
    )
    assert oldest.finished is not None and oldest.finished >= oldest.started
    assert [run.id for run in catalog.runs(1)] == [second]


def test_errors_by_run_and_source(catalog: Catalog) -> None:
    one, two = catalog.begin_run("ingest", []), catalog.begin_run("ingest", [])
    a = ItemError("/a", "UnreadableSource", "truncated")
    b = ItemError("/b", "UnreadableSource", "bad block", Window(0, 256, 256, 256))
    catalog.record_error(one, a)
    catalog.record_error(two, b)
    catalog.record_error(two, a)
    assert catalog.errors() == [a, b, a]
    assert catalog.errors(two) == [b, a]
    assert catalog.errors(source="/b") == [b]
    assert catalog.errors(two, "/a") == [a]
    catalog.clear_errors("/a")
    assert catalog.errors() == [b]


def test_an_error_of_an_unknown_run(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="record an error"):
        catalog.record_error("no such run", ItemError("/a", "c", "r"))


def test_finishing_an_unknown_run(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="knows no run x"):
        catalog.finish_run("x", done=0, skipped=0, failed=0, status="done")


def test_an_archive_has_one_name_for_good(catalog: Catalog) -> None:
    name = catalog.archive_id()
    assert len(name) == 32 and catalog.archive_id() == name == catalog.get_meta("archive")


def test_counts(filled: Catalog) -> None:
    filled.begin_run("ingest", [])
    assert filled.counts() == {
        "scenes": 2,
        "tiles": 6,
        "places": 2,
        "documents": 1,
        "passages": 2,
        "sources": 4,
        "runs": 1,
        "errors": 0,
    }


def test_errors_of_items_are_forgotten_with_their_document(catalog: Catalog) -> None:
    for source in ("/a.json", "/a.json#one", "/a.json#two#2", "/a.jsonl", "/a.json2#one", "/a.tif#one"):
        catalog.record_error(None, ItemError(source, "UnreadableSource", "half a pair \ud800 and \0"))
    catalog.clear_errors("/a.json")
    assert [error.source for error in catalog.errors()] == ["/a.jsonl", "/a.json2#one", "/a.tif#one"]


def test_the_copy_that_is_left_is_to_be_read_again(catalog: Catalog, make) -> None:
    for path in ("/one/a.tif", "/two/a.tif"):
        catalog.save_scene(make.scene(source=path), path)
        catalog.save_places([make.place(source=path)], path)
        catalog.finish_source(SourceRecord(path, "", "scene"))
    assert catalog.remove_source("/two/a.tif").heirs == ("/one/a.tif",)
    source, place = catalog.source("/one/a.tif"), catalog.place("place-1")
    assert source is not None and place is not None
    assert (source.status, place.source) == ("partial", "/one/a.tif")
    catalog.save_scene(make.scene(source="/three/a.tif"), "/three/a.tif")
    assert catalog.remove_source("/one/a.tif").heirs == ()
