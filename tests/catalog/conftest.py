"""Every test that asks for ``catalog`` or ``target`` runs on SQLite, and on PostgreSQL where there is one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from rsrag.catalog import Catalog, PassageRow, TileRow
from rsrag.geo import footprint_from_bbox
from rsrag.types import Band, BBox, Document, Passage, Place, Scene, Tile, Window

POSTGRES = "RSRAG_TEST_POSTGRES"


@pytest.fixture
def sqlite_target(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.db'}"


@pytest.fixture
def postgres_target() -> Iterator[str]:
    """A new schema of its own on the PostgreSQL server of the environment."""
    if POSTGRES not in os.environ:
        pytest.skip(f"{POSTGRES} is not set; scripts/start_test_postgres.sh starts a server")
    url = make_url(os.environ[POSTGRES])
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    yield url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest) -> str:
    """Address of an empty database."""
    return str(request.getfixturevalue(f"{request.param}_target"))


@pytest.fixture
def catalog(target: str) -> Iterator[Catalog]:
    with Catalog.open(target) as opened:
        yield opened


class Builder:
    """Small valid things with an id; anything else by keyword."""

    def scene(self, key: str = "scene-1", **changes: Any) -> Scene:
        box = changes.pop("box", None)
        scene = Scene(
            id=key,
            source=f"/data/{key}.tif",
            digest=f"digest of {key}",
            collection="naip",
            width=1000,
            height=800,
            bands=(Band(1, "red", "uint16"), Band(2, "nir", "uint16", nodata=0.0, scale=0.0001)),
            footprint=footprint_from_bbox(BBox(*box)) if box else None,
        )
        return replace(scene, **changes)

    def tile(self, key: str = "tile-1", scene: str = "scene-1", **changes: Any) -> Tile:
        tile = Tile(
            id=key,
            scene_id=scene,
            window=Window(0, 0, 256, 256),
            scale=1.0,
            digest=f"digest of {key}",
            phash=int.from_bytes(uuid.uuid5(uuid.NAMESPACE_OID, key).bytes[:8]),
        )
        return replace(tile, **changes)

    def vector(self, seed: int = 0, dim: int = 8) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)

    def tile_row(self, key: str = "tile-1", scene: str = "scene-1", **changes: Any) -> TileRow:
        return TileRow(self.tile(key, scene, **changes), self.vector(), "model a", b"\xff\xd8 jpeg of " + key.encode())

    def place(self, key: str = "place-1", lon: float = 10.0, lat: float = 50.0, **changes: Any) -> Place:
        return replace(Place(key, f"Name of {key}", "gazetteer", lon, lat), **changes)

    def document(self, key: str = "document-1", **changes: Any) -> Document:
        return replace(Document(key, f"/texts/{key}.md", f"digest of {key}", f"Title of {key}"), **changes)

    def passage(self, key: str = "passage-1", document: str = "document-1", **changes: Any) -> Passage:
        return replace(Passage(key, document, 0, f"Text of {key}."), **changes)

    def passage_row(self, key: str = "passage-1", document: str = "document-1", **changes: Any) -> PassageRow:
        return PassageRow(self.passage(key, document, **changes), self.vector(), "model t")


@pytest.fixture(scope="session")
def make() -> Builder:
    return Builder()


@pytest.fixture
def filled(catalog: Catalog, make: Builder) -> Catalog:
    """Two scenes with tiles, a gazetteer, a document; each from its own source."""
    for number in (1, 2):
        scene = make.scene(f"scene-{number}", box=(10 * number, 0, 10 * number + 5, 5))
        catalog.save_scene(scene, scene.source)
        catalog.save_tiles(scene.id, [make.tile_row(f"tile-{number}{letter}", scene.id) for letter in "abc"])
    catalog.save_places([make.place("place-1"), make.place("place-2", lon=-70.0)], "/data/places.geojson")
    catalog.save_document(make.document(), "/texts/document-1.md")
    catalog.save_passages([make.passage_row("passage-1", place_id="place-1"), make.passage_row("passage-2", ordinal=1)])
    return catalog
