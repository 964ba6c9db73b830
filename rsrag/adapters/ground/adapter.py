"""The adapter ``ground``: where the things are that a text names, how many there are, and what a box shows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely

from rsrag._version import __version__
from rsrag.adapters import measure
from rsrag.adapters.base import Context, PixelBox, Region, Subject, TaskResult
from rsrag.adapters.classify.labels import check_labels
from rsrag.adapters.ground import spatial, words
from rsrag.adapters.ground.find import Candidate, Finder, Found, turned_box
from rsrag.adapters.ground.models import open_model
from rsrag.adapters.look import View, opened, reading
from rsrag.errors import UsageError
from rsrag.models.calibration import bank_vectors, calibration, softmax
from rsrag.models.turns import vectors_of
from rsrag.train.prompts import TEMPLATES
from rsrag.types import Fact, Provenance, Sentence, Window

METHODS = ("auto", "detector", "heat")
COARSE = 3.0
"""Metres a pixel from which the detector's things are a few pixels at most."""
_DENIALS = frozenset(("not", "no", "without", "except"))
"""Words that rule something out; no method hears them in the name of a thing, nor of what it is near to."""
_TURNED = 300
_CONTEXT = 0.25
_SHOWN = 5


@dataclass(frozen=True, slots=True, eq=False)
class GroundRequest:
    """What to look for, and how.

    Attributes:
        image: file, bytes, array, or id of a scene or tile of the archive.
        text: what to look for, such as "the storage tanks near the road" or "how many ships"; None with ``box``.
        box: left, top, right, bottom in pixels: tell what is there instead.
        labels: what the box is compared with; a list of common things when empty.
        method: "auto" (the detector for what it knows, else the heat map), "detector" or "heat".
        least: lowest score of what is given; chosen by the method when None.
        model: a large model instead: a detector or reader of the registry, "reader" for the profile's, a directory.
        boxes: how that reader writes boxes, where its registry row does not say.
        bands: which band of the image is what, such as "red=4,green=3,blue=2,nir=8", where the file does not say.
    """

    image: Any
    text: str | None = None
    box: PixelBox | None = None
    labels: Sequence[str] = ()
    method: str = "auto"
    least: float | None = None
    model: str | None = None
    boxes: str | None = None
    bands: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Grounding(TaskResult):
    """Regions by falling score, or in the order that the text asks for.

    Attributes:
        target: what was looked for.
        method: "detector", "heat map", the name of a large model, or "words" for what a box shows.
        count: how many were found.
        candidates: how many there were before words of place and size chose among them.
        names: for a box: labels and their probabilities, by falling probability.
        map_boxes: least x, least y, greatest x, greatest y of each region in the image's CRS; empty without a position.
    """

    target: str = ""
    method: str = ""
    count: int = 0
    candidates: int = 0
    names: tuple[tuple[str, float], ...] = ()
    map_boxes: tuple[tuple[float, float, float, float], ...] = ()


class Ground:
    """See :class:`GroundRequest`."""

    name = "ground"

    def run(self, request: GroundRequest, context: Context) -> Grounding:
        """Look for it.

        Raises:
            UsageError: no target in the text, a box outside of the image, an unknown method, a score outside of 0 to 1,
                bands that cannot be read.
            SourceError: the image cannot be used, or it or a box has no valid pixel.
            ModelError: a model cannot be loaded.
        """
        if (request.text is None) == (request.box is None):
            raise UsageError("give a text to look for, or a box to name", hint='such as "the ships in the harbour"')
        if request.method not in METHODS:
            raise UsageError(f"method {request.method!r}", hint=f"one of {', '.join(METHODS)}")
        if request.boxes is not None and request.model is None:
            raise UsageError(
                "how which model writes boxes?", hint="name it with --model, such as a directory or reader"
            )
        if request.least is not None and not 0 <= request.least <= 1:
            raise UsageError(f"a least score of {request.least:g}", hint="from 0 to 1")
        options = reading(request.bands)
        expression = None
        if request.text is not None:
            expression = spatial.parse(request.text)
            if not any(letter.isalpha() for letter in expression.target):
                raise UsageError(f"{request.text!r} names nothing to look for", hint='such as "ships" or "the bridge"')
            if (
                request.method == "detector"
                and words.class_of(expression.target, context.profile.text.encode_questions) is None
            ):
                known = ", ".join(words.SYNONYMS)
                raise UsageError(f"the detector does not know {expression.target!r}", hint=f"it knows {known}")
        with opened(request.image, context, options=options) as view:
            if expression is not None:
                return self._find(view, expression, request, context)
            assert request.box is not None
            return self._identify(view, request.box, request, context)

    def _find(self, view: View, expression: spatial.Expression, request: GroundRequest, context: Context) -> Grounding:
        begun = time.perf_counter()
        picture, _ = view.seen()  # where nothing is valid, there is nothing to find
        model = open_model(request.model, context, request.boxes) if request.model is not None else None
        finder = Finder(view, context, request.least, request.method, model)
        found = finder.find(expression.target)
        size = view.subject.width, view.subject.height
        chosen, referred = refer(expression, found, finder.find, size)
        regions = tuple(
            _region(view, candidate.name or found.name, candidate, turned=number < _TURNED)
            for number, candidate in enumerate(chosen)
        )
        if denied := _DENIALS.intersection(f"{expression.target} {expression.anchor or ''}".split()):
            said = " and ".join(repr(word) for word in sorted(denied))
            finder.warnings.append(f"{said} is not understood: what it rules out may be among what was found")
        metres = view.subject.gsd_m
        if found.method == "detector" and metres and metres > COARSE:
            finder.warnings.append(
                f"at {metres:.3g} m a pixel the detector's things are small: it was trained on 0.5 to 2 m"
            )
        return Grounding(
            task=self.name,
            subject=view.subject,
            sentences=_sentences(expression, found, referred, regions, view),
            facts=(Fact("count", len(regions)),),
            regions=regions,
            layers=(found.heat,) if found.heat is not None else (),
            picture=picture,
            provenance=Provenance(
                {**context.fingerprints(), **finder.models}, "", __version__, {"find": time.perf_counter() - begun}
            ),
            warnings=tuple(dict.fromkeys(finder.warnings)),
            target=expression.target,
            method=found.method,
            count=len(regions),
            candidates=len(found.candidates),
            map_boxes=map_boxes(view.subject, regions),
        )

    def _identify(self, view: View, box: PixelBox, request: GroundRequest, context: Context) -> Grounding:
        begun = time.perf_counter()
        subject = view.subject
        window = check_box(box, subject.width, subject.height)
        labels = check_labels(request.labels or words.THINGS)
        view.seen(window, longest=512)  # where nothing is valid, there is nothing to name
        encoder = context.profile.image
        fitted = calibration(encoder.fingerprint)
        classes = bank_vectors(encoder.encode_words, [[label] for label in labels], TEMPLATES)
        picture = view.picture(_around(window, subject.width, subject.height), longest=512)
        likely = softmax((vectors_of(encoder, [picture], 4) @ classes.T)[0], fitted.temperature)
        order = np.argsort(-likely, kind="stable")
        names = tuple((labels[n], float(likely[n])) for n in order)
        region = measure.region(subject, names[0][0], names[0][1], shapely.box(*box), boxed=True)
        others = ", then ".join(f"{name} ({p:.0%})" for name, p in names[1:3] if p >= 0.005)
        text = f"The box shows {names[0][0]} ({names[0][1]:.0%} likely{'; next ' + others if others else ''})."
        return Grounding(
            task=self.name,
            subject=subject,
            sentences=(Sentence(text, ()),),
            regions=(region,),
            picture=view.picture(),
            provenance=Provenance(context.fingerprints(), "", __version__, {"look": time.perf_counter() - begun}),
            warnings=() if fitted.fitted else ("probabilities are not calibrated for this encoder",),
            target=names[0][0],
            method="words",
            count=1,
            candidates=len(names),
            names=names,
            map_boxes=map_boxes(subject, (region,)),
        )


def refer(
    expression: spatial.Expression, found: Found, find: Callable[[str], Found], size: tuple[int, int]
) -> tuple[list[Candidate], list[Found]]:
    """The candidates that an expression means, the best first, and what its relation refers to.

    Args:
        expression: from :func:`rsrag.adapters.ground.spatial.parse`.
        found: candidates for its target.
        find: candidates for the thing that the target is near or beside.
        size: width and height of the picture in pixels.
    """
    referred: list[Found] = []

    def anchors(phrase: str) -> list[PixelBox]:
        inner = spatial.parse(phrase)
        other = find(inner.target)
        referred.append(other)
        boxes = [c.box for c in other.candidates]
        scores = [c.score for c in other.candidates]
        return [boxes[n] for n in spatial.choose(inner, boxes, scores, size, anchors)]

    boxes, scores = [c.box for c in found.candidates], [c.score for c in found.candidates]
    order = spatial.choose(expression, boxes, scores, size, anchors)
    return [found.candidates[n] for n in order], referred


def map_boxes(subject: Subject, regions: Sequence[Region]) -> tuple[tuple[float, float, float, float], ...]:
    """Bounds of regions in the CRS of a scene; empty for an image without a position."""
    if subject.transform is None or not subject.located:
        return ()
    a, b, c, d, e, f = subject.transform
    found = []
    for region in regions:
        left, top, right, bottom = region.box
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        x, y = corners @ (a, b) + c, corners @ (d, e) + f
        found.append((float(x.min()), float(y.min()), float(x.max()), float(y.max())))
    return tuple(found)


def check_box(box: Sequence[float], width: int, height: int) -> Window:
    """The pixels of a box.

    Raises:
        UsageError: not four numbers in order, smaller than a pixel, or not inside the image.
    """
    if len(box) != 4 or not all(math.isfinite(v) for v in box):
        raise UsageError(f"a box of {' '.join(map(str, box))}", hint="left top right bottom in pixels")
    left, top, right, bottom = (float(v) for v in box)
    told = " ".join(f"{v:g}" for v in box)
    if right - left < 1 or bottom - top < 1:
        raise UsageError(f"the box {told} is empty", hint="left top right bottom in pixels, right beyond left")
    if left < 0 or top < 0 or right > width or bottom > height:
        raise UsageError(f"the box {told} is outside of the image of {width}×{height} pixels")
    col, row = math.floor(left), math.floor(top)
    return Window(col, row, math.ceil(right) - col, math.ceil(bottom) - row)


def _around(window: Window, width: int, height: int, share: float = _CONTEXT, least: int = 32) -> Window:
    """A window with some ground around it, inside the image."""
    dx = max(round(window.width * share), (least - window.width + 1) // 2)
    dy = max(round(window.height * share), (least - window.height + 1) // 2)
    left, top = max(0, window.col - dx), max(0, window.row - dy)
    right, bottom = min(width, window.col + window.width + dx), min(height, window.row + window.height + dy)
    return Window(left, top, right - left, bottom - top)


def _region(view: View, name: str, candidate: Candidate, *, turned: bool) -> Region:
    subject = view.subject
    if candidate.shape is not None:
        shape = measure.simplified(subject, candidate.shape, 2 * (measure.metres_per_pixel(subject) or 1.0))
        return measure.region(subject, name, min(1.0, candidate.score), shape, oriented=True)
    found = measure.region(subject, name, min(1.0, candidate.score), shapely.box(*candidate.box), boxed=True)
    if not turned:
        return found
    left, top, right, bottom = candidate.box
    window = Window(int(left), int(top), max(1, math.ceil(right) - int(left)), max(1, math.ceil(bottom) - int(top)))
    if max(window.width, window.height) > 1024:
        return found
    outer = _around(window, subject.width, subject.height, least=16)
    picture = view.source.stretch.apply(view.source.read(outer))
    corners = turned_box(
        np.ascontiguousarray(picture),
        (left - outer.col, top - outer.row, right - outer.col, bottom - outer.row),
    )
    return replace(found, oriented=tuple((x + outer.col, y + outer.row) for x, y in corners))


def _sentences(
    expression: spatial.Expression, found: Found, referred: Sequence[Found], regions: Sequence[Region], view: View
) -> tuple[Sentence, ...]:
    """The answer, and how it was found."""
    count = len(regions)
    asked = _asked(expression)
    methods = {"detector": "by the object detector", "heat map": "as warm regions of the heat map"}
    how = methods.get(found.method, f"by {found.method}")
    one = words.singular(expression.target)
    one = one.replace(" and ", " or ") if words.several(one) else one
    if not count:
        total = len(found.candidates)
        text = f"No {one} was found{asked} ({how.replace('as warm', 'among warm')})."
        if total:
            text += f" There {'is' if total == 1 else 'are'} {total} elsewhere in the image."
        missing = [other.name for other in referred if not other.candidates]
        if missing:
            text += f" Nor was any {missing[0]} found."
        return (Sentence(text, ()),)
    name = one if count == 1 else words.plural(expression.target)
    verb = "is" if count == 1 else "are"
    lead = f"There {verb} {count} {name}{asked}" if expression.counting else f"{count} {name} found{asked}"
    spots = [
        f"{measure.cell_of(r.box, view.subject.width, view.subject.height)} ({r.score:.2f})" for r in regions[:_SHOWN]
    ]
    more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
    return (Sentence(f"{lead}, {how}: {', '.join(spots)}{more}.", ()),)


def _asked(expression: spatial.Expression) -> str:
    """The words of place and size that chose among the candidates."""
    said = []
    if expression.extreme is not None:
        sides = ("left", "right", "top", "bottom")
        order = f"number {expression.rank} of " if expression.rank > 1 else ""
        said.append(f"{order}the {expression.extreme}{'most' if expression.extreme in sides else ''}")
    if expression.relation is not None:
        relation = {
            "near": "near", "nearest": "nearest to", "far": "far from", "farthest": "farthest from", "left": "left of",
            "right": "right of", "top": "above", "bottom": "below", "inside": "in or on", "outside": "outside of",
        }[expression.relation]  # fmt: skip
        said.append(f"{relation} “{expression.anchor}”")
    if expression.where is not None:
        said.append(f"in the part “{expression.where}”")
    return f" ({', '.join(said)})" if said else ""


GROUND = Ground()
