"""A Qdrant server or cluster behind the same protocol, through qdrant-client.

What a collection holds is stored in the collection's own metadata, which servers keep since 1.16.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from rsrag.errors import ForeignIndex, IndexFailure, MissingExtra
from rsrag.indexes.base import CollectionSpec, IndexFilter, Payload, Point, Scored, Vector
from rsrag.indexes.bm25 import Bm25, Terms
from rsrag.indexes.calls import Caller, Retry
from rsrag.indexes.filters import build, matches_nothing
from rsrag.indexes.planner import Plan, Planner
from rsrag.indexes.schema import (
    Row,
    check_id,
    check_name,
    check_vector,
    indexed_fields,
    merged,
    public,
    rows,
    spec_from_json,
    spec_to_json,
)

BATCH = 256
_PAGE = 500
_METADATA, _ARCHIVE = "rsrag", "rsrag_archive"
T = TypeVar("T")


def _models() -> Any:
    try:
        from qdrant_client import models
    except ImportError as error:
        raise MissingExtra("the Qdrant server index", extra="qdrant", package=error.name) from error
    return models


class _ServerDialect:
    """Filter conditions in qdrant-client's models."""

    def __init__(self, models: Any) -> None:
        self._models = models

    def between(self, path: str, least: float | None, most: float | None) -> Any:
        return self._models.FieldCondition(key=path, range=self._models.Range(gte=least, lte=most))

    def any_of(self, path: str, values: Sequence[str]) -> Any:
        return self._models.FieldCondition(key=path, match=self._models.MatchAny(any=list(values)))

    def has_id(self, ids: Sequence[str]) -> Any:
        return self._models.HasIdCondition(has_id=list(ids))

    def has_vector(self, name: str) -> Any:
        return self._models.HasVectorCondition(has_vector=name)

    def group(self, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()) -> Any:
        return self._models.Filter(
            must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None
        )


class ServerIndex:
    """A :class:`~rsrag.indexes.base.VectorIndex` on a Qdrant server.

    Args:
        url: ``http(s)://host[:port]`` of the REST interface.
        api_key: sent with every call, never shown in a message.
        prefer_grpc: use port 6334 for data; False where a proxy lets only REST through.
        prefix: put before collection names, so that several archives can share a server.
        archive: name of the archive whose collections may be used, kept with each; None uses anybody's.
        shard_number: shards of a new collection; None is the server's default.
        replication_factor: copies of each shard of a new collection; None is the server's default.
        timeout: seconds one call may take.
        retry: what to do when the server does not answer.
        planner: when searches use the graph.
        client: a ready ``QdrantClient`` instead of a new one; its owner closes it.

    Raises:
        MissingExtra: qdrant-client is not installed.
        ForeignIndex: from every method that needs a collection, where it belongs to another archive.
    """

    shared = True

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        prefer_grpc: bool = True,
        prefix: str = "rsrag_",
        archive: str | None = None,
        shard_number: int | None = None,
        replication_factor: int | None = None,
        timeout: float = 30.0,
        retry: Retry | None = None,
        planner: Planner | None = None,
        client: Any = None,
    ) -> None:
        self._models = _models()
        self._dialect = _ServerDialect(self._models)
        secrets = [s for s in (api_key, *re.findall(r"://[^/@]*:([^/@]+)@", url)) if s]
        self.url = re.sub(r"://[^/@]+@", "://", url)
        self._prefix = prefix
        self._archive = archive
        self._new = {"shard_number": shard_number, "replication_factor": replication_factor}
        self._caller = Caller(self.url, secrets, retry or Retry())
        self._planner = planner or Planner()
        self._specs: dict[str, CollectionSpec] = {}
        self._bm25: dict[float, Bm25] = {}
        self._closed = False
        self._owned = client is None
        self._client = client or self._connect(url, api_key, prefer_grpc, timeout)

    def _connect(self, url: str, api_key: str | None, prefer_grpc: bool, timeout: float) -> Any:
        from qdrant_client import QdrantClient

        return QdrantClient(
            url=url,
            api_key=api_key,
            prefer_grpc=prefer_grpc,
            timeout=max(1, round(timeout)),
            check_compatibility=False,
        )

    def __repr__(self) -> str:
        return f"ServerIndex({self.url!r})"

    def _call(self, doing: str, call: Callable[..., T], *args: Any, **options: Any) -> T:
        """The one way to the client."""
        if self._closed:
            raise IndexFailure(f"the index at {self.url} is closed")
        return self._caller(doing, call, *args, **options)

    # --- collections ---

    def ensure(self, spec: CollectionSpec) -> None:
        """Create the collection or check that it fits; missing payload indexes are made."""
        name = self._name(spec.name)
        if not self._exists(spec.name):
            self._create(name, spec)
        info = self._call(f"reading {name!r}", self._client.get_collection, name)
        stored = self._stored(spec.name, info)
        fitting = merged(stored, spec)
        for path, kind in indexed_fields(fitting).items():
            if path not in (info.payload_schema or {}):
                self._call(
                    f"indexing payload of {name!r}",
                    self._client.create_payload_index,
                    name,
                    field_name=path,
                    field_schema=self._models.PayloadSchemaType(kind),
                    wait=True,
                )
        unnamed = self._archive is not None and _ARCHIVE not in (info.config.metadata or {})
        if fitting != stored or unnamed:
            metadata = {**(info.config.metadata or {}), **self._metadata(fitting)}
            self._call(f"describing {name!r}", self._client.update_collection, name, metadata=metadata)
        self._specs[spec.name] = fitting

    def _create(self, name: str, spec: CollectionSpec) -> None:
        models = self._models
        dense = {
            vector: models.VectorParams(size=size, distance=models.Distance.COSINE)
            for vector, size in spec.vectors.items()
        }
        sparse = {spec.text: models.SparseVectorParams(modifier=models.Modifier.IDF)} if spec.text else None
        try:
            self._call(
                f"creating {name!r}",
                self._client.create_collection,
                name,
                vectors_config=dense,
                sparse_vectors_config=sparse,
                metadata=self._metadata(spec),
                **{key: value for key, value in self._new.items() if value is not None},
            )
        except IndexFailure:
            # A first try that timed out may have done it; then the check that follows decides.
            if not self._exists(spec.name):
                raise

    def _metadata(self, spec: CollectionSpec) -> dict[str, Any]:
        """What a collection says of itself."""
        return {_METADATA: spec_to_json(spec), **({_ARCHIVE: self._archive} if self._archive else {})}

    def _stored(self, collection: str, info: Any) -> CollectionSpec:
        metadata = info.config.metadata or {}
        name = self._name(collection)
        if self._archive is not None and metadata.get(_ARCHIVE, self._archive) != self._archive:
            raise ForeignIndex(
                f"collection {name!r} at {self.url} belongs to another archive",
                hint="give this one an index_prefix of its own",
            )
        if _METADATA not in metadata:
            hint = "metadata needs Qdrant 1.16 or later; if the collection belongs to something else, choose a prefix"
            raise IndexFailure(f"collection {name!r} at {self.url} does not say what it holds", hint=hint)
        return spec_from_json(metadata[_METADATA], f"collection {name!r} at {self.url}")

    def drop(self, collection: str) -> None:
        """Remove a collection with everything in it."""
        self._specs.pop(collection, None)
        if self._exists(collection):
            name = self._name(collection)
            self._stored(collection, self._call(f"reading {name!r}", self._client.get_collection, name))
            self._call(f"dropping {name!r}", self._client.delete_collection, name)

    def _name(self, collection: str) -> str:
        return self._prefix + check_name(collection)

    def _exists(self, collection: str) -> bool:
        name = self._name(collection)
        return bool(self._call(f"looking for {name!r}", self._client.collection_exists, name))

    def _spec(self, collection: str) -> CollectionSpec:
        if collection not in self._specs:
            if not self._exists(collection):
                raise IndexFailure(f"there is no collection {self._name(collection)!r} at {self.url}")
            name = self._name(collection)
            info = self._call(f"reading {name!r}", self._client.get_collection, name)
            self._specs[collection] = self._stored(collection, info)
        return self._specs[collection]

    def _words(self, spec: CollectionSpec) -> Bm25:
        return self._bm25.setdefault(spec.average_words, Bm25(spec.average_words))

    # --- writing ---

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """Write points, replacing those of the same id whole; returns when the server has them in its log."""
        spec = self._spec(collection)
        made = [self._struct(spec, row) for row in rows(spec, points)]
        for start in range(0, len(made), BATCH):
            batch = made[start : start + BATCH]
            doing = f"writing {len(batch)} points to {collection!r}"
            self._call(doing, self._client.upsert, self._name(collection), points=batch, wait=True)

    def _struct(self, spec: CollectionSpec, row: Row) -> Any:
        named: dict[str, Any] = {name: vector.tolist() for name, vector in row.vectors.items()}
        if spec.text and row.text and (terms := self._words(spec).document(row.text)).indices:
            named[spec.text] = self._sparse(terms)
        return self._models.PointStruct(id=row.id, vector=named, payload=row.payload)

    def _sparse(self, terms: Terms) -> Any:
        return self._models.SparseVector(indices=terms.indices, values=terms.values)

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are ignored."""
        self._spec(collection)
        for page in _pages([check_id(i) for i in ids]):
            selector = self._models.PointIdsList(points=page)
            doing = f"deleting from {collection!r}"
            self._call(doing, self._client.delete, self._name(collection), points_selector=selector, wait=True)

    # --- reading ---

    def search(
        self, collection: str, vector: str, query: Vector, limit: int, where: IndexFilter | None = None
    ) -> list[Scored]:
        """The nearest points by cosine, exact or by graph as the planner decides."""
        checked = check_vector(self._spec(collection), vector, query).tolist()
        if limit < 1 or matches_nothing(where):
            return []
        models = self._models
        wanted = build(where, self._dialect)

        def count(*, filtered: bool, exact: bool) -> int:
            condition = build(where if filtered else None, self._dialect, having=vector)
            return self._count(collection, condition, exact=exact)

        def run(plan: Plan) -> list[Scored]:
            params = models.SearchParams(exact=True)
            if not plan.exact:
                acorn = models.AcornSearchParams(enable=True) if plan.acorn else None
                params = models.SearchParams(hnsw_ef=plan.ef, acorn=acorn)
            return self._query(collection, checked, vector, limit, wanted, params)

        return self._planner.search(limit, wanted is not None, count, run)

    def search_text(self, collection: str, text: str, limit: int, where: IndexFilter | None = None) -> list[Scored]:
        """The best points by BM25; the server's sparse index is exact."""
        spec = self._spec(collection)
        if spec.text is None:
            raise IndexFailure(f"collection {collection!r} has no text to search")
        terms = self._words(spec).query(text)
        if limit < 1 or not terms.indices or matches_nothing(where):
            return []
        wanted = build(where, self._dialect)
        hits = self._query(collection, self._sparse(terms), spec.text, limit, wanted, None)
        return [hit for hit in hits if hit.score > 0]

    def _query(self, collection: str, query: Any, using: str, limit: int, wanted: Any, params: Any) -> list[Scored]:
        answer = self._call(
            f"searching {collection!r}",
            self._client.query_points,
            self._name(collection),
            query=query,
            using=using,
            limit=limit,
            query_filter=wanted,
            search_params=params,
            with_payload=False,
            with_vectors=False,
        )
        hits = [Scored(str(point.id), float(point.score)) for point in answer.points]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))

    def vectors(self, collection: str, vector: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Stored vectors, unit length, float32 of shape [size]."""
        if vector not in self._spec(collection).vectors:
            raise IndexFailure(f"collection {collection!r} has no vector {vector!r}")
        found: dict[str, Vector] = {}
        for record in self._retrieve(collection, ids, with_payload=False, with_vectors=[vector]):
            if vector in (record.vector or {}):
                found[str(record.id)] = np.asarray(record.vector[vector], dtype=np.float32)
        return found

    def payloads(self, collection: str, ids: Sequence[str]) -> dict[str, Payload]:
        """Stored payloads, as they were given."""
        records = self._retrieve(collection, ids, with_payload=True, with_vectors=False)
        return {str(record.id): public(record.payload) for record in records}

    def _retrieve(self, collection: str, ids: Sequence[str], **what: Any) -> Iterator[Any]:
        self._spec(collection)
        for page in _pages([check_id(i) for i in ids]):
            doing = f"reading points of {collection!r}"
            yield from self._call(doing, self._client.retrieve, self._name(collection), page, **what)

    def count(self, collection: str, where: IndexFilter | None = None) -> int:
        """Exact number of matching points; 0 if there is no such collection."""
        if matches_nothing(where) or not self._exists(collection):
            return 0
        return self._count(collection, build(where, self._dialect), exact=True)

    def _count(self, collection: str, condition: Any, *, exact: bool) -> int:
        doing = f"counting in {collection!r}"
        name = self._name(collection)
        return int(self._call(doing, self._client.count, name, count_filter=condition, exact=exact).count)

    def ids(self, collection: str) -> Iterator[str]:
        """Every id, a page at a time."""
        self._spec(collection)
        return self._scroll(collection)

    def _scroll(self, collection: str) -> Iterator[str]:
        offset = None
        while True:
            records, offset = self._call(
                f"listing {collection!r}",
                self._client.scroll,
                self._name(collection),
                limit=_PAGE,
                offset=offset,
                with_payload=False,
                with_vectors=False,
            )
            yield from (str(record.id) for record in records)
            if offset is None:
                return

    # --- life ---

    def flush(self) -> None:
        """Nothing to do: ``upsert`` and ``delete`` return when the server has logged them."""

    def optimize(self) -> None:
        """Nothing to do: a server builds its graphs by itself, in the background."""

    def close(self) -> None:
        """Close the connection, unless the client was given."""
        if not self._closed and self._owned:
            self._client.close()
        self._closed = True


def _pages(ids: list[str]) -> Iterator[list[str]]:
    return (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))
