"""What is brought in line after a crash, and what another ingest is writing meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archives
import pytest

from rsrag.engine import Engine
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
