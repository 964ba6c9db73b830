"""The schema version of a catalogue: created at the head, upgraded when older, refused when unknown.

A look at the version costs one query; Alembic is imported only when something has to be changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text

from rsrag import migrations
from rsrag.catalog.connect import WRITES
from rsrag.catalog.tables import Base
from rsrag.errors import SchemaMismatch, WorkspaceNotFound

HEAD = "0002"
"""The newest migration; a test compares it with the files."""
VERSION_TABLE = "rsrag_version"

_LOCK = 0x7273726167  # "rsrag": one process at a time changes a PostgreSQL schema


def ensure(engine: Engine, name: str, *, create: bool) -> None:
    """Bring the database to the current schema.

    Args:
        engine: of the database.
        name: for messages.
        create: make the tables when there are none.

    Raises:
        WorkspaceNotFound: there is no catalogue and none may be made.
        SchemaMismatch: written by a newer rsrag, or the tables belong to something else.
    """
    with engine.connect() as connection, connection.begin():
        found = version(connection, name)
    if found == HEAD:
        return
    if found is None and not create:
        raise WorkspaceNotFound(f"catalogue {name} is empty", hint="make a workspace with: rsrag init")
    if found is not None and found not in _known():
        raise SchemaMismatch(
            f"catalogue {name} has schema {found}, this rsrag knows up to {HEAD}",
            hint="use the rsrag version that wrote it, or a newer one",
        )
    upgrade(engine)


def version(connection: Connection, name: str) -> str | None:
    """Schema version of the database; None when it holds nothing of ours.

    Raises:
        SchemaMismatch: there are tables, but not those of a catalogue.
    """
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        row = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        return None if row is None else str(row)
    # A PostgreSQL schema may be shared; a file of ours holds nothing else (a GeoPackage is an SQLite file, too).
    foreign = tables if connection.dialect.name == "sqlite" else tables & set(Base.metadata.tables)
    if foreign:
        some = ", ".join(sorted(foreign)[:3])
        raise SchemaMismatch(
            f"{name} holds tables of something else ({some})", hint="give the catalogue a file or schema of its own"
        )
    return None


def upgrade(engine: Engine, revision: str = "head", *, folder: Path | None = None) -> None:
    """Run the migrations up to ``revision`` in one transaction.

    Args:
        engine: of the database.
        revision: where to stop.
        folder: the migrations; those of the package by default.
    """
    from alembic import command

    config = _config(folder)
    if engine.dialect.name == "sqlite":
        _use_wal(engine)
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _use_wal(engine: Engine) -> None:
    """Let readers go on beside a writer. The file remembers it; only a file that is ours is changed."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _known() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions()}


def _config(folder: Path | None) -> Any:
    from alembic.config import Config

    config = Config()
    here = folder or Path(str(migrations.__file__)).parent
    config.set_main_option("script_location", str(here).replace("%", "%%"))
    return config
