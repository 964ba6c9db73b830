"""rsrag: ask your satellite archive, and get answers with every sentence cited.

>>> import rsrag
>>> with rsrag.open("archive.rsrag", create=True) as archive:  # doctest: +SKIP
...     archive.ingest(["scenes/"], knowledge=["places.geojson"])
...     answer = archive.ask("Which lake is this?", image="chip.png")

The names in ``__all__`` are the public interface. They are resolved at first use, so that ``import rsrag`` is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rsrag._version import __version__

if TYPE_CHECKING:
    from rsrag.chat import Chat
    from rsrag.engine import Engine, open
    from rsrag.errors import RsragError, RsragWarning
    from rsrag.ingest.pipeline import IngestOptions, IngestSummary
    from rsrag.types import (
        Answer,
        BBox,
        Document,
        Evidence,
        Fact,
        Filters,
        Footprint,
        Hit,
        Location,
        Passage,
        Place,
        QueryImage,
        Scene,
        Sentence,
        Tile,
        TimeSpan,
    )

_HOMES = {
    "rsrag.chat": ("Chat",),
    "rsrag.engine": ("Engine", "open"),
    "rsrag.errors": ("RsragError", "RsragWarning"),
    "rsrag.ingest.pipeline": ("IngestOptions", "IngestSummary"),
    "rsrag.types": (
        "Answer", "BBox", "Document", "Evidence", "Fact", "Filters", "Footprint", "Hit", "Location", "Passage",
        "Place", "QueryImage", "Scene", "Sentence", "Tile", "TimeSpan",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'rsrag' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Answer",
    "BBox",
    "Chat",
    "Document",
    "Engine",
    "Evidence",
    "Fact",
    "Filters",
    "Footprint",
    "Hit",
    "IngestOptions",
    "IngestSummary",
    "Location",
    "Passage",
    "Place",
    "QueryImage",
    "RsragError",
    "RsragWarning",
    "Scene",
    "Sentence",
    "Tile",
    "TimeSpan",
    "__version__",
    "open",
]
