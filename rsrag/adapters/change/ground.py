"""Kinds of ground before and after: by indices where the bands allow, else by the words that encoder cells lie near."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters.change import indices
from rsrag.config import Settings
from rsrag.ingest.readers.base import RasterSource
from rsrag.models.base import Picture
from rsrag.models.dense import DenseEncoder

Kinds = npt.NDArray[np.uint8]
UNKNOWN = 255
ZOOM = 2
"""Pictures are enlarged so much for the encoder, whose cells of 32 pixels are then 16 wide."""
_TEMPERATURE = 0.05
_WORDS: dict[str, tuple[str, ...]] = {
    indices.WATER: ("a river", "a lake", "sea water", "a pond"),
    indices.VEGETATION: ("forest", "trees", "green grassland", "a meadow", "cropland with plants"),
    indices.BARE: ("bare soil", "bareland", "desert sand", "an empty ploughed field", "a construction site"),
    indices.BUILT: ("buildings", "houses", "a residential area", "an industrial area", "a parking lot", "a road"),
}
_TEMPLATES = ("{}", "an aerial photograph of {}", "a satellite image of {}")
_GREEN = 0.06
"""Excess green, (2g - r - b) / (r + g + b), above which a pixel is taken for plants (Woebbecke et al. 1995)."""


@cache
def _word_vectors(fingerprint: str) -> npt.NDArray[np.float32]:
    """Unit vectors of the four kinds in the encoder's semantic space, float32 [4, 256]; rows as in CLASSES."""
    from rsrag.models.registry import find, load

    encoder = load(find("mini-image"), Settings())
    found = []
    for name in indices.CLASSES:
        texts = [template.format(word) for word in _WORDS[name] for template in _TEMPLATES]
        mean = encoder.semantic_words(texts).mean(axis=0)
        found.append(mean / np.linalg.norm(mean))
    return np.stack(found).astype(np.float32)


def kinds_of(encoder: DenseEncoder, picture: Picture) -> Kinds:
    """Kind of ground of every pixel of a natural-colour picture: uint8 [h, w], numbers into CLASSES.

    The encoder's cells speak for areas of 16 pixels; within them plants are told by their colour.
    """
    height, width = picture.shape[:2]
    large = cv2.resize(picture, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    maps = encoder.maps(np.asarray(large, dtype=np.uint8), ("semantic",))["semantic"]
    unit = maps / (np.linalg.norm(maps, axis=0, keepdims=True) + 1e-6)
    scores = np.tensordot(_word_vectors(encoder.fingerprint), unit, axes=1) / _TEMPERATURE
    step = encoder.strides["semantic"] // ZOOM
    full = (scores.shape[2] * step, scores.shape[1] * step)
    spread = np.stack([cv2.resize(s, full, interpolation=cv2.INTER_LINEAR)[:height, :width] for s in scores])
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.5).astype(np.float32)
    total = smooth.sum(axis=2) + 1e-3
    excess = (3 * smooth[..., 1] - total) / total
    water, vegetation = indices.CLASSES.index(indices.WATER), indices.CLASSES.index(indices.VEGETATION)
    spread[vegetation] += np.clip((excess - _GREEN) * 40, -2, 2)
    spread[water] -= np.clip((smooth.std(axis=2) - 30) / 15, 0, 2)
    return np.asarray(spread.argmax(axis=0), dtype=np.uint8)


def natural(source: RasterSource) -> bool:
    """Whether a source's picture shows red, green and blue as such."""
    return [channel.role for channel in source.stretch.channels] == ["red", "green", "blue"]
