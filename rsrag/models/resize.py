"""Pictures at the input size of CLIP models, as their authors evaluate them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rsrag.models.base import Picture

WAYS = ("crop", "squash")
_STRIP = 8
"""Times that a picture is longer than wide beyond which its middle alone is resized: memory does not grow with it."""


def resized(picture: Picture, size: int, way: str, *, bilinear: bool = False) -> npt.NDArray[np.uint8]:
    """A picture at the input size, bicubic with antialiasing unless bilinear is asked for; one that has it
    already is given back as it is.

    Args:
        picture: RGB, uint8 of shape [H, W, 3].
        size: side of the input in pixels.
        way: "crop" (shorter side to the input size, then the centre) or "squash" (the whole, its proportions lost).
        bilinear: the filter of the few models that were trained with it.

    Returns:
        uint8 of shape [size, size, 3].
    """
    if picture.shape[:2] == (size, size):
        return picture
    from PIL import Image

    how = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
    image = Image.fromarray(np.ascontiguousarray(picture))
    width, height = image.size
    short = min(width, height)
    target = (size * width // short, size * height // short) if way == "crop" else (size, size)
    left, top = round((target[0] - size) / 2), round((target[1] - size) / 2)
    if max(target) > _STRIP * size:
        across, down = width / target[0], height / target[1]
        middle = left * across, top * down, (left + size) * across, (top + size) * down
        return np.asarray(image.resize((size, size), how, box=middle))
    if image.size != target:
        image = image.resize(target, how)
    return np.asarray(image.crop((left, top, left + size, top + size)))
