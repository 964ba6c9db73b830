"""One pair of dates from pixels to regions: align, gather statistics, detect, draw the line, outline, tell kinds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag._version import __version__
from rsrag.adapters import measure
from rsrag.adapters.base import Context, Subject
from rsrag.adapters.change import areas, describe, detect, ground, indices, outline
from rsrag.adapters.change.clouds import COARSE_M, clouds
from rsrag.adapters.change.detect import Detector, Method
from rsrag.adapters.change.pair import Pair
from rsrag.adapters.change.register import Registration, register
from rsrag.adapters.change.request import ChangeRequest, ChangeResult
from rsrag.adapters.change.statistics import sample
from rsrag.adapters.coarse import COARSE
from rsrag.adapters.sweep import steps, sweep
from rsrag.errors import BadModelFile, UsageError
from rsrag.export_layers import NODATA, Layer, LayerWriter
from rsrag.models import changehead
from rsrag.models.changehead import ChangeHead
from rsrag.models.dense import DenseEncoder
from rsrag.models.dense import shipped as shipped_maps
from rsrag.types import Fact, Provenance, Window

CORE = 512
MIN_PIXELS = 16
"""Changes of fewer pixels are left out unless an area is named."""
MOST_MARGIN = 128
"""Pixels read around a window at most when areas are cleaned: larger ones are sized across windows afterwards."""
_REACH = 8
"""Pixels from the edge of a window within which cleaning may see other areas than the whole scene would."""
Sides = tuple[bool, bool, bool, bool]
NO_SIDES: Sides = (False, False, False, False)
FINE_M = 3.0
"""Metres a pixel up to which the trained network is the default: its training pairs lie at 0.5 to 2 m."""


@dataclass(slots=True)
class Tally:
    """Counts over the grid.

    Attributes:
        compared: pixels that both dates have.
        changed: pixels that changed.
        area_m2: that changed; None without scale.
        cells: changed and compared pixels by cell, [3, 3, 2].
    """

    compared: int
    changed: int
    area_m2: float | None
    cells: npt.NDArray[np.int64]


def compare(pair: Pair, request: ChangeRequest, context: Context) -> ChangeResult:
    """Everything about one pair but the answers to questions.

    Raises:
        UsageError: a method that the pair's bands do not allow, or a threshold or least area that is no size.
        ModelError: the trained network was asked for and cannot be loaded.
    """
    least = _least_pixels(request, pair.subject)
    seconds: dict[str, float] = {}
    warnings = [*pair.notes]
    clock = _Clock(seconds)
    found = register(pair) if request.register else Registration((0.0, 0.0), 0, 0.0, False)
    if found.corrected:
        pair = pair.moved(found.shift)
    clock.lap("register")
    masked = _may_show_clouds(pair) if request.mask_clouds is None else request.mask_clouds
    seen = sample(pair, mask_clouds=masked, progress=context.progress)
    clock.lap("statistics")
    method, head, encoder = _chosen(request, pair, warnings)
    detector = detect.prepare(method, pair, seen, head, encoder)
    magnitude, histogram = _magnitudes(detector, masked, context)
    clock.lap("detect")
    line = request.threshold if request.threshold is not None else detector.threshold(histogram)
    mask, tally = _mask(magnitude, line, least, detector, context)
    clock.lap("mask")
    told = (
        outline.kinds(pair, mask, seen, encoder or _encoder(pair), context.progress)
        if tally.changed and request.kinds
        else None
    )
    outlines = outline.regions(pair.subject, mask, magnitude, told, least, line)
    clock.lap("outline")
    if outlines.cell > 1:
        warnings.append(COARSE.format(outlines.cell))
    if outlines.dropped:
        warnings.append(f"{outlines.dropped:,} of the smaller changes have no outline: the mask holds them all")
    if seen.clouded:
        share = seen.clouded / seen.total
        warnings.append(f"{100 * share:.1f} % of the ground is left out as clouds")
    if not seen.valid:
        warnings.append("no pixel is valid at both dates: nothing could be compared")
    transitions = outline.transitions(pair.subject, mask, told, outlines.turned)
    more = (told.before, told.after, *((told.both,) if told.both is not None else ())) if told is not None else ()
    layers = (mask, magnitude, *more)
    models = _models(method, head, told, encoder, pair)
    result = ChangeResult(
        task="change", subject=pair.subject, regions=outlines.regions, layers=layers,
        provenance=Provenance(models, "", __version__, seconds), warnings=tuple(warnings),
        before=pair.first, after=pair.second, method=method, threshold=float(line), unit=detector.unit,
        changed=tally.changed > 0, share=tally.changed / max(1, tally.compared),
        compared=tally.compared / max(1, pair.subject.width * pair.subject.height),
        area_m2=tally.area_m2, count=outlines.count, cells=describe.cell_shares(tally.cells), transitions=transitions,
        shift_px=found.shift if found.corrected else (0.0, 0.0), looks=_looks(pair),
    )  # fmt: skip
    result = replace(result, picture=result.looks[1] if result.looks else None, facts=_facts(result, detector))
    return replace(result, sentences=describe.sentences(result))


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._last = seconds, time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._seconds[stage], self._last = now - self._last, now


def _may_show_clouds(pair: Pair) -> bool:
    """Whether bright white areas are clouds: in coarse pictures of natural colour; grey ones are white all over."""
    return (pair.subject.gsd_m or 0.0) >= COARSE_M and _natural(pair)


def _natural(pair: Pair) -> bool:
    return ground.natural(pair.before) and ground.natural(pair.after)


# --- which detector ---


def _chosen(
    request: ChangeRequest, pair: Pair, warnings: list[str]
) -> tuple[Method, ChangeHead | None, DenseEncoder | None]:
    method: Method = "irmad" if request.method == "auto" else request.method
    gsd = pair.subject.gsd_m
    if request.method == "auto" and _natural(pair) and (gsd is None or gsd <= FINE_M):
        try:
            head = changehead.shipped()
            return "combined", head, head.encoder
        except BadModelFile as error:
            warnings.append(f"IR-MAD instead of the trained network: {error.message}")
    if method == "combined":
        if len(pair.before.stretch.channels) != 3:
            raise UsageError("the trained network compares colour pictures", hint="take another --method")
        head = changehead.shipped()
        return method, head, head.encoder
    return method, None, shipped_maps() if method == "features" else None


def _encoder(pair: Pair) -> DenseEncoder | None:
    return shipped_maps() if _natural(pair) and not indices.tells_classes(pair.roles) else None


def _models(
    method: Method, head: ChangeHead | None, kinds: Any, encoder: DenseEncoder | None, pair: Pair
) -> Mapping[str, str]:
    models: dict[str, str] = {"detector": head.fingerprint if head is not None else method}
    if encoder is not None or (kinds and not indices.tells_classes(pair.roles)):
        models["encoder"] = (encoder or shipped_maps()).fingerprint
    return models


# --- passes over the scene ---


def _magnitudes(detector: Detector, masked: bool, context: Context) -> tuple[Layer, Any]:
    subject, histogram = detector.pair.subject, detector.histogram()
    context.progress.start("detect", steps(subject.width, subject.height, core=CORE), unit="windows")
    writer = LayerWriter(
        "magnitude", "score", subject.width, subject.height, subject.crs, subject.transform, unit=detector.unit
    )
    with writer:
        for step in sweep(subject.width, subject.height, core=CORE, margin=detector.margin):
            before, after = detector.pair.read(step.outer)
            if not (before.mask & after.mask).any():
                values = np.full((step.core.height, step.core.width), np.nan, dtype=np.float32)
            else:
                values = detector.magnitude(before, after)[step.inner]
                if masked:
                    one = clouds(detector.pair.before.stretch.apply(before))
                    two = clouds(detector.pair.after.stretch.apply(after))
                    values = np.where((one | two)[step.inner], np.float32(np.nan), values)
                histogram.add(values)
            writer.write(step.core, values)
            context.progress.advance()
    context.progress.finish()
    return writer.layer, histogram


def _mask(magnitude: Layer, line: float, least: int, detector: Detector, context: Context) -> tuple[Layer, Tally]:
    """The mask of changed areas of at least ``least`` pixels, and what is counted on it."""
    subject = detector.pair.subject
    margin = min(MOST_MARGIN, max(16, least + _REACH))
    writer = LayerWriter("change", "mask", subject.width, subject.height, subject.crs, subject.transform)
    with writer:
        for step in sweep(subject.width, subject.height, core=CORE, margin=margin):
            values, outer = magnitude.read(step.outer), step.outer
            known = np.isfinite(values)
            right, bottom = outer.col + outer.width, outer.row + outer.height
            sides = (outer.col > 0, outer.row > 0, right < subject.width, bottom < subject.height)
            fill = detector.method != "combined"
            found = cleaned(values > line, least, fill=fill, open_sides=sides, known=known)[step.inner]
            writer.write(step.core, np.where(known[step.inner], found, 255))
    context.progress.advance(0)
    mask = writer.layer
    if least + _REACH > margin and max(subject.width, subject.height) > CORE:
        mask = areas.without_small(mask, least, CORE)
    tally = Tally(0, 0, 0.0, np.zeros((3, 3, 2), dtype=np.int64))
    for window in mask.windows(CORE):
        values = mask.read(window)
        _count(tally, subject, window, values == 1, values != NODATA["mask"])
    return mask, tally


def cleaned(
    mask: npt.NDArray[np.bool_],
    least: int,
    *,
    fill: bool,
    open_sides: Sides = NO_SIDES,
    known: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """A raw mask without specks and lines a pixel wide, small gaps closed, areas of fewer than ``least`` pixels gone.

    Args:
        mask: of one window.
        least: pixels of the smallest area that stays.
        fill: whether specks are removed and gaps closed.
        open_sides: left, top, right, bottom: sides on which the scene goes on. Areas that touch one stay, as they may
            go on beyond it.
        known: where the magnitude is known; nothing changed elsewhere.
    """
    if not mask.any():
        return mask
    raw = mask.astype(np.uint8)
    if fill:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
        raw = cv2.morphologyEx(cv2.morphologyEx(raw, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel)
    if known is not None:
        raw = np.where(known, raw, 0).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(raw, connectivity=4)
    height, width = raw.shape
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    touching = np.stack([left == 0, top == 0, right == width, bottom == height])
    cut = (touching & np.array(open_sides)[:, None]).any(axis=0)
    small = (stats[:, cv2.CC_STAT_AREA] < least) & ~cut
    small[0] = True
    return np.asarray(~small[labels])


def _count(
    tally: Tally, subject: Subject, window: Window, changed: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]
) -> None:
    tally.compared += int(known.sum())
    tally.changed += int(changed.sum())
    if tally.area_m2 is not None:
        area = measure.found_area_m2(subject, window, changed)
        tally.area_m2 = None if area is None else tally.area_m2 + area
    rows = np.minimum(2, 3 * (np.arange(window.height) + window.row) // subject.height)
    cols = np.minimum(2, 3 * (np.arange(window.width) + window.col) // subject.width)
    for row in np.unique(rows):
        for col in np.unique(cols):
            part = np.ix_(rows == row, cols == col)
            tally.cells[row, col] += (int(changed[part].sum()), int(known[part].sum()))


# --- small parts ---


def _least_pixels(request: ChangeRequest, subject: Subject) -> int:
    """Pixels of the smallest change that counts."""
    for what, option, value in (
        ("threshold", "--threshold", request.threshold),
        ("least area", "--min-area", request.min_area_m2),
    ):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"a {what} of {value:g}", hint=f"{option}: a finite number of 0 or more, or leave it out")
    if request.min_area_m2 is None:
        return MIN_PIXELS
    each = measure.pixel_area_m2(subject)
    if each is None:
        raise UsageError("a least area in metres for images without a scale", hint="leave it out")
    # More than the whole grid is as good as any larger number.
    return max(1, round(min(request.min_area_m2 / each, subject.width * subject.height + 1)))


def _looks(pair: Pair) -> tuple[Any, Any]:
    """Both dates as pictures of at most 1024 pixels a side, for drawing and for readers."""
    whole = Window(0, 0, pair.subject.width, pair.subject.height)
    scale = 1
    while max(whole.width, whole.height) > 1024 * scale:
        scale *= 2
    return tuple(s.stretch.apply(s.read(whole, scale)) for s in (pair.before, pair.after))  # type: ignore[return-value]


def _facts(result: ChangeResult, detector: Detector) -> tuple[Fact, ...]:
    facts = [Fact("changed_share", result.share), Fact("changes", float(result.count), "1")]
    if result.area_m2 is not None:
        facts.append(Fact("changed_area", result.area_m2, "m2"))
    facts.append(Fact("compared_share", result.compared))
    if result.shift_px != (0.0, 0.0):
        facts += [Fact("shift_x", result.shift_px[0], "px"), Fact("shift_y", result.shift_px[1], "px")]
    facts.append(Fact("invariant_share", detector.radiometry.invariant))
    facts.append(Fact("threshold", result.threshold, result.unit))
    return tuple(facts)
