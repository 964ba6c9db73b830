"""The adapter ``segment``: where exactly the thing is that a text names, as mask, polygons and areas."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from rsrag._version import __version__
from rsrag.adapters import measure
from rsrag.adapters.base import Context, TaskResult
from rsrag.adapters.coarse import COARSE
from rsrag.adapters.ground.spatial import without_article
from rsrag.adapters.ground.words import is_plural
from rsrag.adapters.look import View, colour_warning, contrast_warning, flat_warning, opened
from rsrag.adapters.outlines import Outlines, outlined
from rsrag.adapters.segment.means import Means, means_for
from rsrag.adapters.segment.priors import Prior
from rsrag.adapters.segment.request import BAND, SegmentRequest, check
from rsrag.adapters.sweep import steps, sweep
from rsrag.export_layers import Layer, LayerWriter
from rsrag.ingest.readers.options import read_options
from rsrag.types import Fact, Provenance, Sentence

MARGIN = 64
SPECK_PX = 12.0
"""Square pixels below which an outline is a speck."""


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation(TaskResult):
    """Outlines by falling area; layers are the mask and the score.

    Attributes:
        target: what was outlined.
        method: "decoder", "detector", "refined" or "heat", with the index that was used, or the name of a large model.
        share: of the valid pixels.
        area_m2: on the ellipsoid; None without a scale.
        band_m2: areas at a stricter and a laxer threshold; None without a scale.
    """

    target: str = ""
    method: str = ""
    share: float = 0.0
    area_m2: float | None = None
    band_m2: tuple[float, float] | None = None


@dataclass(slots=True)
class _Areas:
    """Pixels and square metres at three thresholds, strict to lax, and valid pixels."""

    pixels: list[int]
    metres: list[float]
    valid: int = 0


class Segment:
    """See :class:`SegmentRequest`."""

    name = "segment"

    def run(self, request: SegmentRequest, context: Context) -> Segmentation:
        """Outline it.

        Raises:
            UsageError: no words, an unknown method, or a number out of range.
            SourceError: the image cannot be used.
            ModelError: a model cannot be loaded.
        """
        text = without_article(request.text)
        check(request, text)
        begun = time.perf_counter()
        with opened(request.image, context, options=read_options({"bands": request.bands})) as view:
            means = means_for(request, text, view, context)
            seconds, prior = dict(means.seconds), means.prior
            mask, score, areas = _write(view, means, request, context)
            outlines = _outlines(view, mask, score, text, request)
            seconds["outline"] = time.perf_counter() - begun - sum(seconds.values())
            strict, given, lax = areas.metres if np.isfinite(areas.metres).all() else (None, None, None)
            band = None if strict is None or lax is None else (strict, lax)
            share = areas.pixels[1] / max(1, areas.valid)
            return Segmentation(
                task=self.name,
                subject=view.subject,
                sentences=_sentences(text, share, given, band, outlines.pieces, prior, request.smallest),
                facts=_facts(areas, share, given, band),
                regions=outlines.regions,
                layers=(mask, score),
                picture=view.picture(),
                provenance=Provenance({**context.fingerprints(), means.key: means.model}, "", __version__, seconds),
                warnings=(*means.warnings, *_warnings(view, prior, outlines)),
                target=text,
                method=means.method,
                share=share,
                area_m2=given,
                band_m2=band,
            )


def _write(view: View, means: Means, request: SegmentRequest, context: Context) -> tuple[Layer, Layer, _Areas]:
    """Mask and score of every pixel, window by window, and what they cover."""
    subject = view.subject
    size = subject.width, subject.height
    limits = (request.threshold + BAND, request.threshold, request.threshold - BAND)
    areas = _Areas([0, 0, 0], [0.0, 0.0, 0.0])
    context.progress.start("outline", steps(*size, core=means.core), unit="windows")
    with (
        LayerWriter("mask", "mask", *size, subject.crs, subject.transform) as mask,
        LayerWriter("score", "score", *size, subject.crs, subject.transform) as sure,
    ):
        for step in sweep(*size, core=means.core, margin=MARGIN * means.scale):
            score = means.maker(step)
            known = np.isfinite(score)
            each = measure.pixel_areas_m2(subject, step.core)
            for place, limit in enumerate(limits):
                found = known & (score >= limit)
                areas.pixels[place] += int(np.count_nonzero(found))
                areas.metres[place] += np.nan if each is None else float(each.sum(where=found))
            areas.valid += int(np.count_nonzero(known))
            sure.write(step.core, score)
            mask.write(step.core, np.where(known, score >= request.threshold, 255))
            context.progress.advance()
    context.progress.finish()
    return mask.layer, sure.layer, areas


def _outlines(view: View, mask: Layer, score: Layer, text: str, request: SegmentRequest) -> Outlines:
    side = measure.metres_per_pixel(view.subject) or 1.0
    smallest = SPECK_PX if request.smallest is None else request.smallest / side**2
    return outlined(view.subject, mask, [1], lambda _: text, score, smallest=smallest, simplify=request.simplify)


def _facts(areas: _Areas, share: float, given: float | None, band: tuple[float, float] | None) -> tuple[Fact, ...]:
    facts = [Fact("share", share)]
    if given is not None and band is not None:
        facts += [Fact("area", given, "m2"), Fact("area_low", band[0], "m2"), Fact("area_high", band[1], "m2")]
    else:
        facts += [Fact(n, float(v), "px") for n, v in zip(("area_low", "area", "area_high"), areas.pixels, strict=True)]
    return tuple(facts)


def _sentences(
    text: str,
    share: float,
    given: float | None,
    band: tuple[float, float] | None,
    count: int,
    prior: Prior | None,
    smallest: float | None,
) -> tuple[Sentence, ...]:
    several = is_plural(text)
    if share == 0:
        return (Sentence(f"No {text} {'were' if several else 'was'} found in the image.", ()),)
    measured = ""
    if given is not None and band is not None:
        low, high = measure.area_text(band[0]), measure.area_text(band[1])
        measured = f", {measure.area_text(given)} (between {low} and {high} at stricter and laxer thresholds)"
    few = "in specks" if smallest is None else "in pieces below the least area of an outline"
    pieces = f"in {count:,} {'piece' if count == 1 else 'pieces'}" if count else few
    how = f" {prior.name.upper()} was used." if prior is not None else ""
    covers = f"{text[:1].upper()}{text[1:]} {'cover' if several else 'covers'}"
    part = f"{share:.1%}" if share >= 0.0005 else "less than 0.1%"
    return (Sentence(f"{covers} {part} of the image{measured}, {pieces}.{how}", ()),)


def _warnings(view: View, prior: Prior | None, outlines: Outlines) -> tuple[str, ...]:
    # An index measures the bands themselves.
    if prior is None:
        warning = colour_warning(view)
    else:
        warning = flat_warning(view) or contrast_warning(view, prior.name.upper())
    told = [] if warning is None else [warning]
    if (drawn := len(outlines.regions)) < (pieces := outlines.pieces):
        told.append(f"only the largest {drawn:,} of {pieces:,} pieces have an outline; the mask and the areas have all")
    if outlines.closed:
        told.append(f"the smallest {outlines.closed:,} holes are in the mask and the areas, not in the outlines")
    if outlines.cell > 1:
        told.append(COARSE.format(outlines.cell))
    return tuple(told)


SEGMENT = Segment()
