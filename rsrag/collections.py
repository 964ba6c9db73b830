"""The two collections of an archive, and how catalogue records become points in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsrag.indexes.base import CollectionSpec, Point, Vector
from rsrag.models.base import Profile
from rsrag.types import BBox, Passage, Place, Scene, Tile

TILES, PASSAGES = "tiles", "passages"
IMAGE, TEXT = "image", "text"
FACTS = (
    "valid_fraction",
    "brightness",
    "ndvi_mean",
    "ndwi_mean",
    "ndbi_mean",
    "area_km2",
    "vegetation_fraction",
    "water_fraction",
)
"""Facts of tiles that can be filtered by range."""
PASSAGE_WORDS = 80.0
"""Average length that BM25 assumes: the middle of what the splitter makes."""


def specs(profile: Profile) -> tuple[CollectionSpec, CollectionSpec]:
    """The collections for a profile's models."""
    image, text = profile.image, profile.text
    return (
        CollectionSpec(
            TILES,
            {IMAGE: image.dim},
            keywords=("scene", "collection", "sensor", "kind"),
            numbers=("scale", *(f"facts.{name}" for name in FACTS)),
            fingerprint={IMAGE: image.fingerprint},
        ),
        CollectionSpec(
            PASSAGES,
            {TEXT: text.dim, IMAGE: image.dim},
            text="bm25",
            average_words=PASSAGE_WORDS,
            keywords=("document", "place", "kind"),
            fingerprint={TEXT: text.fingerprint, IMAGE: image.fingerprint},
        ),
    )


def tile_point(tile: Tile, scene: Scene, vector: Vector) -> Point:
    """A tile as a point of the tiles collection."""
    payload: dict[str, Any] = {
        "scene": scene.id,
        "collection": scene.collection,
        "kind": "tile",
        "scale": tile.scale,
        "facts": {f.name: f.value for f in tile.facts if f.name in FACTS},
    }
    if scene.sensor:
        payload["sensor"] = scene.sensor
    box = tile.footprint.bbox if tile.footprint else None
    return Point(tile.id, {IMAGE: vector}, payload, box=box, when=scene.time)


def passage_point(passage: Passage, place: Place | None, vectors: Mapping[str, Vector]) -> Point:
    """A passage as a point of the passages collection; its text carries place and heading for BM25."""
    payload: dict[str, Any] = {"document": passage.document_id}
    if place is not None:
        payload["place"] = place.id
        if place.kind:
            payload["kind"] = place.kind
    box: BBox | None = None
    if passage.lon is not None and passage.lat is not None:
        box = BBox(passage.lon, passage.lat, passage.lon, passage.lat)
        if place is not None and place.extent is not None and (passage.lon, passage.lat) == (place.lon, place.lat):
            box = place.extent.bbox  # retrieval compares the exact shape
    usable = {name: vector for name, vector in vectors.items() if vector.any()}
    return Point(passage.id, usable, payload, text=passage_text(passage, place), box=box, when=passage.time)


def passage_text(passage: Passage, place: Place | None) -> str:
    """What is indexed of a passage: place, heading and text."""
    parts = [place.name if place else "", passage.heading or "", passage.text]
    return "\n".join(p for p in parts if p)
