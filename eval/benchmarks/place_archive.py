"""A place among thousands: ``place_archive.py --archive SCENE... --queries SCENE... --others FOLDER|ZIP``.

The windows of the suite "place-recognition" are looked for among the tiles of other dates and so many pictures of other
ground. Told is how often a right tile is among the first 1, 20, 160 and 2,000 by the embedding and by layout, and what
the comparison costs a query beside matching local features with one tile.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag import geo, geometric, layout
from rsrag.eval.datasets.images import read_folders
from rsrag.eval.encoders import embed, open_encoder
from rsrag.eval.image_dates import read_tiles
from rsrag.eval.place_recognition import OVERLAP_IOU, make_queries
from rsrag.ingest.guard import harden_gdal
from rsrag.progress import Silent

RANKS = (1, 20, 160, 2000)


def rates(alike: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> dict[str, float]:
    """How often a right tile is among the most alike ones.

    Args:
        alike: float32 [queries, tiles].
        right: bool [queries, places]; the first tiles are those of the places.
    """
    best = np.where(right, alike[:, : right.shape[1]], -np.inf).max(axis=1, keepdims=True)
    ranks = (alike > best).sum(axis=1)
    return {f"@{k}": round(float((ranks < k).mean()), 3) for k in RANKS}


def measure(
    archive: Sequence[str], queries: Sequence[str], others: str, split: str | None, count: int
) -> dict[str, Any]:
    """All figures of one archive."""
    harden_gdal()
    encoder = open_encoder()
    tiles = read_tiles(archive, 256, encoder, Silent())
    made = list(make_queries(queries, 256, count, np.random.default_rng(0)))
    right = np.array([[geo.iou(q.truth, outline) > OVERLAP_IOU for outline in tiles.outlines] for q in made])
    foreign = read_folders(Path(others), split=split)
    stored = np.concatenate([tiles.vectors, embed(encoder, foreign)])
    cells = np.stack([*tiles.layouts, *(layout.layout(picture) for batch in foreign.batches() for picture in batch)])
    asked = encoder.encode_images([q.picture for q in made])
    begun = time.perf_counter()
    alike = np.stack([layout.likeness(layout.poses(q.picture), cells) for q in made])
    spent = (time.perf_counter() - begun) / len(made)
    return {
        "queries": len(made), "tiles": len(cells), "embedding": rates(asked @ stored.T, right),
        "layout": rates(alike, right), "ms a query": round(1000 * spent, 1),
        "us a tile": round(1e6 * spent / len(cells), 1), "ms a tile by local features": round(_features_ms(made), 1),
    }  # fmt: skip


def _features_ms(made: Sequence[Any]) -> float:
    first, *rest = [query.picture for query in made[:6]]
    asked = geometric.extract(first)
    begun = time.perf_counter()
    for picture in rest:
        geometric.match(asked, geometric.extract(picture))
    return 1000 * (time.perf_counter() - begun) / max(len(rest), 1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--archive", nargs="+", required=True, help="scenes of the place")
    parser.add_argument("--queries", nargs="+", required=True, help="scenes of another date")
    parser.add_argument(
        "--others", required=True, help="pictures of other ground, one folder a class, or a zip of them"
    )
    parser.add_argument("--split", help="of the others")
    parser.add_argument("--count", type=int, default=48, help="most queries a scene")
    given = parser.parse_args()
    print(json.dumps(measure(given.archive, given.queries, given.others, given.split, given.count), indent=1))


if __name__ == "__main__":
    main()
