"""Whether a search may use the graph, and how hard it must look.

A filtered graph search can lose results without saying so: with default settings, a box of 2 % of 200,000 hard vectors
found 55 % of the true ten nearest. Looking at every matching point is exact, and as fast while they are few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rsrag.indexes.base import Scored


class Plan(NamedTuple):
    """How to search: ``exact`` looks at every match; otherwise the graph with ``ef`` candidates.

    ``acorn`` lets the engine walk through points that the filter hides (Patel et al. 2024, ACORN-1), which it does when
    the filter leaves less than 40 %; above, it costs time and finds nothing more.
    """

    exact: bool
    ef: int = 0
    acorn: bool = False
    matches: int = 0


EXACT = Plan(exact=True)


class Counter(Protocol):
    """Counts the points that have the vector searched."""

    def __call__(self, *, filtered: bool, exact: bool) -> int:
        """Those that match the filter, or all of them; ``exact=False`` is an estimate from the engine's indexes."""


@dataclass(frozen=True, slots=True)
class Planner:
    """The rule.

    Attributes:
        exact_matches: up to so many matching points, search exactly.
        exact_points: below so many points in all, search exactly.
        doubtful_share: an estimate below this share of all points is replaced by a real count. The engines multiply
            the shares of single conditions, which makes four ranges of a small box look like 6 % of everything.
        ef: candidates of a graph search; four times the limit if that is more.
    """

    exact_matches: int = 60_000
    exact_points: int = 100_000
    doubtful_share: float = 0.3
    ef: int = 400

    def plan(self, limit: int, filtered: bool, count: Counter) -> Plan:
        """Ask for counts, cheapest first, until the decision is clear."""
        matches = count(filtered=filtered, exact=False)
        if matches <= self.exact_matches:
            return EXACT
        total = count(filtered=False, exact=False) if filtered else matches
        if total < self.exact_points:
            return EXACT
        if filtered and matches < self.doubtful_share * total:
            matches = count(filtered=True, exact=True)
            if matches <= self.exact_matches:
                return EXACT
        return Plan(exact=False, ef=max(self.ef, 4 * limit), acorn=filtered, matches=matches)

    def search(self, limit: int, filtered: bool, count: Counter, run: Callable[[Plan], list[Scored]]) -> list[Scored]:
        """Run the plan; a graph search that returns fewer points than there are is run again exactly."""
        plan = self.plan(limit, filtered, count)
        hits = run(plan)
        if not plan.exact and len(hits) < min(limit, plan.matches):
            return run(EXACT)
        return hits
