"""Wall-to-wall classes of a scene of any size: probabilities of cells brought to every pixel, window by window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters import measure
from rsrag.adapters.base import Context, Subject
from rsrag.adapters.draw import palette
from rsrag.adapters.look import View
from rsrag.adapters.sweep import Step, steps, sweep
from rsrag.export_layers import Layer, LayerWriter, LegendEntry
from rsrag.models.base import Picture, Vectors
from rsrag.models.calibration import softmax
from rsrag.models.mini import MiniImageEncoder
from rsrag.types import Window

CORE = 1024
UNKNOWN = 254
"""Value of pixels whose best class is less likely than asked for."""
CELL = 32
"""Side of a cell in pixels: the stride of the coarsest feature map."""
SPAN = 4
"""Cells a side whose mean is the vector of a place: about the size of picture that the encoder knows."""

_MEAN = np.array([0.5, *[1.0] * (SPAN - 1), 0.5], dtype=np.float32) / SPAN
"""Mean over ``SPAN`` cells about the middle of one; an even number of whole cells would lie half a cell aside."""

Scores = npt.NDArray[np.float32]
Cells = Callable[[Picture], Scores]
"""A picture [H, W, 3] to cosines with the classes of every cell, float32 [C, ceil(H / 32), ceil(W / 32)]."""


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Class map, probability map, and pixels and square metres (None without scale) of every class and of unknown."""

    layers: tuple[Layer, ...]
    pixels: tuple[int, ...]
    square_metres: tuple[float | None, ...]


def dense_cells(context: Context, classes: Vectors) -> Cells:
    """Cells of the ``mini`` tower from its feature maps, of other encoders from tiles cut around each cell.

    Args:
        context: with the encoder.
        classes: float32 [C, dim] as the encoder's words, unit length.
    """
    encoder = context.profile.image
    if isinstance(encoder, MiniImageEncoder) and encoder.name == "mini-image":
        from rsrag.models.dense import DenseEncoder

        dense = DenseEncoder()
        # Whole pictures' vectors are half semantic, half instance: cells get the same scale, so one temperature fits.
        width, alpha = int(encoder.config["semantic_dim"]), float(encoder.config["alpha"])
        texts = np.asarray(classes[:, :width] * np.sqrt(alpha), dtype=np.float32)

        def from_maps(picture: Picture) -> Scores:
            cells = dense.maps(picture, ["semantic"])["semantic"]
            planes = [cv2.sepFilter2D(plane, -1, _MEAN, _MEAN, borderType=cv2.BORDER_REFLECT) for plane in cells]
            vectors = np.stack(planes).reshape(len(planes), -1)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=0), 1e-9)
            return np.asarray((texts @ vectors).reshape(len(texts), *cells.shape[1:]), dtype=np.float32)

        return from_maps

    side = encoder.input_size or CELL * SPAN * 2

    def from_tiles(picture: Picture) -> Scores:
        height, width = picture.shape[:2]
        rows, cols = -(-height // CELL), -(-width // CELL)
        pad = side // 2
        wide = cv2.copyMakeBorder(picture, pad, pad + CELL, pad, pad + CELL, cv2.BORDER_REFLECT_101)
        tiles = [
            np.ascontiguousarray(wide[r * CELL + CELL // 2 :, c * CELL + CELL // 2 :][:side, :side])
            for r in range(rows)
            for c in range(cols)
        ]
        vectors = np.concatenate([encoder.encode_images(tiles[i : i + 128]) for i in range(0, len(tiles), 128)])
        return np.asarray((vectors @ classes.T).T.reshape(len(classes), rows, cols), dtype=np.float32)

    return from_tiles


def legend(labels: Sequence[str], *, unknown: bool) -> tuple[LegendEntry, ...]:
    """A colour a label; grey for unknown."""
    entries = [LegendEntry(n, label, c) for n, (label, c) in enumerate(zip(labels, palette(len(labels)), strict=True))]
    return (*entries, LegendEntry(UNKNOWN, "unknown", (150, 150, 150))) if unknown else tuple(entries)


def classify_everywhere(
    view: View, labels: Sequence[str], cells: Cells, temperature: float, unknown: float, context: Context
) -> Map:
    """Write the class and probability of every pixel; memory does not depend on the size of the scene.

    Args:
        view: the open image.
        labels: at most 254.
        cells: cosines of the classes, see :func:`dense_cells`.
        temperature: of the softmax.
        unknown: least probability that a class is given for.
        context: told of every window.
    """
    subject = view.subject
    size = subject.width, subject.height
    place = subject.crs, subject.transform
    entries = legend(labels, unknown=unknown > 0)
    counts = np.zeros(len(labels) + 1, dtype=np.int64)
    areas = np.zeros(len(labels) + 1)
    context.progress.start("map", steps(*size, core=CORE), unit="windows")
    with (
        LayerWriter("classes", "class", *size, *place, legend=entries) as classes,
        LayerWriter("probability", "score", *size, *place) as sure,
    ):
        for step in sweep(*size, core=CORE, margin=CELL * SPAN):
            number, likely = _window(view, step, cells, temperature)
            number[(likely < unknown) & np.isfinite(likely)] = UNKNOWN
            found = np.array([np.count_nonzero(number == n) for n in (*range(len(labels)), UNKNOWN)], dtype=np.int64)
            counts += found
            areas += found * (_pixel_area(subject, step.core) or np.nan)
            classes.write(step.core, number)
            sure.write(step.core, likely)
            context.progress.advance()
    context.progress.finish()
    metres = tuple(None if np.isnan(area) else float(area) for area in areas)
    return Map((classes.layer, sure.layer), tuple(int(n) for n in counts), metres)


def _window(view: View, step: Step, cells: Cells, temperature: float) -> tuple[npt.NDArray[np.uint8], Scores]:
    pixels = view.source.read(step.outer)
    picture = view.source.stretch.apply(pixels)
    height, width = picture.shape[:2]
    likely = softmax(cells(picture), temperature, axis=0).astype(np.float32)
    grid = likely.shape[1] * CELL, likely.shape[2] * CELL
    rows, cols = step.inner
    best = np.zeros((step.core.height, step.core.width), dtype=np.float32)
    number = np.zeros(best.shape, dtype=np.uint8)
    for row, plane in enumerate(likely):  # one class at a time: memory does not grow with the labels
        wide = cv2.resize(plane, grid[::-1], interpolation=cv2.INTER_LINEAR)[:height, :width][rows, cols]
        better = wide > best
        number[better], best[better] = row, wide[better]
    nothing = ~pixels.mask[rows, cols]
    number[nothing], best[nothing] = 255, np.nan
    return number, best


def _pixel_area(subject: Subject, window: Window) -> float | None:
    return measure.pixel_area_m2(subject, window)
