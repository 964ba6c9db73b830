"""What a source gave before: kept while its file is as it was, labelled anew when it moved, removed when it is gone."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archives
import pytest
from PIL import Image
from rasters import noise, stac_item, write_json

import rsrag
from rsrag.engine import Engine
from rsrag.errors import UsageError
from rsrag.ingest.summary import IngestOptions
from rsrag.times import format_span, parse_span
from rsrag.types import Filters

PEOPLE = "name,nick,lat,lon\nBlue Lagoon,,45.9,3.1\nRed Quarry,,45.8,3.2\n"
FREE = IngestOptions(allow_unlocated=True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with archives.open_archive(tmp_path / "archive") as opened:
        yield opened


def later(path: Path) -> None:
    """Make a file newer than anything."""
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))


def raster(path: Path, seed: int = 0, *, size: int = 32) -> Path:
    """A scene, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return archives.scene(path, seed, size=size)


# --- sources that are not there -------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_takes_nothing_away(engine: Engine, tmp_path: Path) -> None:
    raster(tmp_path / "disk" / "imagery" / "a.tif")
    engine.ingest([tmp_path / "disk" / "imagery"])
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    gone = engine.ingest([tmp_path / "disk" / "imagery", tmp_path / "disk" / "imagery" / "a.tif"])
    assert (gone.removed, gone.exit_code, [e.code for e in gone.errors]) == (0, 1, ["UnreadableSource"] * 2)
    assert engine.catalog.counts()["tiles"] == engine.index.count("tiles") == 1
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    assert engine.ingest([tmp_path / "disk" / "imagery"]).skipped == 1
    shutil.rmtree(tmp_path / "disk" / "imagery")
    (tmp_path / "disk" / "imagery").mkdir()  # where it used to be mounted
    assert engine.ingest([tmp_path / "disk" / "imagery"]).removed == 0
    assert engine.ingest([tmp_path / "disk"]).removed == 1
    assert engine.catalog.counts()["tiles"] == engine.index.count("tiles") == 0


def test_a_file_that_cannot_be_looked_at_is_not_gone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = raster(tmp_path / "in" / "sub" / "a.tif")
    raster(tmp_path / "in" / "b.tif", 1)
    engine.ingest([tmp_path / "in"])
    (tmp_path / "in" / "sub").rename(tmp_path / "sub")
    stat = Path.stat

    def stale(path: Path, **rest: Any) -> os.stat_result:
        if path == scene:
            raise OSError(116, "Stale file handle")
        return stat(path, **rest)

    monkeypatch.setattr(Path, "stat", stale)
    assert engine.ingest([tmp_path / "in"]).removed == 0


# --- options that do not fit ----------------------------------------------------------------------------------------


def test_an_empty_column_takes_no_place_away(engine: Engine, tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text(PEOPLE, encoding="utf-8")
    engine.ingest(knowledge=[table])
    before = archives.contents(engine)
    bad = engine.ingest(knowledge=[table], options=IngestOptions(columns={"name": "nick"}))
    assert [e.code for e in bad.errors] == ["BadKnowledge"]
    assert archives.contents(engine) == before
    assert engine.catalog.counts()["places"] == 2
    assert engine.ingest(knowledge=[table]).skipped == 1


def test_records_that_other_keys_leave_without_text_stay(engine: Engine, tmp_path: Path) -> None:
    lines = tmp_path / "p.jsonl"
    lines.write_text('{"text": "Deer live here.", "b": ""}\n{"text": "Foxes too.", "b": ""}\n', encoding="utf-8")
    engine.ingest(knowledge=[lines])
    before = archives.contents(engine)
    bad = engine.ingest(knowledge=[lines], options=IngestOptions(columns={"text": "b"}))
    assert [e.code for e in bad.errors] == ["BadKnowledge"]
    assert archives.contents(engine) == before


def test_a_text_that_fails_after_its_passages_were_removed_is_read_again(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "a.md"
    text.write_text("# Lagoon\n\nIt is 12 m deep.\n", encoding="utf-8")
    engine.ingest(knowledge=[text])

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk error")

    with monkeypatch.context() as broken:
        broken.setattr("rsrag.ingest.passages.KnowledgeWriter.write", fail)
        assert engine.ingest(knowledge=[text], options=IngestOptions(licence="CC0-1.0")).failed == 1
    again = engine.ingest(knowledge=[text])
    assert (again.skipped, again.done) == (0, 1)
    assert engine.catalog.counts()["passages"] == engine.index.count("passages") == 1


def test_columns_that_one_table_lacks_leave_the_others(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, header in (("a.csv", "name"), ("b.csv", "site"), ("c.csv", "name")):
        text = f"{header},x,y\nPlace {name},3.1,45.9\n"
        (tmp_path / "in" / name).write_text(text, encoding="utf-8")
    assert engine.ingest([tmp_path / "in"]).places == 3
    summary = engine.ingest([tmp_path / "in"], options=IngestOptions(columns={"name": "site"}))
    assert [(Path(e.source).name, e.code) for e in summary.errors] == [("a.csv", "UsageError"), ("c.csv", "UsageError")]
    assert (summary.done, summary.failed, summary.exit_code) == (1, 2, 3)
    assert engine.catalog.counts()["places"] == 3


def test_a_role_that_nothing_has_is_refused_before_anything_is_read(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(PEOPLE, encoding="utf-8")
    with pytest.raises(UsageError, match="unknown column role 'colour'"):
        engine.ingest([tmp_path], options=IngestOptions(columns={"colour": "nick"}))
    assert engine.catalog.counts()["places"] == 0


def test_a_document_that_fails_after_its_tiles_were_removed_is_read_again(tmp_path: Path) -> None:
    folder, settings = tmp_path / "in", {"tile_size": archives.TILE, "max_tiles": 4}
    collection(folder, {"a": "2020-01-01", "b": "2021-01-01"})
    raster(folder / "b.tif", 2, size=64)
    with rsrag.open(tmp_path / "archive", create=True, **settings) as engine:
        first = engine.ingest([folder], options=IngestOptions(scales="2"))
        assert (first.tiles, first.errors) == (2, ())
        failed = engine.ingest([folder])  # b is too large at all scales, and a was replaced by then
        assert [e.code for e in failed.errors] == ["SourceTooLarge"]
        assert engine.verify(deep=True).ok
        again = engine.ingest([folder], options=IngestOptions(scales="2"))
        assert (again.skipped, again.tiles, engine.index.count("tiles")) == (0, 2, 2)


# --- files that moved -----------------------------------------------------------------------------------------------


def photo(path: Path) -> Path:
    """A picture that says nothing of itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(3, 32, 32).transpose(1, 2, 0)).save(path)
    return path


def found(engine: Engine, **filters: Any) -> int:
    return len(engine.search("anything", filters=Filters(**filters), kind="tile", limit=50))


def test_a_file_that_was_moved_is_found_by_its_new_folder_and_date(engine: Engine, tmp_path: Path) -> None:
    old, new = photo(tmp_path / "old" / "scene.png"), tmp_path / "new" / "scene_20200105.png"
    engine.ingest([tmp_path], options=FREE)
    assert found(engine, collections=("old",)) == 1
    new.parent.mkdir()
    old.rename(new)
    moved = engine.ingest([tmp_path / "new"], options=FREE)
    assert (moved.tiles, moved.tiles_known) == (0, 1)
    assert (found(engine, collections=("new",)), found(engine, when=parse_span("2020"))) == (1, 1)
    assert found(engine, collections=("old",)) == 0
    held = archives.contents(engine)["index"]
    engine.reindex()
    assert archives.contents(engine)["index"] == held


def test_of_copies_in_one_run_index_and_catalogue_say_the_same(engine: Engine, tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        photo(tmp_path / folder / "scene.png")
    summary = engine.ingest([tmp_path], options=FREE)
    assert (summary.tiles, summary.tiles_known) == (1, 2)
    (scene,) = engine.catalog.scenes()
    assert found(engine, collections=(scene.collection,)) == 1


# --- documents of many scenes ---------------------------------------------------------------------------------------


def collection(folder: Path, dates: dict[str, str]) -> Path:
    """An ItemCollection; each Item has a picture of its own."""
    items = []
    for number, (name, date) in enumerate(dates.items()):
        if not (folder / f"{name}.tif").exists():
            raster(folder / f"{name}.tif", number)
        asset = {"visual": {"href": f"{name}.tif", "type": "image/tiff", "roles": ["visual"]}}
        items.append(stac_item(name, assets=asset, properties={"datetime": f"{date}T00:00:00Z"}))
    path = write_json(folder / "items.json", {"type": "FeatureCollection", "features": items})
    later(path)
    return path


def dates(engine: Engine) -> dict[str | None, str]:
    assert engine.catalog.counts()["tiles"] == engine.index.count("tiles") == len(engine.catalog.scenes())
    return {scene.title: format_span(scene.time) for scene in engine.catalog.scenes()}


def test_items_that_change_or_leave_their_document_are_replaced(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    path = collection(folder, {"a": "2020-01-01", "b": "2021-01-01"})
    assert engine.ingest([folder]).tiles == 2
    collection(folder, {"a": "2020-01-01", "b": "2022-02-02"})
    assert [p.kind for p in engine.verify().problems] == ["source-changed"]
    corrected = engine.ingest([folder])
    assert (corrected.tiles, corrected.tiles_known) == (1, 1)
    assert dates(engine) == {"a": "2020-01-01", "b": "2022-02-02"}
    assert engine.verify(deep=True).ok
    collection(folder, {"b": "2022-02-02"})
    assert engine.ingest([path]).tiles_known == 1
    assert dates(engine) == {"b": "2022-02-02"}
    assert engine.verify(deep=True).ok


def test_a_change_of_a_later_item_alone_is_found_by_the_deep_look(engine: Engine, tmp_path: Path) -> None:
    path = collection(tmp_path / "in", {"a": "2020-01-01", "b": "2021-01-01"})
    engine.ingest([path])
    stat = path.stat()
    path.write_text(path.read_text(encoding="utf-8").replace("2021-01-01", "2021-01-02"), encoding="utf-8")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert engine.verify().ok
    assert [p.kind for p in engine.verify(deep=True).problems] == ["source-changed"]


def test_an_item_out_of_reach_keeps_its_tiles_and_one_whose_asset_is_gone_does_not(
    engine: Engine, tmp_path: Path
) -> None:
    path = collection(tmp_path / "items", {"a": "2020-01-01", "b": "2021-01-01", "c": "2022-01-01"})
    document = json.loads(path.read_text(encoding="utf-8"))
    document["features"][0]["assets"]["visual"]["href"] = "../assets/a.tif"
    (tmp_path / "assets").mkdir()
    (path.parent / "a.tif").rename(tmp_path / "assets" / "a.tif")
    write_json(path, document)
    engine.ingest([path.parent])  # a is out of reach
    assert set(dates(engine)) == {"b", "c"}
    engine.ingest([tmp_path])
    assert set(dates(engine)) == {"a", "b", "c"}
    (path.parent / "c.tif").unlink()
    summary = engine.ingest([path])
    assert [e.code for e in summary.errors] == ["RefusedSource", "UnreadableSource"]
    assert set(dates(engine)) == {"a", "b"}


# --- assets beside the folder of their document ---------------------------------------------------------------------


@pytest.mark.parametrize("several", [False, True])
def test_assets_in_a_sibling_folder(engine: Engine, tmp_path: Path, several: bool) -> None:
    root = tmp_path / "root"
    raster(root / "assets" / "e.tif")
    item = stac_item("e", assets={"visual": {"href": "../assets/e.tif", "type": "image/tiff"}})
    document = {"type": "FeatureCollection", "features": [item]} if several else item
    path = write_json(root / "items" / "e.json", document)
    engine.ingest([root])
    before = archives.contents(engine)
    assert engine.verify().ok
    assert engine.verify(deep=True).ok
    for named in (root / "items", path):
        refused = engine.ingest([named])
        assert refused.failed == 1
        assert "lies outside" in refused.errors[0].reason
        assert archives.contents(engine) == before
    assert engine.ingest([root]).skipped == 1
    path.write_text(json.dumps(document) + " ", encoding="utf-8")
    engine.ingest([root / "items"])  # the document changed, and cannot be used as it was named
    assert engine.index.count("tiles") == engine.catalog.counts()["tiles"] == 0


# --- documents of many scenes, and copies ---------------------------------------------------------------------------


def test_an_item_of_too_many_tiles_leaves_the_others_of_its_collection(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    collection(folder, {"a": "2020-01-01", "b": "2021-01-01"})
    raster(folder / "b.tif", 2, size=64)
    for limit, tiles, codes, skipped in ((4, 1, ["SourceTooLarge"], 0), (4, 0, [], 1), (9, 5, [], 0), (4, 0, [], 1)):
        with rsrag.open(tmp_path / "archive", create=True, tile_size=archives.TILE, max_tiles=limit) as engine:
            summary = engine.ingest([folder])
            assert (summary.tiles, [e.code for e in summary.errors], summary.skipped) == (tiles, codes, skipped)
            assert all(e.source.endswith("items.json#b") for e in summary.errors)
            assert engine.verify(deep=True).ok
    with rsrag.open(tmp_path / "archive") as engine:
        assert engine.catalog.errors() == []


@pytest.mark.parametrize("change", [False, True])
def test_what_a_copy_said_goes_with_it(engine: Engine, tmp_path: Path, change: bool) -> None:
    first, second = tmp_path / "in" / "one" / "s_20200101.tif", tmp_path / "in" / "two" / "s_20210101.tif"
    second.parent.mkdir(parents=True)
    raster(first)
    engine.ingest([tmp_path / "in"])
    shutil.copy(first, second)
    engine.ingest([tmp_path / "in"])
    assert [(s.collection, s.source) for s in engine.catalog.scenes()] == [("two", str(second))]
    if change:
        raster(second, 5)
        later(second)
    else:
        second.unlink()
    summary = engine.ingest([tmp_path / "in"])
    assert (summary.done, summary.skipped, summary.removed) == ((1, 1, 0) if change else (0, 1, 1))
    scene = next(s for s in engine.catalog.scenes() if s.source == str(first))
    assert (scene.collection, format_span(scene.time)) == ("one", "2020-01-01")
    assert found(engine, collections=("one",)) == 1
    assert engine.verify(deep=True).ok


def test_a_copy_that_stays_elsewhere_is_read_again_when_it_is_ingested(engine: Engine, tmp_path: Path) -> None:
    first, second = raster(tmp_path / "one" / "a.tif"), tmp_path / "two" / "a.tif"
    second.parent.mkdir()
    shutil.copy(first, second)
    raster(tmp_path / "two" / "b.tif", 1)
    engine.ingest([tmp_path / "one"])
    engine.ingest([tmp_path / "two"])
    second.unlink()
    engine.ingest([tmp_path / "two"])
    engine.ingest([tmp_path / "one"])
    assert {s.collection for s in engine.catalog.scenes() if s.source == str(first)} == {"one"}


def test_the_image_of_a_copied_item_is_the_one_that_is_left(engine: Engine, tmp_path: Path) -> None:
    collection(tmp_path / "in" / "one", {"a": "2020-01-01"})
    shutil.copytree(tmp_path / "in" / "one", tmp_path / "in" / "two")
    engine.ingest([tmp_path / "in"])
    shutil.rmtree(tmp_path / "in" / "two")
    engine.ingest([tmp_path / "in"])
    assert [s.source for s in engine.catalog.scenes()] == [str(tmp_path / "in" / "one" / "a.tif")]


def test_knowledge_that_is_gone_from_a_folder_is_removed(engine: Engine, tmp_path: Path) -> None:
    for name in ("a.md", "b.md"):
        (tmp_path / "notes").mkdir(exist_ok=True)
        (tmp_path / "notes" / name).write_text(f"# {name}\n\nThe lake is deep and cold.\n", encoding="utf-8")
    engine.ingest(knowledge=[tmp_path / "notes"])
    (tmp_path / "notes" / "a.md").unlink()
    assert engine.ingest(knowledge=[tmp_path / "notes"]).removed == 1
    assert engine.catalog.counts()["passages"] == engine.index.count("passages") == 1


def test_texts_are_not_linked_to_places_that_were_replaced(engine: Engine, tmp_path: Path) -> None:
    table, text = tmp_path / "p.csv", tmp_path / "n.md"
    for lat, words in ((46.0, "It is cold."), (46.05, "It is warm.")):
        table.write_text(f"name,lat,lon\nLake Blue,{lat},7\n", encoding="utf-8")
        text.write_text(f"# Notes\n\nLake Blue is deep. {words}\n", encoding="utf-8")
        engine.ingest(knowledge=[table, text])
    passages = engine.catalog.passages(list(engine.catalog.passage_ids())).values()
    assert {p.lat for p in passages} == {46.05}
    assert all(engine.catalog.place(p.place_id or "") for p in passages)
