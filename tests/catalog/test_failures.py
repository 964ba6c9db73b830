"""Failures of the database in plain words, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rsrag.catalog import Catalog, SourceRecord
from rsrag.errors import CatalogError, ConfigError, MissingExtra


def test_locked_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with Catalog.open(f"sqlite:///{path}?timeout=0.05") as catalog:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogError, match="cannot store a value: another process holds the catalogue"):
            catalog.set_meta("key", 1)
        assert catalog.get_meta("key") is None  # reading goes on beside a writer
        other.execute("ROLLBACK")
        other.close()
        catalog.set_meta("key", 1)
        assert catalog.get_meta("key") == 1


def test_disk_full(sqlite_target: str) -> None:
    with Catalog.open(sqlite_target) as catalog:
        catalog.set_meta("before", 1)
        with catalog._engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(CatalogError, match="the disk is full"):
            catalog.set_meta("big", "x" * 1_000_000)
        assert catalog.get_meta("before") == 1
        assert catalog.get_meta("big") is None


def test_read_only(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with Catalog.open(path) as catalog:
        catalog.set_meta("key", 1)
    with Catalog.open(f"sqlite:///file:{path}?mode=ro&uri=true", create=False) as catalog:
        assert catalog.get_meta("key") == 1
        with pytest.raises(CatalogError, match=r"read-only.*check the permissions"):
            catalog.set_meta("key", 2)


def test_damaged(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"this is not a database, though it is long enough to be looked at" * 100)
    with pytest.raises(CatalogError, match="damaged or not a catalogue"):
        Catalog.open(path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"cannot open it.*check that its folder exists"):
        Catalog.open(tmp_path / "nowhere" / "catalog.db")


def test_a_name_that_is_not_unicode(sqlite_target: str) -> None:
    with Catalog.open(sqlite_target) as catalog:
        name = os.fsdecode(b"/data/\xff.tif")
        with pytest.raises(CatalogError, match=r"not valid Unicode.*rename the file"):
            catalog.finish_source(SourceRecord(name, "d", "scene"))


@pytest.mark.parametrize("url", ["mysql://localhost/x", "https://example.org/catalog.db"])
def test_databases_of_other_kinds(url: str) -> None:
    with pytest.raises(ConfigError, match="not supported"):
        Catalog.open(url)


def test_the_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"rsrag\[postgres\]"):
        Catalog.open("postgresql://127.0.0.1/x")


def test_no_server_and_no_password_in_the_message() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(CatalogError, match="check that the server runs") as caught:
        Catalog.open("postgresql://someone:secret-word@127.0.0.1:9/x?connect_timeout=2")
    assert "secret-word" not in str(caught.value)


def test_no_such_database(postgres_target: str) -> None:
    with pytest.raises(CatalogError, match=r'"missing" does not exist.*check that the server runs'):
        Catalog.open(postgres_target.replace("/postgres?", "/missing?"))


# --- kill -9 --------------------------------------------------------------------------------------------------------

WRITER = """
import sys, time
import numpy as np
from sqlalchemy import event
from rsrag.catalog import Catalog, TileRow
from rsrag.types import Tile, Window

catalog = Catalog.open(sys.argv[1])

@event.listens_for(catalog._engine, "before_cursor_execute")
def stop(connection, cursor, statement, parameters, context, executemany):
    if statement.startswith("INSERT INTO " + sys.argv[2]):
        print("in the middle", flush=True)
        time.sleep(60)

rows = [
    TileRow(Tile(f"tile-{n}", "scene-1", Window(0, 0, 1, 1), 1.0, "d", n), np.ones(4, np.float32), "model", b"jpeg")
    for n in range(300)
]
catalog.save_tiles("scene-1", rows)
"""


@pytest.mark.parametrize("table", ["tiles", "looks", "embeddings", "thumbnails"])
def test_a_killed_transaction_leaves_nothing(target: str, make, table: str) -> None:
    with Catalog.open(target) as catalog:
        catalog.save_scene(make.scene(), "/a.tif")
        catalog.save_tiles("scene-1", [make.tile_row("before")])
    process = subprocess.Popen([sys.executable, "-c", WRITER, target, table], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Catalog.open(target, create=False) as catalog:
        assert list(catalog.tile_ids()) == ["before"]
        assert [tile.id for batch in catalog.iter_tile_vectors() for tile, _, _ in batch] == ["before"]
        assert catalog.thumbnail("tile-0") is None
        source = catalog.source("/a.tif")
        assert source is not None and source.status == "partial"
        catalog.save_tiles("scene-1", [make.tile_row("after")])
        assert sorted(catalog.tile_ids()) == ["after", "before"]


CREATOR = """
import sys, time
from sqlalchemy import event, Engine
from rsrag.catalog import Catalog

@event.listens_for(Engine, "before_cursor_execute")
def stop(connection, cursor, statement, parameters, context, executemany):
    if "CREATE TABLE tiles" in statement:
        print("in the middle", flush=True)
        time.sleep(60)

Catalog.open(sys.argv[1])
"""


def test_a_killed_creation_leaves_nothing(target: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", CREATOR, target], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Catalog.open(target) as catalog:
        assert catalog.counts()["tiles"] == 0
