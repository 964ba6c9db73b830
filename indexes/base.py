"""The one seam to vector engines: points in, scored ids out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rsrag.types import BBox, TimeSpan

Vector = npt.NDArray[np.float32]
Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a collection holds.

    Attributes:
        name: "tiles" or "passages".
        vectors: dense vector names and their sizes; cosine distance, unit norm.
        text: name of the BM25 sparse vector, or None.
        average_words: average length of the texts in words, which BM25 needs.
        keywords: payload keys matched exactly.
        numbers: payload keys compared by range (``facts.`` keys are given in full).
        fingerprint: what filled the collection, by vector name; a different one is refused with ModelMismatch.
    """

    name: str
    vectors: Mapping[str, int]
    text: str | None = None
    average_words: float = 60.0
    keywords: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    fingerprint: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One thing to index. ``id`` is a UUID string.

    Attributes:
        vectors: float32 unit vectors by name; names may be missing (a place without a picture).
        text: the text for BM25, if the collection has it.
        payload: JSON values; ``box`` (BBox) and ``when`` (TimeSpan) are passed apart and stored so that they can be
            filtered exactly.
    """

    id: str
    vectors: Mapping[str, Vector]
    payload: Payload
    text: str | None = None
    box: BBox | None = None
    when: TimeSpan | None = None


@dataclass(frozen=True, slots=True)
class IndexFilter:
    """What a search is limited to: every given condition must hold.

    Attributes:
        box: points whose own box touches this one (antimeridian-aware); points without a box never match.
        when: points whose own time overlaps; points of unknown time never match.
        match: payload key → accepted values (any of them).
        ranges: payload key → (least, most), either may be None; inclusive.
        exclude: ids left out.
    """

    box: BBox | None = None
    when: TimeSpan | None = None
    match: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return self.box is None and self.when is None and not (self.match or self.ranges or self.exclude)


@dataclass(frozen=True, slots=True)
class Scored:
    """One result: cosine similarity for vectors, BM25 for text; higher is better."""

    id: str
    score: float


class VectorIndex(Protocol):
    """A vector engine with named collections. Every engine error leaves as an IndexFailure.

    Writes are acknowledged: what ``upsert`` returned for is there after a crash of this process. A batch is validated
    whole before any of it is written (finite, non-zero, right size: BadVector otherwise).

    Attributes:
        shared: whether other processes may write to it at the same time.
    """

    shared: bool

    def ensure(self, spec: CollectionSpec) -> None:
        """Create the collection or check that it fits the spec (ModelMismatch, SchemaMismatch)."""

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """Write points, replacing those of the same id whole."""

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are ignored."""

    def drop(self, collection: str) -> None:
        """Remove a collection with everything in it; no error if there is none."""

    def search(
        self, collection: str, vector: str, query: Vector, limit: int, where: IndexFilter | None = None
    ) -> list[Scored]:
        """The nearest points by cosine, best first; exact whenever the planner rule asks for it."""

    def search_text(self, collection: str, text: str, limit: int, where: IndexFilter | None = None) -> list[Scored]:
        """The best points by BM25 over their text, best first; points without a common word are not returned."""

    def vectors(self, collection: str, vector: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Stored vectors of the given points; ids without that vector are left out."""

    def payloads(self, collection: str, ids: Sequence[str]) -> dict[str, Payload]:
        """Stored payloads of the given points."""

    def count(self, collection: str, where: IndexFilter | None = None) -> int:
        """Exact number of matching points; 0 if there is no such collection."""

    def ids(self, collection: str) -> Iterator[str]:
        """Every id in the collection, in no particular order."""

    def flush(self) -> None:
        """Make everything written so far durable."""

    def optimize(self) -> None:
        """Build the graphs: slow, and only worth it after large writes."""

    def close(self) -> None:
        """Flush and release; the index cannot be used afterwards."""
