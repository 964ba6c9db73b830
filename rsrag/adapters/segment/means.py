"""By what a text is outlined in an image: large model, pixel decoder, detector, or heat map with what refines it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from rsrag.adapters.base import Context
from rsrag.adapters.heat import HeatMapper
from rsrag.adapters.heatlayers import heat_layer
from rsrag.adapters.look import View
from rsrag.adapters.segment import decoded as decoding
from rsrag.adapters.segment.models import maker as large_maker
from rsrag.adapters.segment.models import open_segmenter
from rsrag.adapters.segment.priors import Prior, prior_for
from rsrag.adapters.segment.refine import LEAST, Counts, Scores, middle_of, refined, scored
from rsrag.adapters.segment.request import SegmentRequest
from rsrag.adapters.segment.rivals import rivals
from rsrag.adapters.segment.things import Cuts, Thing, Things, front_of, paint, things_if_any, things_named
from rsrag.adapters.sweep import Step, sweep
from rsrag.errors import BadModelFile, UsageError
from rsrag.export_layers import Layer

CORE = 640
"""Side of a window's core in pixels of the scene, or of the reduced one that the decoder sees."""
_MOST = 4
"""Cores grow with the reduction up to this; beyond, the decoder sees smaller ones."""
_GLANCE = 512
"""Longer side of the picture on which it is seen whether the image shows anything."""


@dataclass(frozen=True, slots=True)
class Means:
    """By what it is done.

    Attributes:
        method: for people: "decoder", "detector", "refined" or "heat", with the index that is used, or a model's name.
        key: of the model in the provenance.
        model: its fingerprint.
        maker: a window to the scores of its core, float32, NaN where the scene shows nothing.
        warnings: what is weaker than asked.
        prior: the index that is used.
        scale: pixels of the scene a side of one that the model sees.
        seconds: that it took so far.
    """

    method: str
    key: str
    model: str
    maker: Callable[[Step], Scores]
    warnings: tuple[str, ...] = ()
    prior: Prior | None = None
    scale: int = 1
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def core(self) -> int:
        """Side of the cores of windows, in pixels of the scene."""
        return CORE * min(self.scale, _MOST)


def means_for(request: SegmentRequest, text: str, view: View, context: Context) -> Means:
    """What outlines a text in an image best, or as was asked.

    "auto" takes an index where the bands give one for the words, else the decoder for what it was trained on, the
    detector for its things where they are finer or coarser than that, and the heat map for all else.

    Raises:
        UnsupportedSource: the image has no valid pixel: nothing is not "no water".
        UsageError: the means that was asked for does not know the text.
        ModelError: a model that was asked for cannot be loaded.
    """
    view.seen(longest=_GLANCE)
    if request.model:
        large = open_segmenter(request.model, context)
        maker, told = large_maker(large, text, view, context)
        return Means(large.name, "segmenter", large.fingerprint, maker, told)
    told = ()
    if request.method in ("auto", "decoder"):
        found, told = _decoded(request, text, view)
        if found is not None:
            return found
    if request.method in ("auto", "detector"):
        found, told = _detected(request, text, view, context, told)
        if found is not None:
            return found
    return _warm(request, text, view, context, told)


def _decoded(request: SegmentRequest, text: str, view: View) -> tuple[Means | None, tuple[str, ...]]:
    """The decoder, if it is the means; else what is to be told."""
    forced = request.method == "decoder"
    if not forced and request.index and prior_for(text, view) is not None:
        return None, ()  # an index measures the thing itself
    try:
        asked = decoding.decoded(text, view.subject, everywhere=forced)
    except BadModelFile as error:
        if forced:
            raise
        return None, (f"the pixel decoder was not used, since it cannot be: {error.message}",)
    if asked is None:
        if forced:
            raise UsageError(f"the decoder does not know {text!r}", hint="--method refined uses the heat map")
        return None, ()
    maker = partial(decoding.score, view, asked.numbers, asked.scale)
    return Means("decoder", "decoder", asked.model, maker, asked.warnings, scale=asked.scale), ()


def _detected(
    request: SegmentRequest, text: str, view: View, context: Context, told: tuple[str, ...]
) -> tuple[Means | None, tuple[str, ...]]:
    """The detector, if it is the means; else what is to be told."""
    begun = time.perf_counter()
    things: Things | None
    if request.method == "detector":
        things = things_named(text, view, context)
        if things is None:
            raise UsageError(f"the detector does not know {text!r}", hint="--method refined uses the heat map")
    else:
        things, more = things_if_any(text, view, context)
        told += more
    if things is None:
        return None, told
    seconds = {"detector": time.perf_counter() - begun}
    coarse = decoding.too_coarse(text, view.subject)
    maker = partial(_painted, view, things.found, Cuts(view, front_of))
    return Means("detector", "detector", things.model, maker, (*told, *coarse, *things.warnings), seconds=seconds), ()


def _warm(request: SegmentRequest, text: str, view: View, context: Context, told: tuple[str, ...]) -> Means:
    """The heat map, as it is or refined."""
    begun = time.perf_counter()
    mapper = HeatMapper(context)
    method = "heat" if request.method == "heat" else "refined"
    heat = heat_layer(view, mapper, mapper.query(text, background=rivals(text)), context)
    seconds = {"heat map": time.perf_counter() - begun}
    prior = prior_for(text, view) if request.index and method == "refined" else None
    if prior is None or not prior.alone:
        told += decoding.too_coarse(text, view.subject)
    maker = partial(_refined, view, heat, prior, _limits(view, heat, prior), method)
    name = f"{method} with {prior.name}" if prior is not None else method
    return Means(name, method, mapper.fingerprint, maker, told, prior, seconds=seconds)


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
            index.add(prior.parted(view, view.source.read(step.core)))
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


def _painted(view: View, things: Sequence[Thing], cuts: Cuts, step: Step) -> Scores:
    """Score of a window's core from boxes; NaN where the scene shows nothing."""
    return np.where(view.source.read(step.core).mask, paint(step.core, things, cuts), np.float32(np.nan))
