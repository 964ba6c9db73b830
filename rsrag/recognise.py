"""Is the ground of a picture in the archive? Tiles whose edges lie as its own are tried first, by geometry.

The embedding says what kind of ground a picture shows, which a thousand tiles of one region share; the layout
(:mod:`rsrag.layout`) says which of them it may be; local features (:mod:`rsrag.geometric`) prove it, at some thirty
milliseconds a tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, zip_longest

import numpy as np

from rsrag import geo, geometric, layout, locate
from rsrag.catalog import Catalog
from rsrag.models.base import Picture
from rsrag.types import Footprint, Hit

DEPTH = 2000
"""So many tiles, by the embedding, are compared by their layout."""
_VERIFY_AT_ONCE = 40
_ENOUGH_VERIFIED = 2
"""Matches beyond chance after which no further, less alike tiles are verified."""
_OTHER_SIDES = (0.62, 0.75, 1.12, 1.37)
"""Sides of a query as shares of a tile's that are tried when it is not about as large as a tile."""


class Recogniser:
    """Finds the tiles that show the same ground as a picture. Keeps the local features of tiles for the next one."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._verifier = geometric.Verifier()

    def matches(self, picture: Picture, ids: Sequence[str], most: int) -> dict[str, geometric.Match]:
        """How the picture lies on tiles: on those that were tried and have anything in common with it.

        Args:
            picture: uint8 [H, W, 3], RGB.
            ids: of tiles, the most similar first.
            most: tiles that are tried.
        """
        query = geometric.extract(picture)
        found: dict[str, geometric.Match] = {}
        left = iter(islice(self._in_turn(picture, ids), most))
        while batch := list(islice(left, _VERIFY_AT_ONCE)):
            known = ((identity, self._catalog.thumbnail(identity)) for identity in batch)
            found |= self._verifier.verify(query, [(identity, data) for identity, data in known if data])
            if sum(match.evidence >= geometric.MIN_EVIDENCE for match in found.values()) >= _ENOUGH_VERIFIED:
                break
        return found

    def _in_turn(self, picture: Picture, ids: Sequence[str]) -> Iterator[str]:
        """Tiles in the order in which they are tried: alike in layout and in the embedding by turns."""
        layouts = self._catalog.layouts(ids)
        known, cells = list(layouts), np.array(list(layouts.values()), np.int8).reshape(-1, layout.LENGTH)
        alike = np.zeros(len(known), np.float32)
        seen: set[str] = set()
        for sides, count in (((layout.SIDE,), _VERIFY_AT_ONCE), (_OTHER_SIDES, None)):
            if known:
                alike = np.maximum(alike, layout.likeness(layout.poses(picture, sides), cells))
            nearest = [known[row] for row in np.argsort(-alike, kind="stable") if alike[row] > 0]
            by_turns = dict.fromkeys(i for pair in zip_longest(nearest, ids) for i in pair if i is not None)
            for identity in islice((i for i in by_turns if i not in seen), count):
                seen.add(identity)
                yield identity


def ranked(tiles: Sequence[Hit], matches: Mapping[str, geometric.Match], picture: Picture) -> list[Hit]:
    """Tiles re-ranked by geometry: verified ones first, by how alike tile and query outline are.

    A tile is verified when the evidence of all tiles that put the picture in the same spot rule out chance. Its
    score is ``0.5 + 0.5·confidence·IoU``; that of the others ``0.25·cosine + 0.25·confidence``.

    Args:
        tiles: with their scenes, scored by the embedding.
        matches: of :meth:`Recogniser.matches`.
        picture: uint8 [H, W, 3], RGB, that was looked for.
    """
    size = (picture.shape[1], picture.shape[0])
    outlines: dict[str, Footprint] = {}
    for hit in tiles:
        found = matches.get(hit.id)
        if found and hit.tile and hit.scene:
            outline = geometric.outline(found, size, hit.tile, hit.scene)
            if outline is not None:
                outlines[hit.id] = outline
    scenes = {h.id: h.tile.scene_id for h in tiles if h.tile is not None}
    totals = geometric.consensus(
        list(outlines.values()), [matches[i].evidence for i in outlines], [scenes[i] for i in outlines]
    )
    support = dict(zip(outlines, totals, strict=True))
    scored = [_scored(h, matches.get(h.id), outlines.get(h.id), support.get(h.id, 0.0)) for h in tiles]
    return sorted(scored, key=lambda h: (-h.score, h.id))


def _scored(hit: Hit, found: geometric.Match | None, outline: Footprint | None, support: float) -> Hit:
    """A tile with its score.

    Args:
        hit: the tile, scored by the embedding.
        found: its match.
        outline: where the match puts the picture.
        support: evidence for that spot, of all tiles.
    """
    score, scores = 0.25 * max(hit.score, 0.0), dict(hit.scores)
    if found is None:
        return replace(hit, score=score, match=None)
    sure = geometric.confidence(max(support, found.evidence))
    scores |= {"inliers": float(found.inliers), "support": support}
    scores |= {"agreement": found.agreement} if found.agreement is not None else {}
    if not (outline and hit.footprint and geometric.is_verified(found.evidence, support)):
        return replace(hit, score=score + 0.25 * sure, scores=scores, match=None)
    pixel_km = locate.size_km(hit.footprint) / math.sqrt(math.prod(found.tile_size))
    scores |= {"geometry": sure, "error_km": geometric.ERROR_DEVIATIONS * found.deviation_px * pixel_km}
    return replace(hit, score=0.5 + 0.5 * sure * geo.iou(outline, hit.footprint), scores=scores, match=outline)
