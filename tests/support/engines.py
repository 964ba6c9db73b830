"""Engines under test: embedded, the server class on the client's local mode, a live server; points to put in them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsrag.indexes.base import CollectionSpec, IndexFilter, Point, VectorIndex
from rsrag.indexes.open import open_index

SPEC = CollectionSpec(
    name="passages",
    vectors={"text": 8, "image": 4},
    text="words",
    average_words=6.0,
    keywords=("kind", "tags"),
    numbers=("cloud", "facts.ndvi"),
    fingerprint={"text": "mini-text:1", "image": "mini-image:1"},
)
NAME = SPEC.name


def id_of(n: int) -> str:
    return str(uuid.UUID(int=n + 1))


def vector_of(n: int, size: int = 8) -> Any:
    v = np.random.default_rng(n).normal(size=size).astype(np.float32)
    return v / np.linalg.norm(v)


def point_of(n: int, **given: Any) -> Point:
    return Point(id_of(n), **{"vectors": {"text": vector_of(n)}, "payload": {"n": n}, **given})


def day_of(n: int) -> datetime:
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n)


class Engine:
    """One engine under test: ``opened()`` gives an index on the same data each time it is called."""

    def __init__(self, make: Callable[[], VectorIndex]) -> None:
        self._make = make
        self._held: list[VectorIndex] = []

    def opened(self) -> VectorIndex:
        index = self._make()
        self._held.append(index)
        return index

    def close(self) -> None:
        for index in self._held:
            index.close()


def edge(folder: Path) -> Iterator[Engine]:
    yield Engine(lambda: open_index(folder / "index"))


def edge_indexed(folder: Path) -> Iterator[Engine]:
    yield Engine(lambda: open_index(folder / "index", index_from=0))


def local(_: Path) -> Iterator[Engine]:
    pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")  # with a path it commits every point on its own: 20 s for a test
    yield Engine(lambda: open_index("http://127.0.0.1:1", client=client))
    client.close()


def live(_: Path) -> Iterator[Engine]:
    url = os.environ.get("RSRAG_TEST_QDRANT_URL")
    if not url:
        pytest.skip("RSRAG_TEST_QDRANT_URL is not set")
    grpc = os.environ.get("RSRAG_TEST_QDRANT_GRPC", "1") != "0"
    prefix = f"rsragtest{uuid.uuid4().hex[:8]}_"
    key = os.environ.get("RSRAG_TEST_QDRANT_KEY")
    yield Engine(lambda: open_index(url, prefix=prefix, prefer_grpc=grpc, api_key=key))
    last = open_index(url, prefix=prefix, prefer_grpc=grpc, api_key=key)
    last.drop(NAME)
    last.close()


def found_in(index: VectorIndex, where: IndexFilter | None = None, limit: int = 1000) -> set[int]:
    """Numbers of the points that a search, a text search of everything and a count agree on."""
    hits = index.search(NAME, "text", vector_of(0), limit, where)
    assert index.count(NAME, where) == len(hits)
    return {uuid.UUID(hit.id).int - 1 for hit in hits}
