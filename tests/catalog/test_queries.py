"""How the database is asked: few statements, and by index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from rsrag.catalog import Catalog
from rsrag.types import BBox


@contextmanager
def recorded(catalog: Catalog) -> Iterator[list[tuple[str, Any]]]:
    """Statements with parameters, apart from BEGIN."""
    seen: list[tuple[str, Any]] = []

    def note(connection, cursor, statement: str, parameters, context, executemany: bool) -> None:
        if not statement.startswith("BEGIN"):
            seen.append((statement, parameters))

    event.listen(catalog._engine, "before_cursor_execute", note)
    yield seen
    event.remove(catalog._engine, "before_cursor_execute", note)


def test_one_statement_a_table(filled: Catalog) -> None:
    with recorded(filled) as tiles:
        assert len(filled.resolve_tiles([f"tile-{n}{letter}" for n in (1, 2) for letter in "abc"])) == 6
    assert len(tiles) == 2
    with recorded(filled) as passages:
        assert len(filled.resolve_passages(["passage-1", "passage-2"])) == 2
    assert len(passages) == 3


def test_saving_more_tiles_takes_no_more_statements(filled: Catalog, make) -> None:
    with recorded(filled) as few:
        filled.save_tiles("scene-1", [make.tile_row("x")])
    with recorded(filled) as many:
        filled.save_tiles("scene-1", [make.tile_row(f"y-{n}") for n in range(256)])
    assert len(many) == len(few)


LOOKUPS: dict[str, Callable[[Catalog], object]] = {
    "places_by_name": lambda catalog: catalog.places_by_name("anything"),
    "find_group": lambda catalog: catalog.find_group(0, "digest"),
    "tiles_of": lambda catalog: catalog.tiles_of("scene-1"),
    "resolve_tiles": lambda catalog: catalog.resolve_tiles(["tile-1a"]),
    "resolve_passages": lambda catalog: catalog.resolve_passages(["passage-1"]),
    "passages_of_place": lambda catalog: catalog.passages_of_place("place-1"),
    "places_in": lambda catalog: catalog.places_in(BBox(0, 0, 1, 1)),
    "scenes_at": lambda catalog: catalog.scenes_at(["scene-1"]),
    "scenes_from": lambda catalog: catalog.scenes_from("/data/scene-1.tif"),
    "remove_scenes": lambda catalog: catalog.remove_scenes("/data/scene-1.tif", ["scene-1"]),
    "remove_source": lambda catalog: catalog.remove_source("/data/scene-1.tif"),
    "iter_tile_vectors": lambda catalog: list(catalog.iter_tile_vectors()),
    "iter_tile_vectors of scenes": lambda catalog: list(catalog.iter_tile_vectors(scenes=["scene-1"])),
    "iter_passage_vectors": lambda catalog: list(catalog.iter_passage_vectors()),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_no_lookup_reads_a_whole_table(sqlite_target: str, make, name: str) -> None:
    with Catalog.open(sqlite_target) as catalog:
        catalog.save_scene(make.scene(), "/data/scene-1.tif")
        catalog.save_tiles("scene-1", [make.tile_row("tile-1a")])
        catalog.save_places([make.place()], "/places")
        catalog.save_document(make.document(), "/texts")
        catalog.save_passages([make.passage_row(place_id="place-1")])
        with recorded(catalog) as statements:
            LOOKUPS[name](catalog)
        with catalog._engine.connect() as connection:
            for statement, parameters in statements:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                assert not [row[3] for row in plan if row[3].startswith("SCAN")], statement
