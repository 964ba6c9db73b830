"""How much of the truth filtered searches of the embedded index find, and how fast, with the planner and without.

    python eval/benchmarks/index_recall.py [--points 200000] [--size 512] [--json]

Clustered unit vectors, with boxes and kinds that have nothing to do with them, the worst case for a filtered graph.
200,000 points of 512 numbers take a few minutes and 2 GB; fewer than about 5,000 such vectors get no graph at all.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.eval.reports.result import SuiteResult
from rsrag.indexes.base import CollectionSpec, IndexFilter, Point
from rsrag.indexes.edge import EdgeIndex
from rsrag.indexes.planner import EXACT, Plan, Planner
from rsrag.types import BBox

NAME, VECTOR, WANTED = "tiles", "image", 10


class Always(Planner):
    """One plan whatever is asked: what the engine does when nobody decides."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        object.__setattr__(self, "_plan", plan)

    def plan(self, limit: int, filtered: bool, count: Any) -> Plan:
        return self._plan  # type: ignore[attr-defined, no-any-return]


PLANNERS: dict[str, Planner] = {
    "planner": Planner(),
    "graph, ef 100": Always(Plan(exact=False, ef=100)),
    "graph, ef 400": Always(Plan(exact=False, ef=400)),
    "exact": Always(EXACT),
}


class Data:
    """Points, queries and filters; ``inside[name][q]`` are the numbers of the points that query q may find."""

    def __init__(self, points: int, size: int, queries: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(max(10, points // 100), size)).astype(np.float32)
        self.vectors = _around(centres, points, rng)
        self.queries = _around(centres, queries, rng)
        self.west, self.south = rng.uniform(-180, 179.9, points).round(6), rng.uniform(-90, 89.9, points).round(6)
        self.kinds = rng.integers(0, 25, points)
        self.filters: dict[str, list[IndexFilter]] = {"kind, 4 %": [IndexFilter(match={"kind": ["3"]})] * queries}
        self.inside: dict[str, list[Any]] = {"kind, 4 %": [np.flatnonzero(self.kinds == 3)] * queries}
        for share in (0.005, 0.02, 0.05, 0.4):
            name = f"box, {100 * share:g} %"
            wide, high = 360 * share**0.5, 180 * share**0.5
            corners = zip(rng.uniform(-180, 180 - wide, queries), rng.uniform(-90, 90 - high, queries), strict=True)
            boxes = [BBox(float(w), float(s), float(w + wide), float(s + high)) for w, s in corners]
            self.filters[name] = [IndexFilter(box=box) for box in boxes]
            self.inside[name] = [self._touching(box) for box in boxes]
        self.filters["no filter"] = [IndexFilter()] * queries
        self.inside["no filter"] = [np.arange(points)] * queries

    def _touching(self, box: BBox) -> Any:
        across = (self.west <= box.east) & (self.west + 0.1 >= box.west)
        return np.flatnonzero(across & (self.south <= box.north) & (self.south + 0.1 >= box.south))

    def points(self) -> Iterator[list[Point]]:
        for start in range(0, len(self.vectors), 2048):
            yield [
                Point(
                    _id(n),
                    {VECTOR: self.vectors[n]},
                    {"kind": str(self.kinds[n])},
                    box=BBox(self.west[n], self.south[n], self.west[n] + 0.1, self.south[n] + 0.1),
                )
                for n in range(start, min(start + 2048, len(self.vectors)))
            ]

    def truth(self, name: str) -> list[set[str]]:
        answers = []
        for query, inside in zip(self.queries, self.inside[name], strict=True):
            cosines = self.vectors[inside] @ query
            answers.append({_id(int(n)) for n in inside[np.argsort(-cosines)[:WANTED]]})
        return answers


def _around(centres: Any, count: int, rng: Any) -> Any:
    vectors = centres[rng.integers(0, len(centres), count)] + 0.8 * rng.normal(size=(count, centres.shape[1]))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _id(n: int) -> str:
    return str(uuid.UUID(int=n + 1))


def measure(data: Data, folder: Path, say: Callable[[str], None]) -> SuiteResult:
    """Write, build the graph, then ask every question with every planner."""
    began = time.perf_counter()
    index = EdgeIndex(folder)
    index.ensure(CollectionSpec(NAME, {VECTOR: data.vectors.shape[1]}, keywords=("kind",)))
    for batch in data.points():
        index.upsert(NAME, batch)
    index.flush()
    written = time.perf_counter()
    index.optimize()
    built = time.perf_counter()
    index.close()
    say(f"written in {written - began:.0f} s, graph in {built - written:.0f} s")
    rows: dict[str, dict[str, float]] = {}
    for method, planner in PLANNERS.items():
        index = EdgeIndex(folder, planner=planner)
        rows[method] = {}
        for name, filters in data.filters.items():
            recall, seconds = _ask(index, data, filters, data.truth(name))
            rows[method] |= {f"{name}: recall": recall, f"{name}: ms": 1000 * seconds}
        index.close()
        say(f"{method} done")
    details = {
        "points": len(data.vectors),
        "size": data.vectors.shape[1],
        "seconds_of_graph": round(built - written, 1),
    }
    return SuiteResult("index-recall", rows["planner"], rows, details)


def _ask(index: EdgeIndex, data: Data, filters: list[IndexFilter], truth: list[set[str]]) -> tuple[float, float]:
    found, wanted, times = 0, 0, []
    for query, where, right in zip(data.queries, filters, truth, strict=True):
        began = time.perf_counter()
        hits = index.search(NAME, VECTOR, query, WANTED, where)
        times.append(time.perf_counter() - began)
        found += len(right & {hit.id for hit in hits})
        wanted += len(right)
    return found / max(1, wanted), statistics.median(times)


def table(result: SuiteResult) -> str:
    """One line a filter, one column a planner: recall@10 and median milliseconds."""
    filters = [name.removesuffix(": recall") for name in result.metrics if name.endswith(": recall")]
    lines = ["".ljust(14) + "".join(method.rjust(20) for method in result.rows)]
    for name in filters:
        cells = [f"{row[f'{name}: recall']:.3f} {row[f'{name}: ms']:7.2f} ms" for row in result.rows.values()]
        lines.append(name.ljust(14) + "".join(cell.rjust(20) for cell in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    data = Data(given.points, given.size, given.queries, given.seed)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        result = measure(data, Path(folder), lambda text: None if given.json else print(text, flush=True))
    print(result.to_json() if given.json else table(result))


if __name__ == "__main__":
    main()
