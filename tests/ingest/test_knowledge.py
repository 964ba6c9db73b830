"""One file in, places and linked passages out; the same ids every time."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from items import read

from rsrag.errors import BadKnowledge, RefusedSource, UnreadableSource, UnsupportedSource, UsageError
from rsrag.ingest.knowledge import is_knowledge, read_knowledge
from rsrag.ingest.linking import PlaceIndex
from rsrag.types import Fact, Passage, Place

PLACES = [
    Place("blue", "Lake Blue", "gazetteer", 7.0, 46.0, country="CHE", facts=(Fact("id", "L1"),)),
    Place("red", "Red Desert", "gazetteer", 20.0, 25.0),
]


def passages(path: Path, **options: Any) -> list[Passage]:
    items, errors = read(path, **options)
    assert not errors
    return [p for i in items for p in i.passages]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(folder: Path, *records: Any, name: str = "p.jsonl") -> Path:
    return write(folder, name, "".join(json.dumps(r) + "\n" for r in records))


# Documents


def test_front_matter_places_and_dates_a_document(tmp_path: Path) -> None:
    text = "---\nplace: lake blue\ndate: 2020-05\nlicence: CC-BY-4.0\nsources: Guide\n---\n# Water\n\nIt is cold.\n"
    (passage,) = passages(write(tmp_path, "a.md", text), known_places=PlaceIndex(PLACES))
    assert (passage.place_id, passage.lon, passage.lat) == ("blue", 7.0, 46.0)
    assert passage.heading == "Water"
    assert passage.sources == ("Guide",)
    assert passage.time is not None
    items, _ = read(tmp_path / "a.md", licence="other")
    assert items[0].document.licence == "CC-BY-4.0"


def test_an_unknown_place_with_coordinates_becomes_a_place(tmp_path: Path) -> None:
    text = "---\nplace: Green Hill\nlat: 10.5\nlon: -3\nkind: hill\n---\nOne.\n\n# Two\n\nThree.\n"
    items, _ = read(write(tmp_path, "a.md", text), known_places=PlaceIndex(PLACES))
    first, second = items
    assert first.place is not None
    assert second.place is None
    assert (first.place.name, first.place.kind, first.place.lat) == ("Green Hill", "hill", 10.5)
    assert {p.place_id for i in items for p in i.passages} == {first.place.id}


def test_a_document_without_fields_is_linked_by_title_heading_position_or_names(tmp_path: Path) -> None:
    known = PlaceIndex(PLACES)
    by_title = write(tmp_path, "lake_blue.txt", "It is cold.")
    assert passages(by_title, known_places=known)[0].place_id == "blue"
    text = (
        "# Notes\n\nNothing.\n\n## The Red Desert\n\nDry.\n\n## Spot\n\nAt 46.01°N 7.01°E.\n\n## Far\n\nAt 1°N 1°E.\n"
    )
    text += "\n## Names\n\nDunes as in the Red Desert.\n"
    found = passages(write(tmp_path, "b.md", text), known_places=known)
    assert [p.place_id for p in found] == [None, "red", "blue", None, "red"]
    assert [(p.lon, p.lat) for p in found[2:4]] == [(7.01, 46.01), (1.0, 1.0)]
    assert [p.heading for p in found[:2]] == ["Notes", "Notes › The Red Desert"]


def test_a_position_alone_links_to_the_nearest_place(tmp_path: Path) -> None:
    text = "---\nlat: 46.02\nlon: 7.0\n---\nText.\n"
    (passage,) = passages(write(tmp_path, "a.md", text), known_places=PlaceIndex(PLACES))
    assert (passage.place_id, passage.lon, passage.lat) == ("blue", 7.0, 46.02)
    (passage,) = passages(tmp_path / "a.md")
    assert (passage.place_id, passage.lat) == (None, 46.02)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("lat: 120\nlon: 7", "swapped"),
        ("lat: 12", "latitude without longitude"),
        ("place_id: L9", "no place has the id 'L9'"),
        ("date: someday", "is not a date"),
    ],
)
def test_wrong_fields_are_recorded_and_the_text_stays(tmp_path: Path, field: str, reason: str) -> None:
    items, errors = read(write(tmp_path, "a.md", f"---\n{field}\n---\nText.\n"), known_places=PlaceIndex(PLACES))
    assert [p.text for i in items for p in i.passages] == ["Text."]
    assert len(errors) == 1
    assert reason in errors[0].reason


def test_long_sections_become_several_passages_in_order(tmp_path: Path) -> None:
    sentences = [f"Sentence number {n} tells about water, stones and very old birds." for n in range(40)]
    found = passages(write(tmp_path, "a.txt", " ".join(sentences)))
    assert len(found) > 2
    assert [p.ordinal for p in found] == list(range(len(found)))
    assert " ".join(p.text for p in found) == " ".join(sentences)
    assert len({p.id for p in found}) == len(found)


# JSON lines


def test_evaluation_passages_keep_their_ids(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {"id": "p1", "place": "Lake Blue", "text": "It is cold."},
        {"id": "p2", "place": "Nowhere Bay", "text": "It is warm.", "lat": 1, "lon": "2"},
        {"id": 3, "place": "Nowhere Bay", "text": "It is windy.", "lat": 1, "lon": 2, "facts": {"depth_m": 12}},
        {"id": "p4", "place": "Elsewhere", "text": "Unknown."},
    )
    items, errors = read(path, known_places=PlaceIndex(PLACES))
    assert not errors
    found = [p for i in items for p in i.passages]
    assert [p.facts[0] for p in found] == [Fact("id", k) for k in ("p1", "p2", "3", "p4")]
    assert found[2].facts[1] == Fact("depth", 12.0, "m")
    assert [p.heading for p in found] == ["Lake Blue", "Nowhere Bay", "Nowhere Bay", "Elsewhere"]
    assert found[0].place_id == "blue"
    assert found[3].place_id is None
    # The new place comes once, with its first passage.
    assert [i.place.name if i.place else None for i in items] == [None, "Nowhere Bay", None, None]
    assert items[1].place is not None
    assert found[1].place_id == found[2].place_id == items[1].place.id


def test_bad_records_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "a.jsonl",
        '{"text": "Good."}\nnot json\n{"id": 1}\n{"text": ["list"]}\n{"text": "x", "lat": 120, "lon": 7}\n'
        '{"text": "x", "date": "tomorrow"}\n{"text": "x", "place_id": "?"}\n{"text": "Also good."}\n',
    )
    items, errors = read(path)
    assert [p.text for i in items for p in i.passages] == ["Good.", "Also good."]
    assert [e.reason.split(":")[0] for e in errors] == [f"line {n}" for n in range(2, 8)]


def test_keys_of_records_can_be_given(tmp_path: Path) -> None:
    path = lines(tmp_path, {"body": "Cold.", "site": "Lake Blue"})
    (passage,) = passages(path, columns={"text": "body", "name": "site"}, known_places=PlaceIndex(PLACES))
    assert (passage.text, passage.place_id) == ("Cold.", "blue")
    with pytest.raises(UsageError):
        read(path, columns={"colour": "body"})


def test_explicit_ids_of_a_source_are_found(tmp_path: Path) -> None:
    path = lines(tmp_path, {"text": "Cold.", "place_id": "L1"}, {"text": "Cold too.", "place_id": "blue"})
    assert [p.place_id for p in passages(path, known_places=PlaceIndex(PLACES))] == ["blue", "blue"]


# Files


def test_the_same_file_gives_the_same_ids_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    content = '{"text": "One two.", "place": "A", "lat": 1, "lon": 2}\n{"text": "Three."}\n'
    first, _ = read(write(tmp_path, "a.jsonl", content))
    second, _ = read(write(tmp_path / "other", "a.jsonl", content))
    assert [p.id for i in first for p in i.passages] == [p.id for i in second for p in i.passages]
    assert first[0].document.digest == second[0].document.digest
    changed, _ = read(write(tmp_path, "a.jsonl", content.replace("Three", "Four")))
    assert first[0].document.id != changed[0].document.id


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "# A\n\nText."),
        ("a.txt", "Text."),
        ("a.txt.gz", gzip.compress(b"Text.", mtime=0)),
        ("a.csv", "name,lat,lon\nA,1,2\n"),
        ("a.csv", "name,lat,lon\nA,1,2\n".encode("utf-16")),
        ("b.jsonl", '{"text": "x"}\n'.encode("utf-16")),
        ("a.jsonl", '{"text": "x"}'),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n{"text": "y"}\n', mtime=0)),
        ("a.geojson", '{"type": "FeatureCollection", "features": []}'),
    ],
)
def test_files_of_knowledge_are_recognised(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert is_knowledge(write(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tif", b"II*\x00" + b"\x00" * 20),
        ("a.json", '{"type": "Feature", "stac_version": "1.0.0", "properties": {}, "geometry": null}'),
        ("b.json", '{"type": "Feature", "stac_version": "1.0.0", "properties": {}, "geometry": null}'.encode("utf-16")),
        ("LC08_L1TP_1_MTL.txt", "GROUP = METADATA"),
        ("a.md", ""),
        ("a.zip", b"PK\x03\x04"),
    ],
)
def test_other_files_are_not_knowledge(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert not is_knowledge(write(tmp_path, name, content))
    assert not is_knowledge(tmp_path / "missing.md")
    assert not is_knowledge(tmp_path)


def test_paths_are_guarded(tmp_path: Path) -> None:
    with pytest.raises(RefusedSource):
        list(read_knowledge("/vsicurl/http://127.0.0.1/x.geojson"))
    with pytest.raises(RefusedSource):
        list(read_knowledge("https://example.org/x.csv"))
    with pytest.raises(UnreadableSource):
        list(read_knowledge(tmp_path / "none.csv"))
    with pytest.raises(UnsupportedSource):
        list(read_knowledge(write(tmp_path, "a.html", "<html><p>x</p></html>")))


def test_a_document_without_words_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadKnowledge, match="holds no text"):
        list(read_knowledge(write(tmp_path, "a.md", "# Only a heading\n")))


# Real files


@pytest.mark.parametrize(
    ("name", "places", "errors"),
    [
        ("unesco_sites.geojson.gz", 1034, 0),
        ("airports.csv.gz", 7698, 0),
        ("stadiums.csv", 136, 0),
        ("ne_50m_lakes.geojson.gz", 306, 99),
        ("ne_50m_geography_marine_polys.geojson.gz", 119, 0),
    ],
)
def test_real_gazetteers(shared_data: Path, name: str, places: int, errors: int) -> None:
    items, recorded = read(shared_data / name)
    found = {i.place.id for i in items if i.place}
    assert (len(found), len(recorded)) == (places, errors)
    ids = [p.id for i in items for p in i.passages]
    assert len(set(ids)) == len(ids) >= places
    assert all(p.place_id and p.text for i in items for p in i.passages)


def test_real_training_conversations_are_refused(shared_data: Path) -> None:
    with pytest.raises(UnsupportedSource, match="conversations"):
        list(read_knowledge(shared_data / "rswk_rsk_test.jsonl.gz"))
