"""What a user says about an ingest, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rsrag.errors import ExitCode
from rsrag.types import ItemError


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """What files do not say themselves.

    Attributes:
        collection: name of the collection, instead of the STAC collection or the folder's name.
        bands: band roles, such as ``red=4,green=3,blue=2,nir=5``; a glob and a colon before it limit it to some files.
        sensor: name of the sensor.
        when: date or interval for imagery without one.
        crs: coordinate reference system for images that have a world file alone.
        asset: key of the STAC asset to read.
        allow_unlocated: take images without a position.
        scales: "auto", or scene pixels per tile pixel as ``1,2,4``.
        columns: role → column, for tables of places whose columns are not found by themselves.
        licence: of the knowledge given.
        include_documents: take knowledge files that lie in folders of imagery too.
    """

    collection: str | None = None
    bands: str | None = None
    sensor: str | None = None
    when: str | None = None
    crs: str | None = None
    asset: str | None = None
    allow_unlocated: bool = False
    scales: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    licence: str | None = None
    include_documents: bool = True


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """Counts of one ingest. Sources: done, skipped (unchanged), failed, removed. Tiles: new, blank, failed."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    removed: int = 0
    tiles: int = 0
    tiles_known: int = 0
    tiles_blank: int = 0
    tiles_failed: int = 0
    places: int = 0
    passages: int = 0
    seconds: float = 0.0
    errors: tuple[ItemError, ...] = ()
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 all good, 1 nothing usable, 3 some skipped with an error, 130 interrupted."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        held = self.tiles or self.tiles_known or self.places or self.passages
        if not (self.skipped or self.removed or (self.done and held)):
            return ExitCode.NOTHING
        return ExitCode.PARTIAL if self.errors else ExitCode.OK


@dataclass(slots=True)
class Tally:
    """Counts while the work goes on."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    removed: int = 0
    tiles: int = 0
    tiles_known: int = 0
    tiles_blank: int = 0
    tiles_failed: int = 0
    places: int = 0
    passages: int = 0
    errors: list[ItemError] = field(default_factory=list)

    def summary(self, seconds: float, *, interrupted: bool = False) -> IngestSummary:
        """The counts as a result."""
        return IngestSummary(
            self.done,
            self.skipped,
            self.failed,
            self.removed,
            self.tiles,
            self.tiles_known,
            self.tiles_blank,
            self.tiles_failed,
            self.places,
            self.passages,
            seconds,
            tuple(self.errors),
            interrupted,
        )
