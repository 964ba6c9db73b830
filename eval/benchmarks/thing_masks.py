"""Masks cut out of held-out boxes: ``python eval/benchmarks/thing_masks.py VHR10.zip FOLDS [--least 0.5] [--every 3]``.

FOLDS is the folder in which :mod:`rsrag.train.detector` keeps ``foldK.npz``: what each fold's network finds in pictures
that it has not seen. Every class that a picture shows is outlined by its boxes from a score on, as ``rsrag segment``
does; the boxes themselves and ellipses in them stand beside the cuts. Truth are the polygons of NWPU VHR-10.
"""

from __future__ import annotations

import argparse
import json
import math
import zipfile
from pathlib import Path

import cv2
import numpy as np

from rsrag.adapters.segment.things import AROUND, front_of
from rsrag.eval.datasets.polygons import by_picture, fill
from rsrag.eval.metrics.masks import Tally
from rsrag.train.detector_cache import read, read_coco, read_picture


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folds", type=Path)
    parser.add_argument("--least", type=float, default=0.5, help="score from which a box counts")
    parser.add_argument("--every", type=int, default=3, help="every so many pictures of each fold")
    given = parser.parse_args()
    names, rows = read_coco(given.data)
    by_key = {row.key: row for row in rows}
    tallies = {name: Tally() for name in ("cut", "box", "ellipse")}
    pictures, folds = 0, sorted(given.folds.glob("fold*.npz"))
    with zipfile.ZipFile(given.data) as opened:
        polygons = by_picture(json.loads(opened.read("annotations.json")))
        for fold in folds:
            found = read(fold)
            for key in sorted({name.split(".")[0] for name in found}, key=int)[:: given.every]:
                pictures += 1
                picture = read_picture(opened, f"images/{by_key[key].member}")
                for label, parts in polygons.get(key, {}).items():
                    truth = np.zeros(picture.shape[:2], dtype=np.uint8)
                    fill(truth, parts)
                    own = (found[f"{key}.labels"] == names.index(label)) & (found[f"{key}.scores"] >= given.least)
                    for name, mask in masks(picture, found[f"{key}.boxes"][own]).items():
                        tallies[name].add(label, mask, truth > 0)
    rows_of = {name: tally.figures() for name, tally in tallies.items()}
    by_class = {label: round(value, 3) for label, value in tallies["cut"].by_class().items()}
    print(
        json.dumps(
            {"suite": "thing-masks", "folds": len(folds), "pictures": pictures, "rows": rows_of, "cut": by_class}
        )
    )


def masks(picture: np.ndarray, boxes: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Cuts, boxes and ellipses, bool [H, W]."""
    height, width = picture.shape[:2]
    found = {name: np.zeros((height, width), dtype=np.uint8) for name in ("cut", "box", "ellipse")}
    for left, top, right, bottom in boxes:
        dx, dy = (max(4, round(AROUND * side)) for side in (right - left, bottom - top))
        x0, y0 = max(0, math.floor(left) - dx), max(0, math.floor(top) - dy)
        x1, y1 = min(width, math.ceil(right) + dx), min(height, math.ceil(bottom) + dy)
        part = np.ascontiguousarray(picture[y0:y1, x0:x1])
        found["cut"][y0:y1, x0:x1] |= (front_of(part, (left - x0, top - y0, right - x0, bottom - y0)) > 0).astype("u1")
        found["box"][math.floor(top) : math.ceil(bottom), math.floor(left) : math.ceil(right)] = 1
        middle = round((left + right) / 2), round((top + bottom) / 2)
        radii = max(1, round((right - left) / 2)), max(1, round((bottom - top) / 2))
        cv2.ellipse(found["ellipse"], middle, radii, 0, 0, 360, 1, -1)
    return {name: mask > 0 for name, mask in found.items()}


if __name__ == "__main__":
    main()
