"""The rule that decides between graph and exact search, and what it is worth on a real graph."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge

from rsrag.indexes.base import CollectionSpec, IndexFilter, Point, Scored
from rsrag.indexes.edge import EdgeIndex
from rsrag.indexes.planner import EXACT, Plan, Planner
from rsrag.types import BBox


class Counts:
    """A collection that knows how many points it has, matches, and what the engine would guess."""

    def __init__(self, total: int, matches: int, guess: int | None = None) -> None:
        self.total, self.matches, self.guess = total, matches, matches if guess is None else guess
        self.asked: list[tuple[bool, bool]] = []

    def __call__(self, *, filtered: bool, exact: bool) -> int:
        self.asked.append((filtered, exact))
        if not filtered:
            return self.total
        return self.matches if exact else self.guess


@pytest.mark.parametrize(
    ("counts", "filtered", "exact"),
    [
        (Counts(99_999, 99_999), False, True),
        (Counts(100_000, 100_000), False, False),
        (Counts(99_999, 90_000), True, True),
        (Counts(1_000_000, 60_000), True, True),
        (Counts(1_000_000, 60_001), True, False),
        (Counts(200_000, 150_000), True, False),
        (Counts(1_000_000, 0, guess=65_000), True, True),
        (Counts(1_000_000, 500, guess=290_000), True, True),
        (Counts(1_000_000, 350_000), True, False),
    ],
)
def test_rule(counts: Counts, filtered: bool, exact: bool) -> None:
    assert Planner().plan(10, filtered, counts).exact is exact


def test_the_cheapest_counts_come_first() -> None:
    few = Counts(1_000_000, 10)
    Planner().plan(10, True, few)
    assert few.asked == [(True, False)]
    unfiltered = Counts(1_000_000, 1_000_000)
    Planner().plan(10, False, unfiltered)
    assert unfiltered.asked == [(False, False)]
    many = Counts(1_000_000, 900_000)
    Planner().plan(10, True, many)
    assert (True, True) not in many.asked


def test_a_graph_search_looks_hard() -> None:
    counts = Counts(1_000_000, 500_000)
    assert Planner().plan(10, True, counts) == Plan(False, ef=400, acorn=True, matches=500_000)
    assert Planner().plan(1000, False, counts).ef == 4000
    assert Planner().plan(10, False, counts).acorn is False


@pytest.mark.parametrize(("found", "limit", "again"), [(3, 10, True), (10, 10, False), (0, 10, True)])
def test_too_few_hits_are_looked_for_again(found: int, limit: int, again: bool) -> None:
    ran: list[Plan] = []

    def run(plan: Plan) -> list[Scored]:
        ran.append(plan)
        return [Scored(str(n), 1.0) for n in range(limit if plan.exact else found)]

    hits = Planner().search(limit, True, Counts(1_000_000, 500_000), run)
    assert len(hits) == limit
    assert [plan.exact for plan in ran] == ([False, True] if again else [False])
    assert (EXACT in ran) is again


# --- a graph that really is one -------------------------------------------------------------------------------------

SIZE, POINTS, QUERIES, WANTED = 64, 6000, 40, 10
EDGES_TRIED = 16


def _unit(vectors: Any) -> Any:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _build(folder: Path, vectors: Any, corners: Any) -> None:
    """An index with a thin graph: six thousand points with four edges each stand in for millions with sixteen."""
    index = EdgeIndex(folder)
    index.ensure(CollectionSpec("tiles", {"image": SIZE}))
    points = [
        Point(str(uuid.UUID(int=n + 1)), {"image": vectors[n]}, {}, box=BBox(w, s, w + 0.5, s + 0.5))
        for n, (w, s) in enumerate(corners)
    ]
    index.upsert("tiles", points)
    index.close()
    config = qdrant_edge.EdgeConfig(
        vectors={"image": qdrant_edge.EdgeVectorParams(size=SIZE, distance=qdrant_edge.Distance.Cosine)},
        optimizers=qdrant_edge.EdgeOptimizersConfig(indexing_threshold=100),
        hnsw_config=qdrant_edge.HnswIndexConfig(4, EDGES_TRIED, 10),
    )
    qdrant_edge.EdgeShard.load(str(folder / "tiles" / "shard"), config).close()
    index = EdgeIndex(folder)
    index.optimize()
    index.close()


class AsTheEngineLikes(Planner):
    """No rule: the graph with the engine's defaults, which are as many candidates as it was built with."""

    def plan(self, limit: int, filtered: bool, count: Any) -> Plan:
        return Plan(exact=False, ef=EDGES_TRIED, acorn=False, matches=0)


def test_recall_under_a_filter(folder: Path) -> None:
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(200, SIZE))
    vectors = _unit(centres[rng.integers(0, 200, POINTS)] + 0.9 * rng.normal(size=(POINTS, SIZE)))
    queries = _unit(centres[rng.integers(0, 200, QUERIES)] + 0.9 * rng.normal(size=(QUERIES, SIZE)))
    corners = np.column_stack([rng.uniform(-180, 179, POINTS), rng.uniform(-80, 79, POINTS)]).round(6)
    boxes = [
        BBox(w, s, w + 60, s + 30)
        for w, s in np.column_stack([rng.uniform(-180, 120, QUERIES), rng.uniform(-80, 50, QUERIES)])
    ]
    _build(folder, vectors, corners)

    def recall(planner: Planner) -> float:
        index = EdgeIndex(folder, planner=planner)
        found = 0
        for query, box in zip(queries, boxes, strict=True):
            west, south = corners[:, 0], corners[:, 1]
            inside = (west <= box.east) & (west + 0.5 >= box.west) & (south <= box.north) & (south + 0.5 >= box.south)
            matching = np.flatnonzero(inside)
            assert len(matching) > WANTED
            nearest = matching[np.argsort(-(vectors[matching] @ query))[:WANTED]]
            hits = index.search("tiles", "image", query, WANTED, IndexFilter(box=box))
            found += len({str(uuid.UUID(int=int(n) + 1)) for n in nearest} & {hit.id for hit in hits})
        index.close()
        return found / (QUERIES * WANTED)

    default, planned = recall(AsTheEngineLikes()), recall(Planner())
    graph = recall(Planner(exact_matches=0, exact_points=0, doubtful_share=0.0))
    figures = (
        f"recall@10 with a box of 3 % of the points: default {default:.2f}, planner {planned:.2f}, graph {graph:.2f}"
    )
    assert planned >= 0.99, figures
    assert graph >= 0.95, figures
    assert default < 0.9, f"this graph is too good to show anything: {figures}"
