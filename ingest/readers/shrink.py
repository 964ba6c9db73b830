"""Coarser scales from finer pixels, always by the same steps: a window gives the same values however it is read.

Pixels at scale *s* are the averages of valid pixels at a finer scale: a stored reduced copy (overview) where one
divides *s*, else the next lower power of eight. So a reader may make several scales from one reading of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np

from rsrag.ingest.readers.base import Array, Mask, Pixels
from rsrag.types import Window

STRIP_VALUES = 8_000_000
"""Band values read at once, about, when a coarse scale is made from a finer one."""


def inner_scale(scale: int, stored: Iterable[int]) -> int:
    """The finer scale that pixels are averaged from; the scale itself when its pixels are stored.

    Args:
        scale: scene pixels per pixel.
        stored: scales of the reduced copies in the file.
    """
    copies = tuple(stored)
    if scale == 1 or scale in copies:
        return scale
    eighths = 1
    while eighths * 8 < scale and scale % (eighths * 8) == 0:
        eighths *= 8
    return max([eighths, *(f for f in copies if f < scale and scale % f == 0)])


def read_scaled(
    window: Window, scale: int, stored: Iterable[int], read: Callable[[Window, int], Pixels], bands: int
) -> Pixels:
    """Pixels of a window at a scale, of ceil(width / scale) × ceil(height / scale).

    Args:
        window: scene pixels; a start that is no multiple of a copy's scale rules the copy out.
        scale: scene pixels per pixel of the result.
        stored: scales of the reduced copies in the file.
        read: reads stored pixels, at scale 1 or one of ``stored``.
        bands: number of bands, for the size of a strip.
    """
    copies = tuple(f for f in stored if window.col % f == 0 and window.row % f == 0)
    inner = inner_scale(scale, copies)
    if inner == scale:
        return read(window, scale)
    row_values = bands * -(-window.width // inner)
    rows = max(1, STRIP_VALUES // row_values * inner // scale) * scale
    parts = []
    for top in range(0, window.height, rows):
        strip = Window(window.col, window.row + top, window.width, min(rows, window.height - top))
        parts.append(shrink(read_scaled(strip, inner, copies, read, bands), scale // inner))
    if len(parts) == 1:
        return parts[0]
    return Pixels(np.concatenate([p.data for p in parts], axis=1), np.concatenate([p.mask for p in parts]))


def shrink(pixels: Pixels, factor: int) -> Pixels:
    """Averages of the valid pixels in squares of ``factor`` × ``factor``, valid where any of them is.

    Squares that reach over the right or lower edge are averages of what there is. Integers are rounded.
    """
    if factor == 1:
        return pixels
    height, width = pixels.mask.shape
    lower, right = -height % factor, -width % factor
    data, mask = pixels.data, pixels.mask
    if lower or right:
        data = np.pad(data, ((0, 0), (0, lower), (0, right)))
        mask = np.pad(mask, ((0, lower), (0, right)))
    if data.dtype.kind == "f":
        return _shrink_floats(data, mask, factor)
    size = (mask.shape[1] // factor, mask.shape[0] // factor)
    means = np.stack([cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in data])
    if mask.all():
        return Pixels(means, np.ones(size[::-1], dtype=np.bool_))
    # Only squares that are valid in part are averaged anew: the others must not depend on what lies around them.
    # Sums of small integers are exact in single precision, so nothing depends on the order of adding either.
    weight = mask.astype(np.float32)
    count = _sums(weight, size, factor)
    partly = count < factor**2
    divisor = np.maximum(count, 1)
    for mean, layer in zip(means, data, strict=True):
        mean[partly] = np.rint(_sums(layer * weight, size, factor) / divisor)[partly].astype(data.dtype)
    return Pixels(means, count > 0)


def _sums(layer: Array, size: tuple[int, int], factor: int) -> Array:
    mean = cv2.resize(layer.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(mean.astype(np.float64) * factor**2))


def _shrink_floats(data: Array, mask: Mask, factor: int) -> Pixels:
    height, width = mask.shape[0] // factor, mask.shape[1] // factor
    squares = (height, factor, width, factor)
    layers = []
    for layer in data:
        present = mask & np.isfinite(layer)
        total = np.where(present, layer, 0).astype(np.float64).reshape(squares).sum(axis=(1, 3))
        count = present.reshape(squares).sum(axis=(1, 3))
        layers.append(np.divide(total, count, out=np.full((height, width), np.nan), where=count > 0))
    return Pixels(np.stack(layers).astype(data.dtype), np.asarray(mask.reshape(squares).any(axis=(1, 3))))
