"""From a query to its hits: channels searched at once, images verified, places located, rankings fused.

Channels: image→tiles, image→passages (places with a picture), words→tiles, question→passages dense, question→passages
BM25, and place→passages: the knowledge about places near the location, which is given, stated, verified or estimated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import cast

import numpy as np

from rsrag import geo, locate
from rsrag.areas import Areas, smallest
from rsrag.catalog import Catalog
from rsrag.collections import IMAGE, PASSAGES, TEXT, TILES
from rsrag.config import Settings
from rsrag.errors import IndexFailure, UsageError
from rsrag.fuse import Fused, Ranking, alpha_fusion, rrf
from rsrag.geometric import Match
from rsrag.indexes.base import IndexFilter, Scored, Vector, VectorIndex
from rsrag.models.base import Picture, Profile
from rsrag.models.turns import vectors_of
from rsrag.nearness import by_overlap_and_rest, near_first, timely_first, wanted_time, weigh_location
from rsrag.places import PlaceFinder
from rsrag.recognise import DEPTH, Recogniser, ranked
from rsrag.rerank import diversify, rerank
from rsrag.types import BBox, Filters, Footprint, Hit, Location, Place, Query

_DEPTH = 100
_RERANK = 100
_NEAR_PLACES, _NEAR_PASSAGES = 12, 40
"""Of so many places near the location, so many passages are added to those that the channels found."""
_BROWSED = 1000
"""Most tiles that are listed without a query."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a query found: tile hits and passage hits, each best first, and what was learned on the way."""

    tiles: tuple[Hit, ...] = ()
    passages: tuple[Hit, ...] = ()
    location: Location | None = None
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def shown(self, kind: str, limit: int) -> list[Hit]:
        """What a search shows: hits of one kind ("tile" or "passage"), or of both ("all"), half of them tiles of
        different scenes; at most ``limit``."""
        if kind != "all":
            return list((self.tiles if kind == "tile" else self.passages)[:limit])
        return merge(self, limit, tiles_first=max(limit // 2, limit - len(self.passages)))


class Retriever:
    """Finds and ranks evidence. One per engine; holds no state but caches."""

    def __init__(self, index: VectorIndex, catalog: Catalog, profile: Profile, settings: Settings) -> None:
        self._index = index
        self._catalog = catalog
        self._profile = profile
        self._settings = settings
        self._recogniser = Recogniser(catalog)
        self._places = PlaceFinder(catalog, index)

    def run(self, query: Query, *, verify: bool = True) -> Retrieval:
        """Every stage of retrieval for one query.

        Args:
            query: text, image or both; ``where`` is a place name or a position.
            verify: whether image hits are verified by geometry.

        Raises:
            UsageError: a query without text, image, place or filter.
        """
        if not (query.text or query.image or query.where or not query.filters.empty):
            raise UsageError("nothing to search for", hint="give a question, an image, a place or a filter")
        clock = _Clock()
        warnings = self._warnings(query.filters)
        with clock("encode"):
            image_vector = self._encode_image(query.image.pixels) if query.image else None
            words, question = self._encode_text(query.text) if query.text else (None, None)
        location = self._places.known(query, warnings)
        lost = query.image is not None and location is None
        seeking = lost and verify and self._settings.verify_candidates > 0
        with clock("search"):
            found = self._search_channels(query, image_vector, words, question, among=DEPTH if seeking else 0)
        if query.image is not None and seeking and "image" in found:
            with clock("verify"):
                tiles = self._sought(query.image.pixels, found, query)
        else:
            tiles = self._tile_hits(found, query.filters)
        location = _best_location(tiles) if lost else location
        with clock("fuse"):
            closeness = self._places.near(location, query.filters)
            passages = self._passage_hits(query, found, tiles, location, closeness)
        if location is not None and location.method != "agreement":
            with clock("tiles there"):
                asked = ("image", image_vector) if words is None else ("words", words)
                tiles = self._tiles_there(location, tiles, query, *asked)
                if query.image is not None and location.method == "given" and verify:
                    tiles = by_overlap_and_rest(self._recognised(query.image.pixels, tiles), location)
        wanted = wanted_time(query)
        if wanted is not None:
            tiles = timely_first(tiles, wanted)
        return Retrieval(tuple(tiles), tuple(passages), location, tuple(warnings), dict(clock.seconds))

    def _warnings(self, filters: Filters) -> list[str]:
        """What makes an empty result certain before anything is searched.

        Raises:
            IndexFailure: the index is empty and the catalogue is not.
        """
        if not self._index.count(TILES) and not self._index.count(PASSAGES):
            counts = self._catalog.counts()
            if counts["tiles"] or counts["passages"]:
                held = f"{counts['tiles']} tiles and {counts['passages']} passages"
                raise IndexFailure(f"the index is empty, but the catalogue holds {held}", hint="rsrag reindex")
            return ["the archive is empty: rsrag ingest SOURCES"]
        unknown = set(filters.collections) - set(self._catalog.collections()) if filters.collections else set()
        if unknown:
            known = ", ".join(self._catalog.collections()) or "none"
            return [f"no collection {', '.join(sorted(unknown))} in the archive; it has: {known}"]
        return []

    # --- encoding -----------------------------------------------------------------------------------------------

    def _encode_image(self, picture: Picture) -> Vector:
        """Mean vector of the picture in its four right-angled turns: nadir images have no upright."""
        mean: Vector = vectors_of(self._profile.image, [picture], 4)[0]
        return mean

    def _encode_text(self, text: str) -> tuple[Vector | None, Vector | None]:
        words = self._profile.image.encode_words([text])[0]
        question = self._profile.text.encode_questions([text])[0]
        return (words if words.any() else None), (question if question.any() else None)

    # --- channels -----------------------------------------------------------------------------------------------

    def _search_channels(
        self, query: Query, image: Vector | None, words: Vector | None, question: Vector | None, *, among: int
    ) -> dict[str, list[Scored]]:
        """Hits by channel; ``among`` is of how many tiles the picture's own place is sought."""
        index, filters, text = self._index, query.filters, query.text
        tile_filter, passage_filter = index_filter(filters), index_filter(filters, for_passages=True)
        depth = max(_DEPTH, 3 * query.limit)
        jobs: dict[str, Callable[[], list[Scored]]] = {}
        if index.count(TILES):
            if image is not None:
                jobs["image"] = lambda: index.search(TILES, IMAGE, image, max(depth, among), tile_filter)
            if words is not None:
                jobs["words"] = lambda: index.search(TILES, IMAGE, words, depth, tile_filter)
        if index.count(PASSAGES):
            if image is not None:
                jobs["picture"] = lambda: index.search(PASSAGES, IMAGE, image, depth, passage_filter)
            if question is not None:
                jobs["dense"] = lambda: index.search(PASSAGES, TEXT, question, depth, passage_filter)
            if text:
                jobs["bm25"] = lambda: index.search_text(PASSAGES, text, depth, passage_filter)
        if not jobs:
            return {}
        with ThreadPoolExecutor(len(jobs)) as pool:
            futures = {name: pool.submit(job) for name, job in jobs.items()}
            return {name: future.result() for name, future in futures.items()}

    # --- tiles --------------------------------------------------------------------------------------------------

    def _tile_hits(self, found: Mapping[str, Sequence[Scored]], filters: Filters) -> list[Hit]:
        if not filters.empty and "image" not in found and "words" not in found:
            return self.browse(filters)
        scores = {channel: {item.id: item.score for item in found.get(channel, ())} for channel in ("image", "words")}
        own = scores["image" if "image" in found else "words"]
        areas = Areas(filters)
        hits = []
        for identity, (tile, scene) in self._catalog.resolve_tiles(list(own)).items():
            if areas.touch(tile.footprint):
                by_channel = {channel: by_id[identity] for channel, by_id in scores.items() if identity in by_id}
                hits.append(Hit("tile", identity, own[identity], by_channel, tile=tile, scene=scene))
        return sorted(hits, key=lambda h: (-h.score, h.id))

    def browse(self, filters: Filters, limit: int = _BROWSED, *, spot: BBox | None = None) -> list[Hit]:
        """Tiles that pass the filters, coarsest first: what a search without a query shows.

        Args:
            filters: all but kinds of places hold for tiles.
            limit: most tiles.
            spot: where to look, besides.
        """
        areas = Areas(filters)
        hits: list[Hit] = []
        for ids in self._coarsest(_tile_filter(filters, spot), limit):
            if areas.drawn:
                ids = [i for i, tile in self._catalog.tiles(ids).items() if areas.touch(tile.footprint)]
            for identity, (tile, scene) in self._catalog.resolve_tiles(ids).items():
                hits.append(Hit("tile", identity, tile.scale, tile=tile, scene=scene))
            if len(hits) >= limit:
                break
        return sorted(hits, key=lambda h: (-h.score, h.id))[:limit]

    def _coarsest(self, where: IndexFilter, at_once: int) -> Iterator[list[str]]:
        """Ids of the tiles in the index that pass, in lists, by powers of two of their scale, coarsest first.

        A thin shape leaves few of the tiles that its box finds, so the search goes deeper as long as it is asked to.
        """
        anything = np.eye(1, self._profile.image.dim, dtype=np.float32)[0]
        power = 1
        while self._index.count(TILES, _scaled(where, 2.0**power, None)):
            power += 1
        for lowest in range(power - 1, -1, -1):
            below = math.nextafter(2.0 ** (lowest + 1), 0.0)
            band = _scaled(where, 2.0**lowest if lowest else None, below)
            seen: set[str] = set()
            depth = at_once
            while True:
                found = [s.id for s in self._index.search(TILES, IMAGE, anything, depth, band)]
                fresh = [identity for identity in found if identity not in seen]
                for start in range(0, len(fresh), at_once):
                    yield fresh[start : start + at_once]
                seen.update(fresh)
                if len(found) < depth:
                    break
                depth *= 4

    def _sought(self, picture: Picture, found: dict[str, list[Scored]], query: Query) -> list[Hit]:
        """Tiles as a search by the picture brings them, and those that match it from further down, by geometry."""
        matches = self._matches(picture, [s.id for s in found["image"]])
        deep = max(_DEPTH, 3 * query.limit)
        near = [s for i, s in enumerate(found["image"]) if i < deep or s.id in matches]
        return ranked(self._tile_hits({**found, "image": near}, query.filters), matches, picture)

    def _matches(self, picture: Picture, ids: Sequence[str]) -> dict[str, Match]:
        return self._recogniser.matches(picture, ids, self._settings.verify_candidates)

    def _recognised(self, picture: Picture, tiles: Sequence[Hit]) -> list[Hit]:
        """Tiles that are known to lie where the picture does, re-ranked by geometry."""
        return ranked(tiles, self._matches(picture, [h.id for h in tiles]), picture)

    def _tiles_there(
        self, location: Location, tiles: Sequence[Hit], query: Query, channel: str, vector: Vector | None
    ) -> list[Hit]:
        """Tiles at a known location first, those of other dates that the search itself did not reach included.

        Args:
            location: where the query lies.
            tiles: what the search found.
            query: what was asked.
            channel: whether ``vector`` is of the "image" or the "words".
            vector: what tiles there are compared with; None lists them.
        """
        spot = location.footprint or geo.around((location.lon, location.lat), max(location.error_km, 0.5))
        if vector is None:
            found = self.browse(query.filters, spot=spot.bbox)
        else:
            where = _tile_filter(query.filters, spot.bbox)
            found = self._tile_hits({channel: self._index.search(TILES, IMAGE, vector, _DEPTH, where)}, query.filters)
        known = {h.id: h for h in tiles}
        if location.footprint is None:
            return near_first(list({**{h.id: h for h in found}, **known}.values()), location)
        return by_overlap_and_rest([*(known.get(h.id, h) for h in found), *tiles], location)

    # --- passages -----------------------------------------------------------------------------------------------

    def _passage_hits(
        self,
        query: Query,
        found: Mapping[str, Sequence[Scored]],
        tiles: Sequence[Hit],
        location: Location | None,
        closeness: Mapping[str, tuple[Place, float]],
    ) -> list[Hit]:
        nearby = islice(closeness.values(), _NEAR_PLACES)
        near = {p.id: value for place, value in nearby for p in self._catalog.passages_of_place(place.id)}
        rankings = {c: [(s.id, s.score) for s in found[c]] for c in ("bm25", "dense", "picture") if found.get(c)}
        if not rankings and not near:
            return self._passages_within(query.filters)
        if self._settings.fusion == "alpha" and (query.text or query.image):
            return self._alpha(rankings, tiles, query.filters)
        fused = {f.id: f for f in rrf(rankings)}
        nearest = sorted(near, key=lambda i: (-near[i], i))[:_NEAR_PASSAGES]
        chosen = list(dict.fromkeys([*list(fused)[:_DEPTH], *nearest]))
        hits = [
            replace(hit, score=fused[hit.id].score if hit.id in fused else 0.0)
            for hit in self._resolve(chosen, fused, query.filters)
        ]
        if query.text and self._profile.reranker is not None:
            close = set(nearest)
            head = [h for i, h in enumerate(hits) if i < _RERANK or h.id in close]
            tail = [h for i, h in enumerate(hits) if i >= _RERANK and h.id not in close]
            hits = rerank(query.text, [*head, *tail], self._profile.reranker, depth=len(head))
        # also those of places further down the list, which the question may be about
        near |= {h.id: closeness[h.place.id][1] for h in hits if h.place is not None and h.place.id in closeness}
        return weigh_location(hits, near, location)

    def _passages_within(self, filters: Filters) -> list[Hit]:
        """Passages about the places in an area: what a search by area alone shows."""
        box, areas = _box(filters), Areas(filters)
        places = self._catalog.places_in(box) if box else []
        fitting = (p for p in places if not filters.kinds or p.kind in filters.kinds)
        chosen = islice((p for p in fitting if areas.hold(p.lon, p.lat, p.extent)), _DEPTH)
        ids = [passage.id for place in chosen for passage in self._catalog.passages_of_place(place.id)[:2]]
        return self._resolve(ids, {}, filters)

    def _alpha(self, rankings: Mapping[str, Ranking], tiles: Sequence[Hit], filters: Filters) -> list[Hit]:
        """RS-RAG's procedure: weighted cosines, sorted; nothing else."""
        texts = dict(rankings.get("dense", ()))
        images = dict(rankings.get("picture", ())) or self._images_of(tiles, list(texts))
        fused = {f.id: f for f in alpha_fusion(images, texts, self._settings.alpha)}
        hits = self._resolve(list(fused)[:_DEPTH], fused, filters)
        return [replace(hit, score=fused[hit.id].score) for hit in hits]

    def _resolve(self, ids: Sequence[str], fused: Mapping[str, Fused], filters: Filters) -> list[Hit]:
        records, areas = self._catalog.resolve_passages(ids), Areas(filters)
        hits = []
        for identity in ids:
            if identity not in records:
                continue
            passage, document, place = records[identity]
            if areas.hold(passage.lon, passage.lat, place.extent if place else None):
                scores = {**fused[identity].channels, "fused": fused[identity].score} if identity in fused else {}
                hits.append(Hit("passage", identity, 0.0, scores, passage=passage, document=document, place=place))
        return hits

    def _images_of(self, tiles: Sequence[Hit], passages: Sequence[str]) -> dict[str, float]:
        """For RS-RAG's fusion without pictures of places: the best cosine of a tile that holds the place."""
        best: dict[str, float] = {}
        for identity, (passage, _, _) in self._catalog.resolve_passages(passages).items():
            if passage.lon is None or passage.lat is None:
                continue
            for hit in tiles[:_DEPTH]:
                if hit.footprint is not None and geo.holds(hit.footprint, (passage.lon, passage.lat)):
                    best[identity] = max(best.get(identity, 0.0), hit.scores.get("image", 0.0))
        return best


def index_filter(filters: Filters, *, for_passages: bool = False) -> IndexFilter | None:
    """The part of the filters that the engine applies; geometries are refined exactly afterwards.

    Passages have a kind of place and perhaps a position, but no collection, sensor or date: those are for tiles.
    """
    match: dict[str, Sequence[str]] = {}
    if for_passages:
        if filters.kinds:
            match["kind"] = filters.kinds
        result = IndexFilter(box=_box(filters), match=match)
    else:
        if filters.collections:
            match["collection"] = filters.collections
        if filters.sensors:
            match["sensor"] = filters.sensors
        if filters.scenes:
            match["scene"] = filters.scenes
        ranges = {f"facts.{name}": bounds for name, bounds in filters.facts.items()}
        result = IndexFilter(box=_box(filters), when=filters.when, match=match, ranges=ranges)
    return None if result.empty else result


def _tile_filter(filters: Filters, spot: BBox | None) -> IndexFilter:
    """The index's part of the filters for tiles, at a spot besides.

    The index takes one box. The smallest is given, because what lies outside of it must not use up the depth of the
    search; the filters' own are compared exactly afterwards.
    """
    return replace(index_filter(filters) or IndexFilter(), box=smallest(_box(filters), spot))


def _scaled(where: IndexFilter, least: float | None, most: float | None) -> IndexFilter:
    return replace(where, ranges={**where.ranges, "scale": (least, most)})


def _box(filters: Filters) -> BBox | None:
    return smallest(filters.bbox, filters.intersects.bbox if filters.intersects else None)


def _best_location(tiles: Sequence[Hit]) -> Location | None:
    """Verified geometry when there is any, by the match with the most evidence; else agreement among the best tiles."""
    verified = [h for h in tiles if h.match is not None]
    if not verified:
        return locate.by_agreement(tiles)
    best = max(verified, key=lambda h: (h.scores["support"], h.scores["inliers"]))
    footprint = cast(Footprint, best.match)
    lon, lat = geo.centre(footprint)
    return Location(lon, lat, "geometry", best.scores["geometry"], best.scores["error_km"], footprint)


def merge(retrieval: Retrieval, limit: int, *, tiles_first: int = 2) -> list[Hit]:
    """Evidence of both kinds in one list: up to ``tiles_first`` distinct tiles, then passages, then further tiles."""
    tiles = diversify(retrieval.tiles, per_scene=1)
    passages = diversify(retrieval.passages, per_place=4)
    head = tiles[:tiles_first]
    room = max(limit - len(head), 0)
    return [*head, *passages[:room], *tiles[tiles_first:]][:limit]


class _Clock:
    """Seconds spent in named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
