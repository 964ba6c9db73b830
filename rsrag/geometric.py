"""Geometric verification: does this picture show the same ground as that tile, and where exactly does it lie?

Local features (SIFT, Lowe 2004; root-normalised, Arandjelović & Zisserman 2012) on contrast-equalised grey are matched
mutually with a ratio test, and a similarity transform is fitted robustly. Nadir imagery of the same ground differs by
rotation, scale and shift; a full homography has four more freedoms that only noise can use. With enough inliers the
similarity is refined to an affine map, which carries the query's outline onto the map.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag import geo
from rsrag.errors import BadFootprint
from rsrag.models.base import Picture
from rsrag.types import Footprint, Scene, Tile, Window

_MAX_SIDE = 384
_FEATURES = 1200
_RATIO = 0.92
_REPROJECTION_PX = 4.0
_CACHE = 4096

MIN_INLIERS = 8
"""Chance can be ruled out: of 2,466 pairs of pictures of different ground none shared more than 7
(``eval/benchmarks/chance_matches.py``)."""
WEAK_INLIERS = 4
"""Too few alone, but worth counting where several tiles agree on the same outline."""
MIN_TOGETHER = 10
"""Inliers that several tiles must bring together when none has enough by itself."""
_TURN_DEGREES = 12.0
ERROR_RESIDUALS = 3.0
"""Stated error of a located centre, in root mean square residuals of its match; the place-recognition suite reports how
often the true centre lies within it."""


def is_verified(own: int, total: int) -> bool:
    """Whether chance can be ruled out, by a tile's own inliers or with those of tiles that agree with it."""
    return own >= MIN_INLIERS or total >= MIN_TOGETHER


def confidence(inliers: float) -> float:
    """Inliers to a figure in 0 to 1, one half at the acceptance threshold."""
    return 1 / (1 + math.exp(-(inliers - MIN_INLIERS + 0.5) / 1.5))


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Local features of a picture: ``points`` float32 [N, 2] in its own pixels, ``descriptors`` float32 [N, 128]."""

    points: npt.NDArray[np.float32]
    descriptors: npt.NDArray[np.float32]
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """How a query picture lies on a tile.

    Attributes:
        inliers: feature pairs that agree with the transform.
        matrix: affine float64 [2, 3] from query pixels to tile pixels.
        residual_px: root mean square distance of the inliers, in tile pixels.
        scale: tile pixels per query pixel.
    """

    inliers: int
    matrix: npt.NDArray[np.float64]
    residual_px: float
    scale: float


def extract(picture: Picture) -> Features:
    """Local features of an RGB picture, uint8 of shape [H, W, 3]."""
    height, width = picture.shape[:2]
    shrink = min(1.0, _MAX_SIDE / max(height, width))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if shrink < 1:
        grey = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    grey = cv2.createCLAHE(clipLimit=4.0, tileGridSize=(4, 4)).apply(grey)
    engine: Any = cv2  # its stubs lack SIFT
    sift = engine.SIFT_create(nfeatures=_FEATURES, contrastThreshold=0.01, edgeThreshold=20)
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32), width, height)
    points = np.array([k.pt for k in keypoints], dtype=np.float32) / np.float32(shrink)
    rooted = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-7))
    return Features(points, rooted.astype(np.float32), width, height)


def match(query: Features, tile: Features) -> Match | None:
    """The best similarity between two sets of features, or None without one."""
    if len(query.points) < 4 or len(tile.points) < 4:
        return None
    similarity = query.descriptors @ tile.descriptors.T
    best = similarity.argmax(axis=1)
    mutual = similarity.argmax(axis=0)[best] == np.arange(len(best))
    top = similarity[np.arange(len(best)), best]
    second = np.partition(similarity, -2, axis=1)[:, -2]
    # Root descriptors are unit vectors: squared distance = 2 - 2·cosine.
    distinct = (2 - 2 * top) < _RATIO**2 * np.maximum(2 - 2 * second, 1e-9)
    chosen = np.flatnonzero(mutual & distinct)
    if len(chosen) < 4:
        return None
    source, target = query.points[chosen], tile.points[best[chosen]]
    cv2.setRNGSeed(0)
    matrix, mask = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_REPROJECTION_PX, maxIters=3000, confidence=0.999
    )
    if matrix is None:
        return None
    inside = mask.ravel().astype(bool)
    inliers = _distinct_points(source[inside], target[inside])
    scale = math.hypot(matrix[0, 0], matrix[0, 1])
    if inliers < 4 or not 0.1 < scale < 10:
        return None
    if inliers >= 20:
        refined, _ = cv2.estimateAffine2D(source[inside], target[inside], method=cv2.LMEDS)
        if refined is not None and 0.8 < abs(np.linalg.det(refined[:, :2])) / scale**2 < 1.25:
            matrix = refined
    projected = source[inside] @ matrix[:, :2].T + matrix[:, 2]
    residual = float(np.sqrt(np.mean(np.sum((projected - target[inside]) ** 2, axis=1))))
    return Match(inliers, np.asarray(matrix, dtype=np.float64), residual, scale)


def _distinct_points(source: npt.NDArray[np.float32], target: npt.NDArray[np.float32]) -> int:
    """Inliers at different spots: one corner with several orientations counts once."""
    return min(len(np.unique(np.round(side / 3), axis=0)) for side in (source, target))


class Verifier:
    """Matches a query with many tiles, keeping the tiles' features for the next query."""

    def __init__(self, threads: int = 2) -> None:
        self._cache: OrderedDict[str, Features] = OrderedDict()
        self._threads = threads

    def verify(self, query: Features, candidates: Sequence[tuple[str, bytes]]) -> dict[str, Match]:
        """Matches by tile id.

        Args:
            query: features of the picture that is looked for.
            candidates: tile id and the tile's picture as an encoded image.
        """
        with ThreadPoolExecutor(self._threads) as pool:
            results = list(pool.map(lambda c: self._match_one(query, *c), candidates))
        return {identity: found for (identity, _), found in zip(candidates, results, strict=True) if found is not None}

    def _match_one(self, query: Features, identity: str, encoded: bytes) -> Match | None:
        features = self._cache.get(identity)
        if features is None:
            image: Any = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
            if image is None:
                return None
            features = extract(image)
            self._cache[identity] = features
            while len(self._cache) > _CACHE:
                self._cache.popitem(last=False)
        return match(query, features)


def outline(
    found: Match, query_size: tuple[int, int], tile: Tile, scene: Scene, tile_size: tuple[int, int]
) -> Footprint | None:
    """Where a matched query lies on Earth.

    Args:
        found: the match of the query with the tile.
        query_size: width and height of the query in pixels.
        tile: the matched tile.
        scene: its scene, which must have a CRS and a transform.
        tile_size: width and height of the tile's picture in pixels.

    Returns:
        The footprint, or None for an un-located scene or an impossible outline.
    """
    if scene.crs is None or scene.transform is None:
        return None
    col_scale, row_scale = tile.window.width / tile_size[0], tile.window.height / tile_size[1]
    to_scene = np.diag([col_scale, row_scale, 1.0])
    to_scene[:2, 2] = tile.window.col, tile.window.row
    a, b, c, d, e, f = scene.transform
    to_crs = np.array([[a, b, c], [d, e, f], [0, 0, 1]])
    whole = to_crs @ to_scene @ np.vstack([found.matrix, [0, 0, 1]])
    try:
        transform = tuple(float(v) for v in whole[:2].ravel())
        return geo.footprint_from_raster(scene.crs, transform, Window(0, 0, *query_size))  # type: ignore[arg-type]
    except BadFootprint:
        return None


def picture_size(encoded: bytes) -> tuple[int, int]:
    """Width and height of an encoded picture."""
    image: Any = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    return (0, 0) if image is None else (int(image.shape[1]), int(image.shape[0]))


def consensus(outlines: Sequence[Footprint], inliers: Sequence[int], scenes: Sequence[str]) -> list[int]:
    """Inliers behind each outline, those of tiles of other scenes that put the query in the same spot included.

    Two outlines agree when their centres lie within a quarter of their size, their sizes within a quarter of each other
    and their top edges within 12 degrees: wrong matches scatter, right ones on tiles of other dates do not. A scene
    counts once, by its best tile: tiles that overlap share their pixels, and with them a wrong match.
    """
    centres = [geo.centre(o) for o in outlines]
    sizes = np.array([math.sqrt(geo.area_km2(o)) for o in outlines])
    angles = np.array([_bearing(o) for o in outlines])
    totals = []
    for centre, size, angle in zip(centres, sizes, angles, strict=True):
        near = geo.distances_km(centre, centres) <= 0.25 * size
        alike = (sizes <= 1.25 * size) & (sizes >= 0.8 * size)
        turned = np.abs((angles - angle + 180) % 360 - 180) <= _TURN_DEGREES
        best: dict[str, int] = {}
        for i in map(int, np.flatnonzero(near & alike & turned)):
            best[scenes[i]] = max(best.get(scenes[i], 0), inliers[i])
        totals.append(sum(best.values()))
    return totals


def _bearing(outline: Footprint) -> float:
    """Direction of an outline's first edge, which is the query's top edge, in degrees."""
    (lon, lat), (next_lon, next_lat) = outline.polygons[0][0][:2]
    return math.degrees(math.atan2(next_lat - lat, (next_lon - lon) * math.cos(math.radians(lat))))
