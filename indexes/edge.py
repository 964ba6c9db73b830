"""The embedded engine: Qdrant Edge in this process, one directory per collection.

The engine's traps are met here and nowhere else; docs/indexes.md lists them. Its calls hold the interpreter, so threads
give no speed; writes from several threads are put in order by a lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as engine

from rsrag.errors import IndexFailure, RsragError
from rsrag.indexes.base import CollectionSpec, IndexFilter, Payload, Point, Scored, Vector
from rsrag.indexes.bm25 import Bm25
from rsrag.indexes.filters import build, matches_nothing
from rsrag.indexes.lock import FileLock
from rsrag.indexes.manifest import FILE_NAME, Manifest, read_manifest, sync_directory, write_manifest
from rsrag.indexes.planner import Plan, Planner
from rsrag.indexes.schema import check_id, check_name, check_vector, indexed_fields, merged, public, rows

BATCH = 256
"""Points per engine call: 14 ms during which no other Python thread runs."""
INDEX_FROM = 1000
"""Points from which filtered payload keys get an index. Below, reading every payload takes less than 20 ms; making an
index flushes everything, which for twenty keys takes seconds on a slow disk."""
_PAGE = 1000
_LOCK_FILE = ".lock"
_SHARD = "shard"
_CREATING, _DROPPING = ".creating-", ".dropping-"
_ROOM = 16 * 2**20
"""Bytes that must be free: the engine maps files into memory, and a full disk would end the process without a word."""
_REINDEX = "`rsrag reindex` rebuilds it from the catalogue"


@contextlib.contextmanager
def _engine(doing: str) -> Iterator[None]:
    """The one place where engine errors become ours: they are bare Exceptions, and panics not even that."""
    try:
        yield
    except RsragError:
        raise
    except Exception as error:
        raise IndexFailure(f"{doing}: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise IndexFailure(f"{doing}: the engine panicked: {error}", hint=_REINDEX) from error


class _EdgeDialect:
    """Filter conditions in the engine's classes. ``HasIdCondition`` takes a set and nothing else."""

    def between(self, path: str, least: float | None, most: float | None) -> Any:
        return engine.FieldCondition(path, range=engine.RangeFloat(gte=least, lte=most))

    def any_of(self, path: str, values: Sequence[str]) -> Any:
        return engine.FieldCondition(path, match=engine.MatchAny(list(values)))

    def has_id(self, ids: Sequence[str]) -> Any:
        return engine.HasIdCondition(set(ids))

    def has_vector(self, name: str) -> Any:
        return engine.HasVectorCondition(name)

    def group(self, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()) -> Any:
        return engine.Filter(must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None)


_DIALECT = _EdgeDialect()


def _need_room(folder: Path) -> None:
    """Raise :class:`IndexFailure` where the disk is as good as full."""
    with _engine(f"looking at {folder}"):
        free = shutil.disk_usage(folder).free
    if free < _ROOM:
        raise IndexFailure(
            f"only {free / 1e6:.1f} MB are free on the disk of {folder}",
            hint=f"the embedded index needs {_ROOM / 1e6:.0f} MB to work in",
        )


class _Collection:
    """An open shard with its manifest. ``points`` is at most the true number; exact after ``flush``."""

    def __init__(self, folder: Path, shard: Any, manifest: Manifest) -> None:
        self.folder = folder
        self.shard = shard
        self.spec = manifest.spec
        self.points = manifest.points
        self.indexed = False
        self._saved: Manifest | None = None
        self.bm25 = Bm25(manifest.spec.average_words)

    @classmethod
    def create(cls, folder: Path, spec: CollectionSpec) -> None:
        """Make the whole collection beside its place, then move it there: it exists complete or not at all."""
        fresh = folder.with_name(_CREATING + folder.name)
        dense = {
            name: engine.EdgeVectorParams(size=size, distance=engine.Distance.Cosine)
            for name, size in spec.vectors.items()
        }
        sparse = {spec.text: engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)} if spec.text else None
        config = engine.EdgeConfig(vectors=dense, sparse_vectors=sparse, wal_enabled=True)
        _need_room(folder.parent)
        with _engine(f"creating {folder}"):
            shutil.rmtree(fresh, ignore_errors=True)
            (fresh / _SHARD).mkdir(parents=True)
            shard = engine.EdgeShard.create(str(fresh / _SHARD), config)
            shard.flush()
            shard.close()
            write_manifest(fresh, Manifest(spec, 0))
            fresh.rename(folder)
            sync_directory(folder.parent)

    @classmethod
    def load(cls, folder: Path) -> _Collection:
        """Open and compare with the manifest. No configuration is passed: the engine keeps the one it was made with.

        Raises:
            IndexFailure: the engine cannot open it, or found fewer points than were acknowledged.
        """
        manifest = read_manifest(folder)
        _need_room(folder)
        try:
            with _engine(f"opening {folder}"):
                shard = engine.EdgeShard.load(str(folder / _SHARD))
                found = int(shard.count(engine.CountRequest(exact=True)))
        except IndexFailure as error:
            raise IndexFailure(error.message, hint=_REINDEX) from error
        if found < manifest.points:
            shard.close()
            raise IndexFailure(f"{folder} has lost points: {found} of {manifest.points} are readable", hint=_REINDEX)
        collection = cls(folder, shard, replace(manifest, points=found))
        collection._saved = manifest
        return collection

    def save(self) -> None:
        """Bring the manifest up to date."""
        manifest = Manifest(self.spec, self.points)
        if manifest != self._saved:
            write_manifest(self.folder, manifest)
            self._saved = manifest

    def index_payload(self) -> None:
        """Give the filtered keys that have none their index."""
        kinds = {"keyword": engine.KeywordIndexParams, "float": engine.FloatIndexParams, "geo": engine.GeoIndexParams}
        with _engine(f"indexing payload of {self.spec.name!r}"):
            present = self.shard.info().payload_schema
            for path, kind in indexed_fields(self.spec).items():
                if path not in present:
                    self.shard.update(engine.UpdateOperation.create_field_index(path, kinds[kind]()))
        self.indexed = True

    def count(self, where: Any = None, *, exact: bool = True) -> int:
        with _engine(f"counting in {self.spec.name!r}"):
            return int(self.shard.count(engine.CountRequest(exact=exact, filter=where)))

    def flush(self) -> None:
        with _engine(f"flushing {self.spec.name!r}"):
            self.shard.flush()
        self.points = self.count()
        self.save()

    def close(self) -> None:
        """Release the shard, which flushes by itself: some fifty system calls, so once is enough."""
        self.points = self.count()
        self.save()
        with _engine(f"closing {self.spec.name!r}"):
            self.shard.close()

    def query(self, request: Any) -> list[Scored]:
        with _engine(f"searching {self.spec.name!r}"):
            found = self.shard.query(request)
        hits = [Scored(str(point.id), float(point.score)) for point in found]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))


class EdgeIndex:
    """A :class:`~rsrag.indexes.base.VectorIndex` in a directory, owned by one process at a time.

    Args:
        path: the directory; created if need be.
        planner: when searches use the graph.
        index_from: points from which filtered payload keys get an index.

    Raises:
        WorkspaceBusy: another process, or another index of this process, has it.
        IndexFailure: the directory cannot be written or locked.
    """

    shared = False

    def __init__(self, path: Path, *, planner: Planner | None = None, index_from: int = INDEX_FROM) -> None:
        self.path = path
        self._planner = planner or Planner()
        self._index_from = index_from
        self._open: dict[str, _Collection] = {}
        self._closed = False
        self._mutex = threading.RLock()
        self._pid = os.getpid()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IndexFailure(f"cannot create {path}: {error.strerror}") from error
        self._lock = FileLock(path / _LOCK_FILE)
        for left in (*path.glob(f"{_CREATING}*"), *path.glob(f"{_DROPPING}*")):
            shutil.rmtree(left, ignore_errors=True)

    # --- collections ---

    def ensure(self, spec: CollectionSpec) -> None:
        """Create the collection or check that it fits; keys newly asked for get their payload index."""
        with self._exclusive():
            folder = self._folder(spec.name)
            if not folder.exists():
                _Collection.create(folder, spec)
            collection = self._collection(spec.name)
            fitting = merged(collection.spec, spec)
            if fitting != collection.spec:
                collection.spec, collection.indexed = fitting, False
                collection.save()
            self._index_payload(collection)

    def drop(self, collection: str) -> None:
        """Remove a collection, readable or not, with everything in it."""
        with self._exclusive():
            folder = self._folder(collection)
            held = self._open.pop(collection, None)
            if held is not None:
                with _engine(f"closing {collection!r}"):
                    held.shard.close()
            if folder.exists():
                gone = folder.with_name(_DROPPING + folder.name)
                with _engine(f"dropping {folder}"):
                    shutil.rmtree(gone, ignore_errors=True)
                    folder.rename(gone)
                    sync_directory(self.path)
                shutil.rmtree(gone, ignore_errors=True)

    def _folder(self, collection: str) -> Path:
        self._check_usable()
        return self.path / check_name(collection)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One writer at a time. The check comes first: in a fork the lock may be held for ever."""
        self._check_usable()
        with self._mutex:
            yield

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise IndexFailure(
                f"{self.path} was opened by process {self._pid}, not by its fork {os.getpid()}",
                hint="start workers by spawn, or open the index after the fork",
            )
        if self._closed:
            raise IndexFailure(f"the index in {self.path} is closed")

    def _collection(self, name: str) -> _Collection:
        with self._exclusive():
            folder = self._folder(name)
            if name not in self._open:
                if not folder.exists():
                    raise IndexFailure(f"there is no collection {name!r} in {self.path}")
                self._open[name] = _Collection.load(folder)
            return self._open[name]

    # --- writing ---

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """Write points, replacing those of the same id whole; checked as one, written 256 at a time."""
        with self._exclusive():
            held = self._collection(collection)
            checked = rows(held.spec, points)
            _need_room(held.folder)
            for start in range(0, len(checked), BATCH):
                batch = checked[start : start + BATCH]
                known = self._present(held, [row.id for row in batch])
                made = []
                with _engine(f"writing to {collection!r}"):
                    for row in batch:
                        named: dict[str, Any] = dict(row.vectors)
                        if held.spec.text and row.text and (terms := held.bm25.document(row.text)).indices:
                            named[held.spec.text] = engine.SparseVector(*terms)
                        made.append(engine.Point(row.id, named, row.payload))
                    held.shard.update(engine.UpdateOperation.upsert_points(made))
                held.points += len(batch) - known
                held.save()
            self._index_payload(held)

    def _index_payload(self, held: _Collection) -> None:
        if not held.indexed and held.points >= self._index_from:
            held.index_payload()

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points. The manifest is lowered first, so that a crash in between is no false alarm."""
        with self._exclusive():
            held = self._collection(collection)
            wanted: list[Any] = sorted({check_id(i) for i in ids})
            known = self._present(held, wanted)
            if known:
                held.points = max(0, held.points - known)
                held.save()
                with _engine(f"deleting from {collection!r}"):
                    held.shard.update(engine.UpdateOperation.delete_points(wanted))

    def _present(self, held: _Collection, ids: list[str]) -> int:
        return held.count(_DIALECT.group([_DIALECT.has_id(ids)])) if ids else 0

    # --- reading ---

    def search(
        self, collection: str, vector: str, query: Vector, limit: int, where: IndexFilter | None = None
    ) -> list[Scored]:
        """The nearest points by cosine, exact or by graph as the planner decides."""
        held = self._collection(collection)
        checked: Any = check_vector(held.spec, vector, query)
        if limit < 1 or matches_nothing(where):
            return []
        wanted = build(where, _DIALECT)
        nearest = engine.Query.Nearest(checked, using=vector)

        def count(*, filtered: bool, exact: bool) -> int:
            return held.count(build(where if filtered else None, _DIALECT, having=vector), exact=exact)

        def run(plan: Plan) -> list[Scored]:
            params = engine.SearchParams(exact=True)
            if not plan.exact:
                acorn = engine.AcornSearchParams(enable=True) if plan.acorn else None
                params = engine.SearchParams(hnsw_ef=plan.ef, acorn=acorn)
            return held.query(engine.QueryRequest(limit=limit, query=nearest, filter=wanted, params=params))

        return self._planner.search(limit, wanted is not None, count, run)

    def search_text(self, collection: str, text: str, limit: int, where: IndexFilter | None = None) -> list[Scored]:
        """The best points by BM25; the engine's sparse index is exact."""
        held = self._collection(collection)
        if held.spec.text is None:
            raise IndexFailure(f"collection {collection!r} has no text to search")
        terms = held.bm25.query(text)
        if limit < 1 or not terms.indices or matches_nothing(where):
            return []
        nearest = engine.Query.Nearest(engine.SparseVector(*terms), using=held.spec.text)
        hits = held.query(engine.QueryRequest(limit=limit, query=nearest, filter=build(where, _DIALECT)))
        return [hit for hit in hits if hit.score > 0]

    def vectors(self, collection: str, vector: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Stored vectors, unit length, float32 of shape [size]."""
        held = self._collection(collection)
        if vector not in held.spec.vectors:
            raise IndexFailure(f"collection {collection!r} has no vector {vector!r}")
        with _engine(f"reading vectors of {collection!r}"):
            records = held.shard.retrieve([check_id(i) for i in ids], False, [vector])
        named = {str(record.id): record.vector or {} for record in records}
        return {i: np.asarray(got[vector], dtype=np.float32) for i, got in named.items() if vector in got}

    def payloads(self, collection: str, ids: Sequence[str]) -> dict[str, Payload]:
        """Stored payloads, as they were given."""
        held = self._collection(collection)
        with _engine(f"reading payloads of {collection!r}"):
            records = held.shard.retrieve([check_id(i) for i in ids], True, False)
        return {str(record.id): public(record.payload) for record in records}

    def count(self, collection: str, where: IndexFilter | None = None) -> int:
        """Exact number of matching points; 0 if there is no such collection."""
        if not self._folder(collection).exists() or matches_nothing(where):
            return 0
        return self._collection(collection).count(build(where, _DIALECT))

    def ids(self, collection: str) -> Iterator[str]:
        """Every id, a page at a time."""
        return self._scroll(self._collection(collection))

    def _scroll(self, held: _Collection) -> Iterator[str]:
        offset = None
        while True:
            self._check_usable()
            with _engine(f"listing {held.spec.name!r}"):
                request = engine.ScrollRequest(offset=offset, limit=_PAGE, with_payload=False, with_vector=False)
                records, offset = held.shard.scroll(request)
            yield from (str(record.id) for record in records)
            if offset is None:
                return

    # --- life ---

    def flush(self) -> None:
        """Make everything written so far durable, and note how much that is."""
        with self._exclusive():
            for held in self._open.values():
                held.flush()

    def optimize(self) -> None:
        """Build the graphs of every collection. The process stands still meanwhile: minutes at 200,000 points."""
        with self._exclusive():
            for manifest in sorted(self.path.glob(f"[a-z]*/{FILE_NAME}")):
                held = self._collection(manifest.parent.name)
                with _engine(f"optimizing {held.spec.name!r}"):
                    held.shard.optimize()
                held.flush()

    def close(self) -> None:
        """Flush and release. A forked child only lets go of its copy, the engine would hang there."""
        if self._closed or os.getpid() != self._pid:
            return
        with self._exclusive():
            try:
                for held in self._open.values():
                    held.close()
            finally:
                self._closed = True
                self._open.clear()
                self._lock.release()
