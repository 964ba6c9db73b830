"""The shipped object detector: ten kinds of things on the frozen encoder's maps, run by ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import BadModelFile
from rsrag.models.base import Picture
from rsrag.models.boxes import Boxes, as_boxes, clipped, suppressed, voted
from rsrag.models.dense import SHIPPED as DENSE
from rsrag.models.dense import DenseEncoder
from rsrag.models.dense import shipped as shipped_maps
from rsrag.models.described import check_encoder, read_described
from rsrag.models.groundviews import CELL, LEVELS, views
from rsrag.models.towers import ort_session

SHIPPED = DENSE.parent / "ground"
GRAPH, CONFIG = "head.onnx", "config.json"
LEAST = 0.05
"""Score below which nothing is a detection."""
SAME = 0.45
"""IoU above which two boxes of a class are the same thing."""
_VOTE = 0.65
_MOST = 1500


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found, by falling score.

    Attributes:
        boxes: in pixels, [N, 4].
        scores: 0 to 1, [N].
        labels: number of the class, [N].
    """

    boxes: Boxes
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def chosen(self, rows: npt.NDArray[Any]) -> Detections:
        """Some of them, by row or by mask."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])


EMPTY = Detections(as_boxes([]), np.zeros(0), np.zeros(0, dtype=np.int64))


def decode(
    scores: npt.NDArray[np.float32], sides: npt.NDArray[np.float32], width: int, height: int, least: float = LEAST
) -> Detections:
    """Detections from the network's maps: boxes of all cells above a score, one a thing.

    Args:
        scores: of every class at every cell, [C, rows, cols].
        sides: distances from a cell's centre to left, top, right, bottom in pixels, [4, rows, cols].
        width: of the picture in pixels; boxes are clipped to it.
        height: of the picture in pixels.
        least: lowest score.
    """
    kind, row, col = np.nonzero(scores >= least)
    if not len(kind):
        return EMPTY
    value = scores[kind, row, col].astype(np.float64)
    if len(value) > _MOST:
        best = np.argsort(-value, kind="stable")[:_MOST]
        kind, row, col, value = kind[best], row[best], col[best], value[best]
    x, y = col * CELL + CELL / 2, row * CELL + CELL / 2
    left, top, right, bottom = sides[:, row, col].astype(np.float64)
    boxes = clipped(np.column_stack([x - left, y - top, x + right, y + bottom]), width, height)
    kept = suppressed(boxes, value, kind, overlap=SAME)
    found = voted(boxes, value, kind, kept, overlap=_VOTE)
    solid = (found[:, 2] - found[:, 0] >= 1) & (found[:, 3] - found[:, 1] >= 1)
    return Detections(found[solid], value[kept][solid], kind[kept][solid].astype(np.int64))


class ObjectDetector:
    """Boxes of the classes it was trained on.

    Args:
        directory: holds ``head.onnx`` and ``config.json`` as :mod:`rsrag.train.detector` writes them.
        encoder: of the maps; the shipped one by default.

    Raises:
        BadModelFile: a file is missing or not the one described, or it was trained on another encoder.
    """

    def __init__(self, directory: Path = SHIPPED, encoder: DenseEncoder | None = None) -> None:
        self._graph = directory / GRAPH
        config = read_described(directory, [GRAPH], "object detector")
        try:
            self.classes: tuple[str, ...] = tuple(str(name) for name in config["classes"])
            self.thresholds: tuple[float, ...] = tuple(float(config["thresholds"][name]) for name in self.classes)
        except (KeyError, ValueError, TypeError) as error:
            raise BadModelFile(f"no object detector in {directory}: {error}") from error
        self.encoder = encoder or shipped_maps()
        check_encoder(directory, config, self.encoder.fingerprint, "rsrag.train.detector")
        self.fingerprint = f"mini-ground:{config['sha256'][GRAPH][:16]}"

    @cached_property
    def _session(self) -> Any:
        return ort_session(self._graph)

    def detect(self, picture: Picture, least: float = LEAST) -> Detections:
        """What is in a picture.

        Args:
            picture: uint8 RGB [H, W, 3] of about 0.5 to 2 m a pixel, at least 16 pixels a side.
            least: lowest score.
        """
        height, width = picture.shape[:2]
        maps = views(self.encoder, picture)
        scores, sides = self._session.run(None, {level.name: maps[level.name][None] for level in LEVELS})
        rows, cols = -(-height // CELL), -(-width // CELL)
        return decode(scores[0, :, :rows, :cols], sides[0, :, :rows, :cols], width, height, least)


@cache
def shipped() -> ObjectDetector:
    """The one that ships, read once a process.

    Raises:
        BadModelFile: as when it is made.
    """
    return ObjectDetector()
