"""Places, documents and passages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import ColumnElement, Connection, false, or_, select, true

from rsrag.catalog.boxes import box_around, touches
from rsrag.catalog.codec import (
    Values,
    document_from,
    document_values,
    embedding_values,
    passage_from,
    passage_values,
    place_from,
    place_values,
    vector_from,
)
from rsrag.catalog.database import delete_in, rows_in, table_of
from rsrag.catalog.journal import Journal
from rsrag.catalog.names import name_key
from rsrag.catalog.records import PassageRow, Vector
from rsrag.catalog.tables import DocumentTable, EmbeddingTable, PassageTable, PlaceNameTable, PlaceTable
from rsrag.types import BBox, Document, Passage, Place

_PLACES = table_of(PlaceTable)
_NAMES = table_of(PlaceNameTable)
_DOCUMENTS = table_of(DocumentTable)
_PASSAGES = table_of(PassageTable)
_EMBEDDINGS = table_of(EmbeddingTable)


class Knowledge(Journal):
    """The part of the catalogue that holds what is known about places."""

    # --- writing ---

    def save_places(self, places: Sequence[Place], source_path: str) -> None:
        """Store or replace places that came from a source: all of them, or none."""
        ids = [place.id for place in places]
        names = {(row["key"], row["place_id"]): row for place in places for row in _name_values(place)}
        with self._writing("save places") as connection:
            self._claim(connection, source_path, "place", ids)
            self._upsert(connection, PlaceTable, [place_values(place) for place in places])
            delete_in(connection, _NAMES.c.place_id, ids)
            self._upsert(connection, PlaceNameTable, list(names.values()))

    def save_document(self, document: Document, source_path: str) -> None:
        """Store or replace a document that came from a source."""
        with self._writing(f"save document {document.id}") as connection:
            self._claim(connection, source_path, "document", [document.id], digest=document.digest)
            self._upsert(connection, DocumentTable, [document_values(document)])

    def save_passages(self, rows: Sequence[PassageRow]) -> None:
        """Store or replace passages with their vectors: all of them, or none.

        Raises:
            BadVector: a vector that the index would refuse.
            CatalogError: the document of a passage is unknown.
        """
        ids = [row.passage.id for row in rows]
        embeddings = [embedding_values(row.passage.id, *vector) for row in rows for vector in row.vectors()]
        with self._writing("save passages") as connection:
            self._upsert(connection, PassageTable, [passage_values(row.passage) for row in rows])
            delete_in(connection, _EMBEDDINGS.c.owner_id, ids)
            self._upsert(connection, EmbeddingTable, embeddings)

    # --- places ---

    def place(self, place_id: str) -> Place | None:
        """A place by id."""
        return self._one("read a place", select(_PLACES).where(_PLACES.c.id == place_id), place_from)

    def places_by_name(self, name: str) -> list[Place]:
        """Places of that name; case, accents and punctuation do not matter. Those it is only an alias of come last."""
        statement = (
            select(*_PLACES.c)
            .join(_NAMES, _NAMES.c.place_id == _PLACES.c.id)
            .where(_NAMES.c.key == name_key(name))
            .order_by(_NAMES.c.alias, _PLACES.c.id)
        )
        return self._all("look up a place", statement, place_from)

    def place_sorts(self) -> list[tuple[str | None, str]]:
        """The kinds of places there are, each with the sources that hold some of the kind."""
        sorts = select(_PLACES.c.kind, _PLACES.c.source).distinct().order_by(_PLACES.c.source, _PLACES.c.kind)
        return self._all("list kinds of places", sorts, lambda row: (row["kind"], row["source"]))

    def iter_places(self, batch: int = 512, *, kinds: Collection[str | None] | None = None) -> Iterator[list[Place]]:
        """Every place in order of ids, in lists of at most ``batch``.

        Args:
            batch: places of a list.
            kinds: of places; None among them stands for those without one. All by default.
        """
        wanted: ColumnElement[bool] = true()
        if kinds is not None:
            without = _PLACES.c.kind.is_(None) if None in kinds else false()
            wanted = or_(_PLACES.c.kind.in_([kind for kind in kinds if kind is not None]), without)
        last = ""
        while True:
            statement = select(_PLACES).where(wanted, _PLACES.c.id > last).order_by(_PLACES.c.id).limit(batch)
            places = self._all("read places", statement, place_from)
            if not places:
                return
            yield places
            last = places[-1].id

    def places_in(self, bbox: BBox) -> list[Place]:
        """Places whose position, or extent's box if they have one, touches the box; ordered by id."""
        # Sorted here: an ORDER BY makes SQLite walk through the ids instead of the index on the boxes.
        found = self._all("look up places", select(_PLACES).where(touches(_PLACES, bbox)), place_from)
        return sorted(found, key=lambda place: place.id)

    def places_near(self, lon: float, lat: float, km: float) -> list[Place]:
        """Places within ``km`` kilometres of a position, nearest first.

        A place whose extent holds the position is at no distance; otherwise its own position counts.

        Raises:
            BadGeometry: a position that is not on Earth.
        """
        from rsrag.geo import check_position, distance_km, holds

        here = check_position(lon, lat)
        near = []
        for place in self.places_in(box_around(*here, km)):
            inside = place.extent is not None and holds(place.extent, here)
            distance = 0.0 if inside else distance_km(here, (place.lon, place.lat))
            if distance <= km:
                near.append((distance, place))
        return [place for _, place in sorted(near, key=lambda pair: pair[0])]

    # --- documents and passages ---

    def document(self, document_id: str) -> Document | None:
        """A document by id."""
        return self._one("read a document", select(_DOCUMENTS).where(_DOCUMENTS.c.id == document_id), document_from)

    def passage(self, passage_id: str) -> Passage | None:
        """A passage by id."""
        return self._one("read a passage", select(_PASSAGES).where(_PASSAGES.c.id == passage_id), passage_from)

    def passages(self, ids: Sequence[str]) -> dict[str, Passage]:
        """Passages by id, in the order asked for; unknown ids are left out."""
        with self._reading("read passages") as connection:
            found = {row["id"]: passage_from(row) for row in rows_in(connection, _PASSAGES.c.id, ids)}
        return {key: found[key] for key in ids if key in found}

    def passages_of_place(self, place_id: str) -> list[Passage]:
        """What is written about a place, in the order of the documents' texts."""
        statement = (
            select(_PASSAGES)
            .where(_PASSAGES.c.place_id == place_id)
            .order_by(_PASSAGES.c.document_id, _PASSAGES.c.ordinal, _PASSAGES.c.id)
        )
        return self._all("read passages", statement, passage_from)

    def passage_ids(self) -> Iterator[str]:
        """The id of every passage."""
        return self._ids(PassageTable)

    def resolve_passages(self, ids: Sequence[str]) -> dict[str, tuple[Passage, Document, Place | None]]:
        """Passages with their documents and places, in the order asked for; unknown ids are left out."""
        with self._reading("read passages") as connection:
            found = {row["id"]: passage_from(row) for row in rows_in(connection, _PASSAGES.c.id, ids)}
            wanted = {passage.document_id for passage in found.values()}
            documents = {row["id"]: document_from(row) for row in rows_in(connection, _DOCUMENTS.c.id, wanted)}
            places = _places_of(connection, list(found.values()))
        return {
            key: (found[key], documents[found[key].document_id], places.get(found[key].place_id or ""))
            for key in ids
            if key in found
        }

    def iter_passage_vectors(self, batch: int = 512) -> Iterator[list[tuple[Passage, Place | None, dict[str, Vector]]]]:
        """Every passage with its place and its vectors by name (perhaps none), in lists of at most ``batch``."""
        last = ""
        while True:
            statement = select(_PASSAGES).where(_PASSAGES.c.id > last).order_by(_PASSAGES.c.id).limit(batch)
            with self._reading("read vectors") as connection:
                passages = [passage_from(row) for row in connection.execute(statement).mappings()]
                vectors: dict[str, dict[str, Vector]] = {passage.id: {} for passage in passages}
                for row in rows_in(connection, _EMBEDDINGS.c.owner_id, vectors):
                    vectors[row["owner_id"]][row["name"]] = vector_from(row["vector"])
                places = _places_of(connection, passages)
            if not passages:
                return
            yield [(passage, places.get(passage.place_id or ""), vectors[passage.id]) for passage in passages]
            last = passages[-1].id


def _name_values(place: Place) -> Iterator[Values]:
    """Rows of the names of a place, aliases first, so that a name wins over an equal alias."""
    for alias in place.aliases:
        yield {"key": name_key(alias), "place_id": place.id, "alias": True}
    yield {"key": name_key(place.name), "place_id": place.id, "alias": False}


def _places_of(connection: Connection, passages: Sequence[Passage]) -> dict[str, Place]:
    wanted = [passage.place_id for passage in passages if passage.place_id is not None]
    return {row["id"]: place_from(row) for row in rows_in(connection, _PLACES.c.id, wanted)}
