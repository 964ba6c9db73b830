"""Hits and evidence for tests of everything between retrieval and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rsrag import geo
from rsrag.compose import number_evidence
from rsrag.times import parse_time
from rsrag.types import BBox, Document, Evidence, Fact, Hit, Passage, Place, Scene, Tile, Window

LAKE = Place("p-lake", "Lake Chad", "gazetteer", 14.0, 13.0, "lake", "Chad; Niger; Nigeria")
DESERT = Place("p-desert", "Namib", "gazetteer", 15.0, -24.0, "desert", "Namibia")
LAKE_TEXT = (
    "Lake Chad is a shallow lake in the Sahel. It covered about 25,000 km² in the 1960s. "
    "The lake was less than 7 m deep in 1972. Most of its water comes from the Chari River."
)
DESERT_TEXT = "The Namib is a coastal desert. Its dunes reach 300 m. It is among the oldest deserts on Earth."


def passage_hit(
    identity: str,
    text: str,
    place: Place | None = None,
    score: float = 0.9,
    *,
    heading: str | None = None,
    scores: Mapping[str, float] | None = None,
    when: str | None = None,
    facts: Sequence[Fact] = (),
) -> Hit:
    """A passage hit."""
    passage = Passage(
        identity, "doc", 0, text, heading, place.id if place else None,
        time=parse_time(when) if when else None, facts=tuple(facts),
    )  # fmt: skip
    document = Document("doc", "doc.md", "digest", "Gazetteer")
    return Hit("passage", identity, score, scores or {}, passage=passage, document=document, place=place)


def tile_hit(
    identity: str = "t1",
    *,
    scene: str = "s1",
    score: float = 0.8,
    group: str | None = None,
    box: BBox | None = BBox(14.0, 13.0, 14.2, 13.2),
    facts: Sequence[Fact] = (Fact("ndvi_mean", 0.4312), Fact("ndvi_std", 0.1), Fact("area_km2", 471.5, "km2")),
    when: str | None = "2020-05-31",
) -> Hit:
    """A tile hit of a Sentinel-2 scene."""
    footprint = geo.footprint_from_bbox(box) if box else None
    tile = Tile(identity, scene, Window(0, 0, 256, 256), 2.0, "digest", 0, footprint, tuple(facts), group)
    image = Scene(
        scene, f"/archive/{scene}.tif", "digest", "c", 512, 512, (), footprint, gsd_m=10.0,
        time=parse_time(when) if when else None, sensor="Sentinel-2",
    )  # fmt: skip
    return Hit("tile", identity, score, {}, tile=tile, scene=image)


def evidence(*hits: Hit) -> tuple[Evidence, ...]:
    """The hits as numbered evidence, all of them."""
    return number_evidence(hits, 100_000)
