"""Open-vocabulary detectors on this machine (Grounding DINO, OWLv2) through the Auto classes of transformers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rsrag.config import Settings
from rsrag.errors import ConfigError, ModelError
from rsrag.models import checkpoints
from rsrag.models.base import ModelRow, Picture
from rsrag.models.boxes import as_boxes, clipped, suppressed
from rsrag.models.devices import LOADING
from rsrag.models.groundhead import EMPTY, Detections

_DOUBLES = 0.6
_KINDS = ("sentence", "list")


class TransformersDetector:
    """Boxes of things named in words.

    The row's options say how: ``words`` is "sentence" for models that read one text with a full stop after each thing
    (Grounding DINO) and "list" for those that read one text a thing (OWL-ViT, OWLv2); ``threshold`` is the lowest score
    of a box. Weights are safetensors; code from the checkpoint is never run, and nothing is fetched.

    Args:
        row: of the registry.
        settings: device and offline.

    Raises:
        ModelError: the directory is not there or holds no safetensors.
        ConfigError: an option has a wrong value.
    """

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        self.name = row.name
        self._settings = settings
        self._words = row.options.get("words", "list")
        if self._words not in _KINDS:
            raise ConfigError(f"model {row.name}: words = {self._words!r}", hint=f"one of {', '.join(_KINDS)}")
        try:
            self.threshold = float(row.options.get("threshold", "0.2"))
        except ValueError as error:
            raise ConfigError(f"model {row.name}: threshold = {row.options['threshold']!r} is no number") from error
        self._row, self._path = row, checkpoints.directory(row, settings)
        self._busy = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights and settings."""
        return checkpoints.fingerprint(self._row, self._path)

    def detect(self, picture: Picture, things: Sequence[str], least: float | None = None) -> Detections:
        """Boxes of the things in a picture, in pixels and inside of it; ``labels`` are positions in ``things``.

        Args:
            picture: uint8 RGB [H, W, 3].
            things: their names.
            least: lowest score; that of the row when None.

        Raises:
            MissingExtra: transformers is not installed.
            BadModelFile: the checkpoint cannot be loaded.
            ModelError: the model failed.
        """
        names = [" ".join(thing.lower().replace(".", " ").split()) for thing in things]
        if not any(names):
            return EMPTY
        with LOADING:
            if self._loaded is None:
                self._loaded = checkpoints.loaded(
                    f"detector {self.name}", self._path, "AutoModelForZeroShotObjectDetection", self._settings
                )
        model, processor = self._loaded
        with self._busy:
            try:
                found = self._run(model, processor, picture, names, self.threshold if least is None else least)
            except (RuntimeError, ValueError, IndexError, MemoryError) as error:
                raise ModelError(f"detector {self.name} failed: {error}") from error
        height, width = picture.shape[:2]
        boxes = clipped(found.boxes, width, height)
        finite = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
        solid = finite & (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
        kept = Detections(boxes[solid], found.scores[solid], found.labels[solid])
        return kept.chosen(suppressed(kept.boxes, kept.scores, kept.labels, overlap=_DOUBLES))

    def _run(self, model: Any, processor: Any, picture: Picture, names: Sequence[str], least: float) -> Detections:
        import torch
        from PIL import Image

        image = Image.fromarray(picture)
        size = [picture.shape[:2]]
        if self._words == "list":
            # One text a thing: the class is the position of the text.
            inputs = processor(
                text=[list(names)], images=image, return_tensors="pt", padding="max_length", truncation=True
            )
            with torch.inference_mode():
                given = _defined(model(**inputs.to(model.device)))
            (table,) = processor.image_processor.post_process_object_detection(
                given, threshold=least, target_sizes=torch.tensor(size)
            )
            return _detections(table["boxes"], table["scores"], table["labels"].tolist())
        parts = []
        for number, name in enumerate(names):
            # One thing a run: in a joint sentence tokens of different things mix in the labels.
            inputs = processor(images=image, text=f"{name}.", return_tensors="pt")
            with torch.inference_mode():
                given = _defined(model(**inputs.to(model.device)))
            (table,) = processor.post_process_grounded_object_detection(
                given, inputs["input_ids"], threshold=least, text_threshold=0.0, target_sizes=size
            )
            parts.append(_detections(table["boxes"], table["scores"], [number] * len(table["scores"])))
        return Detections(
            np.concatenate([p.boxes for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.labels for p in parts]),
        )


def _defined(given: Any) -> Any:
    """The answer of a model, unless all of it is NaN: no score is then above a threshold, as if there were no thing."""
    if given.logits.isnan().all() or given.pred_boxes.isnan().all():
        raise ValueError("it gave undefined scores or boxes; its weights may be damaged")
    return given


def _detections(boxes: Any, scores: Any, labels: Sequence[int]) -> Detections:
    return Detections(
        as_boxes(boxes.float().cpu().numpy()),
        np.asarray(scores.float().cpu().numpy(), dtype=np.float64),
        np.asarray(labels, dtype=np.int64),
    )
