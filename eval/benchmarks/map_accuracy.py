"""How well class maps follow a known layout: ``python eval/benchmarks/map_accuracy.py [--data DIR] [--base]``.

Pictures of a ``val`` split are laid into mosaics of 4 × 4; the class of every cell of the dense tower is compared with
the picture it lies in. Borders count, so 100 % is out of reach. ``--base`` measures the maps of the base tower, which
detectors and change stand on, instead of those of the words tower.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

import rsrag.train
from rsrag.adapters.cells import dense_grid
from rsrag.adapters.classify.wall import MEAN
from rsrag.config import Settings
from rsrag.models.calibration import bank_vectors
from rsrag.models.dense import DenseEncoder, shipped, shipped_cells
from rsrag.models.mini import MiniImageEncoder
from rsrag.models.registry import load_profile
from rsrag.train.config import SourceConfig, load_config
from rsrag.train.data import class_names, read_source
from rsrag.train.prompts import TEMPLATES

GRID = 4


def accuracy(dense: DenseEncoder, source: SourceConfig, data: Path, side: int, scenes: int) -> float:
    """Share of the cells of mosaics whose class is that of the picture at their middle, per cent."""
    items = [item for item in read_source(replace(source, split="val"), data) if item.label]
    names = class_names([source], items, data)
    classes = sorted({item.label for item in items})
    encoder = load_profile(Settings()).image
    assert isinstance(encoder, MiniImageEncoder)
    vectors = bank_vectors(encoder.semantic_words, [[names[key][0]] for key in classes], TEMPLATES)
    rng, hits = np.random.default_rng(0), []
    for _ in range(scenes):
        chosen = rng.choice(len(items), GRID * GRID, replace=False)
        mosaic = np.empty((GRID * side, GRID * side, 3), np.uint8)
        truth = np.empty(mosaic.shape[:2], np.int64)
        for number, row in enumerate(chosen):
            place = tuple(slice(k * side, (k + 1) * side) for k in divmod(number, GRID))
            shrink = min(items[row].pixels.shape[:2]) > side
            how = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
            mosaic[place] = cv2.resize(items[row].pixels, (side, side), interpolation=how)
            truth[place] = classes.index(items[row].label)
        cells, step = dense_grid(dense, mosaic, MEAN, cv2.BORDER_REFLECT)
        best = np.tensordot(vectors[:, : len(cells)], cells, axes=1).argmax(axis=0)
        hits.append(best == truth[step // 2 :: step, step // 2 :: step])
    return 100 * float(np.mean(hits))


def main() -> None:
    """Measure every set at two sizes, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RSRAG_DATA", "../shared/data")))
    parser.add_argument("--base", action="store_true")
    parser.add_argument("--scenes", type=int, default=24)
    arguments = parser.parse_args()
    dense = shipped() if arguments.base else shipped_cells()
    config = load_config(Path(str(rsrag.train.__file__)).parent / "configs" / "mini.toml")
    metrics = {
        f"{Path(source.path).stem}, {side} px": round(
            accuracy(dense, source, arguments.data, side, arguments.scenes), 1
        )
        for source in config.data.sources
        for side in (128, 192)
    }
    print(json.dumps({"suite": "map-accuracy", "maps": dense.fingerprint, "metrics": metrics}))


if __name__ == "__main__":
    main()
