"""The adapter ``segment``: where exactly the thing is that a text names, as mask, polygons and areas."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rsrag._version import __version__
from rsrag.adapters import measure
from rsrag.adapters.base import Context, Region, TaskResult
from rsrag.adapters.ground.spatial import without_article
from rsrag.adapters.ground.words import is_plural
from rsrag.adapters.heat import HeatMapper
from rsrag.adapters.heatlayers import heat_layer
from rsrag.adapters.look import View, opened
from rsrag.adapters.outlines import outlined
from rsrag.adapters.segment.models import maker as large_maker
from rsrag.adapters.segment.models import open_segmenter
from rsrag.adapters.segment.priors import Prior, prior_for
from rsrag.adapters.segment.refine import LEAST, Counts, Scores, middle_of, refined, scored
from rsrag.adapters.segment.rivals import rivals
from rsrag.adapters.segment.things import Thing, Things, paint, things_if_any, things_named
from rsrag.adapters.sweep import Step, steps, sweep
from rsrag.errors import UsageError
from rsrag.export_layers import Layer, LayerWriter
from rsrag.ingest.readers.options import read_options
from rsrag.types import Fact, Provenance, Sentence

METHODS = ("auto", "detector", "refined", "heat")
BAND = 0.1
"""The low and high area are those at thresholds so much above and below the one asked for."""
CORE, MARGIN = 640, 64
SPECK_PX = 12.0
"""Square pixels below which an outline is a speck."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentRequest:
    """What to outline, and how.

    Attributes:
        image: file, bytes, array, or id of a scene or tile of the archive.
        text: what to outline, such as "water".
        threshold: score from which a pixel belongs to it.
        method: "auto" (the detector's things box by box, all else from the heat map), "detector", "refined" (from the
            heat map whatever the words), or "heat" for the heat map as it is.
        index: use NDWI for water and NDVI for plants where the bands allow.
        simplify: metres (pixels without a scale) that an outline may move; two pixels when None.
        smallest: least area of an outline in m2 (square pixels without a scale); a few pixels when None.
        bands: which band is what, such as "red=4,green=3,blue=2,nir=8", where the file does not say.
        model: a large segmenter instead of ``method``: a name of the registry, or the directory of a checkpoint.
    """

    image: Any
    text: str
    threshold: float = 0.5
    method: str = "auto"
    index: bool = True
    simplify: float | None = None
    smallest: float | None = None
    bands: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation(TaskResult):
    """Outlines by falling area; layers are the mask and the score.

    Attributes:
        target: what was outlined.
        method: "detector", "refined" or "heat", with the index that was used, or the name of a large model.
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
        _check(request, text)
        begun = time.perf_counter()
        with opened(request.image, context, options=read_options({"bands": request.bands})) as view:
            large = open_segmenter(request.model, context) if request.model else None
            things: Things | None = None
            told: tuple[str, ...] = ()
            if large is None and request.method == "detector":
                things = things_named(text, view, context)
                if things is None:
                    raise UsageError(f"the detector does not know {text!r}", hint="--method refined uses the heat map")
            elif large is None and request.method == "auto":
                things, told = things_if_any(text, view, context)
            prior: Prior | None = None
            if large is not None:
                method, model, seconds = large.name, large.fingerprint, {}
                maker, told = large_maker(large, text, view, context)
            elif things is not None:
                method, model, told = "detector", things.model, things.warnings
                seconds = {"detector": time.perf_counter() - begun}
                maker = partial(_painted, view, things.found)
            else:
                mapper = HeatMapper(context)
                method, model = "heat" if request.method == "heat" else "refined", mapper.fingerprint
                heat = heat_layer(view, mapper, mapper.query(text, background=rivals(text)), context)
                seconds = {"heat map": time.perf_counter() - begun}
                prior = prior_for(text, view) if request.index and method == "refined" else None
                maker = partial(_refined, view, heat, prior, _limits(view, heat, prior), method)
                method = f"{method} with {prior.name}" if prior is not None else method
            key = method.split()[0] if large is None else "segmenter"
            mask, score, areas = _write(view, maker, request, context)
            regions, pieces = _regions(view, mask, score, text, request)
            seconds["outline"] = time.perf_counter() - begun - sum(seconds.values())
            strict, given, lax = areas.metres if np.isfinite(areas.metres).all() else (None, None, None)
            band = None if strict is None or lax is None else (strict, lax)
            share = areas.pixels[1] / max(1, areas.valid)
            return Segmentation(
                task=self.name,
                subject=view.subject,
                sentences=_sentences(text, share, given, band, pieces, prior),
                facts=_facts(areas, share, given, band),
                regions=regions,
                layers=(mask, score),
                picture=view.picture(),
                provenance=Provenance({**context.fingerprints(), key: model}, "", __version__, seconds),
                warnings=(*told, *_warnings(view, prior, pieces, len(regions))),
                target=text,
                method=method,
                share=share,
                area_m2=given,
                band_m2=band,
            )


def _check(request: SegmentRequest, text: str) -> None:
    if not any(letter.isalpha() for letter in text):
        raise UsageError(f"{request.text!r} names nothing to outline", hint='such as "water"')
    if request.method not in METHODS:
        raise UsageError(f"method {request.method!r}", hint=f"one of {', '.join(METHODS)}")
    if not BAND < request.threshold < 1 - BAND:
        raise UsageError(f"a threshold of {request.threshold:g}", hint=f"between {BAND:g} and {1 - BAND:g}")
    for name, value in (("outlines that move by", request.simplify), ("outlines of at least", request.smallest)):
        if value is not None and not 0 <= value < float("inf"):
            raise UsageError(f"{name} {value:g}", hint="a number from 0 on")


@dataclass(frozen=True, slots=True)
class _Limits:
    """What the whole scene says: whether the thing is seen at all, and values that part it from the rest."""

    seen: bool
    middle: float
    parting: float


def _limits(view: View, heat: Layer, prior: Prior | None) -> _Limits:
    counts, index = Counts(), Counts(-1.0, 1.0)
    for step in sweep(view.subject.width, view.subject.height, core=CORE, margin=0):
        counts.add(heat.read(step.core))
        if prior is not None:
            index.add(prior.values(view, view.source.read(step.core)))
    # An index finds water where the heat sees none; without one, a scene that is cold all over has none.
    seen = counts.hottest >= LEAST or (prior is not None and prior.alone)
    return _Limits(seen, middle_of(counts), prior.parting(index) if prior is not None else 0.0)


def _refined(view: View, heat: Layer, prior: Prior | None, limits: _Limits, method: str, step: Step) -> Scores:
    """Score of a window's core from the heat map; NaN where the scene shows nothing."""
    warm = heat.read(step.outer)
    if not limits.seen:
        score: Scores = np.where(np.isfinite(warm), np.float32(0), np.float32(np.nan))
    elif method == "heat":
        score = scored(warm, limits.middle)
    else:
        pixels = view.source.read(step.outer)
        score = refined(view.source.stretch.apply(pixels), warm, limits.middle)
        if prior is not None:
            score = prior.joined(prior.values(view, pixels), limits.parting, score)
    return score[step.inner]


def _painted(view: View, things: Sequence[Thing], step: Step) -> Scores:
    """Score of a window's core from boxes; NaN where the scene shows nothing."""
    return np.where(view.source.read(step.core).mask, paint(view, step.core, things), np.float32(np.nan))


def _write(
    view: View, maker: Callable[[Step], Scores], request: SegmentRequest, context: Context
) -> tuple[Layer, Layer, _Areas]:
    """Mask and score of every pixel, window by window, and what they cover."""
    subject = view.subject
    size = subject.width, subject.height
    limits = (request.threshold + BAND, request.threshold, request.threshold - BAND)
    areas = _Areas([0, 0, 0], [0.0, 0.0, 0.0])
    context.progress.start("outline", steps(*size, core=CORE), unit="windows")
    with (
        LayerWriter("mask", "mask", *size, subject.crs, subject.transform) as mask,
        LayerWriter("score", "score", *size, subject.crs, subject.transform) as sure,
    ):
        for step in sweep(*size, core=CORE, margin=MARGIN):
            score = maker(step)
            known = np.isfinite(score)
            each = measure.pixel_area_m2(subject, step.core)
            for place, limit in enumerate(limits):
                found = int(np.count_nonzero(score[known] >= limit))
                areas.pixels[place] += found
                areas.metres[place] += found * (np.nan if each is None else each)
            areas.valid += int(np.count_nonzero(known))
            sure.write(step.core, score)
            mask.write(step.core, np.where(known, score >= request.threshold, 255))
            context.progress.advance()
    context.progress.finish()
    return mask.layer, sure.layer, areas


def _regions(
    view: View, mask: Layer, score: Layer, text: str, request: SegmentRequest
) -> tuple[tuple[Region, ...], int]:
    """Connected outlines by falling area, simplified, each with its mean score, and how many there are in all."""
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
) -> tuple[Sentence, ...]:
    several = is_plural(text)
    if share == 0:
        return (Sentence(f"No {text} {'were' if several else 'was'} found in the image.", ()),)
    measured = ""
    if given is not None and band is not None:
        low, high = measure.area_text(band[0]), measure.area_text(band[1])
        measured = f", {measure.area_text(given)} (between {low} and {high} at stricter and laxer thresholds)"
    pieces = f"in {count:,} {'piece' if count == 1 else 'pieces'}" if count else "in specks"
    how = f" {prior.name.upper()} was used." if prior is not None else ""
    covers = f"{text[:1].upper()}{text[1:]} {'cover' if several else 'covers'}"
    return (Sentence(f"{covers} {share:.1%} of the image{measured}, {pieces}.{how}", ()),)


def _warnings(view: View, prior: Prior | None, pieces: int, drawn: int) -> tuple[str, ...]:
    told = []
    if prior is not None and all(view.source.bands[n].dtype == "uint8" for n in range(len(view.source.bands))):
        told.append(f"{prior.name.upper()} of an 8-bit picture: its contrast may have been changed")
    if drawn < pieces:
        told.append(f"only the largest {drawn:,} of {pieces:,} pieces have an outline; the mask and the areas have all")
    return tuple(told)


SEGMENT = Segment()
