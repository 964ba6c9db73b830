"""Candidates for a phrase in a scene of any size: boxes of the detector, or warm regions of the heat map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from rsrag.adapters.base import Context, PixelBox, Subject
from rsrag.adapters.ground.models import Model
from rsrag.adapters.ground.words import Known, class_of, singular
from rsrag.adapters.heat import HeatMapper
from rsrag.adapters.heatlayers import heat_layer
from rsrag.adapters.look import View
from rsrag.adapters.sweep import steps, sweep
from rsrag.errors import BadModelFile, UsageError
from rsrag.export_layers import Layer, LayerWriter
from rsrag.ingest.readers.photo import MIN_SIDE
from rsrag.models import groundhead
from rsrag.models.base import Picture
from rsrag.models.boxes import as_boxes, clipped, suppressed
from rsrag.models.groundhead import EMPTY, SAME, Detections, ObjectDetector
from rsrag.types import Window

CORE, MARGIN = 768, 160
"""Things up to twice the margin are seen whole in the window that they are counted in."""
WARM = 0.35
"""Heat above which a pixel belongs to a proposal, unless the hottest place is cooler than twice this."""
_FAINT = 0.1
"""Heat that the hottest place must have for anything to be proposed, where no lowest score is asked for."""
FINEST = 0.3
"""Metres a pixel below which the detector is shown the scene reduced."""
CORE_OF_MODELS, MARGIN_OF_MODELS = 608, 80
"""Together 768 pixels, the largest picture that readers are shown."""
_MOST = 5000
_TURNED = 0.85
"""Share of the upright rectangle's area below which a turned one says more."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Something that a phrase may mean: its box in pixels, how sure, its outline when it has one, and its class."""

    box: PixelBox
    score: float
    shape: shapely.Polygon | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Candidates for a phrase.

    Attributes:
        method: "detector", "heat map", or the name of a large model.
        name: class of the detector, or the phrase.
        candidates: by falling score.
        unheard: words of the phrase that the method does not judge.
        heat: the heat map, if it was made.
    """

    method: str
    name: str
    candidates: tuple[Candidate, ...]
    unheard: str = ""
    heat: Layer | None = None


@dataclass(eq=False)
class Finder:
    """Finds phrases in one open image; the detector runs once over it, whatever is asked.

    Attributes:
        view: the open image.
        context: with the models.
        least: lowest score of a detection; the threshold of its class when None.
        method: "auto", "detector" or "heat".
        model: finds things instead of the detector and the heat map.
        warnings: what is weaker than asked.
        models: fingerprints of what was used.
    """

    view: View
    context: Context
    least: float | None = None
    method: str = "auto"
    model: Model | None = None
    warnings: list[str] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    _detector: ObjectDetector | None = None
    _all: Detections | None = None
    _mapper: HeatMapper | None = None

    def find(self, phrase: str) -> Found:
        """Candidates for a phrase.

        Raises:
            UsageError: an empty phrase, such as what "the ship near the largest" refers to.
            BadModelFile: the detector is asked for and cannot be loaded.
        """
        if not phrase:
            raise UsageError(
                "what the things should be near or beside is not named", hint='such as "the ships near the bridge"'
            )
        if self.model is not None:
            return self._modelled(self.model, phrase)
        known = None
        if self.method != "heat":
            known = class_of(phrase, self.context.profile.text.encode_questions)
        if known is not None:
            try:
                return self._detected(known, phrase)
            except BadModelFile as error:
                if self.method == "detector":
                    raise
                self.warnings.append(f"the heat map was used, since the detector cannot be: {error.message}")
        return self._warm(phrase)

    def _detected(self, known: Known, phrase: str) -> Found:
        self._detector = self._detector or groundhead.shipped()
        detector = self._detector
        self.models["detector"] = detector.fingerprint
        if self._all is None:
            self._all = everywhere(self.view, detector.detect, self.context, finest=FINEST)
            self.warnings += too_fine(self.view.subject)
        candidates: list[Candidate] = []
        for name in known.classes:
            number = detector.classes.index(name)
            least = detector.thresholds[number] if self.least is None else self.least
            found = self._all.chosen((self._all.labels == number) & (self._all.scores >= least))
            candidates += _candidates(found, name)
        if known.unheard:
            said = " or ".join(known.classes)
            self.warnings.append(f"{known.unheard!r} is not judged: the detector knows {said} as such")
        if known.alike:
            self.warnings.append(f"{phrase!r} was taken for {known.alike!r}")
        name = known.classes[0] if len(known.classes) == 1 else singular(phrase)
        candidates.sort(key=lambda c: -c.score)
        return Found("detector", name, tuple(candidates), known.unheard)

    def _modelled(self, model: Model, phrase: str) -> Found:
        name = singular(phrase)
        self.models["model"] = model.fingerprint
        found = everywhere(
            self.view, lambda picture: model.find(picture, name, self.least), self.context, core=CORE_OF_MODELS
        )
        self.warnings += model.warnings
        return Found(model.name, name, tuple(_candidates(found, name)))

    def _warm(self, phrase: str) -> Found:
        self._mapper = self._mapper or HeatMapper(self.context)
        self.models["heat"] = self._mapper.fingerprint
        heat = heat_layer(self.view, self._mapper, self._mapper.query(phrase), self.context)
        return Found("heat map", phrase, tuple(proposals(heat, self.least)), "", heat)


def _candidates(found: Detections, name: str) -> list[Candidate]:
    return [
        Candidate((float(b[0]), float(b[1]), float(b[2]), float(b[3])), float(s), None, name)
        for b, s in zip(found.boxes, found.scores, strict=True)
    ]


def reduction(subject: Subject, finest: float) -> int:
    """How many times smaller a scene is shown to a detector: a power of two that leaves pixels enough to look at.

    Args:
        subject: the image.
        finest: metres a pixel; finer scenes are reduced, since things would be larger than the detector knows them.
    """
    scale = 1
    while (
        subject.gsd_m
        and subject.gsd_m * scale < finest
        and min(subject.width, subject.height) // (2 * scale) >= MIN_SIDE
    ):
        scale *= 2
    return scale


def too_fine(subject: Subject) -> tuple[str, ...]:
    """A warning where a scene covers so little ground that it cannot be reduced to what the detector knows."""
    shown = (subject.gsd_m or FINEST) * reduction(subject, FINEST)
    if shown >= FINEST:
        return ()
    size = f"{subject.width}×{subject.height} pixels of {subject.gsd_m:.2g} m"
    known = f"things look larger than the detector knows them (at {FINEST} m a pixel or more), and may be missed"
    return (f"{size} show too little ground: {known}; give a larger part of the scene",)


def everywhere(
    view: View,
    detect: Callable[[Picture], Detections],
    context: Context,
    *,
    core: int = CORE,
    finest: float = 0.0,
) -> Detections:
    """All detections of a scene, by falling score; each window gives those whose middle lies in its core.

    Args:
        view: the open image.
        detect: finds things in a picture.
        context: told of every window.
        core: side of a window's core in pixels; a margin is read around it.
        finest: metres a pixel; finer scenes are averaged down, see :func:`reduction`.
    """
    subject = view.subject
    scale = reduction(subject, finest)
    core, margin = core * scale, (MARGIN if core == CORE else MARGIN_OF_MODELS) * scale
    context.progress.start("detector", steps(subject.width, subject.height, core=core), unit="windows")
    parts: list[Detections] = []
    for step in sweep(subject.width, subject.height, core=core, margin=margin):
        pixels = view.source.read(step.outer, scale)
        if pixels.mask.any():
            own = detect(view.source.stretch.apply(pixels))
            # The last reduced pixel may stand for fewer pixels than the others: a box around it ends with the scene.
            boxes = own.boxes * scale + np.array([step.outer.col, step.outer.row] * 2)
            boxes = clipped(boxes, subject.width, subject.height)
            parts.append(_in_core(Detections(boxes, own.scores, own.labels), step.core))
        context.progress.advance()
    context.progress.finish()
    if not parts:
        return EMPTY
    whole = Detections(
        as_boxes(np.concatenate([p.boxes for p in parts])),
        np.concatenate([p.scores for p in parts]),
        np.concatenate([p.labels for p in parts]),
    )
    if len(parts) == 1:
        return whole.chosen(np.argsort(-whole.scores, kind="stable"))
    return whole.chosen(suppressed(whole.boxes, whole.scores, whole.labels, overlap=SAME))


def _in_core(found: Detections, core: Window) -> Detections:
    x, y = (found.boxes[:, 0] + found.boxes[:, 2]) / 2, (found.boxes[:, 1] + found.boxes[:, 3]) / 2
    across = (x >= core.col) & (x < core.col + core.width)
    return found.chosen(across & (y >= core.row) & (y < core.row + core.height))


def proposals(heat: Layer, least: float | None = None) -> list[Candidate]:
    """Connected regions of a heat map that are warm enough, by falling score; the score is the mean heat of a region.

    What is cool inside of a region is a hole of it, unless it is smaller than the smallest region.

    Args:
        heat: score layer.
        least: heat of the coolest pixel of a region; by default :data:`WARM`, or half of the hottest if that is less.
    """
    hottest = 0.0
    for window in heat.windows():
        values = heat.read(window)
        if np.isfinite(values).any():
            hottest = max(hottest, float(np.nanmax(values)))
    if hottest < (_FAINT if least is None else least):
        return []
    limit = least if least is not None else min(WARM, hottest / 2)
    place = None if heat.crs is None else heat.transform
    with LayerWriter("warm", "mask", heat.width, heat.height, heat.crs, place) as writer:
        for window in heat.windows():
            values = heat.read(window)
            writer.write(window, np.where(np.isfinite(values), values >= limit, 255))
    smallest = max(64.0, heat.width * heat.height * 2e-5)
    shapes = [shape for _, shape in writer.layer.polygons([1]) if shape.area >= smallest]
    shapes.sort(key=lambda shape: -shape.area)
    found = []
    for shape in shapes[:_MOST]:
        left, top, right, bottom = (float(v) for v in shape.bounds)
        holes = [ring for ring in shape.interiors if shapely.Polygon(ring).area >= smallest]
        score = mean_inside(heat, shape, limit)
        found.append(Candidate((left, top, right, bottom), score, shapely.Polygon(shape.exterior, holes)))
    return sorted(found, key=lambda candidate: -candidate.score)


def mean_inside(heat: Layer, shape: shapely.Polygon, least: float) -> float:
    """Mean of the pixels from ``least`` on inside a pixel polygon, read at a reduced size where it is large.

    Pixels below it lie beside the outline or in a hole; where no reduced pixel reaches it, ``least`` is the answer.
    """
    left, top, right, bottom = (int(v) for v in shape.bounds)
    window = Window(left, top, max(1, right - left), max(1, bottom - top))
    values = heat.read(window, longest=512)
    zoom = np.array([values.shape[1] / window.width, values.shape[0] / window.height])
    inside = np.zeros(values.shape, dtype=np.uint8)
    outline = (np.asarray(shape.exterior.coords)[:, :2] - (left, top)) * zoom
    cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], 1)
    chosen = values[(inside > 0) & (values >= least)]  # NaN is not
    return float(chosen.mean(dtype=np.float64)) if chosen.size else least


def turned_box(picture: npt.NDArray[np.uint8], box: PixelBox) -> tuple[tuple[float, float], ...]:
    """Corners of the smallest turned rectangle around what stands out in a box; empty when nothing does.

    A rectangle that is hardly smaller than the upright one, as around a round tank, is given upright.

    The foreground is cut out by GrabCut (Rother et al. 2004) with what lies around the box as background.

    Args:
        picture: uint8 RGB [h, w, 3], the box with some ground around it.
        box: left, top, right, bottom in that picture.
    """
    height, width = picture.shape[:2]
    left, top = max(1, math.floor(box[0])), max(1, math.floor(box[1]))
    right, bottom = min(width - 1, math.ceil(box[2])), min(height - 1, math.ceil(box[3]))
    if right - left < 6 or bottom - top < 6:
        return ()
    mask = np.zeros((height, width), dtype=np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(picture, mask, (left, top, right - left, bottom - top), *models, 2, cv2.GC_INIT_WITH_RECT)
    except cv2.error:
        return ()
    front = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(front, connectivity=8)
    if count < 2:
        return ()
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if stats[largest, cv2.CC_STAT_AREA] < 0.25 * (right - left) * (bottom - top):
        return ()
    points = cv2.findNonZero((pieces == largest).astype(np.uint8))
    rectangle = cv2.minAreaRect(points)
    x, y, wide, high = cv2.boundingRect(points)
    if rectangle[1][0] * rectangle[1][1] > _TURNED * wide * high:
        return ((x, y), (x + wide, y), (x + wide, y + high), (x, y + high))
    corners = cv2.boxPoints(rectangle)
    return tuple((float(x) + 0.5, float(y) + 0.5) for x, y in corners)
