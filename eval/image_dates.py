"""Place recognition by the embedding alone: altered windows of one date against tiles of other dates.

The queries are those of the suite "place-recognition" (:mod:`rsrag.eval.place_recognition`), which measures the whole
engine with its geometric verification; here any encoder is measured by itself, and by the halves of its vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag import geo
from rsrag.errors import UsageError
from rsrag.eval.encoders import choose_row, encoder_settings, start_encoder
from rsrag.eval.image_retrieval import halves, unit
from rsrag.eval.place_recognition import OVERLAP_IOU, histogram, make_queries
from rsrag.eval.report import write_report
from rsrag.eval.result import SuiteResult, mean
from rsrag.ingest.discover import discover, open_scenes
from rsrag.ingest.guard import harden_gdal
from rsrag.ingest.readers.base import ReadOptions
from rsrag.ingest.windows import TileFailure, plan_tiles, read_tiles
from rsrag.models.base import Picture, Vectors
from rsrag.progress import Progress, Silent
from rsrag.types import Footprint, ItemError

RANKS = (1, 5, 20)
_BATCH = 64


def run_dates(
    archive: Sequence[str],
    queries: Sequence[str],
    *,
    tile_size: int = 256,
    per_scene: int = 48,
    seed: int = 0,
    profile: str | None = None,
    encoder: str | None = None,
    report: Path | None = None,
    progress: Progress | None = None,
) -> SuiteResult:
    """Look for windows of the query scenes among the tiles of the archive's scenes (one scale, half overlapping).

    Args:
        archive: scenes that are searched.
        queries: scenes that queries are cut from; best of another date.
        tile_size: side of a tile in pixels.
        per_scene: most queries a scene gives.
        seed: of the alterations.
        profile: whose image encoder is measured.
        encoder: the image encoder itself.
        report: folder for the report.
        progress: told of tiles and queries.

    Raises:
        UsageError: scenes that give no tiles or no queries.
        SourceError: a scene that cannot be read.
        ModelError: an encoder that cannot be used.
    """
    progress = progress or Silent()
    model = start_encoder(choose_row(profile, encoder), encoder_settings(profile))
    harden_gdal()
    vectors, colours, outlines = [np.zeros((0, model.dim), np.float32)], [], []
    progress.start("tiles", None, unit="tiles")
    waiting: list[Picture] = []
    for picture, outline in _tiles(archive, tile_size):
        waiting.append(picture)
        outlines.append(outline)
        colours.append(histogram(picture))
        if len(waiting) == _BATCH:
            vectors.append(model.encode_images(waiting))
            waiting = []
        progress.advance()
    if waiting:
        vectors.append(model.encode_images(waiting))
    progress.finish()
    made = list(make_queries(queries, tile_size, per_scene, np.random.default_rng(seed)))
    if not outlines or not made:
        what = "queries" if outlines else "tiles"
        raise UsageError(f"the scenes gave no {what}", hint="they must be located and larger than a tile")
    right = np.array([[geo.iou(query.truth, outline) > OVERLAP_IOU for outline in outlines] for query in made])
    progress.start("queries", len(made), unit="queries")
    asked = []
    for start in range(0, len(made), _BATCH):
        asked.append(model.encode_images([query.picture for query in made[start : start + _BATCH]]))
        progress.advance(len(asked[-1]))
    progress.finish()
    ours, theirs = np.concatenate(asked), np.concatenate(vectors)
    rows = {model.name: hits(ours, theirs, right)}
    for name, columns in halves(model).items():
        rows[f"{model.name}, {name} half"] = hits(unit(ours[:, columns]), unit(theirs[:, columns]), right)
    painted = np.sqrt(np.stack([histogram(query.picture) for query in made])).astype(np.float32)
    rows["colour histogram"] = hits(painted, np.sqrt(np.stack(colours)).astype(np.float32), right)
    rows["chance"] = {"hit@1": mean(right.mean(axis=1).tolist())}
    details: dict[str, Any] = {
        "queries": f"{len(made)} of {_names(queries)}",
        "archive tiles": f"{len(outlines)} of {_names(archive)}",
        "tile": f"{tile_size} px",
        "units": "shares of the queries",
        "image model": model.fingerprint,
    }
    result = SuiteResult("image-retrieval", rows[model.name], rows, details)
    if report is not None:
        write_report(result, report)
    return result


def hits(queries: Vectors, archive: Vectors, right: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Share of queries with a right tile among the nearest 1, 5 and 20 by cosine; equal cosines in archive order."""
    order = np.argsort(-(queries @ archive.T), axis=1, kind="stable")[:, : max(RANKS)]
    found = np.take_along_axis(right, order, axis=1)
    return {f"hit@{k}": float(found[:, :k].any(axis=1).mean()) for k in RANKS}


def _tiles(sources: Sequence[str], tile_size: int) -> Iterator[tuple[Picture, Footprint]]:
    options = ReadOptions()
    for item in discover(sources, options):
        if isinstance(item, ItemError) or not item.is_imagery:
            continue
        for source in open_scenes(item, options):
            if isinstance(source, ItemError):
                continue
            with source:
                scene = source.scene
                if scene.crs is None or scene.transform is None:
                    continue
                for tile in read_tiles(source, plan_tiles(scene.width, scene.height, tile_size, (1,), 0.5)):
                    if not isinstance(tile, TileFailure) and tile.mask.any():
                        outline = geo.footprint_from_raster(scene.crs, scene.transform, tile.tile.window)
                        yield tile.picture, outline


def _names(paths: Sequence[str]) -> str:
    return ", ".join(Path(path).name for path in paths)
