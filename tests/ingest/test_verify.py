"""Verify finds every way in which sources, catalogue and index can disagree."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import archives
import numpy as np
import pytest
import rasterio

from rsrag.engine import Engine
from rsrag.indexes.base import Point
from rsrag.ingest.verify import VerifyReport
from rsrag.types import Scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return archives.sources(tmp_path / "sources")


@pytest.fixture
def engine(tmp_path: Path, folder: Path) -> Iterator[Engine]:
    with archives.open_archive(tmp_path / "archive") as opened:
        assert archives.ingest(opened, folder).exit_code == 0
        yield opened


def kinds(report: VerifyReport) -> list[tuple[str, str]]:
    """Kind and subject of every problem, files by their name."""
    assert report.ok == (not report.problems)
    assert report.exit_code == (3 if report.problems else 0)
    assert all(p.detail for p in report.problems)
    return [(p.kind, Path(p.subject).name) for p in report.problems]


def later(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


def test_an_archive_as_ingest_left_it(engine: Engine) -> None:
    report = engine.verify()
    assert kinds(report) == kinds(engine.verify(deep=True)) == []
    assert report.counts["tiles"] == report.counts["indexed tiles"] == 28
    assert report.counts["passages"] == report.counts["indexed passages"] > 0


def test_sources_that_are_gone(engine: Engine, folder: Path) -> None:
    (folder / "storm.md").unlink()
    assert kinds(engine.verify()) == [("source-missing", "storm.md")]


def test_sources_that_changed(engine: Engine, folder: Path) -> None:
    target = folder / "storm.md"
    target.write_text("# Blue Lagoon\n\nAnother text.\n", encoding="utf-8")
    assert kinds(engine.verify()) == [("source-changed", "storm.md")]
    archives.ingest(engine, folder)
    later(target)
    assert kinds(engine.verify()) == []


def test_a_change_that_keeps_size_and_time_is_found_by_the_deep_look(engine: Engine, folder: Path) -> None:
    target = folder / "storm.md"
    stat = target.stat()
    target.write_bytes(target.read_bytes().replace(b"1999", b"2001"))
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert kinds(engine.verify()) == []
    assert kinds(engine.verify(deep=True)) == [("source-changed", "storm.md")]


def test_sources_whose_ingest_did_not_finish(engine: Engine, folder: Path) -> None:
    record = engine.catalog.source(str(folder / "storm.md"))
    assert record is not None
    engine.catalog.finish_source(replace(record, status="partial"))
    assert kinds(engine.verify()) == [("source-partial", "storm.md")]


@pytest.mark.parametrize("collection", ["tiles", "passages"])
def test_what_the_index_lost(collection: str, engine: Engine) -> None:
    lost = sorted(engine.index.ids(collection))[:2]
    engine.index.delete(collection, lost)
    assert kinds(engine.verify()) == [("not-indexed", f"{collection} {i}") for i in lost]
    engine.reindex()
    assert kinds(engine.verify()) == []


def test_an_empty_index(engine: Engine) -> None:
    for collection in ("tiles", "passages"):
        engine.index.delete(collection, list(engine.index.ids(collection)))
    report = engine.verify()
    assert {kind for kind, _ in kinds(report)} == {"not-indexed"}
    assert len(report.problems) == report.counts["tiles"] + report.counts["passages"]
    assert report.counts["indexed tiles"] == 0


@pytest.mark.parametrize(("collection", "vector", "dim"), [("tiles", "image", 384), ("passages", "text", 256)])
def test_points_that_nobody_knows(collection: str, vector: str, dim: int, engine: Engine) -> None:
    stranger = str(uuid.UUID(int=7))
    engine.index.upsert(collection, [Point(stranger, {vector: np.eye(1, dim, dtype=np.float32)[0]}, {})])
    assert kinds(engine.verify()) == [("orphan", f"{collection} {stranger}")]
    engine.reindex()
    assert kinds(engine.verify()) == []


def test_scenes_without_tiles(engine: Engine, folder: Path) -> None:
    source = str(folder / "survey_20200531.tif")
    record = engine.catalog.source(source)
    assert record is not None
    engine.catalog.save_scene(Scene("bare", "/data/bare.tif", "digest", "c", 9, 9, ()), source)
    engine.catalog.finish_source(record)
    assert kinds(engine.verify()) == [("no-tiles", "bare.tif")]


def test_a_scene_of_blank_tiles_only_is_no_problem(engine: Engine, folder: Path) -> None:
    with rasterio.open(folder / "survey_20200531.tif") as dataset:
        profile, shape = dataset.profile, (dataset.count, dataset.height, dataset.width)
    with rasterio.open(folder / "blank_20200601.tif", "w", **{**profile, "nodata": 0}) as dataset:
        dataset.write(np.zeros(shape, dataset.dtypes[0]))
    assert archives.ingest(engine, folder).exit_code == 0
    assert [Path(scene.source).name for scene in engine.catalog.scenes() if not engine.catalog.tiles_of(scene.id)]
    assert kinds(engine.verify()) == []


def test_several_problems_are_told_at_once(engine: Engine, folder: Path) -> None:
    (folder / "storm.md").unlink()
    lost = min(engine.index.ids("tiles"))
    engine.index.delete("tiles", [lost])
    assert kinds(engine.verify()) == [("source-missing", "storm.md"), ("not-indexed", f"tiles {lost}")]
