"""Large segmenters on this machine, through transformers: masks by words (CLIPSeg), by boxes (SAM, SAM 2), or of the
classes that a model was trained on (Mask2Former, MaskFormer)."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.config import Settings
from rsrag.errors import BadModelFile, ConfigError, ModelError
from rsrag.models import checkpoints
from rsrag.models.base import ModelRow, Picture
from rsrag.models.devices import LOADING

PROMPTS = ("words", "boxes", "labels")
_CLASSES = {
    "words": "CLIPSegForImageSegmentation",
    "boxes": "AutoModelForMaskGeneration",
    "labels": "AutoModelForUniversalSegmentation",
}
_AT_ONCE = 16
"""Boxes of one pass."""

Masks = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]


class TransformersSegmenter:
    """Masks of what words name, of what lies in boxes, or of classes.

    The option ``prompt`` of the row says which: "words" for CLIPSeg, "boxes" for SAM and SAM 2, "labels" for
    Mask2Former and MaskFormer, which know the classes of their training only. Weights are
    safetensors; code from the checkpoint is never run, and nothing is fetched.

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
        self.prompt = row.options.get("prompt", "boxes")
        if self.prompt not in PROMPTS:
            raise ConfigError(f"model {row.name}: prompt = {self.prompt!r}", hint=f"one of {', '.join(PROMPTS)}")
        self._row, self._path = row, checkpoints.directory(row, settings)
        self._busy = threading.Lock()
        self._parts: tuple[Any, Any] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights and settings."""
        return checkpoints.fingerprint(self._row, self._path)

    def named(self, picture: Picture, text: str) -> Masks:
        """How much every pixel belongs to what a text names: float32 [H, W], 0 to 1.

        Args:
            picture: uint8 RGB [H, W, 3].
            text: such as "water".

        Raises:
            ConfigError: the model is prompted by boxes.
            MissingExtra: transformers is not installed.
            ModelError: the checkpoint cannot be loaded, or the model failed.
        """
        self._must_read("words")
        return self._guarded(lambda model, processor: _by_words(model, processor, picture, text))

    def boxed(self, picture: Picture, boxes: Sequence[Box]) -> Masks:
        """The thing in every box: float32 [N, H, W], 0 or 1, of the mask that the model trusts most.

        Args:
            picture: uint8 RGB [H, W, 3].
            boxes: left, top, right, bottom in its pixels.

        Raises:
            ConfigError: the model is prompted by words.
            MissingExtra: transformers is not installed.
            ModelError: the checkpoint cannot be loaded, or the model failed.
        """
        self._must_read("boxes")
        parts = [
            self._guarded(lambda m, p, own=boxes[s : s + _AT_ONCE]: _by_boxes(m, p, picture, own))  # type: ignore[misc]
            for s in range(0, len(boxes), _AT_ONCE)
        ]
        return np.concatenate([np.zeros((0, *picture.shape[:2]), np.float32), *parts])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that the model knows, by number; those of models with other prompts mean nothing.

        Raises:
            BadModelFile: the checkpoint names none.
        """
        try:
            table = json.loads((self._path / "config.json").read_text(encoding="utf-8"))["id2label"]
            return tuple(str(table[str(number)]) for number in range(len(table)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadModelFile(f"segmenter {self.name}: {self._path} names no classes: {error!r}") from error

    def classed(self, picture: Picture, numbers: Sequence[int]) -> Masks:
        """How much every pixel belongs to any of some classes: float32 [H, W], 0 to 1.

        The sum over queries of the class's probability times the mask's, as for semantic maps in MaskFormer (Cheng et
        al. 2021, section 3.4).

        Args:
            picture: uint8 RGB [H, W, 3].
            numbers: of classes in :attr:`labels`.

        Raises:
            ConfigError: the model is prompted in another way.
            MissingExtra: transformers is not installed.
            ModelError: the checkpoint cannot be loaded, or the model failed.
        """
        self._must_read("labels")
        return self._guarded(lambda model, processor: _by_labels(model, processor, picture, numbers))

    def _must_read(self, prompt: str) -> None:
        if self.prompt != prompt:
            raise ConfigError(f"segmenter {self.name} is prompted by {self.prompt}, not by {prompt}")

    def _guarded(self, run: Any) -> Masks:
        with LOADING:
            if self._parts is None:
                name = f"segmenter {self.name}"
                self._parts = checkpoints.loaded(name, self._path, _CLASSES[self.prompt], self._settings)
        with self._busy:
            try:
                found: Masks = run(*self._parts)
            except (RuntimeError, ValueError, IndexError, TypeError, MemoryError) as error:
                raise ModelError(f"segmenter {self.name} failed: {error}") from error
        if found.size and np.isnan(found).all():
            raise ModelError(f"segmenter {self.name} gave undefined scores", hint="its weights may be damaged")
        return np.nan_to_num(found, nan=0.0)


def _by_words(model: Any, processor: Any, picture: Picture, text: str) -> Masks:
    import torch
    from PIL import Image
    from torch.nn import functional

    inputs = processor(
        text=[text], images=[Image.fromarray(picture)], return_tensors="pt", padding=True, truncation=True
    )
    with torch.inference_mode():
        logits = model(**inputs.to(model.device)).logits.float()
        height, width = picture.shape[:2]
        wide = functional.interpolate(
            logits.reshape(1, 1, *logits.shape[-2:]), (height, width), mode="bilinear", align_corners=False
        )
        return np.asarray(torch.sigmoid(wide)[0, 0].cpu().numpy(), dtype=np.float32)


def _by_labels(model: Any, processor: Any, picture: Picture, numbers: Sequence[int]) -> Masks:
    import torch
    from PIL import Image
    from torch.nn import functional

    height, width = picture.shape[:2]
    with torch.inference_mode():
        given = model(**processor(images=Image.fromarray(picture), return_tensors="pt").to(model.device))
        # The last class is "nothing".
        classes = given.class_queries_logits.float().softmax(dim=-1)[0, :, list(numbers)].sum(dim=-1)
        masks = functional.interpolate(
            given.masks_queries_logits.float(), (height, width), mode="bilinear", align_corners=False
        )
        score = torch.einsum("q,qhw->hw", classes, torch.sigmoid(masks[0])).clamp(0, 1)
        return np.asarray(score.cpu().numpy(), dtype=np.float32)


def _by_boxes(model: Any, processor: Any, picture: Picture, boxes: Sequence[Box]) -> Masks:
    import torch
    from PIL import Image

    inputs = processor(
        images=Image.fromarray(picture), input_boxes=[[list(map(float, box)) for box in boxes]], return_tensors="pt"
    )
    sizes = {name: inputs.pop(name) for name in ("original_sizes", "reshaped_input_sizes") if name in inputs}
    with torch.inference_mode():
        given = model(**inputs.to(model.device))
    # SAM must be told how large the picture was inside its padding, SAM 2 pads nothing
    (masks,) = processor.post_process_masks(given.pred_masks.float().cpu(), *(v.cpu() for v in sizes.values()))
    if given.pred_masks.isnan().all():  # no value is then above the threshold of a mask
        return np.full((len(boxes), *picture.shape[:2]), np.nan, dtype=np.float32)
    best = given.iou_scores.float().cpu()[0].argmax(dim=-1)
    return np.asarray(masks[torch.arange(len(boxes)), best].numpy(), dtype=np.float32)
