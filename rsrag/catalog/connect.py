"""Connections to SQLite and PostgreSQL, and their failures in plain words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from rsrag.catalog.columns import dumps, loads
from rsrag.errors import CatalogError, ConfigError, MissingExtra

WRITES = "rsrag_writes"
"""Execution option of a connection that will write: SQLite then takes its lock at once, where waiting is possible."""

_BUSY_SECONDS = 10.0

_LOCKED = ("another process holds the catalogue", "wait for the other command to finish, then run this one again")
_FULL = ("the disk is full", "free some space; what was written before is intact")
_READ_ONLY = ("the catalogue is read-only", "check the permissions of the file and its folder")
_DAMAGED = ("the file is damaged or not a catalogue", "restore a copy, or ingest again into a new workspace")
_NO_FILE = ("the file cannot be opened", "check that its folder exists and may be written to")
_IO = ("the disk reported an error", "check the disk; SQLite catalogues must not lie on a network drive")

_DANGLING = (
    "it refers to something that is not in the catalogue",
    "save runs, scenes and documents before what belongs to them",
)

# Result codes; 787 is an extended one (foreign key).
_SQLITE = {
    787: _DANGLING,
    5: _LOCKED,
    6: _LOCKED,
    8: _READ_ONLY,
    10: _IO,
    11: _DAMAGED,
    13: _FULL,
    14: _NO_FILE,
    26: _DAMAGED,
}
_POSTGRES = {
    "23503": _DANGLING,
    "53100": _FULL,
    "25006": _READ_ONLY,
    "55P03": _LOCKED,
    "40P01": _LOCKED,
    "42501": ("the database user may not do this", "grant the user rights on the schema"),
}


def parse_url(target: str | Path) -> URL:
    """The database of a path (SQLite) or URL (``sqlite:///…``, ``postgresql://…``).

    Raises:
        ConfigError: another kind of database, or no URL at all.
    """
    if isinstance(target, Path) or "://" not in target:
        return URL.create("sqlite+pysqlite", database=str(target))
    try:
        url = make_url(target)
    except ArgumentError as error:
        raise ConfigError(f"catalogue address cannot be read: {error}") from error
    backend = url.drivername.partition("+")[0]
    if backend == "sqlite":
        return url.set(drivername="sqlite+pysqlite")
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise ConfigError(
        f"catalogue on {backend!r} is not supported", hint="use a file path, sqlite:///PATH or postgresql://…"
    )


def connect(url: URL) -> Engine:
    """An engine for the database; nothing is opened yet.

    Raises:
        MissingExtra: PostgreSQL without its driver.
    """
    common: dict[str, Any] = {"json_serializer": dumps, "json_deserializer": loads}
    if url.get_backend_name() == "sqlite":
        # Without isolation level the driver leaves BEGIN to us.
        arguments: dict[str, Any] = {"isolation_level": None}
        if "timeout" not in url.query:
            arguments["timeout"] = _BUSY_SECONDS
        engine = create_engine(url, connect_args=arguments, **common)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingExtra("a catalogue on PostgreSQL", extra="postgres", package="psycopg") from error
    options = " ".join([*url.normalized_query.get("options", ()), "-c timezone=UTC"])
    return create_engine(url, pool_pre_ping=True, connect_args={"options": options}, **common)


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def translated(name: str, doing: str) -> Iterator[None]:
    """Database failures inside leave as CatalogError that says what was being done, to what, and what helps.

    Args:
        name: the database, without password.
        doing: for example "save tiles".
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        what, hint = _explain(error)
        raise CatalogError(f"catalogue {name}: cannot {doing}: {what}", hint=hint) from error
    except UnicodeEncodeError as error:
        raise CatalogError(
            f"catalogue {name}: cannot {doing}: {error.object!r} is not valid Unicode", hint="rename the file"
        ) from error


def _explain(error: Exception) -> tuple[str, str | None]:
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None and (known := _SQLITE.get(code) or _SQLITE.get(code & 0xFF)):
        return known
    state = getattr(cause, "sqlstate", None)
    if state in _POSTGRES:
        return _POSTGRES[state]
    text = str(cause).strip().splitlines()
    what = text[0] if text else type(cause).__name__
    if state is None and "connect" in what:
        return what, "check that the server runs, and the address, user and database name"
    return what, None
