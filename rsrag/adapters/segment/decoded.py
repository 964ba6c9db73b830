"""Scores of the pixel decoder all over a scene, for the words that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rsrag.adapters.base import Subject
from rsrag.adapters.ground.find import FINEST as FINEST_THING
from rsrag.adapters.ground.find import reduction, too_fine
from rsrag.adapters.ground.words import Known, class_of, singular
from rsrag.adapters.look import View
from rsrag.adapters.segment.refine import Scores
from rsrag.adapters.sweep import Step
from rsrag.errors import BadModelFile
from rsrag.models import pixelhead


@dataclass(frozen=True, slots=True)
class Cover:
    """A kind of ground of the drone chips.

    Attributes:
        words: what people call it, in the singular.
        coarsest: metres a pixel up to which it looks as the decoder knows it.
        unscaled: whether it is taken in pictures whose scale is not known.
    """

    words: tuple[str, ...]
    coarsest: float
    unscaled: bool


COVERS: Mapping[str, Cover] = {
    "building": Cover(("building", "house", "roof", "rooftop"), 0.5, True),
    "vegetation": Cover(("vegetation", "plant", "greenery", "green vegetation"), 0.5, True),
    # The chips' "ground" has roads and yards in it: in coarser pictures of towns it would be nearly everywhere.
    "bare ground": Cover(("bare ground", "bare soil", "bare earth", "bare land", "soil"), 0.15, False),
}
"""What the decoder knows of the ground; of water the chips show too little to learn it."""
FINEST_COVER, COARSEST_THING = 0.05, 3.0
"""Metres a pixel from which ground, and up to which things, look as the decoder knows them."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the decoder is asked for.

    Attributes:
        numbers: of its classes; a pixel's score is the highest of theirs.
        scale: how many times smaller the scene is shown to it.
        model: fingerprint.
        warnings: what is weaker than asked.
    """

    numbers: tuple[int, ...]
    scale: int
    model: str
    warnings: tuple[str, ...] = ()


def decoded(text: str, subject: Subject, *, everywhere: bool = False) -> Decoded | None:
    """What of a text the decoder knows; None where it knows nothing of it.

    Args:
        text: what to outline.
        subject: the image.
        everywhere: whether scenes unlike those it was trained on are taken too, with a warning.

    Raises:
        BadModelFile: it knows it, and cannot be loaded.
    """
    known = known_of(text, subject.gsd_m)
    told: tuple[str, ...] = ()
    if known is None:
        known = known_of(text) if everywhere else None
        if known is None:
            return None
        seen = f"{subject.gsd_m:.2g} m a pixel" if subject.gsd_m else "a scale that is not known"
        told = (f"the decoder was trained on finer scenes: with {seen}, {text} may be taken for something else",)
    cover = known.classes[0] in COVERS
    told += () if cover else too_fine(subject)
    if known.unheard:
        told += (f"{known.unheard!r} is not judged: the decoder knows {' or '.join(known.classes)} as such",)
    scale = reduction(subject, FINEST_COVER if cover else FINEST_THING)
    return Decoded(numbers_of(known), scale, pixelhead.shipped().fingerprint, told)


def too_coarse(text: str, subject: Subject) -> tuple[str, ...]:
    """A warning where a text names what the decoder knows, and the scene is coarser than anything it was learned on."""
    metres = subject.gsd_m
    if metres is None or metres <= COARSEST_THING or known_of(text) is None:
        return ()
    return (f"pixels of {metres:.3g} m: {text} and the like were learned on finer pictures, this can be plainly wrong",)


def known_of(text: str, gsd_m: float | None = FINEST_COVER) -> Known | None:
    """What of a text the decoder knows, a kind of ground or things as the detector knows them, at a scale.

    Args:
        text: what to outline.
        gsd_m: metres a pixel; None where that is not known.
    """
    words = singular(" ".join(text.casefold().replace("-", " ").split()))
    for name, cover in COVERS.items():
        if words in cover.words:
            fits = cover.unscaled if gsd_m is None else gsd_m <= cover.coarsest
            return Known((name,)) if fits else None
    return class_of(text) if gsd_m is None or gsd_m <= COARSEST_THING else None


def numbers_of(known: Known) -> tuple[int, ...]:
    """The decoder's numbers of what it knows.

    Raises:
        BadModelFile: it cannot be loaded, or was not trained on them.
    """
    decoder = pixelhead.shipped()
    missing = [name for name in known.classes if name not in decoder.classes]
    if missing:
        raise BadModelFile(f"the pixel decoder was not trained on {missing[0]!r}", hint="install rsrag again")
    return tuple(decoder.classes.index(name) for name in known.classes)


def score(view: View, numbers: Sequence[int], scale: int, step: Step) -> Scores:
    """Scores of a window's core, float32, NaN where the scene shows nothing.

    Args:
        view: the open image.
        numbers: of the decoder's classes.
        scale: pixels of the scene a side of one that the decoder sees.
        step: the window; its corner is a multiple of the scale.
    """
    pixels = view.source.read(step.outer, scale)
    found = np.full(pixels.mask.shape, np.nan, dtype=np.float32)
    if pixels.mask.any():
        scores = pixelhead.shipped().scores(view.source.stretch.apply(pixels))
        found = np.where(pixels.mask, scores[list(numbers)].max(axis=0), np.float32(np.nan))
    if scale > 1:
        seen = view.source.read(step.outer).mask
        wide = enlarged(found, scale)[: step.outer.height, : step.outer.width]
        found = np.where(seen, wide, np.float32(np.nan))
    return np.asarray(found[step.inner], dtype=np.float32)


def enlarged(values: Scores, scale: int) -> Scores:
    """Values a whole number of times larger, interpolated between the known ones alone; 0 where none is near."""
    known = np.isfinite(values)
    size = values.shape[1] * scale, values.shape[0] * scale
    wide: Scores = cv2.resize(np.where(known, values, np.float32(0)), size, interpolation=cv2.INTER_LINEAR)
    if known.all():
        return wide
    weight: Scores = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.divide(wide, weight, out=np.zeros_like(wide), where=weight > 0), dtype=np.float32)
