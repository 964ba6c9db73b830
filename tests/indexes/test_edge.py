"""What only the embedded engine has: one owner, a manifest, forks, and an engine that says little about its faults."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge

from rsrag.errors import IndexFailure, SchemaMismatch, WorkspaceBusy
from rsrag.indexes import edge
from rsrag.indexes.base import CollectionSpec, IndexFilter, Point
from rsrag.indexes.edge import EdgeIndex
from rsrag.indexes.manifest import Manifest, read_manifest, write_manifest
from rsrag.types import BBox

SPEC = CollectionSpec("tiles", {"image": 16}, text="words", keywords=("kind",))
posix = pytest.mark.skipif(os.name == "nt", reason="signals and forks of POSIX")

# What a child process needs to write points that the parent can recognise.
PRELUDE = """
import os, sys, uuid
from pathlib import Path
import numpy as np
from rsrag.indexes.base import CollectionSpec, Point
from rsrag.indexes.edge import EdgeIndex
SPEC = CollectionSpec("tiles", {"image": 16}, text="words", keywords=("kind",))
def points(first, last):
    return [Point(str(uuid.UUID(int=n + 1)), {"image": np.eye(16, dtype=np.float32)[n % 16]}, {"n": n}, text="castle")
            for n in range(first, last)]
folder = Path(sys.argv[1])
"""


def _points(first: int, last: int) -> list[Point]:
    eye = np.eye(16, dtype=np.float32)
    return [
        Point(str(uuid.UUID(int=n + 1)), {"image": eye[n % 16]}, {"n": n}, text="castle") for n in range(first, last)
    ]


def _child(folder: Path, code: str) -> subprocess.Popen[str]:
    script = PRELUDE + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.kill()
    child.communicate()


@pytest.fixture
def index(folder: Path) -> EdgeIndex:
    made = EdgeIndex(folder / "index")
    made.ensure(SPEC)
    return made


# --- one owner ------------------------------------------------------------------------------------------------------


def test_a_second_process_is_told_who_has_it(folder: Path) -> None:
    child = _child(
        folder, "index = EdgeIndex(folder); index.ensure(SPEC); print('ready', flush=True); sys.stdin.read()"
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        with pytest.raises(WorkspaceBusy) as caught:
            EdgeIndex(folder)
        assert str(folder) in str(caught.value)
        assert f"pid {child.pid} on " in str(caught.value)
        assert caught.value.hint
    finally:
        _end(child)
    assert (folder / ".lock").exists()
    EdgeIndex(folder).close()
    assert f"pid {os.getpid()} on " in (folder / ".lock").read_text()


def test_a_second_index_of_this_process_is_refused_too(index: EdgeIndex) -> None:
    with pytest.raises(WorkspaceBusy, match=f"pid {os.getpid()} "):
        EdgeIndex(index.path)
    index.close()
    index.close()
    EdgeIndex(index.path).close()


def test_an_index_left_without_closing_lets_go(folder: Path) -> None:
    made = EdgeIndex(folder)
    made.ensure(SPEC)
    made.upsert("tiles", _points(0, 10))
    del made
    again = EdgeIndex(folder)
    assert again.count("tiles") == 10
    again.close()


def test_a_path_that_is_a_file(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(IndexFailure, match="cannot create"):
        EdgeIndex(folder / "file")


def test_a_full_disk_is_told_before_the_engine_meets_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_room = edge.shutil.disk_usage

    class Full:
        free = 300_000

    def full(full: bool) -> None:
        monkeypatch.setattr(edge.shutil, "disk_usage", (lambda _: Full) if full else with_room)

    index = EdgeIndex(folder)
    full(True)
    with pytest.raises(IndexFailure, match=r"only 0\.3 MB are free .*needs 17 MB"):
        index.ensure(SPEC)
    full(False)
    index.ensure(SPEC)
    index.upsert("tiles", _points(0, 3))
    full(True)
    with pytest.raises(IndexFailure, match="MB are free"):
        index.upsert("tiles", _points(3, 6))
    assert index.count("tiles") == 3
    index.close()
    again = EdgeIndex(folder)
    with pytest.raises(IndexFailure, match="MB are free"):
        again.count("tiles")
    again.close()
    full(False)
    with contextlib.closing(EdgeIndex(folder)) as index:
        assert index.count("tiles") == 3


@posix
def test_a_fork_is_refused_instead_of_hanging(folder: Path) -> None:
    child = _child(
        folder,
        """
        from rsrag.errors import IndexFailure
        index = EdgeIndex(folder)
        index.ensure(SPEC)
        index.upsert("tiles", points(0, 100))
        pid = os.fork()
        if pid == 0:
            refused = 0
            for call in (lambda: index.count("tiles"), lambda: index.payloads("tiles", []), index.flush,
                         lambda: index.search("tiles", "image", np.ones(16, np.float32), 3),
                         lambda: index.upsert("tiles", points(0, 1)), lambda: next(index.ids("tiles"))):
                try:
                    call()
                except IndexFailure as error:
                    refused += "fork" in str(error)
            index.close()
            os._exit(refused)
        status = os.waitpid(pid, 0)[1]
        print(os.waitstatus_to_exitcode(status), index.count("tiles"), flush=True)
        """,
    )
    try:
        assert child.communicate(timeout=60)[0].split() == ["6", "100"]
    finally:
        _end(child)


# --- nothing acknowledged is lost -----------------------------------------------------------------------------------


@posix
def test_kill_after_an_acknowledged_write_loses_nothing(folder: Path) -> None:
    child = _child(
        folder,
        """
        index = EdgeIndex(folder)
        index.ensure(SPEC)
        for first in range(0, 100_000, 300):
            index.upsert("tiles", points(first, first + 300))
            print(first + 300, flush=True)
        """,
    )
    try:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(4)][-1]
        child.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in child.stdout.read().splitlines() if line)])
    finally:
        _end(child)
    index = EdgeIndex(folder)
    present = {uuid.UUID(i).int - 1 for i in index.ids("tiles")}
    assert set(range(acknowledged)) <= present
    assert len(index.search_text("tiles", "castle", acknowledged)) == acknowledged
    index.close()


@posix
def test_kill_after_a_deletion_is_no_false_alarm(folder: Path) -> None:
    child = _child(
        folder,
        """
        index = EdgeIndex(folder)
        index.ensure(SPEC)
        index.upsert("tiles", points(0, 500))
        index.flush()
        index.delete("tiles", [p.id for p in points(0, 200)])
        print("done", flush=True)
        sys.stdin.read()
        """,
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "done\n"
        child.kill()
    finally:
        _end(child)
    index = EdgeIndex(folder)
    assert index.count("tiles") == 300
    index.close()


def _damage_log(collection: Path) -> None:
    """50 bytes of 0xff in the middle of what the write-ahead log holds."""
    log = max((collection / "shard" / "wal").glob("*-*"), key=lambda p: len(p.read_bytes().rstrip(b"\0")))
    held = len(log.read_bytes().rstrip(b"\0"))
    with log.open("r+b") as file:
        file.seek(held // 2)
        file.write(b"\xff" * 50)


@posix
def test_a_damaged_log_is_noticed_and_reindexing_is_possible(folder: Path) -> None:
    child = _child(
        folder,
        """
        index = EdgeIndex(folder)
        index.ensure(SPEC)
        for first in range(0, 2000, 250):
            index.upsert("tiles", points(first, first + 250))
        os._exit(0)
        """,
    )
    child.communicate(timeout=60)
    _damage_log(folder / "tiles")
    index = EdgeIndex(folder)
    with pytest.raises(IndexFailure, match=r"lost points: \d+ of 2000") as caught:
        index.count("tiles")
    assert "rsrag reindex" in str(caught.value)
    with pytest.raises(IndexFailure, match="lost points"):
        index.ensure(SPEC)
    index.drop("tiles")
    index.ensure(SPEC)
    index.upsert("tiles", _points(0, 2000))
    assert index.count("tiles") == 2000
    index.close()


def test_the_manifest_says_what_is_there(index: EdgeIndex) -> None:
    folder = index.path / "tiles"
    assert read_manifest(folder) == Manifest(SPEC, 0)
    index.upsert("tiles", _points(0, 300))
    index.upsert("tiles", _points(200, 400))
    assert read_manifest(folder).points == 400
    index.delete("tiles", [p.id for p in _points(0, 100)])
    assert read_manifest(folder).points == 300
    index.close()
    write_manifest(folder, Manifest(SPEC, 301))
    with pytest.raises(IndexFailure, match="300 of 301"):
        EdgeIndex(index.path).count("tiles")


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"points": 3', '{"points": "x"}'])
def test_a_manifest_that_cannot_be_read(index: EdgeIndex, content: str | None) -> None:
    index.close()
    path = index.path / "tiles" / "manifest.json"
    path.unlink() if content is None else path.write_text(content)
    again = EdgeIndex(index.path)
    with pytest.raises(IndexFailure, match=r"manifest\.json.*rsrag reindex"):
        again.ensure(SPEC)
    again.drop("tiles")
    again.ensure(SPEC)
    again.close()


@pytest.mark.parametrize("change", [{"schema": 99}, {"vectors": {"image": "wide"}}, {"keywords": None}])
def test_another_schema_is_refused(index: EdgeIndex, change: dict[str, object]) -> None:
    index.close()
    path = index.path / "tiles" / "manifest.json"
    stored = json.loads(path.read_text())
    stored["spec"] |= change
    path.write_text(json.dumps(stored))
    again = EdgeIndex(index.path)
    with pytest.raises(SchemaMismatch, match="rsrag reindex"):
        again.count("tiles")
    again.close()


def test_what_an_interrupted_creation_left_is_cleared(folder: Path) -> None:
    half = folder / ".creating-tiles" / "shard"
    half.mkdir(parents=True)
    (half / "edge_config.json").write_text("{")
    index = EdgeIndex(folder)
    assert not half.exists()
    index.ensure(SPEC)
    assert index.count("tiles") == 0
    index.close()


# --- the engine's faults --------------------------------------------------------------------------------------------


def test_a_shard_that_cannot_be_loaded(index: EdgeIndex) -> None:
    index.upsert("tiles", _points(0, 10))
    index.close()
    (index.path / "tiles" / "shard" / "edge_config.json").write_text("{")
    again = EdgeIndex(index.path)
    with pytest.raises(IndexFailure, match=r"opening .*tiles") as caught:
        again.count("tiles")
    assert caught.value.__cause__ is not None and "rsrag reindex" in str(caught.value)
    again.close()


def test_bare_exceptions_and_panics_become_ours() -> None:
    class PanicException(BaseException):
        """Named like the one that the binding raises, which no Python name leads to."""

    for error in (Exception("shard"), TypeError("argument"), ValueError("uuid"), PanicException("index out of bounds")):
        with pytest.raises(IndexFailure, match=f"doing it.*{error}"), edge._engine("doing it"):
            raise error
    for passing in (KeyboardInterrupt(), WorkspaceBusy("held")):
        with pytest.raises(type(passing)), edge._engine("doing it"):
            raise passing


def test_the_engine_still_has_the_traps_that_are_guarded(folder: Path) -> None:
    """If one of these fails, the engine got better and its guard in schema.py or edge.py may go."""
    shard = qdrant_edge.EdgeShard.create(
        str(folder),
        qdrant_edge.EdgeConfig(vectors={"v": qdrant_edge.EdgeVectorParams(2, qdrant_edge.Distance.Cosine)}),
    )
    make, upsert = qdrant_edge.Point, qdrant_edge.UpdateOperation.upsert_points
    one, two = (str(uuid.UUID(int=n)) for n in (1, 2))
    shard.update(upsert([make(one, {"v": [float("nan"), 1.0]}, {}), make(two, {"v": [0.0, 0.0]}, {})]))
    assert shard.count(qdrant_edge.CountRequest()) == 2, "NaN and zero are written"
    for _ in range(30):  # in an order that differs from batch to batch
        good = [make(str(uuid.uuid4()), {"v": [1.0, 0.0]}, {}) for _ in range(6)]
        with pytest.raises(Exception, match="dimension") as caught:
            shard.update(upsert([*good, make(str(uuid.uuid4()), {"v": [1.0]}, {})]))
        assert type(caught.value) is Exception
    assert shard.count(qdrant_edge.CountRequest()) > 2, "batches are written in part"
    with pytest.raises(TypeError):
        qdrant_edge.HasIdCondition([one])
    both = qdrant_edge.FieldCondition("n", match=qdrant_edge.MatchAny(["a"]), range=qdrant_edge.RangeFloat(gte=5))
    shard.update(qdrant_edge.UpdateOperation.set_payload([one], {"n": "a"}))
    assert shard.count(qdrant_edge.CountRequest(filter=qdrant_edge.Filter(must=[both]))) == 1, "one of two conditions"
    shard.close()


def test_filtered_keys_are_indexed_once_it_pays(folder: Path) -> None:
    spec = CollectionSpec("tiles", {"image": 16}, keywords=("kind",), numbers=("facts.mean red",))
    always = {f"_where.{side}" for side in ("west", "south", "east", "north", "centre")} | {"_when.start", "_when.end"}
    where = IndexFilter(ranges={"facts.mean red": (100, 109)}, match={"kind": ["b", "c"]}, box=BBox(170, 0, -170, 9))

    def has(index: EdgeIndex) -> set[str]:
        return set(index._collection("tiles").shard.info().payload_schema)

    def write(first: int, last: int) -> None:
        eye = np.eye(16, dtype=np.float32)
        index.upsert(
            "tiles",
            [
                Point(
                    str(uuid.UUID(int=n + 1)),
                    {"image": eye[n % 16]},
                    {"kind": "abc"[n % 3], "facts": {"mean red": n}},
                    box=BBox(179, 0, -179, 9),
                )
                for n in range(first, last)
            ],
        )

    index = EdgeIndex(folder)
    index.ensure(spec)
    write(0, edge.INDEX_FROM - 1)
    assert has(index) == set() and index.count("tiles", where) == 7
    write(edge.INDEX_FROM - 1, edge.INDEX_FROM)
    assert has(index) == always | {"kind", 'facts."mean red"'} and index.count("tiles", where) == 7
    index.close()
    index = EdgeIndex(folder)
    index.ensure(replace(spec, numbers=("facts.mean red", "gsd")))
    assert has(index) == always | {"kind", 'facts."mean red"', "gsd"}
    assert index.count("tiles", where) == 7
    index.close()


def test_writes_from_threads_are_put_in_order(index: EdgeIndex) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: index.upsert("tiles", _points(n * 100, n * 100 + 150)), range(8)))
    assert index.count("tiles") == 850
    assert read_manifest(index.path / "tiles").points == 850
    index.close()


def test_optimize_builds_a_graph_and_keeps_every_point(folder: Path) -> None:
    index = EdgeIndex(folder)
    index.ensure(CollectionSpec("wide", {"image": 1024}))
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(2700, 1024)).astype(np.float32)
    index.upsert("wide", [Point(str(uuid.UUID(int=n + 1)), {"image": v}, {}) for n, v in enumerate(vectors)])
    segments = len(list((folder / "wide" / "shard" / "segments").glob("*")))
    index.close()
    index = EdgeIndex(folder)
    index.optimize()
    graphs = list((folder / "wide" / "shard").rglob("graph*.bin"))
    assert graphs, f"no graph after optimize, {segments} segments before"
    assert index.count("wide") == 2700
    hits = index.search("wide", "image", vectors[5], 1)
    assert hits[0].id == str(uuid.UUID(int=6)) and hits[0].score == pytest.approx(1.0, abs=1e-5)
    index.close()
