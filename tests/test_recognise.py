"""The tile that shows a picture's ground is tried early, however little the embedding thinks of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from ground import cut, ground

from rsrag import geo, geometric, layout, recognise
from rsrag.catalog import Catalog, TileRow
from rsrag.recognise import Recogniser, ranked
from rsrag.types import BBox, Hit, Scene, Tile, Window

STEP, SIDE = 192, 256
DEGREES = 0.0001
PICTURE = ground(21, 1024, 260)
CENTRE = (600.0, 420.0)
"""Of what is looked for; in the middle of the tile at (480, 288), were there one: the nearest starts at (384, 384)."""


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}") as opened:
        transform = (DEGREES, 0.0, 3.0, 0.0, -DEGREES, 46.0)
        scene = Scene("s", "s.tif", "d", "c", 1024, 1024, (), crs="EPSG:4326", transform=transform)
        opened.save_scene(scene, "s.tif")
        opened.save_tiles("s", [row(x, y) for y in range(0, 769, STEP) for x in range(0, 769, STEP)])
        yield opened


def row(x: int, y: int, *, known: bool = True) -> TileRow:
    shown = PICTURE[y : y + SIDE, x : x + SIDE]
    west, north = 3.0 + x * DEGREES, 46.0 - y * DEGREES
    box = BBox(west, north - SIDE * DEGREES, west + SIDE * DEGREES, north)
    tile = Tile(f"{x}-{y}", "s", Window(x, y, SIDE, SIDE), 1.0, f"{x}-{y}", 0, geo.footprint_from_bbox(box))
    jpeg = cv2.imencode(".jpg", shown[..., ::-1])[1].tobytes()
    return TileRow(tile, np.ones(4, np.float32), "m", jpeg, layout.layout(shown) if known else None)


def truth() -> set[str]:
    x, y = CENTRE
    return {
        f"{a}-{b}"
        for a in range(0, 769, STEP)
        for b in range(0, 769, STEP)
        if abs(a + 128 - x) < 100 > abs(b + 128 - y)
    }


def order(catalog: Catalog) -> list[str]:
    """All tiles as the worst of embeddings would have them: those of the right place last."""
    return sorted(catalog.tile_ids(), key=lambda i: (i in truth(), i))


def query(side: float = 240.0) -> np.ndarray:
    """What is looked for, in paler colours."""
    return (cut(PICTURE, CENTRE, 0.7, side) * 0.6 + 70).astype(np.uint8)


def test_what_lies_alike_is_tried_first(catalog: Catalog) -> None:
    matches = Recogniser(catalog).matches(query(), order(catalog), 6)
    best = max(matches, key=lambda i: matches[i].evidence)
    assert best in truth()
    assert matches[best].evidence >= geometric.MIN_EVIDENCE


def test_without_layouts_the_embedding_says_what_is_tried(catalog: Catalog) -> None:
    catalog.save_tiles("s", [row(x, y, known=False) for x, y in ((0, 0), (192, 0))])
    bare = [i for i in order(catalog) if i not in truth()]
    with catalog._writing("forget layouts") as connection:
        connection.exec_driver_sql("DELETE FROM layouts")
    matches = Recogniser(catalog).matches(query(), order(catalog), 6)
    assert set(matches) <= set(bare[:6])


def test_a_picture_of_another_size_is_found_in_the_second_round(catalog: Catalog, monkeypatch) -> None:
    monkeypatch.setattr(recognise, "_VERIFY_AT_ONCE", 2)
    matches = Recogniser(catalog).matches(query(165.0), order(catalog), 8)
    best = max(matches, key=lambda i: matches[i].evidence)
    assert best in truth()


def test_every_tile_is_tried_once_and_no_more_than_wanted(catalog: Catalog, monkeypatch) -> None:
    tried: list[str] = []

    class Blind(geometric.Verifier):
        def verify(self, query, candidates):
            tried.extend(identity for identity, _ in candidates)
            return {}

    monkeypatch.setattr(recognise.geometric, "Verifier", Blind)
    monkeypatch.setattr(recognise, "_VERIFY_AT_ONCE", 4)
    assert Recogniser(catalog).matches(query(), order(catalog), 15) == {}
    assert len(tried) == len(set(tried)) == 15
    tried.clear()
    assert Recogniser(catalog).matches(np.full((64, 64, 3), 9, np.uint8), order(catalog), 1000) == {}
    assert tried == order(catalog)


def test_the_order_of_hits_after_geometry(catalog: Catalog) -> None:
    ids = order(catalog)
    matches = Recogniser(catalog).matches(query(), ids, 6)
    records = catalog.resolve_tiles(ids)
    hits = [Hit("tile", i, 0.9 - n / 100, {}, tile=records[i][0], scene=records[i][1]) for n, i in enumerate(ids)]
    found = ranked(hits, matches, query())
    assert {h.id for h in found} == set(ids)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    first = found[0]
    assert first.id in truth()
    assert first.score > 0.5
    assert first.match is not None
    lon, lat = geo.centre(first.match)
    assert (lon, lat) == pytest.approx((3.0 + CENTRE[0] * DEGREES, 46.0 - CENTRE[1] * DEGREES), abs=4 * DEGREES)
    rest = [h for h in found if h.id not in matches]
    assert all(h.match is None and h.score == pytest.approx(0.25 * (0.9 - ids.index(h.id) / 100)) for h in rest)
