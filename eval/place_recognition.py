"""Suite "place-recognition": tiles of one date, altered and without position, against an archive of other dates.

A query is a square window of a query scene, turned by any angle, of 70 to 100 % of a tile's area, its colours changed.
A hit is right when its tile overlaps the window's true outline by IoU > 0.3. The order of the archive's tiles by the
embedding alone, by layout alone and after geometric verification stand beside a colour histogram and chance.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import rsrag
from rsrag import geo
from rsrag.engine import Engine
from rsrag.errors import UsageError
from rsrag.eval.reports.result import SuiteResult, left_out, mean
from rsrag.ingest.discover import discover, open_scenes
from rsrag.ingest.guard import harden_gdal
from rsrag.ingest.readers.base import RasterSource, ReadOptions
from rsrag.ingest.summary import IngestOptions
from rsrag.layout import likeness, poses
from rsrag.progress import Progress, Silent
from rsrag.types import Footprint, Hit, ItemError, QueryImage, Window

OVERLAP_IOU = 0.3
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class PlaceQuery:
    """An altered picture, uint8 [S, S, 3], and where it really lies."""

    picture: Picture
    truth: Footprint


def run(
    archive: Sequence[str],
    queries: Sequence[str],
    *,
    tile_size: int = 256,
    per_scene: int = 48,
    seed: int = 0,
    profile: str | None = None,
    progress: Progress | None = None,
) -> SuiteResult:
    """Ingest the archive (tiles of one scale, half overlapping) and look for every query.

    Args:
        archive: scenes that are searched.
        queries: scenes that queries are cut from.
        tile_size: side of the archive's tiles in pixels.
        per_scene: most queries a scene gives; they are spread evenly.
        seed: of the alterations.
        profile: models to use instead of the default ones.
    """
    progress = progress or Silent()
    harden_gdal()
    with tempfile.TemporaryDirectory(prefix="rsrag-eval-") as folder:
        settings: dict[str, Any] = {"tile_size": tile_size, "overlap": 0.5, "profile": profile}
        with rsrag.open(Path(folder) / "archive", create=True, **settings) as engine:
            summary = engine.ingest(archive, options=IngestOptions(scales="1"), progress=progress)
            if not summary.tiles:
                raise UsageError("the archive gave no tiles", hint=summary.errors[0].reason if summary.errors else None)
            failed = list(summary.errors)
            made = list(make_queries(queries, tile_size, per_scene, np.random.default_rng(seed), failed))
            if not made:
                hint = next((error.reason for error in failed[len(summary.errors) :]), None)
                hint = hint or "they must be located and larger than a tile"
                raise UsageError("the query scenes gave no queries", hint=hint)
            result = _measure(engine, made, progress)
            return replace(result, details={**result.details, **left_out(failed)}) if failed else result


def make_queries(
    sources: Sequence[str],
    tile_size: int,
    per_scene: int,
    rng: np.random.Generator,
    failed: list[ItemError] | None = None,
) -> Iterator[PlaceQuery]:
    """Altered windows of the sources' scenes.

    Args:
        sources: files and folders.
        tile_size: side of the archive's tiles in pixels.
        per_scene: most queries a scene gives.
        rng: of the alterations.
        failed: what cannot be read is added to it.
    """
    options = ReadOptions()
    failed = [] if failed is None else failed
    for item in discover(sources, options):
        if isinstance(item, ItemError):
            failed.append(item)
            continue
        if not item.is_imagery:
            continue
        for source in open_scenes(item, options):
            if isinstance(source, ItemError):
                failed.append(source)
                continue
            with source:
                yield from _cut(source, tile_size, per_scene, rng)


def _cut(source: RasterSource, tile_size: int, per_scene: int, rng: np.random.Generator) -> Iterator[PlaceQuery]:
    scene = source.scene
    if scene.crs is None or scene.transform is None or min(scene.width, scene.height) < tile_size:
        return
    stride = tile_size // 2
    grid = [
        (col + tile_size / 2, row + tile_size / 2)
        for row in range(0, scene.height - tile_size + 1, stride)
        for col in range(0, scene.width - tile_size + 1, stride)
    ]
    chosen = grid if len(grid) <= per_scene else [grid[i] for i in np.linspace(0, len(grid) - 1, per_scene).astype(int)]
    for x, y in chosen:
        side = tile_size * math.sqrt(rng.uniform(0.7, 1.0))
        angle = rng.uniform(0, 2 * math.pi)
        reach = side / 2 * (abs(math.cos(angle)) + abs(math.sin(angle)))
        x = float(np.clip(x, reach, max(reach, scene.width - reach)))
        y = float(np.clip(y, reach, max(reach, scene.height - reach)))
        left, top = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
        right, bottom = min(scene.width, math.ceil(x + reach)), min(scene.height, math.ceil(y + reach))
        pixels = source.read(Window(left, top, right - left, bottom - top))
        if pixels.mask.mean() < 0.9:
            continue
        size = round(side)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        to_scene = np.column_stack([turn, np.array([x, y]) - turn @ np.array([size / 2, size / 2])])
        to_part = to_scene - np.array([[0, 0, left], [0, 0, top]])
        picture = cv2.warpAffine(
            source.stretch.apply(pixels),
            to_part,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        a, b, c, d, e, f = scene.transform
        whole = np.array([[a, b, c], [d, e, f]]) @ np.vstack([to_scene, [0, 0, 1]])
        truth = geo.footprint_from_raster(scene.crs, tuple(whole.ravel().tolist()), Window(0, 0, size, size))
        yield PlaceQuery(recolour(np.asarray(picture, dtype=np.uint8), rng), truth)


def recolour(picture: Picture, rng: np.random.Generator) -> Picture:
    """Another camera, light and haze: gain of each channel 0.7 to 1.3, gamma 0.8 to 1.25, offset within ±20."""
    values = picture.astype(np.float32) / 255
    values = np.power(values, rng.uniform(0.8, 1.25)) * rng.uniform(0.7, 1.3, 3) + rng.uniform(-20, 20) / 255
    return np.asarray(np.clip(values, 0, 1) * 255, dtype=np.uint8)


def _measure(engine: Engine, queries: Sequence[PlaceQuery], progress: Progress) -> SuiteResult:
    tiles = {tile.id: tile for scene in engine.catalog.scenes() for tile in engine.catalog.tiles_of(scene.id)}
    outlines = {identity: tile.footprint for identity, tile in tiles.items() if tile.footprint is not None}
    histograms = {identity: histogram(_decode(engine.thumbnail(identity))) for identity in outlines}
    layouts = engine.catalog.layouts(list(outlines))
    named, cells = list(layouts), np.stack(list(layouts.values()))
    ranks: dict[str, list[list[bool]]] = {"re-ranked": [], "layout": [], "embedding": [], "colour histogram": []}
    errors_km: list[float] = []
    held: list[float] = []
    chance = []
    progress.start("queries", len(queries), unit="queries")
    for query in queries:
        right = {i for i, outline in outlines.items() if geo.iou(query.truth, outline) > OVERLAP_IOU}
        chance.append(len(right) / len(outlines))
        image = QueryImage(query.picture, "query")
        plain = engine.retrieve(image=image, verify=False)
        checked = engine.retrieve(image=image)
        ranks["embedding"].append(_right(plain.tiles, right))
        order = np.argsort(-likeness(poses(query.picture), cells), kind="stable")[:20]
        ranks["layout"].append([named[row] in right for row in order])
        ranks["re-ranked"].append(_right(checked.tiles, right))
        if checked.location is not None and checked.location.method == "geometry":
            located = (checked.location.lon, checked.location.lat)
            errors_km.append(geo.distance_km(located, geo.centre(query.truth)))
            held.append(float(errors_km[-1] <= checked.location.error_km))
        own = histogram(query.picture)
        nearest = sorted(histograms, key=lambda i: (-float(np.minimum(own, histograms[i]).sum()), i))
        ranks["colour histogram"].append([i in right for i in nearest[:20]])
        progress.advance()
    progress.finish()
    rows = {name: _hits(found) for name, found in ranks.items()}
    rows["chance"] = {"hit@1": mean(chance)}
    metrics = {
        **rows["re-ranked"],
        "embedding_hit@1": rows["embedding"]["hit@1"],
        "embedding_hit@5": rows["embedding"]["hit@5"],
        "embedding_hit@20": rows["embedding"]["hit@20"],
        "layout_hit@1": rows["layout"]["hit@1"],
        "layout_hit@20": rows["layout"]["hit@20"],
        "histogram_hit@1": rows["colour histogram"]["hit@1"],
        "chance_hit@1": mean(chance),
        "located": len(errors_km) / len(queries),
    }
    details: dict[str, Any] = {
        "queries": len(queries),
        "archive tiles": len(outlines),
        "image model": engine.profile.image.fingerprint,
    }
    if errors_km:
        details["located centres within the stated error"] = round(mean(held), 3)
        details["median error of located centres, m"] = round(1000 * float(np.median(errors_km)), 1)
    return SuiteResult("place-recognition", metrics, rows, details)


def _right(hits: Sequence[Hit], right: set[str]) -> list[bool]:
    return [hit.id in right for hit in hits[:20]]


def _hits(ranks: Sequence[Sequence[bool]]) -> dict[str, float]:
    return {f"hit@{k}": mean([float(any(r[:k])) for r in ranks]) for k in (1, 5, 20)}


def histogram(picture: Picture) -> npt.NDArray[np.float64]:
    """Colour histogram with 8 bins a channel, summing to 1: float64 of shape [512]."""
    bins = (picture >> 5).reshape(-1, 3).astype(np.int64)
    counts = np.bincount(bins[:, 0] * 64 + bins[:, 1] * 8 + bins[:, 2], minlength=512)
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _decode(encoded: bytes | None) -> Picture:
    if encoded is None:
        raise UsageError("a tile has no thumbnail")
    return np.asarray(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
