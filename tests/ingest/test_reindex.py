"""What is brought in line after a crash, and what another ingest is writing meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import archives
import numpy as np
import pytest

from rsrag.engine import Engine
from rsrag.indexes.base import Point
from rsrag.ingest.digest import make_id
from rsrag.ingest.reindex import repair


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    archives.sources(tmp_path / "sources")
    with archives.open_archive(tmp_path / "archive") as opened:
        archives.ingest(opened, tmp_path / "sources")
        yield opened


class Behind:
    """A catalogue that lists ids as they were before another ingest committed, for the first time asked."""

    def __init__(self, catalog: Any, late: set[str]) -> None:
        self._catalog, self._late = catalog, late

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def counts(self) -> dict[str, int]:
        return {**self._catalog.counts(), "tiles": 0, "passages": 0}

    def tile_ids(self) -> Iterator[str]:
        return (key for key in self._catalog.tile_ids() if key not in self._late)

    def passage_ids(self) -> Iterator[str]:
        return (key for key in self._catalog.passage_ids() if key not in self._late)


def test_what_another_ingest_committed_meanwhile_is_no_stray(engine: Engine) -> None:
    before = archives.contents(engine)
    late = {*sorted(engine.catalog.tile_ids())[:3], *sorted(engine.catalog.passage_ids())[:2]}
    repair(Behind(engine.catalog, late), engine.index)  # type: ignore[arg-type]
    assert archives.contents(engine) == before


def test_strays_go(engine: Engine, tmp_path: Path) -> None:
    engine.catalog.remove_source(str(tmp_path / "sources" / "survey_20200531.tif"))
    engine.catalog.remove_source(str(tmp_path / "sources" / "storm.md"))
    assert not engine.verify().ok
    repair(engine.catalog, engine.index)
    assert {p.kind for p in engine.verify().problems} == set()


class Shared:
    """An index that others may write to as well."""

    shared = True

    def __init__(self, index: Any) -> None:
        self._index = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)


@pytest.mark.parametrize(("running", "shared"), [(True, True), (True, False), (False, True)])
def test_what_another_ingest_has_indexed_but_not_committed_stays(
    engine: Engine, tmp_path: Path, running: bool, shared: bool
) -> None:
    catalog, index = engine.catalog, engine.index
    image, text = (catalog.source(str(tmp_path / "sources" / name)) for name in ("survey_20200531.tif", "storm.md"))
    assert image is not None and text is not None
    other = catalog.begin_run("ingest", [])
    catalog.finish_sources([replace(source, status="partial", run_id=other) for source in (image, text)])
    if not running:
        catalog.finish_run(other, done=0, skipped=0, failed=0, status="failed")
    scene, document = catalog.scenes_from(image.path)[0], make_id("document", text.digest)
    known = next(iter(catalog.tile_ids_of(scene.id)))
    vectors = {"image": index.vectors("tiles", "image", [known])[known]}
    tile, passage = make_id("tile", "of another run"), make_id("passage", "of another run")
    index.upsert("tiles", [Point(tile, vectors, {"scene": scene.id})])
    index.upsert("passages", [Point(passage, {}, {"document": document}, text="words")])
    repair(catalog, Shared(index) if shared else index)  # type: ignore[arg-type]
    kept = running and shared
    assert (tile in set(index.ids("tiles")), passage in set(index.ids("passages"))) == (kept, kept)


def test_tiles_of_earlier_versions_get_a_layout(engine: Engine) -> None:
    ids = sorted(engine.catalog.tile_ids())
    before = engine.catalog.layouts(ids)
    assert len(before) == len(ids)
    assert any(cells.any() for cells in before.values())
    with engine.catalog._writing("forget layouts") as connection:
        connection.exec_driver_sql("DELETE FROM layouts")
    engine.reindex()
    after = engine.catalog.layouts(ids)
    assert list(after) == ids
    for identity in ids:  # of the thumbnail, which is a JPEG
        one, other = before[identity].astype(float), after[identity].astype(float)
        assert one @ other > 0.7 * np.linalg.norm(one) * np.linalg.norm(other)
