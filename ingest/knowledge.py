"""One file of knowledge in, places and passages out: tables of places, documents, and JSON lines of either.

The pipeline calls :func:`read_knowledge` for each file and writes what it yields. Everything is deterministic: the same
file gives the same ids on every machine, whatever folder it lies in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any

from rsrag.errors import (
    BadKnowledge,
    BadTimeSpan,
    RsragError,
    SourceError,
    UnreadableSource,
    UnsupportedSource,
    UsageError,
)
from rsrag.ingest.chunks import split_passages
from rsrag.ingest.countries import country_name
from rsrag.ingest.digest import digest_file, make_id
from rsrag.ingest.guard import SourceType, check_path, sniff
from rsrag.ingest.linking import Known, PlaceLookup
from rsrag.ingest.positions import positions
from rsrag.ingest.readers.columns import Columns, find_columns
from rsrag.ingest.readers.documents import Record, Text, read_markdown, read_pdf, read_plain, read_records
from rsrag.ingest.readers.fields import Fields
from rsrag.ingest.readers.places import Described, describe, place_id, tell
from rsrag.ingest.readers.tables import Table, read_tables
from rsrag.ingest.readers.text import plain_value, title_of
from rsrag.types import Document, Fact, ItemError, Passage, Place, Position
from rsrag.words import fold

_TABLES = frozenset((SourceType.GEOJSON, SourceType.GEOPACKAGE, SourceType.CSV))
_TEXTS = {SourceType.MARKDOWN: read_markdown, SourceType.TEXT: read_plain, SourceType.PDF: read_pdf}
_SCENE_METADATA = re.compile(r".*_(mtl|ang|gcp|ver)\.txt", re.IGNORECASE)
"""Text files that come with Landsat scenes; they say nothing to people."""


@dataclass(frozen=True, slots=True)
class KnowledgeItem:
    """A place with its passages, or passages alone. Every item of a file carries the same document.

    ``place`` is None where the passages belong to no place, or to one that came before or was known already; their
    ``place_id`` says which.
    """

    document: Document
    place: Place | None
    passages: tuple[Passage, ...]


def is_knowledge(path: str | PathLike[str]) -> bool:
    """Whether :func:`read_knowledge` reads files of this kind; False for imagery, STAC and anything unreadable."""
    try:
        _kind(check_path(path))
    except RsragError:
        return False
    return _SCENE_METADATA.fullmatch(Path(path).name) is None


def read_knowledge(
    path: str | PathLike[str],
    *,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    licence: str | None = None,
    known_places: PlaceLookup | None = None,
) -> Iterator[KnowledgeItem | ItemError]:
    """Read one file: GeoJSON, GeoPackage, CSV, Markdown, plain text, PDF or JSON lines; all but two also gzipped.

    A row or line that cannot be used comes out as an :class:`ItemError`, and the rest goes on.

    Args:
        path: the file.
        columns: role → column (or key), where names are not found by themselves; roles are those of
            :data:`rsrag.ingest.readers.columns.ROLES`.
        licence: of the whole file, unless the file itself says otherwise.
        known_places: places that documents are linked to.

    Yields:
        Items in the order of the file, and errors.

    Raises:
        SourceError: nothing of the file can be used; which one says why.
        UsageError: ``columns`` names a role or a column that does not exist.
    """
    file = check_path(path)
    kind = _kind(file)
    digest = digest_file(file)
    # Copies of a text are one document. A table brings its own places, whose ids are made from the file's name, so the
    # passages that belong to them are its own as well.
    origin = (digest, file.name) if kind in _TABLES else (digest,)
    stem = Document(make_id("document", *origin), str(file), digest, title_of(file), licence)
    reading = _Reading(file, stem, origin, known_places)
    if kind in _TABLES:
        found = _read_tables(reading, kind, columns)
    elif kind is SourceType.JSONL:
        found = _read_lines(reading, columns)
    else:
        found = _read_text(reading, _TEXTS[kind](file))
    usable = False
    refused: list[ItemError] = []
    for item in found:
        usable = usable or isinstance(item, KnowledgeItem)
        if isinstance(item, ItemError) and len(refused) < 3:
            refused.append(item)
        yield item
    if not usable:
        why = "; ".join(e.reason for e in refused) or "it holds no text"
        raise BadKnowledge(f"{file.name}: nothing in it can be used: {why}")


def _kind(file: Path) -> SourceType:
    if not file.is_file():
        raise UnreadableSource(f"{file.name}: not a file")
    kind = sniff(file)
    if kind in _TABLES or kind in _TEXTS or kind is SourceType.JSONL:
        return kind
    raise UnsupportedSource(f"{file.name}: a {kind} is no source of knowledge")


class _Reading:
    """One file being read: its document, the running number of passages, and the places that texts belong to."""

    def __init__(self, file: Path, document: Document, origin: tuple[str, ...], known: PlaceLookup | None) -> None:
        self.file = file
        self.document = document
        self.known = known
        self._origin = origin
        self._ordinals = count()

    def error(self, where: str, error: RsragError | str) -> ItemError:
        code = error.code if isinstance(error, RsragError) else BadKnowledge.__name__
        return ItemError(str(self.file), code, f"{where}: {error}")

    def passage(self, text: str, **rest: Any) -> Passage:
        ordinal = next(self._ordinals)
        key = make_id("passage", *self._origin, ordinal, text)
        return Passage(key, self.document.id, ordinal, text, **rest)


# Tables


def _read_tables(
    reading: _Reading, kind: SourceType, given: Mapping[str, str | Sequence[str]] | None
) -> Iterator[KnowledgeItem | ItemError]:
    tables, refused = _usable_tables(reading, kind, given)
    properties: dict[str, Any] = {"format": tables[0][0].format}
    for table, found in tables:
        own = {**table.properties, "columns": found.as_dict()}
        properties |= {table.title: own} if len(tables) > 1 else own
    title = tables[0][0].title if len(tables) == 1 else reading.document.title
    reading.document = replace(reading.document, title=title, properties=properties)
    yield from refused
    several = len(tables) + len(refused) > 1
    first: dict[tuple[str, float, float], tuple[str, Place, tuple[str, ...]]] = {}
    for table, found in tables:
        layer = f"layer {table.title!r}, " if several else ""
        for row in table.rows:
            where = f"{layer}row {row.number}"
            try:
                described = describe(row, found, reading.file, reading.document.licence)
                place = described.place
                same = (fold(place.name), round(place.lon, 4), round(place.lat, 4))
                if same in first:
                    earlier, known, texts = first[same]
                    if described.texts != texts or place.country in (None, *_countries(known)):
                        raise BadKnowledge(f"repeats {earlier}: same name and position")
                    merged = _in_both_countries(known, place)
                    first[same] = (earlier, merged, texts)
                    yield KnowledgeItem(reading.document, merged, ())
                    continue
                first[same] = (where, place, described.texts)
            except SourceError as error:
                yield reading.error(where, error)
                continue
            yield _place_item(reading, described, found)


def _countries(place: Place) -> list[str]:
    return [c for c in (place.country or "").split("; ") if c]


def _in_both_countries(first: Place, again: Place) -> Place:
    """A place that a table lists once a country (a site across a border): the first row's, with every country."""
    return replace(first, country="; ".join([*_countries(first), *_countries(again)]))


def _usable_tables(
    reading: _Reading, kind: SourceType, given: Mapping[str, str | Sequence[str]] | None
) -> tuple[list[tuple[Table, Columns]], list[ItemError]]:
    """The tables of a file that may hold places, with their columns, and an error for each other layer.

    Layers of a GeoPackage without any position (such as the styles that QGIS keeps beside its layers) are not meant as
    places and are left out without an error.

    Raises:
        BadKnowledge, UsageError: the only table, or every layer, lacks a column.
    """
    tables = read_tables(reading.file, kind)
    bare = _layers_without_geometry(reading.file) if kind is SourceType.GEOPACKAGE else frozenset()
    usable: list[tuple[Table, Columns]] = []
    problems: list[tuple[Table, BadKnowledge | UsageError]] = []
    for table in tables:
        is_bare = table.properties.get("layer") in bare
        try:
            found = find_columns(table.columns, given)
            _require(table, found, with_position=table.format == "csv" or is_bare)
        except (BadKnowledge, UsageError) as error:
            if not is_bare:
                problems.append((table, error))
            continue
        usable.append((table, found))
    if not usable and problems:
        raise problems[0][1]
    if not usable:
        raise BadKnowledge(f"{reading.file.name}: no layer has geometries, or columns with a name and a position")
    return usable, [reading.error(f"layer {table.title!r}", error) for table, error in problems]


def _layers_without_geometry(file: Path) -> frozenset[str]:
    """Names of a GeoPackage's layers that are plain tables."""
    import pyogrio

    return frozenset(str(name) for name, geometry in pyogrio.list_layers(file) if geometry is None)


def _require(table: Table, found: Columns, *, with_position: bool) -> None:
    """Raise at once what would otherwise be an error for every row."""
    lacking = [] if found.name else ["name"]
    if with_position and not found.wkt:
        lacking += [axis for axis in ("lat", "lon") if getattr(found, axis) is None]
    if lacking:
        have = ", ".join(table.columns[:40])
        hint = "say which column it is, such as name=site"
        raise BadKnowledge(f"{table.title}: no column for {' or '.join(lacking)} among: {have}", hint=hint)


def _place_item(reading: _Reading, described: Described, columns: Columns) -> KnowledgeItem:
    place = described.place
    heading = place.name
    if place.country and fold(place.country) != fold(place.name):
        heading = f"{place.name}, {place.country}"
    common: dict[str, Any] = {
        "heading": heading,
        "place_id": place.id,
        "lon": place.lon,
        "lat": place.lat,
        "time": described.time,
        "sources": described.sources,
    }
    facts = tuple(f for f in place.facts if f.name != "id")
    passages = [reading.passage(tell(place), facts=facts, picture=described.picture, **common)]
    for text in described.texts:
        passages += [reading.passage(piece, **common) for piece in split_passages(text)]
    return KnowledgeItem(reading.document, place, tuple(passages))


# Documents and records


@dataclass(frozen=True, slots=True)
class _Anchor:
    """Where texts belong: a known or a new place, or only a position."""

    place_id: str | None = None
    position: Position | None = None
    place: Place | None = None
    name: str | None = None


def _anchor(reading: _Reading, fields: Fields) -> _Anchor | None:
    """Where a text belongs by its own word; None if it says nothing.

    Raises:
        BadKnowledge: a position that cannot be used, or an id that no place has.
    """
    position = fields.position()
    name, key, country = fields.text("name"), fields.text("place_id"), fields.text("country")
    known = reading.known
    if key is not None:
        found = known.by_id(key) if known else None
        if found is None:
            raise BadKnowledge(f"no place has the id {key!r}", hint="ingest the places first")
        return _Anchor(found.id, position or found.position, name=name or found.name)
    if name is not None:
        found = known.by_name(name, near=position, country=country) if known else None
        if found is not None:
            return _Anchor(found.id, position or found.position, name=name)
        if position is None:
            return _Anchor(name=name)
        place = Place(
            id=place_id(reading.file.name, None, name, position),
            name=name,
            source=str(reading.file),
            lon=position[0],
            lat=position[1],
            kind=fields.text("kind"),
            country=country_name(country) if country else None,
            aliases=fields.many("aliases"),
            licence=fields.text("licence") or reading.document.licence,
        )
        return _Anchor(place.id, position, place, name)
    if position is not None:
        near = known.nearest(position) if known else None
        return _Anchor(near.id if near else None, position)
    return None


def _read_text(reading: _Reading, text: Text) -> Iterator[KnowledgeItem | ItemError]:
    fields = Fields(text.fields)
    licence = fields.text("licence") or reading.document.licence
    reading.document = replace(reading.document, title=text.title, licence=licence, properties=text.properties)
    for problem in text.problems:
        yield reading.error("front matter" if problem.startswith("line") else "text", problem)
    anchor, time = None, None
    try:
        anchor = _anchor(reading, fields)
    except BadKnowledge as error:
        yield reading.error("front matter", error)
    try:
        time = fields.time()
    except BadTimeSpan as error:
        yield reading.error("front matter", error)
    about = reading.known.subject(text.title) if reading.known and anchor is None else None
    common: dict[str, Any] = {"time": time, "sources": fields.many("sources")}
    place = anchor.place if anchor else None
    for section in text.sections:
        heading = " › ".join(h for h in (text.title, section.heading) if h)
        passages = [
            reading.passage(piece, heading=heading, **_placed(reading, anchor, section.heading, about, piece), **common)
            for piece in split_passages(section.text)
        ]
        if passages:
            yield KnowledgeItem(reading.document, place, tuple(passages))
            place = None


def _placed(
    reading: _Reading, anchor: _Anchor | None, heading: str | None, about: Known | None, text: str
) -> dict[str, Any]:
    """Place and position of a passage.

    What the document says of itself comes first, then the section's heading, the document's title, a position written
    in the text, and last the names in the text.
    """
    known = reading.known
    if anchor is not None:
        lon, lat = anchor.position or (None, None)
        return {"place_id": anchor.place_id, "lon": lon, "lat": lat}
    found = (known.subject(heading) if known and heading else None) or about
    written = positions(text)
    if found is None and len(written) == 1:
        near = known.nearest(written[0]) if known else None
        return {"place_id": near.id if near else None, "lon": written[0][0], "lat": written[0][1]}
    found = found or (known.subject(text) if known else None)
    if found is None:
        return {}
    return {"place_id": found.id, "lon": found.lon, "lat": found.lat}


def _read_lines(
    reading: _Reading, given: Mapping[str, str | Sequence[str]] | None
) -> Iterator[KnowledgeItem | ItemError]:
    records, properties = read_records(reading.file)
    reading.document = replace(reading.document, properties=properties)
    seen: set[str] = set()
    for record in records:
        where = f"line {record.number}"
        if record.problem:
            yield reading.error(where, record.problem)
            continue
        fields = Fields(record.values, given)
        try:
            item = _record(reading, record, fields)
        except (BadKnowledge, BadTimeSpan) as error:
            yield reading.error(where, error)
            continue
        if item.place is not None:
            item = item if item.place.id not in seen else replace(item, place=None)
            seen.update(p.place_id for p in item.passages if p.place_id)
        yield item


def _record(reading: _Reading, record: Record, fields: Fields) -> KnowledgeItem:
    written = fields.raw("text")
    text = plain_value(written) if isinstance(written, str) else ""
    if not text:
        raise BadKnowledge("no text")
    anchor, time = _anchor(reading, fields), fields.time()
    key = fields.text("id")
    # The id that the file gives stays with the passage as a fact, so that evaluations find it again.
    facts = (*((Fact("id", key),) if key else ()), *fields.facts())
    title = fields.text("title")
    heading = " › ".join(dict.fromkeys(h for h in (anchor.name if anchor else None, title) if h)) or None
    passages = tuple(
        reading.passage(
            piece,
            heading=heading,
            time=time,
            facts=facts,
            sources=fields.many("sources"),
            **_placed(reading, anchor, title, None, piece),
        )
        for piece in split_passages(text)
    )
    return KnowledgeItem(reading.document, anchor.place if anchor else None, passages)
