"""Figures that others published, to stand beside ours in a report: ``published.toml`` as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from rsrag.errors import UsageError


@dataclass(frozen=True, slots=True)
class Published:
    """Figures of one model on one data set, as its authors printed them.

    Attributes:
        model: the model's name there.
        protocol: how it was measured, in a few words.
        source: the publication.
        figures: figure by name, in the names and units of our suite.
    """

    model: str
    protocol: str
    source: str
    figures: Mapping[str, float]

    @property
    def title(self) -> str:
        """The name of its row in a table."""
        return f"{self.model} ({self.protocol}{_MARK}"


_MARK = "; published)"


def is_published(title: str) -> bool:
    """Whether a row of a table is somebody else's, by its title."""
    return title.endswith(_MARK)


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads((files("rsrag.eval.reports") / "published.toml").read_text(encoding="utf-8"))


def datasets(suite: str) -> list[str]:
    """Data sets that a suite has published figures for."""
    return sorted({name for row in _table()["rows"] for name in row["figures"].get(suite, {})})


def dataset_of(name: str) -> str | None:
    """The data set that a file or folder is by its name ("EuroSAT_RGB.zip" is "eurosat"); None for one of your own."""
    stem = name.lower().removesuffix(".zip")
    return next((key for key, names in _table()["datasets"].items() if stem in names), None)


def published(suite: str, dataset: str | None) -> list[Published]:
    """What others reported for a suite on a data set, in the order of the file; nothing for None.

    Raises:
        UsageError: there are no figures for that data set.
    """
    if dataset is None:
        return []
    rows = [
        Published(row["model"], row["protocol"], _table()["sources"][row["source"]]["title"], figures)
        for row in _table()["rows"]
        if (figures := row["figures"].get(suite, {}).get(dataset)) is not None
    ]
    if not rows:
        known = ", ".join(datasets(suite)) or "none for this suite"
        raise UsageError(f"no published figures of {suite} on {dataset!r}", hint=f"known: {known}")
    return rows
