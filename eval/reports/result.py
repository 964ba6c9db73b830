"""What a suite measured: named figures, rows for a table, and how both are printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rsrag.types import ItemError

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """Result of one evaluation.

    Attributes:
        suite: its name on the command line.
        metrics: figure by name, of our own method.
        rows: method → figures of the same names, for comparison; ours among them.
        details: sizes, models and settings that the figures depend on.
    """

    suite: str
    metrics: Mapping[str, float]
    rows: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One JSON object: suite, metrics, rows, details."""
        return json.dumps(
            {"suite": self.suite, "metrics": self.metrics, "rows": self.rows, "details": self.details},
            ensure_ascii=False,
        )

    def to_text(self) -> str:
        """A table for people: one line a method, one column a figure."""
        names = list(self.metrics)
        lines = [_line(["", *names])] if self.rows else []
        for method, figures in self.rows.items():
            lines.append(_line([method, *(_figure(figures.get(name)) for name in names)]))
        if not self.rows:
            lines = [_line([name, _figure(value)]) for name, value in self.metrics.items()]
        lines += [f"{name}: {value}" for name, value in self.details.items()]
        return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _line(cells: Sequence[str]) -> str:
    return cells[0].ljust(30) + "".join(cell.rjust(max(12, len(cell) + 2)) for cell in cells[1:])


def left_out(errors: Sequence[ItemError]) -> dict[str, Any]:
    """What a result says about sources that could not be used; nothing when there are none."""
    if not errors:
        return {}
    return {"left out": len(errors), "left out files": [_named(error) for error in errors[:_SHOWN]]}


def _named(error: ItemError) -> str:
    """The reason with the source's name before it; many reasons begin with it."""
    return error.reason if error.reason.startswith(error.source) else f"{error.source}: {error.reason}"


def mean(values: Sequence[float]) -> float:
    """Mean of the values; 0 for none."""
    return sum(values) / len(values) if values else 0.0
