"""STAC documents on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rasters import noise, stac_item, write_json, write_rgb, write_tiff

from rsrag import geo
from rsrag.errors import RefusedSource, SourceError, UnreadableSource, UnsupportedSource
from rsrag.ingest.discover import Discovered, discover, open_scenes
from rsrag.ingest.guard import SourceType
from rsrag.ingest.readers import stac
from rsrag.ingest.readers.base import RasterSource, ReadOptions
from rsrag.ingest.readers.stac import StacFailure, StacItem, read_stac
from rsrag.times import format_span
from rsrag.types import ItemError, Scene


def items(path: Path, options: ReadOptions | None = None, root: Path | None = None) -> list[StacItem]:
    found = list(read_stac(path, options, root))
    assert all(isinstance(one, StacItem) for one in found), found
    return [one for one in found if isinstance(one, StacItem)]


def failure(path: Path, options: ReadOptions | None = None) -> SourceError:
    found = list(read_stac(path, options))
    assert len(found) == 1 and isinstance(found[0], StacFailure), found
    return found[0].error


def scene(path: Path, options: ReadOptions | None = None) -> Scene:
    found = next(iter(discover([path], options)))
    assert isinstance(found, Discovered)
    source = next(open_scenes(found, options))
    assert not isinstance(source, ItemError)
    with source:
        return source.scene


def test_an_item_lends_its_knowledge_to_the_raster(tmp_path: Path) -> None:
    write_tiff(tmp_path / "image.tif", noise(4, 32, 32, "uint16", 9000))
    bands = [{"name": f"B{i}", "common_name": role} for i, role in enumerate(("blue", "green", "red", "nir"), 2)]
    item = stac_item()
    item["assets"]["visual"]["eo:bands"] = bands
    item["properties"] |= {"license": "CC-BY-4.0", "eo:cloud_cover": 3.5, "title": "Paris in June"}
    got = scene(write_json(tmp_path / "item.json", item))
    assert [b.role for b in got.bands] == ["blue", "green", "red", "nir"]
    assert (got.sensor, format_span(got.time), got.collection) == ("sentinel-2", "2021-06-05", "test-collection")
    assert (got.title, got.licence, got.gsd_m) == ("Paris in June", "CC-BY-4.0", 10)
    assert got.properties["eo:cloud_cover"] == 3.5 and got.properties["stac_id"] == "scene-1"
    assert got.footprint is not None  # its own coordinates, not the outline of the Item
    assert geo.area_km2(got.footprint) == pytest.approx(0.1024, rel=0.01)


def test_bands_of_version_1_1_and_times_as_an_interval(tmp_path: Path) -> None:
    write_tiff(tmp_path / "image.tif", noise(3, 32, 32, "uint16", 9000))
    item = stac_item(stac_version="1.1.0")
    item["assets"]["visual"]["bands"] = [{"eo:common_name": r} for r in ("red", "green", "blue")]
    item["properties"] = {"datetime": None, "start_datetime": "2021-06-01", "end_datetime": "2021-06-30"}
    got = scene(write_json(tmp_path / "item.json", item))
    assert [b.role for b in got.bands] == ["red", "green", "blue"]
    assert format_span(got.time) == "2021-06"


def test_the_outline_places_a_raster_without_coordinates(tmp_path: Path) -> None:
    write_rgb(tmp_path / "image.tif", crs=None, transform=None)
    got = scene(write_json(tmp_path / "item.json", stac_item()))
    assert got.transform is None
    assert got.footprint == geo.footprint_from_geojson(stac_item()["geometry"])


def test_a_transform_of_the_asset_places_it_exactly(tmp_path: Path) -> None:
    write_rgb(tmp_path / "image.tif", crs=None, transform=None)
    item = stac_item()
    item["assets"]["visual"] |= {"proj:code": "EPSG:32631", "proj:transform": [10, 0, 5e5, 0, -10, 5e6, 0, 0, 1]}
    got = scene(write_json(tmp_path / "item.json", item))
    assert got.crs == "EPSG:32631" and got.transform == (10, 0, 5e5, 0, -10, 5e6)


def test_a_change_of_the_item_changes_the_scene(tmp_path: Path) -> None:
    write_rgb(tmp_path / "image.tif")
    first = scene(write_json(tmp_path / "item.json", stac_item()))
    again = scene(write_json(tmp_path / "item.json", stac_item()))
    moved = scene(write_json(tmp_path / "item.json", stac_item(properties={"datetime": "2022-01-01T00:00:00Z"})))
    assert first.id == again.id != moved.id


@pytest.mark.parametrize(
    "properties",
    [{"datetime": "soon"}, {"start_datetime": "2022-01-01", "end_datetime": "2021-01-01"}, {"datetime": None}],
)
def test_a_time_that_cannot_be_is_unknown(tmp_path: Path, properties: dict[str, Any]) -> None:
    write_rgb(tmp_path / "image.tif")
    assert items(write_json(tmp_path / "item.json", stac_item(properties=properties)))[0].hints.time is None


def test_catalogs_are_followed_and_cycles_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_rgb(tmp_path / "a" / "image.tif")
    collection = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "rivers",
        "license": "CC0-1.0",
        "links": [
            {"rel": "item", "href": "./one.json"},
            {"rel": "item", "href": "two.json"},
            {"rel": "root", "href": "../catalog.json"},
            {"rel": "child", "href": "../catalog.json"},
        ],
    }
    catalog = {"type": "Catalog", "stac_version": "1.1.0", "links": [{"rel": "child", "href": "a/collection.json"}]}
    link = [{"rel": "collection", "href": "collection.json"}]
    write_json(tmp_path / "catalog.json", catalog)
    write_json(tmp_path / "a" / "collection.json", collection)
    write_json(tmp_path / "a" / "one.json", stac_item("one", links=link))
    write_json(tmp_path / "a" / "two.json", stac_item("two", links=link, collection=None))
    found = items(tmp_path / "catalog.json")
    assert [one.id for one in found] == ["one", "two"]
    assert [one.hints.licence for one in found] == ["CC0-1.0", "CC0-1.0"]
    assert found[1].hints.collection == "rivers"
    named = [one for one in discover([tmp_path / "catalog.json"]) if isinstance(one, Discovered)]
    assert [one.path.name for one in named] == ["one.json", "two.json"]


def test_an_endless_catalog_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stac, "MAX_DOCUMENTS", 3)
    for i in range(6):
        links = [{"rel": "child", "href": f"{i + 1}.json"}]
        write_json(tmp_path / f"{i}.json", {"type": "Catalog", "stac_version": "1.1.0", "links": links})
    assert failure(tmp_path / "0.json").code == "SourceTooLarge"


def test_of_several_assets_the_visual_one_else_the_one_asked_for(tmp_path: Path) -> None:
    write_rgb(tmp_path / "image.tif")
    write_rgb(tmp_path / "b04.tif")
    item = stac_item()
    item["assets"] = {
        "thumbnail": {"href": "image.tif", "type": "image/png", "roles": ["thumbnail"]},
        "B04": {"href": "b04.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]},
        "B03": {"href": "b04.tif", "type": "image/tiff", "roles": ["data"]},
        "visual": {"href": "image.tif", "type": "image/tiff"},
        "meta": {"href": "meta.xml", "type": "application/xml", "roles": ["metadata"]},
    }
    path = write_json(tmp_path / "item.json", item)
    assert items(path)[0].asset.name == "image.tif"
    assert items(path, ReadOptions(asset="B04"))[0].asset.name == "b04.tif"
    error = failure(path, ReadOptions(asset="B99"))
    assert isinstance(error, UnsupportedSource) and "B04" in str(error)
    del item["assets"]["visual"]
    error = failure(write_json(path, item))
    assert isinstance(error, UnsupportedSource) and "--asset" in str(error)
    item["assets"]["B04"]["bands"] = [{"name": n} for n in "abc"]
    assert items(write_json(path, item))[0].asset.name == "b04.tif"


@pytest.mark.parametrize(
    ("href", "kind"),
    [
        ("missing.tif", UnreadableSource),
        ("https://example.com/image.tif", RefusedSource),
        ("s3://bucket/image.tif", RefusedSource),
        ("/vsicurl/http://example.com/image.tif", RefusedSource),
        ("../outside.tif", RefusedSource),
        ("%2e%2e/outside.tif", RefusedSource),
        ("/etc/hostname", RefusedSource),
        ("page.tif", UnreadableSource),
    ],
)
def test_assets_that_lead_elsewhere_are_errors(tmp_path: Path, href: str, kind: type[SourceError]) -> None:
    write_rgb(tmp_path / "outside.tif")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "page.tif").write_text("<html></html>")
    item = stac_item(assets={"visual": {"href": href, "type": "image/tiff"}})
    assert isinstance(failure(write_json(tmp_path / "in" / "item.json", item)), kind)


def test_outside_is_allowed_on_request_or_by_a_wider_root(tmp_path: Path) -> None:
    write_rgb(tmp_path / "outside.tif")
    path = write_json(
        tmp_path / "in" / "item.json", stac_item(assets={"visual": {"href": "../outside.tif", "type": "image/tiff"}})
    )
    assert items(path, ReadOptions(allow_outside=True))[0].asset == tmp_path / "outside.tif"
    assert items(path, root=tmp_path)[0].asset == tmp_path / "outside.tif"
    link = tmp_path / "in" / "link.tif"
    link.symlink_to(tmp_path / "outside.tif")
    item = stac_item(assets={"visual": {"href": "link.tif", "type": "image/tiff"}})
    assert isinstance(failure(write_json(path, item)), RefusedSource)


def test_one_bad_item_of_a_collection_leaves_the_others(tmp_path: Path) -> None:
    write_rgb(tmp_path / "image.tif")
    bad = stac_item("bad", assets={"visual": {"href": "no.tif", "type": "image/tiff"}})
    document = {"type": "FeatureCollection", "features": [stac_item("good"), bad, stac_item("odd", assets={})]}
    found = next(iter(discover([write_json(tmp_path / "items.json", document)])))
    assert isinstance(found, Discovered) and found.type is SourceType.STAC_ITEMS
    opened: list[RasterSource | ItemError] = list(open_scenes(found))
    codes = [one.code if isinstance(one, ItemError) else one.scene.title for one in opened]
    assert codes == ["good", "UnreadableSource", "UnsupportedSource"]


def test_damaged_documents_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"type": "Feature"')
    assert isinstance(failure(tmp_path / "a.json"), UnreadableSource)
    (tmp_path / "b.json").write_text("[1]")
    assert isinstance(failure(tmp_path / "b.json"), UnreadableSource)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "a\0b\ud800"},
        {"collection": "x\ud800"},
        {"properties": {"gsd": 10**400}},
        {"geometry": None, "bbox": [10**400, 0, 1, 1]},
        {"links": [{"rel": "collection", "href": "x\0"}]},
    ],
)
def test_odd_values_of_an_item_do_not_matter(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_rgb(tmp_path / "image.tif")
    hints = items(write_json(tmp_path / "item.json", stac_item(**changes)))[0].hints
    for text in (hints.title, hints.collection, hints.properties["stac_id"]):
        assert text is not None and text.encode() and "\0" not in text
    assert hints.gsd_m in (None, 10)


@pytest.mark.parametrize("href", ["image.tif\0", "x\ud800.tif", "x" * 5000 + ".tif"])
def test_an_asset_whose_name_is_none_is_unreadable(tmp_path: Path, href: str) -> None:
    item = stac_item(assets={"visual": {"href": href, "type": "image/tiff"}})
    assert isinstance(failure(write_json(tmp_path / "item.json", item)), UnreadableSource)


def test_a_transform_of_odd_numbers_is_none(tmp_path: Path) -> None:
    write_rgb(tmp_path / "image.tif")
    asset = {"href": "image.tif", "type": "image/tiff", "proj:transform": [10**400, 0, 0, 0, -1, 0]}
    assert items(write_json(tmp_path / "item.json", stac_item(assets={"visual": asset})))[0].hints.transform is None
