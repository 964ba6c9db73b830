"""Wall-to-wall classes of a scene of any size: probabilities of cells brought to every pixel, window by window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters import measure
from rsrag.adapters.base import Context, Region
from rsrag.adapters.cells import CellEncoder, spread
from rsrag.adapters.draw import palette
from rsrag.adapters.look import View
from rsrag.adapters.outlines import outlined
from rsrag.adapters.sweep import Step, steps, sweep
from rsrag.export_layers import Layer, LayerWriter, LegendEntry
from rsrag.models.base import Picture, Vectors
from rsrag.models.calibration import calibration, softmax

CORE = 1024
UNKNOWN = 254
"""Value of pixels whose best class is less likely than asked for."""
SPAN = 4
"""Cells a side whose mean is the vector of a place: about the size of picture that the encoder knows."""
SMALLEST = 16 * 16
"""Pixels that a connected area must have to be outlined: a quarter of a cell, since nothing smaller is told apart."""
MARGIN = 128
"""Pixels around a window that its cells look at."""
_LINE = np.array([0.5, *[1.0] * (SPAN - 1), 0.5], dtype=np.float32) / SPAN
MEAN = np.outer(_LINE, _LINE).astype(np.float32)
"""Mean over ``SPAN`` cells about the middle of one; an even number of whole cells would lie half a cell aside."""

Scores = npt.NDArray[np.float32]
Cells = Callable[[Picture], tuple[Scores, int]]
"""A picture [H, W, 3] to cosines of classes with every cell, float32 [C, rows, cols], and a cell's side in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Class map, probability map, and pixels and square metres (None without scale) of every class and of unknown.

    ``regions`` are the connected areas of the classes of at least :data:`SMALLEST` pixels, the largest first; of the
    ``pieces`` there are, those that are handed on.
    """

    layers: tuple[Layer, ...]
    regions: tuple[Region, ...]
    pieces: int
    pixels: tuple[int, ...]
    square_metres: tuple[float | None, ...]


def cell_words(context: Context) -> Callable[[Sequence[str]], Vectors]:
    """Texts to vectors for :func:`dense_cells`, float32 [N, dim]; the cells of ``mini`` have another text head than its
    whole pictures."""
    words, dim = CellEncoder(context).words, context.profile.image.dim

    def padded(texts: Sequence[str]) -> Vectors:
        found = words(texts)
        return np.pad(found, ((0, 0), (0, dim - found.shape[1])))

    return padded


def dense_cells(context: Context, classes: Vectors) -> tuple[Cells, float]:
    """Cosines of classes with cells, on the scale of whole pictures, and the temperature of those.

    Cells of the ``mini`` profile are those of its words tower, which makes most of a whole picture's vector.

    Args:
        context: with the encoder.
        classes: float32 [C, dim], from :func:`cell_words`.
    """
    encoder = CellEncoder(context)

    def cosines(picture: Picture) -> tuple[Scores, int]:
        vectors, side = encoder.grid(picture, MEAN, cv2.BORDER_REFLECT)
        texts = classes[:, : len(vectors)] * np.float32(encoder.scale)
        return np.asarray(np.tensordot(texts, vectors, axes=1), dtype=np.float32), side

    return cosines, calibration(context.profile.image.fingerprint).temperature


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
    told = [*range(len(labels)), UNKNOWN]
    context.progress.start("map", steps(*size, core=CORE), unit="windows")
    with (
        LayerWriter("classes", "class", *size, *place, legend=entries) as classes,
        LayerWriter("probability", "score", *size, *place) as sure,
    ):
        for step in sweep(*size, core=CORE, margin=MARGIN):
            number, likely = _window(view, step, cells, temperature)
            number[(likely < unknown) & np.isfinite(likely)] = UNKNOWN
            counts += np.bincount(number.ravel(), minlength=256)[told]
            each = measure.pixel_areas_m2(subject, step.core)
            if each is None:
                areas[:] = np.nan
            else:
                areas += np.bincount(number.ravel(), each.ravel(), minlength=256)[told]
            classes.write(step.core, number)
            sure.write(step.core, likely)
            context.progress.advance()
    context.progress.finish()
    names = {entry.value: entry.label for entry in entries}
    outlines = outlined(
        subject, classes.layer, range(len(labels)), names.__getitem__, sure.layer, smallest=float(SMALLEST)
    )
    metres = tuple(None if np.isnan(area) else float(area) for area in areas)
    return Map((classes.layer, sure.layer), outlines.regions, outlines.pieces, tuple(int(n) for n in counts), metres)


def _window(view: View, step: Step, cells: Cells, temperature: float) -> tuple[npt.NDArray[np.uint8], Scores]:
    pixels = view.source.read(step.outer)
    picture = view.source.stretch.apply(pixels)
    height, width = picture.shape[:2]
    cosines, side = cells(picture)
    likely = softmax(cosines, temperature, axis=0).astype(np.float32)
    rows, cols = step.inner
    best = np.zeros((step.core.height, step.core.width), dtype=np.float32)
    number = np.zeros(best.shape, dtype=np.uint8)
    for row, plane in enumerate(likely):  # one class at a time: memory does not grow with the labels
        wide = spread(plane, side, height, width)[rows, cols]
        better = wide > best
        number[better], best[better] = row, wide[better]
    nothing = ~pixels.mask[rows, cols]
    number[nothing], best[nothing] = 255, np.nan
    return number, best
