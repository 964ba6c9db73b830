"""Geometric verification: does this picture show the same ground as that tile, and where exactly does it lie?

Local features (SIFT, Lowe 2004; root-normalised, Arandjelović & Zisserman 2012) on contrast-equalised grey are matched
mutually. Every pair of features, having a place, a size and a direction each, proposes a similarity transform, and the
other pairs vote on it (as in Philbin et al. 2007): among hundreds of wrong pairs five right ones are found, where
drawing pairs at random would hardly draw two of them. Nadir imagery of the same ground differs by rotation, scale and
shift; a full homography has four more freedoms that only noise can use. The edges of both pictures, which took no part
in this, then say whether the ground is the same (:mod:`rsrag.edges`). With enough inliers the similarity is refined to
an affine map, which carries the query's outline onto the map.
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

from rsrag import edges, geo
from rsrag.errors import BadFootprint
from rsrag.models.base import Picture
from rsrag.types import Footprint, Scene, Tile, Window

_MAX_SIDE = 384
_FEATURES = 1200
_RATIO = 0.98
_REPROJECTION_PX = 4.0
_TURN_RAD = 0.35
_SCALE_LOG = 0.4
_VOTE_PX, _VOTE_SLOPE = 4.0, 0.03
_SEEDS, _ROUNDS = 5, 3
_LEAST = 4
_REFINED = 20
_CACHE = 4096

MIN_EVIDENCE = 13.0
"""Evidence that rules out chance: of 2,466 pairs of pictures of different ground none had 12
(``eval/benchmarks/chance_matches.py``)."""
ENOUGH_INLIERS = 8
"""Inliers that do without edges, in pictures too small for them; chance reached six."""
MIN_TOGETHER = 15.0
"""Evidence that tiles of several scenes must bring together when none has enough by itself."""
_TURN_DEGREES = 12.0
ERROR_DEVIATIONS = 3.0
"""Stated error of a located centre in units of :attr:`Match.deviation_px`; the place-recognition suite reports how
often the true centre lies within it."""


def is_verified(own: float, total: float) -> bool:
    """Whether chance can be ruled out, by a tile's own evidence or with that of tiles that agree with it."""
    return own >= MIN_EVIDENCE or total >= MIN_TOGETHER


def confidence(evidence: float) -> float:
    """Evidence to a figure in 0 to 1, one half just below the acceptance threshold."""
    return 1 / (1 + math.exp(-(evidence - MIN_EVIDENCE + 0.5) / 1.5))


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Local features of a picture.

    Attributes:
        points: float32 [N, 2], in pixels of the picture.
        frames: complex64 [N], size of a feature in such pixels and direction as one number.
        descriptors: float16 [N, 128], unit length.
        grey: uint8 [H, W], the picture at the size that was worked on, at most 384 pixels wide and high.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
    """

    points: npt.NDArray[np.float32]
    frames: npt.NDArray[np.complex64]
    descriptors: npt.NDArray[np.float16]
    grey: npt.NDArray[np.uint8]
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """How a query picture lies on a tile.

    Attributes:
        inliers: feature pairs that agree with the transform.
        agreement: of the edges, in standard deviations (:func:`rsrag.edges.agreement`); None where the pictures have
            too little in common for it.
        matrix: affine float64 [2, 3] from query pixels to tile pixels.
        deviation_px: standard deviation of where the query's centre falls, in tile pixels: from the residuals of the
            inliers, their number, and how far from the centre they lie.
        scale: tile pixels per query pixel.
        tile_size: width and height of the tile's picture in pixels.
    """

    inliers: int
    agreement: float | None
    matrix: npt.NDArray[np.float64]
    deviation_px: float
    scale: float
    tile_size: tuple[int, int]

    @property
    def evidence(self) -> float:
        """Inliers and agreement of the edges together: what :data:`MIN_EVIDENCE` is measured in."""
        if self.agreement is None:
            return self.inliers * MIN_EVIDENCE / ENOUGH_INLIERS
        return self.inliers + self.agreement


def extract(picture: Picture) -> Features:
    """Local features of an RGB picture, uint8 of shape [H, W, 3]."""
    height, width = picture.shape[:2]
    shrink = min(1.0, _MAX_SIDE / max(height, width))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    equalised = cv2.createCLAHE(clipLimit=4.0, tileGridSize=(4, 4)).apply(grey)
    engine: Any = cv2  # its stubs lack SIFT
    sift = engine.SIFT_create(nfeatures=_FEATURES, contrastThreshold=0.01, edgeThreshold=20)
    keypoints, descriptors = sift.detectAndCompute(equalised, None)
    if descriptors is None:
        descriptors = np.zeros((0, 128), np.float32)
    points = np.array([k.pt for k in keypoints], dtype=np.float32).reshape(-1, 2) / np.float32(shrink)
    sizes = np.array([k.size for k in keypoints], dtype=np.float32) / np.float32(shrink)
    turns = np.radians(np.array([k.angle for k in keypoints], dtype=np.float32))
    rooted = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-7))
    frames = (sizes * np.exp(1j * turns)).astype(np.complex64)
    return Features(points, frames, rooted.astype(np.float16), np.asarray(grey, np.uint8), width, height)


def match(query: Features, tile: Features) -> Match | None:
    """The best similarity between two sets of features, or None without one."""
    if len(query.points) < _LEAST or len(tile.points) < _LEAST:
        return None
    first, second = _pairs(query.descriptors.astype(np.float32), tile.descriptors.astype(np.float32))
    if len(first) < _LEAST:
        return None
    source, target = query.points[first], tile.points[second]
    found = _vote(source, target, tile.frames[second] / query.frames[first])
    if found is None:
        return None
    matrix, inside, inliers = found
    scale = math.hypot(matrix[0, 0], matrix[0, 1])
    if inliers < _LEAST or not 0.1 < scale < 10:
        return None
    if inliers >= _REFINED:
        refined, _ = cv2.estimateAffine2D(source[inside], target[inside], method=cv2.LMEDS)
        if refined is not None and 0.8 < abs(np.linalg.det(refined[:, :2])) / scale**2 < 1.25:
            matrix = refined
    projected = source[inside] @ matrix[:, :2].T + matrix[:, 2]
    deviation = _deviation(source[inside], projected - target[inside], (query.width / 2, query.height / 2))
    agreement = edges.agreement(query.grey, tile.grey, _between_greys(query, tile, matrix))
    return Match(inliers, agreement, np.asarray(matrix, dtype=np.float64), deviation, scale, (tile.width, tile.height))


def _pairs(
    query: npt.NDArray[np.float32], tile: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows of descriptors that are each other's nearest, the second nearest not quite as near."""
    similarity = query @ tile.T
    best = similarity.argmax(axis=1)
    rows = np.flatnonzero(similarity.argmax(axis=0)[best] == np.arange(len(best)))
    mutual = similarity[rows]
    top, second = mutual[np.arange(len(rows)), best[rows]], np.partition(mutual, -2, axis=1)[:, -2]
    # Root descriptors are unit vectors: squared distance = 2 - 2·cosine.
    rows = rows[(2 - 2 * top) < _RATIO**2 * np.maximum(2 - 2 * second, 1e-9)]
    return rows, best[rows]


def _vote(
    source: npt.NDArray[np.float32], target: npt.NDArray[np.float32], change: npt.NDArray[np.complex64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int] | None:
    """The similarity that most pairs of features agree with.

    Args:
        source: float32 [N, 2].
        target: float32 [N, 2].
        change: complex64 [N], how each pair scales and turns.

    Returns:
        The affine matrix float64 [2, 3], which pairs lie on it (bool [N]), and at how many distinct spots; None without
        two that agree.
    """
    a, b = source @ np.array([1, 1j], np.complex64), target @ np.array([1, 1j], np.complex64)
    logs = np.log(change)
    # what each pair (rows) says of where the others (columns) must lie
    off = np.abs(b[:, None] + change[:, None] * (a[None, :] - a[:, None]) - b[None, :])
    reach = np.maximum(
        1.5 * _VOTE_PX, _VOTE_PX + _VOTE_SLOPE * np.abs(change)[:, None] * np.abs(a[None, :] - a[:, None])
    )
    votes = (off < reach) & _alike(logs[:, None], logs[None, :])
    best: tuple[npt.NDArray[Any], npt.NDArray[np.bool_], int] | None = None
    for seed in np.argsort(-votes.sum(axis=1), kind="stable")[:_SEEDS]:
        inside, fit = votes[seed], None
        for _ in range(_ROUNDS):
            if inside.sum() < 2:
                break
            system = np.stack([a[inside], np.ones(int(inside.sum()))], axis=1).astype(np.complex128)
            fit = np.linalg.lstsq(system, b[inside], rcond=None)[0]
            if abs(fit[0]) < 1e-6:
                fit = None
                break
            inside = (np.abs(fit[0] * a + fit[1] - b) < _REPROJECTION_PX) & _alike(logs, np.log(fit[0]))
        if fit is None or not inside.any():
            continue
        spots = _distinct_points(source[inside], target[inside])
        if best is None or spots > best[2]:
            best = fit, inside, spots
    if best is None:
        return None
    (turn, shift), inside, spots = best
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return matrix, inside, spots


def _alike(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether logarithms of changes are near each other, in scale and turn."""
    apart = first - second
    turned = np.abs((apart.imag + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray((np.abs(apart.real) < _SCALE_LOG) & (turned < _TURN_RAD))


def _deviation(
    points: npt.NDArray[np.float32], residuals: npt.NDArray[np.float64], centre: tuple[float, float]
) -> float:
    """Of a point predicted by a similarity that was fitted by least squares: residuals beyond its four freedoms, and a
    lever from the middle of the inliers to the point."""
    count = len(points)
    middle = points.mean(axis=0)
    spread = max(float(((points - middle) ** 2).sum()), 1e-9)
    lever = float(((np.asarray(centre) - middle) ** 2).sum()) / spread
    variance = float((residuals**2).sum()) / max(count - 2, 1)
    return math.sqrt(variance * (1 + 1 / count + lever))


def _between_greys(query: Features, tile: Features, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The map between the pictures as one between their working copies."""
    smaller, larger = tile.grey.shape[1] / tile.width, query.width / query.grey.shape[1]
    scaled: npt.NDArray[np.float64] = np.asarray(matrix, dtype=np.float64) * smaller
    scaled[:, :2] *= larger
    return scaled


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


def outline(found: Match, query_size: tuple[int, int], tile: Tile, scene: Scene) -> Footprint | None:
    """Where a matched query lies on Earth.

    Args:
        found: the match of the query with the tile.
        query_size: width and height of the query in pixels.
        tile: the matched tile.
        scene: its scene, which must have a CRS and a transform.

    Returns:
        The footprint, or None for an un-located scene or an impossible outline.
    """
    if scene.crs is None or scene.transform is None:
        return None
    col_scale, row_scale = tile.window.width / found.tile_size[0], tile.window.height / found.tile_size[1]
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


def consensus(outlines: Sequence[Footprint], evidence: Sequence[float], scenes: Sequence[str]) -> list[float]:
    """Evidence behind each outline, those of tiles of other scenes that put the query in the same spot included.

    Two outlines agree when their centres lie within a quarter of their size, their sizes within a quarter of each other
    and their top edges within 12 degrees: wrong matches scatter, right ones on tiles of other dates do not. A scene
    counts once, by its best tile: tiles that overlap share their pixels, and with them a wrong match.
    """
    centres = [geo.centre(o) for o in outlines]
    sizes = np.array([math.sqrt(geo.area_km2(o)) for o in outlines])
    angles = np.array([_bearing(o) for o in outlines])
    totals: list[float] = []
    for centre, size, angle in zip(centres, sizes, angles, strict=True):
        near = geo.distances_km(centre, centres) <= 0.25 * size
        alike = (sizes <= 1.25 * size) & (sizes >= 0.8 * size)
        turned = np.abs((angles - angle + 180) % 360 - 180) <= _TURN_DEGREES
        best: dict[str, float] = {}
        for i in map(int, np.flatnonzero(near & alike & turned)):
            best[scenes[i]] = max(best.get(scenes[i], 0.0), evidence[i])
        totals.append(sum(best.values()))
    return totals


def _bearing(outline: Footprint) -> float:
    """Direction of an outline's first edge, which is the query's top edge, in degrees."""
    (lon, lat), (next_lon, next_lat) = outline.polygons[0][0][:2]
    return math.degrees(math.atan2(next_lat - lat, (next_lon - lon) * math.cos(math.radians(lat))))
