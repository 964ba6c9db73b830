"""What the five adapters have in common: what they are given, and the result that a GIS can open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from rsrag import given
from rsrag.progress import Progress, Silent
from rsrag.types import Evidence, Fact, Footprint, Position, Provenance, Sentence, TimeSpan

if TYPE_CHECKING:
    from rsrag.config import Settings
    from rsrag.engine import Engine
    from rsrag.export_layers import Affine, Layer
    from rsrag.models.base import Picture, Profile

Point = tuple[float, float]
"""Column and row in pixels; (0, 0) is the outer corner of the first pixel."""
PixelBox = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the image."""
TASKS = ("caption", "classify", "change", "ground", "segment")


@dataclass(frozen=True, slots=True)
class Subject:
    """The image that a result is about: its name, grid and position.

    Attributes:
        name: for people.
        width: in pixels.
        height: in pixels.
        crs: coordinate reference system of the grid; None without a position.
        transform: affine (a, b, c, d, e, f) from pixel to ``crs``; None without a position.
        footprint: in WGS84, if the image has a position.
        time: of the image, if known.
        gsd_m: metres a pixel, if known.
        source: file or id it came from.
        scene_id: of the archive's scene, if it is one.
    """

    name: str
    width: int
    height: int
    crs: str | None = None
    transform: Affine | None = None
    footprint: Footprint | None = None
    time: TimeSpan | None = None
    gsd_m: float | None = None
    source: str = ""
    scene_id: str | None = None

    @property
    def located(self) -> bool:
        """Whether pixels have map coordinates."""
        return self.crs is not None and self.transform is not None


@dataclass(frozen=True, slots=True)
class Region:
    """Something found in an image.

    Attributes:
        label: what it is.
        score: how sure, 0 to 1.
        box: left, top, right, bottom in pixels.
        rings: outline in pixels, outer ring first, each closed; empty when there is only the box.
        oriented: four corners of the smallest turned rectangle, in pixels; empty when not asked for.
        footprint: outline (or box) on Earth; None for an image without a position.
        centre: longitude, latitude; None without a position.
        facts: measured values: ``area`` in m2, ``length`` in m, ``from_class``, ``to_class`` and the like.
    """

    label: str
    score: float
    box: PixelBox
    rings: tuple[tuple[Point, ...], ...] = ()
    oriented: tuple[Point, ...] = ()
    footprint: Footprint | None = None
    centre: Position | None = None
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TaskResult:
    """What an adapter hands back.

    Attributes:
        task: one of :data:`TASKS`.
        subject: the image.
        sentences: the answer in words; citations are numbers of ``evidence``.
        evidence: what was retrieved and used.
        facts: numbers with units.
        regions: what was found where.
        layers: rasters in the image's grid.
        picture: the image as it was looked at, uint8 RGB [h, w, 3], at most 2048 px a side.
        provenance: models with fingerprints, version, seconds a stage.
        warnings: what is weaker than asked.
    """

    task: str
    subject: Subject
    sentences: tuple[Sentence, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    facts: tuple[Fact, ...] = ()
    regions: tuple[Region, ...] = ()
    layers: tuple[Layer, ...] = ()
    picture: Picture | None = field(default=None, repr=False)
    provenance: Provenance = field(default_factory=lambda: Provenance({}, "", ""))
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The answer as one paragraph, citations as [n]."""
        return " ".join(s.text + "".join(f" [{n}]" for n in s.citations) for s in self.sentences)

    def to_geojson(self, path: str | Path) -> int:
        """Write the regions (or the image's outline) as GeoJSON in WGS84; returns how many features.

        Raises:
            UsageError: the image has no position, or the file cannot be written.
        """
        from rsrag.adapters.vectors import write_geojson

        return write_geojson(self, given.path("path", path))

    def to_gpkg(self, path: str | Path) -> int:
        """Write the regions as GeoPackage in the image's CRS; returns how many features.

        Raises:
            UsageError: the image has no position, or the file cannot be written.
        """
        from rsrag.adapters.vectors import write_gpkg

        return write_gpkg(self, given.path("path", path))

    def to_geotiff(self, path: str | Path) -> tuple[Path, ...]:
        """Write the layers as COGs: the first to ``path``, others beside it with the layer's name added.

        Raises:
            UsageError: the result has no layer, or a file cannot be written.
        """
        from rsrag.adapters.outputs import write_geotiffs

        return write_geotiffs(self, given.path("path", path))

    def to_png(self, path: str | Path) -> None:
        """Draw the result over the image.

        Raises:
            UsageError: the file cannot be written.
        """
        from rsrag.adapters.outputs import write_png

        write_png(self, given.path("path", path))

    def to_html(self, path: str | Path) -> None:
        """Write a page with picture, text, numbers and evidence that loads nothing.

        Raises:
            UsageError: the file cannot be written.
        """
        from rsrag.adapters.page import write_html

        write_html(self, given.path("path", path))

    def write(self, path: str | Path) -> None:
        """Write in the form that the file's ending names: .geojson, .gpkg, .tif, .png or .html.

        Raises:
            UsageError: an unknown ending, or what the form's own method raises.
        """
        from rsrag.adapters.outputs import write

        write(self, given.path("path", path))


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What an adapter works with.

    Attributes:
        profile: the models.
        settings: all settings.
        archive: the open archive, for evidence and scenes of other dates; None without one.
        progress: told of stages and steps.
    """

    profile: Profile
    settings: Settings
    archive: Engine | None = None
    progress: Progress = field(default_factory=Silent)

    def fingerprints(self) -> Mapping[str, str]:
        """Image and text model with their fingerprints, for provenance."""
        return {"image": self.profile.image.fingerprint, "text": self.profile.text.fingerprint}


Request = TypeVar("Request", contravariant=True)
Result = TypeVar("Result", bound=TaskResult, covariant=True)


class Adapter(Protocol[Request, Result]):
    """A task. ``run`` has no state: equal requests give equal results."""

    name: str

    def run(self, request: Request, context: Context) -> Result:
        """Do it.

        Raises:
            SourceError: the image cannot be used.
            UsageError: the request makes no sense.
            ModelError: a model cannot be loaded.
        """
