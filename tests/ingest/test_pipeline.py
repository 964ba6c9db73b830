"""Ingest as a whole: rerun, change, deletion, damage, interruption and kill -9 at any point."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import archives
import numpy as np
import pytest
from rasters import write_tiff

import rsrag
from rsrag.engine import Engine
from rsrag.errors import UsageError
from rsrag.ingest.summary import IngestOptions
from rsrag.progress import Silent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return archives.sources(tmp_path / "sources")


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with archives.open_archive(tmp_path / "archive") as opened:
        yield opened


def test_everything_arrives(engine: Engine, folder: Path) -> None:
    summary = archives.ingest(engine, folder)
    assert summary.errors == ()
    assert (summary.done, summary.places, summary.exit_code) == (4, 3, 0)
    counts = engine.catalog.counts()
    # 96 pixels: 3×3 tiles of 32 at scale 1, 2×2 at scale 2, one at scale 4 (and twice that for two scenes).
    assert counts["tiles"] == summary.tiles == 28
    assert engine.index.count("tiles") == counts["tiles"]
    assert engine.index.count("passages") == counts["passages"] == summary.passages
    dates = {s.time.start.date().isoformat() for s in engine.catalog.scenes() if s.time and s.time.start}
    assert dates == {"2020-05-31", "2021-06-02"}
    tile = next(iter(engine.catalog.tiles_of(engine.catalog.scenes()[0].id)))
    facts = {f.name: (f.value, f.unit) for f in tile.facts}
    assert facts["valid_fraction"] == (1.0, "1")
    assert facts["area_km2"][1] == "km2"
    assert engine.thumbnail(tile.id)


def test_a_file_that_fails_keeps_its_reason(engine: Engine, tmp_path: Path) -> None:
    import cv2

    picture = tmp_path / "chip.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for _ in range(2):  # told once however often it is tried
        assert engine.ingest([picture]).exit_code == 1
        assert [(e.source, e.code) for e in engine.catalog.errors()] == [(str(picture), "BadFootprint")]
    assert engine.ingest([picture], options=IngestOptions(allow_unlocated=True)).exit_code == 0
    assert engine.catalog.errors() == []


def test_places_of_json_lines_are_there_before_texts_that_name_them(engine: Engine, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "a.md").write_text("---\nplace: Lake Blue\n---\nThe mill was built in 1834.\n", encoding="utf-8")
    row = {"text": "Lake Blue is deep.", "place": "Lake Blue", "lat": 46.0, "lon": 7.0}
    (sources / "z.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    engine.ingest([sources])
    found = engine.search("When was the mill built?", kind="passage")
    assert found[0].place is not None and found[0].place.name == "Lake Blue"


def test_rerun_is_a_no_op(engine: Engine, folder: Path) -> None:
    archives.ingest(engine, folder)
    before = archives.contents(engine)
    again = archives.ingest(engine, folder)
    assert (again.done, again.skipped, again.tiles, again.passages, again.exit_code) == (0, 4, 0, 0, 0)
    assert archives.contents(engine) == before


def test_ids_do_not_depend_on_the_workspace(tmp_path: Path, folder: Path) -> None:
    found = []
    for name in ("one", "two"):
        with archives.open_archive(tmp_path / name) as engine:
            archives.ingest(engine, folder)
            found.append(archives.contents(engine))
    assert found[0] == found[1]


def test_changed_source_replaces_its_tiles(engine: Engine, folder: Path) -> None:
    archives.ingest(engine, folder)
    old = {s.source: s.id for s in engine.catalog.scenes()}
    target = folder / "survey_20200531.tif"
    archives.scene(target, 7)
    os.utime(target, ns=(time.time_ns(), time.time_ns() + 10**9))
    summary = archives.ingest(engine, folder)
    assert (summary.done, summary.skipped) == (1, 3)
    new = {s.source: s.id for s in engine.catalog.scenes()}
    assert set(new) == set(old)
    assert new[str(target)] != old[str(target)]
    assert engine.verify(deep=True).ok
    assert engine.catalog.counts()["tiles"] == 28


def test_touched_source_with_the_same_content_keeps_its_tiles(engine: Engine, folder: Path) -> None:
    archives.ingest(engine, folder)
    before = archives.contents(engine)
    os.utime(folder / "survey_20200531.tif", ns=(time.time_ns(), time.time_ns() + 10**9))
    assert archives.ingest(engine, folder).tiles == 0
    assert archives.contents(engine) == before


def test_deleted_source_takes_its_tiles_and_passages_along(engine: Engine, folder: Path) -> None:
    archives.ingest(engine, folder)
    (folder / "survey_20200531.tif").unlink()
    (folder / "storm.md").unlink()
    summary = archives.ingest(engine, folder)
    assert summary.removed == 2
    assert engine.index.count("tiles") == engine.catalog.counts()["tiles"] == 14
    assert not any("storm" in p.text for p in engine.catalog.passages(list(engine.catalog.passage_ids())).values())
    assert engine.verify().ok


def test_bad_items_are_recorded_and_the_rest_goes_on(engine: Engine, folder: Path) -> None:
    (folder / "empty.tif").touch()
    (folder / "page.tif").write_text("<!DOCTYPE html><html><body>Not found</body></html>", encoding="utf-8")
    (folder / "virtual.tif").write_text("<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>", encoding="utf-8")
    summary = archives.ingest(engine, folder)
    assert (summary.done, summary.failed, summary.exit_code) == (4, 3, 3)
    codes = {Path(e.source).name: e.code for e in summary.errors}
    assert codes == {"empty.tif": "UnreadableSource", "page.tif": "UnreadableSource", "virtual.tif": "RefusedSource"}
    assert {Path(e.source).name for e in engine.catalog.errors()} == set(codes)


def test_nothing_usable_is_exit_1_and_nothing_named_is_usage(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    assert engine.ingest([tmp_path / "empty.tif"]).exit_code == 1
    write_tiff(tmp_path / "blank.tif", np.full((3, 64, 64), 7, np.uint8), nodata=7)
    blank = engine.ingest([tmp_path / "blank.tif"], options=IngestOptions(allow_unlocated=True))
    assert (blank.done, blank.tiles, blank.tiles_blank, blank.exit_code) == (1, 0, 5, 1)  # at two scales
    assert engine.ingest([tmp_path / "blank.tif"], options=IngestOptions(allow_unlocated=True)).exit_code == 0  # known
    with pytest.raises(UsageError):
        engine.ingest()


def test_other_options_make_other_tiles(engine: Engine, folder: Path) -> None:
    archives.ingest(engine, folder)
    summary = archives.ingest(engine, folder, scales="1")
    assert summary.done == 2
    assert engine.catalog.counts()["tiles"] == 18
    assert engine.verify().ok


def test_a_refused_source_leaves_nothing_behind_and_takes_nothing_away(engine: Engine, folder: Path) -> None:
    archives.ingest(engine, folder)
    before = archives.contents(engine)
    (folder / "columns.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with rsrag.open(engine.path.parent / "strict", create=True, tile_size=archives.TILE, max_tiles=2) as strict:
        refused = archives.ingest(strict, folder)
        assert {e.code for e in refused.errors} == {"SourceTooLarge", "BadKnowledge"}
        assert strict.verify().ok
    again = archives.ingest(engine, folder)
    assert [e.code for e in again.errors] == ["BadKnowledge"]
    assert archives.contents(engine) == before
    assert engine.verify().ok


def test_refusing_a_scene_that_was_taken_before_keeps_its_tiles(tmp_path: Path, folder: Path) -> None:
    with archives.open_archive(tmp_path / "kept") as engine:
        archives.ingest(engine, folder)
        before = archives.contents(engine)
    with rsrag.open(tmp_path / "kept", tile_size=archives.TILE, overlap=0.5, max_tiles=3) as engine:
        refused = engine.ingest([folder])
        assert {e.code for e in refused.errors} == {"SourceTooLarge"}
        assert archives.contents(engine) == before


def test_reindex_restores_the_index(engine: Engine, folder: Path) -> None:
    archives.ingest(engine, folder)
    before = archives.contents(engine)["index"]
    engine.index.drop("tiles")
    assert not engine.verify().ok
    engine.reindex()
    assert archives.contents(engine)["index"] == before
    assert engine.verify().ok


def test_a_rerun_repairs_what_a_crash_left_between_index_and_catalogue(engine: Engine, folder: Path) -> None:
    archives.ingest(engine, folder)
    before = archives.contents(engine)
    engine.index.delete("tiles", sorted(engine.catalog.tile_ids())[:5])
    engine.index.delete("passages", sorted(engine.catalog.passage_ids())[:2])
    archives.ingest(engine, folder)
    assert archives.contents(engine) == before


class Interrupting(Silent):
    """Presses Ctrl-C after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path, folder: Path, steps: int) -> None:
    with archives.open_archive(tmp_path / "whole") as engine:
        archives.ingest(engine, folder)
        whole = archives.contents(engine)
    with archives.open_archive(tmp_path / "torn") as engine:
        torn = engine.ingest([folder], progress=Interrupting(steps))
        assert torn.interrupted
        assert torn.exit_code == 130
        archives.ingest(engine, folder)
        assert archives.contents(engine) == whole


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
import archives
from rsrag.ingest import scenes
from rsrag.progress import Silent

scenes.BATCH, scenes._WRITE = 4, 4
left = int(sys.argv[4])

def lethal(method):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*args, **kwargs)
    return call

with archives.open_archive(Path(sys.argv[1])) as engine:
    for store, names in (
        (engine.index, ("upsert", "delete", "flush")),
        (engine.catalog, ("save_scene", "save_tiles_of_scenes", "save_places", "save_document", "save_passages",
                          "finish_sources", "remove_source", "finish_run")),
    ):
        for name in names:
            object.__setattr__(store, name, lethal(getattr(store, name)))
    archives.ingest(engine, Path(sys.argv[2]))
print("done", flush=True)
"""
KILLS, IN_A_ROW, WRITES = 20, 4, 20
"""Kills in all; most of one archive in a row; before which write at the latest (an ingest makes about forty)."""


def test_kill_9_at_twenty_points_and_rerun(tmp_path: Path, folder: Path, root: Path) -> None:
    """Nothing acknowledged is lost, and a rerun gives what an uninterrupted run gives.

    Each archive is killed before random writes, four times in a row or until an ingest finishes first, then ingested
    again and compared; new archives are begun until twenty processes have been killed.
    """
    with archives.open_archive(tmp_path / "whole") as engine:
        archives.ingest(engine, folder)
        whole = archives.contents(engine)
    rng = random.Random(20)
    killed = 0
    for number in range(KILLS):
        torn = tmp_path / f"torn-{number}"
        for _ in range(min(IN_A_ROW, KILLS - killed)):
            command = [sys.executable, "-c", CHILD, str(torn), str(folder), str(root / "tests" / "support")]
            child = subprocess.run([*command, str(rng.randint(1, WRITES))], capture_output=True, text=True)
            assert child.returncode in (0, -signal.SIGKILL), child.stderr
            killed += child.returncode == -signal.SIGKILL
            if child.returncode == 0:
                break
        with archives.open_archive(torn) as engine:
            archives.ingest(engine, folder)
            assert archives.contents(engine) == whole
            assert engine.verify(deep=True).ok
        if killed == KILLS:
            break
    assert killed == KILLS


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_whose_name_is_no_text_is_an_error_of_that_file(engine: Engine, tmp_path: Path) -> None:
    archives.scene(tmp_path / "in.tif", size=32).rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tif"))
    archives.scene(tmp_path / "b.tif", 1, size=32)
    for _ in range(2):
        summary = engine.ingest([tmp_path])
        assert (summary.failed, [e.code for e in summary.errors]) == (1, ["UnreadableSource"])
    assert [e.source for e in engine.catalog.errors()] == [str(tmp_path / "caf\\udce9.tif")]
    assert engine.catalog.counts()["scenes"] == 1
