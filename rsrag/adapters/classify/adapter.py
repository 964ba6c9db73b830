"""The adapter ``classify``: probabilities of the user's labels for an image, and a map of them over a scene."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rsrag._version import __version__
from rsrag.adapters import measure
from rsrag.adapters.base import Context, TaskResult
from rsrag.adapters.classify import knowledge
from rsrag.adapters.classify.examples import blended, read_examples, shown_rows
from rsrag.adapters.classify.labels import check_labels
from rsrag.adapters.classify.wall import Map, cell_words, classify_everywhere, dense_cells
from rsrag.adapters.look import View, colour_warning, opened, reading
from rsrag.errors import UsageError
from rsrag.models.base import Picture, Vectors
from rsrag.models.calibration import Calibration, bank_vectors, calibration, softmax
from rsrag.models.turns import vectors_of
from rsrag.train.prompts import TEMPLATES
from rsrag.types import Evidence, Fact, Provenance, Sentence
from rsrag.words import fold

_LONGEST = 512
_MAP_LABELS = 250
_UNKNOWN = "unknown"
"""What stands for no class: a map has it beside the labels."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassifyRequest:
    """What to classify, and how.

    Attributes:
        image: file, bytes, array, or id of a scene or tile of the archive.
        labels: the classes, in words.
        everywhere: also a map of the classes over the scene.
        turns: 1, 2, 4 or 8 turns of the picture whose vectors are averaged.
        unknown: least probability that a class is given for.
        examples: folder with one folder a class, whose pictures sharpen the classes.
        knowledge: weigh the labels by what the archive says of the place.
        templates: sentences with ``{}`` where a label goes.
        bands: which band of the image, and of rasters among the examples, is what where the file does not say, such as
            "red=4,green=3,blue=2,nir=8".
    """

    image: Any
    labels: Sequence[str]
    everywhere: bool = False
    turns: int = 4
    unknown: float = 0.0
    examples: Path | None = None
    knowledge: bool = False
    templates: Sequence[str] = TEMPLATES
    bands: str | None = None


@dataclass(frozen=True, slots=True)
class ClassScore:
    """A label, its probability, and its cosine before calibration."""

    label: str
    probability: float
    cosine: float


@dataclass(frozen=True, slots=True, eq=False)
class Classification(TaskResult):
    """Labels by falling probability; ``known`` is False when the best one is less likely than asked for."""

    scores: tuple[ClassScore, ...] = ()
    known: bool = True
    calibrated: bool = True
    areas: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The best label, or "unknown"."""
        return self.scores[0].label if self.known else _UNKNOWN


class Classify:
    """See :class:`ClassifyRequest`."""

    name = "classify"

    def run(self, request: ClassifyRequest, context: Context) -> Classification:
        """Classify.

        Raises:
            UsageError: labels or bands that cannot be used, or a threshold outside of 0 to 1.
            SourceError: the image cannot be used, or has no valid pixel.
        """
        labels = check_labels(request.labels)
        if not 0 <= request.unknown <= 1:
            raise UsageError(f"unknown below {request.unknown:g}", hint="a probability from 0 to 1")
        if request.everywhere and len(labels) > _MAP_LABELS:
            raise UsageError(f"a map of {len(labels)} classes", hint=f"at most {_MAP_LABELS}")
        taken = next((label for label in labels if fold(label) == _UNKNOWN), None)
        if request.everywhere and taken is not None:
            raise UsageError(
                f"the label {taken!r} is what a map calls pixels of no class", hint="another word, such as 'other'"
            )
        options = reading(request.bands)
        begun = time.perf_counter()
        encoder = context.profile.image
        fitted = calibration(encoder.fingerprint)
        warnings = [] if fitted.fitted else ["probabilities are not calibrated for this encoder"]
        names, templates = [[label] for label in labels], request.templates
        classes = bank_vectors(encoder.encode_words, names, templates)
        of_cells = bank_vectors(cell_words(context), names, templates) if request.everywhere else classes
        with opened(request.image, context, options=options) as view:
            picture, _ = view.seen(longest=_LONGEST)
            if (warning := colour_warning(view)) is not None:
                warnings.append(warning)
            if request.examples is not None:
                shown = read_examples(request.examples, context, request.turns, options=options)
                warnings += [f"left out {name}" for name in shown.skipped[:5]]
                classes, of_cells = blended(classes, shown, labels), blended(of_cells, shown, labels)
                unused = set(range(len(shown.labels))) - set(shown_rows(shown, labels).values())
                warnings += [f"examples of {shown.labels[row]!r}, which is no label" for row in sorted(unused)[:5]]
                warnings.append("the temperature was fitted to words alone, without examples")
            found, evidence = self._scores(view, picture, request, labels, classes, fitted, context)
            if request.knowledge and not evidence:
                warnings.append("no passage about the place speaks for a label: nothing was weighed")
            seconds = {"look": time.perf_counter() - begun}
            best = found[0]
            known = best.probability >= request.unknown
            wall = None
            if request.everywhere:
                cells, temperature = dense_cells(context, of_cells)
                wall = classify_everywhere(view, labels, cells, temperature, request.unknown, context)
                seconds["map"] = time.perf_counter() - begun - seconds["look"]
                if (drawn := len(wall.regions)) < wall.pieces:
                    warnings.append(f"only the largest {drawn:,} of {wall.pieces:,} areas have an outline")
            areas = _areas(labels, wall)
            return Classification(
                task=self.name,
                subject=view.subject,
                sentences=_sentences(found, known, wall, areas, evidence),
                evidence=evidence,
                facts=_facts(labels, wall, areas),
                regions=wall.regions if wall else (),
                layers=wall.layers if wall else (),
                picture=view.picture(),
                provenance=Provenance(context.fingerprints(), "", __version__, seconds),
                warnings=tuple(warnings),
                scores=tuple(found),
                known=known,
                calibrated=fitted.fitted and request.examples is None,
                areas={label: area for label, area in areas.items() if area is not None},
            )

    def _scores(
        self,
        view: View,
        picture: Picture,
        request: ClassifyRequest,
        labels: Sequence[str],
        classes: Vectors,
        fitted: Calibration,
        context: Context,
    ) -> tuple[list[ClassScore], tuple[Evidence, ...]]:
        cosines = (vectors_of(context.profile.image, [picture], request.turns) @ classes.T)[0]
        likely = softmax(cosines, fitted.temperature)
        evidence: tuple[Evidence, ...] = ()
        if request.knowledge:
            weights, evidence = knowledge.weigh(view, picture, labels, context)
            likely = likely * weights / float((likely * weights).sum())
        order = np.argsort(-likely, kind="stable")
        return [ClassScore(labels[n], float(likely[n]), float(cosines[n])) for n in order], evidence


def _areas(labels: Sequence[str], wall: Map | None) -> dict[str, float | None]:
    if wall is None:
        return {}
    return dict(zip((*labels, _UNKNOWN), wall.square_metres, strict=True))


def _facts(labels: Sequence[str], wall: Map | None, areas: Mapping[str, float | None]) -> tuple[Fact, ...]:
    """Shares and areas of the classes that occur, the largest first."""
    if wall is None:
        return ()
    total = max(1, sum(wall.pixels))
    facts = []
    for label, pixels in sorted(zip((*labels, _UNKNOWN), wall.pixels, strict=True), key=lambda pair: -pair[1]):
        if not pixels:
            continue
        facts.append(Fact(f"share of {label}", pixels / total))
        area = areas[label]
        if area is not None:
            facts.append(Fact(f"area of {label}", area, "m2"))
    return tuple(facts)


def _sentences(
    found: Sequence[ClassScore],
    known: bool,
    wall: Map | None,
    areas: Mapping[str, float | None],
    evidence: Sequence[Evidence],
) -> tuple[Sentence, ...]:
    best = found[0]
    if known:
        others = ", then ".join(f"{s.label} ({s.probability:.0%})" for s in found[1:3] if s.probability >= 0.005)
        text = f"The image shows {best.label} ({best.probability:.0%} likely{'; next ' + others if others else ''})."
    else:
        text = f"None of the labels is likely enough: the best is {best.label} at {best.probability:.0%}."
    sentences = [Sentence(text, tuple(e.number for e in evidence))]
    if wall is not None:
        total = max(1, sum(wall.pixels))
        parts = []
        for label, pixels in sorted(zip(areas, wall.pixels, strict=True), key=lambda pair: -pair[1])[:4]:
            if pixels:
                area = areas[label]
                measured = f", {measure.area_text(area)}" if area is not None else ""
                parts.append(f"{label} {pixels / total:.0%}{measured}")
        if parts:
            sentences.append(Sentence(f"Over the whole scene: {'; '.join(parts)}.", ()))
    return tuple(sentences)


CLASSIFY = Classify()
