"""Sources, runs, errors and meta values: what was done, and what a rerun may skip."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, delete, func, select, update

from rsrag.catalog.codec import error_from, error_values, run_from, source_from, source_values
from rsrag.catalog.database import Database, delete_in, rows_in, table_of
from rsrag.catalog.records import RunRecord, SourceRecord
from rsrag.catalog.tables import ErrorTable, MetaTable, OriginTable, RunTable, SourceTable
from rsrag.errors import CatalogError
from rsrag.types import ItemError, Json

_SOURCES = table_of(SourceTable)
_RUNS = table_of(RunTable)
_ERRORS = table_of(ErrorTable)

_ARCHIVE = "archive"
ItemKind = Literal["scene", "place", "document"]
_DOCUMENTS = (".json", ".geojson")
"""Ends of the names of files that hold STAC Items."""


class Journal(Database):
    """The part of the catalogue that remembers what was done."""

    def source(self, path: str) -> SourceRecord | None:
        """What is known about a source."""
        return self._one("read a source", select(_SOURCES).where(_SOURCES.c.path == path), source_from)

    def sources_at(self, paths: Sequence[str]) -> dict[str, SourceRecord]:
        """What is known about sources, by path; unknown ones are left out."""
        with self._reading("read sources") as connection:
            found = map(source_from, rows_in(connection, _SOURCES.c.path, paths))
            return {record.path: record for record in found}

    def sources(self, prefix: str | None = None) -> list[SourceRecord]:
        """All sources, or those whose path starts with ``prefix``, ordered by path."""
        statement = select(_SOURCES)
        if prefix:
            statement = statement.where(func.substr(_SOURCES.c.path, 1, len(prefix)) == prefix)
        return sorted(self._all("read the sources", statement, source_from), key=lambda record: record.path)

    def finish_source(self, record: SourceRecord) -> None:
        """Record what became of a source. With status "done" this is the commit point of its ingest."""
        self.finish_sources([record])

    def finish_sources(self, records: Sequence[SourceRecord]) -> None:
        """The same for several sources at once."""
        with self._writing("finish a source") as connection:
            self._upsert(connection, SourceTable, [source_values(record) for record in records])

    def _claim(
        self, connection: Connection, path: str, kind: ItemKind, ids: Sequence[str], *, digest: str = ""
    ) -> None:
        """Note that items come from a source, which is "partial" until it is finished."""
        self._claim_all(connection, kind, {path: digest}, [(path, item) for item in ids])

    def _claim_all(
        self, connection: Connection, kind: ItemKind, digests: Mapping[str, str], items: Sequence[tuple[str, str]]
    ) -> None:
        """The same for several sources: the digest of each by its path, and path and id of every item."""
        records = [SourceRecord(path, digest, kind, status="partial") for path, digest in digests.items()]
        self._upsert(connection, SourceTable, list(map(source_values, records)), only=["status"])
        origins = [{"kind": kind, "item_id": item, "source_path": path} for path, item in items]
        self._upsert(connection, OriginTable, origins)

    def being_read(self, kind: ItemKind) -> set[str]:
        """Ids of items from sources that a run, which is not finished, has not finished either."""
        origins = table_of(OriginTable)
        statement = (
            select(origins.c.item_id)
            .join(_SOURCES, _SOURCES.c.path == origins.c.source_path)
            .join(_RUNS, _RUNS.c.id == _SOURCES.c.run_id)
            .where(origins.c.kind == kind, _SOURCES.c.status == "partial", _RUNS.c.status == "running")
        )
        with self._reading("list what is being read") as connection:
            return set(connection.scalars(statement))

    def begin_run(self, command: str, argv: Sequence[str]) -> str:
        """Record that a command starts; returns the id of the run."""
        run_id = str(uuid.uuid4())
        row = {
            "id": run_id,
            "command": command,
            "argv": list(argv),
            "started": datetime.now(UTC),
            "finished": None,
            "status": "running",
            "done": 0,
            "skipped": 0,
            "failed": 0,
        }
        with self._writing("begin a run") as connection:
            self._upsert(connection, RunTable, [row])
        return run_id

    def finish_run(self, run_id: str, *, done: int, skipped: int, failed: int, status: str) -> None:
        """Record how a command ended: its counts, and a status such as "done" or "interrupted".

        Raises:
            CatalogError: there is no such run.
        """
        values = {"done": done, "skipped": skipped, "failed": failed, "status": status, "finished": datetime.now(UTC)}
        with self._writing("finish a run") as connection:
            found = connection.execute(update(_RUNS).where(_RUNS.c.id == run_id).values(values)).rowcount
        if not found:
            raise CatalogError(f"catalogue {self.name} knows no run {run_id}")

    def runs(self, limit: int = 20) -> list[RunRecord]:
        """The last runs, newest first."""
        statement = select(_RUNS).order_by(_RUNS.c.started.desc(), _RUNS.c.id).limit(limit)
        return self._all("read the runs", statement, run_from)

    def record_error(self, run_id: str | None, error: ItemError) -> None:
        """Keep an item's error."""
        row = {"run_id": run_id, "at": datetime.now(UTC), **error_values(error)}
        with self._writing("record an error") as connection:
            connection.execute(_ERRORS.insert(), row)

    def errors(self, run_id: str | None = None, source: str | None = None) -> list[ItemError]:
        """Recorded errors, of one run or source if given, in the order they happened."""
        statement = select(_ERRORS).order_by(_ERRORS.c.id)
        if run_id is not None:
            statement = statement.where(_ERRORS.c.run_id == run_id)
        if source is not None:
            statement = statement.where(_ERRORS.c.source == source)
        return self._all("read the errors", statement, error_from)

    def clear_errors(self, source: str) -> None:
        """Forget the errors of a source, which is about to be tried again."""
        with self._writing("clear errors") as connection:
            self._forget_errors(connection, [source])

    def _forget_errors(self, connection: Connection, sources: Sequence[str]) -> None:
        forget_errors(connection, sources)

    def archive_id(self) -> str:
        """What tells this archive from others that write to the same vector server: made once, 32 characters."""
        kept = self.get_meta(_ARCHIVE)
        if kept is None:
            with self._writing("name the archive") as connection:  # of two who do so at once the first one stays
                self._upsert(connection, MetaTable, [{"key": _ARCHIVE, "value": uuid.uuid4().hex}], only=())
            kept = self.get_meta(_ARCHIVE)
        return str(kept)

    def set_meta(self, key: str, value: Json) -> None:
        """Store a value about the workspace, any JSON value."""
        with self._writing("store a value") as connection:
            self._upsert(connection, MetaTable, [{"key": key, "value": value}])

    def get_meta(self, key: str) -> Json | None:
        """A value about the workspace; None if it was never set."""
        meta = table_of(MetaTable)
        return self._one("read a value", select(meta).where(meta.c.key == key), lambda row: row["value"])


def forget_errors(connection: Connection, sources: Sequence[str]) -> None:
    """Delete the errors of sources, and those of their Items, which are named ``PATH#ITEM``."""
    delete_in(connection, _ERRORS.c.source, sources)
    # Compared byte by byte: "$" follows "#". SQLite does so by itself, and can use its index.
    named = _ERRORS.c.source if connection.dialect.name == "sqlite" else _ERRORS.c.source.collate("C")
    for path in sources:
        if path.lower().endswith(_DOCUMENTS):
            connection.execute(delete(_ERRORS).where(named >= f"{path}#", named < f"{path}$"))
