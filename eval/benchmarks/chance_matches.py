"""What chance reaches: ``python eval/benchmarks/chance_matches.py SCENE... [--archive WORKSPACE]``.

Two constants of locating images rest on these figures: the evidence that pictures of *different* ground reach
(``rsrag.geometric.MIN_EVIDENCE``), and the cosine of a picture to its best tile when it shows the archive's ground and
when it shows other ground (``rsrag.locate.LIKENESS``). Windows of the scenes are compared with all that do not touch
them; the archive for the cosines is the Blue Marble of ``rsrag demo``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import rsrag
from rsrag import geo, geometric
from rsrag.demo.mosaic import altered_crop, read_mosaic
from rsrag.eval.place_recognition import PlaceQuery, make_queries
from rsrag.types import BBox, QueryImage


def chance(queries: list[PlaceQuery]) -> dict[str, Any]:
    """Inliers, agreement of edges and both together, of pairs whose true outlines do not touch."""
    features = [geometric.extract(q.picture) for q in queries]
    found = [
        geometric.match(features[i], features[j])
        for i, first in enumerate(queries)
        for j, second in enumerate(queries[:i])
        if not geo.intersects(first.truth, second.truth)
    ]
    points = [50, 90, 99, 99.9, 100]
    figures = {
        "inliers": [float(m.inliers) if m else 0.0 for m in found],
        "agreement": [(m.agreement or 0.0) if m else 0.0 for m in found],
        "evidence": [m.evidence if m else 0.0 for m in found],
    }
    return {
        "pairs": len(found),
        **{f"{name}, 50 90 99 99.9 100 %": np.percentile(v, points).round(1).tolist() for name, v in figures.items()},
        "at the threshold": sum(value >= geometric.MIN_EVIDENCE for value in figures["evidence"]),
    }


def cosines(archive: str, foreign: list[PlaceQuery], count: int) -> dict[str, Any]:
    """Cosine to the best tile: altered crops of the archive's own mosaic, and pictures of other ground."""
    rng, mosaic = np.random.default_rng(0), read_mosaic()
    own, other = [], []
    with rsrag.open(archive) as engine:
        for _ in range(count):
            lon, lat, side = rng.uniform(-170, 170), rng.uniform(-55, 65), rng.uniform(3, 10)
            box = BBox(lon - side, lat - side, lon + side, lat + side)
            picture = altered_crop(mosaic, box, turn=rng.uniform(0, 360), zoom=rng.uniform(0.8, 2), blur=0.8)
            own.append(engine.retrieve(image=QueryImage(picture, "own"), verify=False).tiles[0].score)
        for query in foreign:
            found = engine.retrieve(image=QueryImage(query.picture, "foreign"), verify=False)
            other.append(found.tiles[0].score)
    points = [0, 5, 50, 95, 100]
    return {
        "own, 0 5 50 95 100 %": np.percentile(own, points).round(3).tolist(),
        "other ground": np.percentile(other, points).round(3).tolist(),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="+")
    parser.add_argument("--archive", help="workspace of rsrag demo, for the cosines")
    parser.add_argument("--per-scene", type=int, default=24)
    arguments = parser.parse_args()
    paths = [str(Path(s)) for s in arguments.scenes]
    queries = list(make_queries(paths, 256, arguments.per_scene, np.random.default_rng(0)))
    result: dict[str, Any] = {"suite": "chance-matches", "metrics": chance(queries)}
    if arguments.archive:
        result["cosines"] = cosines(arguments.archive, queries, 60)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
