"""Checks on the demo gazetteer: shape, extents and the rules its texts keep."""

import importlib.resources
import json
import re
import unicodedata

import pytest

SENTENCE_BREAK = re.compile(r"(?<=[.!?])\s+(?=[^\Wa-z_])")
KIND = re.compile(r"[a-z]+( [a-z]+)?")


def load():
    path = importlib.resources.files("rsrag.demo") / "gazetteer.geojson"
    return json.loads(path.read_text(encoding="utf-8"))


COLLECTION = load()
FEATURES = COLLECTION["features"]

each = pytest.mark.parametrize("feature", FEATURES, ids=[f["id"] for f in FEATURES])


def sentences(text):
    return SENTENCE_BREAK.split(text)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def test_collection():
    assert COLLECTION["type"] == "FeatureCollection"
    assert len(FEATURES) >= 150


def test_ids_and_names_are_unique_and_sorted():
    ids = [f["id"] for f in FEATURES]
    names = [f["properties"]["name"].casefold() for f in FEATURES]
    assert len(set(ids)) == len(ids)
    assert len(set(names)) == len(names)
    assert ids == sorted(ids)


def test_extents_cross_the_antimeridian_somewhere():
    assert any(f["bbox"][0] > f["bbox"][2] for f in FEATURES)


def test_every_part_of_the_world_is_covered():
    points = [f["geometry"]["coordinates"] for f in FEATURES]
    for west in range(-180, 180, 60):
        assert any(west <= lon < west + 60 and lat >= 0 for lon, lat in points)
    for west in (-90, 0, 90):
        assert any(west <= lon < west + 90 and lat < 0 for lon, lat in points)


@each
def test_shape(feature):
    assert feature["type"] == "Feature"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", feature["id"])
    assert feature["geometry"]["type"] == "Point"
    properties = feature["properties"]
    assert set(properties) == {
        "name",
        "alternative_names",
        "kind",
        "country",
        "text",
        "sources",
    }
    assert properties["name"].strip() and properties["country"].strip()
    assert KIND.fullmatch(properties["kind"])
    assert all(isinstance(n, str) and n.strip() for n in properties["alternative_names"])


@each
def test_extent(feature):
    west, south, east, north = feature["bbox"]
    lon, lat = feature["geometry"]["coordinates"]
    assert all(-180 <= x <= 180 for x in (west, east, lon))
    assert all(-90 <= y <= 90 for y in (south, north, lat))
    assert south < north and west != east
    width = (east - west) % 360
    assert 0.3 <= round(width, 6) <= 30
    assert 0.3 <= round(north - south, 6) <= 30
    assert south <= lat <= north
    assert (lon - west) % 360 <= width


@each
def test_text(feature):
    text = feature["properties"]["text"]
    parts = sentences(text)
    assert 2 <= len(parts) <= 6
    assert all(len(part) <= 400 for part in parts)
    assert all(part.endswith(".") for part in parts)
    assert not any(re.match(r"(It|Its|They|Their|This|These)\b", part) for part in parts)
    assert re.search(r"\d", text)


@each
def test_sources(feature):
    sources = feature["properties"]["sources"]
    assert 1 <= len(sources) <= 3
    assert all(s.strip() and "://" not in s for s in sources)
    assert len(set(sources)) == len(sources)


@each
def test_no_control_characters(feature):
    for value in strings(feature):
        assert not any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") for c in value)
        assert value == unicodedata.normalize("NFC", value)
