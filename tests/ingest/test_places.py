"""Places come out of GeoJSON, GeoPackage and CSV with the right position, text and facts, and bad rows are named."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from items import read

from rsrag import geo
from rsrag.errors import BadKnowledge, UnreadableSource, UnsupportedSource, UsageError
from rsrag.ingest.countries import country_name
from rsrag.ingest.knowledge import read_knowledge
from rsrag.ingest.readers.columns import find_columns, name_and_unit
from rsrag.ingest.readers.places import place_id, show_value
from rsrag.ingest.readers.tables import sniff_delimiter
from rsrag.types import BBox, Fact, ItemError, Place


def feature(name: str | None = "Aix", geometry: Any = (5.0, 43.0), **members: Any) -> dict[str, Any]:
    if isinstance(geometry, tuple):
        geometry = {"type": "Point", "coordinates": list(geometry)}
    properties = {"name": name} | members.pop("properties", {})
    return {"type": "Feature", "geometry": geometry, "properties": properties, **members}


def geojson(folder: Path, features: Sequence[Any], name: str = "sites.geojson", **members: Any) -> Path:
    path = folder / name
    text = json.dumps({"type": "FeatureCollection", "features": list(features), **members})
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def only_place(path: Path, **options: Any) -> Place:
    (item,), errors = read(path, **options)
    assert not errors
    assert item.place is not None
    return item.place


# GeoJSON


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.geojson.gz", "a.json.gz"])
def test_a_point_becomes_a_place_with_a_sentence_and_its_texts(tmp_path: Path, name: str) -> None:
    properties = {
        "kind": "Lighthouse", "country": "PRT", "elevation_ft": 1230, "built": "1864", "aliases": "Old Light; Light 7",
        "description": "<p>Stands &amp; shines.</p><script>x()</script> It is white.",
        "sources": ["Guide, p. 4", "Map"], "open": True, "nothing": None,
    }  # fmt: skip
    path = geojson(tmp_path, [feature("Cape Light", (-9.5, 38.7), id=12, properties=properties)], name)
    (item,), errors = read(path, licence="CC0")
    assert not errors
    place = item.place
    assert place is not None
    assert (place.name, place.kind, place.country, place.licence) == ("Cape Light", "Lighthouse", "Portugal", "CC0")
    assert (place.lon, place.lat, place.extent) == (-9.5, 38.7, None)
    assert place.aliases == ("Old Light", "Light 7")
    assert place.facts == (
        Fact("id", "12"), Fact("elevation", 1230.0, "ft"), Fact("built", 1864.0), Fact("open", "yes"),
    )  # fmt: skip
    told, text = item.passages
    assert told.text == (
        "Cape Light is a lighthouse in Portugal at 38.7°N, 9.5°W; also known as Old Light, Light 7; "
        "elevation: 1,230 ft; built: 1864; open: yes."
    )
    assert told.facts == place.facts[1:]
    assert text.text == "Stands & shines. It is white."
    for passage in item.passages:
        assert passage.place_id == place.id
        assert passage.heading == "Cape Light, Portugal"
        assert (passage.lon, passage.lat) == (-9.5, 38.7)
        assert passage.sources == ("Guide, p. 4", "Map")
        assert passage.document_id == item.document.id
    assert item.document.licence == "CC0"


def test_a_polygon_becomes_an_extent_with_a_point_inside(tmp_path: Path) -> None:
    crescent = shapely.Point(0, 50).buffer(2).difference(shapely.Point(0.7, 50).buffer(2))
    place = only_place(geojson(tmp_path, [feature(geometry=json.loads(shapely.to_geojson(crescent)))]))
    assert place.extent is not None
    assert geo.holds(place.extent, (place.lon, place.lat))
    assert not geo.holds(place.extent, (0.7, 50.0))


def test_a_polygon_across_the_antimeridian_is_split(tmp_path: Path) -> None:
    ring = [[179, -18], [181, -18], [181, -16], [179, -16], [179, -18]]
    place = only_place(geojson(tmp_path, [feature("Fiji", {"type": "Polygon", "coordinates": [ring]})]))
    assert place.extent is not None
    assert place.extent.bbox.crosses_antimeridian
    assert abs(abs(place.lon) - 180) < 1.0


def test_a_bbox_member_becomes_the_extent_of_a_point(tmp_path: Path) -> None:
    place = only_place(geojson(tmp_path, [feature(bbox=[4, 42, 6, 44])]))
    assert place.extent is not None
    assert place.extent.bbox == BBox(4, 42, 6, 44)


def test_a_line_is_placed_on_itself(tmp_path: Path) -> None:
    line = {"type": "LineString", "coordinates": [[0, 0], [2, 0], [2, 2]]}
    place = only_place(geojson(tmp_path, [feature("River", line)]))
    assert (place.lon, place.lat) == (2, 0)
    assert place.extent is not None


def test_a_declared_crs_is_transformed(tmp_path: Path) -> None:
    x, y = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(5.0, 43.0)
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    place = only_place(geojson(tmp_path, [feature(geometry=(x, y))], crs=crs))
    assert (place.lon, place.lat) == pytest.approx((5.0, 43.0))


def test_bad_rows_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    rows = [
        feature("Good", (1.0, 2.0)),
        feature(None),
        feature("No geometry", None),
        feature("Swapped", (50.0, 120.0)),
        feature("Nowhere", (500.0, 20.0)),
        feature("Good", (1.0, 2.0)),
        feature("Broken", {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}),
        feature("Text", {"type": "Point", "coordinates": ["a", "b"]}),
        feature("Empty", {"type": "Polygon", "coordinates": []}),
        feature("Huge", {"type": "Point", "coordinates": [10**400, 1]}),
        feature("Unknown", {"type": "Blob", "coordinates": []}),
        feature("Box", (1.0, 1.0), bbox=[0, 99, 1, 98]),
        "not a feature",
        feature("Also good", (3.0, 4.0)),
    ]
    items, errors = read(geojson(tmp_path, rows))
    assert [i.place.name for i in items if i.place] == ["Good", "Also good"]
    assert [int(e.reason.removeprefix("row ").split(":")[0]) for e in errors] == list(range(2, 14))
    assert {e.code for e in errors} == {"BadKnowledge"}
    assert "looks like swapped longitude/latitude" in errors[2].reason
    assert "swapped" not in errors[3].reason
    assert "repeats row 1" in errors[4].reason
    assert all(e.source == str(tmp_path / "sites.geojson") for e in errors)


def test_a_place_listed_once_a_country_is_one_place_in_both(tmp_path: Path) -> None:
    rows = [
        feature("Border Lake", (1.0, 2.0), properties={"country": "FRA", "description": "It lies across the border."}),
        feature("Border Lake", (1.0, 2.0), properties={"country": "ESP", "description": "It lies across the border."}),
        feature("Border Lake", (1.0, 2.0), properties={"country": "ESP", "description": "It lies across the border."}),
    ]
    items, errors = read(geojson(tmp_path, rows))
    places = [i.place for i in items if i.place]
    assert {p.id for p in places} == {places[0].id}
    assert places[-1].country == "France; Spain"
    assert items[1].passages == ()
    assert [e.reason for e in errors] == ["row 3: repeats row 1: same name and position"]


def test_a_file_without_one_good_row_is_an_error(tmp_path: Path) -> None:
    found = read_knowledge(geojson(tmp_path, [feature("A", None), feature("B", (0.0, 100.0))]))
    assert isinstance(next(found), ItemError)
    assert isinstance(next(found), ItemError)
    with pytest.raises(BadKnowledge, match=r"nothing in it can be used.*row 1"):
        next(found)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('{"type": "Feature", "stac_version": "1.0.0", "geometry": null, "properties": {}}', UnsupportedSource),
        ('{"type": "Point", "coordinates": [1, 2]}', UnsupportedSource),
        ("[1, 2]", UnsupportedSource),
        ('{"type": "FeatureCollection", "features": 3}', UnsupportedSource),
        ('{"type": "FeatureCollection", "features": [', UnreadableSource),
        ("[" * 100_000, UnreadableSource),
        ("<html><body>not found</body></html>", UnreadableSource),
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: str, error: type[Exception]) -> None:
    path = tmp_path / "x.geojson"
    path.write_text(content)
    with pytest.raises(error):
        list(read_knowledge(path))


# CSV


def table(folder: Path, text: str | bytes, name: str = "sites.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = table(tmp_path, "ID;Site Name;Latitude;Longitude;Type;Area [km²];Notes\n7;Hill;46,5;7,9;Peak;1,5;High.\n")
    (item,), _ = read(path)
    place = item.place
    assert place is not None
    assert (place.name, place.kind, place.lat, place.lon) == ("Hill", "Peak", 46.5, 7.9)
    assert place.facts == (Fact("id", "7"), Fact("area", 1.5, "km2"))
    assert [p.text for p in item.passages][1:] == ["High."]
    assert item.document.properties["delimiter"] == ";"
    assert item.document.properties["columns"]["name"] == "Site Name"


def test_columns_can_be_given(tmp_path: Path) -> None:
    path = table(tmp_path, "name,where,n,e,story\nx,Hill,46.5,7.9,Old.\n")
    (item,), _ = read(path, columns={"name": "where", "lat": "n", "lon": "e", "text": ["story"]})
    assert item.place is not None
    assert (item.place.name, item.place.lat) == ("Hill", 46.5)
    assert item.passages[1].text == "Old."
    with pytest.raises(UsageError, match="no column 'nowhere'"):
        read(path, columns={"name": "nowhere"})
    with pytest.raises(UsageError, match="unknown column role"):
        read(path, columns={"colour": "n"})


def test_well_known_text_gives_points_and_extents(tmp_path: Path) -> None:
    text = 'name,wkt\nA,POINT (5 43)\nB,"POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))"\nC,POINT (\n'
    items, errors = read(table(tmp_path, text))
    assert [(i.place.lon, i.place.lat) for i in items if i.place] == [(5, 43), (1, 1)]
    assert items[1].place is not None
    assert items[1].place.extent is not None
    assert len(errors) == 1
    assert errors[0].reason.startswith("row 4: geometry is not readable as WKT")


def test_line_numbers_count_lines_of_the_file(tmp_path: Path) -> None:
    text = 'name,lat,lon,notes\nA,1,1,"two\nlines"\n\n,2,2,\nB,1,x,\nC,1,1,a,b\n'
    items, errors = read(table(tmp_path, text))
    assert len(items) == 1
    assert [e.reason.split(":")[0] for e in errors] == ["row 5", "row 6", "row 7"]
    assert "header has 4" in errors[2].reason


def test_missing_columns_are_one_error_not_thousands(tmp_path: Path) -> None:
    with pytest.raises(BadKnowledge, match="no column for lat or lon among: name, easting"):
        read(table(tmp_path, "name,easting\nA,1\nB,2\n"))


@pytest.mark.parametrize(
    ("encoding", "recorded"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("cp1252", "cp1252"), ("utf-16", "utf-16")],
)
def test_encodings_are_recognised_and_recorded(tmp_path: Path, encoding: str, recorded: str) -> None:
    path = table(tmp_path, "name,lat,lon\nCafé – Übersee,47.8,12.5\n".encode(encoding))
    (item,), _ = read(path)
    assert item.place is not None
    assert item.place.name == "Café – Übersee"
    assert item.document.properties["encoding"] == recorded
    assert ("decoding" in item.document.properties) == (recorded == "cp1252")


def test_one_bad_byte_does_not_garble_the_rest(tmp_path: Path) -> None:
    (item,), _ = read(table(tmp_path, "name,lat,lon\nŁódź ąęś,51.8,19.5\n".encode() + b"\xff\n"))
    assert item.place is not None
    assert item.place.name == "Łódź ąęś"
    assert "1 bytes were not valid UTF-8" in item.document.properties["decoding"]


def test_control_characters_and_markup_never_reach_a_place(tmp_path: Path) -> None:
    (item,), _ = read(table(tmp_path, "name,lat,lon,notes\n<b>A\u202eix</b>\u200b,1,2,x\x07y < z\n"))
    assert item.place is not None
    assert item.place.name == "Aix"
    assert item.passages[1].text == "xy < z"


def test_a_gzip_bomb_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rsrag.errors import SourceTooLarge
    from rsrag.ingest.readers.text import read_bytes

    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"name,lat,lon\n" + b"x" * 3_000_000))
    with pytest.raises(SourceTooLarge):
        read_bytes(path, limit=1_000_000)


def test_a_truncated_gzip_is_unreadable(tmp_path: Path) -> None:
    data = gzip.compress(b"name,lat,lon\n" + bytes(f"{list(range(9000))}", "ascii"))
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableSource):
        list(read_knowledge(path))


def test_pictures_are_local_files_as_written(tmp_path: Path) -> None:
    text = "name,lat,lon,picture\nA,1,1,a/b.PNG\nB,2,2,https://example.org/a.png\nC,3,3,none\n"
    items, _ = read(table(tmp_path, text))
    assert [i.passages[0].picture for i in items] == ["a/b.PNG", None, None]


def test_a_date_column_dates_the_passages(tmp_path: Path) -> None:
    items, _ = read(table(tmp_path, "name,lat,lon,date\nA,1,1,2020-05\nB,2,2,long ago\n"))
    time = items[0].passages[0].time
    assert time is not None
    assert time.start is not None
    assert time.start.isoformat() == "2020-05-01T00:00:00+00:00"
    assert items[1].passages[0].time is None
    assert "date: long ago" in items[1].passages[0].text


fields = st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8)


@given(st.data(), st.sampled_from(",;\t|"), st.integers(2, 6), st.booleans())
def test_the_delimiter_of_written_tables_is_found(
    data: st.DataObject, delimiter: str, width: int, windows: bool
) -> None:
    others = "".join(set(",;\t|") - {delimiter})
    cell = fields.map(lambda t: t.translate({ord(c): None for c in others}))
    rows = data.draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=6))
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n" if windows else "\n")
    writer.writerow([f"column {n}" for n in range(width)])
    writer.writerows(rows)
    assert sniff_delimiter(out.getvalue()) == delimiter


def test_a_comma_in_quoted_text_does_not_win_over_the_delimiter() -> None:
    assert sniff_delimiter("a;b\nx, y, z;1\nx, y;2\n") == ";"
    assert sniff_delimiter("name\nAix\n") == ","


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("elevation_ft", ("elevation", "ft")),
        ("Area [km²]", ("area", "km2")),
        ("area_sq_km", ("area", "km2")),
        ("maxDepthM", ("max_depth", "m")),
        ("capacity", ("capacity", "1")),
        ("m", ("m", "1")),
        ("Share (%)", ("share", "%")),
    ],
)
def test_units_come_from_column_names(column: str, expected: tuple[str, str]) -> None:
    assert name_and_unit(column) == expected


@given(st.lists(st.text(max_size=12), unique=True, max_size=12))
def test_any_header_can_be_searched_for_columns(header: list[str]) -> None:
    found = find_columns(header)
    assert found.used <= set(header)


@pytest.mark.parametrize(
    ("fact", "shown"),
    [
        (Fact("elevation", 1230.0, "ft"), "1,230 ft"),
        (Fact("year", 1981.0), "1981"),
        (Fact("capacity", 60361.0), "60,361"),
        (Fact("area", 1.25, "km2"), "1.25 km²"),
        (Fact("iata", "GKA"), "GKA"),
    ],
)
def test_values_are_shown_with_units(fact: Fact, shown: str) -> None:
    assert show_value(fact) == shown


def test_codes_stay_text_and_placeholders_vanish(tmp_path: Path) -> None:
    path = table(tmp_path, "name,lat,lon,iso_n3,zip,depth_m,note_id,x1\nA,1,1,004,01234,-9999,12,N/A\n")
    assert only_place(path).facts == (Fact("iso_n3", "004"), Fact("zip", "01234"), Fact("note_id", "12"))


def test_country_codes_have_names() -> None:
    assert country_name("PER") == "Peru"
    assert country_name("CI") == "Côte d'Ivoire"
    assert country_name("Atlantis") == "Atlantis"
    assert {country_name(text) for text in ("admin-0", "Admin 1", "-99", " - ", "")} == {""}


def test_ids_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    rows = [
        feature("Aix", (5.0, 43.0), properties={"description": "Old town. It has baths."}),
        feature("Bex", (7.0, 46.2)),
    ]
    first, _ = read(geojson(tmp_path / "one", rows))
    second, _ = read(geojson(tmp_path / "two", rows))
    assert [i.place.id for i in first if i.place] == [i.place.id for i in second if i.place]
    assert [p.id for i in first for p in i.passages] == [p.id for i in second for p in i.passages]
    assert first[0].document.id == second[0].document.id


def test_a_copy_of_a_table_under_another_name_is_another_one(tmp_path: Path) -> None:
    text = "name,lat,lon\nAix,43,5\n"
    (first,), _ = read(table(tmp_path, text, "a.csv"))
    (second,), _ = read(table(tmp_path, text, "b.csv"))
    for one, other in ((first.place, second.place), (first.document, second.document)):
        assert one is not None and other is not None and one.id != other.id
    assert first.passages[0].id != second.passages[0].id


def test_a_place_keeps_its_id_when_its_text_changes(tmp_path: Path) -> None:
    before = only_place(geojson(tmp_path, [feature(properties={"notes": "Old."})]))
    after = only_place(geojson(tmp_path, [feature(properties={"notes": "New."})]))
    assert before.id == after.id


names = st.text(min_size=1, max_size=20)


@given(names, names, st.floats(-180, 180), st.floats(-90, 90))
def test_ids_differ_by_name_and_position(a: str, b: str, lon: float, lat: float) -> None:
    one = place_id("f.csv", None, a, (lon, lat))
    assert one == place_id("f.csv", None, a, (lon + 1e-9, lat)) or round(lon, 4) != round(lon + 1e-9, 4)
    assert (one == place_id("f.csv", None, b, (lon, lat))) == (a == b)
    assert one != place_id("f.csv", None, a, (lon, lat + 1))
    assert one != place_id("f.csv", "7", a, (lon, lat))
    assert place_id("f.csv", None, a, (0.0, -0.0)) == place_id("f.csv", None, a, (-0.0, 0.0))


def test_ids_and_titles_of_geojson_hold_no_halves_of_letters(tmp_path: Path) -> None:
    point = {"type": "Point", "coordinates": [3, 45]}
    feature = {"type": "Feature", "id": "a\ud800", "geometry": point, "properties": {"name": "Lake"}}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "name": "b\ud800", "features": [feature]}))
    found, errors = read(path)
    assert errors == [] and found[0].place is not None
    assert (found[0].document.title, found[0].place.facts[0].value) == ("b", "a")
