"""The frozen dataclasses that the stages hand to each other. No imports beyond the standard library.

Words (the same in code, command line, API and docs): a *scene* is a source image; a *tile* a window of a scene at one
scale; a *place* a named thing with coordinates; a *document* a knowledge source; a *passage* a piece of its text; a
*query* a question and/or image with where and when; a *hit* one retrieved tile or passage with its scores; *evidence* a
hit chosen for the prompt, numbered; an *answer* sentences, each with citations, and provenance.

Coordinates are WGS84 longitude, latitude in degrees everywhere outside the readers. Times are timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

Position = tuple[float, float]
"""Longitude, latitude in degrees."""
Ring = tuple[Position, ...]
Polygon = tuple[Ring, ...]
"""Outer ring first, then holes; rings are closed."""
HitKind = Literal["tile", "passage"]
Json = Any


class BBox(NamedTuple):
    """Bounding box in degrees. ``west > east`` means that it crosses the antimeridian (RFC 7946)."""

    west: float
    south: float
    east: float
    north: float

    @property
    def crosses_antimeridian(self) -> bool:
        return self.west > self.east


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where something lies on Earth: polygons in WGS84, split at the antimeridian.

    Built by :mod:`rsrag.geo`, which also measures and compares footprints. Every longitude is in [-180, 180] and every
    latitude in [-90, 90]; a footprint that crosses the antimeridian consists of one polygon on either side.
    """

    polygons: tuple[Polygon, ...]
    bbox: BBox

    def to_geojson(self) -> dict[str, Json]:
        """The footprint as a GeoJSON geometry (Polygon or MultiPolygon)."""
        coordinates = [[[list(p) for p in ring] for ring in polygon] for polygon in self.polygons]
        if len(coordinates) == 1:
            return {"type": "Polygon", "coordinates": coordinates[0]}
        return {"type": "MultiPolygon", "coordinates": coordinates}


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A closed interval of UTC time; ``None`` is an open end. Unknown time is no TimeSpan at all, never 1970."""

    start: datetime | None
    end: datetime | None

    def overlaps(self, other: TimeSpan) -> bool:
        """Whether the two intervals share an instant."""
        before = self.end is not None and other.start is not None and self.end < other.start
        after = self.start is not None and other.end is not None and self.start > other.end
        return not (before or after)


@dataclass(frozen=True, slots=True)
class Fact:
    """A value with its unit, measured from pixels or read from a source. ``unit`` is "1" for a ratio."""

    name: str
    value: float | str
    unit: str = "1"


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a scene as it lies in the file. ``role`` is a common name: red, green, blue, nir, swir16, vv, ..."""

    index: int
    role: str | None
    dtype: str
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    description: str | None = None


class Window(NamedTuple):
    """A rectangle of scene pixels."""

    col: int
    row: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A source image: a file or the asset of a STAC item.

    ``transform`` is the affine (a, b, c, d, e, f) from pixel to ``crs``; ``stretch`` records how band values became the
    8-bit picture that the encoder saw.
    """

    id: str
    source: str
    digest: str
    collection: str
    width: int
    height: int
    bands: tuple[Band, ...]
    footprint: Footprint | None = None
    crs: str | None = None
    transform: tuple[float, float, float, float, float, float] | None = None
    gsd_m: float | None = None
    time: TimeSpan | None = None
    sensor: str | None = None
    title: str | None = None
    licence: str | None = None
    stretch: str | None = None
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tile:
    """A window of a scene at one scale.

    ``scale`` is the number of scene pixels per tile pixel; ``digest`` is of the 8-bit pixels the encoder saw, ``phash``
    a 64-bit perceptual hash of them, and ``group`` the id of the first tile that looks the same (near-duplicates).
    """

    id: str
    scene_id: str
    window: Window
    scale: float
    digest: str
    phash: int
    footprint: Footprint | None = None
    facts: tuple[Fact, ...] = ()
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A named thing with coordinates."""

    id: str
    name: str
    source: str
    lon: float
    lat: float
    kind: str | None = None
    country: str | None = None
    aliases: tuple[str, ...] = ()
    extent: Footprint | None = None
    facts: tuple[Fact, ...] = ()
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A source of knowledge text."""

    id: str
    source: str
    digest: str
    title: str
    licence: str | None = None
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document's text, usually about a place. ``sources`` name the works it cites, for the reader."""

    id: str
    document_id: str
    ordinal: int
    text: str
    heading: str | None = None
    place_id: str | None = None
    lon: float | None = None
    lat: float | None = None
    time: TimeSpan | None = None
    facts: tuple[Fact, ...] = ()
    picture: str | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemError:
    """An item that ingest could not use: kept in the catalogue, shown in the summary."""

    source: str
    code: str
    reason: str
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """What a search is limited to; names as in the STAC API. ``sensors`` and ``kinds`` match exactly, any of them."""

    bbox: BBox | None = None
    intersects: Footprint | None = None
    when: TimeSpan | None = None
    collections: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    facts: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return self == Filters()


@dataclass(frozen=True, slots=True, eq=False)
class QueryImage:
    """An image to ask about. ``pixels`` is uint8 RGB of shape [H, W, 3]; ``name`` is for display only."""

    pixels: np.ndarray[Any, Any]
    name: str
    footprint: Footprint | None = None
    time: TimeSpan | None = None
    gsd_m: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A question and/or image, with where and when, and what to limit the search to."""

    text: str | None = None
    image: QueryImage | None = None
    where: str | Position | None = None
    filters: Filters = field(default_factory=Filters)
    limit: int = 8


@dataclass(frozen=True, slots=True)
class Location:
    """Where an image is believed to lie, and why.

    ``method`` is "given" (the image said so), "stated" (the question said so), "geometry" (verified by matching local
    features with an archive tile) or "agreement" (its best tiles lie near each other). ``confidence`` is in [0, 1];
    ``error_km`` the radius that holds the centre.
    """

    lon: float
    lat: float
    method: Literal["given", "geometry", "agreement", "stated"]
    confidence: float
    error_km: float
    footprint: Footprint | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One retrieved tile or passage. ``scores`` holds every channel's and stage's figure; ``score`` the final one."""

    kind: HitKind
    id: str
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    tile: Tile | None = None
    scene: Scene | None = None
    passage: Passage | None = None
    document: Document | None = None
    place: Place | None = None
    match: Footprint | None = None

    @property
    def footprint(self) -> Footprint | None:
        """Where the hit lies: the tile's footprint, that of a scene measured whole, or the place's extent."""
        if self.tile is not None:
            return self.tile.footprint
        if self.kind == "tile" and self.scene is not None:
            return self.scene.footprint
        return self.place.extent if self.place is not None else None

    @property
    def title(self) -> str:
        """A short name for people."""
        if self.kind == "tile":
            return (self.scene.title or self.scene.source.rsplit("/", 1)[-1]) if self.scene else self.id
        if self.place is not None:
            return self.place.name
        return self.document.title if self.document else self.id


@dataclass(frozen=True, slots=True)
class Evidence:
    """A hit chosen for the prompt. ``number`` is what [n] in an answer refers to; ``text`` is what the reader sees."""

    number: int
    hit: Hit
    text: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of an answer. ``supported`` is False when no cited evidence backs it."""

    text: str
    citations: tuple[int, ...]
    supported: bool = True


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made an answer: model names with digests, prompt template with version, rsrag version, seconds a stage."""

    models: Mapping[str, str]
    prompt: str
    version: str
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """Sentences with citations, or an abstention that says why."""

    question: str
    sentences: tuple[Sentence, ...]
    evidence: tuple[Evidence, ...]
    abstained: bool
    confidence: float
    provenance: Provenance
    reason: str | None = None
    location: Location | None = None
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The answer as one paragraph, citations as [n]; an abstention gives its reason."""
        if self.abstained:
            return self.reason or "The archive holds no evidence for an answer."
        return " ".join(s.text + "".join(f" [{n}]" for n in s.citations) for s in self.sentences)
