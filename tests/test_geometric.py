"""Geometric verification: right transform for altered views, none for other ground."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag import geo, geometric
from rsrag.types import BBox, Scene, Tile, Window

TRANSFORM = (0.001, 0.0, 10.0, 0.0, -0.001, 50.0)


def ground(seed: int, size: int = 400) -> np.ndarray:
    """Fields of different brightness with roads between them: structure at several scales."""
    rng = np.random.default_rng(seed)
    picture = np.full((size, size, 3), 110, np.uint8)
    for _ in range(160):
        x, y = rng.integers(0, size, 2)
        w, h = rng.integers(6, 60, 2)
        box = cv2.boxPoints(((float(x), float(y)), (float(w), float(h)), float(rng.uniform(0, 90))))
        cv2.fillPoly(picture, [box.astype(np.int32)], tuple(int(v) for v in rng.integers(20, 240, 3)))
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def view(picture: np.ndarray, centre: tuple[float, float], side: int, angle: float, zoom: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D(centre, angle, zoom)
    matrix[:, 2] += side / 2 - np.array(centre)
    return cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize(("angle", "zoom"), [(0, 1.0), (37, 1.0), (90, 1.3), (200, 0.75), (301, 1.0)])
def test_altered_view_is_found_where_it_is(angle: float, zoom: float) -> None:
    whole = ground(1)
    tile = np.ascontiguousarray(whole[72:328, 72:328])
    query = view(whole, (190.0, 210.0), 180, angle, zoom)
    query = np.clip(query.astype(np.float32) * [0.8, 1.1, 1.0] + 12, 0, 255).astype(np.uint8)
    match = geometric.match(geometric.extract(query), geometric.extract(tile))
    assert match is not None
    assert match.evidence >= geometric.MIN_EVIDENCE and (match.agreement or 0) > 6
    assert match.scale == pytest.approx(1 / zoom, rel=0.03)
    centre = match.matrix @ np.array([90.0, 90.0, 1.0])
    assert centre == pytest.approx([190 - 72, 210 - 72], abs=3)


def test_other_ground_is_not_verified() -> None:
    tiles = [geometric.extract(ground(seed)[:256, :256]) for seed in range(10, 16)]
    found = [geometric.match(a, b) for i, a in enumerate(tiles) for b in tiles[i + 1 :]]
    assert max((m.evidence for m in found if m), default=0) < geometric.MIN_EVIDENCE


def test_featureless_pictures_match_nothing() -> None:
    flat = geometric.extract(np.full((64, 64, 3), 128, np.uint8))
    assert geometric.match(flat, flat) is None


@pytest.mark.parametrize("shape", [(16, 16_000, 3), (16_000, 16, 3)])
def test_long_strips_have_features_or_none(shape: tuple[int, int, int]) -> None:
    strip = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    features = geometric.extract(strip)
    assert (features.height, features.width) == shape[:2]
    assert min(features.grey.shape) == 1 and max(features.grey.shape) <= 384


def test_outline_puts_the_query_on_the_map() -> None:
    whole = ground(2)
    scene = Scene("s", "s.tif", "d", "c", 400, 400, (), crs="EPSG:4326", transform=TRANSFORM)
    tile = Tile("t", "s", Window(72, 72, 256, 256), 1.0, "d", 0)
    query = view(whole, (200.0, 200.0), 160, 45, 1.0)
    match = geometric.match(geometric.extract(query), geometric.extract(whole[72:328, 72:328].copy()))
    assert match is not None
    footprint = geometric.outline(match, (160, 160), tile, scene)
    assert footprint is not None
    half = 160 * 0.001 / 2 * 2**0.5
    square = [(10.2, 49.8 + half), (10.2 + half, 49.8), (10.2, 49.8 - half), (10.2 - half, 49.8)]
    assert geo.iou(footprint, geo.footprint_from_ring(square)) > 0.93


def test_unlocated_scene_gives_no_outline() -> None:
    match = geometric.Match(20, 9.0, np.eye(2, 3), 1.0, 1.0, (10, 10))
    tile = Tile("t", "s", Window(0, 0, 10, 10), 1.0, "d", 0)
    assert geometric.outline(match, (10, 10), tile, Scene("s", "s", "d", "c", 10, 10, ())) is None


def test_consensus_counts_scenes_that_agree_once_each() -> None:
    here = [geo.footprint_from_bbox(BBox(10, 50, 10.1 + d, 50.1)) for d in (0.0, 0.005, 0.002)]
    elsewhere = geo.footprint_from_bbox(BBox(11, 50, 11.1, 50.1))
    outlines = [*here, elsewhere]
    assert geometric.consensus(outlines, [5, 6, 4, 7], ["2009", "2012", "2012", "2009"]) == [11, 11, 11, 7]
    assert geometric.consensus([], [], []) == []
    turned = geo.footprint_from_ring([(10.1, 50.1), (10.1, 50.0), (10.0, 50.0), (10.0, 50.1)])
    assert geometric.consensus([here[0], turned], [5, 5], ["2009", "2012"]) == [5, 5]


def test_a_little_evidence_needs_company() -> None:
    assert geometric.is_verified(geometric.MIN_EVIDENCE, geometric.MIN_EVIDENCE)
    assert geometric.is_verified(5, geometric.MIN_TOGETHER)
    assert not geometric.is_verified(5, 5)
    assert not geometric.is_verified(4, geometric.MIN_TOGETHER - 1)


@given(st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=50)
def test_confidence_grows_with_evidence(a: int, b: int) -> None:
    first, second = geometric.confidence(min(a, b)), geometric.confidence(max(a, b))
    assert 0 <= first <= second <= 1


def test_damaged_thumbnails_are_left_out() -> None:
    assert (
        geometric.Verifier().verify(geometric.extract(ground(3)[:64, :64].copy()), [("broken", b"not a picture")]) == {}
    )


def test_a_centre_far_from_few_features_is_less_certain() -> None:
    rng = np.random.default_rng(4)
    points = rng.uniform(0, 40, (6, 2)).astype(np.float32)
    residuals = rng.normal(0, 1, (6, 2))
    near, far = (geometric._deviation(points, residuals, at) for at in ((20.0, 20.0), (200.0, 200.0)))
    many = geometric._deviation(np.tile(points, (20, 1)), np.tile(residuals, (20, 1)), (20.0, 20.0))
    assert many < near < far / 3


def test_pictures_too_small_for_edges_need_their_inliers() -> None:
    few, enough = (
        geometric.Match(n, None, np.eye(2, 3), 1.0, 1.0, (10, 10)).evidence for n in (7, geometric.ENOUGH_INLIERS)
    )
    assert few < geometric.MIN_EVIDENCE <= enough
