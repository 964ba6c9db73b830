"""What there is to ingest below a path."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rasters import stac_item, write_json, write_rgb

from rsrag.errors import BadFootprint, UnreadableSource
from rsrag.ingest.discover import Discovered, discover, open_scenes
from rsrag.ingest.guard import SourceType
from rsrag.types import ItemError


def names(*paths: Path | str) -> list[str]:
    return [one.path.name for one in discover(paths) if isinstance(one, Discovered)]


def errors(*paths: Path | str) -> list[ItemError]:
    return [one for one in discover(paths) if isinstance(one, ItemError)]


def test_folders_are_searched_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.tif", "a.tif", "sub/c.tif", "sub/deep/d.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_rgb(tmp_path / name)
    assert names(tmp_path) == ["a.tif", "b.tif", "c.tif", "d.tif"]
    assert names(tmp_path / "b.tif", tmp_path) == ["b.tif", "a.tif", "c.tif", "d.tif"]


def test_hidden_files_side_cars_and_strangers_are_left_out(tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.tif")
    for name in (".hidden.tif", "a.tif.aux.xml", "a.tif.ovr", "a.tif.msk", "a.tfw", "a.prj", "notes.docx", "x.npy"):
        (tmp_path / name).write_bytes(b"PK\x03\x04")
    (tmp_path / "page.html").write_text("<html></html>")
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / ".git").mkdir()
    write_rgb(tmp_path / ".git" / "b.tif")
    assert names(tmp_path) == ["a.tif"]
    assert errors(tmp_path) == []


def test_files_that_lie_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"")
    (tmp_path / "b.tif").write_text("<html></html>")
    (tmp_path / "c.zip").write_bytes(b"PK\x03\x04")
    assert [e.code for e in errors(tmp_path)] == ["UnreadableSource", "UnreadableSource", "RefusedSource"]
    assert all(str(tmp_path) in e.source for e in errors(tmp_path))


def test_what_is_named_directly_is_always_answered(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{}")
    found = errors("no-such-file.tif", "/vsicurl/http://127.0.0.1/x.tif", tmp_path / "settings.json")
    assert [e.code for e in found] == ["UnreadableSource", "RefusedSource", "UnsupportedSource"]


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.tif")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "back").symlink_to(tmp_path)
    (tmp_path / "sub" / "same.tif").symlink_to(tmp_path / "a.tif")
    (tmp_path / "sub" / "broken.tif").symlink_to(tmp_path / "gone.tif")
    assert names(tmp_path) == ["a.tif"]


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        write_rgb(folder / f"{folder.name}.tif")
    (outside / "notes.md").write_text("# Private\n\nNot meant for the archive.\n")
    (inside / "all").symlink_to(outside)
    (inside / "one.tif").symlink_to(outside / "outside.tif")
    (inside / "strange.bin").symlink_to(outside / "outside.tif")
    assert names(inside) == ["inside.tif"]
    assert [Path(e.source).name for e in errors(inside)] == ["all", "one.tif"]
    assert {e.code for e in errors(inside)} == {"RefusedSource"}
    assert names(inside / "all") == ["notes.md", "outside.tif"]


def test_assets_come_once_with_their_item(tmp_path: Path) -> None:
    write_rgb(tmp_path / "image.tif")
    write_rgb(tmp_path / "other.tif")
    write_json(tmp_path / "item.json", stac_item())
    write_json(tmp_path / "catalog.json", {"type": "Catalog", "stac_version": "1.1.0", "links": []})
    found = [one for one in discover([tmp_path]) if isinstance(one, Discovered)]
    assert [(one.path.name, one.type) for one in found] == [
        ("item.json", SourceType.STAC_ITEM),
        ("other.tif", SourceType.GEOTIFF),
    ]
    assert found[0].files == (tmp_path / "image.tif",)


def test_knowledge_is_found_too(tmp_path: Path) -> None:
    write_json(tmp_path / "places.geojson", {"type": "FeatureCollection", "features": []})
    (tmp_path / "text.md").write_text("# Rivers\n")
    found = [one for one in discover([tmp_path]) if isinstance(one, Discovered)]
    assert [(one.is_imagery, one.has_places) for one in found] == [(False, True), (False, False)]


def test_a_single_record_and_wide_text_are_knowledge(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"text": "A single record."}\n', encoding="utf-8")
    (tmp_path / "wide.csv").write_bytes("name,lat,lon\nA,1,2\n".encode("utf-16"))
    expected = [("one.jsonl", SourceType.JSONL), ("wide.csv", SourceType.CSV)]
    for paths in ([tmp_path], [tmp_path / "one.jsonl", tmp_path / "wide.csv"]):
        found = [one for one in discover(paths) if isinstance(one, Discovered)]
        assert [(one.path.name, one.type) for one in found] == expected
        assert errors(*paths) == []


def test_side_cars_belong_to_their_picture(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("1\n0\n0\n-1\n0\n0\n")
    found = next(iter(discover([tmp_path])))
    assert isinstance(found, Discovered) and found.files == (tmp_path / "a.pgw",)


def test_a_file_that_cannot_be_opened_raises_its_own_error(tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.tif", crs=None, transform=None)
    write_json(tmp_path / "item.json", stac_item(assets={"visual": {"href": "no.tif", "type": "image/tiff"}}))
    for found, kind in zip(discover([tmp_path]), (BadFootprint, UnreadableSource), strict=True):
        assert isinstance(found, Discovered)
        with pytest.raises(kind):
            next(open_scenes(found))
