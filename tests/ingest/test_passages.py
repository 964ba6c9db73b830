"""Knowledge files into the archive: texts are linked to places, pictures are embedded, single bad rows are told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import archives
import numpy as np
import pytest
from PIL import Image

from rsrag.engine import Engine
from rsrag.ingest.summary import IngestSummary
from rsrag.types import Passage, Place


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with archives.open_archive(tmp_path / "archive") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "knowledge").mkdir()
    return tmp_path / "knowledge"


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_table(path: Path, pictures: Mapping[str, str]) -> Path:
    """A table of places with a picture each."""
    rows = [f"{name},{45 + i},{3 + i},{picture}" for i, (name, picture) in enumerate(pictures.items())]
    path.write_text("\n".join(["name,lat,lon,picture", *rows]) + "\n", encoding="utf-8")
    return path


def write_picture(path: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def told(engine: Engine, file: Path) -> IngestSummary:
    return engine.ingest(knowledge=[file])


def passages(engine: Engine) -> dict[str, tuple[Passage, Place | None]]:
    """Passages with their places, by the beginning of their text."""
    ids = sorted(engine.catalog.passage_ids())
    assert set(ids) == set(engine.index.ids("passages"))
    resolved = engine.catalog.resolve_passages(ids)
    return {passage.text.split(".")[0]: (passage, place) for passage, _, place in resolved.values()}


def test_a_text_belongs_to_a_place_that_the_same_file_brought(engine: Engine, folder: Path) -> None:
    rows = [
        {"id": "1", "place": "Blue Lagoon", "lat": 45.9, "lon": 3.1, "text": "First words. The lagoon is deep."},
        {"id": "2", "place": "Blue Lagoon", "lat": 45.9, "lon": 3.1, "text": "Second words. The lagoon is wide."},
        {"id": "3", "place": "Red Quarry", "lat": 47.0, "lon": 5.0, "text": "Third words. The quarry is closed."},
    ]
    summary = told(engine, write_lines(folder / "texts.jsonl", rows))
    assert (summary.errors, summary.places, summary.passages) == ((), 2, 3)
    found = passages(engine)
    assert {text: place.name for text, (_, place) in found.items() if place} == {
        "First words": "Blue Lagoon",
        "Second words": "Blue Lagoon",
        "Third words": "Red Quarry",
    }
    assert found["First words"][0].place_id == found["Second words"][0].place_id
    near = engine.search("words", where="Blue Lagoon", kind="passage", limit=2)
    assert {h.passage.text.split(".")[0] for h in near if h.passage} == {"First words", "Second words"}


def test_a_text_belongs_to_a_place_that_came_before(engine: Engine, folder: Path) -> None:
    told(engine, archives.gazetteer(folder / "places.geojson"))
    rows = [
        {"place": "Green Wood", "text": "By name. Owls nest here."},
        {"text": "By words. In Red Quarry a crane rusts."},
        {"text": "By nothing. Somewhere else it rains."},
        {"place_id": "nobody", "text": "By a wrong id. It is refused."},
    ]
    summary = told(engine, write_lines(folder / "texts.jsonl", rows))
    found = {text: place.name if place else None for text, (_, place) in passages(engine).items()}
    assert found["By name"] == "Green Wood"
    assert found["By words"] == "Red Quarry"
    assert found["By nothing"] is None
    assert "By a wrong id" not in found
    assert [(e.code, "line 4" in e.reason) for e in summary.errors] == [("BadKnowledge", True)]
    assert summary.exit_code == 3


def test_more_passages_than_a_batch_holds(engine: Engine, folder: Path) -> None:
    rows = [
        {"place": f"Well {i % 300}", "lat": i % 300 / 10, "lon": 1.0, "text": f"Text {i}. Water stands {i} m deep."}
        for i in range(600)
    ]
    summary = told(engine, write_lines(folder / "wells.jsonl", rows))
    assert (summary.places, summary.passages, summary.errors) == (300, 600, ())
    found = passages(engine)
    assert len(found) == 600
    # The second text of a place comes in a later batch than the place.
    assert all(place is not None and place.name == f"Well {int(text[5:]) % 300}" for text, (_, place) in found.items())


def test_pictures_beside_the_file_are_embedded(engine: Engine, folder: Path) -> None:
    picture = write_picture(folder / "lagoon.png")
    told(engine, write_table(folder / "places.csv", {"Blue Lagoon": "lagoon.png", "Red Quarry": ""}))
    with_picture = {text: p for text, (p, _) in passages(engine).items() if p.picture}
    assert [p.picture for p in with_picture.values()] == ["lagoon.png"]
    identity = next(iter(with_picture.values())).id
    stored = engine.index.vectors("passages", "image", sorted(engine.index.ids("passages")))
    assert list(stored) == [identity]
    pixels = np.asarray(Image.open(picture))
    np.testing.assert_allclose(stored[identity], engine.profile.image.encode_images([pixels])[0], atol=1e-5)


@pytest.mark.parametrize("written", ["../secret.png", "sub/../../secret.png", "{parent}/secret.png", "link.png"])
def test_pictures_outside_the_folder_are_refused(written: str, engine: Engine, folder: Path) -> None:
    write_picture(folder.parent / "secret.png")
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    summary = told(engine, write_table(folder / "p.csv", {"Blue Lagoon": written.format(parent=folder.parent)}))
    assert [e.code for e in summary.errors] == ["RefusedSource"]
    assert "outside the folder" in summary.errors[0].reason
    assert summary.places == 1
    assert engine.index.vectors("passages", "image", list(engine.index.ids("passages"))) == {}


def test_pictures_that_cannot_be_read_leave_the_place(engine: Engine, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    (folder / "album.png").mkdir()
    pictures = {"Blue Lagoon": "broken.png", "Red Quarry": "absent.png", "Green Wood": "album.png"}
    summary = told(engine, write_table(folder / "p.csv", pictures))
    assert (summary.places, len(summary.errors), summary.exit_code) == (3, 3, 3)
    assert all(f"picture {name}" in e.reason for e, name in zip(summary.errors, pictures.values(), strict=True))
    assert {p.name for _, p in passages(engine).values() if p} == set(pictures)


def test_a_copy_of_a_table_takes_nothing_along_when_it_goes(engine: Engine, folder: Path) -> None:
    table = write_table(folder / "a.csv", {"Blue Lagoon": "", "Red Quarry": ""})
    copy = folder / "b.csv"
    copy.write_bytes(table.read_bytes())
    engine.ingest([folder])
    copy.unlink()
    assert engine.ingest([folder]).removed == 1
    found = passages(engine)
    assert len(found) == 2
    for passage, place in found.values():
        assert place is not None and place.source == str(table)
        assert [p.id for p in engine.catalog.passages_of_place(place.id)] == [passage.id]
