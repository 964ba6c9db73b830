"""Place recognition by the embedding alone: altered windows of one date against tiles of other dates.

The queries are those of the suite "place-recognition" (:mod:`rsrag.eval.place_recognition`), which measures the whole
engine with its geometric verification; here any encoder is measured by itself, and by the halves of its vectors. Tiles
of a query's own file do not count, so that one list of dates may serve as archive and as queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag import geo
from rsrag.errors import BadFootprint, UnreadableSource, UsageError
from rsrag.eval.encoders import choose_row, encoder_settings, start_encoder
from rsrag.eval.image_retrieval import halves
from rsrag.eval.place_recognition import OVERLAP_IOU, PlaceQuery, histogram, make_queries
from rsrag.eval.reports.intervals import mean_interval
from rsrag.eval.reports.page import DetailedResult, write_report
from rsrag.eval.reports.result import mean
from rsrag.ingest import windows
from rsrag.ingest.discover import Discovered, discover, open_scenes
from rsrag.ingest.guard import harden_gdal
from rsrag.ingest.readers.base import ReadOptions
from rsrag.layout import LENGTH, Layout, layout, likeness, poses
from rsrag.models.base import ImageEncoder, Picture, Vectors
from rsrag.models.vectors import unit
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
) -> DetailedResult:
    """Look for windows of the query scenes among the tiles of the archive's scenes (one scale, half overlapping).

    Args:
        archive: scenes that are searched.
        queries: scenes that queries are cut from; may be the archive's own.
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
    try:
        tiles = read_tiles(archive, tile_size, model, progress)
        made = _read_queries(queries, tile_size, per_scene, seed)
    except BadFootprint as error:  # the hint names options of ingest
        raise BadFootprint(error.message, hint="right and wrong are told by place: give located scenes") from error
    if not tiles.outlines or not made:
        what = "queries" if tiles.outlines else "tiles"
        raise UsageError(f"the scenes gave no {what}", hint="they must be located and larger than a tile")
    foreign = np.array([[path != other for other in tiles.paths] for path, _ in made])
    right = np.array([[geo.iou(query.truth, outline) > OVERLAP_IOU for outline in tiles.outlines] for _, query in made])
    if not (right & foreign).any(axis=1).all():
        hint = "add a scene of the same ground and another date; tiles of a query's own scene do not count"
        raise UsageError("some queries have no right tile in the archive", hint=hint)
    progress.start("queries", len(made), unit="queries")
    asked = []
    for start in range(0, len(made), _BATCH):
        asked.append(model.encode_images([query.picture for _, query in made[start : start + _BATCH]]))
        progress.advance(len(asked[-1]))
    progress.finish()
    ours, theirs = np.concatenate(asked), tiles.vectors
    rows = {model.name: hits(ours @ theirs.T, right, foreign)}
    for name, columns in halves(model).items():
        half = unit(ours[:, columns]) @ unit(theirs[:, columns]).T
        rows[f"{model.name}, {name} half"] = hits(half, right, foreign)
    alike = np.stack([likeness(poses(query.picture), tiles.layouts) for _, query in made])
    rows["layout"] = hits(alike, right, foreign)
    painted = np.sqrt(np.stack([histogram(query.picture) for _, query in made])).astype(np.float32)
    rows["colour histogram"] = hits(painted @ tiles.colours.T, right, foreign)
    rows["chance"] = {"hit@1": mean(((right & foreign).sum(axis=1) / foreign.sum(axis=1)).tolist())}
    own = [float(hit) for hit in _first(ours, theirs, right, foreign)]
    low, high = mean_interval(own)
    rows[model.name] |= {"hit@1_low": low, "hit@1_high": high}
    details: dict[str, Any] = {
        "queries": f"{len(made)} of {_names(queries)}",
        "archive tiles": f"{len(tiles.outlines)} of {_names(archive)}",
        "tile": f"{tile_size} px",
        "units": "shares of the queries",
        "image model": model.fingerprint,
    }
    result = DetailedResult("image-retrieval", rows[model.name], rows, details)
    if report is not None:
        write_report(result, report)
    return result


def hits(alike: Vectors, right: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Share of queries with a right tile among the most alike 1, 5 and 20; equally alike ones in archive order.

    Args:
        alike: float32 [N, M], of every query and every tile.
        right: bool [N, M], which tiles show the query's place.
        among: bool [N, M], which tiles are searched.
    """
    scores = np.where(among, alike, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, : max(RANKS)]
    found = np.take_along_axis(right & among, order, axis=1)
    return {f"hit@{k}": float(found[:, :k].any(axis=1).mean()) for k in RANKS}


def _first(
    queries: Vectors, archive: Vectors, right: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    best = np.where(among, queries @ archive.T, -np.inf).argmax(axis=1)
    return np.asarray(right[np.arange(len(best)), best], dtype=np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """The archive: a vector, a histogram, a layout, an outline and a file a tile."""

    vectors: Vectors
    colours: Vectors
    layouts: Layout
    outlines: list[Footprint]
    paths: list[Path]


def read_tiles(sources: Sequence[str], tile_size: int, model: ImageEncoder, progress: Progress) -> Tiles:
    """The located tiles of scenes, of one scale and half overlapping.

    Args:
        sources: files and folders.
        tile_size: side of a tile in pixels.
        model: of the vectors.
        progress: told of tiles.
    """
    vectors = [np.zeros((0, model.dim), dtype=np.float32)]
    colours = [np.zeros((0, 512), dtype=np.float32)]
    layouts = [np.zeros((0, LENGTH), dtype=np.int8)]
    outlines: list[Footprint] = []
    paths: list[Path] = []
    waiting = _each_tile(sources, tile_size)
    progress.start("tiles", None, unit="tiles")
    while batch := list(islice(waiting, _BATCH)):
        pictures = [picture for _, picture, _ in batch]
        vectors.append(model.encode_images(pictures))
        colours.append(np.sqrt(np.stack([histogram(picture) for picture in pictures])).astype(np.float32))
        layouts.append(np.stack([layout(picture) for picture in pictures]))
        outlines += [outline for *_, outline in batch]
        paths += [path for path, *_ in batch]
        progress.advance(len(batch))
    progress.finish()
    return Tiles(np.concatenate(vectors), np.concatenate(colours), np.concatenate(layouts), outlines, paths)


def _each_tile(sources: Sequence[str], tile_size: int) -> Iterator[tuple[Path, Picture, Footprint]]:
    options = ReadOptions()
    for item in _images(sources):
        for source in open_scenes(item, options):
            if isinstance(source, ItemError):
                continue
            with source:
                scene = source.scene
                if scene.crs is None or scene.transform is None:
                    continue
                for tile in windows.read_tiles(
                    source, windows.plan_tiles(scene.width, scene.height, tile_size, (1,), 0.5)
                ):
                    if not isinstance(tile, windows.TileFailure) and tile.mask.any():
                        outline = geo.footprint_from_raster(scene.crs, scene.transform, tile.tile.window)
                        yield item.path, tile.picture, outline


def _read_queries(sources: Sequence[str], tile_size: int, per_scene: int, seed: int) -> list[tuple[Path, PlaceQuery]]:
    rng = np.random.default_rng(seed)
    return [
        (item.path, query)
        for item in _images(sources)
        for query in make_queries([str(item.path)], tile_size, per_scene, rng)
    ]


def _images(sources: Sequence[str]) -> Iterator[Discovered]:
    for item in discover(sources, ReadOptions()):
        if isinstance(item, ItemError):
            raise UnreadableSource(f"{item.source}: {item.reason}")
        if item.is_imagery:
            yield item


def _names(paths: Sequence[str]) -> str:
    return ", ".join(Path(path).name for path in paths)
