"""The catalogue as a whole: opening, closing, removing a source, counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, delete, func, insert, select, update

from rsrag.catalog import schema
from rsrag.catalog.codec import look_values, tile_from
from rsrag.catalog.connect import connect, parse_url, translated
from rsrag.catalog.database import chunks, delete_in, ids_where, rows_in, table_of
from rsrag.catalog.imagery import Imagery
from rsrag.catalog.journal import ItemKind, forget_errors
from rsrag.catalog.knowledge import Knowledge
from rsrag.catalog.records import RemovedIds
from rsrag.catalog.tables import (
    Base,
    DocumentTable,
    EmbeddingTable,
    ErrorTable,
    LookTable,
    OriginTable,
    PassageTable,
    PlaceTable,
    RunTable,
    SceneTable,
    SourceTable,
    TileTable,
)
from rsrag.errors import WorkspaceNotFound
from rsrag.types import Tile

_ORIGINS = table_of(OriginTable)
_SOURCES = table_of(SourceTable)
_TILES = table_of(TileTable)
_EMBEDDINGS = table_of(EmbeddingTable)

_ITEMS: dict[ItemKind, type[Base]] = {"scene": SceneTable, "place": PlaceTable, "document": DocumentTable}
_COUNTED: dict[str, type[Base]] = {
    "scenes": SceneTable,
    "tiles": TileTable,
    "places": PlaceTable,
    "documents": DocumentTable,
    "passages": PassageTable,
    "sources": SourceTable,
    "runs": RunTable,
    "errors": ErrorTable,
}


class Catalog(Imagery, Knowledge):
    """What a workspace holds, in SQLite or PostgreSQL. The vector index can be rebuilt from it alone.

    Every call is one transaction: after a crash it is there whole or not at all. Any thread may call. Every failure of
    the database leaves as CatalogError.
    """

    @classmethod
    def open(cls, target: str | Path, *, create: bool = True) -> Self:
        """Open the catalogue at a path (SQLite) or URL, creating or upgrading its tables as needed.

        Args:
            target: file path, ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/NAME``.
            create: make a new catalogue when there is none.

        Raises:
            WorkspaceNotFound: there is none and ``create`` is False.
            SchemaMismatch: written by a newer rsrag, or not a catalogue.
            MissingExtra: PostgreSQL without the extra ``postgres``.
            CatalogError: the database cannot be reached or used.
        """
        url = parse_url(target)
        is_file = url.get_backend_name() == "sqlite"
        name = str(url.database) if is_file else url.set(query={}).render_as_string(hide_password=True)
        if is_file and not create and not name.startswith("file:") and not Path(name).exists():
            raise WorkspaceNotFound(f"there is no catalogue at {name}", hint="make a workspace with: rsrag init")
        engine = connect(url)
        try:
            with translated(name, "open it"):
                schema.ensure(engine, name, create=create)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, name)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def remove_source(self, path: str) -> RemovedIds:
        """Delete a source with everything that came from it alone, and say what must leave the index.

        What also lies at another source (a copy of the file) stays; where this one described it last, the other source
        becomes "partial", so that it is read again. An unknown source removes nothing.
        """
        with self._writing(f"remove source {path}") as connection:
            scenes, places, documents = (_only_from(connection, path, kind) for kind in ("scene", "place", "document"))
            tiles = _delete_scenes(connection, scenes)
            passages = ids_where(connection, table_of(PassageTable).c.document_id, documents)
            delete_in(connection, _EMBEDDINGS.c.owner_id, passages)
            for model, ids in ((PlaceTable, places), (DocumentTable, documents)):
                delete_in(connection, table_of(model).c.id, ids)
            heirs = _hand_over(connection, path)
            connection.execute(delete(_SOURCES).where(_SOURCES.c.path == path))
            forget_errors(connection, [path])
        return RemovedIds(tuple(tiles), tuple(passages), tuple(places), tuple(heirs))

    def remove_scenes(self, path: str, ids: Sequence[str]) -> RemovedIds:
        """Delete scenes that a source no longer holds, and say what must leave the index.

        What also lies at another source stays; the source itself and its other scenes do too.
        """
        with self._writing(f"remove scenes of {path}") as connection:
            own = set(_only_from(connection, path, "scene"))
            tiles = _delete_scenes(connection, [key for key in ids if key in own])
            for chunk in chunks(ids):
                of_these = (_ORIGINS.c.kind == "scene") & _ORIGINS.c.item_id.in_(chunk)
                connection.execute(delete(_ORIGINS).where(of_these, _ORIGINS.c.source_path == path))
        return RemovedIds(tuple(tiles))

    def fingerprints(self) -> dict[str, set[str]]:
        """The models that made the stored vectors, by vector name."""
        statement = select(_EMBEDDINGS.c.name, _EMBEDDINGS.c.fingerprint).distinct()
        found: dict[str, set[str]] = {}
        for row in self._all("list the models of the vectors", statement, dict):
            found.setdefault(row["name"], set()).add(row["fingerprint"])
        return found

    def collections(self) -> list[str]:
        """Names of the collections that scenes belong to, sorted."""
        column = SceneTable.__table__.c.collection
        return sorted(self._all("list the collections", select(column).distinct(), lambda row: str(row["collection"])))

    def counts(self) -> dict[str, int]:
        """Number of rows by kind: scenes, tiles, places, documents, passages, sources, runs, errors."""
        with self._reading("count") as connection:
            return {
                name: connection.scalar(select(func.count()).select_from(table_of(model))) or 0
                for name, model in _COUNTED.items()
            }


def _delete_scenes(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Delete scenes with their tiles, whose ids are returned."""
    tiles = ids_where(connection, table_of(TileTable).c.scene_id, ids)
    delete_in(connection, _EMBEDDINGS.c.owner_id, tiles)
    delete_in(connection, table_of(SceneTable).c.id, ids)
    _hand_over_groups(connection, tiles)
    return tiles


def _hand_over_groups(connection: Connection, gone: Sequence[str]) -> None:
    """Let the first of the tiles that are left stand for a group whose own is gone, so that what comes joins it."""
    for chunk in chunks(gone):
        led = (_TILES.c.group_id.in_(chunk), _TILES.c.group_id != _TILES.c.id)
        heirs: dict[str, Tile] = {}
        for row in connection.execute(select(_TILES).where(*led).order_by(_TILES.c.id)).mappings():
            heirs.setdefault(row["group_id"], tile_from(row))
        for group, heir in heirs.items():
            connection.execute(update(_TILES).where(_TILES.c.group_id == group).values(group_id=heir.id))
            connection.execute(insert(table_of(LookTable)), list(look_values(replace(heir, group=heir.id))))


def _only_from(connection: Connection, path: str, kind: str) -> list[str]:
    """Items that came from this source and no other."""
    other = _ORIGINS.alias()
    elsewhere = select(other.c.item_id).where(
        other.c.kind == _ORIGINS.c.kind, other.c.item_id == _ORIGINS.c.item_id, other.c.source_path != path
    )
    return list(
        connection.scalars(
            select(_ORIGINS.c.item_id)
            .where(_ORIGINS.c.source_path == path, _ORIGINS.c.kind == kind, ~elsewhere.exists())
            .order_by(_ORIGINS.c.item_id)
        )
    )


def _hand_over(connection: Connection, path: str) -> list[str]:
    """Point what the leaving source described at another one that has it too, which is to be read again.

    Returns:
        The other sources.
    """
    heirs: set[str] = set()
    for kind, model in _ITEMS.items():
        table = table_of(model)
        others = _sharers(connection, path, kind)
        for row in rows_in(connection, table.c.id, others):
            # The scene of a STAC Item names its asset as source, and the document beside it.
            document = row["properties"].get("stac_document") if kind == "scene" else None
            if path in (row["source"], document):
                heirs.add(others[row["id"]])
            if row["source"] == path:
                renamed = update(table).where(table.c.id == row["id"]).values(source=others[row["id"]])
                connection.execute(renamed)
    for chunk in chunks(sorted(heirs)):
        connection.execute(update(_SOURCES).where(_SOURCES.c.path.in_(chunk)).values(status="partial"))
    return sorted(heirs)


def _sharers(connection: Connection, path: str, kind: ItemKind) -> dict[str, str]:
    """The items of a source that came from another one too: the first other source of each."""
    other = _ORIGINS.alias()
    same = (other.c.kind == _ORIGINS.c.kind) & (other.c.item_id == _ORIGINS.c.item_id)
    statement = (
        select(_ORIGINS.c.item_id, func.min(other.c.source_path))
        .join(other, same & (other.c.source_path != path))
        .where(_ORIGINS.c.source_path == path, _ORIGINS.c.kind == kind)
        .group_by(_ORIGINS.c.item_id)
    )
    return {item: source for item, source in connection.execute(statement)}
