"""Options that several commands share; names as in the STAC API where it has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rsrag.types import Filters

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Image = Annotated[
    Path | None,
    typer.Option(
        "--image",
        "-i",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Image to ask about: GeoTIFF, PNG, JPEG, JP2.",
    ),
]
Where = Annotated[
    str | None, typer.Option(metavar="PLACE|LON,LAT", help="Where it is: a place in the archive, or a position.")
]
Box = Annotated[
    tuple[float, float, float, float] | None,
    typer.Option("--bbox", metavar="W S E N", help="Box in degrees to touch, also with --where; W > E: across 180°."),
]
When = Annotated[
    str | None,
    typer.Option(
        "--datetime",
        "--when",
        metavar="DATE|START/END",
        help="A date (2020, 2020-05, …) or interval; of tiles, passages stay.",
    ),
]
Intersects = Annotated[
    str | None,
    typer.Option(metavar="FILE|GEOJSON|WKT", help="Polygon that results must touch, in longitude, latitude."),
]
Collections = Annotated[
    list[str] | None,
    typer.Option(
        "--collections", "-c", metavar="NAME", help="Collections of tiles, passages stay; repeat, or use commas."
    ),
]
Sensors = Annotated[
    list[str] | None,
    typer.Option("--sensor", metavar="NAME", help="Sensors of tiles, passages stay; repeat, or use commas."),
]
Facts = Annotated[
    list[str] | None,
    typer.Option("--fact", metavar="CONDITION", help='Condition on a measured fact, such as "ndvi_mean>0.5". Repeat.'),
]
Bands = Annotated[
    str | None, typer.Option(metavar="ROLE=N,…", help="Which band is what, such as red=4,green=3,blue=2,nir=8.")
]
Limit = Annotated[int | None, typer.Option("--limit", "--k", "-k", min=1, max=1000, metavar="N", help="Most results.")]
Fusion = Annotated[str | None, typer.Option(metavar="rrf|alpha", help="How the channels become one ranking.")]
Alpha = Annotated[
    float | None, typer.Option(min=0, max=1, metavar="0…1", help="Weight of the image with --fusion alpha.")
]
Reader = Annotated[
    str | None,
    typer.Option(metavar="NAME|PATH", help="Model that answers: extractive, endpoint, or a model directory."),
]


def split(values: list[str] | None) -> tuple[str, ...]:
    """Names given by repeating an option or with commas."""
    return tuple(name.strip() for value in values or () for name in value.split(",") if name.strip())


def build_filters(
    *,
    bbox: tuple[float, float, float, float] | None = None,
    when: str | None = None,
    intersects: str | None = None,
    collections: list[str] | None = None,
    sensors: list[str] | None = None,
    facts: list[str] | None = None,
) -> Filters:
    """Filters from what was written on the command line.

    Raises:
        UsageError: one of them cannot be read.
    """
    from rsrag.collections import FACTS
    from rsrag.filters import parse_bbox, parse_facts, parse_intersects
    from rsrag.times import parse_span
    from rsrag.types import Filters

    return Filters(
        bbox=parse_bbox(bbox) if bbox is not None else None,
        intersects=parse_intersects(intersects) if intersects is not None else None,
        when=parse_span(when) if when is not None else None,
        collections=split(collections),
        sensors=split(sensors),
        facts=parse_facts(facts or (), FACTS),
    )
