"""The figures of the model card: ``python -m rsrag.train.evaluate WEIGHTS_DIR [DATA_DIR]`` prints them as JSON.

Runs the exported files (no torch) on pictures that training never saw: the ``val`` splits, and four dates of aerial
photographs of one place. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.errors import SourceError
from rsrag.ingest.discover import Discovered, discover, open_scenes
from rsrag.layout import layout, likeness, poses
from rsrag.models.mini import HEAD, WORDS_HEAD
from rsrag.models.vectors import unit
from rsrag.train.augment import QUERY, damage, plain, recolour
from rsrag.train.config import SourceConfig, load_config
from rsrag.train.data import class_names, read_source
from rsrag.train.probe import Pixels, Vectors, caption_recall, same_class_map, zero_shot
from rsrag.train.textmodel import load_text
from rsrag.types import ItemError, Window

TILE, STRIDE = 256, 128
CONFIG = Path(__file__).parent / "configs" / "mini.toml"


class Exported:
    """The shipped image tower and text head, run by ONNX Runtime and numpy.

    Args:
        folder: holds ``encoder.onnx``, ``text_head.safetensors``, perhaps ``words_head.safetensors``, and
            ``config.json``.
        text_dir: static text model; empty means the shipped one.
        threads: ONNX Runtime threads.
        graph: another graph than ``encoder.onnx``.
    """

    def __init__(self, folder: Path, *, text_dir: str = "", threads: int = 1, graph: Path | None = None) -> None:
        import onnxruntime
        from safetensors.numpy import load_file

        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.size, self.alpha = int(self.config["input_size"]), float(self.config["alpha"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = str(graph or folder / "encoder.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        fitted = WORDS_HEAD in self.config.get("sha256", {})
        self.head = load_file(folder / (WORDS_HEAD if fitted else HEAD))
        self.frozen = load_text(text_dir)

    def images(self, pictures: Sequence[Pixels]) -> tuple[Vectors, Vectors]:
        """Semantic and instance vectors, float32 [N, ...], unit length."""
        parts = []
        for start in range(0, len(pictures), 32):
            block = np.stack([plain(picture, self.size) for picture in pictures[start : start + 32]])
            pixels = np.ascontiguousarray(block.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
            parts.append(self.session.run(["semantic", "instance"], {"pixels": pixels}))
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def words(self, texts: list[str]) -> Vectors:
        """Sentences in the semantic space, float32 [N, D], unit length."""
        vectors, head = self.frozen(texts), self.head
        hidden = np.maximum(vectors @ head["first.weight"].T + head["first.bias"], 0)
        return unit(vectors + hidden @ head["second.weight"].T + head["second.bias"])

    def combined(self, pictures: Sequence[Pixels]) -> Vectors:
        """The shipped vector, float32 [N, dim], unit length."""
        semantic, instance = self.images(pictures)
        return np.concatenate([np.sqrt(self.alpha) * semantic, np.sqrt(1 - self.alpha) * instance], 1).astype("f4")


def split_figures(encoder: Exported, source: SourceConfig, data_dir: Path) -> dict[str, float]:
    """Zero-shot top-1, caption recall and same-class precision on the ``val`` split of a set."""
    items = read_source(replace(source, split="val"), data_dir)
    names = class_names([source], items, data_dir)
    vectors = encoder.images([item.pixels for item in items])
    result: dict[str, float] = {"images": float(len(items))}
    rows = [row for row, item in enumerate(items) if item.label]
    if rows:
        labelled = [items[row] for row in rows]
        result["top1"] = zero_shot(vectors[0][rows], labelled, names, encoder.words)
        kept = (vectors[0][rows], vectors[1][rows])
        result["same_class_map"] = same_class_map(kept, [item.label for item in labelled], encoder.alpha)
    if all(item.captions for item in items):
        result |= caption_recall(vectors[0], items, encoder.words)
    return result


def _scene(path: Path) -> Pixels:
    """The picture of a scene as ingest sees it."""
    for item in discover([path]):
        for source in open_scenes(item) if isinstance(item, Discovered) else ():
            if not isinstance(source, ItemError):
                with source:
                    size = source.scene.width, source.scene.height
                    return source.stretch.apply(source.read(Window(0, 0, *size)))
    raise SourceError(f"{path.name}: no scene in it")


def _overlap(corners: npt.NDArray[np.float64], left: int, top: int) -> float:
    """Intersection over union of a convex quadrilateral and the tile at ``(left, top)``, all in px."""
    tile = np.array([[left, top], [left + TILE, top], [left + TILE, top + TILE], [left, top + TILE]], np.float32)
    common, _ = cv2.intersectConvexConvex(corners.astype(np.float32), tile)
    area = float(cv2.contourArea(corners.astype(np.float32)))
    return float(common) / (area + TILE * TILE - float(common))


def place_queries(scene: Pixels, count: int, seed: int = 0) -> list[tuple[Pixels, npt.NDArray[np.float64]]]:
    """Tiles cut anywhere, turned by any angle, 70-100 % of a tile's area, recoloured; with their corners [4, 2]."""
    rng = np.random.default_rng(seed)
    height, width = scene.shape[:2]
    queries: list[tuple[Pixels, npt.NDArray[np.float64]]] = []
    while len(queries) < count:
        side, angle = TILE * np.sqrt(rng.uniform(0.7, 1.0)), rng.uniform(0, 2 * np.pi)
        centre = rng.uniform((0, 0), (width, height))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = centre + side / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ turn.T
        if corners.min() < 0 or (corners > (width, height)).any():
            continue
        linear = turn * side / TILE
        matrix = np.column_stack([linear, centre - linear @ np.array([TILE / 2, TILE / 2])])
        cut = cv2.warpAffine(scene, matrix, (TILE, TILE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        queries.append((damage(recolour(cut, QUERY, rng), QUERY, rng), corners))
    return queries


def place_figures(encoder: Exported, folder: Path, count: int = 300) -> dict[str, Any]:
    """Finding a place on other dates: hit@1, 5, 20 by the shipped vector, by its halves and by layout.

    IoU > 0.3 counts. The layout (:mod:`rsrag.layout`) is no part of the encoder: it stands beside its vector in every
    archive.
    """
    paths = sorted(folder.glob("*.tif"))
    if len(paths) < 2:
        raise SourceError(f"no dates in {folder}")
    *archive, last = [_scene(path) for path in paths]
    boxes = [
        (left, top)
        for top in range(0, last.shape[0] - TILE + 1, STRIDE)
        for left in range(0, last.shape[1] - TILE + 1, STRIDE)
    ]
    tiles = [scene[top : top + TILE, left : left + TILE] for scene in archive for left, top in boxes]
    queries = place_queries(last, count)
    truth = np.array([[_overlap(corners, *box) > 0.3 for box in boxes] * len(archive) for _, corners in queries])
    stored, asked = encoder.images(tiles), encoder.images([picture for picture, _ in queries])
    cosines = [a @ s.T for a, s in zip(asked, stored, strict=True)]
    mixtures = {"combined": encoder.alpha, "semantic": 1.0, "instance": 0.0}
    result: dict[str, Any] = {"queries": count, "tiles": len(tiles), "chance@1": float(truth.mean())}
    alike = {name: alpha * cosines[0] + (1 - alpha) * cosines[1] for name, alpha in mixtures.items()}
    cells = np.stack([layout(tile) for tile in tiles])
    alike["layout"] = np.stack([likeness(poses(picture), cells) for picture, _ in queries])
    for name, scores in alike.items():
        hits = np.take_along_axis(truth, np.argsort(-scores, axis=1), axis=1)
        result[name] = {f"hit@{k}": float(hits[:, :k].any(axis=1).mean()) for k in (1, 5, 20)}
    return result


def speed(encoder: Exported, batch: int = 16, rounds: int = 12) -> float:
    """Milliseconds an image, median over rounds, resizing not counted."""
    pixels = np.random.default_rng(0).random((batch, 3, encoder.size, encoder.size), dtype=np.float32)
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        encoder.session.run(None, {"pixels": pixels})
        times.append((time.perf_counter() - begun) / batch * 1000)
    return float(np.median(times))


def evaluate(folder: Path, data_dir: Path) -> dict[str, Any]:
    """All figures of the model card.

    Args:
        folder: exported image files.
        data_dir: the data directory of training.

    Returns:
        A table fit for JSON.
    """
    encoder = Exported(folder)
    result: dict[str, Any] = {
        Path(source.path).stem: split_figures(encoder, source, data_dir) for source in load_config(CONFIG).data.sources
    }
    result["naip"] = place_figures(encoder, data_dir / "geotiff" / "naip")
    result["ms_per_image_one_core"] = speed(encoder)
    return result


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m rsrag.train.evaluate", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="exported image files")
    default = Path(os.environ.get("RSRAG_DATA", "../shared/data"))
    parser.add_argument("data", type=Path, nargs="?", default=default, help="default: %(default)s")
    given = parser.parse_args(arguments)
    print(json.dumps(evaluate(given.folder, given.data), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
