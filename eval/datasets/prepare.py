"""Public data sets in the layout that the suites read: passages and questions as JSON lines."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

from rsrag.errors import UnreadableSource, UsageError
from rsrag.ingest.chunks import split_passages
from rsrag.replacing import replacing

SPLITS = ("dev", "test", "all")
_TAG = re.compile(r"<[^>]+>")
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_VARIABLE = re.compile(r"\b(?!(?:USA|UK)\b)([A-Z][A-Z_0-9]+[A-Za-z0-9_]*)\b")
_WHEN = re.compile(rf"\b({_MONTHS})\b.*?\b(20\d\d)\b|\b({_MONTHS})\b")
_YEAR = re.compile(r"\b(20\d\d)\b")


def _documents(path: Path, *, lines: bool) -> list[Any]:
    """The JSON document of a gzipped file, or that of each of its lines."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            text = file.read()
        return [json.loads(line) for line in text.split("\n") if line.strip()] if lines else [json.loads(text)]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UnreadableSource(f"cannot read {path}: {error}", hint="name the folder with --data") from error


def unesco_passages(data: Path) -> Iterator[Mapping[str, Any]]:
    """Passages of a few sentences each from the descriptions of World Heritage sites (GeoJSON)."""
    (collection,) = _documents(data / "unesco_sites.geojson.gz", lines=False)
    for feature in collection["features"]:
        properties = feature["properties"]
        lon, lat = feature["geometry"]["coordinates"][:2]
        text = "\n\n".join(filter(None, (properties.get("summary"), properties.get("description"))))
        pieces = split_passages(unescape(_TAG.sub(" ", text)))
        for number, piece in enumerate(pieces):
            identity = f"unesco-{feature['id']}-{number}"
            yield {"id": identity, "place": properties["name"], "lat": lat, "lon": lon, "text": piece}


def unesco_questions(split: str = "test") -> Iterator[Mapping[str, Any]]:
    """The package's own questions over those sites; ``split`` is "dev", "test" or "all".

    Raises:
        UsageError: another split.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}", hint=f"one of {', '.join(SPLITS)}")
    return _questions_of(split)


def _questions_of(split: str) -> Iterator[Mapping[str, Any]]:
    text = (files("rsrag.eval") / "suites" / "knowledge" / "unesco_questions.jsonl").read_text(encoding="utf-8")
    for line in text.splitlines():
        question = json.loads(line)
        if split in ("all", question["split"]):
            yield question


def rswk_pairs(data: Path, split: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Landmark, variable, month, year and value of RSWK's questions on monthly variables."""
    for record in _documents(data / f"rswk_rsk_{split}.jsonl.gz", lines=True):
        asked, answered = (m["content"] for m in record["messages"][:2])
        variable, when = _VARIABLE.search(asked), _WHEN.search(asked)
        year = _YEAR.search(asked)
        if variable and when and year:
            place = Path(record["images"][0]).stem
            yield place, variable[1], when[1] or when[3], year[1], answered


def rswk_passages(data: Path) -> Iterator[Mapping[str, Any]]:
    """One passage a landmark, from training and test questions alike: what a monthly variable was there."""
    for split in ("test", "train"):
        for number, (place, variable, month, year, value) in enumerate(rswk_pairs(data, split)):
            text = f"At {place}, the monthly mean of {variable} in {month} {year} was {value}."
            yield {"id": f"rswk-{split}-{number}", "place": place, "text": text}


def rswk_questions(data: Path, limit: int | None = None) -> Iterator[Mapping[str, Any]]:
    """Questions on the test landmarks by name."""
    for number, (place, variable, month, year, value) in enumerate(rswk_pairs(data, "test")):
        if limit is not None and number >= limit:
            return
        question = f"What was the {variable} value at {place} in {month} {year}?"
        yield {"question": question, "answer": value, "place": place, "passage_id": f"rswk-test-{number}"}


def write_jsonl(path: Path, records: Iterator[Mapping[str, Any]]) -> int:
    """Write records a line each; returns how many."""
    count = 0
    with replacing(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            for record in records:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                count += 1
    return count
