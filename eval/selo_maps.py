"""Maps of semantic localisation: crops of several sizes are compared with a text, a pixel gets the mean of its crops.

The procedure of Yuan et al. (IEEE TGRS 2022, see :mod:`rsrag.eval.metrics.selo`): crops of *b*, 2 *b* and 3 *b* pixels
slide over the scene, every cosine is added to the pixels under its crop and divided by the number of crops there, the
map is stretched to 0..1 and median-filtered. Here neighbouring crops overlap by half in both directions (the published
grid has only every second of them), and the map has at most :data:`MAX_CELLS` cells, so that memory does not depend on
the size of the scene.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from rsrag.errors import SourceTooLarge
from rsrag.eval.encoders import embed_words
from rsrag.eval.metrics import selo as selo_metrics
from rsrag.eval.metrics.selo import Map
from rsrag.ingest.readers.base import RasterSource
from rsrag.ingest.windows import TileFailure, TilePlan, plan_tiles, read_tiles
from rsrag.models.base import ImageEncoder, Picture, Vectors
from rsrag.models.vectors import unit
from rsrag.progress import Progress, Silent
from rsrag.types import Window

MULTIPLES = (1, 2, 3)
"""Sides of the crops as multiples of the smallest one: 256, 512 and 768 pixels as published."""
OVERLAP = 0.5
MAX_CELLS = 2**20
MAX_CROPS = 1_000_000
PUBLISHED_BASE = 256
_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A square of a scene, shrunk to the side of the smallest: uint8 [b, b, 3]; ``valid`` is the share with data."""

    window: Window
    picture: Picture
    valid: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class ScoredScene:
    """What every crop of a scene scored for every text.

    Attributes:
        width: of the scene in pixels.
        height: of the scene in pixels.
        base: side of the smallest crop in pixels.
        edges: int64 [N, 4], left, top, right, bottom of every crop in map cells.
        scores: float32 [N, T], cosine of every crop with every text.
        picture: the scene in map cells, uint8 [h, w, 3].
        failed: crops that could not be read.
    """

    width: int
    height: int
    base: int
    edges: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    picture: Picture
    failed: int = 0

    @property
    def cell(self) -> int:
        """Scene pixels per side of a map cell."""
        return cell_of(self.width, self.height)

    @property
    def unit(self) -> float:
        """Map cells per unit of the published windows, see :mod:`rsrag.eval.metrics.selo`."""
        return self.base / selo_metrics.UNIT / self.cell

    def likelihood(self, scores: npt.NDArray[np.floating]) -> Map:
        """The finished map of one score a crop: float32 [h, w] in [0, 1], NaN where no crop lies."""
        return selo_metrics.soften(selo_metrics.normalise(self.mean(scores)), self.unit)

    def mean(self, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Mean score of the crops over every cell: float64 [h, w], NaN where no crop lies."""
        height, width = self.picture.shape[:2]
        total, count = (np.zeros((height + 1, width + 1)) for _ in range(2))
        left, top, right, bottom = self.edges.T
        for rows, cols, sign in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
            np.add.at(total, (rows, cols), sign * scores.astype(np.float64))
            np.add.at(count, (rows, cols), sign)
        total, count = (grid.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] for grid in (total, count))
        known = count > 0.5
        return np.where(known, total / np.where(known, count, 1), np.nan)

    def regions(self, shapes: Sequence[shapely.Polygon]) -> list[shapely.Polygon]:
        """Regions in scene pixels as regions in map cells."""
        return [shapely.transform(shape, lambda xy: xy / self.cell) for shape in shapes]

    def cover(self, regions: Sequence[shapely.Polygon]) -> npt.NDArray[np.float32]:
        """Share of every crop that regions (in map cells) cover, float32 [N]: what a perfect encoder might score."""
        mask = selo_metrics.rasterise(regions, (self.picture.shape[0], self.picture.shape[1]))
        sums = np.pad(mask.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        left, top, right, bottom = self.edges.T
        inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return np.asarray(inside / ((right - left) * (bottom - top)), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class CropPlan:
    """Which crops of a scene are looked at."""

    tiles: TilePlan
    base: int = field(default=PUBLISHED_BASE)

    @property
    def text(self) -> str:
        """For people: the sides of the crops."""
        return ", ".join(str(self.base * scale) for scale in self.tiles.scales) + " px"


def plan_crops(width: int, height: int, base: int | None = None) -> CropPlan:
    """Crops of *b*, 2 *b* and 3 *b* pixels, each overlapping its neighbours by half.

    Args:
        width: of the scene in pixels.
        height: of the scene in pixels.
        base: *b*; by default 256 as published, or a quarter of the shorter side where that is less.

    Raises:
        UsageError: no such crops.
        SourceTooLarge: more than :data:`MAX_CROPS`.
    """
    base = base or max(1, min(PUBLISHED_BASE, min(width, height) // 4))
    tiles = plan_tiles(width, height, base, MULTIPLES, OVERLAP, max_tiles=sys.maxsize)
    if tiles.count > MAX_CROPS:
        what = f"{width}×{height} pixels give {tiles.count} crops from {base} pixels on, the limit is {MAX_CROPS}"
        raise SourceTooLarge(what, hint="take larger ones with --crop, or a part of the scene")
    return CropPlan(tiles, base)


def cell_of(width: int, height: int) -> int:
    """Scene pixels per side of a map cell: 1 for scenes of up to :data:`MAX_CELLS` pixels."""
    return max(1, math.ceil(math.sqrt(width * height / MAX_CELLS)))


def crops_of_picture(picture: Picture, plan: CropPlan) -> Iterator[Crop]:
    """The crops of a picture in memory, uint8 [H, W, 3]."""
    for tile in plan.tiles:
        col, row, width, height = tile.window
        part = picture[row : row + height, col : col + width]
        if tile.scale > 1:
            part = np.asarray(cv2.resize(part, tile.out_size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        yield Crop(tile.window, part)


def crops_of_source(source: RasterSource, plan: CropPlan) -> Iterator[Crop | None]:
    """The crops of an open scene, read ahead in windows; None for one that cannot be read."""
    for read in read_tiles(source, plan.tiles):
        if isinstance(read, TileFailure):
            yield None
        else:
            yield Crop(read.tile.window, read.picture, float(read.mask.mean()))


def score_scene(
    crops: Iterable[Crop | None],
    size: tuple[int, int],
    plan: CropPlan,
    encoder: ImageEncoder,
    texts: Vectors,
    progress: Progress | None = None,
) -> ScoredScene:
    """Compare the crops of a scene with texts. Crops without a valid pixel are left out.

    Args:
        crops: of the plan, in any order; None for unreadable ones.
        size: width and height of the scene in pixels.
        plan: the crops.
        encoder: of pictures.
        texts: float32 [T, dim], unit length.
        progress: told of every crop.
    """
    progress = progress or Silent()
    width, height = size
    cell = cell_of(width, height)
    picture = np.zeros((math.ceil(height / cell), math.ceil(width / cell), 3), dtype=np.uint8)
    edges: list[tuple[int, int, int, int]] = []
    scores: list[npt.NDArray[np.float32]] = [np.zeros((0, len(texts)), dtype=np.float32)]
    failed = 0
    waiting = iter(crops)
    while block := list(islice(waiting, _BATCH)):
        good = [crop for crop in block if crop is not None and crop.valid > 0]
        failed += sum(crop is None for crop in block)
        for crop in good:
            edges.append(_cells(crop.window, cell, picture.shape))
            if crop.picture.shape[1] == crop.window.width:
                _paste(picture, crop, edges[-1])
        if good:
            vectors = encoder.encode_images([crop.picture for crop in good])
            scores.append(np.asarray(vectors @ texts.T, dtype=np.float32))
        progress.advance(len(block))
    grid = np.array(edges, dtype=np.int64).reshape(-1, 4)
    return ScoredScene(width, height, plan.base, grid, np.concatenate(scores), picture, failed)


def text_vectors(encoder: ImageEncoder, phrases: Sequence[Sequence[str]]) -> Vectors:
    """One unit vector a query, float32 [T, dim]: the mean over the sentences that say it."""
    vectors = embed_words(encoder, [sentence for said in phrases for sentence in said])
    ends = np.cumsum([len(said) for said in phrases])[:-1]
    return unit(np.stack([part.mean(axis=0) for part in np.split(vectors, ends)]))


def _cells(window: Window, cell: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    left, top = round(window.col / cell), round(window.row / cell)
    right = min(shape[1], math.ceil((window.col + window.width) / cell))
    bottom = min(shape[0], math.ceil((window.row + window.height) / cell))
    return min(left, right - 1), min(top, bottom - 1), right, bottom


def _paste(picture: Picture, crop: Crop, edges: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = edges
    size = (right - left, bottom - top)
    part = crop.picture
    if (part.shape[1], part.shape[0]) != size:
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    picture[top:bottom, left:right] = part
