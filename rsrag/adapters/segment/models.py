"""Large segmenters instead of the small means: by words or classes all over a scene, or box by box."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rsrag.adapters.base import Context, PixelBox
from rsrag.adapters.ground.find import proposals
from rsrag.adapters.ground.words import singular
from rsrag.adapters.heat import HeatMapper
from rsrag.adapters.heatlayers import heat_layer
from rsrag.adapters.look import View
from rsrag.adapters.segment.refine import Scores
from rsrag.adapters.segment.rivals import rivals
from rsrag.adapters.segment.things import Cuts, Thing, Things, paint, things_if_any
from rsrag.adapters.sweep import Step
from rsrag.errors import ModelError, UsageError
from rsrag.models import registry
from rsrag.models.base import ModelRow, Picture
from rsrag.models.segmenter import TransformersSegmenter

_PROMPTS = {"clipseg": "words", "mask2former": "labels", "maskformer": "labels"}
"""How checkpoints are prompted by their ``model_type``; others are by boxes."""
_TOLD = 12


def open_segmenter(name: str, context: Context) -> TransformersSegmenter:
    """A segmenter of the registry, or of a directory with a checkpoint.

    Raises:
        UsageError: no such model, or one of another kind.
        ModelError: its weights are not there.
    """
    known = ", ".join(row.name for row in registry.MODELS if row.kind == "segmenter")
    folder = Path(name).expanduser()
    if folder.is_dir():
        row = ModelRow(name, "segmenter", "transformers_segmenter", str(folder), options={"prompt": _prompt(folder)})
    else:
        try:
            row = registry.find(name)
        except ModelError as error:
            raise UsageError(f"no model {name!r} that outlines", hint=f"one of {known}, or a directory") from error
    if row.kind != "segmenter":
        raise UsageError(f"model {row.name} outlines nothing", hint=f"one of {known}, or a directory")
    model: TransformersSegmenter = registry.load(row, context.settings)
    return model


def maker(
    model: TransformersSegmenter, text: str, view: View, context: Context
) -> tuple[Callable[[Step], Scores], tuple[str, ...]]:
    """What gives the score of a window's core (float32, NaN where the scene shows nothing), and warnings.

    Args:
        model: prompted by words, by classes that it knows, or by boxes: those of the detector for the kinds it knows,
            else the warm regions of the heat map.
        text: what to outline.
        view: the open image.
        context: with the encoder; told of every window.

    Raises:
        UsageError: the model knows classes only, and the text names none of them.
    """
    if model.prompt == "words":
        return partial(_seen, view, partial(model.named, text=text)), ()
    if model.prompt == "labels":
        return partial(_seen, view, partial(model.classed, numbers=classes_named(text, model))), ()
    things, told = things_if_any(text, view, context)
    things = things or _warm(text, view, context)
    cuts = Cuts(view, partial(_cut, model))
    return partial(_boxed, view, things.found, cuts), (*told, *things.warnings)


def _prompt(folder: Path) -> str:
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        kind = None
    return _PROMPTS.get(str(kind), "boxes")


def classes_named(text: str, model: TransformersSegmenter) -> list[int]:
    """Numbers of a model's classes that a text names; a class may have several names, as "house, building".

    Raises:
        UsageError: it names none.
    """
    words = singular(" ".join(text.casefold().replace("-", " ").split()))
    found = [
        number
        for number, label in enumerate(model.labels)
        if words in {singular(name.strip()) for name in re.split("[,;/]", label.casefold().replace("-", " "))}
    ]
    if not found:
        known = sorted(model.labels)
        raise UsageError(
            f"{model.name} was not trained on {text!r}",
            hint=f"it knows {len(known)} classes, such as {', '.join(known[:_TOLD])}",
        )
    return found


def _seen(view: View, score_of: Callable[[Picture], npt.NDArray[np.float32]], step: Step) -> Scores:
    pixels = view.source.read(step.outer)
    score = score_of(view.source.stretch.apply(pixels))
    return np.where(pixels.mask, score, np.float32(np.nan))[step.inner]


def _warm(text: str, view: View, context: Context) -> Things:
    """Boxes of the warm regions of a heat map: warm enough, so each counts as a thing."""
    mapper = HeatMapper(context)
    heat = heat_layer(view, mapper, mapper.query(text, background=rivals(text)), context)
    found = [Thing(one.box, 0.5 + 0.5 * one.score) for one in proposals(heat)]
    return Things(tuple(found), mapper.fingerprint)


def _boxed(view: View, things: tuple[Thing, ...], cuts: Cuts, step: Step) -> Scores:
    score = paint(step.core, things, cuts)
    return np.where(view.source.read(step.core).mask, score, np.float32(np.nan))


def _cut(model: TransformersSegmenter, picture: Picture, box: PixelBox) -> npt.NDArray[np.float32]:
    thing: npt.NDArray[np.float32] = model.boxed(picture, [box])[0]
    return thing
