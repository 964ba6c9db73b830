"""A catalogue with a few countries, lakes and airports, as gazetteers give them."""

from __future__ import annotations

from collections.abc import Sequence

from rsrag import geo
from rsrag.catalog import Catalog, PassageRow
from rsrag.types import BBox, Document, Fact, Passage, Place


def place(
    name: str,
    lon: float,
    lat: float,
    kind: str | None = None,
    country: str | None = None,
    *,
    box: BBox | None = None,
    facts: Sequence[Fact] = (),
    source: str = "atlas.geojson",
) -> Place:
    """A place whose id is its name; with a box, that is its extent."""
    extent = geo.footprint_from_bbox(box) if box is not None else None
    return Place(name, name, source, lon, lat, kind, country, extent=extent, facts=tuple(facts))


def _continent(name: str) -> Fact:
    return Fact("continent", name)


PLACES = (
    place("Iceland", -19, 65, "country", "Iceland", box=BBox(-24, 63.3, -13.5, 66.6),
          facts=[_continent("Europe"), Fact("pop_est", 339747.0)]),
    place("Greenland", -40, 72, "dependency", "Greenland",
          facts=[_continent("North America"), Fact("sovereignt", "Denmark"), Fact("pop_est", 57713.0)]),
    place("Peru", -75, -10, "country", "Peru", facts=[_continent("South America")]),
    place("Akureyri Airport", -18.07, 65.66, "airport", "Iceland",
          facts=[Fact("altitude", 6.0, "ft"), Fact("city", "Akureyri")]),
    place("Bakki Airport", -20.07, 63.55, "airport", "Iceland", facts=[Fact("altitude", 45.0, "ft")]),
    place("Kulusuk Airport", -37.12, 65.57, "airport", "Greenland", facts=[Fact("altitude", 36.0, "m")]),
    place("Mývatn", -17.0, 65.6, "lake", box=BBox(-17.1, 65.55, -16.9, 65.65)),
    place("Askja Lake", -16.75, 65.03, "alkaline lake", "admin-0", box=BBox(-16.8, 65.0, -16.7, 65.06)),
    place("Machu Picchu", -72.5, -13.1, "mixed", "Peru", facts=[Fact("year_inscribed", 1983.0)]),
    place("Thingvellir", -21.0, 64.25, "cultural", "Iceland", facts=[Fact("year_inscribed", 2004.0)]),
    place("Ice Park", -21.9, 64.1, None, "Iceland", source="/data/stadiums.csv"),
)  # fmt: skip


def fill(catalog: Catalog) -> None:
    """Store the places, each with a passage that names it."""
    catalog.save_places(PLACES, "atlas.geojson")
    catalog.save_document(Document("atlas", "atlas.geojson", "digest", "Atlas"), "atlas.geojson")
    passages = [
        Passage(f"about {p.name}", "atlas", n, f"{p.name} is told of.", None, p.id, p.lon, p.lat)
        for n, p in enumerate(PLACES)
    ]
    catalog.save_passages([PassageRow(passage, None, "none") for passage in passages])
