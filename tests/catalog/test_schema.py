"""Creating, upgrading and refusing databases."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from rsrag import migrations
from rsrag.catalog import Catalog, schema
from rsrag.catalog.connect import connect, parse_url
from rsrag.catalog.tables import Base
from rsrag.errors import SchemaMismatch, WorkspaceNotFound

PACKAGE = Path(str(migrations.__file__)).parent

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{down}"


def upgrade():
    with op.batch_alter_table("meta") as meta:
        meta.add_column(sa.Column("note", sa.Text(), nullable=True))
    op.execute("UPDATE meta SET note = 'moved'")
    {then}
"""


@pytest.fixture
def engine(target: str) -> Iterator[Engine]:
    opened = connect(parse_url(target))
    yield opened
    opened.dispose()


@pytest.fixture
def next_release(tmp_path: Path):
    """The migrations of a release that has one more."""

    def write(then: str = "") -> Path:
        folder = tmp_path / "migrations"
        shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "versions" / "v9999_next.py").write_text(NEXT.format(down=schema.HEAD, then=then))
        return folder

    return write


def test_the_head_is_the_newest_file() -> None:
    script = ScriptDirectory(str(PACKAGE))
    assert script.get_heads() == [schema.HEAD]
    assert script.get_bases() == ["0001"]


def test_migrations_make_the_tables_of_the_models(target: str, engine: Engine) -> None:
    Catalog.open(target).close()
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": schema.VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, Base.metadata) == []
        keys = {
            table.name: inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
            for table in Base.metadata.sorted_tables
        }
    assert keys == {table.name: [c.name for c in table.primary_key] for table in Base.metadata.sorted_tables}


def test_a_database_of_the_first_release_opens(target: str, engine: Engine) -> None:
    schema.upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO meta (key, value) VALUES ('fingerprint', '{\"image\": \"m1\"}')"))
        connection.execute(
            text(
                "INSERT INTO places (id, name, source, lon, lat, aliases, facts, west, south, east, north) VALUES"
                " ('p', 'Chott el Djerid', 'own', 8.4, 33.7, '[]', '[[\"length\", 250, \"km\"]]', 8.4, 33.7, 8.4, 33.7)"
            )
        )
    with Catalog.open(target, create=False) as catalog:
        assert catalog.get_meta("fingerprint") == {"image": "m1"}
        place = catalog.place("p")
    assert place is not None
    assert (place.name, place.lon, place.facts[0].value, place.extent) == ("Chott el Djerid", 8.4, 250, None)
    with engine.connect() as connection:
        assert schema.version(connection, "it") == schema.HEAD


def test_an_older_database_is_upgraded_with_its_data(target: str, engine: Engine, next_release) -> None:
    with Catalog.open(target) as catalog:
        catalog.set_meta("key", 1)
    schema.upgrade(engine, folder=next_release())
    with engine.connect() as connection:
        assert schema.version(connection, "it") == "9999"
        assert connection.execute(text("SELECT key, note FROM meta")).all() == [("key", "moved")]


def test_a_failing_upgrade_leaves_the_database_as_it_was(target: str, engine: Engine, next_release) -> None:
    with Catalog.open(target) as catalog:
        catalog.set_meta("key", 1)
    with pytest.raises(RuntimeError, match="power cut"):
        schema.upgrade(engine, folder=next_release('raise RuntimeError("power cut")'))
    assert "note" not in {column["name"] for column in inspect(engine).get_columns("meta")}
    with Catalog.open(target) as catalog:
        assert catalog.get_meta("key") == 1


def test_a_newer_database_is_refused_untouched(target: str, engine: Engine, next_release) -> None:
    Catalog.open(target).close()
    schema.upgrade(engine, folder=next_release())
    with pytest.raises(SchemaMismatch, match=r"has schema 9999.*knows up to 0002.*use the rsrag version that wrote it"):
        Catalog.open(target)
    with engine.connect() as connection:
        assert schema.version(connection, "it") == "9999"


@pytest.mark.parametrize("create", [True, False])
def test_a_file_of_something_else_is_refused_untouched(tmp_path: Path, create: bool) -> None:
    """A GeoPackage, for example, is an SQLite file."""
    path = tmp_path / "map.gpkg"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE gpkg_contents (id INTEGER)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(SchemaMismatch, match="gpkg_contents"):
        Catalog.open(path, create=create)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_readers_go_on_beside_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    Catalog.open(path).close()
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()


def test_a_shared_postgres_schema_is_used_unless_names_collide(postgres_target: str) -> None:
    engine = connect(parse_url(postgres_target))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE spatial_ref_sys (id INTEGER)"))
    Catalog.open(postgres_target).close()
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {schema.VERSION_TABLE}"))
    with pytest.raises(SchemaMismatch, match="tables of something else"):
        Catalog.open(postgres_target)
    engine.dispose()


def test_nothing_is_made_unless_asked(target: str, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceNotFound):
        Catalog.open(target, create=False)
    assert list(tmp_path.iterdir()) == []


def test_several_processes_may_create_it_at_once(target: str) -> None:
    code = "import sys; from rsrag.catalog import Catalog; Catalog.open(sys.argv[1]).close()"
    started = [
        subprocess.Popen([sys.executable, "-c", code, target], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    problems = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], problems
    with Catalog.open(target, create=False) as catalog:
        assert catalog.counts()["scenes"] == 0
