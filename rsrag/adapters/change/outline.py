"""Kinds of ground before and after, changed areas as outlines, and what turned into what."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from rsrag.adapters import measure
from rsrag.adapters.base import Region, Subject
from rsrag.adapters.change import describe, ground, indices
from rsrag.adapters.change.pair import Pair
from rsrag.adapters.change.request import Transition
from rsrag.adapters.change.statistics import Sample
from rsrag.adapters.coarse import Coarse, as_it_is, coarse, pieces_of
from rsrag.adapters.generalise import generalised, is_small
from rsrag.adapters.outlines import CORNERS, HOLES
from rsrag.adapters.sweep import steps, sweep
from rsrag.export_layers import Colour, Layer, LayerWriter, LegendEntry
from rsrag.models.dense import DenseEncoder
from rsrag.progress import Progress
from rsrag.types import Fact, Window

CORE = 512
MOST_REGIONS = 5000
_KIND_SIDE = 512
_SMALL = 4_000_000
"""Pixels up to which a layer is kept in memory while its regions are described."""
_KINDS = len(indices.CLASSES)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Kinds of ground of changed pixels.

    Attributes:
        before: class raster, numbers into CLASSES.
        after: the same of the later date.
        both: what became what, ``4 * before + after``; None where kinds are told for areas larger than changes, so that
            changes must not be cut up by them.
    """

    before: Layer
    after: Layer
    both: Layer | None

    @property
    def told(self) -> tuple[Layer, ...]:
        """What the kinds of a whole area are read from: what became what, or the dates each by itself."""
        return (self.both,) if self.both is not None else (self.before, self.after)


def kinds(pair: Pair, mask: Layer, found: Sample, encoder: DenseEncoder | None, progress: Progress) -> Ground | None:
    """Kinds of ground of changed pixels at both dates; None where they cannot be told.

    Args:
        pair: both dates.
        mask: of changes.
        found: pixels of the whole scene, on which the line of water is drawn for each date.
        encoder: of feature maps, where no index tells kinds.
        progress: told of every window.
    """
    by_rules = indices.tells_classes(pair.roles)
    if not by_rules and (encoder is None or not (ground.natural(pair.before) and ground.natural(pair.after))):
        return None
    lines = (
        [indices.line_of(v.T.astype(np.float32), pair.roles) for v in (found.before, found.after)] if by_rules else []
    )
    subject = pair.subject
    legend = [
        LegendEntry(i, name, colour)
        for i, (name, colour) in enumerate(zip(indices.CLASSES, indices.COLOURS, strict=True))
    ]
    grid = (subject.width, subject.height, subject.crs, subject.transform)
    writers = [LayerWriter(f"ground {when}", "class", *grid, legend=legend) for when in ("before", "after")]
    writers.append(LayerWriter("transition", "class", *grid, legend=_both_legend()))
    progress.start("kinds of ground", steps(subject.width, subject.height, core=CORE), unit="windows")
    with writers[0], writers[1], writers[2]:
        for step in sweep(subject.width, subject.height, core=CORE, margin=32):
            changed = mask.read(step.core) == 1
            if changed.any():
                one, two = (
                    np.where(changed, values[step.inner], ground.UNKNOWN)
                    for values in _tell(pair, step.outer, lines, encoder)
                )
                both = np.where(changed, one * _KINDS + two, ground.UNKNOWN).astype(np.uint8)
                if by_rules:
                    both = majority(both, _KINDS**2)
            else:
                one = two = both = np.full(changed.shape, ground.UNKNOWN, dtype=np.uint8)
            for writer, values in zip(writers, (one, two, both), strict=True):
                writer.write(step.core, values)
            progress.advance()
    progress.finish()
    return Ground(writers[0].layer, writers[1].layer, writers[2].layer if by_rules else None)


def _both_legend() -> list[LegendEntry]:
    return [
        LegendEntry(i * _KINDS + j, describe.label(one, two), _between(first, second))
        for i, (one, first) in enumerate(zip(indices.CLASSES, indices.COLOURS, strict=True))
        for j, (two, second) in enumerate(zip(indices.CLASSES, indices.COLOURS, strict=True))
    ]


def _between(first: Colour, second: Colour) -> Colour:
    return ((first[0] + second[0]) // 2, (first[1] + second[1]) // 2, (first[2] + second[2]) // 2)


def majority(kinds: ground.Kinds, count: int) -> ground.Kinds:
    """Kinds without single odd pixels: the one of at least five of nine, else the pixel's own; unknown pixels stay so.

    Args:
        kinds: numbers below ``count``, or UNKNOWN: uint8 [h, w].
        count: how many kinds there are.
    """
    found = kinds.copy()
    for kind in range(count):
        most = cv2.boxFilter((kinds == kind).astype(np.uint8), cv2.CV_16U, (3, 3), normalize=False) >= 5
        found[most] = kind
    found[kinds == ground.UNKNOWN] = ground.UNKNOWN
    return found


def _tell(pair: Pair, window: Window, lines: Sequence[float], encoder: DenseEncoder | None) -> list[ground.Kinds]:
    """Kinds of a window at both dates: by indices with the lines of water, else by the encoder."""
    one, two = pair.read(window)
    if lines:
        values = pair.values(one, two)
        return [majority(indices.classes(v, pair.roles, line), _KINDS) for v, line in zip(values, lines, strict=True)]
    assert encoder is not None
    return [
        ground.kinds_of(encoder, source.stretch.apply(pixels))
        for source, pixels in ((pair.before, one), (pair.after, two))
    ]


# --- outlines and what they turned from and into ---


@dataclass(frozen=True, slots=True, eq=False)
class Outlined:
    """What was outlined of a change.

    Attributes:
        regions: the largest changed areas, at most :data:`MOST_REGIONS`.
        count: how many there are in all.
        cell: pixels along a side of the cells that were outlined in place of pixels; 1 is none.
        turned: how many of each kind before and after; of those without an outline only where they are cut by kinds.
    """

    regions: tuple[Region, ...]
    count: int
    cell: int
    turned: Counter[tuple[str, str]]

    @property
    def dropped(self) -> int:
        """How many have no outline."""
        return max(0, self.count - len(self.regions))


def regions(subject: Subject, mask: Layer, magnitude: Layer, found: Ground | None, least: int, line: float) -> Outlined:
    """The largest regions, by falling area."""
    kept: list[tuple[float, int, Any, str]] = []
    # Pieces that are cut up by kinds are not told apart by the mask alone: only its holes are chosen then.
    cut = found is not None and found.both is not None
    most = mask.width * mask.height if cut else MOST_REGIONS
    drawn = generalised(mask, pieces=most, holes=HOLES, smallest=least)
    count, turned = 0 if cut or drawn.small is None else drawn.small, Counter[tuple[str, str]]()
    whole = as_it_is(drawn.layer) if cut else coarse(drawn.layer, corners=CORNERS)
    for order, (kind, shape) in enumerate(_shapes(whole, found, least)):
        count += cut or drawn.small is None or not is_small(shape)
        if kind:
            before, _, after = kind.partition(">")
            turned[before, after] += 1
        push: Callable[..., Any] = heapq.heappush if len(kept) < MOST_REGIONS else heapq.heappushpop
        push(kept, (float(shape.area), -order, shape, kind))
    if whole.cell > 1:
        every, large = pieces_of(drawn.layer, least)
        count = every if drawn.small is None else drawn.small + large
    magnitude_of = _Reader(magnitude)
    kinds_of = () if found is None else tuple(_Reader(layer) for layer in found.told)
    tolerance = 0.7 * (measure.metres_per_pixel(subject) or 1.0)
    outlined = []
    for _, _, shape, kind in sorted(kept, key=lambda item: (-item[0], -item[1])):
        facts, score = _about(shape, magnitude_of, kinds_of, line, kind)
        cell = measure.cell_of(shape.bounds, subject.width, subject.height)
        area = measure.area_m2(subject, shape)  # of the pixels, not of the simplified outline
        closed = 0 if kind else drawn.filled(shape)
        changed = float(shape.area) - closed
        facts += [Fact("cell", cell, "")]
        facts += [Fact("pixels", changed, "px") if area is None else Fact("area", area * changed / shape.area, "m2")]
        named = {fact.name: str(fact.value) for fact in facts}
        before, after = named.get("from_class", ""), named.get("to_class", "")
        turned[before, after] += not kind
        label = describe.label(before, after)
        outlined.append(
            measure.region(subject, label, score, measure.simplified(subject, shape, tolerance), facts=facts)
        )
    return Outlined(tuple(outlined), count, whole.cell, turned)


def _shapes(mask: Coarse, found: Ground | None, least: int) -> Iterator[tuple[str, Any]]:
    """Changed areas of at least ``least`` pixels, with what became what.

    They are cut where that differs, if it is known pixel by pixel. An area of which no part is large enough stays in
    one piece, and so do all whose kinds are not known so: these come without a kind.
    """
    pieces: list[tuple[float, float]] = []
    if found is not None and found.both is not None:
        for value, shape in found.both.polygons(range(_KINDS * _KINDS)):
            if shape.area >= least:
                pieces.append(_first_pixel(shape))
                yield f"{indices.CLASSES[value // _KINDS]}>{indices.CLASSES[value % _KINDS]}", shape
    held = shapely.STRtree(shapely.points(np.array(pieces, dtype=np.float64).reshape(-1, 2)))
    for _, shape in mask.polygons():
        if shape.area >= least and not held.query(shape, predicate="contains").size:
            yield "", shape


def _first_pixel(shape: Any) -> tuple[float, float]:
    """Middle of the leftmost pixel in the uppermost row of a pixel polygon."""
    x, y = shapely.get_coordinates(shape.exterior).T
    first = int(np.lexsort((x, y))[0])
    return float(x[first]) + 0.5, float(y[first]) + 0.5


class _Reader:
    """Windows of a layer, which is read once where it is small."""

    def __init__(self, layer: Layer) -> None:
        self.unit = layer.unit
        self._layer = layer
        self._whole = layer.read() if layer.width * layer.height <= _SMALL else None

    def read(self, window: Window) -> npt.NDArray[Any]:
        """At most :data:`_KIND_SIDE` pixels a side."""
        if self._whole is None or max(window.width, window.height) > _KIND_SIDE:
            return self._layer.read(window, longest=_KIND_SIDE)
        rows, cols = slice(window.row, window.row + window.height), slice(window.col, window.col + window.width)
        return self._whole[rows, cols]


def _about(
    shape: Any, magnitude: _Reader, kinds_of: Sequence[_Reader], line: float, kind: str
) -> tuple[list[Fact], float]:
    """Strength of a change, and what it turned from and into; how sure it is, 0 to 1."""
    left, top, right, bottom = (int(v) for v in shape.bounds)
    window = Window(left, top, max(1, right - left), max(1, bottom - top))
    values = magnitude.read(window)
    height, width = values.shape
    inside = np.zeros((height, width), dtype=np.uint8)
    scale = np.array([width / window.width, height / window.height])
    rings = [np.asarray(ring.coords) for ring in (shape.exterior, *shape.interiors)]
    cv2.fillPoly(inside, [np.floor((r - (left, top)) * scale).astype(np.int32) for r in rings], 1)
    chosen = (inside > 0) & (values > line)
    if not chosen.any():
        chosen = np.isfinite(values)
    strength = float(np.mean(values[chosen])) if chosen.any() else line
    score = strength if line <= 1 and strength <= 1 else 1 - line / (line + strength)
    facts = [Fact("magnitude", round(strength, 4), magnitude.unit)]
    if kind:
        before, _, after = kind.partition(">")
        facts += [Fact("from_class", before, ""), Fact("to_class", after, "")]
    else:
        common = _commonest([reader.read(window) for reader in kinds_of], chosen)
        names = [indices.CLASSES[value] if value is not None else "" for value in common]
        facts += [Fact(name, told, "") for name, told in zip(("from_class", "to_class"), names, strict=False) if told]
    return facts, float(np.clip(score, 0, 1))


def _commonest(layers: Sequence[npt.NDArray[Any]], chosen: npt.NDArray[np.bool_]) -> list[int | None]:
    """The kinds before and after of the chosen pixels.

    From one layer of what became what, if that of more than half of the pixels is the same; from one layer a date, that
    of most pixels of each.
    """
    most: list[int | None] = []
    for values in layers:
        told = values[chosen & (values != ground.UNKNOWN)]
        value, number = Counter(told.tolist()).most_common(1)[0] if len(told) else (None, 0)
        most.append(value if len(layers) > 1 or 2 * number > len(told) else None)
    if len(layers) == 1:
        return list(divmod(most[0], _KINDS)) if most[0] is not None else []
    return most


def transitions(
    subject: Subject, mask: Layer, found: Ground | None, turned: Counter[tuple[str, str]]
) -> tuple[Transition, ...]:
    """Pixels by kind before and after, with how many areas mostly are of that kind.

    Args:
        subject: the grid.
        mask: of changes.
        found: kinds of ground.
        turned: areas by kind before and after.
    """
    if found is None:
        return ()
    pixels = np.zeros((_KINDS, _KINDS, 3, 3), dtype=np.int64)
    metres: npt.NDArray[np.float64] | None = np.zeros((_KINDS, _KINDS))
    for window in mask.windows(CORE):
        one, two = found.before.read(window), found.after.read(window)
        known = (one != ground.UNKNOWN) & (two != ground.UNKNOWN)
        rows = np.minimum(2, 3 * (np.arange(window.height) + window.row) // subject.height)
        cols = np.minimum(2, 3 * (np.arange(window.width) + window.col) // subject.width)
        where = np.broadcast_to(rows[:, None] * 3 + cols, one.shape)
        codes = (one[known].astype(np.int64) * _KINDS + two[known]) * 9 + where[known]
        pixels += np.bincount(codes, minlength=pixels.size).reshape(pixels.shape)
        areas = measure.pixel_areas_m2(subject, window)
        if areas is None or metres is None:
            metres = None
        else:
            metres += np.bincount(codes // 9, areas[known], minlength=metres.size).reshape(metres.shape)
    told = []
    for i, before in enumerate(indices.CLASSES):
        for j, after in enumerate(indices.CLASSES):
            if total := int(pixels[i, j].sum()):
                cells = describe.cells_of(pixels[i, j])
                area = None if metres is None else float(metres[i, j])
                told.append(Transition(before, after, turned[before, after], total, area, cells))
    return tuple(sorted(told, key=lambda item: (-item.pixels, item.before, item.after)))
