"""Large models as finders of things: detectors by words, and vision-language models that write boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Protocol

import numpy as np

from rsrag.adapters.base import Context
from rsrag.errors import ConfigError, ModelError, UsageError
from rsrag.models import registry
from rsrag.models.base import ModelRow, Picture, Prompt
from rsrag.models.boxes import as_boxes
from rsrag.models.boxtext import BoxConvention, read_boxes
from rsrag.models.groundhead import Detections
from rsrag.models.pictures import QUERY_SIDE
from rsrag.prompts.builder import template

_ORDER = {
    "xyxy": "left, top, right, bottom", "yxyx": "top, left, bottom, right", "xywh": "left, top, width, height",
    "yxhw": "top, left, height, width", "cxcywh": "centre x, centre y, width, height",
}  # fmt: skip
UNSCORED = 0.5
"""Score of a box of a model that gives none."""


class Model(Protocol):
    """Something that finds a phrase in a picture of at most 768 pixels a side."""

    warnings: list[str]

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def fingerprint(self) -> str:
        """Digest of what it is."""

    def find(self, picture: Picture, phrase: str, least: float | None) -> Detections:
        """Boxes in pixels of the picture; labels are all 0."""


@dataclass(eq=False)
class ByWords:
    """A detector of the registry, such as Grounding DINO or OWLv2."""

    detector: Any
    warnings: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.detector.name)

    @property
    def fingerprint(self) -> str:
        return str(self.detector.fingerprint)

    def find(self, picture: Picture, phrase: str, least: float | None) -> Detections:
        """See :class:`Model`."""
        found: Detections = self.detector.detect(picture, [phrase], least)
        return found


@dataclass(eq=False)
class ByReader:
    """A vision-language model; ``convention`` says how it writes boxes, ``multiple`` what its input is rounded to."""

    reader: Any
    convention: BoxConvention
    multiple: int = 1
    warnings: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.reader.name)

    @property
    def fingerprint(self) -> str:
        return str(self.reader.fingerprint)

    def find(self, picture: Picture, phrase: str, least: float | None) -> Detections:
        """See :class:`Model`. Models that write boxes give no scores: all are :data:`UNSCORED`."""
        del least
        text = template("ground")
        span = self.convention.span
        told = {
            "order": _ORDER[self.convention.order],
            "span": "pixels of the picture" if span is None else f"from 0 to {span:g} along each side of the picture",
        }
        system = Template(text.system).safe_substitute(told)
        user = Template(text.user).safe_substitute(question=phrase[:300])
        prompt = Prompt(system, user, phrase, (), (picture,), text.name, max_tokens=1500)
        height, width = picture.shape[:2]
        seen = seen_size(width, height, self.multiple)
        found = read_boxes("".join(self.reader.read(prompt)), self.convention, *seen)
        self.warnings += found.warnings
        boxes = as_boxes(found.boxes) * np.array([width / seen[0], height / seen[1]] * 2)
        return Detections(boxes, np.full(len(boxes), UNSCORED), np.zeros(len(boxes), dtype=np.int64))


def seen_size(width: int, height: int, multiple: int) -> tuple[int, int]:
    """Width and height of the picture that a model sees: shrunk to the longest side, then rounded to a multiple.

    Models with a multiple enlarge what would have less than four of its squares (``smart_resize`` of Qwen2-VL).
    """
    shrink = min(1.0, QUERY_SIDE / max(width, height))
    across, down = (max(1, round(side * shrink)) for side in (width, height))
    seen = (round(across / multiple) * multiple, round(down / multiple) * multiple)
    least = 4 * multiple**2
    if multiple > 1 and seen[0] * seen[1] < least:
        grow = math.sqrt(least / (down * across))
        seen = (math.ceil(across * grow / multiple) * multiple, math.ceil(down * grow / multiple) * multiple)
    return max(multiple, seen[0]), max(multiple, seen[1])


def open_model(name: str, context: Context, boxes: str | None = None) -> Model:
    """A model by name: a detector or reader of the registry, "reader" for the profile's, or a detector's directory.

    Args:
        name: of the model.
        context: with the profile and settings.
        boxes: box convention of a reader, instead of the one of its registry row.

    Raises:
        UsageError: a model of another kind.
        ConfigError: a reader whose box convention is not known.
        ModelError: no such model, or its weights are not there.
    """
    rows = registry.rows_of(context.settings)
    if name == "reader":
        row, reader = rows.get("reader"), context.profile.reader
        if row is None or reader is None or row.backend == "extractive":
            raise UsageError("the profile's reader sees no pictures", hint="set reader = 'qwen3-vl-4b' or 'endpoint'")
        return _reader(row, reader, boxes)
    row = _row(name)
    if row.kind == "detector":
        return ByWords(registry.load(row, context.settings))
    if row.kind != "reader" or row.backend == "extractive":
        known = ", ".join(r.name for r in registry.MODELS if r.kind == "detector")
        raise UsageError(f"model {row.name} finds no boxes", hint=f"one of {known}, or a reader that sees pictures")
    return _reader(row, registry.load(row, context.settings), boxes)


def _row(name: str) -> ModelRow:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ModelRow(name, "detector", "transformers_detector", str(folder), options={"words": _words(folder)})
    try:
        return registry.find(name)
    except ModelError as error:
        known = ", ".join(r.name for r in registry.MODELS if r.kind == "detector" or "boxes" in r.options)
        raise UsageError(f"no model {name!r} that finds boxes", hint=f"one of {known}, or a directory") from error


def _words(folder: Path) -> str:
    """How the checkpoint of a directory takes words; what is wrong with its settings, loading it says."""
    try:
        text = (folder / "config.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    return "sentence" if 'grounding-dino"' in text else "list"


def _reader(row: ModelRow, reader: Any, boxes: str | None) -> ByReader:
    told = boxes or row.options.get("boxes")
    if told is None:
        raise ConfigError(
            f"how {row.name} writes boxes is not known", hint="--boxes '0-1000', 'absolute pixels', '0-1 yxyx', ..."
        )
    multiple = row.options.get("multiple", "1")
    if not (multiple.isdecimal() and int(multiple)):
        raise ConfigError(f"model {row.name}: multiple = {multiple!r}", hint="a whole number of pixels, at least 1")
    return ByReader(reader, BoxConvention.from_text(told), int(multiple))
